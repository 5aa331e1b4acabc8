"""Copies of images from one place to another, and looks at them, by skopeo.

Places are in skopeo's notation (`oci:DIR:TAG`, `containers-storage:...`, `docker://HOST/NAME`).
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline_containers.errors import ToolMissing
from pipeline_containers.images.image import is_tag
from pipeline_containers.system.command import (
    CancelFlag,
    Completed,
    OnLine,
    OnStart,
    clean_environment,
    run_command,
)
from pipeline_containers.system.json_text import load_json
from pipeline_containers.system.units import GIB

LOOK_S = 60.0
"""How long a look at a place may take."""

_BOUND = (
    *("nice", "-n", "10"),  # among the processes of its own session and cgroup
    *("setpriv", "--pdeathsig", "KILL", "--"),  # it ends with the process that called it
    *("prlimit", f"--data={2 * GIB}", "--"),  # what strangers packed is unpacked in its memory
)
_APART = ("unshare", "--mount", "--")
"""What it mounts, to try what its storage can do, goes with it when it is killed."""
_LOGGED = re.compile(r'level=fatal msg="(.*)"$')
_OUTPUT_BYTES = 16 * 1024 * 1024  # of a listing too: a tag has up to 128 characters


class CopyWatcher(CancelFlag, Protocol):
    """Whoever looks at a copy while it is made, and may end it."""

    @property
    def folder(self) -> Path:
        """Where blobs lie until they are unpacked: a folder of this copy alone."""
        ...

    def started(self, pid: int) -> None:
        """Be told which process copies."""
        ...


def copy_image(
    source: str,
    destination: str,
    options: Sequence[str] = (),
    *,
    timeout_s: float,
    on_line: OnLine | None = None,
    cancelled: CancelFlag | None = None,
) -> Completed:
    """Copy an image; its manifest and its layers."""
    arguments = ["copy", *options, "--", source, destination]
    return _skopeo(arguments, timeout_s, on_line=on_line, cancelled=cancelled)


def watch_copy(
    source: str, destination: str, options: Sequence[str], *, timeout_s: float, watch: CopyWatcher
) -> Completed:
    """Copy an image into a store, under somebody's eyes."""
    arguments = ["copy", *options, "--", source, destination]
    return _skopeo(
        arguments,
        timeout_s,
        before=_APART,
        folder=watch.folder,
        on_start=watch.started,
        cancelled=watch,
    )


def delete_image(name: str, timeout_s: float) -> Completed:
    """Delete an image from where it is."""
    return _skopeo(["delete", "--", name], timeout_s)


def read_manifest(
    name: str,
    options: Sequence[str] = (),
    timeout_s: float = LOOK_S,
    cancelled: CancelFlag | None = None,
) -> Completed:
    """Print an image's manifest, byte for byte."""
    arguments = ["inspect", "--raw", *options, "--", name]
    return _skopeo(arguments, min(timeout_s, LOOK_S), cancelled=cancelled)


def read_config(name: str, options: Sequence[str] = ()) -> Completed:
    """Print an image's configuration."""
    return _skopeo(["inspect", "--config", "--raw", *options, "--", name], LOOK_S)


def list_tags(name: str, options: Sequence[str] = ()) -> Completed:
    """Print a repository's tags, of all pages, as an object's `Tags`."""
    return _skopeo(["list-tags", *options, "--", name], LOOK_S)


def parse_tags(printed: str) -> list[str]:
    """Take the tags from what `list_tags` printed; what can name none is passed over.

    Raises `ValueError` if that was something else.
    """
    listing = load_json(printed)
    tags = listing.get("Tags") if isinstance(listing, dict) else None
    if not isinstance(tags, list):
        raise ValueError("there are no tags in it")
    return [tag for tag in tags if isinstance(tag, str) and is_tag(tag)]


def reason(done: Completed) -> str:
    """Say in one line why a call failed."""
    if done.stop is not None:
        return done.stop.value
    last = done.tail.strip().rpartition("\n")[2]
    message = _LOGGED.search(last)
    return message[1].replace('\\"', '"') if message else last


def _skopeo(
    arguments: Sequence[str],
    timeout_s: float,
    *,
    before: Sequence[str] = (),
    folder: Path | None = None,
    on_start: OnStart | None = None,
    on_line: OnLine | None = None,
    cancelled: CancelFlag | None = None,
) -> Completed:
    """Call skopeo with a home and a place for blobs of its own, gone afterwards."""
    if shutil.which("skopeo") is None:
        raise ToolMissing("skopeo")
    with tempfile.TemporaryDirectory(prefix="pipeline-skopeo-", dir=folder) as home:
        return run_command(
            [*_BOUND, *before, "skopeo", "--insecure-policy", "--tmpdir", home, *arguments],
            timeout_s=timeout_s,
            output_bytes=_OUTPUT_BYTES,
            env=clean_environment(Path(home)),
            on_start=on_start,
            on_line=on_line,
            cancelled=cancelled,
        )
