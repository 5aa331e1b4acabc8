"""Text that strangers wrote, made safe for a terminal and for those who store it. Pure.

`pipeline_protocol.text` does the same for its users: this package knows nothing of the protocol.
"""

import re
from typing import Any

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tabs and new lines
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    r"\u2028\u2029\ufeff\ud800-\udfff]"  # other ends of lines; a mark; what is no text
)

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""What is not Unicode text, and NUL, which databases refuse in text."""
_REPLACEMENT = "\ufffd"
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def clean(text: str) -> str:
    r"""Return the text with nothing in it that a terminal obeys, as ``\x1b``; lines stay lines."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def storable(text: str) -> str:
    """Return the text with U+FFFD for each NUL, and for each half of a surrogate pair."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def is_storable(text: str) -> bool:
    """Return whether `storable` would leave the text as it is."""
    return _UNSTORABLE.search(text) is None


def decoded(content: bytes | bytearray) -> str:
    """Return bytes as text, with U+FFFD for invalid UTF-8 and for each NUL."""
    return storable(content.decode(errors="replace"))


def may_have_unstorable(json_text: str) -> bool:
    """Return whether JSON, read leniently too, can have strings that are not storable."""
    return "\0" in json_text or _ESCAPED.search(json_text) is not None


def storable_json(value: Any) -> Any:
    """Return JSON's data with all its strings `storable`, keys too, in new objects and lists.

    Of keys that become the same the last one stands, as of a key that is there twice. For data of
    bounded depth.
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    return value
