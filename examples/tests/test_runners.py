"""The example test runners, in the images of their Dockerfiles, against their fixtures."""

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
TRACKS = ("bash", "ruby")
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
    """A test runner's image, mounted, and how to run it."""

    def __init__(self, rootfs: Path, config: dict[str, Any]) -> None:
        self.rootfs = rootfs
        self.config = config

    def run(self, solution: Path, folder: Path) -> Any:
        """Run it as the platform does: no network, read-only root, job folder and /tmp writable."""
        job = folder / "job"
        shutil.copytree(solution, job, ignore=shutil.ignore_patterns("expected_results.json"))
        command("runc", "spec", "--bundle", folder)
        spec = json.loads((folder / "config.json").read_text())
        spec["root"] = {"path": str(self.rootfs), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "args": [*self.config["Entrypoint"], "two-fer", JOB, JOB],
            "cwd": self.config["WorkingDir"],
            "env": self.config["Env"],
        }
        spec["mounts"] += [
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": JOB, "type": "bind", "source": str(job), "options": ["bind", "rw"]},
        ]
        (folder / "config.json").write_text(json.dumps(spec))
        command("runc", "run", "--bundle", folder, f"pipeline-examples-{os.getpid()}")
        return json.loads((job / "results.json").read_text())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    command(EXAMPLES / "base-images", STORE)
    storage = tmp_path_factory.mktemp("storage")
    buildah = (
        *("buildah", "--root", storage / "root", "--runroot", storage / "run"),
        *("--storage-driver", "overlay", "--storage-opt", f"overlay.imagestore={STORE}"),
    )

    def image(track: str) -> Image:
        name = f"{track}-test-runner"
        command(*buildah, "build", "--isolation", "oci", "-t", name, EXAMPLES / name)
        container = command(*buildah, "from", "--pull-never", name)
        rootfs = Path(command(*buildah, "mount", container))
        (rootfs / JOB.strip("/")).mkdir(
            parents=True
        )  # a mount point can not be made in a read-only root
        described = json.loads(command(*buildah, "inspect", "--type", "image", name))
        return Image(rootfs, described["OCIv1"]["config"])

    try:
        yield {track: image(track) for track in TRACKS}
    finally:
        command(*buildah, "rm", "--all")


def fixtures() -> list[Any]:
    return [
        pytest.param(track, case.parent, id=f"{track}-{case.parent.name}")
        for track in TRACKS
        for case in sorted(EXAMPLES.glob(f"{track}-test-runner/tests/*/expected_results.json"))
    ]


@pytest.mark.parametrize(("track", "case"), fixtures())
def test_fixture(images: dict[str, Image], tmp_path: Path, track: str, case: Path) -> None:
    expected = json.loads((case / "expected_results.json").read_text())
    assert images[track].run(case, tmp_path) == expected


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("name", STATUSES)
def test_solution(images: dict[str, Image], tmp_path: Path, track: str, name: str) -> None:
    solution = EXAMPLES / "solutions" / track / "two-fer" / name
    assert images[track].run(solution, tmp_path)["status"] == STATUSES[name]
