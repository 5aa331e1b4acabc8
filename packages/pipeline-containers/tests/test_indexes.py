"""Indexes that others pushed: this host's image is taken out of each, in every kind of registry."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hostile_registry import HostileRegistry
from support.images import Image, Layer
from support.pace import paced

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.image import is_digest
from pipeline_containers.images.index import PLATFORMS, Platform, choose, this_host
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.registries.ecr import EcrRegistry
from pipeline_containers.registries.folder import FolderRegistry
from pipeline_containers.registries.registry import Registry
from pipeline_containers.store.store import Store

INDEX = "application/vnd.oci.image.index.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
AMD = PLATFORMS["x86_64"]
OWN = {"os": "linux", "architecture": this_host().architecture}
OTHER = {"os": "linux", "architecture": "s390x" if OWN["architecture"] != "s390x" else "amd64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def entry(name: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": MANIFEST, "digest": digest(name), "size": 100, **fields}


def attested(name: str) -> dict[str, Any]:
    """What buildx puts beside an image."""
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(name),
    }
    return entry(f"attests {name}", annotations=annotations, platform=UNKNOWN)


def on(architecture: str, variant: str = "", system: str = "linux") -> dict[str, Any]:
    said = {"os": system, "architecture": architecture}
    return {"platform": said | ({"variant": variant} if variant else {})}


@pytest.mark.parametrize(
    ("platform", "manifests", "chosen"),
    [
        (AMD, [entry("a", **on("amd64")), attested("a")], "a"),
        (AMD, [attested("a"), entry("a"), attested("a")], "a"),
        (AMD, [entry("a", platform=UNKNOWN), entry("b", **on("amd64"))], "b"),
        (AMD, [entry("a", **on("arm64")), entry("b", **on("amd64"))], "b"),
        (AMD, [entry("a", **on("amd64", "v3")), entry("b", **on("amd64"))], "b"),
        (AMD, [entry("a", **on("amd64", system="windows")), entry("b", **on("amd64"))], "b"),
        (AMD, [entry("a", mediaType="text/html", **on("amd64")), entry("b", **on("amd64"))], "b"),
        (AMD, [None, 3, {}, {"digest": "x"}, entry("a", **on("amd64"))], "a"),
        (PLATFORMS["aarch64"], [entry("a", **on("arm64")), entry("b", **on("arm64", "v8"))], "b"),
        (PLATFORMS["armv7l"], [entry("a", **on("arm", "v6")), entry("b", **on("arm", "v7"))], "b"),
        (PLATFORMS["armv6l"], [entry("a", **on("arm", "v7")), entry("b", **on("arm", "v6"))], "b"),
        (Platform("loong64"), [entry("a", **on("loong64"))], "a"),
    ],
)
def test_this_hosts_image_is_chosen(platform: Platform, manifests: list[Any], chosen: str) -> None:
    assert choose({"manifests": manifests}, platform) == digest(chosen)


@pytest.mark.parametrize(
    ("manifests", "told"),
    [
        ([], "is an index without an image"),
        (3, "is an index without an image"),
        ([attested("a")], "is an index without an image"),
        (
            [entry("a", **on("arm64", "v8")), entry("b", **on("amd64", system="windows"))],
            "has images for linux/arm64/v8, windows/amd64, and none for this host, linux/amd64",
        ),
        ([entry("a", **on("amd64", "v4"))], "none for this host"),
        ([entry("a"), entry("b")], "none for this host"),
        ([entry("a", platform="linux/amd64")], "none for this host"),
        ([entry("a", **on("x" * 500))], r"has images for linux/\?, and none"),
        ([entry("a", **on("\x1b[2J\ud800"))], r"has images for linux/\?, and none"),
        ([entry(str(n), **on(f"a{n}")) for n in range(50)], r"linux/a15, \.\.\., and none"),
    ],
)
def test_an_index_without_an_image_for_this_host(manifests: Any, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        choose({"manifests": manifests}, AMD)


# --- registries


def image(text: str) -> Image:
    return Image((Layer().file("file", text).archive(),))


def layout(folder: Path, kind: str = INDEX) -> tuple[str, str, str]:
    """Write a layout with an index of two images and an attestation under the tag `v1`.

    The index's digest, this host's image's, the other's.
    """
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def add(content: bytes, media: str, **fields: Any) -> dict[str, Any]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"mediaType": media, "digest": f"sha256:{name}", "size": len(content), **fields}

    entries = []
    for text, platform in (("other", OTHER), ("own", OWN)):
        manifest, parts = image(text).packed()
        for part in parts.values():
            add(part, "")
        entries.append(add(manifest, MANIFEST, platform=platform))
    entries.append(add(entries_manifest(entries[1], add), MANIFEST, platform=UNKNOWN))
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    top = add(json.dumps(index).encode(), kind)
    top["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return top["digest"], entries[1]["digest"], entries[0]["digest"]


def entries_manifest(subject: dict[str, Any], add: Callable[..., dict[str, Any]]) -> bytes:
    """Make an attestation's manifest, as BuildKit does."""
    config = add(b"{}", "application/vnd.oci.image.config.v1+json")
    statement = add(b'{"_type": "statement"}', "application/vnd.in-toto+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
    return json.dumps(manifest | {"layers": [statement]}).encode()


def pulled(store: Store, registry: Registry, reference: str) -> tuple[str, str]:
    """Pull; the digest that is recorded, and what is in the image."""
    there = store.pull(registry, "tool", reference, timeout_s=paced(60))
    assert store.has(there)
    return there, (store.image(there).layers[0] / "file").read_text()


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [INDEX, LIST])
def test_a_folder_that_others_wrote(work: Path, kind: str) -> None:
    index, own, other = layout(work / "registry/tool", kind)
    registry = FolderRegistry(work / "registry")
    assert registry.tags("tool") == ["v1"]
    assert registry.digest("tool", "v1") == registry.digest("tool", index) == own
    assert registry.digest("tool", own) == own
    assert registry.digest("tool", other) == other
    assert registry.digest("tool", digest("nothing")) is None
    for number, reference in enumerate(("v1", index, own)):
        assert pulled(Store(work / f"store-{number}"), registry, reference) == (own, "own")
    assert pulled(Store(work / "store"), registry, other)[1] == "other", "named by its own digest"


