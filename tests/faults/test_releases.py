"""Real versions that come and go while there is work, and workers that die on the way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.releasing import SLOW_TO_PROVE, ReleaseYard, moment, seed_of, tool
from faults.waiting import await_that
from faults.yard import HASTY_S
from support.images import Layer
from support.lying import Exchange, LyingRegistry, hang, lying_registry
from support.processes import machine

from pipeline_protocol import status

pytestmark = pytest.mark.e2e


@pytest.fixture
def yard(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[ReleaseYard]:
    """Give a yard with v1 and v2 published in a folder."""
    with machine(shared_folder) as own:
        yard = ReleaseYard(own, seed_of(request.node.name))
        try:
            yield yard
        finally:
            own.stop()  # the last worker alive clears away what its containers leave
            yard.close()


@pytest.fixture
def lying(yard: ReleaseYard) -> Iterator[LyingRegistry]:
    """Have the yard's images in a registry that plays tricks."""
    with lying_registry() as registry:
        yard.registry = {"kind": "docker", "location": registry.location}
        registry.serve(tool("v1"), "v1")
        yield registry


def test_ten_versions_at_once_become_ready_while_another_serves(yard: ReleaseYard) -> None:
    versions = [f"v{number}" for number in range(2, 12)]
    digests = yard.publish("v1", *versions)
    yard.start_router()
    yard.run_worker()
    with yard.serving():
        for version in versions:
            assert yard.deploy(version)["status"]["code"] == status.OK
        for version in versions:
            yard.await_ready("worker-1", version=version)
            yard.tested(version)
    yard.await_stored(*digests)
    yard.finish()


@pytest.mark.soak
def test_an_image_that_is_no_tool_fails_with_the_reason_and_its_jobs_get_511(
    yard: ReleaseYard,
) -> None:
    yard.publish("v1")
    tool("v2").on_top(Layer().file("opt/test-runner/bin/.wh.run.sh", "")).publish(
        yard.published, "ruby-test-runner", "no-tool"
    )
    tool("v3", "#!/no/such/shell\n").publish(yard.published, "ruby-test-runner", "no-shell")
    tool("v4").on_top(Layer().file("x", ""), User="nobody-here").publish(
        yard.published, "ruby-test-runner", "no-user"
    )
    yard.start_router(liveness_s=HASTY_S)
    yard.run_worker()
    with yard.serving():
        for version, reason in {
            "no-tool": "bin/run.sh is missing",
            "no-shell": "the tool does not start",
            "no-user": "is not in its /etc/passwd",
        }.items():
            yard.deploy(version)
            assert reason in yard.await_state(version, state="failed")["reason"]
            crowd = yard.crowd()
            crowd.ask(yard.request("true", version=version, codes=[status.NOT_READY]))
            crowd.wait()
    yard.finish()


@pytest.mark.soak
def test_unloaded_under_load_what_runs_ends_and_what_comes_is_refused(yard: ReleaseYard) -> None:
    (first, second) = yard.publish("v1", "v2")
    yard.start_router()
    yard.run_worker()
    with yard.serving():
        for _ in range(3):
            yard.deploy("v2")
            yard.await_ready("worker-1", version="v2")
            yard.await_stored(first, second)
            crowd = yard.crowd()
            running = yard.request("sleep 1; true", version="v2")
            crowd.ask(running)
            yard.await_begun(running)
            either = [status.OK, status.UNKNOWN_VERSION]
            crowd.ask(*yard.requests(8, "true", version="v2", codes=either))
            assert yard.deploy("v2", "unload")["status"]["code"] == status.OK
            late = yard.request("true", version="v2", codes=[status.UNKNOWN_VERSION])
            crowd.ask(late)
            crowd.wait()
            assert running.code == status.OK
            yard.await_stored(first)
    yard.finish()


@pytest.mark.soak
def test_unloaded_and_deployed_again_while_its_jobs_run(yard: ReleaseYard) -> None:
    yard.publish("v1", "v2")
    yard.start_router(deployed=("v1", "v2"))
    yard.run_worker()
    yard.await_ready("worker-1", version="v2")
    crowd = yard.crowd()
    with yard.serving():
        running = yard.request("sleep 1.5; true", version="v2")
        crowd.ask(running)
        yard.await_begun(running)
        for _ in range(2):
            yard.deploy("v2", "unload")
            yard.deploy("v2")
        yard.await_ready("worker-1", version="v2")
        assert not running.heard
        yard.tested("v2")
        crowd.wait()
    yard.tested("v2")
    yard.finish()


