"""What is mounted where, and its unmounting. Source: proc_pid_mountinfo(5)."""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.system import syscalls

OWN = Path("/proc/self/mountinfo")
"""What this process sees mounted."""

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of a `mountinfo`."""

    place: Path
    root: str
    """What of the file system is seen at `place`."""
    options: frozenset[str]
    """The mount's own, "ro" among them."""
    kind: str
    source: str
    kind_options: tuple[str, ...]
    """The file system's, as they stand there."""


def parse_mounts(text: str) -> Iterator[Mount]:
    """Read a `mountinfo`'s text, in its order: a later mount lies on top. Passes by other lines."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split(" ")
        if len(fields) < 6 or len(kinds) < 3:
            continue
        yield Mount(
            Path(_unescape(fields[4])),
            _unescape(fields[3]),
            frozenset(fields[5].split(",")),
            kinds[0],
            _unescape(kinds[1]),
            tuple(kinds[-1].split(",")),
        )


def find_mounts() -> Iterator[Mount]:
    """List what this process sees mounted."""
    return parse_mounts(OWN.read_text())


def mounts_below(folder: Path) -> list[Path]:
    """List the mount points in a folder, the latest first."""
    top = folder.resolve()
    return [mount.place for mount in find_mounts() if top in mount.place.parents][::-1]


def unmount(target: Path) -> None:
    """Detach what is mounted at `target`; nothing there is fine."""
    try:
        syscalls.umount(str(target))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise SandboxError(f"{target} cannot be unmounted: {error}") from error


def _unescape(text: str) -> str:
    """Read a path as mountinfo writes it: blanks and the like are octal there."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
