"""The process that speaks HTTP: it lives as long as the process whose snapshots it shows."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from typing import BinaryIO

import msgspec

from pipeline_protocol.monitor.server import Server
from pipeline_protocol.monitor.site import Site
from pipeline_protocol.monitor.snapshot import LENGTH_BYTES, Setup, Snapshot

NICENESS = 10
"""Jobs go first."""


def main() -> None:
    """Serve until the pipe that standard input is has ended."""
    # a terminal and a service manager tell all processes; this one ends after the other
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    logging.basicConfig(level=logging.WARNING, format="monitor: %(levelname)s %(message)s")
    messages = _messages(sys.stdin.buffer)
    setup = msgspec.msgpack.decode(next(messages, b""), type=Setup)
    site = Site(setup, os.getppid(), monotonic)
    threading.Thread(target=_follow, args=(site, messages), daemon=True).start()
    with socket.socket(fileno=setup.listener) as listener:
        asyncio.run(Server(site).serve(listener))


def _follow(site: Site, messages: Iterator[bytes]) -> None:
    """Show what comes, and end with whom it came from, whatever the other thread does."""
    status = 1
    try:
        decoder = msgspec.msgpack.Decoder(Snapshot)
        for message in messages:
            site.take(decoder.decode(message))
        status = 0
    except Exception:
        logging.exception("a snapshot cannot be read")
    finally:
        os._exit(status)


def _messages(pipe: BinaryIO) -> Iterator[bytes]:
    while len(head := pipe.read(LENGTH_BYTES)) == LENGTH_BYTES:
        length = int.from_bytes(head, "big")
        data = pipe.read(length)
        if len(data) < length:
            return
        yield data


if __name__ == "__main__":
    main()
