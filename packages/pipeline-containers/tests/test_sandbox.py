"""Runs with the real runtime: what an honest tool may do, and how its run is accounted for."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.pace import paced
from support.runtime import LAUNCHER

from pipeline_containers.errors import ImageInvalid, RuntimeMissing, SandboxError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.images.mounted import mounted_images
from pipeline_containers.sandbox.container.runtime import Runtime, watch_orphans
from pipeline_containers.sandbox.host.enforcement import most_processes, processes_of_jobs
from pipeline_containers.sandbox.launcher.native import NativeRuntime
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

pytestmark = pytest.mark.e2e

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
NOT_MADE = r"create failed|cannot be made"
"""In the words of the runtime, and of the native launcher."""
Run = Callable[..., RunReport]
MakeImage = Callable[..., StoredImage]


def test_a_tool_gets_its_slug_its_files_and_its_folder(run: Run) -> None:
    report = run(
        f'echo "$0 $1 $2 $3 $(pwd)"; cat "$2/two_fer.rb" >&2; {PASS}',
        files={"two_fer.rb": "puts 1"},
    )
    assert report.succeeded
    assert report.ending is Ending.EXITED
    assert report.exit_status == 0
    arguments = "two-fer /mnt/exercism-iteration/ /mnt/exercism-iteration/"
    assert report.stdout == f"/opt/test-runner/bin/run.sh {arguments} /opt/test-runner\n"
    assert report.stderr == "puts 1"
    assert report.outputs == {"version": 2, "status": "pass", "tests": []}
    assert report.which_limit == ""


def test_usage_and_timing_are_told(run: Run) -> None:
    report = run(f"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo hi; {PASS}")
    usage = report.usage
    assert usage.cpu_s is not None
    assert usage.cpu_s > 0.02
    assert usage.peak_memory_bytes is not None
    assert usage.peak_memory_bytes > 500_000
    assert (usage.oom_kills, usage.stdout_bytes, usage.stderr_bytes) == (0, 3, 0)
    assert usage.peak_pids is None or usage.peak_pids > 1
    phases = {"prepare_s", "fill_s", "create_s", "run_s", "collect_s"}
    assert set(report.timing) == phases


def test_every_kind_of_tool(run: Run) -> None:
    analysis = run(
        'echo \'{"comments": []}\' > $3/analysis.json; echo \'{"tags": ["a"]}\' > $3/tags.json',
        kind="analyser",
    )
    assert analysis.outputs == {"analysis": {"comments": []}, "tags": {"tags": ["a"]}}
    recommended = run("echo '[1]' > $3/recommendations.json", kind="recommender")
    assert recommended.outputs == {"recommendations": [1]}
    represented = run(
        "echo 'x = 1' > $3/representation.txt; echo '{\"x\": \"y\"}' > $3/mapping.json",
        kind="representer",
    )
    assert represented.outputs == {
        "representation": "x = 1\n",
        "mapping": {"x": "y"},
        "representation_json": None,
    }


def test_environment_user_and_entrypoint_of_the_image_are_honoured(run: Run) -> None:
    config = ImageConfig(
        env=("BATS_RUN_SKIPPED=true", "PATH=/bin"),
        user="app",
        entrypoint=("sh", "-e", "/opt/test-runner/bin/run.sh"),
    )
    script = (
        'echo "$BATS_RUN_SKIPPED $(id -u):$(id -g) $- $(cat "$2/a/b")";'
        f'echo new >> "$2/a/b"; echo err > /dev/stderr; {PASS}'
    )
    report = run(script, config=config, files={"a/b": "input"})
    assert report.succeeded, report
    assert report.stdout.startswith("true 1000:1001 e")
    assert report.stdout.endswith("input\n")
    assert report.stderr == "err\n"


def test_a_user_that_the_image_lacks_is_an_error(run: Run) -> None:
    with pytest.raises(SandboxError, match="'nobody' is not in its /etc/passwd"):
        run(PASS, config=ImageConfig(user="nobody"))


def test_temporary_places_are_writable(run: Run) -> None:
    report = run(
        f"echo a > /tmp/x && cat /tmp/x; echo b > /dev/shm/y && cat /dev/shm/y; {PASS}",
        config=ImageConfig(user="app"),
    )
    assert report.stdout == "a\nb\n"


def test_private_files_of_the_image_can_be_read_and_nothing_is_copied(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    image = make_image(f"cat secret; stat -c %u:%g secret; {PASS}")
    secret = image.layers[0] / "opt/test-runner/secret"
    secret.write_text("0600\n")
    secret.chmod(0o600)
    kind = TOOLS["test_runner"]
    report = sandbox.run(ToolRun(image, kind, "a", lambda _: None, quick_limits))
    assert report.stdout == "0600\n0:0\n"
    assert secret.stat().st_uid == 0


def test_a_non_zero_exit_keeps_its_result_and_is_no_success(run: Run) -> None:
    report = run(f"{PASS} exit 3")
    assert (report.ending, report.exit_status, report.succeeded) == (Ending.EXITED, 3, False)
    assert report.outputs is not None
    assert run("kill -TERM $$").exit_status in (0, 128 + 15)  # init ignores it


@pytest.mark.parametrize("name", ["results.json", "results.json/as/a/folder"])
def test_what_the_input_brings_along_is_not_the_tools_result(run: Run, name: str) -> None:
    report = run("exit 0", files={name: '{"version": 2, "status": "pass", "tests": []}'})
    assert report.outputs is None
    assert not report.succeeded


def test_a_result_before_the_time_is_up_is_a_success(run: Run, quick_limits: Limits) -> None:
    report = run(f"{PASS} sleep 30", limits=replace(quick_limits, wall_s=paced(0.5)))
    assert report.ending is Ending.TIMED_OUT
    assert report.succeeded


def test_the_slug_is_an_argument_and_nothing_else(run: Run) -> None:
    report = run(f'echo "[$1]"; {PASS}', slug="$(id); --help")
    assert report.stdout == "[$(id); --help]\n"


def test_cancel(run: Run) -> None:
    event = threading.Event()
    threading.Timer(0.3, event.set).start()
    began = time.monotonic()
    report = run("sleep 30", cancelled=event)
    assert report.ending is Ending.CANCELLED
    assert time.monotonic() - began < paced(1.5)


def test_runs_in_parallel_do_not_see_each_other(run: Run) -> None:
    script = (
        f"echo $1 > /tmp/mine; echo $1 > $2/mine; sleep 0.5; cat /tmp/* $2/mine; ps | wc -l; {PASS}"
    )
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(lambda slug: run(script, slug=slug), "abcd"))
    assert time.monotonic() - began < paced(3)
    for slug, report in zip("abcd", reports, strict=True):
        assert report.stdout.split()[:2] == [slug, slug]
        assert int(report.stdout.split()[2]) < 6


def test_all_jobs_together_leave_the_host_some_processes(sandbox: Sandbox, run: Run) -> None:
    root = sandbox.cgroup_root
    folder = root.hierarchies.folder("pids", root.cgroup)
    assert folder is not None
    bound = folder / "pids.max"
    assert int(bound.read_text()) == processes_of_jobs(most_processes())
    bound.write_text("24")
    bomb = f"for _ in $(seq 40); do sleep 5 & done; ps | wc -l; kill $(jobs -p); {PASS}"
    with ThreadPoolExecutor(2) as threads:
        bombs = [threads.submit(run, bomb) for _ in range(2)]
        while any(not one.done() for one in bombs):
            assert int((folder / "pids.current").read_text()) <= 24
            time.sleep(0.01)
    for one in bombs:
        try:
            assert not one.result().succeeded
        except SandboxError:  # the other left no process to make its container with
            assert re.search(NOT_MADE, str(one.exception()))


def test_a_container_that_could_not_be_made_leaves_no_process(sandbox: Sandbox, run: Run) -> None:
    """Some of the runtime's own processes become this one's children when it fails."""
    root = sandbox.cgroup_root
    folder = root.hierarchies.folder("pids", root.cgroup)
    assert folder is not None
    with ThreadPoolExecutor(1) as thread:
        many = thread.submit(run, f"for _ in $(seq 21); do sleep {paced(2)} & done; wait; {PASS}")
        while int((folder / "pids.current").read_text()) < 22:
            assert not many.done()
            time.sleep(0.01)
        (folder / "pids.max").write_text("22")
        with pytest.raises(SandboxError, match=NOT_MADE):
            run(PASS)
        assert many.result().succeeded


def test_a_failing_fill_leaves_nothing(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise ConnectionError("the store of solutions went away")

    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", fill, quick_limits)
    with pytest.raises(ConnectionError):
        sandbox.run(run)


def test_an_image_without_the_tool_is_an_error_that_says_so(
    sandbox: Sandbox, busybox_layer: Path, quick_limits: Limits
) -> None:
    image = StoredImage("test:empty", (busybox_layer,))
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with pytest.raises(ImageInvalid, match=r"/opt/test-runner/bin/run\.sh is missing"):
        sandbox.run(run)


def test_whiteouts_are_honoured(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    lower = make_image("exit 1")
    (lower.layers[0] / "opt/test-runner/gone").write_text("still here")
    upper = make_image(f"ls; {PASS}")
    os.mknod(upper.layers[0] / "opt/test-runner/gone", 0o600 | 0o020000, 0)
    image = StoredImage("test:whiteout", (upper.layers[0], *lower.layers))
    report = sandbox.run(ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits))
    assert report.stdout == "bin\n"


def test_the_self_test_passes(sandbox: Sandbox) -> None:
    assert sandbox.self_test().succeeded
    assert sandbox.self_test().succeeded


def test_forgotten_images_are_unmounted(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    image = make_image(PASS)
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    sandbox.run(run)
    assert any((sandbox.folder / "roots").glob("*-*"))
    sandbox.forget(image.digest)
    assert not any((sandbox.folder / "roots").glob("*-*"))
    assert sandbox.run(run).succeeded


def test_a_forgotten_image_is_not_kept_by_a_container_that_is_still_there(
    sandbox: Sandbox, make_image: MakeImage, quick_limits: Limits
) -> None:
    digest = f"sha256:{hashlib.sha256(str(sandbox.folder).encode()).hexdigest()}"
    image = replace(make_image(f"sleep 1; {PASS}"), digest=digest)
    run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(sandbox.run, run)
        while not any((sandbox.folder / "jobs").glob("*/root/opt")):
            assert not running.done()
            time.sleep(0.01)
        assert digest in {mounted.digest for mounted in mounted_images()}
        sandbox.forget(digest)
        assert any((sandbox.folder / "jobs").glob("*/root/opt"))
        assert digest not in {mounted.digest for mounted in mounted_images()}
        assert running.result().succeeded


def test_a_clean_up_that_fails_is_told_and_the_result_stands(
    sandbox: Sandbox,
    make_image: MakeImage,
    quick_limits: Limits,
    troubles: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise SandboxError("its state stays")

    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    with monkeypatch.context() as patched:
        for kind in (Runtime, NativeRuntime):
            patched.setattr(kind, "forget", refuse)
        assert sandbox.run(run).succeeded
        sandbox.settle()
    (trouble,) = troubles
    assert re.fullmatch(r"job-\d+ was not cleared away: its state stays", trouble)
    sandbox.prove()
    assert sandbox.run(run).succeeded
    sandbox.settle()
    assert len(troubles) == 1


def test_a_missing_runtime_is_named(work: Path) -> None:
    with (
        pytest.raises(RuntimeMissing, match="no-such-runc is not on PATH"),
        Sandbox(work / "sandbox", runtime="no-such-runc") as sandbox,
    ):
        sandbox.self_test()


def test_without_root_or_namespaces_it_is_refused_and_not_weaker(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match=r"needs root, or namespaces of its own"):
        Sandbox(work / "sandbox")
    assert not (work / "sandbox").exists()


def test_a_folder_has_one_owner(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=f"belongs to process {os.getpid()}"):
        Sandbox(sandbox.folder)


def test_a_folder_that_containers_cannot_reach_is_refused(work: Path) -> None:
    (work / "closed").mkdir(mode=0o700)
    with pytest.raises(SandboxError, match=r"chmod go\+x"):
        Sandbox(work / "closed/sandbox")


@pytest.mark.parametrize("warm", [0, 2])
def test_what_a_dead_owner_left_is_cleared(
    warm: int,
    work: Path,
    make_image: MakeImage,
    first_host_id: int,
    open_sandbox: Callable[..., Sandbox],
    traces: Callable[[Path], list[str]],
) -> None:
    image = make_image(f"{PASS} [ $1 = quick ] || {{ echo started > $2/started; sleep 60; }}")
    options = f"cgroup_parent={f'/{work.name}'!r}, first_host_id={first_host_id}, warm={warm}"
    options += f", launcher={LAUNCHER!r}"
    program = f"""
from pathlib import Path
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
layers = tuple(map(Path, {json.dumps([str(layer) for layer in image.layers])}))
sandbox = Sandbox(Path({str(work / "sandbox")!r}), {options})
image = StoredImage("test:dead", layers)
sandbox.run(ToolRun(image, TOOLS["test_runner"], "quick", lambda folder: None))
sandbox.settle()
sandbox.run(ToolRun(image, TOOLS["test_runner"], "slow", lambda folder: None))
"""
    watch_orphans()  # the container is to become this process' own, not the first one's
    owner = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + paced(10)
    while not list((work / "sandbox").glob("jobs/*/job/started")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert traces(work / "sandbox")
    began = time.monotonic()
    with open_sandbox(launcher="runc") as sandbox:
        assert time.monotonic() - began < paced(1)
        reap_orphans()
        assert traces(sandbox.folder) == []
        assert sandbox.self_test().succeeded


def reap_orphans() -> None:
    """Wait for what the dead owner's runtime left: it has become this process' own."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
