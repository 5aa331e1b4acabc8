"""The toolchains' images, as folders: Debian packages unpacked once, a test runner on top of them."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from support.tracks import ROOT
from toolchains.table import LAYERS, TOOLCHAINS, Layer, Toolchain, layers_of, with_lower

from pipeline_containers.images.image import ImageConfig, StoredImage

BASE_IMAGES = ROOT / "examples" / "base-images"
RUN = Path(__file__).with_name("run.sh")
PATH = "/usr/local/bin:/usr/bin:/usr/sbin"
ENTER = """
mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" overlay "$4"
mount --rbind /dev "$4/dev"
mount -t proc proc "$4/proc"
exec chroot "$4" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/root sh -euc "$5"
"""
"""In a mount namespace of its own, which ends with it: sets a layer up over others."""


class Images:
    """The layers of some toolchains, made where they are missing or made by an older recipe."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Make what is missing, in a folder that is kept; it takes a minute for each GB."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        wanted = dict.fromkeys(layer for name in names for layer in reversed(layers_of(name)))
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = [name for name in wanted if self._made_by(name) != recipe(name)]
            for name in missing:
                (folder / f"{name}.packages").unlink(missing_ok=True)
            if missing:
                lines = "".join(f"{name} {_over(name)} {layer(name).packages}\n" for name in missing)
                command = [str(BASE_IMAGES), "--layers", str(folder)]
                subprocess.run(command, input=lines, text=True, check=True)
            for name in missing:
                self._set_up(name)
                (folder / f"{name}.recipe").write_text(recipe(name))

    def image(self, name: str, tool: Path, user: str = "", *without: str) -> StoredImage:
        """Return a toolchain's image, with a test runner of its own, made in a folder.

        `without` are names of its `env` that are left out.
        """
        toolchain = TOOLCHAINS[name]
        layers = (make_tool(toolchain, tool), *(self._folder / part for part in layers_of(name)))
        env = {"PATH": PATH, "LANG": "C.UTF-8", **toolchain.env}
        said = tuple(f"{key}={value}" for key, value in env.items() if key not in without)
        return StoredImage(f"toolchain-{name}", layers, ImageConfig(env=said, user=user))

    def _made_by(self, name: str) -> str:
        try:
            return (self._folder / f"{name}.recipe").read_text()
        except FileNotFoundError:
            return ""

    def _set_up(self, name: str) -> None:
        if not (commands := layer(name).setup):
            return
        work, root = self._folder / "work", self._folder / "root"
        root.mkdir(exist_ok=True)
        work.mkdir()
        lower = ":".join(str(self._folder / part) for part in below(name))
        places = (lower, str(self._folder / name), str(work), str(root))
        command = ["unshare", "--mount", "sh", "-euc", ENTER, name, *places, commands]
        subprocess.run(command, check=True)
        shutil.rmtree(work)


def make_tool(toolchain: Toolchain, folder: Path) -> Path:
    """Lay out a toolchain's test runner, as a layer."""
    place = folder / "opt" / "test-runner" / "bin"
    place.mkdir(parents=True)
    shutil.copy(RUN, place / "run.sh")
    (place / "run.sh").chmod(0o755)
    (place / "compile").write_text(f"{toolchain.compile}\n")
    (place / "test").write_text(f"{toolchain.run}\n")
    return folder


def layer(name: str) -> Layer:
    """Return a common layer, or a toolchain's own."""
    if name in LAYERS:
        return LAYERS[name]
    own = TOOLCHAINS[name].layer
    assert own is not None, f"{name} has no packages of its own"
    return own


def below(name: str) -> list[str]:
    """Return the layers that this one lies over, the top one first."""
    over = layer(name).over
    return with_lower(over) if over else []


def recipe(name: str) -> str:
    """Return what a layer's content depends on."""
    parts = [(part, layer(part).packages, layer(part).setup) for part in (name, *below(name))]
    said = json.dumps([parts, ENTER, BASE_IMAGES.read_text("utf-8")])
    return hashlib.sha256(said.encode()).hexdigest()


def _over(name: str) -> str:
    return ",".join(below(name)) or "-"
