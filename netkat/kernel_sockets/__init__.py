"""The same connections through the kernel's own sockets, for comparison: what its rules do to them.

A session and an endpoint with the faces of those in ``engine`` and ``stack``, so that
all that is built on a connection works on either.
"""
