/* SPDX-License-Identifier: Apache-2.0 */

#include "training/sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "rmi/key8.h"

static int add(struct sample *sample, uint64_t key)
{
    uint8_t bytes[8];
    key8_store(bytes, key);
    return sample_add(sample, span_of(bytes, sizeof bytes));
}

static struct sample *make(size_t keys_max, uint64_t seed)
{
    struct sample *sample;
    cr_assert_eq(sample_new(keys_max, seed, &sample), DLHT_OK);
    return sample;
}

/* Cells of the stream, for keys 0 .. stream - 1: a sample that favours any
 * time of arrival gives itself away. */
static double chi_square(struct sample *sample, uint64_t stream)
{
    enum {
        CELLS = 100
    };
    double cell[CELLS] = { 0 };
    size_t count;
    const struct span *keys = sample_sorted(sample, &count);
    for (size_t i = 0; i < count; i++) {
        cr_assert(i == 0 || span_compare(keys[i - 1], keys[i]) < 0);
        cell[key8_load(keys[i].data) * CELLS / stream]++;
    }
    double each = (double)count / CELLS;
    double sum = 0;
    for (int i = 0; i < CELLS; i++)
        sum += (cell[i] - each) * (cell[i] - each) / each;
    return sum;
}

Test(sample, a_million_keys_leave_an_even_sample)
{
    /* 99 degrees of freedom: above 160 one time in ten thousand; below 53 one
     * in twenty thousand. The finite stream makes it smaller by 1 %. */
    const uint64_t stream = 1000000;
    double sum = 0;
    int seeds = 0;
    for (uint64_t seed = 1; seed <= 8; seed++, seeds++) {
        struct sample *sample = make(SAMPLE_KEYS_DEFAULT, seed);
        for (uint64_t i = 0; i < stream; i++)
            cr_assert_eq(add(sample, i), DLHT_OK);
        cr_assert_eq(sample_seen(sample), stream);
        cr_assert_eq(sample_count(sample), (size_t)SAMPLE_KEYS_DEFAULT);
        double chi = chi_square(sample, stream);
        printf("seed %llu: chi square %.1f of 99\n", (unsigned long long)seed,
               chi);
        cr_assert(chi > 53 && chi < 160);
        sum += chi;
        sample_free(sample);
    }
    cr_assert(fabs(sum / seeds - 99) < 20, "mean %.1f", sum / seeds);
}

Test(sample, a_short_stream_is_taken_whole)
{
    struct sample *sample = make(100, 7);
    size_t count = 1;
    cr_assert_null(sample_sorted(sample, &count));
    cr_assert_eq(count, 0u);
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_eq(add(sample, 1000 - i), DLHT_OK);
        cr_assert_eq(sample_count(sample), (size_t)i + 1);
    }
    const struct span *keys = sample_sorted(sample, &count);
    cr_assert_eq(count, 100u);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(key8_load(keys[i].data), 901 + i);
    /* Sorting in between harms nothing, and repeats are kept. */
    for (uint64_t i = 0; i < 10000; i++)
        cr_assert_eq(add(sample, 5), DLHT_OK);
    keys = sample_sorted(sample, &count);
    cr_assert_eq(count, 100u);
    cr_assert_eq(key8_load(keys[50].data), 5u);
    sample_reset(sample, 8);
    cr_assert_eq(sample_count(sample), 0u);
    cr_assert_eq(sample_seen(sample), 0u);
    cr_assert_eq(sample_add(sample, span_empty()), DLHT_OK);
    keys = sample_sorted(sample, &count);
    cr_assert(count == 1 && keys[0].len == 0);
    sample_free(sample);
    sample_free(NULL);
}

Test(sample, more_than_a_fifth_removed_spoils_it)
{
    struct sample *sample = make(10, 7);
    cr_assert_not(sample_is_spoiled(sample));
    for (uint64_t i = 0; i < 1000; i++)
        cr_assert_eq(add(sample, i), DLHT_OK);
    for (int i = 0; i < 200; i++)
        sample_note_removed(sample);
    cr_assert_not(sample_is_spoiled(sample));
    sample_note_removed(sample);
    cr_assert(sample_is_spoiled(sample));
    sample_reset(sample, 7);
    cr_assert_not(sample_is_spoiled(sample));
    sample_free(sample);
}

Test(sample, without_memory_a_key_is_counted_and_not_taken)
{
    if (!fail_alloc_works())
        return;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct sample *sample = (void *)&nth;
        fail_alloc_nth(nth);
        cr_assert_eq(sample_new(10, 1, &sample), DLHT_ENOMEM);
        cr_assert_null(sample);
    }
    struct sample *sample = make(10, 1);
    cr_assert_eq(add(sample, 1), DLHT_OK);
    fail_alloc_nth(1);
    cr_assert_eq(add(sample, 2), DLHT_ENOMEM);
    cr_assert(sample_count(sample) == 1 && sample_seen(sample) == 2);
    for (uint64_t i = 2; i < 11; i++)
        cr_assert_eq(add(sample, i), DLHT_OK);
    size_t failed = 0;
    for (uint64_t i = 11; i < 1000; i++) {
        fail_alloc_nth(1);
        failed += add(sample, 7000) == DLHT_ENOMEM;
        fail_alloc_nth(0);
    }
    cr_assert(failed > 0);
    cr_assert_eq(sample_seen(sample), 1000u);
    size_t count;
    const struct span *keys = sample_sorted(sample, &count);
    cr_assert_eq(count, 10u);
    for (size_t i = 0; i < count; i++)
        cr_assert_neq(key8_load(keys[i].data), 7000u);
    sample_free(sample);
}
