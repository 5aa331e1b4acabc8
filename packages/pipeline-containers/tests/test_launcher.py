"""The native launcher beside runc, with real containers; its death, and plans that are none."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.pace import paced

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox import sandbox as sandbox_module
from pipeline_containers.sandbox import side_by_side
from pipeline_containers.sandbox.container.container import Container, Host
from pipeline_containers.sandbox.container.seccomp import load_filter
from pipeline_containers.sandbox.host.hierarchies import find_cgroup_mounts
from pipeline_containers.sandbox.launcher import binary, compiler, native, started
from pipeline_containers.sandbox.launcher.compiled_filter import compiled_filter
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.side_by_side import View, differences
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

pytestmark = pytest.mark.e2e

PASS = 'printf \'{"version": 1, "status": "pass"}\' > "$3results.json"'
SOURCE = binary.PLACE.with_name("launch.c")


@pytest.fixture
def own(open_sandbox: Callable[..., Sandbox], traces: Callable[[Path], list[str]]) -> Iterator[Any]:
    """A sandbox whose jobs the native launcher starts; nothing may be left of them."""
    with open_sandbox(launcher="native") as opened:
        yield opened
        opened.settle()
        assert traces(opened.folder) == []


@pytest.fixture
def hosts(own: Sandbox) -> dict[str, Host]:
    """The same, with containers by runc and by the launcher."""
    return {"runc": replace(own._host, runtime=own.runtime), "native": own._host}


@pytest.fixture
def view(own: Sandbox, hosts: dict[str, Host], busybox_layer: Path, work: Path) -> Any:
    """Look at a container of some kind, user, environment and limits, made by one of the two."""
    numbers = iter(range(10_000))

    def look(
        by: str, *, kind: str = "test_runner", limits: Limits, config: ImageConfig | None = None
    ) -> View:
        layer = work / f"look-{kind}"
        run = layer / TOOLS[kind].folder.strip("/") / "bin/run.sh"
        run.parent.mkdir(parents=True, exist_ok=True)
        run.write_text(side_by_side.SCRIPT)
        run.chmod(0o755)
        image = StoredImage(f"look:{kind}", (layer, busybox_layer), config or ImageConfig())
        recipe = own._recipe(ToolRun(image, TOOLS[kind], "a", lambda _: None, limits))
        identity = own._identities.take()
        try:
            folder = own._folders.jobs / f"look-{next(numbers)}"
            return side_by_side.look(Container(hosts[by], recipe, identity, folder))
        finally:
            own._identities.give_back(identity)

    return look


STRICT = side_by_side.KINDS_OF_LIMITS[0]
CONFIGS = {
    "nothing said": ImageConfig(),
    "a user": ImageConfig(user="app", env=("A=b", "PATH=/bin", "EMPTY=")),
    "an id and a group": ImageConfig(user="77:50", env=("HOME=/there",)),
}


@pytest.mark.parametrize(
    "limits", [STRICT, side_by_side.KINDS_OF_LIMITS[1]], ids=["strict", "loose"]
)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_both_make_the_same_container(view: Any, limits: Limits, config: ImageConfig) -> None:
    seen = [view(by, limits=limits, config=config) for by in ("runc", "native")]
    assert differences(*seen) == []
    assert seen[0].instructions


def test_so_they_do_of_every_kind(view: Any) -> None:
    for kind in TOOLS:
        seen = [view(by, kind=kind, limits=STRICT) for by in ("runc", "native")]
        assert differences(*seen) == [], kind


def test_what_is_compared_says_something(view: Any) -> None:
    """A look that saw nothing would find no difference."""
    seen = view("native", limits=STRICT).seen
    assert "Seccomp:\t2" in seen["status"]
    assert "CapBnd:\t0000000000000000" in seen["status"]
    assert "NoNewPrivs:\t1" in seen["status"]
    assert seen["host"] == "tool\n/proc/1\n"
    assert seen["host's cgroup"].count("/JOB") >= 5 or "0::" in seen["host's cgroup"]
    if "memory" in find_cgroup_mounts():
        assert int(seen["memory.limit_in_bytes"]) == STRICT.memory_bytes
    else:
        assert int(seen["memory.max"]) == STRICT.memory_bytes
        assert seen["pids.max"] == f"{STRICT.pids}\n"
        assert seen["device filter"] == "1 with flags 2"
    assert seen["new namespaces"].split() == [
        *("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts")
    ]
    assert "/proc/version" in seen["masked"]
    assert re.search("^/proc/keys 0$", seen["masked"], re.MULTILINE)
    assert re.search("^/tmp/x written$", seen["writes"], re.MULTILINE)
    assert re.search("^/x refused$", seen["writes"], re.MULTILINE)
    for name in ("tried-char", "tried-block"):
        assert seen["forbidden-devices"].count(f"/dev/{name}: Operation not permitted") == 2
    assert "/dev/tried-tun: Operation not permitted" not in seen["forbidden-devices"]
    assert re.search("^/bin/busybox mount .* 1$", seen["tries"], re.MULTILINE)
    assert len(seen["mountinfo"].splitlines()) > 15
    assert seen["environment"]
    assert seen["stderr"] == "over\n"


def test_a_difference_is_found_wherever_it_is(view: Any) -> None:
    seen = view("native", limits=STRICT)
    for name, text in seen.seen.items():
        other = View({**seen.seen, name: f"{text}\nsomething"}, seen.instructions)
        assert [found.partition(":")[0] for found in differences(seen, other)] == [name]
        lacking = View({key: text for key, text in seen.seen.items() if key != name}, None)
        wanted = {name, "filter"} if text else {"filter"}
        assert {found.partition(":")[0] for found in differences(seen, lacking)} == wanted


VALUES = st.text(st.characters(exclude_characters="\0\n"), max_size=12)
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,7}", fullmatch=True).filter(
    lambda name: name not in ("PATH", "HOME", "IFS") and not name.startswith(("PS", "LD_", "OPT"))
)
CHANGES = st.fixed_dictionaries(
    {
        "memory_bytes": st.integers(16, 128).map(lambda mib: mib << 20),
        "pids": st.integers(8, 500),
        "cpus": st.sampled_from((0.25, 0.5, 1.5)),
        "tmp_bytes": st.integers(1, 64).map(lambda mib: mib << 20),
        "job_folder_files": st.integers(20, 2000),
        "shm_bytes": st.integers(1, 64).map(lambda mib: mib << 20),
        "open_files": st.integers(300, 100_000),
        "ptrace": st.booleans(),
        "root_capabilities": st.booleans(),
        "writable_root_bytes": st.sampled_from((0, 1 << 20)),
    }
)
CONFIGURATIONS = st.builds(
    ImageConfig,
    user=st.sampled_from(("", "root", "app", "app:staff", "0:50", "65535:65535", "123")),
    env=st.dictionaries(NAMES, VALUES, max_size=5).map(
        lambda variables: tuple(f"{name}={value}" for name, value in variables.items())
    ),
)
FUZZ = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=(Phase.generate,),  # to shrink a failure takes a container a step
)


def compare(view: Any, changes: dict[str, Any], config: ImageConfig, kind: str) -> None:
    limits = replace(STRICT, **changes)
    seen = [view(by, kind=kind, limits=limits, config=config) for by in ("runc", "native")]
    assert differences(*seen) == []


@given(CHANGES, CONFIGURATIONS, st.sampled_from(sorted(TOOLS)))
@settings(FUZZ, max_examples=5)
def test_whatever_is_configured_both_do_it(
    view: Any, changes: dict[str, Any], config: ImageConfig, kind: str
) -> None:
    compare(view, changes, config, kind)


@pytest.mark.soak
@given(CHANGES, CONFIGURATIONS, st.sampled_from(sorted(TOOLS)))
@settings(FUZZ, max_examples=150)
def test_whatever_is_configured_both_do_it_for_long(
    view: Any, changes: dict[str, Any], config: ImageConfig, kind: str
) -> None:
    compare(view, changes, config, kind)


ENDINGS = {
    "exit": "exit 3",
    "its own signal": "kill -SEGV $$; kill -KILL $$; exit 9",
    "a child's signal": "sh -c 'kill -TERM $$'; exit $?",
    "a program that is none": "exec /etc/passwd",
    "output and error": "echo out; echo err >&2; exec false",
    "a closed stream": "exec 1>&-; echo x",
    "what a pipe does when nobody reads": "yes | head -n 1; trap; exit 5",
}


@pytest.fixture
def told(own: Sandbox, hosts: dict[str, Host], quick_limits: Limits) -> Callable[..., Any]:
    """Run an image's tool by one of the two; how it ended, and what it said."""

    def run(by: str, image: StoredImage) -> tuple[Any, ...]:
        own._host = hosts[by]
        report = own.run(ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits))
        return report.exit_status, report.stdout, report.stderr, report.ending

    return run


