"""The C library of this process: Go's shared libraries can be loaded with glibc only."""

from __future__ import annotations

import os

from netkat.errors import LibraryMismatch


def require_glibc() -> None:
    """Check that Python runs with glibc. Errors: LibraryMismatch.

    musl's dlopen() cannot give a Go library its static TLS block (golang/go#54805): the process
    would crash or report an unrelated error.
    """
    if not _glibc_version():
        raise LibraryMismatch(
            "netkat cannot run with this C library (musl) [golang/go#54805]",
            hint="use an image with glibc, for example debian:12-slim instead of alpine",
        )


def _glibc_version() -> str:
    """Return "glibc 2.36", or "" if the C library is another one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):  # Python built with musl does not define the name
        return ""
