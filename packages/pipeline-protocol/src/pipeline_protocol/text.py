"""Text that strangers wrote, made safe to print: in an error, in a log, on a terminal. Pure."""

import re

_UNSAFE = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tabs and new lines
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    r"\u2028\u2029\ufeff\ud800-\udfff"  # other ends of lines; a mark; what is no text
)
_IN_LINES = re.compile(f"[{_UNSAFE}]")
_IN_A_LINE = re.compile(rf"[\t\n{_UNSAFE}]")


def clean(text: str) -> str:
    r"""Return the text with nothing in it that a terminal obeys, as ``\x1b``; lines stay lines."""
    return _IN_LINES.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""Return the text clean, and its tabs and the ends of its lines as ``\t`` and ``\n``."""
    return _IN_A_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
