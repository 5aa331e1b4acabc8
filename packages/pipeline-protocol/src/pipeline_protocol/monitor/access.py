"""Where the monitor listens, and who may ask it."""

import os
import re
import socket
from ipaddress import ip_address
from pathlib import Path

from msgspec import Struct

from pipeline_protocol.monitor.snapshot import Setup

BACKLOG = 128
SEND_BYTES = 256 << 10
"""That the kernel may hold of an answer for each connection."""
MAX_TOKEN_BYTES = 4096
_TOKEN = re.compile(r"[\x21-\x7e]{16,1024}")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class BadMonitor(Exception):
    """The options for the monitor are of no use; the message says why."""


class ListenAddress(Struct, frozen=True):
    """An address to listen on."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"http://{self.shown}:{self.port}"

    @property
    def shown(self) -> str:
        """The host as it stands in an address."""
        return f"[{self.host}]" if ":" in self.host else self.host


def listen_address(text: str) -> ListenAddress:
    """Read HOST:PORT; the host is an IP address, or localhost. Raises BadMonitor."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        address = ip_address("127.0.0.1" if bare == "localhost" else bare)
        if (address.version == 6) is not host.startswith("["):
            raise ValueError
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError
    except ValueError:
        raise BadMonitor(
            f"{text!r} is no IP address and port, like 127.0.0.1:9101 or [::1]:9101"
        ) from None
    return ListenAddress(str(address), int(port))


def read_token(path: Path) -> str:
    """Read the file of the monitor's token, one line. Raises BadMonitor."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_TOKEN_BYTES)
    except OSError as error:
        raise BadMonitor(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise BadMonitor(f"{path}: others may read the token in it: chmod 600")
    token = data.decode("latin-1").strip()
    if not _TOKEN.fullmatch(token):
        raise BadMonitor(
            f"{path}: a token is one line of 16 to 1,024 characters without spaces: "
            f"`openssl rand -hex 32 > {path}` makes one"
        )
    return token


def listen(where: ListenAddress, token: str, *, insecure: bool) -> tuple[socket.socket, Setup]:
    """Listen; return the socket, and what its process is to be told.

    Raises BadMonitor if strangers would reach it, OSError if it cannot be done.
    """
    if not (where.is_loopback or token or insecure):
        raise BadMonitor(
            f"{where.host}: anybody who reaches it could read what runs here: only loopback is "
            "served without --monitor-token or --insecure"
        )
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        listener.bind((where.host, where.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    # A page of a stranger's, whose name leads to this machine, is let read nothing: its requests
    # are for that name. With a token it has none to show.
    hosts = (*_LOOPBACK, where.shown) if where.is_loopback and not token else ()
    return listener, Setup(listener.fileno(), token, hosts)
