"""A builder that is killed while it publishes: the image is there whole, or not at all."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.releasing import stopped
from faults.waiting import await_that
from support.bash_track import BashTrack
from support.leftovers import find_leftovers
from support.processes import Machine, machine
from support.registry import RegistryServer, registry_server
from support.tracks import SOLUTIONS, make_repository, write_seed

pytestmark = pytest.mark.e2e
TOOL = "bash-test-runner"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path, {"builder": "secret"}) as started:
        yield started


@pytest.fixture
def own(shared_folder: Path) -> Iterator[Machine]:
    with machine(shared_folder) as own:
        yield own


def test_a_builder_killed_while_it_pushes_and_the_same_build_again(
    own: Machine, server: RegistryServer, base_images: Path
) -> None:
    repositories = own.folder / "repositories"
    sha = make_repository(TOOL, repositories)
    seed = write_seed(own.folder, repositories)
    text = seed.read_text()
    assert (text.count("kind: folder  "), text.count("location: ./registry  ")) == (1, 1)
    text = text.replace("kind: folder  ", "kind: docker  ")
    seed.write_text(text.replace("location: ./registry  ", f"location: {server.host}  "))
    own.router(seed)
    under = (
        "/usr/bin/env",
        f"SSL_CERT_FILE={server.authority.bundle()}",
        f"REGISTRY_AUTH_FILE={server.login('builder', 'secret')}",
    )
    bases = ("--base-images", str(base_images))
    builder = own.worker("builder-1", "builders", *bases, under=under)
    track = BashTrack(own, builder, sha)
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(track.build)
        log = server.folder / "registry.log"
        await_that(lambda: uploads(log), what="a push")
        with stopped(server.pid):
            assert not (
                server.folder / "data/docker/registry/v2/repositories" / TOOL / "_manifests/tags"
            ).exists()
            builder.kill()
        again = own.worker("builder-1", "builders", *bases, under=under)
        reply = answer.result(90)
    assert reply["status"]["code"] == 200, reply  # the router gave it to the next builder
    assert reply["response"]["outcome"] == "built"
    assert track.build()["response"] == reply["response"] | {"outcome": "ignored"}
    worker = own.worker("worker-1", "test_runners", "--file-inputs", str(SOLUTIONS), under=under)
    assert track.deploy()["status"]["code"] == 200
    track.await_workers("worker-1")
    digest = reply["response"]["digest"]
    await_that(
        lambda: track.deployment()["versions"][0]["digest"] == digest, what="the registry's digest"
    )
    assert track.test()["response"]["status"] == "pass"
    for process in (worker, again):
        assert process.stop() == 0
    assert not [found for found in find_leftovers(own.folder).processes if "router" not in found]


def uploads(log: Path) -> bool:
    """Say whether somebody has begun to send a layer."""
    return re.search(rf"/v2/{TOOL}/blobs/uploads/", log.read_text(errors="replace")) is not None
