"""What the kernel knows of this process' TCP connections, and how one of them is ended.

libzmq tells neither what a peer has sent of a message that is not whole, nor what it has not read
of its answers, and ends nobody's connection. Its descriptors are this process' own, though.
"""

import os
import resource
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pipeline_router.backlog import TcpState

_SO_COOKIE = 57
_COOKIE = struct.Struct("=Q")
_COUNTERS = struct.Struct("=QQ")
_COUNTERS_AT = 120
"""Of `tcpi_bytes_acked` and `tcpi_bytes_received` in the kernel's `tcp_info`."""
_INFO_BYTES = _COUNTERS_AT + _COUNTERS.size


def cookie_of(fd: int) -> int:
    """Return a connection's cookie; 0 if there is no connection."""
    if fd < 0:
        return 0
    try:
        with _borrowed(fd) as connection:
            return _cookie(connection)
    except OSError:
        return 0


def inode_of(fd: int) -> int:
    """Return what tells a descriptor's connection from every other that is there; 0: there is none.

    A cookie does so for ever, and takes several times as long to find out.
    """
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def state_of(fd: int) -> TcpState | None:
    """Return how a connection stands; None if the descriptor is none."""
    try:
        with _borrowed(fd) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            return TcpState(_cookie(connection), *_COUNTERS.unpack_from(info, _COUNTERS_AT))
    except (OSError, struct.error):
        return None


class TcpScan:
    """Looks at every connection that came to this process; knows the ports of those it saw."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = {}
        """By cookie; 0: it came to none."""

    def by_port(self) -> dict[int, dict[int, TcpState]]:
        """Return all connections, by the port that they came to and their descriptor."""
        found: dict[int, dict[int, TcpState]] = defaultdict(dict)
        ports = {}
        for fd in _descriptors():
            state = state_of(fd)
            if state is not None:
                port = self._ports.get(state.cookie)
                ports[state.cookie] = port = _port_of(fd) if port is None else port
                found[port][fd] = state
        self._ports = ports
        return found


def _descriptors() -> Iterable[int]:
    """List what this process has open; where it may open nothing more to find out, what it may."""
    try:
        return map(int, os.listdir("/proc/self/fd"))
    except OSError:
        return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _port_of(fd: int) -> int:
    """Return the port of this host that a connection is of; 0 for what is no connection."""
    try:
        with _borrowed(fd) as connection:
            connection.getpeername()  # a socket that listens has none
            return int(connection.getsockname()[1])
    except OSError:
        return 0


def cut(fd: int, cookie: int) -> str:
    """End a connection, if it still is the one of that cookie; return who was at its other end.

    libzmq, whose descriptor it is, then finds it ended and forgets all that waits for it.
    """
    with suppress(OSError), _borrowed(fd) as connection:
        if _cookie(connection) == cookie:
            host, port = connection.getpeername()[:2]
            # what is on its way is for nobody: without this the kernel would keep it for a minute
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
            return f"{host}:{port}"
    return ""


def _cookie(connection: socket.socket) -> int:
    return int(*_COOKIE.unpack(connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _COOKIE.size)))


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """Give libzmq's descriptor as a socket, and leave it open; kind and family are not asked."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
    try:
        yield borrowed
    finally:
        borrowed.detach()
