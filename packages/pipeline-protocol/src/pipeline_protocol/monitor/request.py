"""What is asked over HTTP, taken apart without mercy: a head that is not plain is refused."""

import re
from typing import Final

from msgspec import Struct

_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*)")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class BadHead(Exception):
    """What came is no request; the message says why."""


class Head(Struct, frozen=True):
    """A request without its body, which nobody reads."""

    method: str
    path: str
    """Without the query."""
    host: str
    """In lower case, without the port; an IPv6 address in brackets."""
    token: str
    """What was given as `Authorization: Bearer`; empty: nothing."""


def read_head(data: bytes) -> Head:
    """Take a request's head apart, the empty line included; raises BadHead."""
    line, *headers = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    matched = _LINE.fullmatch(line)
    if matched is None:
        raise BadHead("the first line is no request of HTTP/1.1")
    fields: dict[str, str] = {}
    for header in headers:
        field = _HEADER.fullmatch(header)
        if field is None:
            raise BadHead("a header is malformed")
        name = field[1].lower()
        if name in fields and name in ("host", "authorization"):
            raise BadHead(f"there are two headers {name}")
        fields[name] = field[2].strip()
    host = _HOST.fullmatch(fields.get("host", ""))
    if host is None:
        raise BadHead("the header Host is missing or malformed")
    scheme, _, token = fields.get("authorization", "").partition(" ")
    return Head(
        matched[1],
        matched[2].partition("?")[0],
        host[1].lower(),
        token.strip() if scheme.lower() == "bearer" else "",
    )
