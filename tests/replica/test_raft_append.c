/* SPDX-License-Identifier: Apache-2.0 */

/* Entries to others and from them, commit, snapshots, compaction. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "replica/solo.h"

Test(raft_append, a_majority_of_durable_copies_commits)
{
    struct raft *raft = solo_founded(1, "123");
    solo_elect(raft, 1, 2);
    solo_take(raft, T0); /* index 2, not durable here */
    uint64_t number = solo_out.number;
    solo_ack(raft, T0, 2, 1, 2, 0);
    cr_expect_eq(raft_commit(raft), 1, "one copy is no majority");
    raft_persisted(raft, T0, number);
    cr_expect_eq(raft_commit(raft), 2);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    solo_take(raft, T0);
    solo_ack(raft, T0, 2, 1, 3, 0);
    solo_ack(raft, T0, 3, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3, "two others are one");
    raft_free(raft);
}

Test(raft_append, old_terms_are_committed_beneath_an_own_entry)
{
    struct raft *raft = solo_follower(4, 2);
    uint64_t now = raft_timeout_ns(raft);
    raft_tick(raft, now);
    solo_flush(raft, now);
    solo_grant(raft, now, RAFT_PREVOTE_REPLY, 3, 1, 3);
    solo_flush(raft, now);
    solo_grant(raft, now, RAFT_VOTE_REPLY, 3, 1, 3);
    solo_flush(raft, now);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
    solo_ack(raft, now, 3, 1, 4, 0);
    cr_expect_eq(raft_commit(raft), 2);
    solo_ack(raft, now, 3, 1, 5, 0);
    cr_expect_eq(raft_commit(raft), 5);
    raft_free(raft);
}

Test(raft_append, a_follower_acknowledges_what_is_durable)
{
    struct raft *raft = solo_follower(2, 1);
    struct raft_entry entries[4];
    solo_fill(entries, 4, 3, 2);
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 2, 2, entries, 2)), DLHT_OK);
    solo_take(raft, T0);
    uint64_t first = solo_out.number;
    cr_expect_eq(solo_out.entry_count, 2);
    cr_expect_null(solo_sent(RAFT_APPEND_REPLY, 2));
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 4, 2, entries + 2, 2)),
                 DLHT_OK);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.number, first + 1);
    raft_persisted(raft, T0, first);
    solo_take(raft, T0);
    const struct raft_message *reply = solo_sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->index == 4 && reply->stamp == 77);
    raft_persisted(raft, T0, first + 1);
    solo_take(raft, T0);
    reply = solo_sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->index == 6);
    raft_free(raft);
}

Test(raft_append, what_was_overwritten_since_is_not_durable)
{
    struct raft *raft = solo_follower(2, 1);
    struct raft_entry entries[4];
    solo_fill(entries, 3, 3, 2);
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 2, 2, entries, 3)), DLHT_OK);
    solo_take(raft, T0); /* 3..5 of term 2 */
    uint64_t first = solo_out.number;
    solo_fill(entries, 2, 4, 3);
    struct raft_message m = solo_append(3, 3, 2, entries, 2);
    m.from = 3;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0); /* 4..5 of term 3 */
    uint64_t second = solo_out.number;
    cr_expect_eq(solo_out.entries[0].index, 4);
    cr_expect(solo_out.vote_changed && solo_out.term == 3);
    raft_persisted(raft, T0, first);
    solo_take(raft, T0);
    cr_expect_null(solo_sent(RAFT_APPEND_REPLY, 3),
                   "the term is not durable yet");
    raft_persisted(raft, T0, second);
    solo_take(raft, T0);
    cr_assert(solo_sent(RAFT_APPEND_REPLY, 3));
    cr_expect_eq(solo_sent(RAFT_APPEND_REPLY, 3)->index, 5);
    /* The same again where only the log is late. */
    solo_fill(entries, 2, 6, 3);
    m = solo_append(3, 5, 3, entries, 2);
    m.from = 3;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    first = solo_out.number;
    solo_fill(entries, 1, 6, 4);
    m = solo_append(4, 5, 3, entries, 1);
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    raft_persisted(raft, T0, first);
    raft_persisted(raft, T0, solo_out.number);
    solo_take(raft, T0);
    cr_assert(solo_sent(RAFT_APPEND_REPLY, 2));
    cr_expect_eq(solo_sent(RAFT_APPEND_REPLY, 2)->index, 6);
    raft_free(raft);
}

