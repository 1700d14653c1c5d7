/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench balance: what the planner moves, and how even it makes the ring:
 * while it grows (bench/balance_growth.c), when a peer comes or goes, with
 * unequal weights; and how long it plans. */

#include <stdio.h>
#include <stdlib.h>

#include "balance.h"
#include "dlht/err.h"
#include "table.h"

enum {
    TURNS_MAX = 20000,
    ARC_BYTES = 1 << 20,
    KEY_BYTES = 100
};

static struct id peer_id(size_t i)
{
    struct id id = { { (uint8_t)(i * 37), (uint8_t)(i >> 8), (uint8_t)i, 1 } };
    return id;
}

static void deal(struct balance_ring *ring, size_t i,
                 const struct balance_layout *layout, struct rng *rng)
{
    struct arc *arc = &ring->arcs[i];
    while (arc->member_count < layout->copies) {
        size_t k = arc->member_count;
        size_t at = layout->dealt ? i + k * (1 + i / layout->peers)
                                  : rng_below(rng, layout->peers);
        struct id peer = peer_id(at % layout->peers);
        while (arc_member_of(arc, &peer))
            peer = peer_id(++at % layout->peers);
        arc->members[arc->member_count++] = (struct arc_member){
            .replica = 1 + k, .peer = peer, .voter = true
        };
    }
    arc->owner = arc->members[0].peer;
}

struct balance_ring balance_ring_make(const struct balance_layout *layout,
                                      uint64_t seed)
{
    size_t count = layout->peers * BALANCE_VNODES;
    struct balance_ring ring = {
        .peers = bench_memory(layout->peers, sizeof *ring.peers),
        .arcs = bench_memory(count, sizeof *ring.arcs),
        .plan = bench_memory(count, sizeof *ring.plan),
        .bounds = bench_memory(count, sizeof *ring.bounds),
    };
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < layout->peers; i++)
        ring.peers[i] = (struct plan_peer){ .id = peer_id(i),
                                            .up = true,
                                            .weight_milli = 1000 };
    for (size_t i = 0; i < count; i++) {
        struct arc *arc = &ring.arcs[i];
        for (int b = 0; b < 4; b++)
            ring.bounds[i][b] = (uint8_t)(i >> (24 - 8 * b));
        arc->keyspace = 2;
        arc->id = i + 1;
        arc->lo = span_of(ring.bounds[i], i ? 4 : 0);
        arc->has_hi = i + 1 < count;
        if (arc->has_hi)
            arc->hi = span_of(ring.bounds[i + 1], 4);
        deal(&ring, i, layout, &rng);
        double size = 1 + layout->spread * (2 * rng_real(&rng) - 1);
        uint64_t bytes = (uint64_t)(size * ARC_BYTES);
        ring.plan[i] = (struct plan_arc){ .arc = arc,
                                          .keys = bytes / KEY_BYTES,
                                          .bytes = bytes,
                                          .caught_up = UINT16_MAX,
                                          .replicas = (uint8_t)layout->copies,
                                          .may_split = true,
                                          .keyspace_arcs = count,
                                          .floor_keys = 1000,
                                          .ceiling_bytes = 64 << 20 };
    }
    for (size_t i = 0; i + 1 < count; i++)
        ring.arcs[i].hi = span_of(ring.bounds[i + 1], 4);
    ring.in =
        (struct plan_input){ .peers = ring.peers,
                             .peer_count = layout->peers,
                             .arcs = ring.plan,
                             .arc_count = count,
                             .vnodes = BALANCE_VNODES,
                             .moves_max = layout->peers > 6 ? layout->peers : 6,
                             .peer_moves_max = 4,
                             .merges_max = 16 };
    return ring;
}

void balance_ring_free(struct balance_ring *ring)
{
    free(ring->peers);
    free(ring->arcs);
    free(ring->plan);
    free(ring->bounds);
}

void balance_settle(struct rehearsal *r)
{
    const struct plan_step *steps;
    size_t count = 1;
    for (size_t turn = 0; count; turn++)
        if (turn == TURNS_MAX || rehearsal_turn(r, &steps, &count) != DLHT_OK)
            bench_die("the ring does not come to rest");
}

