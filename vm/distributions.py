"""The stock distributions that the project is tried on in virtual machines: data, no I/O."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """A Debian release, and what its kernel asks of the emulator."""

    suite: str
    emulator: tuple[int, ...]
    """The oldest QEMU that boots its kernel without KVM: 7.2 crashes Linux 6.12."""
    packages: tuple[str, ...] = ()
    """What `./dev` installs there beside what it installs everywhere."""


DISTRIBUTIONS = {
    "debian-12": Distribution("bookworm", (7, 2)),
    "debian-13": Distribution("trixie", (10, 0), ("netavark",)),
}

EMULATOR_SUITE = "trixie"
"""Where a QEMU comes from that is new enough, if this machine's is not."""

SYSTEM = [
    "linux-image-amd64",
    "systemd-sysv",
    "systemd-container",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "openssh-server",
    "ca-certificates",
    "sudo",
    "iproute2",
    "procps",
    "python3",
    "python3-venv",
    "git",
    "crun",
    "runsc",
    "nodejs",
    "npm",
]
"""What a guest has beside the packages that `./dev` installs."""

_LIST = re.compile(r'^(?:TEST_)?PACKAGES="([^"$]*)"', re.MULTILINE)


def packages_of(dev: str) -> list[str]:
    """Take the packages that the text of `./dev` names, of both of its lists."""
    return [name for names in _LIST.findall(dev) for name in names.split()]


def parse_version(text: str) -> tuple[int, ...]:
    """Take the version from what `qemu-system-x86_64 --version` prints."""
    found = re.search(r"version (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def sources(targets: str, suite: str) -> list[str]:
    """Say where a suite's packages come from, by this machine's own mirrors.

    `targets` has a line `URI|release` for each of the machine's package lists; where there are none
    of Debian's, Debian's public ones are taken.
    """
    uris: dict[str, str] = {}
    for line in targets.splitlines():
        uri, _, release = line.partition("|")
        kind = "security" if release.endswith("-security") else "main"
        if re.fullmatch(r"(bookworm|trixie)(-security)?", release):
            uris.setdefault(kind, uri.rstrip("/"))
    main = uris.get("main", "http://deb.debian.org/debian")
    security = uris.get("security", "http://deb.debian.org/debian-security")
    return [
        f"deb {main} {suite} main",
        f"deb {main} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]
