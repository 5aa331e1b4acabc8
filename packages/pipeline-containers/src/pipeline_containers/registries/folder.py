"""A registry that is a folder: one OCI image layout for each repository, and no server at all.

    LOCATION/REPOSITORY/oci-layout
    LOCATION/REPOSITORY/index.json      tags, each beside one that is named by the digest
    LOCATION/REPOSITORY/blobs/sha256/   manifests, configurations, layers, by their own digest
    LOCATION/REPOSITORY/lock            held while the index is replaced

The index is written aside, synced and renamed; blobs are named by what they hold, and nothing names
them before they are whole. Layers are kept as they are unpacked: a base that is there already is
not written again, and pulling needs no decompression. Source: the OCI image specification,
`image-layout.md`.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.image import is_digest, is_repository, is_tag
from pipeline_containers.images.index import manifest_for_host, members
from pipeline_containers.images.manifest import MANIFESTS, digest_of, is_index, parse_document
from pipeline_containers.images.skopeo import LOOK_S, CopyWatcher, copy_image, reason, watch_copy
from pipeline_containers.system.command import CancelFlag, Completed, OnLine
from pipeline_containers.system.durable import replace_text
from pipeline_containers.system.json_text import load_json

_NAME = "org.opencontainers.image.ref.name"
_LAYOUT = '{"imageLayoutVersion": "1.0.0"}'
_ASIDE = "aside"
_DOCUMENT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


class FolderRegistry:
    """A folder of OCI image layouts."""

    def __init__(self, location: Path) -> None:
        self._location = location.resolve()
        if ":" in str(self._location):
            raise RegistryError(f"{self._location} has a colon, which skopeo takes for a tag's")

    @property
    def place(self) -> str:
        """Where it is: the folder."""
        return str(self._location)

    def exists(self, repository: str, tag: str) -> bool:
        """Return whether an image with this tag is there, and whole."""
        return self.digest(repository, tag) is not None

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of the image that a tag, or a digest, stands for; None: not there."""
        content = self.manifest(repository, reference)
        return None if content is None else digest_of(content)

    def manifest(
        self,
        repository: str,
        reference: str,
        *,
        timeout_s: float = LOOK_S,
        cancelled: CancelFlag | None = None,
    ) -> bytes | None:
        """Read the manifest of the image that a tag, or a digest, stands for; None: not there."""
        folder = self._repository(repository)
        tags = self._tags(folder)

        def read(under: str) -> bytes | None:
            if not is_digest(under):
                return _read_blob(folder, tags[under]) if under in tags else None
            is_there = under in tags.values() or under in _within_indexes(folder, tags)
            return _read_blob(folder, under) if is_there else None

        return manifest_for_host(reference, read)

    def tags(self, repository: str) -> list[str]:
        """List the tags that people and builds gave, sorted."""
        tags = self._tags(self._repository(repository))
        return sorted(tag for tag, digest in tags.items() if tag != _tag_of(digest))

    def push(
        self,
        source: str,
        repository: str,
        tag: str,
        *,
        timeout_s: float = 900,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> str:
        """Copy an image here; blobs first, each checked, then the index, in one rename."""
        if not is_tag(tag):
            raise RegistryError(f"{tag!r} is not a tag")
        folder = self._repository(repository)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".push-", dir=folder) as aside:
                options = [
                    *("--format", "oci"),
                    *("--dest-shared-blob-dir", str(folder / "blobs")),
                    "--dest-oci-accept-uncompressed-layers",
                ]
                done = copy_image(
                    source,
                    f"oci:{aside}:{tag}",
                    options,
                    timeout_s=timeout_s,
                    on_line=on_line,
                    cancelled=cancelled,
                )
                if not done.ok:
                    raise RegistryError(f"pushing {repository}:{tag} failed: {reason(done)}")
                entry = _find(_read_json(Path(aside) / "index.json"), tag)
            self._check_blobs(folder, entry)
            self._tag(folder, tag, entry)
        except OSError as error:
            raise RegistryError(f"{folder} cannot be written: {error}") from error
        return str(entry["digest"])

    def pull(
        self,
        repository: str,
        digest: str,
        destination: str,
        *,
        timeout_s: float,
        watch: CopyWatcher,
    ) -> Completed:
        """Copy an image of this digest to a place in skopeo's notation; how the copying ended."""
        options = ["--preserve-digests"]
        folder = self._repository(repository)
        if _tag_of(digest) in self._tags(folder):
            source = self.source(repository, digest)
            return watch_copy(source, destination, options, timeout_s=timeout_s, watch=watch)
        # What others pushed has no tag of its own here, or lies within an index: it gets an index
        # of one, aside.
        content = self.manifest(repository, digest)
        if content is None:
            raise RegistryError(f"{folder} has no {digest}: has it been pushed here?")
        with tempfile.TemporaryDirectory(prefix="pipeline-pull-") as aside:
            _write_layout(Path(aside), content)
            return watch_copy(
                f"oci:{aside}:{_ASIDE}",
                destination,
                [*options, "--src-shared-blob-dir", str(folder / "blobs")],
                timeout_s=timeout_s,
                watch=watch,
            )

    def authfile(self, folder: Path) -> Path | None:
        """Give none: a folder is nothing to log in to."""
        return None

    def source(self, repository: str, digest: str) -> str:
        """Name an image of it the way skopeo takes it, which is no digest but a tag."""
        folder = self._repository(repository)
        if _tag_of(digest) not in self._tags(folder):
            raise RegistryError(f"{folder} has no {digest}: has it been built here?")
        return f"oci:{folder}:{_tag_of(digest)}"

    def _repository(self, repository: str) -> Path:
        if not is_repository(repository):
            raise RegistryError(f"{repository!r} is not the name of a repository")
        return self._location / repository

    def _tags(self, folder: Path) -> dict[str, str]:
        """Read tag and digest of every manifest that is there."""
        try:
            index = _read_json(folder / "index.json")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RegistryError(f"{folder} cannot be read: {error}") from error
        tags = {}
        for entry in _manifests(index):
            digest, tag = str(entry.get("digest")), _tag_in(entry)
            if is_tag(tag) and is_digest(digest) and _blob(folder, digest).is_file():
                tags[tag] = digest
        return tags

    def _tag(self, folder: Path, tag: str, entry: dict[str, Any]) -> None:
        """Replace the index by one that has the image, under its tag and under its digest."""
        digest = str(entry["digest"])
        with _locked(folder / "lock"):
            here = self._tags(folder).get(tag)
            if here not in (None, digest):
                raise RegistryError(f"{folder.name}:{tag} is there already, as {here}")
            file = folder / "index.json"
            index = _read_json(file) if file.exists() else {"schemaVersion": 2}
            names = {tag, _tag_of(digest)}
            kept = [other for other in _manifests(index) if _tag_in(other) not in names]
            plain = {key: value for key, value in entry.items() if key != "annotations"}
            added = [plain | {"annotations": {_NAME: name}} for name in sorted(names)]
            replace_text(folder / "oci-layout", _LAYOUT)
            replace_text(file, json.dumps(index | {"manifests": kept + added}))

    def _check_blobs(self, folder: Path, entry: dict[str, Any]) -> None:
        """Hash everything that the manifest names: what was here before may have rotted."""
        manifest = _check_blob(folder, entry, keep=True)
        try:
            document = load_json(manifest)
            parts = [document["config"], *document["layers"]]
            for part in parts:
                _check_blob(folder, part)
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"{entry.get('digest')} is no image manifest: {error}") from error


