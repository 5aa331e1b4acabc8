"""Root folders of an image's layers, and how their files come to belong to a container."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.layers import (
    CHANGES,
    LayerIds,
    find_layer_ids,
    give_layer,
    make_changes,
    mount_root,
    take_layer_back,
)
from pipeline_containers.sandbox.host.ids import OWN_ONLY, SUBORDINATE, IdMap, host_range
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system import syscalls
from pipeline_containers.system.mountinfo import mounts_below, unmount

pytestmark = pytest.mark.e2e

EVERY_WAY = pytest.mark.parametrize("way", LayerIds)
DIGEST = "sha256:" + "7" * 64
SCRIPT = """\
#!/bin/sh
cat /private/of-root && stat -c '%u %g %a' /private/of-root /private/of-app /private/tool
printf '{"version": 1, "status": "pass"}' > "$3/results.json"
"""


@pytest.fixture
def user_namespace(first_host_id: int) -> Iterator[int]:
    descriptor = open_user_namespace(first_host_id)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def image(work: Path) -> StoredImage:
    """Make an image as a store unpacks it, with files that only their owners may read."""
    layer = Path(tempfile.mkdtemp(prefix="layer-", dir=work))
    layer.chmod(0o755)
    (layer / "bin").mkdir()
    (layer / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (layer / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "stat"):
        (layer / "bin" / name).symlink_to("busybox")
    tool = layer / "opt/test-runner/bin/run.sh"
    tool.parent.mkdir(parents=True)
    tool.write_text(SCRIPT)
    tool.chmod(0o755)
    (layer / "private").mkdir()
    for name, uid, mode in (("of-root", 0, 0o600), ("of-app", 1000, 0o640), ("tool", 0, 0o4755)):
        file = layer / "private" / name
        file.write_text(f"{name}\n")
        os.chown(file, uid, uid)
        file.chmod(mode)
    return StoredImage(DIGEST, (layer,), ImageConfig())


@pytest.fixture
def run_as(
    work: Path, first_host_id: int, quick_limits: Limits, image: StoredImage
) -> Callable[[LayerIds | None], list[str]]:
    """Run the image's tool with its layers in such a way; the lines that it printed."""

    def do(way: LayerIds | None) -> list[str]:
        with Sandbox(
            work / "sandbox",
            cgroup_parent=f"/{work.name}",
            first_host_id=first_host_id,
            layer_ids=way,
        ) as sandbox:
            kind = TOOLS["test_runner"]
            report = sandbox.run(ToolRun(image, kind, "x", lambda _: None, quick_limits))
        assert report.succeeded, report
        return report.stdout.splitlines()

    return do


SEEN = ["of-root", "0 0 600", "1000 1000 640", "0 0 4755"]


@EVERY_WAY
@pytest.mark.usefixtures("overlay_way")
def test_a_container_sees_the_owners_that_the_image_says(
    way: LayerIds, run_as: Callable[[LayerIds], list[str]]
) -> None:
    assert run_as(way) == SEEN


def test_the_way_that_this_host_can_shows_them_too(
    run_as: Callable[[LayerIds | None], list[str]],
) -> None:
    assert run_as(None) == SEEN


def test_layers_that_were_owned_can_be_mapped_again(
    run_as: Callable[[LayerIds], list[str]], image: StoredImage, first_host_id: int
) -> None:
    """As when a host gets a newer kernel."""
    for way in (LayerIds.OWNED, LayerIds.MAPPED, LayerIds.OWNED, LayerIds.MAPPED):
        assert run_as(way) == SEEN
        owner = (image.layers[0] / "private/of-app").stat().st_uid
        assert owner == (1000 if way is LayerIds.MAPPED else first_host_id + 1000)


