/* SPDX-License-Identifier: Apache-2.0 */

#include "node/session.h"

#include <criterion/criterion.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "wire/mp.h"

static int note(struct sessions *s, const struct id *id, uint64_t number,
                uint64_t lowest_open, uint64_t now_ms)
{
    int rc = sessions_reserve(s, id, now_ms);
    struct session_result result = { .number = number,
                                     .version = UINT64_MAX - number,
                                     .count = UINT64_MAX };
    if (rc == DLHT_OK)
        sessions_note(s, id, lowest_open, now_ms, &result);
    return rc;
}

static struct sessions reread(const struct sessions *s)
{
    struct sessions out = { 0 };
    cr_assert_eq(sessions_copy(s, &out), DLHT_OK);
    cr_assert_eq(sessions_hash(s), sessions_hash(&out));
    cr_assert_eq(out.packed, s->packed);
    return out;
}

static size_t packed_len(const struct sessions *s)
{
    struct buf b = { 0 };
    sessions_pack(s, &b);
    cr_assert_not(b.failed);
    size_t len = b.len;
    buf_deinit(&b);
    return len;
}

/* One replica lives through all of the log, another is made anew from a
 * snapshot of it now and then: they refuse and hold the same. */
Test(session, replicas_decide_alike_whatever_they_went_through)
{
    size_t refused = 0, dropped = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct id ids[300];
        for (size_t i = 0; i < 300; i++)
            ids[i] = id_random(&rng);
        struct sessions a = { 0 }, b = { 0 };
        uint64_t now_ms = 1, number = 0;
        for (int i = 0; i < 30000; i++) {
            if (rng_chance(&rng, 0.001))
                now_ms += rng_below(&rng, SESSION_IDLE_MS);
            const struct id *id = &ids[rng_below(&rng, i % 3 ? 2 : 300)];
            uint64_t lowest = rng_chance(&rng, 0.00005) ? number : 1;
            size_t before = a.count;
            struct session_result x, y;
            number++;
            cr_assert_eq(sessions_look(&a, id, number / 2, now_ms, &x),
                         sessions_look(&b, id, number / 2, now_ms, &y));
            int rc = note(&a, id, number, lowest, now_ms);
            cr_assert_eq(rc, note(&b, id, number, lowest, now_ms), "seed %llu",
                         (unsigned long long)seed);
            refused += rc == DLHT_EFULL;
            dropped += a.count < before;
            cr_assert_eq(a.count, b.count);
            if (rng_chance(&rng, 0.0005)) {
                struct sessions again = reread(&b);
                sessions_deinit(&b);
                b = again;
            }
        }
        cr_expect_eq(sessions_hash(&a), sessions_hash(&b));
        sessions_deinit(&a);
        sessions_deinit(&b);
    }
    cr_expect_gt(dropped, 0);
    cr_expect_gt(refused, 0);
}

Test(session, all_of_them_fit_one_frame, .timeout = 60)
{
    static const struct {
        const char *why;
        uint64_t results; /* of each */
    } cases[] = { { "many with one result", 1 },
                  { "many open numbers", SESSION_RESULTS_MAX } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct rng rng;
        rng_init(&rng, c);
        struct sessions s = { 0 };
        uint64_t huge = UINT64_MAX / 2; /* the longest numbers */
        int rc = DLHT_OK;
        while (rc == DLHT_OK) {
            struct id id = id_random(&rng);
            for (uint64_t k = 0; k < cases[c].results && rc == DLHT_OK; k++)
                rc = note(&s, &id, huge + k, huge, huge);
        }
        cr_expect_eq(rc, DLHT_EFULL, "%s", cases[c].why);
        cr_expect_gt(s.count, 80, "%s", cases[c].why);
        cr_expect_leq(packed_len(&s), SESSIONS_PACKED_MAX + 16, "%s: %zu",
                      cases[c].why, packed_len(&s));
        /* Ten minutes on there is room again, on every copy. */
        struct sessions copy = reread(&s);
        struct id id = id_random(&rng);
        uint64_t later = huge + SESSION_IDLE_MS;
        cr_expect_eq(note(&copy, &id, 1, 1, later), DLHT_EFULL);
        cr_expect_eq(note(&copy, &id, 1, 1, later + 1), DLHT_OK);
        cr_expect_eq(copy.count, 1);
        sessions_deinit(&copy);
        sessions_deinit(&s);
    }
}

