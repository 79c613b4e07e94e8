"""Many connections and many threads on one stack, and what is left of them: nothing."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.helpers.netns import ROOT, Pair

SERVER = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "0.0.0.0", 7000, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

CLIENT = """
import gc, json, os, resource, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import netkat
from netkat.stack import live_handles
HOST, COUNT = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def facts():
    gc.collect()
    end = time.monotonic() + 20
    while live_handles() and time.monotonic() < end:
        time.sleep(0.05)
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "handles": live_handles(),
        "threads": threading.active_count(),
        "resident": resident(),
    }

def talk(conn, number):
    message = b"%06d" % number * 100
    conn.sendall(message)
    got = b""
    while len(got) < len(message):
        got += conn.recv(65536)
    return got == message

def a_round():
    with netkat.Stack() as stack, ThreadPoolExecutor(16) as pool:
        conns = list(pool.map(lambda _: stack.create_connection((HOST, 7000), 30), range(COUNT)))
        idle = resident()
        # Twice, so that each is used by another thread than the one before.
        right = sum(sum(pool.map(talk, conns, range(COUNT))) for _ in range(2))
        # Some are closed by another thread than the one that waits in them.
        waiting = [pool.submit(conn.recv, 1) for conn in conns[:8]]
        time.sleep(0.2)
        for conn in conns[:8]:
            conn.close()
        ends = [type(one.exception(30)).__name__ for one in waiting]
        # Some end in order, some by RST, and the rest is the stack's to end.
        for conn in conns[8 : COUNT // 2]:
            conn.close()
        for conn in conns[COUNT // 2 : COUNT * 3 // 4]:
            conn.abort()
    del conns
    return {"right": right, "ends": ends, "idle": idle, **facts()}

with netkat.Stack() as stack:  # Go's runtime and its threads are there from now on
    stack.create_connection((HOST, 7000)).close()
before = facts()
print(json.dumps([before, a_round(), a_round(), a_round()]))
"""


COUNT = 1000


def test_nothing_is_left_of_many(pair: Pair) -> None:
    server = pair.peer.popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    argv = [sys.executable, "-W", "error::ResourceWarning", "-c", CLIENT, pair.peer.ipv4]
    done = pair.host.run([*argv, str(COUNT)], cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    before, *rounds = json.loads(done.stdout)
    for found in rounds:
        assert found["right"] == 2 * COUNT
        assert set(found["ends"]) == {"AlreadyClosed"}, "closed by another thread: EBADF"
        assert (found["handles"], found["threads"]) == (0, before["threads"])
        assert found["descriptors"] == before["descriptors"]
    # Go and malloc keep what they had once; what grows with every round is a leak.
    grown = rounds[2]["resident"] - rounds[1]["resident"]
    assert grown < 8 << 20 or grown < (rounds[1]["idle"] - before["resident"]) / 4
    assert done.stderr == ""
    assert pair.host.run(["ss", "-Hltnu"]).stdout == "", "a port is still reserved"
