"""An operator at a shell, on real parts: builds, deploys, follows it, and tries solutions."""

import signal
from pathlib import Path

import pytest
from support.bash_track import BashTrack, build_road
from support.processes import Machine
from support.shell import Operator
from support.tracks import SOLUTIONS, git, make_repository, write_seed

pytestmark = pytest.mark.e2e

PLACE = ("bash", "test_runners")


@pytest.fixture(scope="module")
def track(own: Machine, base_images: Path) -> BashTrack:
    """The track of the other modules, but that a worker may be silent for long."""
    repositories = own.folder / "repositories"
    sha = make_repository("bash-test-runner", repositories)
    seed = write_seed(own.folder, repositories)
    text = seed.read_text()
    assert text.count("liveness_s: 3 ") == 1
    seed.write_text(text.replace("liveness_s: 3 ", "liveness_s: 60 "))
    own.router(seed)
    return build_road(own, base_images, sha)


@pytest.fixture
def operator(track: BashTrack) -> Operator:
    return Operator(track.own.address)


def new_version(track: BashTrack) -> str:
    """Commit a change to the track's tool, on master."""
    repository = track.own.folder / "repositories" / "bash-test-runner"
    (repository / "NEWS").write_text("a second version\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=A second version")
    return f"git-{git(repository, 'rev-parse', 'HEAD')}"


def test_an_operator_follows_a_deploy_across_three_workers(
    track: BashTrack, operator: Operator
) -> None:
    slow = track.worker("worker-2")
    track.worker("worker-3")
    version = new_version(track)
    with operator.watching() as watch:
        watch.until(change="router", state="up")
        built = operator.call("build", *PLACE, "master")
        assert built.returncode == 0, built.stderr
        assert "==> validating" in built.stderr
        following = built.stdout.splitlines()[-1].partition("pipeline ")[2].split()
        assert following == ["deploy", *PLACE, version]
        slow.send(signal.SIGSTOP)  # else it would be ready before anybody looks
        try:
            deployed = operator.call(*following, "--no-wait")
            assert deployed.returncode == 0, deployed.stderr
            watch.until(change="version", worker="worker-2", version=version, state="preparing")
            watch.until(change="deployment", version=version, ready=2, workers=3)
        finally:
            slow.send(signal.SIGCONT)
        watch.until(change="deployment", version=version, ready=3, workers=3)
        assert watch.stop() == 0
    ready = [
        c["worker"] for c in watch.seen if (c.get("version"), c.get("state")) == (version, "ready")
    ]
    assert {*ready[:2]} == {"worker-1", "worker-3"}
    assert ready[2:] == ["worker-2"]
    deployed = operator.call(*following)
    assert deployed.stdout.startswith(f"{version} of bash on test_runners: ready on 3 of 3 workers")


def test_the_roster_shows_the_same(operator: Operator) -> None:
    (channel,) = operator.json("versions", *PLACE)["channels"]
    wanted = [version["version"] for version in channel["deployment"]["versions"]]
    assert len(wanted) == 2
    assert {*wanted} == {*channel["available"]["versions"]}
    shown = operator.call("workers").stdout
    for name in ("worker-1", "worker-2", "worker-3"):
        (line,) = (line for line in shown.splitlines() if line.startswith(name))
        assert line.split()[-2:] == ["2/2", "ready"]


@pytest.mark.parametrize(
    ("solution", "status", "said"),
    [("passing", 0, "pass: "), ("failing", 4, "fail: "), ("broken", 4, "error")],
)
def test_a_newcomer_tries_a_solution(
    operator: Operator, solution: str, status: int, said: str
) -> None:
    tried = operator.call("test", "bash", "two-fer", str(SOLUTIONS / "bash" / "two-fer" / solution))
    assert tried.returncode == status, tried.stderr
    assert "the newest that is ready, of 2 deployed" in tried.stderr
    last = tried.stdout.splitlines()[-1]
    assert last.startswith(said)
    assert ", on worker-" in last


def test_a_solution_that_runs_too_long_is_a_failed_job(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "two_fer.sh").write_text("sleep 60\n")
    (tmp_path / "two_fer_test.sh").write_text("test_it() {\n    run two_fer.sh\n}\n")
    words = ("test", "bash", "two-fer", str(tmp_path), "--execution-timeout", "0.5")
    tried = operator.call(*words)
    assert tried.returncode == 4
    assert "401 Forced exit: ran too long" in tried.stderr
    assert "--execution-timeout asks for more" in tried.stderr
