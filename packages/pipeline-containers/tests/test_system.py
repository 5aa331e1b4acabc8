"""What all folders of the package use of the host: mounts, owned files, sizes of folders."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from pipeline_containers.errors import BuildCancelled, BuildTimedOut
from pipeline_containers.system import owner_lock
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.disk import folder_bytes
from pipeline_containers.system.files import read_kernel, write_kernel
from pipeline_containers.system.mountinfo import Mount, parse_mounts

LINE = r"36 35 98:0 /a\040b /mnt/c\011d rw,noatime master:1 - ext4 /dev/root rw,errors=continue"


def test_a_mountinfo_is_read_with_its_blanks_and_what_is_no_mount_is_passed_by() -> None:
    mount = Mount(
        Path("/mnt/c\td"),
        "/a b",
        frozenset({"rw", "noatime"}),
        "ext4",
        "/dev/root",
        ("rw", "errors=continue"),
    )
    assert list(parse_mounts(f"\nno mount\n1 2 3\n{LINE}\n1 2 - \n")) == [mount]


def test_a_mount_may_have_no_source() -> None:
    (mount,) = parse_mounts("1 2 0:1 / /tmp rw - tmpfs  rw,size=1k")
    assert (mount.kind, mount.source, mount.kind_options) == ("tmpfs", "", ("rw", "size=1k"))


def test_a_file_has_one_owner_who_is_named_and_is_free_with_its_end(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    program = (
        "import sys, pathlib; from pipeline_containers.system import owner_lock;"
        "owner_lock.take(pathlib.Path(sys.argv[1]), 'somebody');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(owner_lock.AlreadyOwned, match="belongs to somebody"):
            owner_lock.take(file, "me")
        with pytest.raises(owner_lock.AlreadyOwned, match="belongs to somebody"):
            owner_lock.borrow(file)
    os.close(owner_lock.borrow(file))
    assert file.read_text() == "somebody\n"
    os.close(owner_lock.take(file, "me"))
    assert file.read_text() == "me\n"


def test_a_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        owner_lock.take(tmp_path / "lock", "me")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folders_size_counts_each_file_once(tmp_path: Path) -> None:
    empty = folder_bytes(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    os.sync()
    one = folder_bytes(tmp_path)
    assert one >= empty + 100_000
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert folder_bytes(tmp_path) == one
    assert folder_bytes(tmp_path / "nothing") == 0


def test_what_vanishes_meanwhile_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 100_000)
    os.sync()
    real = os.scandir

    class Listing:
        """A folder's listing, one of whose files goes when it has been read."""

        def __init__(self, place: str) -> None:
            with real(place) as entries:
                self.found = sorted(entries, key=lambda entry: entry.name)
            (tmp_path / "a").unlink(missing_ok=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.found

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Listing)
    assert folder_bytes(tmp_path) >= 200_000


def test_a_deadline_ends_whatever_waits() -> None:
    cancelled = threading.Event()
    deadline, never = Deadline(3600, cancelled), Future[int]()
    assert 0 < deadline.left_s() <= 3600
    cancelled.set()
    with pytest.raises(BuildCancelled):
        deadline.left_s()
    with pytest.raises(BuildCancelled):
        deadline.pause(60)
    with pytest.raises(BuildCancelled):
        deadline.wait_for(never)
    short = Deadline(0.01)
    with pytest.raises(BuildTimedOut, match=r"longer than 0\.01 s"):
        short.pause(60)
    done = Future[int]()
    done.set_result(7)
    time.sleep(0.02)
    assert short.wait_for(done) == 7


def test_a_file_of_the_kernels_is_read_whole_up_to_a_bound(tmp_path: Path) -> None:
    assert read_kernel(Path("/proc/self/status")).splitlines()[0].startswith("Name:")
    large = tmp_path / "large"
    write_kernel(large, "x" * 200_000)
    assert read_kernel(large) == "x" * 65_536
    write_kernel(large, "y")
    assert read_kernel(large) == "y"
    with pytest.raises(FileNotFoundError):
        read_kernel(tmp_path / "missing")
