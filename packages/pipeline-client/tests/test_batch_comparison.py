"""What two versions differ in, and the page that shows it."""

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from pipeline_client.cli.batches.comparison import Comparison, outcome
from pipeline_client.cli.batches.differences import Change, ChangeKind, changes_of
from pipeline_client.cli.batches.figures import FIGURES, percentile, summary_of
from pipeline_client.cli.batches.records import RunRecord
from pipeline_client.cli.views import batches as views
from pipeline_client.cli.views.page import comparison_page
from pipeline_protocol.replies import Context, JobUsage, Timing


def record(
    response: Any = UNSET,
    *,
    code: int = 200,
    error: str = "",
    number: int = 1,
    name: str = "leap/one",
    run_s: float | None = None,
) -> RunRecord:
    context = Context()
    if run_s is not None:
        usage = JobUsage(cpu_s=run_s / 2, peak_memory_bytes=int(run_s * 2**20))
        context = Context(timing=Timing(run_s=run_s), usage=usage)
    return RunRecord(
        *(f"{number:064x}", "ruby", "test_runners", "v1", "leap", name, code, error),
        response=response,
        context=context,
    )


def with_tests(*tests: Any, status: str = "pass", **more: Any) -> RunRecord:
    return record({"version": 2, "status": status, "tests": list(tests)} | more)


def one(name: str, status: str = "pass", **more: Any) -> dict[str, Any]:
    return {"name": name, "status": status} | more


def said(old: RunRecord, new: RunRecord) -> list[tuple[str, str, str | None, str | None]]:
    return [(str(it.kind), it.what, it.old, it.new) for it in changes_of(old, new)]


def test_what_is_the_same_is_no_change() -> None:
    same = with_tests(one("a"), one("b", "fail", message="no"), status="fail", message="x")
    assert said(same, same) == []
    assert said(record(code=513, error="no"), record(code=513, error="no")) == []


def test_a_test_that_changed_is_found_by_its_name() -> None:
    old = with_tests(one("a"), one("b"), one("c"))
    new = with_tests(one("c"), one("a"), one("b", "fail", message="no"), status="fail")
    assert said(old, new) == [
        ("status", "status", "pass", "fail"),
        ("test", "test b", "pass", "fail"),
        ("text", "test b, message", None, "no"),
    ]


def test_tests_come_and_go() -> None:
    assert said(with_tests(one("a"), one("b")), with_tests(one("b"), one("c", "error"))) == [
        ("test", "test a", "pass", None),
        ("test", "test c", None, "error"),
    ]


def test_of_several_tests_with_one_name_each_is_compared() -> None:
    old = with_tests(one("a"), one("a"), {"status": "pass"}, 7)
    new = with_tests(one("a"), one("a", "fail"), {"status": "fail"}, 7)
    assert said(old, new) == [
        ("test", "test a (2)", "pass", "fail"),
        ("test", "test without a name", "pass", "fail"),
    ]


def test_texts_are_told_from_what_weighs() -> None:
    old = with_tests(one("a", message="took 1 s", output="x", task_id=1), message="1")
    new = with_tests(one("a", message="took 2 s", output="y", task_id=2), message="2")
    assert said(old, new) == [
        ("result", "test a, task_id", "1", "2"),
        ("text", "message", "1", "2"),
        ("text", "test a, message", "took 1 s", "took 2 s"),
        ("text", "test a, output", "x", "y"),
    ]


def test_of_a_run_without_result_only_its_end_is_told() -> None:
    assert said(with_tests(one("a")), record(code=401, error="ran too long")) == [
        ("code", "code", "200", "401"),
        ("text", "error", None, "ran too long"),
    ]


