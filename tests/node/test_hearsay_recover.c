/* SPDX-License-Identifier: Apache-2.0 */

/* How a node recovers an arc from what others say they have, and what it makes
 * of their orders to take one over. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/crowd.h"
#include "node/recover.h"
#include "node/replica.h"

/* Recoveries */

struct copy {
    replica_id replica; /* 0: it says that it has none */
    uint64_t term, index;
    bool silent, voter, leads, empty;
};

static const struct response *ask_recover(struct crowd *c, arc_id arc,
                                          bool accept, bool empty)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "arc");
    mp_write_uint(&doc, arc);
    mp_write_cstr(&doc, "accept_loss");
    mp_write_bool(&doc, accept);
    mp_write_cstr(&doc, "empty");
    mp_write_bool(&doc, empty);
    struct request q = { .op = OP_RECOVER,
                         .value = buf_span(&doc),
                         .timeout_ms = 4000 };
    c->takes = 0;
    const struct response *r = alone_ask(&c->a, &q);
    buf_deinit(&doc);
    return r;
}

static void say_copies(struct crowd *c, const struct copy copies[PEERS])
{
    for (size_t i = 0; i < PEERS; i++) {
        const struct copy *copy = &copies[i];
        c->asked[i].kind = 0;
        c->says[i] = !copy->silent;
        c->has[i] = (struct recover_message){ .replica = copy->replica,
                                              .last_term = copy->term,
                                              .last_index = copy->index,
                                              .term = copy->term,
                                              .generation = 5,
                                              .voter = copy->voter,
                                              .leads = copy->leads,
                                              .empty = copy->empty,
                                              .keys = 3 };
    }
}

/* An arc with three voters, which nobody serves; 10, 20 and 30 are theirs. */
static void begin_recovery(struct crowd *c, uint64_t seed)
{
    crowd_begin(c, seed);
    crowd_tell_keyspace(c, FAR, "far", false);
    crowd_tell_arcs(c, FAR, 3);
    alone_run(&c->a, 6000);
}

static const struct {
    const char *why;
    struct copy copies[PEERS];
    bool accept, empty;
    int status;
    const char *says; /* how the refusal begins */
} judged[] = {
    { "who is up may have the newest copy",
      { { .silent = true }, { .silent = true }, { .silent = true } },
      true,
      false,
      DLHT_EREFUSED,
      "3 of 3 voters are up and did not answer" },
    { "somebody leads",
      { { .replica = 10, .term = 3, .index = 9, .leads = true, .voter = true },
        { 0 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "it has an owner" },
    { "two of three can elect one",
      { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 20, .term = 3, .index = 8 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "2 of 3 voters are up, a majority" },
    { "an empty copy is none",
      { { .replica = 10, .term = 3, .index = 9, .empty = true }, { 0 }, { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "no copy is left on any peer" },
    { "none is left",
      { { 0 }, { 0 }, { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "no copy is left on any peer" },
    { "one is left, and nothing is asked for",
      { { .replica = 10, .term = 3, .index = 9 }, { 0 }, { 0 } },
      true,
      true,
      DLHT_EREFUSED,
      "a copy is left" },
    { "a term that cannot grow",
      { { .replica = 10, .term = UINT64_MAX / 8 + 1, .index = 9 },
        { 0 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "its generation or term cannot grow" },
    { "a plan",
      { { .replica = 10, .term = 3, .index = 9 }, { 0 }, { 0 } },
      false,
      false,
      DLHT_OK,
      "" },
};

Test(recovery, is_refused_where_more_may_be_left, .timeout = 120)
{
    struct crowd c;
    begin_recovery(&c, 7);
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        say_copies(&c, judged[i].copies);
        const struct response *r =
            ask_recover(&c, FIRST_ARC, judged[i].accept, judged[i].empty);
        cr_expect_eq(r->status, judged[i].status, "%s: %d", judged[i].why,
                     r->status);
        cr_expect(span_has_prefix(r->text, span_str(judged[i].says)),
                  "%s: %.*s", judged[i].why, (int)r->text.len,
                  (const char *)r->text.data);
        cr_expect_eq(c.takes, 0, "%s", judged[i].why);
    }
    crowd_end(&c);
}

Test(recovery, is_refused_of_arcs_that_need_none, .timeout = 120)
{
    struct crowd c;
    char bounds[2][8];
    static const struct copy one[PEERS] = {
        { .replica = 10, .term = 3, .index = 9 }
    };
    begin_recovery(&c, 8);
    say_copies(&c, one);
    crowd_tell_keyspace(&c, FAR + 1, "fleeting", true);
    struct arc fleeting = crowd_arc(FAR + 1, 0, 1, bounds);
    fleeting.id = 2000;
    crowd_tell_arc(&c, &fleeting);
    const struct response *r = ask_recover(&c, 2000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("an arc of a volatile")));
    /* Only a peer knows of it, and of its keyspace. */
    struct arc stray = crowd_arc(FAR + 2, 0, 1, bounds);
    stray.id = 3000;
    c.has[0].arc_known = &stray;
    r = ask_recover(&c, 3000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("this node does not know the")),
              "%.*s", (int)r->text.len, (const char *)r->text.data);
    /* Another has its keys since. */
    struct arc old = crowd_arc(FAR, 0, 3, bounds);
    old.id = 4000;
    old.generation = 2;
    c.has[0].generation = 2;
    c.has[0].arc_known = &old;
    r = ask_recover(&c, 4000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("its keys belong to another")),
              "%.*s", (int)r->text.len, (const char *)r->text.data);
    crowd_end(&c);
}

/* Who has the longer log goes on, whoever votes; 99 and 98 are no members. */
static const struct {
    struct copy copies[PEERS];
    size_t chosen;
    const char *why;
} choices[] = {
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 4, .index = 2 },
        { 0 } },
      1,
      "the later term" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 2, .index = 99 },
        { 0 } },
      0,
      "though it is shorter" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 3, .index = 10 },
        { 0 } },
      1,
      "the longer one" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 3, .index = 8 },
        { .replica = 98, .term = 3, .index = 7 } },
      0,
      "likewise" },
    { { { .replica = 99, .term = 3, .index = 9 },
        { .replica = 20, .term = 3, .index = 9, .voter = true },
        { 0 } },
      1,
      "who votes, of two that are equal" },
    { { { .replica = 10, .term = 3, .index = 9, .voter = true },
        { .replica = 99, .term = 3, .index = 9 },
        { 0 } },
      0,
      "likewise" },
    { { { 0 }, { 0 }, { 0 }, { .replica = 97, .term = 1, .index = 1 } },
      3,
      "the only one" },
};

