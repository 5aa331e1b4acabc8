"""The command as a process: signals, terminals, pipes, completion, what is missing."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline_client.testing import FakeRouter
from pipeline_protocol import requests, responses
from pipeline_protocol.responses import DeployState, VersionDeployment, WorkerVersion

PIPELINE = str(Path(sys.executable).with_name("pipeline"))
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's parent ignores it
from pipeline_client.cli import main
main()
"""
NOBODY = "tcp://127.0.0.1:1"
PLACE = ("ruby", "test_runners")


def environment(**more: str) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("PIPELINE_") and k != "NO_COLOR"
    }
    return kept | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"} | more


@contextmanager
def started(*arguments: str, **settings: Any) -> Iterator["subprocess.Popen[str]"]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    settings.setdefault("env", environment())
    command = [sys.executable, "-c", INTERRUPTIBLE, *arguments]
    with subprocess.Popen(command, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def call(
    *arguments: str, encoding: str = "utf-8", **more: str
) -> "subprocess.CompletedProcess[str]":
    command = [PIPELINE, *arguments]
    env = environment(**more)
    return subprocess.run(
        command, capture_output=True, env=env, timeout=60, check=False, encoding=encoding
    )


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.01)


def asked(router: FakeRouter, kind: type) -> list[Any]:
    return [request for request in router.requests if isinstance(request, kind)]


# --- exit statuses and streams, as a shell sees them


def test_a_shell_sees_the_statuses() -> None:
    failing = {"status": "fail", "tests": []}
    with FakeRouter().returning("test_solution", failing) as router:
        run = ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1")
        assert call("ping", "--address", router.address).returncode == 0
        assert call("status", "--address", router.address).returncode == 1
        assert call("sattus").returncode == 2
        assert call("ping", "--address", NOBODY).returncode == 3
        assert call(*run, "--address", router.address).returncode == 4


def test_with_json_stdout_is_one_object_whatever_the_end() -> None:
    with FakeRouter() as router:
        good = call("ping", "--json", PIPELINE_ADDRESS=router.address)
        bad = call("status", PIPELINE_JSON="1", PIPELINE_ADDRESS=router.address)
    assert json.loads(good.stdout)["version"] == "0.1.0"
    assert json.loads(bad.stdout)["error"]["code"] == 503
    assert (good.stderr, bad.stderr) == ("", "")


def test_a_stream_that_cannot_show_a_name_shows_its_code() -> None:
    results = {"status": "pass", "tests": [{"name": "✓ Zoë", "status": "pass"}]}
    with FakeRouter().returning("test_solution", results) as router:
        words = ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1")
        done = call(
            *words, PIPELINE_ADDRESS=router.address, encoding="latin-1", PYTHONIOENCODING="latin-1"
        )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, r"pass   \u2713 Zoë")


# --- Ctrl-C


@pytest.mark.parametrize(
    ("words", "kind", "action"),
    [
        (
            ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1"),
            requests.TestSolution,
            "test_solution",
        ),
        (("build", *PLACE, "main"), requests.BuildContainer, "build_container"),
    ],
)
def test_an_interrupt_cancels_the_job_that_was_waited_for(
    words: tuple[str, ...], kind: type, action: str
) -> None:
    router = FakeRouter().ignoring(action).returning("cancel", responses.Cancelled(1))
    with router, started(*words, "--address", router.address) as process:
        until(lambda: asked(router, kind))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        (job,), (cancel,) = asked(router, kind), asked(router, requests.Cancel)
    assert process.returncode == 130
    assert error.endswith("interrupted: the job is cancelled\n")
    assert (cancel.id, cancel.of_action) == (job.id, action)


def test_a_job_that_could_not_be_cancelled_is_named() -> None:
    router = FakeRouter().ignoring("test_solution").failing("cancel", 500, "no")
    words = ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1")
    with router, started(*words, "--address", router.address) as process:
        until(lambda: asked(router, requests.TestSolution))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        (job,) = asked(router, requests.TestSolution)
    assert process.returncode == 130
    assert f"pipeline cancel {job.id} --action test_solution" in error


def stage(state: str, percent: int = 0) -> responses.Deployment:
    overall = DeployState.DEPLOYED if state == "ready" else DeployState.PREPARING
    workers = (
        WorkerVersion("worker-1", state, percent, phase="" if state == "ready" else "pulling"),
    )
    version = VersionDeployment("v1", overall, None, workers)
    return responses.Deployment("test_runners", "ruby", overall, (version,))


def deploying(*stages: responses.Deployment) -> FakeRouter:
    wanted = responses.WantedVersions("test_runners", "ruby", ("v1",), 1)
    router = FakeRouter().returning("deploy_container_version", wanted)
    for one in stages:
        router.returning("deployment_check", one)
    return router