def _check_blob(folder: Path, part: dict[str, Any], keep: bool = False) -> bytes:
    digest = str(part["digest"])
    if not is_digest(digest):
        raise RegistryError(f"{digest!r} is not a SHA-256 digest")
    content = bytearray()
    hashed = hashlib.sha256()
    with _blob(folder, digest).open("rb") as blob:
        while chunk := blob.read(_CHUNK_BYTES):
            hashed.update(chunk)
            if keep and len(content) < _DOCUMENT_BYTES:
                content += chunk
        os.fsync(blob.fileno())
    if f"sha256:{hashed.hexdigest()}" != digest:
        _blob(folder, digest).unlink()  # so that the next push writes it anew
        raise RegistryError(f"{folder.name}: {digest} does not hold what its name says; push again")
    return bytes(content)


def _read_blob(folder: Path, digest: str) -> bytes | None:
    """Read a manifest, or an index; None: not there."""
    file = _blob(folder, digest)
    try:
        with file.open("rb") as opened:
            return opened.read(_DOCUMENT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RegistryError(f"{file} cannot be read: {error}") from error


def _within_indexes(folder: Path, tags: dict[str, str]) -> set[str]:
    """List the digests of images that have no tag but in an index that has one."""
    found: set[str] = set()
    for digest in set(tags.values()):
        document = parse_document(_read_blob(folder, digest) or b"{}")
        if is_index(document):
            found |= members(document)
    return found


def _write_layout(folder: Path, manifest: bytes) -> None:
    """Write a layout of one image, whose blobs lie elsewhere."""
    entry = {
        "mediaType": parse_document(manifest).get("mediaType", MANIFESTS[0]),
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {_NAME: _ASIDE},
    }
    (folder / "oci-layout").write_text(_LAYOUT)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs/sha256" / digest.removeprefix("sha256:")


def _tag_of(digest: str) -> str:
    return digest.replace(":", "-")


def _find(index: dict[str, Any], tag: str) -> dict[str, Any]:
    for entry in _manifests(index):
        if _tag_in(entry) == tag and is_digest(str(entry.get("digest"))):
            return entry
    raise RegistryError(f"the copied image has no manifest for {tag}")


def _manifests(index: dict[str, Any]) -> list[dict[str, Any]]:
    manifests = index.get("manifests")
    found = manifests if isinstance(manifests, list) else []
    return [entry for entry in found if isinstance(entry, dict)]


def _tag_in(entry: dict[str, Any]) -> str:
    annotations = entry.get("annotations")
    return str(annotations.get(_NAME, "")) if isinstance(annotations, dict) else ""


def _read_json(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        content = opened.read(_DOCUMENT_BYTES + 1)
    try:
        document = load_json(content)
    except ValueError as error:
        raise RegistryError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RegistryError(f"{file} is not a JSON object")
    return document


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
