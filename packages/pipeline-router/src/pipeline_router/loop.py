"""The one thread that serves: sockets to events, the core's commands to sockets, time to ticks.

It never waits but for its poller. Whatever may take long, the configuration file above all, is
done by one helper thread that posts an event back.
"""

import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from time import monotonic
from typing import Any

import zmq

from pipeline_protocol.codec import encode_link
from pipeline_protocol.link import ToWorker
from pipeline_protocol.monitor.feed import Feed
from pipeline_protocol.monitor.snapshot import Snapshot
from pipeline_protocol.monitor.watch import Watch
from pipeline_router.access.enforcer import KeyEnforcer
from pipeline_router.audit_file import AuditFile
from pipeline_router.commands import (
    FetchAudit,
    Finish,
    Mint,
    Note,
    Probe,
    Record,
    Reload,
    Save,
    SendReply,
    Tell,
    TellAll,
)
from pipeline_router.config import Sts, Versions
from pipeline_router.config_file import ConfigFile
from pipeline_router.config_parse import BadConfig
from pipeline_router.core import RouterCore
from pipeline_router.credentials import Minter
from pipeline_router.events import (
    AuditRead,
    ConfigRead,
    ConfigUnusable,
    Event,
    KeysRead,
    PeerGone,
    Probed,
    ReloadAsked,
    Saved,
    StopAsked,
    Tick,
)
from pipeline_router.guard import MemoryGuard
from pipeline_router.sockets import FrontEnd, WorkerLink

MESSAGES_A_TURN = 300
"""Read from one socket before the other has its turn."""
LISTEN_AGAIN_S = 0.005
"""Until a port that was let go is tried again."""
CLOSE_LINGER_MS = 1000
"""That the last replies may take to leave."""

_log = logging.getLogger("pipeline_router")


