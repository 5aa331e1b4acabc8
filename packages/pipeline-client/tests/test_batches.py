"""The commands `batch` and `compare`, beside a router that says what it is told to."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline_client.cli.root import root
from pipeline_client.testing import FakeRouter
from pipeline_protocol import codec, requests, responses
from pipeline_protocol.replies import Context, JobUsage, Timing
from pipeline_protocol.responses import DeployState, VersionDeployment

Said = Callable[[requests.SolutionRequest], bytes]
RAN = Context(
    timing=Timing(run_s=0.25), usage=JobUsage(cpu_s=0.2, peak_memory_bytes=2**24), worker="w"
)


def passing(request: requests.SolutionRequest) -> bytes:
    return answer("pass")


def answer(status: str) -> bytes:
    tests = [{"name": "It adds", "status": status}]
    return codec.answer({"version": 2, "status": status, "tests": tests}, RAN)


def router(said: Said) -> FakeRouter:
    """Make a router that runs solutions as it is told, and has version v1 ready."""

    def answering(body: bytes) -> Iterator[bytes]:
        request = codec.decode_request(body)
        if isinstance(request, requests.DeploymentCheck):
            ready = VersionDeployment("v1", DeployState.DEPLOYED, None, ())
            found = responses.Deployment(
                request.channel, request.track_slug, DeployState.DEPLOYED, (ready,)
            )
            yield codec.answer(found)
        elif isinstance(request, requests.SolutionRequest):
            yield said(request)
        else:
            yield codec.answer(responses.Cancelled(0))

    return FakeRouter(answering)


@pytest.fixture
def solutions(tmp_path: Path) -> Path:
    """200 of them, two exercises."""
    for number in range(200):
        folder = tmp_path / "solutions" / ("leap" if number % 2 else "two-fer") / f"{number:03}"
        folder.mkdir(parents=True)
        (folder / "it.rb").write_text(f"{number}")
    return tmp_path / "solutions"


def call(fake: FakeRouter, *arguments: str | Path) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(
        root, [*words, "--address", fake.address], prog_name="pipeline", catch_exceptions=False
    )


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def number_of(request: requests.SolutionRequest) -> int:
    assert isinstance(request.files, dict)
    return int(str(request.files["it.rb"]))


def run(fake: FakeRouter) -> list[requests.SolutionRequest]:
    return [it for it in fake.requests if isinstance(it, requests.SolutionRequest)]


# --- batch


def test_a_batch_runs_all_in_the_background_and_counts(solutions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def said(request: requests.SolutionRequest) -> bytes:
        if number_of(request) == 7:
            return codec.refusal(401, "ran too long")
        return answer("fail" if number_of(request) % 10 == 0 else "pass")

    with router(said) as fake:
        done = call(fake, "batch", "ruby", solutions, "--out", out, "--in-flight", "8")
        asked = run(fake)
    assert done.exit_code == 4, done.output
    assert {it.priority for it in asked} == {requests.Priority.BACKGROUND}
    assert {it.container_version for it in asked} == {"v1"}
    assert all(isinstance(it.timeout_s, float) and 500 < it.timeout_s <= 600 for it in asked)
    assert Counter(it.exercise_slug for it in asked) == {"leap": 100, "two-fer": 100}
    written = lines(out)
    assert len({line["id"] for line in written}) == len(written) == 200
    by_name = {line["solution"]: line for line in written}
    assert by_name["two-fer/010"]["response"]["status"] == "fail"
    assert by_name["leap/007"]["code"] == 401
    assert by_name["leap/007"]["error"] == "ran too long"
    assert by_name["leap/001"]["context"]["timing"]["run_s"] == 0.25
    for said_so in (
        "200 OK                        199   99.5 %",
        "401 Forced exit: ran too long  1     0.5 %",
        "  pass                        179   89.5 %",
        "  fail                        20    10.0 %",
    ):
        assert " ".join(said_so.split()) in [" ".join(it.split()) for it in done.stdout.split("\n")]
    assert "ruby on test_runners by v1: 200 runs in " in done.stdout
    assert "a second" in done.stdout


def test_a_batch_that_ends_with_results_alone_exits_with_0(solutions: Path, tmp_path: Path) -> None:
    with router(lambda _: answer("fail")) as fake:
        done = call(fake, "batch", "ruby", solutions, "--out", tmp_path / "out")
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("static_analysers", requests.AnalyseSolution),
        ("representer", requests.RepresentSolution),
        ("recommenders", requests.RecommendSolution),
    ],
)
def test_a_batch_of_another_channel(
    solutions: Path, tmp_path: Path, channel: str, kind: type
) -> None:
    response = {
        "analysis": {"summary": "x"},
        "tags": {},
        "recommendations": [],
        "representation": "x",
        "mapping": {},
    }
    out = tmp_path / "out"
    folder = solutions / "leap"
    with router(lambda _: codec.answer(response)) as fake:
        words = ("--channel", channel, "--version", "v7", "--exercise", "leap")
        done = call(fake, "batch", "ruby", folder, "--out", out, *words)
        assert {type(it) for it in run(fake)} == {kind}
        assert {it.container_version for it in run(fake)} == {"v7"}
    assert done.exit_code == 0, done.output
    assert len(lines(out)) == 100


def test_what_is_done_is_not_run_again(solutions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("batch", "ruby", solutions, "--out", out)
    with router(passing) as fake:
        assert call(fake, *words).exit_code == 0
        whole = out.read_bytes()
        out.write_bytes(whole[: len(whole) // 2])
        again = call(fake, *words, "--json")
        assert len(run(fake)) == 200 + 200 - whole[: len(whole) // 2].count(b"\n")
        assert len({line["id"] for line in lines(out)}) == len(lines(out)) == 200
        (solutions / "leap" / "001" / "it.rb").write_text("1000")
        third = call(fake, *words, "--json")
        other = call(fake, *words, "--json", "--version", "v2")
    data = json.loads(again.stdout)
    assert data["before"] + data["ran"] == 200
    assert data["statuses"] == {"pass": 200}
    assert data["codes"] == {"200": 200}
    assert (json.loads(third.stdout)["ran"], json.loads(third.stdout)["before"]) == (1, 199)
    assert (json.loads(other.stdout)["ran"], json.loads(other.stdout)["before"]) == (200, 0)


def test_what_comes_to_nothing_is_not_written_and_run_again(
    solutions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    sick = True

    def said(request: requests.SolutionRequest) -> bytes:
        if sick and number_of(request) in (3, 5):
            return codec.refusal(512, "no \x1b[2Jspace")
        return answer("pass")

    words = ("batch", "ruby", solutions, "--out", out, "--attempts", "1")
    with router(said) as fake:
        first = call(fake, *words)
        assert first.exit_code == 1
        why = r"512 Setting up failed: no \x1b[2Jspace"
        assert f"not run: leap/003 by v1: {why}\n" in first.stderr
        assert "2 runs came to nothing: the same command runs them again" in first.stdout
        assert len(lines(out)) == 198
        listed = json.loads(call(fake, *words, "--json").stdout)["unfinished"]
        assert {(it["solution"], it["code"]) for it in listed} == {
            ("leap/003", 512),
            ("leap/005", 512),
        }
        sick = False
        assert call(fake, *words).exit_code == 0
    assert len({line["id"] for line in lines(out)}) == len(lines(out)) == 200


def test_what_may_succeed_later_is_tried_again(solutions: Path, tmp_path: Path) -> None:
    tried: Counter[int] = Counter()

    def said(request: requests.SolutionRequest) -> bytes:
        number = number_of(request)
        tried[number] += 1
        busy = number == 9 and tried[number] < 3
        return codec.refusal(503, "all are busy") if busy else answer("pass")

    with router(said) as fake:
        done = call(fake, "batch", "ruby", solutions, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert tried[9] == 3


@pytest.mark.parametrize(
    ("code", "exit_status", "at_most"), [(505, 1, 4), (503, 1, 7), (103, 1, 4)]
)
def test_a_batch_that_is_hopeless_ends(
    solutions: Path, tmp_path: Path, code: int, exit_status: int, at_most: int
) -> None:
    out = tmp_path / "out.jsonl"
    refused = b"no JSON" if code == 103 else codec.refusal(code, "as the test says")
    words = ("--out", out, "--attempts", "1", "--in-flight", "4", "--version", "v1")
    with router(lambda _: refused) as fake:
        done = call(fake, "batch", "ruby", solutions, *words)
        assert len(run(fake)) <= at_most
    assert done.exit_code == exit_status
    assert f"{code} " in done.stderr
    assert "stopped: 0 of 200 done" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert out.read_bytes() == b""


def test_nobody_there(solutions: Path, tmp_path: Path) -> None:
    words = ("batch", "ruby", str(solutions), "--out", str(tmp_path / "out"))
    done = CliRunner().invoke(root, [*words, "--address", "tcp://127.0.0.1:1", "--json"])
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["code"] == 101


def test_without_out_the_file_is_named_after_track_and_channel(
    solutions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with router(passing) as fake:
        done = call(fake, "batch", "ruby", solutions)
    assert "results: ruby-test_runners.jsonl" in done.stdout
    assert len(lines(tmp_path / "ruby-test_runners.jsonl")) == 200


def test_wrong_calls(solutions: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("mine")
    with router(passing) as fake:
        for words in (
            ("batch", "ruby", tmp_path / "none"),
            ("batch", "ruby", tmp_path / "solutions" / "leap"),
            ("batch", "ruby", notes, "--out", tmp_path / "out"),
            ("batch", "ruby", solutions, "--out", notes),
            ("batch", "ruby", solutions, "--in-flight", "0"),
            ("batch", "ruby", solutions, "--channel", "builders"),
            ("compare", "ruby", "test_runners", "v1", "v1", solutions),
            ("compare", "ruby", "test_runners", "v1", "v2"),
        ):
            done = call(fake, *words)
            assert (done.exit_code, done.stdout) == (2, ""), words
        assert run(fake) == []
    assert notes.read_text() == "mine"


def test_folders_that_cannot_be_sent_are_results_of_their_own(
    solutions: Path, tmp_path: Path
) -> None:
    (solutions / "leap" / "001" / "link").symlink_to("it.rb")
    out = tmp_path / "out.jsonl"
    with router(passing) as fake:
        done = call(fake, "batch", "ruby", solutions, "--out", out)
    assert done.exit_code == 4
    (refused,) = [line for line in lines(out) if line["code"] != 200]
    assert (refused["solution"], refused["code"]) == ("leap/001", 400)
    assert "is a link" in refused["error"]


def test_what_is_not_run_is_said(solutions: Path, tmp_path: Path) -> None:
    (solutions / "README.md").write_text("x")
    (solutions / "leap" / "001" / ".git").mkdir()
    with router(passing) as fake:
        done = call(fake, "batch", "ruby", solutions, "--out", tmp_path / "out")
    assert "left out: .git/ (1), README.md (1)\n" in done.stderr
    line = json.dumps({"exercise": "leap", "files": {"it.rb": "1"}}) + "\n"
    (tmp_path / "it.jsonl").write_text(line * 3)
    with router(passing) as fake:
        done = call(fake, "batch", "ruby", tmp_path / "it.jsonl", "--out", tmp_path / "out")
        assert len(run(fake)) == 1
    assert "2 solutions came again, and run once\n" in done.stderr


def test_what_a_batch_is_told_of_runs_reaches_them(solutions: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--execution-timeout", "3", "--timeout", "70")
    with router(passing) as fake:
        call(fake, "batch", "ruby", solutions, *words)
        assert {it.execution_timeout for it in run(fake)} == {3.0}
        assert all(isinstance(it.timeout_s, float) and it.timeout_s <= 70 for it in run(fake))


# --- compare

COMPARE = ("compare", "ruby", "test_runners", "v1", "v2")


def other_by_v2(request: requests.SolutionRequest) -> bytes:
    changed = request.container_version == "v2" and number_of(request) == 117
    return answer("fail" if changed else "pass")


def test_compare_finds_one_changed_test_among_200_solutions(
    solutions: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    words = (*COMPARE, solutions, "--out", tmp_path / "out", "--html", page)
    with router(other_by_v2) as fake:
        done = call(fake, *words)
        asked = run(fake)
        as_json = call(fake, *words, "--json")
        assert len(run(fake)) == len(asked) == 400
    assert done.exit_code == 4, done.output
    assert "leap/117  test It adds  pass  fail" in done.stdout
    assert "1 of 200 solutions changed" in done.stdout
    assert {it.priority for it in asked} == {requests.Priority.BACKGROUND}
    assert "leap/117" in page.read_text()
    assert "leap/116" not in page.read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    data = json.loads(as_json.stdout)
    (changed,) = data["changed"]
    assert changed["solution"] == "leap/117"
    assert changed["weighty"] is True
    assert changed["changes"][1] == {
        "kind": "test",
        "what": "test It adds",
        "old": "pass",
        "new": "fail",
    }
    assert (data["solutions"], data["compared"], data["unfinished"]) == (200, 200, [])
    assert data["versions"][1] == {
        "version": "v2",
        "codes": {"200": 200},
        "statuses": {"pass": 199, "fail": 1},
    }
    assert {it["name"]: it["change"] for it in data["figures"]} == {
        "run": 0.0,
        "processor": 0.0,
        "memory": 0.0,
        "setup": None,
    }


def test_compare_goes_on_from_a_batch_and_finds_nothing_new(
    solutions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with router(passing) as fake:
        assert call(fake, "batch", "ruby", solutions, "--out", out).exit_code == 0
        done = call(fake, *COMPARE, solutions, "--out", out)
        assert Counter(it.container_version for it in run(fake)) == {"v1": 200, "v2": 200}
    assert done.exit_code == 0, done.output
    assert "no result of 200 solutions changed" in done.stdout


def test_what_cannot_be_compared_is_told_from_what_is_the_same(
    solutions: Path, tmp_path: Path
) -> None:
    def said(request: requests.SolutionRequest) -> bytes:
        sick = request.container_version == "v2" and number_of(request) == 3
        return codec.refusal(512, "no space") if sick else answer("pass")

    with router(said) as fake:
        words = (*COMPARE, solutions, "--out", tmp_path / "out", "--attempts", "1")
        done = call(fake, *words)
    assert done.exit_code == 1
    assert "1 solution could not be compared" in done.stdout


def test_a_page_that_cannot_be_written_is_an_error(solutions: Path, tmp_path: Path) -> None:
    words = (*COMPARE, solutions, "--out", tmp_path / "out", "--html", tmp_path / "none" / "page")
    with router(passing) as fake:
        done = call(fake, *words)
    assert done.exit_code == 1
    assert "cannot be written: No such file or directory" in done.stderr
