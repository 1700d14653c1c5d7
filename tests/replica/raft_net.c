/* SPDX-License-Identifier: Apache-2.0 */

/* Lives of rafts in one seeded world, what happens to them, and the run. */

#include "replica/raft_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "replica/raft_net_state.h"

/* Takes what a raft wants done and does it. */

static void begin_snapshot(struct net *net, size_t from, replica_id to)
{
    struct node *node = &net->nodes[from];
    net->result->snapshots++;
    if (!net->calm && net_chance(net, 0.2)) {
        struct event *e =
            net_event_add(net, EVENT_SNAPSHOT_DONE, from, 30 * MS);
        e->other = (size_t)to - 1;
        return;
    }
    struct event *e = net_event_add(net, EVENT_SNAPSHOT, (size_t)to - 1,
                                    rng_range(&net->rng, MS, 40 * MS));
    e->life = node->life; /* the sender's */
    e->other = from;
    e->state = node->state;
}

static void pump(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    static struct raft_output out;
    node->pump_ns = 0;
    do {
        raft_take(node->raft, net_local_ns(net, node), &out);
        if (net->config.memory && (out.number != 0 || out.entry_count != 0))
            net_fail(net, "a raft without a disk wants one");
        net_journal(net, i, &out);
        for (size_t k = 0; k < out.message_count; k++) {
            const struct raft_message *m = &out.messages[k];
            net_send(net, i, m);
            net_note_vote(net, i, m);
        }
        for (size_t k = 0; k < out.read_count; k++)
            net_finish_read(net, i, out.reads[k].ticket, out.reads[k].lost);
        for (size_t k = 0; k < out.snapshot_count; k++)
            begin_snapshot(net, i, out.snapshots[k]);
    } while (out.read_count == RAFT_OUTPUT_READS_MAX);
}

static void stop(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (!node->raft)
        return;
    net->result->crashes++;
    raft_free(node->raft);
    node->raft = NULL;
    node->life++;
    node->pump_ns = 0;
    node->disk_free_ns = 0;
    node->voted = false;
    size_t volatile_count = node->disk.count - node->disk.durable;
    if (net_chance(net, 0.5))
        volatile_count = rng_below(&net->rng, volatile_count + 1);
    else
        volatile_count = 0;
    net_disk_cut(&node->disk, node->disk.durable + volatile_count);
    node->disk.durable = node->disk.count;
}

/* After every call on a raft. */
static void settle(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (!node->raft)
        return;
    if (node->pump_ns == 0 && net_chance(net, 0.2))
        node->pump_ns = net->now_ns + rng_below(&net->rng, MS) + 1;
    else
        pump(net, i);
    raft_check(node->raft);
    net_apply(net, node);
    net_check_leader(net, node);
    if (node->voted && !net->calm && !net->config.memory &&
        net_chance(net, net->config.vote_crashes)) {
        stop(net, i);
        net_event_add(net, EVENT_START, i, rng_below(&net->rng, 5 * MS));
        return;
    }
    node->voted = false;
    if (++net->result->events % 256 == 0)
        net_check_all(net);
    net->result->hash = hash64_mix(net->result->hash, net->now_ns ^ i);
    if (net->result->events % 256 == 0)
        net->result->hash =
            hash64_mix(net->result->hash, raft_hash(node->raft));
}

/* Lives. */