class Mailbox:
    """Events from other threads and from signal handlers; its pipe wakes the poller.

    Not shared with the worker and the client: the protocol, which all have, does no I/O.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closed = False

    def post(self, event: Event) -> None:
        """Leave an event; nobody takes it when the loop has ended."""
        if self._closed:
            return
        self._events.append(event)
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._writer, b"\0")

    def take(self) -> list[Event]:
        """Return what was left."""
        with suppress(BlockingIOError):
            os.read(self.reader, 1 << 16)
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def close(self) -> None:
        """Give the pipe back."""
        self._closed = True
        os.close(self.reader)
        os.close(self._writer)


class RouterLoop:
    """Runs a core on real sockets until it has finished."""

    def __init__(
        self,
        core: RouterCore,
        front: FrontEnd,
        link: WorkerLink,
        file: ConfigFile,
        audit: AuditFile,
        memory_max: int | None = None,
        enforcer: KeyEnforcer | None = None,
        monitor: Feed | None = None,
    ) -> None:
        """Without an enforcer, there are no keys; without a monitor, nobody looks."""
        self._core = core
        self._front = front
        self._link = link
        self._file = file
        self._audit = audit
        front.refused = link.refused = core.dispatcher.refused
        self._mailbox = Mailbox()
        self._helper = ThreadPoolExecutor(1, "configuration")
        self._minters: dict[Sts, Minter] = {}
        self._events: deque[Event] = deque()
        self._guard = MemoryGuard((front, link), memory_max, monotonic())
        self._out_of_memory = False
        self._finished = False
        self._enforcer = enforcer
        if enforcer is not None:
            enforcer.report_to(self._mailbox.post)
        self._watch = None if monitor is None else Watch(monitor, monotonic())
        self._gone: dict[bytes, list[ToWorker]] = {}
        self._carry: dict[type, Callable[[Any], None]] = {
            Tell: self._tell,
            TellAll: self._tell_all,
            Probe: self._probe,
            Save: self._save,
            Reload: self._reload,
            Mint: self._mint,
            Note: self._note,
            Record: self._record,
            FetchAudit: self._fetch_audit,
            Finish: self._finish,
        }

    # --- from other threads and signal handlers

    def stop(self) -> None:
        """Ask for a clean end."""
        self._mailbox.post(StopAsked())

    def reload(self) -> None:
        """Ask for the configuration file to be read again, and the file of keys."""
        self._mailbox.post(ReloadAsked())
        if self._enforcer is not None:
            self._enforcer.read_again()

    # --- the thread itself

    def run(self) -> bool:
        """Serve until the core has finished; then close everything.

        Return False if that was for want of memory.
        """
        poller = zmq.Poller()
        poller.register(self._mailbox.reader, zmq.POLLIN)
        poller.register(self._link.socket, zmq.POLLIN)
        poller.register(self._front.socket, zmq.POLLIN)
        try:
            while not self._finished:
                wake_at = min(self._core.wake_at(), self._guard.wake_at())
                if self._watch is not None:
                    wake_at = min(wake_at, self._watch.due_at)
                if self._enforcer is not None and not self._listens():
                    wake_at = min(wake_at, monotonic() + LISTEN_AGAIN_S)
                wait_s = wake_at - monotonic()
                self._turn(dict(poller.poll(max(0, ceil(wait_s * 1000)))))
        finally:
            for minter in self._minters.values():
                minter.close()
            self._helper.shutdown()
            if self._enforcer is not None:
                self._enforcer.close()
            self._front.close(CLOSE_LINGER_MS)
            self._link.close(CLOSE_LINGER_MS)
            self._mailbox.close()
            self._guard.close()
        return not self._out_of_memory

    def _turn(self, ready: dict[Any, int]) -> None:
        take_in = self._core.take_in
        now = began = monotonic()
        if self._mailbox.reader in ready:
            for event in self._mailbox.take():
                if type(event) is KeysRead and self._enforcer is not None:
                    self._enforcer.enforce()
                take_in(event, now)
        if self._link.socket in ready:
            for said in self._link.messages(MESSAGES_A_TURN):
                take_in(said, now)
        if self._front.socket in ready:
            for request in self._front.requests(MESSAGES_A_TURN):
                take_in(request, now)
        now = monotonic()
        if now >= self._guard.wake_at():
            self._look_at_memory(now)
        if now >= self._core.wake_at():
            take_in(Tick(), now)
        self._carry_out()
        while self._events or self._gone:
            self._tell_the_core(now)
            self._carry_out()
        if self._watch is not None:
            self._watch.turned(began, monotonic(), self._look)

    def _look(self, lag_s: float) -> Snapshot:
        return self._core.snapshot(monotonic(), lag_s)

    def _listens(self) -> bool:
        """Have both sockets listen; a port is free a moment after it was let go."""
        return all([self._link.listen_again(), self._front.listen_again()])

    def _look_at_memory(self, now: float) -> None:
        why = self._guard.look(now)
        if why:  # as if it died: jobs go on, and whoever asks the next router meets them
            _log.error("%s: ending, to be started again", why)
            self._out_of_memory = self._finished = True

    def _carry_out(self) -> None:
        """Do what the core wants done: all that goes to clients, who wait for it, then the rest.

        libzmq's own thread sleeps between sends that are far apart, and waking it costs both
        threads a system call. Sent in one go, dozens of messages share one.
        """
        answer = self._front.answer
        others = []
        for command in self._core.commands():
            if type(command) is SendReply:
                answer(command.envelope, command.body)
            else:
                others.append(command)
        for command in others:
            self._carry[type(command)](command)

    def _tell_the_core(self, now: float) -> None:
        """Let it know what came of its commands."""
        gone, self._gone = self._gone, {}
        self._events.extend(PeerGone(peer, tuple(unsent)) for peer, unsent in gone.items())
        while self._events:
            self._core.take_in(self._events.popleft(), now)

    # --- commands

    def _tell(self, command: Tell) -> None:
        if not self._link.tell(command.peer, encode_link(command.message), command.body):
            self._gone.setdefault(command.peer, []).append(command.message)

    def _tell_all(self, command: TellAll) -> None:
        header = encode_link(command.message)
        for peer in command.peers:
            if not self._link.tell(peer, header):
                self._gone.setdefault(peer, []).append(command.message)

    def _probe(self, command: Probe) -> None:
        alive = self._link.tell(command.peer, encode_link(command.message))
        self._events.append(Probed(alive, command.newcomer, command.hello, command.sender))

    def _save(self, command: Save) -> None:
        self._helper.submit(self._write, command.versions)

    def _reload(self, command: Reload) -> None:
        self._helper.submit(self._reread)

    def _mint(self, command: Mint) -> None:
        for sts in self._minters.keys() - command.roles:
            self._minters.pop(sts).close()
        for sts in command.roles - self._minters.keys():
            self._minters[sts] = Minter(self._mailbox.post)
            self._minters[sts].want(sts)

    def _note(self, command: Note) -> None:
        about = {"request": command.request}
        _log.log(_LEVELS[command.level], command.text, *command.arguments, extra=about)

    def _record(self, command: Record) -> None:
        self._helper.submit(self._append, command)

    def _fetch_audit(self, command: FetchAudit) -> None:
        self._helper.submit(self._read_audit, command)

    def _finish(self, command: Finish) -> None:
        self._finished = True

    # --- the helper thread

    def _write(self, versions: Versions) -> None:
        try:
            self._mailbox.post(Saved(config=self._file.save(versions)))
        except (BadConfig, OSError) as error:
            self._mailbox.post(Saved(str(error)))
        except Exception as error:  # whatever it was, the deploy must be answered
            _log.exception("saving the configuration failed")
            self._mailbox.post(Saved(repr(error)))

    def _reread(self) -> None:
        try:
            config = self._file.reread()
        except (BadConfig, OSError) as error:
            _log.error("configuration not read again, the last good one stays: %s", error)
            self._mailbox.post(ConfigUnusable(str(error)))
        else:
            _log.info("configuration read again")
            self._mailbox.post(ConfigRead(config))

    def _append(self, command: Record) -> None:
        try:
            self._audit.append(command.entry)
        except OSError as error:
            _log.error("a change is not in the audit file: %s; it was: %s", error, command.entry)

    def _read_audit(self, command: FetchAudit) -> None:
        try:
            entries = tuple(self._audit.latest(command.limit))
            self._mailbox.post(AuditRead(command.envelope, entries))
        except OSError as error:
            why = f"the audit file cannot be read: {error}"
            self._mailbox.post(AuditRead(command.envelope, error=why))


_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
