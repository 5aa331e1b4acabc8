"""`--chmod=u=rwX,go=rX`: what a symbolic mode makes of files, as one number. No I/O.

Builders take a number, for all that is copied. So a symbolic mode can be had where it makes the
same of all files that there may be, or leaves all as they are.
"""

import re
from collections.abc import Iterable

CHECKOUT = ((0o644, False), (0o755, False), (0o755, True))
"""The modes of what git checks out: files, programs, folders (whether it is one)."""
HEREDOC = ((0o644, False),)
ANY = tuple((mode, folder) for mode in (0, 0o777, 0o666, 0o111) for folder in (False, True))
"""Enough to tell for all: what becomes of a bit hangs on that bit, and on whether there is an x."""
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxX]*)+)")
_STEP = re.compile(r"([-+=])([rwxX]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}

KEPT = ""


def is_symbolic(text: str) -> bool:
    """Return whether a mode is written in letters."""
    return all(_CLAUSE.fullmatch(clause) for clause in text.split(","))


def one_mode(text: str, of: Iterable[tuple[int, bool]]) -> str | None:
    """Return the octal number that a symbolic mode comes to for all of these.

    `KEPT` if it leaves them as they are, `None` if it makes different things of them.
    """
    before = list(of)
    after = [apply_mode(text, mode, is_folder=folder) for mode, folder in before]
    if after == [mode for mode, _ in before]:
        return KEPT
    return f"{after[0]:o}" if len(set(after)) == 1 else None


def apply_mode(text: str, mode: int, *, is_folder: bool) -> int:
    """Apply a symbolic mode to that of a file or folder, as chmod(1) does without a umask."""
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise ValueError(f"{text!r} is not a mode")
        classes = "ugo" if not match[1] or "a" in match[1] else match[1]
        for sign, letters in _STEP.findall(match[2]):
            bits = sum(_BITS[letter] for letter in set(letters) - {"X"})
            if "X" in letters and (is_folder or mode & 0o111):
                bits |= 1
            for one in set(classes):
                shift = _SHIFTS[one]
                if sign == "=":
                    mode &= ~(7 << shift)
                mode = mode & ~(bits << shift) if sign == "-" else mode | bits << shift
    return mode
