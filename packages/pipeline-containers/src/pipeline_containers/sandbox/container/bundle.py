"""The OCI runtime configuration of one run: pure, from the image's configuration and the limits.

All namespaces, no capability, no new privileges, a read-only root, everything writable capped; but
for what a kind or a track is given beside.
Source: the OCI runtime specification, `config.md` and `config-linux.md`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_containers.sandbox.container.places import SHM, TMP
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host.enforcement import FULL, Enforcement
from pipeline_containers.sandbox.host.ids import IdMap
from pipeline_containers.sandbox.limits import (
    CPU_PERIOD_US,
    LEAST_OPEN_FILES,
    NO_CORE_DUMP,
    PENDING_SIGNALS,
    TERMINALS,
    Limits,
)
from pipeline_containers.sandbox.tools import HOST_NAME, JOB_FOLDER

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NAMESPACES = ("pid", "mount", "ipc", "uts", "network", "cgroup", "user")
"""Each is new and the container's own; the network has nothing in it but its loopback."""

MASKED_FILES = (
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/locks",  # those of open files are everybody's, and the lines count all of the host's
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
)
MASKED_FOLDERS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
CGROUPS = "/sys/fs/cgroup"
FILE_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID")
ID_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID")
"""What a container's root may be given, within its user namespace: no capability beside."""
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a container is made of, beside its limits.

    `cgroup` is empty where there can be none. `ceilings` are the host's own hard limits, by name,
    which it may not be able to exceed. `user_namespace` is the path of one that has the ids, or
    empty: the runtime makes one. `devices` is a folder to be its /dev; without one, the runtime
    fills it with the host's own. `masked_files` are those that there are, if the runtime is not to
    hide them itself: /dev/null of `devices` does.
    """

    root: Path
    job_folder: Path
    tmp: Path
    command: Sequence[str]
    cwd: str
    env: Sequence[str]
    user: User
    cgroup: str
    ids: IdMap
    seccomp: Mapping[str, Any]
    swap_is_counted: bool = True
    ceilings: Mapping[str, int] = field(default_factory=dict)
    has_terminal: bool = False
    enforcement: Enforcement = FULL
    user_namespace: str = ""
    devices: Path | None = None
    places: Sequence[tuple[str, Path]] = ()
    """What is bound over folders of the root, by their paths, outer ones first."""
    masked_files: Sequence[str] | None = None
    cgroup_view: Path | None = None
    """A folder to be seen at /sys/fs/cgroup; without one, nothing is."""
    open_files: int = 2**63
    """Of all its processes together."""
    sets_rlimits: bool = True
    """Else its processes are to inherit them from the runtime (`resource_limits`)."""


def runtime_config(bundle: Bundle, limits: Limits) -> dict[str, Any]:
    """Make the content of a bundle's `config.json`."""
    mapping = [
        {"containerID": part.inside, "hostID": part.outside, "size": part.count}
        for part in bundle.ids.ranges
    ]
    return {
        "ociVersion": "1.0.2",
        "hostname": HOST_NAME,
        "root": {"path": str(bundle.root), "readonly": not limits.writable_root_bytes},
        "process": {
            "terminal": bundle.has_terminal,
            "user": {"uid": bundle.user.uid, "gid": bundle.user.gid, "umask": 0o022},
            "args": list(bundle.command),
            "cwd": bundle.cwd,
            "env": _environment(bundle.env),
            "capabilities": _capabilities(bundle, limits),
            "noNewPrivileges": True,
            "rlimits": _rlimits(limits, bundle) if bundle.sets_rlimits else [],
            "oomScoreAdj": 500,  # rather the tool than what watches it
        },
        "mounts": _mounts(bundle, limits),
        "linux": {
            "namespaces": _namespaces(bundle),
            "uidMappings": mapping,
            "gidMappings": mapping,
            "resources": _resources(limits, bundle),
            "seccomp": dict(bundle.seccomp),
            "maskedPaths": [
                *(MASKED_FILES if bundle.masked_files is None else ()),
                *MASKED_FOLDERS,
                *(() if bundle.cgroup_view else (CGROUPS,)),
            ],
            "readonlyPaths": list(READ_ONLY),
            "rootfsPropagation": "rprivate",  # each mount: systemd's hosts share theirs
            **({"cgroupsPath": bundle.cgroup} if bundle.cgroup else {}),
        },
    }


