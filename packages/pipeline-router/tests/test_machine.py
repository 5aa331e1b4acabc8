"""The core under Hypothesis: whatever happens in whatever order, its promises hold.

The model is a set of workers that really keep account of what they run, freeze, die and come
back, and clients that remember when they asked and what they were told.
"""

import json
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline_protocol.codec import decode_reply, decode_request
from pipeline_protocol.link import (
    PROTOCOL,
    CancelJob,
    Drain,
    FromWorker,
    Goodbye,
    HeldJob,
    Hello,
    Job,
    Readiness,
    RefusalReason,
    Refused,
    Result,
    ResultAck,
    ToWorker,
    Versions,
    VersionState,
    Welcome,
    WorkerHeartbeat,
)
from pipeline_protocol.requests import Role
from pipeline_router.commands import Command, Probe, Save, SendReply, Tell, TellAll
from pipeline_router.config import Config, RouterOptions
from pipeline_router.core import RouterCore
from pipeline_router.events import (
    Envelope,
    Event,
    KeysRead,
    PeerGone,
    Probed,
    Requested,
    Saved,
    Tick,
    WorkerSaid,
)
from pipeline_router.model import RANKS, State, Work, Worker
from pipeline_router.principals import Principal, Sender
from pipeline_router.roles import why_not_serve

TRACKS = ("ruby", "bash")
VERSIONS = ("v1", "v2")
LANES = [(track, version) for track in TRACKS for version in VERSIONS]
NAMES = ("w0", "w1", "w2", "w3")
CLIENTS = (b"one", b"two", b"three")
OPERATOR = b"operator"
CLIENT_KEYS = {b"one": "alice", b"two": "bob", b"three": "alice"}
"""Whose key each connection has, where there are keys."""
WORKER_KEYS = ("runners", "others")
OPTIONS = RouterOptions(queue=6, max_attempts=2, result_ttl_s=20)

Fence = tuple[int, int]


@dataclass
class ModelWorker:
    """A worker process: what it runs, what it holds, whether anybody hears it."""

    name: str
    instance: int
    topics: tuple[str, ...]
    slots: int
    versions: dict[tuple[str, str], Readiness]
    peer: bytes
    running: dict[Fence, bytes] = field(default_factory=dict)
    cancelled: set[Fence] = field(default_factory=set)
    held: dict[Fence, tuple[bytes, int]] = field(default_factory=dict)
    inbox: list[tuple[ToWorker, bytes | None]] = field(default_factory=list)
    outbox: list[tuple[FromWorker, bytes]] = field(default_factory=list)
    key: Sender = None
    frozen: bool = False
    in_session: bool = False
    draining: bool = False

    def hello(self) -> Hello:
        states = tuple(VersionState(*lane, state) for lane, state in self.versions.items())
        jobs = [HeldJob(key, *fence, 1000) for fence, key in self.running.items()]
        jobs += [HeldJob(key, *fence, 0, True) for fence, (key, _) in self.held.items()]
        instance = f"i{self.instance}"
        return Hello(
            *(self.name, instance, "test_runners", self.topics, self.slots, PROTOCOL),
            *(states, tuple(jobs)),
        )

    def take(self, message: ToWorker) -> None:
        match message:
            case Welcome():
                self.in_session = True
                for fence, (_, code) in self.held.items():
                    self.outbox.append((Result(*fence, code), _reply(code)))
            case Refused(why=RefusalReason.UNKNOWN_SESSION):
                self.in_session = False
                self.outbox.append((self.hello(), b""))
            case Job():
                assert not message.alone or not self.running, "a suspect runs alone"
                self.running[message.job, message.attempt] = message.key
            case CancelJob() if (message.job, message.attempt) in self.running:
                self.cancelled.add((message.job, message.attempt))
            case ResultAck():
                for fence in message.results:
                    self.held.pop(fence, None)
            case Drain():
                self.draining = True

    def end(self, fence: Fence, code: int) -> None:
        """Have a job end; its result is held until it is acknowledged."""
        key = self.running.pop(fence)
        if fence in self.cancelled:
            self.cancelled.discard(fence)
            code = 499
        self.held[fence] = (key, code)
        self.outbox.append((Result(*fence, code), _reply(code)))


