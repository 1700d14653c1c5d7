/* SPDX-License-Identifier: Apache-2.0 */

/* How far copies had come beside how far owners say they must have. */

#include "node/search_marks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "node/search_cover.h"
#include "node/search_query.h"

/* Of an arc named by a letter: its keys begin with it. */
static struct search_claim claim_of(const char *from, const char *to,
                                    uint64_t index, uint64_t generation,
                                    bool led)
{
    return (struct search_claim){
        .range = { span_str(from), to ? span_str(to) : span_empty(), to },
        .mark = { (arc_id)(uint8_t)from[0], index, generation },
        .led = led
    };
}

static void pack(struct buf *doc, const struct search_claim *list, size_t count)
{
    buf_reset(doc);
    mp_write_array(doc, count);
    for (size_t i = 0; i < count; i++)
        search_claims_pack(&list[i], doc);
    cr_assert(!doc->failed);
}

static int read_claims(struct search_claims *c, struct span doc)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    return search_claims_read(c, &r);
}

static void say(struct search_claims *c, const char *arc, uint64_t index,
                uint64_t generation)
{
    struct search_mark mark = { (arc_id)(uint8_t)arc[0], index, generation };
    struct buf row = { 0 };
    search_marks_add(&row, &mark);
    cr_assert_eq(search_claims_must(c, buf_span(&row)), DLHT_OK);
    buf_deinit(&row);
}

Test(search_marks, a_row_goes_there_and_back)
{
    struct buf row = { 0 }, doc = { 0 };
    for (uint64_t i = 0; i < 3; i++) {
        struct search_mark mark = { UINT64_MAX - i, i << 40, 7 * i };
        search_marks_add(&row, &mark);
    }
    search_marks_pack(&row, &doc);
    struct span got = search_marks_read(buf_span(&doc));
    cr_assert_eq(got.len, 3 * SEARCH_MARK_BYTES);
    for (uint64_t i = 0; i < 3; i++) {
        struct search_mark mark = search_marks_at(got, (size_t)i);
        cr_assert_eq(mark.arc, UINT64_MAX - i);
        cr_assert_eq(mark.index, i << 40);
        cr_assert_eq(mark.generation, 7 * i);
    }
    for (size_t len = 0; len < doc.len; len++)
        cr_assert_eq(search_marks_read(span_of(doc.data, len)).len, 0);
    buf_append(&row, "x", 1); /* no whole mark */
    buf_reset(&doc);
    search_marks_pack(&row, &doc);
    cr_assert_eq(search_marks_read(buf_span(&doc)).len, 0);
    buf_deinit(&row);
    buf_deinit(&doc);
}

Test(search_marks, a_claim_is_good_if_its_copy_had_come_as_far)
{
    static const struct {
        const char *why;
        uint64_t index, generation;
        bool led, said;
        uint64_t must_index, must_generation;
        bool all_heard;
        enum search_claim_state state;
    } TABLE[] = {
        { "just as far", 5, 2, false, true, 5, 2, false, CLAIM_GOOD },
        { "farther", 9, 3, false, true, 5, 2, false, CLAIM_GOOD },
        { "an entry is missing", 4, 2, false, true, 5, 2, false, CLAIM_SHORT },
        { "of the log before", 9, 1, false, true, 5, 2, false, CLAIM_SHORT },
        { "nobody said yet", 9, 9, false, false, 0, 0, false, CLAIM_OPEN },
        { "nobody will say", 9, 9, false, false, 0, 0, true, CLAIM_SHORT },
        { "who searched leads", 1, 1, true, false, 0, 0, false, CLAIM_GOOD },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        struct search_claims c = { 0 };
        struct key_ranges covered = { 0 };
        struct buf doc = { 0 };
        bool news = false;
        struct search_claim claim = claim_of("b", "c", TABLE[i].index,
                                             TABLE[i].generation, TABLE[i].led);
        bool good = TABLE[i].state == CLAIM_GOOD;
        say(&c, "a", 100, 100); /* of another arc */
        if (TABLE[i].said)
            say(&c, "b", TABLE[i].must_index, TABLE[i].must_generation);
        pack(&doc, &claim, 1);
        cr_assert_eq(read_claims(&c, buf_span(&doc)), DLHT_OK);
        cr_assert_eq(
            search_claims_judge(&c, TABLE[i].all_heard, &covered, &news),
            DLHT_OK);
        cr_expect_eq(c.list[0].state, TABLE[i].state, "%s", TABLE[i].why);
        cr_expect_eq(key_ranges_has(&covered, &claim.range), good, "%s",
                     TABLE[i].why);
        cr_expect_eq(news, good, "%s", TABLE[i].why);
        cr_expect_eq(search_claims_has(&c, 0, 1, span_str("bx")), good, "%s",
                     TABLE[i].why);
        search_claims_deinit(&c);
        key_ranges_deinit(&covered);
        buf_deinit(&doc);
    }
}

