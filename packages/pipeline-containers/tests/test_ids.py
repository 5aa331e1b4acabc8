"""Which ids containers get, by what the worker was given."""

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.id_ranges import IdRanges
from pipeline_containers.sandbox.host.ids import (
    ID_COUNT,
    OF_A_POD,
    OWN_ONLY,
    SUBORDINATE,
    IdMap,
    host_range,
    map_in_namespace,
    owns_host,
)
from pipeline_containers.sandbox.host.rootless import subordinate_start

HOST = "         0          0 4294967295\n"
ONE = "         0       1000          1\n"
MANY = "         0       1000          1\n         1     100000      65536\n"
FEW = "         0       1000          1\n         1     100000       1000\n"
GAP = "         0       1000          1\n         2     100000      65536\n"
POD = "         0     500000      65536\n"
SHIFTED = "         0     100000     131072\n"


def test_only_the_hosts_own_namespace_is_the_hosts() -> None:
    assert owns_host(HOST)
    assert not any(map(owns_host, (ONE, MANY, SHIFTED, "")))


def test_root_gives_containers_a_range_that_is_nobodys() -> None:
    ids = host_range(70_000)
    assert ids.is_of_host
    assert (ids.root, ids.outside(1000), ids.outside(65_535)) == (70_000, 71_000, 135_535)


@pytest.mark.parametrize(
    ("uids", "gids", "ids"),
    [
        (MANY, MANY, SUBORDINATE),
        (SHIFTED, SHIFTED, SUBORDINATE),
        (POD, POD, OF_A_POD),
        (MANY, POD, OF_A_POD),
        (MANY, ONE, OWN_ONLY),
        (FEW, FEW, OWN_ONLY),
        (GAP, MANY, OWN_ONLY),
        (ONE, ONE, OWN_ONLY),
    ],
)
def test_a_namespace_gives_them_what_it_has_enough_of(uids: str, gids: str, ids: object) -> None:
    assert map_in_namespace(uids, gids) == ids


@pytest.mark.parametrize(("ids", "count"), [(SUBORDINATE, ID_COUNT), (OF_A_POD, ID_COUNT - 1)])
def test_no_container_is_the_user_that_the_worker_is_if_there_are_other_ids(
    ids: IdMap, count: int
) -> None:
    outside = {ids.outside(inside) for inside in range(count)}
    assert len(outside) == count
    assert 0 not in outside
    assert max(outside) <= count
    assert ids.outside(1000) == 1000


def test_a_pods_containers_have_all_ids_but_the_last() -> None:
    with pytest.raises(SandboxError, match="no id 65535 here, only 0 to 65534"):
        OF_A_POD.outside(65_535)


@pytest.mark.parametrize("ids", [SUBORDINATE, OF_A_POD, OWN_ONLY, host_range(70_000)])
def test_owners_that_were_given_can_be_taken_back(ids: IdMap) -> None:
    for owner in (0, 1, 1000, 65_534):
        given = ids.given(owner)
        assert ids.given(given) == given
        assert ids.taken(given) == owner


def test_an_id_that_a_container_does_not_have_is_refused_with_a_remedy() -> None:
    assert OWN_ONLY.outside(0) == 0
    with pytest.raises(SandboxError, match=r"no id 1000 here, only 0: .*--add-subuids"):
        OWN_ONLY.outside(1000)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("ann:100000:65536\n", 100_000),
        ("bob:100000:65536\nann:200000:65536\nann:300000:65536\n", 200_000),
        ("1000:100000:70000\n", 100_000),
        ("ann:100000:65535\n", None),
        ("annette:100000:65536\n# ann\nann\nann:x:y\n\n", None),
        ("", None),
    ],
)
def test_subordinate_ids_are_found_by_name_or_number(text: str, start: int | None) -> None:
    assert subordinate_start(text, "ann", 1000) == start


def test_no_range_is_anybody_elses(tmp_path: Path) -> None:
    file = tmp_path / "new" / "ids"
    with closing(IdRanges(0, file)) as one, closing(IdRanges(0, file)) as other:
        taken = [ranges.take() for ranges in (one, other, other, one)]
        assert taken == [ID_COUNT * number for number in (1, 2, 3, 4)]
        one.close()
        with closing(IdRanges(0, file)) as third:
            assert [third.take(), third.take()] == [ID_COUNT, ID_COUNT * 4]


def test_programs_that_are_started_hold_no_range(tmp_path: Path) -> None:
    """One that outlives its sandbox, as a container may, would have it for ever."""
    with closing(IdRanges(0, tmp_path / "ids")) as ranges:
        ranges.take()
        with subprocess.Popen(["sleep", "60"]) as program:
            ranges.close()
            with closing(IdRanges(0, tmp_path / "ids")) as others:
                assert others.take() == ID_COUNT
            program.kill()


def test_a_place_where_nothing_can_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        closing(IdRanges(0, tmp_path / "file" / "ids")) as ranges,
        pytest.raises(SandboxError, match=f"let root write in {tmp_path}/file"),
    ):
        ranges.take()


def test_when_no_ids_are_left(tmp_path: Path) -> None:
    with closing(IdRanges(2**31 - 2 * ID_COUNT, tmp_path / "ids")) as ranges:
        assert ranges.take() == 2**31 - ID_COUNT
        with pytest.raises(SandboxError, match="no ids are left"):
            ranges.take()