Test(recovery, goes_on_with_the_longest_log, .timeout = 120)
{
    struct crowd c;
    begin_recovery(&c, 9);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char want[32];
        say_copies(&c, choices[i].copies);
        const struct response *r = ask_recover(&c, FIRST_ARC, false, false);
        cr_assert_eq(r->status, DLHT_OK, "%s: %.*s", choices[i].why,
                     (int)r->text.len, (const char *)r->text.data);
        snprintf(want, sizeof want, "10.0.0.%zu:9000", choices[i].chosen + 1);
        struct span survivor = crowd_text(r->value, "survivor");
        cr_expect(span_equal(survivor, span_str(want)), "%s: %.*s",
                  choices[i].why, (int)survivor.len,
                  (const char *)survivor.data);
        cr_expect_eq(crowd_number(r->value, "last_index"),
                     choices[i].copies[choices[i].chosen].index);
    }
    crowd_end(&c);
}

Test(recovery, ends_as_the_chosen_copy_says, .timeout = 120)
{
    static const struct copy one[PEERS] = {
        { .replica = 10, .term = 3, .index = 9 }
    };
    static const struct {
        int said;
        bool leads;
        int status;
        const char *text;
    } rows[] = {
        { DLHT_EFULL, false, DLHT_EFULL, "the copy that would go on has no" },
        { DLHT_ENOMEM, false, DLHT_EBUSY, "the copy that would go on has ch" },
        { DLHT_ESTALE, false, DLHT_EREFUSED, "the copy that would go on has" },
        { DLHT_OK, false, DLHT_EUNKNOWN, "the copy that was chosen has not" },
        { DLHT_OK, true, DLHT_OK, "" },
    };
    struct crowd c;
    char bounds[2][8];
    begin_recovery(&c, 10);
    /* The next arc is served; the known one may not reach into it. */
    struct arc next = crowd_arc(FAR, 1, 3, bounds);
    next.owner = crowd_peer(3);
    next.term = 2;
    crowd_tell_arc(&c, &next);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        say_copies(&c, one);
        for (size_t k = 1; k < PEERS; k++)
            c.has[k].status = DLHT_ESTALE; /* nobody asks them to take it */
        c.has[0].status = rows[i].said;
        c.leads = rows[i].leads;
        const struct response *r = ask_recover(&c, FIRST_ARC, true, false);
        cr_expect_eq(r->status, rows[i].status, "%zu: %d, %.*s", i, r->status,
                     (int)r->text.len, (const char *)r->text.data);
        cr_expect(span_has_prefix(r->text, span_str(rows[i].text)), "%zu: %.*s",
                  i, (int)r->text.len, (const char *)r->text.data);
        cr_expect_geq(c.takes, 1);
        cr_expect_eq(c.taken[0].replica, 10);
        cr_expect_eq(c.taken[0].last_index, 9);
        cr_expect_gt(c.taken[0].term, 3);
        cr_expect_gt(c.taken[0].generation, 5);
        cr_expect(c.taken_ends);
        cr_expect_str_eq(c.taken_hi, "000001");
    }
    crowd_end(&c);
}

