"""A router on real sockets, in a thread: bare clients, malformed frames, a fake worker."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import pytest
import zmq

from pipeline_protocol.codec import answer, decode_to_worker, encode_link
from pipeline_protocol.link import (
    PROTOCOL,
    FromWorker,
    Hello,
    Job,
    Progress,
    Readiness,
    RefusalReason,
    Refused,
    Result,
    ResultAck,
    ToWorker,
    VersionState,
    Welcome,
    WorkerHeartbeat,
    mismatch,
)
from pipeline_router.audit_file import AuditFile
from pipeline_router.config_file import MARKER, ConfigFile
from pipeline_router.core import RouterCore
from pipeline_router.loop import RouterLoop
from pipeline_router.sockets import FrontEnd, WorkerLink

PATIENCE_MS = 20_000
V1 = "git-" + "1" * 40
JOB = {
    "action": "test_solution",
    "id": "1",
    "track_slug": "ruby",
    "exercise_slug": "leap",
    "container_version": V1,
    "files": {"leap.rb": ""},
}

Socket = zmq.Socket[bytes]


class Running:
    """A router's two addresses, and sockets to them that are closed in the end."""

    def __init__(self, path: Path) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self.front, self.link = FrontEnd(self.context), WorkerLink(self.context)
        self.front_address = self.front.bind("127.0.0.1", 0)
        self.link_address = self.link.bind("127.0.0.1", 0)
        self.file = ConfigFile(path)
        core = RouterCore(*self.file.read(), epoch=5, now=monotonic())
        self.loop = RouterLoop(
            core, self.front, self.link, self.file, AuditFile(Path(f"{path}.audit"))
        )
        self.thread = threading.Thread(target=self.loop.run)
        self.sockets: list[Socket] = []

    def connect(self, kind: int, address: str) -> Socket:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.rcvtimeo = PATIENCE_MS
        socket.connect(address)
        self.sockets.append(socket)
        return socket

    def client(self, kind: int = zmq.REQ) -> Socket:
        return self.connect(kind, self.front_address)

    def ask(self, **request: Any) -> Any:
        client = self.client()
        client.send(json.dumps(request).encode())
        return json.loads(client.recv())

    def worker(self, name: str = "w1") -> "FakeWorker":
        return FakeWorker(self.connect(zmq.DEALER, self.link_address), name)

    def stop(self) -> None:
        self.loop.stop()
        self.thread.join(PATIENCE_MS / 1000)
        assert not self.thread.is_alive()


class FakeWorker:
    """Speaks the link's structs."""

    def __init__(self, socket: Socket, name: str) -> None:
        self.socket = socket
        ready = (VersionState("ruby", V1, Readiness.READY),)
        self.hello = Hello(name, f"{name}-{id(self)}", "test_runners", (), 4, versions=ready)
        self.say(self.hello)

    def say(self, message: FromWorker, body: bytes | None = None) -> None:
        self.socket.send_multipart([encode_link(message), *([] if body is None else [body])])

    def hear(self, kind: type[ToWorker]) -> tuple[Any, bytes]:
        """Return the next message of a kind, and its body; others are passed over."""
        until = monotonic() + PATIENCE_MS / 1000
        while True:
            assert monotonic() < until, f"no {kind} came"
            header, *body = self.socket.recv_multipart()
            message = decode_to_worker(header)
            self.say(WorkerHeartbeat(0))
            if isinstance(message, kind):
                return message, body[0] if body else b""


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Running]:
    path = tmp_path / "pipeline.yml"
    path.write_text(f"{MARKER}\nversions: {{test_runners: {{ruby: {{{V1}: {{}}}}}}}}\n")
    running = Running(path)
    running.thread.start()
    yield running
    running.stop()
    for socket in running.sockets:
        socket.close()
    running.context.term()


def test_a_bare_req_socket_is_answered(router: Running) -> None:
    reply = router.ask(action="ping")
    assert reply["status"] == {"code": 200, "message": "OK"}
    assert reply["response"]["uptime_s"] >= 0


def test_a_job_goes_its_whole_way(router: Running) -> None:
    worker = router.worker()
    client = router.client()
    client.send(json.dumps(JOB).encode())
    job, body = worker.hear(Job)
    assert json.loads(body) == JOB
    worker.say(Result(job.job, job.attempt, 200), answer({"passed": True}))
    assert json.loads(client.recv())["response"] == {"passed": True}
    ack, _ = worker.hear(ResultAck)
    assert ack.results == ((job.job, job.attempt),)


def test_a_dealer_keeps_many_in_flight_and_tells_replies_apart(router: Running) -> None:
    worker = router.worker()
    client = router.client(zmq.DEALER)
    for number in range(20):
        request = json.dumps(JOB | {"id": str(number)}).encode()
        client.send_multipart([str(number).encode(), b"", request])
    for _ in range(20):
        job, body = worker.hear(Job)
        worker.say(Result(job.job, 1, 200), answer(json.loads(body)["id"]))
    replies = [client.recv_multipart() for _ in range(20)]
    assert all(json.loads(body)["response"] == number.decode() for number, _, body in replies)
    assert len({number for number, _, _ in replies}) == 20


