"""One call: how its request is written, how often it is tried, how its reply is read.

No socket and no clock of its own: see `steps`. What the router would refuse as malformed is
refused here, before it is sent, by the same code and words.
"""

from collections.abc import Callable, Generator
from functools import partial
from itertools import count
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.steps import BlockingCall, Exchange, OnLine, Pause, Step
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import codec, requests, status
from pipeline_protocol.channels import ROUTER_TIMEOUT_S, TIMEOUT_S
from pipeline_protocol.codec import BadMessage, BadRequest
from pipeline_protocol.replies import Context, Reply

if TYPE_CHECKING:
    from pipeline_client._plans.folders import FolderInput

T = TypeVar("T")
R = TypeVar("R", bound=requests.Request)

GRACE_S = 1.0
"""How much longer than the router the client waits: the router's 504 says more than a 101."""

_MAX_TIMEOUT_S = 86_400.0

OnLeftOut = Callable[[tuple[str, ...]], object]


class Answer(Struct, Generic[T], frozen=True):
    """What a tool or a builder made, and what surrounded it."""

    response: T
    context: Context
    """Worker, timing, usage, logs: what does not apply is UNSET, which is false."""


class Call(Struct, Generic[T], frozen=True):
    """One request, and what its reply is to become."""

    request: requests.Request
    read: Callable[[Reply], T]
    timeout_s: float | None
    """Until when the answer must be there; None: the client's default, else the action's."""
    on_line: OnLine | None = None
    resendable: bool = True
    """Whether it does no more harm twice than once: see `restart_workers`."""
    folder: str | PathLike[str] | None = None
    """What is in it takes the place of the request's own input."""
    on_left_out: OnLeftOut | None = None
    """Told what of the folder is not sent, if there is any."""

    def steps(self, options: ClientOptions) -> Generator[Step, Any, T]:
        """Ask until there is a result, an error that trying again does not mend, or no time."""
        allowed_s = left_s = allowed(self.timeout_s, options.timeout_s, _usual_s(self.request))
        ends = options.clock() + allowed_s
        request = self.request
        if self.folder is not None:
            sent = yield BlockingCall(partial(_sent, self.folder, options.upload_to, allowed_s))
            if self.on_left_out and sent.left_out:
                self.on_left_out(sent.left_out)
            request = msgspec.structs.replace(request, **sent.fields)
            left_s = ends - options.clock()
        too_late = self._too_late(str(options.router), allowed_s)
        for attempt in count(1):
            if left_s <= 0:
                raise error_of(status.CLIENT_TIMED_OUT, f"nothing is left of {allowed_s:g} s")
            body = written(request, left_s)
            reply = yield Exchange(body, ends + GRACE_S, too_late, self.on_line, self.resendable)
            try:
                return self.read(read(reply))
            except PipelineError as error:
                pause_s = self._pause_s(error, attempt, options)
                if pause_s is None or options.clock() + pause_s >= ends:
                    raise
                _log_retry(request, attempt, error, pause_s)
            yield Pause(pause_s)
            left_s = ends - options.clock()
        raise AssertionError  # count never ends

    def _pause_s(self, error: PipelineError, attempt: int, options: ClientOptions) -> float | None:
        if options.retries is None or not self.resendable:
            return None
        return options.retries.pause_s(error, attempt, options.chance())

    def _too_late(self, address: str, allowed_s: float) -> str:
        why = f"no answer from {address} within {allowed_s:g} s: is the router there?"
        if self.resendable:
            return why
        return f"{why} It may have done what it was asked: look at `workers` before you repeat"


def _log_retry(request: requests.Request, attempt: int, error: Exception, pause_s: float) -> None:
    """Say that it is tried again; only who does so loads the library."""
    import logging

    about = {"request": getattr(request, "id", UNSET) or ""}
    log = logging.getLogger("pipeline_client")
    log.info("try %d: %s; again in %.1f s", attempt, error, pause_s, extra=about)


def _sent(folder: str | PathLike[str], upload_to: str | None, allowed_s: float) -> "FolderInput":
    """Read a folder, by what only those load who send one."""
    from pipeline_client._plans.folders import inputs_of

    return inputs_of(folder, upload_to, allowed_s)


def allowed(*seconds: float | None) -> float:
    """Return the first time-out that is said.

    Raises RequestError if it would never end, or begin.
    """
    said = next(one for one in seconds if one is not None)
    if not 0 < said <= _MAX_TIMEOUT_S:
        why = f"`timeout_s` must be more than 0 and at most {_MAX_TIMEOUT_S:g}, not {said}"
        raise error_of(status.MALFORMED, why)
    return said


def _usual_s(request: requests.Request) -> float:
    return TIMEOUT_S.get(str(request.__struct_config__.tag), ROUTER_TIMEOUT_S)


# --- writing


def made(kind: Callable[..., R], **fields: object) -> R:
    """Make a request; raises RequestError where it contradicts itself."""
    try:
        return kind(**fields)
    except ValueError as error:
        raise error_of(status.MALFORMED, str(error)) from None


def written(request: requests.Request, timeout_s: float) -> bytes:
    """Return the request's bytes; raises RequestError if the router would refuse them."""
    if isinstance(request, requests.WorkerServed):
        request = msgspec.structs.replace(request, timeout_s=timeout_s)
    try:
        data = codec.encode_json(request)
        if codec.decode_request(data) != request:  # bytes, say, would have gone as base64
            raise error_of(status.MALFORMED, "the request holds what is neither text nor number")
    except BadRequest as error:
        raise error_of(error.code, str(error)) from None
    except UnicodeEncodeError:
        raise error_of(status.MALFORMED, "the request holds text that is not Unicode") from None
    if len(data) > codec.MAX_REQUEST_BYTES:
        why = f"the request has {len(data)} bytes of at most {codec.MAX_REQUEST_BYTES}"
        raise error_of(status.MALFORMED, f"{why}: upload the files, and give their s3_uri")
    return data


# --- reading


def read(data: bytes) -> Reply:
    """Read the bytes of a final reply, or raise their PipelineError."""
    if not data:
        raise error_of(status.MISSING_REPLY, "the router's answer is empty")
    try:
        reply = codec.decode_reply(data)
    except BadMessage as error:
        raise error_of(status.MALFORMED_REPLY, f"{error}; is this a pipeline router?") from None
    if reply.status.code != status.OK:
        why = reply.status.error or reply.status.message
        raise error_of(reply.status.code, why, reply.context)
    return reply


def response_of(kind: type[T]) -> Callable[[Reply], T]:
    """Return what reads a reply's response alone."""

    def read_response(reply: Reply) -> T:
        if reply.response is UNSET:
            raise error_of(status.MISSING_REPLY, "200, but no `response`", reply.context)
        try:
            return msgspec.json.decode(reply.response, type=kind)
        except (ValueError, RecursionError) as error:
            why = f"the response is not as it should be: {error}"
            raise error_of(status.MALFORMED_REPLY, why, reply.context) from None

    return read_response


def answer_of(kind: type[T]) -> Callable[[Reply], Answer[T]]:
    """Return what reads a reply's response and context."""
    read_response = response_of(kind)
    return lambda reply: Answer(read_response(reply), reply.context)
