"""The bytes that the load says: one request, one reply, a worker's part of the link.

The load copies them as they are, but for the numbers at the places that are found here.
"""

import os

from msgspec import Struct

from pipeline_protocol.codec import answer, encode_json, encode_link
from pipeline_protocol.link import (
    Goodbye,
    Hello,
    Job,
    Readiness,
    Result,
    VersionState,
    WorkerHeartbeat,
)
from pipeline_protocol.replies import Context, Timing
from pipeline_protocol.requests import TestSolution

TRACK = "ruby"
CHANNEL = "test_runners"
VERSION = "git-0123456789012345678901234567890123456789"
DIGEST = f"sha256:{'0' * 64}"
READY = b"READY"
"""Of the guide's workers."""
REQUEST_BYTES = 200
ID_DIGITS = 12
NAME_DIGITS = 5


class Words(Struct, frozen=True):
    """Settings of the load, by the names that it knows them by."""

    request: bytes
    id_offset: int
    id_digits: int
    reply: bytes
    code_offset: int


class LinkWords(Struct, frozen=True):
    """What only the link's workers say."""

    hello: bytes
    name_offset: int
    slots_offset: int
    heartbeat: bytes
    goodbye: bytes
    job_prefix: bytes
    result_prefix: bytes
    result_suffix: bytes


def request(number: int = 0, text_bytes: int = 0) -> bytes:
    """Write a request: JSON, with a small file."""
    return encode_json(
        TestSolution(
            id=f"{number:0{ID_DIGITS}}",
            track_slug=TRACK,
            exercise_slug="two-fer",
            container_version=VERSION,
            files={"two_fer.rb": "#" * text_bytes},
        )
    )


def words() -> Words:
    """Write a request of `REQUEST_BYTES`, and the reply to it."""
    padded = request(0, REQUEST_BYTES - len(request()))
    assert len(padded) == REQUEST_BYTES
    results = {"version": 2, "status": "pass", "tests": []}
    reply = answer(results, Context(Timing(run_s=0.25, total_s=0.25), worker="worker-1"))
    return Words(
        request=padded,
        id_offset=padded.index(b"0" * ID_DIGITS),
        id_digits=ID_DIGITS,
        reply=reply,
        code_offset=reply.index(b"200"),
    )


def link_words() -> LinkWords:
    """Write what workers say that nobody has met before."""
    name, slots = "0" * NAME_DIGITS, 0x55
    ready = VersionState(TRACK, VERSION, Readiness.READY, DIGEST)
    run = os.urandom(4).hex()
    hello = encode_link(Hello(f"{run}-{name}", run, CHANNEL, (), slots, versions=(ready,)))
    # Each header with its fence, of a job with number 1: cut before, and after.
    job, result = encode_link(Job(1, 1, 1, 1)), encode_link(Result(1, 1, 200))
    return LinkWords(
        hello=hello,
        name_offset=hello.index(name.encode()),
        slots_offset=hello.index(bytes([slots]), hello.index(CHANNEL.encode()) + len(CHANNEL)),
        heartbeat=encode_link(WorkerHeartbeat(0)),
        goodbye=encode_link(Goodbye()),
        job_prefix=job[: job.index(b"job") + 3],
        result_prefix=result[: result.index(b"result") + 6],
        result_suffix=result[result.index(b"result") + 8 :],
    )
