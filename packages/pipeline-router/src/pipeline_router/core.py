"""The router's decisions: `handle(event, now)` says what is to be done; no I/O, no clock.

What happened comes in as `events`, what is to be done goes out as `commands`. Work is admitted by
`admission`, given to workers and answered by `dispatch`; `sessions` lets workers in and out;
`operations` answers what the router serves itself.
"""

from collections.abc import Callable, Iterable
from typing import Any

from pipeline_protocol import status
from pipeline_protocol.codec import answer
from pipeline_protocol.link import (
    Goodbye,
    Hello,
    Job,
    Progress,
    RefusalReason,
    Refused,
    Result,
    RouterHeartbeat,
    Versions,
    WorkerHeartbeat,
)
from pipeline_protocol.monitor.snapshot import Snapshot
from pipeline_protocol.requests import ReadAudit
from pipeline_protocol.responses import Audit
from pipeline_router import audit
from pipeline_router import config as configuration
from pipeline_router.admission import SERVED, Admission
from pipeline_router.commands import (
    Command,
    Finish,
    Mint,
    Note,
    Reload,
    Save,
    SendReply,
    Tell,
    TellAll,
)
from pipeline_router.deployments import Deployments
from pipeline_router.digests import Digests
from pipeline_router.dispatch import Dispatcher
from pipeline_router.events import (
    AuditRead,
    ConfigRead,
    ConfigUnusable,
    Event,
    KeysRead,
    Minted,
    PeerGone,
    Probed,
    ReloadAsked,
    Requested,
    Saved,
    StopAsked,
    Tick,
    TurnedAway,
    WorkerGarbled,
    WorkerSaid,
)
from pipeline_router.model import Work, Worker
from pipeline_router.observer import Observer
from pipeline_router.operations import Operations, action_of
from pipeline_router.refusals import Refusal
from pipeline_router.roles import why_not
from pipeline_router.sessions import Sessions

HEARTBEAT_S = 1.0
REKEYED_S = 10.0
"""So long workers may take to come back when the router has another key: they try those that they
know in turn, up to five seconds apart."""
CHECK_S = 0.5
"""How often silence, waiting and old replies are looked at."""
STOP_S = 30.0
"""How long jobs may go on after the router was asked to stop."""
EPOCHS = 1 << 23
"""An epoch is below this; with the jobs' counter it makes 63 bits."""


