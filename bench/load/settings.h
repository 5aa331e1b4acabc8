/* What the load is to do: lines of `name value` on stdin, bytes in hex, written by loads.py. */

#ifndef SETTINGS_H
#define SETTINGS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    size_t size;
    unsigned char data[4096];
};

struct settings {
    char front[64], link[64];
    struct bytes server_key; /* CURVE's, 32 bytes each; empty: no keys */
    struct bytes client_public, client_secret, worker_public, worker_secret;
    uint64_t pid; /* of the process measured */
    double warm_s, seconds;
    uint64_t in_flight;
    double rate; /* requests a second, whatever comes back; 0: one for each that comes back */

    struct bytes request;
    uint64_t id_offset, id_digits, first_number; /* where the request's own number goes */
    uint64_t code_offset;                        /* of the status in a reply */

    uint64_t workers, active; /* the others take their jobs and keep them */
    uint64_t slots;           /* of an active worker; the others have one */
    double service_ms;        /* how long a worker takes */
    struct bytes reply;

    struct bytes ready; /* of a free slot, where workers do not speak the link */
    struct bytes hello, heartbeat, goodbye;
    uint64_t name_offset, slots_offset; /* in hello: five digits, and one byte */
    struct bytes job_prefix;            /* of a job's header, up to its fence */
    struct bytes result_prefix, result_suffix; /* of a result's, around its fence */
};

enum kind { TEXT, WHOLE, REAL, BYTES };

#define FIELD(name, kind) {#name, kind, offsetof(struct settings, name)}
static const struct {
    const char *name;
    enum kind kind;
    size_t at;
} FIELDS[] = {
    FIELD(front, TEXT),          FIELD(link, TEXT),           FIELD(pid, WHOLE),
    FIELD(warm_s, REAL),         FIELD(seconds, REAL),        FIELD(in_flight, WHOLE),
    FIELD(rate, REAL),           FIELD(request, BYTES),       FIELD(id_offset, WHOLE),
    FIELD(id_digits, WHOLE),     FIELD(first_number, WHOLE),  FIELD(code_offset, WHOLE),
    FIELD(workers, WHOLE),       FIELD(active, WHOLE),        FIELD(slots, WHOLE),
    FIELD(service_ms, REAL),     FIELD(reply, BYTES),         FIELD(hello, BYTES),
    FIELD(heartbeat, BYTES),     FIELD(goodbye, BYTES),       FIELD(name_offset, WHOLE),
    FIELD(slots_offset, WHOLE),  FIELD(job_prefix, BYTES),    FIELD(result_prefix, BYTES),
    FIELD(result_suffix, BYTES), FIELD(ready, BYTES),         FIELD(server_key, BYTES),
    FIELD(client_public, BYTES), FIELD(client_secret, BYTES), FIELD(worker_public, BYTES),
    FIELD(worker_secret, BYTES),
};
#undef FIELD

static inline void bytes_read(struct bytes *bytes, const char *hex) {
    unsigned byte;
    for (bytes->size = 0; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        if (bytes->size == sizeof bytes->data)
            exit(2);
        bytes->data[bytes->size++] = (unsigned char)byte;
    }
}

static inline void field_read(struct settings *settings, const char *name, const char *value) {
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        char *at = (char *)settings + FIELDS[i].at;
        if (strcmp(name, FIELDS[i].name))
            continue;
        switch (FIELDS[i].kind) {
        case TEXT: snprintf(at, sizeof settings->front, "%.63s", value); return;
        case WHOLE: *(uint64_t *)(void *)at = strtoull(value, NULL, 10); return;
        case REAL: *(double *)(void *)at = strtod(value, NULL); return;
        case BYTES: bytes_read((struct bytes *)(void *)at, value); return;
        }
    }
    fprintf(stderr, "load: unknown setting %s\n", name);
    exit(2);
}

static inline void settings_read(struct settings *settings, FILE *file) {
    static char line[16384], name[64], value[16300];
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %16299s", name, value) == 2)
            field_read(settings, name, value);
}

#endif
