"""Every fault of the network by its own name: line, exit code, exception, fields, next step."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from netkat.errors import (
    EgressRefused,
    Hairpin,
    InterfaceDown,
    InterfaceNotFound,
    NextHopSilent,
    NoAnswer,
    NoRoute,
    OwnAddress,
    PortTaken,
    Prohibited,
    Refused,
    TimeExceeded,
    Unreachable,
)
from tests.helpers import fault_lab
from tests.helpers.fault_lab import NOBODY, NOWHERE, Fault, Lab, caught
from tests.helpers.netns import Pair, netns_pair


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """The Go runtime keeps descriptors of its own from its first moment on."""
    with netns_pair("nkf") as pair, ExitStack() as undo:
        assert isinstance(caught(Lab(pair, 4, undo), FAULTS[0]), Refused)


def peer(lab: Lab) -> object:
    return lab.peer.ip_address(lab.version)


def port_holder(lab: Lab) -> None:
    holder = lab.host.popen(["nc", "-l", lab.host.ipv4, "4000"])
    while ":4000 " not in lab.host.run(["ss", "-Htln"]).stdout:
        pass
    lab.seen["pid"] = holder.pid


def rejection(name: str, version: int, kind: str, reason: str, number: tuple[int, int]) -> Fault:
    """An ICMP error of the peer's firewall."""
    error, headline = Unreachable, "No route to host"
    if "prohibited" in reason:
        error, headline = Prohibited, "Administratively prohibited"
    return Fault(
        f"{name}-ipv{version}",
        error,
        rf"failed: {headline} \[ICMP {reason} from HOST ttl 64\]",
        "firewall",
        lambda lab: {
            "reason": reason,
            "icmp_type": number[0],
            "icmp_code": number[1],
            "sender": peer(lab),
            "ttl": 64,
        },
        lambda lab: lab.reject(kind),
        versions=(version,),
    )


def port_rejection(version: int, kind: str, protocol: str) -> Fault:
    return Fault(
        f"icmp-port-unreachable-{protocol}-ipv{version}",
        Refused,
        r"Connection refused \[ICMP port unreachable from HOST ttl 64\]",
        "",
        lambda lab: {"by": "ICMP port unreachable", "sender": peer(lab), "ttl": 64},
        lambda lab: lab.reject(kind, protocol),
        udp=protocol == "udp",
        versions=(version,),
    )


def egress(name: str, make: object, words: str, *, udp: bool = False) -> Fault:
    return Fault(
        f"egress-{name}",
        EgressRefused,
        r"the kernel threw away \d+ of our frames on the way out of eth0"
        rf" \[{words} on eth0's egress\]",
        "tc filter show dev eth0 egress",
        lambda lab: {"hook": bool, "unseen": (), "count": lambda count: count > 0},
        make,  # type: ignore[arg-type]
        udp=udp,
        versions=(4,),
    )


