/* SPDX-License-Identifier: Apache-2.0 */

/* The promises of raft, held against what the world has seen. */

#include "replica/raft_net_state.h"

#include "base/hash.h"

static void choose(struct net *net, struct node *node,
                   const struct raft_entry *entry)
{
    uint64_t hash = net_entry_hash(entry), i = entry->index;
    if (i >= CHOSEN_MAX) {
        net_fail(net, "log too long for the test");
        return;
    }
    if (net->chosen[i] != 0 && net->chosen[i] != hash)
        net_fail(net, "node %d commits another entry at %d (terms %d, %d)",
                 (int)node->id, (int)i, (int)entry->term,
                 (int)net->chosen_term[i]);
    if (net->chosen[i] == 0) {
        net->chosen[i] = hash;
        net->chosen_term[i] = entry->term;
        net->chain[i] = hash64_mix(net->chain[i - 1], hash);
        net->result->commits++;
        if (i != net->chosen_last + 1)
            net_fail(net, "index %d is committed before %d", (int)i,
                     (int)net->chosen_last + 1);
        net->chosen_last = i;
    }
}

void net_apply(struct net *net, struct node *node)
{
    uint64_t commit = raft_commit(node->raft);
    while (node->state.index < commit) {
        const struct raft_entry *entry =
            raft_entry_at(node->raft, node->state.index + 1);
        if (!entry) {
            net_fail(net, "node %d lacks committed %d", (int)node->id,
                     (int)node->state.index + 1);
            return;
        }
        choose(net, node, entry);
        node->state.index = entry->index;
        node->state.term = entry->term;
        node->state.hash = hash64_mix(node->state.hash, net_entry_hash(entry));
        if (entry->type == RAFT_ENTRY_MEMBERS)
            node->state.members = *entry->members;
        if (entry->index < CHOSEN_MAX &&
            node->state.hash != net->chain[entry->index])
            net_fail(net, "node %d differs at %d", (int)node->id,
                     (int)entry->index);
    }
}

void net_check_leader(struct net *net, struct node *node)
{
    uint64_t term = raft_term(node->raft);
    if (raft_role(node->raft) != RAFT_LEADER || term >= TERMS_MAX)
        return;
    if (net->leaders[term] != 0 && net->leaders[term] != node->id)
        net_fail(net, "two leaders in term %d: %d and %d", (int)term,
                 (int)net->leaders[term], (int)node->id);
    net->leaders[term] = node->id;
    if (node->led_term < term) {
        node->led_term = term;
        node->led_commit = 0;
        net->result->leaders++;
        for (size_t k = 0; k < NET_NODES_MAX && !net->calm; k++)
            if (net_chance(net, net->config.lead_cuts))
                net->cut[node->id - 1][k] = true;
        for (uint64_t i = net->chosen_last;
             i > 0 && i >= raft_first_index(node->raft); i--) {
            const struct raft_entry *entry = raft_entry_at(node->raft, i);
            if (net->chosen_term[i] <= term &&
                (!entry || net_entry_hash(entry) != net->chosen[i])) {
                net_fail(net, "leader %d of term %d lacks committed %d",
                         (int)node->id, (int)term, (int)i);
                return;
            }
        }
    }
    uint64_t commit = raft_commit(node->raft);
    if (commit > node->led_commit && node->led_commit != 0 &&
        raft_term_at(node->raft, commit) != term)
        net_fail(net, "leader %d of term %d counts %d of term %d",
                 (int)node->id, (int)term, (int)commit,
                 (int)raft_term_at(node->raft, commit));
    node->led_commit = commit;
    if (raft_commit(node->raft) > net->acknowledged)
        net->acknowledged = raft_commit(node->raft);
}

/* A message that is a vote: one a node and term, over all its lives. */
void net_note_vote(struct net *net, size_t i, const struct raft_message *m)
{
    bool given = m->type == RAFT_VOTE_REPLY && !m->refused;
    if ((!given && m->type != RAFT_VOTE_REQUEST) || m->term >= TERMS_MAX)
        return;
    replica_id *vote = &net->votes[i][m->term], to = given ? m->to : m->from;
    if (*vote != 0 && *vote != to)
        net_fail(net, "node %d votes twice in term %d: %d and %d", (int)i + 1,
                 (int)m->term, (int)*vote, (int)to);
    *vote = to;
    net->nodes[i].voted = given;
}

/* Two logs with one entry in common agree below it. */
static void check_matching(struct net *net, struct node *a, struct node *b)
{
    uint64_t last = raft_last_index(a->raft);
    if (raft_last_index(b->raft) < last)
        last = raft_last_index(b->raft);
    bool same = false;
    for (uint64_t i = last; i > 0; i--) {
        const struct raft_entry *x = raft_entry_at(a->raft, i);
        const struct raft_entry *y = raft_entry_at(b->raft, i);
        if (!x || !y)
            return;
        bool equal = x->term == y->term;
        if ((same && !equal) ||
            (equal && net_entry_hash(x) != net_entry_hash(y))) {
            net_fail(net, "logs of %d and %d differ at %d below a common entry",
                     (int)a->id, (int)b->id, (int)i);
            return;
        }
        same = same || equal;
    }
}

void net_check_all(struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++)
        for (size_t k = 0; k < i; k++)
            if (net->nodes[i].raft && net->nodes[k].raft)
                check_matching(net, &net->nodes[i], &net->nodes[k]);
}

void net_finish_read(struct net *net, size_t i, uint64_t ticket, bool lost)
{
    for (size_t k = 0; k < READS_MAX; k++) {
        struct read *read = &net->reads[k];
        if (!read->used || read->node != i || read->ticket != ticket ||
            read->life != net->nodes[i].life)
            continue;
        read->used = false;
        if (!lost && read->index < read->floor)
            net_fail(net, "node %d confirms a read at %d, %d was acknowledged",
                     (int)i + 1, (int)read->index, (int)read->floor);
        net->result->round_reads += !lost;
        return;
    }
}
