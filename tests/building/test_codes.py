"""What a builder says to what goes wrong, over a bare socket; and that it leaves nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.bare import say
from support.leftovers import find_leftovers
from support.processes import Machine, machine
from support.tracks import git, make_repository, write_seed

pytestmark = pytest.mark.e2e
TOOL = "bash-test-runner"
BASE = "FROM localhost/pipeline-base/bash:bookworm\n"
GOOD = f"{BASE}WORKDIR /opt/test-runner\nCOPY bin bin\nCOPY lib lib\n"


@pytest.fixture(scope="module")
def track(module_folder: Path, base_images: Path) -> Iterator[Machine]:
    repositories = module_folder / "repositories"
    make_repository(TOOL, repositories)
    with machine(module_folder) as own:
        own.router(write_seed(module_folder, repositories))
        own.worker("builder-1", "builders", "--base-images", str(base_images))
        yield own
        builder = module_folder / "builder-1"
        assert not list(builder.rglob("scratch-*"))
        assert not list((module_folder / "registry").rglob(".push-*"))
    assert not find_leftovers(module_folder)


def commit(track: Machine, files: dict[str, str]) -> None:
    repository = track.folder / "repositories" / TOOL
    for name, text in files.items():
        (repository / name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message=change")


def request(reference: str = "master", **fields: Any) -> dict[str, Any]:
    message = {"action": "build_container", "track_slug": "bash", "channel": "test_runners"}
    return message | {"git_reference": reference} | fields


@pytest.mark.parametrize(
    ("dockerfile", "code", "error", "log"),
    [
        (f"{GOOD}RUN echo the reason >&2; exit 7\n", 513, "status 7", "the reason"),
        (f"# syntax=evil.example/front:1\n{GOOD}", 400, "foreign front end", "==> fetching"),
        (BASE, 514, "run.sh is missing", "==> validating"),
        (f"{GOOD}RUN echo 'exit 0' >bin/run.sh\n", 514, "tests/error: ", "==> validating"),
        (f"{GOOD}RUN yes {'y' * 99}\n", 402, "printed more than 16777216 bytes", "yyy\nyyy"),
    ],
)
def test_builds_that_come_to_nothing(
    track: Machine, dockerfile: str, code: int, error: str, log: str
) -> None:
    commit(track, {"Dockerfile": dockerfile})
    reply = say(track.address, request())
    assert reply["status"]["code"] == code, reply
    assert error in reply["status"]["error"]
    assert log in reply["context"]["logs"]["stdout"]


@pytest.mark.parametrize("reference", ["no-such-branch", "0123456", "0" * 40, "heads/master"])
def test_references_that_name_nothing(track: Machine, reference: str) -> None:
    reply = say(track.address, request(reference))
    assert reply["status"]["code"] == 400
    assert "not on any branch or tag" in reply["status"]["error"]


@pytest.mark.parametrize("reference", ["--upload-pack=touch x", "$(id)", "a..b", "-x", ""])
def test_references_that_are_none(track: Machine, reference: str) -> None:
    assert say(track.address, request(reference))["status"]["code"] in (400, 502)


def test_a_registry_that_cannot_be_written(track: Machine) -> None:
    commit(track, {"Dockerfile": GOOD})
    registry = track.folder / "registry" / TOOL
    registry.parent.mkdir(exist_ok=True)
    registry.write_text("in the way")
    try:
        reply = say(track.address, request())
    finally:
        registry.unlink()
    assert reply["status"]["code"] == 512, reply
    assert "registry" in reply["status"]["error"]


def test_progress_then_cancelled_then_built(track: Machine) -> None:
    """Over a DEALER: lines come while it waits; a cancelled build leaves the way free."""
    commit(track, {"Dockerfile": f"{GOOD}RUN echo now; sleep 66.5\n"})
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(track.address)
        body = request(id="build-1", progress=True)
        dealer.send_multipart([b"", json.dumps(body).encode()])
        lines: list[str] = []
        reply: dict[str, Any] = {}
        while "status" not in reply:
            assert dealer.poll(30_000)
            reply = json.loads(dealer.recv_multipart()[-1])
            if "progress" not in reply:
                continue
            lines += reply["progress"]["lines"]
            if "now" in reply["progress"]["lines"]:
                cancel = {"action": "cancel", "id": "build-1", "of_action": "build_container"}
                assert say(track.address, cancel)["response"] == {"cancelled": 1}
    assert reply["status"]["code"] == 499
    assert any(line.startswith("==> fetching file://") for line in lines)
    assert any(line.startswith("==> building ") for line in lines)
    commit(track, {"Dockerfile": GOOD})
    assert say(track.address, request())["response"]["outcome"] == "built"


def test_a_fixture_that_is_not_as_expected_is_shown_and_the_image_published(
    track: Machine,
) -> None:
    expected = "tests/pass/expected_results.json"
    file = track.folder / "repositories" / TOOL / expected
    before = file.read_text()
    changed = json.loads(before) | {"status": "fail"}
    commit(track, {"Dockerfile": GOOD, expected: json.dumps(changed)})
    reply = say(track.address, request())
    assert reply["status"]["code"] == 200, reply
    assert reply["response"]["outcome"] == "built"
    (warning,) = reply["context"]["warnings"]
    assert warning.startswith("tests/pass is not as expected:\n--- expected results.json\n")
    assert '\n-  "status": "fail",\n+  "status": "pass",\n' in warning
    assert "warning: tests/pass is not as expected:" in reply["context"]["logs"]["stdout"]
    commit(track, {expected: before})
    assert "warnings" not in say(track.address, request())["context"]
