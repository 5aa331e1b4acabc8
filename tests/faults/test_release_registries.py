"""Registries that die, stand still or lie while workers prepare versions, and disks that fill."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.releasing import TOOL, ReleaseYard, resize, seed_of, small_disk, stopped, tool
from faults.waiting import await_that
from support.images import Image
from support.leftovers import find_leftovers, sandbox_cgroups
from support.lying import LyingRegistry, lying_registry, say
from support.processes import machine
from support.registry import RegistryServer, registry_server

from pipeline_protocol import status

pytestmark = pytest.mark.e2e


@pytest.fixture
def yard(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[ReleaseYard]:
    with machine(shared_folder) as own:
        yard = ReleaseYard(own, seed_of(request.node.name))
        try:
            yield yard
        finally:
            own.stop()
            yard.close()


class Harbour:
    """A real registry, and the way in for those who push and pull."""

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
def harbour(yard: ReleaseYard, tmp_path: Path) -> Iterator[Harbour]:
    folder = tmp_path / "harbour"
    folder.mkdir()
    with registry_server(folder, {"worker": "secret"}) as server:
        harbour = Harbour(server)
        harbour.push(tool("v1"), "v1")
        yard.registry = {"kind": "docker", "location": server.host}
        yield harbour


@pytest.mark.soak
def test_a_registry_that_is_down_is_told_and_the_version_is_ready_when_it_is_back(
    yard: ReleaseYard, harbour: Harbour
) -> None:
    harbour.push(tool("v2"), "v2")
    yard.start_router()
    yard.run_worker(under=harbour.under)
    with yard.serving():
        harbour.server.stop()
        yard.deploy("v2")
        reason = yard.await_state("v2", state="failed")["reason"]
        assert "connection refused" in reason
        assert "check that it is up" in reason
        worker = yard.worker("worker-1")
        assert worker.stop() == 0
        yard.run_worker(under=harbour.under)  # v1 is here: it serves without a registry
        harbour.restart()
        yard.await_ready("worker-1", version="v2")
    yard.tested("v2")
    yard.finish()


def copies_in_background(yard: ReleaseYard) -> bool:
    """Say whether what copies for the worker is weighed little against jobs."""
    (cgroup,) = sandbox_cgroups(yard.folder / "worker-1/run", "-background")
    return bool((cgroup / "cgroup.procs").read_text())


def test_a_registry_killed_in_the_middle_of_a_pull_and_started_again(
    yard: ReleaseYard, harbour: Harbour
) -> None:
    harbour.push(tool("v2", random_bytes=20_000_000), "v2")
    yard.start_router()
    yard.run_worker(under=harbour.under)
    with yard.serving():
        yard.deploy("v2")
        while not 0 < yard.state("v2")["percent"] < 99:
            with stopped(harbour.server.pid):
                yard.pause(0.3)  # the worker tells how far it is a few times a second
            yard.pause(0.01)
        assert copies_in_background(yard)
        harbour.server.stop()
        assert yard.state("v2")["state"] == "preparing"
        harbour.restart()
        yard.await_ready("worker-1", version="v2")
    yard.tested("v2")
    yard.finish()


def test_a_registry_that_stands_still_holds_up_nothing_but_its_own_versions(
    yard: ReleaseYard, harbour: Harbour
) -> None:
    harbour.push(tool("v2"), "v2")
    yard.start_router()
    yard.run_worker(under=harbour.under)
    with yard.serving():
        with stopped(harbour.server.pid):
            yard.deploy("v2")
            yard.await_state("v2", state="preparing")
            yard.tested("v1")
            yard.deploy("v2", "unload")  # nobody waits for a registry to forget it
            await_that(lambda: yard.state("v2")["state"] == "unknown", what="v2 forgotten")
            yard.deploy("v2")
        yard.await_ready("worker-1", version="v2")
    yard.tested("v2")
    yard.finish()


@pytest.fixture
def lying(yard: ReleaseYard) -> Iterator[LyingRegistry]:
    with lying_registry() as registry:
        yard.registry = {"kind": "docker", "location": registry.location}
        registry.serve(tool("v1"), "v1")
        yield registry


@pytest.mark.soak
def test_a_registry_that_lies_is_found_out_and_told(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    _, (_, own) = lying.serve(tool("v2"), "v2")
    lying.tricks[own] = say(b"something else")
    yard.start_router()
    yard.run_worker()
    with yard.serving():
        yard.deploy("v2")
        reason = yard.await_state("v2", state="failed")["reason"]
        assert "is not what was pushed: push the image again" in reason
        lying.tricks.clear()
        yard.await_ready("worker-1", version="v2")
    yard.tested("v2")
    yard.finish()


@pytest.mark.soak
def test_a_tag_that_moves_changes_nothing_and_a_worker_that_comes_gets_what_is_deployed(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    yard.start_router()
    yard.run_worker()
    (deployed,) = yard.store().digests()
    moved, _ = lying.serve(tool("moved"), "v1")
    assert moved != deployed
    with yard.serving():
        yard.run_worker("worker-2")
    yard.await_stored(deployed, name="worker-2")
    yard.finish()


GIB = 1 << 30
FREE = GIB
"""What a pull leaves free."""


def test_a_disk_that_fills_during_a_pull_costs_the_new_version_only(
    yard: ReleaseYard, lying: LyingRegistry
) -> None:
    first, _ = lying.serve(tool("v1"), "v1")
    second, _ = lying.serve(tool("v2", zeros=150_000_000), "v2")
    with small_disk(yard.folder / "worker-1", FREE + 60_000_000) as disk:
        yard.start_router()
        yard.run_worker()
        with yard.serving():
            yard.deploy("v2")
            reason = yard.await_state("v2", state="failed")["reason"]
            assert f"the disk of {yard.folder}/worker-1/store" in reason
            assert "is full" in reason
            assert "bytes are free now" in reason
            yard.await_stored(first)
            crowd = yard.crowd()
            crowd.ask(yard.request("true", version="v2", codes=[status.NOT_READY], timeout_s=2))
            crowd.wait()
            resize(disk, FREE + 400_000_000)
            yard.await_ready("worker-1", version="v2")
        yard.await_stored(first, second)
        yard.tested("v2")
        yard.end()
    assert not find_leftovers(yard.folder)
