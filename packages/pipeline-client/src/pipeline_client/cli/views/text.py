"""Text for a terminal, from data that strangers wrote. Pure.

Whatever comes over the wire goes through `clean` or `cell`: no control character of a name, a
reason or a log reaches the terminal. Styles are put around the text afterwards, by click.
"""

import re
from collections.abc import Iterable, Sequence

import click

from pipeline_protocol.text import clean as escaped

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What a tool colours its own output by: dropped, not shown."""
_BLANKS = re.compile(r"[\t\n ]+")

MAX_LINE = 1000
MAX_LINES = 200
_MAX_CELL = 300

Cell = str | tuple[str, str]
"""Text, or text and the colour it stands in."""


def clean(text: str) -> str:
    """Return the text with nothing in it that a terminal would obey; lines stay lines."""
    return escaped(_COLOURS.sub("", text.replace("\r\n", "\n")))


def cell(text: object, most: int = _MAX_CELL) -> str:
    """Return the text clean, on one line and of bounded length."""
    line = _BLANKS.sub(" ", clean(str(text))).strip()
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def block(text: str, indent: str = "") -> list[str]:
    """Return the lines of a text, clean and indented; very long ones and very many are capped."""
    lines = clean(text).rstrip("\n").split("\n")
    shown = [indent + _capped(line) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append(f"{indent}... {len(lines) - MAX_LINES} more lines; --json has all")
    return shown


def _capped(line: str) -> str:
    more = len(line) - MAX_LINE
    return line if more <= 0 else f"{line[:MAX_LINE]} ... {more} more characters; --json has all"


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """Return the lines of a table; the last column is as long as it likes."""
    split = [[_split(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(len(row[column][0]) for row in split)) if split else len(name)
        for column, name in enumerate(header)
    ]
    widths[-1] = 0
    lines = [_joined([(name, "") for name in header], widths)]
    return [click.style(lines[0], bold=True), *(_joined(row, widths) for row in split)]


def _split(value: Cell) -> tuple[str, str]:
    text, colour = (value, "") if isinstance(value, str) else value
    return cell(text), colour


def _joined(row: Sequence[tuple[str, str]], widths: Sequence[int]) -> str:
    padded = [
        coloured(text, colour) + " " * (width - len(text))
        for (text, colour), width in zip(row, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()


def coloured(text: str, colour: str) -> str:
    """Return the text in a colour of click's; none for an empty one."""
    return click.style(text, fg=colour) if colour else text


def span(seconds: float) -> str:
    """Return a time as people say it: ``0.31 s``, ``2 min 5 s``, ``3 h 2 min``, ``4 d 1 h``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = int(seconds)
    for size, name, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {part}"
    return f"{whole // 60} min {whole % 60} s"


def count(number: int, noun: str) -> str:
    """Return ``1 worker``, ``3 workers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
