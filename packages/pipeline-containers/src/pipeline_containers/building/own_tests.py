"""A repository's own way to try its fixtures: its script, in the sandbox, as it runs by hand.

By hand it runs in the tool's folder, whose fixtures it may write to, without a network. Here that
folder is read-only, as it is for jobs: so the script runs in the job folder, which has the
fixtures and the script of the checkout, and a link to each other file of the tool.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from pipeline_containers.building.fixtures import OWN_SCRIPTS, ROOTS
from pipeline_containers.building.probe import lay_script
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import ToolKind

_FOLDER = "/.own-tests"
_SCRIPT = """\
#!%(busybox)s sh
cd "$2" || exit 1
for entry in "%(folder)s"/* "%(folder)s"/.[!.]*; do
    name=${entry##*/}
    [ ! -e "$entry" ] || [ -e "$name" ] || %(busybox)s ln -s "$entry" "$name"
done
for entry in "%(folder)s"/bin/*; do
    name=bin/${entry##*/}
    [ -e "$name" ] || %(busybox)s ln -s "$entry" "$name"
done
exec "%(script)s" </dev/null
"""


def own_script(source: Path) -> str:
    """Return the script that a checkout has for its fixtures; empty: it has none."""
    for name in OWN_SCRIPTS:
        if (source / name).is_file() and not any(
            place.is_symlink() for place in (source / name, (source / name).parent)
        ):
            return name
    return ""


def own_tests_run(
    image: StoredImage, kind: ToolKind, source: Path, folder: Path, limits: Limits, cases: int
) -> ToolRun:
    """Make the run of a checkout's own script; a layer for it is laid in `folder`.

    It has the time that its cases may have, one after the other.
    """
    script = own_script(source)

    def fill(job_folder: Path) -> None:
        for name in ROOTS:
            if (source / name).is_dir() and not (source / name).is_symlink():
                shutil.copytree(source / name, job_folder / name, symlinks=True)
        (job_folder / "bin").mkdir()
        shutil.copyfile(source / script, job_folder / script)
        (job_folder / script).chmod(0o755)

    layer = folder / "own-tests"
    own_kind = ToolKind("own tests", _FOLDER, ())
    lay_script(layer, own_kind, _SCRIPT, {"folder": kind.folder, "script": script})
    return ToolRun(
        image=replace(
            image, layers=(layer, *image.layers), config=replace(image.config, entrypoint=())
        ),
        kind=own_kind,
        slug="own-tests",
        fill=fill,
        limits=replace(limits, wall_s=limits.wall_s * max(1, cases)),
    )
