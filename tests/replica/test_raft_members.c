/* SPDX-License-Identifier: Apache-2.0 */

/* Membership, one step at a time. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "replica/solo.h"

Test(raft_members, membership_changes_one_step_at_a_time)
{
    static const struct {
        const char *why, *next;
        int rc;
    } table[] = {
        { "a learner more", "1234l", DLHT_OK },
        { "a voter more", "1234", DLHT_OK },
        { "one less", "12", DLHT_OK },
        { "ourselves", "23", DLHT_OK },
        { "demoted", "123l", DLHT_OK },
        { "the same", "123", DLHT_EINVAL },
        { "the same in another order", "321", DLHT_EINVAL },
        { "two more", "12345", DLHT_EINVAL },
        { "one for another", "124", DLHT_EINVAL },
        { "two demoted", "12l3l", DLHT_EINVAL },
        { "twice the same", "1233", DLHT_EINVAL },
        { "no voter", "1l2l3l", DLHT_EINVAL },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft *raft = solo_leader();
        struct raft_members next = solo_members(table[i].next);
        uint64_t index;
        cr_expect_eq(raft_change(raft, T0, &next, span_str("d"), &index),
                     table[i].rc, "%s", table[i].why);
        raft_check(raft);
        if (table[i].rc == DLHT_OK) {
            cr_expect_eq(raft_members(raft)->count, next.count);
            cr_expect(raft_is_changing(raft));
            next = solo_members("123");
            cr_expect_eq(raft_change(raft, T0, &next, span_empty(), &index),
                         DLHT_EBUSY, "%s", table[i].why);
        }
        raft_free(raft);
    }
}

Test(raft_members, a_change_waits_for_an_entry_of_the_term)
{
    struct raft *raft = solo_founded(1, "123");
    solo_elect(raft, 1, 2);
    struct raft_members next = solo_members("12");
    uint64_t index, ticket;
    cr_expect_eq(raft_change(raft, T0, &next, span_empty(), &index),
                 DLHT_EBUSY);
    cr_expect_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_EBUSY);
    raft_free(raft);
}

Test(raft_members, a_truncation_brings_the_former_members_back)
{
    struct raft *raft = solo_follower(2, 2);
    struct raft_members members = solo_members("12");
    struct raft_entry entry = { 2, 3, RAFT_ENTRY_MEMBERS, span_str("m"),
                                &members };
    cr_assert_eq(solo_say(raft, T0, solo_append(2, 2, 2, &entry, 1)), DLHT_OK);
    cr_expect_eq(raft_members(raft)->count, 2);
    solo_fill(&entry, 1, 3, 3);
    struct raft_message m = solo_append(3, 2, 2, &entry, 1);
    m.from = 3;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    cr_expect_eq(raft_members(raft)->count, 3);
    cr_expect_not(raft_is_changing(raft));
    raft_free(raft);
}

Test(raft_members, a_leader_that_removed_itself_leads_until_that_is_committed)
{
    struct raft *raft = solo_leader();
    struct raft_members next = solo_members("23");
    uint64_t index;
    cr_assert_eq(raft_change(raft, T0, &next, span_empty(), &index), DLHT_OK);
    solo_flush(raft, T0);
    solo_ack(raft, T0, 2, 1, 3, 0);
    cr_expect_eq(raft_role(raft), RAFT_LEADER, "its own copy does not count");
    solo_ack(raft, T0, 3, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3);
    cr_expect_eq(raft_role(raft), RAFT_FOLLOWER);
    solo_take(raft, T0);
    cr_expect(solo_sent(RAFT_TIMEOUT_NOW, 2) || solo_sent(RAFT_TIMEOUT_NOW, 3));
    cr_expect_eq(raft_timeout_ns(raft), UINT64_MAX, "it stands no more");
    raft_free(raft);
}

Test(raft_members, learners_that_keep_up_are_awaited_and_others_not)
{
    struct raft_config config = solo_config(1);
    config.await_learners = true;
    struct raft *raft = solo_make(&config, "12l");
    solo_elect(raft, 1, 0);
    solo_flush(raft, T0);
    cr_expect_eq(raft_commit(raft), 2, "not yet caught up, not awaited");
    solo_ack(raft, T0, 2, 1, 2, 0);
    struct raft_progress progress;
    cr_assert(raft_progress_of(raft, T0, 2, &progress));
    cr_expect(progress.caught_up && progress.active);
    uint64_t index;
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    solo_flush(raft, T0);
    cr_expect_eq(raft_commit(raft), 2);
    solo_ack(raft, T0, 2, 1, 3, 0);
    cr_expect_eq(raft_commit(raft), 3);
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    solo_flush(raft, T0);
    for (uint64_t now = T0; now <= T0 + 120 * MS; now += 20 * MS)
        raft_tick(raft, now);
    cr_expect_eq(raft_commit(raft), 4, "not for ever");
    raft_free(raft);
}
