"""Inject frames into an interface's receive path (BPF_PROG_RUN, live frames).

The kernel runs an XDP program that returns XDP_PASS over the frame, and hands it to the stack with
the interface as its origin: tc ingress and all that follows see it. The driver and native XDP
programs of the interface do not. Linux 5.18; CAP_BPF and CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
import struct
import sys
from typing import Final

from netkat.bpf.bpf_syscall import Command, address, bpf
from netkat.bpf.prebuilt import LICENSE
from netkat.bpf.program import LoadedProgram
from netkat.errors import KernelTooOld, MissingCapability, SetupError

NAME: Final = "netkat_arrive"
_XDP = 6
_XDP_PASS = 2
_LIVE_FRAMES = 1 << 1
_REGISTERS = "<BBhi" if sys.byteorder == "little" else ">BBhi"
_RETURN_PASS: Final = struct.pack(_REGISTERS, 0xB7, 0, 0, _XDP_PASS) + struct.pack(
    _REGISTERS, 0x95, 0, 0, 0
)
"""r0 = XDP_PASS (BPF_ALU64 | BPF_MOV | BPF_K); BPF_EXIT."""
_RUN = struct.Struct("=IIIIQQIIIIQQIII")
_CONTEXT = struct.Struct("=IIIIII")
"""struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex."""


class FrameInjector(LoadedProgram):
    """Injects frames in the network namespace of the calling thread.

    Errors: MissingCapability, KernelTooOld, SetupError.
    """

    def __init__(self) -> None:
        try:
            super().__init__(NAME, _RETURN_PASS, LICENSE, _XDP)
        except OSError as error:
            raise _explain(error) from None

    def inject(self, interface: int, frame: bytes) -> None:
        """Inject one Ethernet frame into the receive path of an interface, by index."""
        data = bytearray(frame)
        context = bytearray(_CONTEXT.pack(0, len(data), 0, interface, 0, 0))
        attributes = _RUN.pack(
            self.fd,
            0,
            len(data),
            0,
            address(data),
            0,
            1,
            0,
            len(context),
            0,
            address(context),
            0,
            _LIVE_FRAMES,
            0,
            1,
        )
        try:
            bpf(Command.PROG_TEST_RUN, bytearray(attributes))
        except OSError as error:
            raise _explain(error) from None


def _explain(error: OSError) -> SetupError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return MissingCapability(
            "injecting a frame requires CAP_BPF and CAP_NET_ADMIN",
            capability="CAP_BPF",
            hint="run as root; kubectl debug's profile netadmin lacks CAP_BPF, sysadmin has it",
        )
    if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
        return KernelTooOld(
            f"injecting a frame: {error.strerror}",
            feature="BPF_F_TEST_XDP_LIVE_FRAMES",
            needs="5.18",
        )
    return SetupError(f"injecting a frame: {error.strerror}")
