"""Who sends: whose key a connection has shown, and what that key is good for. No I/O.

It is asked of each message anew, by the key of the connection that the message came on: a routing
id can be another's a moment later, and a key can have been revoked.
"""

from collections.abc import Mapping

from msgspec import Struct

from pipeline_protocol.requests import Role


class Principal(Struct, frozen=True, gc=False):
    """A key that may be used here, and for what."""

    key: str
    """The public key, as text: never given again, as a name may be."""
    name: str
    """What people call it; requests are the same, and are taken in turn, by it."""
    role: Role
    channels: frozenset[str] = frozenset()
    """A worker's: those that it may serve; none: all."""
    identity: str = ""
    """A worker's: what the identities that it may go by begin with."""
    quota: int | None = None
    """A client's: how many of its jobs may be in flight; None: as many as there is room for."""

    def serves(self, channel: str) -> bool:
        """Return whether a worker with this key may serve a channel."""
        return not self.channels or channel in self.channels


Sender = Principal | None
"""Who sent a message; None where there are no keys, and everybody may do everything."""

Principals = Mapping[str, Principal]
"""Who may connect, by public key."""


def is_same(one: Sender, other: Sender) -> bool:
    """Return whether both are the same key's; where there are no keys, all are nobody's."""
    if one is other:
        return True
    return one is not None and other is not None and one.key == other.key
