"""The golden files: where they lie, how they are written, how they are read.

A JSON message is a file of its own: its bytes, and a newline that is not part of it. The link's
headers are msgpack: one text file a direction, and three lines a header: its name, its bytes in
hex, and the same as JSON for people (bytes as base64), which no test reads. They lie in a folder
for each number of `PROTOCOL`; those of earlier numbers stay as they were.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline_protocol import codec
from pipeline_protocol.link import PROTOCOL, FromWorker, ToWorker

from . import examples

FOLDER = Path(__file__).parent / "golden"

JSON: dict[str, Mapping[str, Struct]] = {
    "requests": examples.REQUESTS,
    "replies": examples.REPLIES,
    "progress": examples.PROGRESS,
    "responses": examples.RESPONSES,
}
LINK: dict[str, Mapping[str, FromWorker | ToWorker]] = {
    "from_worker": examples.FROM_WORKER,
    "to_worker": examples.TO_WORKER,
}
DECODE: dict[str, Callable[[bytes], FromWorker | ToWorker]] = {
    "from_worker": codec.decode_from_worker,
    "to_worker": codec.decode_to_worker,
}


def json_file(kind: str, name: str) -> Path:
    return FOLDER / kind / f"{name}.json"


def json_bytes(kind: str, name: str) -> bytes:
    return json_file(kind, name).read_bytes().removesuffix(b"\n")


def link_folder(protocol: int = PROTOCOL) -> Path:
    return FOLDER / f"protocol-{protocol}"


def link_file(direction: str, protocol: int = PROTOCOL) -> Path:
    return link_folder(protocol) / f"{direction}.txt"


def link_bytes(direction: str, protocol: int = PROTOCOL) -> dict[str, bytes]:
    return read_link(link_file(direction, protocol).read_text(encoding="utf-8"))


def read_link(text: str) -> dict[str, bytes]:
    """Return the headers of one of the link's golden files, by name."""
    blocks = text.strip().split("\n\n")
    lines = [block.splitlines() for block in blocks]
    return {name: bytes.fromhex(data) for name, data, _ in lines}


def link_now() -> dict[str, dict[str, bytes]]:
    """Return the link's headers by direction and name, as they should be now."""
    return {
        direction: {name: codec.encode_link(header) for name, header in headers.items()}
        for direction, headers in LINK.items()
    }


def files() -> Iterator[tuple[Path, bytes]]:
    """Every golden file, as it should be now."""
    for kind, messages in JSON.items():
        for name, message in messages.items():
            yield json_file(kind, name), codec.encode_json(message) + b"\n"
    for direction, headers in LINK.items():
        blocks = [
            b"%b\n%b\n%b\n"
            % (
                name.encode(),
                codec.encode_link(header).hex(" ").encode(),
                msgspec.json.encode(header),
            )
            for name, header in headers.items()
        ]
        yield link_file(direction), b"\n".join(blocks)
