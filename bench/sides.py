"""The processes that are measured: the router, and what it is held against."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from pathlib import Path

from compiled import HERE, compiled
from msgspec import Struct
from msgspec.structs import replace
from support.bare import say
from support.keyring import Keyring
from support.monitors import Asked
from support.processes import Process
from words import CHANNEL, TRACK, VERSION

from pipeline_protocol.requests import Role

PORTS = r"listening on (tcp://\S+) \(clients\), (tcp://\S+) \(workers\)"
MONITOR = r"listening on http://\S+:(\d+) \(monitor\)"
RULES = "one answer to each request by its deadline, whoever dies; refusal at once"
NOTHING = "nothing: a crash anywhere loses jobs, unnoticed"
OPENS_AFTER_S = 1.2
"""A router dispatches nothing for one heartbeat after its start."""


class Workers(Enum):
    """What a side's workers say."""

    LINK = auto()
    """The link of the protocol."""
    READY = auto()
    """READY once a slot, and give messages back as they came."""
    NOTHING = auto()
    """Nothing, and give messages back as they came."""


class Side(Struct, frozen=True):
    """A running process with two listening sockets."""

    name: str
    guarantees: str
    process: Process
    front: str
    link: str
    workers: Workers
    monitor: Asked | None = None
    """What shows its state over HTTP, where something does."""
    opens_at: float = 0.0
    """Before, by the monotonic clock, nothing is to be asked of it."""
    keys: Mapping[Role, Path] | None = None
    """Files of keys, where it lets nobody in without."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.alive

    def await_open(self) -> None:
        """Sleep until it serves."""
        time.sleep(max(0.0, self.opens_at - time.monotonic()))

    def output(self) -> str:
        return self.process.output()


@contextmanager
def running(
    name: str, guarantees: str, command: list[str], folder: Path, workers: Workers
) -> Iterator[Side]:
    """Start a process that prints its ports, and end it."""
    process = Process(name, command, folder / f"{name}.log")
    try:
        ports = process.wait_for(PORTS, 10)
        yield Side(name, guarantees, process, ports[1], ports[2], workers)
    finally:
        process.kill()  # it may have jobs that nobody will finish


@contextmanager
def router(
    folder: Path,
    name: str = "router",
    queue: int = 20_000,
    *,
    has_keys: bool = False,
    monitored: bool = False,
) -> Iterator[Side]:
    """Start a router that has a version deployed and dispatches."""
    config = folder / f"{name}.yml"
    config.write_text(f"router: {{queue: {queue}}}\n")
    command = ["pipeline-router", str(config), "--port", "0", "--link-port", "0"]
    keys = None
    if has_keys:
        keyring = Keyring(folder)
        keys = {role: keyring.add(f"{role}s", role.value) for role in Role}
        command += ["--keys", str(keyring.path)]
    if monitored:
        command += ["--monitor", "127.0.0.1:0"]
    with running(name, RULES, command, folder, Workers.LINK) as side:
        opens_at = time.monotonic() + OPENS_AFTER_S
        deploy = {
            "action": "deploy_container_version",
            "channel": CHANNEL,
            "track_slug": TRACK,
            "new_version": VERSION,
        }
        reply = say(side.front, deploy, 10, keys[Role.OPERATOR] if keys else None)
        assert reply["status"]["code"] == 200, reply
        monitor = Asked(int(side.process.wait_for(MONITOR, 10)[1])) if monitored else None
        yield replace(side, opens_at=opens_at, monitor=monitor, keys=keys)


def forwarder(folder: Path) -> AbstractContextManager[Side]:
    """Start the bare Python forwarder. It is of use for one load: nothing tells it who has left."""
    command = [sys.executable, str(HERE / "forwarder.py")]
    return running("forwarder", NOTHING, command, folder, Workers.READY)


def proxy(folder: Path) -> AbstractContextManager[Side]:
    """Start the Python forwarder that chooses no worker."""
    command = [sys.executable, str(HERE / "proxy.py")]
    return running("proxy", NOTHING, command, folder, Workers.NOTHING)


def broker(folder: Path) -> AbstractContextManager[Side]:
    """Start the C broker; for one load, too."""
    command = [str(compiled("broker.c"))]
    return running("C broker", NOTHING, command, folder, Workers.READY)
