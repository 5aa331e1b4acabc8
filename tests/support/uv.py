"""uv, as `./dev` has installed it."""

import os
import shutil
import subprocess
from pathlib import Path

from support.tracks import ROOT


def uv(*arguments: str | Path, folder: Path = ROOT) -> str:
    """Run uv; from its cache if that has all, else with the package index."""
    program = os.environ.get("UV") or shutil.which("uv")
    assert program, "uv is not on PATH"
    for more in (["--offline"], []):
        done = subprocess.run(
            [program, *arguments, *more], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout
    raise AssertionError(done.stderr)
