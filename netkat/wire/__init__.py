"""Frames to and from a link: the packet socket, and a wire in memory for tests and simulation."""
