"""Every decision of a worker: an event and a time go in, commands come out; no I/O.

A worker asks the router's front end for the link, says hello over it, is welcomed and configured,
and serves. When the router falls silent it asks again, for as long as it lives, while its jobs run
on: their results are held until some router acknowledges them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum

from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.link import (
    PROTOCOL,
    CancelJob,
    Configure,
    Drain,
    Forget,
    Goodbye,
    Hello,
    Job,
    Progress,
    Readiness,
    RefusalReason,
    Refused,
    Restart,
    Result,
    ResultAck,
    RouterHeartbeat,
    ToWorker,
    Versions,
    VersionState,
    Welcome,
    WorkerHeartbeat,
    mismatch,
)
from pipeline_protocol.settings import WantedVersion
from pipeline_worker import commands as do
from pipeline_worker import events
from pipeline_worker.bootstrap import Bootstrap, Phase, Step, Timeouts
from pipeline_worker.counters import WorkerCounters
from pipeline_worker.host.health import DOUBTFUL, Health, Verdict
from pipeline_worker.ledger import Ledger
from pipeline_worker.versions.desired import DesiredVersions
from pipeline_worker.versions.retention import Memory, Retention


class Mode(Enum):
    """What the process was started for."""

    LISTEN = "listen"
    CONFIGURE = "configure"
    """Prepare what is wanted, then exit."""
    DRYRUN = "dryrun"
    """Say what would be prepared, then exit."""


class WorkerCore:
    """One worker's state. `handle` is its only verb."""

    def __init__(
        self,
        identity: str,
        instance: str,
        address: WorkerAddress,
        slots: int,
        mode: Mode = Mode.LISTEN,
        timeouts: Timeouts | None = None,
        host: Mapping[str, str] | None = None,
        memory: Memory | None = None,
        counters: WorkerCounters | None = None,
    ) -> None:
        """Begin; `host` says how its host runs jobs, for whoever asks the router.

        `memory` is what an earlier start left beside the store.
        """
        self.identity = identity
        self.instance = instance
        self.address = address
        self.slots = slots
        self.mode = mode
        self.host = dict(host or {})
        self.timeouts = timeouts or Timeouts()
        self.bootstrap = Bootstrap(self.timeouts)
        self.ledger = Ledger()
        self.desired = DesiredVersions(address.topics)
        self._remembered = memory or Memory()
        self.retention = Retention(self._remembered)
        self.health = Health()
        self.counters = counters or WorkerCounters()
        """What was done, by earlier sessions of the process too, if they are theirs."""
        self.has_settled = False
        """Whether every version that was wanted has been ready, or failed, since the start."""
        self._preparing: dict[tuple[str, str], float] = {}
        """Since when versions are being prepared."""
        self.epoch = 0
        self._router_protocol: int | None = None
        """As its front end said; None: another router may be behind the link by now."""
        self._bootstrap_error = ""
        """The last one that was said."""
        self._trouble = ""
        """Why no connection comes about, as it was said last."""
        self.leaving: do.WorkerEnd | None = None
        self._configured = False
        self._was_asked_to_stop = False
        self._beat_at = float("-inf")
        self._idle_since: float | None = None

    def handle(self, event: events.Event, now: float) -> list[do.Command]:
        """Take in what happened at `now` (monotonic seconds); return what to do, in order."""
        self.bootstrap.started(now)
        return _EVENTS[type(event)](self, event, now)

    @property
    def phase(self) -> Phase:
        """How far the worker is with its router."""
        return self.bootstrap.phase

    @property
    def draining(self) -> bool:
        """Whether the router must send no more jobs."""
        return self.leaving is not None or self.mode is not Mode.LISTEN or bool(self.health.trouble)

    # --- finding the router

    def _tick(self, event: events.Tick, now: float) -> list[do.Command]:
        out: list[do.Command] = []
        match self.bootstrap.due(now):
            case Step.GIVE_UP:
                return [do.Leave(do.WorkerEnd.UNREACHABLE, self._unreachable())]
            case Step.ASK:
                out += self._ask(now)
            case Step.LOOK_AGAIN:
                out.append(do.Say("the router is silent: looking for it", warning=True))
                out += self._ask(now)
            case Step.HELLO:
                out += self._hello(now)
        if self.phase is Phase.SERVING:
            if now - self._beat_at >= self.timeouts.heartbeat_s:
                out += self._beat(event.load, now)
            if further := self.desired.progress():
                out.append(do.Send(Versions(further)))
            out += self._prepare(self.desired.due(now), now)
        if self.health.due(now):
            out.append(do.ProveHealth())
        return out + self._leave_if_idle(now)

    def _handshake_failed(self, event: events.HandshakeFailed, now: float) -> list[do.Command]:
        """Ask anew, with the next key that the router may have, or when ours may be known to it."""
        self.bootstrap.shut_out(now, event.again_s)
        if not event.trouble or event.trouble == self._trouble:
            return []
        self._trouble = event.trouble
        return [do.Say(f"{event.trouble}; trying again", warning=True)]

    def _unreachable(self) -> str:
        return self._trouble or (
            f"the router at {self.address.router} does not answer: is it running, and is that its "
            "address?"
        )

    def _ask(self, now: float) -> list[do.Command]:
        self.bootstrap.asked(now)
        return [do.AskRouter()]

    def _link_found(self, event: events.LinkFound, now: float) -> list[do.Command]:
        if self.phase is not Phase.ASKING:
            return []
        self.bootstrap.heard(now)
        self._router_protocol, self._bootstrap_error = event.protocol, ""
        self._trouble = ""
        warnings = [do.Say(text, warning=True) for text in event.warnings]
        return [*warnings, do.Connect(event.port), *self._hello(now)]

    def _bootstrap_refused(self, event: events.BootstrapRefused, now: float) -> list[do.Command]:
        if not self.bootstrap.welcomed:
            return [do.Leave(do.WorkerEnd.FAILED, event.error)]
        if event.error == self._bootstrap_error:
            return []
        self._bootstrap_error = event.error
        return [do.Say(f"{event.error}; asking again", warning=True)]

    def _hello(self, now: float) -> list[do.Command]:
        self.bootstrap.greeted(now)
        hello = Hello(
            identity=self.identity,
            instance=self.instance,
            channel=self.address.channel,
            topics=self.address.topics,
            slots=self.slots,
            versions=self.desired.states(),
            jobs=self.ledger.jobs(now),
            epoch=self.epoch,
            draining=self.draining,
            trouble=self.health.trouble,
            host=self.host,
        )
        return [do.Send(hello)]

    def _beat(self, load: float, now: float) -> list[do.Command]:
        self._beat_at = now
        running, trouble = len(self.ledger.running), self.health.trouble
        keeps = self.retention.words()
        return [do.Send(WorkerHeartbeat(running, load, self.draining, trouble, keeps))]

    # --- what the router says

    def _received(self, event: events.Received, now: float) -> list[do.Command]:
        self.bootstrap.heard(now)
        return _MESSAGES[type(event.message)](self, event.message, event.body, now)

    def _welcome(self, message: Welcome, _body: bytes, now: float) -> list[do.Command]:
        self.bootstrap.welcome(now, message.liveness_s)
        self.epoch = message.epoch
        self.retention.welcome(message.installation, message.epoch)
        said = do.Say(f"serving {self.address}, {self.slots} at a time")
        return [said, *self._beat(0.0, now), *self._held_results()]

    def _held_results(self) -> list[do.Command]:
        return [
            do.Send(Result(job, attempt, held.code), held.body)
            for (job, attempt), held in self.ledger.held.items()
        ]

    def _refused(self, message: Refused, _body: bytes, now: float) -> list[do.Command]:
        if message.why is RefusalReason.UNKNOWN_SESSION:
            # also while it is looked for: then the link is there before the front end answers
            self._router_protocol = None
            return [] if self.phase is Phase.GREETING else self._hello(now)
        if message.why is RefusalReason.PROTOCOL and self._router_protocol is None:
            return self._ask(now)  # for its number: to say what is to be upgraded
        if message.why is RefusalReason.IDENTITY_ALIVE and self.bootstrap.wait_for_stale_identity(
            now
        ):
            return [do.Say(f"{message.error}; asking again", warning=True)]
        error = message.error
        if self._router_protocol not in (None, PROTOCOL):  # an older router's words name no remedy
            error = mismatch(self._router_protocol, PROTOCOL)
        return [do.Leave(do.WorkerEnd.FAILED, f"the router refuses this worker: {error}")]

    def _router_heartbeat(
        self, _message: RouterHeartbeat, _body: bytes, _now: float
    ) -> list[do.Command]:
        return []

    def _job(self, message: Job, body: bytes, now: float) -> list[do.Command]:
        held = self.ledger.held.get((message.job, message.attempt))
        if held is not None:
            return [do.Send(Result(message.job, message.attempt, held.code), held.body)]
        if not self.ledger.start(message, now):
            return []
        self._idle_since = None
        return [do.StartRun(message, body)]

    def _cancel(self, message: CancelJob, _body: bytes, _now: float) -> list[do.Command]:
        if (message.job, message.attempt) in self.ledger.running:
            return [do.CancelRun(message.job, message.attempt)]
        return []

    def _result_ack(self, message: ResultAck, _body: bytes, now: float) -> list[do.Command]:
        for job, attempt in message.results:
            self.ledger.acknowledge(job, attempt)
        return self._leave_if_idle(now)

    def _configure(self, message: Configure, _body: bytes, now: float) -> list[do.Command]:
        self._configured = True
        wanted = self.desired.want(message.settings.versions)
        if self.mode is Mode.DRYRUN:
            names = ", ".join(f"{v.track} {v.version}" for v in wanted.prepare) or "nothing"
            return [
                do.Say(f"would prepare: {names}"),
                do.Leave(do.WorkerEnd.DONE),
            ]
        out: list[do.Command] = [do.Adopt(message.settings, message.credentials)]
        out += self._prepare(wanted.prepare, now)
        self.has_settled = self.has_settled or self.desired.settled()
        self.retention.want(self.desired.wanted())
        out.append(self._keep())
        if wanted.changed:
            out.append(do.Send(Versions(wanted.changed)))
        return [*out, *self._retained(now), *self._leave_if_idle(now)]

    def _prepare(self, versions: Iterable[WantedVersion], now: float) -> Iterator[do.Command]:
        for wanted in versions:
            self._preparing[wanted.track, wanted.version] = now
            yield do.Prepare(wanted)

    def _measure(self, state: VersionState, now: float) -> None:
        """Count the end of a version's preparing."""
        if state.state is Readiness.PREPARING:
            return
        began = self._preparing.pop((state.track, state.version), None)
        if state.state is Readiness.FAILED:
            self.counters.unprepared += 1
        elif began is not None:
            self.counters.prepared.observe(now - began)

    def _keep(self) -> do.Command:
        return do.Keep(self.desired.wanted(), self.retention.digests())

    def _retained(self, now: float) -> list[do.Command]:
        """Write down what has changed about what is kept, and tell both operators."""
        before, after = self._remembered, self.retention.memory
        if after == before:
            return []
        self._remembered = after
        out: list[do.Command] = [do.Remember(after)]
        if (after.kept, after.why) != (before.kept, before.why):
            keeps = self.retention.words()
            out.append(do.Say(keeps or "keeps only what is wanted", warning=bool(keeps)))
            if self.phase is Phase.SERVING:
                out += self._beat(0.0, now)
        return out

    def _forget(self, _message: Forget, _body: bytes, now: float) -> list[do.Command]:
        self.retention.forget()
        said = do.Say("told to forget images that are not wanted")
        return [said, self._keep(), *self._retained(now)]

    def _drain(self, _message: Drain, _body: bytes, now: float) -> list[do.Command]:
        self.leaving = self.leaving or do.WorkerEnd.DONE
        return [do.Say("draining: finishing what runs"), *self._leave_if_idle(now)]

    def _restart(self, _message: Restart, _body: bytes, now: float) -> list[do.Command]:
        self.leaving = self.leaving or do.WorkerEnd.RESTART
        return [
            do.Say("the router asks for a restart: finishing what runs"),
            *self._leave_if_idle(now),
        ]

    # --- what happens here

    def _run_ended(self, event: events.RunEnded, now: float) -> list[do.Command]:
        began = self.ledger.running[event.job, event.attempt].began
        self.ledger.finish(event.job, event.attempt, event.code, event.body, now)
        self.counters.end(event.code, now - began)
        if event.code in DOUBTFUL:
            self.health.doubt()
        out: list[do.Command] = []
        if self.phase is Phase.SERVING:
            out.append(do.Send(Result(event.job, event.attempt, event.code), event.body))
        return out + self._leave_if_idle(now)

    def _run_printed(self, event: events.RunPrinted, _now: float) -> list[do.Command]:
        if self.phase is not Phase.SERVING:
            return []
        return [do.Send(Progress(event.job, event.attempt), event.body)]

    def _version_moved(self, event: events.VersionMoved, now: float) -> list[do.Command]:
        state = self.desired.moved(event.state, now)
        if state is None:
            return []
        self._measure(state, now)
        self.has_settled = self.has_settled or self.desired.settled()
        if state.state is Readiness.READY:
            self.retention.found(state.track, state.version, state.digest)
        out: list[do.Command] = []
        if self.phase is Phase.SERVING:
            out.append(do.Send(Versions((state,))))
        return [*out, *self._retained(now), *self._leave_if_idle(now)]

    def _health_doubted(self, _event: events.HealthDoubted, _now: float) -> list[do.Command]:
        self.health.doubt()
        return []

    def _health_proved(self, event: events.HealthProved, now: float) -> list[do.Command]:
        self.counters.checks["failed" if event.problem else "well"] += 1
        verdict = self.health.proved(event.problem, now)
        if verdict is Verdict.WELL:
            # The router takes a worker that drained back as one that begins anew.
            self.leaving = self.leaving or do.WorkerEnd.RESTART
            return [do.Say("this host is well again"), *self._leave_if_idle(now)]
        if not event.problem:
            return []
        out: list[do.Command] = [
            do.Say(self.health.trouble or f"this host failed its check: {event.problem}", True)
        ]
        if verdict is Verdict.OUT and self.phase is Phase.SERVING:
            out += self._beat(0.0, now)
        return out

    def _stop_asked(self, _event: events.StopAsked, now: float) -> list[do.Command]:
        # while the router is away there is nothing to wait for, but for work that it may ask about
        idle_and_disconnected = self.phase is Phase.ASKING and not (
            self.ledger.running or self.ledger.held
        )
        if self._was_asked_to_stop or idle_and_disconnected:
            return [do.Leave(do.WorkerEnd.DONE, "stopped")]
        # the second time: that the router had it drained before is no asking to stop at once
        self._was_asked_to_stop = True
        self.leaving = do.WorkerEnd.DONE
        out: list[do.Command] = [do.Say("stopping: finishing what runs; once more to stop now")]
        if self.phase is Phase.SERVING:
            out += self._beat(0.0, now)
        return out + self._leave_if_idle(now)

    def _leave_if_idle(self, now: float) -> list[do.Command]:
        if self.leaving is None and self._prepared_all():
            self.leaving = do.WorkerEnd.DONE if self.desired.all_ready() else do.WorkerEnd.FAILED
        if self.leaving is None or self.ledger.running:
            return []
        if self._idle_since is None:
            self._idle_since = now
        if self.ledger.held and now - self._idle_since < self.timeouts.acknowledgement_s:
            return []
        report = self.desired.report() if self.mode is Mode.CONFIGURE else ""
        goodbye: list[do.Command] = [do.Send(Goodbye(report))]
        if self.phase is not Phase.SERVING:
            goodbye = []
        return [*goodbye, do.Leave(self.leaving, report)]

    def _prepared_all(self) -> bool:
        return self.mode is Mode.CONFIGURE and self._configured and self.desired.settled()


_EVENTS: dict[type, Callable[..., list[do.Command]]] = {
    events.Tick: WorkerCore._tick,
    events.LinkFound: WorkerCore._link_found,
    events.BootstrapRefused: WorkerCore._bootstrap_refused,
    events.HandshakeFailed: WorkerCore._handshake_failed,
    events.Received: WorkerCore._received,
    events.RunEnded: WorkerCore._run_ended,
    events.RunPrinted: WorkerCore._run_printed,
    events.VersionMoved: WorkerCore._version_moved,
    events.HealthDoubted: WorkerCore._health_doubted,
    events.HealthProved: WorkerCore._health_proved,
    events.StopAsked: WorkerCore._stop_asked,
}

_MESSAGES: dict[type[ToWorker], Callable[..., list[do.Command]]] = {
    Welcome: WorkerCore._welcome,
    Refused: WorkerCore._refused,
    RouterHeartbeat: WorkerCore._router_heartbeat,
    Job: WorkerCore._job,
    CancelJob: WorkerCore._cancel,
    ResultAck: WorkerCore._result_ack,
    Configure: WorkerCore._configure,
    Drain: WorkerCore._drain,
    Restart: WorkerCore._restart,
    Forget: WorkerCore._forget,
}
