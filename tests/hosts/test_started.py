"""Every way in which people start a worker, on a host with systemd and version 2 of cgroups.

Each works, its limits held and its counters there, or is refused with what to change.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts.started import (
    USER,
    Place,
    Said,
    as_user,
    call,
    in_pod,
    service,
    service_command,
)
from support.pace import paced

pytestmark = [pytest.mark.vm, pytest.mark.e2e]

Start = Callable[[list[str]], Said]

DELEGATED = ("Delegate=yes", "KillMode=mixed")
BY_ROOT: dict[str, Start] = {
    "a login": lambda command: service(command, "PAMName=login", "User=root"),
    "a service without Delegate": service,
    "a service with Delegate": lambda command: service(command, *DELEGATED),
    "a shell in a service with Delegate": lambda command: service(
        ["sh", "-c", '"$@"; exit $?', "sh", *command], *DELEGATED
    ),
    "a cgroup namespace, its own mounted": lambda command: service(
        [
            *("unshare", "--cgroup", "--mount", "sh", "-c"),
            'umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"',
            *("sh", *command),
        ],
        *DELEGATED,
    ),
    "a cgroup namespace, the host's mounted": lambda command: service(
        ["unshare", "--cgroup", *command], *DELEGATED
    ),
    "another network": lambda command: service(
        ["ip", "netns", "exec", "hosts-test", *command], *DELEGATED
    ),
}
BY_USER: dict[str, Start] = {
    "a service with User= and Delegate": lambda command: service(
        command, f"User={USER}", *DELEGATED
    ),
    "a scope": lambda command: as_user(command, "--scope", "-p", "Delegate=yes"),
    "a shell in a scope": lambda command: as_user(
        ["sh", "-c", '"$@"; exit $?', "sh", *command], "--scope", "-p", "Delegate=yes"
    ),
    "a service of the user's": lambda command: as_user(
        command, "--wait", "--pipe", "-p", "Delegate=yes"
    ),
}
ENDINGS = {
    "ok": ("exited", 0),
    "memory": ("memory_limit", 4),
    "child": ("exited", 0),
    "tmpfs": ("memory_limit", 4),
    "pids": ("pids_limit", 4),
    "cpus": ("exited", 0),
    "wall": ("timed_out", 4),
    "daemon": ("exited", 0),
}


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", "hosts-test"], check=True)
    yield
    subprocess.run(["ip", "netns", "delete", "hosts-test"], check=True)


def see_all_endings(place: Place, start: Start, work: Path) -> None:
    for slug, (ending, exit_status) in ENDINGS.items():
        options = ("--limit", "cpus=0.5") if slug == "cpus" else ()
        said = start(place.run(slug, *options, work=work))
        assert said.exit_status == exit_status, said
        report, usage = said.report, said.report["usage"]
        assert report["ending"] == ending, report
        assert report["unenforced"] == []
        assert usage["cpu_s"] > 0
        assert usage["peak_pids"] <= 32
        assert (usage["oom_kills"] > 0) == (slug in ("memory", "child", "tmpfs")), report
        assert usage["peak_memory_bytes"] <= 64 << 20
        if slug == "cpus":
            starting_s = paced(0.5)  # the runtime's own, which no quota slows
            assert usage["cpu_s"] < 0.75 * usage["wall_s"] + starting_s, report


@pytest.mark.parametrize("start", BY_ROOT.values(), ids=BY_ROOT)
def test_started_by_root(place: Place, start: Start) -> None:
    see_all_endings(place, start, place.work)


@pytest.mark.parametrize("start", BY_USER.values(), ids=BY_USER)
def test_started_by_a_user(place: Place, start: Start) -> None:
    see_all_endings(place, start, place.users_work)


def test_in_a_pods_user_namespace_of_65536_ids(place: Place) -> None:
    def start(command: list[str]) -> Said:
        return service(in_pod(command), *DELEGATED)

    see_all_endings(place, start, place.pods_work)


# --- where jobs lie


def placed(place: Place, *properties: str) -> tuple[str, str]:
    """Say below which cgroup jobs lie of a service called hosts-test, and what is noted of it."""
    needs = service(place.doctor(), *properties, name="hosts-test").needs
    return needs["memory"]["how"], needs.get("placement", {}).get("remedy", "")


def test_jobs_lie_below_a_delegated_service(place: Place) -> None:
    assert placed(place, *DELEGATED) == (
        "cgroups of version 2, below /system.slice/hosts-test.service",
        "",
    )


def test_below_its_slice_where_it_is_not_delegated_and_it_is_said_what_to_add(
    place: Place,
) -> None:
    assert placed(place) == (
        "cgroups of version 2, below /system.slice",
        "add Delegate=yes to the [Service] section of hosts-test.service",
    )


def test_the_limit_of_a_delegated_service_holds_its_jobs(place: Place) -> None:
    command = place.run("tmpfs", "--limit", "memory_bytes=400MiB")
    report = service(command, *DELEGATED, "MemoryMax=150M", "MemorySwapMax=0").report
    assert report["ending"] == "memory_limit"
    assert report["usage"]["peak_memory_bytes"] < 150 << 20


def test_another_parent_can_be_named(place: Place) -> None:
    said = service(place.run("memory", "--cgroup-parent", "/pipeline-hosts-named"), *DELEGATED)
    parent = Path("/sys/fs/cgroup/pipeline-hosts-named")
    assert parent.is_dir()
    parent.rmdir()
    assert said.report["ending"] == "memory_limit"


@pytest.mark.parametrize("properties", [(), DELEGATED], ids=["not delegated", "delegated"])
def test_limits_outlast_a_reload_of_systemd(place: Place, properties: tuple[str, ...]) -> None:
    command = service_command(place.run("late"), *properties, name="hosts-test")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(4)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(
        ["systemctl", "set-property", "--runtime", "cron.service", "CPUWeight=50"],
        check=False,
        stderr=subprocess.DEVNULL,
    )
    output, _ = running.communicate()
    report = Said(running.returncode, output, "").report
    assert (report["ending"], report["usage"]["oom_kills"]) == ("memory_limit", 1)


# --- what is refused, each with what to change there


def lacks(said: Said) -> dict[str, str]:
    assert said.exit_status == 1, said
    return {name: need["remedy"] for name, need in said.needs.items() if not need["holds"]}


LIMITS = ("memory", "pids", "cpus")
REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "ProtectControlGroups": (
        (*DELEGATED, "ProtectControlGroups=yes"),
        LIMITS,
        "in a systemd unit set ProtectControlGroups=no",
    ),
    "a capability less": (
        (*DELEGATED, "CapabilityBoundingSet=~CAP_SYS_PTRACE"),
        ("rights",),
        "in a systemd unit to CapabilityBoundingSet=",
    ),
    "a user, not delegated": ((f"User={USER}",), LIMITS, "User= and Delegate=yes"),
    "a user, without cpu": (
        (f"User={USER}", "Delegate=memory pids", "Slice=hosts.slice"),
        (),
        "",
    ),
}


@pytest.mark.parametrize(("properties", "names", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_a_host_lacks_is_said_by_name_with_what_to_change(
    place: Place, properties: tuple[str, ...], names: tuple[str, ...], remedy: str
) -> None:
    is_users = any(one.startswith("User=") for one in properties)
    work = place.users_work if is_users else place.work
    said = service(place.doctor(work=work), *properties)
    found = {need for need, how in said.needs.items() if not how["holds"]}
    if not names:
        assert found <= {"cpus"}  # systemd may hand over more than it was asked to
        return
    assert set(lacks(said)) >= set(names)
    assert all(remedy in lacks(said)[name] for name in names)


def test_a_read_only_cgroup_in_a_namespace_of_its_own_as_a_pod_has_it(place: Place) -> None:
    script = 'umount -l /sys/fs/cgroup; mount -t cgroup2 -o ro none /sys/fs/cgroup; exec "$@"'
    command = ["unshare", "--cgroup", "--mount", "sh", "-c", script, "sh"]
    found = lacks(service([*command, *place.doctor()], *DELEGATED))
    assert set(found) == set(LIMITS)
    assert all("have /sys/fs/cgroup mounted read-write" in remedy for remedy in found.values())
    allowed = ("--allow-unenforced", ",".join(LIMITS))
    report = service([*command, *place.run("ok", *allowed)], *DELEGATED).report
    assert (report["ending"], report["unenforced"]) == ("exited", list(LIMITS))


@pytest.fixture
def as_ubuntu_delegates() -> Iterator[None]:
    """Have users given memory and pids only, as Ubuntu 22.04 gives them."""
    number = call(["id", "-u", USER]).output.strip()
    change = Path("/etc/systemd/system/user@.service.d/hosts.conf")
    change.parent.mkdir(exist_ok=True)
    change.write_text("[Service]\nDelegate=\nDelegate=pids memory\n")
    try:
        call(["systemctl", "daemon-reload"])
        call(["systemctl", "restart", f"user@{number}"])
        yield
    finally:
        change.unlink()
        call(["systemctl", "daemon-reload"])
        call(["systemctl", "restart", f"user@{number}"])


def test_controllers_that_were_not_handed_over_are_named_one_by_one(
    place: Place, as_ubuntu_delegates: None
) -> None:
    scope = ("--scope", "-p", "Delegate=yes")
    refused = as_user(place.run("ok", work=place.users_work), *scope)
    assert refused.exit_status == 1
    assert "cpus: " in refused.error
    assert "add it to Delegate= of the unit (a user's by systemctl edit user@" in refused.error
    assert "memory:" not in refused.error
    allowed = ("--allow-unenforced", "cpus")
    report = as_user(place.run("memory", *allowed, work=place.users_work), *scope).report
    assert (report["ending"], report["unenforced"]) == ("memory_limit", ["cpus"])
