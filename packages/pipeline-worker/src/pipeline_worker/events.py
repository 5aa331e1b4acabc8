"""What happens to a worker: the only things that its core hears of."""

from msgspec import Struct

from pipeline_protocol.link import PROTOCOL, JobId, ToWorker, VersionState


class LinkFound(Struct, frozen=True):
    """The router said on which port of its host the link is."""

    port: int
    warnings: tuple[str, ...] = ()
    protocol: int = PROTOCOL
    """The router's."""


class BootstrapRefused(Struct, frozen=True):
    """The router answered the first question with something else than a port."""

    error: str


class HandshakeFailed(Struct, frozen=True):
    """A connection to the router did not come about."""

    again_s: float
    """When to try it anew, in seconds."""
    trouble: str = ""
    """Why, in words; empty: it is not known yet."""


class Received(Struct, frozen=True):
    """A message came over the link."""

    message: ToWorker
    body: bytes = b""


class RunEnded(Struct, frozen=True):
    """A job is over, with its finished reply."""

    job: JobId
    attempt: int
    code: int
    body: bytes


class RunPrinted(Struct, frozen=True):
    """A job whose sender asked for progress printed something; body: the lines' JSON."""

    job: JobId
    attempt: int
    body: bytes


class VersionMoved(Struct, frozen=True):
    """A version got further, became ready or failed."""

    state: VersionState


class HealthDoubted(Struct, frozen=True):
    """Something on this host is not as it should be: a container could not be cleared away."""


class HealthProved(Struct, frozen=True):
    """The check of this host is over; no problem: it went well."""

    problem: str = ""


class StopAsked(Struct, frozen=True):
    """A signal came: finish what runs, then leave; the second time: leave now."""


class Tick(Struct, frozen=True):
    """Time passed."""

    load: float = 0.0
    """The host's load average over a minute."""


Event = (
    LinkFound
    | BootstrapRefused
    | HandshakeFailed
    | Received
    | RunEnded
    | RunPrinted
    | VersionMoved
    | HealthDoubted
    | HealthProved
    | StopAsked
    | Tick
)
