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


def resolve_user(user: str, passwd: str, group: str) -> User:
    """Resolve `user`, `user:group`, `uid` or `uid:gid`.

    Raises `SandboxError` if the image has no such.

    Without a group it is the user's own, by the password file; 0 for a uid that is not in it.
    """
    wanted, _, wanted_group = user.partition(":")
    if not wanted:
        return User()
    known = next((entry for entry in _entries(passwd, 4) if wanted in (entry[0], entry[2])), None)
    uid = _id(known[2] if known else wanted)
    if uid is None:
        raise SandboxError(f"the image's USER {user!r} is not in its /etc/passwd")
    gid: int | None = 0
    if wanted_group:
        named = (entry[2] for entry in _entries(group, 3) if entry[0] == wanted_group)
        gid = _id(next(named, wanted_group))
    elif known:
        gid = _id(known[3])
    if gid is None:
        raise SandboxError(f"the group of the image's USER {user!r} is not in its /etc/group")
    return User(uid, gid)


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        entry = line.split(":")
        if len(entry) >= fields and _id(entry[2]) is not None:
            yield entry


def _id(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    number = int(text)
    return number if number < ID_COUNT else None
