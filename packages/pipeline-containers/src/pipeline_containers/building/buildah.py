"""The builder that Debian has: buildah, with runc around each command of a build.

    FOLDER/root/, FOLDER/run/   containers-storage: images, the layer cache
    FOLDER/builds/              one folder for each running build: home, runtime state
    FOLDER/lock                 shared by builds; exclusive for the removal of what one left

Each build has a process and a mount namespace of its own: killed, it takes all its commands and
mounts with it, where buildah alone would leave them running and mounted. Its cgroups are found by
a runtime state of its own. Exit statuses: 125 for buildah's own errors, else that of the command
which failed.
"""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_containers.building.builder import BuildOptions, Caps
from pipeline_containers.command import (
    Cancelled,
    Completed,
    OnLine,
    Stop,
    clean_environment,
    run_command,
)
from pipeline_containers.errors import (
    BuildCancelled,
    BuildFailed,
    BuildOutputLimit,
    BuildTimedOut,
    ContainersError,
    ToolMissing,
)
from pipeline_containers.images.image import StoredImage
from pipeline_containers.images.storage import Storage
from pipeline_containers.sandbox import mounts
from pipeline_containers.sandbox.runtime import Runtime, watch_orphans

_HOUSEKEEPING_S = 120.0
_ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


class Buildah:
    """Builds with buildah. Needs root; makes this process the subreaper of its descendants."""

    caps = Caps(network_off=True, reproducible=True, concurrent=True, plain_http=True)

    def __init__(
        self, folder: Path, base_images: Path | None = None, runtime: str = "runc"
    ) -> None:
        self._folder = folder.resolve()
        additional = () if base_images is None else (base_images.resolve(),)
        self._storage = Storage(self._folder / "root", self._folder / "run", additional)
        self._runtime = runtime
        (self._folder / "builds").mkdir(parents=True, exist_ok=True)

    def build(
        self,
        context: Path,
        reference: str,
        options: BuildOptions,
        *,
        on_line: OnLine | None = None,
        cancelled: Cancelled | None = None,
    ) -> tuple[str, str]:
        """Build an image and name it; its id, and the end of the log."""
        watch_orphans()
        with self._locked(fcntl.LOCK_SH), self._build_folder() as home:
            auth, image_id, state = home / "auth.json", home / "image", home / "runtime"
            auth.write_text("{}")
            policy = home / "policy.json"
            policy.write_text(json.dumps(image_policy(self._storage.root)))
            arguments = [
                *("bud", "--isolation", "oci", "--runtime", self._runtime),
                *("--runtime-flag", f"root={state}"),
                *("--layers", "--force-rm", "--timestamp", "0"),
                *("--network", options.network),
                *(("--pull-never",) if options.network == "none" else ()),
                *("--memory", str(options.memory_bytes)),
                *("--memory-swap", str(options.memory_bytes)),
                *("--signature-policy", str(policy)),
                *("--authfile", str(auth), "--iidfile", str(image_id)),
                *("--file", str(context / "Dockerfile"), "--tag", reference),
                str(context),
            ]
            try:
                done = self._buildah(
                    arguments,
                    home,
                    options.timeout_s,
                    options.log_bytes,
                    options.log_tail_bytes,
                    on_line,
                    cancelled,
                )
            finally:
                self._end_containers(state, home)
            failure = _failure(done, options)
            if failure is None:
                return image_id.read_text().strip().removeprefix("sha256:"), done.tail
        self._clear_leftovers()
        raise failure

    def inspect(self, image: str) -> StoredImage:
        """Give the layers and the configuration of an image that it built, by its id."""
        return self._storage.load(image)

    def source(self, image: str) -> str:
        """Name an image that it built the way skopeo takes it, to be pushed from."""
        return self._storage.name(f"@{image}")

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        if self._clear_leftovers():
            self._housekeep("rmi", "--all", "--force")

    def _buildah(
        self,
        arguments: list[str],
        home: Path,
        timeout_s: float,
        output_bytes: int,
        tail_bytes: int,
        on_line: OnLine | None = None,
        cancelled: Cancelled | None = None,
    ) -> Completed:
        storage = self._storage
        places = ["--root", str(storage.root), "--runroot", str(storage.run_root)]
        stores = [part for option in storage.options for part in ("--storage-opt", option)]
        if shutil.which("buildah") is None:
            raise ToolMissing("buildah")
        return run_command(
            [*_ALONE, "buildah", *places, "--storage-driver", "overlay", *stores, *arguments],
            timeout_s=timeout_s,
            output_bytes=output_bytes,
            tail_bytes=tail_bytes,
            env=clean_environment(home),
            on_line=on_line,
            cancelled=cancelled,
        )

    def _housekeep(self, *arguments: str) -> None:
        with self._build_folder() as home:
            done = self._buildah([*arguments], home, _HOUSEKEEPING_S, 1 << 20, 4096)
            if not done.ok:
                raise ContainersError(f"buildah {arguments[0]} failed: {done.tail.strip()}")

    def _clear_leftovers(self) -> bool:
        """Remove the working containers of ended builds, unless a build is going on."""
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._housekeep("rm", "--all")
                for place in list(mounts.mounts_below(self._folder)):
                    mounts.unmount(place)
                return True
        except BlockingIOError:
            return False

    def _end_containers(self, state: Path, home: Path) -> None:
        """Remove what the runtime still has of a build that is over: state and cgroups.

        The processes are dead, and their ids were those of another namespace: none is killed here.
        """
        runtime = Runtime(state, self._runtime)
        for name, _ in runtime.processes():
            runtime.delete(name, home)

    @contextmanager
    def _build_folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self._folder / "builds"))
        try:
            yield folder
        finally:
            for place in list(mounts.mounts_below(folder)):
                mounts.unmount(place)
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield


def image_policy(storage: Path) -> dict[str, Any]:
    """Say where images may come from: registries, and the builder's own store.

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


def _failure(done: Completed, options: BuildOptions) -> ContainersError | None:
    """Say which error a build's end is, if any."""
    if done.stop is Stop.CANCELLED:
        return BuildCancelled("the build was cancelled", done.tail)
    if done.stop is Stop.TIMED_OUT:
        return BuildTimedOut(f"the build took longer than {options.timeout_s:g} s", done.tail)
    if done.stop is Stop.OUTPUT_LIMIT:
        text = f"the build printed more than {options.log_bytes} bytes"
        return BuildOutputLimit(text, done.tail)
    if done.exit_status != 0:
        return BuildFailed(done.exit_status, done.tail)
    return None
