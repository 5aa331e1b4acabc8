"""A track with three kinds of tool, built and deployed; asked as an earlier system's clients do."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.bare import say
from support.pace import paced
from support.processes import Machine, machine
from support.tracks import ROOT, SOLUTIONS, make_repository, write_seed

pytestmark = pytest.mark.e2e

TOOLS = {
    "test_runners": "python-test-runner",
    "static_analyzers": "python-analyzer",
    "representers": "python-representer",
}
"""The tool of each channel, by the name that an earlier system had for it."""
PASSING = SOLUTIONS / "python/two-fer/passing"


class PythonTrack:
    """A router with the tools deployed, and what became of each build."""

    def __init__(self, own: Machine, base_images: Path) -> None:
        self.own = own
        repositories = own.folder / "repositories"
        self.versions = {
            channel: f"git-{make_repository(tool, repositories)}" for channel, tool in TOOLS.items()
        }
        own.router(write_seed(own.folder, repositories))
        own.worker("builder-1", "builders", "--base-images", str(base_images))
        with ThreadPoolExecutor() as threads:
            self.built = dict(zip(TOOLS, threads.map(self._deploy, TOOLS), strict=True))
        for channel in TOOLS:
            own.worker(channel, channel, "--file-inputs", str(SOLUTIONS), "--slots", "1")
        until = time.monotonic() + paced(60)
        while not all(self.state(channel) == "deployed" for channel in TOOLS):
            assert time.monotonic() < until, {channel: self.state(channel) for channel in TOOLS}
            time.sleep(0.05)

    def _deploy(self, channel: str) -> dict[str, Any]:
        tool = {"track_slug": "python", "channel": channel}
        built = say(
            self.own.address,
            {"action": "build_container", "git_reference": "master", **tool},
        )
        deploy = {"action": "deploy_container_version", **tool}
        say(self.own.address, {**deploy, "new_version": self.versions[channel]})
        return built

    def state(self, channel: str) -> object:
        check = {"action": "deployment_check", "track_slug": "python", "channel": channel}
        return say(self.own.address, check)["response"]["state"]

    def run(self, action: str, channel: str, exercise: str = "two-fer") -> dict[str, Any]:
        return say(
            self.own.address,
            {
                "action": action,
                "id": f"{action}-{exercise}",
                "track_slug": "python",
                "exercise_slug": exercise,
                "container_version": self.versions[channel],
                "files": {"two_fer.py": (PASSING / "two_fer.py").read_text()},
            },
        )


@pytest.fixture(scope="module")
def track(module_folder: Path, base_images: Path) -> Iterator[PythonTrack]:
    with machine(module_folder) as own:
        yield PythonTrack(own, base_images)


@pytest.mark.parametrize("channel", TOOLS)
def test_each_tool_is_built_and_does_on_its_fixtures_what_they_say(
    track: PythonTrack, channel: str
) -> None:
    built = track.built[channel]
    assert built["status"]["code"] == 200, built
    assert built["response"]["image_tag"] == track.versions[channel]
    assert "warnings" not in built["context"], "a fixture was not as expected"


def test_a_client_of_an_earlier_system_is_answered(track: PythonTrack) -> None:
    wanted = [f"{channel}={version}" for channel, version in track.versions.items()]
    program = ROOT / "tests/support/earlier_client.rb"
    asked = subprocess.run(
        ["ruby", program, track.own.address, "python", "two-fer", f"file://{PASSING}/", *wanted],
        capture_output=True,
        text=True,
        timeout=paced(60),
        check=True,
    )
    replies = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [reply["status"]["code"] for reply in replies] == [200] * 6, replies
    tests, analysis, representation = (reply["response"] for reply in replies[1::2])
    assert tests["status"] == "pass"
    assert len(tests["tests"]) == 3
    assert analysis["analysis"]["comments"][0]["comment"] == "python.two_fer.f_string"
    assert "construct:f-string" in analysis["tags"]["tags"]
    assert representation["mapping"] == {"PLACEHOLDER_1": "two_fer", "PLACEHOLDER_2": "name"}
    assert representation["representation_json"] == {"version": 1}
    assert [reply["response"]["channel"] for reply in replies[::2]] == [
        "test_runners",
        "static_analysers",
        "representers",
    ]


@pytest.mark.parametrize(
    ("name", "alias", "channel"),
    [
        ("analyse_solution", "analyze_iteration", "static_analyzers"),
        ("represent_solution", "represent", "representers"),
    ],
)
def test_an_action_and_its_alias_have_one_answer(
    track: PythonTrack, name: str, alias: str, channel: str
) -> None:
    by_name, by_alias = (track.run(action, channel) for action in (name, alias))
    assert by_name["status"]["code"] == 200
    assert by_alias["response"] == by_name["response"]
    assert by_alias["context"].keys() == by_name["context"].keys()


def test_a_slug_as_fixtures_have_them_reaches_the_tool(track: PythonTrack) -> None:
    reply = track.run("analyse_solution", "static_analyzers", "Two_Fer.v2")
    assert reply["status"]["code"] == 200
    assert reply["context"]["invocation"]["command"][-3] == "Two_Fer.v2"
