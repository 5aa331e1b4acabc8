"""The loop on real sockets, against a router of a few lines; jobs and versions are made up."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from pipeline_protocol import link, status
from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.codec import (
    answer,
    decode_from_worker,
    decode_request,
    encode_link,
    refusal,
)
from pipeline_protocol.requests import ConfigureWorker
from pipeline_protocol.responses import LinkAddress
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.commands import Leave, WorkerEnd
from pipeline_worker.core import WorkerCore
from pipeline_worker.events import StopAsked
from pipeline_worker.executor import Assignment, Finished
from pipeline_worker.loop import WorkerLoop
from pipeline_worker.sockets import RouterSockets
from pipeline_worker.versions.manager import NoVersions


class EchoJobs:
    """Answers each request with itself; "slow" waits to be cancelled, "broken" raises."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        pass

    def perform(self, assignment: Assignment) -> Finished:
        if assignment.request == b"broken":
            raise RuntimeError("out of order")
        if assignment.request == b"slow":
            assignment.print_line("still here")
            assignment.cancelled.wait(30)
            return status.CANCELLED, refusal(status.CANCELLED, "cancelled")
        return status.OK, assignment.request


class Router:
    """Answers the first question, then says what the test wants it to."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.front = context.socket(zmq.ROUTER)
        self.link = context.socket(zmq.ROUTER)
        self.port = self.front.bind_to_random_port("tcp://127.0.0.1")
        self.link_port = self.link.bind_to_random_port("tcp://127.0.0.1")
        self.peer = b""

    def bootstrap(self) -> link.Hello:
        assert self.front.poll(10_000)
        envelope, empty, question = self.front.recv_multipart()
        assert isinstance(decode_request(question), ConfigureWorker)
        self.front.send_multipart(
            [envelope, empty, answer(LinkAddress(self.link_port, link.PROTOCOL))]
        )
        hello, _ = self.hear(link.Hello)
        assert isinstance(hello, link.Hello)
        self.say(link.Welcome(1, 5))
        self.say(link.Configure(Settings()))
        return hello

    def say(self, message: link.ToWorker, *body: bytes) -> None:
        self.link.send_multipart([self.peer, encode_link(message), *body])

    def hear(self, kind: type) -> tuple[link.FromWorker, bytes]:
        until = time.monotonic() + 10
        while self.link.poll(max(0, int((until - time.monotonic()) * 1000))):
            self.peer, header, *body = self.link.recv_multipart()
            message = decode_from_worker(header)
            if isinstance(message, kind):
                return message, b"".join(body)
        raise AssertionError(f"no {kind.__name__} came")


@pytest.fixture
def router() -> Iterator[Router]:
    with zmq.Context() as context:
        router = Router(context)
        yield router
        router.front.close(linger=0)
        router.link.close(linger=0)


@pytest.fixture
def worker(router: Router) -> Iterator[tuple[WorkerLoop, Callable[[], Leave]]]:
    address = WorkerAddress.parse(f"tcp://127.0.0.1:{router.port}/builders")
    core = WorkerCore("worker-1", "instance", address, 2)
    loop = WorkerLoop(core, RouterSockets(address), EchoJobs(), NoVersions())
    left: list[Leave] = []
    thread = threading.Thread(target=lambda: left.append(loop.run()))
    thread.start()

    def wait() -> Leave:
        thread.join(10)
        assert not thread.is_alive()
        return left[0]

    yield loop, wait
    if thread.is_alive():
        loop.post(StopAsked())
        loop.post(StopAsked())
        thread.join(10)


def test_a_question_that_no_connection_takes_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With keys a handshake may have failed before the question is handed over."""
    sockets = RouterSockets(WorkerAddress.parse("tcp://127.0.0.1:1/builders"))
    with zmq.Context() as context, context.socket(zmq.DEALER) as unconnected:
        monkeypatch.setattr(sockets, "_open", lambda *_: unconnected)
        sockets.ask()
        sockets._front = None
    sockets.close()


