"""Strangers' words, wherever they are printed: nothing is obeyed, and no line is made up."""

import logging
import unicodedata

import pytest

from pipeline_protocol.codec import decode_reply, refusal
from pipeline_protocol.log_format import LogFormatter
from pipeline_protocol.text import clean, one_line

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
ENDS_OF_LINES = ["\u2028", "\u2029"]
DIRECTIONS = [
    *"\u061c\u200e\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
NO_TEXT = ["\ud800", "\udfff", "\ufeff"]
HOSTILE = [*CONTROLS, *ENDS_OF_LINES, *DIRECTIONS, *NO_TEXT]
MADE_UP = "2026-01-01 00:00:00,000 ERROR made up"


def is_safe(text: str) -> bool:
    bad = {"Cc", "Cs", "Zl", "Zp"}
    return not any(
        unicodedata.category(c) in bad or unicodedata.bidirectional(c) in _TURNS or c == "\ufeff"
        for c in text
    ) and not any(mark in text for mark in DIRECTIONS)


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize("character", HOSTILE, ids=ascii)
def test_each_is_escaped(character: str) -> None:
    assert one_line(f"a{character}b") == f"a{ascii(character)[1:-1]}b"
    assert is_safe(one_line(character))
    if character not in "\t\n":
        assert clean(f"a{character}b") == f"a{ascii(character)[1:-1]}b"


@pytest.mark.parametrize("text", ["Grüße", "日本語", "שלום", "a\tb\nc", "👩\u200d🚀", "é"])
def test_words_of_all_languages_stay(text: str) -> None:
    assert clean(text) == text


def formatted(message: str, *arguments: object, error: BaseException | None = None) -> str:
    information = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord(
        "x", logging.INFO, __file__, 1, message, arguments, information, sinfo="Stack:\n" + MADE_UP
    )
    return LogFormatter().format(record)


def test_a_log_record_is_one_line_whatever_is_in_it() -> None:
    hostile = "".join(HOSTILE)
    first, *others = formatted("%s failed: %s", hostile, f"\n{MADE_UP}").split("\n")
    assert is_safe(first)
    assert MADE_UP in first
    assert others == ["    Stack:", f"    {MADE_UP}"]


def test_an_errors_words_make_no_record_either() -> None:
    try:
        raise ValueError(f"x\n{MADE_UP}\r{MADE_UP}\x1b]0;title\x07")
    except ValueError as error:
        text = formatted("it broke off", error=error)
    lines = text.split("\n")
    assert all(is_safe(line) for line in lines)
    assert sum(not line.startswith("    ") for line in lines) == 1
    assert len(lines) > 4, "the traceback is still readable"


def test_a_replys_error_is_clean() -> None:
    reply = decode_reply(refusal(513, f"the tool said: {''.join(HOSTILE)}"))
    assert is_safe(str(reply.status.error).replace("\n", "").replace("\t", ""))
