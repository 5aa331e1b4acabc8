"""Whether an image may be released.

Checked here is what can be seen in the files. The checks that start the tool join as further rows
of `CHECKS`, when they come: each takes the same image and gives its problems.
"""

import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import ImageInvalid, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox import mounts
from pipeline_containers.sandbox.roots import check_tool, user_of
from pipeline_containers.sandbox.tools import ToolKind


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that wants to be released as a kind of tool, and its root folder."""

    image: StoredImage
    kind: ToolKind
    root: Path


Check = Callable[[Candidate], list[str]]
"""Looks at a candidate and gives its problems, none when all is well."""


def validate(image: StoredImage, kind: ToolKind, folder: Path) -> None:
    """Raise `ImageInvalid` with all problems of an image; `folder` is where it may be mounted."""
    with tempfile.TemporaryDirectory(prefix="validate-", dir=folder) as aside:
        empty, root = Path(aside, "empty"), Path(aside, "root")
        empty.mkdir()
        root.mkdir()
        mounts.mount_root((empty, *image.layers), root, user_namespace=None)
        try:
            candidate = Candidate(image, kind, root)
            problems = [problem for check in CHECKS for problem in check(candidate)]
        finally:
            mounts.unmount(root)
    if problems:
        raise ImageInvalid(f"not a usable {kind.name} image: {'; '.join(problems)}")


def has_run_script(candidate: Candidate) -> list[str]:
    """Look for `bin/run.sh` in the kind's own folder, a file that may be executed."""
    try:
        check_tool(candidate.root, candidate.kind)
    except ImageInvalid as error:
        return [str(error)]
    return []


def has_plain_folders(candidate: Candidate) -> list[str]:
    """See that what the container's own mounts cover is a folder, if there, and no link."""
    problems = []
    for name in ("dev", "proc", "sys", "tmp", "mnt"):
        place = candidate.root / name
        try:
            status = place.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            problems.append(f"/{name} is not a folder")
    return problems


def has_its_user(candidate: Candidate) -> list[str]:
    """See that the USER which the image asks for is one that it has."""
    try:
        user_of(candidate.image, candidate.root)
    except SandboxError as error:
        return [str(error)]
    return []


CHECKS: tuple[Check, ...] = (has_run_script, has_plain_folders, has_its_user)
"""Every check, in the order of their problems."""
