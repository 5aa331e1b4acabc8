"""Which devices a container may use, as rules, as a program, and as the kernel answers."""

import contextlib
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts
from pipeline_containers.sandbox.launcher.device_filter import device_filter
from pipeline_containers.sandbox.launcher.device_programs import DevicePrograms
from pipeline_containers.sandbox.launcher.device_rules import DeviceRule, device_rules
from pipeline_containers.sandbox.launcher.section import Section
from pipeline_containers.system import syscalls

FORBIDDEN = {"allow": False, "access": "rwm"}
COMMON = device_rules(Section("resources", {"devices": [FORBIDDEN]}))
KINDS, ACCESSES = {"b": 1, "c": 2}, {"m": 1, "r": 2, "w": 4}


def answer(program: bytes, kind: str, major: int, minor: int, access: str) -> int:
    """Do what the kernel does with a program, and with no other instructions than it may have."""
    wanted = sum(ACCESSES[letter] for letter in access)
    given = {0: wanted << 16 | KINDS[kind], 4: major, 8: minor}
    registers: dict[int, int] = {}
    at = 0
    while True:
        code, names, offset, value = struct.unpack_from("=BBhi", program, 8 * at)
        register, source = names & 15, names >> 4
        at += 1
        if code == 0x61:
            assert source == 1
            registers[register] = given[offset]
        elif code == 0xBC:
            registers[register] = registers[source]
        elif code == 0x54:
            registers[register] &= value
        elif code == 0x74:
            registers[register] >>= value
        elif code == 0xB7:
            registers[register] = value
        elif code == 0x55:
            assert offset >= 0  # no loop
            at += offset if registers[register] != value else 0
        else:
            assert code == 0x95, hex(code)
            return registers[0]


def rule(text: str) -> DeviceRule:
    kind, numbers, access = text.split()
    major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
    return DeviceRule(kind, major, minor, access)


ANSWERS = {
    "nothing": ([], ["c 1:3 r", "b 8:0 w", "c 0:0 m"], []),
    "null": (["c 1:3 rwm"], ["b 1:3 r", "c 1:4 r", "c 2:3 r"], ["c 1:3 r", "c 1:3 rw", "c 1:3 m"]),
    "any minor": (["c 136:* rwm"], ["c 137:0 r", "b 136:0 r"], ["c 136:0 rw", "c 136:1048575 m"]),
    "any major": (["b *:7 r"], ["c 1:7 r", "b 1:8 r", "b 1:7 w"], ["b 0:7 r", "b 4095:7 r"]),
    "either kind": (["a 5:5 rwm"], ["c 5:6 r"], ["c 5:5 rwm", "b 5:5 rwm"]),
    "files of devices": (["c *:* m"], ["c 1:1 r", "c 1:1 rm", "b 1:1 m"], ["c 1:1 m"]),
    "reading": (["c 1:1 r"], ["c 1:1 w", "c 1:1 rw"], ["c 1:1 r"]),
    "no two rules together": (["c 1:1 r", "c 1:1 w"], ["c 1:1 rw"], ["c 1:1 r", "c 1:1 w"]),
    "a later rule": (["c 1:1 r", "b 1:1 w", "c 1:2 rw"], ["c 1:2 m"], ["c 1:2 rw", "b 1:1 w"]),
    "everything": (["a *:* rwm", "c 1:1 r"], [], ["c 1:1 rwm", "b 9:9 rwm"]),
}


@pytest.mark.parametrize(("rules", "no", "yes"), ANSWERS.values(), ids=ANSWERS)
def test_a_program_allows_what_its_rules_do(
    rules: list[str], no: list[str], yes: list[str]
) -> None:
    program = device_filter(map(rule, rules))
    for asked, wanted in [*((text, 0) for text in no), *((text, 1) for text in yes)]:
        one = rule(asked)
        assert one.major is not None
        assert one.minor is not None
        assert answer(program, one.kind, one.major, one.minor, one.access) == wanted, asked


NUMBERS = st.integers(0, 3)
ACCESS = st.sets(st.sampled_from("rwm"), min_size=1).map("".join)
RULES = st.lists(
    st.builds(DeviceRule, st.sampled_from("abc"), st.none() | NUMBERS, st.none() | NUMBERS, ACCESS),
    max_size=6,
)


@given(RULES, st.sampled_from("bc"), NUMBERS, NUMBERS, ACCESS)
def test_whatever_the_rules_are_one_has_to_allow_it_all(
    rules: list[DeviceRule], kind: str, major: int, minor: int, access: str
) -> None:
    allowed = any(
        rule.kind in ("a", kind)
        and rule.major in (None, major)
        and rule.minor in (None, minor)
        and set(access) <= set(rule.access)
        for rule in rules
    )
    assert answer(device_filter(rules), kind, major, minor, access) == int(allowed)


