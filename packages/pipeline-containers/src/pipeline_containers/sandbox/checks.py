"""What is wrong with the content of an output file, if anything: one function a file.

A check keeps out what a reader of the reply would stumble over, wrong types above all. What the
tracks' tools are lax about in practice (a version or a list that is left out) is let through.
Source: Exercism's documentation for track builders, `building/tooling`.
"""

from collections.abc import Callable
from typing import Any

Check = Callable[[Any], str | None]
"""Says what is wrong with a file's content; None when nothing is."""

_STATUSES = ("pass", "fail", "error")
_COMMENT_TYPES = ("celebratory", "essential", "actionable", "informative")
_VERSIONS = (1, 2, 3)


def an_object(value: Any) -> str | None:
    """Any object will do."""
    return None if isinstance(value, dict) else "is not a JSON object"


def object_or_list(value: Any) -> str | None:
    """Of files whose shape the contract leaves open."""
    return None if isinstance(value, dict | list) else "is neither a JSON object nor a list"


def text(value: Any) -> str | None:
    """Of files that are not JSON."""
    return None if isinstance(value, str) else "is not text"


def results(value: Any) -> str | None:
    """`results.json`: version 1 says how it went, 2 test by test, 3 by the exercise's task too."""
    if not isinstance(value, dict):
        return "is not a JSON object"
    version = value.get("version", 1)
    if isinstance(version, bool) or version not in _VERSIONS:
        return "has a version that is not 1, 2 or 3"
    if not _is_status(value.get("status")):
        return 'has a status that is not "pass", "fail" or "error"'
    if not isinstance(value.get("message"), str | None):
        return "has a message that is not text"
    tests = value.get("tests")
    if not isinstance(tests, list | None):
        return "has tests that are not a list"
    for number, test in enumerate(tests or (), 1):
        if problem := _test(test):
            return f"has a test (number {number}) that {problem}"
    return None


def analysis(value: Any) -> str | None:
    """`analysis.json`: comments, each a name or an object with one."""
    if not isinstance(value, dict):
        return "is not a JSON object"
    if not isinstance(value.get("summary"), str | None):
        return "has a summary that is not text"
    comments = value.get("comments", [])
    if not isinstance(comments, list):
        return "has comments that are not a list"
    for number, comment in enumerate(comments, 1):
        if problem := _comment(comment):
            return f"has a comment (number {number}) that {problem}"
    return None


def mapping(value: Any) -> str | None:
    """`mapping.json`: what each placeholder stands for in the solution."""
    if not isinstance(value, dict):
        return "is not a JSON object"
    for placeholder, name in value.items():
        if not isinstance(name, str):
            return f"maps {placeholder[:40]!r} to something that is not text"
    return None


def _test(test: Any) -> str | None:
    if not isinstance(test, dict):
        return "is not an object"
    if not isinstance(test.get("name"), str):
        return "has no name"
    if not _is_status(test.get("status")):
        return 'has a status that is not "pass", "fail" or "error"'
    for name in ("message", "output", "test_code"):
        if not isinstance(test.get(name), str | None):
            return f"has {name} that is not text"
    task = test.get("task_id")
    if isinstance(task, bool) or not isinstance(task, int | None):
        return "has a task_id that is not a number"
    return None


def _comment(comment: Any) -> str | None:
    if isinstance(comment, str):
        return None
    if not isinstance(comment, dict):
        return "is neither text nor an object"
    if not isinstance(comment.get("comment"), str):
        return "has no name"
    if comment.get("type", "informative") not in _COMMENT_TYPES:
        return f"has a type that is none of {', '.join(_COMMENT_TYPES)}"
    if not isinstance(comment.get("params"), dict | None):
        return "has params that are not an object"
    return None


def _is_status(value: Any) -> bool:
    return isinstance(value, str) and value in _STATUSES
