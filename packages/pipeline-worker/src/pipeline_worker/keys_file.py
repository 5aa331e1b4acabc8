"""A worker's file of keys on this host: of use only if nobody else may read it."""

import os
from pathlib import Path

import zmq

from pipeline_protocol.keys import (
    MAX_FILE_BYTES,
    BadKeys,
    MemberKeys,
    check_mode,
    read_member_keys,
)


def read_keys(path: Path) -> MemberKeys:
    """Return what the file says; raises BadKeys.

    The client has its own: packages share nothing but the protocol, and that does no I/O.
    """
    if not zmq.has("curve"):
        raise BadKeys("keys need CURVE, and this pyzmq is built without it: install its wheel")
    try:
        with path.open("rb") as file:
            check_mode(os.fstat(file.fileno()).st_mode, str(path))
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadKeys(f"{path}: {error.strerror}") from None
    return read_member_keys(data, str(path))
