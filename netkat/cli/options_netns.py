"""--netns, --pod and --container: options that select a network namespace."""

import os
from typing import NamedTuple

from netkat.cli import options_shared
from netkat.errors import BadArgument


class NetnsOptionGroup(NamedTuple):
    """The options as strings; namespace() parses them."""

    netns: options_shared.Netns = None
    pod: options_shared.Pod = None
    container: options_shared.Container = None

    def namespace(self) -> str | int | None:
        """As the function of that name."""
        return namespace(self.netns, self.pod, self.container)


def namespace(netns: str | None, pod: str | None, container: str | None) -> str | int | None:
    """What the three words mean together: a name, a path, a pid, or None for right here.

    Errors: BadArgument (more than one, or a word that cannot be one), SetupError
    (no such pod or container on this node).
    """
    given = [
        name
        for name, word in (("--netns", netns), ("--pod", pod), ("--container", container))
        if word is not None
    ]
    if len(given) > 1:
        raise BadArgument(f"{given[0]} and {given[1]} cannot be used together")
    if pod is not None:
        from netkat.capture.run_in_netns import pod_netns

        return pod_netns(pod)
    if container is not None:
        from netkat.capture.run_in_netns import container_netns

        return container_netns(container)
    if netns is None:
        return None
    if not netns:
        raise BadArgument("--netns: empty name")
    # A namespace may be called by a number; then the name is meant.
    if netns.isascii() and netns.isdigit() and not os.path.exists(f"/run/netns/{netns}"):
        return int(netns)
    return netns
