"""Files of keys on this host: read only if nobody else may, written whole or not at all."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

from pipeline_protocol.keys import BadKeys, check_mode
from pipeline_router.keys import MAX_FILE_BYTES, KeyPair, RouterKeys, read_router_keys
from pipeline_router.unwritable import Unwritable

SECRET_MODE = 0o600


def new_pair() -> KeyPair:
    """Make a pair of keys, by the kernel's own chance."""
    check_curve()
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public).hex(), z85.decode(secret).hex())


def check_curve() -> None:
    """Raise BadKeys where ZeroMQ was built without what keys need."""
    if not zmq.has("curve"):
        raise BadKeys(
            "keys need CURVE, and this pyzmq is built without it: install pyzmq's own wheel, or "
            "build it with libsodium"
        )


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of keys; raises BadKeys, also if others may read it."""
    try:
        with path.open("rb") as file:
            check_mode(os.fstat(file.fileno()).st_mode, str(path))
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadKeys(f"{path}: {error.strerror}") from None


def read_router_file(path: Path) -> RouterKeys:
    """Return what a router's file of keys says; raises BadKeys."""
    return read_router_keys(read_file(path), str(path))


def write_secret(path: Path, data: bytes, *, anew: bool = False) -> None:
    """Write a file that only its owner may read: aside, synced, renamed.

    With `anew` there must be none; raises BadKeys then, and Unwritable.
    """
    path = Path(os.path.realpath(path))
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if path.exists():  # the router may run as another user than who changes its keys
                    had = path.stat()
                    os.fchown(descriptor, had.st_uid, had.st_gid)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            if anew:
                os.link(aside, path)
            else:
                aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise BadKeys(f"{path} is there already: nothing was written") from None
    except OSError as error:
        raise Unwritable(path, error) from None


@contextmanager
def changing(path: Path) -> Iterator[Callable[[RouterKeys], None]]:
    """Keep others from changing a router's file of keys; give what writes it anew."""
    beside = Path(f"{os.path.realpath(path)}.lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
    except OSError as error:
        raise Unwritable(beside, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda keys: write_secret(path, written(keys))
    finally:
        os.close(lock)


def written(keys: msgspec.Struct) -> bytes:
    """Return a file of keys as bytes."""
    return msgspec.json.format(msgspec.json.encode(keys), indent=1) + b"\n"
