"""Registries with a server: a real one, behind TLS, with passwords."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.registry import RegistryServer, registry_server

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.registries.docker import DockerRegistry, content
from pipeline_containers.registries.login import write_authfile
from pipeline_containers.store.store import Store

Layout = Callable[..., str]
"""Makes an image of one file, and names it the way skopeo takes it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    folder = tmp_path_factory.mktemp("registry")
    with registry_server(folder, {"builder": "secret"}) as running:
        yield running


@pytest.fixture
def trusted(server: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> RegistryServer:
    """The same, with an authority that this host trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.bundle()))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    server.set_users({"builder": "secret"})
    return server


@pytest.fixture
def registry(trusted: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> DockerRegistry:
    """The registry for one whose administrator has logged in."""
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(trusted.login("builder", "secret")))
    return DockerRegistry(f"{trusted.host}/tools")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    def make(text: str, tag: str = "v1") -> str:
        folder = tmp_path / f"layout-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        blobs = folder / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        file = tmp_path / "file"
        file.write_text(text)
        tar = ["tar", "--create", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]
        layer = subprocess.run([*tar, "-C", str(tmp_path), "file"], capture_output=True, check=True)

        def add(content: bytes, kind: str) -> dict[str, object]:
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            media = f"application/vnd.oci.image.{kind}"
            return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

        packed = add(layer.stdout, "layer.v1.tar")
        config = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": [packed["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": add(json.dumps(config).encode(), "config.v1+json"),
            "layers": [packed],
        }
        entry = add(json.dumps(manifest).encode(), "manifest.v1+json")
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        return f"oci:{folder}:{tag}"

    return make


@pytest.mark.e2e
def test_push_look_list_pull(registry: DockerRegistry, layout: Layout, work: Path) -> None:
    assert registry.tags("new") == []
    assert registry.digest("new", "v1") is None
    digest = registry.push(layout("one"), "new", "v1")
    assert registry.digest("new", "v1") == digest
    assert registry.digest("new", digest) == digest
    assert registry.exists("new", "v1")
    assert not registry.exists("new", "v2")
    registry.push(layout("two"), "new", "v2")
    assert registry.tags("new") == ["v1", "v2"]
    store = Store(work / "store")
    assert store.pull(registry, "new", "v1") == digest
    assert (store.image(digest).layers[0] / "file").read_text() == "one"


@pytest.mark.e2e
def test_a_tag_is_given_once(registry: DockerRegistry, layout: Layout) -> None:
    digest = registry.push(layout("one"), "once", "v1")
    assert registry.push(layout("one"), "once", "v1") == digest
    with pytest.raises(RegistryError, match=f"is there already, as {digest}"):
        registry.push(layout("two"), "once", "v1")
    assert registry.digest("once", "v1") == digest


@pytest.mark.e2e
def test_two_who_push_the_same_at_once(registry: DockerRegistry, layout: Layout) -> None:
    source = layout("same")
    with ThreadPoolExecutor(2) as threads:
        pushes = [threads.submit(registry.push, source, "race", "v1") for _ in "ab"]
    assert len({push.result() for push in pushes}) == 1


@pytest.mark.e2e
def test_a_wrong_password_or_none_is_said_and_not_repeated(
    trusted: RegistryServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = DockerRegistry(trusted.host)
    with pytest.raises(RegistryError, match=r"cannot be read: .*authentication required"):
        registry.tags("private")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(trusted.login("stranger", "guessed-it")))
    with pytest.raises(RegistryError, match=r"unauthorized|authentication required") as caught:
        registry.push(layout("one"), "private", "v1")
    assert "guessed-it" not in str(caught.value)


@pytest.mark.e2e
def test_a_server_that_nobody_vouches_for_is_refused(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(RegistryError, match="certificate"):
        DockerRegistry(server.host).digest("any", "v1")


class Renewing:
    """A login whose first token is refused from some moment on."""

    def __init__(self, host: str, *tokens: str) -> None:
        self.host = host
        self.tokens = list(tokens)
        self.renewals = 0

    def authfile(self, folder: Path) -> Path:
        return write_authfile(folder, self.host, self.tokens[0])

    def renew(self) -> bool:
        self.renewals += 1
        del self.tokens[0]
        return True


OLD, NEW = "QVdTOm9sZA==", "QVdTOm5ldw=="  # AWS:old, AWS:new


@pytest.mark.e2e
def test_a_token_that_expires_in_the_middle_of_a_push(
    trusted: RegistryServer, layout: Layout
) -> None:
    trusted.set_users({"AWS": "old"})
    login = Renewing(trusted.host, OLD, NEW)
    lines: list[str] = []

    def expire(line: str) -> None:
        lines.append(line)
        if line.startswith("Copying blob"):
            trusted.set_users({"AWS": "new"})

    registry = DockerRegistry(trusted.host, login)
    digest = registry.push(layout("x" * 100_000), "expiring", "v1", on_line=expire)
    assert login.renewals == 1
    assert sum(line.startswith("Getting image") for line in lines) == 2, "one retry"
    assert registry.digest("expiring", "v1") == digest


@pytest.mark.e2e
def test_one_retry_and_no_more(trusted: RegistryServer, layout: Layout) -> None:
    trusted.set_users({"AWS": "neither"})
    login = Renewing(trusted.host, OLD, NEW, OLD)
    with pytest.raises(RegistryError, match=r"unauthorized|authentication required"):
        DockerRegistry(trusted.host, login).digest("expiring", "v1")
    assert login.renewals == 1


@pytest.mark.e2e
def test_a_registry_that_is_down_and_a_digest_that_is_here(
    registry: DockerRegistry, trusted: RegistryServer, layout: Layout, work: Path
) -> None:
    digest = registry.push(layout("kept"), "kept", "v1")
    store = Store(work / "store", PullLimits(tries=2, pause_s=0.01))
    store.pull(registry, "kept", digest)
    down = DockerRegistry("localhost:1")
    assert store.pull(down, "kept", digest) == digest
    with pytest.raises(RegistryError, match=r"cannot be read: .*refused"):
        store.pull(down, "kept", "v1")
    with pytest.raises(RegistryError, match=r"cannot be read: .*refused"):
        down.push(layout("kept"), "kept", "v1")


@pytest.mark.e2e
def test_a_registry_that_forgets_what_it_was_told(
    registry: DockerRegistry, trusted: RegistryServer, layout: Layout, work: Path
) -> None:
    digest = registry.push(layout("lost"), "lost", "v1")
    data = trusted.folder / "data/docker/registry/v2/blobs/sha256"
    for blob in data.glob("*/*/data"):
        if blob.stat().st_size > 5_000:
            blob.unlink()
    for blob in data.glob("*/*/data"):
        if b"diff_ids" in blob.read_bytes():
            blob.unlink()
    store = Store(work / "store")
    with pytest.raises(RegistryError, match="pulling lost@"):
        store.pull(registry, "lost", digest)
    assert store.digests() == []


@pytest.mark.parametrize(
    "location", ["", "/", "a b", "https://a", "host/../x", "-x", "host/A", "h:"]
)
def test_locations_that_are_no_registry(location: str) -> None:
    with pytest.raises(RegistryError, match="is not a registry"):
        DockerRegistry(location)


@pytest.mark.parametrize("name", ["../a", "A", "-a", "a b", ""])
def test_names_reach_no_command_line_unchecked(name: str) -> None:
    with pytest.raises(RegistryError, match="not the name of a repository"):
        DockerRegistry("localhost:1").tags(name)
    with pytest.raises(RegistryError, match="neither a tag nor a digest"):
        DockerRegistry("localhost:1").digest("a", "--creds=x")
    with pytest.raises(RegistryError, match="is not a tag"):
        DockerRegistry("localhost:1").push("oci:x", "a", "a b")


def test_an_image_is_its_layers_and_how_it_is_run() -> None:
    one = {"rootfs": {"diff_ids": ["a"]}, "config": {"Env": ["A=b"]}, "created": "today"}
    assert content(json.dumps(one)) == content(json.dumps(one | {"created": "never"}))
    for other in ({"rootfs": {"diff_ids": ["b"]}}, {"config": {"User": "app"}}):
        assert content(json.dumps(one)) != content(json.dumps(one | other))
    for text in ("", "[]", "{}", '{"rootfs": 3}'):
        with pytest.raises(RegistryError, match="no image's configuration"):
            content(text)
