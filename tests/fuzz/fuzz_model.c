/* SPDX-License-Identifier: Apache-2.0 */

/* Models and what they are trained from, as bytes of a stranger.
 *
 * The first byte of an input chooses: a packed model, behind a checksum that
 * is right ('m') or as it stands ('r'), sums of leaves ('s'), or quantiles of
 * an arc ('q'). A model that is taken has to keep order. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "dlht/rmi.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "rmi/fit.h"
#include "rmi/model.h"
#include "rmi/sums_pack.h"
#include "training/report.h"

enum {
    LEAVES_MAX = 1024,
    CHECKSUM_BYTES = 8
};

/* Every call of the door on a model that came through it. */
static void ask(const struct dlht_model *model, struct span keys)
{
    uint64_t before = 0;
    for (unsigned i = 0; i < 256; i += 5) {
        uint8_t key[2] = { (uint8_t)i, (uint8_t)(i * 7) };
        struct dlht_model_guess g =
            dlht_model_position_with_error(model, key, sizeof key);
        assert(g.lo <= g.position && g.position <= g.hi);
        assert(before <= g.position);
        before = g.position;
    }
    uint64_t whole = dlht_model_position(model, keys.data, keys.len);
    uint64_t half = dlht_model_position(model, keys.data, keys.len / 2);
    assert(half <= whole);
    struct dlht_model_range r =
        dlht_model_range(model, (struct dlht_bytes){ keys.data, keys.len / 2 },
                         (struct dlht_bytes){ keys.data, keys.len });
    assert(r.lo <= r.hi && r.count >= 0 && r.error >= 0);
    void *key;
    size_t len;
    int rc = dlht_model_key_at(model, whole, &key, &len);
    assert(rc == DLHT_OK);
    assert(dlht_model_position(model, key, len) <= whole);
    free(key);
    struct dlht_model_stats stats;
    rc = dlht_model_stats(model, NULL, 0, &stats);
    assert(rc == DLHT_OK && stats.leaf_count >= 1);
}

static void again(const struct dlht_model *model)
{
    void *bytes, *bytes_again;
    size_t len, len_again;
    struct dlht_model *copy;
    int rc = dlht_model_pack(model, &bytes, &len);
    assert(rc == DLHT_OK);
    rc = dlht_model_unpack(bytes, len, &copy);
    assert(rc == DLHT_OK);
    rc = dlht_model_pack(copy, &bytes_again, &len_again);
    assert(rc == DLHT_OK && len == len_again);
    assert(memcmp(bytes, bytes_again, len) == 0);
    dlht_model_free(copy);
    free(bytes);
    free(bytes_again);
}

static void try_model(struct span bytes)
{
    struct dlht_model *model;
    int rc = dlht_model_unpack(bytes.data, bytes.len, &model);
    if (rc != DLHT_OK) {
        assert(rc == DLHT_ECORRUPT || rc == DLHT_EVERSION ||
               rc == DLHT_ETOOBIG);
        assert(!model);
        return;
    }
    ask(model, bytes);
    again(model);
    dlht_model_free(model);
}

/* The input without its last bytes, then their checksum. */
static void try_sealed(struct span input)
{
    if (input.len < CHECKSUM_BYTES) {
        try_model(input);
        return;
    }
    uint8_t *bytes = malloc(input.len);
    assert(bytes);
    memcpy(bytes, input.data, input.len);
    uint64_t sum = hash64(span_of(bytes, input.len - CHECKSUM_BYTES));
    for (int i = 0; i < CHECKSUM_BYTES; i++)
        bytes[input.len - CHECKSUM_BYTES + (size_t)i] =
            (uint8_t)(sum >> (8 * i));
    try_model(span_of(bytes, input.len));
    free(bytes);
}

static void try_sums(struct span input)
{
    struct fuzz_in in = { input };
    enum model_kind kind = fuzz_byte(&in) & 1 ? MODEL_CUBIC : MODEL_LINEAR;
    size_t count = 1 + fuzz_below(&in, LEAVES_MAX);
    struct sums *sums = calloc(count, sizeof *sums);
    assert(sums);
    int rc = sums_unpack(in.rest, kind, sums, count);
    assert(rc == DLHT_OK || rc == DLHT_EPROTO);
    if (rc == DLHT_OK) {
        struct buf out = { 0 };
        for (size_t i = 0; i < count; i++)
            (void)sums_are_sane(&sums[i]);
        sums_pack(sums, count, kind, &out);
        buf_deinit(&out);
    }
    free(sums);
}

