"""Earlier releases and this tree, both ways: they work together, or refuse each other in words."""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compat.releases import Side, installed, releases, this_tree
from faults.lab import TESTS, free_port
from support.bare import say
from support.pace import paced
from support.processes import Machine, Process, machine
from wire import golden, skew

from pipeline_protocol.link import PROTOCOL, mismatch

TREE = "this tree"
PAIRS = [(TREE, TREE)] + [
    pair for release in releases() for pair in ((release, TREE), (TREE, release))
]
"""Who serves, and who comes to it; the first is the proof that what follows could work."""

CLIENT = """
import sys
from pipeline_client import PipelineClient

with PipelineClient(sys.argv[1], timeout_s=60, retries=None) as client:
    print(client.ping().version)
    print(client.deploy_container_version("ruby", "test_runners", "v2", wait=True).state)
    files = {"plan": "sleep 0.01", "token": "there and back"}
    print(client.test_solution("ruby", "two-fer", "v2", files=files).response["token"])
    print([worker.identity for worker in client.workers().workers])
    print(client.status().channels["test_runners"].workers)
    print(client.current_config()["versions"]["test_runners"]["ruby"].keys())
    print(client.unload_container_version("ruby", "test_runners", "v2").versions)
    print(client.drain_worker("worker-1").workers)
"""


def side(name: str) -> Side:
    return this_tree() if name == TREE else installed(name)


class Lab:
    """A router and workers, of any release, in one folder."""

    def __init__(self, own: Machine) -> None:
        self.own = own
        own.port, own.link_port = (free_port(random.Random()) for _ in range(2))
        self.seed = own.folder / "seed.yml"
        marker = "# --- below this line the router writes; edit it only while no router runs ---"
        entry = {"test_runners": {"ruby": {"v1": {"digest": None, "deployed_at": ""}}}}
        options = {"liveness_s": 20.0}
        self.seed.write_text(f"router: {options}\n{marker}\nversions: {json.dumps(entry)}\n")

    def router(self, of: Side, config: str = "pipeline.yml") -> Process:
        name = f"router-{len(self.own.processes)}"
        path = self.own.folder / config
        return self.own.router(self.seed, name=name, config=path, binaries=of.bin)

    def echo_worker(self, of: Side) -> Process:
        """Start a worker whose jobs need no container: its core, loop and sockets are real."""
        return self.own.start(
            "worker-1",
            *("/usr/bin/env", f"PYTHONPATH={of.tests}"),
            *(of.command("python"), "-m", "support.echo_worker", "worker-1"),
            *(f"{self.own.address}/test_runners", str(self.own.folder / "journal"), "2"),
        )

    def worker(self, of: Side) -> Process:
        """Start a worker as an operator does."""
        return self.own.start(
            "worker-1",
            *(of.command("pipeline-worker"), "listen", "worker-1"),
            *(f"{self.own.address}/test_runners", str(self.own.folder / "work")),
        )

    def ask(self, action: str, **fields: Any) -> Any:
        reply = say(self.own.address, {"action": action, **fields})
        assert reply["status"]["code"] == 200, reply
        return reply["response"]


@pytest.fixture
def lab(shared_folder: Path) -> Iterator[Lab]:
    with machine(shared_folder) as own:
        yield Lab(own)


def check_refusal(router: Process, serving: Side, worker: Process, coming: Side) -> None:
    """Both say the two numbers and what to upgrade; the worker ends, the router goes on."""
    assert worker.wait(60) == 1, worker.output()
    words = mismatch(serving.protocol, coming.protocol)
    assert words in worker.output()
    assert "malformed" not in worker.output() + router.output()
    assert router.alive
    if serving.name == TREE:
        router.wait_for(f"worker-1: {re.escape(words)}")


@pytest.mark.parametrize(("serving", "coming"), PAIRS)
def test_a_worker_works_for_a_router_or_is_refused_in_words(
    lab: Lab, serving: str, coming: str
) -> None:
    one, other = side(serving), side(coming)
    router, worker = lab.router(one), lab.echo_worker(other)
    if one.protocol != other.protocol:
        check_refusal(router, one, worker, other)
        assert lab.ask("describe_workers")["workers"] == []
        return
    worker.wait_for("serving")
    files = {"plan": "sleep 0.01", "token": "there and back"}
    job = {"track_slug": "ruby", "exercise_slug": "two-fer", "container_version": "v1"}
    result = lab.ask("test_solution", id="run-1", files=files, timeout_s=60, **job)
    assert result["token"] == "there and back"
    assert lab.ask("drain_worker", identity="worker-1") == {"workers": ["worker-1"]}
    assert worker.wait(60) == 0
    assert "malformed" not in worker.output() + router.output()


@pytest.mark.parametrize(("serving", "coming"), PAIRS)
def test_so_is_one_that_an_operator_starts(lab: Lab, serving: str, coming: str) -> None:
    one, other = side(serving), side(coming)
    router, worker = lab.router(one), lab.worker(other)
    if one.protocol != other.protocol:
        check_refusal(router, one, worker, other)
    else:
        worker.wait_for("serving", 60)
        assert worker.stop(60) == 0


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_worker_that_served_goes_on_or_leaves_when_its_router_is_of_another_release(
    lab: Lab, before: str, after: str
) -> None:
    """It never asks on without a word. A later router takes over the file of an earlier one."""
    one, other = side(before), side(after)
    router, worker = lab.router(one), lab.echo_worker(one)
    worker.wait_for("serving")
    router.kill()
    router = lab.router(other, "pipeline.yml" if after == TREE else "other.yml")
    if one.protocol != other.protocol:
        check_refusal(router, other, worker, one)
    else:
        worker.wait_for("(?s)serving.*serving", 60)


@pytest.mark.parametrize(("serving", "coming"), PAIRS)
def test_a_client_is_served_whatever_its_release(lab: Lab, serving: str, coming: str) -> None:
    one, other = side(serving), side(coming)
    lab.router(one)
    worker = lab.echo_worker(one)
    worker.wait_for("serving")
    done = subprocess.run(
        [other.command("python"), "-I", "-W", "error", "-c", CLIENT, lab.own.address],
        capture_output=True,
        text=True,
        timeout=paced(100),
        check=False,
    )
    assert done.stderr == ""
    _, *said = done.stdout.splitlines()
    assert said == [
        "deployed",
        "there and back",
        "['worker-1']",
        "1",
        "dict_keys(['v1', 'v2'])",
        "('v1',)",
        "('worker-1',)",
    ]
    assert worker.wait(60) == 0
    shown = subprocess.run(
        [other.command("pipeline"), "status", "--json", "--address", lab.own.address],
        capture_output=True,
        text=True,
        timeout=paced(60),
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)["channels"]["test_runners"]["workers"] == 0


@pytest.mark.parametrize("release", releases())
def test_what_a_release_says_on_the_link_is_still_said_under_its_number(release: str) -> None:
    """Even if its golden files were written anew meanwhile."""
    of = installed(release)
    for direction in golden.LINK:
        recorded = golden.link_bytes(direction, of.protocol)
        file = golden.link_file(direction, of.protocol).relative_to(TESTS)
        then = of.tests / file
        if not then.exists():  # 0.1.0 had no number in the path
            then = of.tests / "wire" / "golden" / file.name
        released = golden.read_link(then.read_text(encoding="utf-8"))
        assert not list(skew.objections(released, recorded))


def test_this_tree_speaks_no_lower_protocol_than_a_release() -> None:
    assert max(installed(release).protocol for release in releases()) <= PROTOCOL
