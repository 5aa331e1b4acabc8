"""What happens to a router: the only things that its core hears of.

Every event is handled together with a time, seconds of a monotonic clock.
"""

from msgspec import Struct

from pipeline_protocol.link import FromWorker, Hello, ToWorker
from pipeline_protocol.requests import Request
from pipeline_protocol.responses import AuditEntry
from pipeline_protocol.settings import Credentials
from pipeline_router.config import Config, Sts
from pipeline_router.principals import Principals, Sender

Envelope = tuple[bytes, ...]
"""The frames before the empty one: the peer, and what it put there to know the reply by."""


class Requested(Struct, frozen=True, gc=False):
    """A client, or a worker that bootstraps, asked something."""

    envelope: Envelope
    request: Request
    body: bytes
    """The request as it came, to be handed on untouched."""
    sender: Sender = None


class WorkerSaid(Struct, frozen=True, gc=False):
    """A message came over the worker link."""

    peer: bytes
    message: FromWorker
    body: bytes = b""
    sender: Sender = None


class WorkerGarbled(Struct, frozen=True):
    """Something unreadable came over the worker link."""

    peer: bytes
    error: str
    other: str = ""
    """The identity of a worker whose hello is unreadable because it speaks another protocol."""
    sender: Sender = None


class PeerGone(Struct, frozen=True):
    """Messages to a worker could not be handed over: it is not connected, or does not read."""

    peer: bytes
    undelivered: tuple[ToWorker, ...]


class Probed(Struct, frozen=True):
    """Whether the worker, whose name a newcomer claims, is still connected."""

    alive: bool
    newcomer: bytes
    hello: Hello
    sender: Sender = None
    """The newcomer's."""


class Saved(Struct, frozen=True):
    """The wanted versions are on disk, or could not be written there."""

    error: str | None = None
    config: Config | None = None
    """What people had changed in the file meanwhile; None: nothing."""


class ReloadAsked(Struct, frozen=True):
    """Somebody wants the configuration file read again."""


class ConfigRead(Struct, frozen=True):
    """The configuration file was read again."""

    config: Config


class ConfigUnusable(Struct, frozen=True):
    """The configuration file was read again, and is of no use: the last good one stays."""

    error: str


class AuditRead(Struct, frozen=True):
    """The latest changes that the audit file has, the last one last."""

    envelope: Envelope
    entries: tuple[AuditEntry, ...] = ()
    error: str = ""
    """Why they could not be read."""


class KeysRead(Struct, frozen=True):
    """Other keys are good from now on; from those that are not, nothing comes any more."""

    principals: Principals
    added: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    """Names of keys; one that is changed is in both."""
    rekeyed: bool = False
    """Whether the router has another key itself, and all have to connect anew."""


class TurnedAway(Struct, frozen=True):
    """Connections were not let in, `times` of one kind since this was last told."""

    what: str
    where: str
    times: int
    last: str = ""
    """Which key the last one had, and where it came from."""


class Minted(Struct, frozen=True):
    """New credentials for the workers are there, minted by this role."""

    sts: Sts
    credentials: Credentials


class StopAsked(Struct, frozen=True):
    """The router is to end: take nothing more, finish what runs."""


class Tick(Struct, frozen=True):
    """Time has passed."""


Event = (
    Requested
    | WorkerSaid
    | WorkerGarbled
    | PeerGone
    | Probed
    | Saved
    | ReloadAsked
    | ConfigRead
    | ConfigUnusable
    | AuditRead
    | KeysRead
    | TurnedAway
    | Minted
    | StopAsked
    | Tick
)