def test_an_interrupted_deploy_goes_on_and_says_so() -> None:
    with (
        deploying(stage("preparing")) as router,
        started("deploy", *PLACE, "v1", "--address", router.address) as process,
    ):
        until(lambda: asked(router, requests.DeploymentCheck))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the deploy goes on; `pipeline unload ruby test_runners v1` takes it back" in error


# --- terminals and pipes


class Terminal:
    """A pseudo-terminal that a command runs on, and what it shows there."""

    def __init__(self, *arguments: str, **more: str) -> None:
        self.shown = b""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [PIPELINE, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**more),
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def echoes(self) -> bool:
        """Whether it shows what is typed, as terminals do outside of programs."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> None:
        until(lambda: self._read() or text.encode() in self.shown)

    def wait(self) -> int:
        until(lambda: self._read() or self.process.poll() is not None)
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        """Read what is there now, if anything; never a reason to stop waiting."""
        if not select.select([self._master], [], [], 0)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += data
        return False if not data else self._read()


def test_colours_are_for_terminals_only_and_can_be_turned_off() -> None:
    with FakeRouter().returning("test_solution", {"status": "pass", "tests": []}) as router:
        words = ("test", "ruby", "two-fer", "s3://bucket/1/", "--version", "v1")
        with Terminal(*words, PIPELINE_ADDRESS=router.address) as coloured:
            assert coloured.wait() == 0
        with Terminal(*words, PIPELINE_ADDRESS=router.address, NO_COLOR="1") as plain:
            assert plain.wait() == 0
        piped = call(*words, PIPELINE_ADDRESS=router.address)
    assert b"\x1b[32mpass" in coloured.shown
    assert plain.shown == b"pass\r\n"
    assert piped.stdout == "pass\n"


def test_a_deploy_has_bars_on_a_terminal_and_lines_elsewhere() -> None:
    stages = (stage("preparing", 40), stage("ready"))
    with (
        deploying(*stages) as router,
        Terminal("deploy", *PLACE, "v1", "--address", router.address) as terminal,
    ):
        terminal.wait_for("preparing (pulling 40 %)")
        assert terminal.wait() == 0
    assert "━".encode() in terminal.shown
    with deploying(*stages) as router:
        piped = call("deploy", *PLACE, "v1", "--address", router.address)
    assert piped.stderr == "worker-1: preparing (pulling 40 %)\nworker-1: ready\n"
    assert piped.stdout.startswith("v1 of ruby on test_runners: ready on 1 of 1 worker in ")
    with deploying(*stages) as router:
        told = call("deploy", *PLACE, "v1", "--json", "--address", router.address)
    states = [json.loads(line)["progress"]["state"] for line in told.stderr.splitlines()]
    assert states == ["preparing", "deployed"]


HOSTILE = "\x1b]0;owned\x07[/nope]"


def test_bars_and_screens_show_what_strangers_wrote_and_obey_none_of_it() -> None:
    failed = WorkerVersion("worker-1", "failed", 0, HOSTILE)
    version = VersionDeployment("v1", DeployState.FAILED, None, (failed,))
    seen = responses.Deployment("test_runners", "ruby", DeployState.FAILED, (version,))
    with (
        deploying(seen) as router,
        Terminal("deploy", *PLACE, "v1", "--address", router.address) as bars,
    ):
        assert bars.wait() == 4
    worker = responses.WorkerDescription(
        "worker-1", "test_runners", (), 2, 0, False, 0.1, 0.0, (), trouble=HOSTILE
    )
    with (
        watching(FakeRouter(), [worker]) as router,
        Terminal("watch", "--address", router.address) as screen,
    ):
        screen.wait_for("[/nope]")
        screen.type("q")
        assert screen.wait() == 0
    for shown in (bars.shown, screen.shown):
        assert rb"\x1b]0;owned\x07[/nope]" in shown
        assert b"\x1b]0;" not in shown


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (
        FakeRouter() as router,
        started("ping", "--address", router.address, stdout=writing) as process,
    ):
        os.close(writing)
        _, error = process.communicate(timeout=30)
    assert "Traceback" not in error
    assert process.returncode == 1


# --- watching


def watched(*workers: str) -> FakeRouter:
    described = [
        responses.WorkerDescription(name, "test_runners", (), 2, 0, False, 0.1, 0.0, ())
        for name in workers
    ]
    return watching(FakeRouter(), described)


def watching(router: FakeRouter, described: list[responses.WorkerDescription]) -> FakeRouter:
    status = responses.WorkerStatus({"test_runners": responses.ChannelStatus(1, 2, 0, 0)})
    router.returning("current_worker_status", status)
    router.returning("describe_workers", responses.Workers(tuple(described)))
    return router.returning("current_config", {"versions": {}})


def test_watch_goes_on_through_a_routers_restart_and_ends_well_on_an_interrupt() -> None:
    first = watched("worker-1")
    words = ("watch", "--json", "--interval", "0.1", "--address", first.address)
    with first, started(*words) as process:
        assert process.stdout is not None
        changes = (json.loads(line) for line in process.stdout)
        assert next(changes)["change"] == "router"
        seen = next(changes)
        assert (seen["change"], seen["worker"], seen["state"]) == ("worker", "worker-1", "ready")
        first.stop()
        lost = next(changes)
        assert (lost["change"], lost["state"]) == ("router", "silent")
        assert "no answer from" in lost["reason"]
        again = FakeRouter(port=first.port)
        with watching(again, []):
            assert next(changes)["state"] == "up"
            gone = next(changes)
            assert (gone["worker"], gone["state"]) == ("worker-1", "gone")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_watch_waits_for_a_router_that_is_not_there() -> None:
    with started("watch", "--timeout", "0.1", "--address", NOBODY) as process:
        assert process.stdout is not None
        assert "router does not answer: 101 Client timed out" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_watch_is_a_screen_on_a_terminal_until_q() -> None:
    with (
        watched("worker-1") as router,
        Terminal("watch", "--interval", "0.1", "--address", router.address) as terminal,
    ):
        terminal.wait_for("worker-1")
        terminal.wait_for("q or Ctrl-C ends")
        assert not terminal.echoes
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.echoes
    assert b"\x1b[?25h" in terminal.shown  # the cursor is back


# --- completion


def completed(words: str, address: str) -> list[str]:
    done = call(
        _PIPELINE_COMPLETE="bash_complete",
        COMP_WORDS=f"pipeline {words}",
        COMP_CWORD=str(len(words.split(" "))),
        PIPELINE_ADDRESS=address,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_channels_and_what_the_router_knows_are_completed() -> None:
    config = {"versions": {"test_runners": {"ruby": {"v1": None, "v2": None}, "bash": {}}}}
    available = responses.AvailableContainers("ruby-test-runner", ("v3",))
    with FakeRouter() as router:
        router.returning("current_config", config)
        router.returning("list_available_containers", available)
        described = responses.WorkerDescription("worker-1", "builders", (), 1, 0, False, 0, 0, ())
        router.returning("describe_workers", responses.Workers((described,)))
        assert completed("re", router.address) == ["recommend", "represent", "restart"]
        assert completed("versions ", router.address) == ["bash", "ruby"]
        assert completed("versions r", router.address) == ["ruby"]
        assert completed("unload ruby te", router.address) == ["test_runners"]
        assert completed("unload ruby test_runners ", router.address) == ["v1", "v2"]
        assert completed("deploy ruby test_runners ", router.address) == ["v3"]
        assert completed("drain ", router.address) == ["worker-1"]
        run = "test ruby two-fer . --version "
        assert completed(run, router.address) == ["v1", "v2"]
        assert completed(run.replace("test", "analyse"), router.address) == []
        assert completed("batch ruby . --version ", router.address) == ["v1", "v2"]
        assert completed("compare ruby test_runners v", router.address) == ["v1", "v2"]
        assert completed("compare ruby test_runners v1 ", router.address) == ["v1", "v2"]


def test_without_a_router_nothing_is_completed_and_nothing_said() -> None:
    assert completed("versions ", NOBODY) == []
    assert completed("versions ", "nonsense") == []
    with FakeRouter().ignoring("current_config") as silent:
        assert completed("versions ", silent.address) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    done = call("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_PIPELINE_COMPLETE" in done.stdout


# --- what is loaded, and what is missing

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
sys.argv = ["pipeline", "--help"]
from pipeline_client.cli import main
main()
"""


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    said = f"pipeline: {missing} is missing: pip install 'pipeline-client[cli]'\n"
    assert (done.stdout, done.stderr) == ("", said)


def test_a_command_loads_no_more_than_it_needs() -> None:
    program = "import sys; from pipeline_client.cli.root import root\n"
    program += "root.main(['ping', '--address', sys.argv[1]], standalone_mode=False)\n"
    program += "print(*sorted(sys.modules))"
    with FakeRouter() as router:
        done = subprocess.run(
            [sys.executable, "-c", program, router.address],
            capture_output=True,
            text=True,
            check=True,
        )
    loaded = set(done.stdout.split())
    assert "pipeline_client.cli.commands.fleet" in loaded
    heavy = {"asyncio", "boto3", "rich.console", "pipeline_client.cli.commands.watch"}
    assert not heavy & loaded
