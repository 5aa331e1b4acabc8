"""Inputs from S3 on real workers, in the sandbox: right, or refused with a reason that helps.

S3 is rclone's, which checks who asks and pages its listings; a made-up one has the hostile keys.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.images import Image, Layer
from support.leftovers import find_leftovers
from support.moto import moto
from support.pace import paced
from support.processes import Machine, Process, machine
from support.s3 import MadeUp, Rclone, login, made_up, rclone, without_aws
from support.sts import ROLE, Sts, sts

pytestmark = pytest.mark.e2e

KEY, SECRET = "HOSTSOWNKEY", "hosts-own-secret-5c1d"
SEED = """\
registry: {kind: folder, location: ./registry}
inputs: {s3_prefixes: ["s3://solutions/live/", "s3://missing/", "s3://bucket/in/"]}
"""
TOOL = """\
#!/bin/sh
cd "$2"
read said < word
printf '{"version": 1, "status": "pass", "message": "%s of %s"}' "$said" \\
    "$(busybox find . -type f | busybox wc -l)" > "$3results.json"
"""
"""Says the solution's word, and of how many files it is."""


class Platform:
    """A router, workers, and S3 with solutions in it."""

    def __init__(self, own: Machine, s3: Rclone, environment: dict[str, str]) -> None:
        self.own = own
        self.s3 = s3
        self._environment = environment
        self._numbers = count(1)
        self.replies: list[dict[str, Any]] = []
        layer = Layer().file("bin/busybox", Path("/bin/busybox").read_bytes())
        layer.link("bin/sh", "busybox").file("opt/test-runner/bin/run.sh", TOOL)
        for track in ("bash", "scoped"):
            Image((layer.archive(),), {"Env": ["PATH=/bin"]}).publish(
                own.folder / "registry", f"{track}-test-runner", "v1"
            )

    def start(self, seed: str = SEED) -> None:
        path = self.own.folder / "seed.yml"
        path.write_text(seed)
        self.own.router(path)
        for track in ("bash", "scoped"):
            fields = {"track_slug": track, "channel": "test_runners", "new_version": "v1"}
            assert self.ask("deploy_container_version", **fields)["status"]["code"] == 200
        self.worker("worker-1")

    def worker(self, name: str, topics: str = "", **environment: str) -> Process:
        settings = (f"{name}={value}" for name, value in (self._environment | environment).items())
        return self.own.worker(
            name, f"test_runners{topics}", "--slots", "2", under=("/usr/bin/env", *settings)
        )

    def await_ready(self, worker: str) -> None:
        """Wait until the router knows that a scoped worker, which it prefers, is ready."""
        until = time.monotonic() + paced(30)
        check = {"track_slug": "scoped", "channel": "test_runners"}
        while True:
            (version,) = self.ask("deployment_check", **check)["response"]["versions"]
            if (worker, "ready") in {(one["worker"], one["state"]) for one in version["workers"]}:
                return
            assert time.monotonic() < until, version
            time.sleep(0.02)

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        reply = say(self.own.address, {"action": action, **fields}, 60)
        self.replies.append(reply)
        return reply

    def test(self, place: str = "solutions/live/1/", **fields: Any) -> dict[str, Any]:
        fields = {"track_slug": "bash", "s3_uri": f"s3://{place}"} | fields
        if "files" in fields:
            del fields["s3_uri"]
        return self.ask(
            "test_solution",
            id=f"run-{next(self._numbers)}",
            exercise_slug="two-fer",
            container_version="v1",
            **fields,
        )

    def said(self, place: str, **fields: Any) -> str:
        reply = self.test(place, **fields)
        assert reply["status"]["code"] == 200, reply
        return str(reply["response"]["message"])

    def refused(self, code: int, place: str = "solutions/live/1/", **fields: Any) -> str:
        reply = self.test(place, **fields)
        assert reply["status"]["code"] == code, reply
        return str(reply["status"]["error"])

    def stop(self) -> None:
        for process in reversed(self.own.processes):
            assert process.stop() == 0
        assert not find_leftovers(self.own.folder)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    with rclone(tmp_path_factory.mktemp("s3"), KEY, SECRET) as server:
        server.put("solutions", "live/1/word", "one")
        server.put("solutions", "live/1/lib/other", "x")
        server.put("solutions", "secret/word", "secret")
        yield server


@pytest.fixture(scope="module")
def platform(module_folder: Path, s3: Rclone) -> Iterator[Platform]:
    with machine(module_folder) as own, pytest.MonkeyPatch.context() as patch:
        for name in without_aws():
            patch.delenv(name)
        platform = Platform(own, s3, login(module_folder, KEY, SECRET, s3.endpoint))
        platform.start()
        yield platform
        platform.stop()


def test_a_solution_comes_with_all_its_files(platform: Platform) -> None:
    assert platform.said("solutions/live/1/") == "one of 2"


def test_a_thousand_files_are_not_all(platform: Platform) -> None:
    for number in range(1100):
        platform.s3.put("solutions", f"live/many/{number % 7}/{number}", "x")
    platform.s3.put("solutions", "live/many/word", "many")
    slow = {"execution_timeout": paced(20), "timeout_s": paced(60)}
    assert platform.said("solutions/live/many/", **slow) == "many of 1101"


def test_jobs_at_once_get_each_its_own(platform: Platform) -> None:
    words = [f"word-{number}" for number in range(8)]
    for word in words:
        platform.s3.put("solutions", f"live/{word}/word", word)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda word: platform.said(f"solutions/live/{word}/"), words))
    assert said == [f"{word} of 1" for word in words]


