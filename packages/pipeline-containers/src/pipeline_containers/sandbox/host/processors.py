"""Which of the host's processors each job has to itself, so that what runs in it sees no others.

A quota of processor time alone leaves all of the host's processors to be seen: runtimes start as
many threads. A job whose `cpus` is a whole number has that many processors in its cpuset. All
sandboxes of a host take places on them, by locks on bytes of a common file, which go with whoever
holds them. Places are numbered by level: at level 0 a job has a processor alone, at level 1 with
one of another sandbox. The lowest level is taken first, so that no processor has two jobs while
another has none; a job at a higher level moves as soon as there is a lower place.
Source: the kernel's `cgroup-v2.rst` and `cgroup-v1/cpusets.rst`, sched_getaffinity(2).
"""

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.sandbox.host.byte_locks import ByteLocks

LOCKS = Path("/run/pipeline-containers/processors")
TOPOLOGY = Path("/sys/devices/system/cpu")

_LEVELS = 64
"""More jobs than that on each processor are left to the scheduler."""
_MOST = 1 << 16
"""More processors than a kernel can have."""


@dataclass(frozen=True, slots=True, order=True)
class ProcessorPlace:
    """A part of a processor: at its level, it has so many jobs beside this one."""

    level: int
    processor: int


def whole_processors(cpus: float, usable: int, jobs: int) -> int:
    """Give how many of the usable processors a job is to have; 0: none of its own.

    None where `cpus` is no whole number, where it is all of them, and where so many such jobs at a
    time are more than there is room for: then the scheduler, which may move them at any time, does
    more in the same time.
    """
    return int(cpus) if cpus == int(cpus) and cpus < usable and jobs * cpus <= usable else 0


def spread(siblings: Mapping[int, Sequence[int]]) -> list[int]:
    """Order processors, by those that share each one's core, so that cores come before siblings."""
    return sorted(siblings, key=lambda one: (sorted({*siblings[one], one}).index(one), one))


def free_places(
    processors: Iterable[int], held: Collection[ProcessorPlace], below: int = _LEVELS
) -> Iterator[ProcessorPlace]:
    """List the places below a level that are not held, in the order that they are to be tried."""
    order = list(processors)
    for level in range(below):
        for processor in order:
            place = ProcessorPlace(level, processor)
            if place not in held:
                yield place


def parse_processors(text: str) -> list[int]:
    """Read a list of processors as the kernel writes it: 0-3,8."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def find_siblings(processors: Iterable[int], topology: Path = TOPOLOGY) -> dict[int, list[int]]:
    """Read which processors share a core with each; those that the kernel says nothing of do not.

    Those that are not among the given ones count for nothing.
    """
    given, found = list(processors), {}
    for processor in given:
        file = topology / f"cpu{processor}/topology/thread_siblings_list"
        found[processor] = [processor]
        with contextlib.suppress(OSError):
            found[processor] = [one for one in parse_processors(file.read_text()) if one in given]
    return found


class Processors:
    """The places that one sandbox' jobs have; none at all where there is nothing to choose from."""

    def __init__(self, processors: Sequence[int], jobs: int, locks: Path = LOCKS) -> None:
        """Share these processors, in this order, by the locks' file; so many jobs at a time."""
        self._jobs = jobs
        self._processors = tuple(processors)
        self._locks = ByteLocks(locks)
        self._held: set[ProcessorPlace] = set()
        self._lock = threading.Lock()

    def take(self, cpus: float) -> list[ProcessorPlace]:
        """Take as many places, on different processors, as a job is to have; or none.

        Raises `OSError` if the locks' file cannot be used.
        """
        count = whole_processors(cpus, len(self._processors), self._jobs)
        taken: dict[int, ProcessorPlace] = {}
        with self._lock:
            for place in free_places(self._processors, self._held) if count else ():
                if place.processor not in taken and self._locks.take(_byte(place)):
                    taken[place.processor] = place
                    self._held.add(place)
                if len(taken) == count:
                    return list(taken.values())
        self.give_back(taken.values())
        return []

    def improve(self, places: Sequence[ProcessorPlace]) -> list[ProcessorPlace]:
        """Exchange the worst of a job's places for a better one, if there is one by now."""
        worst = max(places, default=ProcessorPlace(0, 0))
        if not worst.level:
            return list(places)
        others = [place for place in places if place != worst]
        elsewhere = [one for one in self._processors if one not in {at.processor for at in others}]
        with self._lock:
            for place in free_places(elsewhere, self._held, worst.level):
                if self._locks.take(_byte(place)):
                    self._held.add(place)
                    self._give_back(worst)
                    return [*others, place]
        return list(places)

    def give_back(self, places: Iterable[ProcessorPlace]) -> None:
        """Let other jobs have them."""
        with self._lock:
            for place in places:
                self._give_back(place)

    def close(self) -> None:
        """Let others have all."""
        self._locks.close()

    def _give_back(self, place: ProcessorPlace) -> None:
        self._held.discard(place)
        self._locks.give_back(_byte(place))


def _byte(place: ProcessorPlace) -> int:
    return place.level * _MOST + place.processor