def test_a_tool_ends_as_it_does_by_runc(
    told: Callable[..., Any], make_image: Callable[..., StoredImage]
) -> None:
    for name, script in ENDINGS.items():
        image = make_image(script)
        assert told("native", image) == told("runc", image), name


HEADS = {
    "no interpreter": "#!/no/such/shell\n",
    "a format that is none": "\x00\x01\x02",
    "a folder's interpreter": "#!/bin\n",
}


def test_what_cannot_be_executed_is_told_in_the_same_words(
    told: Callable[..., Any], make_image: Callable[..., StoredImage]
) -> None:
    for name, head in HEADS.items():
        image = make_image(":")
        (image.layers[0] / "opt/test-runner/bin/run.sh").write_text(head)
        assert told("native", image) == told("runc", image), name
        assert told("native", image)[0] == 1


TYPED = b"""tty; test -t 0 && test -t 1 && test -t 2 && echo all
ls -l /dev/console /dev/pts | sed 's/[A-Z][a-z][a-z] .[0-9] [0-9:]*//'
stty -a; grep -E '^(Cap|Seccomp|NoNew|Uid|Gid|NSsid|NSpgid)' /proc/self/status
grep console /proc/self/mountinfo | cut -d' ' -f4-; ps; exit 4
"""


def test_a_shell_has_the_same_terminal(
    own: Sandbox,
    hosts: dict[str, Host],
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
) -> None:
    image, told = make_image(":"), {}
    for by, host in hosts.items():
        own._host = host
        printed: list[bytes] = []

        def attach(terminal: int, pidfd: int, printed: list[bytes] = printed) -> None:
            while b"# " not in b"".join(printed):  # it is ready
                printed.append(os.read(terminal, 65_536))
            printed.clear()
            os.write(terminal, TYPED)
            with contextlib.suppress(OSError):  # its programs are gone
                while chunk := os.read(terminal, 65_536):
                    printed.append(chunk)

        run = ToolRun(image, TOOLS["test_runner"], "a", lambda _: None, quick_limits)
        status = own.shell(run, attach)
        text = b"".join(printed).decode()
        told[by] = (status, re.sub(r"NS(sid|pgid):\t\d+|^ *\d+", "", text, flags=re.MULTILINE))
    assert told["native"] == told["runc"]
    assert told["native"][0] == 4
    assert "/dev/pts/0" in told["native"][1]
    assert "all" in told["native"][1]


