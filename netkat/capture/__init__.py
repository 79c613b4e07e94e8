"""Watching a link: wire, filter and host facts put together for reading, and capture files.

Beside the engine in the import order: it may use wire, bpf and host, and knows
nothing of connections.
"""
