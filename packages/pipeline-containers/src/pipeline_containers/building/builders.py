"""THE table of builders, how each is opened, and one for each repository."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pipeline_containers.building.builder import Builder
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.errors import PACKAGES, ContainersError
from pipeline_containers.sandbox.host.folders import open_way


class Builders:
    """A builder for each source repository, with a folder of its own.

    What a build can name is what its own repository's builds made, the layer cache too, and base
    images: never another tool's files.
    """

    def __init__(self, folder: Path, open_one: Callable[[Path], Builder]) -> None:
        self._folder = folder
        self._open_one = open_one

    def of(self, url: str) -> Builder:
        """Open the builder of a repository, by its address."""
        place = self._folder.resolve() / hashlib.sha256(url.encode()).hexdigest()[:32]
        place.mkdir(parents=True, exist_ok=True)
        open_way(place.parent, place)
        return self._open_one(place)

    def prune(self) -> None:
        """Drop all images and layer caches, but of those with a build that is going on.

        Each is tried, whatever became of the one before; raises the first `ContainersError`.
        """
        problems: list[ContainersError] = []
        for place in sorted(self._folder.glob("*/")):
            try:
                self._open_one(place).prune()
            except ContainersError as error:
                problems.append(error)
        if problems:
            raise problems[0]


def open_builders(
    kind: str, folder: Path, host: BuildHost, base_images: Path | None = None
) -> Builders:
    """Open builders of a kind with a state folder, on a host.

    `base_images` is a containers-storage root that is only read: `FROM` finds its images in it
    without any network. Only buildah can do that.

    Raises ContainersError if that kind is not installed, or cannot do it.
    """
    kind = find_builder(kind, with_base_images=base_images is not None)
    return Builders(folder, BUILDERS[kind](host, base_images))


def find_builder(kind: str, *, with_base_images: bool = False) -> str:
    """Return which builder a kind means on this host: `auto` is the first that is installed.

    Raises ContainersError if none is: what is missing, a colon, and what to do.
    """
    if kind == "auto":
        able = [name for name in BUILDERS if name == "buildah" or not with_base_images]
        found = next((name for name in able if shutil.which(name)), None)
        if found is None:
            missing = "neither img nor buildah is" if len(able) > 1 else "buildah is not"
            raise ContainersError(f"{missing} on PATH: apt install buildah")
        return found
    if kind not in BUILDERS:
        raise ContainersError(f"builder {kind!r} is not one of: auto, {', '.join(BUILDERS)}")
    if shutil.which(kind) is None:
        package = PACKAGES.get(kind)
        remedy = f"apt install {package}" if package else f"install {kind}"
        raise ContainersError(f"{kind} is not on PATH: {remedy}, or name another builder")
    return kind


def _img(host: BuildHost, base_images: Path | None) -> Callable[[Path], Builder]:
    from pipeline_containers.building.img import Img

    if base_images is not None:
        raise ContainersError("img takes base images from registries only: use buildah")
    return partial(Img, host=host)


def _buildah(host: BuildHost, base_images: Path | None) -> Callable[[Path], Builder]:
    from pipeline_containers.building.buildah import Buildah

    return partial(Buildah, host=host, base_images=base_images)


BUILDERS: Mapping[str, Callable[[BuildHost, Path | None], Callable[[Path], Builder]]] = {
    "img": _img,
    "buildah": _buildah,
}
"""How each builder is opened, the preferred first."""
