"""The builder that Debian has: buildah, with runc around each command of a build.

    FOLDER/store/    containers-storage, the builds' own: images, the layer cache
    FOLDER/images/   what came of them, to be tried
    FOLDER/builds/   one cell for each running build
    FOLDER/lock      shared by builds; exclusive for the removal of what one left

Exit statuses: 125 for buildah's own errors, else that of the command which failed. It runs as root
of a user namespace, as it would for an ordinary user: its overlays note in `user.*` attributes what
is removed, which the host's own would not see. So an image leaves its store as layers in archives.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline_containers.building import built
from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.cell.cell import BuildHost, Cell, open_cell, own
from pipeline_containers.building.dockerfile.dialect import Dialect, buildah
from pipeline_containers.building.dockerfile.plan import Plan
from pipeline_containers.building.dockerfile.steps import NO_NETWORK, TEXTS
from pipeline_containers.building.recipe import read_plan
from pipeline_containers.building.watch import new_entries
from pipeline_containers.errors import BuildError
from pipeline_containers.system.command import (
    CancelFlag,
    OnLine,
    clean_environment,
    run_command,
)
from pipeline_containers.system.deadline import Deadline

_HOUSEKEEPING = BuildOptions(
    timeout_s=120.0, log_bytes=1 << 20, log_tail_bytes=4096, network="none"
)
_STORE = "/store"
_BASES = "/bases"
_CONTEXT = "/context"
_TEXTS = "/texts"
_DOCKERFILE = "/opt/builder/Dockerfile"
_RUNTIME = "/opt/builder/runtime"
_POLICY = "/opt/builder/policy.json"
_LOGIN = "/opt/builder/auth.json"
_ENVIRONMENT = {"_CONTAINERS_USERNS_CONFIGURED": "done"}  # its root is one of a user namespace
_LINK_BASES = f"""\
mkdir -p {_STORE}/overlay/l && cd {_STORE}/overlay/l || exit 125
for link in {_BASES}/overlay/l/*; do
    name=${{link##*/}}
    if [ -L "$link" ] && ! [ -L "$name" ]; then
        ln -s "../../..{_BASES}/overlay/l/$(readlink "$link")" "$name"
    fi
done
exec "$@"
"""
"""Lets layers of base images be found in the builds' own store. From some ninety layers on, their
paths do not fit into a mount's options, and buildah names them all from that store on: "no such
file or directory" for those of the other one. A link has to be relative, as buildah's own are."""
_ASKING_S = 60.0
_WITHOUT_NETWORK = f"""\
#!/bin/sh
runtime=$(command -v runc || command -v crun)
before=
for argument; do
    if [ "$before" = --bundle ] && grep -q {NO_NETWORK} "$argument/config.json"; then
        exec unshare --net -- "$runtime" "$@"
    fi
    before=$argument
done
exec "$runtime" "$@"
"""
"""A runtime in front of the one that there is: buildah 1.28 gives all steps one network. The empty
one has no loopback, since nobody in a build may set up a network."""


