/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench routing --map: how many lookups take one hop when every peer keeps
 * the whole map and the map changes.
 *
 * A model of the gossip of node/gossip.c with its numbers: who hears news tells
 * three random peers every 100 ms, 1 + log2(peers) times; up to nine peers are
 * told at once; a message takes 1 to 20 ms; digests, which mend what was
 * missed, come after 2 s on average. 1 % of the arcs change hands each minute.
 * A lookup misses if who asks has not yet heard of the change; from the change
 * on the new owner serves. How long a group is without an owner is another
 * matter: then nobody has the key in one hop or in ten. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "bench.h"
#include "table.h"

enum {
    FANOUT = 3,
    FANOUT_ALL = 8,
    ARCS_A_PEER = 16
};
#define PERIOD_MS 100.0
#define DIGEST_MS 2000.0
#define CHANGES_A_MS (0.01 / 60000) /* of each arc */

struct peer {
    double heard_ms; /* INFINITY: not */
    double next_ms;  /* when it tells next */
    uint32_t left;
};

static void hear(struct peer *peer, double now_ms, uint32_t left,
                 struct rng *rng)
{
    if (peer->heard_ms <= now_ms)
        return;
    peer->heard_ms = now_ms;
    peer->next_ms = now_ms + rng_real(rng) * PERIOD_MS;
    peer->left = left;
}

static double delay_ms(struct rng *rng)
{
    return 1 + 19 * rng_real(rng);
}

static struct peer *next_to_tell(struct peer *peers, size_t count)
{
    struct peer *first = NULL;
    for (size_t i = 0; i < count; i++)
        if (peers[i].left > 0 && (!first || peers[i].next_ms < first->next_ms))
            first = &peers[i];
    return first;
}

/* One change, told by peer 0. Fills when each hears of it, the time from the
 * change on; messages arrive in the order in which they are sent. */
static size_t spread(struct peer *peers, size_t count, struct rng *rng)
{
    uint32_t left =
        count <= FANOUT_ALL + 1 ? 1 : 1 + (uint32_t)log2((double)count);
    size_t messages = 0;
    for (size_t i = 0; i < count; i++)
        peers[i] = (struct peer){ .heard_ms = INFINITY };
    hear(&peers[0], 0, left, rng);
    for (struct peer *from; (from = next_to_tell(peers, count)) != NULL;) {
        size_t told = count <= FANOUT_ALL + 1 ? count : FANOUT;
        for (size_t i = 0; i < told; i++) {
            size_t to = told == count ? i : (size_t)rng_below(rng, count);
            messages++;
            hear(&peers[to], from->next_ms + delay_ms(rng), left, rng);
        }
        from->left--;
        from->next_ms += PERIOD_MS;
    }
    for (size_t i = 0; i < count; i++)
        if (isinf(peers[i].heard_ms))
            peers[i].heard_ms = DIGEST_MS * (1 + rng_real(rng));
    return messages;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double tell(const struct bench_options *options, struct table *table,
                   size_t arcs, size_t peer_count)
{
    size_t changes = bench_size(options, 0, 50, 10);
    struct peer *peers = bench_memory(peer_count, sizeof *peers);
    double *heard = bench_memory(peer_count * changes, sizeof *heard);
    struct rng rng;
    rng_init(&rng, options->seed);
    double mean = 0, messages = 0;
    size_t count = 0;
    for (size_t c = 0; c < changes; c++) {
        messages += (double)spread(peers, peer_count, &rng) / (double)changes;
        for (size_t i = 0; i < peer_count; i++)
            heard[count++] = peers[i].heard_ms;
    }
    for (size_t i = 0; i < count; i++)
        mean += heard[i] / (double)count;
    qsort(heard, count, sizeof *heard, by_number);
    /* A lookup of a random arc by a random peer at a random time. */
    double missed = CHANGES_A_MS * mean;
    table_number(table, "arcs", (double)arcs, 0);
    table_number(table, "peers", (double)peer_count, 0);
    table_number(table, "changes_a_minute", 0.01 * (double)arcs, 1);
    table_number(table, "heard_mean_ms", mean, 0);
    table_number(table, "heard_p99_ms", heard[count * 99 / 100], 0);
    table_number(table, "messages_a_change", messages, 0);
    table_number(table, "one_hop_percent", 100 * (1 - missed), 4);
    table_end_row(table);
    free(heard);
    free(peers);
    return missed;
}

void bench_map(const struct bench_options *options)
{
    size_t arcs = bench_size(options, options->arcs, 1024, 256);
    struct table *table =
        table_begin(options, "map",
                    "Lookups that take one hop while 1 % of the arcs change "
                    "owner a minute");
    double worst = tell(options, table, arcs, arcs / ARCS_A_PEER + 1);
    double missed = tell(options, table, arcs, arcs);
    worst = missed > worst ? missed : worst;
    table_end(table, "A model of the gossip, not the gossip: 3 peers each "
                     "100 ms, 1 to 20 ms a message, nothing lost.");
    bench_promise(options, "share of lookups that take more than one hop",
                  worst, 0.001);
}