def test_what_runc_lets_every_container_use() -> None:
    """As version 1 lists it, and as runc has it there: `test_launcher.py` compares the two."""
    assert [one.text() for one in COMMON] == [
        *("b *:* m", "c *:* m"),
        *("c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm"),
        *("c 5:2 rwm", "c 10:200 rwm", "c 136:* rwm"),
    ]


def test_a_configuration_can_allow_more() -> None:
    more = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    found = device_rules(Section("resources", {"devices": [FORBIDDEN, more]}))
    assert found == (DeviceRule("c", 10, 229, "rw"), *COMMON)


UNKNOWN: dict[str, list[dict[str, Any]]] = {
    "no rules": [],
    "some allowed first": [{"allow": True, "access": "rwm"}],
    "only writing forbidden": [{"allow": False, "access": "w"}],
    "only one kind forbidden": [{"allow": False, "type": "c", "access": "rwm"}],
    "only some forbidden": [{"allow": False, "major": 1, "access": "rwm"}],
    "some forbidden again": [FORBIDDEN, {"allow": False, "type": "c", "access": "r"}],
    "no kind": [FORBIDDEN, {"allow": True, "type": "p", "access": "r"}],
    "no access": [FORBIDDEN, {"allow": True, "type": "c", "access": ""}],
    "another access": [FORBIDDEN, {"allow": True, "type": "c", "access": "rx"}],
    "a number too large": [FORBIDDEN, {"allow": True, "type": "c", "major": 4096, "access": "r"}],
    "a number below none": [FORBIDDEN, {"allow": True, "type": "c", "minor": -2, "access": "r"}],
    "something new": [FORBIDDEN, {"allow": True, "type": "c", "access": "r", "uid": 0}],
}


@pytest.mark.parametrize("rules", UNKNOWN.values(), ids=UNKNOWN)
def test_rules_that_are_not_known_are_refused(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(SandboxError):
        device_rules(Section("resources", {"devices": rules}))


# --- in the kernel


@pytest.fixture
def cgroup(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A place for a cgroup of version 2, which is not there."""
    mounts = find_cgroup_mounts()
    if UNIFIED not in mounts:
        pytest.skip("no version 2 of cgroups here")
    place = mounts[UNIFIED].place / f"pipeline-test-devices-{os.getpid()}"
    yield place
    with contextlib.suppress(FileNotFoundError):
        place.rmdir()


def opened(cgroup: Path, file: Path, flags: int) -> str:
    """Open a file as a process of a cgroup; what the kernel says."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            (cgroup / "cgroup.procs").write_text("0")
            try:
                os.open(file, flags)
            except OSError as error:
                os.write(write, os.strerror(error.errno or 0).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        return said.read()


@pytest.mark.e2e
def test_the_kernel_answers_so(cgroup: Path, work: Path) -> None:
    missing = {"char": stat.S_IFCHR, "block": stat.S_IFBLK}
    for name, kind in missing.items():
        os.mknod(work / name, kind | 0o666, os.makedev(60, 0))
    more = DeviceRule("b", 60, 0, "r")
    programs = DevicePrograms()
    cgroup.mkdir()
    absent = "No such device or address"
    for name in missing:
        assert opened(cgroup, work / name, os.O_RDONLY) == absent
    programs.attach((more, *COMMON), cgroup)
    descriptor = os.open(cgroup, os.O_RDONLY)
    assert syscalls.device_filters(descriptor) == (1, 2)
    os.close(descriptor)
    del programs  # what is attached stays
    assert opened(cgroup, work / "char", os.O_RDONLY) == "Operation not permitted"
    assert opened(cgroup, work / "block", os.O_RDONLY) == absent
    assert opened(cgroup, work / "block", os.O_RDWR) == "Operation not permitted"
    assert opened(cgroup, Path("/dev/null"), os.O_RDWR) == ""


@pytest.mark.e2e
def test_a_filter_is_loaded_once_and_goes_with_its_owner(cgroup: Path) -> None:
    def loaded() -> int:
        count = 0
        for file in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the folder's own, closed by now
                count += "bpf-prog" in os.readlink(file)
        return count

    before = loaded()
    programs = DevicePrograms()
    for _ in range(3):
        programs.attach(COMMON, cgroup)
        cgroup.rmdir()
    assert loaded() == before + 1
    del programs
    assert loaded() == before


@pytest.mark.e2e
def test_what_the_kernel_refuses_is_an_error(work: Path) -> None:
    with pytest.raises(OSError, match="bpf"):
        syscalls.load_device_filter(bytes(16))
    with pytest.raises(SandboxError, match=r"no device filter for .*: .*Bad file descriptor"):
        DevicePrograms().attach(COMMON, work / "no-cgroup")
