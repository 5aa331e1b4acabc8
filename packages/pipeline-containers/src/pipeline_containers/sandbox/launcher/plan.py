"""What the launcher is to do for one container: steps, in their order, and how they are written.

The launcher (launch.c) knows how each is done and nothing more. A step is written as its word and
its fields, each ended by NUL; Source: launch.c, the other half of this.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.launcher.device_rules import DeviceRule

INSTRUCTION_BYTES = 8
MOST_INSTRUCTIONS = 4096
"""Of one filter. Source: the kernel's `linux/bpf_common.h`."""
_MOST_BYTES = 1 << 20
_MOST = {"env": 8190, "arg": 4094, "program": 254, "group": 62}
"""What the launcher has room for."""


@dataclass(frozen=True, slots=True)
class LaunchStep:
    """One; its fields in the order in which they are written."""

    word: ClassVar[str]

    def words(self) -> list[str]:
        """Return what it is written as."""
        names: Sequence[str] = self.__slots__
        said = [self.word]
        for name in names:
            value = getattr(self, name)
            said.append(value if type(value) is str else str(int(value)))
        return said


# --- on the host, before there is a container


@dataclass(frozen=True, slots=True)
class MakeCgroup(LaunchStep):
    """Make a folder of a cgroup hierarchy, unless it is there."""

    word = "cgroup"
    path: str


@dataclass(frozen=True, slots=True)
class Write(LaunchStep):
    """Write a text to a file of the kernel's; 0 to `cgroup.procs` is to join."""

    word = "write"
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class SetGroups(LaunchStep):
    """Whether groups may be set in the container's user namespace; where not, they stay."""

    word = "groups"
    may: bool


@dataclass(frozen=True, slots=True)
class Maps(LaunchStep):
    """What a new user namespace is given as its maps of users and of groups."""

    word = "maps"
    users: str
    groups: str


@dataclass(frozen=True, slots=True)
class JoinUsers(LaunchStep):
    """Go into a user namespace that is there, as its root: the last step on the host."""

    word = "join"
    path: str


# --- in the container


@dataclass(frozen=True, slots=True)
class Limit(LaunchStep):
    """Set a resource limit, by its number."""

    word = "rlimit"
    kind: int
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Keyring(LaunchStep):
    """Have a session keyring that is nobody else's."""

    word = "keyring"


@dataclass(frozen=True, slots=True)
class Loopback(LaunchStep):
    """Bring the network's own loopback up."""

    word = "loopback"


@dataclass(frozen=True, slots=True)
class HostName(LaunchStep):
    """Name the container."""

    word = "hostname"
    name: str


@dataclass(frozen=True, slots=True)
class ShowRoot(LaunchStep):
    """Make a folder the root that all further paths begin at; no mount goes or comes from now."""

    word = "root"
    path: str
    attributes: int


@dataclass(frozen=True, slots=True)
class BindMount(LaunchStep):
    """Show what is on the host at a place; `whole`: with what is mounted in it."""

    word = "bind"
    target: str
    source: str
    attributes: int
    whole: bool


@dataclass(frozen=True, slots=True)
class NewMount(LaunchStep):
    """Mount a new file system; an option without a value is a switch."""

    word = "mount"
    target: str
    kind: str
    source: str
    attributes: int
    options: tuple[tuple[str, str], ...] = ()

    def words(self) -> list[str]:
        """Return what it is written as: options are counted."""
        flat = [text for option in self.options for text in option]
        own = (self.target, self.kind, self.source, str(self.attributes), str(len(self.options)))
        return [self.word, *own, *flat]


@dataclass(frozen=True, slots=True)
class Folder(LaunchStep):
    """Make a folder, where something is to be mounted."""

    word = "folder"
    parent: str
    name: str
    mode: int


