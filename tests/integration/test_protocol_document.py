"""docs/protocol.md says what the code does: tables field by field, replies by a real router."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faults.lab import HASTY_S, FaultLab
from msgspec.structs import fields
from support.markdown import Document, codes, numbers
from support.processes import machine
from support.tracks import ROOT

from pipeline_protocol import codec, responses
from pipeline_protocol.channels import (
    ACTION_OF_ALIAS,
    CHANNEL_OF_ACTION,
    CHANNEL_OF_ALIAS,
    CHANNELS,
    TIMEOUT_S,
)
from pipeline_protocol.link import MAX_LINK_BYTES, MAX_LOG_BYTES
from pipeline_protocol.replies import Context
from pipeline_protocol.requests import ACTIONS
from pipeline_protocol.responses import DeployState
from pipeline_protocol.settings import MIB
from pipeline_protocol.status import STATUSES
from pipeline_router import peer_socket, sockets
from pipeline_router.config import RouterOptions
from pipeline_router.model import MAX_ENVELOPES

DOCUMENT = Document(ROOT / "docs" / "protocol.md")
MESSAGES: list[dict[str, Any]] = [json.loads(block) for block in DOCUMENT.blocks("json")]
REQUESTS = [message for message in MESSAGES if "action" in message]
REPLIES = [message for message in MESSAGES if "status" in message]
PROGRESS = [message for message in MESSAGES if "progress" in message and "action" not in message]
_, COMPONENTS = msgspec.json.schema_components(ACTIONS.values())

RESPONSES: dict[str, type[msgspec.Struct]] = {
    "analyse_solution": responses.Analysis,
    "recommend_solution": responses.Recommendations,
    "represent_solution": responses.Representation,
    "build_container": responses.Build,
    "list_available_containers": responses.AvailableContainers,
}
"""What workers answer; what the router answers, a real one is asked."""


# --- tables


def test_each_status_is_there_with_its_message_retry_and_storage() -> None:
    documented = DOCUMENT.table("code", "message", "retry", "stored")
    assert documented == [
        [str(row.code), row.message, row.retry.value, "yes" if row.stored else "no"]
        for row in STATUSES.values()
    ]


def test_each_action_is_there_with_what_it_takes_and_who_serves_whom() -> None:
    documented = {
        codes(action)[0]: (set(codes(needs)), set(codes(may)), served.strip("`"), role)
        for action, needs, may, served, role in DOCUMENT.table(
            "action", "needs", "may have", "served by", "role"
        )
    }
    expected = {}
    for action, struct in ACTIONS.items():
        names = {field.encode_name for field in fields(struct)}
        needs = {field.encode_name for field in fields(struct) if field.required}
        needs |= names & {"s3_uri", "files"}  # one of the two
        served = CHANNEL_OF_ACTION.get(action, "router")
        expected[action] = (needs, names - needs, served, struct.role.value)
    assert documented == expected


def test_each_alias_is_there() -> None:
    rows = DOCUMENT.table("alias", "of", "is")
    documented = {(codes(alias)[0], of, codes(name)[0]) for alias, of, name in rows}
    actions = {(alias, "an action", name) for alias, name in ACTION_OF_ALIAS.items()}
    assert documented == actions | {
        (alias, "a channel", name) for alias, name in CHANNEL_OF_ALIAS.items()
    }


def field_rows() -> dict[str, list[str]]:
    rows = DOCUMENT.table("field", "JSON", "must be", "default")
    return {name: row for names, *row in rows for name in codes(names)}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace a reference by what it names."""
    if "$ref" not in schema:
        return schema
    return {"type": "string", **COMPONENTS[schema["$ref"].rpartition("/")[2]], **schema}


def bounds(schema: dict[str, Any]) -> tuple[set[str], set[float]]:
    """Return the texts and numbers that a value is held to, however deep."""
    texts, figures = set(schema.get("enum", ())), set()
    for key, value in schema.items():
        if key == "pattern":
            texts.add(value.removeprefix(r"\A").removesuffix(r"\Z"))
        elif isinstance(value, dict):
            inner_texts, inner_figures = bounds(value)
            texts |= inner_texts
            figures |= inner_figures
        elif key.lower().startswith(("max", "min", "exclusive")):
            figures.add(value)
    return texts, figures


