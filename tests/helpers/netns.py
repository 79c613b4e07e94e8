"""Network namespaces for tests, gone again on every path.

    with netns_pair("nkx") as pair:
        pair.peer.popen(["nc", "-l", "80"])
        pair.host.run(["ping", "-c1", pair.peer.ipv4])
        pair.host.call(lambda: netkat.create_connection(...))

``host`` is where netkat runs, ``peer`` the other end; each has one veth called
eth0 with an IPv4, an IPv6 and a link-local address, usable at once (no DAD, no
router solicitations). Names are PREFIX-tPID-COUNTER-ROLE, so that runs side by
side do not meet and sweep() finds what a killed run left.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, TypeVar

from netkat.host.netns import run_in_netns

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"nk[a-z0-9]*-t(?P<pid>\d+)-\d+-[a-z0-9]+")
_counter = itertools.count(1)

QUIET = {
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.default.disable_ipv6": 0,
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.dad_transmits": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
}
"""No duplicate address detection, no router solicitations: addresses work at once."""


class Namespace:
    """One network namespace and the processes that were started in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._children: list[subprocess.Popen[Any]] = []

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        timeout: float = 30,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; its output as text. AssertionError with both when it fails."""
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        if options["stdin"] is None:
            del options["stdin"]
        done = subprocess.run(
            self._argv(argv),
            capture_output=True,
            text=options.pop("text", True),
            timeout=timeout,
            env=_environment(options.pop("env", None)),
            check=False,
            **options,
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{self.name}: {argv} ended with {done.returncode}\n{said}")
        return done

    def popen(
        self, argv: Sequence[str | os.PathLike[str]], **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command inside; its pid is the command's own. It ends with the namespace."""
        options.setdefault("stdin", subprocess.DEVNULL)
        command = self._argv(argv, die_with_us=True)
        child: subprocess.Popen[Any] = subprocess.Popen(
            command, env=_environment(options.pop("env", None)), **options
        )
        self._children.append(child)
        return child

    def python(self, module: str, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Start ``python -m module`` inside, with the project's root as its directory."""
        return self.popen([sys.executable, "-m", module, *arguments], cwd=ROOT, **options)

    def run_python(self, code: str, *, timeout: float = 30, **options: Any) -> str:
        """Run Python source in a child inside, for what wants a process of its own; its output."""
        argv = [sys.executable, "-c", code]
        return self.run(argv, timeout=timeout, cwd=ROOT, **options).stdout

    def call(self, function: Callable[[], T]) -> T:
        """Call a function of this process inside, in a thread that has entered the namespace."""
        return run_in_netns(self.name, function)

    def sysctl(self, name: str, value: object | None = None) -> str:
        """Read a net.* sysctl inside, or write it."""
        path = "/proc/sys/" + name.replace(".", "/")

        def access() -> str:
            if value is not None:
                Path(path).write_text(str(value))
            return Path(path).read_text().strip()

        return self.call(access)

    def ip(self, *commands: str) -> None:
        """Run ip(8) commands inside, in one batch; the first that fails raises."""
        ip_batch(commands, self.name)

    def wait_served(self, port: int, sockets: int = 1, timeout: float = 20) -> None:
        """Wait until so many TCP sockets listen on a port inside."""
        end_time = time.monotonic() + timeout
        asked = ["ss", "-Hltn", f"sport = :{port}"]
        while len(self.run(asked).stdout.splitlines()) < sockets:
            assert time.monotonic() < end_time, f"{self.name}: nobody listens on port {port}"
            time.sleep(0.02)

    def close(self) -> None:
        """End what was started inside, then remove the namespace."""
        for child in reversed(self._children):
            end(child)
        self._children.clear()
        remove(self.name)

    def _argv(
        self, argv: Sequence[str | os.PathLike[str]], *, die_with_us: bool = False
    ) -> list[str]:
        command = ["ip", "netns", "exec", self.name]
        # A parent-death signal is bound to the thread that forks, so only from the main one.
        if die_with_us and threading.current_thread() is threading.main_thread():
            command += ["setpriv", "--pdeathsig", "KILL"]
        return command + [os.fspath(word) for word in argv]


class Host(Namespace):
    """A namespace with one interface on a shared link."""

    def __init__(self, name: str, number: int, *, interface: str = "eth0", net: int = 99) -> None:
        super().__init__(name)
        self.interface = interface
        self.ipv4, self.ipv6 = f"10.{net}.0.{number}", f"fd{net:02d}::{number}"
        self.mac = f"02:00:{net:02x}:00:00:{number:02x}"
        self.link_local = f"fe80::{net:x}ff:fe00:{number:x}"

    def address(self, version: int) -> str:
        """Its address, 4 or 6."""
        return self.ipv4 if version == 4 else self.ipv6

    def ip_address(self, version: int) -> IPv4Address | IPv6Address:
        """The same, as an object."""
        return IPv4Address(self.ipv4) if version == 4 else IPv6Address(self.ipv6)


@dataclass
class Pair:
    """Two namespaces on one link; ``host`` is where netkat runs."""

    host: Host
    peer: Host
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def namespace(prefix: str = "nk", role: str = "ns") -> Iterator[Namespace]:
    """An empty namespace, lo up."""
    space = Namespace(new_name(prefix, role))
    try:
        prepare(space)
        yield space
    finally:
        space.close()


@contextmanager
def netns_pair(
    prefix: str = "nk", *, mtu: int = 1500, net: int = 99, offloads: bool = True
) -> Iterator[Pair]:
    """Two namespaces joined by a veth. ``offloads`` False: frames of the MTU, checksums made."""
    with ExitStack() as undo:
        pair = make_ends(undo, prefix, net)
        join(pair.host, pair.peer, mtu=mtu)
        for side in (pair.host, pair.peer):
            configure(side)
            if not offloads:
                without_offloads(side, side.interface)
        for side in (pair.host, pair.peer):
            wait_usable(side, side.interface)
        yield pair


def make_ends(undo: ExitStack, prefix: str, net: int = 99) -> Pair:
    """The two namespaces of a pair, not joined yet; closed by ``undo``."""
    number = next(_counter)
    host = Host(new_name(prefix, "host", number), 1, net=net)
    peer = Host(new_name(prefix, "peer", number), 2, net=net)
    for side in (host, peer):
        undo.callback(side.close)
        prepare(side)
    return Pair(host, peer)


def new_name(prefix: str, role: str, number: int | None = None) -> str:
    """A name that nobody else has."""
    return f"{prefix}-t{os.getpid()}-{next(_counter) if number is None else number}-{role}"


def prepare(space: Namespace) -> None:
    """Make the namespace itself."""
    ip_batch([f"netns add {space.name}"])

    def quiet() -> None:
        for name, value in QUIET.items():
            Path("/proc/sys/" + name.replace(".", "/")).write_text(str(value))

    space.call(quiet)
    space.ip("link set lo up")


def join(
    a: Namespace, b: Namespace, *, a_name: str = "eth0", b_name: str = "eth0", mtu: int = 1500
) -> None:
    """A veth between two namespaces, made there and never in the root namespace; still down."""
    here = f"{a_name} mtu {mtu} netns {a.name}"
    ip_batch([f"link add {here} type veth peer name {b_name} mtu {mtu} netns {b.name}"])


def configure(side: Host) -> None:
    """MAC and addresses for a host's interface, and up."""
    name = side.interface
    side.ip(
        f"link set {name} address {side.mac}",
        f"addr add {side.ipv4}/24 dev {name}",
        f"addr add {side.ipv6}/64 dev {name} nodad",
        f"link set {name} up",
    )


def without_offloads(space: Namespace, interface: str) -> None:
    """Every frame as it would be on a cable."""
    features = ["tso", "gso", "gro", "tx", "rx", "sg"]
    space.run(["ethtool", "-K", interface, *(word for name in features for word in (name, "off"))])


def wait_usable(space: Namespace, interface: str, timeout: float = 5) -> None:
    """Wait until the carrier is there and the link-local address is not tentative."""
    end_time = time.monotonic() + timeout
    while True:
        seen = space.run(["ip", "-6", "-o", "addr", "show", "dev", interface]).stdout
        if "fe80" in seen and "tentative" not in seen:
            return
        assert time.monotonic() < end_time, f"{space.name}: {interface} does not come up: {seen}"
        time.sleep(0.01)


def ip_batch(commands: Sequence[str], inside: str | None = None) -> None:
    """ip(8) commands in one process."""
    argv = ["ip", *(["-n", inside] if inside else []), "-batch", "-"]
    text = "\n".join(commands) + "\n"
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise AssertionError(f"ip {inside or ''}: {done.stderr.strip()}\n{text}")


def end(child: subprocess.Popen[Any], timeout: float = 3) -> None:
    """End one child: SIGTERM, then SIGKILL; its pipes closed."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def remove(name: str) -> None:
    """Remove a namespace if it is there; what is left running inside was started by the test."""
    if not os.path.exists(f"/run/netns/{name}"):
        return
    listed = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=True
    )
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=10)


def existing() -> set[str]:
    """The named namespaces of this machine."""
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


def sweep() -> list[str]:
    """Remove the namespaces of test runs that are dead; their names."""
    gone = []
    for name in sorted(existing()):
        match = NAME.fullmatch(name)
        if match and not os.path.exists(f"/proc/{match['pid']}"):
            remove(name)
            gone.append(name)
    return gone


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}
