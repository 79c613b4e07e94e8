"""Colour for a terminal, or none."""

from __future__ import annotations

from enum import Enum


class TextStyle(Enum):
    """What a text is, with the SGR parameters (ECMA-48) that show it."""

    PLAIN = ""
    STRONG = "1"
    FAINT = "2"
    GOOD = "32"
    WRONG = "1;31"
    ASIDE = "33"


class Colourizer:
    """Paints a text after its style; hands it through where colour is off."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, style: TextStyle) -> str:
        if not self._colour or style is TextStyle.PLAIN or not text.strip():
            return text
        bare = text.rstrip()
        return f"\x1b[{style.value}m{bare}\x1b[0m{text[len(bare) :]}"
