"""A tiny tool of our own: that it runs shows that this host can run jobs."""

import shutil
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import MIB

BUSYBOX = Path("/bin/busybox")
KIND = TOOLS["test_runner"]
SLUG = "self-test"
LIMITS = Limits(wall_s=10, memory_bytes=64 * MIB, job_folder_bytes=1 * MIB, tmp_bytes=1 * MIB)
EXPECTED = {"version": 1, "status": "pass", "message": SLUG}

_SCRIPT = """\
#!/bin/busybox sh
set -e
printf '{"version": 1, "status": "pass", "message": "%s"}' "$(/bin/busybox cat "$2song")" \
> "$3results.json"
"""


def make_image(folder: Path) -> StoredImage:
    """Make the self-test's image of the host's static busybox; what is there is made anew."""
    if not BUSYBOX.exists():
        raise SandboxError(f"{BUSYBOX} is missing: install it (apt install busybox-static)")
    script = folder / KIND.folder.strip("/") / "bin/run.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    binary = folder / "bin/busybox"
    binary.parent.mkdir(exist_ok=True)
    if not binary.exists():
        copy = binary.with_suffix(".new")
        shutil.copyfile(BUSYBOX, copy)
        copy.chmod(0o755)
        copy.rename(binary)
        script.write_text(_SCRIPT)
        script.chmod(0o755)
    return StoredImage(digest="self-test", layers=(folder,))


def fill(job_folder: Path) -> None:
    """Put in what the self-test is to say back."""
    (job_folder / "song").write_text(SLUG)
