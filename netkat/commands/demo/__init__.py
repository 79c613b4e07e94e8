"""A Kubernetes cluster on this machine, asked the same question with and without the host's rules.

Everything happens in network namespaces that are gone afterwards; the host's own interfaces,
routes and rules are not touched.
"""

from __future__ import annotations

from typing import TextIO


def run(*, out: TextIO | None = None, colour: bool = False, json: bool = False) -> int:
    """Build the cluster, measure, print (on ``out``, default stdout), take it down.

    Exit code 0; 1 if netkat's result differs from the external client's, or it failed; 128 + N
    after signal N. Errors: SetupError without root, without a tool that it
    needs, or when the cluster cannot be built.
    """
    from netkat.commands.demo.show import show  # what it imports is of no use to other commands

    return show(out=out, colour=colour, json=json)
