"""A router and a worker with the hostile tool deployed, over a bare socket, and a watch on both."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from hostile.case import ROUTER_PORT, Case
from hostile.traces import Traces, find_traces, settle
from support.bare import say
from support.images import Image
from support.processes import Machine, Process

SEED = """\
registry: {kind: folder, location: ./registry}
channels:
  test_runners:
    tool: "{track}-test-runner"
    limits: {wall_s: 3, memory: 64MiB, pids: 64, stdout: 64KiB, stderr: 64KiB,
             job_folder: 16MiB, job_folder_files: 1000, tmp: 8MiB}
    tracks:
      hasty: {limits: {wall_s: 0.5}, ceilings: {wall_s: 1}}
"""
TRACKS = {"hostile": "root", "hasty": "root", "unprivileged": "appuser"}
"""The tracks that the tool is deployed for, and who it runs as there."""

_REST_S = 0.3
VERSION = "v1"
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


class Arena:
    """The hostile tool's machine; jobs go through it one by one."""

    def __init__(self, own: Machine, image: Image) -> None:
        self.own = own
        self.image = image
        self._numbers = count(1)
        seed = own.folder / "seed.yml"
        seed.write_text(SEED)
        own.router(seed)
        for track, user in TRACKS.items():
            self.deploy(track, Image(image.layers, {**image.config, "User": user}))

    @property
    def registry(self) -> Path:
        return self.own.folder / "registry"

    @property
    def worker_folder(self) -> Path:
        return self.own.folder / "worker-1"

    def start_worker(self, *options: str) -> Process:
        """Start the worker, with two slots, and see each track work."""
        self.worker = self.own.worker("worker-1", "test_runners", "--slots", "2", *options)
        for track in TRACKS:
            self.honest(track)
        return self.worker

    def say(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return say(self.own.address, message, 60)

    def deploy(self, track: str, image: Image, version: str = VERSION) -> str:
        """Publish an image as a track's tool, and want it; its digest."""
        digest = image.publish(self.registry, f"{track}-test-runner", version)
        wish = {
            "action": "deploy_container_version",
            "track_slug": track,
            "channel": "test_runners",
            "new_version": version,
        }
        assert self.say(wish)["status"]["code"] == 200
        return digest

    def request(self, files: Mapping[str, str], **fields: Any) -> dict[str, Any]:
        """Make a test_solution request of its own."""
        return {
            "action": "test_solution",
            "id": f"job-{next(self._numbers)}",
            "track_slug": "hostile",
            "exercise_slug": "two-fer",
            "container_version": VERSION,
            "files": dict(files),
            **fields,
        }

    def ask(self, request: Mapping[str, Any]) -> Answer:
        began = time.monotonic()
        return Answer(self.say(request), time.monotonic() - began)

    def case_request(self, case: Case, program: str = "") -> dict[str, Any]:
        program = (program or case.program).replace(ROUTER_PORT, str(self.own.port))
        files = {**case.files, "program": program}
        seconds = case.asked_s or case.wall_s
        return self.request(files, track_slug=case.track, execution_timeout=seconds)

    def play(self, case: Case) -> Answer:
        """Run a case's job, after the one before it if there is one."""
        if case.before:
            self.ask(self.case_request(case, case.before))
        return self.ask(self.case_request(case))

    def honest_request(self, word: str, track: str = "hostile") -> dict[str, Any]:
        return self.request({"program": HONEST, "word": word}, track_slug=track)

    def honest(self, track: str = "hostile") -> Answer:
        """Run an honest job, which has to be right whatever was before it."""
        word = f"word-{next(self._numbers)}"
        answer = self.ask(self.honest_request(word, track))
        assert (answer.code, answer.text) == (200, word), answer.reply
        return answer

    def traces(self) -> Traces:
        return find_traces(self.worker_folder, self.worker.pid)

    def at_rest(self) -> Traces:
        """Wait until the worker has done what it does in the background; what it has then."""
        last = self.traces()
        while True:
            time.sleep(_REST_S)
            if last == (last := self.traces()):
                return last

    def settle(self, wanted: Traces) -> Traces:
        """Wait until the worker has as much on the host as wanted; what it has."""
        return settle(self.traces, wanted)
