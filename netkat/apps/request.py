"""What the command line asks of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netkat.apps.relay_options import PLAIN, RelayOptions
from netkat.flow import IPAddress, Protocol

if TYPE_CHECKING:
    from netkat._api import Options
    from netkat.apps.command import Command
    from netkat.apps.through import Through
    from netkat.apps.tls import Tls


class Request(NamedTuple):
    """One ``netkat connect``. ``wait`` is seconds for an answer; None is each wait's own.

    With ``zero`` (-z) it is about ``ports``, numbers and services' names, of which ``port``
    is the first.
    """

    host: str
    port: str
    protocol: Protocol = Protocol.TCP
    source: IPAddress | None = None
    source_port: int = 0
    interface: str | None = None
    via: IPAddress | bytes | None = None
    wait: float | None = None
    table: int | str | None = None
    netns: str | int | None = None
    claim: IPAddress | None = None
    qdisc_bypass: bool = False
    guard: str = "auto"
    kernel: bool = False
    version: int | None = None
    numeric: bool = False
    zero: bool = False
    ports: tuple[int | str, ...] = ()
    shuffle: bool = False
    require_reply: bool = False
    read_stdin: bool = True
    verbosity: int = 0
    show_frames: bool = False
    frame_file: str | None = None
    relay: RelayOptions = PLAIN
    options: Options | None = None
    command: Command | None = None
    tls: Tls | None = None
    through: Through | None = None

    @property
    def ip_version(self) -> int | None:
        """The IP version to look up: asked for, or what fits -s, --claim and --via."""
        if self.version is not None:
            return self.version
        for given in (self.source, self.claim, self.via):
            if given is not None and not isinstance(given, bytes):
                return given.version
        return None
