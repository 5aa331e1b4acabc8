"""A benchmark's results: a table for people, JSON for programs."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import zmq

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str]:
    """Return what the figures were measured on, and with."""
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{os.getloadavg()[0]:.1f} before the start",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "msgspec": version("msgspec"),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table, its first column to the left."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 or column == len(heads) - 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def ranged(middle: float, spread: Sequence[float], form: str) -> str:
    """Write a median, with the smallest and the largest value."""
    low, high = spread
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def save(name: str, results: Mapping[str, Any], folder: Path) -> Path:
    """Write NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return path
