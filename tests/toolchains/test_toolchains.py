"""Thirty toolchains and more: each runs a small exercise in the sandbox, under the limits that it needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pace import paced
from support.runtime import RUNTIME
from toolchains.images import Images
from toolchains.table import TOOLCHAINS

from pipeline_containers import TOOLS, Limits, RunReport, Sandbox, ToolRun

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

RIGHT, WRONG = "400", "800"
"""What every solution says once, and what makes it wrong about the year 2000."""
USERS = ("", "appuser")
"""An image without USER, and one whose user's HOME is /tmp."""


@pytest.fixture(scope="module")
def images() -> Images:
    home = Path(os.environ.get("PIPELINE_DEV_FOLDER", "/var/lib/pipeline-dev"))
    return Images(home / "toolchains", TOOLCHAINS)


@pytest.fixture(scope="module")
def sandbox(module_folder: Path) -> Iterator[Sandbox]:
    with Sandbox(module_folder / "sandbox", runtime=RUNTIME, slots=1) as sandbox:
        yield sandbox


class Bench:
    """One toolchain's tool, called for one exercise after the other."""

    def __init__(self, name: str, images: Images, sandbox: Sandbox, folder: Path) -> None:
        self.toolchain = TOOLCHAINS[name]
        self._name = name
        self._images = images
        self._sandbox = sandbox
        self._folder = folder
        self._runs = 0

    def run(self, user: str = "", *, wrong: bool = False, without: str = "") -> RunReport:
        self._runs += 1
        image = self._images.image(self._name, self._folder / str(self._runs), user, without)
        limits = self.toolchain.limits_of_job(without)
        files = self.toolchain.files

        def fill(job_folder: Path) -> None:
            for name, text in files.items():
                place = job_folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text.replace(RIGHT, WRONG) if wrong else text)

        report = self._sandbox.run(
            ToolRun(image, TOOLS["test_runner"], "leap", fill, _paced(limits), is_trial=True)
        )
        print(f"{self._name} {user or 'root'}: {report}")
        return report


def _paced(limits: Limits) -> Limits:
    from dataclasses import replace

    return replace(limits, wall_s=paced(limits.wall_s))


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, images: Images, sandbox: Sandbox, shared_folder: Path
) -> Bench:
    return Bench(request.param, images, sandbox, shared_folder)


def by_name(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", names, indirect=True)


@by_name(list(TOOLCHAINS))
def test_a_toolchain_tells_right_from_wrong(bench: Bench) -> None:
    for user in USERS:
        report = bench.run(user)
        assert report.succeeded, report
        assert report.outputs is not None
        assert report.outputs["status"] == "pass", report.outputs
        assert report.warnings == ()
    report = bench.run(USERS[-1], wrong=True)
    assert report.succeeded, report
    assert report.outputs is not None
    assert report.outputs["status"] == "fail", report.outputs
    assert "wrong: 2000" in report.outputs["message"].replace("wrong:  ", "wrong: ")
