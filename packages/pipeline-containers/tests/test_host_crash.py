"""A host that loses its power: what its disk had is what its worker finds, and nothing half.

The disk is a file with a real file system in it. What that has sent to its disk is in the file; a
copy of the file is what a crash leaves.
"""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.hostile_registry import HostileRegistry, fail, hang
from support.images import Image, Layer

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.store.store import Store
from pipeline_containers.system.units import MIB

pytestmark = pytest.mark.e2e

LIMITS = PullLimits(free_bytes=0, free_files=0, tries=1)
CONTENT = {name: random.Random(name).randbytes(4 * MIB) for name in ("base", "one", "two")}
BASE = Image((Layer().file("base", CONTENT["base"]).archive(),))


def of_base(name: str) -> Image:
    return BASE.on_top(Layer().file(name, CONTENT[name]))


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Give the disk's folder of a store."""
    place = disk.with_suffix(".mounted")
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        yield place / "store"
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def disk(work: Path) -> Path:
    """A disk of 128 MiB."""
    disk = work / "disk"
    with disk.open("wb") as file:
        file.truncate(128 * MIB)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    return disk


@contextmanager
def after_crash(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the folder of the store as the host finds it when it has been started again."""
    found = disk.with_name("found")
    shutil.copy(disk, found)
    boot = disk.with_name("boot_id")
    boot.write_text("another\n")
    monkeypatch.setattr("pipeline_containers.store.unfinished._BOOT", boot)
    with mounted(found) as folder:
        yield folder


def is_whole(store: Store, digest: str, *names: str) -> bool:
    layers = store.image(digest).layers
    found = {file.name: file.read_bytes() for layer in layers for file in layer.iterdir()}
    return found == {name: CONTENT[name] for name in ("base", *names)}


def test_what_the_disk_did_not_have_is_pulled_anew_and_what_it_had_stays(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, (base, _) = lying.serve(of_base("one"))
    second, (_, own) = lying.serve(of_base("two"), "v2")
    with mounted(disk) as folder:
        store = Store(folder, LIMITS)
        store.pull(registry, "tool", first)
        store.settle()
        store.pull(registry, "tool", second)
        assert is_whole(store, second, "two")
        with after_crash(disk, monkeypatch) as found:
            store = Store(found, LIMITS)
            assert store.digests() == [first]
            assert is_whole(store, first, "one")
            store.pull(registry, "tool", second)
            assert is_whole(store, second, "two")
            assert [lying.asked_for(layer) for layer in (base, own)] == [1, 2]


def test_layers_of_an_unfinished_pull_are_not_gone_on_with(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, (base, own) = lying.serve(of_base("one"))
    lying.tricks[own] = fail(404)
    with mounted(disk) as folder:
        with pytest.raises(RegistryError):
            Store(folder, LIMITS).pull(registry, "tool", digest)
        lying.tricks.clear()
        with after_crash(disk, monkeypatch) as found:
            store = Store(found, LIMITS)
            assert store.layers() == frozenset()
            store.pull(registry, "tool", digest)
            assert is_whole(store, digest, "one")
            assert lying.asked_for(base) == 2


def test_a_store_that_is_opened_again_by_the_same_host_keeps_all(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    digest, _ = lying.serve(of_base("one"))
    Store(work / "store", LIMITS).pull(registry, "tool", digest)
    assert Store(work / "store", LIMITS).digests() == [digest]


def test_what_is_on_its_way_stays_noted_whatever_others_collect(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    digest, (_, own) = lying.serve(of_base("one"))
    store = Store(work / "store", PullLimits(free_bytes=0, free_files=0, tries=3, pause_s=0))
    lying.tricks[own] = hang(1000)
    with ThreadPoolExecutor() as pool:
        pulled = pool.submit(store.pull, registry, "tool", digest)
        while not lying.asked_for(own):
            time.sleep(0.01)
        Store(work / "store", LIMITS).collect(keep=[])
        lying.tricks.clear()
        lying.over.set()
        assert pulled.result() == digest
    assert [file.name for file in store.folder.glob("unfinished/*")] == [digest]


@pytest.mark.parametrize("note", ["", "[]", '{"boot": 1, "layers": 2}', '["sha256:1"]'])
def test_a_note_that_was_half_written_is_a_doubt(
    lying: HostileRegistry, registry: DockerRegistry, work: Path, note: str
) -> None:
    digest, _ = lying.serve(of_base("one"))
    store = Store(work / "store", LIMITS)
    store.pull(registry, "tool", digest)
    (noted,) = store.folder.glob("unfinished/*")
    assert json.loads(noted.read_text())["layers"]
    noted.write_text(note)
    store.collect_orphans()
    assert Store(work / "store", LIMITS).digests() == []
    assert list(store.folder.glob("unfinished/*")) == []
