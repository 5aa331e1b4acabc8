"""A client that speaks ZMTP 3.0 by itself, where libzmq would not do what a stranger may."""

import socket
from contextlib import suppress

_GREETING = (
    b"\xff" + bytes(8) + b"\x7f" + bytes([3, 0]) + b"NULL".ljust(20, b"\0") + bytes(1) + bytes(31)
)
_COMMAND, _MORE, _LONG = 4, 1, 2


class RawClient:
    """A connection to a router, its handshake done."""

    def __init__(self, port: int, *, name: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(_GREETING)
        self._read(len(_GREETING))
        properties = _property(b"Socket-Type", b"DEALER") + _property(b"Identity", name)
        ready = b"\x05READY" + properties
        self.socket.sendall(bytes([_COMMAND, len(ready)]) + ready)
        _, size = self._read(2)
        self._read(size)

    def send(self, *frames: bytes, more: bool = False) -> None:
        """Send frames as one message; with `more` as the beginning of one."""
        for number, frame in enumerate(frames):
            flags = _MORE if more or number < len(frames) - 1 else 0
            if len(frame) < 256:
                head = bytes([flags, len(frame)])
            else:
                head = bytes([flags | _LONG]) + len(frame).to_bytes(8, "big")
            self.socket.sendall(head + frame)

    def send_on(self, frame: bytes, most: int, *, at_a_time: int = 1) -> int:
        """Send a message that goes on, until it is cut off or long enough; return its bytes."""
        head = bytes([_MORE | _LONG]) + len(frame).to_bytes(8, "big")
        if len(frame) < 256:
            head = bytes([_MORE, len(frame)])
        part = (head + frame) * at_a_time
        sent = 0
        with suppress(ConnectionError):
            while sent < most:
                self.socket.sendall(part)
                sent += len(part)
        return sent

    def is_cut(self) -> bool:
        """Whether the other end has ended the connection; what it says is skipped."""
        self.socket.settimeout(0.05)
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the router ended the handshake"
            data += part
        return data


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