@pytest.mark.parametrize(
    "name", sorted({f.encode_name for s in ACTIONS.values() for f in fields(s)})
)
def test_each_field_is_there_with_its_type_bounds_and_default(name: str) -> None:
    kind, must_be, default = field_rows()[name]
    for struct in ACTIONS.values():
        schema = COMPONENTS[struct.__name__]["properties"].get(name)
        if schema is None:
            continue
        schema = resolved(schema)
        texts, figures = bounds(schema)
        if name == "channel":
            texts = {row.name for row in CHANNELS.values() if row.scopable}
        expected = schema.get("default", "")
        if name == "timeout_s":
            expected = (
                f"{TIMEOUT_S['test_solution']:g}; "
                f"`build_container` {TIMEOUT_S['build_container']:g}"
            )
        elif expected != "":
            expected = f"`{expected if isinstance(expected, str) else json.dumps(expected)}`"
        assert (kind, default) == (schema["type"], expected)
        assert (set(codes(must_be)), numbers(must_be)) == (texts, figures)


def test_no_field_is_there_that_no_action_takes() -> None:
    assert field_rows().keys() == {f.encode_name for s in ACTIONS.values() for f in fields(s)}


def response_keys() -> dict[str, list[str]]:
    rows = DOCUMENT.table("action", "`response`")
    return {action: codes(response) for actions, response in rows for action in codes(actions)}


def test_each_response_of_a_worker_is_there_with_its_keys() -> None:
    documented = response_keys()
    assert documented.keys() == ACTIONS.keys()
    for action, struct in RESPONSES.items():
        assert documented[action] == list(struct.__struct_fields__), action


def test_each_part_of_a_context_is_there() -> None:
    documented = [name for (cell,) in DOCUMENT.table("`context`") for name in codes(cell)]
    assert documented == list(Context.__struct_fields__)


def test_each_limit_is_the_one_in_force() -> None:
    options = RouterOptions()
    frames, frame_bytes = sockets.MAX_ENVELOPE_FRAMES, sockets.MAX_ENVELOPE_FRAME_BYTES
    assert dict(DOCUMENT.table("what", "limit")) == {
        "a request's JSON": f"{codec.MAX_REQUEST_BYTES // MIB} MiB",
        "the envelope": f"{frames} frames of {frame_bytes} bytes",
        "a worker's reply": f"{MAX_LINK_BYTES // 2 // MIB} MiB",
        "each stream in `logs`": f"{MAX_LOG_BYTES // 1000} kB",
        "waiting requests of a channel": (
            f"{options.queue}, and {options.queue_bytes // MIB} MiB of their JSON"
        ),
        "the longest wait": f"{options.max_timeout_s:g} s",
        "stored replies": f"{options.result_ttl_s:g} s",
        "sendings of one request": f"{MAX_ENVELOPES}",
        "requests that the router has not read yet": (
            f"{peer_socket.MESSAGES_AHEAD}, and {peer_socket.BOUNDS.each // MIB} MiB"
        ),
        "replies that a client does not read": (
            f"{peer_socket.PIPE_MESSAGES}, and {peer_socket.BOUNDS.each // MIB} MiB"
        ),
        "a message that is not whole": (
            f"{peer_socket.BOUNDS.unfinished // MIB} MiB in all its frames"
        ),
        "a connection that takes nothing in": f"{peer_socket.UNACKNOWLEDGED_MS // 1000} s",
    }


def test_each_state_of_a_deployment_is_named() -> None:
    assert {state for state in DeployState if f"`{state}`" not in DOCUMENT.text} == set()


def test_the_links_within_lead_somewhere() -> None:
    assert DOCUMENT.links_within() <= DOCUMENT.anchors()


# --- messages


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request["action"])
def test_each_request_is_one_that_the_router_takes(request_: dict[str, Any]) -> None:
    taken = codec.decode_request(json.dumps(request_).encode())
    assert json.loads(codec.encode_json(taken)) == request_


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["status"]["code"])
def test_each_reply_is_one_that_the_code_writes(reply: dict[str, Any]) -> None:
    read = codec.decode_reply(json.dumps(reply).encode())
    written = json.loads(codec.encode_json(read))
    assert {"context": {}, **written} == reply