/* Earlier versions packed them in the order of their table. */
Test(session, an_unsorted_table_is_read)
{
    struct buf b = { 0 };
    static const uint64_t used[] = { 5000, 1000, 3000 };
    mp_write_array(&b, 3);
    for (size_t i = 0; i < 3; i++) {
        uint8_t id[ID_BYTES] = { (uint8_t)(i + 1) };
        mp_write_array(&b, 7);
        mp_write_bin(&b, span_of(id, ID_BYTES));
        mp_write_uint(&b, 1);
        mp_write_uint(&b, used[i]);
        for (int k = 0; k < 4; k++)
            mp_write_uint(&b, 1);
    }
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&b));
    struct sessions s;
    cr_assert_eq(sessions_unpack(&r, &s), DLHT_OK);
    struct id id = { { 9 } };
    static const struct {
        uint64_t now_ms;
        size_t left;
    } steps[] = { { 1000, 4 }, { 1001, 4 }, { 3000, 4 }, { 3001, 3 } };
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(note(&s, &id, i + 1, 1, steps[i].now_ms + SESSION_IDLE_MS),
                     DLHT_OK);
        cr_expect_eq(s.count, steps[i].left - (steps[i].now_ms > 1000),
                     "at %llu: %zu", (unsigned long long)steps[i].now_ms,
                     s.count);
    }
    sessions_deinit(&s);
    buf_deinit(&b);
}

static void note_batch(struct sessions *s, const struct id *id, uint64_t number,
                       uint64_t rank, uint64_t count, uint64_t now_ms)
{
    cr_assert_eq(sessions_reserve(s, id, now_ms), DLHT_OK);
    struct session_result result = { .number = number,
                                     .version = rank,
                                     .count = count };
    sessions_note(s, id, 1, now_ms, &result);
}

Test(session, pieces_of_a_batch_say_what_they_hold)
{
    struct id id = { { 1 } };
    struct sessions s = { 0 };
    note_batch(&s, &id, 7, 10, 5, 100);
    note_batch(&s, &id, 7, 2, 3, 100);
    note_batch(&s, &id, 7, 2, 3, 100);
    note_batch(&s, &id, 6, 0, 30, 100);
    note_batch(&s, &id, 8, 20, 1, 100);
    for (uint64_t rank = 0; rank < 40; rank++) {
        bool in = (rank >= 2 && rank < 5) || (rank >= 10 && rank < 15);
        cr_expect_eq(sessions_has_record(&s, &id, 7, rank), in, "%llu",
                     (unsigned long long)rank);
        cr_expect_eq(sessions_has_record(&s, &id, 6, rank), rank < 30);
        cr_expect_eq(sessions_has_record(&s, &id, 8, rank), rank == 20);
        cr_expect_not(sessions_has_record(&s, &id, 9, rank));
    }
    struct sessions again = reread(&s);
    cr_expect(sessions_has_record(&again, &id, 7, 4));
    cr_expect_eq(again.newest->count, 4);
    sessions_deinit(&again);
    sessions_deinit(&s);
}

