"""A bare forwarder in Python, of the router's shape: the ZeroMQ guide's load-balancing broker.

ROUTER to ROUTER, a poll and a multipart message at a time, and a list of free workers, least
recently used first; a worker that takes several jobs at once says READY several times. No rule is
in force: no account of jobs, no deadline, no second attempt, no refusal.
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
    front, back = bound(context, zmq.ROUTER), bound(context, zmq.ROUTER)
    addresses = [socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in (front, back)]
    print(f"listening on {addresses[0]} (clients), {addresses[1]} (workers)", flush=True)
    workers: list[bytes] = []
    poller = zmq.Poller()
    poller.register(back, zmq.POLLIN)  # clients are heard while there is a free worker
    while True:
        ready = dict(poller.poll())
        if back in ready:
            worker, *message = back.recv_multipart()
            if not workers:
                poller.register(front, zmq.POLLIN)
            workers.append(worker)
            if message != [b"READY"]:
                front.send_multipart(message)
        if front in ready:
            message = front.recv_multipart()
            back.send_multipart([workers.pop(0), *message])
            if not workers:
                poller.unregister(front)


if __name__ == "__main__":
    main()
