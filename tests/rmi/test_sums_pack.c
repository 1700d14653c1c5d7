/* SPDX-License-Identifier: Apache-2.0 */

#include "rmi/sums_pack.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"

enum {
    LEAVES = 40
};
static const uint64_t seed = 20261121;

/* Some leaves without keys, some with many. */
static void fill(struct sums *sums, struct rng *rng)
{
    memset(sums, 0, LEAVES * sizeof *sums);
    for (size_t i = 0; i < LEAVES; i++)
        for (uint64_t n = rng_below(rng, 4) * rng_below(rng, 300); n > 0; n--)
            sums_add(&sums[i], rng_real(rng));
}

Test(sums_pack, brings_what_its_kind_needs)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (int kind = MODEL_LINEAR; kind <= MODEL_CUBIC; kind++) {
        struct sums sums[LEAVES], again[LEAVES];
        struct buf packed = { 0 };
        fill(sums, &rng);
        sums_pack(sums, LEAVES, (enum model_kind)kind, &packed);
        cr_assert_eq(sums_unpack(buf_span(&packed), (enum model_kind)kind,
                                 again, LEAVES),
                     DLHT_OK);
        int powers = kind == MODEL_LINEAR ? 3 : SUMS_POWERS;
        int ranks = kind == MODEL_LINEAR ? 2 : SUMS_RANKS;
        for (size_t i = 0; i < LEAVES; i++) {
            cr_assert(sums_are_sane(&again[i]));
            cr_assert_eq(
                memcmp(again[i].cell, sums[i].cell, sizeof sums[i].cell), 0);
            for (int k = 0; k < powers; k++)
                cr_assert(again[i].t[k] == sums[i].t[k], "t^%d", k);
            for (int k = 0; k < ranks; k++)
                cr_assert(again[i].tr[k] == sums[i].tr[k], "r t^%d", k);
        }
        /* Counts up to 16,383 in a cell: two bytes. */
        size_t most = (size_t)(3 + 2 * 15 + 8 * (powers - 1 + ranks - 1));
        cr_assert_leq(packed.len, LEAVES * most);
        buf_deinit(&packed);
    }
}

/* Cut at each byte, one too many, or any byte changed: refused, or numbers
 * that sums_are_sane looks at. */
Test(sums_pack, refuses_what_is_short_or_long)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct sums sums[LEAVES], again[LEAVES];
    struct buf packed = { 0 };
    fill(sums, &rng);
    sums_pack(sums, LEAVES, MODEL_LINEAR, &packed);
    for (size_t len = 0; len < packed.len; len++)
        cr_assert_eq(
            sums_unpack(span_of(packed.data, len), MODEL_LINEAR, again, LEAVES),
            DLHT_EPROTO);
    for (size_t at = 0; at < packed.len; at++) {
        uint8_t was = packed.data[at];
        packed.data[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
        (void)!sums_unpack(buf_span(&packed), MODEL_LINEAR, again, LEAVES);
        for (size_t i = 0; i < LEAVES; i++)
            (void)sums_are_sane(&again[i]);
        packed.data[at] = was;
    }
    buf_append_byte(&packed, 0);
    cr_assert_eq(sums_unpack(buf_span(&packed), MODEL_LINEAR, again, LEAVES),
                 DLHT_EPROTO);
    buf_deinit(&packed);
    /* More keys in cells than in all, and a count that never ends. */
    const uint8_t more[] = { 3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                             0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                             0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    cr_assert_eq(
        sums_unpack(span_of(more, sizeof more), MODEL_LINEAR, again, 1),
        DLHT_EPROTO);
    uint8_t endless[12];
    memset(endless, 0xff, sizeof endless);
    cr_assert_eq(
        sums_unpack(span_of(endless, sizeof endless), MODEL_LINEAR, again, 1),
        DLHT_EPROTO);
}
