"""Running iproute2, nftables and iptables, and one exception for what they refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from netkat.errors import SetupError

# Debian keeps these tools in sbin, which is not on the PATH of every root shell (su without -).
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
ENVIRONMENT = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C"}

PACKAGES = {
    "ip": "iproute2",
    "iptables-nft-restore": "iptables",
    "nc": "netcat-openbsd",
    "nft": "nftables",
}


class DemoFailed(SetupError):
    """The demo's cluster could not be built or asked. The message holds the tool's own words."""


def missing_tools() -> dict[str, str]:
    """The tools that are not on this machine, each with the Debian package that has it."""
    return {
        tool: package
        for tool, package in PACKAGES.items()
        if shutil.which(tool, path=SEARCH_PATH) is None
    }


def call(argv: Sequence[str], *, text: str = "") -> str:
    """Run one command with ``text`` on its stdin; its stdout.

    A session of its own, so that Ctrl-C on the terminal reaches the demo alone, which then
    takes down what is half built. Errors: DemoFailed with the command's first line of stderr.
    """
    done = subprocess.run(
        argv,
        check=False,
        input=text,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DemoFailed(f"demo: {' '.join(argv)}: {said[0]}")
    return done.stdout


def ip_batch(lines: Iterable[str], *, namespace: str | None = None) -> None:
    """Feed ``lines`` to one ``ip -batch``, inside ``namespace`` where one is given."""
    inside = [] if namespace is None else ["-n", namespace]
    call(["ip", *inside, "-batch", "-"], text="".join(f"{line}\n" for line in lines))


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """``argv`` as it runs in a network namespace."""
    return ["ip", "netns", "exec", namespace, *argv]
