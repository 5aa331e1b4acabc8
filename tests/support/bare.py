"""A bare REQ socket: all that a client in any language needs."""

import json
from collections.abc import Mapping
from typing import Any

import zmq

from support.pace import paced


def say(address: str, message: Mapping[str, Any] | bytes, seconds: float = 60.0) -> dict[str, Any]:
    """Send one request and return its reply."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(address)
        socket.send(message if isinstance(message, bytes) else json.dumps(message).encode())
        if not socket.poll(int(paced(seconds) * 1000)):
            raise AssertionError(f"no reply within {seconds:g} s to {message!r}")
        reply = json.loads(socket.recv())
    assert isinstance(reply, dict)
    return reply
