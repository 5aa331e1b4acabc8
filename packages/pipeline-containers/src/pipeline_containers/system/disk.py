"""What a folder takes on its disk."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes on the disk, and files, folders too."""

    bytes: int
    files: int


def folder_bytes(folder: Path) -> int:
    """Add up what a folder takes, each file once; what vanishes meanwhile counts nothing."""
    return folder_use(folder).bytes


def folder_use(folder: Path) -> DiskUse:
    """Add up what a folder takes, and count what is in it."""
    total, files, linked, folders = 0, 0, set[tuple[int, int]](), [os.fspath(folder)]
    while folders:
        try:
            place = folders.pop()
            total += os.lstat(place).st_blocks * 512
            with os.scandir(place) as entries:
                found = list(entries)
        except OSError:
            continue
        files += len(found)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            name = (status.st_dev, status.st_ino)
            if name not in linked:
                total += status.st_blocks * 512
            if status.st_nlink > 1:
                linked.add(name)
    return DiskUse(total, files)
