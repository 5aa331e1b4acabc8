"""A local folder as a solution's input: sent along when it is small, else uploaded."""

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from pipeline_client._plans.uploads import upload
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import codec, status
from pipeline_protocol.names import FileName
from pipeline_protocol.requests import BinaryFile, FileContent

MAX_INLINE_BYTES = codec.MAX_REQUEST_BYTES - 8_192
"""Of the files as JSON; the rest is for what else a request says."""
MAX_INLINE_FILES = 1_000
LEFT_OUT = (
    *(".git", ".hg", ".svn"),
    *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "node_modules"),
    *(".idea", ".vscode", ".*.sw[a-p]", "*~", "#*#", ".#*"),  # of editors
    *(".DS_Store", "Thumbs.db"),  # of file managers
)
"""What no tool wants, as patterns of the shell for a file's or a folder's name."""


class FolderInput(Struct, frozen=True):
    """A folder as a request's input."""

    fields: dict[str, Any]
    """`files` and `s3_uri`, one of them UNSET."""
    left_out: tuple[str, ...] = ()
    """What was there and is not sent, by name; a folder ends with ``/``."""


def inputs_of(
    folder: str | os.PathLike[str], upload_to: str | None, allowed_s: float
) -> FolderInput:
    """Return a request's input for what is in a folder, uploaded if need be.

    Raises RequestError when there is nothing in it, or what cannot be sent: links, pipes, odd
    names.
    """
    root = Path(folder)
    sizes, left_out = files_in(root)
    try:
        files, too_large = _inline(root, sizes)
    except OSError as error:
        raise _unreadable(root, error) from None
    if files is not None:
        return FolderInput({"files": files, "s3_uri": UNSET}, left_out)
    if upload_to is None:
        how = "the client an upload_to='s3://bucket/prefix/', or upload it and give its s3_uri"
        raise _refused(root, f"it does not fit into a request: {too_large}. Give {how}")
    uri = upload(root, sizes, upload_to, allowed_s)
    return FolderInput({"files": UNSET, "s3_uri": uri}, left_out)


def files_in(root: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the files of a folder that are sent, each with its bytes, and what is left out.

    Raises RequestError as `inputs_of` does.
    """
    left_out: list[str] = []
    try:
        sizes = dict(sorted(_files(root, "", left_out)))
    except OSError as error:
        raise _unreadable(root, error) from None
    if not sizes:
        but = f" but for {_listed(left_out)}, which is left out" if left_out else ""
        raise _refused(root, f"there is no file in it{but}")
    return sizes, tuple(left_out)


def _files(root: Path, within: str, left_out: list[str]) -> Iterator[tuple[str, int]]:
    with os.scandir(root / within) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{within}{entry.name}"
            facts = entry.stat(follow_symlinks=False)
            if is_left_out(entry.name):
                left_out.append(f"{name}/" if stat.S_ISDIR(facts.st_mode) else name)
            elif stat.S_ISDIR(facts.st_mode):
                yield from _files(root, f"{name}/", left_out)
            elif not stat.S_ISREG(facts.st_mode):
                what = "a link" if stat.S_ISLNK(facts.st_mode) else "not a plain file"
                raise _refused(root, f"{name!r} is {what}: only files and folders can be sent")
            elif not _can_be_named(name):
                raise _refused(root, f"{name!r} is no name that can be sent")
            else:
                yield name, facts.st_size


def is_left_out(name: str) -> bool:
    """Whether a file or folder of that name is what no tool wants."""
    return any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def _can_be_named(name: str) -> bool:
    try:
        name.encode()
        msgspec.convert(name, FileName)
    except (UnicodeEncodeError, msgspec.ValidationError):
        return False
    return True


def _inline(root: Path, sizes: dict[str, int]) -> tuple[dict[str, FileContent] | None, str]:
    """Return the files' content if it fits into a request; else None, and why not."""
    if len(sizes) > MAX_INLINE_FILES:
        return None, f"it has {len(sizes)} files, of at most {MAX_INLINE_FILES}"
    if sum(sizes.values()) > MAX_INLINE_BYTES:
        return None, _too_many_bytes(sizes, "bytes")
    files = {name: _content(root / name) for name in sizes}
    written = {name: len(msgspec.json.encode(content)) for name, content in files.items()}
    if len(msgspec.json.encode(files)) > MAX_INLINE_BYTES:
        return None, _too_many_bytes(written, "bytes as JSON")
    return files, ""


def _content(file: Path) -> FileContent:
    with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
        data = opened.read(MAX_INLINE_BYTES + 1)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return BinaryFile(data)
    return BinaryFile(data) if "\0" in text else text


def _too_many_bytes(sizes: dict[str, int], unit: str) -> str:
    largest = max(sizes, key=lambda name: sizes[name])
    total, most = sum(sizes.values()), f"of at most {MAX_INLINE_BYTES}"
    if len(sizes) == 1:
        return f"{largest!r} has {total} {unit}, {most}"
    return f"it has {total} {unit}, {most}; the largest is {largest!r} with {sizes[largest]}"


def _listed(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _unreadable(folder: Path, error: OSError) -> PipelineError:
    return _refused(folder, f"{error.strerror}: {error.filename}")


def _refused(folder: Path, why: str) -> PipelineError:
    return error_of(status.UNUSABLE, f"the folder {folder} cannot be sent: {why}")
