/* A C broker of the forwarder's shape: what libzmq itself costs, and no rule in force.
 *
 * ROUTER for clients, DEALER for workers, whole messages moved from one to the other and back.
 * Prints its two ports, runs until it is ended.
 */

#include <zmq.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { TURN = 256 };

static void *bound(void *context, int type, char *where, size_t size) {
    void *socket = zmq_socket(context, type);
    int backlog = 4096, unlimited = 0;
    zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof backlog);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    if (zmq_bind(socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, where, &size)) {
        fprintf(stderr, "broker: %s\n", zmq_strerror(zmq_errno()));
        exit(1);
    }
    return socket;
}

/* Up to a turn's messages from one socket to the other, without polling in between. */
static int move(void *from, void *to) {
    for (int count = 0; count < TURN; count++)
        for (bool more = true; more;) {
            zmq_msg_t frame;
            zmq_msg_init(&frame);
            if (zmq_msg_recv(&frame, from, ZMQ_DONTWAIT) < 0)
                return count;
            more = zmq_msg_more(&frame);
            if (zmq_msg_send(&frame, to, more ? ZMQ_SNDMORE : 0) < 0)
                zmq_msg_close(&frame);
        }
    return TURN;
}

int main(void) {
    void *context = zmq_ctx_new();
    char front_at[64], link_at[64];
    void *front = bound(context, ZMQ_ROUTER, front_at, sizeof front_at);
    void *link = bound(context, ZMQ_DEALER, link_at, sizeof link_at);
    printf("listening on %s (clients), %s (workers)\n", front_at, link_at);
    fflush(stdout);
    zmq_pollitem_t items[] = {{front, 0, ZMQ_POLLIN, 0}, {link, 0, ZMQ_POLLIN, 0}};
    for (;;)
        if (move(front, link) + move(link, front) == 0)
            zmq_poll(items, 2, -1);
}