@dataclass(frozen=True, slots=True)
class File(LaunchStep):
    """Make an empty file, where a device is to be shown."""

    word = "file"
    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Link(LaunchStep):
    """Make a symbolic link."""

    word = "link"
    parent: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class Pivot(LaunchStep):
    """Leave the host's files behind."""

    word = "pivot"


@dataclass(frozen=True, slots=True)
class Prove(LaunchStep):
    """See that /proc is procfs, and /dev/null the device."""

    word = "prove"


@dataclass(frozen=True, slots=True)
class Terminal(LaunchStep):
    """Make a terminal the container's console and streams."""

    word = "terminal"


@dataclass(frozen=True, slots=True)
class ReadOnly(LaunchStep):
    """Let nothing be written below a path, if it is there."""

    word = "readonly"
    path: str


@dataclass(frozen=True, slots=True)
class Mask(LaunchStep):
    """Hide what is at a path, if it is there."""

    word = "mask"
    path: str


@dataclass(frozen=True, slots=True)
class Ids(LaunchStep):
    """Whom the tool runs as."""

    word = "ids"
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Group(LaunchStep):
    """A group that it is in beside."""

    word = "group"
    gid: int


@dataclass(frozen=True, slots=True)
class Capabilities(LaunchStep):
    """Its five sets, a bit for each capability."""

    word = "capabilities"
    bounding: int = 0
    permitted: int = 0
    effective: int = 0
    inheritable: int = 0
    ambient: int = 0


@dataclass(frozen=True, slots=True)
class Variable(LaunchStep):
    """An entry of its environment."""

    word = "env"
    entry: str


@dataclass(frozen=True, slots=True)
class Argument(LaunchStep):
    """A word of its command line, from its name on."""

    word = "arg"
    text: str


@dataclass(frozen=True, slots=True)
class Program(LaunchStep):
    """Where the program may be; the first that is there and can be executed is."""

    word = "program"
    path: str


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """All of it; the filter's bytes come from elsewhere."""

    host: tuple[LaunchStep, ...]
    namespaces: int
    """The flags of those that are made."""
    cwd: str
    umask: int
    inside: tuple[LaunchStep, ...]
    devices: tuple[DeviceRule, ...] = ()
    """What is to be attached to the cgroup before the plan is carried out; none: nothing is."""

    def encode(self, instructions: bytes) -> bytes:
        """Write it down, with a filter; raises `SandboxError` if the launcher could not hold it."""
        count, rest = divmod(len(instructions), INSTRUCTION_BYTES)
        if rest or not 0 < count <= MOST_INSTRUCTIONS:
            raise SandboxError(f"{len(instructions)} bytes are no filter of system calls")
        counts = Counter(step.word for step in self.inside)
        for word, most in _MOST.items():
            if counts[word] > most:
                raise SandboxError(f"the launcher takes {most} times {word!r} at most")
        words = [word for step in self.host for word in step.words()]
        words += ("clone", str(self.namespaces), self.cwd, str(self.umask))
        for step in self.inside:
            words += step.words()
        words += ("filter", str(count), "")
        said = "\0".join(words)
        if said.count("\0") != len(words) - 1:
            raise SandboxError("a NUL in the container's configuration")
        try:
            text = said.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise SandboxError(f"the container's configuration is no text: {error}") from error
        if len(text) + len(instructions) >= _MOST_BYTES:
            raise SandboxError(f"arguments and environment of {len(text)} bytes are too large")
        return text + instructions


_REPORT = re.compile(r"(\S+) (.*) (\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Report:
    """What the launcher said went wrong."""

    step: str = ""
    subject: str = ""
    error: int = 0


def parse_report(text: str) -> Report:
    """Read it; what is cut off, or of another form, is left out."""
    found = _REPORT.fullmatch(text)
    return Report(found[1], found[2], int(found[3])) if found else Report()


def sequence(*parts: Sequence[LaunchStep]) -> tuple[LaunchStep, ...]:
    """Put lists of steps behind each other."""
    return tuple(step for part in parts for step in part)
