import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_protocol import BadMessage, replies, responses, status
from pipeline_protocol.codec import answer, decode_progress, decode_reply, encode_json, refusal


def test_answer_has_a_response_and_no_error() -> None:
    reply = decode_reply(answer(responses.Pong("0.1.0", 1.5)))
    assert reply.status == replies.StatusLine(200, "OK")
    assert reply.response == msgspec.Raw(b'{"version":"0.1.0","uptime_s":1.5}')


def test_answer_takes_plain_data() -> None:
    assert decode_reply(answer({"a": None})).response == msgspec.Raw(b'{"a":null}')


def test_refusal_has_an_error_and_no_response() -> None:
    context = replies.Context(retry_after_s=2.0)
    reply = decode_reply(refusal(status.NO_WORKER, "start one", context))
    assert reply.status == replies.StatusLine(503, "No worker available", "start one")
    assert reply.response is msgspec.UNSET
    assert reply.context == context


def test_what_does_not_apply_is_left_out() -> None:
    assert refusal(502, "why") == (
        b'{"status":{"code":502,"message":"Malformed request","error":"why"},"context":{}}'
    )


def test_fields_of_a_newer_router_are_ignored() -> None:
    data = b'{"status":{"code":299,"message":"?","x":1},"context":{"y":2},"z":[3]}'
    assert decode_reply(data) == replies.Reply(replies.StatusLine(299, "?"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"status":200}',
        b'{"status":{"code":"200","message":"OK"}}',
        b'{"status":{"code":200,"message":"\xff"}}',
        b'{"status":{"code":200,"message":"OK"},"context":{"attempt":"1"}}',
        b'{"status":{"code":200,"message":"OK"},"response":' + b"[" * 100_000,
        b'{"progress":{"lines":[]}}',
    ],
)
def test_no_reply(data: bytes) -> None:
    with pytest.raises(BadMessage, match="the reply is malformed"):
        decode_reply(data)


@given(st.binary())
def test_any_bytes_are_a_reply_or_a_bad_one(data: bytes) -> None:
    assert decode_progress(data) is None
    with pytest.raises(BadMessage):
        decode_reply(data)


def test_progress() -> None:
    lines = ("STEP 1", "STEP 2")
    assert decode_progress(encode_json(replies.ProgressReply(replies.ProgressLines(lines)))) == (
        lines
    )


@pytest.mark.parametrize("data", [b"", b"{}", b'{"progress":{"lines":[1]}}', b"[" * 100_000])
def test_no_progress(data: bytes) -> None:
    assert decode_progress(data) is None
    assert decode_progress(refusal(500, "x")) is None
