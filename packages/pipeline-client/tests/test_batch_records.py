"""The file of results: whole lines, one for each run, whatever a crash left of it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_client.cli.batches.records import (
    BadRecord,
    RunRecord,
    RunVerdict,
    is_torn,
    read_record,
    record_line,
    verdict_of,
)
from pipeline_client.cli.batches.results_file import BadResultsFile, opened
from pipeline_client.cli.batches.tally import Patience, Run, Tally, runs_of, status_of
from pipeline_protocol.replies import Context, Logs
from pipeline_protocol.status import STATUSES


def record(number: int, version: str = "v1", output: str = "é\u2028\n") -> RunRecord:
    return RunRecord(
        id=f"{number:064x}",
        track="ruby",
        channel="test_runners",
        version=version,
        exercise="two-fer",
        solution=f"two-fer/{number}",
        code=200,
        response={"status": "pass", "tests": [{"name": output}]},
        context=Context(logs=Logs(stdout=output)),
    )


RECORDS = [record(number) for number in range(4)]
WHOLE = b"".join(map(record_line, RECORDS))


def append_missing(path: Path, records: Sequence[RunRecord]) -> int:
    """Go on as a batch does: what is not there yet is appended."""
    with opened(path) as results:
        missing = [one for one in records if one.key not in results.ran]
        for one in missing:
            results.append(one)
        assert [results.read(one.key) for one in records] == list(records)
    return len(missing)


@given(cut=st.integers(0, len(WHOLE)), zeros=st.integers(0, 3))
@example(cut=len(WHOLE), zeros=0)
@example(cut=0, zeros=0)
@example(cut=0, zeros=2)
def test_after_a_crash_at_any_byte_each_run_gets_exactly_one_whole_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int, zeros: int
) -> None:
    path = tmp_path_factory.mktemp("batch") / "out.jsonl"
    path.write_bytes(WHOLE[:cut] + b"\0" * zeros)
    there = WHOLE[:cut].count(b"\n")
    assert append_missing(path, RECORDS) == len(RECORDS) - there
    assert path.read_bytes() == WHOLE
    assert append_missing(path, RECORDS) == 0


@pytest.mark.parametrize("foreign", [b"my notes", b"a\nb\n", b'{"id":1}\n', b"\n", WHOLE + b"x"])
def test_what_somebody_else_wrote_stays_as_it_is(tmp_path: Path, foreign: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(foreign)
    with pytest.raises(BadResultsFile, match=r"line \d of .* is "), opened(path):
        pass
    assert path.read_bytes() == foreign


def test_a_torn_line_behind_what_is_no_result_stays_too(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"mine\n" + WHOLE[:20])
    with pytest.raises(BadResultsFile, match="line 1"), opened(path):
        pass
    assert path.read_bytes() == b"mine\n" + WHOLE[:20]


def test_a_file_is_one_batch_s_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path), pytest.raises(BadResultsFile, match="in use"), opened(path):
        pass
    append_missing(path, RECORDS)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none" / "out", Path("/dev/null")):
        with pytest.raises(BadResultsFile), opened(path):
            pass


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    real = os.write
    left = [len(record_line(RECORDS[0])) + 10]

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: left[0]])
        left[0] -= written
        return written

    with opened(path) as results:
        monkeypatch.setattr(os, "write", write)
        results.append(RECORDS[0])
        with pytest.raises(BadResultsFile, match="No space left"):
            results.append(RECORDS[1])
    assert path.read_bytes() == record_line(RECORDS[0])


def test_an_interrupt_in_a_write_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        real(descriptor, data)
        raise KeyboardInterrupt

    with opened(path) as results:
        results.append(RECORDS[0])
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write)
            with pytest.raises(KeyboardInterrupt):
                results.append(RECORDS[1])
        results.append(RECORDS[2])
    assert path.read_bytes() == record_line(RECORDS[0]) + record_line(RECORDS[2])


@given(
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=10,
    ),
)
def test_a_line_is_read_as_it_was_written(text: str, response: object) -> None:
    text = text.encode(errors="replace").decode()
    written = RunRecord("0" * 64, "r", "c", "v", "e", text, 200, response=response)
    line = record_line(written)
    assert line.count(b"\n") == 1
    assert read_record(line) == written
    assert all(is_torn(line[:cut]) for cut in range(len(line)))


def test_what_is_no_record_is_said_in_words() -> None:
    with pytest.raises(BadRecord, match=r"no result of a batch: .*id"):
        read_record(b'{"id":"x"}')


@pytest.mark.parametrize("code", STATUSES)
def test_what_tells_of_the_solution_is_a_result(code: int) -> None:
    results = {200, 400, 401, 402, 403, 502, 510, 513, 514}
    hopeless = {501, 505, 103}
    assert (verdict_of(code) is RunVerdict.RESULT) == (code in results)
    assert (verdict_of(code) is RunVerdict.HOPELESS) == (code in hopeless)


def test_a_code_of_a_later_release_is_tried_again() -> None:
    assert verdict_of(599) is RunVerdict.UNFINISHED


def test_versions_take_turns() -> None:
    solutions = [(f"{number:064x}", "leap", str(number)) for number in range(3)]
    runs = runs_of(solutions, "ruby", "test_runners", ("v1", "v2"))
    assert [(run.solution, run.key.version) for run in runs] == [
        *(("0", "v1"), ("0", "v2")),
        *(("1", "v2"), ("1", "v1")),
        *(("2", "v1"), ("2", "v2")),
    ]
    assert isinstance(runs[0], Run)
    assert len({run.key for run in runs}) == 6


def test_counts() -> None:
    tally = Tally()
    for code, response in ((200, {"status": "pass"}), (200, {"status": 1}), (401, None)):
        tally.add(code, status_of(response))
    assert (tally.total, tally.codes, tally.statuses) == (3, {200: 2, 401: 1}, {"pass": 1})
    assert status_of({"status": "x" * 1000}) == "x" * 64


@pytest.mark.parametrize(
    ("in_flight", "codes", "goes_on"),
    [
        (1, [503, 503], True),
        (1, [503, 503, 503], False),
        (4, [503, 503, 503], True),
        (4, [503, 503, 503, 200, 503], True),
        (4, [503, 504, 512, 499], False),
        (100, [505], False),
    ],
)
def test_a_batch_ends_when_nothing_comes_of_it(
    in_flight: int, codes: list[int], goes_on: bool
) -> None:
    patience = Patience(in_flight)
    assert [patience.goes_on(verdict_of(code)) for code in codes][-1] is goes_on


def test_a_key_that_may_not_ask_for_runs_ends_the_batch_and_is_no_result() -> None:
    verdict = verdict_of(403, is_forbidden=True)
    assert verdict is RunVerdict.HOPELESS
    assert not Patience(100).goes_on(verdict)
