"""The runtime's configuration and the filter of system calls, as tables."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.container.bundle import (
    MASKED_FILES,
    NAMESPACES,
    Bundle,
    runtime_config,
)
from pipeline_containers.sandbox.container.environment import without_leak_check
from pipeline_containers.sandbox.container.seccomp import (
    PROFILE,
    REFUSED,
    TRACING,
    fixed_core_limit,
    load_filter,
    translate,
)
from pipeline_containers.sandbox.container.users import User, resolve_user
from pipeline_containers.sandbox.host.enforcement import Enforcement
from pipeline_containers.sandbox.host.ids import SUBORDINATE, host_range
from pipeline_containers.sandbox.host.yama import lets_jobs_trace
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system.units import MIB

PASSWD = "root:x:0:0::/root:/bin/sh\nbroken\napp:x:1000:1001::/app:/bin/sh\nbig:x:99999:1::/:\n"
PASSWD += "grouped:x:7:1000720000::/:\noddly:x:8:staff::/:\nshort:x:9:9\n"
GROUP = "root:x:0:\nstaff:x:50:app\nfar:x:70000:\n"


def config(limits: Limits | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "root": Path("/r"),
        "job_folder": Path("/j"),
        "tmp": Path("/t"),
        "command": ("bin/run.sh", "two-fer"),
        "cwd": "/opt/test-runner",
        "env": ("A=1", "A=2", "PATH=/bin"),
        "user": User(1000, 1001),
        "cgroup": "/pipeline/x",
        "ids": host_range(70_000),
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
    }
    made = runtime_config(Bundle(**(values | changes)), limits or Limits())
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def test_limits_that_nobody_holds_are_not_asked_of_the_runtime() -> None:
    made = config(enforcement=Enforcement(dict.fromkeys(("memory", "pids", "cpus"), "")), cgroup="")
    assert set(made["linux"]["resources"]) == {"devices"}
    assert "cgroupsPath" not in made["linux"]
    rlimits = {entry["type"]: entry["hard"] for entry in made["process"]["rlimits"]}
    assert rlimits["RLIMIT_NPROC"] == Limits().pids  # stands in
    assert "RLIMIT_NPROC" not in {entry["type"] for entry in config()["process"]["rlimits"]}


def test_a_users_own_ids_are_mapped_range_by_range() -> None:
    linux = config(ids=SUBORDINATE)["linux"]
    assert linux["uidMappings"] == linux["gidMappings"]
    assert linux["uidMappings"] == [
        {"containerID": 0, "hostID": 65_536, "size": 1},
        {"containerID": 1, "hostID": 1, "size": 65_535},
    ]


def test_nothing_is_shared_and_nothing_allowed() -> None:
    made = config()
    assert [entry["type"] for entry in made["linux"]["namespaces"]] == list(NAMESPACES)
    assert all("path" not in entry for entry in made["linux"]["namespaces"])
    assert {"pid", "mount", "ipc", "uts", "network", "cgroup", "user"} == set(NAMESPACES)
    assert made["process"]["capabilities"] == {}
    assert made["process"]["noNewPrivileges"] is True
    assert made["root"] == {"path": "/r", "readonly": True}
    assert made["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert made["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 70_000, "size": 65_536}]
    assert made["linux"]["gidMappings"] == made["linux"]["uidMappings"]
    assert made["linux"]["seccomp"]


def test_a_namespace_and_devices_that_are_there_are_taken() -> None:
    made = config(user_namespace="/proc/1/fd/7", devices=Path("/d"), sets_rlimits=False)
    kinds = {entry["type"]: entry.get("path") for entry in made["linux"]["namespaces"]}
    assert kinds == dict.fromkeys(NAMESPACES) | {"user": "/proc/1/fd/7"}
    (devices,) = [entry for entry in made["mounts"] if entry["destination"] == "/dev"]
    assert (devices["type"], devices["source"]) == ("bind", "/d")
    assert made["process"]["rlimits"] == []


def test_files_are_hidden_by_the_runtime_or_by_a_device_of_its_own() -> None:
    assert "/proc/keys" in config()["linux"]["maskedPaths"]
    made = config(devices=Path("/d"), masked_files=["/proc/keys"])
    assert not any(path in MASKED_FILES for path in made["linux"]["maskedPaths"])
    assert "/proc/acpi" in made["linux"]["maskedPaths"]
    (hidden,) = [entry for entry in made["mounts"] if entry["destination"].startswith("/proc/")]
    assert (hidden["destination"], hidden["source"]) == ("/proc/keys", "/d/null")


def test_its_own_cgroup_is_shown_or_none() -> None:
    assert "/sys/fs/cgroup" in config()["linux"]["maskedPaths"]
    made = config(cgroup_view=Path("/v"))
    assert "/sys/fs/cgroup" not in made["linux"]["maskedPaths"]
    (shown,) = [entry for entry in made["mounts"] if entry["destination"] == "/sys/fs/cgroup"]
    assert (shown["type"], shown["source"]) == ("bind", "/v"), "a runtime would mount them all"
    assert {"ro", "rbind", "nosuid", "nodev", "noexec"} == set(shown["options"])
    above = [entry["destination"] for entry in made["mounts"]].index("/sys")
    assert made["mounts"].index(shown) > above


def test_every_limit_is_there() -> None:
    limits = Limits(memory_bytes=64 * MIB, cpus=0.5, pids=7, shm_bytes=8192)
    made = config(limits)
    resources = made["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 * MIB, "swap": 64 * MIB}
    assert resources["pids"] == {"limit": 7}
    assert resources["cpu"] == {"period": 100_000, "quota": 50_000, "shares": 512}
    options = {entry["destination"]: entry["options"] for entry in made["mounts"]}
    assert "size=8192" in options["/dev/shm"]
    assert "max=16" in options["/dev/pts"]
    limited = {entry["type"]: entry["hard"] for entry in made["process"]["rlimits"]}
    assert (limited["RLIMIT_SIGPENDING"], limited["RLIMIT_MSGQUEUE"]) == (1024, 0)
    assert limited["RLIMIT_CORE"] == 1, "0 keeps no crash handler away"
    assert "RLIMIT_AS" not in limited, "breaks the JVM, Go and Node"


def test_capabilities_are_roots_alone_and_never_inherited() -> None:
    loosened, root = Limits(root_capabilities=True), User()
    assert config(loosened)["process"]["capabilities"] == {}
    assert config(user=root)["process"]["capabilities"] == {}
    given = config(loosened, user=root)["process"]["capabilities"]
    assert set(given) == {"bounding", "effective", "permitted"}
    of_files = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"]
    for names in given.values():
        assert names == [*of_files, "CAP_SETUID", "CAP_SETGID"]
    uncounted = config(loosened, user=root, enforcement=Enforcement({"pids": ""}), cgroup="")
    assert uncounted["process"]["capabilities"]["effective"] == of_files
    assert config(loosened, user=root)["process"]["noNewPrivileges"] is True


def test_a_kernel_that_counts_no_swap_is_not_asked_to() -> None:
    assert "swap" not in config(swap_is_counted=False)["linux"]["resources"]["memory"]


def test_what_can_be_written_is_capped_or_the_job_folder() -> None:
    for entry in config()["mounts"]:
        assert "nosuid" in entry["options"]
        if entry["type"] == "tmpfs":
            assert any(option.startswith("size=") for option in entry["options"])
            assert any(option.startswith("nr_inodes=") for option in entry["options"])
        elif entry["type"] == "bind":
            own = {"/mnt/exercism-iteration": "/j", "/tmp": "/t"}
            assert entry["source"] == own[entry["destination"]]


def test_the_process() -> None:
    process = config()["process"]
    assert process["args"] == ["bin/run.sh", "two-fer"]
    assert process["env"] == ["PATH=/bin", "A=2"]
    assert process["user"] == {"uid": 1000, "gid": 1001, "umask": 0o022}
    assert config(env=())["process"]["env"][0].startswith("PATH=/usr/local/sbin:")


def test_no_limit_is_above_the_hosts_own() -> None:
    (files,) = [
        entry
        for entry in config(ceilings={"RLIMIT_NOFILE": 1024})["process"]["rlimits"]
        if entry["type"] == "RLIMIT_NOFILE"
    ]
    assert (files["soft"], files["hard"]) == (1024, 1024)


@pytest.mark.parametrize(
    ("of_job", "pids", "of_process"),
    [(2**62, 256, 65_536), (600_000, 256, 2343), (600_000, 64, 9375), (100_000, 1024, 256)],
)
def test_the_hosts_open_files_are_shared_out(of_job: int, pids: int, of_process: int) -> None:
    made = config(Limits(pids=pids), open_files=of_job)
    limited = {entry["type"]: entry["hard"] for entry in made["process"]["rlimits"]}
    assert limited["RLIMIT_NOFILE"] == of_process


@pytest.mark.parametrize(
    "wrong", [{"memory_bytes": 1}, {"wall_s": 0}, {"pids": -1}, {"wall_s": float("nan")}]
)
def test_limits_that_nothing_could_run_in(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", User(0, 0, "/root")),
        ("root", User(0, 0, "/root")),
        ("app", User(1000, 1001, "/app")),
        ("1000", User(1000, 1001, "/app")),
        ("4242", User(4242, 0)),
        ("app:staff", User(1000, 50, "/app")),
        ("app:7", User(1000, 7, "/app")),
        ("4242:staff", User(4242, 50)),
        ("short", User(9, 9)),
    ],
)
def test_users(user: str, ids: User) -> None:
    assert resolve_user(user, PASSWD, GROUP) == ids


@pytest.mark.parametrize("user", ["nobody", "-1", "²"])
def test_users_that_are_none(user: str) -> None:
    with pytest.raises(SandboxError, match=r"USER '.+' is not in its /etc/passwd"):
        resolve_user(user, PASSWD, GROUP)


@pytest.mark.parametrize("user", ["app:none", "app:²", "oddly"])
def test_groups_that_are_none(user: str) -> None:
    with pytest.raises(SandboxError, match=r"USER '.+' is not in its /etc/group"):
        resolve_user(user, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ("1000720000", "uid 1000720000"),
        ("65536", "uid 65536"),
        ("big", "uid 99999"),
        ("grouped", "gid 1000720000"),
        ("app:1000720000", "gid 1000720000"),
        ("app:far", "gid 70000"),
        ("9" * 5000, "uid " + "9" * 20),
    ],
)
def test_ids_that_no_container_has(user: str, what: str) -> None:
    with pytest.raises(
        SandboxError, match=rf"has the {what}: a container's ids end at 65535"
    ) as caught:
        resolve_user(user, PASSWD, GROUP)
    assert len(str(caught.value)) < 300


def rules(made: dict[str, Any], call: str) -> list[dict[str, Any]]:
    return [rule for rule in made["syscalls"] if call in rule["names"]]


def test_the_filter_has_one_architecture_and_refuses_by_name() -> None:
    made = load_filter()
    assert len(made["architectures"]) == 1
    assert "capabilities" not in json.dumps(made)
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    for call in REFUSED:
        assert [(rule["action"], rule["errnoRet"]) for rule in rules(made, call)] == [
            ("SCMP_ACT_ERRNO", 1)
        ]
    for call in ("read", "openat", "execve", "futex", "mmap", "fork", "wait4"):
        assert rules(made, call)[0]["action"] == "SCMP_ACT_ALLOW"


def test_clone_makes_no_namespace_and_clone3_is_unknown() -> None:
    made = load_filter()
    assert [rule["args"] for rule in rules(made, "clone")] == [
        # none shares its open files but threads
        [{"index": 0, "value": 0x7E020400, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        [{"index": 0, "value": 0x7E030000, "valueTwo": 0x10000, "op": "SCMP_CMP_MASKED_EQ"}],
    ]
    (clone3,) = rules(made, "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_locks_of_records_by_open_files_are_invalid_whatever_is_in_the_argument_beside() -> None:
    for beside in (0, 1 << 32, 1 << 63):
        for known in (0, 4, 6, 7, 16, 36, 1024, 1026, 1031, 1033, 1040):
            assert answers_to_fcntl(load_filter(), known | beside) == ["allowed"]
        for command in (37, 38):
            assert answers_to_fcntl(load_filter(), command | beside) == [22]
            assert answers_to_fcntl(load_filter(), command | beside | 1 << 16) == []


def answers_to_fcntl(made: dict[str, Any], command: int) -> list[object]:
    return [
        rule.get("errnoRet", "allowed")
        for rule in rules(made, "fcntl")
        for arg in rule["args"]
        if command & arg["value"] == arg["valueTwo"]
    ]


def test_who_may_trace_shares_open_files_with_one_tracer_and_locks_no_records() -> None:
    made = load_filter(ptrace=True)
    for call in TRACING:
        assert [rule["action"] for rule in rules(made, call)] == ["SCMP_ACT_ALLOW"]
    for call in REFUSED - TRACING:
        assert [rule.get("errnoRet") for rule in rules(made, call)] == [1], call
    (leak_check,) = [
        rule["args"] for rule in rules(made, "clone") if rule not in rules(load_filter(), "clone")
    ]
    assert leak_check == [{"index": 0, "value": 0x800700, "op": "SCMP_CMP_EQ"}]
    for command in range(33):
        refused = {6: [37], 7: [37], 32: []}
        assert answers_to_fcntl(made, command) == refused.get(command, ["allowed"])


@pytest.mark.parametrize(
    ("env", "added"),
    [
        (("A=1",), ("ASAN_OPTIONS=detect_leaks=0", "LSAN_OPTIONS=detect_leaks=0")),
        (("ASAN_OPTIONS=detect_leaks=1",), ()),
        (("LSAN_OPTIONS=detect_leaks=1",), ()),
        (
            ("ASAN_OPTIONS=color=never", "ASAN_OPTIONS=verbosity=1:color=never"),
            (
                "ASAN_OPTIONS=verbosity=1:color=never:detect_leaks=0",
                "LSAN_OPTIONS=detect_leaks=0",
            ),
        ),
    ],
)
def test_the_leak_check_is_off_unless_the_image_says_something_of_it(
    env: tuple[str, ...], added: tuple[str, ...]
) -> None:
    assert without_leak_check(env) == (*env, *added)


@pytest.mark.parametrize(
    ("scope", "lets"), [("0\n", True), ("1\n", True), ("2\n", False), ("3\n", False), (None, True)]
)
def test_yama_says_whether_jobs_may_trace(tmp_path: Path, scope: str | None, lets: bool) -> None:
    if scope is not None:
        (tmp_path / "scope").write_text(scope)
    assert lets_jobs_trace(tmp_path / "scope") is lets


def test_the_limit_of_core_dumps_cannot_be_set_and_no_error_says_so() -> None:
    """Whatever stands beside the number of the limit, in bits that the kernel does not look at."""
    filters = (load_filter(), fixed_core_limit())
    for made, (call, index) in itertools.product(filters, {"setrlimit": 0, "prlimit64": 1}.items()):
        for beside in (0, 1 << 32, 1 << 63):
            assert answer(made, call, {index: 4 | beside, 2: 0x7FFF_0000}) == 0
            for other in (*range(4), *range(5, 16)):
                asked = {index: other | beside, 2: 0x7FFF_0000}
                assert answer(made, call, asked) == "allowed"
            if call == "prlimit64":
                assert answer(made, call, {index: 4 | beside, 2: 0}) == "allowed"


def answer(made: dict[str, Any], call: str, arguments: dict[int, int]) -> object:
    for rule in rules(made, call):
        if all(fits(arg, arguments[arg["index"]]) for arg in rule["args"]):
            return rule.get("errnoRet", "allowed")
    return "allowed" if made["defaultAction"] == "SCMP_ACT_ALLOW" else "unknown"


def fits(argument: dict[str, Any], value: int) -> bool:
    if argument["op"] == "SCMP_CMP_MASKED_EQ":
        return bool(value & argument["value"] == argument["valueTwo"])
    return bool((value == argument["value"]) == (argument["op"] == "SCMP_CMP_EQ"))


def test_sockets_are_unix_tcp_and_udp() -> None:
    made = rules(load_filter(), "socket")
    allowed = [rule["args"] for rule in made if rule["action"] == "SCMP_ACT_ALLOW"]
    assert {args[0]["value"] for args in allowed} == {1, 2, 10}
    assert all(args[0]["op"] == "SCMP_CMP_EQ" for args in allowed)
    of_internet = [args for args in allowed if args[0]["value"] != 1]
    assert {(args[1]["valueTwo"], args[2]["value"]) for args in of_internet} == {
        (kind, protocol) for kind in (1, 2) for protocol in (0, 6, 17)
    }
    (netlink,) = [rule for rule in made if rule["args"][0]["value"] == 16]
    assert (netlink["action"], netlink["errnoRet"]) == ("SCMP_ACT_ERRNO", 97)


def test_rules_of_other_machines_and_of_capabilities_are_left_out() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
            {"names": ["d"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_X"]}},
            {"names": ["e", "clone"], "action": "SCMP_ACT_ALLOW", "args": None},
        ],
    }
    made = translate(profile, "x86_64")
    named = {call for rule in made["syscalls"] for call in rule["names"]}
    assert named & set("abcde") == {"d", "e"}
    assert len(rules(made, "clone")) == 2, "our own"
    assert made["architectures"] == ["SCMP_ARCH_X86_64"]
    assert translate(profile, "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]
    with pytest.raises(SandboxError, match="riscv64"):
        translate(profile, "riscv64")


def test_a_missing_profile_says_what_to_install(tmp_path: Path) -> None:
    assert PROFILE.exists()
    with pytest.raises(SandboxError, match="apt install golang-github-containers-common"):
        load_filter(tmp_path / "none.json")
