"""What a tool's files may hold: put right and said, or refused. docs/tools.md has the table."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.markdown import Document, codes
from support.tracks import ROOT

from pipeline_containers.sandbox import checks
from pipeline_containers.sandbox.result.outputs import parse_output, read_outputs
from pipeline_containers.sandbox.tools import TOOLS

TEST = {"name": "one", "status": "pass"}
OUTPUTS = {output.file: output for kind in TOOLS.values() for output in kind.outputs}
ROWS = Document(ROOT / "docs/tools.md").table(
    "file", "a tool writes", "the answer has", "`context.warnings`"
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1][:60])
def test_the_table_of_the_document(row: list[str]) -> None:
    (file,), (written,), answer, (said,) = (codes(row[0]), codes(row[1]), row[2], codes(row[3]))
    if answer == "514":
        with pytest.raises(checks.OutputRefused) as caught:
            parse_output(OUTPUTS[file], written.encode())
        assert str(caught.value) == said
        return
    parsed = parse_output(OUTPUTS[file], written.encode())
    (wanted,) = [written] if answer == "the same" else codes(answer)
    found, right = (json.dumps(it, sort_keys=True) for it in (parsed.value, json.loads(wanted)))
    assert found == right, "numbers are numbers"
    assert parsed.warnings == (said,)


def results(**test: Any) -> dict[str, Any]:
    return {"version": 3, "status": "fail", "tests": [TEST, TEST | {"status": "fail"} | test]}


@pytest.mark.parametrize(
    "content",
    [
        {"version": 1, "status": "error", "message": "does not compile"},
        {"version": 2, "status": "pass", "message": None, "tests": []},
        results(),
        results(message=None, output="debug", test_code="assert", task_id=1),
        results(status="error", message="boom", task_id=None),
        {"version": 1, "status": "pass", "tests": None, "something": "else"},
    ],
)
def test_results_that_are_as_they_should_be(content: Any) -> None:
    assert checks.results(content) == checks.Taken(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (results(name=1), "has a name that is not text"),
        (results(status="skip"), "has a status that is not"),
        (results(status=[]), "has a status that is not"),
        (results(message=1), "has message that is not text"),
        (results(output=["a"]), "has output that is not text"),
        (results(test_code={}), "has test_code that is not text"),
        (results(task_id="1.5"), "has a task_id that is not a number"),
        (results(task_id=1e300), "has a task_id that is not a number"),
        (results(task_id=1.5), "has a task_id that is not a number"),
        (results(task_id="-1"), "has a task_id that is not a number"),
        (results(task_id="\u0661"), "has a task_id that is not a number"),
        (results(task_id=""), "has a task_id that is not a number"),
        (results(task_id="1" * 5000), "has a task_id that is not a number"),
        (results(task_id=True), "has a task_id that is not a number"),
        ({"version": 2, "status": "pass", "tests": [TEST, "two"]}, "is not an object"),
    ],
)
def test_a_test_that_is_not(content: Any, problem: str) -> None:
    with pytest.raises(checks.OutputRefused) as caught:
        checks.results(content)
    assert f"has a test (number 2) that {problem}" in str(caught.value)


@pytest.mark.parametrize("version", [True, 4, "4", "", " 2", 2.5, [2], None])
def test_versions_that_can_be_read_in_more_ways_than_one(version: Any) -> None:
    with pytest.raises(checks.OutputRefused, match="has a version that is not 1, 2 or 3"):
        checks.results({"version": version, "status": "pass"})


def test_one_warning_for_many_places_and_what_was_given_is_left_alone() -> None:
    tests = [TEST | {"task_id": str(number)} for number in range(8)]
    content = {"version": 3, "status": "pass", "tests": tests}
    before = json.dumps(content)
    taken = checks.results(content)
    (said,) = taken.warnings
    assert said.endswith("is a number now: number 1, 2, 3, 4, 5 and 3 more")
    assert [test["task_id"] for test in taken.value["tests"]] == list(range(8))
    assert json.dumps(content) == before


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"comments": []}, None),
        ({"summary": "good", "comments": ["ruby.a", {"comment": "ruby.b"}]}, None),
        ({"comments": [{"comment": "c", "type": "essential", "params": {"a": 1}}]}, None),
        ([], "is not a JSON object"),
        ({"summary": 1}, "has a summary that is not text"),
        ({"comments": None}, "has comments that are not a list"),
        ({"comments": {"a": 1}}, "has comments that are not a list"),
        ({"comments": [1]}, "has a comment (number 1) that is neither text nor an object"),
        ({"comments": ["a", {}]}, "has a comment (number 2) that has no name"),
        ({"comments": [{"comment": "a", "type": "bad"}]}, "has a type that is none of"),
        ({"comments": [{"comment": "a", "type": []}]}, "has a type that is none of"),
        ({"comments": [{"comment": "a", "params": [1]}]}, "has params that are not an object"),
    ],
)
def test_an_analysis(content: Any, problem: str | None) -> None:
    if problem is None:
        assert checks.analysis(content) == checks.Taken(content)
        return
    with pytest.raises(checks.OutputRefused) as caught:
        checks.analysis(content)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, None),
        ({"PLACEHOLDER_1": "two_fer"}, None),
        ([1], "is not a JSON object"),
        ({"PLACEHOLDER_1": 1}, "maps 'PLACEHOLDER_1' to something that is not text"),
    ],
)
def test_a_mapping(content: Any, problem: str | None) -> None:
    if problem is None:
        assert checks.mapping(content) == checks.Taken(content)
        return
    with pytest.raises(checks.OutputRefused, match=problem):
        checks.mapping(content)


def test_a_control_character_is_as_safe_as_an_escaped_one(tmp_path: Path) -> None:
    """NUL in it is replaced all the same, and is said where it is said of others."""
    (tmp_path / "results.json").write_bytes(b'{"version": 1, "status": "pass", "message": "a\0b"}')
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        found = read_outputs(descriptor, TOOLS["test_runner"], 1000)
    finally:
        os.close(descriptor)
    assert found.response == {"version": 1, "status": "pass", "message": "a\ufffdb"}
    assert found.replaced
    (said,) = found.warnings
    assert said.startswith("results.json: a text has control characters")


@pytest.mark.parametrize("content", ['{"a\n": 1', '{"a": 1}\n2', "{'a': 1}", '{"a": "b\n}', ""])
def test_what_is_no_json_for_another_reason_stays_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)expect|unterminated|extra"):
        parse_output(OUTPUTS["results.json"], content.encode())
