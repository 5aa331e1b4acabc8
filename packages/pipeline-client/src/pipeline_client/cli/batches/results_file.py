"""The file that a batch's results are appended to, and found in when it goes on."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from pipeline_client.cli.batches.records import (
    BadRecord,
    RunKey,
    RunRecord,
    is_torn,
    read_record,
    record_line,
)
from pipeline_client.cli.batches.tally import status_of

_SYNC_S = 1.0
"""Results of so long may be lost with the computer's power; none with the process."""


class BadResultsFile(ValueError):
    """What is there is no results file, or in use, or cannot be written; says what to do."""


class Ran(Struct, frozen=True):
    """Where a result is in the file, and what is counted of it."""

    offset: int
    length: int
    code: int
    status: str | None


class ResultsFile:
    """One process's at a time; each line is whole, or not there."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = 0
        self._synced = time.monotonic()
        self.ran: dict[RunKey, Ran] = {}
        """What is in it."""
        self._recover()

    def append(self, record: RunRecord) -> None:
        """Write a result behind the others.

        Raises BadResultsFile if that fails, and leaves nothing of it.
        """
        line = record_line(record)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            self._note(record, len(line))
            if time.monotonic() - self._synced >= _SYNC_S:
                self.sync()
        except BaseException as error:  # an interrupt too
            os.ftruncate(self._descriptor, self._size)
            if isinstance(error, OSError):
                raise BadResultsFile(f"{self.path}: {error.strerror}") from None
            raise

    def read(self, key: RunKey) -> RunRecord:
        """Read a result that is in it."""
        place = self.ran[key]
        return read_record(os.pread(self._descriptor, place.length, place.offset))

    def sync(self) -> None:
        """Have the disk keep what was written."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise BadResultsFile(f"{self.path}: {error.strerror}") from None
        self._synced = time.monotonic()

    def _note(self, record: RunRecord, length: int) -> None:
        ran = Ran(self._size, length, record.code, status_of(record.response))
        self._size += length
        self.ran.setdefault(record.key, ran)

    def _recover(self) -> None:
        """Read what is there; drop the torn line of a crash, if all before it is ours."""
        with open(os.dup(self._descriptor), "rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    try:
                        self._note(read_record(line), len(line))
                    except BadRecord as error:
                        raise BadResultsFile(f"line {number} of {self.path} is {error}") from None
                elif is_torn(line):
                    os.ftruncate(self._descriptor, self._size)
                else:
                    why = "is the beginning of no result of a batch"
                    raise BadResultsFile(f"line {number} of {self.path} {why}")


@contextmanager
def opened(path: Path) -> Iterator[ResultsFile]:
    """Open a results file, or make one; no other process can until it is closed.

    Raises BadResultsFile.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise BadResultsFile(f"{path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadResultsFile(f"{path} is no plain file")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadResultsFile(f"{path} is in use by another batch: name another one") from None
        results = ResultsFile(path, descriptor)
        _sync_folder(path.parent)
        try:
            yield results
        finally:
            results.sync()
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Have the disk keep that the file is there."""
    with suppress(OSError):  # a folder that may be written but not read
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
