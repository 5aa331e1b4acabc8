"""Whether an image may be released: real images, of busybox and a script, in the real sandbox."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_containers.building.fixtures import find_fixtures, first_difference
from pipeline_containers.building.validate import ImageCandidate, validate
from pipeline_containers.errors import BuildCancelled, BuildTimedOut, ImageInvalid
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.mountinfo import mounts_below

RUNNER = TOOLS["test_runner"]
PASS = 'echo \'{"version": 2, "status": "pass"}\' >"$3/results.json"'
ECHO = 'cp "$2/given.json" "$3/results.json"'
Check = Callable[..., list[str]]


@pytest.fixture
def check(work: Path, sandbox: Sandbox, make_image: Callable[..., StoredImage]) -> Check:
    """Validate a tool that is a script; what is said meanwhile."""

    def do(
        script: str,
        kind: str = "test_runner",
        config: ImageConfig | None = None,
        deadline: Deadline | None = None,
        image: StoredImage | None = None,
    ) -> list[str]:
        lines: list[str] = []
        folder = work / f"validation-{len(list(work.iterdir()))}"
        folder.mkdir()
        candidate = ImageCandidate(
            image or make_image(script, kind, config), TOOLS[kind], work / "tests", folder
        )
        try:
            validate(candidate, sandbox, deadline or Deadline(60), lines.append)
        finally:
            assert list(mounts_below(sandbox.folder / "roots")) == []
            assert list(mounts_below(folder)) == []
        return lines

    return do


@pytest.fixture
def fixture(work: Path) -> Callable[..., None]:
    """Write a fixture: file names and contents."""

    def write(name: str, **files: object) -> None:
        folder = work / "tests" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / file.replace("__", ".")).write_text(text)

    return write


@pytest.mark.e2e
def test_a_tool_without_fixtures_is_only_started(check: Check) -> None:
    (warning,) = check(PASS)
    assert warning.startswith("warning: no tests/*/ with expected_results.json")
    assert check("exit 3")[0].startswith("warning"), "it started: more was not promised"


@pytest.mark.e2e
@pytest.mark.parametrize("line", ["#!/nowhere/sh", "not a program"])
def test_a_tool_that_cannot_start(
    check: Check, make_image: Callable[..., StoredImage], line: str
) -> None:
    image = make_image("")
    script = image.layers[0] / "opt/test-runner/bin/run.sh"
    script.write_text(f"{line}\n")
    with pytest.raises(ImageInvalid, match="the tool does not start"):
        check("", image=image)


@pytest.mark.e2e
def test_fixtures_that_hold(check: Check, fixture: Callable[..., None]) -> None:
    result = {"version": 2, "status": "fail", "tests": [{"name": "a", "status": "fail"}]}
    fixture("one", given__json=result, expected_results__json=result)
    fixture(
        "two-fer/case", given__json=result, expected_results__json=dict(reversed(result.items()))
    )
    fixture("without", given__json="nothing is promised")
    assert check(ECHO) == ["fixture one", "fixture two-fer/case"]


@pytest.mark.e2e
def test_a_fixture_is_called_by_its_folder_and_not_shown_what_is_expected(
    check: Check, fixture: Callable[..., None]
) -> None:
    said = {"version": 2, "status": "pass", "message": "two-fer given.json"}
    fixture("two-fer", given__json="", expected_results__json=said)
    script = '{"version": 2, "status": "pass", "message": "%s %s"}'
    check(
        f"""printf '{script}' "$1" "$(cd "$2" && echo *)" >/tmp/x; cp /tmp/x "$3/results.json" """
    )


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (ECHO, r"tests/one: results\.json: \$\.status is 'pass', not 'fail'"),
        ("exit 0", r"tests/one: results\.json is missing, exit status 0: it said nothing"),
        (f"{ECHO}; echo why >&2; exit 4", r"tests/one: exited, exit status 4: why"),
    ],
)
def test_fixtures_that_do_not_hold(
    check: Check, fixture: Callable[..., None], script: str, problem: str
) -> None:
    given = {"version": 2, "status": "pass"}
    fixture("one", given__json=given, expected_results__json=given | {"status": "fail"})
    with pytest.raises(ImageInvalid, match=problem):
        check(script)


@pytest.mark.e2e
def test_the_twins_of_other_tools(check: Check, fixture: Callable[..., None]) -> None:
    fixture(
        "one",
        expected_representation__txt="a\nb\n",
        expected_mapping__json={"A": "b"},
    )
    script = 'printf "a\\nb" >"$3/representation.txt"; echo \'{"A": "%s"}\' >"$3/mapping.json"'
    check(script % "b", "representer")
    with pytest.raises(ImageInvalid, match=r"mapping\.json: \$\.A is 'c', not 'b'"):
        check(script % "c", "representer")
    fixture("two", expected_analysis__json={"comments": []}, expected_tags__json={"tags": []})
    script = 'echo \'{"comments": []}\' >"$3/analysis.json"'
    with pytest.raises(ImageInvalid, match=r"tags\.json: \$ is None, not"):
        check(script, "analyser")


@pytest.mark.e2e
def test_a_user_of_its_own_finds_all_as_it_should_be(check: Check) -> None:
    check(PASS, config=ImageConfig(user="app", env=("PATH=/nowhere:/bin",)))


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["proc", "dev", "sys", "tmp"])
def test_links_in_the_place_of_what_is_mounted(
    check: Check, make_image: Callable[..., StoredImage], name: str
) -> None:
    image = make_image(PASS)
    (image.layers[0] / name).symlink_to("/etc")
    with pytest.raises(ImageInvalid, match=f"/{name} is not a folder"):
        check(PASS, image=image)


@pytest.mark.e2e
def test_what_a_probe_finds_amiss_is_said(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sandbox that lets too much through: the script sees what the sandbox does not do."""
    script = "#!%(busybox)s sh\\necho 'the network is not off: there is eth0'\\necho gone\\n"
    monkeypatch.setattr("pipeline_containers.building.probe._SCRIPT", script.replace("\\n", "\n"))
    with pytest.raises(ImageInvalid, match="there is eth0; a probe in it did not get to its end"):
        check(PASS)


