"""What a kind or a track may be given beside: each by the programs that need it."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.host.yama import lets_jobs_trace
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import MIB

pytestmark = pytest.mark.e2e

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
Run = Callable[..., RunReport]

PROGRAM = """\
#include <stdio.h>
#include <stdlib.h>
int *leaked;
/* many, for the last one's address may still be in a register when the check looks */
__attribute__((noinline)) void take(void)
{
    for (int count = 0; count < 100; count++)
        leaked = malloc(4);
}
__attribute__((noinline)) int twice(int number) { return 2 * number; }
int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        take();
    leaked = malloc(4);
    printf("twice is %d\\n", twice(21));
    fflush(stdout);
    return 0;
}
"""
BUILDS = {"plain": (), "checked": ("-fsanitize=address", "-static-libasan")}
PROGRAMS = ("gdb", "strace", "tar", "cp", "install")


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """A layer with the distribution's programs, and one of ours with and without checks."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-programs-"))
    folder.chmod(0o755)
    (folder / "usr/bin").mkdir(parents=True)
    source = folder / "program.c"
    source.write_text(PROGRAM)
    for name, options in BUILDS.items():
        program = str(folder / "usr/bin" / name)
        subprocess.run(["gcc", "-g", *options, "-o", program, str(source)], check=True)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, f"{name} is missing: run ./dev test, which installs it"
        shutil.copy(found, folder / "usr/bin" / name)
    for file in (folder / "usr/bin").iterdir():
        for library in libraries(file):
            place = folder / library.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    for python in re.findall(r"libpython(3\.\d+)", str(libraries(folder / "usr/bin/gdb"))):
        shutil.copytree(  # which does not start without
            f"/usr/lib/python{python}",
            folder / f"usr/lib/python{python}",
            ignore=shutil.ignore_patterns("*-packages", "test", "__pycache__", "config-*"),
        )
    yield folder
    shutil.rmtree(folder)


def libraries(program: Path) -> list[Path]:
    """List what a program is linked with, the loader too."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", said.stdout)]


@pytest.fixture
def call(
    sandbox: Sandbox,
    make_image: Callable[..., StoredImage],
    programs: Path,
    quick_limits: Limits,
) -> Run:
    """Run a script as a tool of an image with these programs."""

    def do(script: str, env: tuple[str, ...] = (), **loosened: Any) -> RunReport:
        image = make_image(f"{script}\n{PASS}", config=ImageConfig(env=env))
        image = replace(image, layers=(*image.layers, programs))
        limits = replace(quick_limits, memory_bytes=512 * MIB, **loosened)
        return sandbox.run(ToolRun(image, TOOLS["test_runner"], "x", lambda _: None, limits))

    return do


def test_a_clean_program_is_not_failed_by_its_leak_check(call: Run) -> None:
    report = call("checked; echo status $?")
    assert report.stdout == "twice is 42\nstatus 0\n", report.stderr


def test_other_options_of_an_image_stay(call: Run) -> None:
    script = "checked; echo status $?; echo $ASAN_OPTIONS"
    report = call(script, env=("ASAN_OPTIONS=exitcode=7",))
    assert report.stdout == "twice is 42\nstatus 0\nexitcode=7:detect_leaks=0\n", report.stderr


def test_an_image_that_wants_the_leak_check_has_it(call: Run) -> None:
    report = call("checked; echo status $?", env=("ASAN_OPTIONS=detect_leaks=1",))
    assert "status 1" in report.stdout
    assert "LeakSanitizer has encountered a fatal error" in report.stderr


@pytest.mark.skipif(not lets_jobs_trace(), reason="this host's Yama lets nobody trace")
def test_leaks_are_found(call: Run) -> None:
    report = call("checked; echo status $?; checked leak; echo status $?", ptrace=True)
    assert report.stdout == "twice is 42\nstatus 0\ntwice is 42\nstatus 1\n", report.stderr
    assert "detected memory leaks" in report.stderr


@pytest.mark.skipif(not lets_jobs_trace(), reason="this host's Yama lets nobody trace")
def test_debuggers_work(call: Run) -> None:
    stops = "-ex 'break twice' -ex run -ex 'print number' -ex 'continue'"
    script = f"gdb -nx --batch {stops} usr/bin/plain 2>&1; strace -f -e trace=write usr/bin/plain"
    report = call(f"cd /; {script}", ptrace=True)
    assert "$1 = 21" in report.stdout, report
    assert 'write(1, "twice is 42\\n", 12' in report.stderr


def test_debuggers_do_not_work_unless_it_is_said(call: Run) -> None:
    report = call("cd /; strace usr/bin/plain; gdb -nx --batch -ex run usr/bin/plain 2>&1")
    assert "PTRACE_TRACEME" in report.stderr + report.stdout
    assert "twice is" not in report.stdout


FILE_RIGHTS = """\
mkdir a && echo kept > a/file && chown -R 7:8 a && tar c -f a.tar a && rm -r a
tar x -p -f a.tar && stat -c '%u:%g' a/file
cp -a a b && stat -c '%u:%g' b/file
install -o 9 -g 10 -m 4711 a/file c && stat -c '%u:%g %a' c
chmod 0 a && ls a
touch d && chown 65535:65535 d && stat -c '%u:%g' d
chown 65536 d || echo not mapped
"""


def test_root_has_a_containers_usual_rights_over_files_if_it_is_said(call: Run) -> None:
    script = f"cd $2; {FILE_RIGHTS}"
    report = call(script, root_capabilities=True)
    assert report.succeeded, report
    assert report.stdout.split("\n") == [
        *("7:8", "7:8", "9:10 4711", "file", "65535:65535", "not mapped", ""),
    ], report.stderr
    assert "Operation not permitted" in call(script).stderr


@pytest.mark.parametrize("user", ["root", "0:50", "app"])
def test_only_root_has_them(run: Run, quick_limits: Limits, user: str) -> None:
    script = f"grep -E '^Cap|^NoNew' /proc/self/status; {PASS}"
    limits = replace(quick_limits, root_capabilities=True)
    report = run(script, limits=limits, config=ImageConfig(user=user))
    held = re.findall(r"^Cap(\w+):\s+([0-9a-f]{16})$", report.stdout, re.MULTILINE)
    six = f"{sum(1 << number for number in (0, 1, 3, 4, 6, 7)):016x}"
    none = "0" * 16
    own = none if user == "app" else six
    assert dict(held) == {"Inh": none, "Prm": own, "Eff": own, "Bnd": own, "Amb": none}
    assert "NoNewPrivs:\t1" in report.stdout


def test_a_result_that_is_another_users_is_read(run: Run, quick_limits: Limits) -> None:
    """And cleared away, as `sandbox` sees when it closes."""
    script = (
        f"{PASS}\ncd $2; mkdir closed; touch closed/x; chown -R 4711:4712 .; chmod 0 . closed *"
    )
    report = run(script, limits=replace(quick_limits, root_capabilities=True))
    assert report.succeeded, report


WRITES = """\
echo new > /new && mkdir -p /var/cache/a && echo x > /var/cache/a/x
rm /etc/group && ln -s passwd /etc/group && grep -c . /etc/group
echo '# more' >> /etc/passwd && tail -n 1 /etc/passwd
cd /opt/test-runner && mv bin other && mkdir bin && ls -A
rm -r /etc && mkdir /etc && ls -A /etc
chmod 700 /bin/busybox && stat -c '%a %u' /bin/busybox
"""


@pytest.fixture
def writable(quick_limits: Limits) -> Limits:
    """Room to write over the image's files."""
    return replace(quick_limits, writable_root_bytes=8 * MIB)


