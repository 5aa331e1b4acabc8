"""Heads of requests: what is plain is read, all else is refused."""

import pytest

from pipeline_protocol.monitor.request import BadHead, Head, read_head

PLAIN = b"GET /metrics?a=b HTTP/1.1\r\nHost: Localhost:9101\r\nAuthorization: Bearer abc\r\n\r\n"


def test_a_plain_head_is_read() -> None:
    assert read_head(PLAIN) == Head("GET", "/metrics", "localhost", "abc")


@pytest.mark.parametrize(
    ("header", "host"),
    [(b"[::1]:9101", "[::1]"), (b"127.0.0.1", "127.0.0.1"), (b"evil.example:80", "evil.example")],
)
def test_hosts(header: bytes, host: str) -> None:
    assert read_head(b"GET / HTTP/1.0\r\nHost: %b\r\n\r\n" % header).host == host


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_refused(head: bytes) -> None:
    with pytest.raises(BadHead):
        read_head(head)


def test_other_schemes_are_no_token() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic abc\r\n\r\n"
    assert read_head(head).token == ""
