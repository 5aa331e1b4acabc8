"""What a stranger's Dockerfile may not ask for."""

import pytest

from pipeline_containers.building.buildah import image_policy
from pipeline_containers.building.dockerfile import directives, has_mount, refusal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\n# syntax=b", set()),
        ("# syntax=b\nFROM a", {"syntax"}),
        ("# escape=`\n#syntax = b\nFROM a", {"escape", "syntax"}),
        ("\ufeff# SYNTAX=b", {"syntax"}),
        ("# a comment\n# syntax=b", set()),
        ("\n# syntax=b", set()),
    ],
)
def test_directives(text: str, found: set[str]) -> None:
    assert directives(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=bind,source=a,target=/b id",
        "run   --mount=type=cache,target=/b id",
        "ONBUILD RUN --mount=type=bind id",
        "RUN \\\n --mount=type=bind id",
        "RUN --mo\\\nunt=type=bind id",
        "RUN --mo\\\n# a comment\nunt=type=bind id",
        "# escape=`\nRUN --mo`\nunt=type=bind id",
        "RUN --m\\ount=type=bind id",
        'RUN --m""ount=type=bind id',
        "R\\\nUN --mount=x id",
        "ARG A\nRUN --network=none --mount=type=bind id",
    ],
)
def test_mounts_are_found_however_they_are_written(text: str) -> None:
    assert has_mount(text)
    assert "RUN --mount" in refusal(text)
    assert refusal(text, allow_mounts=True) == ""


@pytest.mark.parametrize("text", ["RUN mount", "RUN apt-get install mount", "RUN x --amount=3"])
def test_other_mounts_are_none(text: str) -> None:
    assert not has_mount(text)


def test_foreign_front_ends() -> None:
    assert "foreign front end" in refusal("# syntax=a/b\nFROM a")
    assert refusal("# syntax=a/b\nFROM a", allow_syntax=True) == ""


def test_images_come_from_registries_and_the_own_store() -> None:
    policy = image_policy("/store")
    assert policy["default"] == [{"type": "reject"}]
    assert list(policy["transports"]) == ["docker", "containers-storage"]
    assert list(policy["transports"]["containers-storage"]) == ["[overlay@/store]"]
