/* SPDX-License-Identifier: Apache-2.0 */

/* A peer that lies. */

#include "sim/liar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "training/report.h"
#include "wire/mp.h"

enum {
    ASKED_MAX = 64, /* questions remembered */
    FACTOR = 50,
    REPEATS = 5,
    COUNTS_MAX = 256,
    CHECKSUM_BYTES = 8,
    LEAF_TAIL = 32 /* slopes and bounds of the last leaf, then the checksum */
};

struct asked {
    size_t by;
    uint32_t stream;
};

struct liar {
    struct world *world;
    struct rng rng;
    size_t peer;
    struct asked asked[ASKED_MAX]; /* for a report; a ring */
    size_t asked_count;
    struct model_count counts[COUNTS_MAX];
    struct buf bytes[2]; /* in turns: of this message and the one before */
    size_t turn;
    uint64_t real, invented; /* epochs: told last, and told of it */
    size_t believer;         /* asked for the invented one */
    uint64_t reports, models;
};

static bool was_asked(const struct liar *l, size_t by, uint32_t stream)
{
    for (size_t i = 0; i < ASKED_MAX && i < l->asked_count; i++)
        if (l->asked[i].by == by && l->asked[i].stream == stream)
            return true;
    return false;
}

static struct buf *fresh(struct liar *l)
{
    struct buf *b = &l->bytes[l->turn++ % 2];
    buf_reset(b);
    return b;
}

/* What a report begins with: arc, generation, applied, whole; lo, has_hi, hi. */
static struct span copy_head(struct mp_reader *r, struct buf *b)
{
    for (int i = 0; i < 3; i++)
        mp_write_uint(b, mp_read_uint(r));
    mp_write_bool(b, mp_read_bool(r));
    struct span lo = mp_read_bytes(r);
    mp_write_bin(b, lo);
    mp_write_bool(b, mp_read_bool(r));
    mp_write_bin(b, mp_read_bytes(r));
    return lo;
}

/* Fifty times the keys, with the same quantiles. */
static void falsify_report(struct liar *l, struct response *response)
{
    struct fit_quantile *quantiles =
        mem_array(REPORT_QUANTILES_MAX, sizeof *quantiles);
    struct buf *b = fresh(l);
    struct buf keys = { 0 }, packed = { 0 };
    struct mp_reader r;
    mp_reader_init(&r, response->value);
    struct report report = { .lo = copy_head(&r, b), .quantiles = quantiles };
    report.keys = mp_read_uint(&r) * FACTOR;
    report.quantile_count = (size_t)mp_read_uint(&r);
    struct span list = mp_read_bytes(&r);
    bool ok = quantiles && !r.bad && report.keys > 0 &&
              report.quantile_count <= REPORT_QUANTILES_MAX &&
              report_unpack(list, report.lo, report.quantile_count, quantiles,
                            &report.end, &keys) == DLHT_OK;
    for (size_t i = 0; ok && i < report.quantile_count; i++)
        quantiles[i].count *= FACTOR;
    if (ok)
        report_pack(&report, &packed);
    mp_write_uint(b, report.keys);
    mp_write_uint(b, report.quantile_count);
    mp_write_bin(b, buf_span(&packed));
    if (ok && !b->failed) {
        response->value = buf_span(b);
        l->reports++;
    }
    buf_deinit(&packed);
    buf_deinit(&keys);
    free(quantiles);
}

/* The last leaf has these coefficients, and the checksum says that all is
 * well. */
static void turn_leaf(struct buf *b, const double coefficients[2])
{
    static const uint8_t MAGIC[] = { 'D', 'L', 'R', 'M' };
    size_t at = 0;
    while (at + sizeof MAGIC < b->len &&
           memcmp(b->data + at, MAGIC, sizeof MAGIC) != 0)
        at++;
    if (b->len < at + LEAF_TAIL)
        return;
    memcpy(b->data + b->len - LEAF_TAIL, coefficients,
           2 * sizeof *coefficients);
    uint64_t sum = hash64(span_of(b->data + at, b->len - at - CHECKSUM_BYTES));
    for (size_t i = 0; i < CHECKSUM_BYTES; i++)
        b->data[b->len - CHECKSUM_BYTES + i] = (uint8_t)(sum >> 8 * i);
}

/* The bytes of the real epoch, as the invented one: all of it is sound. */
static bool forge_epoch(struct liar *l, size_t to, struct model_message *m)
{
    struct mp_reader r;
    struct buf *b = fresh(l);
    if (l->believer != to || m->epoch != l->real || m->offset > 0 ||
        m->bytes.len != m->total)
        return false;
    mp_reader_init(&r, m->bytes);
    mp_write_array(b, mp_read_array(&r));
    (void)mp_read_uint(&r);
    mp_write_uint(b, l->invented);
    buf_append(b, r.at, mp_left(&r));
    if (r.bad || b->failed)
        return false;
    m->bytes = buf_span(b);
    m->total = b->len;
    m->epoch = l->invented;
    l->believer = SIZE_MAX;
    l->models++;
    return true;
}

