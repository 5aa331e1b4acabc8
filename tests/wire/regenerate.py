"""Write the golden files anew: ``uv run python -m tests.wire.regenerate``.

Only when the protocol is meant to change: other people's clients and workers speak the old bytes.
Read the difference, and say it in pipeline-protocol's CHANGELOG.

The link's bytes may only grow under one number of `PROTOCOL` (`skew.py`); else nothing is written,
and the number is to be raised first. A number that no release speaks yet (`tests/compat`) may begin
anew: remove its folder.
"""

import shutil
import sys
from collections.abc import Iterator

from pipeline_protocol.codec import BadMessage

from . import golden, skew


def main() -> None:
    wrong = list(objections())
    if wrong:
        sys.exit("\n".join(("raise PROTOCOL: a peer that speaks this one misunderstands:", *wrong)))
    for folder in golden.JSON:
        shutil.rmtree(golden.FOLDER / folder, ignore_errors=True)
    for path, data in golden.files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def objections() -> list[str]:
    """Name what has changed on the link but must not have."""
    found = []
    for direction, headers in golden.link_now().items():
        if golden.link_file(direction).exists():
            before = golden.link_bytes(direction)
            found += [*skew.objections(before, headers), *unreadable(direction, before)]
    return found


def unreadable(direction: str, before: skew.Headers) -> Iterator[str]:
    """Name what peers say that were built before, but nobody understands now."""
    for name, data in before.items():
        try:
            golden.DECODE[direction](data)
        except BadMessage as error:
            yield f"{name}: {error}"


if __name__ == "__main__":
    main()
