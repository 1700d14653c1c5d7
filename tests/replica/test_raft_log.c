/* SPDX-License-Identifier: Apache-2.0 */

/* The log in memory against a list of what it was given: entries of all sizes
 * come, are replaced, and go from both ends. */

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "replica/raft_log.h"

enum {
    STEPS = 4000,
    ADDED_MAX = 40,
    BYTES_MAX = 3000,
    HELD_MAX = 2000
};

/* What an entry must be follows from its index and a salt of its own. */
static uint32_t salts[STEPS * ADDED_MAX];

static size_t length_of(uint64_t index)
{
    uint32_t salt = salts[index];
    return salt % 5 == 0 ? 0 : salt % 7 == 0 ? salt % BYTES_MAX : salt % 200;
}

static struct raft_entry make(uint64_t index, uint8_t *bytes,
                              struct raft_members *members)
{
    bool named = salts[index] % 11 == 0;
    size_t len = length_of(index);
    memset(bytes, (int)(salts[index] % 251), len);
    *members = (struct raft_members){ .count = 2 };
    members->list[1].id = salts[index];
    return (struct raft_entry){
        .term = 1,
        .index = index,
        .type = named ? RAFT_ENTRY_MEMBERS : RAFT_ENTRY_DATA,
        .data = span_of(len ? bytes : NULL, len),
        .members = named ? members : NULL,
    };
}

static void check_entry(const struct raft_log *log, uint64_t index)
{
    static uint8_t bytes[BYTES_MAX];
    struct raft_members members;
    struct raft_entry want = make(index, bytes, &members);
    const struct raft_entry *got = raft_log_at(log, index);
    cr_assert_not_null(got);
    cr_assert_eq(got->index, index);
    cr_assert_eq(got->type, want.type);
    cr_assert(span_equal(got->data, want.data));
    cr_assert_eq(!got->members, !want.members);
    if (got->members)
        cr_assert_eq(got->members->list[1].id, salts[index]);
}

static void add(struct raft_log *log, struct rng *rng, uint64_t from)
{
    static uint8_t bytes[ADDED_MAX][BYTES_MAX];
    struct raft_members members[ADDED_MAX];
    struct raft_entry entries[ADDED_MAX];
    size_t count = (size_t)rng_range(rng, 1, ADDED_MAX);
    for (size_t i = 0; i < count; i++) {
        salts[from + i] = (uint32_t)rng_next(rng);
        entries[i] = make(from + i, bytes[i], &members[i]);
    }
    cr_assert_eq(raft_log_replace(log, from, entries, count), DLHT_OK);
    cr_assert_eq(raft_log_last(log), from + count - 1);
}

static size_t bytes_between(uint64_t from, uint64_t to)
{
    size_t sum = 0;
    for (uint64_t i = from + 1; i <= to; i++)
        sum += length_of(i) + RAFT_LOG_ENTRY_BYTES;
    return sum;
}

Test(raft_log, holds_what_it_was_given)
{
    struct rng rng;
    struct raft_log log;
    rng_init(&rng, 1);
    raft_log_init(&log, 0, 0);
    for (int step = 0; step < STEPS; step++) {
        uint64_t last = raft_log_last(&log);
        uint64_t base = log.base_index;
        if (rng_chance(&rng, 0.1) && last > base)
            add(&log, &rng, rng_range(&rng, base + 1, last));
        else
            add(&log, &rng, last + 1);
        last = raft_log_last(&log);
        if (rng_chance(&rng, 0.1) || last - base > HELD_MAX)
            raft_log_drop_front(&log, rng_range(&rng, base + 1, last));
        if (rng_chance(&rng, 0.01))
            raft_log_reset(&log, last, 1);
        base = log.base_index;
        last = raft_log_last(&log);
        cr_assert_eq(raft_log_bytes_between(&log, base, last),
                     bytes_between(base, last));
        if (last == base)
            continue;
        check_entry(&log, base + 1);
        check_entry(&log, last);
        check_entry(&log, rng_range(&rng, base + 1, last));
        cr_assert_null(raft_log_at(&log, base));
        cr_assert_null(raft_log_at(&log, last + 1));
    }
    for (uint64_t i = log.base_index + 1; i <= raft_log_last(&log); i++)
        check_entry(&log, i);
    raft_log_deinit(&log);
}
