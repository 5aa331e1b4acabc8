"""The counting of locks on files."""

import fcntl
import os
from pathlib import Path

from pipeline_containers.sandbox.host.file_locks import LockCount, count_holders

LISTED = b"""\
1: POSIX  ADVISORY  WRITE 22924 fe:00:15346015 0 EOF
1: -> POSIX  ADVISORY  WRITE 7 fe:00:15346015 2 3
2: FLOCK  ADVISORY  READ 22876 00:2b:15347493 0 EOF
3: LEASE  ACTIVE    READ 7 fe:00:15345665 0 EOF
8: OFDLCK ADVISORY  READ -1 fe:00:2146927 0 EOF
"""


def test_each_lock_counts_for_its_process_also_one_that_waits() -> None:
    assert count_holders(LISTED) == {22924: 1, 7: 2, 22876: 1}


def test_containers_are_counted_while_the_list_is_read() -> None:
    containers = {22924: "a", 7: "b", 22876: "a"}
    for size in (1, 10, 70, 1000):
        count = LockCount(containers.__getitem__)
        for start in range(0, len(LISTED), size):
            count.add(LISTED[start : start + size])
        assert count.of == {"a": 2, "b": 2}


def test_who_has_too_many_is_known_before_the_end() -> None:
    line = b"8: POSIX  ADVISORY  WRITE %d fe:00:15346015 0 0\n"
    count = LockCount({1: "bomb", 2: "other", 3: "bomb"}.__getitem__)
    count.add(line % 1 * 6_000 + line % 2 * 10_000)
    assert count.over({"bomb", "other"}) == set()
    count.add(line % 3 * 4_001)
    assert count.over({"bomb", "other"}) == {"bomb"}
    assert count.over({"other"}) == set()


def test_what_this_kernel_lists(tmp_path: Path) -> None:
    before = count_holders(Path("/proc/locks").read_bytes())[os.getpid()]
    with (tmp_path / "file").open("w") as file:
        for start in range(0, 20, 2):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, start)
        assert count_holders(Path("/proc/locks").read_bytes())[os.getpid()] == before + 10