Test(raft_append, a_gap_is_refused_with_a_hint)
{
    static const struct {
        const char *why;
        uint64_t prev, prev_term, hint, hint_term;
    } table[] = {
        { "beyond the end", 9, 2, 4, 2 },
        { "beyond, by an older leader's term", 9, 1, 2, 2 },
        { "another term there", 4, 3, 3, 2 },
        { "never below commit", 3, 1, 2, 2 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = solo_follower(4, 2);
        struct raft_message m =
            solo_append(3, table[i].prev, table[i].prev_term, NULL, 0);
        m.from = 3;
        cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
        solo_flush(raft, T0);
        const struct raft_message *reply = solo_sent(RAFT_APPEND_REPLY, 3);
        cr_assert(reply && reply->refused, "%s", table[i].why);
        cr_expect_eq(reply->index, table[i].prev);
        cr_expect_eq(reply->hint, table[i].hint, "%s: hint %d", table[i].why,
                     (int)reply->hint);
        cr_expect_eq(reply->log_term, table[i].hint_term, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft_append, one_turn_is_one_message)
{
    struct raft *raft = solo_leader();
    uint64_t index;
    for (int i = 0; i < 10; i++)
        cr_assert_eq(raft_propose(raft, T0, span_str("abc"), &index), DLHT_OK);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.message_count, 2);
    const struct raft_message *m = solo_sent(RAFT_APPEND, 2);
    cr_assert_eq(m->entry_count, 10);
    cr_expect_eq(m->index, 2);
    cr_expect(span_equal(m->entries[9].data, span_str("abc")));
    cr_expect_eq(solo_out.entry_count, 10);
    raft_free(raft);
}

Test(raft_append, messages_and_flight_are_bounded)
{
    struct raft_config config = solo_config(1);
    config.append_bytes_max = 300;
    config.inflight_bytes_max = 1000;
    config.pending_bytes_max = 5000;
    struct raft *raft = solo_leader_with(&config, "123");
    uint8_t bytes[500] = { 0 };
    uint64_t index;
    int accepted = 0;
    while (raft_propose(raft, T0, span_of(bytes, 36), &index) == DLHT_OK)
        accepted++;
    cr_expect_eq(accepted, 50, "%d", accepted);
    solo_take(raft, T0);
    size_t entries = 0;
    for (size_t i = 0; i < solo_out.message_count; i++) {
        cr_expect_leq(solo_out.messages[i].entry_count, 3);
        entries +=
            solo_out.messages[i].to == 2 ? solo_out.messages[i].entry_count : 0;
    }
    cr_expect_eq(entries, 12, "%d", (int)entries);
    solo_ack(raft, T0, 2, 1, 5, 0);
    solo_take(raft, T0);
    cr_assert(solo_sent(RAFT_APPEND, 2));
    cr_expect_eq(solo_sent(RAFT_APPEND, 2)->index, 14);
    raft_free(raft);
}

Test(raft_append, a_lost_message_is_found_missing)
{
    struct raft *raft = solo_leader();
    uint64_t index, now = T0 + 21 * MS;
    cr_assert_eq(raft_propose(raft, T0, span_str("lost"), &index), DLHT_OK);
    solo_flush(raft, T0);
    raft_tick(raft, now);
    solo_take(raft, now);
    uint64_t stamp = solo_sent(RAFT_HEARTBEAT, 2)->stamp;
    struct raft_message m = {
        RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2, .hint = 2, .stamp = stamp
    };
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_assert(solo_sent(RAFT_APPEND, 2));
    cr_expect_eq(solo_sent(RAFT_APPEND, 2)->index, 2);
    m.from = 3;
    m.hint = 3; /* arrived, but on its way to the disk */
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_expect_null(solo_sent(RAFT_APPEND, 3));
    raft_free(raft);
}

Test(raft_append, a_member_behind_the_log_is_named_for_a_snapshot_once)
{
    struct raft *raft = solo_leader();
    struct raft_members next = solo_members("1234l");
    uint64_t index;
    cr_assert_eq(raft_change(raft, T0, &next, span_empty(), &index), DLHT_OK);
    solo_flush(raft, T0);
    struct raft_message m = { RAFT_APPEND_REPLY, 4, 1, 2, .index = 3,
                              .refused = true };
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    cr_assert_eq(solo_out.snapshot_count, 1);
    cr_expect_eq(solo_out.snapshots[0], 4);
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.snapshot_count, 0, "once");
    raft_snapshot_done(raft, T0, 4, 0);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.snapshot_count, 0, "not at once after a failure");
    uint64_t now = T0 + 50 * MS;
    raft_tick(raft, now);
    solo_take(raft, now);
    m = (struct raft_message){ RAFT_HEARTBEAT_REPLY, 4, 1, 2,
                               .stamp = solo_sent(RAFT_HEARTBEAT, 4)->stamp };
    cr_assert_eq(solo_say(raft, now, m), DLHT_OK);
    solo_take(raft, now);
    cr_expect_eq(solo_out.snapshot_count, 1);
    raft_snapshot_done(raft, now, 4, 3);
    solo_take(raft, now);
    cr_assert(solo_sent(RAFT_APPEND, 4));
    cr_expect_eq(solo_sent(RAFT_APPEND, 4)->index, 3);
    raft_free(raft);
}

