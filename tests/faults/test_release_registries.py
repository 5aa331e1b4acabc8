"""Registries that die, stand still or lie while workers prepare versions, and disks that fill."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.releasing import TOOL, ReleaseLab, resize, seed_of, small_disk, stopped, tool
from faults.waiting import await_that
from support.hostile_registry import HostileRegistry, lying_registry, say
from support.images import Image
from support.leftovers import find_leftovers, sandbox_cgroups
from support.processes import machine
from support.registry import RegistryServer, registry_server

from pipeline_protocol import status
from pipeline_worker.versions.desired import RETRY_MOST_S

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[ReleaseLab]:
    with machine(shared_folder) as own:
        lab = ReleaseLab(own, seed_of(request.node.name))
        try:
            yield lab
        finally:
            own.stop()
            lab.close()


class GuardedRegistry:
    """A real registry that wants a login, and the file of it."""

    def __init__(self, server: RegistryServer) -> None:
        self.server = server
        self.authfile = server.login("worker", "secret")
        self.trusted = server.authority.bundle()

    @property
    def under(self) -> tuple[str, ...]:
        """What runs a process so that it trusts the registry, and is let in."""
        names = (f"SSL_CERT_FILE={self.trusted}", f"REGISTRY_AUTH_FILE={self.authfile}")
        return ("/usr/bin/env", *names)

    def push(self, image: Image, tag: str) -> None:
        image.publish(self.server.folder / "aside", TOOL, tag)
        copy = f"oci:{self.server.folder}/layouts/{TOOL}-{tag}:{tag}"
        place = f"docker://{self.server.host}/{TOOL}:{tag}"
        command = ("skopeo", "--insecure-policy", "copy", "--quiet", copy, place)
        subprocess.run([*self.under, *command], check=True, capture_output=True)

    def restart(self) -> None:
        """Start it again where it was."""
        self.server.address = self.server.host.replace("localhost", "127.0.0.1")
        self.server.start()


@pytest.fixture
def guarded(lab: ReleaseLab, tmp_path: Path) -> Iterator[GuardedRegistry]:
    folder = tmp_path / "guarded"
    folder.mkdir()
    with registry_server(folder, {"worker": "secret"}) as server:
        guarded = GuardedRegistry(server)
        guarded.push(tool("v1"), "v1")
        lab.registry = {"kind": "docker", "location": server.host}
        yield guarded


@pytest.mark.soak
def test_a_registry_that_is_down_is_told_and_the_version_is_ready_when_it_is_back(
    lab: ReleaseLab, guarded: GuardedRegistry
) -> None:
    guarded.push(tool("v2"), "v2")
    lab.start_router()
    lab.run_worker(under=guarded.under)
    with lab.serving():
        guarded.server.stop()
        lab.deploy("v2")
        reason = lab.await_state("v2", state="failed")["reason"]
        assert "connection refused" in reason
        assert "check that it is up" in reason
        worker = lab.worker("worker-1")
        assert worker.stop() == 0
        lab.run_worker(under=guarded.under)  # v1 is here: it serves without a registry
        guarded.restart()
        lab.await_ready("worker-1", version="v2")
    lab.tested("v2")
    lab.finish()


def copies_in_background(lab: ReleaseLab) -> bool:
    """Say whether what copies for the worker is weighed little against jobs."""
    (cgroup,) = sandbox_cgroups(lab.folder / "worker-1/run", "-background")
    return bool((cgroup / "cgroup.procs").read_text())


def test_a_registry_killed_in_the_middle_of_a_pull_and_started_again(
    lab: ReleaseLab, guarded: GuardedRegistry
) -> None:
    guarded.push(tool("v2", random_bytes=20_000_000), "v2")
    lab.start_router()
    lab.run_worker(under=guarded.under)
    with lab.serving():
        lab.deploy("v2")
        while not 0 < lab.state("v2")["percent"] < 99:
            with stopped(guarded.server.pid):
                lab.pause(0.3)  # the worker tells how far it is a few times a second
            lab.pause(0.01)
        assert copies_in_background(lab)
        guarded.server.stop()
        assert lab.state("v2")["state"] == "preparing"
        guarded.restart()
        lab.await_ready("worker-1", version="v2")
    lab.tested("v2")
    lab.finish()


def test_a_registry_that_stands_still_holds_up_nothing_but_its_own_versions(
    lab: ReleaseLab, guarded: GuardedRegistry
) -> None:
    guarded.push(tool("v2"), "v2")
    lab.start_router()
    lab.run_worker(under=guarded.under)
    with lab.serving():
        with stopped(guarded.server.pid):
            lab.deploy("v2")
            lab.await_state("v2", state="preparing")
            lab.tested("v1")
            lab.deploy("v2", "unload")  # nobody waits for a registry to forget it
            await_that(lambda: lab.state("v2")["state"] == "unknown", what="v2 forgotten")
            lab.deploy("v2")
        lab.await_ready("worker-1", version="v2")
    lab.tested("v2")
    lab.finish()


@pytest.fixture
def lying(lab: ReleaseLab) -> Iterator[HostileRegistry]:
    with lying_registry() as registry:
        lab.registry = {"kind": "docker", "location": registry.location}
        registry.serve(tool("v1"), "v1")
        yield registry


@pytest.mark.soak
def test_a_registry_that_lies_is_found_out_and_told(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    _, (_, own) = lying.serve(tool("v2"), "v2")
    lying.tricks[own] = say(b"something else")
    lab.start_router()
    lab.run_worker()
    with lab.serving():
        lab.deploy("v2")
        reason = lab.await_state("v2", state="failed")["reason"]
        assert "is not what was pushed: push the image again" in reason
        lying.tricks.clear()
        lab.await_ready("worker-1", version="v2")
    lab.tested("v2")
    lab.finish()


@pytest.mark.soak
def test_a_tag_that_moves_changes_nothing_and_a_worker_that_comes_gets_what_is_deployed(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    lab.start_router()
    lab.run_worker()
    (deployed,) = lab.store().digests()
    moved, _ = lying.serve(tool("moved"), "v1")
    assert moved != deployed
    with lab.serving():
        lab.run_worker("worker-2")
    lab.await_stored(deployed, name="worker-2")
    lab.finish()


GIB = 1 << 30
FREE = GIB
"""What a pull leaves free."""


@pytest.mark.timeout(300)
def test_a_disk_that_fills_during_a_pull_costs_the_new_version_only(
    lab: ReleaseLab, lying: HostileRegistry
) -> None:
    first, _ = lying.serve(tool("v1"), "v1")
    second, _ = lying.serve(tool("v2", zeros=150_000_000), "v2")
    with small_disk(lab.folder / "worker-1", FREE + 60_000_000) as disk:
        lab.start_router()
        lab.run_worker()
        with lab.serving():
            lab.deploy("v2")
            reason = lab.await_state("v2", state="failed")["reason"]
            assert f"the disk of {lab.folder}/worker-1/store" in reason
            assert "is full" in reason
            assert "bytes are free now" in reason
            lab.await_stored(first)
            group = lab.group()
            group.ask(lab.request("true", version="v2", codes=[status.NOT_READY], timeout_s=2))
            group.wait()
            resize(disk, FREE + 400_000_000)
            # how often it has failed by now, and so when it is tried again, nobody can say
            lab.await_state("v2", state="ready", seconds=RETRY_MOST_S + 30)
        lab.await_stored(first, second)
        lab.tested("v2")
        lab.end()
    assert not find_leftovers(lab.folder)
