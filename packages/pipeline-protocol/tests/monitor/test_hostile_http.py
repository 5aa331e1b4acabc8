"""Whatever is sent, or not read: the next one who asks is answered, and memory stays small."""

import socket
import time
from contextlib import ExitStack

import pytest
from support.monitors import OwnMonitor, code_of, read_all, resident_mb, snapshot
from support.pace import paced

from pipeline_protocol.monitor import server


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%6detrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\na=1234", 405),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 8192 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", 200),
    ],
)
def test_each_has_its_answer(monitor: OwnMonitor, request_: bytes, code: int) -> None:
    answer = monitor.send(request_)
    assert code_of(answer) == code
    assert answer.count(b"HTTP/1.1") == 1 + (code == 400 and b"HTTP/1.1" in answer[9:])


def test_head_has_no_body(monitor: OwnMonitor) -> None:
    answer = monitor.send(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert int(head.partition(b"Content-Length: ")[2].split()[0]) > 100


def test_who_says_nothing_is_let_go(monitor: OwnMonitor) -> None:
    with monitor.connect() as client:
        began = time.monotonic()
        client.sendall(b"GET /metrics HT")
        assert code_of(read_all(client)) == 408
        assert time.monotonic() - began < paced(server.REQUEST_S + 10)


def test_a_thousand_connections_shut_nobody_out(monitor: OwnMonitor) -> None:
    process = monitor.process
    with ExitStack() as opened:
        for number in range(1000):
            client = opened.enter_context(monitor.connect())
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: lo")  # and no more
            if number % 100 == 99:
                assert monitor.code("/metrics") == 200
        assert monitor.code("/healthz") == 200
    assert monitor.feed.pid == process
    assert resident_mb(process) < 60


def test_who_reads_nothing_costs_little_and_is_let_go(monitor: OwnMonitor) -> None:
    monitor.show(snapshot(1, padding=8 << 20))
    process = monitor.process
    before = resident_mb(process)
    with ExitStack() as opened:
        clients = []
        for _ in range(60):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", monitor.port))
            client.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            clients.append(client)
        time.sleep(0.5)
        assert monitor.code("/healthz") == 200
        assert resident_mb(process) < before + 40  # 60 times 8 MiB would be 480
        time.sleep(server.SEND_S)
        clients[0].settimeout(paced(20))
        assert len(read_all(clients[0])) < 4 << 20


def test_a_stranger_cannot_guess_a_token(guarded: OwnMonitor) -> None:
    assert guarded.code("/metrics", host="evil.example") == 401
    assert guarded.code("/healthz", host="any.example") in (200, 503)
    assert guarded.code("/metrics", "Authorization: Bearer \xff") == 401
