"""Ranges of ids that no two containers on a host have at the same time.

What the kernel counts by user is then each container's own. Several sandboxes share a host: a range
is held by a lock on a byte of a common file, which goes with whoever holds it.
"""

from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.byte_locks import ByteLocks
from pipeline_containers.sandbox.host.ids import ID_COUNT

FIRST_HOST_ID = 1_879_048_192
"""The containers' ids on the host: from 0x70000000 on, which no account has."""
LOCKS = Path("/run/pipeline-containers/ids")

_END = 2**31  # some programs take ids for signed


class IdRanges:
    """The ranges that one sandbox holds, taken one by one, from the second on.

    The first is for files on the disk that all its containers own, where they cannot be mapped.
    """

    def __init__(self, first: int = FIRST_HOST_ID, file: Path = LOCKS) -> None:
        self._others = iter(range(first + ID_COUNT, _END - ID_COUNT + 1, ID_COUNT))
        self._file = file
        self._locks = ByteLocks(file)

    def take(self) -> int:
        """Take a range that nobody has; its first id. Raises `SandboxError` if there is none."""
        try:
            for first in self._others:
                if self._locks.take(first // ID_COUNT):
                    return first
        except OSError as error:
            raise SandboxError(
                f"{self._file} cannot be locked ({error.strerror}), by which workers keep their "
                f"containers' ids apart: let root write in {self._file.parent}"
            ) from error
        raise SandboxError(f"no ids are left for containers: {self._file} has all of them locked")

    def close(self) -> None:
        """Let others have them."""
        self._locks.close()
