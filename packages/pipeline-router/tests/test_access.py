"""A router with keys on real sockets: who is let in, what each key's messages are good for."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import pytest
import zmq
from support.pace import paced

from pipeline_protocol.codec import decode_to_worker, encode_link
from pipeline_protocol.keys import in_bytes
from pipeline_protocol.link import Hello, Job, Readiness, Result, VersionState, Welcome
from pipeline_protocol.requests import Role
from pipeline_router.access.authenticator import (
    NO_KEY,
    NOT_FOR_THE_LINK,
    OTHER_ROUTER_KEY,
    UNKNOWN_KEY,
    WENT,
)
from pipeline_router.access.enforcer import KeyEnforcer
from pipeline_router.access.keys_file import new_pair, write_secret, written
from pipeline_router.audit_file import AuditFile
from pipeline_router.backlog import SPARE_BYTES
from pipeline_router.config_file import MARKER, ConfigFile
from pipeline_router.core import RouterCore
from pipeline_router.keys import KeyEntry, KeyPair, RouterKeys
from pipeline_router.loop import RouterLoop
from pipeline_router.sockets import NAMED, FrontEnd, WorkerLink
from pipeline_router.tcp import TcpScan

V1 = "git-" + "1" * 40
JOB = {
    "action": "test_solution",
    "id": "1",
    "track_slug": "ruby",
    "exercise_slug": "leap",
    "container_version": V1,
    "files": {"leap.rb": ""},
}
SOON_S, NEVER_S = 20.0, 0.7
"""How long something that must come may take, and how long it is looked for what must not."""

Socket = zmq.Socket[bytes]


class Running:
    """A router with keys, whose file a test changes, and sockets to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "router.keys"
        self.pairs: dict[str, KeyPair] = {}
        self.keys = RouterKeys(router=(new_pair(), new_pair()))
        for name, role in (
            *(("alice", Role.CLIENT), ("bob", Role.CLIENT), ("olga", Role.OPERATOR)),
            *(("runner", Role.WORKER), ("other", Role.WORKER)),
        ):
            self.keys = self.keys.with_key(self.entry(name, role))
        self.save()
        config = folder / "pipeline.yml"
        config.write_text(f"{MARKER}\nversions: {{test_runners: {{ruby: {{{V1}: {{}}}}}}}}\n")
        self.context: zmq.Context[Socket] = zmq.Context(io_threads=2)
        front, link = FrontEnd(self.context), WorkerLink(self.context)
        enforcer = KeyEnforcer(self.path, self.keys, self.context, front, link)
        self.front, self.link = front.bind("127.0.0.1", 0), link.bind("127.0.0.1", 0)
        file = ConfigFile(config)
        core = RouterCore(*file.read(), epoch=5, now=monotonic())
        self.loop = RouterLoop(
            core, front, link, file, AuditFile(folder / "audit"), enforcer=enforcer
        )
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()
        self.others: zmq.Context[Socket] = zmq.Context()
        self.sockets: list[Socket] = []

    # --- its file

    def entry(self, name: str, role: Role) -> KeyEntry:
        self.pairs[name] = new_pair()
        return KeyEntry(name=name, role=role, public=self.pairs[name].public, added="now")

    def save(self) -> None:
        write_secret(self.path, written(self.keys))

    def add(self, name: str) -> None:
        """Let in the key of that name that was made before."""
        known = KeyEntry(name=name, role=Role.CLIENT, public=self.pairs[name].public, added="later")
        self.keys = self.keys.with_key(known)
        self.save()

    def revoke(self, *names: str) -> None:
        for name in names:
            self.keys = self.keys.without(name, "now")
        self.save()

    # --- those who connect

    def connect(
        self, name: str, *, to: str = "", kind: int = zmq.DEALER, routing_id: bytes = b""
    ) -> Socket:
        """Connect with somebody's key; without a name with none."""
        socket = self.others.socket(kind)
        socket.linger = 0
        socket.rcvtimeo = int(paced(SOON_S) * 1000)
        if routing_id:
            socket.setsockopt(zmq.ROUTING_ID, routing_id)
        if name:
            pair = self.pairs[name]
            socket.set(zmq.CURVE_PUBLICKEY, in_bytes(pair.public))
            socket.set(zmq.CURVE_SECRETKEY, in_bytes(pair.secret))
            socket.set(zmq.CURVE_SERVERKEY, in_bytes(self.keys.router[0].public))
        socket.connect(to or self.front)
        self.sockets.append(socket)
        return socket

    def ask(self, socket: Socket, **request: Any) -> Any:
        send(socket, request)
        return json.loads(socket.recv_multipart()[-1])

    def status(self) -> Any:
        return self.ask(self.connect("olga"), action="current_worker_status")["response"]

    def stop(self) -> None:
        for socket in self.sockets:
            socket.close(0)
        self.loop.stop()
        self.thread.join(paced(SOON_S))
        assert not self.thread.is_alive()
        self.context.term()
        self.others.destroy(0)