def test_each_progress_is_one_that_a_client_reads() -> None:
    assert PROGRESS
    for message in PROGRESS:
        read = codec.decode_progress(json.dumps(message).encode())
        assert read == tuple(message["progress"]["lines"])


@pytest.fixture(scope="module")
def lab(module_folder: Path) -> Iterator[FaultLab]:
    with machine(module_folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router()
        lab.start_worker("worker-1")
        yield lab
        lab.close()


def documented_reply(*keys: str) -> dict[str, Any]:
    """Return the one reply of the document whose response, or context, has these keys."""
    (reply,) = [
        reply for reply in REPLIES if set(keys) <= {*reply.get("response", ()), *reply["context"]}
    ]
    return reply


def shape(value: Any) -> Any:
    """Return keys and kinds without what is said; of a list, its first."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_a_real_ping_is_answered_like_the_documents(lab: FaultLab) -> None:
    assert shape(lab.say({"action": "ping"})) == shape(documented_reply("uptime_s"))


def test_a_real_deployment_check_is_answered_like_the_documents(lab: FaultLab) -> None:
    check = {"action": "deployment_check", "track_slug": "ruby", "channel": "test_runners"}
    assert shape(lab.say(check)) == shape(documented_reply("state", "versions"))


def test_a_real_run_is_answered_like_the_documents(lab: FaultLab) -> None:
    real = lab.say(json.loads(lab.request().body))
    said = documented_reply("timing")
    assert real["status"] == said["status"]
    assert isinstance(real["response"], dict)
    # an echo worker times nothing: what it does say is there in the same way
    assert shape(real["context"]).items() <= shape(said["context"]).items()
    assert real["context"].keys() >= {"worker", "attempt"}


def test_a_real_refusal_is_answered_like_the_documents(shared_folder: Path) -> None:
    with machine(shared_folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router(liveness_s=HASTY_S)  # so long nobody is refused for want of workers
        build = next(message for message in REQUESTS if message["action"] == "build_container")
        real, said = lab.say(build), documented_reply("workers", "retry_after_s")
        lab.close()
    assert shape(real) == shape(said)
    assert real["context"] == said["context"]
    assert real["status"]["code"] == said["status"]["code"]


TRACK = {"track_slug": "ruby", "channel": "test_runners"}
ASKED: list[dict[str, Any]] = [
    {"action": "ping"},
    {"action": "deploy_container_version", "new_version": "v2", **TRACK},
    {"action": "unload_container_version", "version": "v2", **TRACK},
    {"action": "update_container_versions", "versions": ["v1", "v3"], **TRACK},
    {"action": "deployment_check", **TRACK},
    {"action": "current_worker_status"},
    {"action": "describe_workers"},
    {"action": "cancel", "id": "run-1"},
    {"action": "configure_worker", "channel": "test_runners", "topics": ["zig"]},
    {"action": "forget_images", "workers": ["worker-1"]},
    {"action": "restart_workers"},
    {"action": "drain_worker", "identity": "worker-1"},
    {"action": "dismiss_worker", "identity": "worker-2"},
    {"action": "read_audit", "limit": 5},
]


def test_the_router_itself_answers_with_the_keys_that_the_document_lists(
    shared_folder: Path,
) -> None:
    served_by_router = ACTIONS.keys() - CHANNEL_OF_ACTION.keys() - {"current_config"}
    assert {request["action"] for request in ASKED} == served_by_router
    documented = response_keys()
    with machine(shared_folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router()
        worker = lab.start_worker("worker-1")
        lab.start_worker("worker-2").kill()
        lab.await_missing("worker-2")
        for request in ASKED:
            reply = lab.say(request)
            assert reply["status"]["code"] == 200, reply
            assert list(reply["response"]) == documented[request["action"]], request
            if request["action"] == "restart_workers":
                worker.wait_for("(?s)RESTART.*serving")
        lab.close()
