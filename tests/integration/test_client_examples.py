"""The clients of docs/protocol.md, each in its language, against a real router."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from faults.lab import HASTY_S, FaultLab
from faults.waiting import await_that
from support.keyring import Keyring
from support.markdown import Document
from support.pace import paced
from support.processes import Process, machine
from support.tracks import EXAMPLES, ROOT

from pipeline_protocol.requests import Role

CLIENTS = EXAMPLES / "clients"
LANGUAGES = {"python": "ask.py", "ruby": "ask.rb", "js": "ask.mjs", "bash": "ask.sh"}
SAID = 'héllo "wörld"\n\\\t'
"""What is hard to bring through unchanged: quotes, controls, more bytes than characters."""
PNG = bytes(range(256)) * 300

Commands = Mapping[str, list[str]]


def tool(name: str, path: str | None = None) -> str:
    found = shutil.which(name, path=path)
    assert found, f"{name} is not installed: ./dev test installs what the tests need"
    return found


@pytest.fixture(scope="module")
def commands(module_folder: Path) -> Commands:
    """How each client is started; Node finds packages only beside the program."""
    for name in ("ask.mjs", "package.json"):
        shutil.copy(CLIENTS / name, module_folder)
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--no-update-notifier"]
    patience = ["--prefer-offline", "--fetch-retries=1", "--fetch-timeout=30000"]
    installed = subprocess.run(
        [tool("npm"), "install", "--ignore-scripts", *quiet, *patience],
        cwd=module_folder,
        capture_output=True,
        text=True,
        timeout=paced(100),
    )
    if installed.returncode:
        pytest.fail(f"npm could not install zeromq for the client in Node:\n{installed.stderr}")
    return {
        "python": [sys.executable, str(CLIENTS / "ask.py")],
        "ruby": [tool("ruby", "/usr/bin"), str(CLIENTS / "ask.rb")],  # that has ruby-ffi-rzmq
        "js": [tool("node"), str(module_folder / "ask.mjs")],
        "bash": [tool("bash"), str(CLIENTS / "ask.sh")],
    }


@pytest.fixture(scope="module")
def lab(module_folder: Path) -> Iterator[FaultLab]:
    with machine(module_folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router()
        lab.start_worker("worker-1")
        yield lab
        lab.close()


def arguments(lab: FaultLab, version: str = "v1") -> list[str]:
    """Say whom to ask for what: an echo worker answers with these files."""
    files = {"plan": "", "token": SAID}
    for name, text in files.items():
        (lab.folder / name).write_text(text)
    (lab.folder / "a.png").write_bytes(PNG)
    names = [str(lab.folder / name) for name in (*files, "a.png")]
    return [lab.address, "ruby", "two-fer", version, *names]


def run(command: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=paced(100)
    )


@pytest.mark.parametrize(("language", "file"), LANGUAGES.items())
def test_the_document_shows_the_very_files(language: str, file: str) -> None:
    blocks = Document(ROOT / "docs" / "protocol.md").blocks(language)
    assert blocks == [(CLIENTS / file).read_text("utf-8")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_prints_the_result(language: str, commands: Commands, lab: FaultLab) -> None:
    done = run(commands[language], arguments(lab))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["token"] == SAID
    assert json.loads(done.stdout)["binary"] == {"a.png": PNG.hex()}
    assert done.stderr.startswith("router ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_says_why_there_is_no_result(
    language: str, commands: Commands, lab: FaultLab
) -> None:
    done = run(commands[language], arguments(lab, "v2"))
    assert (done.returncode, done.stdout) == (1, "")
    status = json.loads(done.stderr.splitlines()[-1])
    assert status["code"] == 505
    assert "'v2' of ruby is not deployed" in status["error"]


@pytest.fixture(scope="module")
def idle_yard(module_folder: Path) -> Iterator[FaultLab]:
    """Give a router with a version deployed, and nobody to run it."""
    folder = module_folder / "idle"
    folder.mkdir()
    with machine(folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router(liveness_s=HASTY_S)  # so long nobody is refused for want of workers
        yield lab
        lab.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_is_told_that_there_is_no_worker(
    language: str, commands: Commands, idle_yard: FaultLab
) -> None:
    done = run(commands[language], arguments(idle_yard))
    assert (done.returncode, done.stdout) == (1, "")
    status = json.loads(done.stderr.splitlines()[-1])
    assert status["code"] == 503
    assert "pipeline-worker listen" in status["error"]


@pytest.fixture(scope="module")
def keyed_lab(module_folder: Path) -> Iterator[FaultLab]:
    """Give a router that lets nobody in without a key, and has gone over to its next one."""
    folder = module_folder / "keyed"
    folder.mkdir()
    with machine(folder) as own:
        lab = FaultLab(own, 1, has_keys=True)
        keyring = Keyring(folder)
        keyring.rotate()
        keyring.refresh("operators", "workers")
        lab.start_router()
        lab.start_worker("worker-1")
        yield lab
        lab.close()


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "bash"])
def test_a_client_shows_its_key(
    language: str, commands: Commands, keyed_lab: FaultLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the router's keys that it has is the router's no more: it takes the next."""
    monkeypatch.setenv("PIPELINE_KEYS", str(keyed_lab.keys[Role.CLIENT]))
    done = run(commands[language], arguments(keyed_lab))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["token"] == SAID
    assert "asking again" in done.stderr


def times_out(client: Process) -> int:
    return client.output().count("asking again")


def test_clients_whose_router_dies_ask_the_next_one_and_each_job_runs_once(
    commands: Commands, shared_folder: Path
) -> None:
    with machine(shared_folder) as own:
        lab = FaultLab(own, 1)
        lab.start_router(liveness_s=60)  # requests wait so long for the first worker
        clients = [
            own.start(language, *command, *arguments(lab)) for language, command in commands.items()
        ]
        await_that(lambda: waiting(lab) == len(clients), what="all clients waiting")
        lab.router.kill()
        lab.start_router(liveness_s=60)
        heard = {client: times_out(client) for client in clients}
        # twice: what the first of these sent has met the second by now, or is a job of its own
        await_that(
            lambda: all(times_out(client) >= heard[client] + 2 for client in clients),
            what="each client asking twice again",
        )
        await_that(lambda: waiting(lab) >= len(clients), what="all clients waiting again")
        lab.start_worker("worker-1", slots=len(clients))
        for client in clients:
            assert client.wait(60) == 0, client.output()
            assert json.loads(client.output().splitlines()[-1])["token"] == SAID
        ran = lab.journal.executions()
        lab.close()
    assert [len(executions) for executions in ran.values()] == [1] * len(clients)


def waiting(lab: FaultLab) -> int:
    """Return how many jobs wait for a worker."""
    found = lab.say({"action": "current_worker_status"})
    count = found["response"]["channels"]["test_runners"]["waiting"]
    assert isinstance(count, int)
    return count