static void start(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    struct disk *disk = &node->disk;
    const struct raft_config config = {
        .id = node->id,
        .election_ns = ELECTION_MS * MS,
        .heartbeat_ns = HEARTBEAT_MS * MS,
        .lease_reads = net->config.lease_reads,
        .await_learners = net->config.await_learners,
        .memory = net->config.memory,
        .seed = rng_next(&net->rng),
        .append_bytes_max = net->config.append_bytes_max,
        .inflight_bytes_max = net->config.seed % 2 == 0 ? 1000 : 0,
        .pending_bytes_max = 8000,
    };
    const struct raft_start from = {
        .snapshot_index = disk->snapshot.index,
        .snapshot_term = disk->snapshot.term,
        .members = disk->snapshot.members,
        .term = disk->term,
        .vote = disk->vote,
        .now_ns = net_local_ns(net, node),
    };
    if (raft_new(&config, &from, &node->raft) != DLHT_OK) {
        net_fail(net, "no start");
        return;
    }
    uint64_t commit = 0;
    for (size_t k = 0; k < disk->count; k++) {
        const struct op *op = &disk->ops[k];
        if (op->kind == OP_VOTE)
            raft_restore_vote(node->raft, op->term, op->vote);
        else if (op->kind == OP_COMMIT)
            commit = op->commit > commit ? op->commit : commit;
        else if (raft_restore_entry(node->raft, &op->entry) != DLHT_OK)
            net_fail(net, "node %d: no restore of %d", (int)node->id,
                     (int)op->entry.index);
    }
    raft_restore_commit(node->raft, commit);
    node->state = disk->snapshot;
    node->journaled_commit = commit;
    settle(net, i);
}

static void create(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (node->created)
        return;
    node->created = true;
    node->id = i + 1;
    node->rate = 1.0 + net->config.drift * (rng_real(&net->rng) * 2 - 1);
    node->offset = rng_below(&net->rng, 1000 * MS) + 1;
}

static void found(struct net *net)
{
    struct state first = { .index = 1, .term = 1 };
    for (size_t i = 0; i < net->config.voters; i++)
        first.members.list[first.members.count++] =
            (struct raft_member){ i + 1, true };
    net->chosen[1] = 1;
    net->chosen_term[1] = 1;
    net->chosen_last = 1;
    for (size_t i = 0; i < net->config.voters; i++) {
        create(net, i);
        net->nodes[i].disk.snapshot = first;
        net->nodes[i].disk.term = 1;
        start(net, i);
    }
}

/* Events and the script. */

static void on_durable(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    size_t ops = e->ops - node->tail;
    if (ops > node->disk.durable)
        node->disk.durable = ops;
    struct event *next = net_event_add(net, EVENT_PERSISTED, e->node,
                                       rng_below(&net->rng, 2 * MS));
    next->number = e->number;
}

static void on_snapshot(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    uint64_t index = 0;
    if (node->raft && !net->cut[e->other][e->node]) {
        int rc = raft_install(node->raft, net_local_ns(net, node),
                              e->state.index, e->state.term, &e->state.members);
        if (rc == DLHT_OK) {
            node->disk.snapshot = e->state;
            node->state = e->state;
            node->journaled_commit = e->state.index;
            node->led_commit = 0; /* not by counting */
            index = e->state.index;
        } else if (rc == DLHT_ESTALE) {
            index = e->state.index;
        } else {
            net_fail(net, "install says %d", rc);
        }
        settle(net, e->node);
    }
    if (net->nodes[e->other].life != e->life)
        return;
    struct event *done = net_event_add(net, EVENT_SNAPSHOT_DONE, e->other, MS);
    done->other = e->node;
    done->number = index;
}

static void do_read(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    uint64_t index, ticket, floor = net->acknowledged;
    if (raft_read(node->raft, net_local_ns(net, node), net_chance(net, 0.2),
                  &index, &ticket) != DLHT_OK)
        return;
    if (ticket == 0) {
        net->result->lease_reads++;
        if (index < floor)
            net_fail(net, "node %d reads at %d by lease, %d was acknowledged",
                     (int)node->id, (int)index, (int)floor);
        return;
    }
    for (size_t k = 0; k < READS_MAX; k++) {
        struct read *read = &net->reads[k];
        if (read->used && net->nodes[read->node].life == read->life)
            continue;
        *read = (struct read){ true, ticket, index, floor, i, node->life };
        return;
    }
}

static void do_propose(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    for (uint64_t n = rng_range(&net->rng, 1, 5); n > 0; n--) {
        uint64_t value = ++net->values, index;
        size_t len = (size_t)rng_below(&net->rng, sizeof value + 1);
        (void)!raft_propose(node->raft, net_local_ns(net, node),
                            span_of(&value, len), &index);
    }
}

