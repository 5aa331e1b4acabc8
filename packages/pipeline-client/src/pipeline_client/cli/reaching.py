"""Whether a router is there, and lets this side in: found out before anything is asked.

A ZeroMQ socket would go on trying, and say nothing.
"""

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import zmq

from pipeline_client._keys_file import key_options
from pipeline_client._plans.options import ClientOptions
from pipeline_client._transport.connection import Connection
from pipeline_client.errors import error_of
from pipeline_protocol import RouterAddress, status
from pipeline_protocol.handshakes import no_keys_here, no_keys_there

_GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03"
"""ZMTP 3.0's first bytes: whoever speaks it answers with all of its own, the mechanism in it."""
_MECHANISM = slice(12, 32)
_GREETING_S = 1.0
_TELLING_S = 0.5
"""After this long without a word it is looked whether anybody listens."""


def reach(address: RouterAddress, seconds: float, keys: Path | None = None) -> None:
    """Return if a router is there that lets this side in; else raise the error that says why."""
    if keys is None:
        if _mechanism(address, seconds) == b"CURVE":
            raise error_of(status.CLIENT_TIMED_OUT, no_keys_here(str(address)))
    else:
        _shake_hands(address, seconds, keys)


def _mechanism(address: RouterAddress, seconds: float) -> bytes:
    """Return what the router wants of who connects; nothing: it does not say."""
    greeting = b""
    try:
        with socket.create_connection((address.host, address.port), seconds) as connection:
            connection.settimeout(min(seconds, _GREETING_S))
            with suppress(OSError):
                connection.sendall(_GREETING)
                while len(greeting) < _MECHANISM.stop and (more := connection.recv(64)):
                    greeting += more
    except (OSError, UnicodeError) as error:  # the latter of a name that can be no host's
        _not_there(address, error)
    return greeting[_MECHANISM].rstrip(b"\0")


def _shake_hands(address: RouterAddress, seconds: float, keys: Path) -> None:
    connection: Connection[None] = Connection(ClientOptions(router=address, **key_options(keys)))
    try:
        poller = zmq.Poller()
        for each in connection.sockets:
            poller.register(each, zmq.POLLIN)
        now = began = time.monotonic()
        looked = False
        while now < began + seconds:
            for _ in connection.turn(now):
                pass
            if connection.is_made:
                return
            if trouble := connection.handshakes.trouble:
                if _mechanism(address, seconds) == b"NULL":  # a hang-up alone does not say so
                    trouble = no_keys_there(str(address))
                raise error_of(status.CLIENT_TIMED_OUT, trouble)
            if not looked and now >= began + _TELLING_S:
                looked = True
                _mechanism(address, seconds)
            next_at = min(connection.wake_at(), began + seconds, now + _TELLING_S / 2)
            poller.poll(max(1, int((next_at - now) * 1000)))
            now = time.monotonic()
    finally:
        connection.close()
    _not_there(address, TimeoutError(None, "no connection came about in time"))


def _not_there(address: RouterAddress, error: OSError | UnicodeError) -> NoReturn:
    why = f"nothing answers at {address} ({getattr(error, 'strerror', None) or error})"
    start = "`pipeline-router pipeline.yml --seed config/pipeline.yml` starts a router"
    raise error_of(status.CLIENT_TIMED_OUT, f"{why}: {start}") from None
