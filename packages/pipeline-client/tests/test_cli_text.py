"""What the command shows, as pure functions: from answers to lines."""

from typing import Any

import click
import pytest

from pipeline_client.cli.commands.solutions import chosen
from pipeline_client.cli.commands.versions import versions_lines
from pipeline_client.cli.views import results, rollouts, roster, scene, text
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.replies import Context, Timing
from pipeline_protocol.responses import (
    Analysis,
    AvailableContainers,
    ChannelStatus,
    Deployment,
    DeployState,
    MissingWorker,
    Pong,
    Recommendations,
    Representation,
    VersionDeployment,
    WorkerDescription,
    WorkerVersion,
)

NOWHERE = Context()
ON_WORKER_1 = Context(worker="worker-1", timing=Timing(queued_s=0.5, total_s=0.25))


def plain(lines: list[str]) -> list[str]:
    return [click.unstyle(line) for line in lines]


# --- text that strangers wrote


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        ("over\rwritten", r"over\rwritten"),
        ("dos\r\nlines", "dos\nlines"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("\ud800", r"\ud800"),
        ("tab\tand Zoë", "tab\tand Zoë"),
    ],
)
def test_nothing_that_a_terminal_obeys_gets_through(written: str, shown: str) -> None:
    assert text.clean(written) == shown


def test_a_cell_is_one_bounded_line() -> None:
    assert text.cell("a\n b\t\x1b[1mc") == "a b c"
    assert text.cell("x" * 1000) == "x" * 296 + " ..."


def test_long_lines_and_many_lines_are_capped_and_say_so() -> None:
    assert text.block("x" * 1003) == ["x" * 1000 + " ... 3 more characters; --json has all"]
    lines = text.block("\n".join("y" * 203), "  ")
    assert (len(lines), lines[-1]) == (201, "  ... 3 more lines; --json has all")


