"""The process' own memory: looked at ten times a second, bounded by whoever starts the router."""

import os
import resource
from collections.abc import Sequence

from pipeline_router.peer_socket import PeerSocket
from pipeline_router.tcp import TcpScan

LOOK_S = 0.1
CONNECTIONS_S = 1.0
"""How often the connections are looked at, if the process does not grow."""
GROWTH_BYTES = 16 << 20
"""If it has grown by so much, they are looked at at once."""
HARDLY_ANYTHING = 1 << 20
"""Bytes that wait for all connections together, when the process has what it has of its own."""
SPARE_BYTES = 64 << 20
"""Threads' stacks, above all."""

_PAGE = resource.getpagesize()


class MemoryGuard:
    """Ends connections that cost too much; says when the whole process does.

    `most` is how many bytes the process may have; None: as many as it gets. The kernel is told to
    refuse what is a quarter more, for what grows faster than is looked. libzmq then drops the
    connection whose frame it was, or, where it lacks a few bytes, ends the process.
    """

    def __init__(self, sockets: Sequence[PeerSocket], most: int | None, now: float) -> None:
        self._statm = _Statm()
        self._sockets = sockets
        self._scan = TcpScan()
        self._most = most
        self._after_look = self._at_rest = self._statm.resident()
        self._next_look = self._next_connections = now
        if most is not None:
            _hold_to(most, self._statm)

    def close(self) -> None:
        """Look no more."""
        self._statm.close()

    def wake_at(self) -> float:
        """Return when to `look` next."""
        return self._next_look

    def look(self, now: float) -> str:
        """Look at memory and connections; return why the process has to end, if it has to."""
        self._next_look = now + LOOK_S
        has = self._statm.resident()
        if now >= self._next_connections or has > self._after_look + GROWTH_BYTES:
            connections = self._scan.by_port()
            waiting = 0
            for socket in self._sockets:
                own, grown = connections.get(socket.port, {}), has - self._at_rest
                waiting += socket.look_at_connections(own, grown, now)
            if waiting < HARDLY_ANYTHING:
                self._at_rest = has
            self._next_connections = now + CONNECTIONS_S
            self._after_look = has
        if self._most is None or has <= self._most:
            return ""
        return f"{has >> 20} MiB of memory are in use, --memory-max is {self._most >> 20} MiB"


class _Statm:
    """What the kernel says of this process' memory; kept open, for there may be no descriptor."""

    def __init__(self) -> None:
        self._file = open("/proc/self/statm", "rb", buffering=0)  # noqa: SIM115

    def resident(self) -> int:
        """Return how many bytes of memory the process has."""
        return self._pages()[1] * _PAGE

    def set_aside(self) -> int:
        """Return how many bytes of data and stacks it has set aside, used or not."""
        return self._pages()[5] * _PAGE

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def _pages(self) -> list[int]:
        return [int(pages) for pages in os.pread(self._file.fileno(), 256, 0).split()]


def _hold_to(most: int, statm: _Statm) -> None:
    """Have the kernel refuse memory; what is set aside by now, but unused, is no matter."""
    limit = most + most // 4 + SPARE_BYTES + max(0, statm.set_aside() - statm.resident())
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
