"""Requests for tools, without containers: whose limits hold, which code is earned, what is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.result.report import Ending, RunReport, Usage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_protocol import status
from pipeline_protocol.settings import CeilingSettings, LimitSettings, Settings, TrackLimits
from pipeline_worker.executor import Assignment
from pipeline_worker.inputs.fetch import Inputs
from pipeline_worker.tool_jobs import ToolJobs, explain, judge
from pipeline_worker.versions.manager import VersionManager

RESULT = {"version": 1, "status": "pass"}
USED = Usage(
    wall_s=1.5,
    cpu_s=None,
    peak_memory_bytes=1000,
    oom_kills=0,
    peak_pids=3,
    stdout_bytes=2,
    stderr_bytes=0,
)


def report(
    ending: Ending = Ending.EXITED,
    exit_status: int = 0,
    outputs: dict[str, Any] | None = None,
    problem: str | None = None,
) -> RunReport:
    timing = {"prepare_s": 0.25, "fill_s": 0.25, "create_s": 0.5, "run_s": 1.5}
    return RunReport(ending, exit_status, "hi", "", outputs, problem, USED, timing, "a limit")


class FakeSandbox:
    """Gives the report that it was made with."""

    def __init__(self, given: RunReport | Exception) -> None:
        self._given = given
        self.runs: list[ToolRun] = []

    def run(self, run: ToolRun) -> RunReport:
        self.runs.append(run)
        if isinstance(self._given, Exception):
            raise self._given
        return self._given


class FakeReleases:
    """Has v1 ready; v2 is wanted as well, and no other."""

    @contextmanager
    def use(self, track: str, version: str) -> Iterator[StoredImage | None]:
        config = ImageConfig(entrypoint=("sh", "bin/run.sh"))
        image = StoredImage("sha256:1", (Path("/nowhere"),), config)
        yield image if version == "v1" else None

    def is_wanted(self, track: str, version: str) -> bool:
        return version in ("v1", "v2")


def perform(
    given: RunReport | Exception, settings: Settings | None = None, **fields: Any
) -> tuple[FakeSandbox, dict[str, Any]]:
    sandbox = FakeSandbox(given)
    jobs = ToolJobs(
        "worker-1",
        TOOLS["test_runner"],
        cast(Sandbox, sandbox),
        cast(VersionManager, FakeReleases()),
        Inputs(),
    )
    if settings is not None:
        jobs.adopt(settings, None)
    request = {
        "action": "test_solution",
        "id": "run-1",
        "track_slug": "ruby",
        "exercise_slug": "two-fer",
        "container_version": "v1",
        "files": {"a": "a"},
        **fields,
    }
    assignment = Assignment(
        msgspec.json.encode(request), 2, 0.5, 1e9, threading.Event(), lambda _: None
    )
    code, body = jobs.perform(assignment)
    reply = msgspec.json.decode(body)
    assert reply["status"]["code"] == code
    return sandbox, reply


def test_a_reply_says_how_the_run_can_be_repeated() -> None:
    _, reply = perform(report(outputs=RESULT), execution_timeout=5)
    assert reply["response"] == RESULT
    context = reply["context"]
    folder = "/mnt/exercism-iteration/"
    invocation = context["invocation"]
    assert invocation["command"] == ["sh", "/opt/test-runner/bin/run.sh", "two-fer", folder, folder]
    assert invocation["kind"] == "test_runner"
    assert invocation["image_digest"] == context["image_digest"] == "sha256:1"
    assert invocation["limits"]["wall_s"] == 5
    assert invocation["limits"].keys() >= {
        *LimitSettings.__struct_fields__,
        "shm_bytes",
        "open_files",
    }
    assert context["usage"] == {
        "wall_s": 1.5,
        "cpu_s": 0,
        "peak_memory_bytes": 1000,
        "oom_kills": 0,
        "peak_pids": 3,
        "stdout_bytes": 2,
        "stderr_bytes": 0,
    }
    assert context["timing"]["setup_s"] == 1.0
    assert (context["timing"]["queued_s"], context["timing"]["run_s"]) == (0.5, 1.5)
    assert (context["worker"], context["attempt"]) == ("worker-1", 2)


@pytest.mark.parametrize("exit_status", [0, 1])
def test_a_reply_says_where_what_was_no_text_was_replaced(exit_status: int) -> None:
    given = replace(report(outputs=RESULT, exit_status=exit_status), replaced=("stdout", "result"))
    _, reply = perform(given)
    assert reply["context"]["replaced"] == ["stdout", "result"]
    _, reply = perform(report(outputs=RESULT, exit_status=exit_status))
    assert "replaced" not in reply["context"]


@pytest.mark.parametrize("exit_status", [0, 1])
def test_a_reply_says_what_was_put_right_in_the_result(exit_status: int) -> None:
    given = replace(report(outputs=RESULT, exit_status=exit_status), warnings=("its version",))
    _, reply = perform(given)
    assert reply["context"]["warnings"] == ["its version"]
    _, reply = perform(report(outputs=RESULT, exit_status=exit_status))
    assert "warnings" not in reply["context"]


DEFAULTS = TrackLimits(LimitSettings(wall_s=20, pids=10), CeilingSettings(wall_s=30))
SLOW = TrackLimits(LimitSettings(wall_s=40), CeilingSettings(wall_s=60))


@pytest.mark.parametrize(
    ("track", "asked", "wall_s"),
    [
        ("ruby", {}, 20),
        ("ruby", {"execution_timeout": 5}, 5),
        ("ruby", {"execution_timeout": 25}, 25),
        ("ruby", {"execution_timeout": 1000}, 30),
        ("slow", {}, 40),
        ("slow", {"execution_timeout": 1000}, 60),
    ],
)
def test_time_may_be_asked_for_up_to_the_tracks_ceiling_and_nothing_else(
    track: str, asked: dict[str, Any], wall_s: float
) -> None:
    settings = Settings(defaults=DEFAULTS, tracks={"slow": SLOW})
    sandbox, _ = perform(report(outputs=RESULT), settings, track_slug=track, **asked)
    (run,) = sandbox.runs
    assert run.limits.wall_s == wall_s
    assert run.limits.pids == (10 if track == "ruby" else LimitSettings().pids)


def test_limits_that_no_container_starts_with_are_the_operators_affair() -> None:
    small = TrackLimits(LimitSettings(memory_bytes=1), CeilingSettings())
    _, reply = perform(report(outputs=RESULT), Settings(defaults=small))
    assert reply["status"]["code"] == status.SETUP_FAILED
    assert "limits of ruby: memory_bytes must be at least" in reply["status"]["error"]


def test_a_run_that_cannot_be_set_up_is_a_512() -> None:
    _, reply = perform(SandboxError("the disk is full"))
    assert reply["status"]["code"] == status.SETUP_FAILED
    assert "the disk is full" in reply["status"]["error"]


def test_a_version_that_is_not_ready_is_a_511() -> None:
    _, reply = perform(report(), container_version="v2")
    assert reply["status"]["code"] == status.NOT_READY


def test_a_version_that_was_unloaded_while_its_job_was_on_the_way_is_a_505() -> None:
    _, reply = perform(report(), container_version="v3")
    assert reply["status"]["code"] == status.UNKNOWN_VERSION
    assert "unloaded" in reply["status"]["error"]


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        (report(outputs=RESULT), status.OK, ""),
        (report(Ending.TIMED_OUT, 137, RESULT), status.OK, ""),
        (report(Ending.TIMED_OUT, 137), status.TIMED_OUT, "over the limit: a limit"),
        (report(Ending.OUTPUT_LIMIT, 137, RESULT), status.TOO_MUCH_OUTPUT, "over the limit"),
        (report(Ending.MEMORY_LIMIT, 0), status.LIMIT_EXCEEDED, "over the limit"),
        (report(Ending.PIDS_LIMIT, 1), status.LIMIT_EXCEEDED, "over the limit"),
        (report(Ending.DISK_LIMIT, 1), status.LIMIT_EXCEEDED, "over the limit"),
        (report(Ending.CANCELLED, 137, RESULT), status.CANCELLED, "cancelled"),
        (report(exit_status=3, outputs=RESULT), status.TOOL_FAILED, "with status 3: hi"),
        (report(problem="it is missing"), status.BAD_RESULT, "it is missing"),
    ],
)
def test_which_code_a_run_earns(given: RunReport, code: int, text: str) -> None:
    assert judge(given) == code
    if code != status.OK:
        assert text in explain(code, given)


def test_a_result_that_was_left_behind_is_kept_beside_the_error() -> None:
    _, reply = perform(report(exit_status=1, outputs=RESULT))
    assert reply["status"]["code"] == status.TOOL_FAILED
    assert reply["context"]["result"] == RESULT
    assert reply["context"]["logs"]["stdout"] == "hi"
