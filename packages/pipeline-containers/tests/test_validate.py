"""Whether an image may be released: real images, of busybox and a script, in the real sandbox."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.building.validate import ImageCandidate, validate
from pipeline_containers.building.validation import Validation
from pipeline_containers.errors import BuildCancelled, BuildTimedOut, ImageInvalid
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.mountinfo import mounts_below

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
        validation: Validation = Validation.REQUIRE,
        limits: Limits | None = None,
    ) -> list[str]:
        lines: list[str] = []
        folder = work / f"validation-{len(list(work.iterdir()))}"
        folder.mkdir()
        candidate = ImageCandidate(
            image or make_image(script, kind, config),
            TOOLS[kind],
            work / "source",
            folder,
            limits or Limits(),
            validation,
        )
        (work / "source").mkdir(exist_ok=True)
        try:
            warnings = validate(candidate, sandbox, deadline or Deadline(paced(60)), lines.append)
        finally:
            assert list(mounts_below(sandbox.folder / "roots")) == []
            assert list(mounts_below(folder)) == []
        assert [line for text in warnings for line in f"warning: {text}".splitlines()] == [
            line for line in lines if not line.startswith(("fixture ", "1 of ", "bin/run-tests.sh"))
        ], "each is said as it comes, too"
        return lines

    return do


@pytest.fixture
def fixture(work: Path) -> Callable[..., None]:
    """Write a fixture: file names and contents."""

    def write(name: str, **files: object) -> None:
        folder = work / "source/tests" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / file.replace("__", ".")).write_text(text)

    return write


@pytest.mark.e2e
def test_a_tool_without_fixtures_is_only_started(check: Check) -> None:
    (warning,) = check(PASS)
    assert warning.startswith("warning: no folder in tests/ has expected_results.json")
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
    assert check(ECHO) == ["fixture tests/one", "fixture tests/two-fer/case"]


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


GIVEN = {"version": 2, "status": "pass"}
WANTED = GIVEN | {"status": "fail", "tests": []}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 0", r"tests/one: results\.json is missing, exit status 0: it said nothing"),
        ("echo why >&2; exit 4", r"tests/one: results\.json is missing, exit status 4: why"),
        (f"{ECHO}; yes", r"tests/one: output_limit, stdout of 1048576 bytes"),
        ('echo "{}" >"$3/results.json"', r"tests/one: results\.json has a status that is not"),
    ],
)
def test_fixtures_that_yield_no_valid_result(
    check: Check, fixture: Callable[..., None], script: str, problem: str
) -> None:
    fixture("one", given__json=GIVEN, expected_results__json=GIVEN)
    with pytest.raises(ImageInvalid, match=problem):
        check(script)
    assert re.search(problem, "\n".join(check(script, validation=Validation.WARN)))
    assert check(script, validation=Validation.OFF) == []


@pytest.mark.e2e
def test_an_exit_status_beside_a_valid_result_is_said(
    check: Check, fixture: Callable[..., None]
) -> None:
    """As tools do whose fixture is a solution that cannot be tested."""
    fixture("one", given__json=GIVEN, expected_results__json=GIVEN)
    assert check(f"{ECHO}; exit 4") == [
        "fixture tests/one",
        "warning: tests/one: the tool exits with status 4 beside a valid result: "
        "a job would get 513",
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("validation", [Validation.REQUIRE, Validation.WARN])
def test_fixtures_that_are_not_as_expected_are_shown(
    check: Check, fixture: Callable[..., None], validation: Validation
) -> None:
    fixture("one", given__json=GIVEN, expected_results__json=WANTED)
    first, warning, *difference = check(ECHO, validation=validation)
    assert (first, warning) == ("fixture tests/one", "warning: tests/one is not as expected:")
    assert "--- expected results.json" in difference
    assert '-  "status": "fail",' in difference
    assert '+  "status": "pass",' in difference


@pytest.mark.e2e
def test_a_tool_that_never_starts_is_none_whatever_its_fixtures_decide(
    check: Check, fixture: Callable[..., None], make_image: Callable[..., StoredImage]
) -> None:
    fixture("one", expected_results__json=GIVEN)
    image = make_image("")
    (image.layers[0] / "opt/test-runner/bin/run.sh").write_text("#!/nowhere/sh\n")
    for validation in Validation:
        with pytest.raises(ImageInvalid, match="the tool does not start"):
            check("", image=image, validation=validation)


@pytest.mark.e2e
def test_fixtures_are_tried_under_the_tracks_limits(
    check: Check, fixture: Callable[..., None]
) -> None:
    fixture("one", given__json=GIVEN, expected_results__json=GIVEN)
    slow = f"sleep 2; {ECHO}"
    assert check(slow, limits=Limits(wall_s=paced(20))) == ["fixture tests/one"]
    with pytest.raises(ImageInvalid, match=r"timed_out|is missing, wall time of 0\.5 s"):
        check(slow, limits=Limits(wall_s=0.5))


@pytest.mark.e2e
def test_an_expectation_that_is_no_data_is_a_warning(
    check: Check, fixture: Callable[..., None]
) -> None:
    fixture("one", given__json=GIVEN, expected_results__json="{")
    fixture("two", given__json=GIVEN, expected_results__json=GIVEN)
    warning, *rest = check(ECHO)
    assert warning.startswith("warning: tests/one/expected_results.json Expecting property name")
    assert rest == ["fixture tests/one", "fixture tests/two"]
    with pytest.raises(ImageInvalid, match="tests/one: results"):
        check("exit 0")


OWN = """#!/bin/sh
set -e
[ "$(pwd)" != /opt/test-runner ]
for folder in tests/*; do
    bin/run.sh "$(basename "$folder")" "$(realpath "$folder")" "$(realpath "$folder")"
    sed -i "s/took [0-9]* s/took a while/" "$folder/results.json"
    echo "comparing $folder"
    diff "$folder/results.json" "$folder/expected_results.json"
done
cat helper/text
"""


@pytest.mark.e2e
def test_what_the_repositorys_own_script_says_counts(
    check: Check, fixture: Callable[..., None], make_image: Callable[..., StoredImage], work: Path
) -> None:
    """It leaves out what changes each time, and has what else is in the tool's folder."""
    wanted = '{"version": 2, "status": "error", "message": "took a while"}'
    fixture("one", expected_results__json=wanted + "\n")
    script = work / "source/bin/run-tests.sh"
    script.parent.mkdir()
    script.write_text(OWN)
    took = wanted.replace("a while", "$(date +%s) s").replace('"', '\\"')
    image = make_image(f'echo "{took}" >"$3/results.json"')
    helper = image.layers[0] / "opt/test-runner/helper/text"
    helper.parent.mkdir()
    helper.write_text("here\n")
    _, differ, passes = check("", image=image)
    assert differ == "1 of 1 fixtures differ: trying bin/run-tests.sh"
    assert passes == "bin/run-tests.sh passes: the fixtures are as they should be"
    helper.unlink()
    said = check("", image=image)
    assert said[2] == "warning: bin/run-tests.sh does not pass (exit status 1):"
    assert "comparing tests/one" in said
    assert "warning: tests/one is not as expected:" in said
    script.write_text("#!/bin/sh\nsleep 60")
    said = check("", image=image, limits=Limits(wall_s=paced(1)))
    assert said[2].startswith("warning: bin/run-tests.sh does not pass (wall time of")
    script.write_text("#!/bin/nothing")
    assert "bin/run-tests.sh does not pass (exit status 1" in check("", image=image)[2]
    script.unlink()
    script.symlink_to("/etc/hostname")
    assert check("", image=image)[1] == "warning: tests/one is not as expected:"


@pytest.mark.e2e
def test_the_twins_of_other_tools(check: Check, fixture: Callable[..., None]) -> None:
    fixture(
        "one",
        expected_representation__txt="a\nb\n",
        expected_mapping__json={"A": "b"},
    )
    script = 'printf "a\\nb" >"$3/representation.txt"; echo \'{"A": "%s"}\' >"$3/mapping.json"'
    assert check(script % "b", "representer") == ["fixture tests/one"]
    assert '+  "A": "c"' in check(script % "c", "representer")
    fixture("two", expected_analysis__json={"comments": []}, expected_tags__json={"tags": []})
    script = 'echo \'{"comments": []}\' >"$3/analysis.json"'
    assert "+null" in check(script, "analyser")


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
