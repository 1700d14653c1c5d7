/* SPDX-License-Identifier: Apache-2.0 */

/* Trouble with the files of graphs, which promise nothing: whatever becomes of
 * one, the records are the truth. */

#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/world_inner.h"

enum {
    GRAPHS_MAX = 16
};

struct graphs {
    uint64_t numbers[GRAPHS_MAX];
    size_t count;
};

static int note(void *context, uint64_t number)
{
    struct graphs *g = context;
    if (g->count < GRAPHS_MAX)
        g->numbers[g->count++] = number;
    return DLHT_OK;
}

/* False: it cannot be read, or there is nothing in it. */
static bool read_graph(struct sim_peer *peer, uint64_t number,
                       struct graph_file *file, struct span *bytes)
{
    graph_file_init(file, disk_sim_disk(peer->disk), number);
    return graph_file_read(file, bytes) == DLHT_OK && bytes->len > 0;
}

static void write_graph(struct sim_peer *peer, uint64_t number,
                        struct span bytes)
{
    struct graph_file file;
    graph_file_init(&file, disk_sim_disk(peer->disk), number);
    if (graph_file_write(&file, bytes.data, bytes.len) == DLHT_OK)
        (void)!graph_file_commit(&file);
    graph_file_deinit(&file);
}

static void keep_old(struct sim_peer *peer, uint64_t number, struct span bytes)
{
    free(peer->old_graph.bytes);
    peer->old_graph = (struct old_graph){ .number = number,
                                          .bytes = world_copy(bytes),
                                          .len = bytes.len };
}

/* One bit, or some, all over the file: most of its bytes say where to look, and
 * what was changed there is hard to see in answers. */
static void damage(struct world *world, struct sim_peer *peer, const char *name,
                   size_t len)
{
    uint64_t bits =
        rng_chance(&world->rng, 0.5) ? 1 : rng_range(&world->rng, 2, 64);
    for (; bits > 0; bits--)
        disk_sim_flip(peer->disk, name, rng_below(&world->rng, len),
                      (uint8_t)(1u << rng_below(&world->rng, 8)));
}

static void trouble(struct world *world, struct sim_peer *peer,
                    const struct graphs *g, size_t at)
{
    static const char *const WHAT[] = { "gone", "cut short", "damaged",
                                        "another's", "as it once was" };
    uint64_t number = g->numbers[at];
    struct graph_file file;
    struct span bytes;
    char name[DISK_NAME_MAX];
    size_t what = (size_t)rng_below(&world->rng, 5);
    graph_file_name(name, number, false);
    if (!read_graph(peer, number, &file, &bytes)) {
        graph_file_deinit(&file);
        return;
    }
    const struct old_graph *old = &peer->old_graph;
    if (what == 0)
        (void)!graph_file_remove(&file);
    else if (what == 1)
        write_graph(
            peer, number,
            span_of(bytes.data, (size_t)rng_below(&world->rng, bytes.len)));
    else if (what == 2)
        damage(world, peer, name, bytes.len);
    else if (what == 3)
        write_graph(peer, g->numbers[(at + 1) % g->count], bytes);
    else if (old->bytes)
        write_graph(peer, old->number, span_of(old->bytes, old->len));
    world_trace(world, "n%u: graph file %llx is %s", (unsigned)peer->index,
                (unsigned long long)number, WHAT[what]);
    graph_file_deinit(&file);
}

void world_graph_trouble(struct world *world, struct sim_peer *peer)
{
    struct graphs g = { .count = 0 };
    double chance = world->config.disk.graph_chance;
    if (!(chance > 0) ||
        graph_file_each(disk_sim_disk(peer->disk), note, &g) != DLHT_OK)
        return;
    for (size_t i = 0; i < g.count; i++)
        if (rng_chance(&world->rng, chance))
            trouble(world, peer, &g, i);
    for (size_t i = 0; i < g.count; i++) {
        struct graph_file file;
        struct span bytes;
        if (!rng_chance(&world->rng, 0.3))
            continue;
        if (read_graph(peer, g.numbers[i], &file, &bytes))
            keep_old(peer, g.numbers[i], bytes);
        graph_file_deinit(&file);
    }
}
