"""The builder that the brief names: img, the parts of BuildKit in one program.

    FOLDER/state/    img's own: layers, the cache; one process at a time
    FOLDER/builds/   one cell for each build: the image that came of it, for skopeo and for mounting
    FOLDER/lock      held while img is at work on its state

Its exit status, 0 or 1, is all that can be relied on. The commands of a build share the host's
network, and no limit of memory holds them. `img unpack` is never called: it ignores whiteouts, and
follows a layer's links out onto the host. Instead the image is saved, with its layers as they
are, and skopeo takes it from there. Last seen working: its newest commit, of 2021, with runc 1.1.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.cell import Cell, failure_of, open_cell
from pipeline_containers.errors import ContainersError, StoreError, ToolMissing
from pipeline_containers.images.skopeo import copy_image, reason
from pipeline_containers.images.storage import Storage
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.hierarchies import find_hierarchies
from pipeline_containers.system.command import CancelFlag, OnLine
from pipeline_containers.system.deadline import Deadline

_CGROUP = "/buildkit"  # the parent of those that its commands run in
_HOUSEKEEPING = BuildOptions(timeout_s=120.0, log_bytes=16 << 20, log_tail_bytes=4096)


class Img:
    """Builds with img, as root; makes this process the subreaper of its descendants."""

    def __init__(self, folder: Path, runtime: str = "runc") -> None:
        self._folder = folder.resolve()
        self._runtime = runtime
        self._folder.mkdir(parents=True, exist_ok=True)

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
        with self._cell() as cell:
            archive = cell.home / "image.tar"
            with deadline.locked(self._folder / "lock"):
                for arguments in _calls(context, reference, archive):
                    left = replace(options, timeout_s=deadline.left_s())
                    self._img(cell, arguments, left, on_line, cancelled)
            yield _unpacked(archive, cell, reference, deadline)

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        deadline = Deadline(_HOUSEKEEPING.timeout_s)
        with self._cell() as cell, deadline.locked(self._folder / "lock"):
            self._img(cell, ["prune"], _HOUSEKEEPING)

    @contextmanager
    def _cell(self) -> Iterator[Cell]:
        try:
            with open_cell(self._folder / "builds", self._runtime) as cell:
                yield cell
        finally:
            cgroups.remove_if_empty(find_hierarchies(), _CGROUP)

    def _img(
        self,
        cell: Cell,
        arguments: list[str],
        options: BuildOptions,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> None:
        """Call img; it logs in by docker's file in its home."""
        if options.authfile is not None:
            (cell.home / ".docker").mkdir(exist_ok=True)
            shutil.copy(options.authfile, cell.home / ".docker/config.json")
        done = cell.run(
            ["img", "--state", str(self._folder / "state"), *arguments],
            options,
            environment=_environment(cell),
            on_line=on_line,
            cancelled=cancelled,
        )
        failure = failure_of(done, options)
        if failure is not None:
            raise failure


def _calls(context: Path, reference: str, archive: Path) -> tuple[list[str], ...]:
    dockerfile = str(context / "Dockerfile")
    return (
        ["build", "--no-console", "--tag", reference, "--file", dockerfile, "--", str(context)],
        ["save", "--format", "oci", "--output", str(archive), "--", reference],
    )


def _environment(cell: Cell) -> Mapping[str, str]:
    """Put a runtime before the host's on PATH, which keeps its state in the cell.

    img finds its runtime there, and no option tells it where the state goes.
    """
    real = shutil.which(cell.runtime)
    if real is None:
        raise ToolMissing(cell.runtime)
    folder = cell.home / "bin"
    folder.mkdir(exist_ok=True)
    wrapper = folder / "runc"
    wrapper.write_text(
        f'#!/bin/sh\nexec {shlex.quote(real)} --root {shlex.quote(str(cell.state))} "$@"\n'
    )
    wrapper.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}


def _unpacked(archive: Path, cell: Cell, reference: str, deadline: Deadline) -> BuiltImage:
    """Unpack a saved image into the cell, as layers."""
    storage = Storage(cell.home / "root", cell.home / "run")
    done = copy_image(
        f"oci-archive:{archive}",
        storage.name(reference),
        timeout_s=deadline.left_s(),
        cancelled=deadline.cancelled,
    )
    if not done.ok:
        deadline.left_s()
        raise StoreError(f"what img saved cannot be read: {reason(done)}")
    (image, _), *_ = storage.images()
    return BuiltImage(storage.load(image), f"oci-archive:{archive}")