static void do_change(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    struct raft_members next = *raft_members(node->raft);
    size_t k = (size_t)rng_below(&net->rng, NET_NODES_MAX), at = 0;
    while (at < next.count && next.list[at].id != k + 1)
        at++;
    if (at == next.count) {
        next.list[next.count++] =
            (struct raft_member){ k + 1, net_chance(net, 0.2) };
        if (!net->nodes[k].raft && !net->nodes[k].created) {
            create(net, k);
            start(net, k);
        }
    } else if (net_chance(net, next.list[at].voter ? 0.3 : 0.8)) {
        next.list[at].voter = !next.list[at].voter;
    } else {
        next.list[at] = next.list[--next.count];
    }
    uint64_t index;
    if (raft_change(node->raft, net_local_ns(net, node), &next,
                    span_of("members", 7), &index) == DLHT_OK)
        net->result->changes++;
}

static void do_transfer(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    const struct raft_members *members = raft_members(node->raft);
    replica_id to = members->list[rng_below(&net->rng, members->count)].id;
    if (raft_transfer(node->raft, net_local_ns(net, node), to) == DLHT_OK &&
        net_chance(net, net->config.transfer_cuts))
        net->cut[to - 1][i] = true;
}

static void do_compact(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (node->state.index < 5)
        return;
    node->disk.snapshot = node->state;
    node->tail += net_disk_trim(&node->disk);
    raft_compact(node->raft, node->state.index - rng_below(&net->rng, 4));
}

/* Things the owner of a replica does. */
static void act(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    const struct net_config *config = &net->config;
    uint64_t now = net_local_ns(net, node);
    if (net_chance(net, net->calm ? 0.1 : 0.5))
        do_propose(net, i);
    for (int n = 0; n < 3; n++)
        if (net_chance(net, 0.5))
            do_read(net, i);
    if (!net->calm && net_chance(net, config->changes))
        do_change(net, i);
    if (!net->calm && net_chance(net, config->transfers))
        do_transfer(net, i);
    if (net_chance(net, config->compactions))
        do_compact(net, i);
    if (!net->calm && net_chance(net, config->sleeps))
        net->result->sleeps += raft_sleep(node->raft, now);
    if (net_chance(net, config->sleeps / 2))
        raft_wake(node->raft, now);
    if (!net->calm && net_chance(net, config->campaigns))
        raft_campaign(node->raft, now);
    settle(net, i);
}

/* Whom a fault hits. */
static size_t target(struct net *net)
{
    if (net_chance(net, net->config.aim))
        for (size_t i = 0; i < NET_NODES_MAX; i++)
            if (net->nodes[i].raft &&
                raft_role(net->nodes[i].raft) == RAFT_LEADER)
                return i;
    return (size_t)rng_below(&net->rng, NET_NODES_MAX);
}

static void fault(struct net *net)
{
    const struct net_config *config = &net->config;
    size_t a = target(net);
    size_t b = (size_t)rng_below(&net->rng, NET_NODES_MAX);
    if (net_chance(net, config->cuts)) {
        bool whole = net_chance(net, 0.5), both = net_chance(net, 0.5);
        for (size_t k = 0; k < NET_NODES_MAX; k++) {
            if (!whole && k != b)
                continue;
            net->cut[a][k] = true;
            if (both)
                net->cut[k][a] = true;
        }
    }
    if (net_chance(net, 0.04))
        memset(net->cut, 0, sizeof net->cut);
    if (net_chance(net, config->crashes) && !config->memory) {
        stop(net, a);
        if (net->nodes[a].created && net_chance(net, 0.3))
            net_event_add(net, EVENT_START, a, rng_below(&net->rng, 20 * MS));
    }
    if (net->nodes[b].created && !net->nodes[b].raft && net_chance(net, 0.4))
        start(net, b);
}

static void heal(struct net *net)
{
    net->calm = true;
    memset(net->cut, 0, sizeof net->cut);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (node->created && !node->raft)
            start(net, i);
        if (node->raft)
            raft_wake(node->raft, net_local_ns(net, node));
    }
}

static void on_script(struct net *net)
{
    if (!net->calm)
        fault(net);
    if (!net->calm && net->now_ns >= net->config.span_ns)
        heal(net);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (node->raft &&
            (raft_role(node->raft) == RAFT_LEADER || net_chance(net, 0.05)))
            act(net, i);
    }
    net_event_add(net, EVENT_SCRIPT, 0, rng_range(&net->rng, MS, 10 * MS));
}

