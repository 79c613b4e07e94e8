"""The default stack: closed and made again by reset_default_stack()."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer

RESET = """
import sys, netkat, os
from netkat.api.default_stack import default_stack
netkat.reset_default_stack()  # there is none yet
address = sys.argv[1], int(sys.argv[2])
with netkat.create_connection(address, timeout=5) as conn:
    conn.sendall(b"first")
    assert conn.recv(9) == b"first"
first = default_stack()
open_one = netkat.create_connection(address, timeout=5)
listener = netkat.create_server((sys.argv[3], 7010))
netkat.reset_default_stack()
for ended in (lambda: open_one.send(b"x"), listener.accept):
    try:
        ended()
    except OSError as error:
        print(type(error).__name__)
netkat.reset_default_stack()  # idempotent
with netkat.create_connection(address, timeout=5) as conn:
    conn.sendall(b"second")
    assert conn.recv(9) == b"second"
assert default_stack() is not first
with netkat.create_server((sys.argv[3], 7010)):
    pass
child = os.fork()
if not child:
    try:
        netkat.reset_default_stack()
    except netkat.errors.SetupError as error:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
with netkat.create_connection(address, timeout=5) as conn:
    conn.sendall(b"third")
    assert conn.recv(9) == b"third"
"""


def test_reset_ends_the_stack_and_the_next_call_makes_another(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        done = pair.host.run(
            [sys.executable, "-c", RESET, pair.peer.ipv4, str(server.port), pair.host.ipv4],
            cwd=ROOT,
            env=dict(os.environ),
            check=False,
            timeout=60,
        )
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["AlreadyClosed", "AlreadyClosed"]
