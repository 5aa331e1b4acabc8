"""What is mounted where, and its unmounting."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.system import syscalls

_OCTAL = re.compile(r"\\([0-7]{3})")


def unmount(target: Path) -> None:
    """Detach what is mounted at `target`; nothing there is fine."""
    try:
        syscalls.umount(str(target))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise SandboxError(f"{target} cannot be unmounted: {error}") from error


def mounts_below(folder: Path) -> Iterator[Path]:
    """List the mount points in a folder, the latest first."""
    top = str(folder.resolve())
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        place = place_of(line)
        if str(place).startswith(top + "/"):
            yield place


def place_of(line: str) -> Path:
    """Take the mount point from a line of `/proc/self/mountinfo`."""
    return Path(unescape(line.split()[4]))


def unescape(text: str) -> str:
    """Read a path as mountinfo writes it: blanks and the like are octal there."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
