"""What is taken from an image's configuration, and which names are names."""

import base64
import json
from pathlib import Path

import pytest

from pipeline_containers.errors import ImageInvalid, StoreError
from pipeline_containers.images.image import (
    ImageConfig,
    is_digest,
    is_repository,
    is_tag,
    parse_config,
)
from pipeline_containers.images.skopeo import parse_tags
from pipeline_containers.images.storage import Storage
from pipeline_containers.store.store import Store
from pipeline_containers.system.json_text import load_json


def test_a_configuration() -> None:
    document = {
        "config": {
            "Env": ["A=1", "B", "=C", 3, "D=\0", "E=\ud800"],
            "User": "app",
            "WorkingDir": "/opt",
            "Entrypoint": ["sh", "\udfff"],
        }
    }
    assert parse_config(document) == ImageConfig(("A=1",), "app", "/opt", ("sh",))


@pytest.mark.parametrize(
    "document", [None, [], {}, {"config": 3}, {"config": {"Env": "x", "User": 1, "Entrypoint": {}}}]
)
def test_a_configuration_that_is_none(document: object) -> None:
    assert parse_config(document) == ImageConfig()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Env", [f"A{number}=" for number in range(30_000)], "30000 entries of Env, and 256 are"),
        ("Env", ["A=" + "x" * 200_000], "200002 bytes of Env, and 65536 are"),
        ("Entrypoint", ["sh"] * 257, "257 entries of Entrypoint, and 256 are"),
        ("Entrypoint", ["é" * 45_000], "90000 bytes of Entrypoint"),
        ("User", "x" * 100_000, "100000 bytes of User"),
        ("WorkingDir", "/x" * 50_000, "100000 bytes of WorkingDir"),
    ],
)
def test_a_configuration_with_too_much_in_a_field(field: str, value: object, said: str) -> None:
    with pytest.raises(ImageInvalid, match=said):
        parse_config({"config": {field: value}})


def test_a_configuration_at_its_bounds() -> None:
    env = [f"A{number}=" for number in range(256)]
    assert parse_config({"config": {"Env": env}}).env == tuple(env)
    assert parse_config({"config": {"User": "x" * 65_536}}).user


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000])
def test_json_that_nests_too_deeply_is_none(content: str) -> None:
    """Wherever a stranger's JSON is read, this is a ValueError as any other."""
    with pytest.raises(ValueError, match="nests too deeply"):
        load_json(content)


def test_a_store_with_a_configuration_that_nests_too_deeply(tmp_path: Path) -> None:
    storage, image = Storage(tmp_path, tmp_path / "run"), "0" * 64
    key = base64.b64encode(f"sha256:{image}".encode()).decode()
    config = tmp_path / "overlay-images" / image / f"={key}"
    config.parent.mkdir(parents=True)
    config.write_text('{"config": ' * 3000 + "1" + "}" * 3000)
    entry = {"id": image, "digest": f"sha256:{image}", "layer": None}
    (tmp_path / "overlay-images/images.json").write_text(json.dumps([entry]))
    with pytest.raises(StoreError, match="nests too deeply"):
        storage.load(image)
    assert storage.layers_of(image) == ()


def test_names() -> None:
    assert is_repository("exercism/ruby-test-runner")
    assert not is_repository("a" * 256)
    assert is_tag("git-" + "0" * 40)
    assert not is_tag("-a")
    assert not is_tag("a\n")
    assert is_digest("sha256:" + "0" * 64)
    assert not is_digest("sha256:" + "0" * 64 + "\n")
    assert not is_digest("sha512:" + "0" * 64)


def test_a_store_whose_records_lie(tmp_path: Path) -> None:
    storage = Storage(tmp_path, tmp_path / "run")
    images = tmp_path / "overlay-images"
    images.mkdir()
    layers = tmp_path / "overlay-layers"
    layers.mkdir()
    image = "0" * 64
    layer = "1" * 64
    entry = {"id": image, "digest": f"sha256:{image}", "layer": layer}
    config = (
        images / image / "=c2hhMjU2OjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"
    )
    (images / "images.json").write_text(json.dumps([entry, 3, {"id": "../../etc"}]))
    assert list(storage.images()) == [(image, f"sha256:{image}")]
    with pytest.raises(StoreError, match="no configuration"):
        storage.load(image)
    assert not config.exists()
    (images / "images.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        list(storage.images())


def test_layers_that_go_round_come_to_an_end(tmp_path: Path) -> None:
    storage = Storage(tmp_path, tmp_path / "run")
    one, two = "1" * 64, "2" * 64
    (tmp_path / "overlay-layers").mkdir()
    records = [{"id": one, "parent": two}, {"id": two, "parent": one}]
    (tmp_path / "overlay-layers/layers.json").write_text(json.dumps(records))
    assert storage.remove_orphans() == 2
    assert json.loads((tmp_path / "overlay-layers/layers.json").read_text()) == []


def test_a_store_folder_that_skopeo_could_not_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="skopeo cannot take"):
        Store(tmp_path / "a:b")


def test_a_registry_s_tags_are_those_that_can_name_one() -> None:
    names = ["v1", "git-0", "a\0b", "\ud800", "", "../x", "x" * 129, 7, None, ["v2"]]
    assert parse_tags(json.dumps({"Tags": names})) == ["v1", "git-0"]