def test_progress_reaches_a_dealer_before_the_reply(router: Running) -> None:
    worker = router.worker()
    client = router.client(zmq.DEALER)
    client.send_multipart([b"c", b"", json.dumps(JOB | {"progress": True}).encode()])
    job, _ = worker.hear(Job)
    worker.say(Progress(job.job, 1), b'["line"]')
    worker.say(Result(job.job, 1, 200), answer({}))
    assert client.recv_multipart() == [b"c", b"", b'{"progress":{"lines":["line"]}}']
    assert b'"code":200' in client.recv_multipart()[-1]


def test_a_large_result_passes_untouched(router: Running) -> None:
    worker = router.worker()
    client = router.client()
    client.send(json.dumps(JOB).encode())
    job, _ = worker.hear(Job)
    large = answer("x" * 3_000_000)
    worker.say(Result(job.job, 1, 200), large)
    assert client.recv() == large


BODIES = {
    b"": 502,
    b"not json": 502,
    b"\xff\xfe": 502,
    b"[]": 502,
    b"1": 502,
    b"NaN": 502,
    b"{}": 502,
    b"[" * 100_000: 502,
    b'{"action": "ping", "x": ' + b"[" * 100_000: 502,
    b'{"action": "pong"}': 501,
    b'{"action": "test_solution"}': 502,
    b'{"action": "ping", "x": "' + b"x" * (1 << 20) + b'"}': 502,
    json.dumps(JOB | {"track_slug": "../etc"}).encode(): 502,
}


@pytest.mark.parametrize(("body", "code"), BODIES.items(), ids=range(len(BODIES)))
def test_malformed_bodies_are_answered(router: Running, body: bytes, code: int) -> None:
    client = router.client()
    client.send(body)
    assert json.loads(client.recv())["status"]["code"] == code


@pytest.mark.parametrize(
    "frames",
    [
        [b"json without an empty frame"],
        [b""],
        [b"c", b"json"],
        [b"c", b""],
        [b"", b'{"action": "ping"}', b"more"],
        [b"", b""],
    ],
)
def test_malformed_frames_are_answered_where_they_can_be(
    router: Running, frames: list[bytes]
) -> None:
    client = router.client(zmq.DEALER)
    client.send_multipart(frames)
    assert json.loads(client.recv_multipart()[-1])["status"]["code"] == 502


@pytest.mark.parametrize(
    ("envelope", "answered"),
    [([b"e"] * 8, True), ([b"e"] * 9, False), ([b"e" * 255], True), ([b"e" * 256], False)],
)
def test_envelopes_are_bounded(router: Running, envelope: list[bytes], answered: bool) -> None:
    client = router.client(zmq.DEALER)
    client.send_multipart([*envelope, b"", b'{"action": "ping"}'])
    client.send_multipart([b"after", b"", b'{"action": "ping"}'])
    expected = [[*envelope, b""]] if answered else []
    for before in (*expected, [b"after", b""]):
        assert client.recv_multipart()[:-1] == before


@pytest.mark.parametrize("frames", [[b""], [b"junk"], [b"junk", b"a", b"b"], [b"\x90"]])
def test_junk_on_the_link_is_refused_and_disturbs_nobody(
    router: Running, frames: list[bytes]
) -> None:
    stranger = router.connect(zmq.DEALER, router.link_address)
    stranger.send_multipart(frames)
    refused = decode_to_worker(stranger.recv())
    assert isinstance(refused, Refused)
    assert router.ask(action="ping")["status"]["code"] == 200


def test_a_hello_that_only_a_newer_router_could_read_is_refused_with_both_numbers(
    router: Running,
) -> None:
    stranger = router.connect(zmq.DEALER, router.link_address)
    hello = ["hello", "worker-1", {"form": "new"}, None, None, None, PROTOCOL + 1]
    stranger.send(msgspec.msgpack.encode(hello))
    refused = Refused(RefusalReason.PROTOCOL, mismatch(PROTOCOL, PROTOCOL + 1))
    assert decode_to_worker(stranger.recv()) == refused


def test_a_result_without_a_body_is_not_taken_for_one(router: Running) -> None:
    worker = router.worker()
    client = router.client()
    client.send(json.dumps(JOB).encode())
    job, _ = worker.hear(Job)
    worker.say(Result(job.job, 1, 200))
    worker.say(Result(job.job, 1, 200), answer("whole"))
    assert json.loads(client.recv())["response"] == "whole"


def test_a_second_worker_of_the_same_name_is_refused(router: Running) -> None:
    first = router.worker("w1")
    first.hear(Welcome)
    second = router.worker("w1")
    refused, _ = second.hear(Refused)
    assert refused.why == "identity_alive"


