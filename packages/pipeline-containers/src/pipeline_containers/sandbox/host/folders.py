"""The folder of one sandbox, with one owner at a time.

FOLDER/lock       held by the one process that owns the folder
FOLDER/jobs/      a folder for each live container: bundle, job folder (a tmpfs)
FOLDER/roots/     images, mounted read-only
FOLDER/runtime/   the container runtime's state
FOLDER/self-test/ the layer of the self-test's image
FOLDER/cgroups    where its cgroups are, a line each, while it has an owner
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.hierarchies import PLACE
from pipeline_containers.sandbox.host.rootless import host_pid
from pipeline_containers.system import owner_lock


class SandboxFolders:
    """The places of a sandbox, made and locked; raises `SandboxError` if that cannot be."""

    def __init__(self, folder: Path, *, are_strangers: bool = True) -> None:
        """Make and lock it; containers that are no strangers are this user, and get through."""
        self.folder = folder.resolve()
        self.jobs = self.folder / "jobs"
        self.roots = self.folder / "roots"
        self.runtime = self.folder / "runtime"
        self.self_test = self.folder / "self-test"
        self._cgroups = self.folder / "cgroups"
        self._make()
        if are_strangers:
            self._check_way()
        try:
            self._lock = owner_lock.take(self.folder / "lock", f"process {host_pid()}")
        except owner_lock.AlreadyOwned as error:
            raise SandboxError(
                f"{self.folder} belongs to {error.owner}: choose another folder"
            ) from error

    @property
    def key(self) -> str:
        """A name that no other folder on this host has."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]

    def note_cgroups(self, folders: Iterable[Path]) -> None:
        """Keep for the next owner where the cgroups are: it may be started in other ones."""
        self._cgroups.write_text("".join(f"{folder}\n" for folder in folders))

    def noted_cgroups(self) -> list[Path]:
        """Return which cgroups the last owner left; only such as are named after this folder."""
        try:
            lines = self._cgroups.read_text().splitlines()
        except OSError:
            return []
        name = f"pipeline-{self.key}"
        places = [Path(line) for line in lines if line.startswith(f"{PLACE}/")]
        return [
            place for place in places if place.name.startswith(name) and ".." not in place.parts
        ]

    def release(self) -> None:
        """Let another process have it."""
        if not any(place.exists() for place in self.noted_cgroups()):
            self._cgroups.unlink(missing_ok=True)
        os.close(self._lock)

    def _make(self) -> None:
        for place, mode in ((self.jobs, 0o711), (self.roots, 0o711), (self.runtime, 0o700)):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(mode)

    def _check_way(self) -> None:
        """See that a container's ids get through to its root folder."""
        open_way(self.folder)


_THROUGH = 0o011


def open_way(folder: Path, *below: Path) -> None:
    """Let containers' ids through a folder, and through others below it.

    Its group as well: runc 1.1.15 goes there as the container's root, with the groups of the host's
    that it was started in.
    Raises `SandboxError` if something above does not let them.
    """
    for place in (folder, *below):
        place.chmod(place.stat().st_mode | _THROUGH)
    for place in folder.parents:
        if place.stat().st_mode & _THROUGH != _THROUGH:
            raise SandboxError(
                f"containers cannot get through {place}: chmod go+x {place}, "
                "or choose another working folder"
            )
