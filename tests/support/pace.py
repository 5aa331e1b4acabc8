"""How slow this machine is: the time limits of tests follow it.

An emulated machine is 10 to 20 times slower than the ones that the limits were written for. It is
measured once, at the start, and handed on to what is started by the environment.
"""

import os
import subprocess
import time
from collections.abc import Callable

VARIABLE = "PIPELINE_PACE"

_SPAWN_S = 0.001
_LOOP_S = 0.010
"""What the two take on the machines that the limits were written for."""
_ROOM = 2.0
"""How much slower a machine may be before anything follows it."""
_MOST = 20.0


def paced(seconds: float) -> float:
    """Stretch a time limit by how slow this machine is."""
    return seconds * _pace()


def _pace() -> float:
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(_measure())
    return float(os.environ[VARIABLE])


def _measure() -> float:
    """Take the best of several tries: a busy machine is not a slow one."""
    slower = max(_best(_spawn) / _SPAWN_S, _best(_loop) / _LOOP_S)
    return min(_MOST, max(1.0, round(slower / _ROOM)))


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(8):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _spawn() -> None:
    subprocess.run(["/bin/true"], check=True)


def _loop() -> None:
    total = 0
    for number in range(200_000):
        total += number * number