Test(raft_append, a_fresh_member_takes_a_snapshot_and_goes_on)
{
    struct raft_config config = solo_config(1);
    struct raft_start start = { .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(&config, &start, &raft), DLHT_OK);
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX);
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 9, 2, NULL, 0)), DLHT_OK);
    solo_flush(raft, T0);
    const struct raft_message *reply = solo_sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && reply->refused && reply->hint == 0);
    struct raft_members members = solo_members("231l");
    cr_assert_eq(raft_install(raft, T0, 9, 2, &members), DLHT_OK);
    cr_expect_eq(raft_install(raft, T0, 9, 2, &members), DLHT_ESTALE);
    cr_expect_eq(raft_commit(raft), 9);
    struct raft_entry entry;
    solo_fill(&entry, 1, 10, 2);
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 9, 2, &entry, 1)), DLHT_OK);
    solo_flush(raft, T0);
    reply = solo_sent(RAFT_APPEND_REPLY, 2);
    cr_assert(reply && !reply->refused && reply->index == 10);
    raft_free(raft);
}

Test(raft_append, a_snapshot_keeps_the_log_only_if_they_agree)
{
    struct raft_members members = solo_members("123");
    struct raft *raft = solo_follower(6, 2);
    cr_assert_eq(raft_install(raft, T0, 4, 2, &members), DLHT_OK);
    raft_check(raft);
    cr_expect_eq(raft_last_index(raft), 6);
    cr_expect_eq(raft_first_index(raft), 5);
    raft_free(raft);
    raft = solo_follower(6, 2);
    cr_assert_eq(raft_install(raft, T0, 4, 3, &members), DLHT_OK);
    raft_check(raft);
    cr_expect_eq(raft_last_index(raft), 4);
    cr_expect_eq(raft_term(raft), 3);
    raft_free(raft);
}

Test(raft_append, compaction_keeps_what_is_not_committed)
{
    struct raft *raft = solo_follower(6, 4);
    size_t bytes = raft_log_bytes(raft);
    raft_compact(raft, 99);
    raft_check(raft);
    cr_expect_eq(raft_first_index(raft), 5);
    cr_expect_eq(raft_term_at(raft, 4), 2);
    cr_expect_null(raft_entry_at(raft, 4));
    cr_assert_not_null(raft_entry_at(raft, 5));
    cr_expect_lt(raft_log_bytes(raft), bytes);
    raft_free(raft);
}

Test(raft_append, all_have_what_the_slowest_member_has)
{
    struct raft *raft = solo_leader();
    uint64_t index;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    solo_flush(raft, T0);
    solo_ack(raft, T0, 2, 1, index, 0);
    cr_expect_eq(raft_commit(raft), index);
    cr_expect_eq(raft_all_have(raft), 2, "3 has not said so yet");
    solo_ack(raft, T0, 3, 1, index - 1, 0);
    cr_expect_eq(raft_all_have(raft), index - 1);
    solo_ack(raft, T0, 3, 1, index, 0);
    cr_expect_eq(raft_all_have(raft), index);
    struct raft_members four = solo_members("1234l");
    cr_assert_eq(raft_change(raft, T0, &four, span_str("m"), &index), DLHT_OK);
    cr_expect_eq(raft_all_have(raft), 0, "who comes has nothing");
    solo_flush(raft, T0);
    solo_ack(raft, T0, 2, 1, index, 0);
    solo_ack(raft, T0, 3, 1, index, 0);
    cr_expect_eq(raft_all_have(raft), 0, "and holds all of it");
    raft_free(raft);
    raft = solo_follower(6, 6);
    cr_expect_eq(raft_all_have(raft), 0, "who follows does not know");
    raft_free(raft);
}
