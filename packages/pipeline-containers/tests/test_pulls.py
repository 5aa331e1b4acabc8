"""Pulls that go wrong: what an operator is told, what is left, and what the next try fetches."""

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.hostile_registry import (
    HostileRegistry,
    Trick,
    cut,
    endless,
    fail,
    hang,
    lying_registry,
    once,
    say,
)
from support.images import Image, Layer
from support.pace import paced
from support.registry import registry_server

from pipeline_containers.errors import RegistryError, StoreError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.registries.kinds import open_registry
from pipeline_containers.store.progress import PullProgress
from pipeline_containers.store.store import Store
from pipeline_containers.system.mountinfo import mounts_below
from pipeline_containers.system.units import MIB

pytestmark = pytest.mark.e2e

QUICK = PullLimits(free_bytes=0, free_files=0, tries=2, pause_s=0.01, stall_s=paced(0.5))
"""Limits that tests reach quickly."""


@pytest.fixture
def store(work: Path) -> Store:
    return Store(work / "store", QUICK)


def layer(name: str, size: int = 0) -> bytes:
    """A layer with one file, which compresses to about its size."""
    content = random.Random(name).randbytes(size) if size else name.encode()
    return Layer().file(name, content).archive()


def image(*names: str, size: int = 0) -> Image:
    return Image(tuple(layer(name, size) for name in names))


def left_behind(store: Store) -> list[str]:
    """All that lies in a store which is no image, nor a whole layer."""
    whole = set(store.folder.glob("root/overlay-layers/*.tar-split.gz"))
    names = {file.name.removesuffix(".tar-split.gz") for file in whole}
    layers = store.folder.glob(f"root/overlay/{'[0-9a-f]' * 64}")
    halves = [place for place in layers if place.name not in names]
    return [str(place) for place in (*halves, *store.folder.glob("tmp/*"))]


def manifest_of(lying: HostileRegistry, change: Callable[[dict[str, Any]], object]) -> str:
    """Serve an image's manifest, changed; its digest."""
    lying.serve(image("one", "two"))
    document = json.loads(lying.content["v1"])
    change(document)
    return lying.serve_manifest(json.dumps(document).encode())


