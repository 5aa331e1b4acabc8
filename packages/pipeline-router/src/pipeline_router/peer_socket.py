"""A listening socket, and those who are connected to it: whose key each has, what each costs.

What comes and goes is counted in bytes for each connection, and one that costs too much memory is
ended.
"""

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import ClassVar, cast

import zmq
import zmq.backend

from pipeline_protocol.keys import in_short
from pipeline_protocol.requests import Role
from pipeline_router import tcp
from pipeline_router.backlog import (
    CURVE_BYTES,
    FRAME_BYTES,
    SPARE_BYTES_S,
    SPARE_CURVE_BYTES_S,
    Account,
    Bounds,
    TcpState,
    excess,
    weigh,
)
from pipeline_router.principals import Principal, Principals
from pipeline_router.refusal_log import RefusalLog

BACKLOG = 4096
PIPE_MESSAGES = 10_000
"""That wait for a peer that does not read."""
MESSAGES_AHEAD = 1000
"""Read of a peer before it has to wait for the router: with 50, a job costs a quarter more."""
UNACKNOWLEDGED_MS = 30_000
"""So long the other end of a connection may take nothing in, while something waits for it."""
BOUNDS = Bounds(each=256 << 20, all=512 << 20, unfinished=64 << 20)
"""What may wait at a socket; at a worker, every slot may end at once."""
AUTOMATIC = 0
"""The first byte of the names that ZeroMQ makes, and of no other."""
HANDSHAKE_MS = 30_000
"""With keys: ten thousand that come back at once take ten seconds of one thread."""

# as numbers: to combine pyzmq's own flags costs more than to send a frame
MORE = int(zmq.SNDMORE)
_NOW = int(zmq.DONTWAIT)
_MORE_NOW = MORE | _NOW