def test_progress_is_seen_while_it_happens_and_never_goes_back(
    yard: ReleaseYard, lying: LyingRegistry
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
    yard.start_router()
    yard.run_worker()
    seen: list[int] = []
    with yard.serving():
        yard.deploy("v2")
        for gate, quarter in zip(gates, (25, 50, 75), strict=True):
            await_that(lambda: note(seen, yard) >= quarter - 2, what=f"{quarter} percent")  # noqa: B023
            assert seen[-1] <= quarter
            gate.set()
        yard.await_state("v2", state="ready", percent=100)
    assert seen == sorted(seen)
    yard.finish()


def note(seen: list[int], yard: ReleaseYard) -> int:
    """Look how far v2 is, and write it down."""
    seen.append(yard.state("v2")["percent"])
    return seen[-1]


@pytest.mark.soak
def test_the_former_version_is_deployed_again(yard: ReleaseYard) -> None:
    (first, second) = yard.publish("v1", "v2")
    yard.start_router()
    yard.run_worker()
    for gone, come, kept in (("v1", "v2", second), ("v2", "v1", first)):
        with yard.serving(gone):
            yard.deploy(come)
            yard.await_ready("worker-1", version=come)
        with yard.serving(come):
            yard.deploy(gone, "unload")
            yard.await_stored(kept)
    yard.finish()


def test_a_worker_killed_during_a_pull_serves_the_old_version_when_it_starts_again(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=3_000_000), "v2")
    yard.start_router()
    worker = yard.run_worker()
    yard.run_worker("worker-2")
    lying.tricks[much] = hang(2_000_000)
    with yard.serving():
        yard.deploy("v2")
        await_that(lambda: 0 < yard.state("v2")["percent"] < 100, what="half a pull")
        assert yard.state("v2")["phase"] == "pulling"
        worker.kill()
        left = list((yard.folder / "worker-1/tmp").iterdir())  # the way in to the registry
        assert left
        yard.run_worker()  # v1 is here: nobody asks the registry
        assert not any(path.exists() for path in left)
        lying.tricks.clear()
        lying.over.set()
        yard.await_ready("worker-1", "worker-2", version="v2")
    yard.await_stored(*yard.store("worker-2").digests())
    yard.tested("v2")
    yard.finish()


@pytest.mark.soak
def test_a_worker_killed_while_it_tries_a_version_tries_it_again(yard: ReleaseYard) -> None:
    (first,) = yard.publish("v1")
    (slow,) = yard.publish("slow", run_sh=SLOW_TO_PROVE)
    yard.start_router()
    worker = yard.run_worker()
    yard.run_worker("worker-2")
    with yard.serving():
        yard.deploy("slow")
        yard.await_state("slow", phase="checking")
        moment(yard, 0.5)
        worker.kill()
        yard.run_worker()
        yard.await_ready("worker-1", "worker-2", version="slow")
    yard.await_stored(first, slow)
    yard.tested("slow")
    yard.finish()


def test_a_worker_killed_at_any_moment_of_coming_and_going_versions_is_whole_afterwards(
    yard: ReleaseYard,
) -> None:
    (first, *_) = yard.publish("v1", "v2", "v3", random_bytes=2_000_000)
    yard.start_router()
    yard.run_worker()
    yard.run_worker("worker-2")
    with yard.serving():
        for _ in range(3):
            yard.deploy("v2")
            yard.deploy("v3")
            moment(yard, 0.8)
            yard.deploy("v2", "unload")
            yard.deploy("v3", "unload")
            moment(yard, 0.4)
            yard.worker("worker-1").kill()
            yard.run_worker()
    yard.await_stored(first)
    yard.finish()


def test_a_worker_that_is_stopped_gives_its_pulls_up(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=1_000_000), "v2")
    lying.tricks[much] = hang(500_000)
    yard.start_router()
    worker = yard.run_worker()
    yard.deploy("v2")
    await_that(lambda: yard.state("v2")["percent"] > 0, what="half a pull")
    assert worker.stop(8) == 0  # the pull would hang for a minute
    yard.finish()


def test_a_version_that_is_not_wanted_any_more_is_not_pulled_any_further(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    first = yard_digest(lying)
    _, (_, _, much) = lying.serve(tool("v2", random_bytes=1_000_000), "v2")
    lying.serve(tool("v3"), "v3")
    lying.tricks[much] = hang(500_000)
    yard.start_router()
    yard.run_worker()
    with yard.serving():
        yard.deploy("v2")
        await_that(lambda: yard.state("v2")["percent"] > 0, what="half a pull")
        yard.deploy("v3")
        yard.await_ready("worker-1", version="v3")  # beside the one that hangs
        yard.deploy("v2", "unload")
        yard.deploy("v3", "unload")
        yard.await_stored(first)  # which is not done while anything is being pulled
    yard.finish()


def yard_digest(lying: LyingRegistry) -> str:
    """The digest that v1 has in a registry."""
    digest, _ = lying.serve(tool("v1"), "v1")
    return digest
