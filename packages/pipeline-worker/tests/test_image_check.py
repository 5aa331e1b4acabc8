"""What the worker makes of a trial's end; `validate` has tests of its own, with real containers."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline_containers.errors import BuildCancelled, BuildTimedOut, ImageInvalid, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_worker.versions import check as image_check
from pipeline_worker.versions.check import ImageCheck

IMAGE = StoredImage(f"sha256:{'1' * 64}", (Path("/nowhere"),))


@dataclass
class ImageCheckHarness:
    """An image check whose trials end as a test says."""

    folder: Path
    failure: Exception | None = None
    trials: int = 0
    forgotten: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def forget(self, digest: str) -> None:
        self.forgotten.append(digest)

    def validate(self, *_: Any) -> None:
        self.trials += 1
        if self.failure is not None:
            raise self.failure

    def open(self, kind: str = "test_runner") -> ImageCheck:
        return ImageCheck(cast(Sandbox, self), TOOLS[kind], self.folder, self.doubts.append)


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageCheckHarness:
    made = ImageCheckHarness(tmp_path)
    monkeypatch.setattr(image_check, "validate", made.validate)
    return made


def prove(opened: ImageCheck) -> None:
    opened.prove(IMAGE, threading.Event())


def test_what_did_once_is_not_tried_again_by_the_next_worker(harness: ImageCheckHarness) -> None:
    for _ in range(2):
        prove(harness.open())
    assert harness.trials == 1
    prove(harness.open("analyser"))
    assert harness.trials == 2


def test_what_a_dead_worker_left_of_a_trial_goes_when_the_next_one_starts(
    harness: ImageCheckHarness,
) -> None:
    half = harness.folder / "scratch-dead"
    half.mkdir()
    harness.open()
    assert not half.exists()


def test_what_was_forgotten_is_tried_again(harness: ImageCheckHarness) -> None:
    opened = harness.open()
    prove(opened)
    opened.forget(IMAGE.digest)
    prove(opened)
    assert (harness.trials, harness.forgotten) == (2, [IMAGE.digest])


@pytest.mark.parametrize(
    ("failure", "raised", "is_doubtful"),
    [
        (ImageInvalid("no run.sh"), ImageInvalid, False),
        (BuildCancelled("not wanted"), BuildCancelled, False),
        (SandboxError("no cgroups"), SandboxError, True),
        (BuildTimedOut("too long"), SandboxError, True),
    ],
)
def test_a_failure_is_not_remembered_and_puts_the_host_in_doubt_only_if_it_is_the_hosts(
    harness: ImageCheckHarness, failure: Exception, raised: type[Exception], is_doubtful: bool
) -> None:
    harness.failure = failure
    opened = harness.open()
    for _ in range(2):
        with pytest.raises(raised):
            prove(opened)
    assert harness.trials == 2
    assert len(harness.doubts) == (2 if is_doubtful else 0)
    harness.failure = None
    prove(opened)


def test_a_trial_leaves_nothing_but_its_mark(harness: ImageCheckHarness) -> None:
    prove(harness.open())
    left = [file.name for file in harness.folder.iterdir() if file.name != ".lock"]
    assert left == [f"test_runner-sha256-{'1' * 64}"]
