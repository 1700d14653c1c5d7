/* SPDX-License-Identifier: Apache-2.0 */

/* Peers that spoil rounds. */

#include "sim/silent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "wire/mp.h"

enum {
    ASKED_MAX = 256, /* questions remembered */
    SHARE_MIN = 8    /* an arc with more than this part of the keys is left
                      * alone: rounds may fail without it */
};
static const uint64_t VICTIM_NS = 15 * WORLD_S; /* unasked, then another */
static const uint32_t NO_STREAM = 0x40000000;

struct asked {
    size_t by;
    uint32_t stream;
    uint64_t keys; /* of the keyspace; 0: for sums of the victim */
};

struct spoiler {
    size_t peer;
    struct asked asked[ASKED_MAX]; /* a ring */
    size_t asked_count;
    uint64_t victim; /* an arc; 0: none */
    uint64_t victim_lo;
    uint64_t victim_ns;
    bool sums; /* answers for the victim, but sums of it */
};

struct silent {
    struct world *world;
    struct rng rng;
    struct spoiler who[2];
    struct buf bytes[2]; /* in turns: of this message and the one before */
    size_t turn;
    bool awake;
    uint64_t held_back, changed;
};

static const struct asked *find_asked(const struct spoiler *w, size_t by,
                                      uint32_t stream)
{
    for (size_t i = 0; i < ASKED_MAX && i < w->asked_count; i++)
        if (w->asked[i].by == by && w->asked[i].stream == stream)
            return &w->asked[i];
    return NULL;
}

static void note_question(struct spoiler *w, size_t from,
                          const struct message *m)
{
    const struct request *q = &m->u.request;
    bool sums = q->op == OP_MODEL_SUMS && w->sums && w->victim &&
                hash64(q->key) == w->victim_lo;
    if (q->op == OP_MODEL_REPORT || sums)
        w->asked[w->asked_count++ % ASKED_MAX] =
            (struct asked){ from, m->stream, sums ? 0 : q->version + 1 };
}

/* What a report begins with; docs/protocol.md has the rest. */
struct head {
    uint64_t arc, generation, applied;
    bool whole, has_hi;
    struct span lo, hi;
    uint64_t keys;
    struct span tail;
};

static bool read_head(struct span bytes, struct head *h)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    h->arc = mp_read_uint(&r);
    h->generation = mp_read_uint(&r);
    h->applied = mp_read_uint(&r);
    h->whole = mp_read_bool(&r);
    h->lo = mp_read_bytes(&r);
    h->has_hi = mp_read_bool(&r);
    h->hi = mp_read_bytes(&r);
    h->keys = mp_read_uint(&r);
    h->tail = span_of(r.at, mp_left(&r));
    return !r.bad;
}

/* One small arc at a time, for as long as it is asked for. */
static bool is_victim(struct silent *s, struct spoiler *w, const struct head *h,
                      uint64_t all)
{
    uint64_t now = world_now_ns(s->world);
    bool small = h->keys * SHARE_MIN <= all;
    if (small && w->victim != h->arc && now - w->victim_ns > VICTIM_NS) {
        w->victim = h->arc;
        w->sums = w == &s->who[0] && rng_chance(&s->rng, 0.5);
    }
    if (!small || w->victim != h->arc)
        return false;
    w->victim_ns = now;
    w->victim_lo = hash64(h->lo);
    return true;
}

/* To the end of all keys, to just behind its begin, from elsewhere; as its own
 * arc, a newer one, or another. */
static void tear(struct silent *s, struct response *response, struct head h)
{
    struct buf *b = &s->bytes[s->turn++ % 2];
    buf_reset(b);
    static const uint8_t LITTLE[] = { 0 };
    struct buf near = { 0 };
    buf_append_span(&near, h.lo);
    buf_append(&near, LITTLE, sizeof LITTLE);
    switch (rng_below(&s->rng, 3)) {
    case 0:
        h.has_hi = !h.has_hi;
        h.hi = h.has_hi ? buf_span(&near) : span_empty();
        break;
    case 1:
        h.has_hi = true;
        h.hi = buf_span(&near);
        break;
    default:
        h.lo = buf_span(&near);
        break;
    }
    h.generation += rng_below(&s->rng, 2);
    h.arc += rng_chance(&s->rng, 0.2) ? 1000000 : 0;
    mp_write_uint(b, h.arc);
    mp_write_uint(b, h.generation);
    mp_write_uint(b, h.applied);
    mp_write_bool(b, h.whole);
    mp_write_bin(b, h.lo);
    mp_write_bool(b, h.has_hi);
    mp_write_bin(b, h.hi);
    mp_write_uint(b, h.keys);
    buf_append_span(b, h.tail);
    buf_deinit(&near);
    if (b->failed)
        return;
    response->value = buf_span(b);
    s->changed++;
}

static void spoil(struct silent *s, struct spoiler *w,
                  const struct asked *asked, struct message *m)
{
    struct head h;
    bool sums = asked->keys == 0;
    if (!sums && (!read_head(m->u.response.value, &h) ||
                  !is_victim(s, w, &h, asked->keys)))
        return;
    if (!sums && w->sums)
        return; /* this it says */
    if (w == &s->who[1]) {
        tear(s, &m->u.response, h);
        return;
    }
    m->stream ^= NO_STREAM; /* nobody asked that */
    s->held_back++;
}

static void tamper(void *context, size_t from, size_t to, struct message *m)
{
    struct silent *s = context;
    for (size_t i = 0; i < 2 && s->awake; i++) {
        struct spoiler *w = &s->who[i];
        if (to == w->peer && m->type == MESSAGE_REQUEST)
            note_question(w, from, m);
        if (from != w->peer || m->type != MESSAGE_RESPONSE ||
            m->u.response.status != DLHT_OK)
            continue;
        const struct asked *asked = find_asked(w, to, m->stream);
        if (asked)
            spoil(s, w, asked, m);
    }
}

struct silent *silent_new(struct world *world, size_t first, size_t second,
                          uint64_t seed)
{
    struct silent *s = mem_zero(1, sizeof *s);
    if (!s) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    s->world = world;
    s->who[0].peer = first;
    s->who[1].peer = second;
    rng_init(&s->rng, seed);
    world_set_tamper(world, tamper, s);
    return s;
}

void silent_free(struct silent *s)
{
    if (!s)
        return;
    world_set_tamper(s->world, NULL, NULL);
    buf_deinit(&s->bytes[0]);
    buf_deinit(&s->bytes[1]);
    free(s);
}

void silent_wake(struct silent *s)
{
    s->awake = true;
}

uint64_t silent_held_back(const struct silent *s)
{
    return s->held_back;
}

uint64_t silent_changed(const struct silent *s)
{
    return s->changed;
}
