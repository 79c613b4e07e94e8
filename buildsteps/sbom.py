"""The software bill of materials of a wheel: CycloneDX 1.6 JSON, for dist-info/sboms (PEP 770).

The list of modules is read from the library itself, so it cannot miss one that was linked.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from buildsteps import native, wheel_tools
from buildsteps.toolchain import ROOT

NAME = "netkat.cdx.json"
LICENSES = ROOT / "licenses"

_SPDX = {
    "github.com/google/btree": "Apache-2.0",
    "go": "BSD-3-Clause",
    "golang.org/x/exp": "BSD-3-Clause",
    "golang.org/x/sys": "BSD-3-Clause",
    "golang.org/x/time": "BSD-3-Clause",
    "gvisor.dev/gvisor": "Apache-2.0 AND MIT AND BSD-3-Clause",
    "zig": "MIT",
}


class Component(NamedTuple):
    """Code that is linked into the library."""

    name: str
    version: str
    purl: str

    @property
    def license_file(self) -> Path:
        """Return the file with its licence text."""
        return LICENSES / (self.name.replace("/", "-") + ".txt")


def components(library: Path) -> list[Component]:
    """Return the linked code, sorted: Go's modules and runtime, and zig's compiler-rt."""
    command = [native.require_go(), "version", "-m", str(library)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, *rest = output.splitlines()
    go = first.rpartition(": go")[2].split()[0]
    zig = wheel_tools.pinned("ziglang")
    found = [
        Component("go", go, f"pkg:golang/std@{go}"),
        Component("zig", zig, f"pkg:pypi/ziglang@{zig}"),
    ]
    for line in rest:
        kind, name, *version = line.split()[:3]
        if kind == "dep":
            found.append(Component(name, version[0], f"pkg:golang/{name}@{version[0]}"))
    return sorted(found)


def document(library: Path, version: str) -> str:
    """Return the bill of materials: the same text for the same library."""
    root = f"pkg:pypi/netkat@{version}"
    linked = components(library)
    content: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "netkat",
                "version": version,
                "purl": root,
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": [_entry(component) for component in linked],
        "dependencies": [{"ref": root, "dependsOn": [component.purl for component in linked]}],
    }
    return json.dumps(content, indent=1) + "\n"


def _entry(component: Component) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "licenses": [{"expression": _SPDX[component.name]}],
    }
