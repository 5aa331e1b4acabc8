"""The example tools, in the images of their Dockerfiles, against their fixtures."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[1]
STORE = os.environ.get("PIPELINE_BASE_IMAGES", "/var/lib/pipeline-demo/base-images")
TRACKS = ("bash", "python", "ruby")
TOOLS = (*(f"{track}-test-runner" for track in TRACKS), "python-analyzer", "python-representer")
JOB = "/mnt/exercism-iteration/"
STATUSES = {"passing": "pass", "failing": "fail", "broken": "error"}


def command(*arguments: object) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


class Image:
    """A tool's image, mounted, and how to run it."""

    def __init__(self, rootfs: Path, config: dict[str, Any]) -> None:
        self.rootfs = rootfs
        self.config = config

    def run(self, solution: Path, folder: Path, slug: str = "two-fer") -> Path:
        """Run it as the platform does: no network, read-only root, job folder and /tmp writable.

        Return the job folder.
        """
        job = folder / "job"
        shutil.copytree(solution, job, ignore=shutil.ignore_patterns("expected_*"))
        command("runc", "spec", "--bundle", folder)
        spec = json.loads((folder / "config.json").read_text())
        spec["root"] = {"path": str(self.rootfs), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "args": [*self.config["Entrypoint"], slug, JOB, JOB],
            "cwd": self.config["WorkingDir"],
            "env": self.config["Env"],
        }
        spec["mounts"] += [
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": JOB, "type": "bind", "source": str(job), "options": ["bind", "rw"]},
        ]
        (folder / "config.json").write_text(json.dumps(spec))
        command("runc", "run", "--bundle", folder, f"pipeline-examples-{os.getpid()}")
        return job


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    command(EXAMPLES / "base-images", STORE)
    storage = tmp_path_factory.mktemp("storage")
    buildah = (
        *("buildah", "--root", storage / "root", "--runroot", storage / "run"),
        *("--storage-driver", "overlay", "--storage-opt", f"overlay.imagestore={STORE}"),
    )

    def image(name: str) -> Image:
        options = ("--isolation", "oci", "--runtime", "runc", "--network", "none")
        command(*buildah, "build", *options, "-t", name, EXAMPLES / name)
        container = command(*buildah, "from", "--pull-never", name)
        rootfs = Path(command(*buildah, "mount", container))
        (rootfs / JOB.strip("/")).mkdir(
            parents=True
        )  # a mount point can not be made in a read-only root
        described = json.loads(command(*buildah, "inspect", "--type", "image", name))
        return Image(rootfs, described["OCIv1"]["config"])

    try:
        yield {tool: image(tool) for tool in TOOLS}
    finally:
        command(*buildah, "rm", "--all")


def content(file: Path) -> Any:
    return json.loads(file.read_text()) if file.suffix == ".json" else file.read_text()


def fixtures() -> list[Any]:
    found = [
        (tool, case)
        for tool in TOOLS
        for case in sorted({file.parent for file in EXAMPLES.glob(f"{tool}/tests/**/expected_*")})
    ]
    return [pytest.param(tool, case, id=f"{tool}-{case.name}") for tool, case in found]


@pytest.mark.parametrize(("tool", "case"), fixtures())
def test_fixture(images: dict[str, Image], tmp_path: Path, tool: str, case: Path) -> None:
    slug = "two-fer" if case.parent.name == "tests" else case.parent.name
    job = images[tool].run(case, tmp_path, slug)
    for expected in case.glob("expected_*"):
        assert content(job / expected.name.removeprefix("expected_")) == content(expected)


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("name", STATUSES)
def test_solution(images: dict[str, Image], tmp_path: Path, track: str, name: str) -> None:
    solution = EXAMPLES / "solutions" / track / "two-fer" / name
    job = images[f"{track}-test-runner"].run(solution, tmp_path)
    assert content(job / "results.json")["status"] == STATUSES[name]
