"""Who did which job, and how far: a file that processes append to until they are killed."""

import os
from collections import defaultdict
from pathlib import Path

import msgspec
from msgspec import Struct


class Note(Struct, frozen=True):
    """A line of the journal."""

    id: str
    run: str
    """Tells this execution from every other."""
    worker: str
    attempt: int
    ended: bool = False


class Execution(Struct):
    """One time that a worker began a job."""

    worker: str
    attempt: int
    ended: bool = False


class Journal:
    """Append-only; a line is written at once or not at all, and needs no process to outlive it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(self, note: Note) -> None:
        os.write(self._file, msgspec.json.encode(note) + b"\n")

    def executions(self) -> dict[str, list[Execution]]:
        """Return each request's executions, in the order in which they began."""
        begun: dict[str, Execution] = {}
        by_id: dict[str, list[Execution]] = defaultdict(list)
        for line in self.path.read_bytes().splitlines():
            note = msgspec.json.decode(line, type=Note)
            if note.ended:
                begun[note.run].ended = True
            else:
                begun[note.run] = Execution(note.worker, note.attempt)
                by_id[note.id].append(begun[note.run])
        return by_id

    def close(self) -> None:
        os.close(self._file)
