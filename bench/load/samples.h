/* Milliseconds that answers took: how many, and the percentiles of at most a million of them. */

#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEPT = 1 << 20 };

struct samples {
    uint64_t count;
    float ms[KEPT];
};

static inline void samples_add(struct samples *samples, float ms) {
    samples->ms[samples->count++ % KEPT] = ms; /* the latest ones are kept */
}

static inline int samples_order(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static inline void samples_print(const char *name, struct samples *samples) {
    size_t kept = samples->count < KEPT ? (size_t)samples->count : KEPT;
    qsort(samples->ms, kept, sizeof *samples->ms, samples_order);
    printf("\"%s\": {\"count\": %llu, \"p50_ms\": %.6f, \"p99_ms\": %.6f}", name,
           (unsigned long long)samples->count, kept ? (double)samples->ms[kept / 2] : 0.0,
           kept ? (double)samples->ms[kept * 99 / 100] : 0.0);
}

#endif