@pytest.mark.parametrize("ids", [host_range(1_900_000_000), SUBORDINATE])
def test_giving_can_be_interrupted_anywhere(
    image: StoredImage, ids: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = image.layers[0]
    before = owners(layer)
    chown, count = os.chown, len(before)
    for last in range(count):
        left = last

        def chown_some(path: str, uid: int, gid: int, *, follow_symlinks: bool) -> None:
            nonlocal left
            if left == 0:
                raise InterruptedError
            left -= 1
            chown(path, uid, gid, follow_symlinks=follow_symlinks)

        monkeypatch.setattr(os, "chown", chown_some)
        with suppress(InterruptedError):
            give_layer(layer, ids)
        monkeypatch.undo()
        give_layer(layer, ids)
        assert owners(layer) == {
            path: (ids.given(uid), ids.given(gid), mode)
            for path, (uid, gid, mode) in before.items()
        }
        take_layer_back(layer, ids)
        assert owners(layer) == before


def owners(layer: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in (layer, *layer.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_uid, status.st_gid, status.st_mode)
    return found


def test_a_namespace_of_one_id_leaves_the_owners_that_it_lacks(image: StoredImage) -> None:
    give_layer(image.layers[0], OWN_ONLY)
    assert (image.layers[0] / "private/of-app").stat().st_uid == 1000


@pytest.fixture(params=["detached layers", "attached layers"])
def overlay_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make overlays as this kernel can, and as one before 6.15 does."""

    def refuse(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    if request.param == "attached layers":
        monkeypatch.setattr(syscalls, "new_mount", refuse)


@pytest.mark.usefixtures("overlay_way")
def test_images_of_many_layers(work: Path, user_namespace: int) -> None:
    layers = []
    for number in range(128):
        layer = work / f"a-layer-with-a-name-of-some-length-{number}"
        layer.mkdir()
        (layer / "which").write_text(str(number))
        (layer / f"of-{number}").touch()
        layers.append(layer)
    (target := work / "root").mkdir()
    mount_root(layers, target, user_namespace)
    try:
        assert (target / "which").read_text() == "0"
        assert len(list(target.iterdir())) == 129
        assert os.statvfs(target).f_flag & (os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV) == (
            os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV
        )
        with pytest.raises(OSError, match="Read-only"):
            (target / "new").touch()
        assert list(mounts_below(work)) == [target.resolve()]
    finally:
        unmount(target)


@pytest.mark.usefixtures("overlay_way")
def test_what_is_written_over_many_layers_goes_elsewhere(
    work: Path, user_namespace: int, first_host_id: int
) -> None:
    layers = []
    for number in range(128):
        layer = work / f"a-layer-with-a-name-of-some-length-{number}"
        layer.mkdir()
        (layer / "which").write_text(str(number))
        layers.append(layer)
    (changes := work / "changes").mkdir()
    make_changes(changes, first_host_id, first_host_id)
    (target := work / "root").mkdir()
    mount_root(layers, target, user_namespace, changes=changes)
    try:
        (target / "which").write_text("changed")
        (target / "new").touch()
        assert (target / "which").read_text() == "changed"
        assert (layers[0] / "which").read_text() == "0"
        assert {path.name for path in (changes / CHANGES).iterdir()} == {"which", "new"}
        assert target.stat().st_uid == first_host_id
        assert os.statvfs(target).f_flag & (os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV) == (
            os.ST_NOSUID | os.ST_NODEV
        )
        (mount,) = [line for line in mount_lines() if f" {target} " in line]
        assert str(work) not in mount.split(" - ")[1], "a container reads this of its root"
    finally:
        unmount(target)
    assert list(mounts_below(work)) == []


def mount_lines() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def test_the_first_of_the_ways_that_works_is_taken(
    work: Path, first_host_id: int, user_namespace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = host_range(first_host_id)
    assert find_layer_ids(work, ids, None)[0] is LayerIds.OWNED

    def refuse(mount: int, attributes: int, namespace: int | None = None) -> None:
        if namespace is not None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscalls, "mount_setattr", refuse)
    way, why = find_layer_ids(work, ids, user_namespace)
    assert way is LayerIds.OWNED
    assert "mapped ids: Invalid argument; keep the folder on a file system that can" in why
    assert list(work.iterdir()) == []


def test_what_cannot_be_mounted_is_named_and_leaves_nothing(
    work: Path, user_namespace: int
) -> None:
    (layer := work / "layer").mkdir()
    (target := work / "root").mkdir()
    with pytest.raises(SandboxError, match="missing cannot be mounted: No such file"):
        mount_root((layer, work / "missing"), target, user_namespace)
    with pytest.raises(SandboxError, match="cannot be mounted"):
        mount_root((layer,) * 600, target, user_namespace)  # more than an overlay takes
    assert list(mounts_below(work)) == []