@pytest.mark.parametrize("ptrace", [False, True])
def test_the_compiled_filter_is_the_one_that_runc_installs(view: Any, ptrace: bool) -> None:
    """So that it can stand in where runc's cannot be read."""
    installed = view("runc", limits=replace(STRICT, ptrace=ptrace)).instructions
    assert installed == compiled_filter(load_filter(ptrace=ptrace))


# --- death


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def test_a_launcher_that_is_killed_leaves_nothing_whenever_it_is(
    own: Sandbox,
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
    traces: Callable[[Path], list[str]],
) -> None:
    spawn = native.NativeRuntime._spawn
    delays = iter(number / 5000 for number in range(40))

    def spawn_and_kill(self: native.NativeRuntime, *given: Any) -> int:
        launcher = spawn(self, *given)
        time.sleep(next(delays))
        os.kill(launcher, signal.SIGKILL)
        return launcher

    run = ToolRun(make_image(PASS), TOOLS["test_runner"], "a", lambda _: None, quick_limits)
    own.run(run)
    outcomes = []
    with monkeypatch.context() as patched:
        patched.setattr(native.NativeRuntime, "_spawn", spawn_and_kill)
        for _ in range(40):
            try:
                outcomes.append(own.run(run).succeeded)
            except SandboxError as error:
                outcomes.append("cannot be made" not in str(error))
            own.settle()
            assert traces(own.folder) == []
    assert False in outcomes
    assert own.run(run).succeeded


