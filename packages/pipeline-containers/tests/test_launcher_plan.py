"""What a configuration becomes: a plan, or an error; never a part of it left out."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.container.bundle import Bundle, runtime_config
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host.ids import SUBORDINATE, host_range
from pipeline_containers.sandbox.launcher.cgroup_steps import CgroupPlace
from pipeline_containers.sandbox.launcher.compiler import (
    HostFacts,
    compile_plan,
    home_of,
    programs,
)
from pipeline_containers.sandbox.launcher.device_rules import device_rules
from pipeline_containers.sandbox.launcher.plan import (
    Argument,
    BindMount,
    Capabilities,
    File,
    Folder,
    HostName,
    Ids,
    JoinUsers,
    Keyring,
    LaunchPlan,
    LaunchStep,
    Limit,
    Link,
    Loopback,
    MakeCgroup,
    Maps,
    Mask,
    NewMount,
    Pivot,
    Program,
    Prove,
    ReadOnly,
    Report,
    SetGroups,
    ShowRoot,
    Terminal,
    Variable,
    Write,
    parse_report,
)
from pipeline_containers.sandbox.launcher.section import Section
from pipeline_containers.sandbox.limits import Limits

PLACE = CgroupPlace(
    path="/p/job-1",
    folders={"memory": "/cg/memory/p/job-1", "cpu": "/cg/cpu/p/job-1", "pids": "/cg/pids/p/job-1"},
    others=("/cg/systemd/p/job-1",),
)
FACTS = HostFacts(cgroup=PLACE, may_set_groups=True)
RO, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8


def config(**changes: Any) -> dict[str, Any]:
    bundle = Bundle(
        root=Path("/jobs/job-1/root"),
        job_folder=Path("/jobs/job-1/job"),
        tmp=Path("/jobs/job-1/tmp/tmp"),
        command=("/opt/test-runner/bin/run.sh", "two-fer", "/in/", "/out/"),
        cwd="/opt/test-runner",
        env=("LANG=C.UTF-8",),
        user=User(1000, 1001),
        cgroup="/p/job-1",
        ids=host_range(5000),
        seccomp={"syscalls": []},
        devices=Path("/jobs/job-1/dev/dev"),
        cgroup_view=Path("/jobs/job-1/cgroup"),
        user_namespace="/proc/./7/fd/9",
    )
    made: dict[str, Any] = json.loads(json.dumps(runtime_config(bundle, Limits())))
    return made | changes


def test_a_job_of_the_host_root_s_worker() -> None:
    plan = compile_plan(config(), FACTS)
    assert plan.host[:4] == tuple(
        MakeCgroup(f"/cg/{name}/p/job-1") for name in ("memory", "cpu", "pids", "systemd")
    )
    assert plan.host[4:] == (
        Write("/cg/memory/p/job-1/memory.limit_in_bytes", "3221225472"),
        Write("/cg/memory/p/job-1/memory.memsw.limit_in_bytes", "3221225472"),
        Write("/cg/pids/p/job-1/pids.max", "1024"),
        Write("/cg/cpu/p/job-1/cpu.shares", "1024"),
        Write("/cg/cpu/p/job-1/cpu.cfs_period_us", "100000"),
        Write("/cg/cpu/p/job-1/cpu.cfs_quota_us", "100000"),
        *(
            Write(f"/cg/{name}/p/job-1/cgroup.procs", "0")
            for name in ("memory", "cpu", "pids", "systemd")
        ),
        Write("/proc/self/oom_score_adj", "500"),
        SetGroups(True),
        JoinUsers("/proc/./7/fd/9"),
    )
    assert plan.namespaces == 0x6E020000  # all but that of users, which it joins
    assert (plan.cwd, plan.umask) == ("/opt/test-runner", 0o022)
    assert all(isinstance(step, Limit) for step in plan.inside[:5])
    assert plan.inside[0] == Limit(7, 65_536, 65_536)
    assert plan.inside[5:] == (
        Keyring(),
        Loopback(),
        HostName("tool"),
        ShowRoot("/jobs/job-1/root", RO),
        NewMount("/proc", "proc", "proc", NOSUID | NODEV | NOEXEC),
        BindMount("/dev", "/jobs/job-1/dev/dev", NOSUID, False),
        NewMount(
            "/dev/pts",
            "devpts",
            "devpts",
            NOSUID | NOEXEC,
            (("newinstance", ""), ("ptmxmode", "0666"), ("max", "16")),
        ),
        NewMount("/dev/mqueue", "mqueue", "mqueue", NOSUID | NODEV | NOEXEC),
        NewMount(
            "/dev/shm",
            "tmpfs",
            "shm",
            NOSUID | NODEV | NOEXEC,
            (("mode", "1777"), ("size", "67108864"), ("nr_inodes", "4096")),
        ),
        BindMount("/tmp", "/jobs/job-1/tmp/tmp", NOSUID | NODEV, False),
        NewMount("/sys", "sysfs", "sysfs", NOSUID | NODEV | NOEXEC | RO),
        BindMount("/sys/fs/cgroup", "/jobs/job-1/cgroup", NOSUID | NODEV | NOEXEC | RO, True),
        BindMount("/mnt/exercism-iteration", "/jobs/job-1/job", NOSUID | NODEV, False),
        Pivot(),
        Prove(),
        *(ReadOnly(f"/proc/{name}") for name in ("bus", "fs", "irq", "sys")),
        *(
            Mask(f"/proc/{name}")
            for name in (
                *("interrupts", "kcore", "keys", "latency_stats", "locks", "sched_debug"),
                *("sysrq-trigger", "timer_list", "timer_stats", "acpi", "asound", "scsi"),
            )
        ),
        Mask("/sys/devices/virtual/powercap"),
        Mask("/sys/firmware"),
        Ids(1000, 1001),
        Capabilities(),
        Variable("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        Variable("LANG=C.UTF-8"),
        Variable("HOME=/"),
        Argument("/opt/test-runner/bin/run.sh"),
        Argument("two-fer"),
        Argument("/in/"),
        Argument("/out/"),
        Program("/opt/test-runner/bin/run.sh"),
    )


UNIFIED = CgroupPlace(
    path="/p/job-1",
    folders=dict.fromkeys(("memory", "pids", "cpu"), "/cg/p/job-1"),
    is_unified=True,
)


def test_version_2_of_cgroups_has_one_folder_and_a_program_for_devices() -> None:
    plan = compile_plan(config(), HostFacts(UNIFIED, may_set_groups=True))
    assert plan.host[:6] == (
        MakeCgroup("/cg/p/job-1"),
        Write("/cg/p/job-1/memory.swap.max", "0"),
        Write("/cg/p/job-1/memory.max", "3221225472"),
        Write("/cg/p/job-1/pids.max", "1024"),
        Write("/cg/p/job-1/cpu.weight", "39"),
        Write("/cg/p/job-1/cpu.max", "100000 100000"),
    )
    assert plan.host[6] == Write("/cg/p/job-1/cgroup.procs", "0")
    assert plan.devices == device_rules(
        Section("resources", {"devices": [{"allow": False, "access": "rwm"}]})
    )


def test_in_a_user_s_namespace_no_program_can_be_attached() -> None:
    place = replace(UNIFIED, limits_devices=False)
    assert compile_plan(config(), HostFacts(place, may_set_groups=False)).devices == ()


def test_version_1_has_files_for_devices_and_no_program() -> None:
    place = replace(PLACE, folders={**PLACE.folders, "devices": "/cg/devices/p/job-1"})
    plan = compile_plan(config(), HostFacts(place, may_set_groups=True))
    assert plan.devices == ()
    written = [step for step in plan.host if isinstance(step, Write) and "/devices." in step.path]
    assert written[0] == Write("/cg/devices/p/job-1/devices.deny", "a")
    assert [step.text for step in written[1:3]] == ["b *:* m", "c *:* m"]
    assert len(written) == 12


RESOURCES: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "nothing": ({}, []),
    "memory alone": ({"memory": {"limit": 5}}, [("memory.max", "5")]),
    "some swap": (
        {"memory": {"limit": 5, "swap": 7}},
        [("memory.swap.max", "2"), ("memory.max", "5")],
    ),
    "a quota": ({"cpu": {"quota": 7}}, [("cpu.max", "7 100000")]),
    "a period": ({"cpu": {"period": 9}}, [("cpu.max", "max 9")]),
    "the least shares": ({"cpu": {"shares": 2}}, [("cpu.weight", "1")]),
    "the most shares": ({"cpu": {"shares": 262_144}}, [("cpu.weight", "10000")]),
}


@pytest.mark.parametrize(("resources", "files"), RESOURCES.values(), ids=RESOURCES)
def test_limits_of_version_2(resources: dict[str, Any], files: list[tuple[str, str]]) -> None:
    made = config()
    forbidden = made["linux"]["resources"]["devices"]
    made["linux"]["resources"] = {"devices": forbidden, **resources}
    plan = compile_plan(made, HostFacts(UNIFIED, may_set_groups=True))
    assert [
        (step.path.removeprefix("/cg/p/job-1/"), step.text)
        for step in plan.host[1:-4]
        if isinstance(step, Write)
    ] == files


@pytest.mark.parametrize("memory", [{"swap": 7}, {"limit": 8, "swap": 7}])
def test_swap_that_is_less_than_memory_is_no_limit_of_version_2(memory: dict[str, int]) -> None:
    made = config()
    made["linux"]["resources"]["memory"] = memory
    with pytest.raises(SandboxError, match="swap 7"):
        compile_plan(made, HostFacts(UNIFIED, may_set_groups=True))


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    made = config()
    change(made)
    return made


def drop_cgroup(made: dict[str, Any]) -> None:
    del made["linux"]["cgroupsPath"]
    made["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}


def give_devices(made: dict[str, Any]) -> None:
    options = ["nosuid", "mode=755", "size=64k", "nr_inodes=64"]
    entry = next(mount for mount in made["mounts"] if mount["destination"] == "/dev")
    entry.update(type="tmpfs", source="tmpfs", options=options)


def test_a_user_s_worker_has_no_cgroups_no_devices_and_no_namespace_to_join() -> None:
    made = config()
    drop_cgroup(made)
    give_devices(made)
    made["linux"]["namespaces"] = [{"type": n["type"]} for n in made["linux"]["namespaces"]]
    for key in ("uidMappings", "gidMappings"):
        made["linux"][key] = [
            {"containerID": part.inside, "hostID": part.outside, "size": part.count}
            for part in SUBORDINATE.ranges
        ]
    facts = HostFacts(None, may_set_groups=False, limits={"RLIMIT_CORE": 1}, has_kcore=True)
    plan = compile_plan(made, facts)
    maps = "0 65536 1\n1 1 65535\n"
    assert plan.host[1:] == (SetGroups(False), Maps(maps, maps))
    assert plan.namespaces == 0x7E020000
    assert Limit(4, 1, 1) in plan.inside
    places = [step for step in plan.inside if isinstance(step, Folder | File | Link)]
    assert places == [
        *(Folder("/dev", name, 0o755) for name in ("pts", "mqueue", "shm")),
        *(
            File(f"/dev/{name}", 0o666)
            for name in ("null", "random", "full", "tty", "zero", "urandom")
        ),
        Link("/dev", "fd", "/proc/self/fd"),
        Link("/dev", "stdin", "/proc/self/fd/0"),
        Link("/dev", "stdout", "/proc/self/fd/1"),
        Link("/dev", "stderr", "/proc/self/fd/2"),
        Link("/dev", "ptmx", "pts/ptmx"),
        Link("/dev", "core", "/proc/kcore"),
    ]
    assert BindMount("/dev/null", "/dev/null", 0, False) in plan.inside


def test_a_terminal_is_made_when_its_socket_is_known_and_not_else() -> None:
    made = config()
    made["process"]["terminal"] = True
    plan = compile_plan(made, HostFacts(PLACE, may_set_groups=True, has_console=True))
    assert Terminal() in plan.inside
    with pytest.raises(SandboxError, match="a terminal without a socket"):
        compile_plan(made, FACTS)


def loosened(made: dict[str, Any]) -> None:
    made["root"]["readonly"] = False
    names = ["CAP_CHOWN", "CAP_SETUID"]
    made["process"]["capabilities"] = {"bounding": names, "effective": names, "ambient": []}


def test_what_is_loosened_is_in_the_plan() -> None:
    plan = compile_plan(changed(loosened), FACTS)
    assert ShowRoot("/jobs/job-1/root", 0) in plan.inside
    assert Capabilities(bounding=0x81, effective=0x81) in plan.inside


def put(*keys: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        place: Any = made
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


REFUSED: dict[str, Callable[[dict[str, Any]], None]] = {
    "hooks": put("hooks", value={}),
    "annotations": put("annotations", value={}),
    "domainname": put("domainname", value="x"),
    "selinuxLabel": put("process", "selinuxLabel", value="x"),
    "apparmorProfile": put("process", "apparmorProfile", value="x"),
    "a new privilege": put("process", "noNewPrivileges", value=False),
    "no word on privileges is no": put("process", "noNewPrivileges", value=None),
    "a capability": put("process", "capabilities", value={"bounding": ["CAP_SYS_ADMIN"]}),
    "a set of capabilities": put("process", "capabilities", value={"all": []}),
    "a relative folder": put("process", "cwd", value="opt"),
    "a user by name": put("process", "user", value={"username": "x", "uid": 0, "gid": 0}),
    "a limit": put("process", "rlimits", 0, value={"type": "RLIMIT_X", "soft": 1, "hard": 1}),
    "no program": put("process", "args", value=[]),
    "a variable": put("process", "env", value=["PATH"]),
    "NUL in an argument": put("process", "args", value=["/a\0b"]),
    "half a character": put("process", "env", value=["A=\ud800"]),
    "NUL in the environment": put("process", "env", value=["A=b\0filter"]),
    "a sysctl": put("linux", "sysctl", value={}),
    "a device": put("linux", "devices", value=[]),
    "shared propagation": put("linux", "rootfsPropagation", value="shared"),
    "a namespace of the host's": put("linux", "namespaces", value=[{"type": "user"}]),
    "a network that is there": put(
        "linux", "namespaces", 4, value={"type": "network", "path": "/x"}
    ),
    "a time namespace": put("linux", "namespaces", 0, value={"type": "time"}),
    "no ids": put("linux", "uidMappings", value=[]),
    "an allowed device": put("linux", "resources", "devices", value=[]),
    "block I/O": put("linux", "resources", "blockIO", value={}),
    "a reservation": put("linux", "resources", "memory", value={"reservation": 1}),
    "realtime": put("linux", "resources", "cpu", value={"realtimePeriod": 1}),
    "another cgroup": put("linux", "cgroupsPath", value="/elsewhere"),
    "a file system": put("mounts", 0, value={"destination": "/x", "type": "ext4", "source": "x"}),
    "an option": put("mounts", 0, "options", value=["nosuid", "exec"]),
    "an overlay's option": put("mounts", 0, "options", value=["lowerdir=/etc"]),
    "a tmpfs without a size": put(
        "mounts",
        0,
        value={"destination": "/x", "type": "tmpfs", "source": "x", "options": ["mode=755"]},
    ),
    "a bind of both kinds": put(
        "mounts",
        0,
        value={"destination": "/x", "type": "bind", "source": "/", "options": ["bind", "rbind"]},
    ),
    "an idmapped mount": put(
        "mounts",
        0,
        value={
            "destination": "/x",
            "type": "bind",
            "source": "/",
            "options": ["bind"],
            "uidMappings": [],
        },
    ),
    "a place above": put(
        "mounts",
        0,
        value={"destination": "/x/../y", "type": "bind", "source": "/", "options": ["bind"]},
    ),
    "version 2 of the specification": put("ociVersion", value="2.0.0"),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_the_plan_does_not_know_is_an_error(change: Callable[[dict[str, Any]], None]) -> None:
    compile_plan(config(), FACTS).encode(bytes(8))
    with pytest.raises(SandboxError):
        compile_plan(changed(change), FACTS).encode(bytes(8))


def sections(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
        for key, part in value.items():
            yield from sections(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from sections(part, (*path, number))


OBJECTS = [path for path in sections(config()) if "seccomp" not in path]


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_an_entry_that_is_not_known_is_an_error_in_every_part(path: tuple[str | int, ...]) -> None:
    made = config()
    part: Any = made
    for key in path:
        part = part[key]
    part["somethingNew"] = True
    with pytest.raises(SandboxError, match="somethingNew"):
        compile_plan(made, FACTS)


@given(st.data())
def test_whatever_takes_the_place_of_an_entry_is_planned_or_refused(data: st.DataObject) -> None:
    made = copy.deepcopy(config())
    part: Any = made
    for key in data.draw(st.sampled_from(OBJECTS)):
        part = part[key]
    key = data.draw(st.sampled_from(sorted(part)) if part else st.text())
    junk = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    part[key] = data.draw(junk | st.lists(junk, max_size=3) | st.dictionaries(st.text(), junk))
    try:
        plan = compile_plan(made, FACTS)
        encoded = plan.encode(bytes(8))
    except SandboxError:
        return
    assert encoded.endswith(b"filter\0001\0" + bytes(8))


def words(plan: bytes) -> list[bytes]:
    return plan.split(b"\0")


def test_each_step_is_its_word_and_its_fields() -> None:
    steps: tuple[LaunchStep, ...] = (
        NewMount("/a", "tmpfs", "b", 3, (("ro", ""), ("size", "1"))),
        BindMount("/c", "/d", 0, True),
        Pivot(),
    )
    plan = LaunchPlan(host=(SetGroups(True),), namespaces=7, cwd="/", umask=18, inside=steps)
    said = plan.encode(b"12345678")
    assert said == (
        b"groups\0001\0clone\0007\0/\00018\0"
        b"mount\0/a\0tmpfs\0b\0003\0002\0ro\0\0size\0001\0bind\0/c\0/d\0000\0001\0pivot\0"
        b"filter\0001\00012345678"
    )


@pytest.mark.parametrize("filter_bytes", [b"", b"1234567", bytes(8 * 4097)])
def test_what_is_no_filter_is_refused(filter_bytes: bytes) -> None:
    with pytest.raises(SandboxError, match="no filter"):
        compile_plan(config(), FACTS).encode(filter_bytes)


def test_what_the_launcher_has_no_room_for_is_refused() -> None:
    large = config()
    large["process"]["args"] = ["/x", "y" * (1 << 20)]
    many = config()
    many["process"]["args"] = ["/x"] * 5000
    for made in (large, many):
        with pytest.raises(SandboxError, match=r"too large|at most"):
            compile_plan(made, FACTS).encode(bytes(8))


PASSWD = """
root:x:0:0:root:/root:/bin/sh
broken
1000:x:5:5::/by-name:
app:x:1000:1000::/home/app:/bin/sh
short:x:7
odd:x:-x:0::/odd
"""
HOMES = {0: "/root", 1000: "/by-name", 5: "/by-name", 7: "/", 8: "/"}


@pytest.mark.parametrize(("uid", "home"), HOMES.items())
def test_a_home_is_that_of_the_first_account(uid: int, home: str) -> None:
    assert home_of(PASSWD, uid) == home


def test_what_is_no_number_counts_as_root() -> None:
    assert home_of("odd:x:what:0::/odd", 0) == "/odd"


def test_a_home_that_is_said_stays_and_an_empty_one_is_filled_in() -> None:
    for said, home in (("HOME=/there", "/there"), ("HOME=", "/home/x")):
        made = config()
        made["process"]["env"] = [said, "PATH=/bin", "A=1", "A=2"]
        facts = HostFacts(PLACE, may_set_groups=True, passwd="x:x:1000:1:g:/home/x:")
        variables = [step for step in compile_plan(made, facts).inside if step.word == "env"]
        assert variables == [
            Variable(f"HOME={home}"),
            Variable("PATH=/bin"),
            Variable("A=2"),
        ]


PLACES = {
    ("/bin/sh", "/a:/b"): ["/bin/sh"],
    ("bin/run.sh", "/a"): ["bin/run.sh"],
    ("sh", "/a:/b/"): ["/a/sh", "/b/sh"],
    ("sh", ":.:b:/c"): ["/c/sh"],
    ("sh", ""): [],
}


@pytest.mark.parametrize(("asked", "places"), PLACES.items())
def test_a_name_is_looked_for_in_path(asked: tuple[str, str], places: list[str]) -> None:
    assert programs(*asked) == places


REPORTS = {
    "attach /proc 1": Report("attach", "/proc", 1),
    "write /a b/c 13": Report("write", "/a b/c", 13),
    "write /a\nb 13": Report("write", "/a\nb", 13),
    "exec  2": Report("exec", "", 2),
    "write /a b": Report(),
    "": Report(),
}


@pytest.mark.parametrize(("text", "report"), REPORTS.items())
def test_the_launchers_report_is_read(text: str, report: Report) -> None:
    assert parse_report(text) == report