/* Gaps: the copy that an arc was recovered from had missed a merge. */

static const struct copy led[PEERS] = {
    { .replica = 10, .term = 3, .index = 9, .leads = true, .voter = true }
};

/* Nobody knows an arc of [000001, 000002). */
static void begin_gap(struct crowd *c, uint64_t seed)
{
    char bounds[2][8];
    crowd_begin(c, seed);
    crowd_tell_keyspace(c, FAR, "far", false);
    for (size_t i = 0; i < 3; i += 2) {
        struct arc arc = crowd_arc(FAR, i, 3, bounds);
        crowd_tell_arc(c, &arc);
    }
    alone_run(&c->a, 6000);
    say_copies(c, led);
}

static int put_between(struct crowd *c)
{
    struct request q = { .op = OP_PUT,
                         .keyspace = FAR,
                         .key = span_str("000001x"),
                         .value = span_str("v"),
                         .timeout_ms = 2000 };
    return alone_ask(&c->a, &q)->status;
}

Test(recovery, begins_keys_anew_that_no_arc_has, .timeout = 120)
{
    struct crowd c;
    begin_gap(&c, 12);
    cr_expect_neq(put_between(&c), DLHT_OK);
    const struct response *r = ask_recover(&c, FIRST_ARC, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED, "nobody said --empty");
    r = ask_recover(&c, FIRST_ARC, false, true);
    cr_assert_eq(r->status, DLHT_OK, "%.*s", (int)r->text.len,
                 (const char *)r->text.data);
    cr_expect(span_equal(crowd_text(r->value, "lo"), span_str("000001")));
    cr_expect(span_equal(crowd_text(r->value, "hi"), span_str("000002")));
    cr_expect_eq(map_count(crowd_map_of_far(&c)), 2, "nothing was done");
    r = ask_recover(&c, FIRST_ARC, true, true);
    cr_assert_eq(r->status, DLHT_OK, "%.*s", (int)r->text.len,
                 (const char *)r->text.data);
    cr_expect_geq(crowd_number(r->value, "generation"), RECOVER_STEP);
    cr_expect_eq(c.takes, 0, "no peer's copy goes on");
    cr_expect(map_is_whole(crowd_map_of_far(&c)));
    cr_expect_eq(put_between(&c), DLHT_OK);
    r = ask_recover(&c, FIRST_ARC, true, true);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("it has an owner")));
    crowd_end(&c);
}

static void (*acknowledge)(struct alone *a);
static uint64_t late_ns;

static void tell_late(struct alone *a)
{
    char bounds[2][8];
    struct arc arc = crowd_arc(FAR, 1, 3, bounds);
    acknowledge(a);
    if (a->now_ns >= late_ns)
        crowd_tell_arc((struct crowd *)a, &arc);
}

/* The arc behind, frozen for the merge, goes on once it has been told. */
Test(recovery, waits_for_an_arc_that_may_go_on, .timeout = 60)
{
    struct crowd c;
    begin_gap(&c, 13);
    acknowledge = c.a.idle;
    c.a.idle = tell_late;
    late_ns = c.a.now_ns + UINT64_C(2500000000);
    const struct response *r = ask_recover(&c, FIRST_ARC, true, true);
    cr_expect_eq(r->status, DLHT_EREFUSED, "%d", r->status);
    cr_expect_eq(map_count(crowd_map_of_far(&c)), 3);
    cr_expect_eq(map_by_id(crowd_map_of_far(&c), FIRST_ARC + 1)->generation, 5);
    crowd_end(&c);
}

