"""The cgroup that containers lie below: in trees made up here, and in this host's own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_containers.sandbox.host import cgroup_root
from pipeline_containers.sandbox.host.cgroup_root import CONTROLLERS, CgroupRoot, open_cgroup_root
from pipeline_containers.sandbox.host.hierarchies import (
    UNIFIED,
    CgroupMount,
    find_own,
    parse_cgroup_mounts,
    parse_own_cgroups,
)
from pipeline_containers.sandbox.host.placement import LEAF

OWN = "4:memory:/a/b\n3:cpu,cpuacct:/a\n2:name=systemd:/user/x\n0::/user.slice/run.scope\n"

Tree = Callable[..., Path]


def test_own_cgroups_by_every_name_of_their_hierarchy() -> None:
    own = parse_own_cgroups(OWN + "nonsense\n")
    assert own["memory"] == "/a/b"
    assert own["cpu"] == own["cpuacct"] == "/a"
    assert own["name=systemd"] == "/user/x"
    assert own[UNIFIED] == "/user.slice/run.scope"


@pytest.mark.parametrize(
    ("root", "cgroup", "folder"),
    [
        ("/", "/", "/c"),
        ("/", "/a/b", "/c/a/b"),
        ("/docker/1", "/docker/1", "/c"),
        ("/docker/1", "/docker/1/x", "/c/x"),
        ("/docker/1", "/docker/12", None),
        ("/../..", "/", None),
    ],
)
def test_where_a_cgroup_is_seen(root: str, cgroup: str, folder: str | None) -> None:
    expected = None if folder is None else Path(folder)
    assert CgroupMount(Path("/c"), root).folder(cgroup) == expected


def test_how_hierarchies_are_mounted() -> None:
    text = (
        "30 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
        "31 22 0:27 /docker/1 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 22 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup ro,pids\n"
    )
    assert parse_cgroup_mounts(text) == {
        UNIFIED: CgroupMount(Path("/sys/fs/cgroup"), is_read_only=True),
        "cpu": CgroupMount(Path("/sys/fs/cgroup/cpu,cpuacct"), "/docker/1"),
        "cpuacct": CgroupMount(Path("/sys/fs/cgroup/cpu,cpuacct"), "/docker/1"),
        "pids": CgroupMount(Path("/sys/fs/cgroup/pids"), is_read_only=True),
    }


# --- trees that are made up: plain folders in the place of cgroups


@pytest.fixture
def version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Make up version 2, with this process in a cgroup, and its controllers by cgroup."""
    write_text, make_folder, remove = Path.write_text, Path.mkdir, Path.rmdir

    def write(path: Path, text: str) -> int:
        if path.name == "cgroup.subtree_control":
            text = f"{path.read_text()} {text.removeprefix('+')}"
        return write_text(path, text)

    def fill(folder: Path, controllers: str) -> None:
        for file, content in (
            ("cgroup.procs", ""),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", ""),
            ("cgroup.type", "domain\n"),
        ):
            write_text(folder / file, content)

    def mkdir(path: Path, *_: object, **__: object) -> None:
        make_folder(path, parents=True, exist_ok=True)
        fill(path, (path.parent / "cgroup.subtree_control").read_text())

    def rmdir(path: Path) -> None:
        for file in path.glob("cgroup.*"):
            file.unlink()
        remove(path)

    def make(own: str, controllers: dict[str, str], mount: CgroupMount | None = None) -> Path:
        for path, names in {"/": "memory pids cpu", **controllers}.items():
            folder = tmp_path / path.strip("/")
            make_folder(folder, parents=True, exist_ok=True)
            fill(folder, names)
        (tmp_path / "cgroup.type").unlink()
        mounts = {UNIFIED: mount or CgroupMount(tmp_path)}
        monkeypatch.setattr(cgroup_root, "find_cgroup_mounts", lambda: mounts)
        monkeypatch.setattr(cgroup_root, "find_own", lambda: {UNIFIED: own})
        for name, function in (("write_text", write), ("mkdir", mkdir), ("rmdir", rmdir)):
            monkeypatch.setattr(Path, name, function)
        return tmp_path

    return make


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Have writes fail as the kernel's do, by what is written or the file's path."""

    def refuse(part: str, code: int) -> None:
        write_text = Path.write_text

        def write(path: Path, text: str) -> int:
            if part in f"{path}={text}":
                raise OSError(code, os.strerror(code))
            return write_text(path, text)

        monkeypatch.setattr(Path, "write_text", write)

    return refuse


def everything(why: str, root: CgroupRoot) -> None:
    assert (root.cgroup, root.place) == ("", "none")
    assert list(root.missing) == list(CONTROLLERS)
    assert all(why in said for said in root.missing.values()), root.missing


def test_a_read_only_mount_is_named_with_what_to_change(version_2: Tree) -> None:
    top = version_2("/w", {"/w": ""})
    version_2("/w", {"/w": ""}, CgroupMount(top, is_read_only=True))
    everything("is mounted read-only: in a systemd unit set ProtectControlGroups=no", opened())


def test_another_namespaces_cgroups_are_named(version_2: Tree) -> None:
    version_2("/", {}, CgroupMount(Path("/sys/fs/cgroup"), "/../.."))
    everything("shows the cgroups of another namespace: mount its own there", opened())


def test_no_cgroups_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_root, "find_cgroup_mounts", dict)
    everything("no cgroups are mounted: mount -t cgroup2", opened())


def test_controllers_are_switched_on_one_by_one(
    version_2: Tree, refusing: Callable[[str, int], None]
) -> None:
    """Ubuntu 22.04 hands a user's services memory and pids, and not cpu."""
    version_2("/u.slice", {"/u.slice": "memory pids"})
    refusing("=+cpu", 2)
    root = opened()
    assert list(root.missing) == ["cpus"]
    assert (
        "was not given the controller cpu: add it to Delegate= of the unit"
        in (root.missing["cpus"])
    )
    assert root.cgroup.endswith("/u.slice/name")


