"""A bare forwarder in Python: the ZeroMQ guide's broker, a poll and a multipart message at a time.

No rule is in force: no account of workers or jobs, no deadline, no second attempt, no refusal.
Prints its two ports, runs until it is ended.
"""

import zmq


def bound(context: "zmq.Context[zmq.Socket[bytes]]", kind: int) -> "zmq.Socket[bytes]":
    """Open a listening socket on any free port."""
    socket = context.socket(kind)
    socket.backlog = 4096
    socket.set_hwm(0)
    socket.bind("tcp://127.0.0.1:*")
    return socket


def main() -> None:
    """Forward for ever."""
    context = zmq.Context()
    front, back = bound(context, zmq.ROUTER), bound(context, zmq.DEALER)
    poller = zmq.Poller()
    poller.register(front, zmq.POLLIN)
    poller.register(back, zmq.POLLIN)
    addresses = [socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in (front, back)]
    print(f"listening on {addresses[0]} (clients), {addresses[1]} (workers)", flush=True)
    while True:
        ready = dict(poller.poll())
        if ready.get(front) == zmq.POLLIN:
            back.send_multipart(front.recv_multipart())
        if ready.get(back) == zmq.POLLIN:
            front.send_multipart(back.recv_multipart())


if __name__ == "__main__":
    main()
