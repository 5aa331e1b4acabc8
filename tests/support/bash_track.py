"""From a running router to a deployed version of the bash track, over a bare REQ socket."""

import time
from pathlib import Path
from typing import Any

from support.bare import say
from support.pace import paced
from support.processes import Machine, Process
from support.tracks import SOLUTIONS


class BashTrack:
    """A machine on which the bash track can be tested."""

    def __init__(self, own: Machine, builder: Process, sha: str) -> None:
        self.own = own
        self.builder = builder
        self.sha = sha
        self.version = f"git-{sha}"
        self._asked = 0

    def say(self, message: dict[str, Any]) -> dict[str, Any]:
        return say(self.own.address, message, 60)

    def request(self, solution: str = "passing", **fields: Any) -> dict[str, Any]:
        """Make a test_solution of an example solution, or of the files given."""
        self._asked += 1
        request: dict[str, Any] = {
            "action": "test_solution",
            "id": f"run-{self._asked}",
            "track_slug": "bash",
            "exercise_slug": "two-fer",
            "container_version": self.version,
        }
        if "files" not in fields:
            request["s3_uri"] = f"file://{SOLUTIONS}/bash/two-fer/{solution}/"
        return request | fields

    def test(self, solution: str = "passing", **fields: Any) -> dict[str, Any]:
        return self.say(self.request(solution, **fields))

    def deploy(self, version: str | None = None) -> dict[str, Any]:
        return self.say(
            {
                "action": "deploy_container_version",
                "track_slug": "bash",
                "channel": "test_runners",
                "new_version": version or self.version,
            }
        )

    def build(self, reference: str = "master", track: str = "bash") -> dict[str, Any]:
        return self.say(
            {
                "action": "build_container",
                "track_slug": track,
                "channel": "test_runners",
                "git_reference": reference,
            }
        )

    def deployment(self) -> dict[str, Any]:
        check = {"action": "deployment_check", "track_slug": "bash", "channel": "test_runners"}
        response = self.say(check)["response"]
        assert isinstance(response, dict)
        return response

    def await_state(self, state: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait until the deployment is as far as that."""
        until = time.monotonic() + paced(seconds)
        while (deployment := self.deployment())["state"] != state:
            assert time.monotonic() < until, f"not {state}: {deployment}"
            time.sleep(0.05)
        return deployment

    def worker(self, name: str, topics: str = "") -> Process:
        """Start a test runner that reads the example solutions."""
        return self.own.worker(
            name, f"test_runners{topics}", "--file-inputs", str(SOLUTIONS), "--slots", "2"
        )

    def await_workers(self, *ready: str) -> None:
        """Wait until exactly these workers have the version ready."""
        until = time.monotonic() + paced(30)
        while True:
            states = self.deployment()["versions"]
            found = {w["worker"] for v in states for w in v["workers"] if w["state"] == "ready"}
            if found == set(ready):
                return
            assert time.monotonic() < until, f"ready on {found}, not on {ready}"
            time.sleep(0.05)


def build_road(own: Machine, base_images: Path, sha: str) -> BashTrack:
    """Start a builder and worker-1, build and deploy the bash track."""
    options = ("--base-images", str(base_images), "--builder", "buildah")
    builder = own.worker("builder-1", "builders", *options)
    track = BashTrack(own, builder, sha)
    built = track.build()
    assert built["status"]["code"] == 200, built
    assert built["response"]["image_tag"] == track.version
    track.worker("worker-1")
    assert track.deploy()["status"]["code"] == 200
    track.await_workers("worker-1")
    return track
