"""The two sides of `deploy`: what a worker prepares versions with, and skopeo with umoci."""

import os
import subprocess
from pathlib import Path

from versions import REPOSITORY

from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.roots import Roots
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import host_range
from pipeline_containers.store.store import Store


class Own:
    """A worker's store: pull, and mount the layers as they are."""

    def __init__(self, folder: Path, host: str) -> None:
        self._registry = DockerRegistry(f"http://{host}")
        self._folder = folder / "store"
        self._store = Store(self._folder)
        self._namespace = open_user_namespace()
        self._roots = Roots(folder / "roots", host_range(FIRST_HOST_ID), self._namespace)

    def prepare(self, version: str) -> None:
        """Make a version ready to be run."""
        digest = self._store.pull(self._registry, REPOSITORY, version)
        self._roots.mount(self._store.image(digest))

    def disk(self) -> int:
        """Return the bytes that it takes."""
        return disk(self._folder)

    def close(self) -> None:
        """Unmount all."""
        self._roots.close()
        os.close(self._namespace)


class Other:
    """The same by skopeo and umoci: a layout that they share, a root folder a version."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self._from = f"docker://{host}/{REPOSITORY}"

    def prepare(self, version: str) -> None:
        """Make a version ready to be run."""
        layout = self._folder / "layout"
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
        called(*copy, f"{self._from}:{version}", f"oci:{layout}:{version}")
        called("umoci", "unpack", "--image", f"{layout}:{version}", str(self._folder / version))

    def disk(self) -> int:
        """Return the bytes that it takes."""
        return disk(self._folder)

    def close(self) -> None:
        """Nothing is mounted."""


def called(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def disk(folder: Path) -> int:
    """Sum up the blocks of all that lies in a folder, a file of several names once."""
    seen: dict[tuple[int, int], int] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = Path(place, name).lstat()
            seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())
