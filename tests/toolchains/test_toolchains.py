"""Toolchains in the sandbox: each runs an exercise under the limits that it is said to need."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.pace import paced
from support.runtime import RUNTIME
from toolchains.images import Images
from toolchains.table import ALL, CASES, TOOLCHAINS

from pipeline_containers import TOOLS, RunReport, Sandbox, ToolRun

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]  # images are made by the first one

RIGHT, WRONG = "400", "800"
"""What every solution says once, and what makes it wrong about the year 2000."""


@pytest.fixture(scope="module")
def images() -> Images:
    home = Path(os.environ.get("PIPELINE_DEV_FOLDER", "/var/lib/pipeline-dev"))
    return Images(home / "toolchains")


@pytest.fixture(scope="module")
def sandbox(module_folder: Path) -> Iterator[Sandbox]:
    with Sandbox(module_folder / "sandbox", runtime=RUNTIME, slots=1) as sandbox:
        yield sandbox


class Bench:
    """One toolchain's test runner, called again and again."""

    def __init__(self, name: str, images: Images, sandbox: Sandbox, folder: Path) -> None:
        self.toolchain = ALL[name]
        self._name = name
        self._images = images
        self._sandbox = sandbox
        self._folder = folder
        self._runs = 0

    def run(self, user: str = "", *, wrong: bool = False, without: str = "") -> RunReport:
        self._runs += 1
        image = self._images.image(self._name, self._folder / str(self._runs), user, without)
        limits = self.toolchain.limits_of_job(without)
        limits = replace(limits, wall_s=paced(limits.wall_s))

        def fill(job_folder: Path) -> None:
            for name, text in self.toolchain.files.items():
                place = job_folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text.replace(RIGHT, WRONG) if wrong else text)

        return self._sandbox.run(
            ToolRun(image, TOOLS["test_runner"], "leap", fill, limits, is_trial=True)
        )


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, images: Images, sandbox: Sandbox, shared_folder: Path
) -> Bench:
    return Bench(request.param, images, sandbox, shared_folder)


def of(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", names, indirect=True)


@of(list(TOOLCHAINS))
def test_a_toolchain_tells_right_from_wrong(bench: Bench) -> None:
    for user in bench.toolchain.users:
        report = bench.run(user)
        assert status_of(report) == "pass", report
        assert report.warnings == ()
    report = bench.run(bench.toolchain.users[-1], wrong=True)
    assert status_of(report) == "fail", report
    assert re.search("wrong: +2000", message_of(report)), report


@of(list(CASES))
def test_what_a_tool_does_beside_is_as_in_other_containers(bench: Bench) -> None:
    for user in bench.toolchain.users:
        report = bench.run(user)
        assert has_passed(bench, report), report


@of([name for name, case in CASES.items() if case.needs])
def test_what_a_case_is_said_to_need_it_needs(bench: Bench) -> None:
    for need in bench.toolchain.needs:
        report = bench.run(bench.toolchain.users[0], without=need)
        assert not has_passed(bench, report), f"without {need}: {report}"


def has_passed(bench: Bench, report: RunReport) -> bool:
    return status_of(report) == "pass" and bench.toolchain.says in message_of(report)


def status_of(report: RunReport) -> str:
    """Return the tool's own verdict, or what became of a job without one."""
    if not report.succeeded or report.outputs is None:
        return report.ending.value
    return str(report.outputs["status"])


def message_of(report: RunReport) -> str:
    assert report.outputs is not None, report
    return str(report.outputs["message"])
