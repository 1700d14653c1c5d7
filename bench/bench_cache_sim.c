/* SPDX-License-Identifier: Apache-2.0 */

/* The policies of the cache a second time, as their papers say it, over key
 * numbers and with exact ghosts: nothing here is shared with src/store. */

#include <stdlib.h>

#include "bench_cache.h"

/* A ring of key numbers, oldest first. */
struct fifo {
    uint32_t *keys;
    size_t cap;
    size_t begin;
    size_t count;
};

static void fifo_push(struct fifo *fifo, uint32_t key)
{
    fifo->keys[(fifo->begin + fifo->count) % fifo->cap] = key;
    fifo->count++;
}

static uint32_t fifo_pop(struct fifo *fifo)
{
    uint32_t key = fifo->keys[fifo->begin];
    fifo->begin = (fifo->begin + 1) % fifo->cap;
    fifo->count--;
    return key;
}

struct s3fifo {
    size_t capacity;
    struct fifo small;
    struct fifo main;
    struct fifo ghost;
    uint8_t *freq;
    uint8_t *cached;
    uint32_t *ghosts; /* how often a key is in the ghost queue */
};

static void ghost_push(struct s3fifo *s, uint32_t key)
{
    size_t most = s->capacity - s->capacity / 10;
    if (most == 0)
        return;
    while (s->ghost.count >= most)
        s->ghosts[fifo_pop(&s->ghost)]--;
    fifo_push(&s->ghost, key);
    s->ghosts[key]++;
}

/* True: something went. */
static bool evict_small(struct s3fifo *s)
{
    uint32_t key = fifo_pop(&s->small);
    if (s->freq[key] > 1) {
        s->freq[key] = 0;
        fifo_push(&s->main, key);
        return false;
    }
    s->cached[key] = 0;
    ghost_push(s, key);
    return true;
}

static bool evict_main(struct s3fifo *s)
{
    uint32_t key = fifo_pop(&s->main);
    if (s->freq[key] > 0) {
        s->freq[key]--;
        fifo_push(&s->main, key);
        return false;
    }
    s->cached[key] = 0;
    return true;
}

static void evict(struct s3fifo *s)
{
    for (;;) {
        bool small = s->small.count > s->capacity / 10 || s->main.count == 0;
        if (small ? evict_small(s) : evict_main(s))
            return;
    }
}

size_t bench_cache_sim_s3fifo(const struct trace *trace, size_t capacity)
{
    struct s3fifo s = { .capacity = capacity };
    size_t cap = capacity + 1;
    s.small = (struct fifo){ bench_memory(cap, 4), cap, 0, 0 };
    s.main = (struct fifo){ bench_memory(cap, 4), cap, 0, 0 };
    s.ghost = (struct fifo){ bench_memory(cap, 4), cap, 0, 0 };
    s.freq = bench_memory(trace->key_count, 1);
    s.cached = bench_memory(trace->key_count, 1);
    s.ghosts = bench_memory(trace->key_count, sizeof *s.ghosts);
    size_t hits = 0;
    for (size_t i = 0; i < trace->len; i++) {
        uint32_t key = trace->keys[i];
        if (s.cached[key]) {
            hits++;
            if (s.freq[key] < 3)
                s.freq[key]++;
            continue;
        }
        if (s.small.count + s.main.count >= capacity)
            evict(&s);
        s.cached[key] = 1;
        s.freq[key] = 0;
        fifo_push(s.ghosts[key] ? &s.main : &s.small, key);
    }
    free(s.small.keys);
    free(s.main.keys);
    free(s.ghost.keys);
    free(s.freq);
    free(s.cached);
    free(s.ghosts);
    return hits;
}

/* By time stamps: the queue has a key as often as it was asked for, and only
 * its last time counts. */
size_t bench_cache_sim_lru(const struct trace *trace, size_t capacity)
{
    size_t *last = bench_memory(trace->key_count, sizeof *last);
    size_t hits = 0;
    size_t cached = 0;
    size_t oldest = 0;
    for (size_t i = 0; i < trace->len; i++) {
        uint32_t key = trace->keys[i];
        if (last[key] > 0) {
            hits++;
        } else if (cached < capacity) {
            cached++;
        } else {
            while (last[trace->keys[oldest]] != oldest + 1)
                oldest++;
            last[trace->keys[oldest++]] = 0;
        }
        last[key] = i + 1;
    }
    free(last);
    return hits;
}
