"""Which ids of the host a container's are.

As root they are a range that no account has. In a user namespace of the worker's own they are what
that namespace has: the user's subordinate ids, or, where there are none, the user's own one.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.rights import lack_of_rights

ID_COUNT = 65_536
"""How many ids a container has: 0 to 65,535, as USER entries of common bases need."""

_ALL = 2**32 - 1  # what the host's own namespace maps


@dataclass(frozen=True, slots=True)
class IdRange:
    """Ids of a container, and those that they are in the namespace of whoever starts it."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class IdMap:
    """All ids of a container, of users and groups alike."""

    ranges: tuple[IdRange, ...]
    is_of_host: bool = False
    """They are the host's, and not those of a user namespace that the worker is in."""

    def outside(self, inside: int) -> int:
        """Translate an id; raises `SandboxError` when the container does not have it."""
        for part in self.ranges:
            if inside - part.inside in range(part.count):
                return part.outside + inside - part.inside
        last = max(part.inside + part.count - 1 for part in self.ranges)
        here = "only 0" if last == 0 else f"only 0 to {last}"
        raise SandboxError(
            f"a container has no id {inside} here, {here}: give the worker's user {ID_COUNT} "
            "subordinate ids (usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST NAME)"
        )

    def given(self, owner: int) -> int:
        """Translate the owner of a layer's file to the one that it is given; others stay."""
        for part in self.ranges:
            if owner - part.inside in range(part.count):
                return part.outside + owner - part.inside
        return owner

    def taken(self, owner: int) -> int:
        """Translate back what `given` gave; others stay."""
        for part in self.ranges:
            if owner - part.outside in range(part.count):
                return part.inside + owner - part.outside
        return owner

    @property
    def root(self) -> int:
        """The container's root."""
        return self.outside(0)


OWN_ONLY = IdMap((IdRange(0, 0, 1),))
"""The one id of a user without others: in a container it is root."""

SUBORDINATE = IdMap((IdRange(0, ID_COUNT, 1), IdRange(1, 1, ID_COUNT - 1)))
"""Of a user's namespace in which 0 is the user, and 1 to 65,536 are subordinate ids.

A container's root is the last of them, the others are what they are called: what was unpacked for
root is all that wants another owner.
"""

OF_A_POD = IdMap((IdRange(0, ID_COUNT - 1, 1), IdRange(1, 1, ID_COUNT - 2)))
"""The same of a namespace of 65,536 ids, which is what a pod gets: a container has no id 65,535.

That one is nobody's anywhere: it is -1 in 16 bits.
"""


def host_range(first: int) -> IdMap:
    """Map all of a container's ids to the host's from `first` on."""
    return IdMap((IdRange(0, first, ID_COUNT),), is_of_host=True)


def owns_host(uid_map: str) -> bool:
    """Return whether the text of `/proc/self/uid_map` is that of the host's own namespace."""
    return [tuple(map(int, line.split())) for line in uid_map.splitlines()] == [(0, 0, _ALL)]


def map_in_namespace(uid_map: str, gid_map: str) -> IdMap:
    """Choose what containers get of a user namespace' ids, by its maps' texts."""
    count = min(_count(uid_map), _count(gid_map))
    if count > ID_COUNT:
        return SUBORDINATE
    return OF_A_POD if count == ID_COUNT else OWN_ONLY


def find_ids(first_host_id: int) -> IdMap:
    """Find what containers of this process get; raises `SandboxError` if it is nobody's root."""
    if os.geteuid() != 0:
        raise SandboxError(
            "the sandbox needs root, or namespaces of its own (pipeline_containers.sandbox."
            "rootless.enter): nobody else can mount images and job folders of capped size"
        )
    if lack := lack_of_rights():
        raise SandboxError(lack)
    uid_map = Path("/proc/self/uid_map").read_text()
    if owns_host(uid_map):
        return host_range(first_host_id)
    return map_in_namespace(uid_map, Path("/proc/self/gid_map").read_text())


def _count(text: str) -> int:
    """Count the ids from 0 on that have no gap between them."""
    count = 0
    for line in sorted(text.splitlines(), key=lambda line: int(line.split()[0])):
        inside, _, size = map(int, line.split())
        if inside == count:
            count += size
    return count