def test_a_table_is_as_wide_as_it_must_be_and_coloured_after_that() -> None:
    lines = text.table(("A", "STATE"), [("longer", ("ok", "green")), ("x\x1b[2J", "bad")])
    assert plain(lines) == ["A         STATE", "longer    ok", r"x\x1b[2J  bad"]
    assert "\x1b[32mok" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.314, "0.31 s"),
        (59, "59 s"),
        (125, "2 min 5 s"),
        (10_920, "3 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    assert text.span(seconds) == said


# --- what tools say

RESULTS: dict[str, Any] = {
    "version": 3,
    "status": "fail",
    "message": None,
    "tests": [
        {"name": "Nobody", "status": "pass", "output": "hidden: it passed"},
        {"name": "A friend", "status": "fail", "message": "Expected: Ada\n  Actual: you"},
        {"name": "Nil", "status": "error", "message": "who?", "output": "said\n"},
    ],
}


def test_failing_tests_say_why_and_passing_ones_are_short() -> None:
    assert plain(results.test_lines(RESULTS, ON_WORKER_1)) == [
        "pass   Nobody",
        "fail   A friend",
        "         Expected: Ada",
        "           Actual: you",
        "error  Nil",
        "         who?",
        "       output:",
        "         said",
        "",
        "fail: 1 passed, 1 failed, 1 with an error, of 3 tests"
        " in 0.25 s after 0.50 s in the queue, on worker-1",
    ]


def test_a_solution_that_could_not_be_tested_says_why() -> None:
    broken = {"status": "error", "message": "syntax error, line 3", "tests": []}
    lines = plain(results.test_lines(broken, NOWHERE))
    assert lines == ["syntax error, line 3", "", "error"]


def test_what_was_put_right_in_a_result_is_said_to_people() -> None:
    context = Context(warnings=("its version is text", "tests/one:\n-a\n+\x1b[2Jb"))
    assert results.warning_lines(context) == [
        "warning: its version is text",
        "warning: tests/one:",
        "-a",
        "+\\x1b[2Jb",
    ]
    assert results.warning_lines(Context()) == []


def test_results_that_are_none_are_shown_as_they_are() -> None:
    lines = plain(results.test_lines({"token": "x"}, NOWHERE))
    assert lines == ["{", '  "token": "x"', "}", "", "no status"]


@pytest.mark.parametrize("status", ["fail", "error", None, "Pass", ["pass"]])
def test_only_a_pass_is_a_pass(status: object) -> None:
    assert not results.tests_passed({"status": status})
    assert results.tests_passed({"status": "pass"})


@pytest.mark.parametrize("odd", [None, 5, "text", {}, [None], [5], [{"status": {}, "name": []}]])
def test_odd_results_of_a_tool_break_nothing(odd: object) -> None:
    assert results.test_lines({"status": odd, "tests": odd, "message": odd}, NOWHERE)
    assert results.analysis_lines(Analysis({"summary": odd, "comments": odd}, tags=odd), NOWHERE)


def test_an_analysis_is_its_summary_and_its_comments() -> None:
    comments = [
        {"comment": "ruby.general.x", "type": "essential", "params": {"name": "y"}},
        "ruby.two-fer.z",
    ]
    analysis = Analysis({"summary": "Nearly.", "comments": comments}, tags={"tags": ["a", "b"]})
    assert plain(results.analysis_lines(analysis, ON_WORKER_1))[:5] == [
        "Nearly.",
        "essential    ruby.general.x",
        "             name: y",
        "informative  ruby.two-fer.z",
        "tags: a, b",
    ]


def test_recommendations_and_representations_are_shown_whole() -> None:
    found = results.recommendation_lines(Recommendations(["use map"]), NOWHERE)
    assert '  "use map"' in found
    represented = Representation("def PLACEHOLDER_0", {"PLACEHOLDER_0": "two_fer"})
    assert results.representation_lines(represented, NOWHERE) == [
        "def PLACEHOLDER_0",
        "",
        "PLACEHOLDER_0 = two_fer",
        "",
        "1 placeholder",
    ]


# --- which version


def deployment(**states: DeployState) -> Deployment:
    versions = tuple(VersionDeployment(name, state, None, ()) for name, state in states.items())
    return Deployment("test_runners", "ruby", DeployState.PREPARING, versions)


def test_the_only_version_is_taken_ready_or_not() -> None:
    assert chosen(deployment(v1=DeployState.PREPARING)) == ("v1", "the only one deployed")


def test_of_several_the_newest_that_is_ready_is_taken() -> None:
    states = {
        "v1": DeployState.DEPLOYED,
        "v2": DeployState.PARTLY,
        "v3": DeployState.PREPARING,
        "v4": DeployState.FAILED,
    }
    assert chosen(deployment(**states)) == ("v2", "the newest that is ready, of 4 deployed")


def test_if_none_is_ready_the_newest_is_waited_for() -> None:
    states = {"v1": DeployState.FAILED, "v2": DeployState.PREPARING}
    assert chosen(deployment(**states)) == ("v2", "the newest of 2 deployed, none is ready")


def test_without_a_version_it_is_said_how_to_deploy_one() -> None:
    with pytest.raises(PipelineError, match="pipeline deploy ruby test_runners VERSION") as raised:
        chosen(deployment())
    assert raised.value.code == 505


# --- how far workers are


def stage(*workers: WorkerVersion) -> Deployment:
    version = VersionDeployment("v1", DeployState.PREPARING, None, workers)
    return Deployment("test_runners", "ruby", DeployState.PREPARING, (version,))


def test_news_is_what_changed() -> None:
    first = stage(WorkerVersion("w1", "preparing"), WorkerVersion("w2", "ready"))
    pulling = WorkerVersion("w1", "preparing", 40, phase="pulling")
    second = stage(pulling, WorkerVersion("w3", "failed", 0, "no image", "queued"))
    assert rollouts.news(None, first, "v1") == ["w1: preparing", "w2: ready"]
    assert rollouts.news(first, second, "v1") == [
        "w1: preparing (pulling 40 %)",
        "w3: failed: no image (tried again, queued)",
        "w2: gone",
    ]
    assert rollouts.news(second, second, "v1") == []
    assert rollouts.news(None, first, "another") == []


def test_the_outlook_counts_workers() -> None:
    seen = stage(WorkerVersion("w1", "preparing"), WorkerVersion("w2", "ready"))
    assert rollouts.outlook(seen, "v1") == "v1 of ruby on test_runners: ready on 1 of 2 workers"
    assert "first worker that comes" in rollouts.outlook(stage(), "v1")
    assert rollouts.outlook(seen, "v2") == "v2 of ruby on test_runners is not wanted"


def worker(
    identity: str = "w1", *versions: VersionState, topics: tuple[str, ...] = (), **fields: Any
) -> WorkerDescription:
    known: dict[str, Any] = {"slots": 2, "running": 1, "draining": False, "silent_s": 0.1}
    known |= {"load": 0.0, "versions": versions, **fields}
    return WorkerDescription(identity, "test_runners", topics, **known)


WANTED: roster.Wanted = {"test_runners": {"ruby": {"v1": None, "v2": None}, "bash": {"b": None}}}
READY = VersionState("ruby", "v1", Readiness.READY)
FAILED = VersionState("ruby", "v2", Readiness.FAILED, reason="no image")
OLD = VersionState("ruby", "v0", Readiness.READY)


def test_a_worker_is_shown_beside_what_is_wanted_of_it() -> None:
    scoped = worker("w1", READY, FAILED, OLD, topics=("ruby",))
    assert plain(roster.roster_lines([scoped, worker("w2")], WANTED)) == [
        "IDENTITY  CHANNEL       TRACKS  RUNNING  DEPLOYED  STATE",
        "w1        test_runners  ruby    1/2      1/2       failed to prepare",
        "w2        test_runners  all     1/2      0/3       preparing",
        "w1: ruby v2 failed: no image",
        "w1: ruby v0 ready, wanted no longer",
        "w2: ruby v1 preparing",
        "w2: ruby v2 preparing",
        "w2: bash b preparing",
    ]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "ready"),
        ({"draining": True}, "draining"),
        ({"silent_s": 2.5}, "silent for 2.50 s"),
        ({"trouble": "the disk is\nfull"}, "trouble: the disk is full"),
    ],
)
def test_a_workers_state_is_the_worst_that_is_known(fields: dict[str, Any], state: str) -> None:
    seen = worker("w1", READY, topics=("ruby",), **fields)
    wanted: roster.Wanted = {"test_runners": {"ruby": {"v1": None}}}
    assert roster.state_of(seen, roster.held(seen, wanted))[0] == state


