"""A tool's files become data, and nothing else happens.

What is read here was written by a stranger. It is read only after the container is dead, beneath
the job folder only: no link is followed, no mount crossed; a FIFO or device is not waited for; no
more bytes are read than the cap; JSON has a bounded depth, no NaN, and only what JSON can carry on.
NUL and halves of surrogate pairs, which JSON can escape and databases refuse, become U+FFFD. What
is not as it should be, but can be read in one way only, is put right and said (`checks.py`).
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

_CONTROLS = "a text has control characters that JSON wants escaped"
_INTEGERS = range(-(2**63), 2**64)  # what readers in other languages can hold


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a tool left: the response made of its files, or the one problem with them.

    `replaced`: something in the response was no text, and is U+FFFD now. `warnings`: what was put
    right, or looks wrong; each line names the file.
    """

    response: dict[str, Any] | None
    problem: str | None
    replaced: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says: `replaced` and `warnings` as in `Outputs`, without the file's name."""

    value: Any
    replaced: bool = False
    warnings: tuple[str, ...] = ()


def read_outputs(folder: int, kind: ToolKind, cap_bytes: int) -> Outputs:
    """Read the files of a dead run from its open job folder."""
    response: dict[str, Any] = {}
    replaced = False
    warnings: list[str] = []
    try:
        for output in kind.outputs:
            parsed = _read_output(folder, output, cap_bytes)
            replaced |= parsed.replaced
            warnings += [f"{output.file}: {line}" for line in parsed.warnings]
            if output.field is None:
                response = parsed.value
            else:
                response[output.field] = parsed.value
    except FileRefused as error:
        return Outputs(None, str(error))
    return Outputs(response, None, replaced, tuple(warnings))


def parse_output(output: OutputFile, content: bytes) -> Parsed:
    """Parse and check an output file's content; raises `ValueError`, which says what is wrong."""
    text = _decode(content)
    parsed = _parse(text) if output.is_json else Parsed(storable(text), "\0" in text)
    taken = output.check(parsed.value)
    return Parsed(taken.value, parsed.replaced, (*parsed.warnings, *taken.warnings))


def parse_json(content: bytes) -> Any:
    """Parse untrusted JSON; raises `ValueError`, which says what is wrong with it.

    All of its strings are storable.
    """
    return _parse(_decode(content)).value


def _parse(text: str) -> Parsed:
    """Return what JSON says, with storable strings."""
    warnings: tuple[str, ...] = ()
    try:
        value = _load(text)
    except ValueError:
        value = _load(text, strict=False)  # or it raises the same
        warnings = (_CONTROLS,)
    if _depth_exceeds(value, MAX_DEPTH):
        raise ValueError("nests too deeply")
    if not may_have_unstorable(text):
        return Parsed(value, warnings=warnings)
    changed = storable_json(value)
    return Parsed(changed, changed != value, warnings)


def _load(text: str, strict: bool = True) -> Any:
    return load_json(
        text,
        strict=strict,
        parse_constant=_no_constant,
        parse_int=_integer,
        parse_float=_number,
    )


def _read_output(folder: int, output: OutputFile, cap_bytes: int) -> Parsed:
    try:
        content = read_beneath(folder, output.file, cap_bytes)
    except FileNotFoundError:
        if not output.required:
            return Parsed(None)
        raise FileRefused(f"{output.file} is missing") from None
    try:
        return parse_output(output, content)
    except ValueError as error:
        raise FileRefused(f"{output.file} {error}") from error


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