@pytest.mark.e2e
def test_a_folder_whose_blobs_are_not_what_they_are_called(work: Path) -> None:
    _, own, _ = layout(work / "registry/tool")
    (work / "registry/tool/blobs/sha256" / own.removeprefix("sha256:")).write_text("{}")
    with pytest.raises(RegistryError, match=f"for {own}: push the image again"):
        FolderRegistry(work / "registry").digest("tool", "v1")


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [INDEX, LIST])
def test_a_registry_with_a_server(
    work: Path, lying: HostileRegistry, registry: DockerRegistry, kind: str
) -> None:
    index, own, other = layout(work / "layout", kind)
    for blob in (work / "layout/blobs/sha256").iterdir():
        lying.content[f"sha256:{blob.name}"] = blob.read_bytes()
    lying.content["v1"] = lying.content[index]
    assert registry.digest("tool", "v1") == registry.digest("tool", index) == own
    for number, reference in enumerate(("v1", index, own)):
        assert pulled(Store(work / f"store-{number}"), registry, reference) == (own, "own")
    assert not any(path.endswith(f"/manifests/{other}") for path in lying.requests)


@pytest.mark.e2e
def test_what_was_pushed_is_not_pushed_over(
    work: Path, lying: HostileRegistry, registry: DockerRegistry
) -> None:
    index, own, _ = layout(work / "layout")
    for blob in (work / "layout/blobs/sha256").iterdir():
        lying.content[f"sha256:{blob.name}"] = blob.read_bytes()
    lying.content["v1"] = lying.content[index]
    with pytest.raises(RegistryError, match=f"is there already, as {own}"):
        registry.push(f"oci:{image_layout(work / 'third')}:v1", "tool", "v1")


def image_layout(folder: Path) -> Path:
    """Write a layout of one image."""
    image("third").publish(folder / "registry", "tool", "v1")
    return folder / "layouts/tool-v1"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content, own: content.pop(own), "which is not there: push the image again"),
        (lambda content, own: content.update({own: b"{}"}), "push the image again"),
    ],
)
def test_an_index_that_lies(
    work: Path,
    lying: HostileRegistry,
    registry: DockerRegistry,
    change: Callable[[dict[str, bytes], str], object],
    told: str,
) -> None:
    index, own, _ = layout(work / "layout")
    for blob in (work / "layout/blobs/sha256").iterdir():
        lying.content[f"sha256:{blob.name}"] = blob.read_bytes()
    lying.content["v1"] = lying.content[index]
    change(lying.content, own)
    with pytest.raises(RegistryError, match=told):
        registry.digest("tool", "v1")


@pytest.mark.e2e
def test_an_index_within_an_index(lying: HostileRegistry, registry: DockerRegistry) -> None:
    inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    name = lying.serve_manifest(inner, "inner")
    outer = {"schemaVersion": 2, "mediaType": INDEX}
    one = {"mediaType": INDEX, "digest": name, "size": len(inner)}
    lying.serve_manifest(json.dumps(outer | {"manifests": [one]}).encode(), "v1")
    with pytest.raises(RegistryError, match="an index within an index: push the image itself"):
        registry.digest("tool", "v1")


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [INDEX, LIST, MANIFEST])
def test_amazon_is_asked_what_it_has_and_an_index_is_looked_into(
    work: Path, lying: HostileRegistry, registry: DockerRegistry, kind: str
) -> None:
    """Amazon says of which kind a tag is; its registry is then as any other."""
    index, own, _ = layout(work / "layout")
    for blob in (work / "layout/blobs/sha256").iterdir():
        lying.content[f"sha256:{blob.name}"] = blob.read_bytes()
    lying.content["v1"] = lying.content[index]

    class Client:
        def describe_images(self, **_: object) -> dict[str, Any]:
            return {"imageDetails": [{"imageDigest": index, "imageManifestMediaType": kind}]}

    class Amazon(EcrRegistry):
        def _docker(self) -> DockerRegistry:
            return registry

    amazon = Amazon(Client())  # type: ignore[arg-type]  # no more of it is asked
    asked = amazon.digest("tool", "v1")
    assert asked == (index if kind == MANIFEST else own)
    assert is_digest(str(asked))
    assert bool(lying.requests) is (kind != MANIFEST), "an image needs no second look"
    if kind != MANIFEST:
        assert pulled(Store(work / "store"), amazon, "v1") == (own, "own")
        assert pulled(Store(work / "another"), amazon, index) == (own, "own")
