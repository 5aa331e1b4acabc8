"""S3 as the settings in force have it, opened once and ahead of the jobs."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pipeline_containers.system.deadline import Deadline
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.aws import aws_credentials, expired
from pipeline_worker.inputs.quota import InputUnavailable
from pipeline_worker.inputs.s3_uri import find_place

if TYPE_CHECKING:
    from pipeline_worker.inputs.s3 import Buckets


class OpenBuckets:
    """Keeps S3 open for as long as the same credentials hold: its connections are worth keeping.

    From any thread. Who was given it goes on with it, whatever the credentials are by then.
    """

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        """The prefixes beneath which inputs may lie; while there is none, nothing is opened."""
        self._credentials: Credentials | None = None
        self._opening: Future[Buckets] | None = None
        self._opener = ThreadPoolExecutor(1, "s3-open")
        self._lock = threading.Lock()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next input on."""
        with self._lock:
            now = (settings.inputs.s3_prefixes, credentials)
            if now == (self.allowed, self._credentials):
                return
            self.allowed, self._credentials = now
            self._opening = None
            if self.allowed and expired(credentials) is None:
                self._opening = self._open()

    def get(self, deadline: Deadline) -> "Buckets":
        """Give S3.

        Raises InputUnavailable if the credentials, or what AWS is set up by, are of no use.
        """
        with self._lock:
            why = expired(self._credentials)
            if why is not None:
                raise InputUnavailable(why)
            if self._opening is None or _has_failed(self._opening):
                self._opening = self._open()
            opening = self._opening
        try:
            return deadline.wait_for(opening)
        except Exception as error:
            if not _has_failed(opening):
                raise
            raise InputUnavailable(f"AWS is not set up on this host: {error}") from None

    def close(self) -> None:
        """Keep nothing open."""
        self._opener.shutdown(cancel_futures=True)
        with self._lock:
            opening, self._opening = self._opening, None
        if opening is not None and not (opening.cancelled() or _has_failed(opening)):
            opening.result().close()

    def _open(self) -> "Future[Buckets]":
        """Open it on a thread: the library and its client take a while, the first connection too.

        The client before it is let go of: it ends with the last job that has it.
        """
        return self._opener.submit(_open, self._credentials, self.allowed)


def _open(credentials: Credentials | None, allowed: tuple[str, ...]) -> "Buckets":
    from pipeline_worker.inputs.s3 import Buckets

    buckets = Buckets(aws_credentials(credentials))
    for prefix in allowed:
        buckets.greet(find_place(prefix, (prefix,)))
    return buckets


def _has_failed(opening: "Future[Buckets]") -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is not None
