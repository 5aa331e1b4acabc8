"""The working folder: one owner at a time, who can be named."""

import os
import shutil
from pathlib import Path

from pipeline_containers.sandbox.host.rootless import host_pid
from pipeline_containers.system import owner_lock


class FolderInUse(Exception):
    """Another process works in the folder; the message says which."""


class WorkFolder:
    """A worker's own folder, locked for as long as the process lives."""

    def __init__(self, path: Path, owner: str) -> None:
        """Create and lock it.

        Raises FolderInUse if another process has it, OSError if it cannot be.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o711)
        self.path = path.resolve()
        try:
            self._lock = owner_lock.take(self.path / "lock", f"{owner} (process {host_pid()})")
        except owner_lock.AlreadyOwned as error:
            raise FolderInUse(
                f"{self.path} is in use by {error.owner}: give each worker a folder of its own"
            ) from None

    def folder(self, name: str) -> Path:
        """Return a folder in it, made if need be."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def scratch(self) -> Path:
        """Return a folder for what is needed for a moment only; what the dead had there is gone."""
        shutil.rmtree(self.path / "tmp", ignore_errors=True)
        return self.folder("tmp")

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
