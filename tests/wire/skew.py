"""What a change of the link's bytes means to a peer of the same `PROTOCOL`, built before it.

Such a peer ignores what stands at the end of an array or under a new key of a map, and has defaults
for what is missing there. Everything else, a new tag too, it misunderstands: that takes a new
number.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Headers = Mapping[str, bytes]
"""Golden headers of one direction, by name."""


def objections(before: Headers, now: Headers) -> Iterator[str]:
    """Name what a peer that speaks as `before` would misunderstand, or could not be understood in.

    All examples of before must be there still: what is shown by none is held to nothing.
    """
    unpacked = {name: msgspec.msgpack.decode(data) for name, data in now.items()}
    tags = set()
    for name, data in before.items():
        header = msgspec.msgpack.decode(data)
        tags.add(header[0])
        if name not in unpacked:
            yield f"{name}: this example is gone"
        else:
            yield from _changed(header, unpacked[name], name)
    for name, header in unpacked.items():
        if header[0] not in tags:
            yield f"{name}: the tag {header[0]!r} is new"


def _changed(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, list) and isinstance(now, list) and len(before) <= len(now):
        for place, value in enumerate(before):
            yield from _changed(value, now[place], f"{where}[{place}]")
    elif isinstance(before, dict) and isinstance(now, dict):
        for key, value in before.items():
            if key in now:
                yield from _changed(value, now[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} is gone"
    elif type(before) is not type(now) or before != now:
        yield f"{where}: {before!r} has become {now!r}"
