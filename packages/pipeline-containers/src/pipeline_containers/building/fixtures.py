"""A tool's own fixtures: what it is given, and what it promises to make of it.

    tests/CASE/expected_results.json         with the rest of the folder as the input, slug CASE
    tests/SLUG/CASE/expected_analysis.json   or a folder for each exercise, several cases in it

The layout is that of the Exercism track tooling: `expected_` and the name of each output file.
JSON is compared as JSON, text by its lines. The files are a stranger's: no link is followed.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_containers.errors import ImageInvalid
from pipeline_containers.sandbox.result.outputs import parse_json
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.tools import OutputFile, ToolKind
from pipeline_containers.system.files import FileRefused, read_beneath

MAX_FIXTURES = 200
PREFIX = "expected_"
_EXPECTED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fixture:
    """A folder of input files, and the content of each output file that is promised for them."""

    name: str
    slug: str
    folder: Path
    expected: dict[str, Any]

    def fill(self, job_folder: Path) -> None:
        """Copy the input; what is expected is not shown to the tool."""
        shutil.copytree(
            self.folder,
            job_folder,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=lambda _, names: [name for name in names if name.startswith(PREFIX)],
        )


def find_fixtures(tests: Path, kind: ToolKind) -> list[Fixture]:
    """List the fixtures for a kind of tool.

    Raises `ImageInvalid` if what they promise is no data.
    """
    found = []
    for case in _folders(tests):
        for folder in (case, *_folders(case)):
            expected = _expected(folder, kind.outputs)
            if expected:
                name = str(folder.relative_to(tests))
                found.append(Fixture(name, case.name, folder, expected))
            if len(found) > MAX_FIXTURES:
                raise ImageInvalid(f"there are more than {MAX_FIXTURES} fixtures in tests/")
    return found


def judge(fixture: Fixture, kind: ToolKind, report: RunReport) -> Iterator[str]:
    """Compare what the tool made of a fixture with what was promised; the problems."""
    if not report.succeeded:
        how = report.which_limit or f"exit status {report.exit_status}"
        yield f"{report.output_problem or report.ending.value}, {how}: {_last(report)}"
        return
    for output in kind.outputs:
        if output.file not in fixture.expected:
            continue
        outputs = report.outputs or {}
        actual = outputs if output.field is None else outputs.get(output.field)
        wanted = fixture.expected[output.file]
        if not output.is_json:
            actual, wanted = str(actual).splitlines(), wanted.splitlines()
        difference = first_difference(wanted, actual)
        if difference:
            yield f"{output.file}: {difference}"


def first_difference(expected: Any, actual: Any, place: str = "$") -> str:
    """Return where two JSON values first differ, and how; nothing when they do not."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in (*expected, *(key for key in actual if key not in expected)):
            where = f"{place}.{key}"
            if key not in actual:
                return f"{where} is missing"
            if key not in expected:
                return f"{where} is not expected"
            difference = first_difference(expected[key], actual[key], where)
            if difference:
                return difference
        return ""
    if isinstance(expected, list) and isinstance(actual, list):
        for index, pair in enumerate(zip(expected, actual, strict=False)):
            difference = first_difference(*pair, f"{place}[{index}]")
            if difference:
                return difference
        if len(expected) != len(actual):
            return f"{place} has {len(actual)} entries, not {len(expected)}"
        return ""
    if isinstance(expected, bool) is isinstance(actual, bool) and expected == actual:
        return ""
    return f"{place} is {_short(actual)}, not {_short(expected)}"


def _folders(folder: Path) -> Iterable[Path]:
    """List the folders in a folder, by name; links are none."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        if not folder.is_symlink():
            return sorted(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


def _expected(folder: Path, outputs: Iterable[OutputFile]) -> dict[str, Any]:
    expected = {}
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for output in outputs:
            with suppress(FileNotFoundError):
                content = read_beneath(descriptor, PREFIX + output.file, _EXPECTED_BYTES)
                expected[output.file] = parse_json(content) if output.is_json else content.decode()
    except (FileRefused, ValueError) as error:
        raise ImageInvalid(f"tests/{folder.name}: what is expected {error}") from error
    finally:
        os.close(descriptor)
    return expected


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _last(report: RunReport) -> str:
    said = (report.stderr.strip() or report.stdout.strip() or "it said nothing").splitlines()
    return said[-1][:200]