static struct rehearsal *settled(const struct plan_input *in)
{
    struct rehearsal *r;
    if (rehearsal_new(in, &r) != DLHT_OK)
        bench_die("no memory");
    balance_settle(r);
    return r;
}

static double held_bytes(struct rehearsal *r, const struct id *peer)
{
    const struct plan_input *in = rehearsal_input(r);
    double sum = 0;
    for (size_t i = 0; i < in->arc_count; i++)
        if (arc_member_of(in->arcs[i].arc, peer))
            sum += (double)in->arcs[i].bytes;
    return sum;
}

struct change {
    double moved, most, before; /* over the ideal; over the mean */
};

static void join(struct rehearsal *r, size_t peers)
{
    struct plan_peer newcomer = { .id = peer_id(peers),
                                  .up = true,
                                  .weight_milli = 1000 };
    if (rehearsal_add_peer(r, &newcomer) != DLHT_OK)
        bench_die("no memory");
}

static void leave(struct rehearsal *r)
{
    struct plan_peer *peers =
        (struct plan_peer *)(uintptr_t)rehearsal_input(r)->peers;
    peers[0].leaving = true;
}

static struct change measure_change(size_t peers, size_t copies, bool joins,
                                    uint64_t seed)
{
    struct balance_layout layout = { peers, copies, 0.5, false };
    struct balance_ring ring = balance_ring_make(&layout, seed);
    struct rehearsal *r = settled(&ring.in);
    struct plan_shares shares;
    planner_shares(rehearsal_input(r), &shares);
    struct change out = { .before = shares.held_most };
    uint64_t before = rehearsal_bytes_moved(r);
    double ideal = (double)shares.bytes * (double)copies / (double)(peers + 1);
    struct id leaver = peer_id(0);
    if (!joins)
        ideal = held_bytes(r, &leaver);
    if (joins)
        join(r, peers);
    else
        leave(r);
    balance_settle(r);
    planner_shares(rehearsal_input(r), &shares);
    out.moved = (double)(rehearsal_bytes_moved(r) - before) / ideal;
    out.most = shares.held_most;
    if (!joins && held_bytes(r, &leaver) > 0)
        bench_die("who left keeps something");
    rehearsal_free(r);
    balance_ring_free(&ring);
    return out;
}

/* Means and the worst of some seeds. */
static void join_and_leave(const struct bench_options *options)
{
    static const size_t sizes[] = { 5, 20, 100 };
    struct table *table =
        table_begin(options, "balance_change",
                    "A peer comes or goes: bytes sent, over the ideal");
    double worst_moved = 0, worst_most = 0;
    double seeds = options->quick ? 2 : 10;
    for (size_t i = 0; i < 12; i++) {
        size_t peers = sizes[i / 4], copies = i % 4 < 2 ? 3 : 1;
        bool joins = i % 2 == 0;
        struct change mean = { 0 }, worst = { 0 };
        if (options->quick && peers > 20)
            continue;
        for (size_t s = 0; s < (size_t)seeds; s++) {
            struct change c =
                measure_change(peers, copies, joins, options->seed + s);
            mean.moved += c.moved / seeds;
            mean.most += c.most / seeds;
            worst.moved = c.moved > worst.moved ? c.moved : worst.moved;
            worst.most = c.most > worst.most ? c.most : worst.most;
            worst.before = c.before > worst.before ? c.before : worst.before;
        }
        table_number(table, "peers", (double)peers, 0);
        table_number(table, "copies", (double)copies, 0);
        table_text(table, "change", joins ? "join" : "leave");
        table_number(table, "moved", mean.moved, 2);
        table_number(table, "moved_worst", worst.moved, 2);
        table_number(table, "max_mean", mean.most, 2);
        table_number(table, "max_mean_worst", worst.most, 2);
        table_number(table, "max_mean_before_worst", worst.before, 2);
        table_end_row(table);
        worst_moved = worst.moved > worst_moved ? worst.moved : worst_moved;
        worst_most = worst.most > worst_most ? worst.most : worst_most;
        worst_most = worst.before > worst_most ? worst.before : worst_most;
    }
    table_end(table, "moved: over a newcomer's fair share of the copies, or "
                     "what a leaver held; max_mean: bytes of a peer.");
    bench_promise(options, "bytes a join or leave sends, over the ideal",
                  worst_moved, 1.1);
    bench_promise(options, "bytes of the fullest peer, over the mean",
                  worst_most, 1.15);
}

