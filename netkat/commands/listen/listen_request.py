"""What the command line asks of a listener."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from netkat.commands.relay.relay_options import PLAIN, RelayOptions
from netkat.flow import IPAddress, Protocol
from netkat.options import DEFAULT_LISTEN, DEFAULT_PATH, ListenOptions, PathOptions

if TYPE_CHECKING:
    from netkat.commands.exec_program import Program
    from netkat.commands.tls_settings import TlsSettings
    from netkat.options import SocketOptions

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ListenRequest:
    """One ``netkat listen``."""

    port: int
    host: str | None = None
    """An address of this host, or a name of it; None is every one of the interfaces."""
    listen: ListenOptions = DEFAULT_LISTEN
    protocol: Protocol = Protocol.TCP
    keep_open: bool = False
    most: int | None = None
    """Clients until the end, with ``keep_open``; None is no end."""
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    reply: str | None = None
    path: PathOptions = DEFAULT_PATH
    socket_options: SocketOptions | None = None
    numeric: bool = False
    read_stdin: bool = True
    verbosity: int = 0
    show_frames: bool = False
    frame_file: str | None = None
    relay: RelayOptions = PLAIN
    command: Program | None = None
    tls: TlsSettings | None = None

    @property
    def writes_output(self) -> bool:
        """Whether what clients send goes to standard output."""
        return self.command is None and self.reply is None and not self.relay.send_only

    def admits(self, peer: IPAddress) -> bool:
        """Whether --allow and --deny let this peer in; a network that denies wins."""
        if any(peer in network for network in self.deny):
            return False
        return not self.allow or any(peer in network for network in self.allow)
