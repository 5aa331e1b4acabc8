"""A router's network and its workers', in namespaces of the test's own, to be cut at will."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROUTER = "10.213.0.1"
"""The router's address; nothing outside of the namespaces ever hears of it."""
_CLONE_NEWNET = 0x40000000


class Networks:
    """The router's namespace, and one for each worker, joined by a pair of interfaces each."""

    def __init__(self, *workers: str) -> None:
        self._prefix = f"faults-{os.getpid()}"
        self._names = [self._name("router"), *map(self._name, workers)]
        try:
            self._make(workers)
        except BaseException:
            self.close()
            raise

    def under(self, who: str) -> tuple[str, ...]:
        """Return the command that runs another one there."""
        return (shutil.which("ip") or "ip", "netns", "exec", self._name(who))

    def enter(self, who: str) -> Callable[[], None]:
        """Return what takes the calling thread there, and every thread that it starts then."""

        def go() -> None:
            with open(f"/run/netns/{self._name(who)}") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")

        return go

    def cut(self, who: str, *directions: str) -> None:
        """Lose every packet that a worker is sent ("input") or sends ("output")."""
        for direction in directions:
            hook = f"{{ type filter hook {direction} priority 0; policy drop; }}"
            self._nft(who, f"add table inet faults; add chain inet faults {direction} {hook}")

    def heal(self, who: str) -> None:
        self._nft(who, "delete table inet faults")

    def close(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def left(self) -> list[str]:
        """Name the namespaces that are there."""
        return [name for name in self._names if os.path.exists(f"/run/netns/{name}")]

    def _make(self, workers: tuple[str, ...]) -> None:
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        router = self._names[0]
        _ip("-n", router, "address", "add", f"{ROUTER}/32", "dev", "lo")
        for number, worker in enumerate(workers, 1):
            name, here = self._name(worker), f"10.213.{number}"
            pair = ("link", "add", f"to-{number}", "type", "veth")
            _ip("-n", router, *pair, "peer", "name", "to-router", "netns", name)
            _ip("-n", router, "address", "add", f"{here}.1/30", "dev", f"to-{number}")
            _ip("-n", router, "link", "set", f"to-{number}", "up")
            _ip("-n", name, "address", "add", f"{here}.2/30", "dev", "to-router")
            _ip("-n", name, "link", "set", "to-router", "up")
            _ip("-n", name, "route", "add", "default", "via", f"{here}.1")

    def _nft(self, who: str, rules: str) -> None:
        subprocess.run([*self.under(who), "nft", rules], check=True)

    def _name(self, who: str) -> str:
        return f"{self._prefix}-{who}"


@contextmanager
def networks(*workers: str) -> Iterator[Networks]:
    """Give namespaces that are gone afterwards."""
    own = Networks(*workers)
    try:
        yield own
    finally:
        own.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
