"""THE table of builders, and how each is opened."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline_containers.building.builder import Builder
from pipeline_containers.errors import ContainersError


def open_builder(kind: str, folder: Path, base_images: Path | None = None) -> Builder:
    """Open a builder of a kind with a state folder.

    `auto` is the first that is installed. `base_images` is a containers-storage root that is only
    read: `FROM` finds its images in it without any network. Only buildah can do that.
    """
    if kind == "auto":
        able = [name for name in BUILDERS if base_images is None or name == "buildah"]
        kind = next((name for name in able if shutil.which(name)), "buildah")
    if kind not in BUILDERS:
        raise ContainersError(f"builder {kind!r} is not one of: auto, {', '.join(BUILDERS)}")
    return BUILDERS[kind](folder, base_images)


def _open_img(folder: Path, base_images: Path | None) -> Builder:
    from pipeline_containers.building.img import Img

    if base_images is not None:
        raise ContainersError("img takes base images from registries only: use buildah")
    return Img(folder)


def _open_buildah(folder: Path, base_images: Path | None) -> Builder:
    from pipeline_containers.building.buildah import Buildah

    return Buildah(folder, base_images)


BUILDERS: Mapping[str, Callable[[Path, Path | None], Builder]] = {
    "img": _open_img,
    "buildah": _open_buildah,
}
"""How each builder is opened, the preferred first."""
