"""netkat why --incoming --wait: a real client's packet is followed, and nothing is stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netkat.commands.demo.cluster import CLIENT, SERVICE
from netkat.diagnose.why.result import WhyResult
from netkat.errors import BadArgument
from tests.helpers.netns import Pair
from tests.helpers.why_lab import WhyCluster, examined


@contextmanager
def asking(cluster: WhyCluster, answers: list[str]) -> Iterator[None]:
    """The external client connects again and again until the end."""
    over = threading.Event()
    client = cluster.node("client")

    def ask() -> None:
        while not over.wait(0.1):
            done = client.run(["nc", "-n", "-w", "1", SERVICE, "80"], check=False)
            answers.append(done.stdout)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait(cluster: WhyCluster, node: str, seconds: float = 5) -> WhyResult:
    return examined(cluster.node(node), SERVICE, 80, incoming=True, client=CLIENT, wait=seconds)


def test_a_real_packet_is_followed_and_answered(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    cluster.send_to("node2")
    answers: list[str] = []
    with asking(cluster, answers):
        result = wait(cluster, "node2")
    assert (result.verdict, result.exit_status) == ("accepted", 0)
    assert "SYN-ACK: " in str(result) and "stopped before it left" not in str(result)
    assert all(f"peer={CLIENT}:" in answer for answer in answers)


def test_a_real_packet_without_a_local_endpoint(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    cluster.send_to("node1")
    with asking(cluster, []):
        result = wait(cluster, "node1")
    assert result.verdict == "no_local_endpoint"


def test_nothing_arrives(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    result = wait(cluster, "node1", 0.2)
    assert (result.verdict, result.exit_status) == ("nothing_arrived", 1)


def test_it_requires_a_client(pair: Pair) -> None:
    with pytest.raises(BadArgument, match="wait requires incoming and client"):
        examined(pair.host, pair.host.ipv4, 80, incoming=True, wait=1)
