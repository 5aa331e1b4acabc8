"""What the router's file of keys says: its own keys, and who may connect with which. No I/O.

The first of the router's own keys is the one that it has; the second is the next one. Whoever
connects is given both, so the router can change to the next from one moment to the other.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.keys import (
    MAX_ROUTER_KEYS,
    BadKeys,
    MemberKeys,
    PublicKey,
    SecretKey,
    in_short,
    read_keys,
)
from pipeline_protocol.names import Identity
from pipeline_protocol.requests import Role
from pipeline_router.principals import Principal

MAX_KEYS = 100_000
MAX_FILE_BYTES = 64 << 20


class KeyPair(Struct, frozen=True, forbid_unknown_fields=True):
    """A public key and the secret one that goes with it."""

    public: PublicKey
    secret: SecretKey

    def __repr__(self) -> str:
        """Leave the secret out: this may reach a log."""
        return f"KeyPair(public={self.public})"


class KeyEntry(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody's key, by which it may connect until it is revoked."""

    name: Identity
    role: Role
    public: PublicKey
    added: str
    """When; for people."""
    channels: tuple[str, ...] = ()
    """A worker's: those that it may serve; none: all."""
    identity: str = ""
    """A worker's: what the identities that it may go by begin with."""
    quota: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """A client's: how many of its jobs may be in flight."""
    revoked: str = ""
    """When; empty: it is good."""

    def __post_init__(self) -> None:
        for channel in self.channels:
            if channel not in CHANNELS:
                known = ", ".join(CHANNELS)
                raise ValueError(f"key {self.name!r}: no channel {channel!r}; there are {known}")
        if self.role is not Role.WORKER and (self.channels or self.identity):
            raise ValueError(f"key {self.name!r}: channels and identity are for the role worker")
        if self.role is Role.WORKER and self.quota is not None:
            raise ValueError(f"key {self.name!r}: a quota is for those who ask, not for workers")


class RouterKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    kind: Literal["pipeline keys of a router"] = "pipeline keys of a router"
    router: Annotated[tuple[KeyPair, ...], Meta(min_length=1, max_length=MAX_ROUTER_KEYS)]
    keys: Annotated[tuple[KeyEntry, ...], Meta(max_length=MAX_KEYS)] = ()

    def __post_init__(self) -> None:
        good = [entry for entry in self.keys if not entry.revoked]
        for what, names in (
            ("name", [entry.name for entry in good]),
            ("key", [entry.public for entry in self.keys]),
        ):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"the {what} {twice!r} is there twice")

    @property
    def routers(self) -> tuple[str, ...]:
        """The router's public keys, as those who connect are to try them."""
        return tuple(pair.public for pair in self.router)

    def principals(self) -> dict[str, Principal]:
        """Return who may connect, by public key."""
        return {
            entry.public: Principal(
                *(entry.public, entry.name, entry.role, frozenset(entry.channels)),
                *(entry.identity, entry.quota),
            )
            for entry in self.keys
            if not entry.revoked
        }

    def named(self, name: str) -> KeyEntry | None:
        """Return the key of that name that is good."""
        return next((one for one in self.keys if one.name == name and not one.revoked), None)

    # --- changes: each returns what the file is to say

    def with_key(self, entry: KeyEntry) -> "RouterKeys":
        """Let somebody in; raises BadKeys if the name is taken."""
        if self.named(entry.name) is not None:
            raise BadKeys(f"there is a key called {entry.name!r}: revoke it, or take another name")
        return replace(self, keys=(*self.keys, entry))

    def without(self, name: str, when: str) -> "RouterKeys":
        """Let somebody in no more; raises BadKeys if no key that is good is called so."""
        gone = self.named(name)
        if gone is None:
            raise BadKeys(f"no key that is good is called {name!r}")
        revoked = replace(gone, revoked=when)
        return replace(self, keys=tuple(revoked if one is gone else one for one in self.keys))

    def rotated(self, new: KeyPair) -> "RouterKeys":
        """Have the next of the router's keys be the one that it has, and a new one the next."""
        return replace(self, router=(*self.router[1:], new) if self.router[1:] else (new,))

    def member(self, entry: KeyEntry, secret: str) -> MemberKeys:
        """Return what somebody is given."""
        return MemberKeys(
            name=entry.name,
            role=entry.role,
            public=entry.public,
            secret=secret,
            routers=self.routers,
        )


_decoder = msgspec.json.Decoder(RouterKeys)


def read_router_keys(data: bytes, where: str) -> RouterKeys:
    """Read a router's file of keys; raises BadKeys."""
    return read_keys(_decoder, data, where, MAX_FILE_BYTES)


def describe(entry: KeyEntry) -> str:
    """Return a key as a line for people."""
    said = [f"{entry.name}  {entry.role}  {in_short(entry.public)}  since {entry.added}"]
    if entry.channels:
        said.append(f"channels {', '.join(entry.channels)}")
    if entry.identity:
        said.append(f"identities {entry.identity}*")
    if entry.quota is not None:
        said.append(f"quota {entry.quota}")
    if entry.revoked:
        said.append(f"revoked {entry.revoked}")
    return "; ".join(said)
