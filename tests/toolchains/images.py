"""The toolchains' images, as folders: Debian packages, unpacked once, below a test runner."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from support.tracks import ROOT
from toolchains.table import ALL, LAYERS, Layer, Toolchain, layers_of, with_lower

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
    """The layers of all toolchains, in a folder that is kept; made anew if their recipes change."""

    def __init__(self, folder: Path) -> None:
        """Make what is missing, and remove what no toolchain has any more: minutes for all."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            names = [*LAYERS, *(name for name, toolchain in ALL.items() if toolchain.layer)]
            for made in folder.glob("*.packages"):
                if made.stem not in names:
                    self._remove(made.stem)
            missing = [name for name in names if self._made_by(name) != recipe(name)]
            for name in missing:
                self._remove(name)
            if missing:
                self._unpack(missing)
            for name in missing:
                self._set_up(name)
                self._file(name, "recipe").write_text(recipe(name))

    def image(self, name: str, tool: Path, user: str = "", without: str = "") -> StoredImage:
        """Return a toolchain's image, with a test runner of its own, made in a folder.

        It is made without one variable of its `env`, or with all.
        """
        toolchain = ALL[name]
        layers = (make_tool(toolchain, tool), *(self._folder / part for part in layers_of(name)))
        env = {"PATH": PATH, "LANG": "C.UTF-8", **toolchain.env}
        said = tuple(f"{key}={value}" for key, value in env.items() if key != without)
        return StoredImage(f"toolchain-{name}", layers, ImageConfig(env=said, user=user))

    def _file(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    def _made_by(self, name: str) -> str:
        try:
            return self._file(name, "recipe").read_text()
        except FileNotFoundError:
            return ""

    def _remove(self, name: str) -> None:
        for kind in ("recipe", "packages"):
            self._file(name, kind).unlink(missing_ok=True)
        if (self._folder / name).exists():
            shutil.rmtree(self._folder / name)

    def _unpack(self, names: list[str]) -> None:
        lines = [f"{name} {','.join(below(name)) or '-'} {layer(name).packages}" for name in names]
        command = [str(BASE_IMAGES), "--layers", str(self._folder)]
        subprocess.run(command, input="".join(f"{line}\n" for line in lines), text=True, check=True)

    def _set_up(self, name: str) -> None:
        if not (commands := layer(name).setup):
            return
        work, root = self._folder / "work", self._folder / "root"
        root.mkdir(exist_ok=True)
        if work.exists():  # of one that was killed
            shutil.rmtree(work)
        work.mkdir()
        lower = ":".join(str(self._folder / part) for part in below(name))
        places = (lower, str(self._folder / name), str(work), str(root))
        command = ["unshare", "--mount", "sh", "-euc", ENTER, name, *places, commands]
        subprocess.run(command, check=True)
        shutil.rmtree(work)


def make_tool(toolchain: Toolchain, folder: Path) -> Path:
    """Lay out a toolchain's test runner, as a layer."""
    home = folder / "opt" / "test-runner"
    for name, text in toolchain.tool.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    place = home / "bin"
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
    own = ALL[name].layer
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
