/* SPDX-License-Identifier: Apache-2.0 */

/* Memory from the system: aligned as promised, whole, and fit for a map. And
 * its processors. */

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "net/sys.h"

enum {
    HUGE = 2 << 20
};

Test(sys, gives_aligned_memory_of_any_size)
{
    static const size_t sizes[] = {
        1,        64,           100,          4096,     HUGE - 1,
        HUGE,     HUGE + 1,     HUGE + 5000,  3 * HUGE, 3 * HUGE + HUGE / 2,
        5 * HUGE, 2 * HUGE - 1, 2 * HUGE + 64
    };
    enum {
        COUNT = sizeof sizes / sizeof *sizes
    };
    const struct records_pages *pages = sys_pages();
    uint8_t *taken[COUNT];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            taken[i] = pages->take(pages->self, sizes[i]);
            cr_assert(taken[i], "%zu bytes", sizes[i]);
            size_t align = sizes[i] < HUGE ? 64 : HUGE;
            cr_assert_eq((uintptr_t)taken[i] % align, 0, "%zu", sizes[i]);
            memset(taken[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            cr_assert_eq(taken[i][0], i + 1);
            cr_assert_eq(taken[i][sizes[i] - 1], i + 1);
            pages->give(pages->self, taken[i], sizes[i]);
        }
    }
    cr_assert_null(pages->take(pages->self, SIZE_MAX));
    cr_assert_null(pages->take(pages->self, SIZE_MAX / 2 - HUGE));
}

Test(sys, a_map_lives_in_it)
{
    enum {
        N = 200000
    };
    struct records *map = records_new_with(7, sys_pages());
    cr_assert(map);
    char key[32];
    for (int i = 0; i < N; i++) {
        int len = snprintf(key, sizeof key, "%d", i * 7919 % N);
        struct record r = { span_of(key, (size_t)len),
                            span_of(key, (size_t)len), 1 };
        cr_assert_eq(records_put(map, &r), DLHT_OK);
    }
    cr_assert_eq(records_count(map), N);
    struct records *right;
    cr_assert_eq(records_split(map, span_str("5"), 8, &right), DLHT_OK);
    records_check(map);
    records_check(right);
    cr_assert_eq(records_count(map) + records_count(right), N);
    records_free(map);
    records_check(right);
    records_free(right);
}

Test(sys, counts_the_processors_that_it_may_use)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    cr_assert_geq(sys_processors(), 1);
    cr_assert_eq(sched_setaffinity(0, sizeof set, &set), 0);
    cr_assert_eq(sys_processors(), 1);
}