Test(search_marks, a_key_is_of_the_copy_that_has_it)
{
    struct search_claim list[] = { claim_of("b", "c", 1, 1, true),
                                   claim_of("c", "d", 1, 1, false),
                                   claim_of("f", NULL, 1, 1, true) };
    static const struct {
        const char *key;
        bool is_good;
    } KEYS[] = { { "a", false }, { "b", true },  { "bz", true },
                 { "c", false }, { "d", false }, { "ez", false },
                 { "f", true },  { "z", true } };
    struct search_claims c = { 0 };
    struct key_ranges covered = { 0 };
    struct buf doc = { 0 };
    bool news = false;
    struct search_claim other = claim_of("a", NULL, 1, 1, true);
    pack(&doc, &other, 1);
    cr_assert_eq(read_claims(&c, buf_span(&doc)), DLHT_OK);
    struct buf three = { 0 };
    pack(&three, list, 3);
    cr_assert_eq(read_claims(&c, buf_span(&three)), DLHT_OK);
    cr_assert_eq(search_claims_judge(&c, true, &covered, &news), DLHT_OK);
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        cr_expect_eq(search_claims_has(&c, 1, 3, span_str(KEYS[i].key)),
                     KEYS[i].is_good, "%s", KEYS[i].key);
        cr_expect(search_claims_has(&c, 0, 1, span_str(KEYS[i].key)));
    }
    search_claims_deinit(&c);
    key_ranges_deinit(&covered);
    buf_deinit(&doc);
    buf_deinit(&three);
}

Test(search_marks, what_is_no_list_of_claims_leaves_all_as_it_was)
{
    struct search_claim crossed[] = { claim_of("b", "d", 1, 1, false),
                                      claim_of("c", "e", 1, 1, false) };
    struct search_claim endless[] = { claim_of("b", NULL, 1, 1, false),
                                      claim_of("c", "e", 1, 1, false) };
    struct search_claim good[] = { claim_of("b", "c", 1, 1, false),
                                   claim_of("c", "e", 1, 1, false) };
    struct search_claims c = { 0 };
    struct buf doc = { 0 };
    pack(&doc, crossed, 2);
    cr_assert_eq(read_claims(&c, buf_span(&doc)), DLHT_EPROTO);
    pack(&doc, endless, 2);
    cr_assert_eq(read_claims(&c, buf_span(&doc)), DLHT_EPROTO);
    pack(&doc, good, 2);
    for (size_t len = 0; len < doc.len; len++) {
        cr_assert_eq(read_claims(&c, span_of(doc.data, len)), DLHT_EPROTO);
        cr_assert_eq(c.count, 0);
    }
    cr_assert_eq(read_claims(&c, buf_span(&doc)), DLHT_OK);
    cr_assert_eq(c.count, 2);
    search_claims_deinit(&c);
    buf_deinit(&doc);
}

/* Keys as long as they may be. */
Test(search_marks, what_one_peer_is_asked_fits_a_frame)
{
    enum {
        ARCS = 400,
        LEN = 60000
    };
    struct keyspace ks = { .map = map_new(ARCS) };
    struct id peers[2] = { { { 1 } }, { { 2 } } };
    struct id *chosen = calloc(ARCS, sizeof *chosen);
    uint8_t *keys = calloc(ARCS, LEN);
    struct search_groups g = { 0 };
    struct key_range all = { .has_to = false };
    cr_assert(ks.map && chosen && keys);
    for (size_t i = 0; i < ARCS; i++) {
        uint8_t *key = keys + i * LEN;
        key[0] = (uint8_t)(i >> 8);
        key[1] = (uint8_t)i;
        struct arc arc = { .id = i + 2,
                           .generation = 1,
                           .lo = i ? span_of(key, LEN) : span_empty(),
                           .has_hi = i + 1 < ARCS };
        if (arc.has_hi) {
            key[LEN] = (uint8_t)((i + 1) >> 8);
            key[LEN + 1] = (uint8_t)(i + 1);
            arc.hi = span_of(key + LEN, LEN);
        }
        bool news;
        cr_assert_eq(map_notice(ks.map, &arc, &news), DLHT_OK);
        chosen[i] = peers[i % 2]; /* so that no ranges touch */
    }
    search_cover_cut(&ks, chosen, &all, false, &g);
    cr_assert(!g.failed);
    cr_assert_eq(g.count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct buf doc = { 0 };
        search_pack_ranges(g.list[i].list, g.list[i].count, &doc);
        cr_expect_gt(g.list[i].count, 8);
        cr_expect_leq(doc.len, SEARCH_RANGES_BYTES_MAX);
        cr_expect(span_equal(g.list[i].list[0].from, map_at(ks.map, i)->lo));
        buf_deinit(&doc);
    }
    search_groups_deinit(&g);
    map_free(ks.map);
    free(chosen);
    free(keys);
}
