"""The builder that Debian has: buildah, with runc around each command of a build.

    FOLDER/root/, FOLDER/run/   containers-storage: images, the layer cache
    FOLDER/builds/              one cell for each running build
    FOLDER/lock                 shared by builds; exclusive for the removal of what one left

Exit statuses: 125 for buildah's own errors, else that of the command which failed.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.cell import Cell, failure_of, open_cell
from pipeline_containers.errors import ContainersError
from pipeline_containers.images.storage import Storage
from pipeline_containers.system.command import CancelFlag, Completed, OnLine
from pipeline_containers.system.mountinfo import mounts_below, unmount

_HOUSEKEEPING = BuildOptions(timeout_s=120.0, log_bytes=1 << 20, log_tail_bytes=4096)


class Buildah:
    """Builds with buildah. Needs root; makes this process the subreaper of its descendants."""

    def __init__(
        self, folder: Path, base_images: Path | None = None, runtime: str = "runc"
    ) -> None:
        self._folder = folder.resolve()
        additional = () if base_images is None else (base_images.resolve(),)
        self._storage = Storage(self._folder / "root", self._folder / "run", additional)
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
        """Build an image and name it; it stays afterwards, as the layer cache."""
        with self._locked(fcntl.LOCK_SH):
            with open_cell(self._folder / "builds", self._runtime) as cell:
                image = cell.home / "image"
                arguments = self._arguments(cell, context, reference, image, options)
                done = self._buildah(cell, arguments, options, on_line, cancelled)
                failure = failure_of(done, options)
                built = "" if failure else image.read_text().strip().removeprefix("sha256:")
            if failure is None:
                yield BuiltImage(self._storage.load(built), self._storage.name(f"@{built}"))
                return
        self._clear_leftovers()
        raise failure

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        self._clear_leftovers("rmi", "--all", "--force")

    def _arguments(
        self, cell: Cell, context: Path, reference: str, image: Path, options: BuildOptions
    ) -> list[str]:
        policy = cell.home / "policy.json"
        policy.write_text(json.dumps(image_policy(self._storage.root)))
        authfile = options.authfile
        if authfile is None:
            authfile = cell.home / "auth.json"
            authfile.write_text("{}")
        return [
            *("bud", "--isolation", "oci", "--runtime", self._runtime),
            *("--runtime-flag", f"root={cell.state}"),
            *("--layers", "--force-rm", "--timestamp", "0"),
            *("--network", options.network),
            *(("--pull-never",) if options.network == "none" else ()),
            *("--memory", str(options.memory_bytes)),
            *("--memory-swap", str(options.memory_bytes)),
            *("--signature-policy", str(policy)),
            *("--authfile", str(authfile), "--iidfile", str(image)),
            *("--file", str(context / "Dockerfile"), "--tag", reference),
            *("--", str(context)),
        ]

    def _buildah(
        self,
        cell: Cell,
        arguments: list[str],
        options: BuildOptions,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> Completed:
        storage = self._storage
        places = ["--root", str(storage.root), "--runroot", str(storage.run_root)]
        stores = [part for option in storage.options for part in ("--storage-opt", option)]
        return cell.run(
            ["buildah", *places, "--storage-driver", "overlay", *stores, *arguments],
            options,
            on_line=on_line,
            cancelled=cancelled,
        )

    def _housekeep(self, *arguments: str) -> None:
        with open_cell(self._folder / "builds", self._runtime) as cell:
            done = self._buildah(cell, [*arguments], _HOUSEKEEPING)
            if not done.ok:
                raise ContainersError(f"buildah {arguments[0]} failed: {done.tail.strip()}")

    def _clear_leftovers(self, *more: str) -> None:
        """Remove the working containers of ended builds, and more, unless a build is going on."""
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._housekeep("rm", "--all")
                for place in list(mounts_below(self._folder)):
                    unmount(place)
                if more:
                    self._housekeep(*more)
        except BlockingIOError:
            return

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield


def image_policy(storage: Path) -> dict[str, Any]:
    """Return where images may come from: registries, and the builder's own store.

    Without it a Dockerfile's `FROM dir:/...` or `FROM oci:/...` reads folders of the host. Source:
    containers-policy.json(5).
    """
    accept = [{"type": "insecureAcceptAnything"}]
    return {
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {"": accept},
            "containers-storage": {f"[overlay@{storage}]": accept},
        },
    }
