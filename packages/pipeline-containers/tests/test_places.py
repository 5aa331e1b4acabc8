"""Where a tool can write although its root is read-only: HOME, and its image's VOLUMEs."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_containers.errors import ImageInvalid
from pipeline_containers.images.image import ImageConfig, StoredImage, parse_config
from pipeline_containers.sandbox.container import roots
from pipeline_containers.sandbox.container.layers import LayerIds
from pipeline_containers.sandbox.container.places import (
    Home,
    VolumePlan,
    WritablePlace,
    find_home,
    plan_volumes,
    with_home,
)
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import MIB

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
Run = Callable[..., RunReport]
OWN = os.getuid(), os.getgid()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder with some of everything."""
    for folder in ("etc", "data/full", "data/empty", "home/app", "closed", "run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data/full/file").touch()
    (tmp_path / "data/full").chmod(0o550)
    (tmp_path / "closed").chmod(0o500)
    (tmp_path / "etc/passwd").touch()
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "out").symlink_to("/var")
    return tmp_path


def test_volumes_of_every_kind(root: Path) -> None:
    volumes = ("/data/empty", "/data/full/", "/new/deep/er", "/new/deep/er", "/data/none")
    assert plan_volumes(root, volumes) == VolumePlan(
        (
            WritablePlace("/data/empty", 0o755, False),
            WritablePlace("/data/full", 0o750, True),
            WritablePlace("/data/none", 0o755, False),
            WritablePlace("/new/deep/er", 0o755, False),
        ),
        ("/data/none", "/new", "/new/deep", "/new/deep/er"),
    )


def test_volumes_in_volumes_are_part_of_them(root: Path) -> None:
    assert plan_volumes(root, ("/data", "/data/new/er", "/data/full", "/datum")) == VolumePlan(
        (WritablePlace("/data", 0o755, True), WritablePlace("/datum", 0o755, False)),
        ("/data/new", "/data/new/er", "/datum"),
    )
    empty = plan_volumes(root, ("/run", "/run/new"))
    assert empty.places == (WritablePlace("/run", 0o755, True),), (
        "what was made for the other is in it"
    )


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ("/", "is the whole root"),
        ("", "is the whole root"),
        ("data", "no absolute path"),
        ("/data/../proc", "no absolute path"),
        ("/data/./x", "no absolute path"),
        ("//data", "no absolute path"),
        ("/data//x", "no absolute path"),
        ("/" + "x" * 1000, "no path that can be bound"),
        ("/da\nta", "no path that can be bound"),
        ("/da\x1bta", "no path that can be bound"),
        ("/" + "x" * 300, "cannot be opened"),
        ("/proc", "in the way of /proc"),
        ("/proc/sys", "in the way of /proc"),
        ("/sys/fs/cgroup", "in the way of /sys"),
        ("/dev", "in the way of /dev"),
        ("/dev/shm", "in the way of /dev"),
        ("/tmp", "in the way of /tmp"),
        ("/tmp/cache", "in the way of /tmp"),
        ("/mnt", "in the way of /mnt/exercism-iteration"),
        ("/mnt/exercism-iteration", "in the way of"),
        ("/mnt/exercism-iteration/x", "in the way of"),
        ("/etc/hosts", "in the way of /etc/hosts"),
        ("/etc/hostname/x", "in the way of /etc/hostname"),
        ("/etc/passwd", "cannot be opened"),
        ("/etc/passwd/x", "cannot be opened"),
        ("/link", "link is a link"),
        ("/link/empty", "is a link"),
        ("/link/new", "is a link"),
        ("/out/new", "is a link"),
    ],
)
def test_volumes_that_cannot_be(root: Path, volume: str, why: str) -> None:
    plan = plan_volumes(root, (volume, "/data/empty"))
    assert plan.places == (WritablePlace("/data/empty", 0o755, False),)
    assert plan.missing == ()
    (said,) = plan.passed_over
    assert why in said
    assert said.isprintable()


def home(root: Path, named: str, user: User | None = None, **changes: object) -> Home:
    values = {
        "places": (WritablePlace("/data", 0o755, True),),
        "is_root_writable": False,
        "passes_over_modes": False,
        "owner": OWN,
        **changes,
    }
    return find_home(root, (f"HOME={named}",), user or User(), **values)  # type: ignore[arg-type]