def test_one_that_waits_dies_with_its_maker_and_one_that_runs_is_found(
    work: Path,
    make_image: Callable[..., StoredImage],
    first_host_id: int,
    open_sandbox: Callable[..., Sandbox],
    traces: Callable[[Path], list[str]],
) -> None:
    """What was made ahead needs no sweep to end: the pipe that it waits at does."""
    image = make_image(f"{PASS}; [ $1 = quick ] || {{ echo > $2/started; sleep 60; }}")
    layers = [str(layer) for layer in image.layers]
    program = f"""
from pathlib import Path
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
sandbox = Sandbox(Path({str(work / "sandbox")!r}), cgroup_parent={f"/{work.name}"!r},
                  first_host_id={first_host_id}, warm=2, launcher="native")
image = StoredImage("test:dead", tuple(map(Path, {json.dumps(layers)})))
for slug in ("quick", "slow"):
    sandbox.run(ToolRun(image, TOOLS["test_runner"], slug, lambda folder: None))
    sandbox.settle()
"""
    owner = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + paced(20)
    while not list((work / "sandbox").glob("jobs/*/job/started")):
        assert owner.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (running,) = [place.name.removesuffix(".pid") for place in work.glob("sandbox/runtime/*.pid")]
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    def alive() -> set[str]:
        root = Path("/sys/fs/cgroup")
        files = [*root.glob(f"*/{work.name}/*/job-*/cgroup.procs")]
        files += root.glob(f"{work.name}/*/job-*/cgroup.procs")
        return {file.parent.name for file in files if file.read_text()}

    while alive() != {running}:
        assert time.monotonic() < deadline, alive()
        time.sleep(0.02)
    with open_sandbox(launcher="runc") as sandbox:  # whoever comes after may start jobs otherwise
        while True:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            time.sleep(0.01)
        assert traces(sandbox.folder) == []


def test_another_process_with_the_number_of_a_dead_one_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "job-1.pid").write_text(f"{other.pid} 1")
        started.end(tmp_path, "job-1")
        assert other.poll() is None
        assert started.noted(tmp_path) == []
        started.note(tmp_path, "job-1", other.pid)
        started.end(tmp_path, "job-1")
        assert not Path(f"/proc/{other.pid}").exists()
    finally:
        other.kill()
        other.wait()


# --- where it cannot be used


def test_where_it_is_not_installed_auto_is_runc_and_says_why(
    open_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        sandbox_module, "open_launcher", lambda: binary.open_launcher(tmp_path / "launch")
    )
    with open_sandbox(launcher="auto") as sandbox:
        assert sandbox.launcher == "runc"
        assert any("not in this installation" in note for note in sandbox.notes())
        assert sandbox.self_test().succeeded
    with pytest.raises(SandboxError, match=r"the native launcher cannot be used here: .*not in"):
        open_sandbox(launcher="native")


def test_a_launcher_that_does_otherwise_is_not_used(
    open_sandbox: Callable[..., Sandbox],
    monkeypatch: pytest.MonkeyPatch,
    traces: Callable[[Path], list[str]],
) -> None:
    """One that gives a wrong host name, and one that forgets to hide something."""
    compile_plan = compiler.compile_plan

    def without(word: str) -> Callable[..., Any]:
        def compiled(*given: Any) -> Any:
            plan = compile_plan(*given)
            return replace(plan, inside=tuple(s for s in plan.inside if s.word != word))

        return compiled

    for word, seen in {"hostname": "host", "mask": "masked", "loopback": "network"}.items():
        with monkeypatch.context() as patched:
            patched.setattr(native, "compile_plan", without(word))
            with open_sandbox(launcher="auto") as sandbox:
                assert sandbox.launcher == "runc"
                (note,) = [note for note in sandbox.notes() if "native launcher differs" in note]
                assert f"{seen}: " in note
                sandbox.settle()
                assert traces(sandbox.folder) == []


