"""A table that belongs to this process: it goes when its socket closes, after SIGKILL too.

NFT_TABLE_F_OWNER, Linux 5.12. Another program's ``flush ruleset`` leaves it alone, and only the
owner may change or delete it. Table, chains and rules come in one batch: all or nothing.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from netkat import netlink
from netkat.diagnose.why.nft import uapi
from netkat.errors import KernelTooOld, MissingCapability, SetupError
from netkat.netlink import attribute, nested
from netkat.resources import Closeable

_SUBSYSTEM = 10
_ERROR = 2
_SO_RCVBUFFORCE = 33
_SECONDS = 10.0
"""A transaction waits for others' transactions: kube-proxy's takes a second on a large node."""


class Chain(NamedTuple):
    """A base chain of type filter, policy accept; each rule is its expressions."""

    name: str
    hook: int
    priority: int
    rules: Sequence[bytes]


class OwnedTable(Closeable):
    """The table, as long as this object is open.

    The name holds the pid and a random part: two runs at once need two names.
    Errors: MissingCapability (CAP_NET_ADMIN), KernelTooOld (5.12), SetupError.
    """

    def __init__(self, chains: Sequence[Chain]) -> None:
        self.name = f"netkat-why-{os.getpid()}-{secrets.token_hex(3)}"
        # The kernel deletes the table with this socket, so it stays open.
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETLINK_NETFILTER
        )
        try:
            self._socket.settimeout(_SECONDS)
            self._socket.bind((0, 0))
            self._commit(_batch(self.name, chains))
        except OSError as error:
            self.close()
            raise _explain(error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the table; idempotent."""
        self._socket.close()

    def _commit(self, messages: list[bytes]) -> None:
        self._socket.send(b"".join(messages))
        # Everything but the two ends of the batch is acknowledged.
        left = len(messages) - 2
        while left:
            for kind, _, _, body in netlink.messages(self._socket.recv(65536)):
                if kind != _ERROR:
                    continue
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                left -= 1


def _batch(table: str, chains: Sequence[Chain]) -> list[bytes]:
    named = attribute(uapi.TABLE_NAME, uapi.name(table))
    owner = attribute(uapi.TABLE_FLAGS, uapi.be32(uapi.TABLE_OWNER))
    bodies = [(uapi.NEWTABLE, 0, named + owner)]
    for chain in chains:
        hook = nested(
            uapi.CHAIN_HOOK,
            attribute(uapi.HOOK_NUMBER, uapi.be32(chain.hook)),
            attribute(uapi.HOOK_PRIORITY, struct.pack("!i", chain.priority)),
        )
        called = attribute(uapi.CHAIN_NAME, uapi.name(chain.name))
        kind = attribute(uapi.CHAIN_TYPE, uapi.name("filter"))
        bodies.append((uapi.NEWCHAIN, 0, named + called + hook + kind))
        place = named + attribute(uapi.RULE_CHAIN, uapi.name(chain.name))
        for rule in chain.rules:
            body = place + nested(uapi.RULE_EXPRESSIONS, rule)
            bodies.append((uapi.NEWRULE, _APPEND, body))
    new = netlink.NLM_F_REQUEST | netlink.NLM_F_ACK | netlink.NLM_F_CREATE
    inside = [
        _message(uapi.NFT | kind, new | flags, sequence, uapi.nfgenmsg(uapi.NFPROTO_INET) + body)
        for sequence, (kind, flags, body) in enumerate(bodies, 2)
    ]
    ends = uapi.nfgenmsg(0, _SUBSYSTEM)
    first = _message(uapi.BATCH_BEGIN, netlink.NLM_F_REQUEST, 1, ends)
    last = _message(uapi.BATCH_END, netlink.NLM_F_REQUEST, len(bodies) + 2, ends)
    return [first, *inside, last]


_APPEND = 0x800
"""NLM_F_APPEND."""


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _explain(error: OSError) -> SetupError:
    if isinstance(error, TimeoutError):
        return SetupError(f"nftables did not answer for {_SECONDS:g} s")
    if error.errno == errno.EPERM:
        return MissingCapability(
            "an nftables table requires CAP_NET_ADMIN",
            capability="CAP_NET_ADMIN",
            hint="run as root, or use --read-only",
        )
    if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
        return KernelTooOld(
            f"an nftables table with an owner: {error.strerror}",
            feature="NFT_TABLE_F_OWNER",
            needs="5.12",
            hint="use --read-only",
        )
    return SetupError(f"an nftables table with an owner: {error.strerror}")
