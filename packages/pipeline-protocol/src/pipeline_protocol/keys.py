"""Keys as text, and the one file that a client, an operator or a worker is given. No I/O.

A key is CURVE's 32 bytes as 64 hexadecimal digits: a shell, YAML and a double click take it whole.
"""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from pipeline_protocol.names import Identity, described
from pipeline_protocol.requests import Role

PublicKey = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
SecretKey = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]

MAX_ROUTER_KEYS = 8
MAX_FILE_BYTES = 64 << 10

T = TypeVar("T")

_KEYS = re.compile(r"[0-9a-f]{64}")


class BadKeys(ValueError):
    """A file of keys that is of no use; the message says why, and nothing of what is in it."""


class MemberKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What whoever connects to a router has: its own key, and those that the router may have."""

    kind: Literal["pipeline keys of a member"] = "pipeline keys of a member"
    name: Identity
    role: Role
    public: PublicKey
    secret: SecretKey
    routers: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=MAX_ROUTER_KEYS)]
    """The router's public keys, the likeliest first: the next is tried when one fails."""

    def __repr__(self) -> str:
        """Leave the secret out: this may reach a log."""
        return f"MemberKeys({self.name!r}, {self.role}, public={self.public})"


_member = msgspec.json.Decoder(MemberKeys)


def read_member_keys(data: bytes, where: str) -> MemberKeys:
    """Read a member's file, `where` it was; raises BadKeys."""
    return read_keys(_member, data, where)


def read_keys(
    decoder: msgspec.json.Decoder[T], data: bytes, where: str, most_bytes: int = MAX_FILE_BYTES
) -> T:
    """Read a file of keys; raises BadKeys, which quotes no key."""
    if len(data) > most_bytes:
        raise BadKeys(f"{where}: larger than {most_bytes >> 10} KiB")
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        why = _KEYS.sub("...", described(str(error)))
        raise BadKeys(f"{where} is no file of keys that is of use here: {why}") from None


def check_mode(mode: int, where: str) -> None:
    """Raise BadKeys if others than its owner may read a file of keys."""
    if mode & 0o077:
        raise BadKeys(
            f"{where}: others may read the secret key in it (mode {mode & 0o777:04o}): chmod 600"
        )


def in_bytes(key: str) -> bytes:
    """Return a key as ZeroMQ takes it."""
    return bytes.fromhex(key)


def in_short(key: str) -> str:
    """Return what tells a public key from others, for people."""
    return f"{key[:12]}..."