/* Two arcs become one: what either remembers, it remembers for as long. */
Test(session, two_become_one)
{
    struct rng rng;
    rng_init(&rng, 3);
    static const struct {
        const char *why;
        uint64_t into_ms, from_ms;
    } cases[] = { { "the same time", 5000000, 5000000 },
                  { "the other is younger", 5000000, 700000 },
                  { "the other is older", 900000, 77000000 },
                  { "just begun", 0, 5000000 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct sessions a = { 0 }, b = { 0 };
        struct id ids[60];
        uint64_t age_ms[60];
        for (uint64_t i = 0; i < 60; i++)
            ids[i] = id_random(&rng);
        for (uint64_t i = 0; i < 60; i++) {
            struct session_result result = { .number = 100 + i, .version = i };
            uint64_t later = cases[c].into_ms;
            if (i < 40 && cases[c].into_ms) {
                cr_assert_eq(sessions_reserve(&a, &ids[i], later), DLHT_OK);
                sessions_note(&a, &ids[i], 90, later, &result);
            }
            /* Oldest first, as time goes. */
            age_ms[i] = (59 - i) * 5000;
            uint64_t then = cases[c].from_ms - age_ms[i];
            result.number++;
            if (i < 20)
                continue;
            cr_assert_eq(sessions_reserve(&b, &ids[i], then), DLHT_OK);
            sessions_note(&b, &ids[i], 95, then, &result);
        }
        cr_assert(sessions_may_unite(&a, &b));
        for (int again = 0; again < 2; again++) {
            cr_assert_eq(
                sessions_unite(&a, cases[c].into_ms, &b, cases[c].from_ms),
                DLHT_OK);
            cr_expect_eq(a.count, cases[c].into_ms ? 60 : 40, "%s: %zu",
                         cases[c].why, a.count);
            struct sessions copy = reread(&a);
            sessions_deinit(&copy);
        }
        for (uint64_t i = 20; i < 60; i++) {
            struct session_result out;
            cr_expect_eq(
                sessions_look(&a, &ids[i], 101 + i, cases[c].into_ms, &out),
                SESSION_KNOWN, "%s", cases[c].why);
            cr_expect_eq(out.version, i);
            cr_expect_eq(sessions_look(&a, &ids[i], 94, cases[c].into_ms, &out),
                         SESSION_PAST);
            if (i < 40 && cases[c].into_ms)
                cr_expect_eq(
                    sessions_look(&a, &ids[i], 100 + i, cases[c].into_ms, &out),
                    SESSION_KNOWN);
            /* Known for ten minutes since it was used, not less. */
            uint64_t left = SESSION_IDLE_MS - age_ms[i];
            cr_expect_eq(sessions_look(&a, &ids[i], 101 + i,
                                       cases[c].into_ms + left, &out),
                         SESSION_KNOWN, "%s", cases[c].why);
            if (i >= 40 && cases[c].into_ms)
                cr_expect_eq(sessions_look(&a, &ids[i], 101 + i,
                                           cases[c].into_ms + left + 1, &out),
                             SESSION_NEW, "%s", cases[c].why);
        }
        sessions_deinit(&a);
        sessions_deinit(&b);
    }
}

Test(session, what_is_too_much_is_not_united)
{
    struct sessions a = { 0 }, b = { 0 };
    struct id id = { { 1 } };
    for (uint64_t i = 1; i <= SESSION_RESULTS_MAX / 2; i++) {
        cr_assert_eq(note(&a, &id, i, 1, 1), DLHT_OK);
        cr_assert_eq(note(&b, &id, 10000 + i, 1, 1), DLHT_OK);
    }
    cr_expect(sessions_may_unite(&a, &b));
    cr_assert_eq(note(&b, &id, 99999, 1, 1), DLHT_OK);
    cr_expect_not(sessions_may_unite(&a, &b));
    sessions_deinit(&a);
    sessions_deinit(&b);
}

/* In pieces as they are sent. */
Test(session, some_at_a_time_are_all)
{
    struct rng rng;
    rng_init(&rng, 9);
    struct sessions a = { 0 }, b = { 0 };
    for (uint64_t i = 0; i < 500; i++) {
        struct id id = id_random(&rng);
        for (uint64_t k = 0; k < i % 7 + 1; k++)
            cr_assert_eq(note(&a, &id, k + 1, 1, i), DLHT_OK);
    }
    size_t at = 0, pieces = 0;
    while (at < a.count) {
        struct buf packed = { 0 };
        at += sessions_pack_some(&a, at, 3000, &packed);
        cr_expect_leq(packed.len, 3100);
        struct mp_reader r;
        struct sessions piece;
        mp_reader_init(&r, buf_span(&packed));
        cr_assert_eq(sessions_unpack(&r, &piece), DLHT_OK);
        cr_assert_eq(sessions_unite(&b, UINT64_MAX, &piece, UINT64_MAX),
                     DLHT_OK);
        sessions_deinit(&piece);
        buf_deinit(&packed);
        pieces++;
    }
    cr_expect_gt(pieces, 10);
    cr_expect_eq(sessions_hash(&a), sessions_hash(&b));
    cr_expect_eq(a.packed, b.packed);
    sessions_deinit(&a);
    sessions_deinit(&b);
}
