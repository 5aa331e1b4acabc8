"""What is to be done: the only things that the router's core asks for."""

from typing import Literal

from msgspec import Struct

from pipeline_protocol.link import Hello, ToWorker
from pipeline_protocol.responses import AuditEntry
from pipeline_router.config import Sts, Versions
from pipeline_router.events import Envelope
from pipeline_router.principals import Sender

Level = Literal["info", "warning", "error"]


class SendReply(Struct, frozen=True, gc=False):
    """Send a reply, or lines of progress, to a client."""

    envelope: Envelope
    body: bytes


class Tell(Struct, frozen=True, gc=False):
    """Send a message to a worker; `PeerGone` if it is not there."""

    peer: bytes
    message: ToWorker
    body: bytes | None = None


class TellAll(Struct, frozen=True):
    """Send one message, written once, to many workers."""

    peers: tuple[bytes, ...]
    message: ToWorker


class Probe(Struct, frozen=True):
    """Find out whether `peer` is connected; `Probed` tells."""

    peer: bytes
    message: ToWorker
    newcomer: bytes
    hello: Hello
    sender: Sender = None
    """The newcomer's."""


class Save(Struct, frozen=True):
    """Write the wanted versions to disk, off the loop; `Saved` tells."""

    versions: Versions


class Reload(Struct, frozen=True):
    """Read the configuration file again, off the loop; `ConfigRead` tells, if it is of use."""


class Mint(Struct, frozen=True):
    """Keep credentials of these roles fresh, off the loop, and of no other. `Minted` tells."""

    roles: frozenset[Sts]


class Note(Struct, frozen=True):
    """Write a line to the log."""

    level: Level
    text: str
    arguments: tuple[object, ...] = ()
    request: str = ""
    """The id of the request that it is about, if it is about one."""


class Record(Struct, frozen=True):
    """Append a change to the audit file, off the loop; its time is that of the writing."""

    entry: AuditEntry


class FetchAudit(Struct, frozen=True):
    """Read the latest changes from the audit file, off the loop; `AuditRead` tells."""

    envelope: Envelope
    limit: int


class Finish(Struct, frozen=True):
    """End the loop: nothing is left to do."""


Command = (
    SendReply | Tell | TellAll | Probe | Save | Reload | Mint | Note | Record | FetchAudit | Finish
)
