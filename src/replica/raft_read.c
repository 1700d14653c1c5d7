/* SPDX-License-Identifier: Apache-2.0 */

/* Linearizable reads: by the lease, or by asking a majority whether we still
 * lead (ReadIndex, thesis 6.4). Reads that arrive together share one round;
 * they stand in the order of their stamps, so what is decided is a prefix. */

#include "replica/raft_state.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

/* A majority's newest echo: all stamps up to it were seen by a majority that
 * then still followed us. */
static uint64_t quorum_stamp(const struct raft *raft)
{
    uint64_t stamps[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < raft->peer_count; i++)
        stamps[i] = raft->peers[i].id == raft->config.id ? raft->last_stamp
                                                         : raft->peers[i].stamp;
    return raft_members_quorum(raft, stamps);
}

bool raft_read_has_lease(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return false;
    if (raft_members_is_sole_voter(raft))
        return true;
    if (!raft->config.lease_reads || raft->quiet)
        return false;
    if (DLHT_MUTANT != 4 && (raft->transfer_to != 0 || raft->transfer_told))
        return false;
    uint64_t stamp = quorum_stamp(raft);
    if (stamp <= raft->lease_floor)
        return false;
    return raft->now_ns < stamp + raft->config.election_ns / 5 * 4;
}

bool raft_lease_holds(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    return raft_read_has_lease(raft);
}

static int reserve(struct raft *raft)
{
    if (raft->read_count >= RAFT_READS_MAX)
        return DLHT_EBUSY;
    if (raft->read_count < raft->read_cap)
        return DLHT_OK;
    size_t cap = raft->read_cap ? raft->read_cap * 2 : 16;
    struct raft_pending_read *list = mem_resize(raft->reads, cap, sizeof *list);
    if (!list)
        return DLHT_ENOMEM;
    raft->reads = list;
    raft->read_cap = cap;
    return DLHT_OK;
}

int raft_read(struct raft *raft, uint64_t now_ns, bool strict, uint64_t *index,
              uint64_t *ticket)
{
    *index = 0;
    *ticket = 0;
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role != RAFT_LEADER)
        return DLHT_ENOTOWNER;
    if (raft_log_term(&raft->log, raft->commit) != raft->term &&
        DLHT_MUTANT != 8)
        return DLHT_EBUSY;
    bool sole = raft_members_is_sole_voter(raft) || DLHT_MUTANT == 9;
    if (!sole && (strict || !raft_read_has_lease(raft))) {
        int rc = reserve(raft);
        if (rc != DLHT_OK)
            return rc;
        *ticket = ++raft->ticket;
        raft->reads[raft->read_count++] =
            (struct raft_pending_read){ .ticket = *ticket,
                                        .state = RAFT_READ_ASKED };
        raft_append_wake(raft);
    }
    *index = raft->commit;
    return DLHT_OK;
}

void raft_read_confirm(struct raft *raft)
{
    if (raft->read_count == 0)
        return;
    uint64_t stamp = quorum_stamp(raft);
    for (size_t i = 0; i < raft->read_count; i++) {
        struct raft_pending_read *read = &raft->reads[i];
        if (read->state == RAFT_READ_ASKED ||
            (read->state == RAFT_READ_ROUND && read->stamp > stamp))
            break;
        if (read->state == RAFT_READ_ROUND)
            read->state = RAFT_READ_DONE;
    }
}

void raft_read_lose(struct raft *raft)
{
    for (size_t i = 0; i < raft->read_count; i++)
        if (raft->reads[i].state != RAFT_READ_DONE)
            raft->reads[i].state = RAFT_READ_LOST;
}

bool raft_read_wants_round(const struct raft *raft)
{
    /* The newest is last. */
    return raft->read_count > 0 &&
           raft->reads[raft->read_count - 1].state == RAFT_READ_ASKED;
}

void raft_read_begin_round(struct raft *raft, uint64_t stamp)
{
    for (size_t i = raft->read_count; i > 0; i--) {
        struct raft_pending_read *read = &raft->reads[i - 1];
        if (read->state != RAFT_READ_ASKED)
            break;
        read->state = RAFT_READ_ROUND;
        read->stamp = stamp;
    }
}

void raft_read_output(struct raft *raft, struct raft_output *out)
{
    size_t n = 0;
    while (n < raft->read_count && n < RAFT_OUTPUT_READS_MAX &&
           raft->reads[n].state >= RAFT_READ_DONE) {
        out->reads[n].ticket = raft->reads[n].ticket;
        out->reads[n].lost = raft->reads[n].state == RAFT_READ_LOST;
        n++;
    }
    out->read_count = n;
    if (n == 0)
        return;
    raft->read_count -= n;
    memmove(raft->reads, raft->reads + n,
            raft->read_count * sizeof *raft->reads);
}
