"""Builds through a registry that answers under Amazon's name, asked for over a bare socket."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.ecr import Ecr, ecr
from support.pace import paced
from support.processes import BIN, Machine, machine
from support.tracks import git, make_repository, write_seed

pytestmark = pytest.mark.e2e
TOOL = "bash-test-runner"


@pytest.fixture(scope="module")
def amazon(module_folder: Path) -> Iterator[Ecr]:
    folder = module_folder / "ecr"
    folder.mkdir()
    with ecr(folder) as own:
        yield own


@pytest.fixture(scope="module")
def platform(module_folder: Path, base_images: Path, amazon: Ecr) -> Iterator[Machine]:
    """A router that is configured for ECR, and a builder that believes it."""
    repositories = module_folder / "repositories"
    make_repository(TOOL, repositories)
    seed = write_seed(module_folder, repositories)
    text = seed.read_text()
    assert text.count("kind: folder  ") == 1
    seed.write_text(text.replace("kind: folder  ", "kind: ecr  "))
    with machine(module_folder) as own:
        own.router(seed)
        bases = ("--base-images", str(base_images))
        own.worker("builder-1", "builders", *bases, under=amazon.command())
        yield own


def build(platform: Machine, reference: str) -> dict[str, Any]:
    request = {"action": "build_container", "track_slug": "bash", "channel": "test_runners"}
    return say(platform.address, request | {"git_reference": reference}, 60)


def test_every_kind_of_reference_goes_to_amazon(platform: Machine, amazon: Ecr) -> None:
    """The issue's "it is done when"."""
    repository = platform.folder / "repositories" / TOOL
    first = git(repository, "rev-parse", "HEAD")

    def built(reference: str, sha: str, outcome: str = "built") -> str:
        reply = build(platform, reference)
        assert reply["status"]["code"] == 200, reply
        assert reply["response"]["outcome"] == outcome
        assert reply["response"]["git_sha"] == sha
        assert reply["response"]["image"] == TOOL
        assert reply["response"]["image_tag"] == f"git-{sha}"
        amazon.await_tag(TOOL, f"git-{sha}")
        assert "fixture tests/pass" in reply["context"]["logs"]["stdout"] or outcome == "ignored"
        digest = reply["response"]["digest"]
        assert isinstance(digest, str)
        return digest

    digest = built("master", first)
    assert amazon.digest(TOOL, f"git-{first}") == digest
    settings = amazon.client.describe_repositories(repositoryNames=[TOOL])["repositories"]
    assert settings[0].get("imageTagMutability") == "IMMUTABLE"

    (repository / "lib/NEWS").write_text("second\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=second")
    second = git(repository, "rev-parse", "HEAD")
    assert built("master", second) != digest

    (repository / "lib/NEWS").write_text("third\n")
    git(repository, "commit", "--quiet", "--all", "--message=third")
    third = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "--annotate", "v3", "--message=three")
    git(repository, "reset", "--quiet", "--hard", second)
    built("v3", third)

    for reference, sha in ((third, third), ("v3", third), ("master", second), (first, first)):
        began = time.monotonic()
        again = built(reference, sha, "ignored")
        assert time.monotonic() - began < paced(2)
        assert (again == digest) is (sha == first)

    listing = {"action": "list_available_containers", "track_slug": "bash"}
    reply = say(platform.address, listing | {"channel": "test_runners"})
    assert reply["response"]["versions"] == sorted(f"git-{sha}" for sha in (first, second, third))
    nothing = say(platform.address, listing | {"channel": "representers"})
    assert nothing["response"] == {"image": "bash-representer", "versions": []}


def test_the_command_line_pulls_from_amazon_and_tries_what_it_got(
    platform: Machine, amazon: Ecr
) -> None:
    sha = build(platform, "master")["response"]["git_sha"]
    amazon.await_tag(TOOL, f"git-{sha}")
    repository = platform.folder / "repositories" / TOOL
    options = ("--registry", "ecr", "--work", str(platform.folder / "by-hand"), "--json")

    def call(*arguments: str) -> dict[str, Any]:
        command = [*amazon.command(), str(BIN / "pipeline-containers"), *arguments, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=paced(60))
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    found = call("validate", f"{TOOL}:git-{sha}", "--source", str(repository))
    assert found == {"digest": amazon.digest(TOOL, f"git-{sha}"), "valid": True, "warnings": []}


def test_no_secret_is_told(platform: Machine, amazon: Ecr) -> None:
    build(platform, "master")
    log = (platform.folder / "builder-1.log").read_text()
    assert "auth-token" not in log
    assert "QVdTO" not in log
    reply = say(platform.address, {"action": "current_config"})
    assert "auth-token" not in str(reply)
