"""The tables and plots of docs/performance.md, between its two marks."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from bench.samples import Comparison, Curve, Failure, Figure, curve_table, table
from bench.testbed import ROOT, Extent

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
PROCESSORS = Path("/proc/cpuinfo")
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
TOOLS = {
    "iperf3": ["iperf3", "--version"],
    "socat": ["socat", "-V"],
    "nc": ["dpkg-query", "-W", "-f=openbsd ${Version}", "netcat-openbsd"],
    "ncat": ["ncat", "--version"],
    "tcpdump": ["tcpdump", "--version"],
}
_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*")


def text(figures: list[Figure], extent: Extent, load: float) -> str:
    """Return Markdown: machine, table, curves, and parts that failed."""
    rows = [one for one in figures if isinstance(one, Comparison)]
    curves = [one for one in figures if isinstance(one, Curve)]
    failures = [one for one in figures if isinstance(one, Failure)]
    parts = [machine(extent, load), table(rows)]
    parts += [f"**Not measured: {one.part}.** {one.why}" for one in failures]
    for curve in curves:
        parts += [f"### {curve.what} ({curve.unit})", curve_table(curve)]
    return "\n\n".join(parts) + "\n"


def machine(extent: Extent, load: float) -> str:
    """Describe the machine, versions and runs."""
    count = os.cpu_count()
    # Tools without a version are omitted, as nc where there is no dpkg.
    versions = [f"{name} {version}" for name in TOOLS if (version := version_of(name))]
    from netkat import __version__
    from netkat._version import GVISOR

    return (
        f"{_processor()}, {count} processors, Linux {platform.release()} {platform.machine()};"
        f" netkat {__version__} (gVisor {GVISOR}), Python {platform.python_version()};"
        f" {', '.join(versions)}. {extent.runs} interleaved runs, bulk of {extent.megabytes} MiB;"
        f" load of the machine at the start: {load:.1f}. The kernel's own TCP uses"
        f" {CONGESTION.read_text().strip()}, netkat's cubic."
    )


def version_of(name: str) -> str:
    """Return the version that a tool prints, or ""."""
    try:
        done = subprocess.run(TOOLS[name], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else ""


def _processor() -> str:
    for line in PROCESSORS.read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(figures: list[Figure], extent: Extent, load: float) -> None:
    """Write the tables and plots."""
    from bench.plots import plot_curve, plot_ratios

    PLOTS.mkdir(exist_ok=True)
    parts = text(figures, extent, load).split("### ")
    plot_ratios([one for one in figures if isinstance(one, Comparison)], PLOTS / "ratios.svg")
    parts[0] += "![netkat's ratio to each tool](performance/ratios.svg)\n\n"
    for i, curve in enumerate((one for one in figures if isinstance(one, Curve)), 1):
        plot_curve(curve, PLOTS / f"{curve.name}.svg")
        parts[i] = f"{parts[i].rstrip()}\n\n![{curve.what}](performance/{curve.name}.svg)\n\n"
    PAGE.write_text(replaced(PAGE.read_text(), "### ".join(parts)))


def replaced(page: str, measured: str) -> str:
    """Return the page with the text between the marks replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured.rstrip()}\n\n{END}{after}"
