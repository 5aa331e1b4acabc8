"""A router and a worker with the hostile tool deployed, over a bare socket, and a watch on both."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from hostile.case import BUSY, ROUTER_PORT, Case
from hostile.ordinary import User, worker_of
from hostile.traces import Traces, at_rest, find_traces, settle
from support.bare import say
from support.images import Image
from support.pace import paced
from support.processes import Machine, Process

SEED = f"""\
registry: {{kind: folder, location: ./registry}}
sources: {{url: "file://REPOSITORIES/{{tool}}"}}
router: {{liveness_s: {paced(6)}}}
channels:
  test_runners:
    tool: "{{track}}-test-runner"
    limits: {{wall_s: {paced(3)}, memory: 64MiB, pids: 64, stdout: 64KiB, stderr: 64KiB,
             job_folder: 16MiB, job_folder_files: 1000, tmp: 8MiB, LOOSENED}}
    ceilings: {{wall_s: {paced(20)}}}
    tracks:
      hasty: {{limits: {{wall_s: {paced(0.5)}}}, ceilings: {{wall_s: {paced(1)}}}}}
"""
SLOTS = 2
TRACKS = {"hostile": "root", "hasty": "root", "unprivileged": "appuser"}
"""The tracks that the tool is deployed for, and who it runs as there."""

SECRET = "hush-hush-3a9f"
"""What the worker has in its environment, and the host in a file that all may read."""
VERSION = "v1"
MADE_UP = "2001-02-03 04:05:06,789"
"""The time in a line of a log that a stranger made up."""
HONEST = """\
set -e
[ -z "$(ls -A /tmp)$(ls -A /dev/shm)" ]
word=$(cat word)
echo "$word" | rev > /tmp/backwards
rev < /tmp/backwards > /dev/shm/forwards
pass "$(cat /dev/shm/forwards)"
"""
"""Uses what it should have, clean, and says what it was told."""


@dataclass(frozen=True)
class Answer:
    """A reply, and how long it took."""

    reply: dict[str, Any]
    took_s: float

    @property
    def code(self) -> int:
        code = self.reply["status"]["code"]
        assert isinstance(code, int)
        return code

    @property
    def text(self) -> str:
        """All that it says, of whatever kind."""
        logs = self.reply.get("context", {}).get("logs", {})
        said = (
            self.reply["status"].get("error"),
            self.reply.get("response", {}).get("message"),
            logs.get("stdout"),
            logs.get("stderr"),
        )
        return "\n".join(text for text in said if text)


class HostileLab:
    """The hostile tool's machine; jobs go through it one by one."""

    def __init__(
        self, own: Machine, image: Image, user: User | None = None, loosened: str = ""
    ) -> None:
        """Make it; the worker is to be started by root, or by an ordinary user.

        `loosened` are limits for all tracks, as they are configured.
        """
        self.own = own
        self.image = image
        self.user = user
        self._numbers = count(1)
        self.inputs.mkdir()
        (own.folder / "secret").write_text(SECRET)
        if user is not None:
            user.owns(self.worker_folder)
        seed = own.folder / "seed.yml"
        text = SEED.replace("REPOSITORIES", str(self.repositories))
        seed.write_text(text.replace(", LOOSENED", f", {loosened}" if loosened else ""))
        own.router(seed)
        for track, account in TRACKS.items():
            self.deploy(track, Image(image.layers, {**image.config, "User": account}))

    @property
    def registry(self) -> Path:
        return self.own.folder / "registry"

    @property
    def repositories(self) -> Path:
        """Where builders take tools' sources from."""
        return self.own.folder / "repositories"

    @property
    def inputs(self) -> Path:
        """Where the worker reads file:// inputs."""
        return self.own.folder / "inputs"

    @property
    def worker_folder(self) -> Path:
        return self.own.folder / "worker-1"

    def start_worker(self, *options: str) -> Process:
        """Start the worker, with two slots, and see each track work."""
        self.begin_worker(*options)
        self.honest_everywhere()
        return self.worker

    def begin_worker(self, *options: str) -> None:
        """Start the worker, and wait until it serves, no more."""
        own = ("--slots", str(SLOTS), "--file-inputs", str(self.inputs))
        under = () if self.user is None else self.user.under()
        self.worker = self.own.worker("worker-1", "test_runners", *own, *options, under=under)

    def say(self, message: Mapping[str, Any] | bytes) -> dict[str, Any]:
        return say(self.own.address, message, 60)

    def deploy(self, track: str, image: Image, version: str = VERSION) -> str:
        """Publish an image as a track's tool, and want it; its digest."""
        digest = image.publish(self.registry, f"{track}-test-runner", version)
        self.want(track, version)
        return digest

    def want(self, track: str, version: str) -> None:
        self._operate("deploy_container_version", track, new_version=version)

    def unload(self, track: str, version: str) -> None:
        self._operate("unload_container_version", track, version=version)

    def blobs(self) -> set[Path]:
        """List what the registry holds of the hostile track."""
        return set((self.registry / "hostile-test-runner/blobs/sha256").iterdir())

    def _operate(self, action: str, track: str, **fields: str) -> None:
        message = {"action": action, "track_slug": track, "channel": "test_runners", **fields}
        reply = self.say(message)
        assert reply["status"]["code"] == 200, reply

    def request(self, **fields: Any) -> dict[str, Any]:
        """Make a test_solution request of its own; `files` or `s3_uri` are up to the caller."""
        return {
            "action": "test_solution",
            "id": f"job-{next(self._numbers)}",
            "track_slug": "hostile",
            "exercise_slug": "two-fer",
            "container_version": VERSION,
            **fields,
        }

    def ask(self, request: Mapping[str, Any]) -> Answer:
        began = time.monotonic()
        return Answer(self.say(request), time.monotonic() - began)

    def case_request(self, case: Case, program: str = "") -> dict[str, Any]:
        program = (program or case.program).replace(ROUTER_PORT, str(self.own.port))
        files = {**case.files, "program": program}
        seconds = case.asked_s or paced(case.wall_s)
        return self.request(files=files, track_slug=case.track, execution_timeout=seconds)

    def play(self, case: Case) -> Answer:
        """Run a case's job, after the one before it or beside another if there is one."""
        if case.before:
            self.ask(self.case_request(case, case.before))
        if not case.beside:
            return self.ask(self.case_request(case))
        with self.beside(case):
            return self.ask(self.case_request(case))

    @contextmanager
    def beside(self, case: Case) -> Iterator[None]:
        """Have the job that a case's is to run beside at what it does."""
        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(self.ask, self.case_request(case, case.beside))
            (folder,) = self.await_files(BUSY)
            yield
            (folder / BUSY).unlink()
            assert going.result().code == 200, going.result().reply

    def honest_request(self, word: str, track: str = "hostile") -> dict[str, Any]:
        return self.request(files={"program": HONEST, "word": word}, track_slug=track)

    def honest(self, track: str = "hostile") -> Answer:
        """Run an honest job, which has to be right whatever was before it."""
        word = f"word-{next(self._numbers)}"
        answer = self.ask(self.honest_request(word, track))
        assert (answer.code, answer.text) == (200, word), answer.reply
        return answer

    def honest_everywhere(self) -> None:
        """See each track work."""
        for track in TRACKS:
            self.honest(track)

    def odd_in_logs(self) -> list[str]:
        """List the lines in the router's and the workers' logs that no log should have."""
        lines = [line for process in self.own.processes for line in process.output().split("\n")]
        return [line for line in lines if line.startswith(MADE_UP) or not line.isprintable()]

    def find_files(self, name: str) -> list[Path]:
        """List the live jobs' folders, on the host, that have a file."""
        jobs = self.worker_folder / "run/jobs"
        if self.user is not None:  # they are mounted in the worker's sight only
            jobs = Path(f"/proc/{worker_of(self.worker.pid)}/root{jobs}")
        return [found.parent for found in jobs.glob(f"*/job/{name}")]

    def await_files(self, name: str, jobs: int = 1, seconds: float = 20.0) -> list[Path]:
        """Wait until so many live jobs have a file in their folders; those folders."""
        until = time.monotonic() + paced(seconds)
        while len(found := self.find_files(name)) < jobs:
            assert time.monotonic() < until, f"{len(found)} of {jobs} jobs have made {name}"
            time.sleep(0.005)
        return found

    def traces(self) -> Traces:
        return find_traces(self.worker_folder, self.worker.pid, self.user)

    def at_rest(self) -> Traces:
        """Wait until a container waits for each slot, and nothing goes on; what there is then."""
        until = time.monotonic() + paced(5)
        while self.traces().folders != 2 * SLOTS and time.monotonic() < until:
            time.sleep(0.05)
        return at_rest(self.traces)

    def settle(self, wanted: Traces) -> Traces:
        """Wait until the worker has as much on the host as wanted; what it has."""
        return settle(self.traces, wanted)
