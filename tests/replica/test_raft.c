/* SPDX-License-Identifier: Apache-2.0 */

/* One raft, rule by rule: founding, nonsense, sleep, a log that comes back. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "replica/solo.h"

Test(raft, a_founder_alone_leads_at_once_but_commits_what_is_durable)
{
    struct raft *raft = solo_founded(1, "1");
    raft_campaign(raft, T0);
    cr_expect_eq(raft_role(raft), RAFT_CANDIDATE, "own vote not durable");
    solo_take(raft, T0);
    cr_assert(solo_out.vote_changed && solo_out.vote == 1 &&
              solo_out.term == 2);
    cr_assert_eq(solo_out.number, 1);
    raft_persisted(raft, T0, 1);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    solo_take(raft, T0);
    cr_assert_eq(solo_out.entry_count, 1);
    cr_expect_eq(solo_out.entries[0].type, RAFT_ENTRY_NOOP);
    cr_expect_eq(raft_commit(raft), 1);
    raft_persisted(raft, T0, solo_out.number);
    cr_expect_eq(raft_commit(raft), 2);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX, "nobody to talk to");
    raft_free(raft);
}

Test(raft, without_a_disk_all_is_durable_at_once)
{
    struct raft_config config = solo_config(1);
    config.memory = true;
    struct raft *raft = solo_make(&config, "12l");
    raft_campaign(raft, T0);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    cr_expect_eq(raft_commit(raft), index);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.number, 0);
    cr_expect_eq(solo_out.entry_count, 0);
    cr_expect_not(solo_out.vote_changed);
    cr_expect(solo_sent(RAFT_APPEND, 2));
    raft_free(raft);
}

Test(raft, nonsense_changes_nothing)
{
    static const struct raft_entry gap[] = { { 2, 5, RAFT_ENTRY_DATA },
                                             { 2, 7, RAFT_ENTRY_DATA } };
    static const struct raft_entry falling[] = { { 2, 5, RAFT_ENTRY_DATA },
                                                 { 1, 6, RAFT_ENTRY_DATA } };
    static const struct raft_entry future[] = { { 9, 5, RAFT_ENTRY_DATA } };
    static const struct raft_entry unknown[] = { { 2, 5, 9 } };
    static const struct raft_entry no_voter[] = { { 2, 5,
                                                    RAFT_ENTRY_MEMBERS } };
    static const struct raft_entry hollow[] = {
        { 2, 5, RAFT_ENTRY_DATA, { NULL, 8 } }
    };
    static const struct raft_entry old[] = { { 3, 2, RAFT_ENTRY_DATA } };
    static const struct raft_entry own[] = { { 1, 4, RAFT_ENTRY_DATA } };
    static const struct {
        const char *why;
        struct raft_message m;
    } table[] = {
        { "not for us", { RAFT_APPEND, 2, 9, 2 } },
        { "from nobody", { RAFT_APPEND, 0, 1, 2 } },
        { "from ourselves", { RAFT_APPEND, 1, 1, 2 } },
        { "no type", { 0, 2, 1, 2 } },
        { "unknown type", { 99, 2, 1, 2 } },
        { "no term", { RAFT_APPEND, 2, 1, 0 } },
        { "term too great", { RAFT_APPEND, 2, 1, UINT64_MAX } },
        { "index too great", { RAFT_APPEND, 2, 1, 2, UINT64_MAX, 2 } },
        { "a second leader", { RAFT_APPEND, 3, 1, 2, 4, 2 } },
        { "a second leader's heartbeat", { RAFT_HEARTBEAT, 3, 1, 2 } },
        { "a committed entry would change", { RAFT_APPEND, 3, 1, 3, 2, 3 } },
        { "previous term above the message's", { RAFT_APPEND, 2, 1, 2, 4, 3 } },
        { "entries with a gap",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = gap, .entry_count = 2 } },
        { "terms that fall",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = falling,
            .entry_count = 2 } },
        { "a term to come",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = future, .entry_count = 1 } },
        { "unknown kind of entry",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = unknown,
            .entry_count = 1 } },
        { "no voter left",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = no_voter,
            .entry_count = 1 } },
        { "no bytes",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = hollow, .entry_count = 1 } },
        { "too many entries",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entries = gap,
            .entry_count = RAFT_APPEND_ENTRIES_MAX + 1 } },
        { "no entries, but a count",
          { RAFT_APPEND, 2, 1, 2, 4, 2, .entry_count = 1 } },
        { "overwrites what is committed",
          { RAFT_APPEND, 3, 1, 3, 1, 1, .entries = old, .entry_count = 1 } },
        { "the leader takes back its own",
          { RAFT_APPEND, 2, 1, 2, 3, 1, .entries = own, .entry_count = 1 } },
        { "entries in a heartbeat",
          { RAFT_HEARTBEAT, 2, 1, 2, .entries = gap, .entry_count = 2 } },
        { "a stranger's answer", { RAFT_APPEND_REPLY, 8, 1, 9 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = solo_follower(4, 2);
        uint64_t before = raft_hash(raft);
        cr_expect_eq(solo_say(raft, T0, table[i].m), DLHT_EPROTO, "%s",
                     table[i].why);
        cr_expect_eq(raft_hash(raft), before, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft, a_leader_drops_answers_that_cannot_be)
{
    static const struct {
        const char *why;
        struct raft_message m;
    } table[] = {
        { "beyond our log", { RAFT_APPEND_REPLY, 2, 1, 2, .index = 9 } },
        { "a stamp we never made",
          { RAFT_APPEND_REPLY, 2, 1, 2, .index = 2, .stamp = UINT64_MAX } },
        { "arrived beyond our log",
          { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2, .hint = 9 } },
        { "refused heartbeat",
          { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .refused = true } },
        { "a leader of our term", { RAFT_HEARTBEAT, 2, 1, 2 } },
    };
    struct raft *raft = solo_founded(1, "123");
    solo_elect(raft, 1, 2);
    solo_flush(raft, T0);
    uint64_t before = raft_hash(raft);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_eq(solo_say(raft, T0, table[i].m), DLHT_EPROTO, "%s",
                     table[i].why);
        cr_expect_eq(raft_hash(raft), before, "%s", table[i].why);
    }
    raft_free(raft);
}

Test(raft, a_leader_of_an_old_term_is_told)
{
    struct raft *raft = solo_follower(4, 2);
    cr_assert_eq(solo_say(raft, T0, solo_append(1, 4, 1, NULL, 0)), DLHT_OK);
    solo_take(raft, T0);
    const struct raft_message *reply = solo_sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->refused && reply->term == 2);
    raft_free(raft);
    raft = solo_founded(1, "123");
    solo_elect(raft, 1, 2);
    cr_assert_eq(solo_say(raft, T0,
                          (struct raft_message){ RAFT_APPEND_REPLY, 3, 1, 7,
                                                 .refused = true }),
                 DLHT_OK);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    cr_expect_eq(raft_term(raft), 7);
    raft_free(raft);
}

Test(raft, a_group_with_nothing_to_do_sleeps_and_wakes)
{
    struct raft *raft = solo_leader();
    uint64_t index, ticket;
    cr_assert(raft_sleep(raft, T0));
    cr_expect(raft_is_quiet(raft));
    solo_take(raft, T0);
    const struct raft_message *beat = solo_sent(RAFT_HEARTBEAT, 2);
    cr_assert(beat && beat->quiet && beat->commit == 2);
    uint64_t stamp = beat->stamp;
    cr_expect_neq(raft_timeout_ns(raft), UINT64_MAX, "till all have heard it");
    for (replica_id id = 2; id <= 3; id++) {
        struct raft_message m = { RAFT_HEARTBEAT_REPLY, id, 1, 2, .index = 2,
                                  .stamp = stamp };
        cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    }
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    cr_assert_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_OK);
    cr_expect_neq(ticket, 0, "no lease asleep");
    cr_expect_not(raft_is_quiet(raft));
    solo_take(raft, T0);
    cr_assert(solo_sent(RAFT_HEARTBEAT, 2) &&
              !solo_sent(RAFT_HEARTBEAT, 2)->quiet);
    raft_free(raft);

    raft = solo_follower(2, 1);
    struct raft_message m = { RAFT_HEARTBEAT, 2, 1, 2, .commit = 2, .stamp = 99,
                              .quiet = true };
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    cr_expect(raft_is_quiet(raft));
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    m.quiet = false;
    m.stamp = 98;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    cr_expect(raft_is_quiet(raft), "an older word that came late");
    raft_wake(raft, T0);
    size_t asked = 0;
    uint64_t now = T0, leases_ns = T0 + solo_config(1).election_ns;
    for (; now < leases_ns; now = raft_timeout_ns(raft)) {
        raft_tick(raft, now);
        solo_take(raft, now);
        asked += solo_sent(RAFT_PREVOTE_REQUEST, 2) != NULL;
        cr_expect_not(solo_sent(RAFT_PREVOTE_REQUEST, 3),
                      "nobody else before leases have run out");
    }
    cr_expect(asked >= 5, "asks its leader until it hears it");
    raft_free(raft);
}

Test(raft, who_has_not_answered_since_a_sleep_keeps_its_group_awake)
{
    struct raft *raft = solo_leader();
    struct raft_progress p;
    cr_assert(raft_sleep(raft, T0));
    solo_take(raft, T0);
    uint64_t stamp = solo_sent(RAFT_HEARTBEAT, 2)->stamp;
    for (replica_id id = 2; id <= 3; id++) {
        struct raft_message m = { RAFT_HEARTBEAT_REPLY, id, 1, 2, .index = 2,
                                  .stamp = stamp };
        cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    }
    uint64_t later = T0 + 60 * solo_config(1).election_ns;
    cr_assert(raft_progress_of(raft, later, 2, &p));
    cr_expect(p.active && p.caught_up, "as it was when it fell asleep");
    raft_wake(raft, later);
    cr_expect_not(raft_sleep(raft, later));
    solo_take(raft, later);
    stamp = solo_sent(RAFT_HEARTBEAT, 2)->stamp;
    struct raft_message m = { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2,
                              .stamp = stamp };
    cr_assert_eq(solo_say(raft, later, m), DLHT_OK);
    cr_expect_not(raft_sleep(raft, later), "3 said nothing");
    m.from = 3;
    cr_assert_eq(solo_say(raft, later, m), DLHT_OK);
    cr_expect(raft_sleep(raft, later));
    raft_free(raft);
}

Test(raft, a_log_comes_back_as_it_was_written)
{
    struct raft_config config = solo_config(1);
    struct raft_start start = { .snapshot_index = 3,
                                .snapshot_term = 2,
                                .members = solo_members("123"),
                                .term = 2,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    struct raft_entry e[4];
    solo_fill(e, 4, 3, 2);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(raft_restore_entry(raft, &e[i]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 6);
    solo_fill(e, 1, 5, 4); /* replaces 5 and 6 */
    cr_assert_eq(raft_restore_entry(raft, &e[0]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 5);
    cr_expect_eq(raft_term(raft), 4);
    solo_fill(e, 1, 7, 4);
    cr_expect_eq(raft_restore_entry(raft, &e[0]), DLHT_ECORRUPT);
    solo_fill(e, 1, 4, 1);
    cr_expect_eq(raft_restore_entry(raft, &e[0]), DLHT_OK);
    cr_expect_eq(raft_last_index(raft), 5, "left over from before");
    raft_restore_vote(raft, 4, 3);
    raft_restore_commit(raft, 99);
    cr_expect_eq(raft_commit(raft), 5);
    raft_check(raft);
    raft_take(raft, T0, &solo_out);
    cr_expect_eq(solo_out.number, 0, "all of it is on disk");
    uint64_t now = T0 + 200 * MS;
    struct raft_message m = { RAFT_VOTE_REQUEST, 2, 1, 4, 9, 4 };
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_assert(solo_sent(RAFT_VOTE_REPLY, 2));
    cr_expect(solo_sent(RAFT_VOTE_REPLY, 2)->refused, "voted for 3 before");
    raft_free(raft);
}

Test(raft, members_that_do_not_hold_together_give_no_raft)
{
    static const struct {
        const char *why, *members;
        uint64_t index;
    } table[] = {
        { "none", "", 1 },
        { "no voter", "1l", 1 },
        { "twice the same", "11", 1 },
        { "id 0", "0", 1 },
        { "members before the log", "1", 0 },
    };
    struct raft_config config = solo_config(1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft_start start = { .snapshot_index = table[i].index,
                                    .snapshot_term = table[i].index,
                                    .members = solo_members(table[i].members),
                                    .term = 1 };
        struct raft *raft;
        cr_expect_eq(raft_new(&config, &start, &raft), DLHT_EINVAL, "%s",
                     table[i].why);
        cr_expect_null(raft);
    }
}
