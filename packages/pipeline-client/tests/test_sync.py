"""The client on real sockets. Times are generous: what is shown is an order, not a speed."""

import inspect
import random
import re
import threading
import time
import typing
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import zmq

import pipeline_client
from pipeline_client import BadAddress, PipelineClient, errors
from pipeline_client._transport.connection import Connection
from pipeline_client.testing import FakeRouter
from pipeline_protocol import codec, replies, requests, responses, status

PONG = responses.Pong("0.1.0", 1.0)
NAMES = ("ruby", "two-fer", "v1")
FILES = {"two_fer.rb": ""}


class Scripted:
    """Answers requests by the list, one entry each; after its end, with the last one."""

    def __init__(self, *script: Iterable[bytes]) -> None:
        self._script = list(script)

    def __call__(self, request: bytes) -> Iterable[bytes]:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


@pytest.fixture
def free_port() -> int:
    """A port that is free, and that no connection's own end is given meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(zmq.ZMQError), FakeRouter(port=port):
            return port


def bound_port(socket: "zmq.Socket[bytes]", host: str = "127.0.0.1") -> int:
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(f"tcp://{host}:*")
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def elapsed_since(started: float) -> float:
    return time.monotonic() - started


# --- answers


def test_answer_and_request() -> None:
    results = {"version": 3, "status": "pass"}
    context = replies.Context(worker="worker-1", exit_status=0)
    answering = Scripted([codec.answer(results, context)])
    with FakeRouter(answering) as router, PipelineClient(router.address) as client:
        files = FILES | {"a.png": b"\x89PNG"}
        run = client.test_solution(*NAMES, files=files, id="run-1", timeout_s=30)
    assert run.response == results
    assert run.context == context
    (request,) = router.requests
    assert isinstance(request, requests.TestSolution)
    assert (request.id, request.timeout_s) == ("run-1", 30)
    assert request.files == FILES | {"a.png": requests.BinaryFile(b"\x89PNG")}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (status.UNUSABLE, errors.RequestError),
        (status.TIMED_OUT, errors.LimitError),
        (status.TOOL_FAILED, errors.ToolError),
        (status.NO_WORKER, errors.PlatformError),
        (status.CANCELLED, errors.CallerError),
    ],
)
def test_each_class_of_error(code: int, kind: type[errors.PipelineError]) -> None:
    context = replies.Context(logs=replies.Logs(stderr="boom"))
    answering = Scripted([codec.refusal(code, "do this next", context)])
    with (
        FakeRouter(answering) as router,
        PipelineClient(router.address, retries=None) as client,
        pytest.raises(kind, match="do this next") as caught,
    ):
        client.test_solution(*NAMES, files=FILES)
    assert (caught.value.code, caught.value.context) == (code, context)


def test_progress_comes_before_the_answer() -> None:
    progress = [
        codec.encode_json(replies.ProgressReply(replies.ProgressLines((line,)))) for line in "abc"
    ]
    build = responses.Build("built", "ruby-test-runner", "git-1", "sha256:0", "1")
    lines: list[str] = []
    with (
        FakeRouter(Scripted([*progress, codec.answer(build)])) as router,
        PipelineClient(router.address) as client,
    ):
        answer = client.build_container("ruby", "test_runners", "master", on_line=lines.append)
    assert lines == ["a", "b", "c"]
    assert answer.response == build
    assert b'"progress":true' in router.heard[0]


def test_slow_reader_of_lines_holds_up_nobody_else() -> None:
    others_answered = threading.Event()
    begun = threading.Event()

    def read_slowly(line: str) -> None:
        begun.set()
        assert others_answered.wait(30), line

    router = FakeRouter().returning("test_solution", {}, lines=["one"])
    with router, PipelineClient(router.address) as client, ThreadPoolExecutor() as pool:
        slow = pool.submit(client.test_solution, *NAMES, files=FILES, on_line=read_slowly)
        assert begun.wait(30)
        assert client.ping() == PONG
        others_answered.set()
        slow.result(30)


def test_pause_before_another_try_ends_with_the_client() -> None:
    router = FakeRouter().failing("ping", status.NO_WORKER, retry_after_s=600)
    with router, ThreadPoolExecutor() as pool:
        with PipelineClient(router.address, timeout_s=3600) as client:
            answer = pool.submit(client.ping)
            while not router.heard:
                time.sleep(0.005)
        with pytest.raises(errors.CallerError, match="closed"):
            answer.result(30)


def test_failing_thread_ends_what_waits_and_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: object, now: float) -> None:
        raise LookupError("of the test")

    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda hooked: told.append(str(hooked.exc_value)))
    with FakeRouter() as router, PipelineClient(router.address) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "turn", fail)
            with pytest.raises(errors.CallerError, match="thread failed"):
                client.ping()
        assert client.ping() == PONG
    assert told == ["of the test"]


def test_callers_own_error_in_a_line_reaches_the_caller() -> None:
    progress = codec.encode_json(replies.ProgressReply(replies.ProgressLines(("a",))))

    def fail(line: str) -> None:
        raise LookupError(line)

    with (
        FakeRouter(Scripted([progress])) as router,
        PipelineClient(router.address) as client,
        pytest.raises(LookupError, match="a"),
    ):
        client.build_container("ruby", "test_runners", "master", on_line=fail)


def test_bad_request_is_not_sent() -> None:
    with FakeRouter() as router, PipelineClient(router.address) as client:
        with pytest.raises(errors.RequestError, match="git reference"):
            client.build_container("ruby", "test_runners", "$(id)")
        client.ping()
    assert router.heard == [b'{"action":"ping"}']


@pytest.mark.parametrize("reply", [b"hello", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_garbage_is_a_malformed_reply(reply: bytes) -> None:
    with (
        FakeRouter(Scripted([reply])) as router,
        PipelineClient(router.address) as client,
        pytest.raises(errors.MalformedReply, match="is this a pipeline router"),
    ):
        client.ping()


def test_empty_answer_is_a_missing_reply() -> None:
    with (
        FakeRouter(Scripted([b""])) as router,
        PipelineClient(router.address, retries=None) as client,
        pytest.raises(errors.MissingReply),
    ):
        client.ping()


def test_second_answer_is_not_the_next_calls() -> None:
    script = Scripted(
        [codec.answer(PONG), codec.answer(responses.Pong("twice", 0))],
        [codec.answer(responses.Pong("next", 0))],
    )
    with FakeRouter(script) as router, PipelineClient(router.address) as client:
        assert client.ping() == PONG
        assert client.ping().version == "next"


# --- silence


def test_silent_router() -> None:
    with FakeRouter(Scripted([])) as router, PipelineClient(router.address) as client:
        started = time.monotonic()
        with pytest.raises(errors.ClientTimedOut) as caught:
            client.ping(timeout_s=0.2)
        assert 0.2 <= elapsed_since(started) < 10
    assert (caught.value.code, caught.value.retryable) == (101, True)
    assert router.address in str(caught.value)


def test_no_router(free_port: int) -> None:
    started = time.monotonic()
    with (
        PipelineClient(f"tcp://127.0.0.1:{free_port}", timeout_s=0.2) as client,
        pytest.raises(errors.ClientTimedOut),
    ):
        client.ping()
    assert elapsed_since(started) < 10


def test_something_else_that_listens() -> None:
    """It accepts connections, and says nothing that is ZeroMQ."""
    with zmq.Context() as context, context.socket(zmq.STREAM) as socket:
        port = bound_port(socket)
        with (
            PipelineClient(f"tcp://127.0.0.1:{port}", timeout_s=0.2) as client,
            pytest.raises(errors.ClientTimedOut),
        ):
            client.ping()


def test_silence_is_answered_by_the_same_bytes_over_the_same_connection() -> None:
    heard: list[list[bytes]] = []
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        port = bound_port(socket)

        def serve() -> None:
            heard.extend(socket.recv_multipart() for _ in range(3))
            socket.send_multipart([*heard[-1][:3], codec.answer({"status": "pass"})])

        thread = threading.Thread(target=serve)
        thread.start()
        with PipelineClient(f"tcp://127.0.0.1:{port}", resend_after_s=0.1) as client:
            run = client.test_solution(*NAMES, files=FILES)
        thread.join()
    assert run.response == {"status": "pass"}
    assert heard[0] == heard[1] == heard[2]
    assert b'"id":' in heard[0][3]


def test_lost_connection_is_made_anew_and_what_waits_is_sent_again_at_once(free_port: int) -> None:
    """Long before `resend_after_s`, and what is harmful twice is not among it."""
    heard = threading.Event()

    def silent(request: bytes) -> Iterable[bytes]:
        if len(first.heard) == 3:
            heard.set()
        return []

    first = FakeRouter(silent, port=free_port)
    with (
        PipelineClient(first.address, timeout_s=60, resend_after_s=1000) as client,
        ThreadPoolExecutor() as pool,
    ):
        runs = [pool.submit(client.test_solution, *NAMES, files=FILES) for _ in range(2)]
        once = pool.submit(client.restart_workers)
        assert heard.wait(30)
        first.stop()
        with FakeRouter(Scripted([codec.answer({"status": "pass"})]), port=free_port) as second:
            for run in runs:
                assert run.result().response == {"status": "pass"}
            client.close()
        with pytest.raises(errors.CallerError, match="closed while this waited"):
            once.result()
    assert len(second.heard) == 2
    assert set(second.heard) < set(first.heard)


def test_what_is_sent_once_is_sent_once() -> None:
    with (
        FakeRouter(Scripted([])) as router,
        PipelineClient(router.address, timeout_s=0.5, resend_after_s=0.1) as client,
    ):
        with pytest.raises(errors.ClientTimedOut, match="before you repeat"):
            client.restart_workers()
        with pytest.raises(errors.ClientTimedOut, match="before you repeat"):
            client.drain_worker("worker-1")
    assert len(router.heard) == 2


def test_router_that_starts_late(free_port: int) -> None:
    with (
        PipelineClient(f"tcp://127.0.0.1:{free_port}", timeout_s=60, resend_after_s=0.5) as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(client.ping)
        time.sleep(0.3)
        with FakeRouter(port=free_port):
            assert answer.result() == PONG


def test_router_that_restarts_while_a_call_waits(free_port: int) -> None:
    heard = threading.Event()

    def silent(request: bytes) -> Iterable[bytes]:
        heard.set()
        return []

    first = FakeRouter(silent, port=free_port)
    with (
        PipelineClient(first.address, timeout_s=60, resend_after_s=0.5) as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(client.test_solution, *NAMES, files=FILES)
        assert heard.wait(30)
        first.stop()
        with FakeRouter(Scripted([codec.answer({"status": "pass"})]), port=free_port) as second:
            assert answer.result().response == {"status": "pass"}
    assert set(second.heard) == {first.heard[0]}


def test_router_that_restarts_between_calls(free_port: int) -> None:
    with (
        FakeRouter(port=free_port) as first,
        PipelineClient(first.address, resend_after_s=0.5) as client,
    ):
        assert client.ping() == PONG
        first.stop()
        with FakeRouter(port=free_port):
            assert client.ping(timeout_s=60) == PONG


# --- threads, and the end


def test_many_threads_get_their_own_answers() -> None:
    def answering(request: bytes) -> Iterable[bytes]:
        decoded = codec.decode_request(request)
        assert isinstance(decoded, requests.TestSolution)
        return [codec.answer({"id": decoded.id})]

    def run(number: int) -> Any:
        return client.test_solution(*NAMES, files=FILES, id=f"run-{number}").response["id"]

    with (
        FakeRouter(answering) as router,
        PipelineClient(router.address) as client,
        ThreadPoolExecutor(50) as pool,
    ):
        assert list(pool.map(run, range(500))) == [f"run-{number}" for number in range(500)]


def test_close_ends_calls_of_other_threads() -> None:
    heard = threading.Event()

    def silent(request: bytes) -> Iterable[bytes]:
        heard.set()
        return []

    with FakeRouter(silent) as router, ThreadPoolExecutor() as pool:
        with PipelineClient(router.address) as client:
            answer = pool.submit(client.ping)
            assert heard.wait(30)
        with pytest.raises(errors.CallerError, match="closed while this waited") as caught:
            answer.result(30)
    assert caught.value.code == status.CANCELLED


def test_close_in_the_midst_of_a_call() -> None:
    progress = codec.encode_json(replies.ProgressReply(replies.ProgressLines(("a",))))
    with FakeRouter(Scripted([progress])) as router:
        client = PipelineClient(router.address)
        with pytest.raises(errors.CallerError, match="closed while this waited"):
            client.build_container(
                "ruby", "test_runners", "master", on_line=lambda _: client.close()
            )


def test_closed_client() -> None:
    client = PipelineClient("tcp://localhost:1")
    client.close()
    client.close()
    with pytest.raises(errors.CallerError, match="make a new one"):
        client.ping()


def test_bad_arguments() -> None:
    with pytest.raises(BadAddress):
        PipelineClient("localhost:5555")
    with pytest.raises(ValueError, match="resend_after_s"):
        PipelineClient("tcp://localhost:5555", resend_after_s=0)


def test_ipv6() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.setsockopt(zmq.IPV6, 1)
        try:
            port = bound_port(socket, "[::1]")
        except zmq.ZMQError:
            pytest.skip("this machine has no IPv6")
        with ThreadPoolExecutor() as pool, PipelineClient(f"tcp://[::1]:{port}") as client:
            answer = pool.submit(client.ping)
            socket.recv()
            socket.send(codec.answer(PONG))
            assert answer.result() == PONG


def test_the_face_has_all_that_calls_return_and_the_version() -> None:
    for name in pipeline_client.__all__:
        assert getattr(pipeline_client, name) is not None, name
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", pipeline_client.__version__)
    for name, method in inspect.getmembers(PipelineClient, inspect.isfunction):
        result = inspect.signature(method).return_annotation
        result = typing.get_origin(result) or result
        if not name.startswith("_") and getattr(result, "__module__", "").startswith("pipeline_"):
            assert getattr(pipeline_client, result.__name__) is result, name
