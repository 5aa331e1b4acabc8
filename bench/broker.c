/* A C broker of the router's shape: what libzmq itself costs, and no rule in force.
 *
 * ROUTER to ROUTER, whole messages moved from one to the other and back, and a list of free workers,
 * least recently used first; a worker that takes several jobs at once says READY several times.
 * Prints its two ports, runs until it is ended.
 */

#include <zmq.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { TURN = 256, SLOTS = 1 << 17 };

static zmq_msg_t workers[SLOTS]; /* a ring: the frame that names a worker, once a free slot */
static unsigned first, end;

static void *bound(void *context, char *where, size_t size) {
    void *socket = zmq_socket(context, ZMQ_ROUTER);
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

static void send_on(zmq_msg_t *frame, void *to, bool more) {
    if (zmq_msg_send(frame, to, more ? ZMQ_SNDMORE : 0) < 0)
        zmq_msg_close(frame);
}

static void move_rest(void *from, void *to) {
    for (bool more = true; more;) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, from, 0);
        more = zmq_msg_more(&frame);
        send_on(&frame, to, more);
    }
}

/* Both: up to a turn's messages, without polling in between; return how many there were. */

static int take_results(void *link, void *front) {
    for (int count = 0; count < TURN; count++) {
        zmq_msg_t *worker = &workers[end % SLOTS], frame;
        zmq_msg_init(worker);
        if (zmq_msg_recv(worker, link, ZMQ_DONTWAIT) < 0)
            return count;
        end++;
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, link, 0);
        if (zmq_msg_more(&frame)) {
            send_on(&frame, front, true);
            move_rest(link, front);
        } else {
            zmq_msg_close(&frame); /* READY */
        }
    }
    return TURN;
}

static int give_jobs(void *front, void *link) {
    for (int count = 0; count < TURN; count++) {
        zmq_msg_t client;
        zmq_msg_init(&client);
        if (first == end || zmq_msg_recv(&client, front, ZMQ_DONTWAIT) < 0)
            return count;
        send_on(&workers[first++ % SLOTS], link, true);
        send_on(&client, link, true);
        move_rest(front, link);
    }
    return TURN;
}

int main(void) {
    void *context = zmq_ctx_new();
    char front_at[64], link_at[64];
    void *front = bound(context, front_at, sizeof front_at);
    void *link = bound(context, link_at, sizeof link_at);
    printf("listening on %s (clients), %s (workers)\n", front_at, link_at);
    fflush(stdout);
    zmq_pollitem_t items[] = {{link, 0, ZMQ_POLLIN, 0}, {front, 0, ZMQ_POLLIN, 0}};
    for (;;)
        if (take_results(link, front) + give_jobs(front, link) == 0)
            zmq_poll(items, first == end ? 1 : 2, -1);
}