def test_nobody_there_says_how_to_start_a_worker() -> None:
    assert "pipeline-worker listen" in roster.roster_lines([], WANTED)[0]


def test_deployments_count_the_workers_that_serve_the_track() -> None:
    workers = [worker("w1", READY), worker("w2", READY, draining=True), worker("w3")]
    found = list(roster.deployed(workers, WANTED))
    assert found[0] == ("test_runners", "ruby", "v1", 1, 2)
    assert found[2] == ("test_runners", "bash", "b", 0, 2)


def test_versions_say_what_the_registry_has_beside_what_is_wanted() -> None:
    ready = WorkerVersion("w1", "ready")
    failed = WorkerVersion("w2", "failed", 0, "no space")
    wanted = VersionDeployment("v1", DeployState.PARTLY, None, (ready, failed))
    seen = Deployment("test_runners", "ruby", DeployState.PARTLY, (wanted,))
    available = AvailableContainers("ruby-test-runner", ("v1", "v2"))
    assert plain(versions_lines([(seen, available)])) == [
        "CHANNEL       VERSION  REGISTRY  WANTED  READY  STATE",
        "test_runners  v1       yes       yes     1/2    partly deployed",
        "test_runners  v2       yes       no      -      -",
        "w2: v1 failed: no space",
    ]
    unknown = plain(
        versions_lines([(seen, error_of(503, "no builder")), (seen, error_of(503, "no builder"))])
    )
    assert unknown.count("the registry's are not known: 503 No worker available: no builder") == 1
    assert "?" in unknown[1]


# --- watching

PONG = Pong("0.1.0", 5.0)
CHANNELS = {"test_runners": ChannelStatus(1, 2, 1, 3)}


def look(*workers: WorkerDescription, wanted: roster.Wanted | None = None) -> scene.Scene:
    return scene.Scene("tcp://r:1", PONG, CHANNELS, workers, wanted=wanted or {})


def told(before: scene.Facts, now: scene.Facts) -> list[str]:
    return [str(change) for change in scene.changes(before, now)]


