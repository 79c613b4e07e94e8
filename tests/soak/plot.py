"""Plot a soak test's samples: ``python -m tests.soak.plot samples.jsonl FILE.svg``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "netkat", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402, the backend comes first


def main() -> None:
    samples = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    samples = [sample for sample in samples if "resident" in sample]
    minutes = [(sample["time"] - samples[0]["time"]) / 60 for sample in samples]
    figure, (memory, descriptors) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 4))
    memory.plot(minutes, [sample["resident"] / 1024 for sample in samples], linewidth=0.8)
    memory.set(ylabel="resident memory (MiB)")
    memory.set_ylim(bottom=0)
    descriptors.plot(minutes, [sample["descriptors"] for sample in samples], linewidth=0.8)
    descriptors.set(ylabel="open descriptors", xlabel="minutes")
    descriptors.set_ylim(bottom=0)
    for axes in (memory, descriptors):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
