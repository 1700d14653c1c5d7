/* SPDX-License-Identifier: Apache-2.0 */

/* The checker of histories, checked: known good and bad ones, and small random
 * ones against trying every order. */

#include "sim/linear.h"

#include <criterion/criterion.h>

#include "base/rng.h"
#include "dlht/err.h"

enum {
    OPS_MAX = 8
};

#define PUT(c, r, v, ver)                                                      \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_PUT,                      \
        .outcome = LINEAR_DONE, .value = v, .version = ver                     \
    }
#define PUT_LOST(c, v)                                                         \
    {                                                                          \
        .call_ns = c, .kind = LINEAR_PUT, .outcome = LINEAR_UNKNOWN,           \
        .value = v                                                             \
    }
#define GET(c, r, v, ver)                                                      \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_GET,                      \
        .outcome = LINEAR_DONE, .value = v, .version = ver                     \
    }
#define MISS(c, r)                                                             \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_GET,                      \
        .outcome = LINEAR_ABSENT                                               \
    }
#define DEL(c, r)                                                              \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_DEL,                      \
        .outcome = LINEAR_DONE                                                 \
    }
#define DEL_MISS(c, r)                                                         \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_DEL,                      \
        .outcome = LINEAR_ABSENT                                               \
    }
#define DEL_LOST(c)                                                            \
    {                                                                          \
        .call_ns = c, .kind = LINEAR_DEL, .outcome = LINEAR_UNKNOWN            \
    }
#define CAS(c, r, e, v, ver)                                                   \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_CAS,                      \
        .outcome = LINEAR_DONE, .expected = e, .value = v, .version = ver      \
    }
#define CAS_LOST(c, e, v)                                                      \
    {                                                                          \
        .call_ns = c, .kind = LINEAR_CAS, .outcome = LINEAR_UNKNOWN,           \
        .expected = e, .value = v                                              \
    }
#define CAS_DIFFERS(c, r, e, ver)                                              \
    {                                                                          \
        .call_ns = c, .return_ns = r, .kind = LINEAR_CAS,                      \
        .outcome = LINEAR_DIFFERS, .expected = e, .version = ver               \
    }

struct known {
    const char *why;
    enum linear_verdict verdict;
    struct linear_op ops[OPS_MAX];
    size_t count;
};

static const struct known KNOWN[] = {
    { "nothing at all", LINEAR_YES, { { 0 } }, 0 },
    { "one after the other",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), GET(3, 4, 10, 5), DEL(5, 6), MISS(7, 8) },
      4 },
    { "a read beside a write may see either",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), PUT(3, 9, 11, 6), GET(4, 5, 10, 5),
        GET(6, 7, 11, 6) },
      4 },
    { "and not go back",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), PUT(3, 9, 11, 6), GET(4, 5, 11, 6),
        GET(6, 7, 10, 5) },
      4 },
    { "a stale read",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), PUT(3, 4, 11, 6), GET(5, 6, 10, 5) },
      3 },
    { "a lost write", LINEAR_NO, { PUT(1, 2, 10, 5), MISS(3, 4) }, 2 },
    { "an unknown write may be seen late",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), PUT_LOST(3, 11), GET(4, 5, 10, 5), GET(8, 9, 11, 7) },
      4 },
    { "or never",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), PUT_LOST(3, 11), GET(4, 5, 10, 5), GET(8, 9, 10, 5) },
      4 },
    { "and not come and go",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), PUT_LOST(3, 11), GET(4, 5, 11, 6), GET(8, 9, 10, 5) },
      4 },
    { "nor be seen before it was asked for",
      LINEAR_NO,
      { GET(1, 2, 11, 6), PUT_LOST(3, 11) },
      2 },
    { "a write applied twice",
      LINEAR_NO,
      { PUT(1, 9, 10, 5), GET(2, 3, 10, 5), PUT(4, 5, 11, 6), GET(6, 7, 11, 6),
        GET(10, 11, 10, 7) },
      5 },
    { "a deleted value that returns",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), DEL(3, 4), MISS(5, 6), GET(7, 8, 10, 5) },
      4 },
    { "an unknown delete explains a miss",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), DEL_LOST(3), GET(4, 5, 10, 5), MISS(6, 7) },
      4 },
    { "but only one",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), DEL_LOST(3), MISS(4, 5), PUT(6, 7, 11, 6),
        MISS(8, 9) },
      5 },
    { "a write nobody saw explains a delete that found something",
      LINEAR_YES,
      { PUT_LOST(1, 10), DEL(2, 3), DEL_MISS(4, 5) },
      3 },
    { "two deletes cannot both find it",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), DEL(3, 6), DEL(4, 7) },
      3 },
    { "cas from absent, then from its version",
      LINEAR_YES,
      { CAS(1, 2, 0, 10, 5), CAS(3, 4, 5, 11, 6), GET(5, 6, 11, 6) },
      3 },
    { "two cas cannot both win",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), CAS(3, 6, 5, 11, 6), CAS(3, 6, 5, 12, 7) },
      3 },
    { "the loser is told the winner's version",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), CAS(3, 6, 5, 11, 6), CAS_DIFFERS(3, 6, 5, 6) },
      3 },
    { "and not another",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), CAS(3, 6, 5, 11, 6), CAS_DIFFERS(7, 8, 5, 7) },
      3 },
    { "told absent, though it was there",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), CAS_DIFFERS(3, 4, 9, 0) },
      2 },
    { "a cas that differs from what it equals",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), CAS_DIFFERS(3, 4, 5, 5) },
      2 },
    { "an unknown cas that won",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), CAS_LOST(3, 5, 11), GET(8, 9, 11, 6) },
      3 },
    { "an unknown cas that could not have won",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), PUT(3, 4, 12, 6), CAS_LOST(5, 5, 11),
        GET(8, 9, 11, 7) },
      4 },
    { "a differing version tells of a write nobody saw",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), PUT_LOST(3, 11), CAS_DIFFERS(4, 5, 5, 8),
        CAS(6, 7, 8, 12, 9) },
      4 },
    { "versions go back",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), PUT(3, 4, 11, 4) },
      2 },
    { "versions go back over a delete",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), DEL(3, 4), PUT(5, 6, 11, 4) },
      3 },
    { "one value, two versions",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), GET(3, 4, 10, 5), GET(5, 6, 10, 6) },
      3 },
    { "a read of what nobody wrote",
      LINEAR_NO,
      { PUT(1, 2, 10, 5), GET(3, 4, 99, 6) },
      2 },
    { "equal instants are concurrent",
      LINEAR_YES,
      { PUT(1, 2, 10, 5), PUT(3, 4, 11, 6), GET(4, 5, 10, 5) },
      3 },
};

