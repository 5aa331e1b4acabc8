"""Why a file cannot be written, for whoever has to mend it: the file, its disk, what to do."""

import errno
import os
from pathlib import Path

_MENDS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room in the quota of the user that the router runs as, or raise it",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "let the user that the router runs as write in its folder",
    errno.EPERM: "let the user that the router runs as write in its folder",
    errno.EIO: "look at the disk, and at the kernel's log",
    errno.ENOENT: "create its folder",
    errno.ENOTDIR: "create its folder",
}


class Unwritable(OSError):
    """A file that could not be written; the message is one line."""

    def __init__(self, path: Path, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno else str(error)
        mend = _MENDS.get(error.errno or 0)
        super().__init__(f"{path}: {why}{_disk(path)}" + (f": {mend}" if mend else ""))


def _disk(path: Path) -> str:
    """Name the file system of a file that may not exist yet, and how full it is."""
    try:
        folder = path.resolve().parent
        while not os.path.ismount(folder):
            folder = folder.parent
        disk = os.statvfs(path.parent)
    except OSError:
        return ""
    free, size = (blocks * disk.f_frsize >> 20 for blocks in (disk.f_bavail, disk.f_blocks))
    files = ", no room for another file" if disk.f_files and not disk.f_favail else ""
    return f" (the disk at {folder}: {free} of {size} MiB free{files})"
