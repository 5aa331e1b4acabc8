"""A tool's files become data, and nothing else happens.

What is read here was written by a stranger. It is read only after the container is dead, beneath
the job folder only: no link is followed, no mount crossed; a FIFO or device is not waited for; no
more bytes are read than the cap; JSON has a bounded depth, no NaN, and only what JSON can carry on.
NUL and halves of surrogate pairs, which JSON can escape and databases refuse, become U+FFFD.
"""

import math
from dataclasses import dataclass
from typing import Any

from pipeline_containers.sandbox.tools import OutputFile, ToolKind
from pipeline_containers.system.files import FileRefused, read_beneath
from pipeline_containers.system.json_text import load_json
from pipeline_containers.system.text import may_have_unstorable, storable, storable_json

MAX_DEPTH = 100
"""How deep objects and lists may lie in each other."""

_INTEGERS = range(-(2**63), 2**64)  # what readers in other languages can hold


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a tool left: the response made of its files, or the one problem with them.

    `replaced`: something in the response was no text, and is U+FFFD now.
    """

    response: dict[str, Any] | None
    problem: str | None
    replaced: bool = False


def read_outputs(folder: int, kind: ToolKind, cap_bytes: int) -> Outputs:
    """Read the files of a dead run from its open job folder."""
    response: dict[str, Any] = {}
    replaced = False
    try:
        for output in kind.outputs:
            value, is_changed = _read_output(folder, output, cap_bytes)
            replaced |= is_changed
            if output.field is None:
                response = value
            else:
                response[output.field] = value
    except FileRefused as error:
        return Outputs(None, str(error))
    return Outputs(response, None, replaced)


def parse_json(content: bytes) -> Any:
    """Parse untrusted JSON; raises `ValueError`, which says what is wrong with it.

    All of its strings are storable.
    """
    return _parse(_decode(content))[0]


def _parse(text: str) -> tuple[Any, bool]:
    """Return what JSON says, with storable strings, and whether that changed any."""
    value = load_json(text, parse_constant=_no_constant, parse_int=_integer, parse_float=_number)
    if _depth_exceeds(value, MAX_DEPTH):
        raise ValueError("nests too deeply")
    if not may_have_unstorable(text):
        return value, False
    changed = storable_json(value)
    return changed, changed != value


def _read_output(folder: int, output: OutputFile, cap_bytes: int) -> tuple[Any, bool]:
    """Read a file, and return whether something in it was no text."""
    try:
        content = read_beneath(folder, output.file, cap_bytes)
    except FileNotFoundError:
        if not output.required:
            return None, False
        raise FileRefused(f"{output.file} is missing") from None
    try:
        text = _decode(content)
        value, is_changed = _parse(text) if output.is_json else (storable(text), "\0" in text)
    except ValueError as error:
        raise FileRefused(f"{output.file} {error}") from error
    problem = output.check(value)
    if problem is not None:
        raise FileRefused(f"{output.file} {problem}")
    return value, is_changed


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # some runtimes write a byte-order mark
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"has {name}, which is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INTEGERS:
        raise ValueError("has an integer of more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("has a number that is too large")
    return number