static void on_message(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    if (!node->raft || net->cut[e->other][e->node])
        return;
    int rc = raft_receive(node->raft, net_local_ns(net, node), &e->message);
    if (rc != DLHT_OK && rc != DLHT_EPROTO)
        net_fail(net, "receive says %d", rc);
    if (rc == DLHT_EPROTO &&
        (e->message.type == RAFT_APPEND || e->message.type == RAFT_HEARTBEAT))
        net_fail(net, "node %d is told nonsense by leader %d", (int)node->id,
                 (int)e->message.from);
    settle(net, e->node);
}

static void carry_out(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    bool alive = node->raft && node->life == e->life;
    switch (e->kind) {
    case EVENT_MESSAGE:
        on_message(net, e);
        return;
    case EVENT_DURABLE:
        if (alive)
            on_durable(net, e);
        return;
    case EVENT_PERSISTED:
        if (alive) {
            raft_persisted(node->raft, net_local_ns(net, node), e->number);
            settle(net, e->node);
        }
        return;
    case EVENT_SNAPSHOT:
        on_snapshot(net, e);
        return;
    case EVENT_SNAPSHOT_DONE:
        if (alive) {
            raft_snapshot_done(node->raft, net_local_ns(net, node),
                               e->other + 1, e->number);
            settle(net, e->node);
        }
        return;
    case EVENT_START:
        if (!node->raft && node->life == e->life)
            start(net, e->node);
        return;
    case EVENT_SCRIPT:
        on_script(net);
        return;
    }
}

/* The node whose timer or take is due next; its time. */
static uint64_t next_timer(struct net *net, size_t *which)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (!node->raft)
            continue;
        uint64_t at = net_world_ns(node, raft_timeout_ns(node->raft));
        if (node->pump_ns != 0 && node->pump_ns < at)
            at = node->pump_ns;
        if (at < first) {
            first = at;
            *which = i;
        }
    }
    return first;
}

static void step(struct net *net)
{
    size_t i = 0;
    uint64_t timer = next_timer(net, &i);
    if (timer < net->heap[0]->at_ns) {
        if (timer > net->now_ns)
            net->now_ns = timer;
        else
            net->now_ns++;
        struct node *node = &net->nodes[i];
        if (node->pump_ns != 0 && node->pump_ns <= net->now_ns)
            pump(net, i);
        else
            raft_tick(node->raft, net_local_ns(net, node));
        settle(net, i);
        return;
    }
    struct event *e = net_event_pop(net);
    net->now_ns = e->at_ns;
    carry_out(net, e);
    net_event_free(e);
}

/* Everybody who belongs has everything. */
static bool is_whole(struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *leader = &net->nodes[i];
        if (!leader->raft || raft_role(leader->raft) != RAFT_LEADER)
            continue;
        const struct raft_members *members = raft_members(leader->raft);
        bool whole =
            raft_commit(leader->raft) == net->acknowledged &&
            !raft_is_changing(leader->raft) &&
            net->chosen_term[net->acknowledged] == raft_term(leader->raft);
        for (size_t k = 0; k < members->count; k++) {
            const struct node *node = &net->nodes[members->list[k].id - 1];
            if (!node->raft || node->state.index + 20 < net->acknowledged)
                whole = false;
        }
        if (whole)
            return true;
    }
    return false;
}

/* For who looks into a seed: what each node is now. */
static void dump(const struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        const struct node *node = &net->nodes[i];
        if (!node->raft)
            continue;
        fprintf(stderr,
                "%d: role %d term %d leader %d commit %d first %d last %d "
                "(%d) timeout %lld now %lld quiet %d members",
                (int)node->id, (int)raft_role(node->raft),
                (int)raft_term(node->raft), (int)raft_leader(node->raft),
                (int)raft_commit(node->raft), (int)raft_first_index(node->raft),
                (int)raft_last_index(node->raft),
                (int)raft_term_at(node->raft, raft_last_index(node->raft)),
                (long long)raft_timeout_ns(node->raft),
                (long long)net_local_ns(net, node), raft_is_quiet(node->raft));
        const struct raft_members *members = raft_members(node->raft);
        for (size_t k = 0; k < members->count; k++)
            fprintf(stderr, " %d%s", (int)members->list[k].id,
                    members->list[k].voter ? "" : "l");
        fprintf(stderr, "\n");
    }
}

