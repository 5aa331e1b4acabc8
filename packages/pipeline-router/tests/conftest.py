"""A router's core in a harness of fake workers, with a clock that only the test moves."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from pipeline_protocol.codec import decode_reply, decode_request
from pipeline_protocol.link import (
    FromWorker,
    HeldJob,
    Hello,
    Job,
    Readiness,
    Result,
    ResultAck,
    ToWorker,
    Versions,
    VersionState,
    WorkerHeartbeat,
)
from pipeline_protocol.replies import Reply
from pipeline_protocol.responses import AuditEntry
from pipeline_router.commands import (
    Command,
    FetchAudit,
    Finish,
    Note,
    Probe,
    Record,
    Save,
    SendReply,
    Tell,
    TellAll,
)
from pipeline_router.config import Config, RouterOptions
from pipeline_router.core import RouterCore
from pipeline_router.events import (
    Event,
    KeysRead,
    PeerGone,
    Probed,
    Requested,
    Saved,
    Tick,
    WorkerSaid,
)
from pipeline_router.principals import Principal, Sender

V1 = "git-" + "1" * 40
V2 = "git-" + "2" * 40
INSTALLATION = "1a" * 16
SETTLED_S = 4.0
"""By now the router dispatches, and refuses for want of workers."""


class FakeWorker:
    """What a worker's side of the link saw, and what it can say."""

    def __init__(
        self, harness: "RouterHarness", hello: Hello, peer: bytes, key: Sender = None
    ) -> None:
        self.harness = harness
        self.hello = hello
        self.peer = peer
        self.key = key
        self.told: list[tuple[ToWorker, bytes | None]] = []
        self.beats = True

    @property
    def name(self) -> str:
        return self.hello.identity

    def say(self, message: FromWorker, body: bytes = b"") -> None:
        self.harness.do(WorkerSaid(self.peer, message, body, self.key))

    def heard(self, kind: Any) -> list[Any]:
        return [message for message, _ in self.told if isinstance(message, kind)]

    @property
    def jobs(self) -> list[Job]:
        """Every job that it was ever sent."""
        return self.heard(Job)

    @property
    def bodies(self) -> list[str]:
        """The ids of the requests that it was sent."""
        return [
            json.loads(body or b"{}").get("id", "")
            for message, body in self.told
            if isinstance(message, Job)
        ]

    def finish(self, number: int = -1, code: int = 200, said: str = "done") -> None:
        """End one of the jobs that it was sent."""
        job = self.jobs[number]
        self.say(Result(job.job, job.attempt, code), result_body(code, said))

    def acked(self, number: int = -1) -> bool:
        job = self.jobs[number]
        return any((job.job, job.attempt) in ack.results for ack in self.heard(ResultAck))

    def state(self, track: str, version: str, state: Readiness, **more: Any) -> None:
        self.say(Versions((VersionState(track, version, state, **more),)))

    def held(self, number: int = -1, *, done: bool = False) -> HeldJob:
        """Describe a job as a hello does."""
        job = self.jobs[number]
        return HeldJob(job.key, job.job, job.attempt, job.remaining_ms, done)


