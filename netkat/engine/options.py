"""What a caller may ask of the packets and buffers of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netkat.stack import Option


class Options(NamedTuple):
    """None leaves each as it is. Buffers are in bytes.

    ``tos`` is the whole byte, DSCP and ECN (IPv6: traffic class); ``ttl`` what leaves
    with, ``min_ttl`` what an answer must have left of it (RFC 5082; IPv6: hop limits).
    """

    ttl: int | None = None
    min_ttl: int | None = None
    tos: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    broadcast: bool = False

    def by_number(self) -> dict[Option, int]:
        """Those that are asked for, by the stack's numbers."""
        from netkat.stack import Option

        wanted = {
            Option.TTL: self.ttl,
            Option.MIN_TTL: self.min_ttl,
            Option.TOS: self.tos,
            Option.RECEIVE_BUFFER: self.receive_buffer,
            Option.SEND_BUFFER: self.send_buffer,
            Option.BROADCAST: 1 if self.broadcast else None,
        }
        return {option: value for option, value in wanted.items() if value is not None}
