"""What each command is for, by example: shown by --help and in the manual page alike."""

from __future__ import annotations

from typing import Final, NamedTuple


class Example(NamedTuple):
    """A command line as it is typed, and what it does."""

    line: str
    what: str


EXAMPLES: Final = {
    "connect": (
        Example("netkat 10.111.111.129 80", "stdin to the peer, the peer to stdout"),
        Example("netkat -vz 10.111.111.129 80", "does anything answer there, and who says no?"),
        Example("netkat -zv 10.111.111.129 22 80-90 https", "which of these ports, all at once"),
        Example("netkat --via 172.30.0.12 10.111.111.129 80", "by another node, this time only"),
        Example("netkat -u 10.96.0.10 53 < query", "one read of stdin is one datagram"),
        Example("netkat -vz --ssl 10.111.111.129 443", "TLS: what is agreed, whose certificate"),
        Example("netkat -x 172.30.0.5:1080 web.shop 80", "by a SOCKS5 proxy, which finds the name"),
        Example("netkat -d -w 2s 10.111.111.129 443", "show the frames, give up after 2 s"),
        Example("netkat connect listen 80", "a host that is called like a command"),
    ),
    "listen": (
        Example("netkat -l 8080", "one client; its bytes to stdout, stdin to it"),
        Example("netkat -lvk 8080", "many clients, each one's address on stderr"),
        Example("netkat -lk --reply clientip 8080", "tell each client the address that it has"),
        Example("netkat -luk --reply echo -i eth0 5353", "UDP, on one interface's addresses"),
        Example("netkat -lk -c 'date; uptime' 8080", "a command for each client, by the shell"),
        Example("netkat -lk --ssl --ssl-cert web.pem 8443", "TLS; web.pem holds the key as well"),
        Example("netkat -l -p 30080 --take-over", "a NodePort, which a NAT rule serves"),
    ),
    "why": (
        Example("netkat why 10.111.111.129 80", "what this host does to its own connection"),
        Example("netkat why --incoming 10.111.111.129 80", "and to the packet of a client"),
        Example("netkat why --incoming --client 198.51.100.9 10.0.0.5 443", "of this client"),
        Example("netkat why -u 10.96.0.10 53 --trace", "by UDP, with every rule that was met"),
        Example("netkat why --read-only --json 10.96.0.1 443", "look-ups alone, for a machine"),
    ),
    "doctor": (
        Example("netkat doctor", "the default route's interface"),
        Example("netkat doctor -i eth1 --json", "another, for a machine"),
    ),
    "clean": (Example("netkat clean", "says what it has removed"),),
    "demo": (Example("netkat demo", "as root; some 20 s"),),
    "sniff": (
        Example("netkat sniff -i eth0 -n tcp port 80", "print packets"),
        Example("netkat sniff -i eth0 -w web.pcapng port 80", "write a file for Wireshark"),
        Example("netkat sniff -i any --drops host 10.0.0.7", "also show kernel drops"),
        Example("netkat sniff --pod shop/web-7d9f --stats", "statistics of a pod on this node"),
        Example(
            "netkat sniff -n -r web.pcapng 'tcp[13] & 4 != 0'", "print RST packets from a file"
        ),
    ),
    "completion": (
        Example("source <(netkat completion bash)", "in ~/.bashrc; or zsh, in ~/.zshrc"),
        Example("netkat completion fish | source", "in config.fish"),
    ),
}
"""By command. What stands behind a prompt runs as it is written, with addresses of one's own."""
