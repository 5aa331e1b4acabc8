"""Which devices a container may use: what its configuration says, and what runc adds. Pure.

Everything is forbidden first, and what follows allows: no other rules are known here, so that none
has to take back another. One rule has to allow all that is asked for at a time.
Source: the OCI runtime specification, `config-linux.md`, "Allowed Device list".
"""

from dataclasses import dataclass

from pipeline_containers.sandbox.launcher.section import Section

MAJORS, MINORS = 1 << 12, 1 << 20
"""How many there are. Source: the kernel's `linux/kdev_t.h`."""


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Devices that may be used: of a kind, with a number, or with any (None)."""

    kind: str
    """`b`, `c`, or `a`: either."""
    major: int | None
    minor: int | None
    access: str
    """Of `rwm`: read, write, make its file."""

    def text(self) -> str:
        """Write it as version 1 of cgroups reads it."""
        major, minor = ("*" if part is None else part for part in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"


_ADDED = (
    *(DeviceRule(kind, None, None, "m") for kind in "bc"),  # which takes a right that nobody has
    *(DeviceRule("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
    DeviceRule("c", 5, 0, "rwm"),
    DeviceRule("c", 5, 2, "rwm"),
    DeviceRule("c", 10, 200, "rwm"),
    DeviceRule("c", 136, None, "rwm"),
)
"""What runc lets every container use: null, zero, full, random, urandom, tty; terminals; tun."""


def device_rules(resources: Section) -> tuple[DeviceRule, ...]:
    """Take the devices that are allowed; `SandboxError` for rules that are not known."""
    sections = resources.sections("devices")
    if not sections:
        raise resources.unknown("devices that are all allowed")
    with sections[0] as first:
        is_all = first.text("type", "a") == "a" and first.text("access") == "rwm"
        if first.switch("allow") or not is_all:
            raise resources.unknown("devices that are not all forbidden first")
    return (*(_rule(section) for section in sections[1:]), *_ADDED)


def _rule(section: Section) -> DeviceRule:
    with section:
        if not section.switch("allow"):
            raise section.unknown("a device that is forbidden after others are allowed")
        kind, access = section.text("type", "a"), section.text("access", "rwm")
        if kind not in ("a", "b", "c") or not access or not set(access) <= set("rwm"):
            raise section.unknown(f"devices of type {kind!r} for {access!r}")
        return DeviceRule(
            kind, _number(section, "major", MAJORS), _number(section, "minor", MINORS), access
        )


def _number(section: Section, key: str, count: int) -> int | None:
    value = section.number(key, -1)
    if not -1 <= value < count:
        raise section.unknown(f"{key} {value}")
    return None if value < 0 else value
