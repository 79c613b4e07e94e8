"""docs/api.md, from the docstrings: read as syntax trees, so that nothing need be built for it."""

from __future__ import annotations

import ast
import inspect
import operator
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from buildsteps.toolchain import ROOT

PAGE = ROOT / "docs" / "api.md"

_INTRODUCTION = """\
# netkat for Python programs

`python3 build.py api` writes this page from the docstrings: to change it, change those.

Times are seconds and sizes bytes, unless another unit stands beside them. Addresses are as
in the socket module: `(host, port)`. What fails raises a `netkat.NetkatError`, which is an
`OSError`, and where the standard library has a class of its own (`ConnectionRefusedError`,
`TimeoutError` …) that too: [exceptions.md](exceptions.md) has all of them, with their fields and
next steps. A *NetworkError* is what the network did, a *SetupError* what kept netkat from asking
it. The examples' `10.111.111.129` is a LoadBalancer's address; whole programs are in
[examples/](../examples).
"""


class Entry(NamedTuple):
    """A function or class of the page: its file below netkat/, and its name in a program.

    A class whose name has dots is one that programs make; others, netkat gives them.
    """

    module: str
    shown: str

    @property
    def name(self) -> str:
        """As its file has it."""
        return self.shown.rsplit(".", 1)[-1]


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Connect and listen": (
        Entry("_default_stack", "netkat.create_connection"),
        Entry("_default_stack", "netkat.create_server"),
        Entry("_default_stack", "netkat.open_datagram"),
        Entry("_default_stack", "netkat.reset_default_stack"),
        Entry("_stack", "netkat.Stack"),
    ),
    "What they give": (
        Entry("conn/stream", "TcpConnection"),
        Entry("conn/tls", "TlsConnection"),
        Entry("conn/datagram", "UdpConnection"),
        Entry("conn/datagram_socket", "UdpSocket"),
        Entry("conn/listener", "TcpListener"),
        Entry("conn/connection", "Connection"),
        Entry("conn/base", "SocketShaped"),
        Entry("conn/bridged", "BridgedSocket"),
        Entry("stack/facts", "Info"),
    ),
    "asyncio": (
        Entry("_asyncio", "netkat.open_connection"),
        Entry("_asyncio", "netkat.start_server"),
        Entry("_asyncio", "Server"),
        Entry("_asyncio_datagrams", "netkat.create_datagram_endpoint"),
    ),
    "HTTP": (
        Entry("httpx", "netkat.httpx.Transport"),
        Entry("httpx", "netkat.httpx.AsyncTransport"),
        Entry("requests", "netkat.requests.mount"),
        Entry("requests", "netkat.requests.Adapter"),
        Entry("web/network", "netkat.requests.fault_behind"),
    ),
    "Watch packets": (
        Entry("capture/sniffer", "netkat.sniff"),
        Entry("capture/sniffer", "netkat.read_capture"),
        Entry("capture/sniffer", "Sniffer"),
        Entry("capture/packet", "netkat.Packet"),
    ),
    "Explain a connection": (
        Entry("diagnose/why/api", "netkat.why"),
        Entry("diagnose/why/result", "netkat.WhyResult"),
        Entry("diagnose/why/finding", "Finding"),
    ),
    "pytest": (
        Entry("pytest_plugin", "external_client"),
        Entry("pytest_plugin", "external_client_options"),
        Entry("pytest_plugin", "ExternalClient"),
        Entry("pytest_plugin", "Reach"),
    ),
}

_LEADS = {
    "HTTP": "[http.md](http.md) says what connects, and what is not there. `netkat.httpx2` is the "
    "same for httpx2.",
    "Watch packets": "[sniff.md](sniff.md) says where on its way a frame is seen.",
}
_MODULES_TOLD = {"pytest": "pytest_plugin"}
"""Sections that begin with their module's docstring."""

_INNER = frozenset(
    {
        "begin",
        "handshake",
        "init_poolmanager",
        "is_established",
        "path_options",
        "proxy_manager_for",
    }
)
"""Methods for netkat's own rooms, and those that a library calls."""

_Callable = ast.FunctionDef | ast.AsyncFunctionDef


def build() -> bool:
    """Write the page; False when it stands as it is."""
    now = page()
    if PAGE.exists() and PAGE.read_text() == now:
        return False
    PAGE.write_text(now)
    return True


def page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION]
    for title, entries in SECTIONS.items():
        parts.append(f"## {title}\n")
        if title in _LEADS:
            parts.append(_LEADS[title] + "\n")
        if title in _MODULES_TOLD:
            parts.append(markdown(ast.get_docstring(_module(_MODULES_TOLD[title])) or ""))
        parts += [text for entry in entries for text in _entry(entry)]
    return "\n".join(parts)


def markdown(docstring: str) -> str:
    """A clean docstring's reStructuredText, as far as netkat's go: ``code``, roles, ``::``, >>>."""
    lines: list[str] = []
    example: list[str] = []
    belongs: Callable[[str], bool] | None = None  # whether a line goes on with the example
    for line in docstring.splitlines():
        if belongs is not None:
            if belongs(line):
                example.append(line)
                continue
            lines += _fenced(example)
            belongs = None
            if not line:
                continue
        if line.startswith(">>> "):
            example, belongs = [line], bool
        elif line.endswith("::"):
            text = line[:-2].rstrip()
            if text:
                ending = "" if text[-1] in ".:,;" else ":"
                lines += [_inline(text) + ending, ""]
            example, belongs = [], lambda line: not line or line.startswith(" ")
        else:
            lines.append(_inline(line))
    if belongs is not None:
        lines += _fenced(example)
    return "\n".join(lines).strip() + "\n"


