"""Examples for --help and the manual page."""

from __future__ import annotations

from typing import Final, NamedTuple


class Example(NamedTuple):
    """A command line and its purpose."""

    line: str
    what: str


EXAMPLES: Final = {
    "connect": (
        Example("netkat 10.111.111.129 80", "connect stdin and stdout to a port"),
        Example("netkat -vz 10.111.111.129 80", "check a port; show who refused"),
        Example("netkat -zv 10.111.111.129 22 80-90 https", "scan several ports"),
        Example("netkat --via 172.30.0.12 10.111.111.129 80", "send through another node"),
        Example("netkat -u 10.96.0.10 53 < query", "send one datagram per read of stdin"),
        Example("netkat -vz --ssl 10.111.111.129 443", "show TLS parameters and certificate"),
        Example(
            "netkat -x 172.30.0.5:1080 web.shop 80",
            "connect through a SOCKS5 proxy that resolves the name",
        ),
        Example("netkat -d -w 2s 10.111.111.129 443", "print packets, time out after 2 s"),
        Example("netkat connect listen 80", 'connect to a host named "listen"'),
    ),
    "listen": (
        Example("netkat -l 8080", "serve one client on stdin/stdout"),
        Example("netkat -lvk 8080", "serve many clients, print their addresses"),
        Example("netkat -lk --reply clientip 8080", "send each client its address"),
        Example(
            "netkat -luk --reply echo -i eth0 5353", "echo UDP on the addresses of one interface"
        ),
        Example("netkat -lk -c 'date; uptime' 8080", "run a shell command for each client"),
        Example("netkat -lk --ssl --ssl-cert web.pem 8443", "use TLS; web.pem also holds the key"),
        Example(
            "netkat -l -p 30080 --take-over", "listen on a NodePort that a NAT rule already serves"
        ),
    ),
    "why": (
        Example("netkat why 10.111.111.129 80", "explain this host's own connection"),
        Example("netkat why --incoming 10.111.111.129 80", "explain the packet of a client"),
        Example(
            "netkat why --incoming --client 198.51.100.9 10.0.0.5 443", "use this client address"
        ),
        Example("netkat why -u 10.96.0.10 53 --trace", "use UDP, show every rule on the path"),
        Example("netkat why --read-only --json 10.96.0.1 443", "only read rules, print JSON"),
    ),
    "doctor": (
        Example("netkat doctor", "check the default route's interface"),
        Example("netkat doctor -i eth1 --json", "JSON output for another interface"),
    ),
    "clean": (Example("netkat clean", "remove leftover filters and list them"),),
    "demo": (Example("netkat demo", "needs root; takes about 20 s"),),
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
        Example(
            "source <(netkat completion bash)", "enable completion in ~/.bashrc (zsh: ~/.zshrc)"
        ),
        Example("netkat completion fish | source", "enable completion in config.fish"),
    ),
}
"""Examples by command."""
