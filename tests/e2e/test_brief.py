"""The brief, from end to end: from git to Amazon's registry, to workers, to results from S3."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.bare import say
from support.ecr import AWS_NAMES, Ecr, ecr
from support.leftovers import find_leftovers
from support.pace import paced
from support.processes import Machine, Process, machine
from support.s3 import rclone
from support.tracks import SOLUTIONS, git, make_repository, write_seed

pytestmark = pytest.mark.e2e
TOOL = "bash-test-runner"
BUCKET = "submissions"
KEY, SECRET = AWS_NAMES["AWS_ACCESS_KEY_ID"], AWS_NAMES["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="module")
def amazon(module_folder: Path) -> Iterator[Ecr]:
    folder = module_folder / "ecr"
    folder.mkdir()
    with ecr(folder) as own:
        yield own


@pytest.fixture(scope="module", params=["rclone", "moto"])
def s3(request: pytest.FixtureRequest, module_folder: Path, amazon: Ecr) -> Iterator[str]:
    """Give a real S3 with the example solutions in it; its endpoint."""
    if request.param == "rclone":
        with rclone(module_folder, KEY, SECRET) as server:
            for key, content in _solutions():
                server.put(BUCKET, key, content)
            yield server.endpoint
        return
    client = boto3.client(
        "s3",
        endpoint_url=amazon.endpoint,
        region_name=AWS_NAMES["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=BUCKET)
    for key, content in _solutions():
        client.put_object(Bucket=BUCKET, Key=key, Body=content)
    client.close()
    yield amazon.endpoint


def _solutions() -> Iterator[tuple[str, bytes]]:
    for file in sorted(SOLUTIONS.glob("bash/two-fer/*/*")):
        yield f"runs/{file.relative_to(SOLUTIONS)}", file.read_bytes()


class Platform:
    """The system as the brief has it, spoken to by its JSON."""

    def __init__(self, own: Machine, amazon: Ecr, s3: str, repository: Path) -> None:
        self._own = own
        self._under = ("/usr/bin/env", f"AWS_ENDPOINT_URL_S3={s3}", *amazon.command())
        self._asked = 0
        self.repository = repository

    def worker(self, name: str, channel: str, *options: str) -> Process:
        return self._own.worker(name, channel, *options, under=self._under)

    def say(self, action: str, **fields: Any) -> dict[str, Any]:
        return say(self._own.address, {"action": action, "track_slug": "bash", **fields})

    def must(self, action: str, **fields: Any) -> dict[str, Any]:
        reply = self.say(action, channel="test_runners", **fields)
        assert reply["status"]["code"] == 200, reply
        response = reply["response"]
        assert isinstance(response, dict)
        return response

    def commit(self, text: str) -> str:
        """Change the tool, on master; the commit."""
        (self.repository / "lib/NEWS").write_text(text)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", "--message", text)
        return git(self.repository, "rev-parse", "HEAD")

    def build(self, reference: str) -> tuple[str, str]:
        """Build a reference; the version's name and its digest."""
        built = self.must("build_container", git_reference=reference)
        return f"git-{built['git_sha']}", built["digest"]

    def test(self, version: str, solution: str = "passing") -> dict[str, Any]:
        self._asked += 1
        return self.say(
            "test_solution",
            id=f"run-{self._asked}",
            exercise_slug="two-fer",
            s3_uri=f"s3://{BUCKET}/runs/bash/two-fer/{solution}/",
            container_version=version,
        )

    def await_result(self, version: str) -> dict[str, Any]:
        """Ask until the version can be used, as soon as it can; the reply's context."""
        reply = self._await(lambda: self.test(version), lambda one: one["status"]["code"] == 200)
        assert reply["response"]["status"] == "pass", reply
        context = reply["context"]
        assert isinstance(context, dict)
        return context

    def await_ready(self, *workers: str) -> None:
        """Wait until each wanted version is ready on each of these workers."""
        self._await(
            lambda: self.must("deployment_check"),
            lambda found: (
                found["state"] == "deployed"
                and all(
                    {one["worker"] for one in version["workers"]} == set(workers)
                    for version in found["versions"]
                )
            ),
        )

    def _await(
        self, ask: Callable[[], dict[str, Any]], enough: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        until = time.monotonic() + paced(30)
        while not enough(reply := ask()):
            assert time.monotonic() < until, reply
            time.sleep(0.05)
        return reply


@pytest.fixture
def platform(shared_folder: Path, base_images: Path, amazon: Ecr, s3: str) -> Iterator[Platform]:
    """Give a router that is configured for ECR and S3, and a builder."""
    repositories = shared_folder / "repositories"
    make_repository(TOOL, repositories)
    seed = write_seed(shared_folder, repositories)
    text = seed.read_text()
    for default, ours in (
        ("kind: folder  ", "kind: ecr  "),
        ("s3_prefixes: []", f's3_prefixes: ["s3://{BUCKET}/runs/"]'),
    ):
        assert text.count(default) == 1
        text = text.replace(default, ours)
    seed.write_text(text)
    with machine(shared_folder) as own:
        own.router(seed)
        platform = Platform(own, amazon, s3, repositories / TOOL)
        platform.worker("builder-1", "builders", "--base-images", str(base_images))
        yield platform
        assert {process.name: process.stop() for process in reversed(own.processes)} == {
            process.name: 0 for process in own.processes
        }
    assert not find_leftovers(shared_folder)


def test_from_a_commit_to_a_result(platform: Platform) -> None:
    # build by branch, by tag, by SHA
    first, first_digest = platform.build("master")
    tagged = platform.commit("second")
    git(platform.repository, "tag", "--annotate", "v2", "--message=two")
    assert platform.build("v2")[0] == f"git-{tagged}"
    second, second_digest = platform.build(tagged)
    assert second == f"git-{tagged}" != first
    assert second_digest != first_digest
    available = platform.must("list_available_containers")["versions"]
    assert {first, second} <= set(available)

    # a deploy, and a result as soon as it is there
    assert platform.test(first)["status"]["code"] == 505
    generic = platform.worker("generic-1", "test_runners")
    assert platform.must("deploy_container_version", new_version=first)["workers"] == 1
    context = platform.await_result(first)
    assert context["worker"] == "generic-1"
    assert context["image_digest"] == first_digest
    for solution, status in (("failing", "fail"), ("broken", "error")):
        assert platform.test(first, solution)["response"]["status"] == status

    # a scoped worker is preferred, with whichever version
    scoped = platform.worker("scoped-1", "test_runners?topic=bash")
    platform.await_ready("generic-1", "scoped-1")
    assert platform.await_result(first)["worker"] == "scoped-1"
    platform.must("deploy_container_version", new_version=second)
    context = platform.await_result(second)
    assert context["image_digest"] == second_digest
    assert platform.await_result(first)["image_digest"] == first_digest
    platform.await_ready("generic-1", "scoped-1")

    # the former version goes, and comes again
    platform.must("unload_container_version", version=first)
    assert platform.test(first)["status"]["code"] == 505
    assert platform.await_result(second)["worker"] == "scoped-1"
    platform.must("deploy_container_version", new_version=first)
    assert platform.await_result(first)["image_digest"] == first_digest

    # without the scoped worker, the generic one; without any, an error at once
    platform.await_ready("generic-1", "scoped-1")
    assert scoped.stop() == 0
    assert platform.await_result(second)["worker"] == "generic-1"
    assert generic.stop() == 0
    refused = platform.test(second)
    assert refused["status"]["code"] == 503
    assert "pipeline-worker listen" in refused["status"]["error"]

    # nothing is wanted any more
    platform.must("unload_container_version", version=first)
    assert platform.must("unload_container_version", version=second)["versions"] == []
    assert platform.must("deployment_check")["state"] == "nothing_wanted"
