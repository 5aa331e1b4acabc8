"""Text that strangers wrote, made safe for a terminal. Pure.

`pipeline_protocol.text` does the same for its users: this package knows nothing of the protocol.
"""

import re

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tabs and new lines
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    r"\u2028\u2029\ufeff\ud800-\udfff]"  # other ends of lines; a mark; what is no text
)


def clean(text: str) -> str:
    r"""Return the text with nothing in it that a terminal obeys, as ``\x1b``; lines stay lines."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))
