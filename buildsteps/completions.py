"""The completion scripts of bash, zsh and fish, where each shell looks for them."""

from __future__ import annotations

from buildsteps.toolchain import ROOT

FOLDER = ROOT / "build" / "completions"
FILES = {
    "bash": "share/bash-completion/completions/netkat",
    "zsh": "share/zsh/site-functions/_netkat",
    "fish": "share/fish/vendor_completions.d/netkat.fish",
}


def build() -> dict[str, str]:
    """Write the scripts. Return each file's path, and its path below the prefix."""
    from typer._completion_shared import get_completion_script

    FOLDER.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    for shell, target in FILES.items():
        text = get_completion_script(
            prog_name="netkat", complete_var="_NETKAT_COMPLETE", shell=shell
        )
        (FOLDER / shell).write_text(text + "\n")
        written[str(FOLDER / shell)] = target
    return written
