"""What workers do: runs of tools over solutions, builds, a look into a registry.

Times are in seconds.
"""

# ruff: noqa: A002 - the wire calls it `id`

import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from msgspec import UNSET

from pipeline_client._plans.call import Answer, Call, OnLeftOut, answer_of, made, response_of
from pipeline_client._plans.steps import OnLine
from pipeline_client.errors import error_of
from pipeline_protocol import requests, responses, status

T = TypeVar("T")

_YET_TO_COME = "s3://folder/yet/to/come/"
"""In a request whose folder has not been read: all else of it can be judged before that."""


class SolutionOptions(TypedDict, total=False):
    """What may be said of every run of a tool over a solution."""

    s3_uri: str | None
    """Where the solution lies: ``s3://bucket/prefix/``. Either this, or `files`, or `folder`."""
    files: Mapping[str, str | bytes] | None
    """A small solution itself: file name to text or bytes, less than 1 MiB in all as JSON."""
    folder: str | os.PathLike[str] | None
    """Where it lies on this machine: sent along if it is that small, uploaded else.

    What no tool wants is left out: the history of git, ``__pycache__``, ``node_modules``, editors'
    files. Links are not followed, they are refused. See `upload_to` of the client.
    """
    on_left_out: OnLeftOut | None
    """Told the names of what is left out of the folder, if there is any."""
    id: str | None
    """What the run is called, to `cancel` it or to meet its answer again; else made up."""
    execution_timeout: float | None
    """The tool's own limit, up to the track's ceiling."""
    priority: Literal["interactive", "background"]
    """Background work waits until there is no interactive work."""
    timeout_s: float | None
    on_line: OnLine | None


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
    files: Mapping[str, str | bytes] | None = None,
    folder: str | os.PathLike[str] | None = None,
    on_left_out: OnLeftOut | None = None,
    id: str | None = None,
    execution_timeout: float | None = None,
    priority: Literal["interactive", "background"] = "interactive",
    timeout_s: float | None = None,
    on_line: OnLine | None = None,
) -> Call[Answer[T]]:
    if [s3_uri, files, folder].count(None) != 2:
        why = "exactly one of `s3_uri`, `files` and `folder` is needed"
        raise error_of(status.MALFORMED, why)
    if folder is not None:
        s3_uri = _YET_TO_COME
    track_slug, exercise_slug, container_version = names
    request = made(
        kind,
        id=id or _new_id(),
        track_slug=track_slug,
        exercise_slug=exercise_slug,
        container_version=container_version,
        s3_uri=UNSET if s3_uri is None else s3_uri,
        files=UNSET if files is None else {name: _content(it) for name, it in files.items()},
        execution_timeout=UNSET if execution_timeout is None else execution_timeout,
        priority=priority,
        progress=on_line is not None,
    )
    read = answer_of(response)
    return Call(request, read, timeout_s, on_line, folder=folder, on_left_out=on_left_out)


def _content(content: str | bytes) -> requests.FileContent:
    return requests.BinaryFile(content) if isinstance(content, bytes) else content


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
    request = made(
        requests.BuildContainer,
        id=id or _new_id(),
        track_slug=track_slug,
        channel=channel,
        git_reference=git_reference,
        progress=on_line is not None,
    )
    return Call(request, answer_of(responses.Build), timeout_s, on_line)


def list_available_containers(
    track_slug: str,
    channel: str,
    *,
    version: str | None = None,
    timeout_s: float | None = None,
) -> Call[responses.AvailableContainers]:
    """List the versions of a tool that its registry has; or look at one, and say its digest."""
    request = made(
        requests.ListAvailableContainers,
        id=_new_id(),
        track_slug=track_slug,
        channel=channel,
        version=UNSET if version is None else version,
    )
    return Call(request, response_of(responses.AvailableContainers), timeout_s)


def _new_id() -> str:
    return os.urandom(16).hex()