class RouterCore:
    """The router, as a state machine.

    `epoch` tells this start of the router from every other: random, not 0. `installation` is whose
    versions these are, through all starts. `address` is the front end's, for people to read.
    """

    def __init__(
        self,
        config: configuration.Config,
        versions: configuration.Versions,
        *,
        epoch: int,
        now: float,
        address: str = "tcp://localhost:5555",
        link_port: int = 5556,
        force_worker_restart: bool = False,
        installation: str = "",
        version: str = "",
        with_keys: bool = False,
    ) -> None:
        self._out: list[Command] = []
        self._epoch = epoch
        self._opens_at = now + HEARTBEAT_S
        self._next_heartbeat = now
        self._next_check = self._last_check = now
        self._stop_by: float | None = None
        self._rekeyed_until = now
        """Before, a connection that is gone tells nothing of its worker: all had to come anew."""
        self.dispatcher = Dispatcher(self._out, config.router, address)
        self.deployments = Deployments(versions)
        self.sessions = Sessions(
            self._out,
            self.dispatcher,
            self.deployments,
            config,
            epoch,
            installation,
            force_restart=force_worker_restart,
        )
        self._admission = Admission(
            self._out, self.dispatcher, epoch, refuses_from=now + config.router.liveness_s
        )
        self._digests = Digests(
            self._out, self.dispatcher, self._admission, self.deployments, self.sessions
        )
        self._operations = Operations(
            self._out,
            self.dispatcher,
            self.sessions,
            self.deployments,
            link_port=link_port,
            version=version,
            now=now,
        )
        self._observer = Observer(
            self.dispatcher, self.sessions, self.deployments, self._operations, version, now
        )
        self._with_keys = with_keys
        if config.roles:
            self._out.append(Mint(config.roles))
        for channel in versions:
            self._operations.sync_lanes(channel, now)
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            Requested: self._requested,
            WorkerSaid: self._worker_said,
            WorkerGarbled: self._worker_garbled,
            PeerGone: self._peer_gone,
            Probed: self._probed,
            Saved: self._saved,
            ReloadAsked: self._reload_asked,
            ConfigRead: self._config_read,
            ConfigUnusable: self._config_unusable,
            AuditRead: self._audit_read,
            KeysRead: self._keys_read,
            TurnedAway: self._turned_away,
            Minted: self._minted,
            StopAsked: self._stop_asked,
            Tick: self._tick,
        }
        self._messages: dict[type, Callable[[Worker, Any, bytes, float], None]] = {
            Result: self._result,
            WorkerHeartbeat: self._heartbeat,
            Progress: self._progress,
            Versions: self._versions,
            Goodbye: self._goodbye,
        }

    def snapshot(self, now: float, lag_s: float) -> Snapshot:
        """Return what is to be shown of the router; `lag_s` is the loop's own figure."""
        return self._observer.look(now, lag_s, with_keys=self._with_keys)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take in what happened; return what is to be done, in this order."""
        self.take_in(event, now)
        return self.commands()

    def take_in(self, event: Event, now: float) -> None:
        """Take in one of several things that happened; `commands` says what is to be done."""
        self._handlers[type(event)](event, now)

    def commands(self) -> list[Command]:
        """Return what is to be done since this was last asked, in this order."""
        self.dispatcher.acknowledge()
        commands = self._out[:]
        self._out.clear()
        return commands

    def wake_at(self) -> float:
        """Return when the next `Tick` is due at the latest."""
        times = [self._next_heartbeat, self._next_check]
        deadline = self.dispatcher.inflight.next_deadline()
        if deadline is not None:
            times.append(deadline)
        if not self.dispatcher.open and self._stop_by is None:
            times.append(self._opens_at)
        return min(times)

    # --- clients

    def _requested(self, event: Requested, now: float) -> None:
        if event.sender is not None:
            refusal = why_not(event.sender, event.request)
            if refusal is not None:
                self._operations.refuse(event, refusal)
                return
        served = SERVED.get(type(event.request))
        if served is not None:
            self._admission.accept(event, served, now)
        else:
            self._operations.serve(event, now)
            self._save_if_due()

    # --- workers

    def _worker_said(self, event: WorkerSaid, now: float) -> None:
        if isinstance(event.message, Hello):
            self.sessions.hello(event.peer, event.message, now, event.sender)
            self._save_if_due()
            return
        worker = self.sessions.presence.at(event.peer)
        if worker is None or (
            worker.sender is not event.sender and not worker.is_with(event.sender)
        ):
            error = "this router has no session with you: say hello"
            self._out.append(Tell(event.peer, Refused(RefusalReason.UNKNOWN_SESSION, error)))
            return
        worker.heard = now
        self._messages[type(event.message)](worker, event.message, event.body, now)

    def _result(self, worker: Worker, message: Result, body: bytes, now: float) -> None:
        self.dispatcher.result(worker, message, body, now)
        if self.dispatcher.answers:
            self._digests.learn(now)
            self._save_if_due()

    def _heartbeat(self, worker: Worker, message: WorkerHeartbeat, _: bytes, now: float) -> None:
        worker.load, worker.trouble = message.load, message.trouble
        self.sessions.keeps(worker, message.keeps)
        if message.draining and not (worker.draining or worker.restarting):
            why = message.trouble or "it drains"
            self._out.append(Note("info", "%s takes no more jobs: %s", (worker, why)))
            self.sessions.rest(worker, now, restarting=False)

    def _progress(self, worker: Worker, message: Progress, body: bytes, _: float) -> None:
        self.dispatcher.progress(worker, message.job, message.attempt, body)

    def _versions(self, worker: Worker, message: Versions, _: bytes, now: float) -> None:
        self.sessions.versions(worker, message.changed, now)
        self._save_if_due()

    def _goodbye(self, worker: Worker, _message: Goodbye, _body: bytes, now: float) -> None:
        self.sessions.goodbye(worker, now)

    def _worker_garbled(self, event: WorkerGarbled, now: float) -> None:
        worker = self.sessions.presence.at(event.peer)
        if event.other:
            refusal = Refused(RefusalReason.PROTOCOL, event.error)
            self.sessions.refuse(event.peer, refusal, event.other)
        elif worker is None or not worker.is_with(event.sender):
            self._out.append(Tell(event.peer, Refused(RefusalReason.MALFORMED, event.error)))
        else:
            self._out.append(Note("warning", "%s: %s", (worker, event.error)))

    def _peer_gone(self, event: PeerGone, now: float) -> None:
        worker = self.sessions.presence.at(event.peer)
        if worker is None:
            return
        if now < self._rekeyed_until:
            self.sessions.await_back(worker, _unsent(worker, event), now)
            return
        # what never left did not run: its worker's end is not its doing
        unsent = _unsent(worker, event)
        self.sessions.lose(worker, "its connection is gone", now)
        for work in unsent:
            self.dispatcher.again(work, now)

    def _probed(self, event: Probed, now: float) -> None:
        self.sessions.probed(event.newcomer, event.hello, now, event.sender, alive=event.alive)
        self._save_if_due()

    # --- versions and configuration

    def _save_if_due(self) -> None:
        versions = self.deployments.next_save()
        if versions is not None:
            self._out.append(Save(versions))

    def _saved(self, event: Saved, now: float) -> None:
        concerned: Iterable[str] = ()
        self.dispatcher.counters.saves.note(event.error or "", now)
        if event.error is None:
            concerned = self._operations.saved(now)
        else:
            self._operations.not_saved(event.error)
            self._out.append(Note("error", "configuration not saved: %s", (event.error,)))
        if event.config is not None:
            self._out.append(Note("info", "configuration read again: it was changed meanwhile"))
            self._out.append(audit.of_config(ConfigRead(event.config)))
            self._adopt(event.config)
            concerned = self.dispatcher.schedulers
        if concerned:
            self.sessions.configure(concerned)
        self._save_if_due()

    def _reload_asked(self, event: ReloadAsked, now: float) -> None:
        self._out.append(Reload())

    def _config_read(self, event: ConfigRead, now: float) -> None:
        self.dispatcher.counters.reloads.note("", now)
        self._out.append(audit.of_config(event))
        self._adopt(event.config)
        self.sessions.configure(self.dispatcher.schedulers)

    def _config_unusable(self, event: ConfigUnusable, now: float) -> None:
        self.dispatcher.counters.reloads.note(event.error, now)
        self._out.append(audit.of_config(event))

    def _audit_read(self, event: AuditRead, now: float) -> None:
        if event.error:
            code, reply = status.SETUP_FAILED, Refusal(status.SETUP_FAILED, event.error).reply()
        else:
            code, reply = status.OK, answer(Audit(event.entries))
        self.dispatcher.counters.answer(action_of(ReadAudit), code)
        self._out.append(SendReply(event.envelope, reply))

    def _keys_read(self, event: KeysRead, now: float) -> None:
        if event.added or event.revoked or event.rekeyed:
            self._out.append(audit.of_keys(event))
        if event.rekeyed:
            self._rekeyed_until = now + max(REKEYED_S, self.dispatcher.options.liveness_s)
            self._admission.refuses_from = max(self._admission.refuses_from, self._rekeyed_until)
        self.sessions.recheck(event.principals, now)
        self.dispatcher.keep({sender.name for sender in event.principals.values()}, now)
        self._save_if_due()

    def _turned_away(self, event: TurnedAway, _now: float) -> None:
        self.dispatcher.refused.count_other(event.what, event.where, event.last, event.times)
        counts = self._operations.turned_away
        counts[event.what] = counts.get(event.what, 0) + event.times

    def _adopt(self, config: configuration.Config) -> None:
        before = self.sessions.config.roles
        self.sessions.config = config
        self.dispatcher.options = config.router
        if config.roles != before:
            self.sessions.forget_credentials()
            self._out.append(Mint(config.roles))

    def _minted(self, event: Minted, now: float) -> None:
        if event.sts in self.sessions.config.roles:
            self.sessions.credentials[event.sts] = event.credentials
            self.sessions.configure(self.dispatcher.schedulers)

    # --- time

    def _tick(self, event: Tick, now: float) -> None:
        self.dispatcher.expire(now)
        if not self.dispatcher.open and self._stop_by is None and now >= self._opens_at:
            self.dispatcher.begin(now)
        if now >= self._next_check:
            self._check(now)
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            peers = tuple(worker.peer for worker in self.sessions.presence)
            self._out.append(TellAll(peers, RouterHeartbeat(self._epoch)))
        if self._stop_by is not None:
            self._finish_if_done(now)

    def _check(self, now: float) -> None:
        liveness_s = self.dispatcher.options.liveness_s
        if now - self._last_check > liveness_s / 2:
            self.sessions.presence.forgive_silence(now)  # it was the router that slept
        self._last_check, self._next_check = now, now + CHECK_S
        if now >= self._rekeyed_until:
            for worker in self.sessions.presence.silent(now - liveness_s):
                self.sessions.lose(worker, f"silent for {now - worker.heard:.1f} s", now)
        self.dispatcher.sweep(now)
        self._out.extend(self.dispatcher.refused.due(now))
        self._digests.ask(now)

    # --- the end

    def _stop_asked(self, event: StopAsked, now: float) -> None:
        if self._stop_by is not None:
            self._stop_by = now  # asked twice: at once
        else:
            self._stop_by = now + STOP_S
            self.dispatcher.stop(now)
            running = len(self.dispatcher.inflight)
            self._out.append(Note("info", "stopping; jobs to finish first: %d", (running,)))
        self._finish_if_done(now)

    def _finish_if_done(self, now: float) -> None:
        if self._stop_by is None:
            return
        if now >= self._stop_by:
            self.dispatcher.abandon()
        elif self.dispatcher.inflight.works or self.deployments.busy:
            return
        self._out.extend(self.dispatcher.refused.due(now))
        self._out.append(Finish())


def _unsent(worker: Worker, event: PeerGone) -> list[Work]:
    """Take the jobs from a worker that never left for it, and return them."""
    fences = [(m.job, m.attempt) for m in event.undelivered if isinstance(m, Job)]
    unsent = [worker.running.pop(fence, None) for fence in fences]
    return [work for work in unsent if isinstance(work, Work)]
