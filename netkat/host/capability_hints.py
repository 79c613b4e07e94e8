"""Command lines that run netkat with the capabilities that it lacks."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence

from netkat.errors import MissingCapability, SystemCallDenied


def capability_hint(argv: Sequence[str] | None = None) -> str:
    """Return a command line with sudo, or in a container with kubectl."""
    return kubectl_line(argv) if in_container() else sudo_line(argv)


def raise_if_held(lacking: MissingCapability) -> None:
    """Raise what denied a system call where the capability for it is held.

    Errors: SystemCallDenied.
    """
    from netkat.host.capabilities import missing

    if not lacking.capability or missing(lacking.capability):
        return
    denied = SystemCallDenied(
        f"denied by the local host though {lacking.capability} is held [{lacking.message}; EPERM]",
        operation=lacking.message,
    )
    denied.errno = lacking.errno
    raise denied from lacking


def sudo_line(argv: Sequence[str] | None = None) -> str:
    """Return this command line with sudo and the program's full path (sudo has its own PATH)."""
    return shlex.join(["sudo", *_command(sys.argv if argv is None else argv)])


def kubectl_line(argv: Sequence[str] | None = None) -> str:
    """Return the command line for an ephemeral container with NET_ADMIN and NET_RAW.

    In a pod the host's name is the pod's.
    """
    words = list(sys.argv if argv is None else argv)
    pod = os.uname().nodename
    command = shlex.join(["netkat", *words[1:]])
    return f"kubectl debug -it {shlex.quote(pod)} --image=IMAGE --profile=netadmin -- {command}"


def in_container() -> bool:
    """Return whether this looks like a container, where sudo does not help."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(map(os.path.exists, marks))


def _command(argv: Sequence[str]) -> list[str]:
    program, *rest = argv
    if program.endswith("netkat/__main__.py"):
        return [sys.executable, "-m", "netkat", *rest]
    found = os.path.abspath(program) if os.sep in program else shutil.which(program)
    if found is None or (os.path.exists(found) and not os.access(found, os.X_OK)):
        # A program that imports netkat: python script.py, python -c, python -m.
        return [sys.executable, *sys.orig_argv[1:]]
    return [found, *rest]
