"""Real versions that come and go while there is work, and workers that die on the way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lab import HASTY_S
from faults.releasing import SLOW_TO_PROVE, ReleaseLab, moment, seed_of, tool
from faults.waiting import await_that
from support.hostile_registry import Exchange, HostileRegistry, hang, lying_registry
from support.images import Layer
from support.processes import machine

from pipeline_protocol import status

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[ReleaseLab]:
    """Give a lab with v1 and v2 published in a folder."""
    with machine(shared_folder) as own:
        lab = ReleaseLab(own, seed_of(request.node.name))
        try:
            yield lab
        finally:
            own.stop()  # the last worker alive clears away what its containers leave
            lab.close()


@pytest.fixture
def lying(lab: ReleaseLab) -> Iterator[HostileRegistry]:
    """Have the lab's images in a registry that plays tricks."""
    with lying_registry() as registry:
        lab.registry = {"kind": "docker", "location": registry.location}
        registry.serve(tool("v1"), "v1")
        yield registry


def test_ten_versions_at_once_become_ready_while_another_serves(lab: ReleaseLab) -> None:
    versions = [f"v{number}" for number in range(2, 12)]
    digests = lab.publish("v1", *versions)
    lab.start_router()
    lab.run_worker()
    with lab.serving():
        for version in versions:
            assert lab.deploy(version)["status"]["code"] == status.OK
        for version in versions:
            lab.await_ready("worker-1", version=version)
            lab.tested(version)
    lab.await_stored(*digests)
    lab.finish()


@pytest.mark.soak
def test_an_image_that_is_no_tool_fails_with_the_reason_and_its_jobs_get_511(
    lab: ReleaseLab,
) -> None:
    lab.publish("v1")
    tool("v2").on_top(Layer().file("opt/test-runner/bin/.wh.run.sh", "")).publish(
        lab.published, "ruby-test-runner", "no-tool"
    )
    tool("v3", "#!/no/such/shell\n").publish(lab.published, "ruby-test-runner", "no-shell")
    tool("v4").on_top(Layer().file("x", ""), User="nobody-here").publish(
        lab.published, "ruby-test-runner", "no-user"
    )
    lab.start_router(liveness_s=HASTY_S)
    lab.run_worker()
    with lab.serving():
        for version, reason in {
            "no-tool": "bin/run.sh is missing",
            "no-shell": "the tool does not start",
            "no-user": "is not in its /etc/passwd",
        }.items():
            lab.deploy(version)
            assert reason in lab.await_state(version, state="failed")["reason"]
            group = lab.group()
            group.ask(lab.request("true", version=version, codes=[status.NOT_READY]))
            group.wait()
    lab.finish()


@pytest.mark.soak
def test_unloaded_under_load_what_runs_ends_and_what_comes_is_refused(lab: ReleaseLab) -> None:
    (first, second) = lab.publish("v1", "v2")
    lab.start_router()
    lab.run_worker()
    with lab.serving():
        for _ in range(3):
            lab.deploy("v2")
            lab.await_ready("worker-1", version="v2")
            lab.await_stored(first, second)
            group = lab.group()
            running = lab.request("sleep 1; true", version="v2")
            group.ask(running)
            lab.await_begun(running)
            either = [status.OK, status.UNKNOWN_VERSION]
            group.ask(*lab.requests(8, "true", version="v2", codes=either))
            assert lab.deploy("v2", "unload")["status"]["code"] == status.OK
            late = lab.request("true", version="v2", codes=[status.UNKNOWN_VERSION])
            group.ask(late)
            group.wait()
            assert running.code == status.OK
            lab.await_stored(first)
    lab.finish()


@pytest.mark.soak
def test_unloaded_and_deployed_again_while_its_jobs_run(lab: ReleaseLab) -> None:
    lab.publish("v1", "v2")
    lab.start_router(deployed=("v1", "v2"))
    lab.run_worker()
    lab.await_ready("worker-1", version="v2")
    group = lab.group()
    with lab.serving():
        running = lab.request("sleep 1.5; true", version="v2")
        group.ask(running)
        lab.await_begun(running)
        for _ in range(2):
            lab.deploy("v2", "unload")
            lab.deploy("v2")
        lab.await_ready("worker-1", version="v2")
        assert not running.heard
        lab.tested("v2")
        group.wait()
    lab.tested("v2")
    lab.finish()


