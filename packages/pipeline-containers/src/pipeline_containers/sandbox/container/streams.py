"""A container's standard output and standard error: drained, counted, capped, never waited for."""

import os
import select

from pipeline_containers.system.text import decoded

_CHUNK_BYTES = 65_536


class Stream:
    """A pipe whose write end is a container's, and what came through it up to a cap.

    A pipe and not a file: a tool that opens `/dev/stdout` would truncate a file.
    """

    def __init__(self, cap_bytes: int, uid: int, gid: int) -> None:
        self.content = bytearray()
        self.is_over = False
        self.cap_bytes = cap_bytes
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        os.fchown(self.write_end, uid, gid)  # or the tool may not open its own /dev/stdout

    def hand_over(self) -> None:
        """Close the host's copy of the write end, now that the container has it."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def drain(self) -> bool:
        """Take what is there without waiting; false at the end of the stream or at the cap."""
        while not self.is_over:
            try:
                chunk = os.read(self.read_end, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            room = self.cap_bytes - len(self.content)
            self.content += chunk[:room]
            self.is_over = len(chunk) > room
        return False

    @property
    def text(self) -> str:
        """What came, with U+FFFD for invalid UTF-8 and for each NUL."""
        return decoded(self.content)

    def close(self) -> None:
        """Close both ends; a second time is fine."""
        self.hand_over()
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1


class StreamWatch:
    """Waits for whichever comes first: output, a process' end, or a point in time."""

    def __init__(self, streams: tuple[Stream, ...], pidfd: int) -> None:
        self._streams = {stream.read_end: stream for stream in streams}
        self._pidfd = pidfd
        self._poller = select.poll()
        for descriptor in (*self._streams, pidfd):
            self._poller.register(descriptor, select.POLLIN)

    def turn(self, timeout_s: float) -> bool:
        """Drain what is ready within a time; true when the process has ended."""
        ended = False
        for descriptor, _ in self._poller.poll(max(0.0, timeout_s) * 1000):
            if descriptor == self._pidfd:
                ended = True
            elif not self._streams[descriptor].drain():
                self._poller.unregister(descriptor)
        return ended
