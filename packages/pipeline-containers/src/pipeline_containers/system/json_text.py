"""JSON that strangers wrote, read without a surprise."""

import json
from typing import Any


def load_json(content: str | bytes, **options: Any) -> Any:
    """Parse JSON; raises `ValueError` for all that is none, and for what is nested too deeply.

    `options` are those of `json.loads`.
    """
    try:
        return json.loads(content, **options)
    except RecursionError:
        raise ValueError("nests too deeply") from None
