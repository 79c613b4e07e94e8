"""Pods and containers, found in a /proc made for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from netkat.errors import BadArgument, SetupError
from netkat.host import containers
from netkat.host.containers import NotOnThisNode, container_netns, pod_netns

ID = "4f2a" + "9" * 60
OTHER = "4f2a" + "7" * 60
UID = "0a1b2c3d-1111-2222-3333-444455556666"
HASH = "0123456789abcdef" * 2
SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
"""A pod of the systemd driver; its uid comes with underscores."""
UNDERSCORED = UID.replace("-", "_")


def process(
    proc: Path,
    pid: int,
    cgroup: str,
    environment: str = "",
    namespace: str | None = None,
    folder: str = "var/run",
) -> None:
    place = proc / str(pid)
    (place / "ns").mkdir(parents=True)
    (place / "ns" / "net").touch()
    (place / "cgroup").write_text(cgroup)
    (place / "environ").write_bytes(environment.encode())
    if namespace is not None:
        account = place / "root" / f"{folder}/secrets/kubernetes.io/serviceaccount/namespace"
        account.parent.mkdir(parents=True)
        account.write_text(namespace + "\n")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(containers, "CRI_SOCKETS", ())
    proc = tmp_path / "proc"
    process(proc, 1, "0::/init.scope\n")
    process(
        proc, 200,
        f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n",
        "PATH=/bin\0HOSTNAME=web-7d9f\0", "shop",
    )  # fmt: skip
    process(
        proc,
        300,
        f"1:cpu:/kubepods/burstable/pod{HASH}/{OTHER}\n",
        "HOSTNAME=web-7d9f\0",
        "x",
        "run",
    )
    return proc


def test_container_by_whole_id_beginning_and_with_its_runtime(proc: Path) -> None:
    for word in (ID, ID[:12], f"containerd://{ID}", ID[:12].upper()):
        assert container_netns(word, proc) == str(proc / "200" / "ns" / "net")
    assert container_netns(OTHER[:8], proc) == str(proc / "300" / "ns" / "net")


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::{SLICE}{UNDERSCORED}.slice/cri-containerd-{OTHER}.scope",
        f"0::{SLICE}{UNDERSCORED}.slice/crio-{OTHER}.scope/container",
        f"0::/kubepods/besteffort/pod{UID}/{OTHER}",
        f"0::/k8s.io/{OTHER}",
        f"0::/system.slice/docker-{OTHER}.scope",
        f"0::/docker/{OTHER}/init.scope",
        f"0::/machine.slice/libpod-{OTHER}.scope/container",
        f"0::/../../kubepods-burstable-pod{UNDERSCORED}.slice/cri-containerd-{OTHER}.scope",
        f"0::/docker/{ID}/kubelet/kubepods/pod{UID}/{OTHER}",
        f"12:memory:/docker/{OTHER}\n1:name=systemd:/docker/{OTHER}\n0::/",
        f"5:cpu,cpuacct:/system.slice/docker-{OTHER}.scope\n0::/init.scope",
        f"11:pids:{SLICE}{UNDERSCORED}.slice:cri-containerd:{OTHER}",
    ],
)
def test_every_form_of_a_containers_cgroup(cgroup: str, tmp_path: Path) -> None:
    """Runtimes, drivers, cgroup v1 and v2; the watcher and the node around it come first."""
    process(tmp_path, 1, "0::/init.scope\n")
    process(tmp_path, 2, f"0::{SLICE}{UNDERSCORED}.slice/crio-conmon-{OTHER}.scope\n")
    process(tmp_path, 3, f"0::/docker/{ID}/init.scope\n")
    process(tmp_path, 44, cgroup + "\n")
    assert container_netns(OTHER[:12], tmp_path) == str(tmp_path / "44" / "ns" / "net")
    assert container_netns(ID[:12], tmp_path) == str(tmp_path / "3" / "ns" / "net")


@pytest.mark.parametrize(
    "cgroup",
    [
        f"{SLICE}{UNDERSCORED}.slice/crio-{ID}.scope",
        f"/kubepods/burstable/pod{UID}/{ID}",
        f"/kubelet.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
        f"/../pod{UID}/{ID}",
    ],
)
def test_every_form_of_a_pods_cgroup(cgroup: str, tmp_path: Path) -> None:
    process(tmp_path, 1, "0::/init.scope\n")
    process(tmp_path, 2, f"0::{SLICE}{UNDERSCORED}.slice/crio-conmon-{OTHER}.scope\n")
    process(tmp_path, 44, f"0::{cgroup}\n", "HOSTNAME=web-0\0", "shop", "run")
    expected = str(tmp_path / "44" / "ns" / "net")
    assert pod_netns("shop/web-0", tmp_path) == expected  # by what the kubelet gave it
    (tmp_path / "1" / "root" / "var/log/pods" / f"prod_db-0_{UID}").mkdir(parents=True)
    assert pod_netns("prod/db-0", tmp_path) == expected  # by the kubelet's logs


def test_container_faults(proc: Path) -> None:
    for word in ("", "xyz", "../../etc", "4f2a", ID + "0"):
        with pytest.raises(BadArgument):
            container_netns(word, proc)
    with pytest.raises(NotOnThisNode, match="abcdef"):
        container_netns("abcdef", proc)
    process(proc, 400, f"0::/docker/{ID[:10]}{'5' * 54}\n")
    with pytest.raises(SetupError, match="2 containers"):
        container_netns(ID[:8], proc)


def test_pod_by_the_kubelets_logs(proc: Path) -> None:
    (proc / "1" / "root" / "var/log/pods" / f"prod_db-0_{UID}").mkdir(parents=True)
    assert pod_netns("prod/db-0", proc) == str(proc / "200" / "ns" / "net")


def test_pod_by_what_its_containers_were_given(proc: Path) -> None:
    assert pod_netns("shop/web-7d9f", proc) == str(proc / "200" / "ns" / "net")
    assert pod_netns("x/web-7d9f", proc) == str(proc / "300" / "ns" / "net")


def test_pod_faults(proc: Path) -> None:
    with pytest.raises(NotOnThisNode, match="default/web-7d9f"):
        pod_netns("web-7d9f", proc)
    for word in ("", "a/", "../x", "A/b", "a/b c"):
        with pytest.raises(BadArgument):
            pod_netns(word, proc)


def test_pod_by_the_runtime_where_it_is_there(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "cri.sock"
    socket.touch()
    tool = tmp_path / "crictl"
    tool.write_text(
        "#!/bin/sh\n"
        f'test "$2" = "unix://{socket}" && test "$5" = "^api$" || exit 1\n'
        f"""echo '{{"items": [{{"metadata": {{"uid": "{UID}"}}}}]}}'\n"""
    )
    tool.chmod(0o755)
    monkeypatch.setattr(containers, "CRI_SOCKETS", (str(socket),))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert pod_netns("prod/api", proc) == str(proc / "200" / "ns" / "net")
    tool.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(NotOnThisNode):
        pod_netns("prod/api", proc)