class FakeWorker:
    """Says hello, and hears what it is told."""

    def __init__(self, socket: Socket, name: str = "w1") -> None:
        self.socket = socket
        ready = (VersionState("ruby", V1, Readiness.READY),)
        self.say(Hello(name, f"{name}-1", "test_runners", (), 4, versions=ready))

    def say(self, message: Any, body: bytes | None = None) -> None:
        self.socket.send_multipart([encode_link(message), *([] if body is None else [body])])

    def hear(self, kind: type) -> Any:
        while True:
            message = decode_to_worker(self.socket.recv_multipart()[0])
            if isinstance(message, kind):
                return message


def send(socket: Socket, request: dict[str, Any]) -> None:
    socket.send_multipart([b"", msgspec.json.encode(request)])


def hears_nothing(socket: Socket) -> bool:
    return not socket.poll(int(NEVER_S * 1000))


@contextmanager
def hearing_of(client: Socket, event: int) -> Iterator[None]:
    """Do something that has to bring something about for a connection."""
    monitor = client.get_monitor_socket(event)
    try:
        yield
        assert monitor.poll(int(paced(SOON_S) * 1000)), "it has not come about"
    finally:
        client.disable_monitor()
        monitor.close(0)


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.stop()


# --- who is let in


def test_who_has_a_key_is_let_in(router: Running) -> None:
    assert router.ask(router.connect("alice"), action="ping")["status"]["code"] == 200


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stranger", {UNKNOWN_KEY}),
        ("", {NO_KEY, WENT}),
        ("mistaken", {OTHER_ROUTER_KEY}),
    ],
)
def test_others_are_not_and_are_counted(router: Running, name: str, said: set[str]) -> None:
    router.pairs |= {"stranger": new_pair(), "mistaken": router.pairs["alice"]}
    there = router.keys
    if name == "mistaken":
        router.keys = RouterKeys(router=(new_pair(),), keys=there.keys)
    client = router.connect(name)
    router.keys = there
    send(client, {"action": "ping"})
    until = monotonic() + paced(SOON_S)
    while not said & (turned_away := router.status()["turned_away"]).keys():
        assert monotonic() < until, turned_away
        sleep(0.05)
    assert hears_nothing(client)


def test_a_client_key_is_not_let_in_at_the_link(router: Running) -> None:
    worker = FakeWorker(router.connect("alice", to=router.link))
    assert hears_nothing(worker.socket)
    assert NOT_FOR_THE_LINK in router.status()["turned_away"]
    FakeWorker(router.connect("runner", to=router.link)).hear(Welcome)


def test_a_worker_key_deploys_nothing(router: Running) -> None:
    deploy = {"track_slug": "ruby", "channel": "test_runners", "new_version": "v2"}
    said = {"action": "deploy_container_version", **deploy}
    refused = router.ask(router.connect("runner"), **said)["status"]
    assert refused["code"] == 403
    assert "needs a key of the role operator" in refused["error"]
    assert router.ask(router.connect("olga"), **said)["status"]["code"] == 200


# --- whose a connection is


def test_who_gives_itself_a_routing_id_is_told_not_to(router: Running) -> None:
    client = router.connect("alice", routing_id=b"mine")
    assert NAMED in router.ask(client, action="ping")["status"]["error"]
    worker = FakeWorker(router.connect("runner", to=router.link, routing_id=b"mine"))
    assert NAMED in str(decode_to_worker(worker.socket.recv_multipart()[0]))


def test_the_same_routing_id_with_another_key_gets_nothing(router: Running) -> None:
    worker = FakeWorker(router.connect("runner", to=router.link))
    worker.hear(Welcome)
    first = router.connect("alice", routing_id=b"mine")
    send(first, JOB)
    second = router.connect("bob", routing_id=b"mine")
    assert NAMED in json.loads(first.recv_multipart()[-1])["status"]["error"]
    send(second, {"action": "ping"})
    assert hears_nothing(second)
    assert router.ask(router.connect("bob"), action="ping")["status"]["code"] == 200


