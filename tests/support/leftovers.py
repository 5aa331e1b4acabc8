"""What runs leave on a host if something goes wrong: processes, mounts, cgroups."""

import os
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
        frozenset(mount for mount in _mounts() if mount.startswith(f"{folder}/")),
        frozenset(_cgroups(folder)),
    )


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


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def _cgroups(folder: Path) -> list[str]:
    """Find the cgroups of sandboxes beneath the folder; each is named after its sandbox's."""
    root = Path("/sys/fs/cgroup")
    keys = [sha256(str(run.resolve()).encode()).hexdigest()[:16] for run in folder.glob("*/run")]
    return [
        str(path)
        for key in keys
        for pattern in (f"pipeline-{key}", f"*/pipeline-{key}")
        for path in root.glob(pattern)
    ]
