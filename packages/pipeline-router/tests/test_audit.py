"""What is recorded of changes, who made them, and the file that keeps it."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline_protocol.requests import Role
from pipeline_protocol.responses import AuditEntry
from pipeline_router.audit_file import KEPT_FILES, AuditFile
from pipeline_router.config import Config
from pipeline_router.events import AuditRead, ConfigRead, ConfigUnusable, KeysRead, Saved
from pipeline_router.principals import Principal
from pipeline_router.unwritable import Unwritable

ALICE = Principal("1" * 64, "alice", Role.CLIENT)
BOB = Principal("2" * 64, "bob", Role.CLIENT)
OLGA = Principal("3" * 64, "olga", Role.OPERATOR)
FORGET = "to keep only what is wanted"
RUNNER = {"track_slug": "ruby", "channel": "test_runners"}


def recorded(harness: Any) -> list[tuple[object, ...]]:
    """Return and forget what was recorded."""
    found = [msgspec.structs.astuple(entry)[1:] for entry in harness.records]
    harness.records.clear()
    return found


def test_a_deployment_is_recorded_with_what_was_wanted_before_and_is_now(harness: Any) -> None:
    harness.ask(action="deploy_container_version", **RUNNER, new_version="v2", key=OLGA)
    harness.ask(action="unload_container_version", **RUNNER, version=harness.V1, key=OLGA)
    v1 = harness.V1
    assert recorded(harness) == [
        ("olga", "deploy_container_version", RUNNER, (v1,), (v1, "v2"), "done"),
        ("olga", "unload_container_version", RUNNER, (v1, "v2"), ("v2",), "done"),
    ]


def test_changes_that_are_saved_together_are_recorded_one_by_one(harness: Any) -> None:
    harness.saves_at_once = False
    for number in range(1, 4):
        harness.ask(action="deploy_container_version", **RUNNER, new_version=f"x{number}")
    harness.do(Saved())
    harness.do(Saved())
    v1 = harness.V1
    assert [(before, after) for _, _, _, before, after, _ in recorded(harness)] == [
        ((v1,), (v1, "x1")),
        ((v1, "x1"), (v1, "x1", "x2")),
        ((v1, "x1", "x2"), (v1, "x1", "x2", "x3")),
    ]


def test_a_change_that_could_not_be_saved_is_recorded_as_none(harness: Any) -> None:
    harness.saves_at_once = False
    harness.ask(action="deploy_container_version", **RUNNER, new_version="v2", key=OLGA)
    harness.do(Saved("the disk is full"))
    ((who, _, _, before, after, outcome),) = recorded(harness)
    assert (who, before, after) == ("olga", (harness.V1,), (harness.V1,))
    assert "the disk is full" in str(outcome)


def test_what_is_done_to_workers_is_recorded_with_what_they_did_before(harness: Any) -> None:
    harness.worker("w1")
    harness.worker("w2")
    harness.ask(action="drain_worker", identity="w1", key=OLGA)
    harness.ask(action="restart_workers", key=OLGA)
    harness.ask(action="forget_images", workers=["w2"], key=OLGA)
    channel = {"channel": "test_runners"}
    first, second = {"worker": "w1"} | channel, {"worker": "w2"} | channel
    assert recorded(harness) == [
        ("olga", "drain_worker", first, ("serving",), ("draining",), "done"),
        ("olga", "restart_workers", first, ("draining",), ("restarting",), "done"),
        ("olga", "restart_workers", second, ("serving",), ("restarting",), "done"),
        *[
            (
                "olga",
                "forget_images",
                second,
                ("restarting",),
                ("to keep only what is wanted",),
                "done",
            )
        ],
    ]


def test_a_worker_that_is_dismissed_is_recorded(harness: Any) -> None:
    lost = harness.worker("w1")
    lost.beats = False
    harness.wait(4)
    harness.ask(action="dismiss_worker", identity="w1", key=OLGA)
    assert recorded(harness) == [
        ("olga", "dismiss_worker", {"worker": "w1"}, ("missing",), (), "done")
    ]


def test_taking_back_anothers_request_is_recorded_ones_own_is_not(harness: Any) -> None:
    harness.worker()
    harness.ask("mine", key=ALICE)
    harness.ask("mine", action="cancel", key=ALICE)
    assert recorded(harness) == []
    harness.ask("theirs", key=ALICE)
    harness.ask("theirs", action="cancel", key=OLGA)
    subject = {"id": "theirs", "of_action": "test_solution", "owner": "alice"}
    assert recorded(harness) == [
        ("olga", "cancel", subject, ("in flight",), ("cancelled",), "done")
    ]


def test_what_is_changed_on_the_routers_host_is_recorded(harness: Any) -> None:
    harness.do(KeysRead({}, added=("new",), revoked=("old",)))
    harness.do(KeysRead({}, rekeyed=True))
    harness.do(KeysRead({}))
    harness.do(ConfigRead(Config()))
    harness.do(ConfigUnusable("`router`: no"))
    rekeyed = {"router": "another key of its own"}
    assert recorded(harness) == [
        (None, "keys_changed", {}, ("old",), ("new",), "done"),
        (None, "keys_changed", rekeyed, (), (), "done"),
        (None, "config_reloaded", {}, (), (), "done"),
        (None, "config_reloaded", {}, (), (), "`router`: no"),
    ]


def test_what_was_not_let_in_pushes_nothing_out_of_the_file(harness: Any) -> None:
    for _ in range(3):
        deploy = {"action": "deploy_container_version", **RUNNER, "new_version": "v2"}
        assert harness.code(harness.ask(key=ALICE, **deploy)) == 403
    assert recorded(harness) == []


def test_only_an_operator_reads_it(harness: Any) -> None:
    assert harness.code(harness.ask(action="read_audit", key=ALICE)) == 403
    client = harness.ask(action="read_audit", limit=7, key=OLGA)
    ((envelope, limit),) = [msgspec.structs.astuple(one) for one in harness.fetched]
    assert (envelope, limit) == ((client,), 7)
    harness.do(AuditRead(envelope, (entry(1),)))
    assert harness.response(client)["entries"][0]["subject"] == {"number": "1"}


def test_a_file_that_cannot_be_read_is_said(harness: Any) -> None:
    client = harness.ask(action="read_audit", key=OLGA)
    harness.do(AuditRead((client,), error="the audit file cannot be read: no"))
    assert (harness.code(client), harness.error(client)) == (
        512,
        "the audit file cannot be read: no",
    )


# --- the file


def entry(number: int) -> AuditEntry:
    return AuditEntry("", "olga", "drain_worker", {"number": str(number)}, (), (), "done")


def numbers(file: AuditFile, limit: int = 1000) -> list[int]:
    return [int(one.subject["number"]) for one in file.latest(limit)]


def test_the_file_has_the_latest_last_and_outlives_who_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    assert AuditFile(path).latest(10) == []
    for number in range(5):
        AuditFile(path).append(entry(number))
    assert numbers(AuditFile(path), 3) == [2, 3, 4]
    assert path.stat().st_mode & 0o777 == 0o600
    times = [one.at for one in AuditFile(path).latest(10)]
    assert times == sorted(times)
    assert times[0].endswith("+00:00")


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit", rotate_bytes=400)
    for number in range(100):
        file.append(entry(number))
    assert len(list(tmp_path.iterdir())) <= KEPT_FILES + 1
    found = numbers(file)
    assert found == list(range(found[0], 100)), "none is missing, none is twice"
    assert 8 < len(found) < 100
    assert numbers(file, 5) == list(range(95, 100))


def test_half_a_line_that_a_crash_left_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    file = AuditFile(path)
    file.append(entry(1))
    with path.open("ab") as half:
        half.write(b'{"at": "2026')
    file.append(entry(2))
    with path.open("ab") as strange:
        strange.write(b'{"at": 5}\n\xff\n' + b"[" * 100_000 + b"\n")
    assert numbers(file) == [1, 2]


def test_a_disk_that_takes_no_more_is_said_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AuditFile(tmp_path / "audit")
    file.append(entry(1))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(Unwritable, match=r"audit: No space left on device.*make room there"):
        file.append(entry(2))
    monkeypatch.undo()
    file.append(entry(3))
    assert numbers(file) == [1, 3]
    with pytest.raises(Unwritable, match="create its folder"):
        AuditFile(tmp_path / "none/audit").append(entry(1))
