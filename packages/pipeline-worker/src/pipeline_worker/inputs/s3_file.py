"""A file on its way from S3 into a job folder: what the transfer manager writes to."""

import os
import threading
from pathlib import Path

from pipeline_worker.inputs.quota import InputUnavailable, UnusableInput, unwritable

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class IncomingFile:
    """A file that takes what its listing promised and no byte more; nothing once it is closed.

    The transfer's threads may outlive the job that they fetch for: whatever they still bring then
    must not turn up where that job's folder was.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._at = 0
        self._arrived = 0
        self._file = -1
        self._closed = False
        self._lock = threading.Lock()

    @property
    def is_whole(self) -> bool:
        """Whether as much has come as was promised."""
        return self._arrived == self._size

    def seekable(self) -> bool:
        """Say that parts may come in any order."""
        return True

    def seek(self, offset: int) -> None:
        """Go to where the next part belongs."""
        self._at = offset

    def write(self, data: bytes) -> None:
        """Take a part; an error ends the transfer."""
        with self._lock:
            if self._closed:
                raise InputUnavailable("nobody waits for it any more")
            if self._at + len(data) > self._size:
                raise InputUnavailable("it grew while it was fetched: ask again")
            try:
                self._put(data)
            except OSError as error:
                raise self._unwritable(error) from None

    def finish(self) -> None:
        """Make the file of an object that is empty: there is nothing to fetch."""
        self.write(b"")

    def close(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _put(self, data: bytes) -> None:
        if self._file < 0:
            self._file = os.open(self._path, _NEW, 0o644)
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, self._at)
            self._at += written
            self._arrived += written
            rest = rest[written:]

    def _unwritable(self, error: OSError) -> UnusableInput:
        return unwritable(self._path.name, error)
