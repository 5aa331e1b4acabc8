r"""The names that cross the wire, as types: safe in a path, a URL and a command line.

Patterns end in ``\Z``, because ``$`` lets a trailing newline through.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from msgspec import Meta

Slug = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9-]{0,63}\Z",
        description="a slug (1 to 64 small letters, digits and '-')",
    ),
]
"""A track's name: ``ruby``. It is in the names of images and of repositories, so it is strict."""

ExerciseSlug = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z",
        description="an exercise's slug (1 to 128 letters, digits, '_', '.' and '-')",
    ),
]
"""An exercise's name: ``two-fer``, ``two_fer``. No option, no path's ``..``, no hidden file."""

Version = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z",
        description="a version (git-SHA1, or another image tag)",
    ),
]
"""A container's tag: ``git-`` and 40 hex digits for what a builder made, or any other tag."""

RequestId = Annotated[
    str, Meta(pattern=r"\A[!-~]{1,128}\Z", description="an id (1 to 128 visible ASCII characters)")
]
"""What a client calls its request: 1 to 128 visible ASCII characters."""

Identity = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="an identity (1 to 64 letters, digits, '.', '_' and '-')",
    ),
]
"""What a worker is called: ``worker-1``."""

Installation = Annotated[
    str,
    Meta(pattern=r"\A([0-9a-f]{32})?\Z", description="an installation's id (32 hex digits)"),
]
"""Of a router's state: made at random when its file is, and kept in it; empty: none is known."""
Digest = Annotated[
    str,
    Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z", description="a digest (sha256: and 64 hex digits)"),
]
"""An image's digest, as its registry has it."""

GitReference = Annotated[
    str,
    Meta(
        pattern=(
            r"\A(?![./-])(?:[A-Za-z0-9._/+#@=,%-]|[^\x00-\xa0\xad\u061c\u2000-\u200f"
            r"\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\uffff]){1,255}\Z"
        ),
        description="a git reference (a full SHA, a branch, a tag or HEAD)",
    ),
]
"""A full SHA, a branch, a tag, or ``HEAD``, for which ``@`` stands too.

Not all that git itself would take: nothing that a shell or a terminal obeys, such as ``$(id)``.
"""

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
"""A pattern: what S3 lets a bucket be called."""

InputUri = Annotated[
    str,
    Meta(
        pattern=rf"\A(s3://{BUCKET}/|file:///)[^\x00-\x1f\x7f]{{0,1024}}\Z",
        description="s3://BUCKET/PREFIX/ or file:///FOLDER/",
    ),
]
"""Where a solution lies: ``s3://bucket/prefix/``, or ``file:///folder/``."""

FileName = Annotated[
    str,
    Meta(
        pattern=r"\A(?!(?:[^/]*/)*\.{0,2}(?:/|\Z))[^\x00-\x1f\x7f]{1,255}\Z",
        description="a file's name (relative, without '..')",
    ),
]
"""A file beneath the job folder: relative, without ``..``, empty parts or control characters."""


MAX_SEEN = 1000


class Seen(set[str]):
    """Names of one kind that were matched before: to look one up costs a tenth of matching it.

    `kind` is one of the types above. A sender who makes up names cannot fill the memory: a full
    set is emptied.
    """

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self._kind: Meta = get_args(kind)[1]
        self._matches = re.compile(self._kind.pattern or "").search

    def admit(self, name: str, where: str) -> None:
        """Match a name that is not in the set, and put it there.

        Raises ValueError if it is no such name.

        `where` is the field, in the notation of msgspec's own messages.
        """
        if self._matches(name) is None:
            raise ValueError(f"Expected {self._kind.description} - at {where}")
        if len(self) >= MAX_SEEN:
            self.clear()
        self.add(name)


def unmatched(kind: Any) -> Meta:
    """Describe a kind of name in a schema, where msgspec is not to match it: a `Seen` does."""
    meta: Meta = get_args(kind)[1]
    return Meta(description=meta.description, extra_json_schema={"pattern": meta.pattern})


_DESCRIPTIONS = {
    f"`str` matching regex {meta.pattern!r}": meta.description or ""
    for name in (
        *(Slug, ExerciseSlug, Version, RequestId, Identity),
        *(Digest, GitReference, InputUri, FileName),
    )
    for meta in get_args(name)[1:]
}


def described(error: str) -> str:
    """Return what a name should be in words, where msgspec's message has its pattern."""
    for pattern, description in _DESCRIPTIONS.items():
        error = error.replace(pattern, description)
    return error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for an error's end, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
