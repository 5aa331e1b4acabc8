"""The actions that the router serves itself: versions, configuration, workers."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from pipeline_protocol import status
from pipeline_protocol.channels import CHANNEL_OF_ACTION
from pipeline_protocol.codec import answer
from pipeline_protocol.link import PROTOCOL, Drain, Forget, Restart
from pipeline_protocol.names import nearest
from pipeline_protocol.requests import (
    Cancel,
    ConfigureWorker,
    CurrentConfig,
    CurrentWorkerStatus,
    DeployContainerVersion,
    DeploymentCheck,
    DescribeWorkers,
    DismissWorker,
    DrainWorker,
    ForgetImages,
    Ping,
    ReadAudit,
    RestartWorkers,
    Role,
    UnloadContainerVersion,
    UpdateContainerVersions,
)
from pipeline_protocol.responses import (
    Cancelled,
    ChannelStatus,
    ClientStatus,
    LinkAddress,
    MissingWorker,
    Pong,
    Told,
    WantedVersions,
    WorkerDescription,
    Workers,
    WorkerStatus,
)
from pipeline_router import audit, refusals
from pipeline_router.commands import Command, FetchAudit, Note, SendReply, Tell, TellAll
from pipeline_router.deployments import DeploymentChange, Deployments, DeployRequest
from pipeline_router.dispatch import Dispatcher
from pipeline_router.events import Requested
from pipeline_router.inflight import owner_of
from pipeline_router.model import State, Worker
from pipeline_router.presence import Missing
from pipeline_router.refusals import Refusal
from pipeline_router.scheduler import serves
from pipeline_router.sessions import Sessions


class Operations:
    """Answers what needs no worker."""

    def __init__(
        self,
        out: list[Command],
        dispatcher: Dispatcher,
        sessions: Sessions,
        deployments: Deployments,
        *,
        link_port: int,
        version: str,
        now: float,
    ) -> None:
        self._out = out
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._deployments = deployments
        self._link_port = link_port
        self._version = version
        self._started = now
        self.turned_away: dict[str, int] = {}
        """Why connections were not let in, and how many, since the start."""

    def serve(self, event: Requested, now: float) -> None:
        """Answer a request, at once or when its change is saved."""
        reply = HANDLERS[type(event.request)](self, event, event.request, now)
        if isinstance(reply, Refusal):
            self.refuse(event, reply)
        elif reply is not None:
            self._out.append(SendReply(event.envelope, answer(reply)))

    def refuse(self, event: Requested, why: Refusal) -> None:
        """Answer a request that is not served."""
        action = str(event.request.__struct_config__.tag)
        self._dispatcher.refused.count(why.code, action, why.error)
        self._out.append(SendReply(event.envelope, why.reply()))

    # --- versions

    def _change(self, event: Requested, request: DeployRequest, now: float) -> Refusal | None:
        if self._dispatcher.stopping:
            return refusals.STOPPING
        return self._deployments.ask(DeploymentChange(event.envelope, request, event.sender))

    def saved(self, now: float) -> set[str]:
        """Put saved changes into effect and answer them; return the channels concerned."""
        changes, channels = self._deployments.saved()
        for channel in channels:
            self.sync_lanes(channel, now)
        for change in changes:
            channel, track = change.request.channel, change.request.track_slug
            versions = tuple(self._deployments.of_track(channel, track))
            workers = sum(self._dispatcher.schedulers[channel].serving(track))
            done = WantedVersions(channel, track, versions, workers)
            self._out.append(SendReply(change.envelope, answer(done)))
            listed = ", ".join(versions) or "nothing"
            self._note("%s of %s on %s: wanted now: %s", change.what, track, channel, listed)
            self._out.append(audit.of_deployment(change))
        return channels

    def not_saved(self, error: str) -> None:
        """Answer the changes that could not be saved: nothing has changed."""
        why = Refusal(
            status.SETUP_FAILED,
            f"nothing was changed: the router could not save its configuration: {error}",
        )
        for change in self._deployments.not_saved():
            self._out.append(SendReply(change.envelope, why.reply()))
            self._out.append(audit.of_deployment(change, why.error))

    def sync_lanes(self, channel: str, now: float) -> None:
        """Have lanes for exactly the wanted versions; refuse what waits for others."""
        scheduler = self._dispatcher.schedulers[channel]
        wanted = {(want.track, want.version) for want in self._deployments.of_channel(channel)}
        for lane in [lane for name, lane in scheduler.lanes.items() if name not in wanted]:
            self._dispatcher.refuse_waiting(lane, refusals.UNLOADED, now)
            scheduler.unwant(lane)
        new = wanted - scheduler.lanes.keys()
        for track, version in new:
            scheduler.want(track, version)
        if new:  # a worker may have it still
            for worker in list(scheduler.workers):
                scheduler.reassign_pool(worker)
                self._dispatcher.fill(worker, now)

    def _check(self, event: Requested, request: DeploymentCheck, now: float) -> object:
        workers = self._dispatcher.schedulers[request.channel].workers
        serving = [worker for worker in workers if serves(worker, request.track_slug)]
        return self._deployments.check(request.channel, request.track_slug, serving)

    # --- what there is

    def _config(self, event: Requested, request: CurrentConfig, now: float) -> object:
        return self._sessions.config.describe(self._deployments.wanted)

    def _status(self, event: Requested, request: CurrentWorkerStatus, now: float) -> object:
        channels = {}
        for name, scheduler in self._dispatcher.schedulers.items():
            workers = [w for w in self._sessions.presence if w.channel == name]
            channels[name] = ChannelStatus(
                workers=len(workers),
                slots=sum(worker.slots for worker in workers),
                running=sum(len(worker.running) for worker in workers),
                waiting=scheduler.count + sum(w.reserved is not None for w in workers),
                keeping=sum(bool(worker.keeps) for worker in workers),
                unready_slots=sum(w.slots for w in workers if w.pool is None),
                missing=sum(
                    one.worker.channel == name for one in self._sessions.presence.missing.values()
                ),
            )
        clients = {} if event.sender is None else self._clients()
        return WorkerStatus(channels, clients, dict(self.turned_away))

    def _clients(self) -> dict[str, ClientStatus]:
        """Return what of each client is in flight, those with the most first."""
        counts: dict[str, list[int]] = {}
        quotas: dict[str, int | None] = {}
        for work in self._dispatcher.inflight.works.values():
            if work.inquiry is None:
                counts.setdefault(work.owner, [0, 0])[work.state is not State.RUNNING] += 1
                quotas[work.owner] = work.quota
        listed = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
        return {
            name: ClientStatus(running, waiting, quotas[name])
            for name, (running, waiting) in listed
        }

    def _describe(self, event: Requested, request: DescribeWorkers, now: float) -> object:
        presence = self._sessions.presence
        missing = sorted(presence.missing.values(), key=lambda one: one.worker.identity)
        return Workers(
            tuple(_describe(worker, now) for worker in sorted(presence)),
            tuple(_describe_missing(one, now) for one in missing),
        )

    def _ping(self, event: Requested, request: Ping, now: float) -> object:
        return Pong(self._version, round(now - self._started, 3))

    def _configure(self, event: Requested, request: ConfigureWorker, now: float) -> object:
        known = self._sessions.config.channels[request.channel].tracks
        warnings = tuple(
            f"track {topic!r} has no version on {request.channel} yet: deploy one with "
            "deploy_container_version"
            for topic in request.topics
            if topic not in known and not self._deployments.of_track(request.channel, topic)
        )
        # A worker of protocol 1 that was let in once would ask for ever if it were told another
        # number here. Told its own it comes to the link, is refused there by name, and leaves.
        protocol = PROTOCOL if request.protocol > 1 else 1
        return LinkAddress(self._link_port, protocol, warnings)

    # --- what is to be done

    def _cancel(self, event: Requested, request: Cancel, now: float) -> object:
        of_action = request.of_action or ""
        if of_action and of_action not in CHANNEL_OF_ACTION:
            error = f"`of_action`: {of_action[:64]!r} is no action of a worker's"
            return Refusal(status.MALFORMED, error + nearest(of_action[:64], CHANNEL_OF_ACTION))
        inflight = self._dispatcher.inflight
        actions = [of_action] if of_action else list(CHANNEL_OF_ACTION)
        owner = owner_of(event)
        works = inflight.called(owner, actions, request.id)
        may_cancel_all = event.sender is None or event.sender.role is Role.OPERATOR
        if not may_cancel_all and any(work.owner != owner for work in works):
            return refusals.anothers(request.id)
        if len(works) > 1:
            error = (
                f"several requests are called {request.id!r}: name the one meant by `of_action`, "
                "or cancel it on the connection that it was sent by"
            )
            return Refusal(status.MALFORMED, error)
        for work in works:
            self._dispatcher.cancel(work, now)
            whose, action, request_id = work.name or ("", "", "")
            self._note("cancelled: %s of %s", request_id, action)
            if whose != owner:
                self._out.append(audit.of_cancelling(event, whose, action))
        return Cancelled(len(works))

    def _restart(self, event: Requested, request: RestartWorkers, now: float) -> object:
        workers = sorted(self._sessions.presence)
        self._out.append(TellAll(tuple(worker.peer for worker in workers), Restart()))
        self._audit(event, workers, "restarting")
        for worker in workers:
            self._sessions.rest(worker, now, restarting=True)
        self._note("workers told to restart: %d", len(workers))
        return Told(tuple(worker.identity for worker in workers))

    def _drain(self, event: Requested, request: DrainWorker, now: float) -> object:
        presence = self._sessions.presence
        worker = presence.called(request.identity)
        if worker is None:
            if presence.missing.get(request.identity) is not None:
                return self._dismiss(event, request, now)  # it is gone: nothing is left to finish
            return self._unknown("identity", request.identity)
        self._out.append(Tell(worker.peer, Drain()))
        self._audit(event, [worker], "draining")
        self._sessions.rest(worker, now, restarting=False)
        self._note("%s is told to drain; jobs to finish first: %d", worker, len(worker.running))
        return Told((worker.identity,))

    def _forget(self, event: Requested, request: ForgetImages, now: float) -> object:
        presence = self._sessions.presence
        workers = []
        for identity in request.workers or sorted(worker.identity for worker in presence):
            worker = presence.called(identity)
            if worker is None:
                return self._unknown("workers", identity)
            workers.append(worker)
        told = tuple(worker.identity for worker in workers)
        self._audit(event, workers, "to keep only what is wanted")
        self._out.append(TellAll(tuple(worker.peer for worker in workers), Forget()))
        self._note("told to forget images that are not wanted: %s", ", ".join(told) or "no worker")
        return Told(told)

    def _dismiss(
        self, event: Requested, request: DismissWorker | DrainWorker, now: float
    ) -> object:
        presence = self._sessions.presence
        if presence.dismiss(request.identity):
            self._note("worker %s is missed no longer", request.identity)
            self._out.append(audit.of_dismissal(event, request.identity))
            return Told((request.identity,))
        if presence.called(request.identity) is not None:
            error = f"`identity`: worker {request.identity} is not missing: drain it to have it go"
        else:
            close = nearest(request.identity, presence.missing)
            error = f"`identity`: no worker called {request.identity!r} is missing{close}"
        return Refusal(status.UNUSABLE, error)

    def _read_audit(self, event: Requested, request: ReadAudit, now: float) -> None:
        self._out.append(FetchAudit(event.envelope, request.limit))

    def _audit(self, event: Requested, workers: Iterable[Worker], becomes: str) -> None:
        """Record what is done to workers, each as it was before."""
        self._out.extend(audit.of_worker(event, worker, becomes) for worker in workers)

    def _note(self, text: str, *arguments: object) -> None:
        """Write what an operator did to the log."""
        self._out.append(Note("info", text, arguments))

    def _unknown(self, field: str, identity: str) -> Refusal:
        close = nearest(identity, self._sessions.presence.identities())
        return Refusal(status.UNUSABLE, f"`{field}`: no worker is called {identity!r}{close}")


Handler = Callable[[Operations, Requested, Any, float], object]

HANDLERS: Final[dict[type, Handler]] = {
    DeployContainerVersion: Operations._change,
    UnloadContainerVersion: Operations._change,
    UpdateContainerVersions: Operations._change,
    DeploymentCheck: Operations._check,
    CurrentConfig: Operations._config,
    CurrentWorkerStatus: Operations._status,
    DescribeWorkers: Operations._describe,
    Ping: Operations._ping,
    Cancel: Operations._cancel,
    RestartWorkers: Operations._restart,
    DrainWorker: Operations._drain,
    ForgetImages: Operations._forget,
    DismissWorker: Operations._dismiss,
    ReadAudit: Operations._read_audit,
    ConfigureWorker: Operations._configure,
}
"""Request type to what answers it; None as an answer: later, when it is saved."""


def _describe(worker: Worker, now: float) -> WorkerDescription:
    return WorkerDescription(
        identity=worker.identity,
        channel=worker.channel,
        topics=tuple(sorted(worker.topics)),
        slots=worker.slots,
        running=len(worker.running),
        draining=worker.draining or worker.restarting,
        silent_s=round(now - worker.heard, 3),
        load=worker.load,
        versions=tuple(worker.versions.values()),
        trouble=worker.trouble,
        host=worker.host,
        keeps=worker.keeps,
    )


def _describe_missing(one: Missing, now: float) -> MissingWorker:
    worker = one.worker
    return MissingWorker(
        identity=worker.identity,
        channel=worker.channel,
        topics=tuple(sorted(worker.topics)),
        slots=worker.slots,
        missing_s=round(now - one.since, 3),
        why=one.why,
    )
