"""A local folder as a solution's input: sent along when it is small and text, else uploaded."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from pipeline_client._plans.uploads import upload
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import codec, status
from pipeline_protocol.names import FileName

MAX_INLINE_BYTES = codec.MAX_REQUEST_BYTES - 8_192
"""Of the files as JSON; the rest is for what else a request says."""
MAX_INLINE_FILES = 1_000
_SKIPPED = ".git"


def inputs_of(
    folder: str | os.PathLike[str], upload_to: str | None, allowed_s: float
) -> dict[str, Any]:
    """Return a request's `files` and `s3_uri` for what is in a folder, uploaded if need be.

    Raises RequestError when there is nothing in it, or what cannot be sent: links, pipes, odd
    names.
    """
    root = Path(folder)
    try:
        sizes = dict(sorted(_files(root, "")))
        files = _texts(root, sizes)
    except OSError as error:
        raise _refused(root, f"{error.strerror}: {error.filename}") from None
    if not sizes:
        raise _refused(root, "there is no file in it")
    if files is not None:
        return {"files": files, "s3_uri": UNSET}
    if upload_to is None:
        why = f"it is more than {MAX_INLINE_FILES} files, {MAX_INLINE_BYTES} bytes or text: give"
        how = "the client an upload_to='s3://bucket/prefix/', or upload it and give its s3_uri"
        raise _refused(root, f"{why} {how}")
    return {"files": UNSET, "s3_uri": upload(root, sizes, upload_to, allowed_s)}


def _files(root: Path, within: str) -> Iterator[tuple[str, int]]:
    with os.scandir(root / within) as entries:
        for entry in entries:
            name = f"{within}{entry.name}"
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                if entry.name != _SKIPPED:
                    yield from _files(root, f"{name}/")
            elif not stat.S_ISREG(facts.st_mode):
                what = "a link" if stat.S_ISLNK(facts.st_mode) else "not a plain file"
                raise _refused(root, f"{name!r} is {what}: only files and folders can be sent")
            elif not _can_be_named(name):
                raise _refused(root, f"{name!r} is no name that can be sent")
            else:
                yield name, facts.st_size


def _can_be_named(name: str) -> bool:
    try:
        name.encode()
        msgspec.convert(name, FileName)
    except (UnicodeEncodeError, msgspec.ValidationError):
        return False
    return True


def _texts(root: Path, sizes: dict[str, int]) -> dict[str, str] | None:
    """Return the files' content if all is text and not too much; else None."""
    if sum(sizes.values()) > MAX_INLINE_BYTES or not 0 < len(sizes) <= MAX_INLINE_FILES:
        return None
    files = {}
    for name in sizes:
        with open(os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            data = file.read(MAX_INLINE_BYTES + 1)
        try:
            files[name] = data.decode()
        except UnicodeDecodeError:
            return None
    return files if len(msgspec.json.encode(files)) <= MAX_INLINE_BYTES else None


def _refused(folder: Path, why: str) -> PipelineError:
    return error_of(status.UNUSABLE, f"the folder {folder} cannot be sent: {why}")
