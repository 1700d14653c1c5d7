/* SPDX-License-Identifier: Apache-2.0 */

/* The disk and the other members that a raft under test has. */

#include "replica/solo.h"

#include <criterion/criterion.h>

#include "dlht/err.h"

struct raft_output solo_out;

struct raft_members solo_members(const char *text)
{
    struct raft_members m = { .count = 0 };
    for (; *text; text++) {
        if (*text == 'l')
            m.list[m.count - 1].voter = false;
        else
            m.list[m.count++] =
                (struct raft_member){ (replica_id)(*text - '0'), true };
    }
    return m;
}

struct raft_config solo_config(replica_id id)
{
    return (struct raft_config){ .id = id,
                                 .election_ns = 100 * MS,
                                 .heartbeat_ns = 20 * MS,
                                 .lease_reads = true,
                                 .seed = 5 };
}

struct raft *solo_make(const struct raft_config *config, const char *members)
{
    struct raft_start start = { .snapshot_index = 1,
                                .snapshot_term = 1,
                                .members = solo_members(members),
                                .term = 1,
                                .now_ns = T0 };
    struct raft *raft;
    cr_assert_eq(raft_new(config, &start, &raft), DLHT_OK);
    return raft;
}

struct raft *solo_founded(replica_id id, const char *members)
{
    struct raft_config config = solo_config(id);
    return solo_make(&config, members);
}

void solo_take(struct raft *raft, uint64_t now)
{
    raft_take(raft, now, &solo_out);
    raft_check(raft);
}

void solo_flush(struct raft *raft, uint64_t now)
{
    solo_take(raft, now);
    while (solo_out.number) {
        raft_persisted(raft, now, solo_out.number);
        solo_take(raft, now);
    }
}

const struct raft_message *solo_sent(uint8_t type, replica_id to)
{
    for (size_t i = 0; i < solo_out.message_count; i++)
        if (solo_out.messages[i].type == type && solo_out.messages[i].to == to)
            return &solo_out.messages[i];
    return NULL;
}

int solo_say(struct raft *raft, uint64_t now, struct raft_message m)
{
    int rc = raft_receive(raft, now, &m);
    raft_check(raft);
    return rc;
}

void solo_grant(struct raft *raft, uint64_t now, uint8_t type, replica_id from,
                replica_id to, uint64_t term)
{
    cr_assert_eq(
        solo_say(raft, now,
                 (struct raft_message){
                     .type = type, .from = from, .to = to, .term = term }),
        DLHT_OK);
}

void solo_elect(struct raft *raft, replica_id id, replica_id voter)
{
    raft_campaign(raft, T0);
    solo_flush(raft, T0);
    if (voter)
        solo_grant(raft, T0, RAFT_VOTE_REPLY, voter, id, 2);
    cr_assert_eq(raft_role(raft), RAFT_LEADER);
}

void solo_ack(struct raft *raft, uint64_t now, replica_id from, replica_id to,
              uint64_t index, uint64_t stamp)
{
    cr_assert_eq(solo_say(raft, now,
                          (struct raft_message){ .type = RAFT_APPEND_REPLY,
                                                 .from = from,
                                                 .to = to,
                                                 .term = raft_term(raft),
                                                 .index = index,
                                                 .stamp = stamp }),
                 DLHT_OK);
}

struct raft_message solo_append(uint64_t term, uint64_t prev,
                                uint64_t prev_term,
                                const struct raft_entry *entries, size_t n)
{
    return (struct raft_message){ .type = RAFT_APPEND,
                                  .from = 2,
                                  .to = 1,
                                  .term = term,
                                  .index = prev,
                                  .log_term = prev_term,
                                  .stamp = 77,
                                  .entries = n ? entries : NULL,
                                  .entry_count = n };
}

void solo_fill(struct raft_entry *entries, size_t n, uint64_t first,
               uint64_t term)
{
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct raft_entry){ .term = term,
                                          .index = first + i,
                                          .type = RAFT_ENTRY_DATA,
                                          .data = span_str("value") };
}

struct raft *solo_follower(uint64_t last, uint64_t commit)
{
    struct raft *raft = solo_founded(1, "123");
    struct raft_entry entries[16];
    solo_fill(entries, (size_t)last - 1, 2, 2);
    struct raft_message m = solo_append(2, 1, 1, entries, (size_t)last - 1);
    m.commit = commit;
    cr_assert_eq(solo_say(raft, T0, m), DLHT_OK);
    solo_flush(raft, T0);
    return raft;
}

struct raft *solo_leader_with(const struct raft_config *config,
                              const char *members)
{
    struct raft *raft = solo_make(config, members);
    solo_elect(raft, 1, 2);
    solo_take(raft, T0);
    uint64_t stamp = solo_sent(RAFT_APPEND, 2)->stamp, number = solo_out.number;
    raft_persisted(raft, T0, number);
    for (size_t i = 1; i < raft_members(raft)->count; i++)
        solo_ack(raft, T0, raft_members(raft)->list[i].id, 1, 2, stamp);
    solo_take(raft, T0);
    cr_assert_eq(raft_commit(raft), 2);
    return raft;
}

struct raft *solo_leader(void)
{
    struct raft_config config = solo_config(1);
    return solo_leader_with(&config, "123");
}
