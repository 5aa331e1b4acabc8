"""Which runtime a program is, what each does in its own way, and where one cannot be used."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_containers.errors import RuntimeMissing, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.container.runtime import Init, Runtime, last_error
from pipeline_containers.sandbox.container.runtimes import (
    FAMILIES,
    UNKNOWN,
    Identified,
    check,
    identify,
    parse_version,
)
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

VERSIONS = {
    "runc version 1.1.5+ds1\ncommit: 1.1.5\nspec: 1.0.2-dev\n": ("runc", "1.1.5+ds1"),
    "runc version 1.3.0\nspec: 1.2.1\n": ("runc", "1.3.0"),
    "crun version 1.8.1\ncommit: f8a09\nrundir: /run/crun\n": ("crun", "1.8.1"),
    "runsc version 0.0~20221219.0\nspec: 1.0.2-dev\n": ("runsc", "0.0~20221219.0"),
    "youki version 0.5.0\n": ("youki", "0.5.0"),
    "": ("unknown", ""),
    "usage: something else\n": ("unknown", ""),
}


@pytest.mark.parametrize(("said", "expected"), VERSIONS.items())
def test_a_runtime_says_what_it_is(said: str, expected: tuple[str, str]) -> None:
    found = parse_version(said)
    assert (found.family.name, found.version) == expected
    assert str(found) == " ".join(expected).strip()


def test_what_is_not_known_well_is_called_for_all() -> None:
    for family in (UNKNOWN, parse_version("youki version 0.5.0").family):
        assert (family.state_file, family.fifo) == ("", "")


@pytest.mark.parametrize(
    ("name", "v1", "v2", "why"),
    [
        ("runc", True, True, ""),
        ("runc", True, False, ""),
        ("runc", False, True, ""),
        ("crun", False, True, ""),
        ("crun", True, True, "this is a hybrid host, with cgroups of both versions: use --runtime"),
        ("crun", True, False, "this is version 1: use --runtime runc, or boot with systemd.unif"),
        ("runsc", False, True, "runsc cannot be used: gVisor .*; use --runtime runc"),
    ],
)
def test_where_a_runtime_cannot_be_used_is_said_in_words(
    name: str, v1: bool, v2: bool, why: str
) -> None:
    runtime = Identified(FAMILIES[name], "1")
    if not why:
        check(runtime, has_version_1=v1, has_version_2=v2)
        return
    with pytest.raises(SandboxError, match=why):
        check(runtime, has_version_1=v1, has_version_2=v2)


LOGS = {
    '{"level":"warning","msg":"w"}\n{"level":"error","msg":"why","time":"t"}\n': "why",
    '{"msg":"mount `proc`: Operation not permitted","level":"error"}\n': "mount `proc`: Oper",
    "no json\n": "its log says nothing",
    "": "its log says nothing",
}


@pytest.mark.parametrize(("log", "error"), LOGS.items())
def test_the_error_is_taken_from_the_log(tmp_path: Path, log: str, error: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_error(tmp_path / "log").startswith(error)


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(RuntimeMissing, match="no-such-runc is not on PATH"):
        identify("no-such-runc")


@pytest.mark.parametrize("family", ["runc", "crun"])
def test_one_that_died_is_not_started(tmp_path: Path, family: str) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a/exec.fifo")
    runtime = Runtime(tmp_path, "false", FAMILIES[family])
    child = os.fork()
    if child == 0:
        os._exit(0)
    init = Init(child)
    try:
        with pytest.raises(SandboxError, match=r"a died before|a cannot be started"):
            runtime.start("a", init, tmp_path)
    finally:
        os.waitpid(child, 0)
        init.close()


@pytest.mark.parametrize("family", ["runc", "crun"])
def test_a_byte_goes_the_way_that_the_runtime_knows(tmp_path: Path, family: str) -> None:
    (tmp_path / "a").mkdir()
    fifo = tmp_path / "a/exec.fifo"
    os.mkfifo(fifo)
    passed = []

    def wait_to_be_started() -> None:
        if FAMILIES[family].init_reads_fifo:
            passed.append(fifo.read_bytes())
        else:
            fifo.write_bytes(b"0")

    waiting = threading.Thread(target=wait_to_be_started)
    init = Init(os.getpid())
    waiting.start()
    try:
        while True:
            try:
                Runtime(tmp_path, "false", FAMILIES[family]).start("a", init, tmp_path)
                break
            except SandboxError:  # the other end is not open yet
                assert waiting.is_alive()
        waiting.join()
    finally:
        init.close()
    assert not fifo.exists()
    assert passed == ([b"\0"] if family == "crun" else [])


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["runc", "crun"])
def test_each_runtime_runs_jobs_or_says_why_not_here(
    name: str,
    open_sandbox: Callable[..., Sandbox],
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
    traces: Callable[[Path], list[str]],
) -> None:
    assert shutil.which(name), "the tests install it"
    mounts = find_cgroup_mounts()
    if name == "crun" and "memory" in mounts:
        with pytest.raises(SandboxError, match="crun needs version 2 of cgroups"):
            open_sandbox(runtime=name)
        return
    assert name == "runc" or UNIFIED in mounts
    image = make_image(
        'case $1 in end) echo {} > "$3/results.json" ;; memory) tail /dev/zero ;; *) sleep 60 ;; '
        "esac"
    )
    tool = TOOLS["test_runner"]
    limits = replace(quick_limits, memory_bytes=32 << 20)
    with open_sandbox(runtime=name, warm=1) as sandbox:
        assert sandbox.facts()["runtime"].startswith(name)
        for slug, ending in (("end", Ending.EXITED), ("memory", Ending.MEMORY_LIMIT)):
            for is_warm in (False, True):
                if is_warm:
                    sandbox.settle()
                report = sandbox.run(ToolRun(image, tool, slug, lambda _: None, limits))
                assert (report.ending, report.usage.cpu_s is not None) == (ending, True), report
        short = replace(limits, wall_s=0.3)
        report = sandbox.run(ToolRun(image, tool, "long", lambda _: None, short))
        assert report.ending is Ending.TIMED_OUT
        sandbox.forget(image.digest)
        sandbox.settle()
        assert traces(sandbox.folder) == []
