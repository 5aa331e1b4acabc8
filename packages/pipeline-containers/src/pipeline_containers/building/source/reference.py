"""What a git reference and a repository's address may be: allowlists, before git sees either."""

import re
from dataclasses import dataclass

from pipeline_containers.errors import BadReference, SourceError

PROTOCOLS = ("https", "ssh", "file")
"""How a repository may be reached; plain http and git's own protocol prove nothing of the host."""

HEAD = "HEAD"
MAX_NAME_BYTES = 200
"""Of a name in UTF-8: a path is made of it, with ``.lock`` at its end for a while."""

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-fA-F]{7,39}")
_NAME = re.compile(r"(?![./-])(?:[A-Za-z0-9._/+#@=,%-]|[^\x00-\x7f])+")
_BAD_PART = re.compile(r"\.\.|//|/\.|\.lock(/|$)|[./]$")  # git-check-ref-format(1)
_URL = re.compile(r"([a-z]+)://[A-Za-z0-9/][A-Za-z0-9._~:/@%+,=-]*")
_PASSWORD = re.compile(r"[a-z]+://[^/]*:[^/]*@")


@dataclass(frozen=True, slots=True)
class Reference:
    """A full SHA, the name of a tag or branch, or HEAD: what the repository itself stands at."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Check a reference: what git takes, but for what a shell or a terminal obeys.

        Raises `BadReference`, which says what it may be.
        """
        if is_sha(text.lower()):
            return cls(text.lower())
        if text == "@":
            return cls(HEAD)
        if (
            _NAME.fullmatch(text) is None
            or _BAD_PART.search(text)
            or not text.isprintable()
            or len(text.encode()) > MAX_NAME_BYTES
        ):
            raise BadReference(
                f"{text[:80]!r} is not a git reference: give a branch, a tag, or a full SHA"
            )
        return cls(text)

    @property
    def is_sha(self) -> bool:
        """Whether this is a commit's full name."""
        return is_sha(self.text)

    @property
    def is_head(self) -> bool:
        """Whether this is for the repository to say."""
        return self.text == HEAD

    @property
    def candidates(self) -> tuple[str, ...]:
        """What it may stand for, by full name, the first that exists wins: tags, then branches."""
        if self.is_sha:
            return (f"{self.text}^{{commit}}",)
        return (f"refs/tags/{self.text}^{{commit}}", f"refs/heads/{self.text}^{{commit}}")

    @property
    def unknown(self) -> BadReference:
        """What to raise when the repository has no such thing."""
        short = _SHORT_SHA.fullmatch(self.text) is not None
        hint = "; a short SHA will not do, give all 40 digits" if short else ""
        return BadReference(f"{self.text!r} is not on any branch or tag of the repository{hint}")


def is_sha(text: str) -> bool:
    """Return whether this is a commit's full name."""
    return _SHA.fullmatch(text) is not None


def check_url(url: str) -> str:
    """Refuse an address that is not plainly a repository's; the same address."""
    if _PASSWORD.match(url):  # and do not repeat it
        raise SourceError("a repository's address has no password in it: use a credentials file")
    match = _URL.fullmatch(url)
    if match is None or match[1] not in PROTOCOLS or ".." in url:
        raise SourceError(
            f"{url[:200]!r} is not a repository's address: give {', '.join(PROTOCOLS)}://..."
        )
    return url
