"""What an output file may hold: one function a file, which takes it or refuses it.

A check keeps out what a reader of the reply would stumble over, wrong types above all. What can
be read without a doubt is put right, and each putting right is said; so is what can be true but
contradicts itself. What the tracks' tools are lax about in practice (a version or a list that is
left out) is let through. `docs/tools.md` has the table. Source: Exercism's documentation for track
builders, `building/tooling`, and what tracks' tools keep as their expected results.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Taken:
    """A file's content as it goes into the answer; what was put right, or looks wrong, in lines."""

    value: Any
    warnings: tuple[str, ...] = ()


class OutputRefused(ValueError):
    """A file's content that is of no use; the message says why."""


Check = Callable[[Any], Taken]
"""Takes a file's content; raises `OutputRefused`."""

_STATUSES = ("pass", "fail", "error")
_COMMENT_TYPES = ("celebratory", "essential", "actionable", "informative")
_VERSIONS = (1, 2, 3)
_WHOLE = re.compile(r"[0-9]{1,9}")
_MOST = 10**9
_NAMED = 5
"""How many places one warning names."""


class _Warnings:
    """What is to be said of a file, once each, with the places where it holds."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}

    def add(self, what: str, place: int | None = None) -> None:
        places = self._places.setdefault(what, [])
        if place is not None:
            places.append(place)

    def lines(self) -> tuple[str, ...]:
        return tuple(self._line(what, places) for what, places in self._places.items())

    @staticmethod
    def _line(what: str, places: list[int]) -> str:
        named = ", ".join(map(str, places[:_NAMED]))
        more = len(places) - _NAMED
        return what + (f": number {named}" if places else "") + (f" and {more} more" * (more > 0))


def an_object(value: Any) -> Taken:
    """Any object will do."""
    warnings = _Warnings()
    taken = _object(value, "it", warnings)
    if taken is None:
        raise OutputRefused("is not a JSON object")
    return Taken(taken, warnings.lines())


def object_or_list(value: Any) -> Taken:
    """Of files whose shape the contract leaves open."""
    if not isinstance(value, dict | list):
        raise OutputRefused("is neither a JSON object nor a list")
    return Taken(value)


def text(value: Any) -> Taken:
    """Of files that are not JSON."""
    if not isinstance(value, str):
        raise OutputRefused("is not text")
    return Taken(value)


def results(value: Any) -> Taken:
    """`results.json`: version 1 says how it went, 2 test by test, 3 by the exercise's task too."""
    if not isinstance(value, dict):
        raise OutputRefused("is not a JSON object")
    warnings = _Warnings()
    version = _number(value.get("version", 1), "its version", warnings)
    if isinstance(version, bool) or version not in _VERSIONS:
        raise OutputRefused("has a version that is not 1, 2 or 3")
    if not _is_status(value.get("status")):
        raise OutputRefused('has a status that is not "pass", "fail" or "error"')
    if not isinstance(value.get("message"), str | None):
        raise OutputRefused("has a message that is not text")
    right = dict(value)
    if "version" in value:
        right["version"] = version
    else:
        warnings.add("has no version")
    tests = _list(value.get("tests"), "its list of tests", warnings)
    if not isinstance(tests, list | None):
        raise OutputRefused("has tests that are not a list")
    if tests is not None:
        right["tests"] = [_test(test, place, warnings) for place, test in enumerate(tests, 1)]
    _contradictions(right, warnings)
    return Taken(right, warnings.lines())


def analysis(value: Any) -> Taken:
    """`analysis.json`: comments, each a name or an object with one."""
    if not isinstance(value, dict):
        raise OutputRefused("is not a JSON object")
    if not isinstance(value.get("summary"), str | None):
        raise OutputRefused("has a summary that is not text")
    warnings = _Warnings()
    right = dict(value)
    if "comments" in value:
        comments = _list(value["comments"], "its list of comments", warnings)
        if not isinstance(comments, list):
            raise OutputRefused("has comments that are not a list")
        right["comments"] = [
            _comment(one, place, warnings) for place, one in enumerate(comments, 1)
        ]
    return Taken(right, warnings.lines())


