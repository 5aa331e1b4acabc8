"""A worker whose jobs need no container: the real core, loop, sockets and executor, and a journal.

    python -m support.echo_worker IDENTITY ADDRESS JOURNAL SLOTS

What a job does stands in its request's file `plan`, a step a line; then it answers with the file
`token`, and with the files that are not text, in hexadecimal; or with the JSON in the file
`result-by-VERSION`, if there is one for its version. A version whose name begins with "broken"
cannot be prepared. PIPELINE_KEYS is its file of keys.
"""

import ctypes
import hashlib
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from pipeline_protocol import status
from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.codec import answer, decode_request, refusal
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.replies import Context
from pipeline_protocol.requests import SolutionRequest
from pipeline_protocol.settings import Credentials, Settings, WantedVersion
from pipeline_worker.commands import Leave, WorkerEnd
from pipeline_worker.core import WorkerCore
from pipeline_worker.events import Event, StopAsked, VersionMoved
from pipeline_worker.executor import Assignment, Finished
from pipeline_worker.keys_file import read_keys
from pipeline_worker.loop import WorkerLoop
from pipeline_worker.sockets import RouterSockets
from pipeline_worker.versions.retention import Memory
from support.journal import Journal, Note


def crash() -> None:
    """End as by the kernel's hand: nothing is cleared away, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


def wedge() -> None:
    """Hold the interpreter for ever: the loop falls silent, ZeroMQ's own threads live on."""
    ctypes.PyDLL(None).sleep(3600)


def fail() -> None:
    raise RuntimeError("out of order")


class EchoJobs:
    """Performs a request's plan, and notes when it begins and when it has ended."""

    def __init__(self, identity: str, journal: Journal) -> None:
        self._identity = identity
        self._journal = journal

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        pass

    def perform(self, assignment: Assignment) -> Finished:
        request = decode_request(assignment.request)
        assert isinstance(request, SolutionRequest)
        assert isinstance(request.files, dict)
        note = Note(request.id, secrets.token_hex(8), self._identity, assignment.attempt)
        self._journal.note(note)
        context = Context(worker=self._identity, attempt=assignment.attempt)
        texts = {name: it for name, it in request.files.items() if isinstance(it, str)}
        binary = {
            name: it.base64.hex() for name, it in request.files.items() if not isinstance(it, str)
        }
        for line in texts["plan"].splitlines():
            step, _, argument = line.partition(" ")
            self._step(step, argument, assignment)
            if assignment.cancelled.is_set():
                return status.CANCELLED, refusal(status.CANCELLED, "taken back", context)
        self._journal.note(msgspec.structs.replace(note, ended=True))
        made = texts.get(f"result-by-{request.container_version}")
        if made is not None:
            return status.OK, answer(msgspec.json.decode(made), context)
        padding = "x" * int(texts.get("padding", "0"))
        response = {"token": texts["token"], "padding": padding, "binary": binary}
        return status.OK, answer(response, context)

    def _step(self, step: str, argument: str, assignment: Assignment) -> None:
        if step == "sleep":
            assignment.cancelled.wait(float(argument))
        elif step == "crash-once-in":
            if assignment.attempt == 1:
                threading.Timer(float(argument), crash).start()
        else:
            {"crash": crash, "wedge": wedge, "fail": fail}[step]()


class EchoReleases:
    """Has every version ready at once, but for those that are broken."""

    def __init__(self) -> None:
        self._post: Callable[[Event], None] = lambda _: None

    def report_to(self, post: Callable[[Event], None]) -> None:
        self._post = post

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        pass

    def prepare(self, wanted: WantedVersion) -> None:
        key = (wanted.track, wanted.version)
        if wanted.version.startswith("broken"):
            state = VersionState(*key, Readiness.FAILED, reason="it is broken")
        else:
            digest = f"sha256:{hashlib.sha256(wanted.version.encode()).hexdigest()}"
            state = VersionState(*key, Readiness.READY, digest=digest)
        self._post(VersionMoved(state))

    def keep(self, versions: Iterable[WantedVersion], digests: Iterable[str] = ()) -> None:
        pass

    def remember(self, memory: Memory) -> None:
        pass


def session(identity: str, address: WorkerAddress, journal: Journal, slots: int) -> Leave:
    core = WorkerCore(identity, secrets.token_hex(8), address, slots)
    keys = os.environ.get("PIPELINE_KEYS")
    sockets = RouterSockets(address, partial(read_keys, Path(keys)) if keys else None)
    loop = WorkerLoop(core, sockets, EchoJobs(identity, journal), EchoReleases())
    signal.signal(signal.SIGTERM, lambda *_: loop.post(StopAsked()))
    return loop.run()


def main(identity: str, address: str, journal: str, slots: str) -> int:
    logging.basicConfig(level=logging.INFO, format=f"{identity} %(levelname)s %(message)s")
    noting = Journal(Path(journal))
    while True:
        left = session(identity, WorkerAddress.parse(address), noting, int(slots))
        logging.info("%s %s", left.ending, left.reason)
        if left.ending is not WorkerEnd.RESTART:
            return int(left.ending.value)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