def test_the_first_look_tells_all_and_the_same_again_nothing() -> None:
    wanted: roster.Wanted = {"test_runners": {"ruby": {"v1": None}}}
    first = scene.facts(look(worker("w1", READY), wanted=wanted), {})
    assert told({}, first) == [
        "router 0.1.0 answers",
        "w1 of test_runners: ready",
        "w1: ruby v1 ready",
        "ruby v1 on test_runners: ready on 1 of 1",
    ]
    assert told(first, scene.facts(look(worker("w1", READY), wanted=wanted), first)) == []


def test_what_goes_is_told_too() -> None:
    wanted: roster.Wanted = {"test_runners": {"ruby": {"v1": None}}}
    first = scene.facts(look(worker("w1", READY), worker("w2", READY), wanted=wanted), {})
    assert told(first, scene.facts(look(worker("w1")), first)) == [
        "w1: ruby v1 removed",
        "w2 of test_runners: gone",
        "ruby v1 on test_runners: wanted no longer",
    ]


def test_a_router_that_is_silent_takes_nobody_with_it() -> None:
    first = scene.facts(look(worker("w1")), {})
    silent = scene.facts(scene.Scene("tcp://r:1", trouble="no answer"), first)
    assert told(first, silent) == ["router does not answer: no answer"]
    assert told(silent, scene.facts(look(worker("w1")), silent)) == ["router 0.1.0 answers"]


def test_how_long_a_worker_is_silent_is_told_once() -> None:
    first = scene.facts(look(worker("w1", silent_s=2.2)), {})
    assert "w1 of test_runners: silent" in told({}, first)
    assert told(first, scene.facts(look(worker("w1", silent_s=2.9)), first)) == []


def test_a_change_is_json_with_its_kind_and_its_time() -> None:
    (change, *_) = scene.changes({}, scene.facts(look(), {}))
    data = scene.change_data(change, "2026-01-01T00:00:00.000+00:00")
    assert data == {
        "at": "2026-01-01T00:00:00.000+00:00",
        "change": "router",
        "state": "up",
        "version": "0.1.0",
    }


def test_the_screen_shows_all_of_it_or_since_when_nothing_is_known() -> None:
    seen = look(worker("w1"), wanted=WANTED)
    lines = plain(scene.screen(seen, seen, 0.0, "12:00:00"))
    assert lines[0] == "router 0.1.0 at tcp://r:1, up for 5.00 s"
    assert any(line.split() == ["test_runners", "1", "0", "2", "1", "3"] for line in lines)
    silent = scene.Scene("tcp://r:1", trouble="101")
    lines = plain(scene.screen(silent, seen, 65, "12:00:00"))
    assert lines[0] == ("the router at tcp://r:1 does not answer since 12:00:00 (1 min 5 s)")
    assert any("w1" in line for line in lines)
    assert len(scene.screen(silent, None, 1, "12:00:00")) == 2


# --- who is missing

LOST = MissingWorker("worker-2", "test_runners", ("ruby",), 2, 125.0, "its connection\x1b[31m")


def test_a_missing_worker_is_in_the_table_since_when_and_why() -> None:
    (line,) = [line for line in plain(roster.roster_lines((), {}, [LOST])) if "worker-2" in line]
    assert "ruby" in line
    assert "-/2" in line
    assert f"missing for {text.span(125.0)}: its connection" in line
    assert "\x1b" not in line


def test_slots_that_cannot_serve_are_shown_apart() -> None:
    channels = {"test_runners": ChannelStatus(2, 4, 1, 0, unready_slots=3, missing=1)}
    header, line = plain(roster.channel_lines(channels))
    assert header.split() == ["CHANNEL", "WORKERS", "MISSING", "SLOTS", "RUNNING", "WAITING"]
    assert line.split() == ["test_runners", "2", "1", "1", "of", "4", "1", "0"]


def test_a_worker_that_is_lost_is_no_longer_there_but_missing() -> None:
    there = scene.facts(look(worker("worker-2")), {})
    lost = scene.Scene("tcp://r:1", PONG, CHANNELS, (), (LOST,))
    assert told(there, scene.facts(lost, there)) == ["worker-2 of test_runners: missing"]
