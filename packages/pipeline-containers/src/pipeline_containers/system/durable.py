"""Files that are whole after a crash of the host, the old one or the new."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace_text(file: Path, text: str) -> None:
    """Write aside, sync, rename, sync the folder; one caller at a time."""
    aside = file.with_name(file.name + ".new")
    aside.write_text(text)
    sync(aside)
    aside.rename(file)
    sync(file.parent)
