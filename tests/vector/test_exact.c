/* SPDX-License-Identifier: Apache-2.0 */

/* Exact search beside a sort of all distances. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "vector/exact.h"

enum {
    SEED = 7,
    DIM = 19,
    ROWS = 2311,
    QUERIES = 70,
    K = 12
};

static float rows[ROWS][DIM + 1];
static float queries[QUERIES][DIM + 2];
static _Atomic uint64_t handles[ROWS];
static uint64_t bits[ROWS / 64 + 1];

static void fill(void)
{
    struct rng rng;
    rng_init(&rng, SEED);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < DIM; j++)
            rows[i][j] = (float)rng_below(&rng, 7) - 3; /* many are equal */
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < DIM; j++)
            queries[i][j] = (float)rng_below(&rng, 7) - 3;
    for (uint32_t i = 0; i < ROWS; i++) {
        atomic_init(&handles[i], rng_chance(&rng, 0.2) ? EXACT_NONE : i + 100);
        if (i / 64 % 3 != 1 && rng_chance(&rng, 0.5))
            bits[i / 64] |= UINT64_C(1) << i % 64;
    }
}

static bool odd_handle(void *self, uint64_t handle)
{
    (*(size_t *)self)++;
    return handle % 2;
}

static int nearer(const void *a, const void *b)
{
    const struct hit *x = a;
    const struct hit *y = b;
    return topk_nearer(*x, *y) ? -1 : topk_nearer(*y, *x);
}

/* By the definition. */
static size_t truth(const struct exact_set *set, const float *query,
                    const struct admit *admit, struct hit *out)
{
    size_t count = 0;
    for (uint32_t i = 0; i < set->row_count; i++) {
        uint64_t handle = set->handles ? atomic_load(&handles[i]) : EXACT_NONE;
        if (set->handles && handle == EXACT_NONE)
            continue;
        if (!admit_has(admit, i, handle))
            continue;
        float d = 0;
        for (size_t j = 0; j < DIM; j++)
            d += set->measure == KERNEL_IP
                     ? -query[j] * rows[i][j]
                     : (query[j] - rows[i][j]) * (query[j] - rows[i][j]);
        if (set->measure == KERNEL_IP)
            d += set->ip_base;
        out[count++] = (struct hit){ i, d };
    }
    qsort(out, count, sizeof *out, nearer);
    return count < K ? count : K;
}

static void check(const struct exact_set *set, const struct admit *admit,
                  const char *why)
{
    static struct hit all[ROWS];
    static struct hit many[QUERIES][K];
    static size_t counts[QUERIES];
    cr_assert_eq(exact_many(set, queries[0], DIM + 2, QUERIES, K, admit,
                            many[0], counts),
                 DLHT_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        size_t want = truth(set, queries[q], admit, all);
        struct hit found[K];
        struct topk top;
        topk_init(&top, found, K);
        exact_scan(set, queries[q], admit, &top);
        topk_sort(&top);
        cr_assert_eq(top.count, want, "%s", why);
        cr_assert_eq(counts[q], want, "%s", why);
        for (size_t i = 0; i < want; i++) {
            cr_assert_eq(found[i].row, all[i].row, "%s, query %zu", why, q);
            cr_assert_eq(found[i].distance, all[i].distance, "%s", why);
            /* Rows as near as the last may be others by product. */
            cr_assert_eq(many[q][i].distance, all[i].distance, "%s", why);
        }
    }
}

Test(exact, finds_what_a_sort_finds)
{
    fill();
    for (size_t kernel = 0; kernel_at(kernel); kernel++) {
        struct exact_set set = {
            .kernel = kernel_at(kernel),
            .type = KERNEL_F32,
            .rows = { rows, sizeof rows[0], DIM },
            .row_count = ROWS,
        };
        size_t asked = 0;
        struct admit by_bit = { bits, ROWS - 100, NULL, NULL };
        struct admit by_question = { NULL, 0, odd_handle, &asked };
        struct admit by_both = { bits, ROWS, odd_handle, &asked };
        for (int m = 0; m < KERNEL_MEASURES; m++) {
            set.measure = (enum kernel_measure)m;
            set.ip_base = 1;
            set.handles = NULL;
            set.row_count = ROWS;
            check(&set, NULL, "all");
            check(&set, &by_bit, "some rows");
            set.handles = handles;
            check(&set, NULL, "some rows are empty");
            check(&set, &by_question, "some handles");
            check(&set, &by_both, "some rows, some handles");
            set.row_count = 7;
            check(&set, NULL, "fewer than k");
            set.row_count = 0;
            check(&set, NULL, "none");
        }
        cr_assert_gt(asked, 0);
    }
}

Test(topk, keeps_none_of_nothing)
{
    struct topk top;
    topk_init(&top, NULL, 0);
    topk_offer(&top, 1, 1);
    topk_sort(&top);
    cr_assert_eq(top.count, 0);
}
