/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots: what comes back, and what is refused. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "dlht/err.h"
#include "vector/hnsw.h"
#include "vector/vectors.h"

enum {
    SEED = 5,
    DIM = 16,
    ROWS = 600,
    K = 10
};

static int to_buf(void *self, const void *bytes, size_t len)
{
    struct buf *b = self;
    buf_append(b, bytes, len);
    return b->failed ? DLHT_ENOMEM : DLHT_OK;
}

static struct hnsw *make(enum metric metric, enum kernel_type codes, bool drop)
{
    struct hnsw_config c = hnsw_config_default(DIM);
    c.metric = metric;
    c.codes = codes;
    c.drop_floats = drop;
    c.m = 5;
    c.m0 = 9;
    c.ef_construction = 40;
    c.seed = SEED;
    struct hnsw *h;
    cr_assert_eq(hnsw_new(&c, &h), DLHT_OK);
    return h;
}

/* At a multiple of 64, as a mapping is. */
static uint8_t *save(struct hnsw *h, size_t *len)
{
    struct buf b;
    buf_init(&b);
    cr_assert_eq(hnsw_save(h, to_buf, &b), DLHT_OK);
    cr_assert_eq(b.len, hnsw_save_bytes(h));
    uint8_t *bytes = aligned_alloc(64, (b.len + 64) / 64 * 64);
    memcpy(bytes, b.data, b.len);
    *len = b.len;
    buf_deinit(&b);
    return bytes;
}

static size_t ask(struct hnsw *h, const float *vector, struct neighbour *out)
{
    struct hnsw_reader *reader;
    cr_assert_eq(hnsw_reader_new(h, &reader), DLHT_OK);
    struct query query = { .vector = vector, .k = K };
    size_t count;
    cr_assert_eq(hnsw_search(reader, &query, out, &count, NULL), DLHT_OK);
    hnsw_reader_free(reader);
    return count;
}

static void check(struct hnsw *h, const char *why)
{
    struct hnsw_report r;
    cr_assert_eq(hnsw_check(h, &r), DLHT_OK, "%s: %s", why, r.fault);
}

static void put_some(struct hnsw *h, const float *vectors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(hnsw_put(h, i * 3, vectors + i * DIM), DLHT_OK);
    for (size_t i = 0; i < count; i += 4) {
        bool removed;
        cr_assert_eq(hnsw_remove(h, i * 3, &removed), DLHT_OK);
    }
}

/* The same answers from the snapshot where it lies, after it was copied, and
 * from the snapshot of a snapshot. */
static void come_back(struct hnsw *h, const float *vectors, size_t count)
{
    size_t len, again_len;
    uint8_t *bytes = save(h, &len);
    struct hnsw *opened;
    struct hnsw_fault fault;
    int rc = hnsw_open(span_of(bytes, len), NULL, &opened, &fault);
    cr_assert_eq(rc, DLHT_OK, "%s at %zu", fault.what, (size_t)fault.at);
    cr_assert_eq(hnsw_count(opened), hnsw_count(h));
    check(opened, "mapped");
    uint8_t *again = save(opened, &again_len);
    cr_assert(again_len == len && memcmp(again, bytes, len) == 0,
              "a snapshot of a snapshot is the same");
    uint8_t *copy = malloc(len);
    memcpy(copy, bytes, len);
    for (int changed = 0; changed < 2; changed++) {
        for (size_t q = 0; q < count; q += 37) {
            struct neighbour want[K], got[K];
            const float *v = vectors + q * DIM;
            size_t n = ask(h, v, want);
            cr_assert_eq(ask(opened, v, got), n);
            for (size_t i = 0; i < n; i++)
                cr_assert(got[i].handle == want[i].handle &&
                              got[i].distance == want[i].distance,
                          "changed %d, query %zu, %zu", changed, q, i);
        }
        bool removed;
        cr_assert_eq(hnsw_put(opened, 1, vectors), DLHT_OK);
        cr_assert_eq(hnsw_remove(opened, 1, &removed), DLHT_OK);
        cr_assert(removed);
        check(opened, "thawed");
        if (count > 300)
            break; /* links have changed */
    }
    cr_assert_eq(memcmp(copy, bytes, len), 0, "the snapshot was written to");
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(hnsw_put(opened, i, vectors + i * DIM), DLHT_OK);
    check(opened, "written to");
    hnsw_free(opened);
    free(copy);
    free(again);
    free(bytes);
}

