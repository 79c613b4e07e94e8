"""What the kernel knows, typed: routes, links, neighbours, ports, names, capabilities.

Nothing here changes the host. What is asked on the way to the first SYN goes
through a small netlink codec of this package's own, so that importing it is cheap.
"""
