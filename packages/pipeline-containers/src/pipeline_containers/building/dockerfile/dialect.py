"""What a builder takes in a Dockerfile, by its kind and version. No I/O.

Sources: buildah's list of changes, and what its version 1.28 was seen to take.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_EVERY: Mapping[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "RUN": frozenset({"mount", "network", "security"}),
    "COPY": frozenset({"chown", "chmod", "from", "link"}),
    "ADD": frozenset({"chown", "chmod", "link"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
"""What all builders take, or is put in their terms."""

_SINCE: Mapping[tuple[str, str], tuple[int, int]] = {
    ("ADD", "checksum"): (1, 33),
    ("ADD", "exclude"): (1, 38),
    ("COPY", "exclude"): (1, 38),
    ("COPY", "parents"): (1, 40),
}
"""The buildah that came to know a flag. It is handed on from that on, for buildah to say if it was
built without: Debian 13's 1.39 does not know `--exclude`, for one."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A builder: its name, its version where that counts, and whether it lets itself be helped.

    `has_help`: texts may lie in a folder beside the context, and the runtime of steps is ours.
    """

    name: str
    version: tuple[int, int] = (0, 0)
    has_help: bool = False

    def refusal(self, keyword: str, flag: str) -> str:
        """Return why a flag is not taken; nothing if it is, or if it is put in other terms."""
        if flag in _EVERY.get(keyword, ()):
            return ""
        since = _SINCE.get((keyword, flag))
        if since is None:
            return f"{keyword} does not know --{flag[:40]}"
        if self.name == "buildah" and self.version >= since:
            return ""
        return f"{keyword} --{flag} needs buildah {since[0]}.{since[1]}, and this host has another"


def buildah(said: str) -> Dialect:
    """Return what a buildah takes, by what it says of its version."""
    match = re.search(r"\bversion (\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    return Dialect("buildah", version, has_help=True)


IMG = Dialect("img")
"""The BuildKit of 2021 that is in it."""