@dataclass
class Asker:
    """Somebody who asked, and what came back."""

    name: str
    body: bytes
    deadline: float
    key: Sender = None
    codes: list[int] = field(default_factory=list)


def _reply(code: int) -> bytes:
    return msgspec.json.encode({"status": {"code": code, "message": ""}})


def has_room(worker: Worker, sent_alone: set[Fence]) -> bool:
    """Say from scratch what the core keeps at hand; a suspect stays alone to its end."""
    alone = any(
        work.alone if isinstance(work, Work) else work is None and fence in sent_alone
        for fence, work in worker.running.items()
    )
    return len(worker.running) < worker.slots and worker.reserved is None and not alone


class RouterMachine(RuleBasedStateMachine):
    """A router, its workers and clients; `now` moves only by `pass_time`."""

    has_keys = False

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        wanted: dict[str, dict[str, str | None]] = {
            track: dict.fromkeys(VERSIONS) for track in TRACKS
        }
        config = Config(router=OPTIONS)
        self.core = RouterCore(config, {"test_runners": wanted}, epoch=1, now=0.0)
        self.workers: dict[str, ModelWorker] = {}
        self.peers: dict[bytes, ModelWorker] = {}
        self.senders: dict[Envelope, Asker] = {}
        self.askers: list[Asker] = []
        self.executions: set[Fence] = set()
        self.sent_alone: set[Fence] = set()
        self.lost_with: dict[int, int] = {}
        self.counter = 0
        self.principals: dict[str, Principal] = {}
        """By name: whose keys are good."""
        if self.has_keys:
            for name in (*dict.fromkeys(CLIENT_KEYS.values()), "olga", *WORKER_KEYS):
                self.principals[name] = self.new_key(name)
        self.advance(4.0)

    def new_key(self, name: str) -> Principal:
        self.counter += 1
        role = Role.CLIENT if name in CLIENT_KEYS.values() else Role.WORKER
        if name == "olga":
            role = Role.OPERATOR
        identity = "w" if role is Role.WORKER else ""
        return Principal(f"{name}-{self.counter}", name, role, identity=identity)

    # --- the world around the core

    def do(self, event: Event) -> None:
        events = [event]
        while events:
            for command in self.core.handle(events.pop(0), self.now):
                events += self.carry_out(command)
            if not events:
                events = self.said_by_workers()

    def carry_out(self, command: Command) -> list[Event]:
        match command:
            case SendReply(envelope, body):
                self.senders[envelope].codes.append(decode_reply(body).status.code)
            case Tell(peer, message, body):
                return self.tell(peer, message, body)
            case TellAll(peers, message):
                return [event for peer in peers for event in self.tell(peer, message, None)]
            case Probe(peer, _, newcomer, hello, sender):
                return [Probed(peer in self.peers, newcomer, hello, sender)]
            case Save():
                return [Saved()]
        return []

    def tell(self, peer: bytes, message: ToWorker, body: bytes | None) -> list[Event]:
        worker = self.peers.get(peer)
        if worker is None:
            return [PeerGone(peer, (message,))]
        if isinstance(message, Job):
            fence = (message.job, message.attempt)
            assert fence not in self.executions, "one attempt is one execution"
            self.executions.add(fence)
            if message.alone:
                self.sent_alone.add(fence)
            assert self.lost_with.get(message.job, 0) < OPTIONS.max_attempts
        worker.inbox.append((message, body))
        return []

    def said_by_workers(self) -> list[Event]:
        events: list[Event] = []
        for worker in self.peers.values():
            if not worker.frozen:
                while worker.inbox:
                    worker.take(worker.inbox.pop(0)[0])
                events += [WorkerSaid(worker.peer, *said, worker.key) for said in worker.outbox]
                worker.outbox.clear()
        return events

    def listen(self) -> None:
        for event in self.said_by_workers():
            self.do(event)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = max(self.now, min(until, self.core.wake_at(), self.now + 0.4))
            for worker in list(self.peers.values()):
                if not worker.frozen:
                    beat = WorkerHeartbeat(len(worker.running))
                    self.do(WorkerSaid(worker.peer, beat, sender=worker.key))
            self.do(Tick())

    def disconnect(self, worker: ModelWorker) -> None:
        """Have the process die with everything that it ran and held."""
        del self.peers[worker.peer]
        del self.workers[worker.name]

    # --- clients

    @rule(
        lanes=st.lists(st.sampled_from([*LANES, LANES[0], LANES[0]]), min_size=1, max_size=4),
        background=st.booleans(),
        timeout_s=st.sampled_from([40, 10, 2]),
        client=st.sampled_from([*CLIENTS, CLIENTS[0]]),
    )
    def ask(
        self, lanes: list[tuple[str, str]], background: bool, timeout_s: float, client: bytes
    ) -> None:
        for track, version in lanes:
            self.counter += 1
            name = f"job-{self.counter}"
            request = {
                "action": "test_solution",
                "id": name,
                "track_slug": track,
                "exercise_slug": "leap",
                "container_version": version,
                "files": {"a": ""},
                "timeout_s": timeout_s,
                "priority": "background" if background else "interactive",
            }
            self.send(name, msgspec.json.encode(request), self.now + timeout_s, client)

    def send(self, name: str, body: bytes, deadline: float, client: bytes = OPERATOR) -> None:
        envelope = (client, b"%d" % len(self.senders))
        key = self.principals.get(CLIENT_KEYS.get(client, "olga"))
        self.senders[envelope] = sender = Asker(name, body, deadline, key)
        if name:
            self.askers.append(sender)
        self.do(Requested(envelope, decode_request(body), body, key))

    @precondition(lambda self: self.askers)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        before = data.draw(st.sampled_from(self.askers[-10:]))
        if sum(sender.name == before.name for sender in self.askers) < 8:
            lasts = msgspec.json.decode(before.body)["timeout_s"]
            client = data.draw(st.sampled_from(CLIENTS))
            self.send(before.name, before.body, self.now + lasts, client)

    @precondition(lambda self: self.askers)
    @rule(data=st.data(), client=st.sampled_from([OPERATOR, OPERATOR, *CLIENTS]))
    def cancel(self, data: st.DataObject, client: bytes) -> None:
        sender = data.draw(st.sampled_from(self.askers[-10:]))
        works = self.core.dispatcher.inflight.works
        others = [work for work in works.values() if work.owner != CLIENT_KEYS.get(client)]
        request = {"action": "cancel", "id": sender.name}
        self.send("", msgspec.json.encode(request), self.now, client)
        if self.has_keys and client is not OPERATOR:
            assert all(work.job in works for work in others), "another's is not taken back"

    # --- workers

    @initialize(slots=st.integers(1, 3))
    def start_two_workers(self, slots: int) -> None:
        for name in NAMES[:2]:
            self.start_worker(name, (), slots, set(LANES))

    @rule(
        name=st.sampled_from(NAMES),
        topics=st.sampled_from([(), (), ("ruby",), ("bash",), TRACKS]),
        slots=st.integers(1, 3),
        ready=st.just(set(LANES)) | st.sets(st.sampled_from(LANES)),
    )
    def start_worker(
        self, name: str, topics: tuple[str, ...], slots: int, ready: set[tuple[str, str]]
    ) -> None:
        if name in self.workers:
            return
        self.counter += 1
        versions = {
            lane: Readiness.READY if lane in ready else Readiness.PREPARING
            for lane in LANES
            if not topics or lane[0] in topics
        }
        peer = f"{name}-{self.counter}".encode()
        key = self.principals.get(WORKER_KEYS[self.counter % 2])
        worker = ModelWorker(name, self.counter, topics, slots, versions, peer, key=key)
        self.workers[name] = self.peers[peer] = worker
        worker.outbox.append((worker.hello(), b""))
        self.listen()

    @precondition(lambda self: any(w.running for w in self.workers.values()))
    @rule(data=st.data(), code=st.sampled_from([200, 200, 513, 500]))
    def end_a_job(self, data: st.DataObject, code: int) -> None:
        jobs = [(w, fence) for w in self.workers.values() if not w.frozen for fence in w.running]
        if jobs:
            worker, fence = data.draw(st.sampled_from(jobs))
            worker.end(fence, code)
            self.listen()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), noticed=st.booleans())
    def kill(self, data: st.DataObject, noticed: bool) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        for job, _ in worker.running:
            self.lost_with[job] = self.lost_with.get(job, 0) + 1
        self.disconnect(worker)
        if noticed:
            self.advance(1.1)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 4.0]))
    def freeze_or_thaw(self, data: st.DataObject, seconds: float) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        worker.frozen = not worker.frozen
        self.listen()
        self.advance(seconds)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def reconnect(self, data: st.DataObject) -> None:
        """Have the same process come back on a new connection."""
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        if worker.frozen or worker.draining:
            return
        self.counter += 1
        del self.peers[worker.peer]
        worker.peer = f"{worker.name}-{self.counter}".encode()
        self.peers[worker.peer] = worker
        worker.inbox.clear()
        worker.outbox[:] = [(worker.hello(), b"")]
        self.listen()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), state=st.sampled_from([Readiness.READY, *Readiness]))
    def change_a_version(self, data: st.DataObject, state: Readiness) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        lane = data.draw(st.sampled_from(LANES))
        if worker.frozen or (worker.topics and lane[0] not in worker.topics):
            return
        worker.versions[lane] = state
        worker.outbox.append((Versions((VersionState(*lane, state),)), b""))
        self.listen()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        request = {"action": "drain_worker", "identity": worker.name}
        self.send("", msgspec.json.encode(request), self.now)

    @rule()
    def leave_when_drained(self) -> None:
        for worker in list(self.workers.values()):
            if worker.draining and not worker.frozen and not worker.running:
                self.do(WorkerSaid(worker.peer, Goodbye(), sender=worker.key))
                self.disconnect(worker)

    # --- versions and time

    @rule(lane=st.sampled_from(LANES), wanted=st.sampled_from([True, True, False]))
    def deploy_or_unload(self, lane: tuple[str, str], wanted: bool) -> None:
        request = {"track_slug": lane[0], "channel": "test_runners"}
        if wanted:
            request |= {"action": "deploy_container_version", "new_version": lane[1]}
        else:
            request |= {"action": "unload_container_version", "version": lane[1]}
        self.send("", msgspec.json.encode(request), self.now)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.advance(seconds)

    # --- what must hold

    def is_awaited(self, worker: Worker) -> bool:
        """Whether its connection went with the router's old key, and it may yet come back."""
        serving = self.core.dispatcher.schedulers[worker.channel].workers
        return self.now < self.core._rekeyed_until and worker not in serving

    @invariant()
    def one_terminal_reply_by_its_deadline(self) -> None:
        for sender in self.senders.values():
            assert len(sender.codes) <= 1, sender
            assert sender.codes or self.now <= sender.deadline + 1, sender

    @invariant()
    def no_free_slot_while_suitable_work_waits(self) -> None:
        presence = list(self.core.sessions.presence)
        for work in self.core.dispatcher.inflight.works.values():
            if work.state is not State.WAITING:
                continue
            for worker in presence:
                state = worker.versions.get((work.lane.track, work.lane.version))
                assert not (
                    not self.is_awaited(worker)
                    and has_room(worker, self.sent_alone)
                    and not worker.draining
                    and state is not None
                    and state.state is Readiness.READY
                    and (not worker.topics or work.lane.track in worker.topics)
                ), f"{work.job} waits, {worker} has room"

    @invariant()
    def the_ledger_equals_what_workers_run(self) -> None:
        for worker in self.core.sessions.presence:
            assert len(worker.running) <= worker.slots
            model = self.peers.get(worker.peer)
            if model is not None and not model.frozen:
                assert set(worker.running) == set(model.running)

    @invariant()
    def what_waits_is_counted(self) -> None:
        works = self.core.dispatcher.inflight.works.values()
        for name, scheduler in self.core.dispatcher.schedulers.items():
            waiting = [
                work for work in works if work.state is State.WAITING and work.lane.channel == name
            ]
            ranks = [sum(work.rank == rank for work in waiting) for rank in range(RANKS)]
            assert scheduler.ranks == ranks
            assert sorted(scheduler.since.values()) == sorted(work.accepted for work in waiting)

    @invariant()
    def what_is_shown_is_what_there_is(self) -> None:
        shown = json.loads(self.core.snapshot(self.now, 0.0).status)
        presence = list(self.core.sessions.presence)
        for name, channel in shown["channels"].items():
            own = [worker for worker in presence if worker.channel == name]
            assert channel["running"] == sum(len(worker.running) for worker in own)
            assert sum(channel["workers"].values()) == len(own)
            assert all(track["demand_slots"] >= 0 for track in channel["tracks"].values())

    @invariant()
    def running_and_reserved_work_is_where_it_says(self) -> None:
        presence = list(self.core.sessions.presence)
        works = self.core.dispatcher.inflight.works
        for work in works.values():
            assert (work.worker is None) is (work.state is State.WAITING)
            if work.worker is not None:
                assert work.worker in presence
                if work.state is State.RESERVED:
                    assert work.worker.reserved is work
                else:
                    assert work.worker.running[work.job, work.attempt] is work
        for worker in presence:
            held = [*worker.running.values(), worker.reserved]
            assert all(works[work.job] is work for work in held if isinstance(work, Work))

    @invariant()
    def nothing_is_kept_after_its_time(self) -> None:
        dispatcher = self.core.dispatcher
        works = dispatcher.inflight.works.values()
        for work in works:
            assert work.deadline >= self.now
            assert any(not self.senders[envelope].codes for envelope in work.envelopes)
        waiting = [work for work in works if work.state is State.WAITING]
        scheduler = dispatcher.schedulers["test_runners"]
        assert scheduler.count == len(waiting)
        assert scheduler.bytes == sum(len(work.body) for work in waiting)
        assert {work.job for work in scheduler.waiting()} == {work.job for work in waiting}
        for lane in scheduler.lanes.values():
            assert lane.waiting == len([work for work in waiting if work.lane is lane])
        assert len(dispatcher.inflight._by_key) == len(dispatcher.inflight._by_name) == len(works)

    @invariant()
    def each_share_is_what_waits_of_its_owner(self) -> None:
        scheduler = self.core.dispatcher.schedulers["test_runners"]
        waiting: dict[str, list[Work]] = {}
        for work in self.core.dispatcher.inflight.works.values():
            if work.state is State.WAITING:
                waiting.setdefault(work.owner, []).append(work)
        assert scheduler.shares.keys() == waiting.keys()
        for owner, works in waiting.items():
            share = scheduler.shares[owner]
            assert share.count == len(works)
            assert share.bytes == sum(len(work.body) for work in works)
            assert list(share.latest_first()) == sorted(
                works, key=lambda work: (work.rank, work.order), reverse=True
            )

    @invariant()
    def whoever_had_the_last_turn_is_not_next_while_another_waits(self) -> None:
        scheduler = self.core.dispatcher.schedulers["test_runners"]
        for pool in {worker.pool for worker in scheduler.workers if worker.pool is not None}:
            first = pool.first_waiting()
            waiting = [work for lane in pool.lanes for work in scheduler.waiting(lane)]
            if first is None:
                assert not waiting
                continue
            assert first.rank == min(work.rank for work in waiting)
            for work in waiting:
                if work.rank != first.rank:
                    continue
                if work.owner == first.owner:
                    assert first.order <= work.order
                else:
                    last = pool.served.get(first.owner, 0)
                    assert last <= max(pool.served.get(work.owner, 0), pool.turn - 1)

    @invariant()
    def nobody_without_a_share_of_the_queue_is_kept_out(self) -> None:
        scheduler = self.core.dispatcher.schedulers["test_runners"]
        assert scheduler.count <= 100
        full = scheduler.count >= OPTIONS.queue
        if full and len(scheduler.shares) == 1 and self.core.dispatcher.open:
            (lane, *_) = scheduler.lanes.values()
            newcomer = Work(0, lane, [], b"", 0.0, 0.0, owner="somebody else", rank=0)
            assert scheduler.make_room(newcomer, OPTIONS.queue, OPTIONS.queue_bytes)

    @invariant()
    def no_waiting_time_outlives_what_waits(self) -> None:
        for lane in self.core.dispatcher.schedulers["test_runners"].lanes.values():
            assert lane or lane.stranded_since is None, f"{lane.track} {lane.version}"

    def teardown(self) -> None:
        self.advance(50)
        for sender in self.senders.values():
            assert len(sender.codes) == 1, sender
        assert not self.core.dispatcher.inflight.works
        assert not self.core.dispatcher.stored._replies


