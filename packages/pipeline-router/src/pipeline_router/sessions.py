"""Workers' sessions: who is let in, what their jobs belong to, how a session ends."""

from collections.abc import Iterable

from pipeline_protocol.link import (
    CancelJob,
    Configure,
    HeldJob,
    Hello,
    Readiness,
    RefusalReason,
    Refused,
    Restart,
    RouterHeartbeat,
    VersionState,
    Welcome,
)
from pipeline_protocol.settings import NOT_YET_MINTED, Credentials
from pipeline_router.admission import COUNTER_BITS
from pipeline_router.commands import Command, Level, Note, Probe, Tell, TellAll
from pipeline_router.config import Config, Sts
from pipeline_router.deployments import Deployments
from pipeline_router.dispatch import Dispatcher
from pipeline_router.model import Inquiry, Orphan, Process, State, Work, Worker, process_of
from pipeline_router.presence import Presence, check_hello
from pipeline_router.principals import Principals, Sender
from pipeline_router.roles import why_not_serve


class Sessions:
    """Begins, updates and ends them."""

    def __init__(
        self,
        out: list[Command],
        dispatcher: Dispatcher,
        deployments: Deployments,
        config: Config,
        epoch: int,
        installation: str,
        *,
        force_restart: bool,
    ) -> None:
        self.presence = Presence()
        self.config = config
        self.credentials: dict[Sts, Credentials] = {}
        """What workers are to use instead of their hosts' own, by the role that minted it:
        no worker is sent those of another channel's."""
        self._out = out
        self._dispatcher = dispatcher
        self._deployments = deployments
        self._epoch = epoch
        self._installation = installation
        self._force_restart = force_restart
        self._last_session = 0

    # --- beginning

    def hello(self, peer: bytes, hello: Hello, now: float, sender: Sender = None) -> None:
        """Let a worker in, refuse it, or look first whether its name's owner is alive."""
        refusal = check_hello(hello, sender)
        owner = self.presence.called(hello.identity)
        if refusal is not None:
            self.refuse(peer, refusal, hello.identity)
        elif owner is None or owner.peer == peer or owner.process == _process(hello, sender):
            self.welcome(peer, hello, now, sender)
        else:
            beat = RouterHeartbeat(self._epoch)
            self._out.append(Probe(owner.peer, beat, peer, hello, sender))

    def refuse(self, peer: bytes, refusal: Refused, identity: str) -> None:
        """Keep a worker out, in words on both sides."""
        error = f"{identity}: {refusal.error}"
        kind = f"a worker's hello, {refusal.why.value}"
        self._dispatcher.refused.count_other(kind, "link", error)
        self._out.append(Tell(peer, refusal))

    def probed(
        self, peer: bytes, hello: Hello, now: float, sender: Sender = None, *, alive: bool
    ) -> None:
        """Refuse a newcomer whose name's owner is connected, else let it in."""
        owner = self.presence.called(hello.identity)
        if alive and owner is not None and owner.peer != peer:
            error = f"a worker called {hello.identity} is alive: choose another name, or stop it"
            self.refuse(peer, Refused(RefusalReason.IDENTITY_ALIVE, error), hello.identity)
        else:
            self.welcome(peer, hello, now, sender)

    def welcome(self, peer: bytes, hello: Hello, now: float, sender: Sender = None) -> None:
        """Begin a session, or begin it anew, with what the worker has and runs."""
        before = self._end_earlier(peer, _process(hello, sender), now)
        worker = Worker(peer, hello, now, sender)
        worker.restarting = before is not None and before.restarting
        worker.draining = hello.draining and not worker.restarting
        self.presence.add(worker)
        self._last_session += 1
        liveness_s = self.config.router.liveness_s
        welcome = Welcome(self._last_session, self._epoch, liveness_s, self._installation)
        self._out.append(Tell(peer, welcome))
        self._out.append(Tell(peer, self._configure(worker.channel, worker.topics)))
        if self._force_restart and hello.epoch not in (0, self._epoch):
            worker.restarting = True
            self._out.append(Tell(peer, Restart()))
        self._learn(worker, hello.versions)
        for held in hello.jobs:
            self._meet(worker, held, now)
        if before is not None:
            self._recover(worker, before, now)
        scheduler = self._dispatcher.schedulers[worker.channel]
        if not worker.draining:
            scheduler.join(worker)
        self._dispatcher.fill(worker, now)
        self._dispatcher.refuse_unready(worker.failed, now)
        self._note("info", "%s is there: %s, slots: %d", worker, worker.channel, worker.slots)

    def _end_earlier(self, peer: bytes, process: Process, now: float) -> Worker | None:
        """End the sessions that a hello replaces; return the same process's own, its jobs kept."""
        own = None
        for worker in {self.presence.at(peer), self.presence.called(process[0])}:
            if worker is None:
                continue
            if worker.process == process:
                own = worker
                self.presence.remove(worker)
                self._dispatcher.schedulers[worker.channel].leave(worker)
            else:
                self.lose(worker, "replaced by another process", now)
        return own

    def _meet(self, worker: Worker, held: HeldJob, now: float) -> None:
        """Tie a job that a worker runs, or holds the result of, to its request."""
        dispatcher = self._dispatcher
        fence = (held.job, held.attempt)
        work = self._of_request(worker, held)
        same = work is not None and _is_on(work, worker) and (work.job, work.attempt) == fence
        if work is not None and (same or work.state is not State.RUNNING):
            if not same:
                dispatcher.take_back(work, held.job, now)
            dispatcher.adopt(work, worker, held.attempt)
        elif work is None and self._may_be_asked_for(held):
            orphan = Orphan(worker, held.key, held.job, held.attempt)
            worker.running[fence] = orphan
            dispatcher.orphans[held.key] = orphan
        else:
            if work is not None:
                work.lend(worker, held.attempt)
            if not held.done:
                worker.running[fence] = None
                self._out.append(Tell(worker.peer, CancelJob(*fence)))

    def _of_request(self, worker: Worker, held: HeldJob) -> Work | None:
        """Find the request of a held job, if the worker proves that it was given that.

        Anybody can guess a job's number. Who knows the request's key was sent the request, by this
        router or an earlier one; of one without a key this router knows whom it has sent it to.
        """
        inflight = self._dispatcher.inflight
        work = inflight.with_key(held.key) if held.key else inflight.works.get(held.job)
        if work is None or work.lane.channel != worker.channel:
            return None
        if held.key or work.is_of(worker, held.attempt):
            return work
        return work if _is_on(work, worker) and not work.key else None

    def _may_be_asked_for(self, held: HeldJob) -> bool:
        """Whether it is an earlier router's, and whoever wants it has yet to ask this one."""
        is_earlier = held.job >> COUNTER_BITS != self._epoch
        return bool(held.key) and is_earlier and held.key not in self._dispatcher.taken_back

    def _recover(self, worker: Worker, before: Worker, now: float) -> None:
        """Send again what the same process was sent, but does not have: no fault of the job."""
        for fence in before.running.keys() - worker.running.keys():
            self._out.append(Tell(worker.peer, CancelJob(*fence)))
        for fence in worker.running:
            before.running.pop(fence, None)
        self._dispatcher.lose(before, now, suspect=False)

    # --- going on

    def versions(self, worker: Worker, changed: Iterable[VersionState], now: float) -> None:
        """Take in how far a worker is with what it prepares."""
        self._learn(worker, changed)
        self._dispatcher.schedulers[worker.channel].reassign_pool(worker)
        self._dispatcher.fill(worker, now)
        self._dispatcher.refuse_unready(worker.failed, now)

    def keeps(self, worker: Worker, why: str) -> None:
        """Take in whether a worker keeps images that are not wanted, and have it noticed."""
        if why and why != worker.keeps:
            self._note("warning", "%s %s", worker, why)
        elif worker.keeps and not why:
            self._note("info", "%s keeps nothing any more that is not wanted", worker)
        worker.keeps = why

    def _learn(self, worker: Worker, states: Iterable[VersionState]) -> None:
        for told in states:
            wanted = self._deployments.of_track(worker.channel, told.track)
            before = worker.versions.get((told.track, told.version))
            state = worker.learn(told, wanted.get(told.version))
            if told.version not in wanted:
                continue
            if state.state is Readiness.FAILED:
                if before is not None and before.reason == state.reason:
                    continue  # it is being tried again
                failed = (worker, state.version, state.track, state.reason)
                self._note("warning", "%s could not prepare %s of %s: %s", *failed)

    def pinned(self, inquiry: Inquiry, digest: str, now: float) -> None:
        """Look again at the workers that have a version ready, now that its digest is known."""
        for worker in list(self.presence):
            state = worker.versions.get((inquiry.track, inquiry.version))
            if worker.channel == inquiry.channel and state is not None:
                self.versions(worker, (state,), now)

    def configure(self, channels: Iterable[str]) -> None:
        """Tell every worker of some channels what is wanted now."""
        groups: dict[tuple[str, frozenset[str]], list[bytes]] = {}
        for worker in self.presence:
            if worker.channel in channels:
                groups.setdefault((worker.channel, worker.topics), []).append(worker.peer)
        for (channel, topics), peers in groups.items():
            self._out.append(TellAll(tuple(peers), self._configure(channel, topics)))

    def _configure(self, channel: str, topics: frozenset[str]) -> Configure:
        wanted = self._deployments.of_channel(channel)
        settings = self.config.settings(channel, topics, wanted)
        return Configure(settings, self._credentials_of(channel))

    def _credentials_of(self, channel: str) -> Credentials | None:
        role = self.config.role_of(channel)
        return None if role is None else self.credentials.get(role, NOT_YET_MINTED)

    def forget_credentials(self) -> None:
        """Keep only what is minted by roles that are still wanted."""
        roles = self.config.roles
        self.credentials = {sts: own for sts, own in self.credentials.items() if sts in roles}

    # --- ending

    def rest(self, worker: Worker, now: float, *, restarting: bool) -> None:
        """Give a worker that is to drain or restart no more jobs, whoever told it to."""
        scheduler = self._dispatcher.schedulers[worker.channel]
        if restarting:
            worker.restarting = True
            scheduler.reassign_pool(worker)
        else:
            worker.draining = True
            scheduler.leave(worker)
        self._dispatcher.fill(worker, now)

    def await_back(self, worker: Worker, unsent: Iterable[Work], now: float) -> None:
        """Give a worker no more jobs until it says hello again on another connection."""
        self._dispatcher.schedulers[worker.channel].leave(worker)
        self._dispatcher.fill(worker, now)
        for work in unsent:
            self._dispatcher.again(work, now)

    def goodbye(self, worker: Worker, now: float) -> None:
        """End a session whose worker leaves of its own: what it was still sent never ran."""
        self.presence.remove(worker)
        self._dispatcher.lose(worker, now, suspect=False)
        self._note("info", "%s has left", worker)

    def lose(self, worker: Worker, why: str, now: float) -> None:
        """End a session whose worker is lost."""
        self.presence.remove(worker)
        if not worker.draining or worker.trouble:  # else it was to go
            self.presence.miss(worker, why, now)
        jobs = len(worker.running)
        self._dispatcher.counters.lost[worker.channel] += 1
        self._dispatcher.lose(worker, now, suspect=True)
        self._note("warning", "%s is lost (%s); jobs: %d", worker, why, jobs)

    # --- keys

    def recheck(self, principals: Principals, now: float) -> None:
        """End the sessions of workers whose keys are revoked, or are good for others by now."""
        for worker in list(self.presence):
            if worker.sender is None:
                continue
            sender = principals.get(worker.sender.key)
            if sender and not why_not_serve(sender, worker.identity, worker.channel):
                worker.sender = sender
            else:
                self._shut_out(worker, now)

    def _shut_out(self, worker: Worker, now: float) -> None:
        """Have a worker's jobs done by others; what comes with a key that is bad is not read."""
        self.presence.remove(worker)
        jobs = len(worker.running)
        self._dispatcher.lose(worker, now, suspect=False)
        error = "its key is revoked, or is not for it any more"
        self._out.append(Tell(worker.peer, Refused(RefusalReason.ROLE, error)))
        self._note("warning", "%s is shut out (%s); jobs: %d", worker, error, jobs)

    def _note(self, level: Level, text: str, *arguments: object) -> None:
        self._out.append(Note(level, text, arguments))


def _process(hello: Hello, sender: Sender) -> Process:
    return process_of(hello.identity, hello.instance, sender)


def _is_on(work: Work, worker: Worker) -> bool:
    """Whether a request was given to that process, by this router."""
    owner = work.worker
    return owner is not None and owner.process == worker.process
