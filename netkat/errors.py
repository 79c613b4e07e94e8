"""Every error that netkat distinguishes, in one file.

::

    NetkatError
    ├── NetworkError                the network refused, or gave no answer    exit 1
    │   ├── Refused                 RST or ICMP port unreachable  (ConnectionRefusedError)
    │   ├── Unreachable             another ICMP error                        (OSError)
    │   │   ├── Prohibited          a firewall's ICMP error: not allowed
    │   │   └── TimeExceeded        TTL or hop limit used up on the way
    │   ├── NoAnswer                SYNs were sent, no reply was received     (TimeoutError)
    │   │   └── Hairpin             netkat's SYN came back to this host
    │   ├── NextHopSilent           ARP / ND for the next hop had no answer   (OSError)
    │   ├── EgressRefused           an egress hook dropped netkat's frames    (OSError)
    │   ├── ConnectionReset         RST on an open connection                 (ConnectionResetError)
    │   ├── TimedOut                the caller's timeout expired              (TimeoutError)
    │   ├── Undelivered             bytes that the peer never acknowledged    (OSError)
    │   ├── ProxyFailed             the proxy gave no answer of use           (OSError)
    │   │   ├── NotAProxy           the peer speaks something else
    │   │   ├── ProxyAuthFailed     credentials required, or rejected
    │   │   └── ProxyRefused        it did not connect to the destination
    │   └── TlsFailed               TLS could not be agreed on, or broke      (OSError)
    │       ├── NotTls              the peer speaks something else
    │       ├── TlsMismatch         no version, cipher or ALPN in common
    │       ├── TlsRefused          an alert of the peer's
    │       ├── TlsTruncated        an end without close_notify
    │       └── CertificateRejected the peer's certificate is not accepted
    │           ├── CertificateExpired      not valid any more, or not yet
    │           ├── CertificateMismatch     for another name
    │           └── CertificateUntrusted    self-signed, or of an unknown issuer
    ├── LocalStreamFailed           stdin or stdout of a relay failed         (OSError)      exit 1
    ├── LibraryPanicked             a bug in libgostack or gVisor             (RuntimeError) exit 1
    ├── LocalSystemError            a system call of the local host failed    (OSError)      exit 2
    │   ├── TooManyOpenFiles        no free descriptors: EMFILE, ENFILE
    │   ├── OutOfMemory             no memory, or no thread: ENOMEM
    │   ├── SystemCallDenied        EACCES, EPERM: a security module, seccomp (PermissionError)
    │   └── SystemCallMissing       ENOSYS: the kernel lacks it, or seccomp hides it
    └── SetupError                  set-up failed before the first packet     exit 2
        ├── BadArgument             an invalid argument                       (ValueError)
        │   └── NamespaceNotFound   no such network namespace
        ├── NameNotFound            a host or service name does not resolve   (OSError)
        ├── NoRoute                 the kernel has no route                   (OSError)
        ├── OwnAddress              loopback or an address of this host       (OSError)
        ├── InterfaceError          an interface cannot be used               (OSError)
        │   ├── InterfaceNotFound   no such interface
        │   └── InterfaceDown       it is down
        │       └── InterfaceGone   it was deleted while it was in use
        ├── CommandFailed           the command of -e or -c does not start    (OSError)
        ├── PortTaken               the local port is in use                  (OSError)
        ├── AddressTaken            --claim: the address is in use            (OSError)
        ├── MissingCapability       the process lacks a capability            (PermissionError)
        ├── KernelTooOld            a feature needs a newer kernel            (OSError)
        ├── GuardFailed             the guard could not be set or proved      (OSError)
        ├── LibraryMissing          libgostack is not built                   (ImportError)
        └── LibraryMismatch         libgostack speaks another ABI             (ImportError)

Each is also the standard exception that a socket program would expect, so
``except ConnectionRefusedError`` keeps working. ``str()`` is one line without
a trailing stop; ``.hint`` is the next step for a person.

>>> try:
...     netkat.create_connection(("10.111.111.129", 81), timeout=2)
... except ConnectionRefusedError as error:
...     print(type(error).__name__, "by", error.by, "of", error.sender)
...     print(error.hint)
Refused by RST of 10.111.111.129
check what listens on the peer: ss -ltnu; a sender or ttl not its own is a firewall
"""

