"""fetch, mount and gc, as people and scripts call them."""

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.hostile_registry import HostileRegistry, cut
from support.images import Image, Layer
from support.pace import paced

pytestmark = pytest.mark.e2e

COMMAND = (sys.executable, "-c", "import pipeline_containers.cli.root as cli; cli.main()")


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=paced(60))


def answer(*arguments: str | Path) -> dict[str, object]:
    """What a script reads: one object, and nothing beside it."""
    done = call(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture
def places(work: Path) -> tuple[str | Path, ...]:
    return ("--registry", work / "registry", "--store", work / "store")


BASE = (
    Layer()
    .file("base", b"b" * 100_000, uid=1000)
    .file("gone", "x")
    .folder("emptied")
    .file("emptied/old", "x")
    .archive()
)


def publish(work: Path, text: str) -> str:
    """Publish an image on top of the base, under this tag; its digest."""
    layer = Layer().file("text", text).file("tool", "#!/bin/sh\n", 0o4755)
    layer.file(".wh.gone", "").folder("emptied").file("emptied/.wh..wh..opq", "")
    layer.file("emptied/new", "x")
    return Image((BASE, layer.archive())).publish(work / "registry", "tool", text)


def test_fetching_says_what_came_and_what_was_here(
    work: Path, places: tuple[str | Path, ...]
) -> None:
    first, second = publish(work, "v1"), publish(work, "v2")
    got = answer("fetch", "tool:v1", *places)
    assert got.pop("bytes_fetched") > 100_000  # type: ignore[operator]
    assert got == {"digest": first, "layers_fetched": 2, "layers_here": 0}
    got = answer("fetch", f"tool@{second}", *places)
    assert 0 < got.pop("bytes_fetched") < 20_000  # type: ignore[operator]
    assert got == {"digest": second, "layers_fetched": 1, "layers_here": 1}
    got = answer("fetch", "tool:v1", *places)
    assert got == {"digest": first, "bytes_fetched": 0, "layers_fetched": 0, "layers_here": 2}
    told = call("fetch", "tool:v1", *places)
    assert told.stdout == f"{first}\n0 bytes fetched; 0 layers fetched, 2 here already\n"


def test_a_terminal_shows_a_bar_and_a_script_gets_the_object_alone(
    work: Path, places: tuple[str | Path, ...]
) -> None:
    digest = publish(work, "v1")
    terminal, end = pty.openpty()
    command = [*COMMAND, "fetch", "tool:v1", *map(str, places), "--json"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=end, check=True, timeout=paced(60)
    )
    os.close(end)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert "fetching tool" in shown
    assert re.search(r"([0-9]{6})/\1", shown), "all of it"
    assert json.loads(done.stdout)["digest"] == digest


def test_a_fetch_that_failed_goes_on_where_it_was(work: Path, lying: HostileRegistry) -> None:
    top = Layer().file("top", "top").archive()
    digest, (base_layer, top_layer) = lying.serve(Image((BASE, top)))
    lying.tricks[top_layer] = cut(10)
    places = ("--registry", f"docker://{lying.location}", "--store", work / "store")
    failed = call("fetch", "tool:v1", "--tries", "1", *places)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert re.fullmatch(
        rf"error: pulling tool:v1 from {lying.host} failed: .*; check that it is up.*\n",
        failed.stderr,
    )
    lying.tricks.clear()
    got = answer("fetch", "tool:v1", *places)
    assert (got["digest"], got["layers_fetched"], got["layers_here"]) == (digest, 1, 1)
    assert lying.asked_for(base_layer) == 1


def test_an_image_is_looked_at_read_only(work: Path, places: tuple[str | Path, ...]) -> None:
    digest = publish(work, "v1")
    call("fetch", "tool:v1", *places)
    store, root = places[2:], work / "root"
    assert call("mount", digest, root, *store).stdout == f"{root}\n"
    try:
        assert sorted(os.listdir(root)) == ["base", "emptied", "text", "tool"]
        assert os.listdir(root / "emptied") == ["new"], "what was removed is gone"
        assert (root / "base").stat().st_uid == 1000
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").write_text("new")
        options = Path("/proc/self/mountinfo").read_text()
        assert re.search(rf" {root} ro,nosuid,nodev,.* overlay {digest}@[0-9a-f-]+ ", options)
        again = call("mount", digest, root, *store)
        assert again.returncode == 1
        assert "is not empty" in again.stderr
        kept = answer("gc", *store)
        assert (kept["removed"], kept["kept"]) == ([], [digest]), "it is being looked at"
    finally:
        assert answer("mount", "--unmount", root) == {"digest": digest, "unmounted": str(root)}
    assert os.listdir(root) == []
    assert answer("gc", *store)["removed"] == [digest]
    again = call("mount", "--unmount", root)
    assert again.returncode == 1
    assert again.stderr == f"error: no image is mounted at {root}\n"


def test_an_image_of_one_layer_can_be_looked_at(work: Path, places: tuple[str | Path, ...]) -> None:
    digest = Image((BASE,)).publish(work / "registry", "tool", "v1")
    call("fetch", "tool:v1", *places)
    assert call("mount", digest, work / "root", *places[2:]).returncode == 0
    assert sorted(os.listdir(work / "root")) == ["base", "emptied", "gone"]
    assert call("mount", "--unmount", work / "root").stdout == f"unmounted {work / 'root'}\n"


def test_what_is_mounted_keeps_no_other_stores_copy(
    work: Path, places: tuple[str | Path, ...]
) -> None:
    """Several workers of a host have a store each, and the same images."""
    digest = publish(work, "v1")
    other = ("--store", work / "other")
    call("fetch", "tool:v1", *places)
    call("fetch", "tool:v1", *places[:2], *other)
    assert call("mount", digest, work / "root", *places[2:]).returncode == 0
    try:
        assert answer("gc", *other)["removed"] == [digest]
        assert answer("gc", *places[2:])["kept"] == [digest]
    finally:
        assert call("mount", "--unmount", work / "root").returncode == 0


def test_collecting_says_what_it_removes_and_what_comes_back(
    work: Path, places: tuple[str | Path, ...]
) -> None:
    first, second = publish(work, "v1"), publish(work, "v2")
    for tag in ("v1", "v2"):
        call("fetch", f"tool:{tag}", *places)
    store = places[2:]
    would = answer("gc", "--keep", second, "--dry-run", *store)
    assert (would["removed"], would["kept"], would["layers"]) == ([first], [second], 1)
    before = used_bytes(work / "store")
    did = answer("gc", "--keep", second, *store)
    assert did == would | {"dry_run": False}, "it does what it said it would"
    back = before - used_bytes(work / "store")
    assert 0 < did["bytes"] <= back  # type: ignore[operator] # records shrink beside the layers
    told = call("gc", *store).stdout.splitlines()
    assert told[0] == f"removed {second}"
    assert re.fullmatch(r"removed 2 layers, \d+ bytes", told[1])
    assert call("gc", *store).stdout == "removed 0 layers, 0 bytes\n"


def used_bytes(folder: Path) -> int:
    done = subprocess.run(["du", "-sB1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def test_what_a_failed_fetch_left_is_collected_too(work: Path, lying: HostileRegistry) -> None:
    _, (_, top_layer) = lying.serve(Image((BASE, Layer().file("top", "top").archive())))
    del lying.content[top_layer]
    store = ("--store", work / "store")
    assert call("fetch", "tool:v1", "--registry", f"docker://{lying.location}", *store).returncode
    got = answer("gc", *store)
    assert (got["removed"], got["layers"]) == ([], 1)
    assert got["bytes"] > 100_000  # type: ignore[operator]


def test_a_worker_s_store_is_its_own_to_collect(work: Path, places: tuple[str | Path, ...]) -> None:
    digest = publish(work, "v1")
    call("fetch", "tool:v1", *places)
    with (work / "lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("worker-1 (process 12345)\n")
        lock.flush()
        refused = call("gc", *places[2:])
    assert refused.returncode == 1
    assert "belongs to worker-1 (process 12345), which collects" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert answer("gc", *places[2:])["removed"] == [digest]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("fetch", "tool"), 2, "neither REPOSITORY:TAG nor REPOSITORY@sha256"),
        (("fetch", "../tool:v1"), 2, "neither REPOSITORY:TAG"),
        (("fetch", "tool@v1"), 2, "neither REPOSITORY:TAG"),
        (("fetch", "tool:v9"), 1, "tool has no v9: build it first"),
        (("mount",), 2, "give DIGEST and FOLDER"),
        (("mount", "v1", "x"), 2, "is not sha256"),
        (("mount", f"sha256:{'0' * 64}", "x", "--unmount", "y"), 2, "give either"),
        (("mount", f"sha256:{'0' * 64}", "/tmp/x"), 1, "pull it first"),
        (("gc", "--keep", "v1"), 2, "is not sha256"),
        (("gc", "--keep", f"sha256:{'0' * 64}"), 1, "nothing was removed"),
    ],
)
def test_wrong_calls_are_told_so(
    work: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    (work / "store").mkdir()
    options: list[str | Path] = ["--store", work / "store"]
    if arguments[0] == "fetch":
        options += ["--registry", work / "registry"]
    done = call(*arguments, *options)
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr


def test_a_store_that_is_not_there_is_not_collected(work: Path) -> None:
    done = call("gc", "--store", work / "none")
    assert done.returncode == 1
    assert "is not there: name a store's folder" in done.stderr
    assert not (work / "none").exists()


def test_only_root_can_mount(work: Path, places: tuple[str | Path, ...]) -> None:
    digest = publish(work, "v1")
    call("fetch", "tool:v1", *places)
    without = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--")
    command = [*without, *COMMAND, "mount", digest, str(work / "root"), "--store"]
    command.append(str(work / "store"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=paced(60))
    assert done.returncode == 1
    assert done.stderr == f"error: {digest} cannot be mounted: only root can mount\n"
