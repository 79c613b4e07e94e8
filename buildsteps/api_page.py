"""docs/api.md from the docstrings, read as syntax trees, so that nothing has to be built."""

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

`python3 build.py api` generates this page from the docstrings. To change it, change those.

Times are in seconds and sizes in bytes, unless a unit is given. Addresses are as in the socket
module: `(host, port)`. Errors are `netkat.NetkatError`, which is an `OSError`, and also the
standard exception if there is one (`ConnectionRefusedError`, `TimeoutError` …).
[exceptions.md](exceptions.md) lists them with fields and next steps. A *NetworkError* is reported
by the network, a *SetupError* occurs before netkat uses the network. In the examples
`10.111.111.129` is the address of a LoadBalancer Service. Complete programs are in
[examples/](../examples).
"""


class PageEntry(NamedTuple):
    """A function or class of the page: its file below netkat/, and its name in a program.

    A class whose name has dots is one that programs create. Others are returned by netkat.
    """

    module: str
    shown: str

    @property
    def name(self) -> str:
        """Return the name in its file."""
        return self.shown.rsplit(".", 1)[-1]


SECTIONS: dict[str, tuple[PageEntry, ...]] = {
    "Connect and listen": (
        PageEntry("api/default_stack", "netkat.create_connection"),
        PageEntry("api/default_stack", "netkat.create_server"),
        PageEntry("api/default_stack", "netkat.open_datagram"),
        PageEntry("api/default_stack", "netkat.reset_default_stack"),
        PageEntry("api/stack", "netkat.Stack"),
    ),
    "Connection objects": (
        PageEntry("conn/stream", "TcpConnection"),
        PageEntry("conn/tls", "TlsConnection"),
        PageEntry("conn/datagram", "UdpConnection"),
        PageEntry("conn/datagram_socket", "UdpSocket"),
        PageEntry("conn/listener", "TcpListener"),
        PageEntry("conn/connection", "Connection"),
        PageEntry("conn/socket_base", "SocketShaped"),
        PageEntry("conn/bridged", "BridgedSocket"),
        PageEntry("stack/facts", "Info"),
    ),
    "asyncio": (
        PageEntry("api/asyncio_streams", "netkat.open_connection"),
        PageEntry("api/asyncio_streams", "netkat.start_server"),
        PageEntry("api/asyncio_streams", "Server"),
        PageEntry("api/asyncio_datagrams", "netkat.create_datagram_endpoint"),
    ),
    "HTTP": (
        PageEntry("httpx", "netkat.httpx.Transport"),
        PageEntry("httpx", "netkat.httpx.AsyncTransport"),
        PageEntry("requests", "netkat.requests.mount"),
        PageEntry("requests", "netkat.requests.Adapter"),
        PageEntry("integrations/network", "netkat.requests.fault_behind"),
    ),
    "Capture packets": (
        PageEntry("capture/sniffer", "netkat.sniff"),
        PageEntry("capture/sniffer", "netkat.read_capture"),
        PageEntry("capture/sniffer", "Sniffer"),
        PageEntry("capture/packet", "netkat.Packet"),
    ),
    "Explain a connection": (
        PageEntry("diagnose/why/api", "netkat.why"),
        PageEntry("diagnose/why/result", "netkat.WhyResult"),
        PageEntry("diagnose/why/finding", "Finding"),
    ),
    "pytest": (
        PageEntry("pytest_plugin", "external_client"),
        PageEntry("pytest_plugin", "external_client_options"),
        PageEntry("pytest_plugin", "ExternalClient"),
        PageEntry("pytest_plugin", "Reach"),
    ),
}

_LEADS = {
    "HTTP": "[http.md](http.md) describes options and limitations. `netkat.httpx2` is the same for "
    "httpx2.",
    "Capture packets": "[sniff.md](sniff.md) describes where packets are captured.",
}
_MODULE_DOCSTRINGS = {"pytest": "pytest_plugin"}
"""Sections that start with the docstring of their module."""

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
"""Methods for netkat's own packages, and methods that a library calls."""

