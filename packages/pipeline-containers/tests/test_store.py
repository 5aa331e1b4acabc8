"""The disk beneath the store: what may lie there, and what a full one does to a pull."""

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.hostile_registry import HostileRegistry, hang
from support.images import Image, Layer, digest_of
from support.pace import paced

from pipeline_containers.errors import RegistryError, StoreError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.store.store import Store
from pipeline_containers.system import syscalls
from pipeline_containers.system.units import GIB, MIB

pytestmark = pytest.mark.e2e

ROOMY = PullLimits(free_bytes=0, free_files=0, tries=1)


@pytest.fixture
def disk(work: Path) -> Iterator[Path]:
    """A disk of 64 MiB and 2,000 files."""
    folder = work / "disk"
    folder.mkdir()
    syscalls.mount("disk", str(folder), "tmpfs", 0, f"size={64 * MIB},nr_inodes=2000")
    yield folder
    syscalls.umount(str(folder))


def one_file(name: str, content: bytes) -> Image:
    return Image((Layer().file(name, content).archive(),))


def used_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def zeros(*sizes: int) -> bytes:
    """A packed layer of files of zeros, far larger than itself."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as compressed:
        for number, size in enumerate(sizes):
            entry = tarfile.TarInfo(f"zeros-{number}")
            entry.size = size
            compressed.write(entry.tobuf())
            for _ in range(size // MIB):
                compressed.write(bytes(MIB))
        compressed.write(bytes(1024))
    return packed.getvalue()


def sparse(size: int) -> bytes:
    """A packed layer of a file that has nothing in it but a length; GNU's form 1.0."""
    body = b"1\n%d\n0\n" % size
    body += bytes(-len(body) % 512)
    entry = tarfile.TarInfo("GNUSparseFile.0/huge")
    entry.size = len(body)
    entry.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "huge",
        "GNU.sparse.realsize": str(size),
    }
    return gzip.compress(entry.tobuf(tarfile.PAX_FORMAT) + body + bytes(1024), mtime=0)


def unpacked_digest(packed: bytes) -> str:
    """Give the digest of what a packed layer unpacks to, of which there may be a lot."""
    total = hashlib.sha256()
    with gzip.open(io.BytesIO(packed)) as stream:
        while chunk := stream.read(MIB):
            total.update(chunk)
    return f"sha256:{total.hexdigest()}"


def serve_layer(lying: HostileRegistry, packed: bytes) -> str:
    """Serve an image of one layer, as it travels; its digest.

    Its configuration is honest: skopeo from 1.18 on compares a layer with it before it unpacks.
    """
    lying.serve(one_file("small", b"small"))
    document = json.loads(lying.content["v1"])
    config = json.loads(lying.content[document["config"]["digest"]])
    config["rootfs"]["diff_ids"] = [unpacked_digest(packed)]
    written = json.dumps(config).encode()
    lying.content[digest_of(written)] = written
    document["config"] |= {"digest": digest_of(written), "size": len(written)}
    lying.content[digest_of(packed)] = packed
    document["layers"][0] |= {"digest": digest_of(packed), "size": len(packed)}
    return lying.serve_manifest(json.dumps(document).encode())


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(lambda: zeros(GIB), id="one-large-file"),
        pytest.param(lambda: zeros(*[32 * MIB] * 40), id="many-files"),
        pytest.param(lambda: sparse(1024 * GIB), id="a-sparse-file"),
    ],
)
def test_a_bomb_is_stopped_at_the_cap_and_the_disk_given_back(
    lying: HostileRegistry, registry: DockerRegistry, work: Path, packed: object
) -> None:
    assert callable(packed)
    store = Store(work / "store", PullLimits(free_bytes=0, tries=1, unpacked_bytes=64 * MIB))
    honest, _ = lying.serve(one_file("honest", b"honest"), "honest")
    store.pull(registry, "tool", honest)
    digest = serve_layer(lying, packed())
    with pytest.raises(RegistryError, match=f"unpacks to more than {64 * MIB} bytes"):
        store.pull(registry, "tool", digest)
    assert store.digests() == [honest]
    size = sum(file.lstat().st_size for file in store.folder.rglob("*") if file.is_file())
    assert size < MIB