Test(linear, known_histories)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        struct linear_report report;
        int rc = linear_check(KNOWN[i].ops, KNOWN[i].count, 0, &report);
        cr_assert_eq(rc, DLHT_OK);
        cr_expect_eq(report.verdict, KNOWN[i].verdict, "%s: %d", KNOWN[i].why,
                     (int)report.verdict);
    }
}

/* Every order of every choice of operations, on an exact register. */
struct brute {
    const struct linear_op *ops;
    size_t count;
    bool used[OPS_MAX];
};

struct exact {
    uint64_t value; /* 0: absent */
    uint64_t version;
    uint64_t last; /* version given out last */
};

static bool may_be_next(const struct brute *b, size_t i)
{
    for (size_t j = 0; j < b->count; j++) {
        if (!b->used[j] && j != i && b->ops[j].outcome != LINEAR_UNKNOWN &&
            b->ops[j].return_ns < b->ops[i].call_ns)
            return false;
    }
    return true;
}

/* Versions of the random histories are the value's number: a write of value v
 * makes version v, so an unknown one's is known to the oracle. */
static bool exact_apply(struct exact *e, const struct linear_op *op)
{
    bool lost = op->outcome == LINEAR_UNKNOWN;
    switch ((enum linear_kind)op->kind) {
    case LINEAR_GET:
        if (op->outcome == LINEAR_ABSENT)
            return e->value == 0;
        return e->value == op->value && e->version == op->version;
    case LINEAR_DEL:
        if (!lost && (op->outcome == LINEAR_ABSENT) != (e->value == 0))
            return false;
        e->value = e->version = 0;
        return true;
    case LINEAR_CAS:
        if (op->outcome == LINEAR_DIFFERS)
            return e->version == op->version && e->version != op->expected;
        if (e->version != op->expected)
            return lost;
        break;
    case LINEAR_PUT:
        break;
    }
    if (op->value <= e->last)
        return false;
    e->value = e->version = e->last = op->value;
    return true;
}

static bool brute_force(struct brute *b, struct exact e)
{
    bool all = true;
    for (size_t i = 0; i < b->count; i++)
        all = all && (b->used[i] || b->ops[i].outcome == LINEAR_UNKNOWN);
    if (all)
        return true;
    for (size_t i = 0; i < b->count; i++) {
        struct exact next = e;
        if (b->used[i] || !may_be_next(b, i) || !exact_apply(&next, &b->ops[i]))
            continue;
        b->used[i] = true;
        bool found = brute_force(b, next);
        b->used[i] = false;
        if (found)
            return true;
    }
    return false;
}