static void weights(const struct bench_options *options)
{
    struct table *table = table_begin(options, "balance_weight",
                                      "A peer of weight 2 among others of 1");
    double least = 2, most = 2;
    for (size_t i = 0; i < 6; i++) {
        size_t peers = i / 2 == 0 ? 7 : i / 2 == 1 ? 20 : 50;
        struct balance_layout layout = { peers, i % 2 ? 1 : 3, 0.5, false };
        struct balance_ring ring = balance_ring_make(&layout, options->seed);
        ring.peers[0].weight_milli = 2000;
        struct rehearsal *r = settled(&ring.in);
        const struct plan_input *in = rehearsal_input(r);
        double led[2] = { 0 }, held[2] = { 0 };
        for (size_t a = 0; a < in->arc_count; a++) {
            const struct arc *arc = in->arcs[a].arc;
            double bytes = (double)in->arcs[a].bytes;
            led[!id_equal(&arc->owner, &ring.peers[0].id)] += bytes;
            for (size_t k = 0; k < arc->member_count; k++)
                held[!id_equal(&arc->members[k].peer, &ring.peers[0].id)] +=
                    bytes;
        }
        double l = led[0] / led[1] * (double)(peers - 1);
        double h = held[0] / held[1] * (double)(peers - 1);
        table_number(table, "peers", (double)peers, 0);
        table_number(table, "copies", (double)layout.copies, 0);
        table_number(table, "led", l, 2);
        table_number(table, "held", h, 2);
        table_end_row(table);
        least = l < least ? l : least;
        least = h < least ? h : least;
        most = l > most ? l : most;
        most = h > most ? h : most;
        rehearsal_free(r);
        balance_ring_free(&ring);
    }
    table_end(table, "led, held: its bytes, over the mean of the others.");
    bench_promise(options, "what weight 2 has, over weight 1: at most", most,
                  2.2);
    bench_promise(options, "twice the reciprocal of its least", 4 / least,
                  4 / 1.8);
}

static void time_one(const struct bench_options *options, struct table *table,
                     const char *what, const struct plan_input *in)
{
    enum {
        STEPS = 32 /* as a node asks for */
    };
    struct plan_step steps[STEPS];
    size_t rounds = options->quick ? 1 : 9, count = 0;
    double best = 0;
    for (size_t i = 0; i < rounds; i++) {
        double begin = bench_cpu_ns();
        count = planner_steps(in, steps, STEPS);
        double ns = bench_cpu_ns() - begin;
        best = i == 0 || ns < best ? ns : best;
    }
    table_text(table, "ring", what);
    table_number(table, "steps", (double)count, 0);
    table_number(table, "ms", best / 1e6, 2);
    table_end_row(table);
}

static void times(const struct bench_options *options)
{
    struct table *table =
        table_begin(options, "balance_time",
                    "One call of the planner: 1000 peers, 8000 arcs, 3 copies");
    struct balance_layout layout = { 1000, 3, 0.5, true };
    struct balance_ring ring = balance_ring_make(&layout, options->seed);
    time_one(options, table, "dealt in turn", &ring.in);
    ring.peers[7].up = false;
    ring.peers[7].gone = true;
    time_one(options, table, "one peer gone", &ring.in);
    ring.peers[7].up = true;
    ring.peers[7].gone = false;
    for (size_t i = 0; i < 1000; i++)
        ring.peers[i].zone = i % 4 == 0 ? "a" : i % 4 == 1 ? "b" : "c";
    time_one(options, table, "three zones", &ring.in);
    balance_ring_free(&ring);
    layout.dealt = false;
    ring = balance_ring_make(&layout, options->seed);
    time_one(options, table, "by chance", &ring.in);
    struct rehearsal *r = settled(&ring.in);
    time_one(options, table, "at rest", rehearsal_input(r));
    rehearsal_free(r);
    balance_ring_free(&ring);
    table_end(table, "ms: of the processor, the least of some.");
}

void bench_balance(const struct bench_options *options)
{
    balance_growth(options);
    join_and_leave(options);
    weights(options);
    if (!options->quick)
        times(options);
}
