"""Bytes to structs and back; bytes that are of no use raise `BadRequest` or `BadMessage`."""

from contextlib import suppress
from typing import Any, Union

import msgspec
from msgspec import Raw, Struct

from pipeline_protocol import status
from pipeline_protocol.link import PROTOCOL, FromWorker, ToWorker, mismatch
from pipeline_protocol.names import Identity, described, nearest
from pipeline_protocol.replies import Context, ProgressReply, Reply, StatusLine
from pipeline_protocol.requests import ACTIONS, ALIASES, FileContent, Request, named_once
from pipeline_protocol.text import clean

MAX_REQUEST_BYTES = 1 << 20

# The annotations are for mypy, which cannot read a union from a decoder's argument.
_request: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Union[Request, *ALIASES.values()])
_reply = msgspec.json.Decoder(Reply)
_progress = msgspec.json.Decoder(ProgressReply)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class BadRequest(ValueError):
    """A request that cannot be taken: `code` is 501 or 502, the text says which field and why."""

    def __init__(self, code: int, error: str) -> None:
        super().__init__(error)
        self.code = code


class BadMessage(ValueError):
    """A reply or a link message that does not follow the protocol."""


class OtherProtocol(BadMessage):
    """A hello that cannot be read because its sender speaks another protocol."""

    def __init__(self, identity: str, protocol: int) -> None:
        super().__init__(mismatch(PROTOCOL, protocol))
        self.identity = identity


class _AnyHello(Struct, array_like=True, tag="hello"):
    """What every protocol's hello begins with."""

    identity: Identity
    instance: Any
    channel: Any
    topics: Any
    slots: Any
    protocol: int


_any_hello = msgspec.msgpack.Decoder(_AnyHello)


class _ActionOnly(Struct):
    action: str


class _FilesOnly(Struct):
    files: dict[str, Raw]


_action = msgspec.json.Decoder(_ActionOnly)
_files = msgspec.json.Decoder(_FilesOnly)
_file_content: msgspec.json.Decoder[FileContent] = msgspec.json.Decoder(FileContent)

# A hostile text can be too deep (RecursionError), not UTF-8 (UnicodeDecodeError is a ValueError),
# or simply wrong (msgspec's own errors, which are ValueErrors too).
_UNREADABLE = (ValueError, RecursionError)


def decode_request(data: bytes | memoryview) -> Request:
    """Read a client's JSON; raises BadRequest if it is not one."""
    try:
        str(data, "utf-8")  # msgspec skips unknown fields unread
        request = named_once(_request.decode(data))
        request.match_names()
        return request
    except _UNREADABLE as error:
        raise _explain(data, error) from None


def _explain(data: bytes | memoryview, error: Exception) -> BadRequest:
    if isinstance(error, RecursionError):
        return BadRequest(status.MALFORMED, "the request is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest(status.MALFORMED, f"the request is not UTF-8: {error.reason}")
    try:
        action = _action.decode(data).action
    except msgspec.ValidationError as no_action:
        return BadRequest(status.MALFORMED, str(no_action))
    except _UNREADABLE:
        return BadRequest(status.MALFORMED, f"the request is not JSON: {error}")
    if action not in ACTIONS and action not in ALIASES:
        known = f"unknown action {action[:64]!r}{nearest(action[:64], ACTIONS)}"
        return BadRequest(status.UNKNOWN_ACTION, known)
    return BadRequest(status.MALFORMED, _shortened(_naming_file(described(str(error)), data)))


def _naming_file(error: str, data: bytes | memoryview) -> str:
    """Say which file an error is about, where msgspec says only that it is one of them."""
    if "`$.files[...]" in error:
        with suppress(*_UNREADABLE):
            for name, content in _files.decode(data).files.items():
                if not _is_content(content):
                    return f"file {name[:255]!r}: {error}"
    return error


def _is_content(data: Raw) -> bool:
    try:
        _file_content.decode(data)
    except _UNREADABLE:
        return False
    return True


def _shortened(error: str) -> str:
    # msgspec quotes some bad values whole; the field's name comes last
    return error if len(error) <= 500 else f"{error[:350]} ... {error[-100:]}"


def decode_reply(data: bytes | memoryview) -> Reply:
    """Read a terminal reply; raises BadMessage if it is not one."""
    try:
        return _reply.decode(data)
    except _UNREADABLE as error:
        raise BadMessage(f"the reply is malformed: {error}") from None


def decode_progress(data: bytes | memoryview) -> tuple[str, ...] | None:
    """Read a progress reply's lines; None if the bytes are something else."""
    try:
        return _progress.decode(data).progress.lines
    except _UNREADABLE:
        return None


def decode_from_worker(data: bytes | memoryview) -> FromWorker:
    """Read a link header that a worker sent.

    Raises OtherProtocol for a hello that only a router of another protocol can read, BadMessage for
    what is none.
    """
    try:
        return _from_worker.decode(data)
    except _UNREADABLE as error:
        _check_protocol(data)
        raise BadMessage(f"malformed message from a worker: {error}") from None


def _check_protocol(data: bytes | memoryview) -> None:
    """Raise OtherProtocol if that is what is wrong."""
    try:
        hello = _any_hello.decode(data)
    except _UNREADABLE:
        return
    if hello.protocol != PROTOCOL:
        raise OtherProtocol(hello.identity, hello.protocol) from None


def decode_to_worker(data: bytes | memoryview) -> ToWorker:
    """Read a link header that the router sent; raises BadMessage if it is none."""
    try:
        return _to_worker.decode(data)
    except _UNREADABLE as error:
        raise BadMessage(f"malformed message from the router: {error}") from None


def encode_json(message: Request | Reply | ProgressReply | Struct) -> bytes:
    """Write what goes to or comes from a client."""
    return _json.encode(message)


def encode_link(message: FromWorker | ToWorker) -> bytes:
    """Write a link header."""
    return _msgpack.encode(message)


def answer(response: Any, context: Context | None = None) -> bytes:
    """Write a 200 with its response, a struct or plain JSON data."""
    raw = msgspec.Raw(_json.encode(response))
    return _json.encode(Reply(StatusLine.of(status.OK), raw, context or Context()))


def refusal(code: int, error: str, context: Context | None = None) -> bytes:
    """Write any other reply, with what to do next in `error`.

    There may be a stranger's words in it: what a terminal obeys is escaped.
    """
    return _json.encode(Reply(StatusLine.of(code, clean(error)), context=context or Context()))
