"""Where a capture's sockets are opened: here, or in another network namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_in_netns(netns: str | int | None, function: Callable[[], T]) -> T:
    """Call ``function`` in the namespace (a name, a path, a pid) or, for None, right here."""
    if netns is None:
        return function()
    from netkat.host import netns as namespaces

    return namespaces.run_in_netns(netns, function)


def pod_netns(pod: str) -> str:
    """Path of a pod's network namespace, by NAMESPACE/NAME. Errors: BadArgument, SetupError."""
    from netkat.host import containers

    return containers.pod_netns(pod)


def container_netns(container: str) -> str:
    """Path of a container's network namespace, by its id. Errors: BadArgument, SetupError."""
    from netkat.host import containers

    return containers.container_netns(container)
