"""A router that mints credentials, and an STS that hangs, fails or talks rubbish: jobs go on."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.moto import moto
from support.pace import paced
from support.processes import BIN, Machine, Process, machine
from support.s3 import login, without_aws
from support.sts import ROLE, Sts, sts

SEED = f"credentials: sts\nsts: {{role_arn: '{ROLE}'}}\n"
SECRET = "hosts-own-secret-93ab"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture
def proxy(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    """An STS that the router finds by AWS' own configuration."""
    for name in without_aws():
        monkeypatch.delenv(name)
    with sts(endpoint) as proxy:
        names = login(tmp_path, "HOSTKEY", SECRET, "http://127.0.0.1:1", sts=proxy.endpoint)
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        yield proxy


class Place:
    """A router with credentials to mint, and a worker for which that makes no difference."""

    def __init__(self, own: Machine) -> None:
        self.own = own
        self._numbers = count(1)
        seed = own.folder / "seed.yml"
        seed.write_text(SEED)
        self.router = own.router(seed)
        address = f"{own.address}/test_runners"
        worker = own.start(
            "worker-1",
            *(sys.executable, "-m", "support.echo_worker", "worker-1", address),
            *(str(own.folder / "journal"), "2"),
        )
        worker.wait_for("serving")
        deploy = {"track_slug": "ruby", "channel": "test_runners", "new_version": "v1"}
        assert self.ask("deploy_container_version", **deploy)["status"]["code"] == 200

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        return say(self.own.address, {"action": action, **fields})

    def work(self, jobs: int = 20) -> None:
        """See jobs done as if nothing was."""
        for _ in range(jobs):
            name = f"job-{next(self._numbers)}"
            reply = self.ask(
                "test_solution",
                id=name,
                track_slug="ruby",
                exercise_slug="two-fer",
                container_version="v1",
                files={"plan": "", "token": name},
            )
            assert reply["response"]["token"] == name, reply


@pytest.fixture
def own(tmp_path: Path, proxy: Sts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    with machine(tmp_path) as started:
        yield started
        for process in reversed(started.processes):
            assert process.stop() == 0


def told(router: Process, *says: str) -> None:
    """Wait for the warning, which says what to do, and nothing of what STS said."""
    line = router.wait_for(r"WARNING no AWS credentials of .*")[0]
    for text in (ROLE, "workers have none", "asking again in", "sts:AssumeRole it", *says):
        assert text in line


def test_an_sts_that_hangs_is_not_noticed_by_jobs(own: Machine, proxy: Sts) -> None:
    proxy.hang()
    place = Place(own)
    assert proxy.hanging.wait(paced(10))
    place.work()
    for action in ("current_worker_status", "describe_workers", "current_config", "ping"):
        assert place.ask(action)["status"]["code"] == 200
    assert place.router.stop() == 0  # nor by who ends the router
    assert "minted" not in place.router.output()


@pytest.mark.parametrize(
    ("code", "error", "says"), [(403, "AccessDenied", "AccessDenied"), (503, "Busy", "Busy")]
)
def test_an_sts_that_fails_is_told_with_what_to_do_and_asked_again(
    own: Machine, proxy: Sts, code: int, error: str, says: str
) -> None:
    proxy.fail(code, error)
    place = Place(own)
    told(place.router, says)
    place.work()
    proxy.work()
    place.router.wait_for("minted, good until")


RUBBISH = {
    "no-key": ("<AccessKeyId>.*?</AccessKeyId>", "", "missing or wrong: AccessKeyId"),
    "past": ("<Expiration>....", "<Expiration>1999", "are over at 1999"),
    "no-date": ("<Expiration>....", "<Expiration>soon", "makes no sense"),
    "cut-short": ("(?s)</SessionToken>.*", "", "makes no sense"),
}


@pytest.mark.parametrize(("pattern", "instead", "says"), RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_from_sts_is_neither_used_nor_repeated(
    own: Machine, proxy: Sts, pattern: str, instead: str, says: str
) -> None:
    proxy.spoil(pattern, instead)
    place = Place(own)
    told(place.router, says)
    place.work(3)
    log = place.router.output()
    assert "minted, good until" not in log
    for minted in proxy.minted:
        assert minted.secret not in log
        assert minted.token not in log


def test_another_role_is_taken_over_without_a_restart(own: Machine, proxy: Sts) -> None:
    place = Place(own)
    place.router.wait_for(f"{re.escape(ROLE)} minted")
    config = own.folder / "pipeline.yml"
    config.write_text(config.read_text().replace(ROLE, f"{ROLE}-2"))
    place.router.send(signal.SIGHUP)
    place.router.wait_for(f"{re.escape(ROLE)}-2 minted")
    place.work(3)


def test_off_loopback_nothing_is_minted_without_keys(tmp_path: Path, proxy: Sts) -> None:
    config = tmp_path / "pipeline.yml"
    config.write_text(SEED)
    done = subprocess.run(
        [
            *(BIN / "pipeline-router", config, "--bind", "0.0.0.0", "--insecure"),
            *("--port", "0", "--link-port", "0"),
        ],
        capture_output=True,
        text=True,
        timeout=paced(30),
        check=False,
    )
    assert done.returncode == 2
    assert "loopback or an encrypted link only" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert proxy.asked == 0