Test(status, names_the_arc_before_a_gap, .timeout = 60)
{
    struct crowd c;
    begin_gap(&c, 14);
    struct request q = { .op = OP_STATUS, .timeout_ms = 9000 };
    const struct response *r = alone_ask(&c.a, &q);
    cr_assert_eq(r->status, DLHT_OK);
    struct mp_reader troubles = crowd_reader(r->value, "troubles");
    bool named = false;
    for (size_t n = mp_read_array(&troubles); n > 0; n--) {
        struct span trouble = mp_read_raw(&troubles);
        char want[128];
        snprintf(want, sizeof want,
                 "no peer that is up has told of it; it begins where arc "
                 "%016llx ends",
                 (unsigned long long)FIRST_ARC);
        named = named || span_equal(crowd_text(trouble, "why"), span_str(want));
    }
    cr_expect(named);
    crowd_end(&c);
}

/* Orders of peers to take an arc over */

struct order {
    replica_id old, fresh;
    arc_id known;
    keyspace_id keyspace;
    uint64_t generation, term, last_term;
    int status;
    const char *why;
};

static int hear_order(struct crowd *c, arc_id arc, const struct order *o)
{
    char bounds[2][8];
    struct id from = crowd_peer(3);
    struct arc known = crowd_arc(o->keyspace, 0, 3, bounds);
    struct message m = { .type = MESSAGE_RECOVER };
    known.id = o->known;
    m.u.recover = (struct recover_message){ .kind = RECOVER_TAKE,
                                            .number = 1,
                                            .arc = arc,
                                            .replica = o->old,
                                            .fresh = o->fresh,
                                            .generation = o->generation,
                                            .term = o->term,
                                            .last_term = o->last_term,
                                            .arc_known = &known };
    c->said.status = 1;
    alone_hear_from(&c->a, &from, &m);
    return c->said.status;
}

Test(recovery, an_order_is_checked_by_who_is_to_carry_it_out, .timeout = 60)
{
    enum {
        ARC = FIRST_ARC,
        NEW = 4243
    };
    const uint64_t s = RECOVER_STEP, t = RECOVER_STEP;
    const struct order before[] = {
        { 0, NEW, 9, FAR, s + 9, t + 9, 0, DLHT_EINVAL, "of another arc" },
        { 0, NEW, ARC, FAR, 5, t + 9, 0, DLHT_EINVAL, "not a newer one" },
        { 0, NEW, ARC, FAR, 6, t + 9, 0, DLHT_EINVAL, "not of a recovery" },
        { 0, NEW, ARC, FAR, s + 9, 9, 0, DLHT_EINVAL, "of an old term" },
        { 0, NEW, ARC, 999, s + 9, t + 9, 0, DLHT_ESTALE, "unheard of" },
        { 10, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_ESTALE, "it has none" },
        { 0, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_OK, "to begin anew" },
        { 0, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_OK, "told again" },
    };
    const struct order after[] = {
        { 0, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "there is one" },
        { 10, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "not that one" },
        { NEW, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "it leads" },
        { NEW, 5555, ARC, FAR, 2 * s, 2 * t, 3 * t, DLHT_ESTALE,
          "it has less than is thought" },
    };
    struct crowd c;
    crowd_begin(&c, 11);
    crowd_tell_keyspace(&c, FAR, "far", false);
    alone_run(&c.a, 1000);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        int status = hear_order(&c, ARC, &before[i]);
        cr_expect_eq(status, before[i].status, "%s: %d", before[i].why, status);
        cr_expect_eq(c.said.replica, status == DLHT_OK ? NEW : 0, "%s",
                     before[i].why);
    }
    alone_run(&c.a, 3000);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        int status = hear_order(&c, ARC, &after[i]);
        cr_expect_eq(status, after[i].status, "%s: %d", after[i].why, status);
        cr_expect_eq(c.said.replica, NEW, "%s", after[i].why);
        cr_expect(c.said.leads, "%s", after[i].why);
    }
    struct request put = { .op = OP_PUT,
                           .keyspace_name = span_str("far"),
                           .key = span_str("0"),
                           .value = span_str("v") };
    cr_expect_eq(alone_ask(&c.a, &put)->status, DLHT_OK, "it is served");
    /* As when a neighbour swallows it before who gave the order looks. */
    replica_remove(c.a.node, node_replica(c.a.node, ARC));
    const struct order *begin = &before[6];
    cr_expect_eq(hear_order(&c, ARC, begin), DLHT_OK, "it was carried out");
    cr_expect_eq(c.said.replica, NEW);
    cr_expect(c.said.leads);
    cr_expect_null(node_replica(c.a.node, ARC), "and is not again");
    crowd_end(&c);
}
