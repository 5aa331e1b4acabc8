"""A subprocess with a deadline and capped output, whose whole process group ends with it.

Arguments are a list, never a shell's line. Output is streamed by the line to whoever wants to see
it, and its end is kept; standard output and standard error are one stream, as a terminal's, unless
standard output is asked for apart.
"""

import contextlib
import enum
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline_containers.errors import ToolMissing
from pipeline_containers.system.text import decoded

OnLine = Callable[[str], None]
"""Takes one line of output, without its end; invalid UTF-8 and NUL are U+FFFD."""
OnStart = Callable[[int], None]
"""Takes the process id of a command that has begun."""

_KEPT = ("SSL_CERT_FILE", "SSL_CERT_DIR", "_CONTAINERS_USERNS_CONFIGURED")
_CHUNK_BYTES = 65_536
_LINE_BYTES = 4_096  # a longer line is handed on in pieces
_TURN_S = 0.05  # how often `cancelled` is looked at: it has no file descriptor to wait on
_DRAIN_S = 1.0  # how long a grandchild may hold the pipe after the program itself is gone


class CancelFlag(Protocol):
    """The one question asked of a `threading.Event`."""

    def is_set(self) -> bool:
        """Return whether the work is no longer wanted."""
        ...


class Stop(enum.Enum):
    """Why a command was ended before its own time."""

    TIMED_OUT = "timed out"
    OUTPUT_LIMIT = "output limit"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended: its exit status (128 + signal if killed), output and duration.

    `tail` is for people: NUL in it is U+FFFD. `stdout` is for programs, and has it as it came.
    """

    exit_status: int
    stop: Stop | None
    stdout: str
    tail: str
    wall_s: float

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, with status 0."""
        return self.stop is None and self.exit_status == 0


def run_command(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    output_bytes: int = 16 * 1024 * 1024,
    tail_bytes: int = 64 * 1024,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_start: OnStart | None = None,
    on_line: OnLine | None = None,
    cancelled: CancelFlag | None = None,
) -> Completed:
    """Run a program to its end, its deadline, its output cap, or until it is cancelled.

    `stdout` of the answer is the whole of standard output, `tail` the last `tail_bytes` of both
    streams. Raises `ToolMissing` when there is no such program.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise ToolMissing(arguments[0]) from error
    output = _Output(output_bytes, tail_bytes, on_line)
    try:
        if on_start is not None:
            on_start(process.pid)
        stop = _follow(process, output, began + timeout_s, cancelled)
    finally:
        end_group(process)
        output.close()
    status = process.returncode
    return Completed(
        exit_status=status if status >= 0 else 128 - status,
        stop=stop,
        stdout=output.stdout.decode(errors="replace"),
        tail=decoded(output.tail),
        wall_s=time.monotonic() - began,
    )


def clean_environment(home: Path) -> dict[str, str]:
    """Make an environment with a private home and nothing of this process but what is named here.

    The certificate authorities that a host trusts beside the usual ones go along, and that this
    is a user namespace, if it is one: skopeo's root has fewer rights there.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        "TMPDIR": str(home),
        "XDG_RUNTIME_DIR": str(home),
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process' group, wait for all of it, and close the pipes.

    Where this process is the subreaper, orphans of the group are its children now; nobody else
    would wait for them, and nothing but this group may be waited for.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _DRAIN_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-process.pid, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class _Output:
    """What a program prints: counted, cut into lines, its end kept."""

    def __init__(self, cap: int, tail_bytes: int, on_line: OnLine | None) -> None:
        self.stdout = bytearray()
        self.tail = bytearray()
        self._left = cap
        self._tail_bytes = tail_bytes
        self._on_line = on_line
        self._line = bytearray()

    def take(self, chunk: bytes, is_stdout: bool) -> bool:
        """Keep a chunk; false when that was more than the program may print."""
        over = len(chunk) > self._left
        chunk = chunk[: self._left]
        self._left -= len(chunk)
        if is_stdout:
            self.stdout += chunk
        self.tail += chunk
        del self.tail[: -self._tail_bytes]
        if self._on_line is not None:
            self._line += chunk
            self._emit()
        return not over

    def close(self) -> None:
        """Hand on the last line, which has no end."""
        if self._on_line is not None and self._line:
            self._on_line(decoded(self._line))

    def _emit(self) -> None:
        assert self._on_line is not None  # noqa: S101 -- the caller looked
        *lines, rest = self._line.split(b"\n")
        while len(rest) > _LINE_BYTES:
            lines.append(rest[:_LINE_BYTES])
            rest = rest[_LINE_BYTES:]
        self._line = rest
        for line in lines:
            self._on_line(decoded(line.rstrip(b"\r")))


def _follow(
    process: subprocess.Popen[bytes],
    output: _Output,
    deadline: float,
    cancelled: CancelFlag | None,
) -> Stop | None:
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None  # noqa: S101 -- both were asked for above
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                return Stop.TIMED_OUT if process.poll() is None else None
            if cancelled is not None and cancelled.is_set():
                return Stop.CANCELLED
            if process.poll() is not None:
                deadline = min(deadline, now + _DRAIN_S)
            for key, _ in selector.select(min(deadline - now, _TURN_S)):
                chunk = _read(key.fd)
                if chunk is None:
                    continue
                if not chunk:
                    selector.unregister(key.fileobj)
                elif not output.take(chunk, key.fileobj is process.stdout):
                    return Stop.OUTPUT_LIMIT
        while process.poll() is None:  # it closed its streams and lives on
            if time.monotonic() >= deadline:
                return Stop.TIMED_OUT
            if cancelled is not None and cancelled.is_set():
                return Stop.CANCELLED
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TURN_S)
    return None


def _read(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except BlockingIOError:
        return None
