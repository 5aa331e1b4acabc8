"""What can be asked, each as a `Call`: how its request is written and how its reply is read.

No socket and no clock: `sync` carries calls out. Times are in seconds. What the router would
refuse as malformed is refused here, before it is sent, by the same code and words.
"""

# ruff: noqa: A002 - the wire calls it `id`

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct

from pipeline_client.errors import error_of
from pipeline_protocol import codec, requests, responses, status
from pipeline_protocol.codec import BadMessage, BadRequest
from pipeline_protocol.replies import Context, Reply

T = TypeVar("T")

OnLine = Callable[[str], object]
"""Called with each line of output on the way, in the thread that made the call."""


class Answer(Struct, Generic[T], frozen=True):
    """What a tool or a builder made, and what surrounded it."""

    response: T
    context: Context
    """Worker, timing, usage, logs: what does not apply is UNSET, which is false."""


class Call(Struct, Generic[T], frozen=True):
    """One request, and what its reply is to become."""

    request: requests.Request
    read: Callable[[Reply], T]
    timeout_s: float | None
    """Until when the answer must be there; None: the client's default, else the action's."""
    on_line: OnLine | None = None
    resendable: bool = True
    """Whether it does no more harm twice than once: see `restart_workers`."""


class SolutionOptions(TypedDict, total=False):
    """What may be said of every run of a tool over a solution."""

    s3_uri: str | None
    """Where the solution lies: ``s3://bucket/prefix/``. Either this or `files`."""
    files: Mapping[str, str] | None
    """A small solution itself: file name to text, less than 1 MiB in all."""
    id: str | None
    """What the run is called, to `cancel` it or to meet its answer again; else made up."""
    execution_timeout: float | None
    """The tool's own limit, up to the track's ceiling."""
    priority: Literal["interactive", "background"]
    """Background work waits until there is no interactive work."""
    timeout_s: float | None
    on_line: OnLine | None


# --- served by workers


def test_solution(
    track_slug: str,
    exercise_slug: str,
    container_version: str,
    **options: Unpack[SolutionOptions],
) -> Call[Answer[dict[str, Any]]]:
    """Run a track's test runner over a solution: the object of its ``results.json``.

    Tests that fail are an answer, not an error. Options: see `SolutionOptions`.
    """
    names = (track_slug, exercise_slug, container_version)
    return _solution(requests.TestSolution, dict[str, Any], names, **options)


def analyse_solution(
    track_slug: str,
    exercise_slug: str,
    container_version: str,
    **options: Unpack[SolutionOptions],
) -> Call[Answer[responses.Analysis]]:
    """Run a track's static analyser over a solution. Options: see `SolutionOptions`."""
    names = (track_slug, exercise_slug, container_version)
    return _solution(requests.AnalyseSolution, responses.Analysis, names, **options)


def recommend_solution(
    track_slug: str,
    exercise_slug: str,
    container_version: str,
    **options: Unpack[SolutionOptions],
) -> Call[Answer[responses.Recommendations]]:
    """Run a track's recommender over a solution. Options: see `SolutionOptions`."""
    names = (track_slug, exercise_slug, container_version)
    return _solution(requests.RecommendSolution, responses.Recommendations, names, **options)


def represent_solution(
    track_slug: str,
    exercise_slug: str,
    container_version: str,
    **options: Unpack[SolutionOptions],
) -> Call[Answer[responses.Representation]]:
    """Run a track's representer over a solution. Options: see `SolutionOptions`."""
    names = (track_slug, exercise_slug, container_version)
    return _solution(requests.RepresentSolution, responses.Representation, names, **options)


def _solution(
    kind: type[requests.SolutionRequest],
    response: type[T],
    names: tuple[str, str, str],
    *,
    s3_uri: str | None = None,
    files: Mapping[str, str] | None = None,
    id: str | None = None,
    execution_timeout: float | None = None,
    priority: Literal["interactive", "background"] = "interactive",
    timeout_s: float | None = None,
    on_line: OnLine | None = None,
) -> Call[Answer[T]]:
    track_slug, exercise_slug, container_version = names
    request = _made(
        kind,
        id=id or _new_id(),
        track_slug=track_slug,
        exercise_slug=exercise_slug,
        container_version=container_version,
        s3_uri=UNSET if s3_uri is None else s3_uri,
        files=UNSET if files is None else dict(files),
        execution_timeout=UNSET if execution_timeout is None else execution_timeout,
        priority=priority,
        progress=on_line is not None,
    )
    return Call(request, _answer(response), timeout_s, on_line)


def build_container(
    track_slug: str,
    channel: str,
    git_reference: str,
    *,
    on_line: OnLine | None = None,
    id: str | None = None,
    timeout_s: float | None = None,
) -> Call[Answer[responses.Build]]:
    """Build a tool's image from a branch, a tag or a full SHA, and publish it."""
    request = _made(
        requests.BuildContainer,
        id=id or _new_id(),
        track_slug=track_slug,
        channel=channel,
        git_reference=git_reference,
        progress=on_line is not None,
    )
    return Call(request, _answer(responses.Build), timeout_s, on_line)


def list_available_containers(
    track_slug: str, channel: str, *, timeout_s: float | None = None
) -> Call[responses.AvailableContainers]:
    """List the versions of a tool that its registry has."""
    request = _made(
        requests.ListAvailableContainers, id=_new_id(), track_slug=track_slug, channel=channel
    )
    return Call(request, _response(responses.AvailableContainers), timeout_s)


# --- served by the router


def deploy_container_version(
    track_slug: str, channel: str, new_version: str, *, timeout_s: float | None = None
) -> Call[responses.WantedVersions]:
    """Have every worker that serves the track prepare a version, and go on having it."""
    request = _made(
        requests.DeployContainerVersion,
        track_slug=track_slug,
        channel=channel,
        new_version=new_version,
    )
    return Call(request, _response(responses.WantedVersions), timeout_s)