@pytest.mark.parametrize(
    ("place", "code", "says"),
    [
        ("solutions/secret/", 400, "no allowed prefix (s3://solutions/live/, "),
        ("solutions/live/../secret/", 400, "'..'"),
        ("solutions/live/%2e%2e/secret/", 400, "nothing is at"),
        ("solutions/live/nobody/", 400, "nothing is at s3://solutions/live/nobody/"),
        ("missing/1/", 512, "create it, or correct inputs.s3_prefixes"),
    ],
)
def test_each_refusal_says_whose_turn_it_is(
    platform: Platform, place: str, code: int, says: str
) -> None:
    assert says in platform.refused(code, place)


def test_s3_that_dies_is_a_512_and_the_next_job_is_right(platform: Platform) -> None:
    platform.s3.stall()
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(platform.refused, 512)
        platform.s3.kill()
        assert "s3://solutions/live/1/ cannot be read" in refused.result()
    platform.s3.start()
    assert platform.said("solutions/live/1/") == "one of 2"


def test_s3_that_stalls_holds_nobody_up_past_the_deadline(platform: Platform) -> None:
    platform.s3.stall()
    reply = platform.test(timeout_s=1.5)
    assert reply["status"]["code"] == 504, reply
    small = platform.test(files={"word": "inline"})
    assert small["response"]["message"] == "inline of 1"
    platform.s3.go_on()
    assert platform.said("solutions/live/1/") == "one of 2"


def test_a_worker_whose_key_is_wrong_says_so(
    platform: Platform, tmp_path: Path, s3: Rclone
) -> None:
    wrong = platform.worker(
        "worker-2", "?topic=scoped", **login(tmp_path, KEY, "another", s3.endpoint)
    )
    platform.await_ready("worker-2")
    said = platform.refused(512, track_slug="scoped")
    assert "SignatureDoesNotMatch" in said
    assert "correct the AWS credentials of this host" in said
    wrong.wait_for("inputs: s3://solutions/live/ cannot be read")
    assert wrong.stop() == 0
    platform.own.processes.remove(wrong)


HOSTILE = ("../x", "a/../../../x", "/etc/x", "a//b", "word/x", "a\\b", "a\nb", "a\udcff", "x" * 256)


@pytest.fixture(scope="module")
def liar(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeUp]:
    """An S3 that may hold any key, and a worker of its own that reads from it."""
    folder = tmp_path_factory.mktemp("liar")
    with made_up() as server:
        worker = platform.worker(
            "worker-3", "?topic=scoped", **login(folder, KEY, SECRET, server.endpoint)
        )
        platform.await_ready("worker-3")
        yield server
        assert worker.stop() == 0
        platform.own.processes.remove(worker)


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_key_is_never_fetched(platform: Platform, liar: MadeUp, key: str) -> None:
    liar.objects.clear()
    liar.put("in/1/word", "honest")
    assert platform.said("bucket/in/1/", track_slug="scoped") == "honest of 1"
    liar.put(f"in/1/{key}")
    liar.requests.clear()
    platform.refused(400, "bucket/in/1/", track_slug="scoped")
    assert liar.requests == ["GET /bucket"]


# --- credentials that the router minted


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Sts]:
    with moto(tmp_path) as address, sts(address) as proxy:
        yield proxy


def test_workers_use_what_the_router_mints_and_nobody_sees_it(
    shared_folder: Path, tmp_path: Path, proxy: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in without_aws():
        monkeypatch.delenv(name)
    with rclone(tmp_path, KEY, SECRET) as s3, machine(shared_folder) as own:
        s3.put("solutions", "live/1/word", "minted")
        for name, value in login(tmp_path, KEY, SECRET, s3.endpoint, sts=proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        proxy.hang()
        platform = Platform(own, s3, {})
        platform.start(f"{SEED}credentials: sts\nsts: {{role_arn: '{ROLE}'}}\n")

        # while STS hangs: no input from S3, not even by the host's own key; all else goes on
        assert proxy.hanging.wait(paced(10))
        assert "no AWS credentials from STS yet" in platform.refused(512)
        assert platform.test(files={"word": "inline"})["status"]["code"] == 200

        proxy.work()
        proxy.go_on.set()
        own.processes[0].wait_for("AWS credentials of .* minted, good until")
        await_refusal(platform, "InvalidAccessKeyId")  # of a key that this S3 does not know
        s3.kill()
        s3.let_in(proxy.minted[-1].key, proxy.minted[-1].secret)
        s3.start()
        assert platform.said("solutions/live/1/") == "minted of 1"

        for action in ("current_config", "describe_workers", "current_worker_status"):
            platform.ask(action)
        seen = [path.read_text() for path in shared_folder.glob("*.log")]
        seen += [traces(process.pid) for process in own.processes]
        seen += [(shared_folder / "pipeline.yml").read_text(), str(platform.replies)]
        platform.stop()
    assert all(any(word in text for text in seen) for word in (ROLE, "minted, good until"))
    for secret in {SECRET} | {text for one in proxy.minted for text in (one.secret, one.token)}:
        assert not [text for text in seen if secret in text]


def await_refusal(platform: Platform, error: str) -> None:
    """Ask until S3 refuses with that."""
    until = time.monotonic() + paced(20)
    while error not in (said := platform.refused(512)):
        assert time.monotonic() < until, said


def traces(pid: int) -> str:
    """Give what every process of the host, or of its user, may read of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