Test(hnsw_save, comes_back_as_it_was)
{
    float *vectors = vectors_new(SEED, ROWS, DIM);
    for (size_t count = 0; count <= ROWS; count = count * 5 + 1)
        for (int metric = 0; metric < METRICS; metric++)
            for (int codes = 0; codes < KERNEL_TYPES; codes++) {
                struct hnsw *h =
                    make((enum metric)metric, (enum kernel_type)codes,
                         codes != KERNEL_F32 && metric > 0);
                put_some(h, vectors, count);
                come_back(h, vectors, count);
                hnsw_free(h);
            }
    free(vectors);
}

/* Every single byte that is not as it was is found out, with a reason; nor is
 * a shorter or longer file taken. */
Test(hnsw_save, is_refused_when_damaged)
{
    float *vectors = vectors_new(SEED, 60, DIM);
    struct hnsw *h = make(METRIC_COSINE, KERNEL_I8, false);
    put_some(h, vectors, 60);
    size_t len;
    uint8_t *bytes = save(h, &len);
    struct hnsw *opened;
    struct hnsw_fault fault;
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= (uint8_t)(1 << i % 8);
        int rc = hnsw_open(span_of(bytes, len), NULL, &opened, &fault);
        if (rc != DLHT_ECORRUPT || opened || !fault.what)
            cr_assert_fail("byte %zu: %d", i, rc);
        bytes[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t cut = 0; cut < len; cut += cut < 300 ? 1 : 997) {
        int rc = hnsw_open(span_of(bytes, cut), NULL, &opened, &fault);
        cr_assert(rc == DLHT_ECORRUPT && fault.what, "cut at %zu", cut);
    }
    cr_assert_eq(hnsw_open(span_of(bytes + 1, len - 1), NULL, &opened, &fault),
                 DLHT_EINVAL);
    cr_assert_eq(hnsw_open(span_of(bytes, len), NULL, &opened, &fault), 0);
    hnsw_free(opened);
    hnsw_free(h);
    free(bytes);
    free(vectors);
}

static void put64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* All hashes made right again, as one who means harm would. */
static void seal(uint8_t *bytes, size_t len)
{
    put64(bytes + 248, hash64(span_of(bytes, 248)));
    size_t checks = len - 16; /* one block */
    put64(bytes + checks, hash64_seeded(span_of(bytes + 256, checks - 256), 0));
    put64(bytes + checks + 8, hash64(span_of(bytes + checks, 8)));
}

/* With right hashes whatever would lead astray is refused; what is taken does
 * no harm to whoever searches and writes. */
Test(hnsw_save, is_refused_when_forged)
{
    float *vectors = vectors_new(SEED, 40, DIM);
    struct hnsw *h = make(METRIC_L2, KERNEL_I8, false);
    put_some(h, vectors, 40);
    size_t len;
    uint8_t *bytes = save(h, &len);
    uint8_t *forged = aligned_alloc(64, (len + 63) / 64 * 64);
    struct rng rng;
    rng_init(&rng, SEED);
    size_t refused = 0;
    for (size_t i = 8; i < len - 16; i++) {
        memcpy(forged, bytes, len);
        forged[i] =
            rng_chance(&rng, 0.5) ? 0xff : (uint8_t)rng_below(&rng, 256);
        seal(forged, len);
        struct hnsw *opened;
        struct hnsw_fault fault;
        int rc = hnsw_open(span_of(forged, len), NULL, &opened, &fault);
        refused += rc != DLHT_OK;
        if (rc != DLHT_OK) {
            cr_assert_not_null(fault.what);
            continue;
        }
        if (i % 8 == 0) {
            struct neighbour found[K];
            bool removed;
            ask(opened, vectors, found);
            cr_assert_eq(hnsw_put(opened, 1, vectors), DLHT_OK);
            cr_assert_eq(hnsw_remove(opened, 3, &removed), DLHT_OK);
            ask(opened, vectors, found);
        }
        hnsw_free(opened);
    }
    cr_assert_gt(refused, 30 * 9, "links alone are more");
    free(forged);
    hnsw_free(h);
    free(bytes);
    free(vectors);
}

static int refuse_third(void *self, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    return ++*(int *)self == 3 ? DLHT_EIO : DLHT_OK;
}

Test(hnsw_save, passes_on_what_the_writer_says)
{
    struct hnsw *h = make(METRIC_L2, KERNEL_F32, false);
    int calls = 0;
    cr_assert_eq(hnsw_save(h, refuse_third, &calls), DLHT_EIO);
    hnsw_free(h);
}
