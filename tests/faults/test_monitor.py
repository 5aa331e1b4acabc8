"""A router's monitor while things go wrong: each is seen; what happens to it, no job feels."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from faults.history import Terms
from faults.lab import HASTY_S, FaultLab
from faults.waiting import await_that
from support.monitors import Asked as Monitor
from support.monitors import samples
from support.pace import paced
from support.processes import BIN, Process

from pipeline_protocol import status

LISTENS = r"listening on http://127.0.0.1:(\d+) \(monitor\)"
RUBY = ("test_runners", "ruby")


def monitor_of(router: Process) -> Monitor:
    """Return the router's monitor, once it shows something."""
    monitor = Monitor(int(router.wait_for(LISTENS)[1]))
    await_that(lambda: monitor.code("/healthz") == 200, what="a first snapshot")
    return monitor


def start(lab: FaultLab, *options: str, **said: Any) -> Monitor:
    return monitor_of(lab.start_router("--monitor", "127.0.0.1:0", *options, **said))


def metric(monitor: Monitor, name: str, *labels: str) -> float:
    return samples(monitor.body("/metrics")).get(name, {}).get(labels, 0.0)


def await_metric(monitor: Monitor, value: float, name: str, *labels: str) -> None:
    await_that(lambda: metric(monitor, name, *labels) == value, what=f"{name}{labels} is {value}")


