"""What a git reference and a repository's address may be: allowlists, before git sees either."""

import re
from dataclasses import dataclass

from pipeline_containers.errors import BadReference, SourceError

PROTOCOLS = ("https", "ssh", "file")
"""How a repository may be reached; plain http and git's own protocol prove nothing of the host."""

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_BAD_PART = re.compile(r"\.\.|//|/\.|\.lock(/|$)|[./]$")
_URL = re.compile(r"([a-z]+)://[A-Za-z0-9/][A-Za-z0-9._~:/@%+,=-]*")
_PASSWORD = re.compile(r"[a-z]+://[^/]*:[^/]*@")


@dataclass(frozen=True, slots=True)
class Reference:
    """A full SHA, or the name of a tag or branch."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Check a reference against the allowlist.

        Raises `BadReference`, which says what it may be.
        """
        if is_sha(text):
            return cls(text)
        if _NAME.fullmatch(text) is None or _BAD_PART.search(text):
            raise BadReference(
                f"{text[:80]!r} is not a git reference: give a branch, a tag, or a full SHA"
            )
        return cls(text)

    @property
    def is_sha(self) -> bool:
        """Whether this is a commit's full name."""
        return is_sha(self.text)

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
