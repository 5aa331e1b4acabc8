"""A container runtime that can be broken while a worker uses it."""

from pathlib import Path

_SCRIPT = """\
#!/bin/sh
# The container runtime; but while ./broken is there it makes no containers.
for step; do
    [ "$step" != create ] || [ ! -e "${0%/*}/broken" ] || exit 1
done
exec runc "$@"
"""


def write_runtime(folder: Path) -> Path:
    """Write it into a folder; a file `broken` beside it breaks it."""
    runtime = folder / "runtime"
    runtime.write_text(_SCRIPT)
    runtime.chmod(0o755)
    return runtime
