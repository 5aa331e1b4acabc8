"""The words of a Dockerfile's instruction: its flags, and the heredocs that it begins. No I/O.

Quotes and escapes are read as the reference parser (BuildKit's) reads them; whatever the file's
own escape character is, it is the backslash here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BLANKS = " \t\v\f\r\n"
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SPECIAL = re.compile(r"""[\s\\'"]""")


@dataclass(frozen=True, slots=True)
class HeredocStart:
    """A word like `<<EOF`: `expand` unless the name is quoted, `chomp` tabs where it is `<<-`."""

    name: str
    expand: bool
    chomp: bool


def split_flags(text: str) -> tuple[list[str], str]:
    """Split what follows an instruction's name into its flags, without quotes, and the rest."""
    flags: list[str] = []
    place = 0
    while True:
        while place < len(text) and text[place] in BLANKS:
            place += 1
        if not text.startswith("--", place):
            return flags, text[place:].strip()
        flag, place = _flag(text, place)
        if flag == "--":
            return flags, text[place:].strip()
        flags.append(flag)


def _flag(text: str, place: int) -> tuple[str, int]:
    """Read one flag; it and where it ends."""
    flag, quote = "", ""
    while place < len(text):
        char = text[place]
        if not quote and char in BLANKS:
            break
        place += 1
        if char == "\\":
            flag += text[place : place + 1]
            place += 1
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            flag += char
    return flag, place


def join_flag(flag: str) -> str:
    """Write a flag so that it is read as it is."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", flag)


def heredoc_starts(text: str) -> list[HeredocStart]:
    """Return the heredocs that a line begins, in order; raises `ValueError` for a name we refuse.

    Only a word of its own begins one: `cat<<EOF` and `<<<word` are the shell's own affair.
    """
    found = (heredoc_start(word) for word in shell_words(text)) if "<<" in text else ()
    return [start for start in found if start is not None]


def heredoc_start(word: str) -> HeredocStart | None:
    """Read a word like `<<EOF`, or `<<-'EOF'`."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    name = _unquoted(match[2])
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"{word!r} begins a heredoc, and {name!r} is no name for one: use letters")
    return HeredocStart(name, expand=name == match[2], chomp=match[1] == "-")


def shell_words(text: str) -> list[str]:
    """Split text at blanks that are neither quoted nor within `${...}`; quotes and escapes stay.

    No words at all where a quote or a brace has no end.
    """
    words, start = [], None
    pieces = iter(_pieces(text))
    for begin, end, is_blank in pieces:
        if end < 0:
            return []
        if is_blank:
            if start is not None:
                words.append(text[start:begin])
            start = None
        elif start is None:
            start = begin
    if start is not None:
        words.append(text[start:])
    return words


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    """Give blanks and what else is one; the end is -1 of what has none."""
    place = 0
    while place < len(text):
        char = text[place]
        if char.isspace():
            yield place, place + 1, True
            place += 1
            continue
        end = place + 1
        if char == "\\":
            end = min(place + 2, len(text))
        elif char in "'\"":
            end = _after_quote(text, place)
        elif text.startswith("${", place):
            end = _after_brace(text, place)
        yield place, end, False
        if end < 0:
            return
        place = end


def _after_quote(text: str, place: int) -> int:
    quote = text[place]
    place += 1
    while place < len(text):
        if text[place] == "\\" and quote == '"':
            place += 1
        elif text[place] == quote:
            return place + 1
        place += 1
    return -1


def _after_brace(text: str, place: int) -> int:
    depth = 0
    while place < len(text):
        if text.startswith("${", place):
            depth += 1
            place += 2
        elif text[place] == "}":
            depth -= 1
            place += 1
            if not depth:
                return place
        elif text[place] in "'\"":
            place = _after_quote(text, place)
            if place < 0:
                return -1
        else:
            place += 2 if text[place] == "\\" else 1
    return -1


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)|['\"]", lambda match: match[1] or "", word)