def _fenced(example: list[str]) -> list[str]:
    body = textwrap.dedent("\n".join(example)).strip("\n")
    return [f"```{'pycon' if body.startswith('>>>') else 'python'}", *body.splitlines(), "```", ""]


def _inline(text: str) -> str:
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")


def _entry(entry: Entry) -> Iterator[str]:
    """Heading, signature, docstring; of a class its attributes and methods."""
    node = _found(entry)
    yield f"### {entry.shown}\n"
    if not isinstance(node, ast.ClassDef):
        if not any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list):
            yield _signature(node, entry)
        yield markdown(_told(node))
        return
    if "." in entry.shown and (maker := _method(node, "__init__")) is not None:
        yield _signature(maker, entry, method=True)
    shown = {entry.name for entries in SECTIONS.values() for entry in entries}
    bases = [base for base in map(_last_name, node.bases) if base in shown]
    if bases:
        links = " and ".join(f"[{base}](#{base.lower()})" for base in bases)
        yield f"All that {links} has, and what follows.\n"
    yield markdown(_told(node))
    yield from _attributes(node)
    yield from _methods(node, entry)


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """A dataclass's fields, each with its type and the string below it."""
    rows = []
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name, told = field.target.id, ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                told = " ".join(inspect.cleandoc(str(after.value.value)).split())
            if not name.startswith("_"):
                kind = ast.unparse(field.annotation)
                rows.append(f"- `{name}: {kind}`" + (f": {_inline(told)}" if told else ""))
    if rows:
        yield "\n".join(rows) + "\n"


def _methods(node: ast.ClassDef, entry: Entry) -> Iterator[str]:
    for method in node.body:
        if not isinstance(method, _Callable) or method.name[0] == "_" or method.name in _INNER:
            continue
        decorators = {_last_name(decorator) for decorator in method.decorator_list}
        if "overload" in decorators or "setter" in decorators:
            continue
        if "property" in decorators:
            kind = f": {ast.unparse(method.returns)}" if method.returns else ""
            yield f"**`{method.name}{kind}`**\n"
        else:
            yield _signature(method, Entry(entry.module, method.name), method=True)
        yield markdown(_told(method))


def _signature(node: _Callable, entry: Entry, *, method: bool = False) -> str:
    """In bold on one line, or an argument a line where that is longer than a page is wide."""
    parts = list(_arguments(node.args, entry.module))[1 if method else 0 :]
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    made = node.name == "__init__" or node.returns is None
    returns = "" if made else f" -> {ast.unparse(node.returns or node)}"
    line = f"{prefix}{entry.shown}({', '.join(parts)}){returns}"
    if len(line) <= 90:
        return f"**`{line}`**\n"
    rows = "".join(f"    {part},\n" for part in parts)
    return f"```python\n{prefix}{entry.shown}(\n{rows}){returns}\n```\n"


def _arguments(given: ast.arguments, module: str) -> Iterator[str]:
    """Each with its type and its default, a constant's value in place of its name."""
    lacking = [None] * (len(given.args) - len(given.defaults))
    for argument, default in zip(given.args, [*lacking, *given.defaults], strict=True):
        yield _argument(argument, default, module)
    if given.vararg is not None:
        yield "*" + _argument(given.vararg, None, module)
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default, module)
    if given.kwarg is not None:
        yield "**" + _argument(given.kwarg, None, module)


def _argument(argument: ast.arg, default: ast.expr | None, module: str) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return argument.arg + kind
    value = _value(default, module)
    return f"{argument.arg}{kind} = {value!r}"


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}


def _value(value: ast.expr, module: str) -> Any:
    """What a constant comes to."""
    if isinstance(value, ast.Name):
        return _value(*_constant(value.id, module))
    if isinstance(value, ast.BinOp):
        both = _value(value.left, module), _value(value.right, module)
        return _OPERATORS[type(value.op)](*both)
    return ast.literal_eval(value)


def _constant(name: str, module: str) -> tuple[ast.expr, str]:
    """What a module's name stands for, and where: it may be imported from another."""
    for node in _module(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value, module
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            source = (node.module or "").removeprefix("netkat.")
            return _constant(name, source.replace(".", "/"))
    raise LookupError(f"netkat/{module}.py: {name}")


def _told(node: _Callable | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rsplit(".", 1)[-1]


def _method(node: ast.ClassDef, name: str) -> _Callable | None:
    for method in node.body:
        if isinstance(method, _Callable) and method.name == name:
            return method
    return None


def _found(entry: Entry) -> _Callable | ast.ClassDef:
    # The last of its name: overloads stand before what they describe.
    for node in reversed(_module(entry.module).body):
        if isinstance(node, _Callable | ast.ClassDef) and node.name == entry.name:
            return node
    raise LookupError(f"netkat/{entry.module}.py has no {entry.name}")


@cache
def _module(name: str) -> ast.Module:
    return ast.parse((ROOT / "netkat" / f"{name}.py").read_text())
