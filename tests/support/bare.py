"""A bare REQ socket: all that a client in any language needs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq

from support.keyring import show_key
from support.pace import paced


def say(
    address: str,
    message: Mapping[str, Any] | bytes,
    seconds: float = 60.0,
    keys: Path | None = None,
) -> dict[str, Any]:
    """Send one request, with the key of a file if there is one, and return its reply."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        show_key(socket, keys)
        socket.connect(address)
        socket.send(message if isinstance(message, bytes) else json.dumps(message).encode())
        if not socket.poll(int(paced(seconds) * 1000)):
            raise AssertionError(f"no reply within {seconds:g} s to {message!r}")
        reply = json.loads(socket.recv())
    assert isinstance(reply, dict)
    return reply