static void try_quantiles(struct span input)
{
    struct fuzz_in in = { input };
    static struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    struct buf room = { 0 };
    struct span lo = fuzz_span(&in, 64), hi = fuzz_span(&in, 64);
    size_t count = fuzz_below(&in, REPORT_QUANTILES_MAX + 1);
    struct report report = { .lo = lo, .hi = hi, .has_hi = hi.len > 0 };
    report.keys = fuzz_number(&in, count);
    report.quantiles = quantiles;
    report.quantile_count = count;
    int rc = report_unpack(in.rest, lo, count, quantiles, &report.end, &room);
    assert(rc == DLHT_OK || rc == DLHT_EPROTO);
    uint64_t keys = 0;
    for (size_t i = 0; rc == DLHT_OK && i < count; i++)
        keys += quantiles[i].count;
    if (fuzz_byte(&in) & 1)
        report.keys = keys;
    if (rc == DLHT_OK && report_check(&report) == DLHT_OK && count > 0) {
        struct fit_config config = fit_config_default();
        config.leaf_count = 16;
        struct model *model;
        rc = fit_skeleton(quantiles, count, report.end, &config, &model);
        assert(rc == DLHT_OK);
        model_free(model);
    }
    buf_deinit(&room);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    switch (data[0]) {
    case 'r':
        try_model(rest);
        break;
    case 's':
        try_sums(rest);
        break;
    case 'q':
        try_quantiles(rest);
        break;
    default:
        try_sealed(rest);
    }
    return 0;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void make_model(struct rng *rng, struct buf *out)
{
    uint64_t keys[300];
    size_t count = (size_t)rng_range(rng, 1, 300);
    for (size_t i = 0; i < count; i++)
        keys[i] = rng_next(rng) >> rng_below(rng, 60);
    qsort(keys, count, sizeof *keys, ascending);
    struct fit_config config = fit_config_default();
    config.leaf_count = (uint32_t)rng_range(rng, 1, 24);
    config.leaf = rng_chance(rng, 0.5) ? MODEL_CUBIC : MODEL_LINEAR;
    config.root = rng_chance(rng, 0.5) ? MODEL_CUBIC : MODEL_LINEAR;
    struct model *model;
    int rc = fit_u64(keys, count, &config, &model);
    assert(rc == DLHT_OK);
    buf_append_byte(out, rng_chance(rng, 0.2) ? 'r' : 'm');
    rc = model_pack(model, out);
    assert(rc == DLHT_OK);
    model_free(model);
}

static void make_quantiles(struct rng *rng, struct buf *out)
{
    uint8_t keys[32][3];
    struct fit_quantile quantiles[32];
    size_t count = (size_t)rng_range(rng, 1, 32);
    for (size_t i = 0; i < count; i++) {
        keys[i][0] = (uint8_t)(i * 7 + 1);
        keys[i][1] = (uint8_t)rng_next(rng);
        keys[i][2] = (uint8_t)rng_next(rng);
        quantiles[i] =
            (struct fit_quantile){ span_of(keys[i], 3), rng_range(rng, 1, 9) };
    }
    struct report report = { .quantiles = quantiles,
                             .quantile_count = count,
                             .end = span_of("\xff\xff", 2) };
    uint8_t head[] = { 'q', 0, 0, 0, (uint8_t)count, 255, 255 };
    buf_append(out, head, sizeof head);
    report_pack(&report, out);
}

static void make_sums(struct rng *rng, struct buf *out)
{
    struct sums sums[8];
    memset(sums, 0, sizeof sums);
    bool cubic = rng_chance(rng, 0.5);
    for (int leaf = 0; leaf < 8; leaf++)
        for (uint64_t n = rng_below(rng, 20), i = 0; i < n; i++)
            sums_add(&sums[leaf], rng_real(rng));
    uint8_t head[] = { 's', cubic, 0, 7 };
    buf_append(out, head, sizeof head);
    sums_pack(sums, 8, cubic ? MODEL_CUBIC : MODEL_LINEAR, out);
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    uint64_t choice = rng_below(rng, 10);
    if (choice < 5)
        make_model(rng, out);
    else if (choice < 8)
        make_quantiles(rng, out);
    else
        make_sums(rng, out);
    for (uint64_t n = rng_below(rng, 4); n > 0 && out->len > 1; n--)
        out->data[1 + rng_below(rng, out->len - 1)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
