"""Socket options by the stack's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netkat.options import SocketOptions
    from netkat.stack import Option


def by_number(options: SocketOptions) -> dict[Option, int]:
    """Return the values that were set, by option."""
    from netkat.stack import Option

    wanted = {
        Option.TTL: options.ttl,
        Option.MIN_TTL: options.min_ttl,
        Option.TOS: options.tos,
        Option.RECEIVE_BUFFER: options.receive_buffer,
        Option.SEND_BUFFER: options.send_buffer,
        Option.BROADCAST: 1 if options.broadcast else None,
    }
    return {option: value for option, value in wanted.items() if value is not None}
