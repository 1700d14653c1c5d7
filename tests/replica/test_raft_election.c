/* SPDX-License-Identifier: Apache-2.0 */

/* Terms, votes, candidacies. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "replica/solo.h"

Test(raft_election, votes_follow_the_rules)
{
    static const struct {
        const char *why;
        uint64_t after_ms; /* since the leader was heard */
        struct raft_message m;
        int answer; /* 1 granted, 0 refused, -1 silence */
    } table[] = {
        { "as long a log", 100, { .term = 3, .index = 4, .log_term = 2 }, 1 },
        { "a longer log", 100, { .term = 3, .index = 9, .log_term = 2 }, 1 },
        { "a later term in it",
          100,
          { .term = 4, .index = 2, .log_term = 3 },
          1 },
        { "a shorter log", 100, { .term = 3, .index = 3, .log_term = 2 }, 0 },
        { "an older term in it",
          100,
          { .term = 3, .index = 9, .log_term = 1 },
          0 },
        { "an old term", 100, { .term = 1, .index = 9, .log_term = 2 }, 0 },
        { "the leader is heard",
          99,
          { .term = 3, .index = 4, .log_term = 2 },
          -1 },
        { "the leader wishes it",
          99,
          { .term = 3, .index = 4, .log_term = 2, .transfer = true },
          1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = solo_follower(4, 2);
        uint64_t now = T0 + table[i].after_ms * MS;
        struct raft_message m = table[i].m;
        m.type = RAFT_VOTE_REQUEST;
        m.from = 3;
        m.to = 1;
        cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
        solo_take(raft, now);
        const struct raft_message *reply = solo_sent(RAFT_VOTE_REPLY, 3);
        if (table[i].answer == 1) {
            cr_expect_null(reply, "%s: before it is durable", table[i].why);
            cr_expect(solo_out.vote_changed && solo_out.vote == 3, "%s",
                      table[i].why);
            raft_persisted(raft, now, solo_out.number);
            solo_take(raft, now);
            reply = solo_sent(RAFT_VOTE_REPLY, 3);
        }
        cr_expect_eq(reply ? !reply->refused : -1, table[i].answer, "%s",
                     table[i].why);
        if (table[i].answer < 0)
            cr_expect_eq(raft_term(raft), 2, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft_election, one_vote_a_term)
{
    struct raft *raft = solo_follower(2, 2);
    uint64_t now = T0 + 200 * MS;
    struct raft_message m = { .type = RAFT_VOTE_REQUEST,
                              .from = 3,
                              .to = 1,
                              .term = 3,
                              .index = 2,
                              .log_term = 2 };
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_flush(raft, now);
    cr_assert(solo_sent(RAFT_VOTE_REPLY, 3) &&
              !solo_sent(RAFT_VOTE_REPLY, 3)->refused);
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_expect(solo_sent(RAFT_VOTE_REPLY, 3), "asked again, told again");
    m.from = 2;
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_expect(solo_sent(RAFT_VOTE_REPLY, 2) &&
              solo_sent(RAFT_VOTE_REPLY, 2)->refused);
    raft_free(raft);
}

Test(raft_election, a_starting_member_holds_its_vote_back)
{
    struct raft_config config = solo_config(1);
    struct raft_start start = { .snapshot_index = 5,
                                .snapshot_term = 2,
                                .members = solo_members("123"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    struct raft_message m = { .type = RAFT_VOTE_REQUEST,
                              .from = 3,
                              .to = 1,
                              .term = 3,
                              .index = 9,
                              .log_term = 2 };
    cr_assert_eq(solo_say(raft, T0 + 99 * MS, m), DLHT_OK);
    solo_take(raft, T0 + 99 * MS);
    cr_expect_eq(raft_term(raft), 2);
    raft_campaign(raft, T0 + 99 * MS);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER, "nor stands");
    cr_expect_eq(raft_timeout_ns(raft), T0 + 100 * MS);
    cr_assert_eq(solo_say(raft, T0 + 100 * MS, m), DLHT_OK);
    solo_take(raft, T0 + 100 * MS);
    cr_expect_eq(solo_out.vote, 3);
    raft_free(raft);
    /* Unless nobody else could lead. */
    start.members = solo_members("12l");
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    cr_expect_leq(raft_timeout_ns(raft), T0);
    raft_tick(raft, T0);
    solo_flush(raft, T0);
    cr_expect_eq(raft_role(raft), RAFT_LEADER);
    raft_free(raft);
}

Test(raft_election, a_lone_voter_waits_while_its_making_is_open)
{
    struct raft_config config = solo_config(1);
    struct raft_start start = { .snapshot_index = 5,
                                .snapshot_term = 2,
                                .members = solo_members("12"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft_members members = solo_members("1");
    struct raft_entry entry = { 2, 6, RAFT_ENTRY_MEMBERS, span_str("m"),
                                &members };
    for (int committed = 0; committed < 2; committed++) {
        struct raft *raft;
        cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
        cr_assert_eq(raft_restore_entry(raft, &entry), DLHT_OK);
        if (committed)
            raft_restore_commit(raft, 6);
        raft_campaign(raft, T0);
        cr_expect_eq(raft_role(raft),
                     committed ? RAFT_CANDIDATE : RAFT_FOLLOWER,
                     "2 removed itself and may still lead, with a lease");
        raft_free(raft);
    }
}

Test(raft_election, a_removed_voter_stands_until_that_is_committed)
{
    struct raft *raft = solo_follower(2, 2);
    struct raft_members members = solo_members("23");
    struct raft_entry entry = { 2, 3, RAFT_ENTRY_MEMBERS, span_str("m"),
                                &members };
    struct raft_message m = solo_append(2, 2, 2, &entry, 1);
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    cr_expect_neq(raft_timeout_ns(raft), UINT64_MAX);
    m = solo_append(2, 3, 2, NULL, 0);
    m.commit = 3;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    raft_free(raft);
}

Test(raft_election, a_timeout_asks_first_and_raises_no_term)
{
    struct raft *raft = solo_follower(4, 2);
    uint64_t due = raft_timeout_ns(raft);
    cr_expect_geq(due, T0 + 100 * MS);
    cr_expect_lt(due, T0 + 200 * MS);
    raft_tick(raft, due);
    solo_flush(raft, due);
    cr_expect_eq(raft_term(raft), 2);
    const struct raft_message *ask = solo_sent(RAFT_PREVOTE_REQUEST, 3);
    cr_assert(ask && ask->term == 3 && ask->index == 4 && ask->log_term == 2);
    solo_grant(raft, due, RAFT_PREVOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE);
    solo_take(raft, due);
    cr_expect_null(solo_sent(RAFT_VOTE_REQUEST, 3), "own vote not durable");
    solo_grant(raft, due, RAFT_VOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE, "an answer to an older life");
    raft_persisted(raft, due, solo_out.number);
    solo_take(raft, due);
    cr_expect(solo_sent(RAFT_VOTE_REQUEST, 2) &&
              solo_sent(RAFT_VOTE_REQUEST, 3));
    solo_grant(raft, due, RAFT_VOTE_REPLY, 3, 1, 3);
    cr_expect_eq(raft_role(raft), RAFT_LEADER);
    raft_free(raft);
}

Test(raft_election, a_leader_without_a_majority_steps_down)
{
    struct raft *raft = solo_founded(1, "123");
    solo_elect(raft, 1, 2);
    uint64_t now = T0;
    while (now < T0 + 150 * MS && raft_role(raft) == RAFT_LEADER) {
        now = raft_timeout_ns(raft);
        raft_tick(raft, now);
        solo_flush(raft, now);
    }
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    cr_expect_leq(now, T0 + 120 * MS);
    raft_free(raft);
}

Test(raft_election, the_successor_stands_at_once)
{
    struct raft *raft = solo_follower(4, 2);
    struct raft_message m = { RAFT_TIMEOUT_NOW, 2, 1, 2 };
    cr_assert_eq(solo_say(raft, T0 + MS, m), DLHT_OK);
    solo_flush(raft, T0 + MS);
    const struct raft_message *ask = solo_sent(RAFT_VOTE_REQUEST, 3);
    cr_assert(ask && ask->transfer && ask->term == 3);
    raft_free(raft);
}

/* The right child of a split stands before the others made theirs. */
Test(raft_election, the_silent_are_asked_again)
{
    struct raft *raft = solo_founded(1, "123");
    uint64_t now = T0;
    raft_campaign(raft, now);
    solo_flush(raft, now);
    cr_assert(solo_sent(RAFT_VOTE_REQUEST, 2) &&
              solo_sent(RAFT_VOTE_REQUEST, 3));
    struct raft_message no = {
        .type = RAFT_VOTE_REPLY, .from = 3, .to = 1, .term = 2, .refused = true
    };
    cr_assert_eq(solo_say(raft, now, no), DLHT_OK);
    uint64_t due = raft_timeout_ns(raft);
    cr_assert_lt(due, now + solo_config(1).heartbeat_ns);
    raft_tick(raft, due - 1);
    solo_take(raft, due - 1);
    cr_assert_null(solo_sent(RAFT_VOTE_REQUEST, 2), "too early");
    raft_tick(raft, due);
    solo_take(raft, due);
    cr_assert_not_null(solo_sent(RAFT_VOTE_REQUEST, 2));
    cr_assert_null(solo_sent(RAFT_VOTE_REQUEST, 3), "it has answered");
    cr_assert_eq(raft_term(raft), 2, "the term is the same");
    solo_grant(raft, due, RAFT_VOTE_REPLY, 2, 1, 2);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    raft_free(raft);
}
