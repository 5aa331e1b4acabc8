"""A bare REQ socket and a real router: what a client in any language sees."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.bare import say
from support.processes import Machine, machine
from support.tracks import ROOT

REQUEST = {
    "action": "test_solution",
    "id": "run-1",
    "track_slug": "ruby",
    "exercise_slug": "two-fer",
    "s3_uri": "s3://bucket/solutions/1/",
    "container_version": "git-" + "0" * 40,
}


@pytest.fixture(scope="module")
def own(module_folder: Any) -> Iterator[Machine]:
    with machine(module_folder) as started:
        started.router(ROOT / "config" / "pipeline.yml")
        yield started


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in REQUEST.items() if name != field}


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (b"{", 502, "not JSON"),
        (b"[]", 502, "Expected `object`"),
        (b"1", 502, "Expected `object`"),
        (b"[" * 100_000, 502, ""),
        (b'{"action": "ping", "x": NaN}', 502, "not JSON"),
        (b'{"action": "ping", "x": "\xff"}', 502, "UTF-8"),
        ({"id": "1"}, 502, "`action`"),
        ({"action": "test_soluton"}, 501, "did you mean 'test_solution'?"),
        (without("exercise_slug"), 502, "`exercise_slug`"),
        (without("s3_uri"), 502, "`s3_uri` and `files`"),
        (REQUEST | {"track_slug": "Ruby"}, 502, "$.track_slug"),
        (REQUEST | {"exercise_slug": "../two-fer"}, 502, "$.exercise_slug"),
        (REQUEST | {"container_version": "git-1;reboot"}, 502, "$.container_version"),
        (REQUEST | {"id": "two words"}, 502, "$.id"),
        (REQUEST, 505, "git-0000"),
        (REQUEST | {"exercise_slug": "two_fer.v2"}, 505, "git-0000"),
        (REQUEST | {"action": "analyze_iteration"}, 505, "git-0000"),
        (REQUEST | {"action": "represent", "exercise_slug": "a/b"}, 502, "$.exercise_slug"),
        (
            {"action": "deployment_check", "track_slug": "ruby", "channel": "test_runner"},
            502,
            "did you mean 'test_runners'?",
        ),
        (
            {
                "action": "build_container",
                "track_slug": "ruby",
                "channel": "test_runners",
                "git_reference": "master",
            },
            503,
            "pipeline-worker listen",
        ),
    ],
)
def test_each_mistake_has_its_code_and_says_which_field(
    own: Machine, message: Any, code: int, said: str
) -> None:
    status = say(own.address, message)["status"]
    assert status["code"] == code
    assert said in status["error"]


def test_ping(own: Machine) -> None:
    reply = say(own.address, {"action": "ping"})
    assert reply["status"] == {"code": 200, "message": "OK"}
    assert reply["response"]["uptime_s"] >= 0


def test_a_channel_is_answered_by_its_own_name(own: Machine) -> None:
    asked = {"action": "deployment_check", "track_slug": "ruby", "channel": "static_analyzers"}
    assert say(own.address, asked)["response"]["channel"] == "static_analysers"


def test_a_deployment_is_in_the_file_before_it_is_answered(own: Machine) -> None:
    deploy = {
        "action": "deploy_container_version",
        "track_slug": "crystal",
        "channel": "representers",
        "new_version": "git-" + "a" * 40,
    }
    reply = say(own.address, deploy)
    assert reply["response"]["versions"] == [deploy["new_version"]]
    text = (own.folder / "pipeline.yml").read_text()
    assert deploy["new_version"] in text
    assert "# every key is here" in text.lower()


def test_the_configuration_shows_no_more_than_the_file(own: Machine) -> None:
    response = say(own.address, {"action": "current_config"})["response"]
    assert "registry" in str(response)
