"""Many runs at a time: a thread for each that is in flight, one hand that takes in what comes."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipeline_client import PipelineClient
from pipeline_client.cli.batches.records import RunRecord, RunVerdict, verdict_of
from pipeline_client.cli.batches.results_file import ResultsFile
from pipeline_client.cli.batches.solutions import Solution
from pipeline_client.cli.batches.tally import Patience, Run
from pipeline_client.errors import PipelineError
from pipeline_protocol import status
from pipeline_protocol.replies import Context

_TAKE_BACK_S = 2.0
"""How long a batch that ends early waits for what it has taken back."""


class Ended(Struct, frozen=True):
    """How a run ended."""

    run: Run
    context: Context
    response: Any | UnsetType = UNSET
    """As plain data; UNSET with an error."""
    error: PipelineError | None = None

    @property
    def code(self) -> int:
        """Return the status."""
        return self.error.code if self.error else status.OK

    @property
    def verdict(self) -> RunVerdict:
        """Return what it means for the batch."""
        is_forbidden = self.error is not None and self.error.is_forbidden
        return verdict_of(self.code, is_forbidden=is_forbidden)


class BatchRunner:
    """Runs a version of a tool over each of many solutions, in the background rank."""

    def __init__(
        self,
        client: PipelineClient,
        action: str,
        solutions: Mapping[str, Solution],
        *,
        in_flight: int,
        execution_timeout: float | None,
    ) -> None:
        self._client = client
        self._action = action
        self._solutions = solutions
        self._at_most = in_flight
        self._options = {"execution_timeout": execution_timeout, "priority": "background"}
        self._room = threading.Semaphore(in_flight)
        """Of runs that are in flight, or have ended and are not taken in yet."""
        self._lock = threading.Lock()
        self._stopping = False
        self._under_way: dict[str, Run] = {}
        """By the id of the request."""
        self._ended: queue.SimpleQueue[Ended | Exception] = queue.SimpleQueue()

    @property
    def under_way(self) -> int:
        """How many are: after `run`, those that could not be taken back."""
        return len(self._under_way)

    def run(
        self, runs: Sequence[Run], results: ResultsFile, heard: Callable[[Ended], object]
    ) -> None:
        """Run all, and append each result to the file as it comes; `heard` is told of each end.

        Raises the PipelineError after which no other run makes sense. An interrupt, or that, takes
        back what is under way, and keeps what has ended by then.
        """
        waiting: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        threads = min(self._at_most, len(runs))
        for run in (*runs, *[None] * threads):
            waiting.put(run)
        for _ in range(threads):
            threading.Thread(target=self._work, args=(waiting,), name="batch", daemon=True).start()
        patience = Patience(self._at_most)
        try:
            for _ in runs:
                ended = self._next(None)
                _keep(ended, results)
                heard(ended)
                if ended.error is not None and not patience.goes_on(ended.verdict):
                    raise ended.error
                self._room.release()
        except BaseException:
            self._take_back(time.monotonic() + _TAKE_BACK_S)
            with suppress(queue.Empty):
                while True:
                    ended = self._next(0)
                    _keep(ended, results)
                    heard(ended)
            raise

    def _next(self, seconds: float | None) -> Ended:
        ended = self._ended.get(timeout=seconds)
        if isinstance(ended, Exception):
            raise ended
        return ended

    def _take_back(self, until: float) -> None:
        """Begin nothing more, and cancel what is under way, for so long at most."""
        with self._lock:
            self._stopping = True
        self._room.release(self._at_most)
        taken_back: set[str] = set()
        while self._under_way and time.monotonic() < until:
            for job in [job for job in list(self._under_way) if job not in taken_back]:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return
                try:
                    if self._client.cancel(job, self._action, timeout_s=left_s).cancelled:
                        taken_back.add(job)
                except PipelineError:
                    return  # the router does not answer: it will not to the others
            time.sleep(0.02)  # until the threads have heard, or what was on its way has arrived

    # --- the threads

    def _work(self, waiting: "queue.SimpleQueue[Run | None]") -> None:
        while run := waiting.get():
            job = uuid4().hex
            self._room.acquire()
            with self._lock:
                if self._stopping:
                    return
                self._under_way[job] = run
            try:
                ended = self._ask(run, job)
            except Exception as fault:  # a fault of this program: it ends the batch
                self._ended.put(fault)
            else:
                self._ended.put(ended)
            del self._under_way[job]

    def _ask(self, run: Run, job: str) -> Ended:
        ask = getattr(self._client, self._action)
        key = run.key
        try:
            given = self._solutions[key.id].input()
            answer = ask(key.track, run.exercise, key.version, id=job, **self._options, **given)
        except PipelineError as error:
            return Ended(run, error.context, error=error)
        return Ended(run, answer.context, msgspec.to_builtins(answer.response))


def _keep(ended: Ended, results: ResultsFile) -> None:
    """Write what tells of the solution or the tool."""
    if ended.verdict is not RunVerdict.RESULT:
        return
    key = ended.run.key
    results.append(
        RunRecord(
            id=key.id,
            track=key.track,
            channel=key.channel,
            version=key.version,
            exercise=ended.run.exercise,
            solution=ended.run.solution,
            code=ended.code,
            error=ended.error.error if ended.error else "",
            response=ended.response,
            context=ended.context,
        )
    )