def test_an_image_is_written_over_for_one_job(
    sandbox: Sandbox, make_image: Callable[..., StoredImage], writable: Limits
) -> None:
    image = make_image(f"{WRITES}\n{PASS}")
    before = files_of(image)
    for _ in range(2):
        tool = ToolRun(image, TOOLS["test_runner"], "x", lambda _: None, writable)
        report = sandbox.run(tool)
        assert report.succeeded, report
        assert report.stderr == ""
        assert report.stdout.splitlines() == ["2", "# more", "bin", "other", "700 0"]
    assert before == files_of(image)


def files_of(image: StoredImage) -> dict[Path, tuple[float, ...]]:
    """Say what an image's files are like, but for when they were read."""
    found: dict[Path, tuple[float, ...]] = {}
    for layer in image.layers:
        for path in layer.rglob("*"):
            status = path.lstat()
            owner = (status.st_uid, status.st_gid)
            found[path] = (status.st_ino, status.st_mode, *owner, status.st_size, status.st_mtime)
    return found


def test_others_than_root_write_where_their_image_lets_them(run: Run, writable: Limits) -> None:
    script = f"echo x > /new; id -u; stat -c %u /; {PASS}"
    report = run(script, limits=writable, config=ImageConfig(user="app"))
    assert report.succeeded, report
    assert report.stdout == "1000\n0\n"
    assert "/new: Permission denied" in report.stderr


@pytest.mark.parametrize(
    "fills",
    [
        "head -c 9m /dev/zero > /big",
        "exec 9> /big; rm /big; head -c 9m /dev/zero >&9; sleep 0.5; false",
        "cd /bin; for i in 1 2 3 4 5 6 7 8 9; do cp busybox b$i || exit 1; done",
        "for i in 1 2 3 4 5 6 7 8 9; do mkdir /d$i; cp /bin/busybox /d$i || exit 1; done",
        "i=0; while [ $i -lt 2000 ]; do true > /f$i || exit 1; i=$((i+1)); done",
        "i=0; while [ $i -lt 2000 ]; do ln /etc/passwd /f$i || exit 1; i=$((i+1)); done",
    ],
)
def test_what_is_written_over_an_image_is_capped_and_named(
    run: Run, writable: Limits, fills: str
) -> None:
    report = run(f"{fills}\nexit 1", limits=writable)
    assert report.ending is Ending.DISK_LIMIT, report
    assert report.which_limit == f"writable root of {8 * MIB} bytes and 1000 files"


def test_what_is_written_over_an_image_is_the_jobs_memory(run: Run, writable: Limits) -> None:
    small = replace(writable, memory_bytes=24 * MIB, writable_root_bytes=256 * MIB)
    report = run("head -c 64m /dev/zero > /big", limits=small)
    assert report.ending is Ending.MEMORY_LIMIT, report
    fitting = run(f"head -c 6m /dev/zero > /big; {PASS}", limits=writable)
    assert fitting.succeeded, fitting
    assert (fitting.usage.peak_memory_bytes or 0) > 6 * MIB


def test_a_container_that_waits_has_room_to_write_too(
    open_sandbox: Callable[..., Sandbox],
    make_image: Callable[..., StoredImage],
    writable: Limits,
) -> None:
    image = make_image(f"echo x > /new && cat /new; {PASS}")
    tool = ToolRun(image, TOOLS["test_runner"], "x", lambda _: None, writable)
    with open_sandbox(2) as warm:
        warm.run(tool)
        warm.settle()
        report = warm.run(tool)
        assert report.was_made_ahead
        assert report.stdout == "x\n", report
        warm.settle()
        other = warm.run(replace(tool, limits=replace(writable, writable_root_bytes=4 * MIB)))
        assert not other.was_made_ahead