class RouterHarness:
    """A core and its history; `now` is seconds since its start."""

    V1, V2 = V1, V2

    def __init__(
        self,
        *,
        wanted: Iterable[tuple[str, str]] = (("ruby", V1),),
        settled: bool = True,
        epoch: int = 7,
        force_worker_restart: bool = False,
        **options: Any,
    ) -> None:
        self.now = 0.0
        self.answers: dict[bytes, list[bytes]] = defaultdict(list)
        self.workers: dict[bytes, FakeWorker] = {}
        self.connected: set[bytes] = set()
        self.saves: list[Save] = []
        self.saves_at_once = True
        self.notes: list[str] = []
        self.noted_requests: list[str] = []
        """The requests that the notes are about, in the same order; empty: about none."""
        self.records: list[AuditEntry] = []
        self.fetched: list[FetchAudit] = []
        self.finished = False
        self._asked = 0
        versions: dict[str, dict[str, str | None]] = {}
        for track, version in wanted:
            versions.setdefault(track, {})[version] = None
        self.core = RouterCore(
            Config(router=RouterOptions(**options)),
            {"test_runners": versions} if versions else {},
            epoch=epoch,
            now=0.0,
            force_worker_restart=force_worker_restart,
            installation=INSTALLATION,
        )
        if settled:
            self.wait(SETTLED_S)

    # --- time and events

    def do(self, event: Event) -> None:
        pending = [event]
        while pending:
            for command in self.core.handle(pending.pop(0), self.now):
                pending += self._carry_out(command)

    def _carry_out(self, command: Command) -> list[Event]:
        match command:
            case SendReply(envelope, body):
                self.answers[envelope[0]].append(body)
            case Tell(peer, message, body):
                return self._deliver(peer, message, body)
            case TellAll(peers, message):
                return [event for peer in peers for event in self._deliver(peer, message, None)]
            case Probe(peer, _, newcomer, hello, sender):
                return [Probed(peer in self.connected, newcomer, hello, sender)]
            case Save():
                self.saves.append(command)
                return [Saved()] if self.saves_at_once else []
            case Note(_, text, arguments, request):
                self.notes.append(text % arguments)
                self.noted_requests.append(request)
            case Record(entry):
                self.records.append(entry)
            case FetchAudit():
                self.fetched.append(command)
            case Finish():
                self.finished = True
        return []

    def _deliver(self, peer: bytes, message: ToWorker, body: bytes | None) -> list[Event]:
        if peer not in self.connected:
            return [PeerGone(peer, (message,))]
        self.workers[peer].told.append((message, body))
        return []

    def wait(self, seconds: float) -> None:
        """Let time pass; workers that beat do so every half second."""
        until = self.now + seconds
        while self.now < until:
            self.now = max(self.now, min(until, self.core.wake_at(), self.now + 0.5))
            for worker in list(self.workers.values()):
                if worker.beats and worker.peer in self.connected:
                    worker.say(WorkerHeartbeat(0))
            self.do(Tick())

    def keys(self, *principals: Principal) -> None:
        """Have these keys be good from now on, and no others."""
        self.do(KeysRead({one.key: one for one in principals}))

    # --- workers

    def worker(
        self,
        name: str = "w1",
        *topics: str,
        slots: int = 1,
        ready: Iterable[tuple[str, str]] | None = None,
        channel: str = "test_runners",
        peer: bytes | None = None,
        instance: str = "",
        key: Sender = None,
        **hello: Any,
    ) -> FakeWorker:
        """Have a worker say hello, with all that is wanted ready."""
        if ready is None:
            ready = [
                (lane.track, lane.version)
                for lane in self.core.dispatcher.schedulers[channel].lanes.values()
                if lane.track and (not topics or lane.track in topics)
            ]
        states = tuple(VersionState(track, v, Readiness.READY) for track, v in ready)
        hello.setdefault("versions", states)
        greeting = Hello(name, instance or name, channel, topics, slots, **hello)
        worker = FakeWorker(self, greeting, peer or name.encode(), key)
        self.workers[worker.peer] = worker
        self.connected.add(worker.peer)
        worker.say(greeting)
        return worker

    def cut(self, worker: FakeWorker) -> None:
        """Have its connection go: what is sent there finds nobody."""
        self.connected.discard(worker.peer)

    # --- clients

    def ask(
        self, request_id: str = "", *, sender: bytes = b"", key: Sender = None, **fields: Any
    ) -> bytes:
        """Send a request; return who asked, for `reply`."""
        self._asked += 1
        sender = sender or f"client-{self._asked}".encode()
        request: dict[str, Any] = {"action": "test_solution"}
        if "action" not in fields:
            request |= {
                "id": request_id or f"job-{self._asked}",
                "track_slug": "ruby",
                "exercise_slug": "two-fer",
                "container_version": V1,
                "files": {"two_fer.rb": ""},
            }
        elif request_id:
            request["id"] = request_id
        body = msgspec.json.encode(request | fields)
        self.do(Requested((sender,), decode_request(body), body, key))
        return sender

    def code(self, sender: bytes) -> int | None:
        """Return the status that somebody was answered with; None: not yet."""
        reply = self.reply(sender)
        return reply.status.code if reply is not None else None

    def error(self, sender: bytes) -> str:
        reply = self.reply(sender)
        return str(reply.status.error) if reply is not None else ""

    def reply(self, sender: bytes) -> Reply | None:
        answers = self.answers[sender]
        assert len(answers) < 2, "one answer to one request"
        return decode_reply(answers[0]) if answers else None

    def response(self, sender: bytes) -> Any:
        reply = self.reply(sender)
        assert reply is not None
        assert reply.status.code == 200, reply.status
        return msgspec.json.decode(bytes(reply.response))  # type: ignore[arg-type]


def result_body(code: int, said: str) -> bytes:
    status = {"code": code, "message": "-"}
    return json.dumps(
        {"status": status, "response": said} if code == 200 else {"status": status}
    ).encode()


@pytest.fixture
def build() -> type[RouterHarness]:
    """A harness of the test's own making."""
    return RouterHarness


@pytest.fixture
def harness() -> RouterHarness:
    """A router past its start, with one version of one track deployed and no worker."""
    return RouterHarness()
