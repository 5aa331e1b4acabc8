"""What `./dev soak vm` runs in a guest, and what is told of it. No I/O."""

import re
import shlex
from dataclasses import dataclass

from vm.image import CHECKOUT

_SERVICE = (
    *("systemd-run", "--wait", "--pipe", "--quiet", "--collect"),
    *("-p", "Delegate=yes", "-p", "KillMode=mixed", "-p", "MemoryMax=3G"),
    *("-p", f"WorkingDirectory=/{CHECKOUT}", "-E", "HOME=/root", "-E", "PATH"),
)
"""A service whose limit holds the jobs too: what a worker is started as."""


@dataclass(frozen=True)
class Suite:
    """A command in the checkout, and whether it is run as a service."""

    name: str
    command: str
    is_service: bool = True

    def script(self) -> str:
        """Say what a guest's shell is to do."""
        command = shlex.quote(self.command)
        begin = shlex.join(_SERVICE) if self.is_service else "env"
        return f"cd /{CHECKOUT} && export HOME=/root && {begin} sh -c {command}"


CRUN = "export PIPELINE_RUNTIME=crun; "
SUITES = (
    Suite("demo", "./dev demo"),
    Suite("demo, hosts", "./dev demo --hosts"),
    Suite("demo, crun", f"{CRUN}./dev demo"),
    Suite("hosts", "./dev test -m vm tests/hosts", is_service=False),
    Suite("hosts, crun", f"{CRUN}./dev test -m vm tests/hosts", is_service=False),
    Suite("hostile", "./dev test tests/hostile"),
    Suite("hostile, crun", f"{CRUN}./dev test tests/hostile/test_families.py"),
    Suite("containers", "./dev test packages/pipeline-containers/tests"),
    Suite(
        "containers, crun",
        f"{CRUN}./dev test packages/pipeline-containers/tests -k 'not build and not img'",
    ),
    Suite("e2e", "./dev test tests/e2e tests/smoke"),
)

_CLOSING = re.compile(r"^=+ (.*\d+ (?:passed|failed|error).*) =+$|^(\d+ of \d+ as promised.*)$")


def closing_line(output: str) -> str:
    """Take the line that ends a run of tests, or of the demo."""
    for line in reversed(output.splitlines()):
        if found := _CLOSING.match(line.strip()):
            return found[1] or found[2]
    return "no closing line"


def table(rows: list[tuple[str, str, int, str]]) -> str:
    """Write what came of each suite: guest, suite, exit status, closing line."""
    width = max(len(suite) for _, suite, _, _ in rows)
    return "\n".join(
        f"{guest:10} {suite:{width}}  {'ok' if status == 0 else 'FAILED':6}  {closing}"
        for guest, suite, status, closing in rows
    )