def test_progress_is_seen_while_it_happens_and_never_goes_back(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=2_000_000), "v2")
    gates = [threading.Event() for _ in range(3)]

    def by_quarters(exchange: Exchange) -> None:
        content = exchange.honest() or b""
        exchange.begin(200, Content_Length=str(len(content)))
        step = len(content) // 4
        for number, gate in enumerate(gates):
            exchange.wfile.write(content[number * step : (number + 1) * step])
            exchange.wfile.flush()
            gate.wait(30)
        exchange.wfile.write(content[3 * step :])

    lying.tricks[much] = by_quarters
    lab.start_router()
    lab.run_worker()
    seen: list[int] = []
    with lab.serving():
        lab.deploy("v2")
        for gate, quarter in zip(gates, (25, 50, 75), strict=True):
            await_that(lambda: note(seen, lab) >= quarter - 2, what=f"{quarter} percent")  # noqa: B023
            assert seen[-1] <= quarter
            gate.set()
        lab.await_state("v2", state="ready", percent=100)
    assert seen == sorted(seen)
    lab.finish()


def note(seen: list[int], lab: ReleaseLab) -> int:
    """Look how far v2 is, and write it down."""
    seen.append(lab.state("v2")["percent"])
    return seen[-1]


@pytest.mark.soak
def test_the_former_version_is_deployed_again(lab: ReleaseLab) -> None:
    (first, second) = lab.publish("v1", "v2")
    lab.start_router()
    lab.run_worker()
    for gone, come, kept in (("v1", "v2", second), ("v2", "v1", first)):
        with lab.serving(gone):
            lab.deploy(come)
            lab.await_ready("worker-1", version=come)
        with lab.serving(come):
            lab.deploy(gone, "unload")
            lab.await_stored(kept)
    lab.finish()


def test_a_worker_killed_during_a_pull_serves_the_old_version_when_it_starts_again(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=3_000_000), "v2")
    lab.start_router()
    worker = lab.run_worker()
    lab.run_worker("worker-2")
    lying.tricks[much] = hang(2_000_000)
    with lab.serving():
        lab.deploy("v2")
        await_that(lambda: 0 < lab.state("v2")["percent"] < 100, what="half a pull")
        assert lab.state("v2")["phase"] == "pulling"
        worker.kill()
        left = list((lab.folder / "worker-1/tmp").iterdir())  # the way in to the registry
        assert left
        lab.run_worker()  # v1 is here: nobody asks the registry
        assert not any(path.exists() for path in left)
        lying.tricks.clear()
        lying.over.set()
        lab.await_ready("worker-1", "worker-2", version="v2")
    lab.await_stored(*lab.store("worker-2").digests())
    lab.tested("v2")
    lab.finish()


@pytest.mark.soak
def test_a_worker_killed_while_it_tries_a_version_tries_it_again(lab: ReleaseLab) -> None:
    (first,) = lab.publish("v1")
    (slow,) = lab.publish("slow", run_sh=SLOW_TO_PROVE)
    lab.start_router()
    worker = lab.run_worker()
    lab.run_worker("worker-2")
    with lab.serving():
        lab.deploy("slow")
        lab.await_state("slow", phase="checking")
        moment(lab, 0.5)
        worker.kill()
        lab.run_worker()
        lab.await_ready("worker-1", "worker-2", version="slow")
    lab.await_stored(first, slow)
    lab.tested("slow")
    lab.finish()


def test_a_worker_killed_at_any_moment_of_coming_and_going_versions_is_whole_afterwards(
    lab: ReleaseLab,
) -> None:
    (first, *_) = lab.publish("v1", "v2", "v3", random_bytes=2_000_000)
    lab.start_router()
    lab.run_worker()
    lab.run_worker("worker-2")
    with lab.serving():
        for _ in range(3):
            lab.deploy("v2")
            lab.deploy("v3")
            moment(lab, 0.8)
            lab.deploy("v2", "unload")
            lab.deploy("v3", "unload")
            moment(lab, 0.4)
            lab.worker("worker-1").kill()
            lab.run_worker()
    lab.await_stored(first)
    lab.finish()


def test_a_worker_that_is_stopped_gives_its_pulls_up(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=1_000_000), "v2")
    lying.tricks[much] = hang(500_000)
    lab.start_router()
    worker = lab.run_worker()
    lab.deploy("v2")
    await_that(lambda: lab.state("v2")["percent"] > 0, what="half a pull")
    assert worker.stop(8) == 0  # the pull would hang for a minute
    lab.finish()


def test_a_version_that_is_not_wanted_any_more_is_not_pulled_any_further(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    first = served_digest(lying)
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=1_000_000), "v2")
    lying.serve(tool("v3"), "v3")
    lying.tricks[much] = hang(500_000)
    lab.start_router()
    lab.run_worker()
    with lab.serving():
        lab.deploy("v2")
        await_that(lambda: lab.state("v2")["percent"] > 0, what="half a pull")
        lab.deploy("v3")
        lab.await_ready("worker-1", version="v3")  # beside the one that hangs
        lab.deploy("v2", "unload")
        lab.deploy("v3", "unload")
        lab.await_stored(first)  # which is not done while anything is being pulled
    lab.finish()


def served_digest(lying: HostileRegistry) -> str:
    """The digest that v1 has in a registry."""
    digest, _ = lying.serve(tool("v1"), "v1")
    return digest
