"""Run a command that a second clock counts for: `other_clock.py SECONDS COMMAND...`.

Its monotonic clocks are ahead of everybody else's by so much, in a time namespace of its own; the
machine's clocks stay as they are.
"""

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWTIME = 0x80


def main(seconds: str, *command: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWTIME):
        raise OSError(ctypes.get_errno(), "unshare")
    offsets = f"monotonic {seconds} 0\nboottime {seconds} 0\n"
    Path("/proc/self/timens_offsets").write_text(offsets)
    with open("/proc/self/ns/time_for_children") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWTIME):
            raise OSError(ctypes.get_errno(), "setns")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
