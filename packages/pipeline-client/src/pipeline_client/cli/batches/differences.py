"""What two versions of a tool made of one solution, and what of it is not the same. Pure.

Tools are strangers' programs: whatever is in their results may be missing or of another type.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from pipeline_client.cli.batches.records import RunRecord
from pipeline_protocol import status

_DEPTH = 3
"""Of a result's objects that are compared key by key."""
_TEXTS_OF_TEST = ("message", "output", "test_code")


class ChangeKind(StrEnum):
    """What a change is of."""

    CODE = "code"
    """How the run ended: 200, 401, 513."""
    STATUS = "status"
    """The result's own."""
    TEST = "test"
    """A test's status; or it is there in one of the results only."""
    RESULT = "result"
    """Another part of the result: comments, a representation, recommendations."""
    TEXT = "text"
    """A message or an output, of the result or of a test. Often of no weight: it may hold times."""


WEIGHTY = frozenset(ChangeKind) - {ChangeKind.TEXT}
"""What makes two results different ones."""


class Change(Struct, frozen=True):
    """One thing that is not the same."""

    kind: ChangeKind
    what: str
    """Which part: ``test It adds, message``."""
    old: str | None
    """None: it is not there."""
    new: str | None


class SolutionChanges(Struct, frozen=True):
    """All that is not the same of one solution."""

    id: str
    exercise: str
    solution: str
    changes: list[Change]

    @property
    def weighty(self) -> bool:
        """Whether there is more to it than texts."""
        return any(change.kind in WEIGHTY for change in self.changes)


def changes_of(old: RunRecord, new: RunRecord) -> list[Change]:
    """Return what differs, what weighs more first; the results are of one solution."""
    if old.code == new.code == status.OK:
        found = _of_responses(_plain(old.response), _plain(new.response))
    else:  # of a run without a result there is nothing else to tell
        found = [
            *_change(ChangeKind.CODE, "code", str(old.code), str(new.code)),
            *_change(ChangeKind.TEXT, "error", old.error or None, new.error or None),
        ]
    order = list(ChangeKind)
    return sorted(found, key=lambda change: order.index(change.kind))


def _plain(response: Any) -> Any:
    return {} if response is UNSET else response


def _of_responses(old: Any, new: Any) -> list[Change]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return list(_change(ChangeKind.RESULT, "result", _text(old), _text(new)))
    told = {"status", "message"}
    found = [
        *_change(ChangeKind.STATUS, "status", _part(old, "status"), _part(new, "status")),
        *_change(ChangeKind.TEXT, "message", _part(old, "message"), _part(new, "message")),
    ]
    if isinstance(old.get("tests", []), list) and isinstance(new.get("tests", []), list):
        told.add("tests")
        found += _of_tests(_named(old.get("tests", [])), _named(new.get("tests", [])))
    for key in sorted((old.keys() | new.keys()) - told):
        found += _of_parts(key, old.get(key), new.get(key), _DEPTH)
    return found


def _named(tests: list[Any]) -> dict[str, Mapping[str, Any]]:
    """Return the tests by name; of several with one name the second is ``NAME (2)``."""
    seen: Counter[str] = Counter()
    named: dict[str, Mapping[str, Any]] = {}
    for test in tests:
        facts: Mapping[str, Any] = test if isinstance(test, dict) else {"test": test}
        name = str(facts.get("name") or "without a name")
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name} ({seen[name]})"] = facts
    return named


def _of_tests(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> Iterator[Change]:
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        what = f"test {name}"
        if before is None or after is None:
            gone, come = (None if it is None else _status(it) for it in (before, after))
            yield Change(ChangeKind.TEST, what, gone, come)
            continue
        yield from _change(ChangeKind.TEST, what, _status(before), _status(after))
        for key in sorted((before.keys() | after.keys()) - {"name", "status"}):
            kind = ChangeKind.TEXT if key in _TEXTS_OF_TEST else ChangeKind.RESULT
            yield from _change(kind, f"{what}, {key}", _part(before, key), _part(after, key))


def _status(test: Mapping[str, Any]) -> str:
    return _part(test, "status") or "no status"


def _of_parts(what: str, old: Any, new: Any, depth: int) -> Iterator[Change]:
    """Compare objects key by key, and arrays as bags: a comment more is one change."""
    if depth and isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _of_parts(f"{what}.{key}", old.get(key), new.get(key), depth - 1)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = Counter(map(_json, old)), Counter(map(_json, new))
        for item in (before - after).elements():
            yield Change(ChangeKind.RESULT, what, item, None)
        for item in (after - before).elements():
            yield Change(ChangeKind.RESULT, what, None, item)
        if before == after and old != new:
            yield Change(ChangeKind.RESULT, f"{what}, order", _json(old), _json(new))
    else:
        yield from _change(ChangeKind.RESULT, what, _text(old), _text(new))


def _change(kind: ChangeKind, what: str, old: str | None, new: str | None) -> Iterator[Change]:
    if old != new:
        yield Change(kind, what, old, new)


def _part(of: Mapping[str, Any], key: str) -> str | None:
    return _text(of.get(key))


def _text(value: Any) -> str | None:
    """Return a value to be compared and shown: text as it is, all else as JSON, null as nothing."""
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
