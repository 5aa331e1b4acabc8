/* The load: a client that keeps requests in flight, and the workers that answer them.
 *
 * In C, in one thread, so that the process in the middle is what is measured. It knows no format:
 * loads.py says every byte on stdin, and this copies a counter into requests and the fence (job and
 * attempt, as they came) into results. Without `job_prefix` it speaks the bare way: workers say
 * `ready`, if it is given, once a slot, and send each message back with the reply as its last frame.
 * With a `server_key` both sockets show keys.
 * One ROUTER socket holds all the workers' connections; on the wire they are as a DEALER's. What was
 * measured is printed as JSON.
 */

#include <zmq.h>

#include "clock.h"
#include "samples.h"
#include "settings.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN = 256, MAX_FRAMES = 8, MAX_HEADER = 256, SENT = 1 << 20, LATER = 1 << 16 };

/* A job that is to be answered later. */
struct later {
    double due;
    uint32_t worker;
    unsigned char header[MAX_HEADER];
    int size;
};

static struct settings set;
static void *client, *link_;
static double sent_at[SENT]; /* by the lower bits of a request's number */
static uint64_t next_number, in_flight, welcomed;
static struct later later[LATER];
static uint64_t later_in, later_out;
static struct samples served, refused;
static uint64_t others;
static bool counting;

static void must(bool well, const char *what) {
    if (!well) {
        fprintf(stderr, "load: %s: %s\n", what, zmq_strerror(zmq_errno()));
        exit(1);
    }
}

static void put(void *socket, const void *data, size_t size, bool more) {
    must(zmq_send(socket, data, size, more ? ZMQ_SNDMORE : 0) >= 0, "send");
}

/* --- the client */

static void ask(void) {
    uint64_t number = next_number++;
    unsigned char *digit = set.request.data + set.id_offset + set.id_digits;
    for (uint64_t rest = number, left = set.id_digits; left; left--, rest /= 10)
        *--digit = (unsigned char)('0' + rest % 10);
    sent_at[number % SENT] = now_s();
    put(client, &number, sizeof number, true);
    put(client, "", 0, true);
    put(client, set.request.data, set.request.size, false);
    in_flight++;
}

static void answered(const void *frame, const char *reply, size_t size) {
    /* {"status":{"code":200,... : three digits at a known place */
    uint64_t number;
    memcpy(&number, frame, sizeof number);
    in_flight--;
    if (!counting)
        return;
    float ms = (float)((now_s() - sent_at[number % SENT]) * 1e3);
    const char *code = size > set.code_offset + 3 ? reply + set.code_offset : "000";
    if (!memcmp(code, "200", 3))
        samples_add(&served, ms);
    else if (!memcmp(code, "503", 3))
        samples_add(&refused, ms);
    else
        others++;
}

static int read_replies(bool ask_again) {
    int count = 0;
    for (; count < TURN; count++) {
        zmq_msg_t frames[3];
        for (int i = 0; i < 3; i++) {
            zmq_msg_init(&frames[i]);
            if (zmq_msg_recv(&frames[i], client, ZMQ_DONTWAIT) < 0) {
                must(i == 0 && zmq_errno() == EAGAIN, "reply");
                return count;
            }
        }
        must(zmq_msg_size(&frames[0]) == sizeof(uint64_t), "a reply's first frame");
        answered(zmq_msg_data(&frames[0]), zmq_msg_data(&frames[2]), zmq_msg_size(&frames[2]));
        for (int i = 0; i < 3; i++)
            zmq_msg_close(&frames[i]);
        if (ask_again)
            ask();
    }
    return count;
}

/* --- the workers */

static uint32_t worker_of(zmq_msg_t *frame) {
    uint32_t worker;
    memcpy(&worker, zmq_msg_data(frame), sizeof worker);
    return worker - 1; /* a routing id must not begin with a zero byte, so they begin with 1 */
}