def _capabilities(bundle: Bundle, limits: Limits) -> dict[str, list[str]]:
    """Give none, or root those of files and ids; never such as a program could pass on to others.

    Where no cgroup counts processes their limit is each user's, so there root stays one user.
    """
    if not limits.root_capabilities or bundle.user.uid != 0:
        return {}
    has_users = bundle.enforcement.holds("pids")
    names = [*FILE_CAPABILITIES, *(ID_CAPABILITIES if has_users else ())]
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def _namespaces(bundle: Bundle) -> list[dict[str, str]]:
    paths = {"user": bundle.user_namespace}
    return [
        {"type": kind, **({"path": path} if (path := paths.get(kind)) else {})}
        for kind in NAMESPACES
    ]


def _environment(env: Sequence[str]) -> list[str]:
    """Keep the last entry of each name, and see to it that there is a PATH."""
    by_name = {entry.partition("=")[0]: entry for entry in (DEFAULT_PATH, *env)}
    return list(by_name.values())


def resource_limits(limits: Limits, bundle: Bundle) -> dict[str, int]:
    """Give the limits of each process, by name: soft and hard are the same.

    No address-space limit: it breaks the JVM, Go and Node, and the cgroup counts memory. Where no
    cgroup counts processes, the limit of a user's stands in: since Linux 5.14 it counts those in
    the container's own user namespace.
    """
    values = {
        "RLIMIT_NOFILE": min(
            limits.open_files, max(bundle.open_files // limits.pids, LEAST_OPEN_FILES)
        ),
        "RLIMIT_CORE": NO_CORE_DUMP,
        "RLIMIT_MEMLOCK": 8 * 1024 * 1024,
        "RLIMIT_SIGPENDING": PENDING_SIGNALS,
        "RLIMIT_MSGQUEUE": 0,  # no tool wants any
    }
    if not bundle.enforcement.holds("pids"):
        values["RLIMIT_NPROC"] = limits.pids
    ceilings = bundle.ceilings
    return {kind: min(value, ceilings.get(kind, value)) for kind, value in values.items()}


def _rlimits(limits: Limits, bundle: Bundle) -> list[dict[str, Any]]:
    values = resource_limits(limits, bundle)
    return [{"type": kind, "soft": value, "hard": value} for kind, value in values.items()]


def _mounts(bundle: Bundle, limits: Limits) -> list[dict[str, Any]]:
    hard = ["nosuid", "nodev"]
    no_exec = [*hard, "noexec"]
    return [
        *(_mount(path, "bind", str(place), [*hard, "bind", "rw"]) for path, place in bundle.places),
        _mount("/proc", "proc", "proc", no_exec),
        _devices(bundle),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", f"max={TERMINALS}"],
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", no_exec),
        _mount(
            SHM,
            "tmpfs",
            "shm",
            [*no_exec, "mode=1777", f"size={limits.shm_bytes}", "nr_inodes=4096"],
        ),
        _mount(TMP, "bind", str(bundle.tmp), [*hard, "bind", "rw"]),
        _mount("/sys", "sysfs", "sysfs", [*no_exec, "ro"]),
        *_cgroups(bundle, no_exec),
        _mount(JOB_FOLDER, "bind", str(bundle.job_folder), [*hard, "bind", "rw"]),
        *(
            _mount(file, "bind", f"{bundle.devices}/null", ["nosuid", "noexec", "bind", "ro"])
            for file in bundle.masked_files or ()
        ),
    ]


def _cgroups(bundle: Bundle, options: list[str]) -> list[dict[str, Any]]:
    """Show the container its own cgroup: not by the runtime, which would mount all hierarchies."""
    if bundle.cgroup_view is None:
        return []
    return [_mount(CGROUPS, "bind", str(bundle.cgroup_view), [*options, "rbind", "ro"])]


def _devices(bundle: Bundle) -> dict[str, Any]:
    """Devices and nothing else: a folder of them, or such as the runtime binds in one by one."""
    if bundle.devices is None:
        return _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "mode=755", "size=64k", "nr_inodes=64"])
    return _mount("/dev", "bind", str(bundle.devices), ["nosuid", "bind", "rw"])


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _resources(limits: Limits, bundle: Bundle) -> dict[str, Any]:
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if bundle.enforcement.holds("memory"):
        resources["memory"] = {"limit": limits.memory_bytes}
        if bundle.swap_is_counted:  # memory and swap together: no swap at all
            resources["memory"]["swap"] = limits.memory_bytes
    if bundle.enforcement.holds("pids"):
        resources["pids"] = {"limit": limits.pids}
    if bundle.enforcement.holds("cpus"):
        resources["cpu"] = {
            "period": CPU_PERIOD_US,
            "quota": limits.cpu_quota_us(CPU_PERIOD_US),
            "shares": limits.cpu_shares(),
        }
    return resources