def test_a_home_that_can_be_written_to_stays(root: Path) -> None:
    assert home(root, "/home/app") == Home("/home/app", WritablePlace("/home/app", 0o755, False))
    assert home(root, "/home") == Home("/home", WritablePlace("/home", 0o755, True))
    assert home(root, "/home/app/", is_root_writable=True) == Home("/home/app")
    for writable in ("/tmp", "/dev/shm", "/mnt/exercism-iteration", "/data", "/data/empty"):
        assert home(root, writable) == Home(writable)
    assert home(root, "", User(home="/home/app")).path == "/home/app", "by its passwd"
    assert home(root, "/etc", User(home="/home/app")).path == "/etc", "the environment first"


@pytest.mark.parametrize(
    "named",
    [
        *("/", "/none", "/link", "/link/empty", "/out", "relative", "/proc", "/dev", "/tmp/none"),
        *("/mnt", "/etc/passwd", "/home/../etc", "/closed", "/data/full", "/da\nta"),
    ],
)
def test_a_home_that_cannot_is_in_tmp(root: Path, named: str) -> None:
    assert home(root, named) == Home("/tmp/home")
    assert home(root, named, is_root_writable=True) == Home("/tmp/home")


def test_modes_say_who_can_write_to_a_home(root: Path) -> None:
    other, group = (OWN[0] + 1, OWN[1] + 1), (OWN[0] + 1, OWN[1])
    for mode, owner, stays in (
        (0o755, other, False),
        (0o757, other, True),
        (0o775, group, True),
        (0o755, group, False),
        (0o057, OWN, False),
        (0o500, OWN, False),
    ):
        (root / "home/app").chmod(mode)
        assert (home(root, "/home/app", owner=owner).path == "/home/app") is stays, (mode, owner)
        assert home(root, "/home/app", owner=owner, passes_over_modes=True).path == "/home/app"


def test_what_lies_in_home_is_bound_with_it() -> None:
    outer, inner, beside = (WritablePlace(path, 0o755, False) for path in ("/h", "/h/cache", "/ha"))
    assert with_home((inner, beside), Home("/h", outer)) == (outer, beside)
    assert with_home((inner, beside), Home("/tmp/home")) == (inner, beside)


def test_an_image_has_so_many_volumes_and_no_more() -> None:
    volumes: dict[str, object] = {f"/{number}": {} for number in range(33)}
    with pytest.raises(ImageInvalid, match="33 entries of Volumes, and 32 are allowed"):
        parse_config({"config": {"Volumes": volumes}})
    volumes.popitem()
    assert parse_config({"config": {"Volumes": volumes}}).volumes == tuple(volumes)
    for odd in (None, [], ["/data"], "/data", 7):
        assert parse_config({"config": {"Volumes": odd}}).volumes == ()


# --- in containers

LOOK = 'stat -c "%n %u:%g %a" $HOME /data /deep/new /full; ls -A /data /deep/new /full $HOME;'
WRITE = "for p in $HOME /data /deep/new /full; do echo x > $p/new || exit 1; done; cat /full/kept;"


@pytest.fixture
def image(make_image: Callable[..., StoredImage]) -> Callable[..., StoredImage]:
    """Make an image with VOLUMEs and a HOME."""

    def make(script: str, user: str = "") -> StoredImage:
        volumes = ("/data", "/deep/new", "/full", "/proc", "/link/x")
        made = make_image(
            f"{script} {PASS}", config=ImageConfig(volumes=volumes, env=("A=b",), user=user)
        )
        layer = made.layers[0]
        for folder in ("data", "deep", "full", "root", "elsewhere"):
            (layer / folder).mkdir()
        (layer / "full/kept").write_text("kept\n")
        (layer / "root/.profile").write_text("mine\n")
        (layer / "link").symlink_to("elsewhere")
        (layer / "deep").chmod(0o751)
        os.chown(layer / "deep", 7, 8)
        for path in ("root", "root/.profile"):
            os.chown(layer / path, 0, 0)
        return made

    return make


@pytest.fixture(params=LayerIds)
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have layers' ids mapped, or given."""
    monkeypatch.setattr(roots, "find_layer_ids", lambda *_: (request.param, "the test says so"))