FAULTS = [
    Fault(
        "rst",
        Refused,
        r"failed: Connection refused \[RST from HOST ttl 64\]",
        "",
        lambda lab: {"by": "RST", "sender": peer(lab), "ttl": 64},
    ),
    port_rejection(4, "icmp-port-unreachable", "tcp"),
    port_rejection(6, "icmp6-port-unreachable", "tcp"),
    port_rejection(4, "icmp-port-unreachable", "udp"),
    port_rejection(6, "icmp6-port-unreachable", "udp"),
    rejection("host", 4, "icmp-host-unreachable", "host unreachable", (3, 1)),
    rejection("net", 4, "icmp-net-unreachable", "network unreachable", (3, 0)),
    rejection("protocol", 4, "icmp-proto-unreachable", "protocol unreachable", (3, 2)),
    rejection("admin", 4, "icmp-admin-prohibited", "administratively prohibited", (3, 13)),
    rejection("address", 6, "icmp6-addr-unreachable", "address unreachable", (1, 3)),
    rejection("net", 6, "icmp6-no-route", "no route to destination", (1, 0)),
    rejection("admin", 6, "icmp6-adm-prohibited", "administratively prohibited", (1, 1)),
    Fault(
        "ttl",
        TimeExceeded,
        r"failed: TTL exceeded \[ICMP (TTL|hop limit) exceeded in transit from FAR ttl 63\]",
        "round in circles",
        lambda lab: {
            "sender": lab.seen["far"],
            "icmp_type": {4: 11, 6: 3}[lab.version],
            "icmp_code": 0,
            "ttl": 63,
        },
        fault_lab.loop,
    ),
    Fault(
        "no-answer",
        NoAnswer,
        r"failed: timed out after \d+(\.\d)? s \[no reply to \d SYNs?\]",
        "frames were sent to next hop .* on eth0",
        lambda lab: {"sent": lambda count: count in (1, 2), "next_hop": peer(lab)},
        fault_lab.drop,
    ),
    Fault(
        "next-hop-silent",
        NextHopSilent,
        r"failed: No route to host \[next hop HOST on eth0 did not answer"
        r" (ARP|neighbour discovery), asked \d times\]",
        "ip neigh show dev eth0",
        lambda lab: {
            "next_hop": ip_address(NOBODY[lab.version]),
            "interface": "eth0",
            "asked": lambda count: count >= 3,
        },
        wait=8,
        target=lambda lab: NOBODY[lab.version],
    ),
    Fault(
        "hairpin",
        Hairpin,
        r"failed: timed out after \d+(\.\d)? s \[hairpin: our own SYN came back in from"
        r" 02:00:63:00:00:02 ttl 63\]",
        "another host",
        lambda lab: {"sender_mac": bytes.fromhex(lab.peer.mac.replace(":", "")), "ttl": 63},
        fault_lab.hairpin,
    ),
    Fault(
        "hairpin-udp",
        Hairpin,
        r"timed out( after \d+(\.\d)? s)? \[hairpin: our own datagram came back in from"
        r" 02:00:63:00:00:02 ttl 63\]",
        "another host",
        lambda lab: {"sender_mac": bytes.fromhex(lab.peer.mac.replace(":", "")), "ttl": 63},
        fault_lab.hairpin,
        udp=True,
    ),
    Fault(
        "no-route",
        NoRoute,
        r"(connect to HOST port 81 \(tcp\) failed: )?no route to HOST:"
        " the kernel has no route to it",
        "ip route get ",
        code=2,
        target=lambda lab: NOWHERE[lab.version],
    ),
    Fault(
        "own-address",
        OwnAddress,
        r"(connect to HOST port 81 \(tcp\) failed: )?HOST is an address of this host.*",
        "nc",
        code=2,
        target=lambda lab: lab.host.address(lab.version),
    ),
    egress("tc", fault_lab.egress_tc, r"tc filter pref \d+ bpf handle 0x1.*"),
    egress("tcx", fault_lab.egress_tcx, r"tcx program PROGRAM eater"),
    egress("nft", fault_lab.egress_nft, r"nft chain netdev guards out \(priority 7\)"),
    egress("nft-udp", fault_lab.egress_nft, r"nft chain netdev guards out .*", udp=True),
    Fault(
        "port-taken",
        PortTaken,
        r"(connect to HOST port 81 \(tcp\) failed: )?port 4000 on 10\.99\.0\.1 is in use by"
        r" nc \(pid PID\), listening on 10\.99\.0\.1:4000",
        "omit -p",
        lambda lab: {"owner": lambda owner: owner.startswith(f"nc (pid {lab.seen['pid']})")},
        port_holder,
        code=2,
        versions=(4,),
        options=("-p", "4000"),
        stack={"source_address": ("", 4000)},
    ),
    Fault(
        "interface-unknown",
        InterfaceNotFound,
        r"no interface 'eth7'",
        "try eth0",
        lambda lab: {"interface": "eth7"},
        code=2,
        versions=(4,),
        options=("-i", "eth7"),
        stack={"interface": "eth7"},
    ),
    Fault(
        "interface-down",
        InterfaceDown,
        r"(connect to HOST port 81 \(tcp\) failed: )?eth1 is down",
        "ip link set eth1 up",
        lambda lab: {"interface": "eth1"},
        lambda lab: lab.host.ip("link add eth1 type veth peer name eth2"),
        code=2,
        versions=(4,),
        options=("-i", "eth1"),
        stack={"interface": "eth1"},
    ),
]


@pytest.mark.parametrize(
    ("fault", "version"),
    [
        pytest.param(fault, version, id=f"{fault.name}-{version}")
        for fault in FAULTS
        for version in fault.versions
    ],
)
def test_fault(fault: Fault, version: int) -> None:
    with netns_pair("nkf") as pair, ExitStack() as undo:
        fault.check(Lab(pair, version, undo))


def test_pair_is_what_the_table_thinks(pair: Pair) -> None:
    assert (pair.host.ipv4, pair.peer.mac) == ("10.99.0.1", "02:00:63:00:00:02")
