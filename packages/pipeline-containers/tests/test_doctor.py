"""What a host needs, found by trying it; and what is said where something is missing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.building.builders import find_builder
from pipeline_containers.doctor import Need, explain
from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.host.rights import NEEDED, missing_capabilities

COMMAND = str(Path(sys.executable).parent / "pipeline-containers")
ALL = "CapEff:\t000001ffffffffff\n"


def test_all_capabilities_are_enough() -> None:
    assert missing_capabilities(f"Name:\tx\n{ALL}") == []


@pytest.mark.parametrize("name", NEEDED)
def test_each_capability_that_is_missing_is_named(name: str) -> None:
    bits = 0x1FFFFFFFFFF & ~(1 << NEEDED[name])
    assert missing_capabilities(f"CapEff:\t{bits:016x}\n") == [name]


def test_those_that_a_container_engine_leaves_out() -> None:
    assert missing_capabilities("CapEff:\t00000000a80425fb\n") == [
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
    ]


NEEDS = [
    Need("kernel", True, "Linux 6.1"),
    Need("proc", False, "parts are masked", "unmask them"),
    Need("memory", False, "no limit can be set", "Delegate=yes"),
    Need("cpus", False, "no limit can be set", "Delegate=yes", is_required=False),
]


def test_a_worker_says_a_line_for_each_lack_and_the_ways_out() -> None:
    assert explain(NEEDS, "runc create failed: ...").splitlines() == [
        "this host lacks what jobs need:",
        "  proc: parts are masked: unmask them",
        "  memory: no limit can be set: Delegate=yes",
        "hand over what is missing (docs/sandbox.md, Without root), or allow it by name: "
        "--allow-unenforced memory",
    ]


def test_one_lack_is_one_line() -> None:
    said = explain(NEEDS[:2], "runc create failed: ...")
    assert said == "this host lacks what jobs need: proc: parts are masked: unmask them"


def test_where_nothing_is_lacking_the_reason_stands() -> None:
    assert explain(NEEDS[:1], "the disk is full") == "the disk is full"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have these programs on PATH, and no others."""

    def install(*names: str) -> None:
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


@pytest.mark.parametrize(
    ("programs", "kind", "with_base_images", "found"),
    [
        (("img", "buildah"), "auto", False, "img"),
        (("img", "buildah"), "auto", True, "buildah"),
        (("img", "buildah"), "buildah", False, "buildah"),
        (("img", "buildah"), "img", True, "img"),
        (("buildah",), "auto", False, "buildah"),
    ],
)
def test_which_builder_is_meant(
    installed: Callable[..., None],
    programs: tuple[str, ...],
    kind: str,
    with_base_images: bool,
    found: str,
) -> None:
    installed(*programs)
    assert find_builder(kind, with_base_images=with_base_images) == found


@pytest.mark.parametrize(
    ("programs", "kind", "with_base_images", "said"),
    [
        ((), "auto", False, "neither img nor buildah is on PATH: apt install buildah"),
        (("img",), "auto", True, "buildah is not on PATH: apt install buildah"),
        (("img",), "buildah", False, "apt install buildah, or name another builder"),
        (("buildah",), "img", False, "img is not on PATH: install img, or name another builder"),
        (("docker",), "docker", False, "'docker' is not one of: auto, img, buildah"),
    ],
)
def test_a_builder_that_is_not_there_is_said(
    installed: Callable[..., None],
    programs: tuple[str, ...],
    kind: str,
    with_base_images: bool,
    said: str,
) -> None:
    installed(*programs)
    with pytest.raises(ContainersError, match=said):
        find_builder(kind, with_base_images=with_base_images)


def doctor(*options: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Call the command, in a mount namespace in which something was done before."""
    script = f'{before}\nexec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", COMMAND, "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=paced(60))


@pytest.fixture
def folder(work: Path) -> tuple[str, str]:
    return ("--work", str(work / "doctor"))


@pytest.mark.e2e
def test_this_host_has_all(folder: tuple[str, str]) -> None:
    said = doctor("--builds", *folder)
    assert said.returncode == 0, said.stdout + said.stderr
    lines = {line.split()[1]: line for line in said.stdout.splitlines() if line[0] != " "}
    assert set(lines) >= {
        *("kernel", "skopeo", "git", "builder", "busybox", "runtime", "seccomp", "rights", "proc"),
        *("layers", "memory", "pids", "cpus", "ids", "self-test"),
    }
    assert all(line.startswith("ok") for line in lines.values())
    assert os.uname().release in lines["kernel"]


@pytest.mark.e2e
def test_the_builder_that_is_named_is_looked_for(folder: tuple[str, str]) -> None:
    said = doctor("--builds", "--builder", "img", "--json", *folder)
    (need,) = (need for need in json.loads(said.stdout) if need["name"] == "builder")
    assert said.returncode == 1
    assert (need["how"], need["remedy"]) == (
        "img is not on PATH",
        "install img, or name another builder",
    )


LACKS = {
    "proc": ("mount --bind /dev/null /proc/interrupts", "systempaths=unconfined"),
    "memory": (
        "for m in $(grep -o ' /sys/fs/cgroup[^ ]*' /proc/self/mountinfo); do\n"
        "mount -o remount,bind,ro $m; done",
        "ProtectControlGroups=no",
    ),
    "skopeo": (
        "mkdir /run/bin && for p in unshare runc; do ln -s $(which $p) /run/bin; done\n"
        "trap 'rm -r /run/bin' EXIT; export PATH=/run/bin",
        "apt install skopeo",
    ),
}


@pytest.mark.e2e
@pytest.mark.parametrize(("name", "before", "remedy"), [(k, *v) for k, v in LACKS.items()])
def test_what_is_missing_is_said_with_what_to_change(
    name: str, before: str, remedy: str, folder: tuple[str, str]
) -> None:
    before = f"mount -t tmpfs none /run\n{before}"
    said = doctor("--json", *folder, before=before)
    assert said.returncode == 1, said.stdout + said.stderr
    needs = {need["name"]: need for need in json.loads(said.stdout)}
    assert not needs[name]["holds"]
    assert remedy in needs[name]["remedy"]
    assert "self-test" not in needs


@pytest.mark.e2e
def test_what_is_allowed_by_name_is_no_lack(folder: tuple[str, str]) -> None:
    options = ("--allow-unenforced", "memory,pids,cpus", *folder)
    said = doctor(*options, before=LACKS["memory"][0])
    assert said.returncode == 0, said.stdout + said.stderr
    assert "NO  memory" in said.stdout
