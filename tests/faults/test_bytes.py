"""Whatever strangers say to either port: each gets what it deserves, and nobody else notices."""

import json
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
from faults.lab import FaultLab
from support.keyring import show_key
from support.pace import paced

from pipeline_protocol import link
from pipeline_protocol.codec import decode_to_worker, encode_link
from pipeline_protocol.requests import Role

Frames = list[bytes]

FRONT_END: dict[str, tuple[Frames, int | None]] = {
    "one frame": ([b'{"action": "ping"}'], 502),
    "one empty frame": ([b""], 502),
    "two frames, none empty": ([b"a", b'{"action": "ping"}'], 502),
    "two empty frames": ([b"", b""], 502),
    "a frame too many": ([b"", b'{"action": "ping"}', b""], 502),
    "a thousand frames": ([b"x"] * 1000, None),
    "a thousand frames after the JSON": ([b"", b"{}", *[b"x"] * 1000], 502),
    "an envelope of nine": ([*[b"x"] * 9, b"", b'{"action": "ping"}'], None),
    "a long envelope": ([b"x" * 256, b"", b'{"action": "ping"}'], None),
    "nothing": ([b"", b""], 502),
    "an array": ([b"", b"[]"], 502),
    "a number": ([b"", b"1"], 502),
    "null": ([b"", b"null"], 502),
    "NaN": ([b"", b'{"action": "ping", "x": NaN}'], 502),
    "a number beyond all": ([b"", b'{"action": "ping", "x": 1e999999}'], 200),
    "bad UTF-8": ([b"", b'{"action": "\xff\xfe"}'], 502),
    "half a surrogate": ([b"", b'{"action": "\\ud800"}'], 502),
    "a depth bomb": ([b"", b"[" * 500_000], 502),
    "a depth bomb in an unknown field": ([b"", b'{"action": "ping", "x": ' + b"[" * 500_000], 502),
    "half an object": ([b"", b'{"action": "pi'], 502),
    "an action of a megabyte": ([b"", b'{"action": "' + b"x" * 1_000_000 + b'"}'], 501),
    "oversize": ([b"", b'{"x": "' + b"x" * (1 << 20) + b'"}'], 502),
    "oversize by far": ([b"", b"x" * (5 << 20)], None),
}
"""What is sent, and the code that answers it; None: nothing does."""

HELLO = link.Hello("stranger", "instance", "test_runners", (), 1)

WORKER_LINK: dict[str, tuple[Frames, link.RefusalReason | None]] = {
    "an empty frame": ([b""], link.RefusalReason.MALFORMED),
    "JSON": ([b'{"action": "ping"}'], link.RefusalReason.MALFORMED),
    "half a hello": ([encode_link(HELLO)[:-5]], link.RefusalReason.MALFORMED),
    "a hello and a body": ([encode_link(HELLO), b"body"], link.RefusalReason.MALFORMED),
    "three frames": ([encode_link(HELLO), b"", b""], link.RefusalReason.MALFORMED),
    "a thousand frames": ([b"x"] * 1000, link.RefusalReason.MALFORMED),
    "a depth bomb": ([b"\x91" * 500_000], link.RefusalReason.MALFORMED),
    "an array of billions": ([b"\xdd\xff\xff\xff\xff"], link.RefusalReason.MALFORMED),
    "no session": ([encode_link(link.WorkerHeartbeat(0))], link.RefusalReason.UNKNOWN_SESSION),
    "a result of nobody's": (
        [encode_link(link.Result(1, 1, 200)), b"{}"],
        link.RefusalReason.UNKNOWN_SESSION,
    ),
    "a result without a body": (
        [encode_link(link.Result(1, 1, 200))],
        link.RefusalReason.MALFORMED,
    ),
    "no channel": (
        [encode_link(link.Hello("stranger", "i", "nowhere", (), 1))],
        link.RefusalReason.UNKNOWN_CHANNEL,
    ),
    "another's name": (
        [encode_link(link.Hello("worker-1", "i", "test_runners", (), 1))],
        link.RefusalReason.IDENTITY_ALIVE,
    ),
    "oversize": ([b"x" * (5 << 20)], None),
}