class Buildah:
    """Builds with buildah. Needs root; makes this process the subreaper of its descendants."""

    def __init__(self, folder: Path, host: BuildHost, base_images: Path | None = None) -> None:
        self._folder = folder.resolve()
        self._host = host
        self._base_images = None if base_images is None else base_images.resolve()

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
        """Build an image and name it; it stays in the builder's store, as the layer cache."""
        deadline = Deadline(options.timeout_s, cancelled)
        recipe = read_plan(context, _dialect(deadline), options)
        try:
            with self._locked(fcntl.LOCK_SH), self._cell(options) as cell:
                cell.show(own(context), _CONTEXT)
                cell.put(_LOGIN, options.authfile.read_text() if options.authfile else "{}")
                _put_plan(cell, recipe)
                self._buildah(cell, _build(reference, options, recipe), deadline, on_line)
                push = ["push", "--quiet", reference]
                self._buildah(cell, [*push, "oci:/out/image:it"], deadline)
                image, images = cell.out / "image", self._folder / "images"
                yield built.take(image, f"oci:{image}:it", images, options, deadline)
        except BuildError:
            self._clear_leftovers()
            raise

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        for place in self._folder.iterdir():
            if place.name not in ("builds", "lock"):
                self._exclusively(partial(shutil.rmtree, place, ignore_errors=True))

    @contextmanager
    def _cell(self, options: BuildOptions) -> Iterator[Cell]:
        store = self._folder / "store"
        if not store.exists():
            own(store)
        new_layers = new_entries(store / "overlay")
        with open_cell(self._folder / "builds", self._host, options) as cell:
            cell.show(store, _STORE, writable=True)
            cell.put(_POLICY, json.dumps(image_policy(_STORE)))
            if self._base_images is not None:
                cell.show_mapped(self._base_images, _BASES)
            yield replace(cell, written=new_layers)

    def _buildah(
        self,
        cell: Cell,
        arguments: list[str],
        deadline: Deadline,
        on_line: OnLine | None = None,
    ) -> None:
        stores = ["--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true"]
        through: tuple[str, ...] = ()
        if self._base_images is not None:
            stores += ["--storage-opt", f"overlay.imagestore={_BASES}"]
            through = ("sh", "-c", _LINK_BASES, "link-bases")
        places = ["--root", _STORE, "--runroot", "/run/storage"]
        cell.run(
            ["buildah", *places, *stores, *arguments],
            deadline,
            through=through,
            environment=_ENVIRONMENT,
            on_line=on_line,
        )

    def _clear_leftovers(self) -> None:
        """Remove the working containers of ended builds, unless a build is going on."""

        def remove() -> None:
            with self._cell(_HOUSEKEEPING) as cell:
                self._buildah(cell, ["rm", "--all"], Deadline(_HOUSEKEEPING.timeout_s))

        self._exclusively(remove)

    def _exclusively(self, work: Callable[[], None]) -> None:
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                work()
        except BlockingIOError:
            return

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield


def _dialect(deadline: Deadline) -> Dialect:
    """Ask buildah for its version."""
    done = run_command(
        ["buildah", "--version"],
        timeout_s=min(_ASKING_S, deadline.left_s()),
        output_bytes=4096,
        env=clean_environment(Path("/")),
        cancelled=deadline.cancelled,
    )
    deadline.left_s()
    return buildah(done.stdout)


def _put_plan(cell: Cell, recipe: Plan) -> None:
    """Show what was made of the Dockerfile, and what it needs beside the context."""
    cell.put(_DOCKERFILE, recipe.text)
    if recipe.cuts_networks:
        cell.put(_RUNTIME, _WITHOUT_NETWORK, executable=True)
    if recipe.files:
        texts = cell.home / "texts"
        for file in recipe.files:
            place = texts / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.parent.chmod(0o755)
            place.write_text(file.content, newline="")
            place.chmod(file.mode)
        cell.show(own(texts), _TEXTS)


def _build(reference: str, options: BuildOptions, recipe: Plan) -> list[str]:
    return [
        *("bud", "--isolation", "oci", "--runtime-flag", "root=/run/runtime"),
        *("--layers", "--force-rm", "--timestamp", "0"),
        *("--network", "host"),  # the cell's own
        *(("--pull-never",) if options.network == "none" else ()),
        *("--signature-policy", _POLICY, "--authfile", _LOGIN),
        *(("--runtime", _RUNTIME) if recipe.cuts_networks else ()),
        *(("--build-context", f"{TEXTS}={_TEXTS}") if recipe.files else ()),
        *("--file", _DOCKERFILE, "--tag", reference),
        *("--", _CONTEXT),
    ]


def image_policy(storage: str) -> dict[str, Any]:
    """Return where images may come from: registries, and the builder's own store.

    Without it a Dockerfile's `FROM dir:/...` or `FROM oci:/...` reads any folder that the builder
    sees. Source: containers-policy.json(5).
    """
    accept = [{"type": "insecureAcceptAnything"}]
    return {
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {"": accept},
            "containers-storage": {f"[overlay@{storage}]": accept},
        },
    }
