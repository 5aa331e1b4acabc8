"""The OCI runtime configuration of a build's container. No I/O.

A builder needs the rights of a root that can mount: it has them in a user namespace, over nothing
of the host's. It sees the host's programs (/usr, read-only) and what is bound in, no other file.
Its network namespace is the host's, so that its root has no right over it. Its /proc is not masked,
or the containers that it makes could not have one. Source: the OCI runtime specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_containers.sandbox.container.seccomp import fixed_core_limit
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import ID_COUNT
from pipeline_containers.sandbox.limits import NO_CORE_DUMP
from pipeline_containers.system.units import GIB, MIB

FIRST_BUILD_ID = FIRST_HOST_ID - ID_COUNT
"""A build's ids on the host: this one and the 65,535 after it, below those of jobs."""

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID"),
        *("SYS_ADMIN", "SYS_CHROOT"),
    )
)
"""What a Dockerfile's commands have by custom, and `SYS_ADMIN`, to mount and to make containers."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TMP = "/var/tmp"  # noqa: S108 -- the container's own
"""On disk; /tmp and /run are memory."""
_HARD = ("nosuid", "nodev")
_NO_EXEC = (*_HARD, "noexec")


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the host's, and where it is seen."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class CellPlan:
    """What a build's container is made of."""

    root: Path
    network: Path
    cgroup: str
    binds: Sequence[Bind]
    arguments: Sequence[str]
    environment: Mapping[str, str]
    file_bytes: int
    """The most that one file may have."""
    ceilings: Mapping[str, int]
    """The host's own hard limits, by name, which cannot be exceeded."""


def cell_config(plan: CellPlan) -> dict[str, Any]:
    """Make the content of a bundle's `config.json`."""
    ids = [{"containerID": 0, "hostID": FIRST_BUILD_ID, "size": ID_COUNT}]
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "cgroup", "user")]
    limits = {
        "RLIMIT_CORE": NO_CORE_DUMP,
        "RLIMIT_FSIZE": plan.file_bytes,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": 65_536,
        "RLIMIT_SIGPENDING": 4_096,
    }
    limits = {name: min(most, plan.ceilings.get(name, most)) for name, most in limits.items()}
    return {
        "ociVersion": "1.0.2",
        "hostname": "build",
        "root": {"path": str(plan.root), "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "umask": 0o022},
            "args": list(plan.arguments),
            "cwd": "/",
            "env": [f"{name}={value}" for name, value in plan.environment.items()],
            "capabilities": {
                kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")
            },
            "noNewPrivileges": False,  # commands may be another user's, and use sudo
            "rlimits": [{"type": it, "soft": most, "hard": most} for it, most in limits.items()],
            "oomScoreAdj": 500,
        },
        "mounts": [*_own_mounts(), *(_bound(bind) for bind in plan.binds)],
        "linux": {
            "namespaces": [*namespaces, {"type": "network", "path": str(plan.network)}],
            "uidMappings": ids,
            "gidMappings": ids,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": fixed_core_limit(),
            "rootfsPropagation": "private",
            **({"cgroupsPath": plan.cgroup} if plan.cgroup else {}),
        },
    }


def _own_mounts() -> list[dict[str, Any]]:
    memory = f"size={GIB}"
    return [
        _mount("/proc", "proc", "proc", _NO_EXEC),
        _mount("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755", "size=64k", "nr_inodes=64")),
        _mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "ptmxmode=0666", "max=64")),
        _mount("/dev/shm", "tmpfs", "shm", (*_NO_EXEC, "mode=1777", f"size={64 * MIB}")),  # noqa: S108
        _mount("/sys", "bind", "/sys", ("rbind", "rro", *_NO_EXEC)),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", ("ro", *_NO_EXEC)),
        _mount("/tmp", "tmpfs", "tmpfs", (*_HARD, "mode=1777", memory)),  # noqa: S108
        _mount("/run", "tmpfs", "tmpfs", (*_HARD, "mode=755", memory)),
    ]


def _bound(bind: Bind) -> dict[str, Any]:
    # what is writable may be mounted again within, which locked flags would not let
    options = ("rbind", "rw") if bind.writable else ("rbind", "ro", *_HARD)
    return _mount(bind.target, "bind", str(bind.source), options)


def _mount(target: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}
