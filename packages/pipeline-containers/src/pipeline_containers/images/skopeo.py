"""Copies of images from one place to another, by skopeo."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline_containers.command import Cancelled, Completed, OnLine, run_command

_OUTPUT_BYTES = 4 * 1024 * 1024


def copy_image(
    source: str,
    destination: str,
    options: Sequence[str] = (),
    *,
    timeout_s: float,
    on_line: OnLine | None = None,
    cancelled: Cancelled | None = None,
) -> Completed:
    """Copy an image; both places in skopeo's notation (`oci:DIR:TAG`, `containers-storage:...`)."""
    return _skopeo(["copy", *options, "--", source, destination], timeout_s, on_line, cancelled)


def delete_image(name: str, timeout_s: float) -> Completed:
    """Delete an image from where it is."""
    return _skopeo(["delete", "--", name], timeout_s, None, None)


def _skopeo(
    arguments: Sequence[str],
    timeout_s: float,
    on_line: OnLine | None,
    cancelled: Cancelled | None,
) -> Completed:
    """Call skopeo with a home and a place for blobs of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pipeline-skopeo-") as home:
        return run_command(
            ["skopeo", "--insecure-policy", "--tmpdir", home, *arguments],
            timeout_s=timeout_s,
            output_bytes=_OUTPUT_BYTES,
            env=clean_environment(Path(home)),
            on_line=on_line,
            cancelled=cancelled,
        )


def clean_environment(home: Path) -> dict[str, str]:
    """Make an environment with a private home and nothing of this process but its PATH."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        "TMPDIR": str(home),
        "XDG_RUNTIME_DIR": str(home),
    }