def test_a_launcher_that_lets_containers_use_devices_is_not_used(
    open_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In version 1 and in version 2."""
    compile_plan = compiler.compile_plan

    def compiled(*given: Any) -> Any:
        plan = compile_plan(*given)
        host = (step for step in plan.host if "/devices." not in getattr(step, "path", ""))
        return replace(plan, host=tuple(host), devices=())

    monkeypatch.setattr(native, "compile_plan", compiled)
    with open_sandbox(launcher="auto") as sandbox:
        assert sandbox.launcher == "runc"
        (note,) = [note for note in sandbox.notes() if "native launcher differs" in note]
        assert "forbidden-devices: " in note
        assert "No such device or address" in note


def test_nobody_can_change_what_is_executed() -> None:
    launcher = binary.open_launcher()
    try:
        with pytest.raises(PermissionError):
            os.pwrite(launcher, b"x", 0)
        with pytest.raises(PermissionError):
            os.truncate(launcher, 0)
        assert os.pread(launcher, 1 << 24, 0) == binary.PLACE.read_bytes()
    finally:
        os.close(launcher)


def test_the_program_is_of_this_source_and_small_enough_to_be_read() -> None:
    assert binary.PLACE.stat().st_mtime >= SOURCE.stat().st_mtime, "run build-launcher"
    assert len(SOURCE.read_text().splitlines()) < 400
    headers = subprocess.run(
        ["readelf", "--program-headers", "--dynamic", str(binary.PLACE)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "INTERP" not in headers  # static
    assert "GNU_RELRO" in headers
    assert not re.search(r"GNU_STACK(\s+\S+){5}\s+\S*E", headers)
    assert "PIE" in headers


# --- plans that are none, to a program that stops at the first memory error


@pytest.fixture(scope="session")
def checked() -> Iterator[Path]:
    """The launcher with checks of the compiler's."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-launcher-"))  # pytest's own are closed
    folder.chmod(0o755)
    build = Path(__file__).parents[1] / "build-launcher"
    subprocess.run([str(build), str(folder)], check=True)
    yield folder / "launch"
    shutil.rmtree(folder)


def test_containers_by_a_checked_launcher(
    open_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, checked: Path
) -> None:
    monkeypatch.setattr(sandbox_module, "open_launcher", lambda: binary.open_launcher(checked))
    with open_sandbox(launcher="native") as sandbox:
        assert sandbox.self_test().succeeded


STEPS = (
    *("clone", "filter", "mount", "bind", "root", "folder", "link", "file", "env", "arg", "ids"),
    *("program", "group", "capabilities", "rlimit", "hostname", "mask", "readonly", "loopback"),
    *("pivot", "prove", "terminal", "keyring", "groups", "maps", "join"),
)
WORDS = st.lists(
    st.sampled_from(STEPS)
    | st.integers(-1, 1 << 65).map(str)
    | st.text(st.characters(exclude_characters="\0"), max_size=200),
    max_size=40,
).map(lambda words: "\0".join(words).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("is_ended", [False, True])
@given(plan=WORDS | st.binary(max_size=300))
@settings(FUZZ, max_examples=40)
def test_a_plan_that_is_none_is_refused(checked: Path, is_ended: bool, plan: bytes) -> None:
    """By a user with nothing to lose: a plan can be made that does something."""
    done = said_of(checked, plan + b"\0" * is_ended)
    assert done.returncode == 1, done
    assert b"Sanitizer" not in done.stderr
    assert b"runtime error" not in done.stderr


def test_a_plan_that_is_too_large_is_refused(checked: Path) -> None:
    done = said_of(checked, b"groups\0001\0" * 200_000)
    assert b"plan size" in done.stdout
    for many in (b"env\0A=b\0", b"arg\0x\0", b"program\0/x\0", b"group\0001\0"):
        plan = (
            b"groups\0000\0maps\0000 0 1\n\0000 0 1\n\0clone\000268435456\0/\00018\0" + many * 9000
        )
        done = said_of(checked, plan + b"filter\0001\000" + bytes(8))
        assert b"Sanitizer" not in done.stderr, done.stderr
        assert done.returncode == 1


def said_of(launcher: Path, plan: bytes) -> "subprocess.CompletedProcess[bytes]":
    content = os.memfd_create("plan")
    try:
        os.write(content, bytes(8) + plan)
        os.lseek(content, 8, os.SEEK_SET)
        script = f'cd / && exec 3<&{content} 4>&1 5</dev/null 6<&5 && exec "$0"'
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
        return subprocess.run(
            [*nobody, "bash", "-c", script, str(launcher)],
            stdin=subprocess.DEVNULL,
            pass_fds=(content,),
            capture_output=True,
            timeout=paced(30),
            check=False,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )
    finally:
        os.close(content)


def test_nothing_waits_in_a_plan_for_two(
    own: Sandbox, make_image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    """Containers are made by several threads at once: each is started by its own pipe."""
    image = make_image(f"echo $1; {PASS}")
    said: list[str] = []

    def go(slug: str) -> None:
        run = ToolRun(image, TOOLS["test_runner"], slug, lambda _: None, quick_limits)
        said.append(own.run(run).stdout)

    threads = [threading.Thread(target=go, args=(f"slug-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"slug-{number}\n" for number in range(8)]
