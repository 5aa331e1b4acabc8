"""Jobs as people start them on a host with systemd: as services, by users, in scopes, in pods.

`pipeline-containers run` with an image of busybox whose slug chooses how the job ends, and
`doctor`, which says where jobs lie.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hosts import pod
from support.pace import paced
from support.processes import BIN
from support.runtime import RUNTIME

USER = "joe"
"""The guest's ordinary user."""

_SCRIPT = """\
#!/bin/sh
case $1 in
ok) ;;
memory) tail /dev/zero; exit 9 ;;
child) (tail /dev/zero); echo "child $?" ;;
tmpfs) dd if=/dev/zero of=/tmp/x bs=1M count=200; exit 9 ;;
pids) i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); done; exit 3 ;;
cpus) i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done ;;
wall) sleep 600 ;;
daemon) (setsid sleep 600 &) ;;
late) sleep 8; tail /dev/zero; exit 9 ;;
esac
echo '{"version": 1, "status": "pass"}' > "$3/results.json"
"""


@dataclass(frozen=True)
class Said:
    """What a command said, whichever way it was started."""

    exit_status: int
    output: str
    error: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of a run."""
        lines = self.output.strip().splitlines()
        assert lines, self.error
        report = json.loads(lines[-1])
        assert isinstance(report, dict)
        return report

    @property
    def needs(self) -> dict[str, dict[str, Any]]:
        """What the doctor found, by name."""
        assert self.output, self.error
        return {need["name"]: need for need in json.loads(self.output)}


class Place:
    """An image, a solution, and folders to work in for root and for the user."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        tool = self.image / "opt/test-runner/bin/run.sh"
        tool.parent.mkdir(parents=True)
        tool.write_text(_SCRIPT)
        tool.chmod(0o755)
        (self.image / "bin").mkdir()
        shutil.copy("/bin/busybox", self.image / "bin/busybox")
        for name in ("sh", "tail", "dd", "sleep", "setsid"):
            (self.image / "bin" / name).symlink_to("busybox")
        self.solution = folder / "solution"
        self.solution.mkdir()
        (self.solution / "file").write_text("x")
        self.work = folder / "work"
        self.users_work = folder / "users"
        self.users_work.mkdir()
        shutil.chown(self.users_work, USER)
        self.pods_work = folder / "pods"
        self.pods_work.mkdir()
        shutil.chown(self.pods_work, pod.FIRST, pod.FIRST)

    def run(self, slug: str, *options: str, work: Path | None = None) -> list[str]:
        """Give the command that runs a job of the slug's ending, as root if not told otherwise."""
        limits = {"memory_bytes": "64MiB", "pids": "32", "wall_s": f"{paced(60)}"}
        if slug == "wall":
            limits["wall_s"] = f"{paced(0.5)}"
        given = [part for name, value in limits.items() for part in ("--limit", f"{name}={value}")]
        return [
            *(str(BIN / "pipeline-containers"), "run", str(self.image), slug, str(self.solution)),
            *("--work", str(work or self.work), "--json", "--runtime", RUNTIME, *given, *options),
        ]

    def doctor(self, *options: str, work: Path | None = None) -> list[str]:
        """Give the command that looks at the host."""
        command = (str(BIN / "pipeline-containers"), "doctor", "--json", "--runtime", RUNTIME)
        return [*command, "--work", str(work or self.work), *options]


def call(command: Sequence[str], **environment: str) -> Said:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=paced(120),
        env=os.environ | environment,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def service(command: Sequence[str], *properties: str, name: str = "") -> Said:
    """Run a command as a service of the system's."""
    return call(service_command(command, *properties, name=name))


def service_command(command: Sequence[str], *properties: str, name: str = "") -> list[str]:
    unit = [f"--unit={name}"] if name else []
    given = [part for one in properties for part in ("-p", one)]
    paths = ["-E", f"PATH={os.environ['PATH']}"]
    return [
        "systemd-run",
        "--wait",
        "--pipe",
        "--quiet",
        "--collect",
        *unit,
        *given,
        *paths,
        *command,
    ]


def as_user(command: Sequence[str], *options: str) -> Said:
    """Run a command as the user, by its own service manager."""
    number = int(call(["id", "-u", USER]).output)
    run = ["systemd-run", "--user", "--quiet", "--collect", *options]
    return call(
        [*("setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--"), *run, *command],
        XDG_RUNTIME_DIR=f"/run/user/{number}",
        DBUS_SESSION_BUS_ADDRESS=f"unix:path=/run/user/{number}/bus",
        HOME=f"/home/{USER}",
    )


def in_pod(command: Sequence[str]) -> list[str]:
    """Give the command that runs another as root of 65,536 ids, as a pod's user namespace has."""
    return [sys.executable, str(Path(__file__).with_name("pod.py")), *command]
