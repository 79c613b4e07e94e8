"""Packet capture: live on interfaces, from and to capture files, and packets as text.

It uses wire, bpf and host, like the engine, and does not depend on connections.
"""
