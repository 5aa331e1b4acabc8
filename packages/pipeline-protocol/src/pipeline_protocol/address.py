"""Where a worker finds its router, and what it serves there, in one line.

``tcp://localhost:5555/test_runners?topic=ruby&topic=crystal``
"""

import re
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from msgspec import Struct

from pipeline_protocol.channels import channel_named
from pipeline_protocol.names import Slug

# A name, an IPv4 or an IPv6 address with or without a zone. Not '*': that is no place to call.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")


class BadAddress(ValueError):
    """An address that is of no use; the message says what is wrong and shows a good one."""


class RouterAddress(Struct, frozen=True):
    """The router's front end: ``tcp://HOST:PORT``."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "RouterAddress":
        """Read ``tcp://HOST:PORT``; raises BadAddress otherwise."""
        address, rest = _split(text, "tcp://localhost:5555")
        if rest.path not in ("", "/") or rest.query or rest.fragment:
            raise BadAddress(f"{text!r}: a router's address ends after its port")
        return address

    def endpoint(self, port: int | None = None) -> str:
        """Return the ZeroMQ end point, with another port of the same host if given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port if port is None else port}"

    def __str__(self) -> str:
        return self.endpoint()


class WorkerAddress(Struct, frozen=True):
    """A router's address, the channel that a worker serves there, and its topics."""

    router: RouterAddress
    channel: str
    topics: tuple[str, ...] = ()
    """Tracks that a scoped worker keeps to, in the order given; none: generic."""

    @classmethod
    def parse(cls, text: str) -> "WorkerAddress":
        """Read ``tcp://HOST:PORT/CHANNEL?topic=TRACK``; raises BadAddress otherwise."""
        example = "tcp://localhost:5555/test_runners?topic=ruby"
        router, rest = _split(text, example)
        name = rest.path.removeprefix("/")
        if not name:
            raise BadAddress(f"{text!r} names no channel: write it like {example}")
        if rest.fragment:
            raise BadAddress(f"{text!r}: '#' has no meaning here")
        try:
            channel = channel_named(name)
            query = parse_qsl(
                rest.query,
                keep_blank_values=True,
                strict_parsing=bool(rest.query),
                max_num_fields=100,
            )
        except ValueError as error:
            raise BadAddress(f"{text!r}: {error}") from None
        topics = dict.fromkeys(_topic(text, key, value) for key, value in query)
        if topics and not channel.scopable:
            raise BadAddress(f"{text!r}: {channel.name} serve all tracks, topic= is not for them")
        return cls(router, channel.name, tuple(topics))

    def __str__(self) -> str:
        query = "&".join(f"topic={quote(topic)}" for topic in self.topics)
        return f"{self.router}/{self.channel}" + (f"?{query}" if query else "")


class _Rest(Struct):
    path: str
    query: str
    fragment: str


def _split(text: str, example: str) -> tuple[RouterAddress, _Rest]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"{text!r}: {error}; write it like {example}") from None
    blank = " " in text or not text.isprintable()  # urlsplit drops some, without a word
    host = parts.hostname or ""
    named = _HOST.fullmatch(host) and parts.username is None
    if parts.scheme != "tcp" or not named or not port or blank:
        raise BadAddress(f"{text!r} is not an address: write it like {example}")
    return RouterAddress(host, port), _Rest(parts.path, parts.query, parts.fragment)


def _topic(text: str, key: str, value: str) -> str:
    if key != "topic":
        raise BadAddress(f"{text!r}: unknown option {key!r}; only topic=TRACK is known")
    try:
        return msgspec.convert(value, Slug)
    except msgspec.ValidationError:
        raise BadAddress(
            f"{text!r}: topic {value!r} is not a track (small letters, digits and '-')"
        ) from None
