"""One thread: frames, signals and helper threads in, the core's commands out."""

import logging
import os
import time
from collections import deque

from pipeline_worker import commands as do
from pipeline_worker.core import WorkerCore
from pipeline_worker.events import Event, Tick
from pipeline_worker.executor import Executor, Jobs
from pipeline_worker.host.health_checker import HealthChecker
from pipeline_worker.monitoring import Monitoring
from pipeline_worker.sockets import RouterSockets
from pipeline_worker.versions.manager import Preparer

_log = logging.getLogger(__name__)

_TICK_S = 0.25
_GOODBYE_S = 1.0


class _Bell:
    """Wakes the loop up; whoever can still ring it keeps its descriptor from being another's.

    The router and the client have their own: packages share nothing but the protocol, and that does
    no I/O.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        os.eventfd_write(self.descriptor, 1)

    def rang(self) -> bool:
        try:
            return os.eventfd_read(self.descriptor) > 0
        except BlockingIOError:
            return False

    def __del__(self) -> None:
        os.close(self.descriptor)


class WorkerLoop:
    """Carries the core's commands out, until it wants to leave."""

    def __init__(
        self,
        core: WorkerCore,
        sockets: RouterSockets,
        jobs: Jobs,
        version_manager: Preparer,
        health_checker: HealthChecker | None = None,
        monitoring: Monitoring | None = None,
    ) -> None:
        """Without a health checker, the host is taken to be well; monitoring may be left out."""
        self._health_checker = health_checker or HealthChecker()
        self._core = core
        self._monitoring = monitoring
        self._sockets = sockets
        self._jobs = jobs
        self._version_manager = version_manager
        self._executor = Executor(jobs, self.post)
        self._posted: deque[Event] = deque()
        self._bell = _Bell()
        self._next_tick = 0.0
        self._left: do.Leave | None = None
        self._carry_out = {
            do.AskRouter: lambda _: sockets.ask(),
            do.Connect: lambda c: sockets.connect(c.port),
            do.Send: lambda c: sockets.send(c.message, c.body),
            do.StartRun: lambda c: self._executor.start(c.job, c.body),
            do.CancelRun: lambda c: self._executor.cancel(c.job, c.attempt),
            do.Adopt: self._adopt,
            do.Prepare: lambda c: version_manager.prepare(c.wanted),
            do.Keep: lambda c: version_manager.keep(c.versions, c.digests),
            do.Remember: lambda c: version_manager.remember(c.memory),
            do.ProveHealth: lambda _: self._health_checker.begin(),
            do.Say: lambda c: _log.log(
                logging.WARNING if c.warning else logging.INFO, "%s", c.text
            ),
            do.Leave: self._leave,
        }

    def post(self, event: Event) -> None:
        """Hand an event to the loop, from any thread or signal handler."""
        self._posted.append(event)
        self._bell.ring()

    def run(self) -> do.Leave:
        """Work until the core leaves; say how."""
        self._version_manager.report_to(self.post)
        self._health_checker.report_to(self.post)
        self._sockets.register(self._bell.descriptor)
        try:
            while self._left is None:
                self._turn()
        finally:  # after a defect too: a process that hangs over its sockets is not started again
            self._executor.close()
            self._sockets.close(_GOODBYE_S)
        return self._left

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_S
            self._handle(Tick(os.getloadavg()[0]))
        self._take_posted()
        for event in self._sockets.events():
            self._handle(event)
        self._take_posted()
        if self._monitoring is not None:
            self._monitoring.turned(self._core, now)
        if self._left is None:
            self._sockets.wait(self._next_tick - time.monotonic())

    def _take_posted(self) -> None:
        if not self._bell.rang():
            return
        while self._posted:
            self._handle(self._posted.popleft())

    def _handle(self, event: Event) -> None:
        if self._left is not None:
            return
        for command in self._core.handle(event, time.monotonic()):
            self._carry_out[type(command)](command)

    def _adopt(self, command: do.Adopt) -> None:
        self._jobs.adopt(command.settings, command.credentials)
        self._version_manager.adopt(command.settings, command.credentials)

    def _leave(self, command: do.Leave) -> None:
        self._left = command
