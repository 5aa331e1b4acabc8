"""What an s3:// input means: which place, whether it is allowed, and what its keys become.

S3 has neither folders nor file names, only keys: any text at all. Whoever writes to a bucket may
have written ``a/../../b`` into it.
"""

import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from pipeline_worker.inputs.quota import MAX_DEPTH, UnusableInput

_MAX_KEY_BYTES = 1024  # of S3
_MAX_NAME_BYTES = 255  # of Linux' file systems
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff\ufffd]")
"""Control characters, backslashes, and what stands for bytes that are no text."""


class Place(Struct, frozen=True):
    """A bucket and the prefix, empty or ending with a slash, of what is meant in it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


class Listed(Struct, frozen=True, rename={"key": "Key", "size": "Size", "etag": "ETag"}):
    """An object as its bucket lists it."""

    key: str
    size: Annotated[int, Meta(ge=0)]
    etag: str = ""


class InputFile(Struct, frozen=True):
    """A file to be: its object, and where it goes in the job folder."""

    listed: Listed
    path: str


def find_place(uri: str, allowed: tuple[str, ...]) -> Place:
    """Read ``s3://bucket/prefix/``.

    Raises UnusableInput if it lies beneath none of the prefixes allowed.

    Every character is meant literally: ``%2e`` is no dot.
    """
    whole = uri if uri.endswith("/") else f"{uri}/"
    segments = whole.removeprefix("s3://").split("/")[1:-1]
    if any(part in ("", ".", "..") or _UNSAFE.search(part) for part in segments):
        raise UnusableInput(
            f"{uri!r}: '.', '..', an empty part, a backslash or a control character has no place "
            "in an input's prefix"
        )
    if not any(whole.startswith(prefix) for prefix in allowed):
        raise UnusableInput(
            f"{uri} is beneath no allowed prefix ({', '.join(allowed) or 'there is none'})"
        )
    bucket, _, prefix = whole.removeprefix("s3://").partition("/")
    if len(prefix.encode()) > _MAX_KEY_BYTES:
        raise UnusableInput(f"{uri:.80} ...: no key in S3 is as long as that")
    return Place(bucket, prefix)


def plan_files(place: Place, listing: Iterable[Listed]) -> list[InputFile]:
    """Return which file each object becomes; raises UnusableInput if one of them can be none.

    Empty objects whose key ends with a slash, which S3's consoles make for folders, become nothing.
    """
    files: dict[str, InputFile] = {}
    folders: set[str] = set()
    for listed in listing:
        path = _relative(place, listed)
        if path is None:
            continue
        parts = path.split("/")
        if path in files:
            raise UnusableInput(f"{place} lists {path!r} twice")
        files[path] = InputFile(listed, path)
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    for path in folders & files.keys():
        raise UnusableInput(f"{place}: {path!r} is both a file and a folder")
    if not files:
        raise UnusableInput(f"nothing is at {place}: is that where the files were put?")
    return list(files.values())


def _relative(place: Place, listed: Listed) -> str | None:
    """Return a key's path in the job folder, None for a folder's marker."""
    path = listed.key.removeprefix(place.prefix)
    problem = ""
    if not listed.key.startswith(place.prefix):
        problem = "was not asked for"
    elif path.endswith("/") or not path:
        if listed.size == 0:
            return None
        problem = "is a folder by its name, but has content"
    elif _UNSAFE.search(path):
        problem = "has a control character, a backslash, or bytes that are no text"
    elif any(part in ("", ".", "..") for part in path.split("/")):
        problem = "has a part that is empty, '.' or '..'"
    elif any(len(part.encode()) > _MAX_NAME_BYTES for part in path.split("/")):
        problem = f"has a name of over {_MAX_NAME_BYTES} bytes"
    elif path.count("/") > MAX_DEPTH:
        problem = f"is nested more than {MAX_DEPTH} deep"
    if problem:
        raise UnusableInput(f"s3://{place.bucket}: the key {_shown(listed.key)} {problem}")
    return path


def _shown(key: str) -> str:
    return ascii(key) if len(key) <= 120 else f"{ascii(key[:100])[:-1]}...'"
