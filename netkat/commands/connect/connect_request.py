"""What the command line asks of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netkat.commands.relay.relay_options import PLAIN, RelayOptions
from netkat.flow import Protocol
from netkat.options import DEFAULT_PATH, PathOptions

if TYPE_CHECKING:
    from netkat.commands.connect.proxy_route import ProxySettings
    from netkat.commands.exec_program import Program
    from netkat.commands.tls_settings import TlsSettings
    from netkat.options import SocketOptions


class ConnectRequest(NamedTuple):
    """One ``netkat connect``. ``wait`` is seconds for an answer; None is each wait's own.

    With ``zero`` (-z) it is about ``ports``, numbers and services' names, of which ``port``
    is the first.
    """

    host: str
    port: str
    protocol: Protocol = Protocol.TCP
    path: PathOptions = DEFAULT_PATH
    socket_options: SocketOptions | None = None
    wait: float | None = None
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
    command: Program | None = None
    tls: TlsSettings | None = None
    proxy: ProxySettings | None = None

    @property
    def ip_version(self) -> int | None:
        """The IP version to resolve: -4 or -6, else that of -s, --claim or --via."""
        if self.version is not None:
            return self.version
        given = self.path.addresses()
        return given[0][1].version if given else None
