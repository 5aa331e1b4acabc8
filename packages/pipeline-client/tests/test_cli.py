"""The command's answers, errors and exit statuses, beside a router that says what it is told to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from pipeline_client.cli.root import COMMANDS, root
from pipeline_client.testing import FakeRouter
from pipeline_protocol import requests, responses
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.replies import Context, Logs
from pipeline_protocol.responses import DeployState, VersionDeployment, WorkerVersion

NOBODY = "tcp://127.0.0.1:1"
PLACE = ("ruby", "test_runners")
SHA = "a" * 40
BUILD = responses.Build("built", "ruby-test-runner", f"git-{SHA}", f"sha256:{'b' * 64}", SHA)
WORKER = responses.WorkerDescription(
    "worker-1",
    "test_runners",
    ("ruby",),
    slots=2,
    running=1,
    draining=False,
    silent_s=0.1,
    load=0.5,
    versions=(VersionState("ruby", "v1", Readiness.READY),),
)
STATUS = responses.WorkerStatus({"test_runners": responses.ChannelStatus(1, 2, 1, 0)})
WANTED = responses.WantedVersions("test_runners", "ruby", ("v1",), 1)


def deployment(*versions: str, state: DeployState = DeployState.DEPLOYED) -> responses.Deployment:
    words = {DeployState.DEPLOYED: "ready", DeployState.PREPARING: "preparing"}
    word = words.get(state, "failed")
    reason = "no \x1b[2Jspace" if word == "failed" else ""
    workers = (WorkerVersion("worker-1", word, reason=reason),)
    found = tuple(VersionDeployment(version, state, None, workers) for version in versions)
    return responses.Deployment("test_runners", "ruby", state, found)


RAN = Context(worker="worker-1")
CHANGE = responses.AuditEntry(
    at="2026-12-01T05:00:00.000+00:00",
    principal="olga\x1b[2J",
    action="deploy_container_version",
    subject={"channel": "test_runners", "track_slug": "ruby"},
    before=("v1",),
    after=("v1", "v2"),
    outcome="done",
)
ANSWERS: dict[str, tuple[Any, Context | None, tuple[str, ...]]] = {
    "test_solution": (
        {"version": 2, "status": "pass", "tests": [{"name": "It", "status": "pass"}]},
        RAN,
        (),
    ),
    "analyse_solution": ({"analysis": {"summary": "Well done.", "comments": []}}, RAN, ()),
    "recommend_solution": ({"recommendations": ["more"]}, RAN, ()),
    "represent_solution": ({"representation": "x", "mapping": {"x": "y"}}, RAN, ()),
    "build_container": (BUILD, None, ("==> building", "a\x1b[2Jb")),
    "deployment_check": (deployment("v1"), None, ()),
    "deploy_container_version": (WANTED, None, ()),
    "unload_container_version": (WANTED, None, ()),
    "list_available_containers": (
        responses.AvailableContainers("ruby-test-runner", ("v1", "v2")),
        None,
        (),
    ),
    "describe_workers": (responses.Workers((WORKER,)), None, ()),
    "current_worker_status": (STATUS, None, ()),
    "current_config": ({"versions": {"test_runners": {"ruby": {"v1": None}}}}, None, ()),
    "drain_worker": (responses.Told(("worker-1",)), None, ()),
    "dismiss_worker": (responses.Told(("worker-1",)), None, ()),
    "restart_workers": (responses.Told(("worker-1", "worker-2")), None, ()),
    "forget_images": (responses.Told(("worker-1",)), None, ()),
    "cancel": (responses.Cancelled(1), None, ()),
    "read_audit": (responses.Audit((CHANGE,)), None, ()),
}
"""Action to response, context and lines on the way."""


def router_without(*actions: str) -> FakeRouter:
    """Make a router with one worker, one version, and an answer to all but these."""
    fake = FakeRouter()
    for action, (response, context, lines) in ANSWERS.items():
        if action not in actions:
            fake.returning(action, response, context=context, lines=lines)
    return fake


@pytest.fixture
def router() -> Iterator[FakeRouter]:
    with router_without() as fake:
        yield fake


@pytest.fixture
def solution(tmp_path: Path) -> str:
    (tmp_path / "two_fer.rb").write_text("nothing\n")
    return str(tmp_path)


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(root, arguments, prog_name="pipeline", env=env)


ARGUMENTS: dict[str, tuple[str, ...]] = {
    "test": ("ruby", "two-fer", "SOLUTION"),
    "analyse": ("ruby", "two-fer", "SOLUTION", "--version", "v1"),
    "recommend": ("ruby", "two-fer", "SOLUTION", "--version", "v1"),
    "represent": ("ruby", "two-fer", "SOLUTION", "--version", "v1"),
    "build": (*PLACE, "main"),
    "deploy": (*PLACE, "v1"),
    "unload": (*PLACE, "v2"),
    "versions": PLACE,
    "workers": (),
    "status": (),
    "drain": ("worker-1",),
    "dismiss": ("worker-1",),
    "restart": (),
    "forget-images": ("worker-1",),
    "cancel": ("run-1",),
    "audit": ("--last", "5"),
    "ping": (),
}
"""Of every command that asks the router once and ends."""
TEXTS = {
    "test": "pass: 1 passed, of 1 test, on worker-1",
    "analyse": "Well done.",
    "recommend": '"more"',
    "represent": "x = y",
    "build": f"pipeline deploy ruby test_runners git-{SHA}",
    "deploy": "v1 of ruby on test_runners: ready on 1 of 1 worker in",
    "unload": "wanted of ruby on test_runners from now on: v1",
    "versions": "test_runners  v2       yes       no      -      -",
    "workers": "worker-1  test_runners  ruby    1/2      1/1       ready",
    "status": "test_runners  1        0        2      1        0",
    "drain": "worker-1 finishes what it runs, then leaves",
    "forget-images": "1 worker told to forget images that are not wanted: worker-1",
    "dismiss": "worker-1 is missed no longer",
    "restart": "2 workers told to bootstrap again: worker-1, worker-2",
    "cancel": "1 request cancelled",
    "audit": "test_runners ruby",
    "ping": "answered in",
}
KEYS = {
    "test": {"response", "context"},
    "analyse": {"response", "context"},
    "recommend": {"response", "context"},
    "represent": {"response", "context"},
    "build": {"response", "context"},
    "deploy": {"channel", "track_slug", "state", "versions"},
    "unload": {"channel", "track_slug", "versions", "workers"},
    "versions": {"track_slug", "channels"},
    "workers": {"workers", "missing"},
    "status": {"router", "channels", "clients", "turned_away"},
    "drain": {"workers"},
    "dismiss": {"workers"},
    "restart": {"workers"},
    "forget-images": {"workers"},
    "cancel": {"cancelled"},
    "audit": {"entries"},
    "ping": {"version", "uptime_s", "round_trips_s"},
}
FIRST_ACTION = {
    **{name: f"{name}_solution" for name in ("test", "analyse", "recommend", "represent")},
    "build": "build_container",
    "deploy": "deploy_container_version",
    "unload": "unload_container_version",
    "versions": "deployment_check",
    "workers": "describe_workers",
    "status": "current_worker_status",
    "drain": "drain_worker",
    "dismiss": "dismiss_worker",
    "restart": "restart_workers",
    "forget-images": "forget_images",
    "cancel": "cancel",
    "audit": "read_audit",
    "ping": "ping",
}
every_command = pytest.mark.parametrize("command", list(ARGUMENTS))


def arguments(command: str, solution: str) -> list[str]:
    return [command, *(solution if word == "SOLUTION" else word for word in ARGUMENTS[command])]


def test_these_are_all_commands() -> None:
    of_their_own = {"watch", "completion", "batch", "compare"}  # which other files test
    assert {*ARGUMENTS, *of_their_own} == set(COMMANDS)
    assert all(table.keys() == ARGUMENTS.keys() for table in (TEXTS, KEYS, FIRST_ACTION))


# --- help


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: pipeline {command} ")
    if command != "completion":
        words = " ".join(result.stdout.split())
        for said in ("env var: PIPELINE_ADDRESS", "PIPELINE_TIMEOUT", "--json", "4 the job failed"):
            assert said in words


def test_the_help_lists_every_command_and_every_exit_status() -> None:
    shown = call("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in shown
    for status in ("0    done", "1    an error", "2    a wrong", "3    the router", "4    the job"):
        assert status in shown
    assert "5    of `status`" in shown
    assert "..." not in shown.split("Examples:")[0].split("Commands:")[1]


def test_the_document_names_every_command_and_what_it_prints() -> None:
    document = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
    for name in COMMANDS:
        assert f"pipeline {name}" in document or f"`{name}`" in document
    for keys in ({"response", "context"}, KEYS["ping"], KEYS["status"], KEYS["versions"]):
        assert all(f'"{key}"' in document for key in keys)
    assert "| 4 | the job failed" in document
    assert "| 5 | of `status`" in document


def test_the_version_is_the_packages() -> None:
    assert call("--version").stdout.startswith("pipeline, version 0.")


# --- what comes back


@every_command
def test_every_command_tells_a_person(command: str, router: FakeRouter, solution: str) -> None:
    result = call(*arguments(command, solution), "--address", router.address)
    assert (result.exit_code, result.exception) == (0, None)
    assert TEXTS[command] in result.stdout


@every_command
def test_every_command_tells_a_script(command: str, router: FakeRouter, solution: str) -> None:
    result = call(*arguments(command, solution), "--json", "--address", router.address)
    assert result.exit_code == 0
    assert json.loads(result.stdout).keys() == KEYS[command]
    for line in result.stderr.splitlines():
        assert json.loads(line).keys() == {"progress"}


@every_command
def test_every_error_is_told_with_what_to_do_next(command: str, solution: str) -> None:
    action = FIRST_ACTION[command]
    why = "nobody is there: start `pipeline-worker listen`"
    with router_without(action).failing(action, 503, why) as refusing:
        result = call(*arguments(command, solution), "--address", refusing.address)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"pipeline: 503 No worker available: {why}" in result.stderr
        assert "`pipeline workers` shows who is there" in result.stderr
        result = call(*arguments(command, solution), "--json", "--address", refusing.address)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "error": {
            "code": 503,
            "message": "No worker available",
            "error": "nobody is there: start `pipeline-worker listen`",
            "retryable": True,
            "context": {},
        }
    }


@every_command
def test_a_router_that_is_not_there_is_3(command: str, solution: str) -> None:
    result = call(*arguments(command, solution), "--address", NOBODY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"nothing answers at {NOBODY} (Connection refused)" in result.stderr
    assert "--address or PIPELINE_ADDRESS" in result.stderr
    result = call(*arguments(command, solution), "--address", NOBODY, "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (3, 101)


def test_a_host_that_can_be_none_is_3_too() -> None:
    result = call("ping", "--address", "tcp://a..b:5555")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nothing answers at tcp://a..b:5555 (" in result.stderr


def test_a_router_that_listens_and_says_nothing_is_3_too() -> None:
    with FakeRouter().ignoring("ping") as silent:
        result = call("ping", "--address", silent.address, "--timeout", "0.1")
    assert result.exit_code == 3
    assert result.stderr.startswith("pipeline: no answer from")


# --- wrong calls


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tset",), "there is no command 'tset' (did you mean 'test'?)"),
        (("deploy", "ruby", "test_runer", "v1"), "did you mean 'test_runner'?"),
        (("deploy", "Ruby!", "test_runners", "v1"), "'Ruby!' is not a slug"),
        (("deploy", *PLACE, "-x"), "No such option"),
        (("deploy", *PLACE, "v 1"), "is not a version"),
        (("build", "ruby", "builders", "main"), "channels are test_runners"),
        (("build", *PLACE, "$(id)"), "is not a git reference"),
        (("test", "ruby", "two-fer", "/nowhere"), "'/nowhere' is not there; needed is a folder"),
        (("test", "ruby", "two-fer", __file__), "name the folder that it is in"),
        (("test", "ruby", "two-fer", "/", "--upload-to", "folder"), "s3://bucket/prefix/"),
        (("drain", "a b"), "is not an identity"),
        (("cancel", "a", "--action", "test"), "'test_solution'"),
        (("ping", "--address", "localhost"), "write it like tcp://localhost:5555"),
        (("ping", "--timeout", "0"), "0 is not in the range"),
        (("ping", "--timeout", "nan"), "'nan' is not a number of seconds"),
        (("watch", "--interval", "nan"), "'nan' is not a number of seconds"),
        (("completion", "powershell"), "'bash', 'zsh', 'fish'"),
    ],
)
def test_a_wrong_call_is_2_and_says_what_is_right(words: tuple[str, ...], said: str) -> None:
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_a_channel_may_be_called_as_its_workers_are(router: FakeRouter) -> None:
    for name in ("test-runner", "test_runner", "test-runners"):
        assert call("versions", "ruby", name, "--address", router.address).exit_code == 0
    assert {r.channel for r in router.requests if isinstance(r, requests.DeploymentCheck)} == {
        "test_runners"
    }


def test_a_channel_may_be_called_by_its_alias(router: FakeRouter) -> None:
    for name in ("static_analyzers", "static-analyzers", "static-analyser"):
        assert call("versions", "ruby", name, "--address", router.address).exit_code == 0
    assert {r.channel for r in router.requests if isinstance(r, requests.DeploymentCheck)} == {
        "static_analysers"
    }


# --- options


def test_options_come_from_the_environment_and_the_command_line_wins(router: FakeRouter) -> None:
    result = call("ping", env={"PIPELINE_ADDRESS": router.address, "PIPELINE_JSON": "1"})
    assert json.loads(result.stdout)["version"] == "0.1.0"
    won = call("ping", "--address", router.address, env={"PIPELINE_ADDRESS": NOBODY})
    assert won.exit_code == 0


def test_common_options_may_stand_before_the_command(router: FakeRouter) -> None:
    for words in (("--address", router.address), (f"--address={router.address}",)):
        result = call(*words, "--json", "ping")
        assert json.loads(result.stdout)["version"] == "0.1.0"


# --- running tools


def test_a_newcomer_needs_no_version(router: FakeRouter, solution: str) -> None:
    result = call("test", "ruby", "two-fer", solution, "--address", router.address)
    assert "version v1 (the only one deployed)" in result.stderr
    (asked,) = (r for r in router.requests if isinstance(r, requests.TestSolution))
    assert asked.container_version == "v1"
    assert asked.files == {"two_fer.rb": "nothing\n"}


def test_bytes_go_along_and_what_does_not_is_said(router: FakeRouter, solution: str) -> None:
    folder = Path(solution)
    (folder / "a.pyc").write_bytes(b"\xff\0")
    (folder / "__pycache__").mkdir()
    (folder / "a\x1b[2J~").write_text("")
    result = call("test", "ruby", "two-fer", solution, "--address", router.address)
    assert result.exit_code == 0
    assert "left out: __pycache__/, a\\x1b[2J~" in result.stderr
    (asked,) = (r for r in router.requests if isinstance(r, requests.TestSolution))
    expected = {"two_fer.rb": "nothing\n", "a.pyc": requests.BinaryFile(b"\xff\0")}
    assert asked.files == expected


def test_a_track_with_nothing_deployed_says_how_to_deploy(solution: str) -> None:
    nothing = responses.Deployment("test_runners", "ruby", DeployState.NOTHING_WANTED, ())
    with FakeRouter().returning("deployment_check", nothing) as router:
        result = call("test", "ruby", "two-fer", solution, "--address", router.address)
    assert result.exit_code == 1
    assert "`pipeline build ruby test_runners master` builds one" in result.stderr
    assert "`pipeline deploy ruby test_runners VERSION` deploys it" in result.stderr


def test_what_is_said_of_a_run_reaches_the_router(router: FakeRouter) -> None:
    result = call(
        *("test", "ruby", "two-fer", "s3://bucket/solutions/1/", "--version", "v7"),
        *("--execution-timeout", "3", "--priority", "background", "--timeout", "9"),
        *("--address", router.address),
    )
    assert result.exit_code == 0
    (asked,) = router.requests
    assert isinstance(asked, requests.TestSolution)
    assert (asked.s3_uri, asked.container_version) == ("s3://bucket/solutions/1/", "v7")
    assert (asked.execution_timeout, asked.priority.value) == (3.0, "background")
    assert isinstance(asked.timeout_s, float)
    assert asked.timeout_s <= 9.0


def run(router: FakeRouter, *more: str) -> Result:
    words = ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1")
    return call(*words, *more, "--address", router.address)


def test_workers_that_keep_what_is_not_wanted_are_shown_and_make_status_a_5() -> None:
    keeping = msgspec.structs.replace(WORKER, keeps="keeps 3 images: \x1b[2J another installation")
    channels = {"test_runners": responses.ChannelStatus(1, 2, 1, 0, keeping=1)}
    with (
        router_without("describe_workers", "current_worker_status")
        .returning("describe_workers", responses.Workers((keeping, WORKER)))
        .returning("current_worker_status", responses.WorkerStatus(channels)) as router
    ):
        shown = call("status", "--address", router.address)
        assert shown.exit_code == 5
        (line,) = [line for line in shown.stdout.splitlines() if "keeps" in line]
        assert line == "worker-1 keeps 3 images: \\x1b[2J another installation"
        shown = call("status", "--json", "--address", router.address)
        assert shown.exit_code == 5
        assert json.loads(shown.stdout)["channels"]["test_runners"]["keeping"] == 1
        shown = call("workers", "--address", router.address)
        assert shown.exit_code == 0
        assert "keeps unwanted images" in shown.stdout
        assert line in shown.stdout.splitlines()


def test_status_shows_who_has_how_much_in_flight() -> None:
    clients = {
        "web\x1b[2J": responses.ClientStatus(2, 3, 5),
        "nightly": responses.ClientStatus(1, 0),
    }
    found = responses.WorkerStatus({}, clients)
    with router_without("current_worker_status").returning("current_worker_status", found) as fake:
        shown = call("status", "--address", fake.address).stdout.splitlines()
        assert [line.split() for line in shown[-3:]] == [
            ["CLIENT", "RUNNING", "WAITING", "QUOTA"],
            ["web\\x1b[2J", "2", "3", "5"],
            ["nightly", "1", "0", "-"],
        ]


def test_a_change_that_was_not_done_says_why() -> None:
    failed = msgspec.structs.replace(CHANGE, principal=None, outcome="the disk is full")
    audit = responses.Audit((failed,))
    with router_without("read_audit").returning("read_audit", audit) as fake:
        shown = call("audit", "--address", fake.address).stdout.splitlines()
        assert shown[1].split()[1:3] == ["-", "deploy_container_version"]
        assert shown[1].endswith("not done: the disk is full")
    with router_without("read_audit").returning("read_audit", responses.Audit(())) as fake:
        assert call("audit", "--address", fake.address).stdout == "nothing was changed yet\n"


def test_tests_that_fail_are_4_and_still_an_answer() -> None:
    failing = {"status": "fail", "tests": [{"name": "It", "status": "fail", "message": "no"}]}
    with FakeRouter().returning("test_solution", failing) as router:
        result = run(router)
        assert result.exit_code == 4
        assert result.stdout == "fail   It\n         no\n\nfail: 1 failed, of 1 test\n"
        result = run(router, "--json")
        assert (result.exit_code, json.loads(result.stdout)["response"]) == (4, failing)


def test_a_key_that_may_not_ask_for_it_is_an_error_of_the_call() -> None:
    with FakeRouter().failing("test_solution", 403, "needs a key of the role client") as router:
        result = run(router)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "needs a key of the role client" in result.stderr
        assert "PIPELINE_KEYS" in result.stderr


@pytest.mark.parametrize("code", [401, 402, 403, 513, 514])
def test_a_tool_that_fails_or_passes_a_limit_is_4_and_shows_what_it_printed(code: int) -> None:
    logs = Context(logs=Logs("last words\n", "\x1b]0;owned\x07trace"), exit_status=3, worker="w")
    with FakeRouter().failing("test_solution", code, "it was so", context=logs) as router:
        result = run(router)
        assert (result.exit_code, result.stdout) == (4, "")
        assert "--- stdout\n  last words\n--- stderr\n  \\x1b]0;owned\\x07trace\n" in result.stderr
        data = json.loads(run(router, "--json").stdout)
    assert data["error"]["context"]["exit_status"] == 3


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (401, "--execution-timeout asks for more"),
        (504, "--timeout waits longer"),
        (505, "`pipeline versions TRACK` shows what there is"),
        (511, "show how far it is"),
        (512, "in trouble, and why"),
    ],
)
def test_errors_that_can_be_mended_say_how(code: int, hint: str) -> None:
    with FakeRouter().failing("test_solution", code, "it was so") as router:
        assert hint in run(router).stderr


def test_what_a_tool_writes_does_not_reach_the_terminal() -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J[bold]\u202e"
    results: dict[str, Any] = {"status": "fail", "message": evil}
    results["tests"] = [{"name": evil, "status": "fail", "message": evil, "output": evil}]
    with FakeRouter().returning("test_solution", results) as router:
        shown = run(router).stdout
        raw = run(router, "--json").stdout
    assert not {"\x1b", "\x07", "\u202e"} & {*shown, *raw}
    assert shown.count("[bold]") == 4


# --- building and deploying


def test_a_build_streams_its_lines_and_names_the_next_command(router: FakeRouter) -> None:
    result = call("build", *PLACE, "main", "--address", router.address)
    assert result.stderr == "==> building\na\\x1b[2Jb\n"
    assert result.stdout.splitlines() == [
        "built",
        f"image:   ruby-test-runner:git-{SHA}",
        f"digest:  sha256:{'b' * 64}",
        f"commit:  {SHA}",
        f"next:    pipeline deploy ruby test_runners git-{SHA}",
    ]
    result = call("build", *PLACE, "main", "--json", "--address", router.address)
    lines = [json.loads(line)["progress"]["lines"] for line in result.stderr.splitlines()]
    assert lines == [["==> building"], ["a\x1b[2Jb"]]


def test_a_deploy_that_fails_everywhere_is_4() -> None:
    seen = deployment("v1", state=DeployState.FAILED)
    with router_without("deployment_check").returning("deployment_check", seen) as router:
        result = call("deploy", *PLACE, "v1", "--address", router.address)
    assert result.exit_code == 4
    assert "worker-1: failed: no \\x1b[2Jspace" in result.stderr
    assert "failed on every worker" in result.stderr


def test_a_deploy_that_takes_too_long_is_4_and_not_3() -> None:
    seen = deployment("v1", state=DeployState.PREPARING)
    with router_without("deployment_check").returning("deployment_check", seen) as router:
        result = call("deploy", *PLACE, "v1", "--timeout", "0.2", "--address", router.address)
    assert result.exit_code == 4
    assert "is not ready everywhere after 0.2 s, and still wanted" in result.stderr


def test_a_deploy_need_not_be_waited_for() -> None:
    seen = deployment("v1", state=DeployState.FAILED)
    with router_without("deployment_check").returning("deployment_check", seen) as router:
        result = call("deploy", *PLACE, "v1", "--no-wait", "--address", router.address)
    assert result.exit_code == 0
    assert result.stdout == "v1 of ruby on test_runners: ready on 0 of 1 worker\n"


def test_versions_are_shown_without_a_builder_too() -> None:
    with router_without("list_available_containers") as router:
        result = call("versions", "ruby", "--address", router.address)
        assert result.exit_code == 0
        assert "the registry's are not known: 503 No worker available" in result.stdout
        result = call("versions", *PLACE, "--json", "--address", router.address)
    (channel,) = json.loads(result.stdout)["channels"]
    assert channel["deployment"]["versions"][0]["version"] == "v1"
    assert (channel["available"], channel["error"]["code"]) == (None, 503)


# --- workers


def test_workers_are_json_with_what_they_have_beside_what_is_wanted(router: FakeRouter) -> None:
    result = call("workers", "--json", "--address", router.address)
    (worker,) = json.loads(result.stdout)["workers"]
    assert (worker["identity"], worker["topics"], worker["slots"]) == ("worker-1", ["ruby"], 2)
    (version,) = worker["versions"]
    assert (version["version"], version["wanted"], version["state"]) == ("v1", True, "ready")


def test_a_worker_that_is_not_there_is_the_routers_to_explain() -> None:
    why = "`identity`: no worker is called 'w' (did you mean 'worker-1'?)"
    with FakeRouter().failing("drain_worker", 400, why) as router:
        result = call("drain", "w", "--address", router.address)
    assert (result.exit_code, result.stderr) == (1, f"pipeline: 400 Unusable request: {why}\n")


def test_nothing_to_cancel_is_1() -> None:
    with FakeRouter().returning("cancel", responses.Cancelled(0)) as router:
        result = call("cancel", "x", "--action", "test_solution", "--address", router.address)
    assert result.exit_code == 1
    assert result.stdout.startswith("nothing to cancel")


def test_many_pings_are_summed_up(router: FakeRouter) -> None:
    words = ("ping", "--count", "3", "--interval", "0", "--address", router.address)
    assert "\n3 answers in " in call(*words).stdout
    assert len(json.loads(call(*words, "--json").stdout)["round_trips_s"]) == 3