STREAMS: dict[str, bytes] = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "a POST": b"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\n" + b'{"action": "ping"}',
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    "zeros": bytes(100_000),
    "a greeting with keys, then rubbish": (
        b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(15) + bytes(32) + b"\xa5" * 10_000
    ),
    "a greeting, then rubbish": b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + b"\xa5" * 10_000,
    "an old greeting": b"\x01\x00\x00" * 100,
}


@contextmanager
def connected(address: str, keys: Path | None) -> "Iterator[zmq.Socket[bytes]]":
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        show_key(dealer, keys)
        dealer.connect(address)
        yield dealer


def heard(dealer: "zmq.Socket[bytes]", seconds: float) -> Frames | None:
    return dealer.recv_multipart() if dealer.poll(int(seconds * 1000)) else None


def front_end_says(address: str, keys: Path | None, frames: Frames) -> int | None:
    """Return the code of the answer; None if a ping after it is all that is answered."""
    with connected(address, keys) as dealer:
        dealer.send_multipart(frames)
        dealer.send_multipart([b"after", b"", b'{"action": "ping"}'])
        while True:
            reply = heard(dealer, 10)
            assert reply is not None, "not even the ping is answered"
            if reply[0] == b"after":
                return None
            code: int = json.loads(reply[-1])["status"]["code"]
            return code


def link_says(address: str, keys: Path | None, frames: Frames) -> link.RefusalReason | None:
    """Return why a worker is refused; None if only what it says afterwards is answered."""
    with connected(address, keys) as dealer:
        dealer.send_multipart(frames)
        dealer.send_multipart([encode_link(link.Hello("after", "i", "afterwards", (), 1))])
        reply = heard(dealer, 10)
        assert reply is not None, "not even what came after is answered"
        while reply is not None:
            refused = decode_to_worker(reply[0])
            assert isinstance(refused, link.Refused)
            if "afterwards" not in refused.error:
                return refused.why
            reply = heard(dealer, 2)  # no order is promised
        return None


def stream(port: int, data: bytes) -> None:
    """Send bytes, whatever becomes of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=paced(10)) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        except OSError:
            return


def test_messages_and_streams_of_every_bad_kind(lab: FaultLab) -> None:
    lab.start_router()
    lab.start_workers(2, slots=4)
    group = lab.group(seats=4)
    group.ask(*lab.requests(150, "sleep 0.05"))

    keys = lab.keys[Role.CLIENT]
    said = {name: front_end_says(lab.address, keys, bad) for name, (bad, _) in FRONT_END.items()}
    assert said == {name: code for name, (_, code) in FRONT_END.items()}

    address = f"tcp://127.0.0.1:{lab.own.link_port}"
    keys = lab.keys[Role.WORKER]
    told = {name: link_says(address, keys, bad) for name, (bad, _) in WORKER_LINK.items()}
    assert told == {name: why for name, (_, why) in WORKER_LINK.items()}

    noise = {f"noise {n}": lab.random.randbytes(1 << lab.random.randrange(17)) for n in range(30)}
    for data in (STREAMS | noise).values():
        for port in (lab.own.port, lab.own.link_port):
            stream(port, data)

    group.wait()
    assert "is lost" not in lab.router.output()
    lab.judge()


def test_rubbish_in_valid_frames(lab: FaultLab) -> None:
    """Mutations of real messages: one byte changed, cut short, doubled."""
    lab.start_router()
    lab.start_workers(1)
    group = lab.group(seats=2)
    group.ask(*lab.requests(50, "sleep 0.02"))
    good = lab.request(version="nowhere").body, encode_link(HELLO)
    roles, ports = (Role.CLIENT, Role.WORKER), (lab.own.port, lab.own.link_port)
    for role, port, message in zip(roles, ports, good, strict=True):
        with connected(f"tcp://127.0.0.1:{port}", lab.keys[role]) as dealer:
            for _ in range(300):
                body = mutated(message, lab.random)
                dealer.send_multipart([b"", body] if message == good[0] else [body])
            dealer.send_multipart([b"after", b"", b'{"action": "ping"}'])
            assert heard(dealer, 20) is not None
    group.wait()
    lab.judge()


def mutated(data: bytes, choice: random.Random) -> bytes:
    where = choice.randrange(len(data))
    kind = choice.randrange(3)
    if kind == 0:
        return data[:where] + bytes([choice.randrange(256)]) + data[where + 1 :]
    return data[:where] if kind == 1 else data[:where] + data[where // 2 :]