Worker = tuple[WorkerLoop, Callable[[], Leave]]


def test_a_job_goes_in_and_its_result_comes_out(router: Router, worker: Worker) -> None:
    assert router.bootstrap().identity == "worker-1"
    router.say(link.Job(9, 1, 60_000, 0), b"request")
    assert router.hear(link.Result) == (link.Result(9, 1, 200), b"request")


def test_progress_and_cancel(router: Router, worker: Worker) -> None:
    router.bootstrap()
    router.say(link.Job(9, 1, 60_000, 0), b"slow")
    message, body = router.hear(link.Progress)
    assert message == link.Progress(9, 1)
    assert b"still here" in body
    router.say(link.CancelJob(9, 1))
    ended, _ = router.hear(link.Result)
    assert ended == link.Result(9, 1, status.CANCELLED)


def test_a_defect_in_a_job_is_a_500_and_the_worker_lives(router: Router, worker: Worker) -> None:
    router.bootstrap()
    router.say(link.Job(9, 1, 60_000, 0), b"broken")
    message, body = router.hear(link.Result)
    assert message == link.Result(9, 1, status.INTERNAL_ERROR)
    assert b"out of order" in body
    router.say(link.Job(10, 1, 60_000, 0), b"request")
    assert router.hear(link.Result) == (link.Result(10, 1, 200), b"request")


def test_rubbish_on_the_link_is_dropped(router: Router, worker: Worker) -> None:
    router.bootstrap()
    router.link.send_multipart([router.peer, b"rubbish"])
    router.link.send_multipart([router.peer, b""])
    router.say(link.Job(9, 1, 60_000, 0), b"request")
    assert router.hear(link.Result)[1] == b"request"


def test_drain_says_goodbye(router: Router, worker: Worker) -> None:
    router.bootstrap()
    router.say(link.Drain())
    router.hear(link.Goodbye)
    assert worker[1]().ending is WorkerEnd.DONE


def test_restart_ends_the_session_only(router: Router, worker: Worker) -> None:
    router.bootstrap()
    router.say(link.Restart())
    router.hear(link.Goodbye)
    assert worker[1]().ending is WorkerEnd.RESTART


def test_what_is_not_a_router_is_said_so(router: Router, worker: Worker) -> None:
    assert router.front.poll(10_000)
    envelope, empty, _ = router.front.recv_multipart()
    router.front.send_multipart([envelope, empty, b"220 mail.example ESMTP"])
    left = worker[1]()
    assert left.ending is WorkerEnd.FAILED
    assert "not a pipeline router" in left.reason


def test_no_thread_is_left(router: Router, worker: Worker, tmp_path: Path) -> None:
    router.bootstrap()
    router.say(link.Job(9, 1, 60_000, 0), b"slow")
    router.hear(link.Progress)
    worker[0].post(StopAsked())
    worker[0].post(StopAsked())
    assert worker[1]().ending is WorkerEnd.DONE
    assert not [t for t in threading.enumerate() if t.name.startswith("job-")]


def test_a_helper_that_outlives_the_loop_disturbs_no_other_descriptor(
    router: Router, worker: Worker, tmp_path: Path
) -> None:
    router.bootstrap()
    router.say(link.Drain())
    worker[1]()
    others = [(tmp_path / f"{number}").open("wb", buffering=0) for number in range(20)]
    worker[0].post(StopAsked())
    for other in others:
        other.close()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0] * len(others)


def test_a_defect_of_the_loop_ends_it(router: Router) -> None:
    address = WorkerAddress.parse(f"tcp://127.0.0.1:{router.port}/builders")
    core = WorkerCore("worker-1", "instance", address, 1)
    loop = WorkerLoop(core, RouterSockets(address), EchoJobs(), NoVersions())
    loop.post("no event at all")  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        loop.run()
