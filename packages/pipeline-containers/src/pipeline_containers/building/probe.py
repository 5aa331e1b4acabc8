"""A script of our own in the place of the tool, to see what the tool would find there.

It runs as the tool would, in the same image, as the same user, in the same way, and says what is
not as it should be: the network off, the root folder read-only, the job folder and /tmp writable,
/dev, /proc and /sys real folders.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.container.places import TMP
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.self_test import BUSYBOX
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.units import MIB

DONE = "the probe has seen everything"
"""Its last line: without it, it did not get to the end."""

LIMITS = Limits(wall_s=10, memory_bytes=64 * MIB, job_folder_bytes=1 * MIB, tmp_bytes=1 * MIB)

_SCRIPT = f"""\
#!%(busybox)s sh
(: >/.written) 2>/dev/null && echo "the root folder can be written"
(: >"%(folder)s/.written") 2>/dev/null && echo "%(folder)s can be written"
(: >"$2/.written") 2>/dev/null || echo "the job folder cannot be written"
(: >/tmp/.written) 2>/dev/null || echo "/tmp cannot be written"
for name in /dev /proc /sys /tmp; do
    [ -d "$name" ] && [ ! -L "$name" ] || echo "$name is not a folder"
done
[ -c /dev/null ] || echo "/dev/null is not a device"
[ -r /proc/self/status ] || echo "/proc is empty"
while read -r name _; do
    case $name in
    lo:*) ;;
    *:*) echo "the network is not off: there is ${{name%%%%:*}}" ;;
    esac
done </proc/net/dev
echo "{DONE}"
"""


def probe_run(image: StoredImage, kind: ToolKind, folder: Path) -> ToolRun:
    """Make the run that looks around in an image; the probe's own layer is laid in `folder`."""
    layer = folder / "probe"
    lay_script(layer, kind, _SCRIPT, {"folder": kind.folder})
    # the tool's own folder may lie in its HOME or a VOLUME, which can be written to
    config = replace(
        image.config, entrypoint=(), volumes=(), env=(*image.config.env, f"HOME={TMP}")
    )
    return ToolRun(
        image=replace(image, layers=(layer, *image.layers), config=config),
        kind=replace(kind, outputs=()),
        slug="probe",
        fill=lambda _: None,
        limits=LIMITS,
    )


def lay_script(layer: Path, kind: ToolKind, script: str, terms: Mapping[str, str]) -> None:
    """Make a layer with a script of our own as the tool, and a busybox that runs it.

    What the script has as `%(busybox)s`, and each of `terms`, is filled in.
    """
    if not BUSYBOX.exists():
        raise SandboxError(f"{BUSYBOX} is missing: install it (apt install busybox-static)")
    file = layer / kind.folder.strip("/") / "bin/run.sh"
    file.parent.mkdir(parents=True)
    busybox = layer / ".probe/busybox"  # by any other name it is another program
    busybox.parent.mkdir()
    shutil.copyfile(BUSYBOX, busybox)
    file.write_text(script % {"busybox": "/.probe/busybox", **terms})
    for program in (busybox, file):
        program.chmod(0o755)
    for place in (layer, *(place for place in layer.rglob("*") if place.is_dir())):
        place.chmod(0o755)
