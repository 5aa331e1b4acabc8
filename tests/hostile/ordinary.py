"""An ordinary user for a test's processes, who has no account on this machine but in their sight.

The processes are in a mount namespace of their own, where the accounts' files name the user. Python
and this checkout, which may lie in root's closed home folder, are opened there as well.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from shutil import which

from pipeline_containers.sandbox.host.placement import LEAF

_CGROUPS = Path("/sys/fs/cgroup")
_ROOT = Path(__file__).parents[2]
_PLACES = (Path(sys.base_prefix), _ROOT)
"""What the processes are made of."""
_IDS = 65_536


@dataclass(frozen=True)
class User:
    """A user by its number, with what it was given: subordinate ids, cgroups."""

    folder: Path
    number: int
    first_subordinate: int = 0
    cgroup: str = ""
    is_confined: bool = False
    """To a changed root, from where the kernel lets nobody make a user namespace."""

    def under(self) -> tuple[str, ...]:
        """Give the command that runs another as this user."""
        alone = (which("unshare") or "unshare", "--mount", "--propagation", "private")
        return (*alone, "sh", "-c", "\n".join(self._steps()), "sh")

    def _steps(self) -> Iterator[str]:
        """Say how to become this user, and then what the arguments say."""
        yield "set -e"
        for name in ("passwd", "subuid", "subgid"):
            if Path("/etc", name).exists():
                yield f"mount --bind {quote(str(self.folder / name))} /etc/{name}"
        places = {place: closed for place in _PLACES if (closed := _closed_above(place))}
        for number, place in enumerate(places):
            yield f"mount --bind {quote(str(place))} {quote(str(self.folder / f'open-{number}'))}"
        for closed in set(places.values()):
            yield f"mount -t tmpfs -o mode=755 none {quote(str(closed))}"
        for number, place in enumerate(places):
            yield f"mkdir -p {quote(str(place))}"
            yield f"mount --bind {quote(str(self.folder / f'open-{number}'))} {quote(str(place))}"
        for cgroup in self.cgroups():
            # of version 2, one that a worker was in before has controllers, and takes no processes
            leaf = quote(str(cgroup / LEAF / "cgroup.procs"))
            entered = f"{{ echo $$ > {quote(str(cgroup / 'cgroup.procs'))}; }} 2>/dev/null"
            yield f"[ -e {leaf} ] && echo $$ > {leaf} || {entered}"
        own = self.number
        if self.is_confined:
            root = quote(str(self.folder / "root"))
            yield f"mount --rbind / {root}"
            yield f'exec chroot --userspec={own}:{own} --groups= {root} "$@"'
        else:
            yield f'exec setpriv --reuid {own} --regid {own} --clear-groups -- "$@"'

    def may_make_namespaces(self) -> bool:
        """Say whether this machine lets such a user have what a sandbox is built on."""
        new = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")
        return subprocess.run([*self.under(), *new, "true"], check=False).returncode == 0

    def owns(self, folder: Path) -> None:
        """Make a folder of this user's."""
        folder.mkdir()
        os.chown(folder, self.number, self.number)

    def processes(self) -> set[int]:
        """List the processes that are this user's, or one of its subordinates'."""
        found = set()
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with suppress(OSError):
                    owner = Path(entry.path, "stat").stat().st_uid
                    is_subordinate = owner - self.first_subordinate in range(_IDS)
                    if owner == self.number or (self.first_subordinate and is_subordinate):
                        found.add(int(entry.name))
        return found

    def write_accounts(self) -> None:
        """Write the files that the processes are to see in the place of the machine's own."""
        self.folder.mkdir()
        for name in ("root", *(f"open-{number}" for number, _ in enumerate(_PLACES))):
            (self.folder / name).mkdir()
        account = f"tester:x:{self.number}:{self.number}::/nonexistent:/bin/sh\n"
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text() + account)
        given = f"tester:{self.first_subordinate}:{_IDS}\n" if self.first_subordinate else ""
        for name in ("subuid", "subgid"):
            (self.folder / name).write_text(given)

    def take_cgroups(self) -> None:
        """Make the cgroups, in every hierarchy, and hand them over."""
        for cgroup in self.cgroups():
            cgroup.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 begins with none
                if (cgroup.parent / name).exists():
                    (cgroup / name).write_text((cgroup.parent / name).read_text())
            for path in (cgroup, cgroup / "cgroup.procs", cgroup / "cgroup.subtree_control"):
                if path.exists():
                    os.chown(path, self.number, self.number)

    def leave_cgroups(self) -> None:
        """Remove them; they must be empty but for the rooms that workers made for themselves."""
        for cgroup in self.cgroups():
            for room in cgroup.glob("pipeline-*"):
                room.rmdir()
            cgroup.rmdir()

    def cgroups(self) -> list[Path]:
        """Say where the cgroups are that were handed over."""
        if not self.cgroup:
            return []
        if (_CGROUPS / "cgroup.controllers").exists():
            return [_CGROUPS / self.cgroup]
        return [place / self.cgroup for place in _CGROUPS.iterdir() if place.is_dir()]


def _closed_above(place: Path) -> Path | None:
    """Return the topmost folder on the way to a place that only root gets through."""
    closed = [folder for folder in place.parents if not folder.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def worker_of(warden: int) -> int:
    """Return the process that does the work for a warden; the warden itself if there is none."""
    children = Path(f"/proc/{warden}/task/{warden}/children").read_text().split()
    return int(children[0]) if children else warden


@contextmanager
def ordinary_user(folder: Path, *, has_ids: bool, has_cgroups: bool) -> Iterator[User]:
    """Give a user that nobody else is, and leave nothing of it."""
    own = os.getpid() % 1000
    user = User(
        folder,
        number=1_600_000_000 + 2 * own + has_ids,
        first_subordinate=1_700_000_000 + own * _IDS if has_ids else 0,
        cgroup=f"pipeline-user-{os.getpid()}" if has_cgroups else "",
    )
    user.write_accounts()
    user.take_cgroups()
    try:
        yield user
    finally:
        user.leave_cgroups()
