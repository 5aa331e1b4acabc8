"""The C parts, compiled when they have changed."""

import hashlib
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


class NoCompiler(RuntimeError):
    """The machine lacks what compiles them."""


def compiled(source: str) -> Path:
    """Return the program of a C file of this folder, from the cache if it is there."""
    path = HERE / source
    digest = hashlib.sha256()
    for part in sorted((path, *path.parent.glob("*.h"))):
        digest.update(part.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pipeline-dev"
    program = cache / "bench" / f"{path.stem}-{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        aside = program.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(aside), str(path), "-lzmq"]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoCompiler(
                f"{source} does not compile ({error}): ./dev bench installs gcc and libzmq3-dev"
            ) from None
        aside.replace(program)
    return program
