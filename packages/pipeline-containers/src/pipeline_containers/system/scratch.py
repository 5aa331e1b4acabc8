"""Folders for the time of a job, which nobody finds again: not even those of a killed process.

    PARENT/.lock      held for a moment, while folders come and are swept
    PARENT/scratch-*  one for each live job, each locked by its owner

A lock goes with the process that holds it. So what can be locked is a dead one's, and is removed,
with whatever is mounted in it, when the next job begins.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_containers.system.mountinfo import mounts_below, unmount


@contextmanager
def scratch_folder(parent: Path, end: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Make a folder of one's own in `parent`, gone afterwards, as are those of the dead.

    `end` is called with a folder before it goes: to end what the host still has of the job.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent):
        _sweep(parent, end)
        folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
        owner = _lock(folder)
    try:
        yield folder
    finally:
        try:
            _remove(folder, end)
        finally:
            os.close(owner)


def _sweep(parent: Path, end: Callable[[Path], None] | None) -> None:
    for folder in parent.glob("scratch-*"):
        try:
            owner = _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            continue
        try:
            _remove(folder, end)
        finally:
            os.close(owner)


def _remove(folder: Path, end: Callable[[Path], None] | None) -> None:
    try:
        if end is not None:
            end(folder)
    finally:
        for place in list(mounts_below(folder)):
            unmount(place)
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