def children(parent: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def has_ended(process: int) -> bool:
    """Say whether a process is gone, or waits for whoever took it over to take note."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_answers_and_refusals_are_seen(lab: FaultLab) -> None:
    monitor = start(lab)
    await_that(lambda: monitor.code("/readyz") == 200, what="it serves")
    lab.start_worker("worker-1")
    group = lab.group()
    group.ask(*lab.requests(20))
    group.ask(*lab.requests(3, version="v2", codes=[status.UNKNOWN_VERSION]))
    group.wait()
    await_metric(monitor, 20, "pipeline_requests_total", "test_solution", "200")
    await_metric(monitor, 3, "pipeline_requests_total", "test_solution", "505")
    await_metric(monitor, 2, "pipeline_ready_slots", *RUBY)
    counts = samples(monitor.body("/metrics"))["pipeline_run_seconds_count"]
    assert counts["test_runners", "interactive"] == 20
    lab.judge()


def test_a_lost_worker_is_seen_with_since_and_why(lab: FaultLab) -> None:
    lab.terms = Terms(executions=2)
    monitor = start(lab, liveness_s=HASTY_S)
    doomed, _ = lab.start_workers(2)
    doomed.kill()
    await_metric(monitor, 1, "pipeline_workers", "test_runners", "missing")
    await_metric(monitor, 1, "pipeline_workers_lost_total", "test_runners")
    (missing,) = json.loads(monitor.body("/status.json"))["missing"]
    assert missing["identity"] == "worker-1"
    assert missing["why"]
    lab.start_worker("worker-1")
    await_metric(monitor, 0, "pipeline_workers", "test_runners", "missing")
    lab.judge()


def test_a_version_that_gets_not_ready_is_seen_with_why(lab: FaultLab) -> None:
    monitor = start(lab)
    lab.start_worker("worker-1")
    lab.deploy("broken-1")
    await_metric(monitor, 1, "pipeline_unready_versions", *RUBY)
    await_that(lambda: metric(monitor, "pipeline_unready_versions_seconds", *RUBY) > 1)
    (unready,) = json.loads(monitor.body("/status.json"))["unready"]
    assert unready["version"] == "broken-1"
    assert [one["reason"] for one in unready["laggards"]] == ["it is broken"]
    lab.deploy("broken-1", "unload")
    await_metric(monitor, 0, "pipeline_unready_versions", *RUBY)


def test_a_save_that_fails_is_seen_and_that_it_is_mended(lab: FaultLab) -> None:
    monitor = start(lab)
    in_its_way = lab.config.with_name(f".{lab.config.name}.new")
    in_its_way.mkdir()
    assert lab.deploy("v2")["status"]["code"] == status.SETUP_FAILED
    await_metric(monitor, 1, "pipeline_save_failed")
    assert b"the configuration is not saved" in monitor.body("/readyz")
    assert monitor.code("/readyz") == 503
    assert monitor.code("/healthz") == 200
    in_its_way.rmdir()
    assert lab.deploy("v2")["status"]["code"] == status.OK
    await_metric(monitor, 0, "pipeline_save_failed")
    await_that(lambda: monitor.code("/readyz") == 200, what="ready again")


def test_demand_is_seen_where_nobody_works(lab: FaultLab) -> None:
    monitor = start(lab, liveness_s=HASTY_S)
    time.sleep(HASTY_S)  # until then it may be that workers have not said hello yet
    group = lab.group()
    group.ask(*lab.requests(5, codes=[status.NO_WORKER]))
    group.wait()
    await_that(lambda: metric(monitor, "pipeline_demand_slots", *RUBY) > 0, what="demand")
    lab.judge()


def test_jobs_go_on_while_the_monitor_is_killed_and_hangs(lab: FaultLab) -> None:
    monitor = start(lab)
    lab.start_workers(2, slots=4)
    group = lab.group()
    router = lab.router.pid
    for number in (signal.SIGKILL, signal.SIGSTOP):
        (before,) = children(router)
        os.kill(before, number)
        group.ask(*lab.requests(100))
        group.wait()
        await_that(
            lambda before=before: children(router) not in ([], [before]),  # type: ignore[misc]
            what="another process",
        )
        await_that(lambda: monitor.code("/healthz") == 200, what="it is back")
    await_metric(monitor, 200, "pipeline_requests_total", "test_solution", "200")
    lab.judge()


def test_the_monitor_ends_with_a_killed_router_and_the_next_one_has_its_own(lab: FaultLab) -> None:
    start(lab)
    (process,) = children(lab.router.pid)
    lab.router.kill()
    await_that(lambda: has_ended(process), what="its monitor's end")
    assert start(lab).code("/metrics") == 200


def test_a_router_that_hangs_is_unhealthy(lab: FaultLab) -> None:
    monitor = start(lab)
    os.kill(lab.router.pid, signal.SIGSTOP)
    try:
        await_that(lambda: monitor.code("/healthz") == 503, what="silence")
        assert monitor.code("/metrics") == monitor.code("/readyz") == 503
    finally:
        os.kill(lab.router.pid, signal.SIGCONT)
    await_that(lambda: monitor.code("/healthz") == 200, what="it goes on")
    assert metric(monitor, "pipeline_loop_lag_seconds") >= 0


@pytest.mark.parametrize("lab", [True], ids=["keys"], indirect=True)
def test_with_keys_it_is_seen_who_has_how_much_in_flight(lab: FaultLab) -> None:
    monitor = start(lab)
    lab.start_worker("worker-1")
    group = lab.group()
    group.ask(*lab.requests(3, "sleep 2"))
    await_that(
        lambda: (
            json.loads(monitor.body("/status.json"))["clients"]
            == {"clients": {"running": 2, "waiting": 1}}
        ),
        what="who asks for how much",
    )
    assert b'"clients"' not in monitor.body("/metrics")
    group.wait()
    lab.judge()


def test_off_loopback_it_takes_a_token(lab: FaultLab) -> None:
    file = lab.folder / "token"
    file.write_text("a-token-of-some-length\n")
    file.chmod(0o600)
    router = lab.start_router("--monitor", "0.0.0.0:0", "--monitor-token", str(file))
    monitor = Monitor(int(router.wait_for(r"listening on http://0.0.0.0:(\d+) \(monitor\)")[1]))
    await_that(lambda: monitor.code("/healthz") == 200, what="a first snapshot")
    assert monitor.code("/metrics") == monitor.code("/status.json") == 401
    shown = "Authorization: Bearer a-token-of-some-length"
    assert monitor.code("/metrics", shown, host="router.internal") == 200
    environment = Path(f"/proc/{children(router.pid)[0]}/environ").read_bytes()
    command = Path(f"/proc/{children(router.pid)[0]}/cmdline").read_bytes()
    assert b"a-token" not in environment + command
    assert "--insecure" not in router.output()


def test_insecure_is_said_at_each_start(lab: FaultLab) -> None:
    router = lab.start_router("--monitor", "0.0.0.0:0", "--insecure")
    monitor = Monitor(int(router.wait_for(r"listening on http://0.0.0.0:(\d+) \(monitor\)")[1]))
    await_that(lambda: monitor.code("/metrics", host="any.example") == 200, what="metrics")
    router.wait_for("can read who works here")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--monitor", "0.0.0.0:0"), "--monitor-token"),
        (("--monitor", "9101"), "no IP address and port"),
        (("--monitor", "127.0.0.1:0", "--monitor-token", "/nowhere"), "No such file"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(
    lab: FaultLab, options: tuple[str, ...], words: str
) -> None:
    router = lab.own.start(
        "router",
        str(BIN / "pipeline-router"),
        str(lab.config),
        "--seed",
        str(lab.write_seed()),
        *options,
    )
    assert router.wait(paced(20)) == 2
    assert words in router.output()


def test_promtool_takes_the_metrics(lab: FaultLab) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "Debian's package prometheus is missing: ./dev test installs it"
    monitor = start(lab)
    lab.start_worker("worker-1")
    lab.deploy("broken-1")
    group = lab.group()
    group.ask(*lab.requests(2))
    group.wait()
    await_metric(monitor, 1, "pipeline_unready_versions", *RUBY)
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=monitor.body("/metrics"),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