class PeerSocket:
    """A bound ROUTER socket, its frames, and an account of each connection.

    A peer is known by its handle. That is the name that ZeroMQ made for it; of one that has named
    itself, its name and its connection's number: so what was asked by one connection is never
    answered to another that calls itself the same.

    Each frame that is read counts with the most that the wire has beside it, each that is sent
    without: the account makes that good, and to tell them apart would cost every job.
    """

    kind: ClassVar[str]
    """Whose socket it is, for the log."""
    roles: ClassVar[frozenset[Role]] = frozenset(Role)
    """Whose keys are good here."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], max_frame_bytes: int) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.set(zmq.ROUTER_MANDATORY, 1)
        self.socket.set(zmq.ROUTER_HANDOVER, 1)
        self.socket.set(zmq.MAXMSGSIZE, max_frame_bytes)
        self.socket.set(zmq.BACKLOG, BACKLOG)
        self.socket.set(zmq.HANDSHAKE_IVL, 10_000)
        self.socket.set(zmq.HEARTBEAT_IVL, 5_000)
        self.socket.set(zmq.HEARTBEAT_TIMEOUT, 15_000)
        self.socket.set(zmq.TCP_MAXRT, UNACKNOWLEDGED_MS)
        self.socket.set(zmq.SNDHWM, PIPE_MESSAGES)
        self.socket.set(zmq.RCVHWM, MESSAGES_AHEAD)
        self.socket.set(zmq.LINGER, 0)
        self._max_frame_bytes = max_frame_bytes
        self.port = 0
        """Where it listens."""
        self.refused = RefusalLog()
        """What was refused here; the loop has it be the core's own."""
        self._principals: Principals | None = None
        """Who may connect; None: there are no keys."""
        self._before_frame = FRAME_BYTES
        self._bind_again = ""
        """Where to listen again, if it could not be done yet."""
        self._accounts: dict[bytes, Account] = {}
        """By handle: of the connections of which a message was read."""
        self._known = self._accounts
        """By the name that ZeroMQ made; with keys that is not the handle."""
        self._opened = 0
        self._named: dict[bytes, Account] = {}
        """By the name that a peer gave itself: who goes by it now."""
        self._connections: dict[int, Account] = {}
        """By descriptor: all, as of the last look."""
        # the backend's methods: pyzmq's own add a third to the cost of a frame
        self._send = partial(zmq.backend.Socket.send, self.socket)
        self._receive_peer = partial(zmq.backend.Socket.recv, self.socket, _NOW)
        # a frame that is not copied knows, cheaper than the socket, whether more follow
        self._receive = cast(
            "Callable[[], zmq.Frame]",
            partial(zmq.backend.Socket.recv, self.socket, 0, False),
        )

    def bind(self, host: str, port: int) -> str:
        """Listen; return the address, with the port that was free if `port` was 0."""
        if ":" in host:
            self.socket.set(zmq.IPV6, 1)
            host = f"[{host}]"
        self.socket.bind(f"tcp://{host}:{port or '*'}")
        endpoint = self.socket.get(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)  # noqa: S101 # pyzmq types all options alike
        self.port = int(endpoint.rpartition(b":")[2])
        return endpoint.decode()

    def close(self, linger_ms: int = 0) -> None:
        """Stop listening; what was sent may take so long to leave."""
        self.socket.close(linger_ms)

    # --- keys

    def encrypt(self, secret: bytes, principals: Principals, io_thread: int) -> None:
        """Let in only who has a key; before it is bound. `io_thread`: of the context's, from 0.

        A name that a peer gives itself is another one's as soon as that has taken it over, which
        nobody tells. So with keys it is taken over by nobody, and nobody is answered by it.
        """
        self.socket.set(zmq.CURVE_SERVER, 1)
        self.socket.set(zmq.CURVE_SECRETKEY, secret)
        self.socket.set(zmq.ZAP_DOMAIN, self.kind.encode())
        self.socket.set(zmq.ROUTER_HANDOVER, 0)
        self._known = {}
        self.socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        self.socket.set(zmq.AFFINITY, 1 << io_thread)
        self.socket.set(zmq.MAXMSGSIZE, self._max_frame_bytes + CURVE_BYTES)
        self._before_frame = FRAME_BYTES + CURVE_BYTES
        self._principals = principals

    def admit(self, principals: Principals) -> None:
        """End the connections of all keys but these; what comes with another is not read."""
        self._principals = principals
        for account in self._accounts.values():
            if account.key and not self._is_good(principals.get(account.key)):
                self._shut(account.fd, account.cookie, account.key)

    def rekey(self, secret: bytes) -> None:
        """Have another key; every connection ends, and comes anew.

        ZeroMQ gives each connection the key that its socket had when it was bound.
        """
        self.socket.set(zmq.CURVE_SECRETKEY, secret)
        endpoint = self.socket.get(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)  # noqa: S101 # pyzmq types all options alike
        self.socket.unbind(endpoint.decode())
        self._bind_again = endpoint.decode()
        self.listen_again()

    def listen_again(self) -> bool:
        """Listen where it did before, if it is not done yet; False: it has to be tried again."""
        if self._bind_again:
            try:
                self.socket.bind(self._bind_again)
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE:
                    raise
                return False
            self._before_frame = FRAME_BYTES
        self._bind_again = ""
        return True

    def _is_good(self, sender: Principal | None) -> bool:
        return sender is not None and sender.role in self.roles

    def _sender(self, frame: zmq.Frame, account: Account) -> Principal | None:
        """Return who sent a frame, by the key of the connection that it came on; None: nobody.

        Who connected with a key that is revoked by now is shut out, as is who has a name that is
        ZeroMQ's to give, once it was another's.
        """
        key = _property(frame, "User-Id")
        sender = self._principals.get(key) if self._principals is not None else None
        if sender is not None and account.key == key and sender.role in self.roles:
            return sender
        if self._is_good(sender) and not account.key:
            account.key = key
            return sender
        fd = _descriptor(frame)
        self._shut(fd, tcp.cookie_of(fd), key)
        return None

    def _shut(self, fd: int, cookie: int, key: str) -> None:
        address = tcp.cut(fd, cookie)
        self.refused.count_other(
            "a key that is not good any more",
            self.kind,
            f"{in_short(key)} at {address or 'a connection that is gone'}",
        )

    # --- connections

    def look_at_connections(self, states: Mapping[int, TcpState], grown: int, now: float) -> int:
        """End the connections that cost too much, and forget those that are gone.

        `states` are all that came to this socket's port, by descriptor; `grown` is by how much the
        process has, since hardly anything waited. Returns how many bytes wait.
        """
        for fd, state in states.items():
            known = self._connections.get(fd)
            if known is None or known.cookie != state.cookie:
                self._connections[fd] = self._new_account(fd, state.cookie, now)
        for account in list(self._connections.values()):
            if account.fd not in states:
                del self._connections[account.fd]
        for account in list(self._accounts.values()):
            now_there = states.get(account.fd)
            if now_there is None or now_there.cookie != account.cookie:
                self._forget(account)
        for account in self._named.values():
            if not account.ended and account.is_deaf(states[account.fd], now):
                self._cut(account, "another one has, or had, the name that it gave itself")
        waiting = weigh(self._connections.values(), states, now)
        for one in excess(waiting, BOUNDS, grown):
            self._cut(one.account, one.why)
        return sum(one.bytes for one in waiting)

    def _forget(self, account: Account) -> None:
        del self._accounts[account.handle]
        if self._known.get(account.peer) is account:
            del self._known[account.peer]
        if self._named.get(account.peer) is account:
            del self._named[account.peer]
        for other in self._accounts.values():
            if other.rival is account:  # it comes back by itself, and has its name again
                tcp.cut(other.fd, other.cookie)

    def _cut(self, account: Account, why: str) -> None:
        account.open, account.ended = False, True
        address = tcp.cut(account.fd, account.cookie)
        if address:
            self.refused.count_other(
                "a connection that costs too much", self.kind, f"that of {address} is ended: {why}"
            )

    def _account(self, peer: bytes, frame: zmq.Frame) -> Account:
        """Return the account of a connection that is new, or has named itself."""
        fd = _descriptor(frame)
        if self._principals is not None:  # a name may be given out again: a handle is not
            self._opened += 1
            own = self._open(peer + self._opened.to_bytes(8, "big"), peer, fd)
            self._known[peer] = own
            return own
        if peer[0] == AUTOMATIC:
            return self._open(peer, peer, fd)
        cookie = tcp.cookie_of(fd)
        account = self._named.get(peer)
        if account is None or (account.fd, account.cookie) != (fd, cookie):
            before = account
            # neither a name, which never begins so, nor one of ZeroMQ's, which has five bytes
            account = self._open(b"\0" + peer + cookie.to_bytes(8, "big"), peer, fd)
            self._named[peer] = account
            if before is not None and tcp.cookie_of(before.fd) == before.cookie:
                before.open, before.rival = False, account
                self.refused.count_other(
                    "a name that another connection has taken",
                    self.kind,
                    f"{peer.decode(errors='backslashreplace')!r}: only the newest is answered as "
                    "long as it is there",
                )
        return account

    def _new_account(self, fd: int, cookie: int, now: float) -> Account:
        keyed = self._principals is not None
        return Account(fd, cookie, now, SPARE_CURVE_BYTES_S if keyed else SPARE_BYTES_S)

    def _open(self, handle: bytes, peer: bytes, fd: int) -> Account:
        cookie = tcp.cookie_of(fd)
        account = self._connections.get(fd)
        if account is None or account.cookie != cookie or account.handle:
            registered = account is not None and account.cookie == cookie
            account = self._new_account(fd, cookie, monotonic())
            if cookie and not registered:
                self._connections[fd] = account
        account.handle, account.peer = handle, peer
        if self._principals is not None:
            account.inode = tcp.inode_of(fd)
        self._accounts[handle] = account
        return account

    # --- frames

    def _skip_after(self, frame: zmq.Frame, account: Account) -> None:
        while frame.more:
            frame = self._receive()
            account.read += len(frame.bytes) + self._before_frame

    def _begin(self, handle: bytes) -> Account | None:
        """Begin a message to a peer; None if it is gone, or does not read."""
        account = self._accounts.get(handle)
        if account is None or not account.open:
            return None
        if self._principals is not None and tcp.inode_of(account.fd) != account.inode:
            return None  # by that name it may be another one's already
        try:
            self._send(account.peer, _MORE_NOW)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return None
            if error.errno == zmq.EAGAIN:
                self._cut(account, f"{PIPE_MESSAGES} messages wait that it does not read")
                return None
            raise
        return account


_property = cast("Callable[[zmq.Frame, str], str]", zmq.backend.Frame.get)
"""Half as dear as pyzmq's own way to it."""


def _descriptor(frame: zmq.Frame) -> int:
    """Return the descriptor that a frame came by; -1 if its connection went at its beginning."""
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def is_named(peer: bytes) -> bool:
    """Return whether a peer gave itself its name on the socket."""
    return peer[0] != AUTOMATIC
