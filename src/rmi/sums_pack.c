/* SPDX-License-Identifier: Apache-2.0 */

/* Sums as they travel. */

#include "rmi/sums_pack.h"

#include <string.h>

#include "dlht/err.h"

enum {
    LINE_POWERS = 3, /* of t: 0 .. 2, what a line's normal equations take */
    LINE_RANKS = 2,
    GROUP_BITS = 7
};

static int powers_of(enum model_kind kind)
{
    return kind == MODEL_LINEAR ? LINE_POWERS : SUMS_POWERS;
}

static int ranks_of(enum model_kind kind)
{
    return kind == MODEL_LINEAR ? LINE_RANKS : SUMS_RANKS;
}

static void pack_groups(struct buf *out, uint64_t x)
{
    for (; x >> GROUP_BITS > 0; x >>= GROUP_BITS)
        buf_append_byte(out, (uint8_t)(x | 0x80));
    buf_append_byte(out, (uint8_t)x);
}

static void pack_double(struct buf *out, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    for (int shift = 0; shift < 64; shift += 8)
        buf_append_byte(out, (uint8_t)(bits >> shift));
}

void sums_pack(const struct sums *sums, size_t count, enum model_kind kind,
               struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct sums *s = &sums[i];
        pack_groups(out, sums_count(s));
        if (sums_count(s) == 0)
            continue;
        for (int k = 0; k + 1 < SUMS_CELLS; k++)
            pack_groups(out, s->cell[k]);
        for (int k = 1; k < powers_of(kind); k++)
            pack_double(out, s->t[k]);
        for (int k = 1; k < ranks_of(kind); k++)
            pack_double(out, s->tr[k]);
    }
}

/* After something was short or too long, bad stays and zeros come. */
struct unpacking {
    struct span left;
    bool bad;
};

static uint8_t unpack_byte(struct unpacking *u)
{
    u->bad = u->bad || u->left.len == 0;
    if (u->bad)
        return 0;
    uint8_t byte = u->left.data[0];
    u->left = span_tail(u->left, 1);
    return byte;
}

static uint64_t unpack_groups(struct unpacking *u)
{
    uint64_t x = 0;
    for (int shift = 0; shift < 63; shift += GROUP_BITS) {
        uint8_t byte = unpack_byte(u);
        x |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return x;
    }
    u->bad = true; /* no count is so great */
    return 0;
}

static double unpack_double(struct unpacking *u)
{
    uint64_t bits = 0;
    for (int shift = 0; shift < 64; shift += 8)
        bits |= (uint64_t)unpack_byte(u) << shift;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void unpack_leaf(struct unpacking *u, enum model_kind kind,
                        struct sums *s)
{
    memset(s, 0, sizeof *s);
    uint64_t keys = unpack_groups(u);
    uint64_t left = keys;
    if (keys == 0)
        return;
    for (int k = 0; k + 1 < SUMS_CELLS; k++) {
        s->cell[k] = unpack_groups(u);
        u->bad = u->bad || s->cell[k] > left;
        left -= u->bad ? 0 : s->cell[k];
    }
    s->cell[SUMS_CELLS - 1] = left;
    s->t[0] = (double)keys;
    s->tr[0] = (double)keys * ((double)keys - 1) / 2;
    for (int k = 1; k < powers_of(kind); k++)
        s->t[k] = unpack_double(u);
    for (int k = 1; k < ranks_of(kind); k++)
        s->tr[k] = unpack_double(u);
}

int sums_unpack(struct span bytes, enum model_kind kind, struct sums *sums,
                size_t count)
{
    struct unpacking u = { .left = bytes };
    for (size_t i = 0; i < count; i++)
        unpack_leaf(&u, kind, &sums[i]);
    return u.bad || u.left.len > 0 ? DLHT_EPROTO : DLHT_OK;
}
