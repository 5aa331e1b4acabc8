"""A container's terminal, for people: how it comes to the host, and the way between it and theirs.

The terminal is the container's own, of its own devpts; the runtime sends its other end over a
socket. What comes through it was printed by strangers' programs, as in any terminal.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from pipeline_containers.errors import SandboxError

_CHUNK_BYTES = 65_536
_END_OF_INPUT = b"\x04"  # what Ctrl-D types
_AGAIN_MS = 200  # a program that sets its terminal up just then misses what was typed


class ConsoleSocket:
    """Where the runtime sends the terminal to; at a path of at most 107 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise SandboxError(f"{path} cannot be a socket: {error}") from error
        self._socket.listen(1)
        self._socket.settimeout(10)

    def receive(self) -> int:
        """Take the terminal's other end, once the container is created; a file descriptor."""
        try:
            connection, _ = self._socket.accept()
            with connection:
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        except OSError as error:
            raise SandboxError(f"the runtime sent no terminal: {error}") from error
        if not descriptors:
            raise SandboxError("the runtime sent no terminal")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


class Relay:
    """Carries bytes between the terminal that a person sits at and a container's.

    Input may be a file or a pipe too: at its end the container is told so, as Ctrl-D does.
    """

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def attach(self, terminal: int, pidfd: int) -> None:
        """Relay until the container's first process has ended."""
        poller = select.poll()
        for descriptor in (self._stdin, terminal, pidfd):
            poller.register(descriptor, select.POLLIN)
        with self._raw(), self._same_size(terminal):
            again = None
            while True:
                ready = {descriptor for descriptor, _ in poller.poll(again)}
                if terminal in ready and not self._show(terminal):
                    poller.unregister(terminal)
                if self._stdin in ready and not self._type(terminal):
                    poller.unregister(self._stdin)
                    again = _AGAIN_MS
                if not ready:
                    self._end_input(terminal)
                if pidfd in ready:
                    os.set_blocking(terminal, False)
                    while self._show(terminal):  # its last words
                        pass
                    return

    def _show(self, terminal: int) -> bool:
        """Show what was printed; false when nothing more will be."""
        try:
            chunk = os.read(terminal, _CHUNK_BYTES)
        except OSError:  # a terminal whose programs are gone is an error to read
            return False
        _write_all(self._stdout, chunk)
        return bool(chunk)

    def _type(self, terminal: int) -> bool:
        """Pass on what was typed; false when nothing more will be."""
        chunk = os.read(self._stdin, _CHUNK_BYTES)
        with contextlib.suppress(OSError):
            _write_all(terminal, chunk)
        return bool(chunk)

    def _end_input(self, terminal: int) -> None:
        with contextlib.suppress(OSError):
            _write_all(terminal, _END_OF_INPUT)

    @contextlib.contextmanager
    def _raw(self) -> Iterator[None]:
        """Let every key through: it is the container's terminal that makes a signal of Ctrl-C."""
        if not os.isatty(self._stdin):
            yield
            return
        was = termios.tcgetattr(self._stdin)
        try:
            tty.setraw(self._stdin)
            yield
        finally:
            termios.tcsetattr(self._stdin, termios.TCSAFLUSH, was)

    @contextlib.contextmanager
    def _same_size(self, terminal: int) -> Iterator[None]:
        """Keep the container's terminal as large as the person's."""
        if not os.isatty(self._stdout):
            yield
            return

        def resize(*_: object) -> None:
            size = fcntl.ioctl(self._stdout, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            with contextlib.suppress(OSError):
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)

        resize()
        was = signal.signal(signal.SIGWINCH, resize)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, was)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
