"""The mounts of an OCI configuration become steps of a plan. Pure.

In the container nothing is mounted by a path that a link could lead astray, and each mount has its
attributes before it can be reached (launch.c).
"""

from collections.abc import Sequence

from pipeline_containers.sandbox.launcher.plan import (
    BindMount,
    File,
    Folder,
    LaunchStep,
    Link,
    Mask,
    NewMount,
    Pivot,
    ReadOnly,
    ShowRoot,
)
from pipeline_containers.sandbox.launcher.section import Section
from pipeline_containers.system import syscalls

_ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "rw": 0,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
}
_KINDS: dict[str, frozenset[str]] = {
    "proc": frozenset(),
    "sysfs": frozenset(),
    "mqueue": frozenset(),
    "devpts": frozenset(("newinstance", "ptmxmode", "mode", "max")),
    "tmpfs": frozenset(("size", "nr_inodes", "mode")),
}
"""The file systems that are mounted anew, and the options that each may have."""
_DEVICES = ("null", "random", "full", "tty", "zero", "urandom")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_CORE = "/proc/kcore"
_DEV = "/dev"


def mount_steps(root: Section, entries: Sequence[Section], *, has_kcore: bool) -> list[LaunchStep]:
    """Make the root and all that is mounted in it, up to the moment that it is all there is."""
    read_only = syscalls.MOUNT_ATTR_RDONLY if root.switch("readonly", False) else 0
    steps: list[LaunchStep] = [ShowRoot(root.text("path"), read_only)]
    fresh: list[str] = []
    has_own_devices = False
    for entry in entries:
        with entry:
            target, kind = entry.text("destination"), entry.text("type")
            if not target.startswith("/") or ".." in target.split("/"):
                raise entry.unknown(f"the place {target!r}")
            parent, _, name = target.rpartition("/")
            if parent in fresh:
                steps.append(Folder(parent, name, 0o755))  # what was mounted anew is empty
            options = entry.texts("options")
            source = entry.text("source")
            if kind == "bind":
                steps.append(_bind(entry, target, source, options))
                continue
            steps.append(_mount(entry, target, kind, source, options))
            if kind == "tmpfs":
                fresh.append(target)
                has_own_devices = has_own_devices or target == _DEV
    if has_own_devices:
        steps += _device_steps(has_kcore=has_kcore)
    return [*steps, Pivot()]


def hiding_steps(linux: Section) -> list[LaunchStep]:
    """Hide, and keep from being written to, what the configuration says."""
    return [
        *(ReadOnly(path) for path in linux.texts("readonlyPaths")),
        *(Mask(path) for path in linux.texts("maskedPaths")),
    ]


def _bind(entry: Section, target: str, source: str, options: list[str]) -> BindMount:
    kinds = [option for option in options if option in ("bind", "rbind")]
    if len(kinds) != 1:
        raise entry.unknown(f"the options {options}")
    attributes = 0
    for option in options:
        if option in _ATTRIBUTES:
            attributes |= _ATTRIBUTES[option]
        elif option not in kinds:
            raise entry.unknown(f"the option {option!r}")
    return BindMount(target, source, attributes, kinds == ["rbind"])


def _mount(entry: Section, target: str, kind: str, source: str, options: list[str]) -> NewMount:
    if kind not in _KINDS:
        raise entry.unknown(f"the type {kind!r}")
    attributes = 0
    own: list[tuple[str, str]] = []
    for option in options:
        key, _, value = option.partition("=")
        if option in _ATTRIBUTES:
            attributes |= _ATTRIBUTES[option]
        elif key in _KINDS[kind]:
            own.append((key, value))
        else:
            raise entry.unknown(f"the option {option!r} of {kind}")
    if kind == "tmpfs" and not {"mode", "size", "nr_inodes"} <= dict(own).keys():
        raise entry.unknown("a tmpfs without mode, size and nr_inodes")
    return NewMount(target, kind, source, attributes, tuple(own))


def _device_steps(*, has_kcore: bool) -> list[LaunchStep]:
    """Fill a /dev that is the container's own with the host's devices: it may make none itself."""
    steps: list[LaunchStep] = []
    for name in _DEVICES:
        place = f"{_DEV}/{name}"
        steps += [File(place, 0o666), BindMount(place, place, 0, False)]
    links = {**_LINKS, **({"core": _CORE} if has_kcore else {})}
    return [*steps, *(Link(_DEV, name, to) for name, to in links.items())]