/* A history that may well be wrong, of few values so that it often is not. */
static size_t random_history(struct rng *rng, struct linear_op *ops)
{
    size_t count = 1 + rng_below(rng, 6);
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        struct linear_op *op = &ops[i];
        *op = (struct linear_op){ 0 };
        op->call_ns = rng_below(rng, 12);
        op->return_ns = op->call_ns + rng_below(rng, 8);
        op->kind = (uint8_t)rng_range(rng, LINEAR_PUT, LINEAR_CAS);
        op->outcome = rng_chance(rng, 0.2) && op->kind != LINEAR_GET
                          ? LINEAR_UNKNOWN
                          : LINEAR_DONE;
        bool miss = rng_chance(rng, 0.3);
        if (op->kind == LINEAR_GET) {
            op->outcome = miss ? LINEAR_ABSENT : LINEAR_DONE;
            op->value = op->version = miss ? 0 : 1 + rng_below(rng, 3);
        } else if (op->kind == LINEAR_DEL) {
            if (miss && op->outcome == LINEAR_DONE)
                op->outcome = LINEAR_ABSENT;
        } else {
            op->expected = op->kind == LINEAR_CAS ? rng_below(rng, 4) : 0;
            op->value = ++value;
            op->version = op->outcome == LINEAR_DONE ? op->value : 0;
            if (op->kind == LINEAR_CAS && miss && op->outcome == LINEAR_DONE) {
                op->outcome = LINEAR_DIFFERS;
                op->version = rng_below(rng, 4);
            }
        }
    }
    return count;
}

Test(linear, agrees_with_trying_every_order)
{
    struct rng rng;
    rng_init(&rng, 11);
    size_t good = 0, total = 40000;
    for (size_t round = 0; round < total; round++) {
        struct linear_op ops[OPS_MAX];
        struct brute b = { .ops = ops };
        b.count = random_history(&rng, ops);
        bool expected = brute_force(&b, (struct exact){ 0 });
        struct linear_report report;
        cr_assert_eq(linear_check(ops, b.count, 0, &report), DLHT_OK);
        good += expected;
        /* The checker does not know the version of a lost write that nobody
         * saw, so it may allow what the oracle refuses; never the reverse. */
        bool lost = false;
        for (size_t i = 0; i < b.count; i++)
            lost = lost || ops[i].outcome == LINEAR_UNKNOWN;
        bool agree = (report.verdict == LINEAR_YES) == expected;
        cr_assert(agree || (lost && !expected), "round %zu", round);
    }
    cr_expect(good > total / 20 && good < total * 19 / 20, "%zu", good);
}

/* Long and contended, with many lost writes: must stay fast. */
Test(linear, a_long_history_is_decided)
{
    enum {
        COUNT = 4000
    };
    static struct linear_op ops[COUNT];
    struct rng rng;
    rng_init(&rng, 5);
    uint64_t version = 0, value = 0, now = 0;
    for (size_t i = 0; i < COUNT; i++) {
        now += 10;
        struct linear_op *op = &ops[i];
        *op = (struct linear_op){ .call_ns = now - rng_below(&rng, 80) % now,
                                  .return_ns = now + rng_below(&rng, 80) };
        bool put = rng_chance(&rng, 0.5);
        op->kind = put ? LINEAR_PUT : LINEAR_GET;
        op->outcome = LINEAR_DONE;
        if (put)
            value = ++version;
        else if (version == 0)
            op->outcome = LINEAR_ABSENT;
        op->value = value;
        op->version = version;
        if (put && rng_chance(&rng, 0.2)) {
            op->outcome = LINEAR_UNKNOWN;
            op->version = 0;
        }
    }
    struct linear_report report;
    cr_assert_eq(linear_check(ops, COUNT, 0, &report), DLHT_OK);
    cr_expect_eq(report.verdict, LINEAR_YES);
    ops[COUNT - 1].kind = LINEAR_GET;
    ops[COUNT - 1].outcome = LINEAR_DONE;
    ops[COUNT - 1].value = ops[COUNT - 1].version = 1;
    ops[COUNT - 1].call_ns = now;
    cr_assert_eq(linear_check(ops, COUNT, 0, &report), DLHT_OK);
    cr_expect_eq(report.verdict, LINEAR_NO);
    cr_expect_eq(report.blocked, COUNT - 1, "%zu", report.blocked);
}
