"""Files that a stranger wrote, read without being led anywhere by them; and the kernel's own.

No link leads out, nothing is waited for (FIFOs, devices), and no more is read than the cap. The
kernel's are small, and many for each job: Python's own file objects take three times as long.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline_containers.system import syscalls

_ALONE = (
    syscalls.RESOLVE_BENEATH
    | syscalls.RESOLVE_NO_SYMLINKS
    | syscalls.RESOLVE_NO_MAGICLINKS
    | syscalls.RESOLVE_NO_XDEV
)
_AS_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_REASONS = {
    errno.ELOOP: "is a link",
    errno.EXDEV: "lies outside of its folder",
    errno.ENXIO: "is not a regular file",
}


_KERNEL_BYTES = 1 << 16


class FileRefused(Exception):
    """A file is not what it should be; the message names it."""


def read_kernel(path: Path) -> str:
    """Read a file of the kernel's (/proc, cgroups), 64 KiB at most."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = bytearray()
        while chunk := os.read(descriptor, _KERNEL_BYTES - len(content)):
            content += chunk
        return content.decode()
    finally:
        os.close(descriptor)


def write_kernel(path: Path, text: str) -> None:
    """Write to a file of the kernel's in one call, as `Path.write_text` does to others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read_beneath(folder: int, path: str, cap_bytes: int) -> bytes:
    """Read a regular file beneath an open folder, following no link at all.

    `FileRefused` says why not; `FileNotFoundError` that there is none.
    """
    with _opened(folder, path, _ALONE) as descriptor:
        return _read(descriptor, path, cap_bytes)


def read_in_root(root: Path, path: str, cap_bytes: int) -> bytes:
    """Read a regular file of a root folder, links followed as if that folder were `/`."""
    with _root(root) as folder, _opened(folder, path, _AS_ROOT) as descriptor:
        return _read(descriptor, path, cap_bytes)


def head_in_root(root: Path, path: str, size: int) -> bytes:
    """Read the first bytes of a file of a root folder, links followed as `read_in_root` does."""
    with _root(root) as folder, _opened(folder, path, _AS_ROOT) as descriptor:
        return os.read(descriptor, size)


def status_in_root(root: Path, path: str) -> os.stat_result:
    """Return what lies at a path of a root folder, links followed as if that folder were `/`."""
    with _root(root) as folder, _opened(folder, path, _AS_ROOT, os.O_PATH) as descriptor:
        return os.fstat(descriptor)


def look_at_folder(root: Path, path: str) -> tuple[os.stat_result, bool]:
    """Return what a folder of a root folder is like, no link followed; whether it is empty.

    `FileRefused` says what it is instead; `FileNotFoundError` that there is none.
    """
    flags = _FLAGS | os.O_DIRECTORY
    with _root(root) as folder, _opened(folder, path.lstrip("/"), _ALONE, flags) as descriptor:
        with os.scandir(descriptor) as entries:
            is_empty = next(entries, None) is None
        return os.fstat(descriptor), is_empty


@contextlib.contextmanager
def open_folder(root: Path, path: str) -> Iterator[int]:
    """Open a folder of a root folder for others to start from, no link followed."""
    flags = os.O_PATH | os.O_DIRECTORY
    with _root(root) as folder, _opened(folder, path.lstrip("/"), _ALONE, flags) as descriptor:
        yield descriptor


@contextlib.contextmanager
def _root(root: Path) -> Iterator[int]:
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened(folder: int, path: str, resolve: int, flags: int = _FLAGS) -> Iterator[int]:
    try:
        descriptor = syscalls.openat2(folder, path, flags, resolve)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be opened ({error.strerror})")
        raise FileRefused(f"{path} {reason}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str, cap_bytes: int) -> bytes:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise FileRefused(f"{path} is not a regular file")
    content = bytearray()
    while chunk := os.read(descriptor, cap_bytes + 1 - len(content)):
        content += chunk
        if len(content) > cap_bytes:
            raise FileRefused(f"{path} is larger than {cap_bytes} bytes")
    return bytes(content)