def unload_container_version(
    track_slug: str, channel: str, version: str, *, timeout_s: float | None = None
) -> Call[responses.WantedVersions]:
    """Want a version no longer."""
    request = _made(
        requests.UnloadContainerVersion, track_slug=track_slug, channel=channel, version=version
    )
    return Call(request, _response(responses.WantedVersions), timeout_s)


def update_container_versions(
    track_slug: str, channel: str, versions: Iterable[str], *, timeout_s: float | None = None
) -> Call[responses.WantedVersions]:
    """Want exactly these versions of a track."""
    request = _made(
        requests.UpdateContainerVersions,
        track_slug=track_slug,
        channel=channel,
        versions=tuple(versions),
    )
    return Call(request, _response(responses.WantedVersions), timeout_s)


def deployment_check(
    track_slug: str, channel: str, *, timeout_s: float | None = None
) -> Call[responses.Deployment]:
    """Ask which versions are wanted, and how far each worker is with them."""
    request = _made(requests.DeploymentCheck, track_slug=track_slug, channel=channel)
    return Call(request, _response(responses.Deployment), timeout_s)


def current_config(*, timeout_s: float | None = None) -> Call[dict[str, Any]]:
    """Ask for the configuration in force, as its file would have it."""
    return Call(requests.CurrentConfig(), _response(dict[str, Any]), timeout_s)


def current_worker_status(*, timeout_s: float | None = None) -> Call[responses.WorkerStatus]:
    """Ask how many workers, slots and waiting jobs each channel has."""
    return Call(requests.CurrentWorkerStatus(), _response(responses.WorkerStatus), timeout_s)


def describe_workers(*, timeout_s: float | None = None) -> Call[responses.Workers]:
    """Ask for every worker, one by one."""
    return Call(requests.DescribeWorkers(), _response(responses.Workers), timeout_s)


def cancel(
    id: str, of_action: str | None = None, *, timeout_s: float | None = None
) -> Call[responses.Cancelled]:
    """Take a request back; `of_action` where one id is under way under several actions."""
    request = _made(requests.Cancel, id=id, of_action=UNSET if of_action is None else of_action)
    return Call(request, _response(responses.Cancelled), timeout_s)


def ping(*, timeout_s: float | None = None) -> Call[responses.Pong]:
    """Ask whether the router is there, which version it is and since when."""
    return Call(requests.Ping(), _response(responses.Pong), timeout_s)


def restart_workers(*, timeout_s: float | None = None) -> Call[responses.Told]:
    """Have every worker bootstrap again.

    Sent once only: the same words a few seconds later would restart them a second time.
    """
    read = _response(responses.Told)
    return Call(requests.RestartWorkers(), read, timeout_s, resendable=False)


def drain_worker(identity: str, *, timeout_s: float | None = None) -> Call[responses.Told]:
    """Have a worker finish what it runs and leave.

    Sent once only: by the second time, another may have come under the same name.
    """
    request = _made(requests.DrainWorker, identity=identity)
    return Call(request, _response(responses.Told), timeout_s, resendable=False)


# --- writing


def _new_id() -> str:
    return uuid4().hex


R = TypeVar("R", bound=requests.Request)


def _made(kind: Callable[..., R], **fields: object) -> R:
    try:
        return kind(**fields)
    except ValueError as error:
        raise error_of(status.MALFORMED, str(error)) from None


def written(call: Call[T], timeout_s: float) -> bytes:
    """Return the request's bytes; RequestError if the router would refuse them."""
    request = call.request
    if isinstance(request, requests.WorkerServed):
        request = msgspec.structs.replace(request, timeout_s=timeout_s)
    try:
        data = codec.encode_json(request)
        if codec.decode_request(data) != request:  # bytes, say, would have gone as base64
            raise error_of(status.MALFORMED, "the request holds what is neither text nor number")
    except BadRequest as error:
        raise error_of(error.code, str(error)) from None
    except UnicodeEncodeError:
        raise error_of(status.MALFORMED, "the request holds text that is not Unicode") from None
    if len(data) > codec.MAX_REQUEST_BYTES:
        why = f"the request has {len(data)} bytes of at most {codec.MAX_REQUEST_BYTES}"
        raise error_of(status.MALFORMED, f"{why}: upload the files, and give their s3_uri")
    return data


# --- reading


def read(call: Call[T], data: bytes) -> T:
    """Turn the bytes of a final reply into the call's result, or raise their PipelineError."""
    if not data:
        raise error_of(status.MISSING_REPLY, "the router's answer is empty")
    try:
        reply = codec.decode_reply(data)
    except BadMessage as error:
        raise error_of(status.MALFORMED_REPLY, f"{error}; is this a pipeline router?") from None
    if reply.status.code != status.OK:
        why = reply.status.error or reply.status.message
        raise error_of(reply.status.code, why, reply.context)
    return call.read(reply)


def _response(kind: type[T]) -> Callable[[Reply], T]:
    def read_response(reply: Reply) -> T:
        if reply.response is UNSET:
            raise error_of(status.MISSING_REPLY, "200, but no `response`", reply.context)
        try:
            return msgspec.json.decode(reply.response, type=kind)
        except (ValueError, RecursionError) as error:
            why = f"the response is not as it should be: {error}"
            raise error_of(status.MALFORMED_REPLY, why, reply.context) from None

    return read_response


def _answer(kind: type[T]) -> Callable[[Reply], Answer[T]]:
    read_response = _response(kind)
    return lambda reply: Answer(read_response(reply), reply.context)
