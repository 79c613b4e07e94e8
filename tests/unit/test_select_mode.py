"""Which fault a refusal is, whose a filter is, and what a guard says of itself."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netkat.bpf import bpf_errors
from netkat.bpf.guard import select_mode
from netkat.bpf.guard.filter_owner import HANDLE, FilterOwner, Tag, is_owner_alive, tag_of
from netkat.bpf.guard.modes import Guard, GuardLink, GuardMode, check
from netkat.bpf.guard.select_mode import Unattached
from netkat.bpf.tc import Filter
from netkat.errors import (
    BadArgument,
    GuardFailed,
    InterfaceDown,
    KernelTooOld,
    MissingCapability,
    NetkatError,
)
from netkat.flow import Flow, Protocol
from netkat.netlink import attribute, attributes, nested

LINK = GuardLink("eth9", 9, True)
FOREIGN = Filter(9, 0xFFFFFFF2, 1, 3, "bpf", 1, "cil_from_netdev", b"", 77)
TAG = Tag("0123456789abcdef", True)


def words(number: int, feature: str = "tcx") -> NetkatError:
    needs = ("CAP_BPF", "CAP_NET_ADMIN")
    return bpf_errors.to_setup_error(
        OSError(number, os.strerror(number)), "it", feature, needs, "eth9"
    )


def test_an_old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_errors, "kernel", lambda: (6, 1))
    error = words(errno.EINVAL)
    assert isinstance(error, KernelTooOld)
    assert (error.feature, error.needs, str(error)) == ("tcx", "Linux 6.6", "it requires Linux 6.6")


def test_a_kernel_that_should_know_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_errors, "kernel", lambda: (6, 18))
    assert isinstance(words(errno.EINVAL), GuardFailed)
    assert str(words(errno.ENOENT, "cls_bpf")) == "it: this kernel was built without cls_bpf"
    assert isinstance(words(errno.ENOSYS), KernelTooOld)
    assert isinstance(words(errno.ENODEV), InterfaceDown)


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        (set(), "CAP_BPF and CAP_NET_ADMIN"),
        ({"CAP_BPF"}, "CAP_NET_ADMIN"),
        ({"CAP_NET_ADMIN"}, "CAP_BPF"),
        ({"CAP_SYS_ADMIN"}, "CAP_NET_ADMIN"),
    ],
)
def test_a_missing_capability(
    monkeypatch: pytest.MonkeyPatch, held: set[str], missing: str
) -> None:
    monkeypatch.setattr(bpf_errors, "effective", lambda: frozenset(held))
    error = words(errno.EPERM)
    assert isinstance(error, MissingCapability)
    assert error.capability == missing
    assert str(error) == f"it requires {missing}"
    assert error.hint


def test_refused_with_all_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_errors, "effective", lambda: frozenset(bpf_errors.CAPABILITY))
    assert "not permitted although" in str(words(errno.EPERM))


def test_effective_capabilities_are_this_threads() -> None:
    with open("/proc/thread-self/status") as status:
        bits = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    assert ("CAP_NET_ADMIN" in bpf_errors.effective()) == bool(bits >> 12 & 1)


def test_auto_goes_down_step_by_step_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {
        GuardMode.TCX: KernelTooOld("needs Linux 6.6"),
        GuardMode.CLSACT: MissingCapability("needs CAP_BPF"),
        GuardMode.CBPF: GuardFailed("tcx program 7 is in the way"),
    }

    def one(link: GuardLink, step: GuardMode, while_waiting: object) -> Guard:
        if step in faults:
            raise faults[step]
        return Unattached(link, step)

    monkeypatch.setattr(select_mode, "_attach_mode", one)
    monkeypatch.setattr(select_mode, "_remove_leftovers", lambda link: None)
    guard = select_mode.attach(LINK)
    assert guard.mode is GuardMode.SOCKET
    assert guard.describe().endswith(
        "unavailable: tcx (needs Linux 6.6), clsact (needs CAP_BPF),"
        " cbpf (tcx program 7 is in the way)"
    )
    del faults[GuardMode.CBPF]
    assert select_mode.attach(LINK).mode is GuardMode.CBPF


def test_a_step_by_name_does_not_go_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(link: GuardLink, step: GuardMode, while_waiting: object) -> Guard:
        raise KernelTooOld("needs Linux 6.6")

    monkeypatch.setattr(select_mode, "_attach_mode", one)
    monkeypatch.setattr(select_mode, "_remove_leftovers", lambda link: None)
    with pytest.raises(KernelTooOld):
        select_mode.attach(LINK, "tcx")


def test_a_guard_whose_flows_are_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Full(Unattached):
        def add(self, flow: Flow) -> None:
            raise GuardFailed("full")

        def close(self) -> None:
            closed.append(self)

    monkeypatch.setattr(select_mode, "_attach_mode", lambda link, step, waiting: Full(link, step))
    with pytest.raises(GuardFailed):
        select_mode.attach(LINK, "socket", flows=[Flow(Protocol.TCP, ip_address("192.0.2.1"), 1)])
    assert len(closed) == 1


@pytest.mark.parametrize(
    "change",
    [{"local": ip_address("0.0.0.0")}, {"local_port": 0}, {"remote_port": 0}, {"remote": None}],
)
def test_half_a_flow_is_refused(change: dict[str, object]) -> None:
    whole = Flow(Protocol.TCP, ip_address("192.0.2.1"), 1, ip_address("192.0.2.2"), 2)
    check(whole)
    check(replace(whole, remote=None, remote_port=0))
    with pytest.raises(BadArgument):
        check(replace(whole, **change))  # type: ignore[arg-type]


def test_a_tag_comes_back_from_a_name_and_from_instructions() -> None:
    for tag in (TAG, replace(TAG, made_qdisc=False)):
        named = FOREIGN._replace(handle=HANDLE | 5, name=tag.name())
        classic = FOREIGN._replace(handle=HANDLE | 5, name="", ops=bytes(24) + tag.ops())
        assert tag_of(named) == tag_of(classic) == tag


@pytest.mark.parametrize(
    "other",
    [
        FOREIGN,
        FOREIGN._replace(handle=HANDLE | 1),
        FOREIGN._replace(name=TAG.name()),
        FOREIGN._replace(handle=HANDLE | 1, name=TAG.name() + "x"),
        FOREIGN._replace(handle=HANDLE | 1, name="", ops=bytes(40)),
        FOREIGN._replace(handle=HANDLE | 1, name="", ops=TAG.ops()[:-1] + b"\0"),
        FOREIGN._replace(handle=HANDLE | 1, name=TAG.name(), kind="u32"),
    ],
)
def test_a_filter_of_others_has_no_tag(other: Filter) -> None:
    assert tag_of(other) is None


def test_an_owner_lives_until_it_is_closed() -> None:
    owner = FilterOwner()
    assert is_owner_alive(owner.token)
    owner.close()
    assert not is_owner_alive(owner.token)
    owner.close()


def test_attributes_survive_the_way() -> None:
    packed = attribute(1, b"a") + nested(2, attribute(3, b"bcd"), attribute(4, b""))
    assert len(packed) % 4 == 0
    found = attributes(packed)
    assert found[1] == b"a"
    assert attributes(found[2]) == {3: b"bcd", 4: b""}


@pytest.mark.parametrize("cut", [b"\x01", b"\x00\x00\x01\x00", b"\x03\x00\x01\x00"])
def test_attributes_that_are_none_end_the_list(cut: bytes) -> None:
    assert attributes(attribute(1, b"abcd") + cut) == {1: b"abcd"}
