"""How much an input may bring, and what is said of one that cannot be had."""

import errno

MAX_FILES = 10_000
MAX_BYTES = 256 << 20
MAX_DEPTH = 32


class UnusableInput(Exception):
    """The request names an input that cannot be taken; the message says why."""


class InputUnavailable(Exception):
    """The input could not be had, through no fault of the request; the message says why."""


class InputQuota:
    """How much one input may bring: never more than a job folder takes."""

    def __init__(self, files: int = MAX_FILES, size_bytes: int = MAX_BYTES) -> None:
        self._most_files = min(files, MAX_FILES)
        self._most_bytes = min(size_bytes, MAX_BYTES)
        self._files = 0
        self._bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count a file; raises UnusableInput if that is too much."""
        self._files += 1
        self._bytes += size_bytes
        if self._files > self._most_files or self._bytes > self._most_bytes:
            most = f"{self._most_files} files or {self._most_bytes} bytes"
            raise UnusableInput(f"the input has over {most}: it does not fit")


def unwritable(name: str, error: OSError) -> UnusableInput:
    """Return why a file of the input cannot be put into the job folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnusableInput(f"the input does not fit into the job folder (at {name!r})")
    return UnusableInput(f"{name!r} cannot be written: {error.strerror}")
