"""What the tools said of a solution, as lines for a person. Pure.

Tools are strangers' programs: whatever is in their results may be missing or of another type.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_client.cli.views.text import block, cell, coloured, count, span
from pipeline_protocol import responses
from pipeline_protocol.replies import Context

_COLOURS = {"pass": "green", "fail": "red", "error": "red"}


def tests_passed(results: Mapping[str, Any]) -> bool:
    """Whether a script may go on: nothing but ``pass`` is a pass."""
    return results.get("status") == "pass"


def left_out(names: Sequence[str]) -> str:
    """Say what of a folder is not sent."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"left out: {', '.join(map(cell, names[:5]))}{more}"


def warning_lines(context: Context) -> list[str]:
    """Return what the worker says of the result: it goes to the tool's maintainer, not into it."""
    return [line for text in context.warnings or () for line in block(f"warning: {text}")]


def test_lines(results: Mapping[str, Any], context: Context) -> list[str]:
    """Return the tests one by one, what the failing ones say, and the sum."""
    status = str(results.get("status"))
    tests = [test for test in _listed(results.get("tests")) if isinstance(test, dict)]
    lines = [line for test in tests for line in _test(test)]
    if results.get("message"):
        lines += block(str(results["message"]))
    if status not in _COLOURS:
        lines += _json(dict(results))
    return [*lines, *([""] if lines else []), _sum(status, tests) + _where(context)]


def _test(test: dict[str, Any]) -> list[str]:
    status = str(test.get("status"))
    name = cell(test.get("name", "a test without a name"))
    lines = [f"{coloured(f'{cell(status):5}', _COLOURS.get(status, ''))}  {name}"]
    if status != "pass":
        for key in ("message", "output"):
            text = test.get(key)
            if text:
                lines += [f"       {key}:"] if key == "output" else []
                lines += block(str(text), "         ")
    return lines


def _sum(status: str, tests: list[dict[str, Any]]) -> str:
    counted = Counter(str(test.get("status")) for test in tests)
    words = {"pass": "passed", "fail": "failed", "error": "with an error"}
    parts = [f"{counted[key]} {word}" for key, word in words.items() if counted[key]]
    said = cell(status) if status in _COLOURS else "no status"
    total = f": {', '.join(parts)}, of {count(len(tests), 'test')}" if parts else ""
    return coloured(said, _COLOURS.get(said, "")) + total


def _where(context: Context) -> str:
    took = f" in {span(context.timing.total_s)}" if context.timing else ""
    waited = context.timing.queued_s if context.timing else 0.0
    queued = f" after {span(waited)} in the queue" if waited >= 0.1 else ""
    return took + queued + (f", on {cell(context.worker)}" if context.worker else "")


def analysis_lines(analysis: responses.Analysis, context: Context) -> list[str]:
    """Return the summary and the comments, essential ones first as the tool has them."""
    lines = block(str(analysis.analysis["summary"])) if analysis.analysis.get("summary") else []
    comments = _listed(analysis.analysis.get("comments"))
    for comment in comments:
        lines += _comment(comment)
    tags = analysis.tags.get("tags") if isinstance(analysis.tags, dict) else analysis.tags
    if _listed(tags):
        lines.append("tags: " + ", ".join(map(cell, _listed(tags))))
    number = count(len(comments), "comment")
    return [*lines, *([""] if lines else []), number + _where(context)]


def _comment(comment: object) -> list[str]:
    if not isinstance(comment, dict):
        return [f"{'informative':11}  {cell(comment)}"]
    kind = str(comment.get("type", "informative"))
    colour = {"essential": "red", "actionable": "yellow", "celebratory": "green"}.get(kind, "")
    lines = [f"{coloured(f'{cell(kind):11}', colour)}  {cell(comment.get('comment'))}"]
    params = comment.get("params")
    if isinstance(params, dict):
        lines += [f"{'':13}{cell(key)}: {cell(value)}" for key, value in params.items()]
    return lines


def recommendation_lines(found: responses.Recommendations, context: Context) -> list[str]:
    """Return the recommendations, whose shape is the tool's own."""
    return [*_json(found.recommendations), "", f"recommended{_where(context)}"]


def representation_lines(found: responses.Representation, context: Context) -> list[str]:
    """Return the representation, and what its placeholders stand for."""
    names = [f"{cell(key)} = {cell(value)}" for key, value in found.mapping.items()]
    lines = [*block(found.representation), *(["", *names] if names else []), ""]
    return [*lines, f"{count(len(names), 'placeholder')}{_where(context)}"]


def _json(data: object) -> list[str]:
    return block(json.dumps(data, indent=2, ensure_ascii=False))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
