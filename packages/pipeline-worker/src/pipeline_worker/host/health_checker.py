"""Proves on a thread that jobs can be done on this host, and hears when that is in doubt."""

import logging
import threading
from collections.abc import Callable

from pipeline_containers.errors import ContainersError
from pipeline_worker.events import Event, HealthDoubted, HealthProved

_log = logging.getLogger(__name__)

_CLOSE_S = 30.0


class HealthChecker:
    """Carries `prove` out when the core asks for it; that raises ContainersError or OSError."""

    def __init__(self, prove: Callable[[], None] = lambda: None) -> None:
        self._prove = prove
        self._post: Callable[[Event], None] = lambda _: None
        self._thread: threading.Thread | None = None

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Say what was found, from any thread."""
        self._post = post

    def doubt(self, problem: str) -> None:
        """Tell that something on this host is not as it should be."""
        _log.warning("%s", problem)
        self._post(HealthDoubted())

    def begin(self) -> None:
        """Prove it, in the background."""
        self._thread = threading.Thread(target=self._work, name="health_checker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait until nothing is being proved: what proves it is about to be taken away."""
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        problem = ""
        try:
            self._prove()
        except (ContainersError, OSError) as error:
            problem = str(error) or repr(error)
        except Exception as error:
            _log.exception("the check of this host broke off")
            problem = repr(error)
        self._post(HealthProved(problem))
