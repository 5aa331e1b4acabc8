"""One client that asks for more than there is: others are served in turn."""

import zmq
from faults.lab import FaultLab
from faults.waiting import await_that
from support.keyring import show_key

from pipeline_protocol import status


def test_one_client_fills_the_queue_and_another_is_served_in_turn(lab: FaultLab) -> None:
    keys = lab.another_client("greedy")
    lab.start_router()
    lab.start_worker("worker-1", slots=2)
    greedy = [lab.abandon(asked) for asked in lab.requests(140, "sleep 0.2")]
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        show_key(socket, keys)
        socket.connect(lab.address)
        for asked in greedy:
            socket.send_multipart([asked.id.encode(), b"", asked.body])
        await_that(lambda: socket.poll(0), what="a refusal: the queue is full")
        group = lab.group()
        for number in range(4):
            asked = lab.request("sleep 0.1")
            begun = len(lab.journal.executions())
            group.ask(asked)
            lab.await_answered(len(greedy) + number + 1)
            assert asked.code == status.OK
            begun_before = list(lab.journal.executions()).index(asked.id) - begun
            assert begun_before <= 2 * 2, "one job a slot, and what began while it was on its way"
        left = {"action": "current_worker_status"}
        waiting = lab.say(left)["response"]["channels"]["test_runners"]["waiting"]
        assert waiting > 50, "the queue was full all the time"
    lab.judge()
