"""The running example on four hosts with keys: a router, two workers, a client; and who listens in.

Hosts are network namespaces, joined by cables. Run by `./dev demo --hosts`, as root. Whatever it
starts, mounts or makes is gone when it ends, by Ctrl-C too.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo import BOLD, DIM, PLAIN, Demo, run_in  # type: ignore[import-not-found]  # beside this
from faults.networks import ROUTER, Networks, networks
from support.bare import say
from support.keyring import Keyring
from support.pace import paced
from support.processes import BIN, Machine, machine
from support.tracks import SOLUTIONS, make_repository, write_seed

CLIENT = "client"
ALL_PROTOCOLS = 0x0003
SPOKEN_OPENLY = b"a word that is said without keys"


@contextmanager
def wiretap(enter: Callable[[], None]) -> Iterator[bytearray]:
    """Have every packet of a host kept, with all that is in it."""
    seen, over, ready = bytearray(), threading.Event(), threading.Event()

    def listen() -> None:
        enter()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as tap:
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
            tap.settimeout(0.1)
            ready.set()
            while not over.is_set():
                try:
                    seen.extend(tap.recv(1 << 17))
                except TimeoutError:
                    continue

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(10), "the wire cannot be listened to"
    try:
        yield seen
    finally:
        over.set()
        thread.join()


class HostsDemo(Demo):  # type: ignore[misc]
    """The same promises, and that nobody hears what is said."""

    hosts: Networks
    keys: Keyring

    def run(self) -> bool:
        """Do all of it; whether it was as promised."""
        try:
            with (
                networks("worker-1", "worker-2", CLIENT) as self.hosts,
                wiretap(self.hosts.enter("router")) as heard,
                machine(self.folder) as own,
            ):
                own.host = ROUTER
                self._brief(own)
                self._listen_in(heard)
        finally:
            self._look_for_leftovers()
            self._look_for_hosts()
        self._table()
        return all(promised for _, _, promised, _ in self.seen)

    def ask(self, address: str, message: dict[str, Any], name: str = "web") -> dict[str, Any]:
        """Ask from the client's host, with somebody's key."""

        def there() -> dict[str, Any]:
            self.hosts.enter(CLIENT)()
            return say(address, message, 120, self.keys.file(name))

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def type(self, own: Machine, keys: str, *arguments: str) -> tuple[int, str]:
        """Call `pipeline` on the client's host as a person does, with somebody's key or none."""
        file = self.keys.file(keys) if keys else None
        print(f"{BOLD}          {keys or 'nobody'}$ pipeline {' '.join(arguments)}{PLAIN}")
        environment = os.environ | {"PIPELINE_ADDRESS": own.address}
        if file:
            environment["PIPELINE_KEYS"] = str(file)
        done = subprocess.run(
            [*self.hosts.under(CLIENT), str(BIN / "pipeline"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=paced(120),
            check=False,
        )
        for line in done.stdout.splitlines():
            print(f"{DIM}          {line}{PLAIN}", flush=True)
        return done.returncode, done.stdout

    def _brief(self, own: Machine) -> None:
        self.step("Keys: a file for each; a worker's says what it may serve")
        since = time.monotonic()
        repositories, inputs = self.folder / "repositories", self.folder / "inputs"
        sha = make_repository("ruby-test-runner", repositories)
        shutil.copytree(SOLUTIONS / "ruby" / "two-fer", inputs)
        keys = self.keys = Keyring(self.folder)
        for name in ("worker-1", "worker-2"):
            keys.add(name, "worker", "--channel", "test_runners", "--identity", name)
        keys.add("builder-1", "worker", "--channel", "builders")
        keys.add("olga", "operator")
        keys.add("web", "client")
        modes = {file.stat().st_mode & 0o777 for file in self.folder.glob("*.keys")}
        self.note(
            "files of keys", f"modes {[oct(mode) for mode in modes]}", modes == {0o600}, since
        )

        self.step(f"The router on its host, {ROUTER}; on worker-1's a builder too")
        since = time.monotonic()
        seed = write_seed(self.folder, repositories)
        options = ("--bind", ROUTER, "--keys", str(keys.path))
        own.router(seed, *options, under=self.hosts.under("router"))
        self._worker(own, "builder-1", "builders", "worker-1", *self._bases())
        self._worker(own, "worker-1", "test_runners", "worker-1")
        worker_2 = self._worker(own, "worker-2", "test_runners?topic=ruby", "worker-2")
        self.note("router and workers", f"listens on {own.address}, all serve", True, since)

        self.step("An operator builds and deploys")
        version = f"git-{sha}"
        self._typed(own, "olga", 0, "build", "ruby", "test_runners", "master")
        self._typed(own, "olga", 0, "deploy", "ruby", "test_runners", version)

        self.step("A client has solutions tested, and may not deploy; without a key nobody may ask")
        self._typed(own, "web", 0, "test", "ruby", "two-fer", str(inputs / "passing"))
        self._typed(own, "web", 4, "test", "ruby", "two-fer", str(inputs / "failing"))
        self._typed(own, "web", 1, "unload", "ruby", "test_runners", version)
        self._typed(own, "", 3, "status")
        self._tested(own, version, "worker-2")

        self.step("worker-2 is killed: worker-1 takes over")
        worker_2.kill()
        self._tested(own, version, "worker-1")

        self.step("worker-2 comes back, clears what it left, and takes the ruby work again")
        self._worker(own, "worker-2", "test_runners?topic=ruby", "worker-2")
        self._typed(own, "olga", 0, "deploy", "ruby", "test_runners", version)
        self._tested(own, version, "worker-2")

    def _bases(self) -> tuple[str, ...]:
        return ("--base-images", str(self.base_images))

    def _worker(self, own: Machine, name: str, channel: str, host: str, *options: str) -> Any:
        keys = ("--keys", str(self.keys.file(name)))
        return own.worker(name, channel, *keys, *options, under=self.hosts.under(host))

    def _typed(self, own: Machine, keys: str, expected: int, *arguments: str) -> None:
        since = time.monotonic()
        status, _ = self.type(own, keys, *arguments)
        what = f"{keys or 'nobody'}: pipeline {arguments[0]}"
        self.note(what, f"exit {status}", status == expected, since)

    def _tested(self, own: Machine, version: str, worker: str) -> None:
        since = time.monotonic()
        solution = self.folder / "inputs" / "passing"
        files = [file for file in solution.rglob("*") if file.is_file()]
        request = {
            "action": "test_solution",
            "id": f"passing-{len(self.seen)}",
            "track_slug": "ruby",
            "exercise_slug": "two-fer",
            "container_version": version,
            "files": {str(file.relative_to(solution)): file.read_text() for file in files},
        }
        reply = self.ask(own.address, request)
        status = reply.get("response", {}).get("status", reply["status"])
        by = reply.get("context", {}).get("worker", "nobody")
        good = (status, by) == ("pass", worker)
        self.note("test_solution, passing", f"{status}, by {by}", good, since)

    def _listen_in(self, heard: bytearray) -> None:
        self.step("What was heard on the router's cables")
        since = time.monotonic()

        def speak() -> None:
            self.hosts.enter(CLIENT)()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as openly:
                openly.sendto(SPOKEN_OPENLY, (ROUTER, 9))

        with ThreadPoolExecutor(1) as thread:
            thread.submit(speak).result()
        until = time.monotonic() + paced(10)
        while SPOKEN_OPENLY not in heard and time.monotonic() < until:
            time.sleep(0.05)
        control = SPOKEN_OPENLY in heard
        self.note("what is said without keys is heard", f"{len(heard)} bytes", control, since)
        words = [b"two-fer", b"two_fer", b"test_solution", b"test_runners", b"git-"]
        for file in (self.folder / "inputs").rglob("*.rb"):
            lines = file.read_bytes().splitlines()
            words += [line.strip() for line in lines if len(line.strip()) > 12]
        found = sorted({word.decode() for word in words if word in heard})
        said = ", ".join(found) or f"none of {len(words)} words and lines"
        self.note("jobs' text heard", said, not found, since)

    def _look_for_hosts(self) -> None:
        since = time.monotonic()
        left = self.hosts.left()
        self.note("hosts left", ", ".join(left) or "none", not left, since)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    sys.exit(run_in(Path(sys.argv[1]), HostsDemo))
