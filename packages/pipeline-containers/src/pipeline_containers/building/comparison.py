"""What a tool made of a fixture, beside what was promised: a difference, as people read one. Pure.

Compared is what the contract has: no other key of `results.json` (which versions of what were
used, how long it took), and no null, which is as good as nothing. The job's folder, and the names
that fixtures have for it, are one path. JSON is compared as JSON, text by its lines.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline_containers.building.fixtures import Fixture
from pipeline_containers.sandbox.tools import JOB_FOLDER, OutputFile, ToolKind

MAX_LINES = 40
"""Of one difference."""
_LINE_CHARACTERS = 200
_COMPARED_LINES = 400
_AROUND = 2
"""Lines that are the same, before and after those that are not."""
_SOLUTION = "<solution>/"
_NAMES = ("/solution", "/output", "<solution-dir>")
"""What fixtures call the job's folder."""
_CONTRACT = {"results.json": ("version", "status", "message", "tests")}
_OF_A_TEST = ("name", "status", "message", "output", "test_code", "task_id")


def compare(fixture: Fixture, kind: ToolKind, outputs: Mapping[str, Any]) -> str:
    """Return how the outputs differ from what was promised; nothing when they do not."""
    return "\n".join(
        line
        for output in kind.outputs
        if output.file in fixture.expected
        for line in _differences(fixture, kind, output, outputs)
    )


def _differences(
    fixture: Fixture, kind: ToolKind, output: OutputFile, outputs: Mapping[str, Any]
) -> Iterator[str]:
    actual = outputs if output.field is None else outputs.get(output.field)
    path = _path_pattern(fixture, kind)
    before, after = (
        _lines(output, _in_terms(value, path)) for value in (fixture.expected[output.file], actual)
    )
    if before == after:
        return
    yield from (f"--- expected {output.file}", f"+++ {output.file}")
    lines = list(_changes(before, after))
    yield from map(shortened, lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield "... and more"


def _changes(before: list[str], after: list[str]) -> Iterator[str]:
    """Go through what is not the same, from the first such line on.

    No further than an answer could show: to compare what strangers wrote takes the square of it.
    """
    pairs = zip(before, after, strict=False)
    same = next((at for at, (old, new) in enumerate(pairs) if old != new), None)
    start = max(0, (min(len(before), len(after)) if same is None else same) - _AROUND)
    old, new = (lines[start : start + _COMPARED_LINES] for lines in (before, after))
    for line in list(difflib.unified_diff(old, new, n=_AROUND, lineterm=""))[2:]:
        yield "@@" if line.startswith("@@") else line


def shortened(line: str) -> str:
    """Return a line of bounded length: many of them are in one answer."""
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}..."


def _lines(output: OutputFile, value: Any) -> list[str]:
    if not output.is_json:
        return str(value).splitlines()
    if output.file in _CONTRACT and isinstance(value, dict):
        value = _only(value, _CONTRACT[output.file])
        if isinstance(value.get("tests"), list):
            value["tests"] = [_only(test, _OF_A_TEST) for test in value["tests"]]
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def _only(value: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value}


def _in_terms(value: Any, path: re.Pattern[str]) -> Any:
    """Put all strings in the same terms, leave out nulls, and have 1.0 be 1."""
    if isinstance(value, str):
        return path.sub(_SOLUTION, value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_in_terms(item, path) for item in value]
    if isinstance(value, dict):
        return {key: _in_terms(item, path) for key, item in value.items() if item is not None}
    return value


def _path_pattern(fixture: Fixture, kind: ToolKind) -> re.Pattern[str]:
    """Match the paths that stand for the job's folder: the job's own, and a fixture's."""
    names = (
        JOB_FOLDER,
        f"{kind.folder}/{fixture.name}",
        f"/tmp/{fixture.name}",  # noqa: S108  # where scripts copy fixtures to
        *_NAMES,
        f"./{fixture.name}",
        fixture.name,
    )
    alternatives = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w/.-])(?:{alternatives})(?![\w-])/*")