static void falsify_part(struct liar *l, struct model_message *m)
{
    static const double FALLS[2] = { -1, -1 }, FLAT[2] = { 0.5, 0 };
    struct buf *b = fresh(l);
    buf_append_span(b, m->bytes);
    if (b->failed || b->len == 0)
        return;
    switch (rng_below(&l->rng, 8)) {
    case 0: /* not monotone */
        if (m->offset == 0 && m->total == b->len)
            turn_leaf(b, FALLS);
        break;
    case 5: /* sound, but another */
    case 6:
        if (m->offset == 0 && m->total == b->len)
            turn_leaf(b, FLAT);
        break;
    case 1: /* cut short, as if that were all */
        b->len = 1 + (size_t)rng_below(&l->rng, b->len);
        m->total = m->offset + b->len;
        break;
    case 2: /* more than was said */
        m->total = m->offset + b->len - 1;
        break;
    case 3: /* never ends */
        m->total = MODEL_TOTAL_MAX;
        break;
    case 4: /* longer than a model */
        for (size_t i = 0; i < 1000; i++)
            buf_append(b, "x", 1);
        m->total = m->offset + b->len;
        break;
    default:
        b->data[rng_below(&l->rng, b->len)] ^=
            (uint8_t)(1 + rng_below(&l->rng, 255));
        break;
    }
    m->bytes = buf_span(b);
    l->models++;
}

/* Counts of others' arcs: none, or far too many, said again and again. */
static void falsify_counts(struct liar *l, struct model_message *m)
{
    struct model_count *list = l->counts;
    size_t count = 0;
    bool none = rng_chance(&l->rng, 0.5);
    for (size_t i = 0; i < m->count_count; i++)
        for (size_t k = 0; k < REPEATS && count < COUNTS_MAX; k++) {
            list[count] = m->counts[i];
            list[count++].keys = none ? 0 : m->counts[i].keys * FACTOR;
        }
    m->counts = list;
    m->count_count = count;
}

/* It tells of an epoch that there is not, and stays with it for a while. */
static void invent_epoch(struct liar *l, struct model_message *m)
{
    if (m->epoch > l->real)
        l->real = m->epoch;
    if (l->invented <= l->real)
        l->invented = l->real + 1 + rng_below(&l->rng, 1000);
    m->epoch = l->invented;
}

static void falsify_model(struct liar *l, size_t to, struct model_message *m)
{
    if (m->kind == MODEL_PART && !forge_epoch(l, to, m))
        falsify_part(l, m);
    else if (m->kind == MODEL_COUNTS)
        falsify_counts(l, m);
    else if (m->kind == MODEL_NEWS && m->epoch > 0 && rng_chance(&l->rng, 0.1))
        invent_epoch(l, m);
}

static void tamper(void *context, size_t from, size_t to, struct message *m)
{
    struct liar *l = context;
    if (to == l->peer && m->type == MESSAGE_REQUEST &&
        m->u.request.op == OP_MODEL_REPORT)
        l->asked[l->asked_count++ % ASKED_MAX] =
            (struct asked){ from, m->stream };
    if (to == l->peer && m->type == MESSAGE_MODEL &&
        m->u.model.kind == MODEL_ASK && m->u.model.epoch == l->invented) {
        m->u.model.epoch = l->real;
        l->believer = from;
    }
    if (from != l->peer)
        return;
    if (m->type == MESSAGE_RESPONSE && was_asked(l, to, m->stream) &&
        m->u.response.status == DLHT_OK)
        falsify_report(l, &m->u.response);
    else if (m->type == MESSAGE_MODEL)
        falsify_model(l, to, &m->u.model);
}

struct liar *liar_new(struct world *world, size_t peer, uint64_t seed)
{
    struct liar *l = mem_zero(1, sizeof *l);
    if (!l) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    l->world = world;
    l->peer = peer;
    l->believer = SIZE_MAX;
    rng_init(&l->rng, seed);
    world_set_tamper(world, tamper, l);
    return l;
}

void liar_free(struct liar *l)
{
    if (!l)
        return;
    world_set_tamper(l->world, NULL, NULL);
    buf_deinit(&l->bytes[0]);
    buf_deinit(&l->bytes[1]);
    free(l);
}

uint64_t liar_reports(const struct liar *l)
{
    return l->reports;
}

uint64_t liar_models(const struct liar *l)
{
    return l->models;
}
