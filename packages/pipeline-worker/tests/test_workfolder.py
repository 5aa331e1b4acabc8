"""One owner at a time."""

from pathlib import Path

import pytest

from pipeline_worker.host.workfolder import FolderInUse, WorkFolder


def test_a_second_owner_is_told_who_has_it(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path / "w", "worker-1")
    with pytest.raises(FolderInUse, match=r"in use by worker-1 \(process \d+\)"):
        WorkFolder(tmp_path / "w", "worker-2")
    first.release()
    WorkFolder(tmp_path / "w", "worker-2").release()


def test_folders_in_it_are_made_and_kept(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "w", "worker-1")
    assert folder.folder("store").is_dir()
    assert folder.folder("store") == tmp_path / "w" / "store"
    folder.release()


def test_what_was_needed_for_a_moment_goes_with_the_next_owner(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "w", "worker-1")
    scratch = folder.scratch()
    assert scratch.stat().st_mode & 0o777 == 0o700
    (scratch / "pipeline-login-1").mkdir()
    (scratch / "pipeline-login-1" / "auth.json").write_text("secret")
    folder.release()
    again = WorkFolder(tmp_path / "w", "worker-1")
    assert list(again.scratch().iterdir()) == []
    again.release()
