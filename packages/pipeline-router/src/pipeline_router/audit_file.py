"""The file of what was changed, by whom: a JSON line each, appended and synced, rotated by size.

    FILE        the latest
    FILE.1      those before them; FILE.2 before these, and so on

Not thread-safe: the loop's one helper thread uses it.
"""

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline_protocol.responses import AuditEntry
from pipeline_router.unwritable import Unwritable

ROTATE_BYTES = 8 << 20
KEPT_FILES = 8
"""Beside the latest one."""

_decode = msgspec.json.Decoder(AuditEntry).decode


class AuditFile:
    """One file, and those that it was before."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes

    def append(self, entry: AuditEntry) -> None:
        """Write an entry with the present time, so that it outlives a crash of the host.

        Raises `Unwritable` if it cannot be.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode(replace(entry, at=now)) + b"\n"
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a crash left half a line
                if os.write(file, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fdatasync(file)
            finally:
                os.close(file)
            if size + len(line) >= self._rotate_bytes:
                self._rotate()
        except OSError as error:
            raise Unwritable(self.path, error) from None

    def latest(self, limit: int) -> list[AuditEntry]:
        """Return so many entries, the latest last; what is not one is passed over."""
        found: list[AuditEntry] = []
        for entry in self._backwards():
            if len(found) == limit:
                break
            found.append(entry)
        return found[::-1]

    def _backwards(self) -> Iterator[AuditEntry]:
        for number in range(KEPT_FILES + 1):
            try:
                lines = self._numbered(number).read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield _decode(line)
                except (msgspec.DecodeError, RecursionError):
                    continue

    def _numbered(self, number: int) -> Path:
        return Path(f"{self.path}.{number}") if number else self.path

    def _rotate(self) -> None:
        for number in range(KEPT_FILES, 0, -1):
            before = self._numbered(number - 1)
            if before.exists():
                before.replace(self._numbered(number))
