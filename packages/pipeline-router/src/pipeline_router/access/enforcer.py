"""What the file of keys says, put into force: at the start, and whenever it changes.

A thread looks at the file a few times a second, so that a key that is revoked is good for nothing a
moment later, and nobody has to remember to tell the router.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import zmq

from pipeline_protocol.keys import BadKeys, in_bytes
from pipeline_router.access.authenticator import Authenticator
from pipeline_router.access.keys_file import read_router_file
from pipeline_router.events import KeysRead, TurnedAway
from pipeline_router.keys import RouterKeys
from pipeline_router.principals import Principals
from pipeline_router.sockets import FrontEnd, WorkerLink

LOOK_S = 0.2

_log = logging.getLogger("pipeline_router")

Post = Callable[[KeysRead | TurnedAway], None]


class KeyEnforcer:
    """Keys of one router; `enforce` is the loop's, and nothing else is done in its thread."""

    def __init__(
        self,
        path: Path,
        keys: RouterKeys,
        context: "zmq.Context[zmq.Socket[bytes]]",
        front: FrontEnd,
        link: WorkerLink,
    ) -> None:
        """Take sockets that are not bound yet."""
        self._path = path
        self._front, self._link = front, link
        self._keys = self._read = keys
        """Those in force, and those that were read last."""
        self._seen = _look(path)
        self._wake = threading.Event()
        self._closing = False
        self._post: Post = lambda _: None
        principals = keys.principals()
        secret = in_bytes(keys.router[0].secret)
        front.encrypt(secret, principals, 0)
        link.encrypt(secret, principals, 1)
        self._authenticator = Authenticator(context, principals, lambda event: self._post(event))
        self._authenticator.start(front, link)
        self._watcher = threading.Thread(target=self._watch, name="keys", daemon=True)

    def report_to(self, post: Post) -> None:
        """Have changes, and who was turned away, told there from now on."""
        self._post = post
        self._watcher.start()

    def read_again(self) -> None:
        """Have the file read, changed or not."""
        self._seen = None
        self._wake.set()

    def enforce(self) -> None:
        """Keep everybody to what was read last."""
        before, self._keys = self._keys, self._read
        principals = self._keys.principals()
        self._authenticator.admit(principals)  # first: who is cut off comes back at once
        self._front.admit(principals)
        self._link.admit(principals)
        own = self._keys.router[0]
        if own.secret != before.router[0].secret:
            self._link.rekey(in_bytes(own.secret))
            self._front.rekey(in_bytes(own.secret))
            _log.info("this router's key is another one now: %s", own.public)

    def close(self) -> None:
        """End the authenticator; the sockets are others' to close."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._authenticator.close()

    # --- the thread

    def _watch(self) -> None:
        while True:
            self._wake.wait(LOOK_S)
            if self._closing:
                return
            self._wake.clear()
            seen = _look(self._path)
            if seen != self._seen:
                self._seen = seen
                self._read_file()

    def _read_file(self) -> None:
        try:
            keys = read_router_file(self._path)
        except BadKeys as error:
            _log.error("keys not read again, the last good ones stay: %s", error)
            return
        rekeyed = keys.router[0].secret != self._read.router[0].secret
        before, principals = self._read.principals(), keys.principals()
        self._read = keys
        added = _names(principals, before)
        _log.info("keys read again; good ones: %d", len(principals))
        self._post(KeysRead(principals, added, _names(before, principals), rekeyed))


def _names(these: Principals, others: Principals) -> tuple[str, ...]:
    """Name those that the others do not have, or have otherwise."""
    return tuple(one.name for key, one in these.items() if others.get(key) != one)


def _look(path: Path) -> tuple[int, int, int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
