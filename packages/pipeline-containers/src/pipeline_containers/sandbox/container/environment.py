"""What a tool finds in its environment beside what its image says: pure."""

from collections.abc import Sequence

LEAKS = "detect_leaks"
SANITIZERS = ("ASAN_OPTIONS", "LSAN_OPTIONS")
"""Where programs that were built with AddressSanitizer or LeakSanitizer take this switch from."""


def value_of(env: Sequence[str], name: str) -> str:
    """Return the last value of a name; empty if there is none."""
    found = [entry.partition("=")[2] for entry in env if entry.startswith(f"{name}=")]
    return found[-1] if found else ""


def without_leak_check(env: Sequence[str]) -> tuple[str, ...]:
    """Switch LeakSanitizer off, which fails every program that it may not trace.

    An image that says something about it has its way; one that sets other options keeps them.
    """
    said = {name: value_of(env, name) for name in SANITIZERS}
    if any(LEAKS in options for options in said.values()):
        return tuple(env)
    switch = f"{LEAKS}=0"
    added = (f"{name}={f'{said[name]}:{switch}' if said[name] else switch}" for name in SANITIZERS)
    return (*env, *added)
