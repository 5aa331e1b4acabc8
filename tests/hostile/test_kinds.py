"""What analysers, recommenders and representers may leave instead of what is asked of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.kinds import HONEST, KINDS, Kinds
from support.images import Image
from support.processes import machine

from pipeline_containers.sandbox.tools import OutputFile

pytestmark = pytest.mark.e2e

WAYS = {
    "huge": ("yes '{}' | head -c 600000 > FILE", "is larger than"),
    "sparse": ("truncate -s 1099511627776 FILE", "is larger than"),
    "a link to a valid one": ("mv FILE x; ln -s x FILE", "is a link"),
    "a link to a file of the host's": ("ln -sf /etc/passwd FILE", "is a link"),
    "a FIFO": ("rm FILE; mkfifo FILE", "is not a regular file"),
    "a folder": ("rm FILE; mkdir FILE", "is not a regular file"),
    "no text": ("printf '\\377\\376' > FILE", "is not UTF-8"),
}
"""How any file is spoiled, and what is said of it."""
JSON_WAYS = {
    "half of it": ("echo '{\"a\": ' > FILE", ""),
    "a number": ("echo 7 > FILE", "is n"),
    "deep": ("head -c 400000 /dev/zero | tr '\\0' '[' > FILE", "nests too deeply"),
    "not a number": ("echo '{\"a\": NaN}' > FILE", "has NaN"),
}
OWN_WAYS = {
    "analysis.json": {
        "comments of one": ('echo \'{"comments": "x"}\' > FILE', "has comments that are not"),
        "a comment of none": ("echo '{\"comments\": [{}]}' > FILE", "has a comment (number 1)"),
    },
    "mapping.json": {
        "to numbers": ("echo '{\"x\": 1}' > FILE", "maps 'x' to something that is not text"),
        "to objects": ("echo '{\"x\": {}}' > FILE", "maps 'x' to something that is not text"),
    },
}


def ways(output: OutputFile) -> dict[str, tuple[str, str]]:
    missing = {"missing": ("rm FILE", "is missing")} if output.required else {}
    json = JSON_WAYS if output.is_json else {}
    return {**WAYS, **missing, **json, **OWN_WAYS.get(output.file, {})}


CASES = [
    pytest.param(kind, output.file, *way, id=f"{output.file}-{name}".replace(" ", "-"))
    for kind, (_, tool) in KINDS.items()
    for output in tool.outputs
    for name, way in ways(output).items()
]
OPTIONAL = [
    pytest.param(kind, output, id=output.file)
    for kind, (_, tool) in KINDS.items()
    for output in tool.outputs
    if not output.required
]


@pytest.fixture(scope="module")
def kinds(module_folder: Path, hostile_image: Image) -> Iterator[Kinds]:
    with machine(module_folder) as own:
        yield Kinds(own, hostile_image)


@pytest.mark.parametrize(("kind", "file", "spoil", "problem"), CASES)
def test_a_file_that_is_not_what_it_should_be(
    kinds: Kinds, kind: str, file: str, spoil: str, problem: str
) -> None:
    reply = kinds.ask(kind, HONEST + spoil.replace("FILE", file) + "\ntrue")
    assert reply["status"]["code"] == 514, reply
    assert f"{file} {problem}" in reply["status"]["error"]
    assert "root:" not in str(reply)
    assert kinds.honest(kind)
    assert kinds.leaves_nothing(kind)


@pytest.mark.parametrize(("kind", "output"), OPTIONAL)
def test_a_file_that_may_be_missing(kinds: Kinds, kind: str, output: OutputFile) -> None:
    reply = kinds.ask(kind, f"{HONEST}rm {output.file}")
    assert reply["status"]["code"] == 200, reply
    assert reply["response"] == kinds.honest(kind) | {output.field: None}
