"""Jobs to workers, results to clients: what becomes of every accepted request."""

from bisect import bisect_left
from collections.abc import Collection, Iterable

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.link import CancelJob, Job, Result, ResultAck
from pipeline_protocol.monitor.histogram import SECONDS
from pipeline_protocol.status import STATUSES, Blame
from pipeline_router import refusals
from pipeline_router.commands import Command, Note, SendReply, Tell
from pipeline_router.config import RouterOptions
from pipeline_router.counters import OTHER_CODE, Counters
from pipeline_router.inflight import Inflight
from pipeline_router.model import Inquiry, Lane, Orphan, State, Work, Worker
from pipeline_router.refusal_log import RefusalLog
from pipeline_router.refusals import Refusal
from pipeline_router.reply_cache import ReplyCache
from pipeline_router.scheduler import ANY_LANE, Scheduler

_STORED = frozenset(code for code, row in STATUSES.items() if row.stored)
_PLATFORMS = frozenset(code for code, row in STATUSES.items() if row.blame is Blame.PLATFORM)


class Dispatcher:
    """Places, retries, cancels and answers accepted work; what is to be done goes to `out`."""

    def __init__(self, out: list[Command], options: RouterOptions, address: str) -> None:
        self.options = options
        self.address = address
        self.inflight = Inflight()
        self.stored = ReplyCache()
        self.schedulers = {name: Scheduler(name) for name in CHANNELS}
        for name, channel in CHANNELS.items():
            if not channel.scopable:
                self.schedulers[name].want(*ANY_LANE)
        self.orphans: dict[bytes, Orphan] = {}
        """What earlier routers' jobs still run for, by the key of a request not sent again yet."""
        self.taken_back: dict[bytes, float] = {}
        """Keys of requests that were cancelled unsent, until when an earlier router's jobs for them
        may still come to light."""
        self.open = False
        """Whether jobs are sent to workers."""
        self.stopping = False
        self.counters = Counters()
        self.refused = RefusalLog()
        """Who was refused what, for the log."""
        self._out = out
        self.answers: list[tuple[Inquiry, bytes]] = []
        """Replies to the router's own inquiries, for the core to take."""
        self._acks: dict[bytes, list[tuple[int, int]]] = {}
        """Results to acknowledge, by the worker's connection."""

    # --- placing

    def begin(self, now: float) -> None:
        """Send jobs from now on, those that have waited for it in the order they came."""
        self.open = True
        for scheduler in self.schedulers.values():
            for work in scheduler.in_order():
                if self.place(work, now):
                    scheduler.remove(work)

    def place(self, work: Work, now: float) -> bool:
        """Send work to a suitable worker with room, or reserve one; False: there is none."""
        if not self.open:
            return False
        scheduler = self.schedulers[work.lane.channel]
        worker = (scheduler.idle(work.lane) if work.alone else None) or scheduler.available(
            work.lane
        )
        if worker is None:
            return False
        self._give(work, worker, now)
        return True

    def fill(self, worker: Worker, now: float) -> None:
        """Give a worker's free slots the jobs that came first."""
        pool = worker.pool
        work = worker.reserved
        if work is not None:
            if pool is None or work.lane not in pool.lanes:
                self.unreserve(worker, now)
            elif not worker.running:
                worker.reserved = None
                self._give(work, worker, now)
        if pool is None:
            return
        scheduler = self.schedulers[worker.channel]
        while worker.room:
            work = pool.first_waiting() if scheduler.count and self.open else None
            if work is None:
                pool.list_worker(worker)
                return
            scheduler.remove(work)
            self._give(work, worker, now)

    def _give(self, work: Work, worker: Worker, now: float) -> None:
        """Send work to a worker with room; a suspect only once nothing else runs there."""
        work.worker = worker
        if work.alone and worker.running:
            work.state = State.RESERVED
            worker.reserved = work
            return
        work.state = State.RUNNING
        work.attempt += 1
        worker.running[work.job, work.attempt] = work
        worker.alone = work.alone
        work.sent = now
        if work.attempt == 1:
            cell = work.lane.queued[work.rank]
            waited = now - work.accepted
            if waited:
                cell.observe(waited)
            else:  # as it usually is: what remains is what every job pays
                cell.counts[0] += 1
        self.schedulers[worker.channel].use(worker, work.owner)
        job = Job(
            work.job,
            work.attempt,
            max(0, int((work.deadline - now) * 1000)),
            int((now - work.accepted) * 1000),
            work.key,
            work.alone,
        )
        self._out.append(Tell(worker.peer, job, work.body))

    def adopt(self, work: Work, worker: Worker, attempt: int) -> None:
        """Know that a worker runs it already."""
        work.worker = worker
        work.state = State.RUNNING
        work.attempt, work.sent = attempt, None
        worker.running[work.job, attempt] = work
        worker.alone = worker.alone or work.alone

    def take_back(self, work: Work, job: int, now: float) -> None:
        """Take waiting work out of its queue, to be known by the job that a worker runs for it."""
        self._unplace(work, now)
        work.alone = False  # its worker was not lost after all
        if work.job != job:
            self.inflight.rename(work, job)

    def again(self, work: Work, now: float) -> None:
        """Place work anew, first in the queue, after its worker was lost or left."""
        scheduler = self.schedulers[work.lane.channel]
        lane = scheduler.lanes.get((work.lane.track, work.lane.version))
        work.retry()
        if lane is None or self.stopping:
            self._refuse(work, refusals.UNLOADED if lane is None else refusals.STOPPING)
            return
        work.lane = lane
        if not self.place(work, now):
            scheduler.put(work)

    # --- from workers

    def result(self, worker: Worker, message: Result, body: bytes, now: float) -> None:
        """Answer with a result if it is the first, acknowledge it anyway, and use the slot."""
        fence = (message.job, message.attempt)
        running = worker.running
        had_slot = fence in running
        held = running.pop(fence) if had_slot else None
        if isinstance(held, Work):
            sent = held.sent
            if sent is not None:  # not observe(): a call costs as much again
                cell = held.lane.ran[held.rank]
                cell.counts[bisect_left(SECONDS, now - sent)] += 1
                cell.total += now - sent
            self._answer(held, message.code, body, now)
        elif held is None:
            self._late(worker, message, body, now)
        elif self.orphans.pop(held.key, None) is not None and message.code in _STORED:
            self.stored.put(held.key, body, now + self.options.result_ttl_s)
        acks = self._acks.get(worker.peer)
        if acks is None:
            self._acks[worker.peer] = [fence]
        else:
            acks.append(fence)
        if had_slot:
            if not running:
                worker.alone = False
            self.fill(worker, now)

    def acknowledge(self) -> None:
        """Acknowledge the results that came since: one message a worker costs less than many."""
        for peer, fences in self._acks.items():
            self._out.append(Tell(peer, ResultAck(tuple(fences))))
        self._acks.clear()

    def _late(self, worker: Worker, message: Result, body: bytes, now: float) -> None:
        """Let an earlier attempt that came to an end win over one that has not.

        It must be the worker's own: anybody can guess the number of a job.
        """
        work = self.inflight.works.get(message.job)
        if work is None or message.code not in _STORED or not work.is_of(worker, message.attempt):
            return
        self._unplace(work, now)
        self._answer(work, message.code, body, now)

    def progress(self, worker: Worker, job: int, attempt: int, lines: bytes) -> None:
        """Hand lines of output on to those who asked for them."""
        work = worker.running.get((job, attempt))
        if isinstance(work, Work) and work.progress:
            body = b'{"progress":{"lines":%b}}' % lines
            self._out.extend(SendReply(envelope, body) for envelope in work.envelopes)

    def lose(self, worker: Worker, now: float, *, suspect: bool) -> None:
        """Have the jobs of a worker that is gone done by others; alone, if one may be to blame."""
        scheduler = self.schedulers[worker.channel]
        scheduler.leave(worker)
        if suspect or worker.restarting:
            scheduler.expect(worker, now + self.options.liveness_s)
        running, worker.running = worker.running, {}
        self.unreserve(worker, now)
        for (_, attempt), held in running.items():
            if isinstance(held, Work):
                held.lend(worker, attempt)
                held.alone = held.alone or suspect
                held.lost += suspect
                if held.lost >= self.options.max_attempts:
                    why = refusals.worker_lost(held.lost, worker, attempt)
                    self._note(held, "given up: %s", why.error)
                    self._refuse(held, why)
                else:
                    self._note(held, "attempt %d ended with %s: it is done again", attempt, worker)
                    self.counters.sent_again[worker.channel] += 1
                    self.again(held, now)
            elif held is not None:
                self.orphans.pop(held.key, None)

    def unreserve(self, worker: Worker, now: float) -> None:
        """Look for another worker for the suspect that was to run on this one."""
        work, worker.reserved = worker.reserved, None
        if work is not None:
            self.again(work, now)

    # --- endings

    def cancel(self, work: Work, now: float) -> None:
        """Answer work that is wanted no more; what an earlier router sent of it ends as well."""
        if not work.attempt:
            self.taken_back[work.key] = now + self.options.liveness_s
        self.end(work, refusals.TAKEN_BACK, now)

    def keep(self, owners: Collection[str], now: float) -> None:
        """End what others than these have asked for: their keys are good for nothing any more."""
        for work in list(self.inflight.works.values()):
            if work.owner and work.owner not in owners and work.job in self.inflight.works:
                self.end(work, refusals.REVOKED, now)

    def end(self, work: Work, why: Refusal, now: float) -> None:
        """Answer work before a worker did."""
        self._unplace(work, now)
        self._refuse(work, why)

    def _unplace(self, work: Work, now: float) -> None:
        """Take work from wherever it stands; a worker that runs it keeps the slot until it ends."""
        worker = work.worker
        if worker is None:
            self.schedulers[work.lane.channel].remove(work)
        elif work.state is State.RESERVED:
            worker.reserved = None
            self.fill(worker, now)
        else:
            fence = (work.job, work.attempt)
            worker.running[fence] = None
            self._out.append(Tell(worker.peer, CancelJob(*fence)))

    def _answer(self, work: Work, code: int, body: bytes, now: float) -> None:
        self._close(work, code, body)
        if work.inquiry is not None:
            self.answers.append((work.inquiry, body))
        if code in _STORED:
            if work.key:
                self.stored.put(work.key, body, now + self.options.result_ttl_s)
        elif code in _PLATFORMS:
            self._note(work, "%s answered %d: its log has more", work.worker, code)

    def _note(self, work: Work, text: str, *arguments: object) -> None:
        """Have a line about a job in the log; what is refused for want of room has none."""
        request = work.name[2] if work.name else ""
        self._out.append(Note("warning", text, arguments, request))

    def _refuse(self, work: Work, why: Refusal) -> None:
        if work.inquiry is None and why is not refusals.TAKEN_BACK:
            self.refused.count(why.code, work.lane.channel, why.error)
        if why.wants_slot and work.inquiry is None:
            self.counters.lack(work.lane)
        self._close(work, why.code, why.reply())

    def _close(self, work: Work, code: int, body: bytes) -> None:
        """Send the one terminal reply; nothing is known of the request any more."""
        try:
            work.answered[code] += 1
        except KeyError:  # a worker may say any number; and the router's inquiries are not counted
            work.answered[OTHER_CODE] = work.answered.get(OTHER_CODE, 0) + 1
        self.inflight.remove(work)
        for envelope in work.envelopes:
            self._out.append(SendReply(envelope, body))

    def stop(self, now: float) -> None:
        """Take nothing more and refuse what waits; what runs goes on."""
        self.stopping, self.open = True, False
        for work in list(self.inflight.works.values()):
            if work.state is not State.RUNNING or work.inquiry is not None:
                self.end(work, refusals.STOPPING, now)

    def abandon(self) -> None:
        """Answer what still runs; its worker holds the result for the next router."""
        for work in list(self.inflight.works.values()):
            self._refuse(work, refusals.STOPPING)

    # --- time, and versions that come and go

    def expire(self, now: float) -> None:
        """End what is overdue, and forget what was kept long enough."""
        while (work := self.inflight.overdue(now)) is not None:
            worker = work.worker if work.state is State.RUNNING else None
            self.end(work, refusals.overdue(work.lane, worker), now)
        self.stored.expire(now)

    def sweep(self, now: float) -> None:
        """Refuse what has waited a while where no worker is left that could take it."""
        for key in [key for key, until in self.taken_back.items() if until <= now]:
            del self.taken_back[key]
        for scheduler in self.schedulers.values():
            if scheduler.count:
                for lane in list(scheduler.lanes.values()):
                    self._sweep(scheduler, lane, now)

    def _sweep(self, scheduler: Scheduler, lane: Lane, now: float) -> None:
        refusal = None
        if lane.waiting:
            refusal = refusals.no_possible_worker(scheduler, lane, self.address)
        if refusal is None:
            lane.stranded_since = None
        elif lane.stranded_since is None:
            lane.stranded_since = now
        elif now - lane.stranded_since >= self.options.liveness_s:
            self.refuse_waiting(lane, refusal, now)

    def refuse_waiting(self, lane: Lane, why: Refusal, now: float) -> None:
        """Answer everything that waits in a lane."""
        for work in list(self.schedulers[lane.channel].waiting(lane)):
            self.end(work, why, now)

    def refuse_unready(self, lanes: Iterable[Lane], now: float) -> None:
        """Refuse at once what waits for versions that every suitable worker failed to prepare."""
        for lane in sorted(lanes, key=lambda lane: (lane.track, lane.version)):
            scheduler = self.schedulers[lane.channel]
            if lane.waiting and len(lane.failed) == sum(scheduler.serving(lane.track)):
                refusal = refusals.no_possible_worker(scheduler, lane, self.address)
                if refusal is not None:
                    self.refuse_waiting(lane, refusal, now)
