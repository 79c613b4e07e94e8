"""The version, in one place."""

__version__ = "0.1.0"

GVISOR = "v0.0.0-20260905035102-160fafc42237"
"""Of gvisor.dev/gvisor, as go.mod pins it: the library knows too, but need not be there."""
