"""A router with keys, and those who have some: as real processes, by the commands' own files."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.journal import Execution, Journal
from support.keyring import Keyring
from support.pace import paced
from support.processes import BIN, Machine, Process, machine

from pipeline_client import (
    AsyncPipelineClient,
    CallerError,
    LimitError,
    PipelineClient,
    PipelineError,
    PlatformError,
)
from pipeline_protocol.keys import BadKeys

TESTS = Path(__file__).parents[1]
MARKER = "# --- below this line the router writes; edit it only while no router runs ---"
SOON_S = 30.0


class KeyedLab:
    """A router with keys for alice and bob, olga the operator, and any worker-*."""

    def __init__(self, own: Machine) -> None:
        self.own = own
        self.folder = own.folder
        self.keys = Keyring(own.folder)
        self.keys.add("alice", "client")
        self.keys.add("bob", "client")
        self.keys.add("olga", "operator")
        self.keys.add("runners", "worker", "--channel", "test_runners", "--identity", "worker-")
        self.journal = Journal(own.folder / "journal")
        self.router = self.start_router("--keys", str(self.keys.path))

    def start_router(self, *options: str) -> Process:
        seed = self.folder / "seed.yml"
        seed.write_text(f"{MARKER}\nversions: {{test_runners: {{ruby: {{v1: {{}}}}}}}}\n")
        return self.own.router(seed, *options)

    def worker(self, name: str, keys: str = "runners", *, serving: bool = True) -> Process:
        """Start an echo worker with somebody's file."""
        worker = self.own.start(
            name,
            *("/usr/bin/env", f"PYTHONPATH={TESTS}", f"PIPELINE_KEYS={self.keys.file(keys)}"),
            *(sys.executable, "-m", "support.echo_worker"),
            *(name, f"{self.own.address}/test_runners", str(self.journal.path), "2"),
        )
        if serving:
            worker.wait_for("serving")
        return worker

    def client(self, name: str, **options: Any) -> PipelineClient:
        return PipelineClient(
            self.own.address, keys=self.keys.file(name), **{"resend_after_s": 1.0, **options}
        )

    def run(self, client: PipelineClient, job: str, *plan: str, timeout_s: float = 60) -> str:
        """Have a job done; return who did it."""
        answer = client.test_solution(
            "ruby",
            "two-fer",
            "v1",
            id=job,
            files={"plan": "\n".join(plan), "token": job},
            timeout_s=paced(timeout_s),
        )
        return answer.context.worker or ""

    def executions(self, job: str) -> list[Execution]:
        return self.journal.executions().get(job, [])

    def command(self, *arguments: str, keys: str = "") -> subprocess.CompletedProcess[str]:
        """Run `pipeline`."""
        environment = {**os.environ, "PIPELINE_ADDRESS": self.own.address}
        if keys:
            environment["PIPELINE_KEYS"] = str(self.keys.file(keys))
        return subprocess.run(
            [BIN / "pipeline", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=paced(60),
            check=False,
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[KeyedLab]:
    with machine(tmp_path) as own:
        made = KeyedLab(own)
        yield made
        made.journal.close()
        assert "Traceback" not in made.router.output(), made.router.output()[-4000:]


def await_that(what: Any, why: str = "it") -> None:
    until = time.monotonic() + paced(SOON_S)
    while not what():
        assert time.monotonic() < until, f"{why} has not come about"
        time.sleep(0.05)


# --- what keys are for


def test_jobs_are_done_by_who_has_keys(lab: KeyedLab) -> None:
    lab.worker("worker-1")
    with lab.client("alice") as client:
        assert lab.run(client, "sync") == "worker-1"

    async def ask() -> str:
        async with AsyncPipelineClient(lab.own.address, keys=lab.keys.file("bob")) as client:
            return (await client.ping()).version

    assert asyncio.run(ask())
    shown = lab.command("status", keys="olga")
    assert shown.returncode == 0, shown.stderr
    assert "test_runners" in shown.stdout


def test_nothing_that_is_said_can_be_read_on_the_wire(lab: KeyedLab) -> None:
    seen = bytearray()
    lab.worker("worker-1")
    port = relay(lab.own.port, seen)
    files = {"plan": "", "token": "a-word-that-nobody-says"}
    with PipelineClient(f"tcp://127.0.0.1:{port}", keys=lab.keys.file("alice")) as client:
        client.test_solution("ruby", "two-fer", "v1", files=files)
    assert len(seen) > 500
    assert b"nobody-says" not in seen
    assert b"two-fer" not in seen


def relay(port: int, seen: bytearray) -> int:
    """Pass a connection on, and keep what goes either way; return the port to connect to."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(1 << 16):
            seen.extend(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        router = socket.create_connection(("127.0.0.1", port))
        with listener, router, listener.accept()[0] as client:
            back = threading.Thread(target=pass_on, args=(router, client), daemon=True)
            back.start()
            pass_on(client, router)
            back.join()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_a_client_deploys_nothing(lab: KeyedLab) -> None:
    refused = lab.command("deploy", "ruby", "test_runners", "v2", "--no-wait", keys="alice")
    assert refused.returncode == 1
    assert "needs a key of the role operator" in refused.stderr
    with lab.client("alice") as client, pytest.raises(LimitError) as error:
        client.deploy_container_version("ruby", "test_runners", "v2")
    assert error.value.is_forbidden
    done = lab.command("deploy", "ruby", "test_runners", "v2", "--no-wait", keys="olga")
    assert done.returncode == 0, done.stderr


def test_a_quota_is_used_up_and_the_client_asks_again(lab: KeyedLab) -> None:
    lab.keys.add("few", "client", "--quota", "1")
    lab.worker("worker-1")
    with lab.client("few", retries=None) as first, lab.client("few") as patient:
        jobs = ThreadPoolExecutor(2)
        long = jobs.submit(lab.run, first, "long", "sleep 60")
        one = {"few": {"running": 1, "waiting": 0, "quota": 1}}

        def in_flight() -> Any:
            return json.loads(lab.command("status", "--json", keys="olga").stdout)["clients"]

        await_that(lambda: in_flight() == one)
        with pytest.raises(PlatformError, match="as its quota allows, 1:") as refused:
            lab.run(first, "refused")
        assert (refused.value.code, refused.value.retry_after_s) == (429, 1)
        assert in_flight() == one
        later = jobs.submit(lab.run, patient, "later")
        first.cancel("long")
        with pytest.raises(CallerError):
            long.result()
        assert later.result() == "worker-1", "it asks again until there is room"


def test_what_operators_do_is_recorded_and_shown(lab: KeyedLab) -> None:
    lab.worker("worker-1")
    assert lab.command("unload", "ruby", "test_runners", "v1", keys="olga").returncode == 0
    assert lab.command("drain", "worker-1", keys="olga").returncode == 0
    lab.keys.revoke("bob")

    def changes() -> list[list[Any]]:
        done = lab.command("audit", "--json", keys="olga")
        assert done.returncode == 0, done.stderr
        entries = json.loads(done.stdout)["entries"]
        fields = ("principal", "action", "before", "after")
        return [[entry[field] for field in fields] for entry in entries]

    await_that(lambda: len(changes()) >= 3, "a record of the key")
    assert changes() == [
        ["olga", "unload_container_version", ["v1"], []],
        ["olga", "drain_worker", ["serving"], ["draining"]],
        [None, "keys_changed", ["bob"], []],
    ]
    lines = (lab.folder / "pipeline.yml.audit").read_bytes().splitlines()
    assert len(lines) == 3
    assert lab.command("audit", keys="alice").returncode == 1


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("builder-1", "runners", "names begin with 'worker-'"),
        ("worker-1", "olga", "needs a key of the role worker"),
    ],
)
def test_a_worker_with_the_wrong_key_is_told_and_ends(
    lab: KeyedLab, name: str, keys: str, said: str
) -> None:
    worker = lab.worker(name, keys, serving=False)
    assert worker.wait(paced(SOON_S)) == 1
    assert said in worker.output()


# --- what is wrong is said


TROUBLES = {
    "unknown": "does not let the key 'stranger' in",
    "other": "has another key",
    "none here": "lets nobody in without a key",
    "none there": "has no keys, and this side has",
}


def beset(lab: KeyedLab, trouble: str) -> str:
    """Bring a trouble about; return whose file of keys has it."""
    if trouble == "unknown":
        lab.keys.add("stranger", "operator")
        lab.keys.revoke("stranger")
        return "stranger"
    if trouble == "other":
        (lab.folder / "other").mkdir()
        other = Keyring(lab.folder / "other")
        other.add("alice", "operator").rename(lab.keys.file("mistaken"))
        return "mistaken"
    if trouble == "none there":
        lab.router.stop()
        lab.router = lab.start_router()
        return "olga"
    return ""


@pytest.mark.parametrize("trouble", TROUBLES)
def test_it_is_said_by_the_command_by_the_client_and_by_the_worker(
    lab: KeyedLab, trouble: str
) -> None:
    name, said = beset(lab, trouble), TROUBLES[trouble]
    heard = f"{said}|or no keys at all" if trouble == "none there" else said
    asked = lab.command("status", keys=name)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert said in asked.stderr
    data = json.loads(lab.command("status", "--json", keys=name).stdout)
    assert (data["error"]["code"], said in data["error"]["error"]) == (101, True)
    keys = lab.keys.file(name) if name else None
    with PipelineClient(lab.own.address, keys=keys, retries=None) as client:
        with pytest.raises(PipelineError, match=heard) as error:
            client.ping(timeout_s=paced(4))
        assert error.value.code == 101

    async def ask() -> None:
        async with AsyncPipelineClient(lab.own.address, keys=keys, retries=None) as client:
            await client.ping(timeout_s=paced(4))

    with pytest.raises(PipelineError, match=heard):
        asyncio.run(ask())
    worker = lab.worker("worker-1", name, serving=False) if name else keyless_worker(lab)
    worker.wait_for(heard)
    assert worker.wait(paced(SOON_S)) == 3
    if trouble != "none there":
        counted = json.loads(lab.command("status", "--json", keys="olga").stdout)
        assert counted["turned_away"], counted
        lines = [line for line in lab.router.output().splitlines() if "a connection" in line]
        assert lines


@pytest.mark.e2e
def test_the_worker_itself_says_it_and_ends_with_3(lab: KeyedLab, shared_folder: Path) -> None:
    def start(keys: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(BIN / "pipeline-worker", "listen", "worker-1"),
                *(f"{lab.own.address}/test_runners", shared_folder / "work"),
                *("--keys", keys, "--wait", "3"),
            ],
            capture_output=True,
            text=True,
            timeout=paced(60),
            check=False,
        )

    ended = start(lab.keys.file(beset(lab, "unknown")))
    assert ended.returncode == 3, ended.stderr
    assert TROUBLES["unknown"] in ended.stderr.splitlines()[-1]
    lab.keys.file("runners").chmod(0o640)
    ended = start(lab.keys.file("runners"))
    assert ended.returncode == 2, ended.stderr
    assert "chmod 600" in ended.stderr


def keyless_worker(lab: KeyedLab) -> Process:
    return lab.own.start(
        "worker-1",
        *("/usr/bin/env", "-u", "PIPELINE_KEYS", f"PYTHONPATH={TESTS}"),
        *(sys.executable, "-m", "support.echo_worker"),
        *("worker-1", f"{lab.own.address}/test_runners", str(lab.journal.path), "2"),
    )


def test_a_file_that_others_may_read_is_of_no_use(lab: KeyedLab) -> None:
    lab.keys.file("alice").chmod(0o644)
    with pytest.raises(BadKeys, match="chmod 600"):
        lab.client("alice")
    refused = lab.command("ping", keys="alice")
    assert refused.returncode == 2
    assert "chmod 600" in refused.stderr


# --- changes


def test_a_key_that_is_added_after_its_refusal_is_taken_without_a_restart(lab: KeyedLab) -> None:
    file = lab.keys.add("carol", "client")
    lab.keys.revoke("carol")
    with lab.client("carol") as client, lab.client("carol") as impatient:
        with pytest.raises(PipelineError, match="does not let the key 'carol' in"):
            impatient.ping(timeout_s=paced(2))
        answers: list[str] = []
        asking = threading.Thread(
            target=lambda: answers.append(client.ping(timeout_s=paced(SOON_S)).version)
        )
        asking.start()
        time.sleep(1)
        known = msgspec.json.decode(lab.keys.path.read_bytes())
        known["keys"][-1].pop("revoked")
        lab.keys.path.write_bytes(msgspec.json.encode(known))
        asking.join(paced(SOON_S))
        assert answers
        assert impatient.ping(timeout_s=paced(SOON_S)).version, file


def test_a_workers_file_is_read_again_when_its_key_is_refused(lab: KeyedLab) -> None:
    lab.keys.add("one", "worker")
    worker = lab.worker("worker-1", "one")
    lab.keys.revoke("one")
    worker.wait_for("does not let the key 'one' in")
    lab.keys.add("two", "worker").replace(lab.keys.file("one"))
    with lab.client("alice") as client:
        assert lab.run(client, "after") == "worker-1"
    assert worker.alive


def test_a_key_that_is_revoked_under_a_running_job(lab: KeyedLab) -> None:
    lab.keys.add("thief", "worker")
    thief = lab.worker("worker-thief", "thief")
    done: list[str] = []
    with lab.client("alice") as client:
        asking = threading.Thread(target=lambda: done.append(lab.run(client, "job", "sleep 3")))
        asking.start()
        await_that(lambda: lab.executions("job"), "the job")
        lab.worker("worker-honest")
        lab.keys.revoke("thief")
        asking.join(paced(60))
    assert done == ["worker-honest"]
    assert [one.worker for one in lab.executions("job")] == ["worker-thief", "worker-honest"]
    await_that(lambda: lab.executions("job")[0].ended, "the end of the revoked one")
    thief.wait_for("does not let the key 'thief' in")
    assert lab.router.output().count("shut out") == 1


def test_a_revoked_client_gets_no_answer_and_others_do(lab: KeyedLab) -> None:
    lab.worker("worker-1")
    with lab.client("alice") as alice, lab.client("bob") as bob:
        assert lab.run(alice, "a1") == "worker-1"
        lab.keys.revoke("alice")
        lab.router.wait_for("keys read again")
        with pytest.raises(PipelineError, match="does not let the key 'alice' in"):
            lab.run(alice, "a2", timeout_s=5)
        assert lab.run(bob, "b1") == "worker-1"
    assert not lab.executions("a2")


def test_the_routers_key_is_rotated_under_load_without_one_lost_request(lab: KeyedLab) -> None:
    lab.worker("worker-1")
    lab.worker("worker-2")
    stop = threading.Event()
    done: list[str] = []
    wrong: list[Exception] = []

    def ask(client: PipelineClient, number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            job = f"job-{number}-{count}"
            try:
                lab.run(client, job, "sleep 0.05")
                done.append(job)
            except Exception as error:
                wrong.append(error)

    with lab.client("alice", retries=None) as alice, lab.client("bob", retries=None) as bob:
        threads = [
            threading.Thread(target=ask, args=((alice, bob)[number % 2], number))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = len(done)
            await_that(lambda before=before: len(done) > before + 20, "some work")
            lab.keys.rotate()
            time.sleep(1)
            lab.keys.refresh("alice", "bob", "runners")
        before = len(done)
        await_that(lambda: len(done) > before + 20, "work after the last rotation")
        stop.set()
        for thread in threads:
            thread.join(paced(60))
    assert not wrong
    assert lab.router.output().count("this router's key is another one now") == 2
    runs = {job: lab.executions(job) for job in done}
    assert all(len(each) == 1 for each in runs.values()), "each was done once"
