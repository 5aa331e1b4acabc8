"""Every message has its bytes: they change on purpose (`regenerate`) or not at all."""

import inspect
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest

from pipeline_protocol import codec, link, replies, requests, responses, status

from . import examples, golden

JSON_CASES = [(kind, name) for kind, messages in golden.JSON.items() for name in messages]
LINK_CASES = [(way, name) for way, headers in golden.LINK.items() for name in headers]


def decode_json(kind: str, name: str, data: bytes) -> Any:
    match kind:
        case "requests":
            return codec.decode_request(data)
        case "replies":
            return codec.decode_reply(data)
        case "progress":
            lines = codec.decode_progress(data)
            return replies.ProgressReply(replies.ProgressLines(lines or ()))
        case _:
            return msgspec.json.decode(data, type=getattr(responses, name))


@pytest.mark.parametrize(("kind", "name"), JSON_CASES)
def test_json_is_written_as_before(kind: str, name: str) -> None:
    assert codec.encode_json(golden.JSON[kind][name]) == golden.json_bytes(kind, name)


@pytest.mark.parametrize(("kind", "name"), JSON_CASES)
def test_json_is_read_as_before(kind: str, name: str) -> None:
    assert decode_json(kind, name, golden.json_bytes(kind, name)) == golden.JSON[kind][name]


@pytest.mark.parametrize(("way", "name"), LINK_CASES)
def test_link_header_is_written_as_before(way: str, name: str) -> None:
    assert codec.encode_link(golden.LINK[way][name]) == golden.link_bytes(way)[name]


@pytest.mark.parametrize(("way", "name"), LINK_CASES)
def test_link_header_is_read_as_before(way: str, name: str) -> None:
    assert golden.DECODE[way](golden.link_bytes(way)[name]) == golden.LINK[way][name]


def test_no_golden_file_is_left_over() -> None:
    written = {path for path, _ in golden.files()}
    earlier = {
        golden.link_file(direction, protocol)
        for protocol in range(1, link.PROTOCOL)
        for direction in golden.LINK
    }
    assert {path for path in golden.FOLDER.rglob("*") if path.is_file()} == written | earlier


# --- nothing without a golden


def types_of(messages: Any) -> set[type]:
    return {type(message) for message in messages.values()}


def test_every_action_has_an_example() -> None:
    assert set(get_args(requests.Request)) == set(requests.ACTIONS.values())
    assert types_of(examples.REQUESTS) == set(requests.ACTIONS.values())


def test_every_status_has_an_example() -> None:
    own = {status.CLIENT_TIMED_OUT, status.MISSING_REPLY, status.MALFORMED_REPLY}
    assert {int(name[:3]) for name in examples.REPLIES} == set(status.STATUSES) - own


def test_every_link_message_has_an_example() -> None:
    assert types_of(examples.FROM_WORKER) == set(get_args(link.FromWorker))
    assert types_of(examples.TO_WORKER) == set(get_args(link.ToWorker))


def test_every_response_has_an_example() -> None:
    parts = {
        responses.WorkerVersion,
        responses.VersionDeployment,
        responses.ChannelStatus,
        responses.ClientStatus,
        responses.AuditEntry,
        responses.WorkerDescription,
        responses.MissingWorker,
    }
    assert types_of(examples.RESPONSES) == structs_of(responses) - parts
    assert {type(value).__name__ for value in examples.RESPONSES.values()} == set(
        examples.RESPONSES
    )


def structs_of(module: ModuleType) -> set[type]:
    return {
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("kind", [*golden.JSON, *golden.LINK])
def test_every_field_is_shown_by_some_example(kind: str) -> None:
    """A field that is at its default everywhere would change unseen."""
    examples_of = {**golden.JSON, **golden.LINK}[kind]
    shown: dict[type, set[str]] = {}
    for message in examples_of.values():
        collect(message, shown)
    for struct, fields in shown.items():
        assert fields == {field.name for field in msgspec.structs.fields(struct)}, struct


def collect(value: Any, shown: dict[type, set[str]]) -> None:
    """Note which fields differ from their defaults, down the tree."""
    if isinstance(value, msgspec.Struct):
        fields = shown.setdefault(type(value), set())
        for field in msgspec.structs.fields(value):
            content = getattr(value, field.name)
            default = field.default
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            if default is msgspec.NODEFAULT or content != default:
                fields.add(field.name)
            collect(content, shown)
    elif isinstance(value, dict):
        for content in value.values():
            collect(content, shown)
    elif isinstance(value, tuple):
        for content in value:
            collect(content, shown)
