"""Who containers are on the host: no two live ones are the same, and none is root's to pay for."""

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline_containers.sandbox.container.identities import Identities, Identity
from pipeline_containers.sandbox.host.ids import ID_COUNT, SUBORDINATE, host_range

pytestmark = pytest.mark.e2e

_NS_GET_OWNER_UID = 0xB704

Owner = Callable[[Identity], int]


@pytest.fixture
def owner_of() -> Owner:
    """Say whom an identity's user namespace belongs to, and is counted for."""

    def ask(identity: Identity) -> int:
        assert identity.namespace is not None
        (uid,) = struct.unpack("I", fcntl.ioctl(identity.namespace, _NS_GET_OWNER_UID, bytes(4)))
        return int(uid)

    return ask


def test_ids_of_mapped_layers_are_each_containers_own(first_host_id: int, owner_of: Owner) -> None:
    with closing(Identities(host_range(first_host_id), 2, maps_layers=True)) as identities:
        three = [identities.take() for _ in range(3)]  # one more than were made ahead
        roots = [identity.ids.root for identity in three]
        assert len(set(roots)) == 3
        assert all((root - first_host_id) % ID_COUNT == 0 for root in roots)
        assert first_host_id not in roots, "that is the owner of files"
        assert [owner_of(identity) for identity in three] == roots
        assert all(identity.mapping == identity.namespace for identity in three)


def test_ids_that_own_layers_are_one_but_counted_for_several(
    first_host_id: int, owner_of: Owner
) -> None:
    with closing(Identities(host_range(first_host_id), 2, maps_layers=False)) as identities:
        one, other = identities.take(), identities.take()
        assert one.ids == other.ids == host_range(first_host_id)
        assert len({0, first_host_id, owner_of(one), owner_of(other)}) == 4
        assert one.mapping is None


def test_one_that_is_given_back_is_taken_again_and_no_other_meanwhile(first_host_id: int) -> None:
    with closing(Identities(host_range(first_host_id), 1, maps_layers=True)) as identities:
        one, other = identities.take(), identities.take()
        identities.give_back(one)
        assert identities.take() is one
        assert other is not one


def test_two_sandboxes_have_none_in_common(first_host_id: int) -> None:
    ids = host_range(first_host_id)
    with (
        closing(Identities(ids, 2, maps_layers=True)) as here,
        closing(Identities(ids, 2, maps_layers=True)) as there,
    ):
        taken = {one.take().ids.root for one in (here, there) for _ in range(2)}
        assert len(taken) == 4


def test_where_there_are_no_ids_to_choose_from_the_runtime_makes_the_namespaces() -> None:
    with closing(Identities(SUBORDINATE, 2, maps_layers=False)) as identities:
        one = identities.take()
        assert (one.ids, one.namespace_path, one.mapping) == (SUBORDINATE, "", None)


def test_all_are_let_go(first_host_id: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    identities = Identities(host_range(first_host_id), 3, maps_layers=True)
    path = Path(identities.take().namespace_path)
    assert path.stat().st_ino
    identities.close()
    assert len(os.listdir("/proc/self/fd")) == before
    with closing(Identities(host_range(first_host_id), 1, maps_layers=True)) as again:
        assert again.take().ids.root == first_host_id + ID_COUNT
