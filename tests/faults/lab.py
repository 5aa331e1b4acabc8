"""A router, echo workers and a group of clients in one folder: what every fault is done to."""

import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from faults.client_group import ClientGroup
from faults.history import Asked, History, Terms
from faults.waiting import again_and_again, await_that
from support.bare import say
from support.journal import Execution, Journal
from support.keyring import Keyring
from support.processes import Machine, Process

from pipeline_protocol import status
from pipeline_protocol.requests import Role

TESTS = Path(__file__).parents[1]
_MARKER = "# --- below this line the router writes; edit it only while no router runs ---"


def free_port(choice: random.Random) -> int:
    """Return a port that no connection is given: it stays free while a router restarts."""
    while True:
        port = choice.randrange(20_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


PATIENT_S = 20.0
"""A liveness that no busy machine exceeds: where nobody has to be lost, nobody is by chance."""
HASTY_S = 1.5
"""The shortest liveness, where somebody has to be lost."""


class FaultLab:
    """Everything is asked of the router that is there now; `close` judges the whole."""

    def __init__(self, own: Machine, seed: int, *, has_keys: bool = False) -> None:
        self.own = own
        self.keys: dict[str, Path | None] = dict.fromkeys(Role)
        """Files of keys by role, where the router has keys."""
        self.has_keys = has_keys
        self._router_keys: tuple[str, ...] = ()
        if has_keys:
            keyring = Keyring(own.folder)
            self.keys = {role: keyring.add(f"{role}s", role.value) for role in Role}
            self._router_keys = ("--keys", str(keyring.path))
        self.random = random.Random(seed)
        self.history = History()
        self.terms = Terms()
        self.journal = Journal(own.folder / "journal")
        self.folder = own.folder
        self.config = own.folder / "pipeline.yml"
        self.host = "127.0.0.1"
        self.enter: Callable[[], None] = lambda: None
        """Takes a thread into the clients' network."""
        own.port, own.link_port = (free_port(random.Random()) for _ in range(2))
        self._groups: list[ClientGroup] = []
        self._routers: list[Process] = []
        self._workers: dict[str, Process] = {}
        self.asked = 0
        """Requests made so far: the next one's id is one more."""

    # --- processes

    def write_seed(self, *deployed: str, **options: Any) -> Path:
        """Write a configuration: the router's options, and the versions of ruby's test runner."""
        options = {"liveness_s": PATIENT_S, **options}
        entries = {version: {"digest": None, "deployed_at": ""} for version in deployed}
        versions = {"test_runners": {"ruby": entries}} if entries else {}
        said = [msgspec.json.encode(part).decode() for part in (options, versions)]
        seed = self.folder / "seed.yml"
        seed.write_text(f"router: {said[0]}\n{_MARKER}\nversions: {said[1]}\n")
        return seed

    def start_router(
        self,
        *options: str,
        under: Sequence[str] = (),
        deployed: Sequence[str] = ("v1",),
        **said: Any,
    ) -> Process:
        """Start a router, on the file and the ports of the one before it if there was one."""
        seed = self.write_seed(*deployed, **said)
        name = f"router-{len(self._routers)}"
        router = self.own.router(
            seed, *self._router_keys, *options, name=name, under=under, config=self.config
        )
        self._routers.append(router)
        return router

    def key_of(self, role: Role) -> tuple[str, ...]:
        """Return what goes into the environment of somebody with a key, if there are keys."""
        keys = self.keys[role]
        return () if keys is None else (f"PIPELINE_KEYS={keys}",)

    def another_client(self, name: str) -> Path | None:
        """Return the file of one more client's key, if there are keys."""
        return Keyring(self.folder).add(name, Role.CLIENT.value) if self.has_keys else None

    @property
    def router(self) -> Process:
        return self._routers[-1]

    def start_worker(
        self,
        name: str,
        topics: str = "",
        *,
        slots: int = 2,
        under: Sequence[str] = (),
        serving: bool = True,
    ) -> Process:
        """Start an echo worker; again under the same name, in the place of the one before."""
        worker = self.own.start(
            name,
            *under,
            *("/usr/bin/env", f"PYTHONPATH={TESTS}", *self.key_of(Role.WORKER)),
            *(sys.executable, "-m", "support.echo_worker"),
            *(name, f"{self.address}/test_runners{topics}", str(self.journal.path), str(slots)),
        )
        self._workers[name] = worker
        if serving:
            self.await_ready(name)
        return worker

    def start_workers(self, number: int, **options: Any) -> list[Process]:
        """Start as many, called worker-1 and so on."""
        names = [f"worker-{n}" for n in range(1, number + 1)]
        workers = [self.start_worker(name, serving=False, **options) for name in names]
        self.await_ready(*names)
        return workers

    def worker(self, name: str) -> Process:
        """Return the process that last went by that name."""
        return self._workers[name]

    @contextmanager
    def restarting(self, *names: str, **options: Any) -> Iterator[None]:
        """Have workers that die started again, as a service manager does."""

        def restart() -> None:
            for name in names:
                if not self.worker(name).alive:
                    self.start_worker(name, serving=False, **options)

        with again_and_again(restart, every_s=0.05):
            yield

    @contextmanager
    def killing(self, *names: str, every_s: float) -> Iterator[None]:
        """Have workers killed at random."""

        def kill() -> None:
            self.worker(self.random.choice(names)).send(signal.SIGKILL)

        with again_and_again(kill, every_s):
            yield

    def await_ready(self, *names: str, version: str = "v1") -> None:
        """Wait until these workers, perhaps among others, have the version ready."""
        await_that(lambda: set(names) <= self.ready(version), what=f"{names} ready")

    def await_gone(self, *names: str) -> None:
        """Wait until the router has given these workers up."""
        await_that(lambda: not set(names) & self.ready(), what=f"{names} given up")

    def await_missing(self, *names: str) -> None:
        """Wait until the router says that it misses these workers, and no other."""

        def missing() -> set[str]:
            workers = self.say({"action": "describe_workers"})["response"]
            return {worker["identity"] for worker in workers["missing"]}

        await_that(lambda: missing() == set(names), what=f"{names} missing")

    def ready(self, version: str = "v1") -> set[str]:
        """Return the names of the workers that have the version ready."""
        check = {"action": "deployment_check", "track_slug": "ruby", "channel": "test_runners"}
        return {
            worker["worker"]
            for row in self.say(check)["response"]["versions"]
            if row["version"] == version
            for worker in row["workers"]
            if worker["state"] == "ready"
        }

    # --- requests

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.own.port}"

    def say(self, message: dict[str, Any]) -> dict[str, Any]:
        """Ask the router itself."""

        def there() -> dict[str, Any]:
            self.enter()
            return say(self.address, message, 30, self.keys[Role.OPERATOR])

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def deploy(self, version: str, action: str = "deploy") -> dict[str, Any]:
        field = "new_version" if action == "deploy" else "version"
        return self.say(
            {
                "action": f"{action}_container_version",
                "track_slug": "ruby",
                "channel": "test_runners",
                field: version,
            }
        )

    def group(self, **options: Any) -> ClientGroup:
        """Let clients in, whose requests are judged at the end."""
        options.setdefault("keys", self.keys[Role.CLIENT])
        group = ClientGroup(self.address, self.history, enter=self.enter, **options)
        self._groups.append(group)
        return group

    def request(
        self,
        *plan: str,
        codes: Collection[int] = (status.OK,),
        timeout_s: float = 60.0,
        version: str = "v1",
        **fields: Any,
    ) -> Asked:
        """Make a request; `plan` is what its job does, `codes` the right answers."""
        self.asked += 1
        request_id = f"run-{self.asked}"
        token = f"{self.random.getrandbits(64):x}"
        request = {
            "action": "test_solution",
            "id": request_id,
            "track_slug": "ruby",
            "exercise_slug": "two-fer",
            "container_version": version,
            "timeout_s": timeout_s,
            "files": {"plan": "\n".join(plan), "token": token},
        }
        body = msgspec.json.encode(request | fields)
        return Asked(request_id, body, token, timeout_s, codes)

    def requests(self, number: int, *plan: str, **options: Any) -> list[Asked]:
        return [self.request(*plan, **options) for _ in range(number)]

    def abandon(self, asked: Asked) -> Asked:
        """Have a request judged by its executions alone: nobody will hear the answer."""
        asked.abandoned = True
        return self.history.add(asked)

    def executions(self, asked: Asked) -> list[Execution]:
        return self.journal.executions().get(asked.id, [])

    def await_running(self, asked: Asked, times: int = 1) -> Execution:
        """Wait until a worker has begun it so many times; return the last of these."""
        await_that(lambda: len(self.executions(asked)) >= times, what=f"{asked.id} running")
        return self.executions(asked)[times - 1]

    def await_ended(self, asked: Asked) -> None:
        """Wait until a worker has ended it."""
        await_that(
            lambda: any(one.ended for one in self.executions(asked)), what=f"{asked.id} ended"
        )

    def await_sent(self, requests: Iterable[Asked]) -> None:
        """Wait until clients have sent all of these."""
        await_that(lambda: all(asked.sent for asked in requests), what="sent")

    def await_answered(self, number: int, seconds: float = 90.0) -> None:
        """Wait until so many of all requests are answered."""

        def enough() -> bool:
            return sum(asked.answered for asked in self.history.all) >= number

        await_that(enough, seconds, f"{number} answers")

    def await_work_on(self, worker: str) -> None:
        """Wait until a worker has begun something."""

        def worked() -> bool:
            runs = self.journal.executions().values()
            return any(one.worker == worker for ran in runs for one in ran)

        await_that(worked, what=f"work on {worker}")

    def pause(self, seconds: float) -> None:
        """Let a fault last; never a proof of anything."""
        time.sleep(seconds)

    # --- the end

    def judge(self) -> None:
        """Hold everything that was asked to the promise; the router must have lived through it."""
        for group in self._groups:
            group.wait()
            if self.router.alive:
                group.settle()
        self.history.check(self.journal.executions(), self.terms)
        if self.router.alive:
            self.router.send(signal.SIGTERM)
            assert self.router.wait() == 0, self.router.output()[-2000:]
        assert "Traceback" not in self.router.output(), self.router.output()[-4000:]

    def close(self) -> None:
        """Leave no thread and no process."""
        for group in self._groups:
            group.close()
        for process in self.own.processes:
            process.kill()
        self.journal.close()
