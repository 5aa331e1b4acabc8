"""A client's file of keys on this host: of use only if nobody else may read it."""

import os
from functools import partial
from os import PathLike
from typing import Any

from pipeline_protocol.keys import (
    MAX_FILE_BYTES,
    BadKeys,
    MemberKeys,
    check_mode,
    read_member_keys,
)


def read_keys(path: str | PathLike[str]) -> MemberKeys:
    """Return what the file says; raises BadKeys."""
    try:
        with open(path, "rb") as file:
            check_mode(os.fstat(file.fileno()).st_mode, os.fspath(path))
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadKeys(f"{os.fspath(path)}: {error.strerror}") from None
    return read_member_keys(data, os.fspath(path))


def key_options(path: str | PathLike[str] | None) -> dict[str, Any]:
    """Return the options of a client with that file, or without one; raises BadKeys."""
    if path is None:
        return {}
    return {"keys": read_keys(path), "keys_again": partial(_again, path)}


def _again(path: str | PathLike[str]) -> MemberKeys | None:
    try:
        return read_keys(path)
    except BadKeys:  # it is being written perhaps: what was read before stays
        return None
