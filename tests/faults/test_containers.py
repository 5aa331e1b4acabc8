"""The real worker and real containers: a container or a worker is killed beneath a job."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.history import Asked, Terms
from faults.lab import FaultLab
from faults.waiting import await_that
from support.images import Image, Layer
from support.leftovers import find_leftovers
from support.monitors import Asked as Monitor
from support.monitors import samples
from support.processes import Process, machine

from pipeline_protocol import status

pytestmark = pytest.mark.e2e

RUN_SH = """\
#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - follows the plan, then answers with the token.
cd "$2" && sh ./plan &&
    printf '{"version": 1, "status": "pass", "token": "%s"}' "$(cat token)" > "$3/results.json"
"""
BUSYBOX = Path("/bin/busybox")


@pytest.fixture
def lab(shared_folder: Path) -> Iterator[FaultLab]:
    """Give a lab with a tool published, that containers can get through to."""
    base = Layer().file("bin/busybox", BUSYBOX.read_bytes())
    for applet in ("sh", "cat", "sleep"):
        base.link(f"bin/{applet}", "busybox")
    base.file("opt/test-runner/bin/run.sh", RUN_SH)
    with machine(shared_folder) as own:
        lab = FaultLab(own, seed=1)
        lab.terms = Terms(executions=0, journaled=False)
        try:
            image = Image((base.archive(),), {"Env": ["PATH=/bin"]})
            image.publish(shared_folder / "registry", "ruby-test-runner", "v1")
            lab.start_router()
            yield lab
        finally:
            own.stop()  # the last worker alive clears away what its containers leave
            lab.close()


def start(lab: FaultLab, name: str, topics: str = "", *options: str) -> Process:
    worker = lab.own.worker(name, f"test_runners{topics}", "--slots", "2", *options)
    lab.await_ready(name)
    return worker


def processes(asked: Asked) -> list[int]:
    """Find the processes in its container that were told its id for a slug."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if asked.id.encode() in command and any(b"run.sh" in word for word in command):
                found.append(int(entry.name))
    return found


def request(lab: FaultLab, plan: str, **fields: object) -> Asked:
    return lab.request(plan, exercise_slug=f"run-{lab.asked + 1}", **fields)  # type: ignore[arg-type]


def test_a_container_that_is_killed_is_a_513_and_its_neighbour_is_not(lab: FaultLab) -> None:
    start(lab, "worker-1")
    group = lab.group()
    killed = request(lab, "sleep 30", codes=[status.TOOL_FAILED])
    neighbour = request(lab, "until [ -e stop ]; do sleep 0.1; done")
    group.ask(killed, neighbour)
    await_that(lambda: processes(killed) and processes(neighbour), what="both running")
    for pid in processes(killed):
        os.kill(pid, signal.SIGKILL)
    Path(f"/proc/{processes(neighbour)[0]}/cwd/stop").touch()
    group.wait()
    assert killed.reply.context.exit_status == 128 + signal.SIGKILL
    group.ask(request(lab, "true"))
    lab.judge()


def test_a_workers_monitor_shows_its_runs_and_goes_through_its_restart(lab: FaultLab) -> None:
    worker = start(lab, "worker-1", "", "--monitor", "127.0.0.1:0")
    monitor = Monitor(int(worker.wait_for(r"listening on http://\S+:(\d+) \(monitor\)")[1]))
    await_that(lambda: monitor.code("/readyz") == 200, what="it serves")
    group = lab.group()
    for _ in range(3):
        group.ask(request(lab, "true"))
        group.wait()
    group.ask(request(lab, "exit 1", codes=[status.TOOL_FAILED]))
    group.wait()

    def shown() -> dict[str, dict[tuple[str, ...], float]]:
        return samples(monitor.body("/metrics"))

    jobs = {("200",): 3.0, ("513",): 1.0}
    await_that(lambda: shown().get("pipeline_worker_jobs_total") == jobs, what="its jobs")
    found = shown()
    assert found["pipeline_worker_runs_total"]["exited",] == 4
    assert sum(found["pipeline_worker_containers_total"].values()) == 4
    assert found["pipeline_worker_setup_seconds_count"][()] == 4
    assert found["pipeline_worker_prepares_total"]["ready",] == 1
    assert found["pipeline_worker_disk_free_bytes"][()] > 0
    assert found["process_resident_memory_bytes"][()] > 10_000_000
    lab.say({"action": "restart_workers"})
    worker.wait_for("bootstrapping again")
    lab.await_ready("worker-1")
    group.ask(request(lab, "true"))
    group.wait()
    jobs = {("200",): 4.0, ("513",): 1.0}
    await_that(lambda: shown().get("pipeline_worker_jobs_total") == jobs, what="its jobs again")
    await_that(lambda: monitor.code("/readyz") == 200, what="it serves again")
    lab.judge()


@pytest.mark.soak
def test_a_worker_killed_mid_job_has_it_done_by_another_and_leaves_nothing(lab: FaultLab) -> None:
    killed = start(lab, "scoped", "?topic=ruby")
    other = start(lab, "generic")
    group = lab.group()
    asked = [request(lab, "sleep 1.5") for _ in range(2)]
    group.ask(*asked)
    await_that(lambda: all(processes(one) for one in asked), what="both running")
    killed.kill()
    group.wait()
    assert [(one.reply.context.worker, one.reply.context.attempt) for one in asked] == [
        ("generic", 2)
    ] * 2
    again = start(lab, "scoped", "?topic=ruby")
    after = request(lab, "true")
    group.ask(after)
    group.wait()
    assert after.reply.context.worker == "scoped"
    assert again.stop() == 0
    assert other.stop() == 0
    lab.judge()
    assert not find_leftovers(lab.folder)
