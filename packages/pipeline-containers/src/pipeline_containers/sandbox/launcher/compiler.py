"""An OCI configuration becomes a plan: pure. What a plan cannot say is an error, never left out.

What each entry means is what runc makes of it: the differential tests hold the two to each other.
Source: the OCI runtime specification, `config.md` and `config-linux.md`; capabilities(7),
mount_setattr(2), clone(2).
"""

import posixpath
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.launcher import mounting
from pipeline_containers.sandbox.launcher.cgroup_steps import CgroupPlace, cgroup_steps
from pipeline_containers.sandbox.launcher.plan import (
    Argument,
    Capabilities,
    Group,
    HostName,
    Ids,
    JoinUsers,
    Keyring,
    LaunchPlan,
    LaunchStep,
    Limit,
    Loopback,
    Maps,
    Program,
    Prove,
    SetGroups,
    Terminal,
    Variable,
    Write,
    sequence,
)
from pipeline_containers.sandbox.launcher.section import Section

NAMESPACES = {
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "pid": 0x20000000,
    "user": 0x10000000,
    "uts": 0x04000000,
}
"""The flags of clone(2). All have to be new, but for that of users, which may be there."""

CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}
"""Those that containers are commonly given, and their bits; any other is refused."""

_LIMITS = (
    *("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC"),
    *("RSS", "RTPRIO", "SIGPENDING", "STACK"),
)
_DEFAULT_UMASK = 0o022


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a plan needs to know beside the configuration."""

    cgroup: CgroupPlace | None
    """None: there is none."""
    may_set_groups: bool
    has_console: bool = False
    """There is a socket for the terminal's other end."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Resource limits that are not in the configuration."""
    has_kcore: bool = False
    """This kernel has /proc/kcore, which a /dev of its own then has a link to."""
    passwd: str = ""
    """The image's accounts, for the HOME of who runs the tool."""


def compile_plan(config: Mapping[str, Any], facts: HostFacts) -> LaunchPlan:
    """Make the plan of a container; raises `SandboxError` for what it could not do."""
    with (
        Section("config", config) as top,
        top.section("root") as root,
        top.section("linux") as linux,
        top.section("process") as process,
        process.section("user") as user,
    ):
        version = top.text("ociVersion")
        if version.partition(".")[0] != "1":
            raise top.unknown(f"ociVersion {version}")
        linux.must_be("rootfsPropagation", "rprivate")
        linux.take("seccomp")  # its bytes are not made here
        process.must_be("noNewPrivileges", True)
        has_terminal = process.switch("terminal", False)
        if has_terminal != facts.has_console:
            raise process.unknown("a terminal without a socket, or a socket without one")
        flags, users = _namespaces(linux)
        uid = user.number("uid")
        cgroup = cgroup_steps(linux, facts.cgroup)
        return LaunchPlan(
            devices=cgroup.filtered,
            host=sequence(
                cgroup.steps,
                _oom(process),
                [SetGroups(facts.may_set_groups)],
                users,
            ),
            namespaces=flags,
            cwd=_cwd(process),
            umask=user.number("umask", _DEFAULT_UMASK),
            inside=sequence(
                _limits(process, facts.limits),
                [Keyring(), Loopback(), HostName(top.text("hostname"))],
                mounting.mount_steps(root, top.sections("mounts"), has_kcore=facts.has_kcore),
                [Prove()],
                [Terminal()] if has_terminal else [],
                mounting.hiding_steps(linux),
                [Ids(uid, user.number("gid")), *_groups(user, facts)],
                [_capabilities(process)],
                _program(process, home_of(facts.passwd, uid)),
            ),
        )


def _namespaces(linux: Section) -> tuple[int, list[LaunchStep]]:
    flags, path = 0, ""
    for entry in linux.sections("namespaces"):
        with entry:
            kind = entry.text("type")
            if kind not in NAMESPACES or flags & NAMESPACES[kind]:
                raise entry.unknown(f"the type {kind!r}")
            flags |= NAMESPACES[kind]
            if kind == "user":
                path = entry.text("path", "")
    if flags != sum(NAMESPACES.values()):
        raise linux.unknown("a container that shares namespaces with the host")
    maps = Maps(_mapping(linux, "uidMappings"), _mapping(linux, "gidMappings"))
    if path:
        return flags & ~NAMESPACES["user"], [JoinUsers(path)]
    return flags, [maps]


