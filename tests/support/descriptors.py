"""What a process has open, by name, so that a test that finds more says what."""

import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

_NUMBER = re.compile(r"[0-9]+")


def open_descriptors(process: int | str = "self") -> Counter[str]:
    """Count a process' descriptors by what they lead to, numbers left out; empty: it is dead."""
    found: Counter[str] = Counter()
    folder = Path(f"/proc/{process}/fd")
    with suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed since, as the one for this very list is
                found[_NUMBER.sub("", os.readlink(folder / name))] += 1
    return found
