"""The commands for the images of a host, by hand: fetch, mount, gc."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from pipeline_containers.cli.options import JSON, REGISTRY, STORE
from pipeline_containers.cli.output import print_result
from pipeline_containers.errors import StoreError
from pipeline_containers.images.image import is_digest, is_repository, is_tag
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.registries.registry import Registry
from pipeline_containers.sandbox.host.rootless import enter
from pipeline_containers.store.progress import PullProgress
from pipeline_containers.store.store import Store
from pipeline_containers.system import owner_lock


class DigestType(click.ParamType[str]):
    """sha256: and 64 hexadecimal digits."""

    name = "digest"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check it."""
        if not is_digest(str(value)):
            self.fail(f"{value!r} is not sha256: and 64 hexadecimal digits", param, ctx)
        return str(value)


class ImageType(click.ParamType[tuple[str, str]]):
    """REPOSITORY:TAG or REPOSITORY@DIGEST."""

    name = "image"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Take it apart."""
        text = str(value)
        repository, sign, reference = text.partition("@" if "@" in text else ":")
        fits = is_digest(reference) if sign == "@" else is_tag(reference)
        if not is_repository(repository) or not fits:
            self.fail(f"{text!r} is neither REPOSITORY:TAG nor REPOSITORY@sha256:...", param, ctx)
        return repository, reference


@click.command()
@click.argument("image", type=ImageType())
@REGISTRY
@STORE
@click.option(
    "--tries",
    type=click.IntRange(1),
    default=PullLimits().tries,
    show_default=True,
    help="How often to begin anew when nothing more comes.",
)
@JSON
def fetch(
    image: tuple[str, str], registry: Registry, folder: Path, tries: int, as_json: bool
) -> None:
    """Fetch IMAGE, a REPOSITORY:TAG or REPOSITORY@DIGEST in the registry, and keep it here.

    Layers that are here already, of whichever image, are not fetched again; after a broken line, or
    Ctrl-C, the same command goes on where it was.
    """
    enter()
    repository, reference = image
    store = Store(folder, PullLimits(tries=tries))
    before = store.layers()
    with _Bar(f"fetching {repository}") as bar:
        digest = store.pull(registry, repository, reference, bar.show)
    store.settle()
    layers = store.layers_of(digest)
    here = sum(layer in before for layer in layers)
    result = {
        "digest": digest,
        "bytes_fetched": bar.total_bytes,
        "layers_fetched": len(layers) - here,
        "layers_here": here,
    }
    text = (
        f"{digest}\n{bar.total_bytes} bytes fetched; {len(layers) - here} layers fetched, "
        f"{here} here already"
    )
    print_result(as_json, result, text)


@click.command()
@click.argument("digest", type=DigestType(), required=False)
@click.argument(
    "target",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    required=False,
)
@click.option(
    "--unmount",
    "mounted",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Unmount what was mounted there.",
)
@STORE
@JSON
def mount(
    digest: str | None, target: Path | None, mounted: Path | None, folder: Path, as_json: bool
) -> None:
    """Mount the image DIGEST, which is here, at FOLDER: its root, read-only, to look around.

    It stays mounted, and is not collected, until `mount --unmount FOLDER`. Files belong to whom the
    image says; no device works, and no program gains rights. Only root can mount.
    """
    if mounted is not None:
        if digest is not None:
            raise click.UsageError("give either DIGEST and FOLDER, or --unmount FOLDER")
        digest = Store.unmount(mounted.absolute())
        result, text = {"unmounted": str(mounted.absolute())}, f"unmounted {mounted.absolute()}"
    elif digest is None or target is None:
        raise click.UsageError("give DIGEST and FOLDER, or --unmount FOLDER")
    else:
        Store(folder).mount(digest, target.absolute())
        result, text = {"mounted": str(target.absolute())}, str(target.absolute())
    print_result(as_json, {"digest": digest} | result, text)


@click.command()
@click.option(
    "--keep",
    type=DigestType(),
    multiple=True,
    metavar="DIGEST",
    help="An image that is to stay. May be given again.",
)
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be removed.")
@STORE
@JSON
def gc(keep: tuple[str, ...], dry_run: bool, folder: Path, as_json: bool) -> None:
    """Remove all images but those to be kept, and layers that no image has.

    What is mounted by `mount` stays. A store that a worker owns is the worker's own to collect.
    """
    enter()
    if not folder.is_dir():
        raise StoreError(f"{folder} is not there: name a store's folder by --store")
    store = Store(folder)
    if unknown := sorted(set(keep) - set(store.digests())):
        raise StoreError(f"{', '.join(unknown)} is not in {folder}: nothing was removed")
    with _unowned(folder):
        garbage = store.garbage(keep)
        if not dry_run:
            store.collect(keep)
        gone = {
            layer: size for layer, size in garbage.layers.items() if dry_run or not layer.exists()
        }
    here = store.digests()
    kept = [digest for digest in here if digest not in garbage.digests]
    result = {
        "removed": list(garbage.digests),
        "kept": kept,
        "layers": len(gone),
        "bytes": sum(gone.values()),
        "dry_run": dry_run,
    }
    would = "would remove" if dry_run else "removed"
    lines = [f"{would} {digest}" for digest in garbage.digests]
    lines += [f"kept {digest}" for digest in kept]
    lines.append(f"{would} {len(gone)} layers, {sum(gone.values())} bytes")
    print_result(as_json, result, "\n".join(lines))


COMMANDS = (fetch, mount, gc)


class _Bar:
    """A progress bar on standard error, if that is a terminal; and how much came."""

    def __init__(self, label: str) -> None:
        self.total_bytes = 0
        self._label = label
        self._done_bytes = 0
        self._bar: click._termui_impl.ProgressBar[int] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, progress: PullProgress) -> None:
        """Show it."""
        self.total_bytes = progress.bytes_total
        if self._bar is None and progress.bytes_total and sys.stderr.isatty():
            bar = click.progressbar(
                length=progress.bytes_total, label=self._label, file=sys.stderr, show_pos=True
            )
            self._bar = self._stack.enter_context(bar)
        if self._bar is not None:
            self._bar.update(progress.bytes_done - self._done_bytes)
        self._done_bytes = progress.bytes_done


@contextmanager
def _unowned(folder: Path) -> Iterator[None]:
    """Hold the lock of a worker's folder, if the store is in one.

    Raises `StoreError` if a worker does.
    """
    lock = folder.absolute().parent / "lock"
    if not lock.exists():
        yield
        return
    try:
        descriptor = owner_lock.borrow(lock)
    except owner_lock.AlreadyOwned as error:
        raise StoreError(
            f"{folder} belongs to {error.owner}, which collects what is not wanted by itself: "
            "unload versions, or stop it first"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