def _mapping(linux: Section, key: str) -> str:
    lines = []
    for entry in linux.sections(key):
        with entry:
            numbers = [entry.number(part) for part in ("containerID", "hostID", "size")]
            lines.append(" ".join(map(str, numbers)) + "\n")
    if not lines:
        raise linux.unknown(f"no {key}")
    return "".join(lines)


def _oom(process: Section) -> list[LaunchStep]:
    score = process.number("oomScoreAdj", 0)
    return [Write("/proc/self/oom_score_adj", str(score))] if score else []


def _limits(process: Section, others: Mapping[str, int]) -> list[LaunchStep]:
    steps: list[LaunchStep] = []
    for entry in process.sections("rlimits"):
        with entry:
            kind = _limit(entry, entry.text("type"))
            steps.append(Limit(kind, entry.number("soft"), entry.number("hard")))
    steps += [Limit(_limit(process, name), value, value) for name, value in others.items()]
    return steps


def _limit(section: Section, name: str) -> int:
    kind = name.removeprefix("RLIMIT_")
    if kind == name or kind not in _LIMITS:
        raise section.unknown(f"the limit {name}")
    return int(getattr(resource, name))


def _cwd(process: Section) -> str:
    cwd = process.text("cwd")
    if not cwd.startswith("/"):
        raise process.unknown(f"the folder {cwd!r}")
    return cwd


def _groups(user: Section, facts: HostFacts) -> list[LaunchStep]:
    numbers = user.take("additionalGids", [])
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise user.unknown(f"additionalGids {numbers!r}")
    if numbers and not facts.may_set_groups:
        raise user.unknown("additionalGids where groups cannot be set")
    return [Group(number) for number in numbers]


def _capabilities(process: Section) -> Capabilities:
    sets = ("bounding", "permitted", "effective", "inheritable", "ambient")
    with process.section("capabilities", {}) as section:
        bits = {}
        for kind in sets:
            names = section.texts(kind)
            if unknown := set(names) - set(CAPABILITIES):
                raise section.unknown(", ".join(sorted(unknown)))
            bits[kind] = sum(1 << CAPABILITIES[name] for name in set(names))
        return Capabilities(**bits)


def _program(process: Section, home: str) -> list[LaunchStep]:
    arguments = process.texts("args")
    if not arguments or not arguments[0]:
        raise process.unknown("a container without a program")
    variables: dict[str, str] = {}
    for entry in process.texts("env"):
        name, separator, value = entry.partition("=")
        if not name or not separator:
            raise process.unknown(f"the variable {entry!r}")
        variables[name] = value
    variables["HOME"] = variables.get("HOME") or home
    places = programs(arguments[0], variables.get("PATH", ""))
    if not places:
        raise SandboxError(f"{arguments[0]!r} can be in no folder of PATH")
    return [
        *(Variable(f"{name}={value}") for name, value in variables.items()),
        *(Argument(text) for text in arguments),
        *(Program(place) for place in places),
    ]


def programs(name: str, path: str) -> list[str]:
    """List where a program may be: a path is one, a name is looked for in the folders of PATH.

    Those that are relative count for nothing: what they lead to is the caller's folder's affair.
    """
    if "/" in name:
        return [name]
    return [posixpath.join(folder, name) for folder in path.split(":") if folder.startswith("/")]


def home_of(passwd: str, uid: int) -> str:
    """Find the HOME of an id in the text of an image's /etc/passwd, as runc does; "/" without.

    A number that is none counts as 0 there, and fields that a line lacks are empty.
    """
    for line in passwd.splitlines():
        name, _, number, _, _, home, *_ = [*line.strip().split(":"), *[""] * 6]
        if line.strip() and (name == str(uid) or _as_number(number) == uid):
            return home or "/"
    return "/"


def _as_number(text: str) -> int:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
