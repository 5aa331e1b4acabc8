"""Who a container is on the host: its ids, and the user namespace that gives it them.

Each live container has an identity that no other has, so that no count by user is shared: the ids
of its processes are counted for themselves, and what a namespace counts for whoever made it (the
kernel's `ucounts`: inotify, signals, queues) is counted for a user of its own too, and not for the
host's root. Identities are made when a sandbox opens, and used by one container after another:
nothing of one is left in a user namespace when its processes are dead. In a user's own namespace
there are no ids to choose from: there all containers have the same, and the runtime makes them a
namespace each.
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import SandboxError, ToolMissing
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID, IdRanges
from pipeline_containers.sandbox.host.ids import ID_COUNT, IdMap, host_range

_PATIENCE_S = 30.0
_SLEEP_S = "60"


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """The ids of one container, and its user namespace, if it is not the runtime's to make."""

    ids: IdMap
    namespace: int | None = None
    """An open descriptor."""
    maps_layers: bool = False
    """Layers are mapped through the namespace, and not owned by the ids."""

    @property
    def mapping(self) -> int | None:
        """The namespace that layers are mapped through, if they are."""
        return self.namespace if self.maps_layers else None

    @property
    def namespace_path(self) -> str:
        """Where a runtime finds the namespace; empty if it is to make one.

        With a dot: of a path that begins with /proc and a process, runc (since 1.1.12 or so) takes
        that process' own ids for those of the namespace. Source: its `userns_maps_linux.go`.
        """
        return "" if self.namespace is None else f"/proc/./{os.getpid()}/fd/{self.namespace}"


class Identities:
    """Those of one sandbox: so many are made ahead, and more if ever more are needed."""

    def __init__(self, ids: IdMap, count: int, *, maps_layers: bool) -> None:
        """With ids of the host's, which begin a run of ranges; else all containers have `ids`."""
        self._ids = ids
        self._maps_layers = maps_layers
        self._ranges = IdRanges(ids.root)
        self._lock = threading.Lock()
        self._all: list[Identity] = []
        try:
            self._free = self._make(count)
        except BaseException:
            self.close()
            raise

    def take(self) -> Identity:
        """Give a container an identity that no other has."""
        with self._lock:
            return self._free.pop() if self._free else self._make(1)[0]

    def give_back(self, identity: Identity) -> None:
        """Have one back whose container is gone, the whole of it."""
        with self._lock:
            self._free.append(identity)

    def close(self) -> None:
        """Forget all."""
        for identity in self._all:
            if identity.namespace is not None:
                os.close(identity.namespace)
        self._all.clear()
        self._ranges.close()

    def _make(self, count: int) -> list[Identity]:
        if not self._ids.is_of_host:
            return [Identity(self._ids) for _ in range(count)]
        owners = [self._ranges.take() for _ in range(count)]
        firsts = owners if self._maps_layers else [self._ids.root] * count
        namespaces = open_user_namespaces(list(zip(firsts, owners, strict=True)))
        made = [
            Identity(host_range(first), namespace, self._maps_layers)
            for first, namespace in zip(firsts, namespaces, strict=True)
        ]
        self._all += made
        return made


def open_user_namespace(first_host_id: int = FIRST_HOST_ID) -> int:
    """Open a user namespace of this user's that maps 0 to 65,535 to the host's range."""
    return open_user_namespaces([(first_host_id, 0)])[0]


def open_user_namespaces(wanted: Sequence[tuple[int, int]]) -> list[int]:
    """Open user namespaces that map 0 to 65,535 to ids of the host's; their descriptors.

    Each by its first id on the host, and the user that it is to belong to, and be counted for. A
    process has to be in one while it is opened: a threaded one cannot go itself.
    """
    with ExitStack() as helpers, ExitStack() as opened:
        waiting = [(first, _start_helper(owner, helpers)) for first, owner in wanted]
        namespaces = []
        for first, helper in waiting:
            namespace = _open_namespace_of(helper, first)
            opened.callback(os.close, namespace)
            namespaces.append(namespace)
        opened.pop_all()
    return namespaces


def _start_helper(owner: int, helpers: ExitStack) -> "subprocess.Popen[bytes]":
    """Start a process that goes into a new namespace; `helpers` ends it.

    It keeps the right that some hosts want of whoever makes namespaces.
    """
    become: list[str] = []
    if owner:
        who = ["--reuid", str(owner), "--regid", str(owner), "--clear-groups"]
        become = ["setpriv", *who, "--inh-caps", "+sys_admin", "--ambient-caps", "+sys_admin"]
    try:
        helper = subprocess.Popen([*become, "unshare", "--user", "--", "sleep", _SLEEP_S])
    except FileNotFoundError as error:
        raise ToolMissing(become[0] if become else "unshare") from error
    helpers.callback(helper.wait)
    helpers.callback(helper.kill)
    return helper


def _open_namespace_of(helper: "subprocess.Popen[bytes]", first_host_id: int) -> int:
    own = os.readlink("/proc/self/ns/user")
    folder = Path(f"/proc/{helper.pid}")
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while os.readlink(folder / "ns/user") == own:
            if time.monotonic() > deadline or helper.poll() is not None:
                raise SandboxError("no user namespace: is user.max_user_namespaces 0?")
            time.sleep(0.0005)
        for file in ("uid_map", "gid_map"):
            (folder / file).write_text(f"0 {first_host_id} {ID_COUNT}\n")
        return os.open(folder / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"no user namespace: {error}; the sandbox needs root") from error
