"""The counting of locks on files."""

import fcntl
import os
from pathlib import Path

from pipeline_containers.sandbox.host.file_locks import count_holders, sum_up

LISTED = b"""\
1: POSIX  ADVISORY  WRITE 22924 fe:00:15346015 0 EOF
1: -> POSIX  ADVISORY  WRITE 7 fe:00:15346015 2 3
2: FLOCK  ADVISORY  READ 22876 00:2b:15347493 0 EOF
3: LEASE  ACTIVE    READ 7 fe:00:15345665 0 EOF
8: OFDLCK ADVISORY  READ -1 fe:00:2146927 0 EOF
"""


def test_each_lock_counts_for_its_process_also_one_that_waits() -> None:
    assert count_holders(LISTED) == {22924: 1, 7: 2, 22876: 1}
    containers = {22924: "a", 7: "b", 22876: "a"}
    assert sum_up(count_holders(LISTED), containers.__getitem__) == {"a": 2, "b": 2}


def test_what_this_kernel_lists(tmp_path: Path) -> None:
    before = count_holders(Path("/proc/locks").read_bytes())[os.getpid()]
    with (tmp_path / "file").open("w") as file:
        for start in range(0, 20, 2):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, start)
        assert count_holders(Path("/proc/locks").read_bytes())[os.getpid()] == before + 10
