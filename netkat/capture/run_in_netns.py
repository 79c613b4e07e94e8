"""Open sockets in this or another network namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_in_netns(netns: str | int | None, function: Callable[[], T]) -> T:
    """Call ``function`` in a network namespace (name, path or pid), or for None in this one."""
    if netns is None:
        return function()
    from netkat.host import netns as namespaces

    return namespaces.run_in_netns(netns, function)


def pod_netns(pod: str) -> str:
    """Return the path of a pod's network namespace. Errors: BadArgument, SetupError."""
    from netkat.host import containers

    return containers.pod_netns(pod)


def container_netns(container: str) -> str:
    """Return the path of a container's network namespace. Errors: BadArgument, SetupError."""
    from netkat.host import containers

    return containers.container_netns(container)
