"""The command `pipeline` beside a real router, and workers that need no container."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.pace import paced
from support.processes import Machine, Process, machine
from support.shell import Operator

SEED = Path(__file__).parents[2] / "config" / "pipeline.yml"
PLACE = ("ruby", "test_runners")


class Place(Operator):
    """An operator beside a machine with a router."""

    def __init__(self, own: Machine) -> None:
        super().__init__(own.address)
        self.own = own

    def running(self) -> int:
        return int(self.json("status")["channels"]["test_runners"]["running"])


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Place]:
    with machine(tmp_path) as own:
        own.router(SEED)
        yield Place(own)


@pytest.fixture
def solution(tmp_path: Path) -> Callable[[str], str]:
    """Write a solution that an echo worker takes for its plan."""

    def written(plan: str) -> str:
        folder = tmp_path / "solution"
        folder.mkdir(exist_ok=True)
        (folder / "plan").write_text(plan)
        (folder / "token").write_text("a token")
        return str(folder)

    return written


def worker(own: Machine, name: str, topics: str = "") -> Process:
    process = own.start(
        name,
        *(sys.executable, "-m", "support.echo_worker", name),
        *(f"{own.address}/test_runners{topics}", str(own.folder / "journal"), "1"),
    )
    process.wait_for("serving")
    return process


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    ends = time.monotonic() + paced(seconds)
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.05)


def test_with_nobody_there_each_step_names_the_next(
    operator: Place, solution: Callable[[str], str]
) -> None:
    run = ("test", "ruby", "two-fer", solution(""))
    first = operator.call(*run)
    assert (first.returncode, first.stdout) == (1, "")
    assert "`pipeline deploy ruby test_runners VERSION`" in first.stderr
    deploy = operator.call("deploy", *PLACE, "v1")
    assert deploy.returncode == 1
    assert "v1 is wanted, but no worker serves ruby on test_runners" in deploy.stderr
    refused = operator.call(*run)
    assert refused.returncode == 1
    address = f"{operator.own.address}/test_runners"
    assert f"`pipeline-worker listen worker-1 {address} WORK_FOLDER`" in refused.stderr
    assert "pipeline-worker listen" in operator.call("workers").stdout


def test_a_version_is_deployed_used_compared_and_unloaded(
    operator: Place, solution: Callable[[str], str]
) -> None:
    worker(operator.own, "worker-1")
    worker(operator.own, "worker-2", "?topic=ruby")
    deployed = operator.call("deploy", *PLACE, "v1")
    assert deployed.returncode == 0, deployed.stderr
    assert deployed.stdout.startswith("v1 of ruby on test_runners: ready on 2 of 2 workers in ")
    ran = operator.call("test", "ruby", "two-fer", solution(""), "--json")
    data = json.loads(ran.stdout)
    assert data["response"]["token"] == "a token"
    assert data["context"]["worker"] in ("worker-1", "worker-2")
    assert ran.returncode == 4  # it is no test runner's result, so nothing passed
    failed = operator.call("deploy", *PLACE, "broken-1")
    assert failed.returncode == 4
    assert "worker-1: failed: it is broken" in failed.stderr
    (channel,) = operator.json("versions", *PLACE)["channels"]
    states = {v["version"]: v["state"] for v in channel["deployment"]["versions"]}
    assert states == {"v1": "deployed", "broken-1": "failed"}
    assert "worker-2: ruby broken-1 failed: it is broken" in operator.call("workers").stdout
    unloaded = operator.call("unload", *PLACE, "broken-1")
    assert unloaded.stdout == "wanted of ruby on test_runners from now on: v1\n"
    (first, _) = operator.json("workers")["workers"]
    assert [(v["version"], v["wanted"], v["state"]) for v in first["versions"]] == [
        ("v1", True, "ready")
    ]


def test_an_interrupted_run_frees_its_worker(
    operator: Place, solution: Callable[[str], str]
) -> None:
    worker(operator.own, "worker-1")
    operator.call("deploy", *PLACE, "v1")
    with operator.started("test", "ruby", "two-fer", solution("sleep 100")) as run:
        until(lambda: operator.running() == 1)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate(timeout=paced(30))
    assert run.returncode == 130
    assert "interrupted: the job is cancelled" in error
    until(lambda: operator.running() == 0)


def test_a_run_is_cancelled_by_its_id_from_elsewhere(
    operator: Place, solution: Callable[[str], str]
) -> None:
    worker(operator.own, "worker-1")
    operator.call("deploy", *PLACE, "v1")
    words = ("test", "ruby", "two-fer", solution("sleep 100"), "--id", "run-7")
    with operator.started(*words) as run:
        until(lambda: operator.running() == 1)
        assert operator.call("cancel", "run-7").stdout == "1 request cancelled\n"
        _, error = run.communicate(timeout=paced(30))
    assert run.returncode == 1
    assert "499 Cancelled: taken back by its sender" in error
    assert operator.call("cancel", "run-7").returncode == 1


def test_two_versions_are_compared_over_200_solutions(operator: Place, tmp_path: Path) -> None:
    def result(status: str) -> str:
        return json.dumps({"status": status, "tests": [{"name": "It adds", "status": status}]})

    solutions = tmp_path / "solutions"
    for number in range(200):
        folder = solutions / "two-fer" / f"{number:03}"
        folder.mkdir(parents=True)
        (folder / "plan").write_text("")
        (folder / "result-by-v1").write_text(result("pass"))
        (folder / "result-by-v2").write_text(result("fail" if number == 117 else "pass"))
    worker(operator.own, "worker-1")
    operator.call("deploy", *PLACE, "v1")
    out = ("--out", str(tmp_path / "out.jsonl"))
    compare = ("compare", *PLACE, "v1", "v2", str(solutions), *out)
    refused = operator.call(*compare)
    assert refused.returncode == 1
    assert "505 Version not deployed" in refused.stderr
    batch = operator.call("batch", "ruby", str(solutions), *out)
    assert batch.returncode == 0, batch.stderr
    operator.call("deploy", *PLACE, "v2")
    page = tmp_path / "page.html"
    compared = operator.call(*compare, "--html", str(page))
    assert compared.returncode == 4, compared.stderr
    assert "two-fer/117  test It adds  pass  fail" in compared.stdout
    assert "1 of 200 solutions changed" in compared.stdout
    assert "two-fer/117" in page.read_text()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len({(line["id"], line["version"]) for line in lines}) == len(lines) == 400


def test_workers_are_drained_and_restarted(operator: Place) -> None:
    first, second = worker(operator.own, "worker-1"), worker(operator.own, "worker-2")
    wrong = operator.call("drain", "worker-3")
    assert wrong.returncode == 1
    assert "no worker is called 'worker-3' (did you mean 'worker-" in wrong.stderr
    assert operator.call("drain", "worker-1").returncode == 0
    assert first.wait() == 0
    assert operator.json("restart") == {"workers": ["worker-2"]}
    second.wait_for("(?s)serving.*serving")


def test_a_lost_worker_is_missing_until_it_is_dismissed(operator: Place) -> None:
    worker(operator.own, "worker-1").kill()
    until(lambda: operator.json("workers")["missing"])
    (lost,) = operator.json("workers")["missing"]
    assert (lost["identity"], lost["channel"]) == ("worker-1", "test_runners")
    assert "worker-1" in operator.call("workers").stdout
    assert operator.json("status")["channels"]["test_runners"]["missing"] == 1
    assert operator.call("dismiss", "worker-2").returncode == 1
    assert operator.call("dismiss", "worker-1").stdout == "worker-1 is missed no longer\n"
    assert operator.json("workers") == {"workers": [], "missing": []}


def test_watch_follows_a_router_that_is_killed_and_comes_back(operator: Place) -> None:
    own = operator.own
    worker(own, "worker-1")
    with operator.watching() as watch:
        watch.until(change="worker", worker="worker-1", state="ready")
        own.processes[0].kill()
        watch.until(change="router", state="silent")
        own.router(SEED, name="router-again")
        watch.until(change="router", state="up")
        assert operator.call("deploy", *PLACE, "v1").returncode in (0, 1)  # 1: nobody is back yet
        watch.until(change="version", worker="worker-1", version="v1", state="ready")
        assert watch.stop() == 0
