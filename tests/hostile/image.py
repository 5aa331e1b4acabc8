"""The hostile tool's image: a test runner that executes what it is sent, with weapons at hand."""

import subprocess
from pathlib import Path

from support.images import Image, Layer

TOOL = Path(__file__).parent / "tool"
BUSYBOX = Path("/bin/busybox")
HELPERS = ("as", "bomb", "call", "count", "neighbour", "reach", "trace", "users")
ACCOUNTS = "root:x:0:0::/tmp:/bin/sh\nappuser:x:1000:1000::/tmp:/bin/sh\n"


def make_image(folder: Path) -> Image:
    """Compile the helpers, in a folder, and lay them out beside a shell."""
    base, tool = Layer(), Layer()
    base.file("bin/busybox", BUSYBOX.read_bytes())
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            base.link(f"bin/{applet}", "busybox")
    base.file("etc/passwd", ACCOUNTS, 0o644)
    base.file("etc/group", "root:x:0:\nappuser:x:1000:\n", 0o644)
    base.file("secret", "got through\n", 0o600)
    for helper in HELPERS:
        tool.file(f"bin/{helper}", _compile(TOOL / f"{helper}.c", folder / helper))
    tool.file("call-as-root", (folder / "call").read_bytes(), 0o6755)
    tool.file("bin/pass", (TOOL / "pass.sh").read_bytes())
    tool.file("opt/test-runner/bin/run.sh", (TOOL / "run.sh").read_bytes())
    return Image((base.archive(), tool.archive()), {"Env": ["PATH=/bin"]})


def _compile(source: Path, binary: Path) -> bytes:
    """Link statically: the image has no libraries."""
    options = ("-O1", "-static", "-pthread", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", *options, "-o", str(binary), str(source)], check=True)
    return binary.read_bytes()
