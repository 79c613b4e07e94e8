"""``netkat sniff``: capture live or from a file, list interfaces, print the filter's program."""

from __future__ import annotations

from netkat.commands.sniff.outputs import PrintStatus
from netkat.commands.sniff.sniff_options import SniffOptions


def sniff(options: SniffOptions, print_status: PrintStatus) -> int:
    """Run the command and return its exit code. ``print_status`` writes lines to stderr.

    Errors: NetkatError before the first packet. A later error becomes one line and code 1, after
    the packets captured so far have been written and counted.
    """
    if options.read is not None:
        from netkat.commands.sniff.from_file import read_file

        return read_file(options, print_status)
    from netkat.commands.sniff.live_run import LiveRun

    return LiveRun(options, print_status).run()


def print_interfaces(netns: str | int | None) -> int:
    """Print every interface with its number for -i (-D)."""
    from netkat.capture.capture_options import ANY_NAME
    from netkat.capture.interface_list import list_interfaces
    from netkat.capture.text.escape import escape

    for number, interface in enumerate(list_interfaces(netns), 1):
        flags = ["Up" if interface.up else "Down", *(["Loopback"] if interface.loopback else [])]
        note = " (all interfaces at once)" if interface.name == ANY_NAME else ""
        print(f"{number}.{escape(interface.name)}{note} [{', '.join(flags)}]")
    return 0


def print_program(options: SniffOptions, form: int) -> int:
    """Print the compiled filter: 1 as instructions, 2 as C, 3 as decimal numbers with a count."""
    from netkat.capture.filter_program import compile_for, disassemble

    program = compile_for(options.capture, options.netns, options.read)
    if form == 1:
        print(disassemble(program))
    elif form == 2:
        for code, jt, jf, k in program:
            print(f"{{ 0x{code:x}, {jt}, {jf}, 0x{k:08x} }},")
    else:
        print(len(program))
        for code, jt, jf, k in program:
            print(code, jt, jf, k)
    return 0