static void finish(struct net *net)
{
    uint64_t end = net->now_ns + 300 * ELECTION_MS * MS;
    uint64_t floor = net->acknowledged + 5;
    while (!net->result->error[0]) {
        if (net->acknowledged >= floor && is_whole(net))
            return;
        if (net->now_ns > end) {
            net_fail(net, "not whole again: acknowledged %d of %d",
                     (int)net->acknowledged, (int)floor);
            if (getenv("RAFT_SEEDS"))
                dump(net);
            return;
        }
        step(net);
    }
}

static void clean_up(struct net *net)
{
    while (net->heap_count > 0)
        net_event_free(net_event_pop(net));
    free(net->heap);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        raft_free(net->nodes[i].raft);
        net_disk_cut(&net->nodes[i].disk, 0);
        free(net->nodes[i].disk.ops);
    }
    free(net);
}

static double draw(struct rng *rng, double most)
{
    return rng_chance(rng, 0.4) ? 0 : most * rng_real(rng);
}

/* Leaders that come and go with little said between: where figure 8 of the
 * thesis lives, and votes that meet twice. */
static void draw_storm(struct net_config *config, struct rng *rng)
{
    config->voters = rng_chance(rng, 0.7) ? 3 : 5;
    config->memory = false;
    config->changes = 0;
    config->sleeps = 0;
    config->crashes = 0.05 * rng_real(rng);
    config->disk_ns_max = rng_range(rng, 1, 4) * MS;
    config->delay_ns_max = rng_range(rng, 1, 20) * MS;
    config->aim = 0.9;
    config->cuts = 0.05 * rng_real(rng);
    config->lead_cuts = rng_real(rng);
    config->append_bytes_max = 1;
}

void net_config_draw(struct net_config *config, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed * 7919 + 1);
    *config = (struct net_config){
        .seed = seed,
        .voters = (size_t)rng_range(&rng, 1, 5),
        .lease_reads = rng_chance(&rng, 0.8),
        .await_learners = rng_chance(&rng, 0.3),
        .memory = rng_chance(&rng, 0.1),
        .loss = draw(&rng, 0.3),
        .again = draw(&rng, 0.2),
        .delay_ns_max = rng_range(&rng, 1, 60) * MS,
        .disk_ns_max = rng_range(&rng, 1, 20) * MS,
        .drift = 0.01,
        .late = draw(&rng, 0.1),
        .late_ns_max = rng_range(&rng, 50, 500) * MS,
        .aim = rng_real(&rng),
        .campaigns = draw(&rng, 0.3),
        .vote_crashes = draw(&rng, 0.5),
        .transfer_cuts = draw(&rng, 1.0),
        .append_bytes_max = (size_t[]){ 0, 0, 300, 300, 1 }[rng_below(&rng, 5)],
        .cuts = draw(&rng, 0.1),
        .crashes = draw(&rng, 0.08),
        .changes = draw(&rng, 0.1),
        .transfers = draw(&rng, 0.05),
        .sleeps = draw(&rng, 0.2),
        .compactions = draw(&rng, 0.1),
        .lead_cuts = draw(&rng, 0.5),
        .span_ns = 2500 * MS,
    };
    if (seed % 4 == 0)
        draw_storm(config, &rng);
}

void net_run(const struct net_config *config, struct net_result *result)
{
    struct net *net = calloc(1, sizeof *net);
    memset(result, 0, sizeof *result);
    net->config = *config;
    net->result = result;
    net->now_ns = MS;
    rng_init(&net->rng, config->seed);
    found(net);
    net_event_add(net, EVENT_SCRIPT, 0, MS);
    while (!net->calm && !result->error[0])
        step(net);
    finish(net);
    net_check_all(net);
    clean_up(net);
}
