"""An image's USER becomes a uid and a gid.

The image's /etc/passwd and /etc/group are untrusted text: a line that is not as it should be is
passed over, and ids must lie in the range that containers are mapped to. Source: the OCI image
specification, `config.md`, "User".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.ids import ID_COUNT


@dataclass(frozen=True, slots=True)
class User:
    """Numeric ids, as inside the container."""

    uid: int = 0
    gid: int = 0
    home: str = "/"
    """By the image's /etc/passwd; the root folder where that says nothing."""


def resolve_user(user: str, passwd: str, group: str) -> User:
    """Resolve `user`, `user:group`, `uid` or `uid:gid`.

    Raises `SandboxError` if the image has no such, or if a container here cannot have its id.

    Without a group it is the user's own, by the password file; 0 for a uid that is not in it.
    """
    wanted, _, wanted_group = user.partition(":")
    if not wanted:
        root = next((entry for entry in _entries(passwd, 4) if entry[2] == "0"), None)
        return User(home=_home(root))
    said = repr(user[:80])
    known = next((entry for entry in _entries(passwd, 4) if wanted in (entry[0], entry[2])), None)
    uid = _id(known[2] if known else wanted, said, "uid")
    if uid is None:
        raise SandboxError(f"the image's USER {said} is not in its /etc/passwd")
    gid: int | None = 0
    if wanted_group:
        named = (entry[2] for entry in _entries(group, 3) if entry[0] == wanted_group)
        gid = _id(next(named, wanted_group), said, "gid")
    elif known:
        gid = _id(known[3], said, "gid")
    if gid is None:
        raise SandboxError(f"the group of the image's USER {said} is not in its /etc/group")
    return User(uid, gid, _home(known))


def _home(entry: list[str] | None) -> str:
    return "/" if entry is None or len(entry) < 6 else entry[5] or "/"


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        entry = line.split(":")
        if len(entry) >= fields and _is_number(entry[2]):
            yield entry


def _id(text: str, user: str, kind: str) -> int | None:
    """Read an id of a USER; None if it is no number."""
    if not _is_number(text):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(ID_COUNT)) or int(digits) >= ID_COUNT:
        raise SandboxError(
            f"the image's USER {user} has the {kind} {digits[:20]}: a container's ids end at "
            f"{ID_COUNT - 1}, have the Dockerfile name a smaller one"
        )
    return int(digits)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
