"""The link's bytes change with `PROTOCOL`, or as peers of the same number do not mind."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline_protocol import codec, link
from pipeline_protocol.codec import BadMessage

from . import golden, regenerate, skew

pack = msgspec.msgpack.encode

ACK = ["result_ack", [[1, 1]]]
JOB = ["job", 1, 1, {"limits": {"cpus": 1.0}}]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (ACK, ACK),
        (ACK, [*ACK, "a field at the end"]),
        (JOB, ["job", 1, 1, {"limits": {"cpus": 1.0, "pids": 5}, "more": None}]),
    ],
)
def test_what_grows_at_its_end_is_the_same_protocol(before: Any, now: Any) -> None:
    assert not list(skew.objections({"it": pack(before)}, {"it": pack(now)}))


@pytest.mark.parametrize(
    ("before", "now", "objection"),
    [
        (["result_ack", 1, 1], ACK, "it: ['result_ack', 1, 1] has become ['result_ack', [[1, 1]]]"),
        (ACK, ["result_ack"], "it: ['result_ack', [[1, 1]]] has become ['result_ack']"),
        (ACK, ["result_ack", "new", [[1, 1]]], "it[1]: [[1, 1]] has become 'new'"),
        (ACK, ["acknowledged", [[1, 1]]], "it[0]: 'result_ack' has become 'acknowledged'"),
        (JOB, ["job", 1, True, JOB[3]], "it[2]: 1 has become True"),
        (JOB, ["job", 1, 1, {"limits": {}}], "it[3].limits.cpus is gone"),
    ],
)
def test_everything_else_is_another(before: Any, now: Any, objection: str) -> None:
    assert objection in list(skew.objections({"it": pack(before)}, {"it": pack(now)}))


def test_so_are_a_new_tag_and_an_example_that_is_gone() -> None:
    before, now = {"ack": pack(ACK)}, {"job": pack(JOB)}
    assert list(skew.objections(before, now)) == [
        "ack: this example is gone",
        "job: the tag 'job' is new",
    ]
    assert not list(skew.objections(before, {**before, "ack-2": pack(ACK)}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the golden files that may be spoilt."""
    shutil.copytree(golden.FOLDER, tmp_path / "golden")
    monkeypatch.setattr(golden, "FOLDER", tmp_path / "golden")
    return tmp_path / "golden"


def test_a_changed_message_is_not_recorded_under_the_same_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = golden.link_file("to_worker").read_bytes()
    headers = {**golden.LINK["to_worker"], "result_ack": link.ResultAck(((7, 1),))}
    monkeypatch.setitem(golden.LINK, "to_worker", headers)
    with pytest.raises(SystemExit, match="raise PROTOCOL") as refused:
        regenerate.main()
    assert "result_ack[1]: " in str(refused.value)
    assert golden.link_file("to_worker").read_bytes() == before


def test_nor_is_one_whose_new_field_has_no_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = {"welcome": pack(["welcome", 1])}  # as it was before it had an epoch
    monkeypatch.setattr(golden, "link_bytes", lambda way: shorter if way == "to_worker" else {})
    assert any("at least length 3" in objection for objection in regenerate.objections())


def test_it_is_under_another_and_the_earlier_one_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = {path: path.read_bytes() for path in golden.link_folder(1).iterdir()}
    shutil.rmtree(golden.link_folder())
    regenerate.main()
    for direction in golden.LINK:
        assert golden.link_bytes(direction) == golden.link_now()[direction]
    assert {path: path.read_bytes() for path in golden.link_folder(1).iterdir()} == earlier


# --- what peers of other protocols find out by


@pytest.mark.parametrize("protocol", range(1, link.PROTOCOL))
def test_every_earlier_hello_is_told_by_its_number(protocol: int) -> None:
    for name, data in golden.link_bytes("from_worker", protocol).items():
        if name == "hello":
            hello = codec.decode_from_worker(data)
            assert isinstance(hello, link.Hello)
            assert hello.protocol == protocol


@pytest.mark.parametrize("protocol", range(1, link.PROTOCOL))
def test_an_earlier_worker_reads_why_it_is_refused(protocol: int) -> None:
    """The form that it was built with is the first part of today's."""
    before = golden.link_bytes("to_worker", protocol)["refused"]
    now = golden.link_bytes("to_worker")["refused"]
    assert not list(skew.objections({"refused": before}, {"refused": now}))


def test_a_hello_that_has_become_unreadable_is_still_told_by_its_number() -> None:
    hello: list[Any] = [
        "hello",
        "worker-1",
        None,
        {},
        7,
        "x",
        link.PROTOCOL + 1,
        "all new from here on",
    ]
    with pytest.raises(codec.OtherProtocol, match=r"upgrade the router") as other:
        codec.decode_from_worker(pack(hello))
    assert other.value.identity == "worker-1"
    hello[6] = link.PROTOCOL
    with pytest.raises(BadMessage, match="malformed") as bad:
        codec.decode_from_worker(pack(hello))
    assert not isinstance(bad.value, codec.OtherProtocol)
