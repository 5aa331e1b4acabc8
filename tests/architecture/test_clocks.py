"""Nothing in the router and the worker reads the time of day, but for a date that people read.

The time of day can jump; what is decided by it would jump too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from support.tracks import ROOT

TIME_OF_DAY = {
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
}
BY_THE_CALENDAR = {
    ("config_file.py", "datetime.now"),  # when a version was deployed, for people
    ("audit_file.py", "datetime.now"),  # when a change was made, for people
    ("keys_cli.py", "datetime.now"),  # since when a key is good, for people
    ("credentials.py", "time.time"),  # AWS says until when credentials hold
    ("aws.py", "time.time"),
}


def calls(source: Path) -> Iterator[str]:
    """Name whatever a file takes from `time` and `datetime`, as MODULE.NAME."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_decided_by_the_time_of_day_but_what_others_date() -> None:
    readers = {
        (file.name, call)
        for package in ("pipeline-router", "pipeline-worker")
        for file in (ROOT / "packages" / package / "src").rglob("*.py")
        for call in calls(file)
        if call in TIME_OF_DAY
    }
    assert readers == BY_THE_CALENDAR
