"""The command line: addresses, signals, exit statuses, one clear line."""

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner

from pipeline_router.cli import main

SEED = Path(__file__).parents[3] / "config" / "pipeline.yml"
LISTENING = re.compile(r"listening on (tcp://\S+) \(clients\), (tcp://\S+) \(workers\)")
COMMAND = (sys.executable, "-c", "from pipeline_router.cli import main; main()")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start routers; whatever is left of them is killed."""
    routers: list[subprocess.Popen[str]] = []

    def started(*options: str) -> subprocess.Popen[str]:
        ports = () if "--port" in options else ("--port", "0", "--link-port", "0")
        command = [*COMMAND, str(tmp_path / "pipeline.yml"), *ports, *options]
        router = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        routers.append(router)
        return router

    yield started
    for router in routers:
        router.kill()
        router.wait()
        assert router.stderr is not None
        router.stderr.close()


def addresses(router: subprocess.Popen[str]) -> tuple[str, str]:
    assert router.stderr is not None
    for line in router.stderr:
        found = LISTENING.search(line)
        if found:
            return found[1], found[2]
    raise AssertionError("the router ended before it listened")


def rest(router: subprocess.Popen[str]) -> str:
    assert router.stderr is not None
    return router.stderr.read()


def run(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, options)
    return result.exit_code, result.stderr


def ping(address: str) -> int:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.rcvtimeo = 20_000
        client.connect(address)
        client.send(b'{"action": "ping"}')
        return int(json.loads(client.recv())["status"]["code"])


def test_it_is_created_from_the_seed_says_where_it_listens_and_ends_cleanly(
    start: Start, tmp_path: Path
) -> None:
    router = start("--seed", str(SEED))
    front, _ = addresses(router)
    people, _, state = SEED.read_text().partition("versions: {}")
    made = (tmp_path / "pipeline.yml").read_text()
    assert re.fullmatch(rf"{re.escape(people)}installation: '?\w{{32}}'?\nversions: {{}}\n", made)
    assert not state.strip()
    assert ping(front) == 200
    router.send_signal(signal.SIGTERM)
    assert router.wait(20) == 0


def test_it_takes_all_the_descriptors_that_it_may_have(start: Start) -> None:
    router = start("--seed", str(SEED))
    addresses(router)
    usual, most = resource.prlimit(router.pid, resource.RLIMIT_NOFILE)
    assert usual == most


def test_sigint_ends_it_cleanly_too(start: Start) -> None:
    router = start("--seed", str(SEED))
    addresses(router)
    router.send_signal(signal.SIGINT)
    assert router.wait(20) == 0


def test_sighup_with_a_bad_file_keeps_the_last_good_one(start: Start, tmp_path: Path) -> None:
    router = start("--seed", str(SEED))
    front, _ = addresses(router)
    (tmp_path / "pipeline.yml").write_text("rooter: {}\n")
    router.send_signal(signal.SIGHUP)
    assert router.stderr is not None
    line = router.stderr.readline()
    assert "the last good one stays" in line
    assert "rooter: unknown key" in line
    assert ping(front) == 200


def test_a_second_router_is_kept_out(start: Start) -> None:
    first = start("--seed", str(SEED))
    front, _ = addresses(first)
    second = start()
    assert second.wait(20) == 1
    assert f"in use by another router (process {first.pid})" in rest(second)
    assert ping(front) == 200


def test_an_address_in_use(start: Start, tmp_path: Path) -> None:
    first = start("--seed", str(SEED))
    front, _ = addresses(first)
    other = tmp_path / "other.yml"
    other.write_text("")
    port = front.rpartition(":")[2]
    command = [*COMMAND, str(other), "--port", port, "--link-port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    line = f"pipeline-router: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert second.stderr == line


def test_a_missing_file_says_how_to_create_it(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    status, error = run(str(path))
    assert status == 2
    assert error == (
        f"pipeline-router: {path} does not exist: create it from a template by --seed FILE\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_seed(tmp_path: Path) -> None:
    status, error = run(str(tmp_path / "p.yml"), "--seed", str(tmp_path / "seed.yml"))
    assert status == 2
    assert "seed.yml: No such file or directory" in error


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_text("router: {queue: many}")
    status, error = run(str(path))
    assert status == 2
    assert error == f"pipeline-router: {path}: router.queue: Expected `int`, got `str`\n"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::"])
def test_off_loopback_needs_insecure(tmp_path: Path, address: str) -> None:
    status, error = run(str(tmp_path / "p.yml"), "--bind", address)
    assert status == 2
    assert "--keys" in error
    assert "--insecure" in error


def test_bind_takes_addresses_only(tmp_path: Path) -> None:
    status, error = run(str(tmp_path / "p.yml"), "--bind", "my-host")
    assert status == 2
    assert "is not an IP address" in error


def test_insecure_binds_anywhere(start: Start) -> None:
    router = start("--seed", str(SEED), "--bind", "0.0.0.0", "--insecure")
    front, _ = addresses(router)
    assert front.startswith("tcp://0.0.0.0:")
    assert router.stderr is not None
    line = router.stderr.readline()
    assert "WARNING --insecure: nothing is encrypted" in line
    for word in (front, "run code", "deploy", "can be a worker"):
        assert word in line


def test_with_keys_it_binds_anywhere_and_workers_are_sent_credentials(
    start: Start, tmp_path: Path
) -> None:
    seed = tmp_path / "seed.yml"
    role = "arn:aws:iam::123456789012:role/workers"
    seed.write_text(f"credentials: sts\nsts: {{role_arn: '{role}', region: nowhere}}\n")
    keys = tmp_path / "router.keys"
    assert run("keys", "init", "--keys", str(keys)) == (0, "")
    router = start("--seed", str(seed), "--bind", "0.0.0.0", "--keys", str(keys))
    front, _ = addresses(router)
    assert front.startswith("tcp://0.0.0.0:")
    assert router.stderr is not None
    assert "INFO with keys: this router's is " in router.stderr.readline()
    router.send_signal(signal.SIGTERM)
    assert router.wait(30) == 0
    assert "--insecure" not in rest(router)
    (tmp_path / "pipeline.yml").unlink()
    without = start("--seed", str(seed), "--bind", "0.0.0.0", "--insecure")
    assert without.wait(30) == 2
    assert "off loopback without keys" in rest(without)


def test_the_most_memory_is_a_size_that_a_router_can_live_with(start: Start) -> None:
    router = start("--seed", str(SEED), "--memory-max", "256MiB")
    front, _ = addresses(router)
    soft, _ = resource.prlimit(router.pid, resource.RLIMIT_DATA)
    assert 256 << 20 < soft < 768 << 20
    assert ping(front) == 200
    for bad in ("lots", "1MiB", "-1"):
        status, error = run("p.yml", f"--memory-max={bad}")
        assert (status, "--memory-max" in error) == (2, True)


def test_help_and_bad_options() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "--force-worker-restart" in result.stdout
    assert run("x.yml", "--port", "70000")[0] == 2
    assert run()[0] == 2
