"""Ranges of ids that no two containers on a host have at the same time.

What the kernel counts by user is then each container's own. A range is held by a lock on a file
that is named after its first id, which goes with whoever holds it: several sandboxes share a host.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.ids import ID_COUNT

FIRST_HOST_ID = 1_879_048_192
"""The containers' ids on the host: from 0x70000000 on, which no account has."""
LOCKS = Path("/run/pipeline-containers/ids")

_END = 2**31  # some programs take ids for signed


class IdRanges:
    """The ranges that one sandbox holds, taken one by one, from the second on.

    The first is for files on the disk that all its containers own, where they cannot be mapped.
    """

    def __init__(self, first: int = FIRST_HOST_ID, folder: Path = LOCKS) -> None:
        self._others = iter(range(first + ID_COUNT, _END - ID_COUNT + 1, ID_COUNT))
        self._folder = folder
        self._held: dict[Path, int] = {}

    def take(self) -> int:
        """Take a range that nobody has; its first id. Raises `SandboxError` if there is none."""
        for first in self._others:
            file = self._folder / str(first)
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = _lock(file)
            except OSError as error:
                raise SandboxError(
                    f"{file} cannot be locked ({error.strerror}), by which workers keep their "
                    f"containers' ids apart: let root write in {self._folder.parent}"
                ) from error
            if lock is not None:
                self._held[file] = lock
                return first
        raise SandboxError(f"no ids are left for containers: {self._folder} says which are taken")

    def close(self) -> None:
        """Let others have them."""
        for file, lock in self._held.items():
            file.unlink(missing_ok=True)
            os.close(lock)
        self._held.clear()


def _lock(file: Path) -> int | None:
    """Lock a file, made if need be; None if somebody else has."""
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), file.stat()):
                return lock
        os.close(lock)  # its last holder has removed it just before
