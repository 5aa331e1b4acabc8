"""The builder that the brief names: img, the parts of BuildKit in one program.

    FOLDER/state/    img's own: layers, the cache; one process at a time
    FOLDER/images/   what came of it, to be tried
    FOLDER/builds/   one cell for each build
    FOLDER/lock      held while img is at work on its state

Its exit status, 0 or 1, is all that can be relied on. `img unpack` is never called: it ignores
whiteouts, and follows a layer's links out. Instead the image is saved, with its layers as they are.
As root of a user namespace it can lay down layers by copying only (`--backend native`), which takes
more of the disk. Last seen working: its newest commit, of 2021, with runc 1.1.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline_containers.building import built
from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.cell.cell import BuildHost, Cell, open_cell, own
from pipeline_containers.building.dockerfile.dialect import IMG
from pipeline_containers.building.recipe import read_plan
from pipeline_containers.building.watch import new_entries
from pipeline_containers.errors import ContainersError
from pipeline_containers.system.command import CancelFlag, OnLine
from pipeline_containers.system.deadline import Deadline

_STATE = "/state"
_CONTEXT = "/context"
_DOCKERFILE = "/opt/builder/Dockerfile"
_IN_A_NAMESPACE = {"IMG_RUNNING_TESTS": "1"}
"""It would make another user namespace within this one; what keeps it from that is so called."""
_LOGIN = "/opt/builder/docker/config.json"


class Img:
    """Builds with img. Needs root; makes this process the subreaper of its descendants."""

    def __init__(self, folder: Path, host: BuildHost) -> None:
        self._folder = folder.resolve()
        self._host = host

    @contextmanager
    def build(
        self,
        context: Path,
        reference: str,
        options: BuildOptions,
        *,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> Iterator[BuiltImage]:
        """Build an image and name it; outside of img's own state it goes with the block."""
        if options.network == "none":
            raise ContainersError("img cannot build without a network: use buildah")
        deadline = Deadline(options.timeout_s, cancelled)
        recipe = read_plan(context, IMG, options)
        with self._cell(options) as cell:
            cell.show(own(context), _CONTEXT)
            cell.put(_DOCKERFILE, recipe.text)
            cell.put(_LOGIN, options.authfile.read_text() if options.authfile else "{}")
            with deadline.locked(self._folder / "lock"):
                for arguments in _calls(reference):
                    self._img(cell, arguments, deadline, on_line)
            archive, images = cell.out / "image.tar", self._folder / "images"
            yield built.take(archive, f"oci-archive:{archive}", images, options, deadline)

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for name in ("state", "images"):
                shutil.rmtree(self._folder / name, ignore_errors=True)

    @contextmanager
    def _cell(self, options: BuildOptions) -> Iterator[Cell]:
        state = self._folder / "state"
        if not state.exists():
            own(state)
        own_state = state / "runc/native"
        written = new_entries(own_state / "snapshots/snapshots", own_state / "content/blobs/sha256")
        with open_cell(self._folder / "builds", self._host, options) as cell:
            cell.show(state, _STATE, writable=True)
            yield replace(cell, written=written)

    def _img(
        self,
        cell: Cell,
        arguments: list[str],
        deadline: Deadline,
        on_line: OnLine | None = None,
    ) -> None:
        cell.run(
            ["img", "--backend", "native", "--state", _STATE, *arguments],
            deadline,
            environment={"DOCKER_CONFIG": _LOGIN.rpartition("/")[0], **_IN_A_NAMESPACE},
            on_line=on_line,
        )


def _calls(reference: str) -> tuple[list[str], ...]:
    build = ["build", "--no-console", "--tag", reference, "--file", _DOCKERFILE]
    save = ["save", "--format", "oci", "--output", "/out/image.tar"]
    return ([*build, "--", _CONTEXT], [*save, "--", reference])
