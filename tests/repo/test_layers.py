"""Imports between packages, as in docs/architecture.md.

Imports inside functions and for types count as well: they couple just the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.repo import tree

BASE = {"resources", "errors", "finalizers", "flow", "frame", "netlink", "options", "system_calls"}
EDGE = {"wire", "bpf", "host", "stack"}  # do not import each other
PUBLIC = {"netkat", "api"}

MAY_IMPORT = {
    "resources": set[str](),
    "errors": {"flow"},
    "finalizers": set[str](),
    "flow": set[str](),
    "frame": {"errors", "flow"},
    "netlink": {"resources", "errors", "system_calls"},
    "options": {"errors", "flow"},
    "system_calls": {"errors"},
    "_version": set[str](),
    "wire": BASE,
    "bpf": BASE,
    "host": BASE,
    "stack": BASE,
    "capture": BASE | EDGE,
    "engine": BASE | EDGE,
    "conn": BASE | EDGE | {"engine"},
    "kernel_sockets": BASE | EDGE | {"engine"},
    "api": BASE | EDGE | {"engine", "conn"},
    "__init__": {"errors", "_version", "capture", "conn", "diagnose", "stack", *PUBLIC},
    "integrations": BASE | {"api", "conn"},
    "httpx": {"integrations", "api"},
    "httpx2": {"integrations", "api"},
    "pytest_plugin": {"api", "conn", "errors"},
    "requests": {"integrations", "api"},
    "commands": BASE | PUBLIC | {"engine", "kernel_sockets", "host", "capture", "conn", "_version"},
    "diagnose": BASE | PUBLIC | {"capture", "conn", "host", "bpf", "stack", "_version"},
    "cli": BASE | PUBLIC | {"commands", "diagnose", "bpf", "capture", "_version"},
    "__main__": {"cli"},
}

# Third-party module: the packages or the file that may import it.
FENCES = {
    "cffi": ("netkat/stack/", "netkat/wire/"),
    "_cffi_backend": ("netkat/stack/", "netkat/wire/"),
    "pyroute2": ("netkat/host/", "netkat/bpf/"),
    "bcc": ("netkat/bpf/compile.py", "netkat/diagnose/drops.py"),
    "typer": ("netkat/cli/",),
    "anyio": ("netkat/integrations/async_backend.py",),
    "httpcore": ("netkat/httpx.py",),
    "httpcore2": ("netkat/httpx2.py",),
    "httpx": ("netkat/httpx.py",),
    "httpx2": ("netkat/httpx2.py",),
    "pytest": ("netkat/pytest_plugin.py",),
    "requests": ("netkat/requests.py",),
    "urllib3": ("netkat/integrations/urllib3_pool.py",),
    "python_socks": ("netkat/conn/proxy_handshake.py",),
    "dns": ("netkat/capture/dns_message.py",),
    "dpkt": ("netkat/capture/",),
    "scapy": ("netkat/capture/scapy_bridge.py",),
}

MODULES = tree.files("netkat/**/*.py")


def package_of(path: Path) -> str:
    return path.parts[1].removesuffix(".py")


def test_table_has_every_package() -> None:
    assert MODULES
    assert {package_of(path) for path in MODULES} <= set(MAY_IMPORT)


def target(module: str) -> str:
    """Return the package of `netkat.package.file`. Exported names belong to `netkat`."""
    first, _, rest = module.removeprefix("netkat").lstrip(".").partition(".")
    return first if rest or first in MAY_IMPORT else "netkat"


def test_imports_go_one_way() -> None:
    wrong = [
        str(found)
        for path in MODULES
        for found in tree.imports(path)
        if found.module.split(".")[0] == "netkat"
        and target(found.module) not in MAY_IMPORT[package_of(path)] | {package_of(path)}
    ]
    assert wrong == []


def test_third_party_modules_stay_in_their_packages() -> None:
    wrong = [
        str(found)
        for path in MODULES
        for found in tree.imports(path)
        if (top := found.module.split(".")[0]) not in sys.stdlib_module_names | {"netkat"}
        and not path.as_posix().startswith(FENCES.get(top, ()))
        and not (top == "typing_extensions" and found.for_types)
    ]
    assert wrong == []


def test_build_needs_the_standard_library_only() -> None:
    """build.py runs with the standard library. It imports other modules if present."""
    allowed = sys.stdlib_module_names | {"buildsteps"}
    imported = {
        (path.name, root)
        for path in tree.files("build.py", "buildsteps/*.py")
        for found in tree.imports(path)
        if (root := found.module.split(".")[0]) not in allowed
    }
    assert imported == {
        ("build.py", "hatchling"),
        ("completions.py", "typer"),
        ("manual.py", "netkat"),
        ("manual.py", "typer"),
        ("native.py", "cffi"),
    }


def test_product_does_not_import_tests() -> None:
    wrong = [
        str(found)
        for path in (*MODULES, *tree.files("build.py", "buildsteps/*.py"))
        for found in tree.imports(path)
        if found.module.split(".")[0] in ("tests", "pytest")
        and path.as_posix() != "netkat/pytest_plugin.py"
    ]
    assert wrong == []