static void tell(uint32_t worker, struct bytes *what) {
    worker++;
    put(link_, &worker, sizeof worker, true);
    put(link_, what->data, what->size, false);
}

static size_t number_size(const unsigned char *at) {
    /* a msgpack unsigned integer */
    return *at < 0x80 ? 1 : *at == 0xcc ? 2 : *at == 0xcd ? 3 : *at == 0xce ? 5 : 9;
}

static void finish(uint32_t worker, const unsigned char *header) {
    unsigned char result[128];
    const unsigned char *fence = header + set.job_prefix.size;
    size_t size = number_size(fence);
    size += number_size(fence + size);
    memcpy(result, set.result_prefix.data, set.result_prefix.size);
    memcpy(result + set.result_prefix.size, fence, size);
    size += set.result_prefix.size;
    memcpy(result + size, set.result_suffix.data, set.result_suffix.size);
    size += set.result_suffix.size;
    worker++;
    put(link_, &worker, sizeof worker, true);
    put(link_, result, size, true);
    put(link_, set.reply.data, set.reply.size, false);
}

static void take(uint32_t worker, zmq_msg_t *header) {
    const unsigned char *data = zmq_msg_data(header);
    size_t size = zmq_msg_size(header);
    if (size > 9 && !memcmp(data + 2, "welcome", 7)) {
        welcomed++;
    } else if (size > 9 && !memcmp(data + 2, "refused", 7)) {
        fprintf(stderr, "load: refused: %.*s\n", (int)size, data);
        exit(1);
    } else if (size >= set.job_prefix.size && size <= MAX_HEADER &&
               !memcmp(data, set.job_prefix.data, set.job_prefix.size)) {
        if (worker >= set.active)
            return; /* works on it for good */
        if (!set.service_ms) {
            finish(worker, data);
            return;
        }
        struct later *job = &later[later_in++ % LATER];
        must(later_in - later_out < LATER, "too many jobs at once");
        job->due = now_s() + set.service_ms / 1e3;
        job->worker = worker;
        memcpy(job->header, data, size);
    }
}

static void give_back(zmq_msg_t *frames, int count) {
    for (int i = 0; i < count - 1; i++)
        must(zmq_msg_send(&frames[i], link_, ZMQ_SNDMORE) >= 0, "send back");
    put(link_, set.reply.data, set.reply.size, false);
}

static int read_link(void) {
    int count = 0;
    for (; count < TURN; count++) {
        zmq_msg_t frames[MAX_FRAMES];
        int have = 0;
        for (bool more = true; more; have++) {
            must(have < MAX_FRAMES, "frames");
            zmq_msg_init(&frames[have]);
            if (zmq_msg_recv(&frames[have], link_, ZMQ_DONTWAIT) < 0) {
                must(have == 0 && zmq_errno() == EAGAIN, "job");
                return count;
            }
            more = zmq_msg_more(&frames[have]);
        }
        if (set.job_prefix.size)
            take(worker_of(&frames[0]), &frames[1]);
        else
            give_back(frames, have);
        for (int i = 0; i < have; i++)
            zmq_msg_close(&frames[i]);
    }
    return count;
}

static void connect_workers(void) {
    for (uint32_t worker = 0; worker < set.workers; worker++) {
        uint32_t id = worker + 1;
        zmq_setsockopt(link_, ZMQ_CONNECT_ROUTING_ID, &id, sizeof id);
        must(!zmq_connect(link_, set.link), "connect");
    }
    if (!set.job_prefix.size) {
        for (uint32_t worker = 0; set.ready.size && worker < set.workers; worker++)
            for (uint32_t slot = 0; slot < set.slots; slot++)
                tell(worker, &set.ready);
        return;
    }
    for (uint32_t worker = 0; worker < set.workers; worker++) {
        unsigned char *digit = set.hello.data + set.name_offset + 5;
        for (uint32_t rest = worker, left = 5; left; left--, rest /= 10)
            *--digit = (unsigned char)('0' + rest % 10);
        set.hello.data[set.slots_offset] = worker < set.active ? (unsigned char)set.slots : 1;
        tell(worker, &set.hello);
    }
    for (double until = now_s() + 10; welcomed < set.workers;) {
        must(now_s() < until, "not every worker is welcome");
        zmq_pollitem_t item = {link_, 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, 100);
        read_link();
    }
}

