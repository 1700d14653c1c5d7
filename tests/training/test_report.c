/* SPDX-License-Identifier: Apache-2.0 */

#include "training/report.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "rmi/key_sets.h"

static struct span text(const char *s)
{
    return s ? span_str(s) : span_empty();
}

Test(report, what_contradicts_itself_is_refused)
{
    const struct {
        const char *why;
        const char *lo, *hi;
        uint64_t keys;
        const char *quantile[3];
        uint64_t count[3];
        const char *end;
        int rc;
    } rows[] = {
        { "as it should be",
          "b",
          "x",
          9,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "w",
          DLHT_OK },
        { "the last arc",
          "b",
          NULL,
          9,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "zzz",
          DLHT_OK },
        { "one key", "", NULL, 1, { "a" }, { 1 }, "a", DLHT_OK },
        { "no keys", "b", "x", 0, { NULL }, { 0 }, NULL, DLHT_OK },
        { "not ascending",
          "b",
          "x",
          9,
          { "b", "d", "c" },
          { 2, 3, 4 },
          "w",
          DLHT_EPROTO },
        { "the same twice",
          "b",
          "x",
          9,
          { "b", "c", "c" },
          { 2, 3, 4 },
          "w",
          DLHT_EPROTO },
        { "before lo",
          "b",
          "x",
          9,
          { "a", "c", "d" },
          { 2, 3, 4 },
          "w",
          DLHT_EPROTO },
        { "at hi",
          "b",
          "d",
          9,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "d",
          DLHT_EPROTO },
        { "the end at hi",
          "b",
          "x",
          9,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "x",
          DLHT_EPROTO },
        { "the end before a quantile",
          "b",
          "x",
          9,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "c",
          DLHT_EPROTO },
        { "a key too many",
          "b",
          "x",
          8,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "w",
          DLHT_EPROTO },
        { "a key too few",
          "b",
          "x",
          10,
          { "b", "c", "d" },
          { 2, 3, 4 },
          "w",
          DLHT_EPROTO },
        { "a quantile of none",
          "b",
          "x",
          5,
          { "b", "c", "d" },
          { 2, 3, 0 },
          "w",
          DLHT_EPROTO },
        { "a sum that wraps",
          "b",
          "x",
          9,
          { "b", "c", "d" },
          { UINT64_MAX, 6, 4 },
          "w",
          DLHT_EPROTO },
        { "no keys but quantiles",
          "b",
          "x",
          0,
          { "b" },
          { 1 },
          "b",
          DLHT_EPROTO },
        { "keys but no quantiles",
          "b",
          "x",
          3,
          { NULL },
          { 0 },
          "b",
          DLHT_EPROTO },
        { "upside down", "x", "b", 0, { NULL }, { 0 }, NULL, DLHT_EPROTO },
        { "empty", "b", "b", 0, { NULL }, { 0 }, NULL, DLHT_EPROTO },
        { "more than can be",
          "b",
          "x",
          REPORT_KEYS_MAX + 1,
          { "b" },
          { REPORT_KEYS_MAX + 1 },
          "b",
          DLHT_EPROTO },
        { "as many as can be",
          "b",
          "x",
          REPORT_KEYS_MAX,
          { "b" },
          { REPORT_KEYS_MAX },
          "b",
          DLHT_OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fit_quantile quantiles[3];
        struct report report = { .lo = text(rows[i].lo),
                                 .hi = text(rows[i].hi),
                                 .has_hi = rows[i].hi != NULL,
                                 .keys = rows[i].keys,
                                 .quantiles = quantiles,
                                 .end = text(rows[i].end) };
        for (; report.quantile_count < 3; report.quantile_count++) {
            size_t q = report.quantile_count;
            if (!rows[i].quantile[q])
                break;
            quantiles[q].key = span_str(rows[i].quantile[q]);
            quantiles[q].count = rows[i].count[q];
        }
        cr_assert_eq(report_check(&report), rows[i].rc, "%s", rows[i].why);
    }
}

Test(report, too_many_quantiles_or_too_long_a_key_is_refused)
{
    enum {
        MOST = REPORT_QUANTILES_MAX + 1
    };
    uint8_t(*bytes)[2] = malloc(MOST * sizeof *bytes);
    struct fit_quantile *quantiles = malloc(MOST * sizeof *quantiles);
    for (size_t i = 0; i < MOST; i++) {
        bytes[i][0] = (uint8_t)(i >> 8);
        bytes[i][1] = (uint8_t)i;
        quantiles[i] = (struct fit_quantile){ span_of(bytes[i], 2), 1 };
    }
    struct report report = { .keys = MOST - 1,
                             .quantiles = quantiles,
                             .quantile_count = MOST - 1,
                             .end = span_of(bytes[MOST - 2], 2) };
    cr_assert_eq(report_check(&report), DLHT_OK);
    report.keys = report.quantile_count = MOST;
    report.end = span_of(bytes[MOST - 1], 2);
    cr_assert_eq(report_check(&report), DLHT_EPROTO);
    uint8_t *longest = calloc(REPORT_KEY_LEN_MAX + 1, 1);
    for (size_t more = 0; more <= 1; more++) {
        struct fit_quantile one = { span_of(longest, REPORT_KEY_LEN_MAX + more),
                                    1 };
        struct report of_one = {
            .keys = 1, .quantiles = &one, .quantile_count = 1, .end = one.key
        };
        cr_assert_eq(report_check(&of_one), more ? DLHT_EPROTO : DLHT_OK);
    }
    free(longest);
    free(quantiles);
    free(bytes);
}

Test(report, quantiles_follow_the_share)
{
    const struct {
        double share;
        uint32_t leaf_count;
        size_t wanted;
    } rows[] = {
        { 0, 1024, 8 },       { 1.0 / 300, 1024, 13 }, { 1.0 / 64, 1024, 64 },
        { 0.25, 1024, 1024 }, { 1, 1024, 1024 },       { 1, 4, 16 },
        { NAN, 1024, 8 },     { -1, 1024, 8 },         { INFINITY, 1, 1024 },
        { 0.125, 1024, 512 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(report_quantiles_wanted(rows[i].share, rows[i].leaf_count),
                     rows[i].wanted, "row %zu", i);
}

Test(report, a_separator_is_the_shortest_that_sorts_between)
{
    const struct {
        const char *before, *key, *separator;
    } rows[] = {
        { "", "a", "a" },          { "a", "b", "b" },
        { "abc", "abxyz", "abx" }, { "ab", "abxyz", "abx" },
        { "ab", "abx", "abx" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span got =
            report_separator(span_str(rows[i].before), span_str(rows[i].key));
        cr_assert(span_equal(got, span_str(rows[i].separator)), "row %zu", i);
    }
}

static uint64_t any_count(struct rng *rng)
{
    return 1 + (rng_next(rng) >> (32 + rng_below(rng, 32)));
}

/* Through bytes and back; cut at each byte, one too many, or with any byte
 * changed it is refused, or other numbers. */
Test(report, travels)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 300, 20261121);
    struct fit_quantile quantiles[300], again[300];
    struct rng rng;
    rng_init(&rng, 20261121);
    for (size_t count = 0; count <= 300; count += 100) {
        for (size_t i = 0; i < count; i++)
            quantiles[i] =
                (struct fit_quantile){ set.keys[i], any_count(&rng) };
        struct report report = { .lo = span_str("a"),
                                 .quantiles = quantiles,
                                 .quantile_count = count };
        if (count > 0)
            report.end = set.keys[count - 1];
        struct buf packed = { 0 }, room = { 0 };
        struct span end;
        report_pack(&report, &packed);
        cr_assert_eq(report_unpack(buf_span(&packed), report.lo, count, again,
                                   &end, &room),
                     DLHT_OK);
        cr_assert(span_equal(end, report.end));
        for (size_t i = 0; i < count; i++)
            cr_assert(span_equal(again[i].key, quantiles[i].key) &&
                      again[i].count == quantiles[i].count);
        for (size_t len = 0; len < packed.len; len++)
            cr_assert_eq(report_unpack(span_of(packed.data, len), report.lo,
                                       count, again, &end, &room),
                         DLHT_EPROTO);
        for (size_t at = 0; at < packed.len; at++) {
            uint8_t was = packed.data[at];
            packed.data[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
            (void)!report_unpack(buf_span(&packed), report.lo, count, again,
                                 &end, &room);
            packed.data[at] = was;
        }
        buf_append_byte(&packed, 0);
        cr_assert_eq(report_unpack(buf_span(&packed), report.lo, count, again,
                                   &end, &room),
                     DLHT_EPROTO);
        buf_deinit(&packed);
        buf_deinit(&room);
    }
    key_set_free(&set);
}

/* A few bytes that stand for far more. */
Test(report, does_not_swell)
{
    static uint8_t lo[60000];
    struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    struct buf packed = { 0 }, room = { 0 };
    struct span end;
    for (size_t i = 0; i <= REPORT_QUANTILES_MAX; i++) {
        const uint8_t key[] = { 0xe0, 0xd4, 0x03, 0, 1 }; /* 60,000 as before */
        buf_append(&packed, key, i < REPORT_QUANTILES_MAX ? 5 : 4);
    }
    cr_assert_eq(report_unpack(buf_span(&packed), span_of(lo, sizeof lo),
                               REPORT_QUANTILES_MAX, quantiles, &end, &room),
                 DLHT_EPROTO);
    cr_assert_leq(room.cap, (size_t)REPORT_BYTES_MAX);
    buf_deinit(&packed);
    buf_deinit(&room);
}