class KeyedRouterMachine(RouterMachine):
    """The same where everybody has a key, and keys are revoked, given anew and changed."""

    has_keys = True

    def read_keys(self, *, rekeyed: bool = False) -> None:
        good = {one.key: one for one in self.principals.values()}
        self.do(KeysRead(good, rekeyed=rekeyed))

    def give_anew(self, name: str) -> None:
        """Revoke somebody's key; then there is another of that name."""
        gone = self.principals.pop(name)
        self.read_keys()
        for worker in list(self.peers.values()):
            if worker.key is gone:  # its connection is ended, and nothing of it comes any more
                self.disconnect(worker)
        self.principals[name] = self.new_key(name)
        self.read_keys()

    @rule(name=st.sampled_from(WORKER_KEYS))
    def revoke_a_workers_key(self, name: str) -> None:
        self.give_anew(name)

    @rule(name=st.sampled_from(sorted(set(CLIENT_KEYS.values()))))
    def revoke_a_clients_key(self, name: str) -> None:
        self.give_anew(name)
        assert not [w for w in self.core.dispatcher.inflight.works.values() if w.owner == name]

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def forge(self, data: st.DataObject) -> None:
        """Have somebody with another worker's key say what a worker might, on its connection."""
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        other = next(name for name in WORKER_KEYS if self.principals[name] is not worker.key)
        before = sum(len(sender.codes) for sender in self.senders.values())
        for fence in list(worker.running):
            forged = Result(*fence, 200)
            self.do(WorkerSaid(worker.peer, forged, _reply(200), self.principals[other]))
        worker.inbox[:] = [told for told in worker.inbox if not isinstance(told[0], Refused)]
        assert sum(len(sender.codes) for sender in self.senders.values()) == before

    @rule()
    def change_the_routers_key(self) -> None:
        """Have every connection end; the workers that live come back on others."""
        self.read_keys(rekeyed=True)
        moved = [worker for worker in self.peers.values() if not worker.frozen]
        for worker in moved:
            del self.peers[worker.peer]
        self.advance(0.5)
        for worker in moved:
            self.counter += 1
            worker.peer = f"{worker.name}-{self.counter}".encode()
            self.peers[worker.peer] = worker
            worker.inbox.clear()
            worker.outbox[:] = [(worker.hello(), b"")]
        self.listen()

    @invariant()
    def who_serves_has_a_key_that_is_good_for_it(self) -> None:
        for worker in self.core.sessions.presence:
            assert worker.sender is not None
            assert self.principals[worker.sender.name] is worker.sender
            assert not why_not_serve(worker.sender, worker.identity, worker.channel)

    @invariant()
    def a_request_is_answered_to_its_own_key_alone(self) -> None:
        for work in self.core.dispatcher.inflight.works.values():
            for envelope in work.envelopes:
                key = self.senders[envelope].key
                assert key is not None
                assert key.name == work.owner


@pytest.mark.parametrize(("kind", "examples"), [(RouterMachine, 400), (KeyedRouterMachine, 300)])
def test_the_promises_hold_whatever_happens(kind: type[RouterMachine], examples: int) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            # to explain a failure Hypothesis traces every line: twenty times slower before 3.12
            phases=set(Phase) - {Phase.explain},
            suppress_health_check=list(HealthCheck),
        ),
    )