def test_an_image_that_is_too_large_by_what_its_layers_are_together(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    store = Store(work / "store", PullLimits(free_bytes=0, unpacked_bytes=3 * MIB))
    layers = [Layer().file(name, bytes(2 * MIB)).archive() for name in "ab"]
    fine, _ = lying.serve(Image(tuple(layers[:1])), "fine")
    store.pull(registry, "tool", fine)
    digest, _ = lying.serve(Image(tuple(layers)))
    with pytest.raises(RegistryError, match="unpacks to more than"):
        store.pull(registry, "tool", digest)
    assert store.digests() == [fine]
    assert (store.image(fine).layers[0] / "a").stat().st_size == 2 * MIB


def test_a_disk_that_would_be_full_is_not_begun_upon(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path
) -> None:
    store = Store(disk / "store", PullLimits(free_bytes=8 * MIB, free_files=0))
    honest, _ = lying.serve(one_file("honest", b"honest"), "honest")
    store.pull(registry, "tool", honest)
    digest, _ = lying.serve(one_file("random", os.urandom(40 * MIB)))
    before = used_bytes(disk)
    with pytest.raises(StoreError, match=r"is full: \d+ bytes are free now, and more"):
        store.pull(registry, "tool", digest)
    assert not any("/blobs/" in path and digest in path for path in lying.requests)
    assert used_bytes(disk) == before
    assert store.digests() == [honest]


def test_a_disk_that_becomes_full_on_the_way(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path
) -> None:
    honest, _ = lying.serve(one_file("honest", b"honest"), "honest")
    digest = serve_layer(lying, zeros(200 * MIB))
    for limits in (PullLimits(free_bytes=8 * MIB, free_files=0), ROOMY):  # stopped; and run aground
        store = Store(disk / "store", limits)
        store.pull(registry, "tool", honest)
        before = used_bytes(disk)
        with pytest.raises(StoreError, match=r"is full: \d+ bytes are free now, .* make room"):
            store.pull(registry, "tool", digest)
        assert used_bytes(disk) <= before
        assert store.digests() == [honest]
        assert (store.image(honest).layers[0] / "honest").read_bytes() == b"honest"
        small, _ = lying.serve(one_file("small", b"small"), "small")
        assert store.pull(registry, "tool", small) == small, "there is room for others"
        store.collect(keep=[honest])


def test_a_disk_that_has_no_place_for_more_files(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path
) -> None:
    store = Store(disk / "store", PullLimits(free_bytes=0, free_files=500))
    honest, _ = lying.serve(one_file("honest", b"honest"), "honest")
    store.pull(registry, "tool", honest)
    layer = Layer()
    for number in range(5000):
        layer.file(f"f/{number}", b"")
    digest, _ = lying.serve(Image((layer.archive(),)))
    with pytest.raises(StoreError, match=r"is full: it takes \d+ files more|is full: \d+ bytes"):
        store.pull(registry, "tool", digest)
    assert store.digests() == [honest]
    assert os.statvfs(disk).f_favail > 1800


def test_leftovers_go_before_a_pull_is_refused_for_want_of_room(
    lying: HostileRegistry, registry: DockerRegistry, disk: Path
) -> None:
    store = Store(disk / "store", PullLimits(free_bytes=8 * MIB, free_files=0, tries=1))
    base = Layer().file("base", os.urandom(20 * MIB)).archive()
    top = Layer().file("top", b"top").archive()
    digest, layers = lying.serve(Image((base, top)))
    del lying.content[layers[1]]
    with pytest.raises(RegistryError, match="not there any more"):
        store.pull(registry, "tool", digest)
    assert used_bytes(disk) > 20 * MIB, "kept for another try"
    other, _ = lying.serve(one_file("other", os.urandom(20 * MIB)), "v2")
    assert store.pull(registry, "tool", other) == other


PULL = """
import sys
from pathlib import Path
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.store.store import Store
store = Store(Path(sys.argv[1]), PullLimits(free_bytes=0))
store.pull(DockerRegistry(sys.argv[2]), "tool", sys.argv[3])
"""


def test_a_killed_process_takes_its_pull_along_and_the_next_one_goes_on(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    digest, layers = lying.serve(
        Image(tuple(Layer().file(name, os.urandom(MIB)).archive() for name in "ab"))
    )
    lying.tricks[layers[1]] = hang(1000)
    folder = work / "store"
    worker = subprocess.Popen([sys.executable, "-c", PULL, str(folder), lying.location, digest])
    record = folder / "root/overlay-layers/layers.json"
    while not has_whole_layer(record, layers[0]):
        assert worker.poll() is None
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    lying.tricks.clear()
    store = Store(folder, ROOMY)
    until = time.monotonic() + paced(30)
    while str(folder) in "".join(commands()):
        assert time.monotonic() < until, "the copy outlives its process"
        time.sleep(0.02)
    with suppress(ChildProcessError):  # its orphans are ours, if a sandbox was open here before
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
    assert store.digests() == []
    assert store.pull(registry, "tool", digest) == digest
    assert lying.asked_for(layers[0]) == 1
    assert list(folder.glob("tmp/*")) == []


def has_whole_layer(record: Path, digest: str) -> bool:
    """Say whether a layer is listed, and not as one that is only being unpacked."""
    try:
        listed = json.loads(record.read_text())
    except (OSError, ValueError):
        return False
    return any(
        layer.get("compressed-diff-digest") == digest and not layer.get("flags") for layer in listed
    )


def commands() -> Iterator[str]:
    """The command line of every process."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().decode(errors="replace")
        except OSError:
            continue


def test_layers_that_were_half_written_are_removed(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    store = Store(work / "store", ROOMY)
    digest, _ = lying.serve(one_file("honest", b"honest"))
    store.pull(registry, "tool", digest)
    half, stray = "1" * 64, "2" * 64
    record = work / "store/root/overlay-layers/layers.json"
    entry = {"id": half, "created": "2999-01-01T00:00:00.123456789Z", "flags": {"incomplete": True}}
    record.write_text(json.dumps([*json.loads(record.read_text()), entry]))
    for name in (half, stray):
        (work / "store/root/overlay" / name / "diff").mkdir(parents=True)
    strays = [record.with_name(".tmp-layers.json1"), record.with_name(f"{stray}.tar-split.gz")]
    for file in strays:
        file.write_text("half")
    strays.append(work / "store/root/overlay/l/STRAY")
    strays[-1].symlink_to("../gone/diff")
    assert store.collect_orphans() == 2
    assert not any(os.path.lexists(file) for file in strays)
    assert not (work / "store/root/overlay" / half).exists()
    assert not (work / "store/root/overlay" / stray).exists()
    assert store.digests() == [digest]
    assert (store.image(digest).layers[0] / "honest").exists()


def test_an_image_that_was_not_named_yet_is_removed(
    lying: HostileRegistry, registry: DockerRegistry, work: Path
) -> None:
    store = Store(work / "store", ROOMY)
    digests = [lying.serve(one_file(name, name.encode()), name)[0] for name in ("v1", "v2")]
    for digest in digests:
        store.pull(registry, "tool", digest)
    store.settle()
    record = work / "store/root/overlay-images/images.json"
    entries = json.loads(record.read_text())
    entries[1]["names"] = []  # a copy was killed before its last step
    record.write_text(json.dumps(entries))
    assert store.digests() == digests[:1]
    assert store.collect_orphans() == 1
    assert json.loads(record.read_text()) == entries[:1]
    assert {file.name for file in record.parent.iterdir() if file.is_dir()} == {entries[0]["id"]}
    assert store.pull(registry, "tool", digests[1]) == digests[1]
    assert (store.image(digests[1]).layers[0] / "v2").read_text() == "v2"
