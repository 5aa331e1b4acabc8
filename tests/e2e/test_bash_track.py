"""The brief's example with the bash track: build, deploy, run; every answer a client can get."""

import pytest
from support.bash_track import BashTrack
from support.leftovers import find_leftovers
from support.tracks import SOLUTIONS, git

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("solution", "status"), [("passing", "pass"), ("failing", "fail"), ("broken", "error")]
)
def test_each_solution_gets_its_result(track: BashTrack, solution: str, status: str) -> None:
    reply = track.test(solution)
    assert reply["status"] == {"code": 200, "message": "OK"}
    assert reply["response"]["version"] == 3
    assert reply["response"]["status"] == status


def test_an_answer_says_where_and_how_it_came_about(track: BashTrack) -> None:
    context = track.test()["context"]
    assert context["worker"] == "worker-1"
    assert context["attempt"] == 1
    assert context["exit_status"] == 0
    assert context["image_digest"].startswith("sha256:")
    assert context["invocation"]["command"][-3] == "two-fer"
    assert context["invocation"]["limits"]["wall_s"] == 20.0
    assert context["usage"]["peak_memory_bytes"] > 0
    assert 0 < context["usage"]["wall_s"] <= context["timing"]["total_s"]


def test_small_inputs_come_in_the_request(track: BashTrack) -> None:
    folder = SOLUTIONS / "bash" / "two-fer" / "passing"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    reply = track.test(files=files)
    assert reply["response"]["status"] == "pass"


def test_a_tool_that_runs_too_long_is_stopped(track: BashTrack) -> None:
    files = {"two_fer.sh": "sleep 60\n", "two_fer_test.sh": "test_it() {\n    run two_fer.sh\n}\n"}
    reply = track.test(files=files, execution_timeout=0.5)
    assert reply["status"]["code"] == 401
    assert "wall time of 0.5 s" in reply["status"]["error"]


def test_the_same_build_again_is_ignored(track: BashTrack) -> None:
    reply = track.build()
    assert reply["response"]["outcome"] == "ignored"
    assert reply["response"]["git_sha"] == track.sha


def test_a_sha_and_a_tag_build_too(track: BashTrack) -> None:
    repository = track.own.folder / "repositories" / "bash-test-runner"
    git(repository, "tag", "--annotate", "v1", "--message=one", track.sha)
    for reference in (track.sha, "v1"):
        assert track.build(reference)["response"]["git_sha"] == track.sha


def test_a_reference_that_is_not_there_is_a_400(track: BashTrack) -> None:
    reply = track.build("no-such-branch")
    assert reply["status"]["code"] == 400
    assert "no-such-branch" in reply["status"]["error"]


def test_a_repository_that_is_not_there_is_a_512(track: BashTrack) -> None:
    reply = track.build(track="cobol")
    assert reply["status"]["code"] == 512
    assert "cobol-test-runner" in reply["status"]["error"]


def test_what_is_published_is_listed(track: BashTrack) -> None:
    listing = {
        "action": "list_available_containers",
        "track_slug": "bash",
        "channel": "test_runners",
    }
    reply = track.say(listing)
    assert reply["response"] == {"image": "bash-test-runner", "versions": [track.version]}


def test_an_input_elsewhere_on_the_host_is_a_400(track: BashTrack) -> None:
    reply = track.test(s3_uri="file:///etc/")
    assert reply["status"]["code"] == 400
    assert "not beneath" in reply["status"]["error"]


def test_an_s3_input_needs_an_allowed_prefix(track: BashTrack) -> None:
    reply = track.test(s3_uri="s3://bucket/solutions/1/")
    assert reply["status"]["code"] == 400
    assert "no allowed prefix" in reply["status"]["error"]


def test_a_version_that_is_not_wanted_is_a_505(track: BashTrack) -> None:
    reply = track.test(container_version="git-" + "0" * 40)
    assert reply["status"]["code"] == 505


def test_a_version_that_was_never_built_fails_with_its_reason(track: BashTrack) -> None:
    missing = "git-" + "1" * 40
    assert track.deploy(missing)["status"]["code"] == 200
    reply = track.test(container_version=missing, timeout_s=20)
    assert reply["status"]["code"] == 511
    reasons = [
        worker["reason"]
        for version in track.deployment()["versions"]
        for worker in version["workers"]
        if version["version"] == missing
    ]
    assert "build it first" in reasons[0]
    unload = {
        "action": "unload_container_version",
        "track_slug": "bash",
        "channel": "test_runners",
        "version": missing,
    }
    assert track.say(unload)["response"]["versions"] == [track.version]
    assert track.test(container_version=missing)["status"]["code"] == 505


def test_a_scoped_worker_takes_its_track_until_it_dies(track: BashTrack) -> None:
    scoped = track.worker("worker-2", "?topic=bash&topic=ruby")
    track.await_workers("worker-1", "worker-2")
    assert {track.test()["context"]["worker"] for _ in range(3)} == {"worker-2"}
    scoped.kill()
    assert track.test()["context"]["worker"] == "worker-1"
    again = track.worker("worker-2", "?topic=bash&topic=ruby")
    track.await_workers("worker-1", "worker-2")
    assert track.test()["context"]["worker"] == "worker-2"
    assert again.stop() == 0
    track.await_workers("worker-1")
    assert track.test()["context"]["worker"] == "worker-1"


def test_a_worker_of_another_track_is_of_no_use(track: BashTrack) -> None:
    other = track.worker("worker-3", "?topic=cobol")
    assert "track 'cobol' has no version" in other.output()
    assert track.test()["context"]["worker"] == "worker-1"
    assert other.stop() == 0


def test_at_the_end_nothing_is_left(track: BashTrack) -> None:
    """The last test of the module: everything stops, cleanly."""
    worker = next(p for p in track.own.processes if p.name == "worker-1")
    assert worker.stop() == 0
    refused = track.test()
    assert refused["status"]["code"] == 503
    assert "pipeline-worker listen" in refused["status"]["error"]
    assert refused["context"]["workers"] == {"scoped": 0, "generic": 0, "busy": 0}
    assert track.builder.stop() == 0
    assert track.own.processes[0].stop() == 0
    assert not find_leftovers(track.own.folder)
