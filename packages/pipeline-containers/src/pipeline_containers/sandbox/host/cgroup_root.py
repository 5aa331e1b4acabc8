"""The cgroup that a sandbox' containers lie below: found, made, and removed again.

It is `OWN/pipeline-KEY`, below the cgroup that this process was started in, so that the limits of
that one (a unit's `MemoryMax=`, a pod's) hold the jobs as well; or below the one that is named.
In version 1 a process' cgroups differ by hierarchy, and a runtime takes a path that is not absolute
to begin at each of them; in version 2 it is absolute.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.hierarchies import (
    PLACE,
    UNIFIED,
    CgroupMount,
    Hierarchies,
    find_cgroup_mounts,
    find_own,
)
from pipeline_containers.sandbox.host.placement import (
    AS_A_USER,
    LEAF,
    MAKE_WRITABLE,
    SHOW_OWN,
    CgroupCandidate,
    Choice,
    choose,
)

CONTROLLERS = {"memory": "memory", "pids": "pids", "cpus": "cpu"}
"""The limits that cgroups hold, and the controller of each."""

_TRIES = 100
"""How often processes are moved: one that forks meanwhile leaves a child behind."""


@dataclass(frozen=True, slots=True)
class CgroupRoot:
    """A cgroup, the hierarchies that its path begins in, and what cannot be limited below it."""

    hierarchies: Hierarchies
    cgroup: str
    """Empty: there is none."""
    missing: dict[str, str]
    """By limit, why."""
    place: str
    """In words: which version, and where."""
    notes: tuple[str, ...] = ()
    """Why it does not lie below this process' own cgroup, and what to do about it."""

    def folders(self) -> list[Path]:
        """Return where it is."""
        return self.hierarchies.folders(self.cgroup) if self.cgroup else []


def open_cgroup_root(name: str, parent: str = "") -> CgroupRoot:
    """Make it, named `name`, below this process' own cgroup or the named `parent`."""
    mounts = find_cgroup_mounts()
    if _is_version_2(mounts):
        return _open_version_2(mounts[UNIFIED], name, parent)
    if mounts:
        return _open_version_1(mounts, name, parent)
    why = f"no cgroups are mounted: mount -t cgroup2 cgroup2 {PLACE}"
    return _nowhere(dict.fromkeys(CONTROLLERS, why))


def _nowhere(missing: dict[str, str]) -> CgroupRoot:
    return CgroupRoot(Hierarchies({}), "", missing, "none")


def clear_own_cgroup() -> None:
    """Leave the own cgroup of version 2 for a leaf, where that has to be done to use it.

    For who is about to start processes that must not stay behind. Where it cannot be done nothing
    is: what holds is found out when the root is opened.
    """
    mounts = find_cgroup_mounts()
    if _is_version_2(mounts):
        with contextlib.suppress(OSError):
            _clear(mounts[UNIFIED], _choose(mounts[UNIFIED]))


def _is_version_2(mounts: dict[str, CgroupMount]) -> bool:
    return UNIFIED in mounts and "memory" not in mounts


# --- version 1


def _open_version_1(mounts: dict[str, CgroupMount], name: str, parent: str) -> CgroupRoot:
    """Make it in each hierarchy: a runtime wants them all, whatever is limited."""
    own = dict.fromkeys(mounts, "/") if parent else find_own()
    tops: dict[str, Path] = {}
    for hierarchy, mount in mounts.items():
        top = mount.folder(own.get(hierarchy, "/"))
        if top is None:
            why = f"{mount.place} shows the cgroups of another namespace"
            return _nowhere(dict.fromkeys(CONTROLLERS, why))
        tops[hierarchy] = top
    path = f"{parent}/{name}" if parent else name
    hierarchies = Hierarchies(tops)
    controlled = {key: top for key, top in tops.items() if key != UNIFIED}
    for top in controlled.values():
        why = _why_not(top / path.strip("/"))
        if why:
            cgroups.remove_if_empty(hierarchies, path)
            return _nowhere(dict.fromkeys(CONTROLLERS, why))
    kind = "version 1 and 2" if UNIFIED in mounts else "version 1"
    return CgroupRoot(
        hierarchies,
        path,
        {},
        f"{kind}, below {controlled.get('memory', controlled[min(controlled)])}",
    )


