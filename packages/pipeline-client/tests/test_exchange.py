"""The rules of sending again and giving up, with time as a number."""

from typing import Any

import pytest

from pipeline_client import calls, errors
from pipeline_client.exchange import GRACE_S, Exchange
from pipeline_protocol import codec, replies

NOW = 1000.0
ME = b"\x00\x01"


def exchange(
    call: calls.Call[Any], *, timeout_s: float | None = None, resend_after_s: float = 5.0
) -> Exchange:
    return Exchange(
        call,
        ME,
        NOW,
        address="tcp://localhost:5555",
        timeout_s=timeout_s,
        resend_after_s=resend_after_s,
    )


def deadline(started: Exchange) -> float:
    """Seconds until it gives up, found by asking as a client asks."""
    now = NOW
    while True:
        now += started.wait_s(now)
        try:
            started.is_overdue(now)
        except errors.ClientTimedOut:
            return now - NOW


@pytest.mark.parametrize(
    ("call", "of_client", "expected_s"),
    [
        (calls.ping(), None, 10),
        (calls.deployment_check("ruby", "test_runners"), None, 10),
        (calls.list_available_containers("ruby", "test_runners"), None, 60),
        (calls.build_container("ruby", "test_runners", "master"), None, 1800),
        (calls.build_container("ruby", "test_runners", "master"), 30, 30),
        (calls.build_container("ruby", "test_runners", "master", timeout_s=7), 30, 7),
        (calls.restart_workers(), 3, 3),
    ],
)
def test_whose_time_out_holds(
    call: calls.Call[Any], of_client: float | None, expected_s: float
) -> None:
    assert deadline(exchange(call, timeout_s=of_client)) == expected_s + GRACE_S


@pytest.mark.parametrize("timeout_s", [0, -1, 1e9, float("inf"), float("nan")])
def test_time_outs_that_would_never_end_or_never_begin(timeout_s: float) -> None:
    with pytest.raises(errors.RequestError, match="`timeout_s` must be"):
        exchange(calls.ping(timeout_s=timeout_s))


def test_request_is_a_dealers_frames() -> None:
    assert exchange(calls.ping()).frames == (ME, b"", b'{"action":"ping"}')


def test_silence_is_answered_by_sending_again() -> None:
    started = exchange(calls.ping())
    assert started.wait_s(NOW) == 5
    assert not started.is_overdue(NOW + 4.9)
    assert started.is_overdue(NOW + 5)
    assert not started.is_overdue(NOW + 5)
    assert started.wait_s(NOW + 5) == 5
    assert started.is_overdue(NOW + 10)
    assert started.wait_s(NOW + 10) == 1


def test_what_is_sent_once_waits_out_its_time() -> None:
    started = exchange(calls.restart_workers())
    assert started.wait_s(NOW) == 11
    assert not started.is_overdue(NOW + 10)
    with pytest.raises(errors.ClientTimedOut, match="before you repeat"):
        started.is_overdue(NOW + 11)


def test_too_late_names_the_router() -> None:
    with pytest.raises(errors.ClientTimedOut, match=r"tcp://localhost:5555 within 10 s"):
        exchange(calls.ping()).is_overdue(NOW + 11)


def test_answer() -> None:
    assert exchange(calls.ping()).hear([ME, b"", b"reply"], NOW) == b"reply"


@pytest.mark.parametrize("frames", [[], [b""], [b"\x00\x00", b"", b"late"], [b"", ME, b"x"]])
def test_others_answers_are_passed_over(frames: list[bytes]) -> None:
    started = exchange(calls.ping())
    assert started.hear(frames, NOW + 4) is None
    assert started.is_overdue(NOW + 5)


@pytest.mark.parametrize("frames", [[ME], [ME, b""], [ME, b"x", b"y"], [ME, b"", b"x", b"y"]])
def test_answer_in_other_frames_is_malformed(frames: list[bytes]) -> None:
    with pytest.raises(errors.MalformedReply):
        exchange(calls.ping()).hear(frames, NOW)


def test_progress_is_no_silence() -> None:
    lines: list[str] = []
    started = exchange(
        calls.build_container("ruby", "test_runners", "master", on_line=lines.append)
    )
    progress = codec.encode_json(replies.ProgressReply(replies.ProgressLines(("a", "b"))))
    assert started.hear([ME, b"", progress], NOW + 4) is None
    assert lines == ["a", "b"]
    assert not started.is_overdue(NOW + 8)
    assert started.wait_s(NOW + 8) == 1
