import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pipeline_client import AsyncPipelineClient, PipelineClient, errors
from pipeline_client._plans import jobs, operations
from pipeline_client._plans.call import Answer, Call, read, written
from pipeline_client._plans.rollout import Rollout
from pipeline_protocol import STATUSES, codec, replies, requests, responses, status
from pipeline_protocol.status import Blame

NAMES = ("ruby", "two-fer", "v1")
PLACE = ("ruby", "test_runners")


def rollout(version: str) -> Rollout:
    plan = operations.deploy_container_version(*PLACE, version)
    assert isinstance(plan, Rollout)
    return plan


CALLS: dict[str, Call[Any]] = {
    "test_solution": jobs.test_solution(*NAMES, s3_uri="s3://submissions/1/"),
    "analyse_solution": jobs.analyse_solution(*NAMES, files={"a.rb": ""}),
    "recommend_solution": jobs.recommend_solution(*NAMES, files={"a.rb": ""}),
    "represent_solution": jobs.represent_solution(*NAMES, files={"a.rb": ""}),
    "build_container": jobs.build_container(*PLACE, "master"),
    "list_available_containers": jobs.list_available_containers(*PLACE),
    "deploy_container_version": rollout("v1").deploy,
    "unload_container_version": operations.unload_container_version(*PLACE, "v1"),
    "update_container_versions": operations.update_container_versions(*PLACE, ["v1", "v2"]),
    "deployment_check": operations.deployment_check(*PLACE),
    "current_config": operations.current_config(),
    "current_worker_status": operations.status(),
    "describe_workers": operations.workers(),
    "cancel": operations.cancel("run-1"),
    "ping": operations.ping(),
    "restart_workers": operations.restart_workers(),
    "drain_worker": operations.drain_worker("worker-1"),
    "forget_images": operations.forget_images(["worker-1"]),
    "dismiss_worker": operations.dismiss_worker("worker-1"),
    "read_audit": operations.audit(20),
}


# --- writing


SHORTER = {
    "current_worker_status": "status",
    "describe_workers": "workers",
    "read_audit": "audit",
}
"""Methods with another name than their action."""
METHODS = sorted(SHORTER.get(action, action) for action in CALLS)


def test_every_action_but_the_workers_own_has_a_call() -> None:
    assert set(CALLS) == set(requests.ACTIONS) - {"configure_worker"}


@pytest.mark.parametrize("client", [PipelineClient, AsyncPipelineClient])
@pytest.mark.parametrize("name", METHODS)
def test_method_says_what_its_call_says(client: type, name: str) -> None:
    made_by = operations if hasattr(operations, name) else jobs
    make = getattr(made_by, name)
    method = getattr(client, name)
    signature = inspect.signature(method)
    assert list(signature.parameters) == ["self", *inspect.signature(make).parameters]
    assert not re.search(r"Call\[|Plan\[", str(signature.return_annotation))
    assert method.__doc__ == make.__doc__
    assert inspect.iscoroutinefunction(method) is (client is AsyncPipelineClient)


@pytest.mark.parametrize("action", sorted(CALLS))
def test_written_is_what_the_router_reads(action: str) -> None:
    call = CALLS[action]
    request = codec.decode_request(written(call.request, 7.5))
    assert request.__struct_config__.tag == action
    if isinstance(request, requests.WorkerServed):
        assert request.timeout_s == 7.5
        assert request.id
        request = msgspec.structs.replace(request, timeout_s=msgspec.UNSET)
    assert request == call.request


def test_options_are_written() -> None:
    call = jobs.test_solution(
        *NAMES,
        files={"a.rb": "1"},
        id="run-1",
        execution_timeout=5,
        priority="background",
        on_line=print,
    )
    assert codec.decode_request(written(call.request, 1)) == requests.TestSolution(
        track_slug="ruby",
        exercise_slug="two-fer",
        container_version="v1",
        id="run-1",
        files={"a.rb": "1"},
        execution_timeout=5,
        priority=requests.Priority.BACKGROUND,
        progress=True,
        timeout_s=1,
    )


def test_made_up_ids_differ() -> None:
    first, second = (jobs.build_container(*PLACE, "master").request for _ in range(2))
    assert first != second


def test_what_would_harm_twice_is_sent_once() -> None:
    once = {action for action, call in CALLS.items() if not call.resendable}
    assert once == {"restart_workers", "drain_worker", "dismiss_worker"}


Making = Callable[[], Call[Any]]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: jobs.test_solution(*NAMES), "exactly one of `s3_uri`, `files` and `folder`"),
        (lambda: jobs.test_solution(*NAMES, files={"a": ""}, folder="x"), "exactly one of"),
        (lambda: jobs.test_solution("R", *NAMES[1:], folder="x"), "$.track_slug"),
        (lambda: jobs.test_solution(*NAMES, files={}), "$.files"),
        (lambda: jobs.test_solution(*NAMES, files={"../a": ""}), "a file's name"),
        (lambda: jobs.test_solution(*NAMES, files={"a": "\ud800"}), "not Unicode"),
        (lambda: jobs.test_solution(*NAMES, files={"a": "x" * (1 << 20)}), "s3_uri"),
        (lambda: jobs.test_solution(*NAMES, files={"a": bytearray(b"x")}), "neither text"),  # type: ignore[dict-item]
        (lambda: jobs.test_solution("Ruby", *NAMES[1:], files={"a": ""}), "$.track_slug"),
        (lambda: jobs.test_solution(*NAMES, files={"a": ""}, id="a b"), "an id"),
        (lambda: jobs.build_container("ruby", "test_runer", "master"), "did you mean"),
        (lambda: jobs.build_container(*PLACE, "--upload-pack=x"), "a git reference"),
        (lambda: operations.unload_container_version("ruby", "builders", "v1"), "no versions"),
    ],
)
def test_what_the_router_would_refuse_is_not_sent(make: Making, why: str) -> None:
    with pytest.raises(errors.RequestError) as caught:
        written(make().request, 10)
    assert caught.value.code == status.MALFORMED
    assert why in str(caught.value)
    assert not caught.value.retryable