def test_results_of_other_tools_are_compared_part_by_part() -> None:
    old = {"analysis": {"summary": "Well", "comments": ["a", {"x": 1}, "a"]}, "tags": {"tags": []}}
    new = {"analysis": {"summary": "Bad", "comments": [{"x": 1}, "a", "b"]}, "tags": {"tags": []}}
    assert said(record(old), record(new)) == [
        ("result", "analysis.comments", '"a"', None),
        ("result", "analysis.comments", None, '"b"'),
        ("result", "analysis.summary", "Well", "Bad"),
    ]
    swapped = {"representation": "x", "mapping": {"a": "b"}}
    assert said(record(swapped), record(swapped | {"mapping": {"a": "c"}})) == [
        ("result", "mapping.a", "b", "c")
    ]
    assert said(record({"r": [1, 2]}), record({"r": [2, 1]})) == [
        ("result", "r, order", "[1,2]", "[2,1]")
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "message", "tests", "name", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(anything, anything)
@example({"x": {"status": None}}, {"x": {}})
@example({"x": {}}, {})
def test_whatever_tools_write_the_same_is_the_same_and_other_is_found(old: Any, new: Any) -> None:
    assert changes_of(record(old), record(old)) == []
    changes = changes_of(record(old), record(new))
    assert {(it.what, it.new, it.old) for it in changes} == {
        (it.what, it.old, it.new) for it in changes_of(record(new), record(old))
    }
    if isinstance(old, dict) and isinstance(new, dict) and old.get("x") != new.get("x"):
        seen = any(it.what.startswith("x") for it in changes)
        assert seen or _without_nulls(old.get("x")) == _without_nulls(new.get("x"))


def _without_nulls(value: Any) -> Any:
    """Leave out what an object has as null: it is shown as what is not there is."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(it) for key, it in value.items() if it is not None}


# --- over many


HOSTILE = "<script>alert('x')</script>\x1b[2J\x00&\"\u202e"


def comparison(of: int = 200, name: str = "leap/one") -> Comparison:
    """Compare so many, of which number 117 has another test, and every fifth another output."""
    found = Comparison(track="ruby", channel="test_runners", old="v1", new="v2", solutions=of)
    for number in range(of):
        output = "took 1 s" if number % 5 else "took 2 s"
        old = with_tests(one("a", output="took 1 s"))
        other = number == 117
        new = with_tests(
            one("a", "fail" if other else "pass", output=output),
            status="fail" if other else "pass",
        )
        both = [
            record(it.response, number=number, name=f"{name}-{number}", run_s=run_s)
            for it, run_s in ((old, 0.1), (new, 0.11))
        ]
        found.add(*both)
    found.sort()
    return found


def test_one_changed_test_among_200_is_found_and_shown_first() -> None:
    found = comparison()
    (weighty,) = found.weighty
    assert weighty.solution == "leap/one-117"
    assert weighty.changes[1] == Change(ChangeKind.TEST, "test a", "pass", "fail")
    assert found.changed[0] is weighty
    assert len(found.changed) == 41
    assert found.by_kind == {"text": 40, "status": 1, "test": 1}
    assert found.moves == {("pass", "pass"): 199, ("pass", "fail"): 1}
    lines = views.comparison_lines(found)
    assert lines[1].split() == ["leap/one-117", "status", "pass", "fail"]
    assert lines[2].split() == ["leap/one-117", "test", "a", "pass", "fail"]
    assert lines[-1] == (
        "ruby on test_runners, v1 to v2: 1 of 200 solutions changed; of 40 more, texts only"
    )
    figures = {line.split()[0]: line.split() for line in lines if line.startswith(("run", "mem"))}
    assert figures["run"] == [
        "run",
        "100",
        "ms",
        "110",
        "ms",
        "100",
        "ms",
        "110",
        "ms",
        "+10.0",
        "%",
    ]
    assert figures["memory"][1:3] == ["0.1", "MiB"]


def test_a_terminal_is_shown_no_more_than_it_can_hold() -> None:
    found = comparison(1000)
    lines = views.comparison_lines(found)
    assert len(lines) < 75
    more = 200 + 2 - views.MAX_ROWS
    assert f"... {more} more changes: --json and --html have all" in lines


def test_what_could_not_be_compared_is_said() -> None:
    found = Comparison(track="r", channel="c", old="v1", new="v2", solutions=3)
    assert views.comparison_lines(found)[-1].startswith("3 solutions could not be compared")
    assert "What changed" in comparison_page(found)


def test_figures() -> None:
    summary = summary_of(FIGURES[0], [(1.0, 2.0), (2.0, 2.0), (4.0, 2.0), (0.0, 1.0)])
    assert summary is not None
    assert (summary.old_median, summary.new_median, summary.change) == (1.5, 2.0, 0.0)
    assert summary_of(FIGURES[0], []) is None
    assert [percentile(range(1, 101), part) for part in (0, 0.5, 0.95, 1)] == [1, 50, 95, 100]
    assert outcome(record(code=401)) == "401"
    assert outcome(record({"analysis": {}})) == "done"


# --- the page


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> str:
    found = comparison(name=HOSTILE)
    changes = [Change(ChangeKind.TEST, HOSTILE, HOSTILE, HOSTILE * 1000)]
    found.changed[0].changes.extend(changes)
    found.moves[HOSTILE, HOSTILE] += 1
    return comparison_page(found)


def test_a_page_stands_alone(page: str) -> None:
    read = Page(page)
    kinds = {tag for tag, _ in read.tags}
    assert not kinds & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    attributes = {name for _, attrs in read.tags for name in attrs}
    assert not {name for name in attributes if name.startswith("on")}
    assert not attributes & {"src", "href", "xlink:href", "style", "srcset", "action"}
    assert "default-src 'none'" in page
    without_names = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|//", without_names)
    assert "prefers-color-scheme: dark" in page


def test_a_page_is_well_formed_and_has_its_plots(page: str) -> None:
    root = ElementTree.fromstring(page)
    svg = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{svg}svg")) == 1 + 2 * 3  # no set-up time was measured: all are 0
    assert len(root.findall(f".//{svg}circle")) == 3 * 200
    assert len(root.findall(".//details")) == 41


def test_what_strangers_wrote_is_shown_and_not_obeyed(page: str) -> None:
    shown = Page(page).text
    assert "<script>alert('x')</script>" in shown
    assert r"\x00&" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)
    assert "more characters" in shown
    assert len(page) < 400_000


def test_a_plot_of_very_many_solutions_stays_small() -> None:
    found = Comparison(track="r", channel="c", old="v1", new="v2", solutions=9000)
    for number in range(9000):
        both = record({"status": "pass"}, number=number, run_s=number / 100)
        found.add(both, both)
    page = comparison_page(found)
    assert len(page) < 1_500_000
    assert 1500 < page.count("<circle") // 3 <= 2000