def mapping(value: Any) -> Taken:
    """`mapping.json`: what each placeholder stands for in the solution."""
    taken = an_object(value)
    for placeholder, name in taken.value.items():
        if not isinstance(name, str):
            raise OutputRefused(f"maps {placeholder[:40]!r} to something that is not text")
    return taken


def _test(test: Any, place: int, warnings: _Warnings) -> dict[str, Any]:
    def refused(problem: str) -> OutputRefused:
        return OutputRefused(f"has a test (number {place}) that {problem}")

    if not isinstance(test, dict):
        raise refused("is not an object")
    name = test.get("name")
    if name is None:
        warnings.add("a test has no name, and is called by its number", place)
        name = f"test {place}"
    if not isinstance(name, str):
        raise refused("has a name that is not text")
    if not _is_status(test.get("status")):
        raise refused('has a status that is not "pass", "fail" or "error"')
    for field in ("message", "output", "test_code"):
        if not isinstance(test.get(field), str | None):
            raise refused(f"has {field} that is not text")
    right = test | {"name": name}
    if "task_id" in test:
        task = _number(test["task_id"], "a test's task_id", warnings, place)
        if isinstance(task, bool) or not isinstance(task, int | None):
            raise refused("has a task_id that is not a number")
        right["task_id"] = task
    return right


def _comment(comment: Any, place: int, warnings: _Warnings) -> Any:
    def refused(problem: str) -> OutputRefused:
        return OutputRefused(f"has a comment (number {place}) that {problem}")

    if isinstance(comment, str):
        return comment
    if not isinstance(comment, dict):
        raise refused("is neither text nor an object")
    if not isinstance(comment.get("comment"), str):
        raise refused("has no name")
    if comment.get("type", "informative") not in _COMMENT_TYPES:
        raise refused(f"has a type that is none of {', '.join(_COMMENT_TYPES)}")
    params = comment.get("params")
    if params is None:
        return comment
    params = _object(params, "a comment's params", warnings, place)
    if params is None:
        raise refused("has params that are not an object")
    return comment | {"params": params}


def _contradictions(value: dict[str, Any], warnings: _Warnings) -> None:
    """Say what is as it may be, but cannot all be meant."""
    tests = value.get("tests") or []
    failing = [place for place, test in enumerate(tests, 1) if test["status"] != "pass"]
    match value["status"]:
        case "pass":
            for place in failing:
                warnings.add('its status is "pass", yet a test has failed', place)
        case "fail" if tests and not failing:
            warnings.add('its status is "fail", yet no test has failed')
        case "error" if not value.get("message"):
            warnings.add('its status is "error", and no message says why')


def _number(value: Any, what: str, warnings: _Warnings, place: int | None = None) -> Any:
    """Take a whole number for what it is, if it is written as text or with a decimal point."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        kind = "text"
    elif isinstance(value, float) and value.is_integer() and 0 <= value < _MOST:
        kind = "a fraction"
    else:
        return value
    warnings.add(f"{what} is written as {kind}, and is a number now", place)
    return int(value)


def _list(value: Any, what: str, warnings: _Warnings) -> Any:
    """Take an empty object for an empty list: in some languages both are one."""
    if value == {} and isinstance(value, dict):
        warnings.add(f"{what} is an empty object, and is an empty list now")
        return []
    return value


def _object(
    value: Any, what: str, warnings: _Warnings, place: int | None = None
) -> dict[str, Any] | None:
    """Take an empty list for an empty object; None for what is neither."""
    if value == [] and isinstance(value, list):
        warnings.add(f"{what} is an empty list, and is an empty object now", place)
        return {}
    return value if isinstance(value, dict) else None


def _is_status(value: Any) -> bool:
    return isinstance(value, str) and value in _STATUSES
