"""What netkat why costs on a node with thousands of Services: it looks up, and never lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers import many_services
from tests.helpers.netns import Pair

CODE = """
import json, socket, time

read = {{"netlink": 0}}

class Counting(socket.socket):
    def recv(self, *arguments):
        return self._counted(super().recv(*arguments))

    def recvfrom(self, *arguments):
        data, sender = super().recvfrom(*arguments)
        return self._counted(data), sender

    def _counted(self, data):
        if self.family == socket.AF_NETLINK:
            read["netlink"] += len(data)
        return data

socket.socket = Counting
from netkat.diagnose.why import api, sender
from netkat.diagnose.why.evidence import Probe

sender._bypass = lambda request: Probe("not_run")  # connecting is not what is measured
api.why({address!r}, 80, timeout=0.3)  # imports
before = read["netlink"], time.process_time()
result = api.why({address!r}, 80, timeout=0.3)
print(json.dumps({{
    "cpu": time.process_time() - before[1],
    "bytes": read["netlink"] - before[0],
    "rss": next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line),
    "verdict": result.verdict,
    "rules": result.rules,
    "endpoints": result.evidence.service.endpoints,
}}))
"""


def measured(pair: Pair, number: int) -> dict[str, Any]:
    """One run for a Service whose pods the peer has; nothing listens there."""
    pair.host.ip(f"route add default via {pair.peer.ipv4}")
    pair.peer.ip(*(f"addr add {pod}/32 dev lo" for pod in many_services.pod_addresses(number)))
    code = CODE.format(address=many_services.service_address(number))
    found: dict[str, Any] = json.loads(pair.host.run_python(code))
    assert found["verdict"] == "refused"
    assert f"Service shop/web{number}, port http" in found["rules"][0]
    assert found["endpoints"] == [f"{pod}:8080" for pod in many_services.pod_addresses(number)]
    assert found["cpu"] < 0.050, found
    assert found["rss"] < 60 * 1024, found
    print(found)
    return found


@pytest.mark.parametrize("count", [pytest.param(300), pytest.param(5000, marks=pytest.mark.slow)])
def test_nftables(pair: Pair, count: int) -> None:
    pair.host.run(["nft", "-f", "-"], input=many_services.nftables(count), timeout=100)
    assert measured(pair, count // 2)["bytes"] < 64 * 1024


@pytest.mark.parametrize("count", [pytest.param(300), pytest.param(5000, marks=pytest.mark.slow)])
def test_iptables_nft(pair: Pair, count: int) -> None:
    rules = many_services.iptables(count)
    pair.host.run(["iptables-nft-restore"], input=rules, timeout=100)
    assert measured(pair, count // 2)["bytes"] < 64 * 1024