def changed_layer(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["layers"][1].update(fields)


OTHER = layer("other")
BLOBS = (
    ("other bytes than its digest says", say(OTHER), "is not what was pushed: push the image"),
    ("an end before its end", cut(100), "EOF|[Uu]nexpected"),
    ("an end before its beginning", cut(0), "EOF|[Uu]nexpected"),
    ("bytes without an end", endless, "it sends more than the .* bytes that it announced"),
    ("silence", hang(), f"nothing came for {paced(0.5):g} s"),
    (
        "silence in the middle",
        hang(100),
        rf"nothing came for {paced(0.5):g} s, after \d+ bytes of \d+; check",
    ),
    ("nothing", fail(404), "is not there any more: push it again"),
    ("an error", fail(500), "in trouble itself: see its log"),
    ("a refusal", fail(403), "log in again"),
    ("a way elsewhere", fail(307, Location="http://127.0.0.1:1/x"), "connection refused"),
    ("a way to itself", fail(307, Location="/v2/x/blobs/again"), "leads in a circle"),
)


@pytest.mark.parametrize(
    ("trick", "told"), [pytest.param(trick, told, id=name) for name, trick, told in BLOBS]
)
def test_a_layer_that_comes_as_it_should_not(
    lying: HostileRegistry, registry: DockerRegistry, work: Path, trick: Trick, told: str
) -> None:
    is_silent = told.startswith("nothing came")
    store = Store(work / "store", QUICK if is_silent else replace(QUICK, stall_s=paced(10)))
    honest, _ = lying.serve(image("base", "honest"), "honest")
    store.pull(registry, "tool", honest)
    digest, (_, bad) = lying.serve(image("base", "bad"))
    lying.tricks[bad] = trick
    lying.tricks["again"] = trick
    with pytest.raises(RegistryError, match=told) as caught:
        store.pull(registry, "tool", digest)
    assert f"pulling tool@{digest} from {lying.host} failed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.digests() == [honest]
    assert (store.image(honest).layers[0] / "honest").read_text() == "honest"
    assert left_behind(store) == []
    lying.tricks.clear()
    assert store.pull(registry, "tool", digest) == digest, "the honest way is open again"


MANIFESTS = (
    ("not JSON", say(b"{"), "is not JSON"),
    ("no object", say(b"[]"), "not an object"),
    ("nested without an end", say(b'{"a":' * 100_000), "is not JSON"),
    ("endless", endless, "exceed|too large|too big|more than"),
    ("silence", hang(), "timed out|took longer"),
    ("an error", fail(503), "in trouble itself: see its log"),
    ("a refusal", fail(401), "log in again"),
    ("too many requests", fail(429, Retry_After="1"), "ask it less often|took longer"),
    ("a way in a circle", fail(307, Location="/v2/tool/manifests/again"), "in a circle"),
)


@pytest.mark.parametrize(
    ("trick", "told"), [pytest.param(trick, told, id=name) for name, trick, told in MANIFESTS]
)
def test_a_manifest_that_comes_as_it_should_not(
    lying: HostileRegistry, registry: DockerRegistry, store: Store, trick: Trick, told: str
) -> None:
    lying.serve(image("one"))
    lying.tricks["manifests"] = trick
    with pytest.raises((RegistryError, StoreError), match=told) as caught:
        store.pull(registry, "tool", "v1", timeout_s=paced(3))
    assert f"pulling tool:v1 from {lying.host} failed" in str(caught.value)
    assert store.digests() == left_behind(store) == []


CONTENTS = (
    (lambda document: document.update(layers=3), "names no layers"),
    (lambda document: document.update(schemaVersion=1), "is no image"),
    (lambda document: document.update(mediaType="text/html"), "of kind 'text/html'"),
    (
        lambda document: document.update(
            mediaType="application/vnd.oci.image.index.v1+json", manifests=[]
        ),
        "is an index without an image: push the image itself",
    ),
    (lambda document: document.update(layers=document["layers"] * 65), "has 130 layers, and 128"),
    (lambda document: document.update(config=None), "is of kind None"),
    (
        lambda document: document["config"].update(size=2**40),
        "has 1099511627776 bytes, and 1048576 are allowed",
    ),
    (changed_layer(size=2**60), "has 1152921504606.* bytes, and 10737418240 are allowed"),
    (changed_layer(size=-1), "has no size but -1"),
    (changed_layer(size="1"), "has no size but '1'"),
    (changed_layer(size=True), "has no size but True"),
    (changed_layer(digest="sha512:00"), "no SHA-256 digest"),
    (changed_layer(urls=["http://169.254.169.254/"]), "lies elsewhere.*nothing is fetched"),
    (changed_layer(mediaType="application/vnd.oci.image.layer.v1.tar+x"), "which is not taken"),
    (
        changed_layer(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        "which is not taken",
    ),
)


@pytest.mark.parametrize(("change", "told"), CONTENTS)
def test_a_manifest_that_asks_for_too_much_is_refused_before_a_byte_is_fetched(
    lying: HostileRegistry,
    registry: DockerRegistry,
    store: Store,
    change: Callable[[dict[str, Any]], object],
    told: str,
) -> None:
    digest = manifest_of(lying, change)
    with pytest.raises(RegistryError, match=told):
        store.pull(registry, "tool", digest)
    assert not any("/blobs/" in path for path in lying.requests)


def test_a_manifest_other_than_the_digest_that_was_asked_for(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    wanted, _ = lying.serve(image("wanted"))
    other, _ = lying.serve(image("other"), "v2")
    lying.content[wanted] = lying.content[other]
    with pytest.raises(RegistryError, match=f"it gives {other} for {wanted}"):
        store.pull(registry, "tool", wanted)
    assert store.digests() == []


def test_a_manifest_that_changes_between_two_looks(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    wanted, _ = lying.serve(image("wanted"))
    other, _ = lying.serve(image("other"), "v2")
    lying.tricks["manifests/v1"] = once(
        say(lying.content[wanted], "application/vnd.oci.image.manifest.v1+json"), "manifests/v1"
    )
    lying.content[wanted] = lying.content[other]
    with pytest.raises(RegistryError, match="push the image again"):
        store.pull(registry, "tool", "v1")
    assert store.digests() == []


def test_an_image_that_is_not_there_is_not_asked_for_twice(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    with pytest.raises(RegistryError, match="tool has no v9: build it first"):
        store.pull(registry, "tool", "v9")
    assert sum("manifests" in path for path in lying.requests) == 1


def test_a_certificate_for_another_name(
    work: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_server(work, {}, name="elsewhere.example") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.file))
        registry = DockerRegistry(server.host.replace("elsewhere.example", "localhost"))
        with pytest.raises(RegistryError, match=r"valid for elsewhere.example.*SSL_CERT_FILE"):
            store.pull(registry, "tool", "v1")


def test_the_next_try_fetches_only_what_is_missing(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    digest, layers = lying.serve(image("one", "two", "three"))
    whole = cut(100)
    lying.tricks[layers[2]] = whole
    with pytest.raises(RegistryError):
        store.pull(registry, "tool", digest)
    assert lying.asked_for(layers[2]) >= QUICK.tries, "a broken line is tried again"
    first = [lying.asked_for(layer) for layer in layers[:2]]
    assert first == [1, 1], "and what is here stays here between the tries"
    lying.tricks.clear()
    again = Store(store.folder, QUICK)  # the worker was started anew
    progress: list[PullProgress] = []
    assert again.pull(registry, "tool", digest, progress.append) == digest
    assert [lying.asked_for(layer) for layer in layers[:2]] == first
    total = len(lying.content[layers[2]])
    assert {one.bytes_total for one in progress} == {total}


@pytest.mark.parametrize("trick", [cut(1000), hang(1000), fail(502)])
def test_a_break_in_the_middle_is_got_over_within_one_pull(
    lying: HostileRegistry, registry: DockerRegistry, store: Store, trick: Trick
) -> None:
    digest, layers = lying.serve(image("one", "two", size=100_000))
    lying.tricks[layers[1]] = once(trick, layers[1])
    assert store.pull(registry, "tool", digest) == digest
    assert lying.asked_for(layers[0]) == 1


def test_a_registry_that_is_down_for_a_moment(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    digest, _ = lying.serve(image("one"))
    lying.tricks["manifests"] = once(fail(503), "manifests")
    assert store.pull(registry, "tool", "v1") == digest


def test_progress_is_what_has_arrived(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    digest, layers = lying.serve(image("large", size=4 * MIB))
    size = len(lying.content[layers[0]])
    seen = threading.Event()
    progress: list[PullProgress] = []

    def halves(exchange: Any) -> None:
        content = exchange.honest()
        exchange.begin(200, "x/x", Content_Length=str(len(content)))
        exchange.wfile.write(content[: size // 2])
        exchange.wfile.flush()
        assert seen.wait(paced(30)), "nobody saw the half"
        exchange.wfile.write(content[size // 2 :])

    def look(now: PullProgress) -> None:
        progress.append(now)
        if now.bytes_done > size // 3:
            seen.set()

    lying.tricks[layers[0]] = halves
    patient = Store(store.folder, PullLimits(free_bytes=0))
    patient.pull(registry, "tool", digest, look)
    percents = [now.percent for now in progress]
    assert percents[0] == 0
    assert any(33 <= percent <= 50 for percent in percents)
    assert percents == sorted(percents)
    assert [percent == 100 for percent in percents] == [False] * (len(percents) - 1) + [True]
    assert progress[-1] == PullProgress(size, size)


def test_a_layer_that_two_images_want_at_once_is_fetched_once(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    base = image("base", size=MIB)
    both = [
        lying.serve(Image((*base.layers, layer(name))), name)[0] for name in ("first", "second")
    ]
    shared = json.loads(lying.content[both[0]])["layers"][0]["digest"]
    asked, go_on = threading.Event(), threading.Event()

    def slowly(exchange: Any) -> None:
        asked.set()
        assert go_on.wait(paced(30))
        exchange.send(exchange.honest())

    lying.tricks[shared] = slowly
    patient = Store(store.folder, PullLimits(free_bytes=0))
    waits = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(patient.pull, registry, "tool", both[0])
        assert asked.wait(paced(30))
        second = threads.submit(patient.pull, registry, "tool", both[1], lambda _: waits.set())
        assert waits.wait(paced(30)), "the second knows what it wants"
        go_on.set()
        assert [first.result(), second.result()] == both
    assert lying.asked_for(shared) == 1
    one, two = (patient.image(digest).layers for digest in both)
    assert one[-1] == two[-1]


def test_a_pull_that_waits_for_another_can_be_cancelled(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    base = image("base")
    both = [
        lying.serve(Image((*base.layers, layer(name))), name)[0] for name in ("first", "second")
    ]
    shared = json.loads(lying.content[both[0]])["layers"][0]["digest"]
    lying.tricks[shared] = hang()
    patient = Store(store.folder, PullLimits(free_bytes=0))
    waits, cancelled = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(patient.pull, registry, "tool", both[0], cancelled=cancelled)
        while not lying.asked_for(shared):
            assert not waits.wait(0.01)
        second = threads.submit(
            patient.pull, registry, "tool", both[1], lambda _: waits.set(), cancelled=cancelled
        )
        assert waits.wait(paced(30))
        cancelled.set()
        for pull in (first, second):
            with pytest.raises(StoreError, match="cancelled"):
                pull.result()
    assert patient.digests() == left_behind(patient) == []


def test_a_login_that_expires_while_an_image_is_pulled(
    lying: HostileRegistry, store: Store, tmp_path: Path
) -> None:
    class Login:
        renewals = 0

        def authfile(self, folder: Path) -> Path | None:
            return None

        def renew(self) -> bool:
            self.renewals += 1
            lying.tricks.clear()
            return True

    login = Login()
    digest, layers = lying.serve(image("one", "two"))
    lying.tricks[layers[1]] = fail(401)
    registry = DockerRegistry(lying.location, login)
    assert store.pull(registry, "tool", digest) == digest
    assert login.renewals == 1
    assert lying.asked_for(layers[0]) == 1


def test_a_pull_may_take_so_long_and_no_longer(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    digest, layers = lying.serve(image("one", size=MIB))
    lying.tricks[layers[0]] = hang(1000)
    patient = Store(store.folder, PullLimits(free_bytes=0))
    with pytest.raises(StoreError, match=r"took longer than it may: it had \d+ bytes of \d+"):
        patient.pull(registry, "tool", digest, timeout_s=paced(1))
    assert left_behind(patient) == []


def test_what_a_killed_copy_had_mounted_is_not_left(
    lying: HostileRegistry,
    registry: DockerRegistry,
    store: Store,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """skopeo mounts overlays to see what its storage can do; one that did only that stands in."""
    digest, _ = lying.serve(image("one"))
    store.pull(registry, "tool", digest)
    (programs := work / "bin").mkdir()
    (place := work / "place").mkdir()
    (programs / "skopeo").write_text(
        f'#!/bin/sh\ncase "$*" in *" copy "*) mount -t tmpfs x {place}; sleep 600 ;; esac\n'
        f'exec {shutil.which("skopeo")} "$@"\n'
    )
    (programs / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    other, _ = lying.serve(image("two"))
    with pytest.raises((RegistryError, StoreError)):
        store.pull(registry, "tool", other)
    assert list(mounts_below(work)) == []


def test_whole_layers_of_a_failed_pull_stay_for_as_long_as_somebody_may_come_back_for_them(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    def whole_layers() -> int:
        return len(list(store.folder.glob("root/overlay/*/diff")))

    def age(seconds: float) -> None:
        for file in store.folder.glob("unfinished/*"):
            os.utime(file, (time.time() - seconds,) * 2)

    digest, layers = lying.serve(image("one", "two"))
    lying.tricks[layers[1]] = fail(404)
    for _ in range(2):
        with pytest.raises(RegistryError):
            store.pull(registry, "tool", digest)
    assert lying.asked_for(layers[0]) == 1
    age(3000)
    store.collect(keep=[digest])
    assert whole_layers() == 1, "it is wanted, and may be tried again"
    store.collect(keep=[])
    assert whole_layers() == 0, "it is not wanted any more"
    with pytest.raises(RegistryError):
        store.pull(registry, "tool", digest)
    assert whole_layers() == 1
    age(4000)
    store.collect(keep=[digest])
    assert whole_layers() == 0, "nobody came back"
    assert list(store.folder.glob("unfinished/*")) == []


def test_a_folder_as_a_registry_keeps_to_the_same_limits(work: Path, store: Store) -> None:
    digest = image("one", "two").publish(work / "registry", "tool", "v1")
    registry = open_registry("folder", str(work / "registry"))
    small = Store(store.folder, PullLimits(free_bytes=0, layers=1))
    with pytest.raises(RegistryError, match="has 2 layers, and 1 are allowed"):
        small.pull(registry, "tool", "v1")
    progress: list[PullProgress] = []
    assert store.pull(registry, "tool", "v1", progress.append) == digest
    assert progress[-1].percent == 100
    blob = work / "registry/tool/blobs/sha256" / digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes() + b" ")
    with pytest.raises(RegistryError, match=f"it gives sha256:.* for {digest}"):
        Store(work / "another", QUICK).pull(registry, "tool", digest)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has what is to be left out")
def test_nothing_of_a_registry_is_asked_when_the_image_is_here(
    lying: HostileRegistry, registry: DockerRegistry, store: Store
) -> None:
    digest, _ = lying.serve(image("one"))
    store.pull(registry, "tool", digest)
    lying.requests.clear()
    progress: list[PullProgress] = []
    assert store.pull(registry, "tool", digest, progress.append) == digest
    assert lying.requests == []


@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_what_a_registry_leads_to_elsewhere_is_shown_to_nobody(
    lying: HostileRegistry, registry: DockerRegistry, store: Store, what: str
) -> None:
    digest, _ = lying.serve(image("one"))
    with lying_registry() as metadata:
        metadata.tricks["credentials"] = say(b"hush-hush")
        lying.tricks[what] = fail(307, Location=f"{metadata.location}/latest/credentials")
        with pytest.raises(RegistryError) as caught:
            store.pull(registry, "tool", digest)
        assert any("credentials" in path for path in metadata.requests), "it was led there"
    assert "hush" not in str(caught.value)
    assert not [
        file for file in store.folder.rglob("*") if file.is_file() and b"hush" in file.read_bytes()
    ]
