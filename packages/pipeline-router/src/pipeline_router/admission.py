"""Which requests are taken in: merged with the same one, placed, left waiting, or refused."""

from typing import Final

from msgspec import UNSET, Struct

from pipeline_protocol import status
from pipeline_protocol.channels import CHANNEL_OF_ACTION, TIMEOUT_S
from pipeline_protocol.codec import encode_json
from pipeline_protocol.requests import (
    ACTIONS,
    BuildContainer,
    ListAvailableContainers,
    Priority,
    WorkerServed,
)
from pipeline_router import refusals
from pipeline_router.commands import Command, SendReply
from pipeline_router.dispatch import Dispatcher
from pipeline_router.events import Envelope, Requested
from pipeline_router.inflight import key_of, owner_of
from pipeline_router.model import BACKGROUND, INTERACTIVE, Inquiry, Lane, Name, Work
from pipeline_router.refusals import Refusal
from pipeline_router.scheduler import ANY_LANE, Scheduler

COUNTER_BITS = 40
"""Of a job's id; the router's epoch is above them."""
QUEUE_AT_START = 100
"""How many jobs may wait, at least, while the router sends none yet."""


class Served(Struct, frozen=True):
    """How requests of one type are served by workers."""

    action: str
    channel: str
    timeout_s: float


SERVED: Final = {
    struct: Served(action, channel, TIMEOUT_S[action])
    for action, channel in CHANNEL_OF_ACTION.items()
    for struct in (ACTIONS[action],)
}
"""By their type."""

_LOOK: Final = "list_available_containers"
_UNVERSIONED: Final = (BuildContainer, ListAvailableContainers)
"""Types that any worker of their channel serves."""


class Admission:
    """What is let through to the dispatcher."""

    def __init__(
        self, out: list[Command], dispatcher: Dispatcher, epoch: int, refuses_from: float
    ) -> None:
        self._out = out
        self._dispatcher = dispatcher
        self._jobs = epoch << COUNTER_BITS
        self.refuses_from = refuses_from
        """Before, nothing is refused for want of workers: they may not have said hello yet."""

    def accept(self, event: Requested, served: Served, now: float) -> None:
        """Take a request in, or refuse it at once."""
        request: WorkerServed = event.request  # type: ignore[assignment]  # it has a row
        dispatcher = self._dispatcher
        scheduler = dispatcher.schedulers[served.channel]
        key, name, owner = b"", None, owner_of(event)
        if request.id is not UNSET:
            key = key_of(event.sender, event.body)
            if self._met(key, event.envelope, served, now):
                return
            name = (owner, served.action, request.id)
        quota = None if event.sender is None else event.sender.quota
        if quota is not None and dispatcher.inflight.of_owner(owner) >= quota:
            self._refuse(event.envelope, served, refusals.quota_used(owner, quota))
            return
        lane = self._admit(scheduler, request, name)
        if isinstance(lane, Refusal):
            self._refuse(event.envelope, served, lane)
            return
        timeout_s = served.timeout_s if request.timeout_s is UNSET else request.timeout_s
        self._jobs += 1
        work = Work(
            self._jobs,
            lane,
            [event.envelope],
            event.body,
            now,
            now + min(timeout_s, dispatcher.options.max_timeout_s),
            key=key,
            answered=dispatcher.counters.answered[served.action],
            owner=owner,
            name=name,
            rank=_rank(request),
            progress=request.progress,
            quota=quota,
        )
        orphan = dispatcher.orphans.pop(key, None)
        if orphan is not None and orphan.worker.channel == served.channel:
            work.job = orphan.job
            dispatcher.adopt(work, orphan.worker, orphan.attempt)
        elif not dispatcher.place(work, now):
            refusal = self._why_not_wait(scheduler, work, now)
            if refusal is not None:
                if refusal.wants_slot:
                    dispatcher.counters.lack(lane)
                self._refuse(event.envelope, served, refusal)
                return
            scheduler.put(work)
        dispatcher.inflight.add(work)

    def inquire(self, inquiry: Inquiry, now: float) -> bool:
        """Have a builder look at the registry, if one has room now; False: none has."""
        dispatcher = self._dispatcher
        channel = CHANNEL_OF_ACTION[_LOOK]
        request = ListAvailableContainers(
            track_slug=inquiry.track, channel=inquiry.channel, version=inquiry.version
        )
        self._jobs += 1
        work = Work(
            self._jobs,
            dispatcher.schedulers[channel].lanes[ANY_LANE],
            [],
            encode_json(request),
            now,
            now + TIMEOUT_S[_LOOK],
            inquiry=inquiry,
        )
        if not dispatcher.place(work, now):
            return False
        dispatcher.inflight.add(work)
        return True

    def _met(self, key: bytes, envelope: Envelope, served: Served, now: float) -> bool:
        """Join the same request in flight, or send its stored reply again; False: neither is."""
        dispatcher = self._dispatcher
        work = dispatcher.inflight.with_key(key)
        if work is not None:
            if not work.attach(envelope):
                self._refuse(envelope, served, refusals.TOO_MANY_SENDERS)
                return True
        else:
            reply = dispatcher.stored.get(key, now)
            if reply is None:
                return False
            self._out.append(SendReply(envelope, reply))
        dispatcher.counters.repeated[served.channel] += 1
        return True

    def _admit(
        self, scheduler: Scheduler, request: WorkerServed, name: Name | None
    ) -> Lane | Refusal:
        """Find where a request belongs."""
        if self._dispatcher.stopping:
            return refusals.STOPPING
        if name is not None and self._dispatcher.inflight.named(name) is not None:
            error = f"`id`: {name[2]!r} is in use by another request in flight"
            return Refusal(status.MALFORMED, error)
        if isinstance(request, _UNVERSIONED):
            return scheduler.lanes[ANY_LANE]
        track, version = request.track_slug, request.container_version
        lane = scheduler.lanes.get((track, version))
        return lane if lane is not None else refusals.not_wanted(scheduler, track, version)

    def _why_not_wait(self, scheduler: Scheduler, work: Work, now: float) -> Refusal | None:
        dispatcher = self._dispatcher
        options = dispatcher.options
        if now >= self.refuses_from:
            refusal = refusals.no_possible_worker(scheduler, work.lane, dispatcher.address)
            if refusal is not None and not self._may_pass(refusal, scheduler, work, now):
                return refusal
        queue = options.queue if dispatcher.open else max(options.queue, QUEUE_AT_START)
        if scheduler.fits(work, queue, options.queue_bytes):
            return None
        gone = scheduler.make_room(work, queue, options.queue_bytes)
        if not gone:
            return refusals.full(scheduler, work.lane, dispatcher.address, queue=queue)
        for other in gone:
            dispatcher.end(other, refusals.crowded_out(scheduler, other.lane), now)
        return None

    @staticmethod
    def _may_pass(refusal: Refusal, scheduler: Scheduler, work: Work, now: float) -> bool:
        """Whether the reason may be gone in a moment: a lost worker is started again."""
        return refusal.code == status.NO_WORKER and scheduler.expects(work.lane.track, now)

    def _refuse(self, envelope: Envelope, served: Served, why: Refusal) -> None:
        self._dispatcher.refused.count(why.code, served.channel, why.error)
        self._dispatcher.counters.answer(served.action, why.code)
        self._out.append(SendReply(envelope, why.reply()))


def _rank(request: WorkerServed) -> int:
    if isinstance(request, _UNVERSIONED):
        return INTERACTIVE
    return BACKGROUND if request.priority is Priority.BACKGROUND else INTERACTIVE