/* --- the loop */

static double beat(double next, double now) {
    if (now < next || !set.heartbeat.size)
        return next;
    for (uint32_t worker = 0; worker < set.workers; worker++)
        tell(worker, &set.heartbeat);
    return now + 1;
}

static void run(void) {
    double start = now_s(), counts_from = start + set.warm_s, end = counts_from + set.seconds;
    double cpu = 0, began = 0, next_beat = start, now;
    zmq_pollitem_t items[] = {{client, 0, ZMQ_POLLIN, 0}, {link_, 0, ZMQ_POLLIN, 0}};
    uint64_t offered = 0;
    while ((now = now_s()) < end) {
        if (!counting && now >= counts_from) {
            counting = true;
            began = now;
            cpu = cpu_of((int)set.pid);
        }
        if (set.rate > 0)
            for (uint64_t due = (uint64_t)((now - start) * set.rate); offered < due; offered++)
                ask();
        else if (!offered)
            for (; offered < set.in_flight; offered++)
                ask();
        next_beat = beat(next_beat, now);
        while (later_out < later_in && later[later_out % LATER].due <= now) {
            struct later *job = &later[later_out++ % LATER];
            finish(job->worker, job->header);
        }
        if (read_link() + read_replies(set.rate <= 0) == 0)
            zmq_poll(items, 2, set.rate > 0 || set.service_ms > 0 ? 1 : 100);
    }
    double window = now_s() - began;
    printf("{\"seconds\": %.6f, \"cpu_s\": %.6f, \"rss_mb\": %.2f, \"others\": %llu, ", window,
           cpu_of((int)set.pid) - cpu, rss_mb_of((int)set.pid), (unsigned long long)others);
    samples_print("served", &served);
    printf(", ");
    samples_print("refused", &refused);
    printf("}\n");
}

/* Let what is in flight come back, where all of it will; then say goodbye. */
static void leave(void) {
    counting = false;
    for (double until = now_s() + (set.active < set.workers ? 0 : 2); now_s() < until && in_flight;) {
        while (later_out < later_in) {
            struct later *job = &later[later_out++ % LATER];
            finish(job->worker, job->header);
        }
        if (read_link() + read_replies(false) == 0) {
            zmq_pollitem_t items[] = {{client, 0, ZMQ_POLLIN, 0}, {link_, 0, ZMQ_POLLIN, 0}};
            zmq_poll(items, 2, 10);
        }
    }
    for (uint32_t worker = 0; set.goodbye.size && worker < set.workers; worker++)
        tell(worker, &set.goodbye);
}

static void show_key(void *socket, const struct bytes *public, const struct bytes *secret) {
    const struct bytes *server = &set.server_key;
    must(!zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server->data, server->size) &&
             !zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public->data, public->size) &&
             !zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret->data, secret->size),
         "keys");
}

static void *opened(void *context, int type) {
    void *socket = zmq_socket(context, type);
    int unlimited = 0, linger_ms = 500, mandatory = 1;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (type == ZMQ_ROUTER)
        zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    return socket;
}

int main(void) {
    settings_read(&set, stdin);
    next_number = set.first_number;
    void *context = zmq_ctx_new();
    client = opened(context, ZMQ_DEALER);
    link_ = opened(context, ZMQ_ROUTER);
    if (set.server_key.size) {
        show_key(client, &set.client_public, &set.client_secret);
        show_key(link_, &set.worker_public, &set.worker_secret);
    }
    connect_workers();
    must(!zmq_connect(client, set.front), "connect");
    run();
    leave();
    zmq_close(client);
    zmq_close(link_);
    zmq_ctx_term(context);
    return 0;
}
