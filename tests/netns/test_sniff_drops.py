"""The kernel's own drops between the frames."""

from __future__ import annotations

from tests.helpers.netns import Pair
from tests.helpers.schemas import parsed
from tests.helpers.sniffing import Sniffing


def test_a_firewalls_drop_stands_behind_its_frame(pair: Pair) -> None:
    pair.host.run(["iptables", "-A", "INPUT", "-p", "icmp", "-j", "DROP"])
    with Sniffing(pair.host, "-i", "eth0", "-n", "-t", "--drops", "icmp") as watching:
        pair.host.run(["ping", "-c2", "-i0.05", "-W0.2", pair.peer.ipv4], check=False)
        # Other drops of the same moment: not of this filter, not of this namespace.
        pair.host.run(["bash", "-c", "echo hi > /dev/tcp/127.0.0.1/9"], check=False)
        pair.peer.run(["ping", "-c1", "-W0.1", "10.99.0.77"], check=False)
        said = watching.end()
    there, back = (
        f"IP {a} > {b}: ICMP echo re"
        for a, b in ((pair.host.ipv4, pair.peer.ipv4), (pair.peer.ipv4, pair.host.ipv4))
    )
    assert len(said.lines) == 6
    for request, reply, drop in (said.lines[:3], said.lines[3:]):
        assert request.startswith(there) and "dropped" not in request
        assert reply.startswith(back) and "dropped" not in reply
        assert drop.startswith(reply) and "[dropped: NETFILTER_DROP on eth0 in " in drop
    # A drop is no captured frame.
    assert said.counted("captured") == 4


def test_a_port_without_a_socket_in_json(pair: Pair) -> None:
    with Sniffing(pair.host, "-i", "eth0", "--json", "--drops", "udp port 4242") as watching:
        pair.peer.run(["bash", "-c", f"echo hi > /dev/udp/{pair.host.ipv4}/4242"])
        found = [parsed("packet", line) for line in watching.end().lines]
    drops = [one for one in found if "drop" in one]
    assert len(found) == 2 and len(drops) == 1
    assert drops[0]["drop"].startswith("NO_SOCKET on eth0")
    assert drops[0]["layers"][0]["dst"] == pair.host.ipv4
    assert drops[0]["time_ns"] >= found[0]["time_ns"]


def test_without_a_filter_every_drop_of_the_namespace(pair: Pair) -> None:
    with Sniffing(pair.host, "-i", "eth0", "-n", "--drops") as watching:
        pair.peer.run(["bash", "-c", f"echo hi > /dev/udp/{pair.host.ipv4}/4242"])
        said = watching.end()
    assert any("4242: UDP, length 3 [dropped: NO_SOCKET" in line for line in said.lines)


def test_with_a_file_the_frames_alone(pair: Pair, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.pcap"
    with Sniffing(
        pair.host, "-i", "eth0", "--drops", "--print", "-n", "-w", str(path), "udp port 4242"
    ) as watching:
        pair.peer.run(["bash", "-c", f"echo hi > /dev/udp/{pair.host.ipv4}/4242"])
        said = watching.end()
    assert len(said.lines) == 2
    assert path.stat().st_size == 24 + 16 + 45
