"""The example tracks: git repositories of their tools, and solutions to run through them."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SOLUTIONS = EXAMPLES / "solutions"


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as nobody in particular."""
    identity = ("-c", "user.name=pipeline", "-c", "user.email=pipeline@example.org")
    done = subprocess.run(
        # its maintenance would go on in the background
        ["git", "-C", str(folder), "-c", "maintenance.auto=false", *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_repository(tool: str, folder: Path) -> str:
    """Commit an example tool to a new repository, FOLDER/TOOL, on master; return the commit."""
    repository = folder / tool
    shutil.copytree(EXAMPLES / tool, repository)
    git(repository, "init", "--quiet", "--initial-branch=master")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=The tool as it is in the examples")
    return git(repository, "rev-parse", "HEAD")


def write_seed(folder: Path, repositories: Path) -> Path:
    """Write the seed configuration, its sources replaced by local repositories."""
    text = (ROOT / "config" / "pipeline.yml").read_text()
    original = 'url: "https://github.com/exercism/{tool}"'
    assert text.count(original) == 1, "config/pipeline.yml names its sources in another way"
    seed = folder / "seed.yml"
    seed.write_text(text.replace(original, f'url: "file://{repositories}/{{tool}}"'))
    return seed
