"""What a reader of replies would stumble over is kept out, file by file."""

from typing import Any

import pytest

from pipeline_containers.sandbox import checks

TEST = {"name": "one", "status": "pass"}


def results(**test: Any) -> dict[str, Any]:
    return {"version": 3, "status": "fail", "tests": [TEST, TEST | test]}


@pytest.mark.parametrize(
    "content",
    [
        {"version": 1, "status": "error", "message": "does not compile"},
        {"version": 2, "status": "pass", "message": None, "tests": []},
        results(),
        results(message=None, output="debug", test_code="assert", task_id=1),
        results(status="error", message="boom", task_id=None),
        {"status": "pass", "tests": None, "something": "else"},
    ],
)
def test_results_that_are_as_they_should_be(content: Any) -> None:
    assert checks.results(content) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (results(name=None), "has no name"),
        (results(status="skip"), "has a status that is not"),
        (results(status=[]), "has a status that is not"),
        (results(message=1), "has message that is not text"),
        (results(output=["a"]), "has output that is not text"),
        (results(test_code={}), "has test_code that is not text"),
        (results(task_id="1"), "has a task_id that is not a number"),
        (results(task_id=True), "has a task_id that is not a number"),
        ({"version": 2, "status": "pass", "tests": [TEST, "two"]}, "is not an object"),
    ],
)
def test_a_test_that_is_not(content: Any, problem: str) -> None:
    assert f"has a test (number 2) that {problem}" in str(checks.results(content))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"comments": []}, None),
        ({"summary": "good", "comments": ["ruby.a", {"comment": "ruby.b"}]}, None),
        ({"comments": [{"comment": "c", "type": "essential", "params": {"a": 1}}]}, None),
        ([], "is not a JSON object"),
        ({"summary": 1}, "has a summary that is not text"),
        ({"comments": {}}, "has comments that are not a list"),
        ({"comments": [1]}, "has a comment (number 1) that is neither text nor an object"),
        ({"comments": ["a", {}]}, "has a comment (number 2) that has no name"),
        ({"comments": [{"comment": "a", "type": "bad"}]}, "has a type that is none of"),
        ({"comments": [{"comment": "a", "type": []}]}, "has a type that is none of"),
        ({"comments": [{"comment": "a", "params": []}]}, "has params that are not an object"),
    ],
)
def test_an_analysis(content: Any, problem: str | None) -> None:
    found = checks.analysis(content)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, None),
        ({"PLACEHOLDER_1": "two_fer"}, None),
        ([], "is not a JSON object"),
        ({"PLACEHOLDER_1": 1}, "maps 'PLACEHOLDER_1' to something that is not text"),
    ],
)
def test_a_mapping(content: Any, problem: str | None) -> None:
    assert checks.mapping(content) == problem