@pytest.mark.e2e
def test_time_and_cancel_end_a_validation(check: Check, fixture: Callable[..., None]) -> None:
    fixture("one", expected_results__json={})
    with pytest.raises(BuildTimedOut):
        check("sleep 60", deadline=Deadline(1.5))
    event = threading.Event()
    timer = threading.Timer(1, event.set)
    timer.start()
    with pytest.raises(BuildCancelled):
        check("sleep 60", deadline=Deadline(30, event))
    timer.join()


def test_promises_that_are_no_data(work: Path, fixture: Callable[..., None]) -> None:
    fixture("one", expected_results__json="{")
    with pytest.raises(ImageInvalid, match="tests/one: what is expected"):
        find_fixtures(work / "tests", RUNNER)
    (work / "tests/one/expected_results.json").unlink()
    (work / "tests/one/expected_results.json").symlink_to("/etc/passwd")
    with pytest.raises(ImageInvalid, match="is a link"):
        find_fixtures(work / "tests", RUNNER)


def test_links_lead_to_no_fixtures(work: Path, fixture: Callable[..., None]) -> None:
    fixture("one", expected_results__json={})
    (work / "links").mkdir()
    (work / "links/one").symlink_to(work / "tests/one")
    assert find_fixtures(work / "links", RUNNER) == []
    (work / "linked").symlink_to(work / "tests")
    assert find_fixtures(work / "linked", RUNNER) == []
    assert find_fixtures(work / "nothing", RUNNER) == []


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ""),
        ({"a": 1}, {"a": 2}, "$.a is 2, not 1"),
        ({"a": 1}, {}, "$.a is missing"),
        ({}, {"a": 1}, "$.a is not expected"),
        ([1, 2], [1], "$ has 1 entries, not 2"),
        ([{"a": [1]}], [{"a": [2]}], "$[0].a[0] is 2, not 1"),
        (1, True, "$ is True, not 1"),
        (1, 1.0, ""),
        (None, False, "$ is False, not None"),
        ("a" * 100, "b", f"$ is 'b', not '{'a' * 76}..."),
        ({"a": 1}, [1], "$ is [1], not {'a': 1}"),
    ],
)
def test_where_two_values_differ(expected: object, actual: object, difference: str) -> None:
    assert first_difference(expected, actual) == difference
