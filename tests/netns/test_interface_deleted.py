"""A deleted interface, and the routes that a listener's replies take."""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_network

from netkat.host.reply_routes import reply_routes
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer

PROGRAM = """
import subprocess, sys
import netkat
address = sys.argv[1], int(sys.argv[2])
stack = netkat.Stack()
held = stack.create_connection(address, 3), netkat.create_connection(address, 3).as_socket()
conn = netkat.create_connection(address, 3)
subprocess.run(["ip", "link", "del", "eth0"], check=True)
try:
    conn.recv(1)
except netkat.errors.InterfaceGone as gone:
    print(gone.interface)
"""


def test_exit_with_open_connections_after_deletion_prints_nothing(pair: Pair) -> None:
    with peer(pair.peer, "tcp-mute") as server:
        argv = [sys.executable, "-c", PROGRAM, pair.peer.ipv4, str(server.port)]
        done = pair.host.run(argv, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "eth0\n", "")


def test_reply_routes_follow_rules_before_the_main_table(pair: Pair) -> None:
    source = ip_address(pair.host.ipv4)
    pair.host.ip(
        "route add default via 10.99.0.2",
        "route add default via 10.99.0.3 table 77",
        "route add 10.9.0.0/16 via 10.99.0.4",
        "rule add to 10.9.9.0/24 table 77 priority 100",
        "rule add from 10.99.0.200 table 77 priority 101",
        "rule add to 10.8.0.0/16 fwmark 5 table 77 priority 102",
        "rule add to 10.7.0.0/16 prohibit priority 103",
    )
    found = dict(pair.host.call(lambda: reply_routes(source, 2)))
    assert found == {
        ip_network("10.9.9.0/24"): ip_address("10.99.0.3"),
        ip_network("0.0.0.0/0"): ip_address("10.99.0.2"),
        ip_network("10.9.0.0/16"): ip_address("10.99.0.4"),
        ip_network("10.99.0.0/24"): None,
    }