@pytest.mark.parametrize(("code", "why"), [(16, "it has processes of its own"), (22, "Invalid")])
def test_a_cgroup_without_any_controller_is_not_used_and_nothing_is_left(
    version_2: Tree, refusing: Callable[[str, int], None], code: int, why: str
) -> None:
    top = version_2("/u.slice", {"/u.slice": ""})
    before = sorted(top.rglob("*"))
    refusing("subtree_control=", code)
    everything(why, opened())
    assert sorted(top.rglob("*")) == before


def test_processes_that_cannot_be_moved_are_left_where_they_are(
    version_2: Tree, refusing: Callable[[str, int], None]
) -> None:
    top = version_2("/mine", {"/mine": ""})
    (top / "mine/cgroup.procs").write_text(f"{os.getpid()}\n")
    before = sorted(top.rglob("*"))
    refusing(f"{LEAF}/cgroup.procs=", 16)
    everything("it has processes of its own", opened())
    assert sorted(top.rglob("*")) == before


def opened() -> CgroupRoot:
    return open_cgroup_root("name")


# --- this host's own


@pytest.mark.e2e
def test_jobs_lie_below_this_process_own_cgroup_with_all_controllers(work: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from pipeline_containers.sandbox.host.cgroup_root import open_cgroup_root
parent, name = sys.argv[1:]
root = open_cgroup_root(name, parent)
print(root.missing, root.notes, *root.folders(), sep="\\n")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, f"/{work.name}", "own"],
        capture_output=True,
        text=True,
        check=True,
    )
    missing, notes, *folders = ran.stdout.splitlines()
    assert (missing, notes) == ("{}", "()")
    assert folders
    for folder in filter(Path.exists, map(Path, folders)):  # a hybrid host's version 2 has none
        assert folder.parent.name == work.name
        folder.rmdir()


@pytest.mark.e2e
def test_without_a_parent_it_is_below_the_own_cgroup_or_the_nearest_above_it(work: Path) -> None:
    root = open_cgroup_root(work.name)
    folders = [folder for folder in root.folders() if folder.exists()]
    try:
        assert root.missing == {}
        assert folders
        own = [f"{path.removesuffix(LEAF).rstrip('/')}/" for path in find_own().values()]
        for folder in folders:
            seen = f"{folder.parent}/"
            assert any(seen.endswith(path) for path in own) or root.notes
    finally:
        for folder in folders:
            folder.rmdir()


def test_one_file_that_is_mounted_again_is_not_the_hierarchy() -> None:
    """So does systemd 257 for a unit with ProtectControlGroups=yes."""
    own = "/system.slice/a.service/memory.pressure"
    text = (
        "207 205 0:26 / /sys/fs/cgroup ro,nosuid shared:148 - cgroup2 cgroup2 rw\n"
        f"202 207 0:26 {own} /sys/fs/cgroup{own} rw,nosuid shared:149 - cgroup2 cgroup2 rw\n"
    )
    assert parse_cgroup_mounts(text)[UNIFIED] == CgroupMount(
        Path("/sys/fs/cgroup"), "/", is_read_only=True
    )


def test_views_of_a_part_that_containers_are_shown_are_not_the_hierarchy() -> None:
    whole = (
        "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    views = (
        "41 22 0:27 /job /run/1/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "42 22 0:26 /job /run/1/cgroup/unified ro - cgroup2 cgroup2 rw\n"
    )
    expected = {
        "memory": CgroupMount(Path("/sys/fs/cgroup/memory")),
        UNIFIED: CgroupMount(Path("/sys/fs/cgroup/unified")),
    }
    assert parse_cgroup_mounts(whole + views) == expected
    assert parse_cgroup_mounts(views + whole) == expected
