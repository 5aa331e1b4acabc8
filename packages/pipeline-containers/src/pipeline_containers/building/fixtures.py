"""A tool's own fixtures: what it is given, and what it promises to make of it.

    tests/CASE/expected_results.json          with the rest of the folder as the input
    tests/data/CASE/..., test/fixtures/CASE/...
    test_data/SLUG/CASE/expected_analysis.json
    test/CASE/results.json                    where nothing is named `expected_...`

The layouts are those of the Exercism track tooling; `docs/tools.md` says which slug a case has. The
files are a stranger's: no link is followed.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_containers.sandbox.result.outputs import parse_json, parse_output
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.files import FileRefused, read_beneath

MAX_FIXTURES = 200
ROOTS = ("tests", "test", "test_data")
"""Where repositories have fixtures."""
OWN_SCRIPTS = ("bin/run-tests.sh", "bin/smoke_test.sh")
"""What repositories try their fixtures with."""
SLUG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
"""A pattern: the slugs that jobs can have. `tests/architecture` holds it to the protocol's."""

_BASES = ("data", "fixtures")
_PREFIX = "expected_"
_DEPTH = 5
_EXPECTED_BYTES = 4 * 1024 * 1024
_SCRIPT_BYTES = 64 * 1024
_SLUG_OF_SCRIPT = re.compile(
    rf"^[ \t]*slug=(?P<quote>[\"']?)(?P<slug>{SLUG})(?P=quote)[ \t]*$|"
    rf"^[ \t]*(?:\./)?bin/run\.sh[ \t]+(?P<mark>[\"'])(?P<given>(?:{SLUG})?)(?P=mark)[ \t]",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Fixture:
    """A folder of input files, and the content of each output file that is promised for them.

    `name` is its path in the repository.
    """

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
            ignore=lambda _, names: [name for name in names if name.startswith(_PREFIX)],
        )


@dataclass(slots=True)
class FoundFixtures:
    """The fixtures of a repository, and what is to be said of them."""

    fixtures: list[Fixture] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_fixtures(source: Path, kind: ToolKind) -> FoundFixtures:
    """List a checkout's fixtures for a kind of tool.

    What a fixture promises may be no data: then it promises nothing, which is a warning.
    """
    for prefix in (_PREFIX, ""):
        found = FoundFixtures()
        constant = _slug_of_script(source)
        for root in ROOTS:
            for folder in _cases(source / root, kind, prefix):
                if len(found.fixtures) == MAX_FIXTURES:
                    found.warnings.append(f"only the first {MAX_FIXTURES} fixtures are tried")
                    return found
                name = str(folder.relative_to(source))
                slug = constant if constant is not None else _slug(source / root, folder)
                if constant is None and not re.fullmatch(SLUG, slug):
                    found.warnings.append(f"{name}: no job can have its slug {slug!r}")
                expected = _expected(folder, name, kind, prefix, found.warnings)
                found.fixtures.append(Fixture(name, slug, folder, expected))
        if found.fixtures:
            return found
    return FoundFixtures()


def _cases(folder: Path, kind: ToolKind, prefix: str, depth: int = _DEPTH) -> Iterator[Path]:
    """Go through the folders that promise something, by name; links are none."""
    if folder.is_symlink():
        return
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        here = sorted(entries, key=lambda entry: entry.name)
        promised = {prefix + output.file for output in kind.outputs}
        if depth < _DEPTH and any(entry.name in promised for entry in here):
            yield folder
            return
        for entry in here:
            is_place = not entry.name.startswith(".") and entry.name != "node_modules"
            if depth and is_place and entry.is_dir(follow_symlinks=False):
                yield from _cases(folder / entry.name, kind, prefix, depth - 1)


def _expected(
    folder: Path, name: str, kind: ToolKind, prefix: str, warnings: list[str]
) -> dict[str, Any]:
    expected = {}
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for output in kind.outputs:
            file = prefix + output.file
            try:
                content = read_beneath(descriptor, file, _EXPECTED_BYTES)
                expected[output.file] = parse_output(output, content).value
            except FileNotFoundError:
                continue
            except (FileRefused, ValueError) as error:
                told = str(error).removeprefix(f"{file} ")
                warnings.append(f"{name}/{file} {told}: it is not compared")
    finally:
        os.close(descriptor)
    return expected


def _slug_of_script(source: Path) -> str | None:
    """Return the slug that the repository's script gives to all of its cases, if it does."""
    for name in OWN_SCRIPTS:
        text = (_read(source, name, _SCRIPT_BYTES) or b"").decode(errors="replace")
        if match := _SLUG_OF_SCRIPT.search(text):
            return match["slug"] or match["given"] or ""
    return None


def _slug(root: Path, folder: Path) -> str:
    """Return the exercise that a case says it is of; else its first folder below the root."""
    with suppress(ValueError):
        metadata = parse_json(_read(folder, ".exercism/metadata.json", _SCRIPT_BYTES) or b"")
        exercise = metadata.get("exercise") if isinstance(metadata, dict) else None
        if isinstance(exercise, str) and re.fullmatch(SLUG, exercise):
            return exercise
    first, *others = folder.relative_to(root).parts
    return others[0] if first in _BASES and others else first


def _read(folder: Path, name: str, cap_bytes: int) -> bytes | None:
    """Read a file of a stranger's folder; None for what is no such file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return read_beneath(descriptor, name, cap_bytes)
    except (FileNotFoundError, NotADirectoryError, FileRefused):
        return None
    finally:
        os.close(descriptor)
