"""Starts the process that shows the snapshots, hands it one after the other, starts it anew."""

import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, Full, Queue
from time import monotonic
from typing import Final

from pipeline_protocol.monitor.snapshot import Setup, Snapshot, frame

SEND_S = 5.0
"""That the process may take to read a snapshot before it is ended."""
END_S = 2.0
PATIENCE_S = 1.0
PATIENCE_MOST_S = 60.0
"""Between two starts of a process that does not live; doubled each time."""
LONG_S = 60.0
"""Who has lived so long is started at once when it ends."""
_HANDED_ON: Final = ("LANG", "LC_ALL", "PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Of the environment: it needs nothing that is secret."""

_log = logging.getLogger(__name__)


class Feed:
    """Hands snapshots to a process, by a thread: whoever offers one never waits."""

    def __init__(self, listener: socket.socket, setup: Setup) -> None:
        """Take the listening socket over; it stays open while no process serves it."""
        self._listener = listener
        self._setup = setup
        self._offered: Queue[Snapshot | None] = Queue(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        self._began = 0.0
        self._patience_s = PATIENCE_S
        self._not_before = 0.0
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="monitor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The process that serves now, as far as is known."""
        process = self._process
        return None if process is None else process.pid

    def offer(self, snapshot: Snapshot) -> bool:
        """Have a snapshot shown; False: the one before is still on its way, this one is dropped."""
        try:
            self._offered.put_nowait(snapshot)
        except Full:
            return False
        return True

    def close(self) -> None:
        """End the process, and listen no more."""
        self._is_closing = True
        with suppress(Full):  # the thread is at work, and looks when it is done
            self._offered.put_nowait(None)
        self._thread.join(SEND_S + END_S)
        self._listener.close()

    # --- the thread

    def _work(self) -> None:
        try:
            while not self._is_closing:
                try:
                    snapshot = self._offered.get(timeout=1.0)
                except Empty:
                    continue
                if snapshot is not None:
                    self._show(snapshot)
        finally:
            self._end()

    def _show(self, snapshot: Snapshot) -> None:
        try:
            if self._lives() and self._pipe is not None:
                self._pipe.sendall(frame(snapshot))
        except OSError as error:
            self._give_up(f"the monitor's process takes nothing in, or does not start: {error}")
        except Exception as error:  # whatever it is, the next snapshot may go
            self._give_up(f"a snapshot could not be shown: {error!r}")

    def _lives(self) -> bool:
        """Whether the process is there, after a start if it was not."""
        now = monotonic()
        process = self._process
        if process is not None:
            status = process.poll()
            if status is None:
                return True
            self._give_up(f"the monitor's process ended, status {status}")
        if now < self._not_before:
            return False
        self._began = now
        self._start()
        return True

    def _give_up(self, why: str) -> None:
        """End the process, say so, and let another one be started, sooner or later."""
        self._end()
        if monotonic() - self._began >= LONG_S:
            self._patience_s = PATIENCE_S
        self._not_before = self._began + self._patience_s
        self._patience_s = min(2 * self._patience_s, PATIENCE_MOST_S)
        _log.warning("%s", why)

    def _start(self) -> None:
        own, its = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline_protocol.monitor"],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=(self._listener.fileno(),),
                env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            )
        except OSError:
            own.close()
            raise
        finally:
            its.close()
        self._pipe = own
        own.settimeout(SEND_S)
        own.sendall(frame(self._setup))

    def _end(self) -> None:
        """Let the process end, which it does with its pipe; or end it."""
        pipe, self._pipe = self._pipe, None
        process, self._process = self._process, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