@pytest.mark.e2e
@pytest.mark.usefixtures("either_way")
def test_volumes_and_home_are_written_to_and_gone(
    work: Path,
    open_sandbox: Callable[..., Sandbox],
    image: Callable[..., StoredImage],
    quick_limits: Limits,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = image(f"{LOOK} {WRITE} cat $HOME/.profile; echo x > /deep/x; stat -c '%u:%g %a' /deep;")
    # as a store has it: only such layers are given to other ids; busybox' are all tests'
    own = work / "busybox"
    shutil.copytree(made.layers[1], own, symlinks=True)
    made = replace(made, digest="sha256:" + "5" * 64, layers=(made.layers[0], own))
    tool = ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, quick_limits)
    with open_sandbox() as sandbox:
        for _ in range(2):
            report = sandbox.run(tool)
            assert report.succeeded, report
            looked = [
                *("/root 0:0 755", "/data 0:0 755", "/deep/new 0:0 755", "/full 0:0 755"),
                *("/data:", "", "/deep/new:", "", "/full:", "kept", "", "/root:", ".profile"),
            ]
            assert report.stdout.splitlines() == [*looked, "kept", "mine", "7:8 751"]
            assert "/deep/x: Read-only file system" in report.stderr
    assert sorted((made.layers[0] / "full").iterdir()) == [made.layers[0] / "full/kept"]
    assert list((made.layers[0] / "elsewhere").iterdir()) == []
    passed_over = [line for line in caplog.messages if "VOLUME" in line]
    assert len(passed_over) == 2, "once for an image, not for a job"
    assert passed_over[0].endswith("'/link/x': link/x is a link")


@pytest.mark.e2e
def test_they_are_the_users(
    run: Run, sandbox: Sandbox, image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    made = image(f"{LOOK} {WRITE}", user="app")
    report = sandbox.run(ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, quick_limits))
    assert report.succeeded, report
    assert report.stdout.splitlines()[:4] == [
        *("/tmp/home 1000:1001 755", "/data 1000:1001 755"),
        *("/deep/new 1000:1001 755", "/full 1000:1001 755"),
    ]


@pytest.mark.e2e
@pytest.mark.parametrize(
    "fills",
    [
        "for p in /data /full /root; do head -c 2m /dev/zero > $p/big || exit 0; done; exit 7",
        "for p in /tmp /data /full; do head -c 2m /dev/zero > $p/big || exit 0; done; exit 7",
        "i=0; while true > /full/f$i || exit 0; do i=$((i+1)); [ $i -lt 2000 ] || exit 7; done",
        "i=0; while mkdir /root/f$i || exit 0; do i=$((i+1)); [ $i -lt 2000 ] || exit 7; done",
    ],
)
def test_they_are_capped_together_with_tmp(
    sandbox: Sandbox, image: Callable[..., StoredImage], quick_limits: Limits, fills: str
) -> None:
    """Of 4 MiB and 1000 files."""
    made = image(f"({fills}); status=$?; exec 2>&1; {PASS} exit $status;")
    report = sandbox.run(ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, quick_limits))
    assert report.exit_status == 0, report
    assert re.search("No space left on device|I/O error", report.stderr), "busybox says either"


@pytest.mark.e2e
def test_they_are_the_jobs_memory(
    sandbox: Sandbox, image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    limits = replace(quick_limits, memory_bytes=24 * MIB, tmp_bytes=256 * MIB)
    for place in ("/data", "/full", "/root"):
        made = image(f"head -c 64m /dev/zero > {place}/big; exit 1;")
        report = sandbox.run(ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, limits))
        assert report.ending is Ending.MEMORY_LIMIT, report


@pytest.mark.e2e
def test_a_waiting_container_has_them_too(
    open_sandbox: Callable[..., Sandbox], image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    made = image(f"{LOOK} {WRITE}", user="app")
    tool = ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, quick_limits)
    with open_sandbox(2) as warm:
        cold = warm.run(tool)
        warm.settle()
        again = warm.run(tool)
    assert again.was_made_ahead
    assert again.stdout == cold.stdout
    assert again.succeeded


@pytest.mark.e2e
def test_with_a_writable_root_home_is_part_of_it(
    sandbox: Sandbox, image: Callable[..., StoredImage], quick_limits: Limits
) -> None:
    limits = replace(quick_limits, tmp_bytes=64 * 1024, writable_root_bytes=8 * MIB)
    made = image(f"head -c 4m /dev/zero > $HOME/big || exit 1; {LOOK}")
    report = sandbox.run(ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, limits))
    assert report.succeeded, report
    assert report.stdout.startswith("/root 0:0 755\n")


@pytest.mark.e2e
def test_where_no_overlay_can_be_stacked_what_has_content_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
    open_sandbox: Callable[..., Sandbox],
    image: Callable[..., StoredImage],
    quick_limits: Limits,
) -> None:
    monkeypatch.setattr(roots, "can_stack", lambda _: False)
    made = image("echo $HOME; cat $HOME/.profile; echo x > /data/x; touch /full/x $HOME/x;")
    with open_sandbox() as sandbox:
        tool = ToolRun(made, TOOLS["test_runner"], "x", lambda _: None, quick_limits)
        report = sandbox.run(tool)
        assert any("cannot be written to" in note for note in sandbox.notes())
    assert report.stdout == "/root\nmine\n"
    assert report.stderr.count("Read-only file system") == 2
