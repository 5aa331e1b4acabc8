"""What runs leave on a host if something goes wrong: processes, mounts, cgroups."""

import os
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from msgspec import Struct


class Leftovers(Struct, frozen=True):
    """Everything on the host that can be told to be of a folder's pipeline."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.cgroups)


def find_leftovers(folder: Path) -> Leftovers:
    """Look for processes that name the folder, mounts beneath it, and its workers' cgroups."""
    return Leftovers(
        frozenset(_processes(str(folder))),
        frozenset(mount for mount in mount_points() if mount.startswith(f"{folder}/")),
        frozenset(str(cgroup) for run in folder.glob("*/run") for cgroup in sandbox_cgroups(run)),
    )


def mount_points() -> list[str]:
    """List where something is mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def sandbox_cgroups(run: Path, kind: str = "*") -> list[Path]:
    """List the cgroups of a sandbox, some a hierarchy: named after its folder."""
    key = sha256(str(run.resolve()).encode()).hexdigest()[:16]
    pattern = f"pipeline-{key}{kind}"
    found = []
    for parent, names, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(parent, name) for name in names if fnmatch(name, pattern)]
        names[:] = [name for name in names if not name.startswith("pipeline-")]
    return found


def _processes(folder: str) -> list[str]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            line = command.replace(b"\0", b" ").decode(errors="replace").strip()
            if folder in line:
                found.append(f"{entry.name} {line}")
    return found
