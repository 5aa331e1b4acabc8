"""A lab with real workers, containers and a registry: what faults of releases are done to."""

import os
import random
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.history import Asked, Terms
from faults.lab import FaultLab
from faults.waiting import again_and_again, await_that
from support.images import Image, Layer
from support.leftovers import find_leftovers
from support.processes import Machine, Process

from pipeline_containers.store.store import Store

BUSYBOX = Path("/bin/busybox")
TOOL = "ruby-test-runner"

RUN_SH = """\
#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - follows the plan, then answers with the token.
cd "$2" && sh ./plan &&
    printf '{"version": 1, "status": "pass", "token": "%s"}' "$(cat token)" > "$3/results.json"
"""
SLOW_TO_PROVE = RUN_SH.replace('cd "$2"', '[ "$1" = validation ] && sleep 60\ncd "$2"')
"""Of a tool that takes its time when it is only tried."""


def _base() -> Image:
    layer = Layer().file("bin/busybox", BUSYBOX.read_bytes())
    for applet in ("sh", "cat", "sleep"):
        layer.link(f"bin/{applet}", "busybox")
    return Image((layer.archive(),), {"Env": ["PATH=/bin"]})


BASE = _base()


def tool(version: str, run_sh: str = RUN_SH, *, random_bytes: int = 0, zeros: int = 0) -> Image:
    """Make a version of the tool: the base, a layer of its own, perhaps one with much in it."""
    image = BASE.on_top(Layer().file("opt/test-runner/bin/run.sh", run_sh).file("version", version))
    content = random.Random(version).randbytes(random_bytes) + bytes(zeros)
    return image.on_top(Layer().file("much", content)) if content else image


class ReleaseLab(FaultLab):
    """`registry` is what the configuration names; by default a folder."""

    def __init__(self, own: Machine, seed: int) -> None:
        super().__init__(own, seed)
        self.terms = Terms(executions=0, journaled=False)
        self.registry: Mapping[str, str] = {"kind": "folder", "location": str(self.published)}

    @property
    def published(self) -> Path:
        return self.folder / "registry"

    def publish(self, *versions: str, **fields: Any) -> list[str]:
        """Put versions into the folder registry; their digests."""
        return [
            tool(version, **fields).publish(self.published, TOOL, version) for version in versions
        ]

    def write_seed(self, *deployed: str, **options: Any) -> Path:
        seed = super().write_seed(*deployed, **options)
        fields = ", ".join(f"{name}: {value}" for name, value in self.registry.items())
        seed.write_text(f"registry: {{{fields}}}\n{seed.read_text()}")
        return seed

    # --- workers

    def run_worker(
        self, name: str = "worker-1", *, under: Sequence[str] = (), version: str = "v1"
    ) -> Process:
        """Start a real worker, again in the folder of the one before; wait for a version."""
        worker = self.own.worker(name, "test_runners", "--slots", "2", under=under)
        self._workers[name] = worker
        if version:
            self.await_ready(name, version=version)
        return worker

    def store(self, name: str = "worker-1") -> Store:
        """Look into a worker's store."""
        return Store(self.folder / name / "store")

    def await_stored(self, *digests: str, name: str = "worker-1") -> None:
        """Wait until a worker's store has these images, and no other, nor parts of any."""
        store = self.store(name)
        await_that(lambda: store.digests() == sorted(digests), what=f"{digests} kept")
        await_that(lambda: not half_layers(store), what="halves removed")

    # --- what is told

    def state(self, version: str, worker: str = "worker-1") -> dict[str, Any]:
        """Return how far a worker is with a version, as the operator sees it."""
        check = {"action": "deployment_check", "track_slug": "ruby", "channel": "test_runners"}
        for row in self.say(check)["response"]["versions"]:
            for found in row["workers"]:
                if (row["version"], found["worker"]) == (version, worker):
                    return dict(found)
        return {"state": "unknown", "percent": 0, "reason": "", "phase": ""}

    def await_state(
        self, version: str, worker: str = "worker-1", *, seconds: float = 30, **wanted: Any
    ) -> dict[str, Any]:
        """Wait until the operator sees this of a version."""
        seen: dict[str, Any] = {}

        def found() -> bool:
            seen.update(self.state(version, worker))
            return all(seen[name] == value for name, value in wanted.items())

        await_that(found, seconds, f"{version} {wanted}, not {seen},")
        return seen

    # --- work

    @contextmanager
    def serving(self, version: str = "v1", every_s: float = 0.05) -> Iterator[None]:
        """Have jobs come all the time; `judge` holds each of them to a good answer."""
        group = self.group()

        def ask() -> None:
            if len(group.history.all) - sum(one.answered for one in group.history.all) < 8:
                group.ask(self.request("true", version=version))

        with again_and_again(ask, every_s):
            yield
        group.wait()

    def await_begun(self, asked: Asked) -> None:
        """Wait until a container runs a request's plan: nothing else on this host has its token."""

        def begun() -> bool:
            folders = self.folder.glob("worker-*/run/jobs/*/job/token")
            return any(asked.token == token for token in map(_text, folders))

        await_that(begun, what=f"{asked.id} running")

    def tested(self, version: str) -> None:
        """See that a version does a job."""
        group = self.group()
        group.ask(self.request("true", version=version))
        group.wait()

    def finish(self) -> None:
        """Judge all, and see that nothing is left on the host."""
        self.end()
        left = find_leftovers(self.folder)
        assert not left, left

    def end(self) -> None:
        """Judge all, and have the workers leave."""
        self.judge()
        for worker in self._workers.values():
            if worker.alive:
                assert worker.stop() == 0, worker.output()[-4000:]
                assert "Traceback" not in worker.output(), worker.output()[-4000:]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # its job has ended
        return ""


def seed_of(test: str) -> int:
    """Give a test's seed: its name's, which PIPELINE_FAULTS_SEED varies."""
    return zlib.crc32(test.encode()) ^ int(os.environ.get("PIPELINE_FAULTS_SEED", "0"))


def half_layers(store: Store) -> list[Path]:
    """List layers that are in a store, but were not laid down to their end."""
    whole = {
        file.name.removesuffix(".tar-split.gz")
        for file in store.folder.glob("root/overlay-layers/*.tar-split.gz")
    }
    layers = store.folder.glob(f"root/overlay/{'[0-9a-f]' * 64}")
    return [layer for layer in layers if layer.name not in whole]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Have a folder be a disk of its own; whoever works on it must be gone at the end."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def resize(disk: Path, size_bytes: int) -> None:
    """Make a disk larger, or smaller."""
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", disk], check=True)


def moment(lab: FaultLab, most_s: float) -> None:
    """Let a moment pass, of a length that the seed decides."""
    time.sleep(lab.random.uniform(0, most_s))
