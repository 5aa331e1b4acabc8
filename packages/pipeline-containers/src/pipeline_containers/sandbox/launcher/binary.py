"""The launcher's program: found beside its source, and held so that nobody can change it.

What is executed is a sealed copy in memory: a container whose root is this very user, as those of a
user without ids are, could else write over the file by /proc/self/exe, and the next container would
run what it left.
"""

import fcntl
import os
from pathlib import Path

from pipeline_containers.errors import SandboxError

PLACE = Path(__file__).with_name("launch")
"""What `build-launcher` makes, and a wheel for one platform has."""
_MFD_EXEC = 0x10  # since Linux 6.3, which may want to be told
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_FIRST = 10
"""Descriptors below are the launcher's own."""


def open_launcher(place: Path = PLACE) -> int:
    """Open the sealed copy; a descriptor. Raises `SandboxError` where there is none."""
    try:
        content = place.read_bytes()
    except FileNotFoundError as error:
        raise SandboxError(
            f"the native launcher is not in this installation ({place}): use runc, install the "
            "wheel for this platform, or run build-launcher in a checkout"
        ) from error
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        file = os.memfd_create("launch", flags | _MFD_EXEC)
    except OSError:
        file = os.memfd_create("launch", flags)
    try:
        os.write(file, content)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        return above_streams(file)
    finally:
        os.close(file)


def above_streams(descriptor: int) -> int:
    """Duplicate a descriptor to one that is none of the launcher's own numbers."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
