from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_protocol import BadMessage, link
from pipeline_protocol.codec import decode_from_worker, decode_to_worker, encode_link

pack = msgspec.msgpack.encode
DECODERS: list[Callable[[bytes], Any]] = [decode_from_worker, decode_to_worker]
HELLO = ["hello", "worker-1", "0a1b", "test_runners", ["ruby"], 2]


def test_fields_may_be_missing_at_the_end() -> None:
    assert decode_from_worker(pack(HELLO)) == link.Hello(
        "worker-1", "0a1b", "test_runners", ("ruby",), 2
    )


def test_fields_of_a_newer_peer_are_ignored() -> None:
    result = link.Result(job=1, attempt=1, code=200)
    newer = [*msgspec.msgpack.decode(encode_link(result)), {"later": True}]
    assert decode_from_worker(pack(newer)) == result


@pytest.mark.parametrize(
    "message",
    [
        [],
        ["nope"],
        ["welcome", 1, 7],
        {"type": "hello"},
        "hello",
        None,
        HELLO[:-1],
        [*HELLO[:-1], 0],
        [*HELLO[:-1], 4097],
        [*HELLO[:-2], ["Ruby"], 2],
        [*HELLO[:-2], ["ruby\n"], 2],
        ["hello", "../worker", *HELLO[2:]],
        ["hello", "", *HELLO[2:]],
        ["heartbeat", -1],
        ["heartbeat", 1, float("nan")],
        ["heartbeat", 1, float("inf")],
        ["result", -1, 1, 200],
        ["result", 1 << 63, 1, 200],
        ["result", 1, 0, 200],
        ["result", 1, 1, "200"],
        ["versions", [["ruby", "v1", "sleeping"]]],
        ["versions", [["ruby", "v1", "ready", "sha256:short"]]],
        ["versions", [["ruby", "v1", "preparing", None, "", 101]]],
        ["versions", [["ruby", "v1", "failed", None, "x" * 4097]]],
        ["goodbye", b"bytes"],
    ],
)
def test_not_from_a_worker(message: Any) -> None:
    with pytest.raises(BadMessage, match="from a worker"):
        decode_from_worker(pack(message))


@pytest.mark.parametrize(
    "message",
    [
        [],
        HELLO,
        ["welcome", 1],
        ["refused", "because", ""],
        ["job", 1, 1, -1, 0],
        ["job", 1, 1, 86_400_001, 0],
        ["configure", 1, {"tracks": {"ruby": {}}}],
        ["configure", 1, {"defaults": {"limits": {"wall_s": 0}, "ceilings": {}}}],
        ["configure", 1, {"versions": [{"track": "ruby", "version": "-v"}]}],
        ["configure", 1, {"registry": {"kind": "npm"}}],
    ],
)
def test_not_from_the_router(message: Any) -> None:
    with pytest.raises(BadMessage, match="from the router"):
        decode_to_worker(pack(message))


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\xdd\xff\xff\xff\xff\xa5hello",
        b"\x91" * 100_000,
        b"\x93\xa7goodbye\xa0" + b"\x91" * 100_000,
        b"\x93\xa9heartbeat\x01" + b"\x91" * 100_000,
        b"\x92\xa7goodbye\xa1\xff",
        encode_link(link.Drain()) + b"\x00",
    ],
)
def test_bad_bytes(decode: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data)


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary())
def test_any_bytes_are_a_header_or_a_bad_one(decode: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(BadMessage):  # a tag of five letters does not come by chance
        decode(data)


TAGS = sorted(
    str(struct.__struct_config__.tag)
    for struct in (*link.FromWorker.__args__, *link.ToWorker.__args__)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("decode", DECODERS)
@given(tag=st.sampled_from(TAGS), fields=st.lists(VALUES))
def test_any_fields_make_a_header_or_a_bad_one(
    decode: Callable[[bytes], Any], tag: str, fields: list[Any]
) -> None:
    try:
        header = decode(pack([tag, *fields]))
    except BadMessage:
        return
    assert decode(encode_link(header)) == header
