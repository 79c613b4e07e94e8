"""Pods and containers of this node, found through /proc and cgroups, without the container runtime.

A container's ID and a pod's UID are in the cgroup path of its processes, with every
runtime, in cgroup v1 and v2, with the systemd and the cgroupfs driver. A pod's name is
searched in the kubelet's log directory (whose entries contain namespace, name and UID), then
in the environment that the kubelet gives every container (host name, service account's
namespace), then with crictl, if it and a CRI socket exist.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from netkat.errors import BadArgument, SetupError

PROC = Path("/proc")
LOGS = ("var/log/pods",)
CRI_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
)
_SERVICE_ACCOUNTS = tuple(
    f"{place}/secrets/kubernetes.io/serviceaccount/namespace" for place in ("var/run", "run")
)
"""Both, since in most images /var/run is a link to /run, and one that begins with a slash leads
out of /proc/PID/root."""
_ID = re.compile(r"[0-9a-f]{6,64}")
_WHOLE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_POD = re.compile(r"pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2|[0-9a-f]{32})")
"""A pod's part of a cgroup: its uid, or a static pod's hash."""
_MONITOR = "conmon"
"""CRI-O's and Podman's watcher of a container: its cgroup has the container's id, and may lie in
the pod's, but it lives in the host's namespaces."""
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_ASK = 5.0
"""Time limit for crictl, in seconds."""


class NotOnThisNode(SetupError, LookupError):
    """The pod or container does not run on this node."""


def container_netns(container: str, proc: Path = PROC) -> str:
    """Network namespace of a container, by its id or the id's beginning (6 digits at least).

    ``runtime://id``, as kubectl prints it, is taken as well. Errors:
    BadArgument, NotOnThisNode, SetupError (a beginning that fits several).
    """
    wanted = container.rpartition("://")[2].lower()
    if not _ID.fullmatch(wanted):
        raise BadArgument(
            f"--container: invalid container ID {container!r}",
            hint="pass 6 to 64 hexadecimal digits",
        )
    found: dict[str, int] = {}
    for pid, cgroup in _cgroups(proc):
        for path in cgroup.splitlines():
            # The last id is the process's own: a node that is itself a container
            # (kind) has its id in front of every pod's.
            for number in _WHOLE_ID.findall(path)[-1:]:
                if number.startswith(wanted):
                    found.setdefault(number, pid)
    if not found:
        raise NotOnThisNode(f"container {wanted} not found on this node", hint=_HOST_PID_HINT)
    if len(found) > 1:
        raise SetupError(
            f"ambiguous container ID {wanted}: {len(found)} containers", hint="pass more digits"
        )
    return _namespace(next(iter(found.values())), f"container {wanted}", proc)


def pod_netns(pod: str, proc: Path = PROC) -> str:
    """Network namespace of a pod, by NAMESPACE/NAME (default/NAME for a bare name).

    Errors: BadArgument, NotOnThisNode.
    """
    namespace, _, name = pod.rpartition("/")
    namespace = namespace or "default"
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(namespace):
        raise BadArgument(f"--pod: {pod!r} is not NAMESPACE/NAME")
    for uid in _uids_by_logs(namespace, name, proc):
        if (pid := _pid_of_uid(uid, proc)) is not None:
            return _namespace(pid, f"pod {pod}", proc)
    if (pid := _pid_by_environment(namespace, name, proc)) is not None:
        return _namespace(pid, f"pod {pod}", proc)
    uid_by_runtime = _uid_by_runtime(namespace, name)
    if uid_by_runtime is not None:
        pid = _pid_of_uid(uid_by_runtime, proc)
        if pid is not None:
            return _namespace(pid, f"pod {pod}", proc)
    raise NotOnThisNode(f"pod {namespace}/{name} not found on this node", hint=_HOST_PID_HINT)


_HOST_PID_HINT = "run in the host's PID namespace if this is a container (hostPID: true)"


def _namespace(pid: int, what: str, proc: Path) -> str:
    path = proc / str(pid) / "ns" / "net"
    try:
        os.stat(path)
    except PermissionError:
        raise SetupError(f"entering {what} requires CAP_SYS_PTRACE and CAP_SYS_ADMIN") from None
    except OSError:
        raise NotOnThisNode(f"{what} has just ended") from None
    return str(path)


def _cgroups(proc: Path) -> Iterator[tuple[int, str]]:
    """Every process's pid and cgroup file, those of watchers left out."""
    for entry in sorted((one for one in os.listdir(proc) if one.isdecimal()), key=int):
        try:
            cgroup = (proc / entry / "cgroup").read_text()
        except OSError:
            continue  # it has ended, or is not readable
        if _MONITOR not in cgroup:
            yield int(entry), cgroup


def _pid_of_uid(uid: str, proc: Path) -> int | None:
    # systemd's cgroup names have underscores where a uid has hyphens.
    forms = {f"pod{uid}", f"pod{uid.replace('-', '_')}"}
    for pid, cgroup in _cgroups(proc):
        if any(form in cgroup for form in forms):
            return pid
    return None


def _uids_by_logs(namespace: str, name: str, proc: Path) -> list[str]:
    """Read UIDs from the kubelet's /var/log/pods/NAMESPACE_NAME_UID, here or on the host."""
    found: list[tuple[float, str]] = []
    for root in (Path("/"), proc / "1" / "root"):
        for place in LOGS:
            try:
                entries = os.listdir(root / place)
            except OSError:
                continue
            for entry in entries:
                parts = entry.split("_")
                if parts[:2] == [namespace, name] and len(parts) == 3:
                    # A pod of a StatefulSet comes again under its name: the newest first.
                    found.append((_age(root / place / entry), parts[2]))
    return [uid for _, uid in sorted(found, reverse=True)]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _pid_by_environment(namespace: str, name: str, proc: Path) -> int | None:
    wanted = f"HOSTNAME={name}".encode()
    for pid, cgroup in _cgroups(proc):
        if not _POD.search(cgroup):
            continue
        try:
            environment = (proc / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment and _namespace_inside(pid, proc) == namespace:
            return pid
    return None


def _namespace_inside(pid: int, proc: Path) -> str | None:
    for account in _SERVICE_ACCOUNTS:
        try:
            return (proc / str(pid) / "root" / account).read_text().strip()
        except OSError:
            continue
    return None


def _uid_by_runtime(namespace: str, name: str) -> str | None:
    """Query crictl for the pod's UID; None without crictl or a CRI socket."""
    socket_path = next((path for path in CRI_SOCKETS if os.path.exists(path)), None)
    crictl = shutil.which("crictl")
    if socket_path is None or crictl is None:
        return None
    import json

    try:
        done = subprocess.run(
            [
                crictl,
                "--runtime-endpoint",
                f"unix://{socket_path}",
                "pods",
                "--name",
                f"^{re.escape(name)}$",
                "--namespace",
                f"^{re.escape(namespace)}$",
                "--state",
                "ready",
                "-o",
                "json",
            ],
            capture_output=True,
            timeout=_ASK,
            check=False,
        )
        items = json.loads(done.stdout or b"{}").get("items") or []
        return str(items[0]["metadata"]["uid"]) if items else None
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return None
