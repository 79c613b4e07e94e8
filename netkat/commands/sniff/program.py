"""``netkat sniff -d``: the filter's program."""

from __future__ import annotations

from netkat.commands.sniff.sniff_options import SniffRequest
from netkat.capture.filter_program import compiled, disassembled


def print_program(request: SniffRequest, form: int) -> int:
    """Print it: 1 as instructions, 2 as a C initialiser, 3 as decimal numbers with a count."""
    program = compiled(request.watch, request.netns, request.read)
    if form == 1:
        print(disassembled(program))
    elif form == 2:
        for code, jt, jf, k in program:
            print(f"{{ 0x{code:x}, {jt}, {jf}, 0x{k:08x} }},")
    else:
        print(len(program))
        for code, jt, jf, k in program:
            print(code, jt, jf, k)
    return 0