def _why_not(folder: Path) -> str:
    """Make a cgroup, and say why it cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder / "cgroup.procs", os.W_OK):
            return ""
        error = OSError(errno.EACCES, "")
    except OSError as caught:
        error = caught
    return f"no limit can be set below {folder.parent}: {_reason(error)}"


# --- version 2


def _open_version_2(mount: CgroupMount, name: str, parent: str) -> CgroupRoot:
    choice = Choice(parent) if parent else _choose(mount)
    if choice.path is None:
        why = f"no limit can be set below {mount.place}: {choice.passed[0]}"
        return _nowhere(dict.fromkeys(CONTROLLERS, why))
    path = f"{choice.path.rstrip('/')}/{name}"
    try:
        moved = _clear(mount, choice)
        folder = _folder(mount, path)
        folder.mkdir(parents=bool(parent), exist_ok=True)
    except OSError as error:
        why = f"no limit can be set below {choice.path}: {_reason(error)}"
        return _nowhere(dict.fromkeys(CONTROLLERS, why))
    missing = {}
    for limit, controller in CONTROLLERS.items():
        why = _enable(mount, path, controller)
        if why:
            missing[limit] = why
    _enable(mount, path, "cpuset")  # not needed: it shows jobs their processors alone
    if len(missing) == len(CONTROLLERS):
        with contextlib.suppress(OSError):
            folder.rmdir()
        _move_back(folder.parent, moved)
        return _nowhere(missing)
    # by a path that begins at the mount: the runtimes take an absolute one from there
    hierarchies = Hierarchies({UNIFIED: mount.place})
    seen = "/" + str(folder.relative_to(mount.place))
    notes = tuple(f"jobs lie below {choice.path}, for {why}" for why in choice.passed[:1])
    return CgroupRoot(hierarchies, seen, missing, f"version 2, below {choice.path}", notes)


def _choose(mount: CgroupMount) -> Choice:
    return choose(_candidates(mount, find_own().get(UNIFIED, "/")))


def _candidates(mount: CgroupMount, own: str) -> list[CgroupCandidate]:
    """List the own cgroup and those above it, as far as they are seen."""
    if mount.folder(own) is None:
        why = f"{mount.place} shows the cgroups of another namespace: {SHOW_OWN}"
        return [CgroupCandidate(own, problem=why, is_own=True)]
    if own.rpartition("/")[2] == LEAF:
        own = own.rpartition("/")[0] or "/"
    found = [_candidate(mount, own, is_own=True)]
    while found[-1].path != mount.root:
        above = found[-1].path.rpartition("/")[0] or "/"
        found.append(_candidate(mount, above, is_own=False))
    return found


def _candidate(mount: CgroupMount, path: str, *, is_own: bool) -> CgroupCandidate:
    folder = _folder(mount, path)
    is_root = path == mount.root
    is_host_root = is_root and not (folder / "cgroup.type").exists()
    return CgroupCandidate(
        path,
        problem=_problem(mount, folder, path),
        is_own=is_own,
        is_delegated=_is_delegated(folder) or (is_root and not is_host_root),
        is_host_root=is_host_root,
        has_others=any(pid != os.getpid() for pid in _processes(folder)),
    )


def _problem(mount: CgroupMount, folder: Path, path: str) -> str:
    if mount.is_read_only:
        return f"{mount.place} is mounted read-only: {MAKE_WRITABLE}"
    needed = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    if not all(os.access(place, os.W_OK) for place in needed):
        return f"that cgroup is not this user's ({path}): {AS_A_USER}"
    return ""


def _is_delegated(folder: Path) -> bool:
    """Return whether systemd has handed a cgroup over: it marks it so since its version 236."""
    for name in ("trusted.delegate", "user.delegate"):  # the first is root's to read
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _clear(mount: CgroupMount, choice: Choice) -> list[int]:
    """Move the processes of a chosen cgroup into its leaf; which those were.

    All of them, or nothing is changed.
    """
    if choice.path is None or not choice.clears_processes:
        return []
    folder = _folder(mount, choice.path)
    leaf = folder / LEAF
    moved: list[int] = []
    try:
        leaf.mkdir(exist_ok=True)
        for _ in range(_TRIES):
            staying = list(_processes(folder))
            if not staying:
                return moved
            if 0 in staying:  # of another pid namespace: it cannot be named
                break
            for pid in staying:
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(str(pid))
                    moved.append(pid)
        raise OSError(errno.EBUSY, f"processes stay in {choice.path}")
    except OSError:
        _move_back(folder, moved)
        raise


def _move_back(folder: Path, processes: Sequence[int]) -> None:
    for pid in processes:
        with contextlib.suppress(OSError):
            (folder / "cgroup.procs").write_text(str(pid))
    with contextlib.suppress(OSError):
        (folder / LEAF).rmdir()  # if nothing is in it


def _enable(mount: CgroupMount, path: str, controller: str) -> str:
    """Have a cgroup's children be limited by a controller; why that cannot be."""
    lacking, failed = "", ""
    for above in _from_the_top(mount, path):
        control = _folder(mount, above) / "cgroup.subtree_control"
        try:
            if controller not in control.read_text().split():
                control.write_text(f"+{controller}")
        except OSError as error:
            failed = f"the controller {controller} cannot be had in {above}: {_reason(error)}"
            if error.errno == errno.ENOENT:
                lacking = lacking or (
                    f"{above} was not given the controller {controller}: add it to Delegate= of "
                    "the unit (a user's by systemctl edit user@.service)"
                )
    with contextlib.suppress(OSError):
        if controller in (_folder(mount, path) / "cgroup.subtree_control").read_text().split():
            return ""
    return lacking or failed


def _from_the_top(mount: CgroupMount, path: str) -> Iterator[str]:
    """List a cgroup and those above it, the topmost first."""
    above = [path]
    while above[-1] != mount.root:
        above.append(above[-1].rpartition("/")[0] or "/")
    return reversed(above)


def _processes(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from map(int, (folder / "cgroup.procs").read_text().split())


def _folder(mount: CgroupMount, path: str) -> Path:
    folder = mount.folder(path)
    if folder is None:
        raise OSError(errno.ENOENT, f"{path} is not seen at {mount.place}")
    return folder


def _reason(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"it is mounted read-only: {MAKE_WRITABLE}"
    if error.errno == errno.EBUSY:
        return "it has processes of its own: name another with --cgroup-parent"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"that cgroup is not this user's: {AS_A_USER}"
    return error.strerror or str(error)
