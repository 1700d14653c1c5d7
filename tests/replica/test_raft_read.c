/* SPDX-License-Identifier: Apache-2.0 */

/* Reads: the lease, the rounds that confirm a leader. */

#include "replica/raft.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "replica/solo.h"

Test(raft_read, the_lease_runs_from_the_sending)
{
    static const struct {
        const char *why;
        bool lease_reads, strict;
        uint64_t after_ms;
        bool lease;
    } table[] = {
        { "fresh", true, false, 1, true },
        { "just before its end", true, false, 79, true },
        { "at its end", true, false, 80, false },
        { "strict read", true, true, 1, false },
        { "leases off", false, false, 1, false },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct raft_config config = solo_config(1);
        config.lease_reads = table[i].lease_reads;
        struct raft *raft = solo_leader_with(&config, "123");
        uint64_t index, ticket, now = T0 + table[i].after_ms * MS;
        cr_assert_eq(raft_read(raft, now, table[i].strict, &index, &ticket),
                     DLHT_OK);
        cr_expect_eq(index, 2);
        cr_expect_eq(ticket == 0, table[i].lease, "%s", table[i].why);
        raft_free(raft);
    }
}

Test(raft_read, a_transfer_ends_the_lease_for_the_term)
{
    struct raft *raft = solo_leader();
    uint64_t index, ticket;
    cr_expect_eq(raft_transfer(raft, T0, 1), DLHT_EINVAL);
    cr_expect_eq(raft_transfer(raft, T0, 9), DLHT_EINVAL);
    cr_assert_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_OK);
    solo_flush(raft, T0);
    cr_assert_eq(raft_transfer(raft, T0, 2), DLHT_OK);
    cr_expect_eq(raft_propose(raft, T0, span_str("x"), &index), DLHT_ENOTOWNER);
    solo_take(raft, T0);
    cr_expect_null(solo_sent(RAFT_TIMEOUT_NOW, 2), "it lacks an entry");
    solo_ack(raft, T0, 2, 1, 3, 0);
    solo_take(raft, T0);
    cr_expect(solo_sent(RAFT_TIMEOUT_NOW, 2));
    cr_assert_eq(raft_read(raft, T0, false, &index, &ticket), DLHT_OK);
    cr_expect_neq(ticket, 0);
    raft_tick(raft, T0 + 100 * MS);
    if (raft_role(raft) == RAFT_LEADER) {
        uint64_t now = T0 + 100 * MS;
        solo_take(raft, now);
        solo_ack(raft, now, 2, 1, 3, solo_sent(RAFT_HEARTBEAT, 2)->stamp);
        cr_assert_eq(raft_propose(raft, now, span_str("x"), &index), DLHT_OK,
                     "given up");
        cr_assert_eq(raft_read(raft, now, false, &index, &ticket), DLHT_OK);
        cr_expect_neq(ticket, 0, "the word to stand may still arrive");
    }
    raft_free(raft);
}

Test(raft_read, many_reads_share_a_round)
{
    struct raft *raft = solo_leader();
    uint64_t index, tickets[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(raft_read(raft, T0, true, &index, &tickets[i]), DLHT_OK);
    solo_take(raft, T0);
    const struct raft_message *beat = solo_sent(RAFT_HEARTBEAT, 2);
    cr_assert(beat, "at once");
    uint64_t stamp = beat->stamp;
    struct raft_message m = { RAFT_HEARTBEAT_REPLY, 2, 1, 2, .index = 2,
                              .stamp = stamp - 1 };
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    cr_expect_eq(solo_out.read_count, 0, "asked before");
    m.stamp = stamp;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    cr_assert_eq(solo_out.read_count, 3);
    for (int i = 0; i < 3; i++)
        cr_expect(solo_out.reads[i].ticket == tickets[i] &&
                  !solo_out.reads[i].lost);
    cr_assert_eq(raft_read(raft, T0, true, &index, &tickets[0]), DLHT_OK);
    m.type = RAFT_VOTE_REPLY;
    m.term = 9;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_take(raft, T0);
    cr_assert_eq(solo_out.read_count, 1);
    cr_expect(solo_out.reads[0].lost);
    raft_free(raft);
}