from __future__ import annotations

import errno

# socket's own; socket itself would cost every import of netkat its milliseconds.
from _socket import EAI_NONAME, gaierror
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from netkat.flow import IPAddress


class NetkatError(Exception):
    """Root of all. Catch this to catch whatever netkat itself raises.

    >>> try:
    ...     netkat.create_connection(("10.111.111.129", 80), source_address=("nowhere", 0))
    ... except netkat.NetkatError as error:
    ...     print(error, error.exit_code)
    'nowhere' is not an IP address 2
    """

    exit_code: ClassVar[int] = 1
    number: ClassVar[int | None] = None
    """What ``.errno`` is, where it is an OSError."""
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        either: object = self
        if isinstance(either, OSError):
            either.errno, either.strerror = self.number, message
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        # OSError's own __str__ would print "[Errno None]" for the mixed classes below.
        return self.message


class NetworkError(NetkatError, OSError):
    """The network refused, or did not answer. Check the path, not netkat."""

    hint = "netkat -vd shows the connection's frames"

    exit_code = 1


class Refused(NetworkError, ConnectionRefusedError):
    """A host answered that nothing listens there.

    ``by`` is "RST" or the ICMP message's name, ``sender`` who sent it, ``ttl``
    the answer's TTL or hop limit. A sender that is not the peer, or a TTL that
    does not fit it, is a firewall on the way.
    """

    number = errno.ECONNREFUSED
    hint = "check what listens on the peer: ss -ltnu; a sender or ttl not its own is a firewall"

    def __init__(
        self,
        message: str,
        *,
        by: str = "RST",
        sender: IPAddress | None = None,
        ttl: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.by, self.sender, self.ttl = by, sender, ttl


class Unreachable(NetworkError):
    """An ICMP error about one of netkat's packets. ``sender`` is the host that dropped it.

    ``icmp_type`` and ``icmp_code`` are the numbers on the wire (ICMPv4 or
    ICMPv6 by the sender's family), ``reason`` is their name, ``ttl`` the
    message's own TTL. Check the sender's routes and firewall.
    """

    number = errno.EHOSTUNREACH
    hint = "check routes and firewall rules on the host that sent the ICMP message"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        icmp_type: int = 0,
        icmp_code: int = 0,
        sender: IPAddress | None = None,
        ttl: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason, self.icmp_type, self.icmp_code = reason, icmp_type, icmp_code
        self.sender, self.ttl = sender, ttl


class Prohibited(Unreachable):
    """A firewall rejected the packet with an ICMP error instead of dropping it silently.

    Check the rules of the sender.
    """


class TimeExceeded(Unreachable):
    """The TTL or hop limit was used up at ``sender``: a routing loop, or a TTL set too small."""


class NoAnswer(NetworkError, TimeoutError):
    """Packets went out, none came back: dropped on the way there or back.

    ``sent`` counts the SYNs (or datagrams) that left. ``next_hop`` is who took
    them over: its MAC was known, so the loss is behind it.
    """

    number = errno.ETIMEDOUT
    hint = "check the next hops: packets are silently dropped on the forward or return path"

    def __init__(
        self,
        message: str,
        *,
        sent: int = 0,
        next_hop: IPAddress | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.sent, self.next_hop = sent, next_hop


class Hairpin(NoAnswer):
    """netkat's SYN came back in: the load balancer sent it to this host.

    The host drops it then as a martian, since it carries the host's own source
    address. This is no result about the service: test from another host.
    ``sender_mac`` is who sent it back, ``ttl`` what was left of its TTL.
    """

    hint = "test from another host, or use --via: the packet was sent back to this host"

    def __init__(
        self,
        message: str,
        *,
        sent: int = 0,
        next_hop: IPAddress | None = None,
        sender_mac: bytes | None = None,
        ttl: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, sent=sent, next_hop=next_hop, hint=hint)
        self.sender_mac, self.ttl = sender_mac, ttl


class NextHopSilent(NetworkError):
    """No host answered ARP (or neighbour discovery) for ``next_hop`` on ``interface``.

    ``asked`` times. No packet of the connection left. Check the cable, the
    VLAN, the address.
    """

    number = errno.EHOSTUNREACH
    hint = "check the address, VLAN and cabling: ip neigh"

    def __init__(
        self,
        message: str,
        *,
        next_hop: IPAddress | None = None,
        interface: str = "",
        asked: int = 0,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.next_hop, self.interface, self.asked = next_hop, interface, asked


class EgressRefused(NetworkError):
    """The kernel accepted netkat's frames and dropped them on egress (ENOBUFS).

    A tc egress program, a tcx egress program or an nft ``netdev egress`` hook:
    these see raw packets too. ``count`` frames; ``hook`` names the program or
    table, if it was found; ``unseen`` are the kinds that could not be listed
    (listing requires CAP_NET_ADMIN). Remove the hook, or let these frames pass.
    """

    number = errno.ENOBUFS
    hint = "list hooks: tc filter show dev IFACE egress; bpftool net; nft list hooks"

    def __init__(
        self,
        message: str,
        *,
        hook: str | None = None,
        unseen: tuple[str, ...] = (),
        count: int = 0,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.hook, self.unseen, self.count = hook, unseen, count


class ConnectionReset(NetworkError, ConnectionResetError):
    """The peer (or a firewall) ended an open connection with RST.

    ``received`` and ``sent`` count the payload bytes until then. Check the
    peer's log; if it has no entry, a firewall or load balancer sent the RST.
    """

    number = errno.ECONNRESET
    hint = "check the peer's log; if it has no entry, a firewall or load balancer sent the RST"

    def __init__(
        self, message: str, *, received: int = 0, sent: int = 0, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.received, self.sent = received, sent


class TimedOut(NetworkError, TimeoutError):
    """The caller's own timeout ran out while waiting (settimeout, -w). Wait longer, or give up."""

    hint = "wait longer, or ask the peer what it waits for"


class Undelivered(NetworkError):
    """``count`` bytes were accepted from the caller and never acknowledged by the peer.

    The peer may have read less than was sent: send them again, or ask it.
    """

    hint = "check how much the peer received, or send again"

    def __init__(self, message: str, *, count: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.count = count


class ProxyFailed(NetworkError):
    """The proxy was reached, and gave no answer of use. The destination was not heard of."""

    number = errno.EPROTO
    hint = "check the proxy's log; set the proxy type with -X: 4, 4a, 5 or connect"


class NotAProxy(ProxyFailed):
    """The peer is no proxy of the requested kind; ``said`` is how its data begins."""

    hint = "set the proxy type with -X: 4, 4a, 5 or connect; or use another port"

    def __init__(self, message: str, *, said: bytes = b"", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.said = said


class ProxyAuthFailed(ProxyFailed):
    """The proxy wants to know who asks, or does not let this user in: -P, NETKAT_PROXY_AUTH."""

    number = errno.EACCES
    hint = "-P USER, which asks for the password, or NETKAT_PROXY_AUTH=USER:PASSWORD before netkat"


class ProxyRefused(ProxyFailed):
    """The proxy did not connect to the destination, for the reason that it reports.

    ``code`` is its own: a status of HTTP, or a reply of SOCKS (RFC 1928, section 6).
    """

    number = errno.ECONNREFUSED
    hint = "try it from the proxy's host; check its log and rules"

    def __init__(self, message: str, *, code: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class TlsFailed(NetworkError):
    """TLS with the peer could not be agreed on, or broke. The connection below it was open."""

    number = errno.EPROTO
    hint = "check the handshake: openssl s_client -connect HOST:PORT"


class NotTls(TlsFailed):
    """The peer does not use TLS: its data begins with ``said``. Omit --ssl."""

    hint = "omit --ssl, or use the TLS port"

    def __init__(self, message: str, *, said: bytes = b"", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.said = said


class TlsMismatch(TlsFailed):
    """The two sides have no ``what`` in common: "version", "cipher" or "ALPN"."""

    hint = "set --ssl-ciphers or --ssl-alpn; TLS 1.2 and 1.3 are supported"

    def __init__(self, message: str, *, what: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.what = what


class TlsRefused(TlsFailed):
    """The peer refused with ``alert``, by its name in RFC 8446. Its log has the reason."""

    hint = "check the peer's log; for certificate_required use --ssl-cert and --ssl-key"

    def __init__(self, message: str, *, alert: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.alert = alert


class TlsTruncated(TlsFailed):
    """The stream ended without close_notify: data may be missing, as any host can forge a FIN.

    Many servers never send close_notify; compare the length with the one they announced.
    """

    hint = "check the length of the data: it may be truncated, or the peer never sends close_notify"


class CertificateRejected(TlsFailed):
    """This side does not accept the peer's certificate; ``code`` is OpenSSL's X509_V_ERR number."""

    hint = "without --ssl-verify, -v shows the certificate"

    def __init__(self, message: str, *, code: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CertificateExpired(CertificateRejected):
    """It has expired, or is not valid yet: renew it, or check this host's clock."""

    hint = "renew the certificate, or check this host's clock: date"


class CertificateMismatch(CertificateRejected):
    """It is for another name: ask by that name, or give it with --ssl-servername."""

    hint = "give a name that it has with --ssl-servername; without --ssl-verify, -v shows them"


class CertificateUntrusted(CertificateRejected):
    """Self-signed, or its issuer is not trusted here: --ssl-trustfile names the issuer."""

    hint = "pass the CA certificate, or the self-signed one, with --ssl-trustfile"


class LocalStreamFailed(NetkatError, OSError):
    """This side's own input could not be read, or its output not be written (a full disk)."""

    hint = "check the file or device used for stdin and stdout: df, dmesg"


class LibraryPanicked(NetkatError, RuntimeError):
    """A call of libgostack panicked: a bug in it or in gVisor. The stack is to be closed.

    ``text`` is the reason and the call stack.
    """

    hint = "this is a bug in netkat: please report the text of the exception"

    def __init__(self, text: str, *, hint: str | None = None) -> None:
        super().__init__(text.partition("\n")[0], hint=hint)
        self.text = text


class LocalSystemError(NetkatError, OSError):
    """A system call of the local host failed: neither the network nor the peer is the cause.

    ``operation`` is what netkat wanted of the kernel; ``errno`` is the kernel's.
    """

    exit_code = 2
    hint = "check the local host: dmesg, ulimit -a"

    def __init__(self, message: str, *, operation: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation


class TooManyOpenFiles(LocalSystemError):
    """The process (EMFILE) or the local host (ENFILE) has no free descriptors. Raise the limit."""

    number = errno.EMFILE
    hint = "raise the limit of open files: ulimit -n 1024"


class OutOfMemory(LocalSystemError):
    """The local host has no memory, or no thread, for the process. Check its limits."""

    number = errno.ENOMEM
    hint = "check memory and limits of the process: free -m; ulimit -v -u; its cgroup"


class SystemCallDenied(LocalSystemError, PermissionError):
    """A security module, a seccomp filter or a sandbox of the local host denies a system call."""

    number = errno.EACCES
    hint = "check what confines the process: dmesg; its seccomp, AppArmor or SELinux profile"


class SystemCallMissing(LocalSystemError):
    """The kernel does not implement a system call, or a seccomp filter hides it (ENOSYS)."""

    number = errno.ENOSYS
    hint = "check the kernel (uname -r) and the seccomp profile of the process"


class SetupError(NetkatError):
    """netkat could not start; nothing was sent. The message or hint names what to change."""

    hint = "run: netkat doctor"

    exit_code = 2


class BadArgument(SetupError, ValueError):
    """An argument that cannot mean anything. Nothing was tried. Change it."""

    hint = "see: netkat --help"


class NamespaceNotFound(BadArgument):
    """No network namespace of that name, path or process; ``namespace`` is what was asked for.

    ``ip netns list`` shows the names; /proc/PID/ns/net is that of a process.
    """

    hint = "ip netns list shows the names; /proc/PID/ns/net is that of a process"

    def __init__(self, message: str, *, namespace: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.namespace = namespace


class NameNotFound(SetupError, gaierror):
    """The system's resolver does not know this host or service name.

    ``getent hosts NAME`` asks the same resolver; an address needs none.
    """

    number = EAI_NONAME
    hint = "getent hosts NAME asks the same resolver; an address needs none"


class NoRoute(SetupError, OSError):
    """The kernel has no route to the address. Check with ``ip route get ADDR``."""

    number = errno.ENETUNREACH
    hint = "check: ip route get ADDR; or set -i or --via"


class OwnAddress(SetupError, OSError):
    """Loopback, or an address of this host: packets to it never leave this host.

    Use nc for it, or reach it from another host.
    """

    number = errno.EADDRNOTAVAIL
    hint = "use nc for it, or ask from another host"


class InterfaceError(SetupError, OSError):
    """There is something about ``interface``. ``ip -br link`` shows them all."""

    hint = "ip -br link"

    def __init__(self, message: str, *, interface: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.interface = interface


class InterfaceNotFound(InterfaceError):
    """No interface of that name. ``ip -br link`` lists them."""

    number = errno.ENODEV


class InterfaceDown(InterfaceError):
    """The interface is down. ``ip link set IFACE up``."""

    number = errno.ENETDOWN


class InterfaceGone(InterfaceDown):
    """The interface was deleted, or moved to another namespace, while it was in use.

    Every connection on it has ended. Connect again: the next one uses the interfaces that there
    are.
    """

    number = errno.ENODEV
    hint = "connect again: the next connection uses the interfaces that there are"


class CommandFailed(SetupError, OSError):
    """The command of -e or -c could not be started. Check its name and permissions."""

    number = errno.ENOENT
    hint = "-e takes a program with its words, -c a line for /bin/sh"


class PortTaken(SetupError, OSError):
    """Another process holds the local port; ``owner`` names it, as far as can be seen.

    Name another with -p, or none and a free one is taken.
    """

    number = errno.EADDRINUSE
    hint = "omit -p to use a free port"

    def __init__(self, message: str, *, owner: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.owner = owner


class AddressTaken(SetupError, OSError):
    """A host on the link has the address that was to be claimed: ``mac`` answered for it.

    Claim another one.
    """

    number = errno.EADDRINUSE
    hint = "choose an unused address; ip neigh shows the current owner"

    def __init__(
        self,
        message: str,
        *,
        address: IPAddress | None = None,
        mac: bytes | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.address, self.mac = address, mac


class MissingCapability(SetupError, PermissionError):
    """The process lacks ``capability`` (such as "CAP_NET_RAW").

    The hint is a line to paste: sudo, or in a container kubectl debug.
    """

    number = errno.EPERM
    hint = "run as root, or with the capability"

    def __init__(self, message: str, *, capability: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.capability = capability


class KernelTooOld(SetupError, OSError):
    """``feature`` needs Linux ``needs``; this kernel lacks it."""

    hint = "omit --guard to use the best mode this kernel supports"

    def __init__(
        self, message: str, *, feature: str = "", needs: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.feature, self.needs = feature, needs


class GuardFailed(SetupError, OSError):
    """The guard could not be attached, or did not drop the first reply for the kernel.

    ``program`` names the program that runs before it, where that is known. Remove that
    program, or select another mode with --guard.
    """

    hint = "netkat doctor tries every guard mode; --guard selects one"

    def __init__(
        self, message: str, *, program: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.program = program


class LibraryMissing(SetupError, ImportError):
    """libgostack.so, or an extra's library, is missing. The hint names how to install it."""

    hint = "python3 build.py build"


class LibraryMismatch(SetupError, ImportError):
    """libgostack.so speaks another ABI than this netkat. Build it again."""

    hint = "python3 build.py build"
