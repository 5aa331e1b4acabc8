"""A file that one process at a time holds, for as long as it lives; the file says who that is."""

import contextlib
import fcntl
import os
from pathlib import Path

_OWNER_BYTES = 200


class AlreadyOwned(Exception):
    """Another process holds the file; `owner` is what it wrote there."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"it belongs to {owner}")
        self.owner = owner


def take(file: Path, owner: str) -> int:
    """Hold a file, made if need be, and write into it who does; its open descriptor.

    Raises `AlreadyOwned` if another process has it, `OSError` if it cannot be opened.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor)
        with contextlib.suppress(OSError):  # a full disk keeps nobody from owning it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{owner}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def borrow(file: Path) -> int:
    """Hold a file that is there already, without a word in it; else as `take`."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _lock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, _OWNER_BYTES, 0).decode(errors="replace").strip()
        raise AlreadyOwned(owner or "another process") from None
