"""Who may connect: ZeroMQ asks it about each key (ZAP, RFC 27), on a thread of its own.

A plaintext client, or one that expects another key of the router, is turned away by ZeroMQ before
anybody is asked: its monitor tells. Whoever was turned away is counted, and told to the core a few
times a second at most, however many there are.
"""

import logging
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import zmq

from pipeline_protocol.keys import in_short
from pipeline_protocol.requests import Role
from pipeline_router.events import TurnedAway
from pipeline_router.peer_socket import PeerSocket
from pipeline_router.principals import Principal, Principals

FRONT, LINK = "clients", "workers"
"""ZAP domains, called as whose socket it is."""
TELL_S = 0.25
"""How often the core is told at most."""

_VERSION = b"1.0"
_UNJUDGED = (b"500", b"", b"")
_PUBLIC_BYTES = 32
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_WENT = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_MECHANISM, _CRYPTOGRAPHIC = 0x11000002, 0x11000001
"""ZeroMQ's own numbers of what was wrong."""

NO_KEY = "a connection without a key"
OTHER_ROUTER_KEY = "a connection that expects another key of the router"
WENT = "a connection that went away in its handshake"
"""One without a key too, if it was the quicker one to see that."""
UNKNOWN_KEY = "a connection with an unknown key"
NOT_OURS = "a connection that is none of ours"
NOT_FOR_THE_LINK = "a connection to the link with a key that is no worker's"
_OF_FAILURE = {_MECHANISM: NO_KEY, _CRYPTOGRAPHIC: OTHER_ROUTER_KEY}

_log = logging.getLogger("pipeline_router")

Tell = Callable[[TurnedAway], None]


def why_turned_away(sender: Principal | None, domain: str) -> str:
    """Say why a key may not connect there; nothing: it may."""
    if sender is None:
        return UNKNOWN_KEY
    return NOT_FOR_THE_LINK if domain == LINK and sender.role is not Role.WORKER else ""


class Authenticator:
    """The thread; it has to run before a socket with keys is bound, or all would be let in."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", principals: Principals, tell: Tell
    ) -> None:
        self._principals = principals
        self._tell = tell
        self._asked = context.socket(zmq.REP)
        self._asked.linger = 0
        self._asked.bind("inproc://zeromq.zap.01")
        self._end, self._told_to_end = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._told_to_end.bind("inproc://pipeline.authenticator")
        self._end.connect("inproc://pipeline.authenticator")
        self._monitors: dict[zmq.Socket[bytes], str] = {}
        self._met: dict[tuple[str, str], tuple[int, str]] = {}
        """What and where to how many times since they were told, and the last one in words."""
        self._thread = threading.Thread(target=self._serve, name="authenticator", daemon=True)

    def start(self, *sockets: PeerSocket) -> None:
        """Serve, and hear of the failures of these sockets."""
        for socket in sockets:
            self._monitors[socket.socket.get_monitor_socket(_FAILED | _WENT)] = socket.kind
        self._thread.start()

    def admit(self, principals: Principals) -> None:
        """Let in who has one of these keys from now on, and nobody else."""
        self._principals = principals

    def close(self) -> None:
        """End the thread; to be called before its sockets' context ends."""
        if self._thread.is_alive():
            self._end.send(b"")
            self._thread.join()
        else:
            self._close_all()
        self._end.close(0)

    # --- the thread

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (self._asked, self._told_to_end, *self._monitors):
            poller.register(socket, zmq.POLLIN)
        tell_at = 0.0
        while True:
            ready = dict(poller.poll(int(TELL_S * 1000) if self._met else None))
            if self._told_to_end in ready:
                break
            if self._asked in ready:
                self._take_question()
            for monitor, kind in self._monitors.items():
                if monitor in ready:
                    self._look(monitor, kind)
            if self._met and monotonic() >= tell_at:
                tell_at = monotonic() + TELL_S
                self._tell_all()
        self._close_all()

    def _close_all(self) -> None:
        for socket in (self._asked, self._told_to_end, *self._monitors):
            socket.close(0)

    def _take_question(self) -> None:
        frames = self._asked.recv_multipart()
        try:
            answer = self._answer(frames)
        except Exception:  # one that is gone would let nobody in for ever
            _log.exception("a connection could not be judged")
            answer = _UNJUDGED
        self._asked.send_multipart([_VERSION, *frames[1:2], *answer, b""])

    def _answer(self, frames: list[bytes]) -> tuple[bytes, bytes, bytes]:
        """Answer one question: version, request, domain, address, server, mechanism, key."""
        is_good = len(frames) == 7 and frames[0] == _VERSION and frames[5] == b"CURVE"
        if not is_good or len(frames[6]) != _PUBLIC_BYTES:
            return _UNJUDGED
        key, domain = frames[6].hex(), frames[2].decode(errors="replace")
        sender = self._principals.get(key)
        why = why_turned_away(sender, domain)
        if why:
            who = f"{sender.name!r}, {in_short(key)}" if sender else in_short(key)
            self._count(why, domain, f"{who} at {frames[3].decode(errors='replace')}")
            return b"400", b"", b""
        return b"200", b"", key.encode()  # not the name: that can be given to another one later

    def _look(self, monitor: "zmq.Socket[bytes]", kind: str) -> None:
        with suppress(zmq.Again):
            while True:
                event, _ = monitor.recv_multipart(zmq.DONTWAIT)
                number, value = struct.unpack("=HI", event)
                if number == _FAILED:
                    self._count(_OF_FAILURE.get(value, NOT_OURS), kind)
                elif number == _WENT:
                    self._count(WENT, kind)

    def _count(self, what: str, where: str, who: str = "") -> None:
        times, _ = self._met.get((what, where), (0, ""))
        self._met[what, where] = (times + 1, who)

    def _tell_all(self) -> None:
        met, self._met = self._met, {}
        for (what, where), (times, who) in met.items():
            self._tell(TurnedAway(what, where, times, who))