_Callable = ast.FunctionDef | ast.AsyncFunctionDef


def build() -> bool:
    """Write the page. Return False if it is up to date."""
    now = page()
    if PAGE.exists() and PAGE.read_text() == now:
        return False
    PAGE.write_text(now)
    return True


def page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION]
    for title, entries in SECTIONS.items():
        parts.append(f"## {title}\n")
        if title in _LEADS:
            parts.append(_LEADS[title] + "\n")
        if title in _MODULE_DOCSTRINGS:
            parts.append(markdown(ast.get_docstring(_module(_MODULE_DOCSTRINGS[title])) or ""))
        parts += [text for entry in entries for text in _entry(entry)]
    return "\n".join(parts)


def markdown(docstring: str) -> str:
    """Convert a clean docstring's reStructuredText: ``code``, roles, ``::``, >>>."""
    lines: list[str] = []
    example: list[str] = []
    belongs: Callable[[str], bool] | None = None  # whether a line continues the example
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


def _entry(entry: PageEntry) -> Iterator[str]:
    """Return heading, signature and docstring, and of a class its attributes and methods."""
    node = _found(entry)
    yield f"### {entry.shown}\n"
    if not isinstance(node, ast.ClassDef):
        if not any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list):
            yield _signature(node, entry)
        yield markdown(_docstring(node))
        return
    if "." in entry.shown and (maker := _method(node, "__init__")) is not None:
        yield _signature(maker, entry, method=True)
    shown = {entry.name for entries in SECTIONS.values() for entry in entries}
    bases = [base for base in map(_last_name, node.bases) if base in shown]
    if bases:
        links = " and ".join(f"[{base}](#{base.lower()})" for base in bases)
        yield f"Has the members of {links}, and these:\n"
    yield markdown(_docstring(node))
    yield from _attributes(node)
    yield from _methods(node, entry)


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """Return the fields of a dataclass, each with its type and the string below it."""
    rows = []
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name, text = field.target.id, ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(inspect.cleandoc(str(after.value.value)).split())
            if not name.startswith("_"):
                kind = ast.unparse(field.annotation)
                rows.append(f"- `{name}: {kind}`" + (f": {_inline(text)}" if text else ""))
    if rows:
        yield "\n".join(rows) + "\n"


def _methods(node: ast.ClassDef, entry: PageEntry) -> Iterator[str]:
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
            yield _signature(method, PageEntry(entry.module, method.name), method=True)
        yield markdown(_docstring(method))


def _signature(node: _Callable, entry: PageEntry, *, method: bool = False) -> str:
    """Return the signature in bold, with a line for each argument if it is too long."""
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
    """Return each argument with type and default; a constant is replaced by its value."""
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
    """Return the value of a constant expression."""
    if isinstance(value, ast.Name):
        return _value(*_constant(value.id, module))
    if isinstance(value, ast.BinOp):
        both = _value(value.left, module), _value(value.right, module)
        return _OPERATORS[type(value.op)](*both)
    return ast.literal_eval(value)


def _constant(name: str, module: str) -> tuple[ast.expr, str]:
    """Return the value of a module's name, and the module that assigns it."""
    for node in _module(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value, module
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            source = (node.module or "").removeprefix("netkat.")
            return _constant(name, source.replace(".", "/"))
    raise LookupError(f"netkat/{module}.py: {name}")


def _docstring(node: _Callable | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rsplit(".", 1)[-1]


def _method(node: ast.ClassDef, name: str) -> _Callable | None:
    for method in node.body:
        if isinstance(method, _Callable) and method.name == name:
            return method
    return None


def _found(entry: PageEntry) -> _Callable | ast.ClassDef:
    # The last of its name: overloads precede the function.
    for node in reversed(_module(entry.module).body):
        if isinstance(node, _Callable | ast.ClassDef) and node.name == entry.name:
            return node
    raise LookupError(f"netkat/{entry.module}.py has no {entry.name}")


@cache
def _module(name: str) -> ast.Module:
    return ast.parse((ROOT / "netkat" / f"{name}.py").read_text())
