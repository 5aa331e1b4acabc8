"""Inline files and folders of the host: what is taken, and what is refused with a reason."""

import os
from pathlib import Path

import pytest

from pipeline_protocol.requests import BinaryFile, FileContent
from pipeline_worker.inputs import local as folder_inputs
from pipeline_worker.inputs.local import write_files
from pipeline_worker.inputs.quota import InputQuota, UnusableInput


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


def copy_folder(uri: str, allowed: Path | None, job: Path) -> None:
    folder_inputs.copy_folder(uri, allowed, job, InputQuota())


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    (folder / "two-fer" / "lib").mkdir(parents=True)
    (folder / "two-fer" / "two_fer.rb").write_text("code")
    (folder / "two-fer" / "lib" / "run.sh").write_text("#!/bin/sh")
    (folder / "two-fer" / "lib" / "run.sh").chmod(0o755)
    return folder


def test_inline_files_are_written_with_their_folders(job: Path) -> None:
    write_files({"a.rb": "é\r\n", "lib/b.rb": "b"}, job, InputQuota())
    assert (job / "a.rb").read_bytes() == "é\r\n".encode()
    assert (job / "lib" / "b.rb").read_text() == "b"


def test_inline_files_in_each_others_way_are_refused(job: Path) -> None:
    with pytest.raises(UnusableInput, match="stands in the way"):
        write_files({"a": "1", "a/b": "2"}, job, InputQuota())


def test_inline_bytes_are_written_as_they_are(job: Path) -> None:
    data = bytes(range(256))
    write_files({"lib/a.png": BinaryFile(data)}, job, InputQuota())
    assert (job / "lib" / "a.png").read_bytes() == data


def test_inline_files_count_as_large_as_they_are_in_the_job_folder(job: Path) -> None:
    files: dict[str, FileContent] = {"a": BinaryFile(b"x" * 6), "b": "é" * 2}
    write_files(files, job, InputQuota(2, 10))
    for quota in (InputQuota(1, 10), InputQuota(2, 9)):
        with pytest.raises(UnusableInput, match="it does not fit"):
            write_files(files, job, quota)


def test_a_folder_is_copied_with_its_executables(job: Path, allowed: Path) -> None:
    copy_folder(f"file://{allowed}/two-fer/", allowed, job)
    assert (job / "two_fer.rb").read_text() == "code"
    assert os.access(job / "lib" / "run.sh", os.X_OK)


@pytest.mark.parametrize("uri", ["file:///etc/", "file://{}/../", "file://{}/%2e%2e/x/"])
def test_nothing_outside_the_allowed_folder_is_read(uri: str, job: Path, allowed: Path) -> None:
    with pytest.raises(UnusableInput, match="not beneath"):
        copy_folder(uri.format(allowed), allowed, job)


def test_without_the_option_no_folder_is_read(job: Path, allowed: Path) -> None:
    with pytest.raises(UnusableInput, match="--file-inputs"):
        copy_folder(f"file://{allowed}/two-fer/", None, job)


def test_a_folder_that_is_not_there_is_named(job: Path, allowed: Path) -> None:
    with pytest.raises(UnusableInput, match="No such file"):
        copy_folder(f"file://{allowed}/three-fer/", allowed, job)


def test_links_are_not_followed(job: Path, allowed: Path) -> None:
    (allowed / "two-fer" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(UnusableInput, match="links are not followed"):
        copy_folder(f"file://{allowed}/two-fer/", allowed, job)
    (allowed / "linked").symlink_to(allowed / "two-fer")
    with pytest.raises(UnusableInput, match="linked"):
        copy_folder(f"file://{allowed}/linked/", allowed, job)


def test_a_pipe_is_refused_without_waiting_for_its_writer(job: Path, allowed: Path) -> None:
    os.mkfifo(allowed / "two-fer" / "pipe")
    with pytest.raises(UnusableInput, match="not a plain file"):
        copy_folder(f"file://{allowed}/two-fer/", allowed, job)


@pytest.mark.parametrize("quota", [InputQuota(files=1), InputQuota(size_bytes=5)])
def test_too_much_is_refused(job: Path, allowed: Path, quota: InputQuota) -> None:
    with pytest.raises(UnusableInput, match=r"over \d+ files or \d+ bytes"):
        folder_inputs.copy_folder(f"file://{allowed}/two-fer/", allowed, job, quota)


def test_no_job_folder_is_so_large_that_everything_is_taken() -> None:
    with pytest.raises(UnusableInput, match=r"over 10000 files or 268435456 bytes"):
        InputQuota(files=10**9, size_bytes=1 << 50).take(1 << 40)


def test_too_deep_is_refused(job: Path, allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_inputs, "MAX_DEPTH", 0)
    with pytest.raises(UnusableInput, match="nested"):
        copy_folder(f"file://{allowed}/two-fer/", allowed, job)