def test_a_dead_workers_name_is_free_at_once(router: Running) -> None:
    first = router.worker("w1")
    first.hear(Welcome)
    first.socket.close()
    second = router.worker("w1")
    until = monotonic() + PATIENCE_MS / 1000
    while isinstance(decode_to_worker(second.socket.recv_multipart()[0]), Refused):
        assert monotonic() < until, "the end of a connection takes a moment to be noticed"
        second.say(second.hello)


def test_a_deploy_is_on_disk_when_it_is_answered(router: Running) -> None:
    deploy = {"action": "deploy_container_version", "track_slug": "bash", "new_version": "v9"}
    reply = router.ask(channel="test_runners", **deploy)
    assert reply["response"]["versions"] == ["v9"]
    _, versions = ConfigFile(router.file.path).read()
    assert versions["test_runners"]["bash"] == {"v9": None}


def test_a_configuration_read_again(router: Running) -> None:
    def queue() -> int:
        return int(router.ask(action="current_config")["response"]["router"]["queue"])

    text = router.file.path.read_text()
    router.file.path.write_text("rooter: {}\n" + text)
    router.loop.reload()
    assert queue() == 100
    router.file.path.write_text("router: {queue: 7}\n" + text)
    router.loop.reload()
    until = monotonic() + PATIENCE_MS / 1000
    while queue() != 7:
        assert monotonic() < until


def test_a_clean_end_finishes_what_runs(router: Running) -> None:
    worker = router.worker()
    client = router.client()
    client.send(json.dumps(JOB).encode())
    job, _ = worker.hear(Job)
    router.loop.stop()
    refused = router.ask(**(JOB | {"id": "late"}))
    assert refused["status"]["code"] == 503
    assert refused["context"]["retry_after_s"] > 0
    worker.say(Result(job.job, 1, 200), answer("done"))
    assert json.loads(client.recv())["response"] == "done"
    router.thread.join(PATIENCE_MS / 1000)
    assert not router.thread.is_alive()


PING = b'{"action": "ping"}'


def named(router: Running, kind: int = zmq.DEALER) -> Socket:
    client = router.context.socket(kind)
    client.linger = 0
    client.rcvtimeo = PATIENCE_MS
    client.routing_id = b"twin"
    client.connect(router.front_address)
    router.sockets.append(client)
    return client


def test_of_two_clients_of_one_name_the_newest_is_answered_until_it_leaves(
    router: Running, caplog: pytest.LogCaptureFixture
) -> None:
    first = named(router)
    first.send_multipart([b"1", b"", PING])
    assert first.recv_multipart()[0] == b"1"
    second = named(router)
    second.send_multipart([b"2", b"", PING])
    assert second.recv_multipart()[0] == b"2"
    until = monotonic() + PATIENCE_MS / 1000
    while "'twin': only the newest is answered" not in caplog.text:
        assert monotonic() < until
        sleep(0.05)
    second.close()
    first.rcvtimeo = 500
    while True:
        assert monotonic() < until
        first.send_multipart([b"3", b"", PING])
        with suppress(zmq.Again):
            assert first.recv_multipart()[0] == b"3"
            break


def test_a_name_taken_by_one_that_says_nothing_is_given_back(router: Running) -> None:
    first = named(router)
    first.send_multipart([b"1", b"", PING])
    assert first.recv_multipart()[0] == b"1"
    silent = named(router)
    sleep(0.3)
    silent.close()
    until = monotonic() + PATIENCE_MS / 500
    first.rcvtimeo = 7_000
    while True:
        assert monotonic() < until
        first.send_multipart([b"2", b"", PING])
        with suppress(zmq.Again):
            assert first.recv_multipart()[0] == b"2"
            break


def test_a_client_that_comes_back_under_its_name_is_answered(router: Running) -> None:
    for _ in range(5):
        client = named(router, zmq.REQ)
        client.send(PING)
        assert b'"code":200' in client.recv()
        client.close()


def test_nobody_gets_what_another_of_the_same_name_asked(router: Running) -> None:
    worker = router.worker()
    first = named(router)
    first.send_multipart([b"1", b"", json.dumps(JOB).encode()])
    job, _ = worker.hear(Job)
    second = named(router)
    second.send_multipart([b"2", b"", PING])
    assert second.recv_multipart()[0] == b"2"
    worker.say(Result(job.job, job.attempt, 200), answer("not for the second"))
    worker.hear(ResultAck)
    second.send_multipart([b"3", b"", PING])
    assert second.recv_multipart()[0] == b"3"


def test_a_worker_of_a_name_in_use_takes_its_place(router: Running) -> None:
    """A worker's host may go without a word: who comes after it must not wait for that."""
    hello = Hello("w1", "one", "test_runners", (), 1)
    for instance in ("one", "two"):
        socket = router.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.rcvtimeo = PATIENCE_MS
        socket.routing_id = b"named"
        socket.connect(router.link_address)
        router.sockets.append(socket)
        socket.send(encode_link(msgspec.structs.replace(hello, instance=instance)))
        assert isinstance(decode_to_worker(socket.recv()), Welcome)
