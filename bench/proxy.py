"""The cheapest forwarder of all in Python: ROUTER to DEALER, a poll and a multipart message a time.

It chooses no worker: the DEALER socket deals in turn, whoever has room. Prints its two ports, runs
until it is ended.
"""

import zmq
from forwarder import bound


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
        if front in ready:
            back.send_multipart(front.recv_multipart())
        if back in ready:
            front.send_multipart(back.recv_multipart())


if __name__ == "__main__":
    main()
