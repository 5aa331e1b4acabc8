"""Locks on the bytes of a file that all sandboxes of a host have in common.

Whoever holds one has what its number stands for; it goes with whoever holds it.
"""

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = "hhqqi4x"  # type, whence, start, length, process; source: fcntl(2)


class ByteLocks:
    """Those that one sandbox holds; the file is made when the first is taken."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._locks = -1

    def take(self, byte: int) -> bool:
        """Lock a byte; false if another sandbox has. Raises `OSError` if the file cannot be used.

        Of one that this sandbox has already it says true: who has which here is the caller's to
        know.
        """
        if self._locks < 0:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._locks = os.open(self._file, flags, 0o600)
        try:
            self._set(fcntl.F_WRLCK, byte)
        except BlockingIOError:
            return False
        return True

    def give_back(self, byte: int) -> None:
        """Let others have one."""
        if self._locks >= 0:
            self._set(fcntl.F_UNLCK, byte)

    def close(self) -> None:
        """Let others have all."""
        if self._locks >= 0:
            os.close(self._locks)
            self._locks = -1

    def _set(self, kind: int, byte: int) -> None:
        wanted = struct.pack(_FLOCK, kind, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, wanted)