# --- reading


def result_of(call: Call[Any], data: bytes) -> Any:
    return call.read(read(data))


CONTEXT = replies.Context(worker="worker-1", attempt=1)


@pytest.mark.parametrize(
    ("action", "response"),
    [
        ("test_solution", {"version": 3, "status": "fail"}),
        ("analyse_solution", responses.Analysis({"comments": []})),
        ("recommend_solution", responses.Recommendations([])),
        ("represent_solution", responses.Representation("def a", {})),
        ("build_container", responses.Build("built", "ruby-test-runner", "git-1", "sha256:0", "1")),
    ],
)
def test_answer_has_response_and_context(action: str, response: Any) -> None:
    data = codec.answer(response, CONTEXT)
    assert result_of(CALLS[action], data) == Answer(response, CONTEXT)


@pytest.mark.parametrize(
    ("action", "response"),
    [
        ("list_available_containers", responses.AvailableContainers("x", ("v1",))),
        ("deploy_container_version", responses.WantedVersions("test_runners", "ruby", ("v1",), 2)),
        ("unload_container_version", responses.WantedVersions("test_runners", "ruby", (), 2)),
        ("update_container_versions", responses.WantedVersions("test_runners", "ruby", (), 0)),
        (
            "deployment_check",
            responses.Deployment("test_runners", "ruby", responses.DeployState.NO_WORKERS, ()),
        ),
        ("current_config", {"revision": 1}),
        ("current_worker_status", responses.WorkerStatus({})),
        ("describe_workers", responses.Workers(())),
        ("cancel", responses.Cancelled(1)),
        ("ping", responses.Pong("0.1.0", 1.5)),
        ("restart_workers", responses.Told(("worker-1",))),
        ("drain_worker", responses.Told(())),
        ("forget_images", responses.Told(("worker-1",))),
        ("dismiss_worker", responses.Told(())),
        ("read_audit", responses.Audit(())),
    ],
)
def test_response_of_what_the_router_answers(action: str, response: Any) -> None:
    assert result_of(CALLS[action], codec.answer(response)) == response


CLASSES = {
    Blame.REQUEST: errors.RequestError,
    Blame.LIMIT: errors.LimitError,
    Blame.TOOL: errors.ToolError,
    Blame.PLATFORM: errors.PlatformError,
    Blame.CALLER: errors.CallerError,
}


@pytest.mark.parametrize("code", sorted(set(STATUSES) - {status.OK}))
def test_every_status_has_its_class_of_error(code: int) -> None:
    context = replies.Context(worker="worker-1", retry_after_s=2.0)
    with pytest.raises(CLASSES[STATUSES[code].blame]) as caught:
        result_of(CALLS["ping"], codec.refusal(code, "do this next", context))
    error = caught.value
    assert (error.code, error.error, error.context) == (code, "do this next", context)
    assert error.retryable == (code in {101, 102, 429, 503, 504, 510, 511, 512})
    assert error.retry_after_s == 2.0
    assert str(error) == f"{code} {STATUSES[code].message}: do this next"


def test_status_of_a_newer_router() -> None:
    with pytest.raises(errors.PlatformError, match="599 Unknown status: Odd") as caught:
        result_of(CALLS["ping"], b'{"status":{"code":599,"message":"Odd"}}')
    assert not caught.value.retryable
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize("data", [b"", b'{"status":{"code":200,"message":"OK"}}'])
def test_missing_reply(data: bytes) -> None:
    with pytest.raises(errors.MissingReply) as caught:
        result_of(CALLS["ping"], data)
    assert caught.value.code == 102


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"status":{"code":"200"}}',
        b'{"status":{"code":200,"message":"OK"},"response":{}}',
        b'{"status":{"code":200,"message":"OK"},"response":{"version":"\xff","uptime_s":1}}',
    ],
)
def test_malformed_reply(data: bytes) -> None:
    with pytest.raises(errors.MalformedReply) as caught:
        result_of(CALLS["ping"], data)
    assert caught.value.code == 103


def test_results_that_are_no_object() -> None:
    with pytest.raises(errors.MalformedReply) as caught:
        result_of(CALLS["test_solution"], codec.answer(["pass"], CONTEXT))
    assert caught.value.context == CONTEXT


def test_errors_can_be_pickled() -> None:
    error = errors.error_of(status.CLIENT_TIMED_OUT, "why", CONTEXT)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.ClientTimedOut
    assert (copy.code, copy.error, copy.context) == (101, "why", CONTEXT)