def test_a_routing_id_that_zeromq_gave_to_another_is_not_taken_over(router: Running) -> None:
    worker = FakeWorker(router.connect("runner", to=router.link))
    worker.hear(Welcome)
    client = router.connect("alice")
    send(client, JOB)
    job = worker.hear(Job)
    (given,) = router.loop._front._known
    thief = router.connect("bob", routing_id=given)
    assert hears_nothing(thief)
    body = b'{"status": {"code": 200, "message": ""}}'
    worker.say(Result(job.job, job.attempt, 200), body)
    assert client.recv_multipart()[-1] == body
    assert hears_nothing(thief)


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_was_asked_by_one_that_has_gone_is_told_to_nobody_else(
    router: Running, is_forgotten: bool
) -> None:
    worker = FakeWorker(router.connect("runner", to=router.link))
    worker.hear(Welcome)
    client = router.connect("alice")
    send(client, JOB)
    job = worker.hear(Job)
    (given,) = router.loop._front._known
    if not is_forgotten:  # by the look at all connections, once a second
        router.loop._guard._next_connections = float("inf")
    client.close(0)
    sleep(0.1)
    thief = router.connect("bob", routing_id=given)
    sleep(0.2 + 1.5 * is_forgotten)
    body = b'{"status": {"code": 200, "message": ""}}'
    worker.say(Result(job.job, job.attempt, 200), body)
    assert hears_nothing(thief)
    assert router.ask(router.connect("bob"), action="ping")["status"]["code"] == 200


# --- changes of the file


def test_a_key_that_is_added_is_good_at_once(router: Running) -> None:
    router.pairs["carol"] = new_pair()
    refused = router.connect("carol")
    send(refused, {"action": "ping"})
    assert hears_nothing(refused)
    router.add("carol")
    until = monotonic() + paced(SOON_S)
    while monotonic() < until:
        client = router.connect("carol")
        send(client, {"action": "ping"})
        if client.poll(500):
            break
    assert json.loads(client.recv_multipart()[-1])["status"]["code"] == 200


def test_a_revoked_key_is_good_for_nothing_at_once_on_a_live_connection_too(
    router: Running,
) -> None:
    client, other = router.connect("alice"), router.connect("bob")
    assert router.ask(client, action="ping")["status"]["code"] == 200
    assert router.ask(other, action="ping")["status"]["code"] == 200
    with hearing_of(client, zmq.EVENT_DISCONNECTED):
        router.revoke("alice")
    send(client, {"action": "ping"})
    assert hears_nothing(client)
    assert router.ask(other, action="ping")["status"]["code"] == 200


def test_a_revoked_workers_job_is_done_by_another(router: Running) -> None:
    thief = FakeWorker(router.connect("runner", to=router.link))
    thief.hear(Welcome)
    client = router.connect("alice")
    send(client, JOB)
    job = thief.hear(Job)
    router.revoke("runner")
    honest = FakeWorker(router.connect("other", to=router.link), "w2")
    again = honest.hear(Job)
    thief.say(Result(job.job, job.attempt, 200), b'{"status": {"code": 200, "message": ""}}')
    assert hears_nothing(client)
    body = b'{"status": {"code": 200, "message": "true"}}'
    honest.say(Result(again.job, again.attempt, 200), body)
    assert client.recv_multipart()[-1] == body


def test_a_file_that_is_of_no_use_changes_nothing(router: Running) -> None:
    router.path.write_bytes(b"{")
    sleep(NEVER_S)
    assert router.ask(router.connect("alice"), action="ping")["status"]["code"] == 200
    router.revoke("alice")
    router.path.chmod(0o644)
    sleep(NEVER_S)
    assert router.ask(router.connect("alice"), action="ping")["status"]["code"] == 200


def test_the_routers_key_is_changed_without_a_restart(router: Running) -> None:
    worker = FakeWorker(router.connect("runner", to=router.link))
    worker.hear(Welcome)
    client = router.connect("alice")
    send(client, JOB)
    job = worker.hear(Job)
    with hearing_of(client, zmq.EVENT_DISCONNECTED):
        router.keys = router.keys.rotated(new_pair())
        router.save()
    again = FakeWorker(router.connect("runner", to=router.link))
    again.hear(Welcome)
    waiting = router.connect("alice")
    send(waiting, JOB)
    body = b'{"status": {"code": 200, "message": "done"}}'
    again.say(Result(job.job, job.attempt, 200), body)
    assert waiting.recv_multipart()[-1] == body, "by the attempt that was under way"


def test_large_frames_pass_as_they_do_without_keys(router: Running) -> None:
    client = router.connect("alice")
    client.send_multipart([b"", b" " * ((1 << 20) - 18) + b'{"action": "ping"}'])
    assert json.loads(client.recv_multipart()[-1])["status"]["code"] == 200


def test_what_keys_cost_on_the_wire_is_not_taken_for_messages_without_end(
    router: Running,
) -> None:
    client = router.connect("alice")
    for _ in range(3000):
        client.send_multipart([b"", b'{"action": "ping"}'])
    for _ in range(3000):
        client.recv_multipart()
    (there,) = TcpScan().by_port()[int(router.front.rpartition(":")[2])].values()
    (account,) = router.loop._front._accounts.values()
    assert account.cookie == there.cookie
    assert there.received > 3000 * 18
    assert there.received - account.read < SPARE_BYTES
