/* SPDX-License-Identifier: Apache-2.0 */

/* A ring of arcs with true pointers. */

#include "ring_world.h"

#include <stdlib.h>

#include "base/mem.h"
#include "chord/audit.h"
#include "dlht/err.h"

#define STEP_NS UINT64_C(50000000)
#define SETTLE_NS UINT64_C(600000000000)

static struct id id_of(size_t index)
{
    struct id id = { { 0xaa } };
    for (int i = 0; i < 8; i++)
        id.bytes[1 + i] = (uint8_t)(index >> (8 * i));
    return id;
}

static void cut(struct ring_world *world, const struct key_set *set)
{
    size_t last = 0;
    for (size_t i = 0; i < world->count; i++) {
        struct arc *arc = &world->arcs[i];
        *arc = (struct arc){ .id = i + 1, .generation = 1, .term = 1 };
        arc->member_count = 1;
        arc->owner = id_of(i);
        arc->members[0] = (struct arc_member){ i + 1, id_of(i), true };
        if (i == 0)
            continue;
        size_t at =
            (size_t)((double)i / (double)world->count * (double)set->count);
        at = at > last ? at : last + 1;
        while (at < set->count && span_equal(set->keys[at], set->keys[last]))
            at++;
        if (at >= set->count)
            bench_die("too few keys for so many arcs");
        arc->lo = set->keys[at];
        world->arcs[i - 1].hi = arc->lo;
        world->arcs[i - 1].has_hi = true;
        last = at;
    }
}

void ring_world_init(struct ring_world *world, const struct key_set *set,
                     size_t arc_count, size_t list_len, uint64_t seed)
{
    if (set->count == 0)
        bench_die("no keys");
    *world = (struct ring_world){ .count = arc_count };
    world->arcs = bench_memory(arc_count, sizeof *world->arcs);
    world->rings = bench_memory(arc_count, sizeof *world->rings);
    cut(world, set);
    for (size_t i = 0; i < arc_count; i++) {
        struct ring_config config = { .list_len = list_len, .seed = seed + i };
        if (ring_new(&config, &world->arcs[i], NULL, 0, &world->rings[i]) !=
            DLHT_OK)
            bench_die("no memory");
        ring_hint(world->rings[i], &world->arcs[(i + 1) % arc_count]);
    }
}

void ring_world_deinit(struct ring_world *world)
{
    for (size_t i = 0; i < world->count; i++)
        ring_free(world->rings[i]);
    free(world->rings);
    free(world->arcs);
}

/* What the ring at index has to say is heard at once. True if it said
 * anything. */
static bool speak(struct ring_world *world, size_t index)
{
    struct ring_send send;
    struct id from = id_of(index);
    bool spoke = false;
    while (ring_take(world->rings[index], &send)) {
        spoke = true;
        world->messages++;
        int rc = ring_receive(world->rings[send.to - 1], world->now_ns, &from,
                              &send.message);
        if (rc != DLHT_OK)
            bench_die(dlht_strerror(rc));
    }
    return spoke;
}

void ring_world_run_for(struct ring_world *world, uint64_t ns)
{
    for (uint64_t end_ns = world->now_ns + ns; world->now_ns < end_ns;) {
        world->now_ns += STEP_NS;
        for (size_t i = 0; i < world->count; i++)
            if (ring_timeout_ns(world->rings[i]) <= world->now_ns)
                ring_tick(world->rings[i], world->now_ns);
        for (bool spoke = true; spoke;) {
            spoke = false;
            for (size_t i = 0; i < world->count; i++)
                spoke |= speak(world, i);
        }
    }
}

void ring_world_settle(struct ring_world *world)
{
    struct audit audit = { .wrong_fingers = 1 };
    while (audit.wrong_fingers > 0 || !audit_is_ideal(&audit)) {
        if (world->now_ns > SETTLE_NS)
            bench_die("the ring did not settle");
        ring_world_run_for(world, UINT64_C(2000000000));
        if (audit_rings((const struct ring *const *)world->rings, world->count,
                        &audit) != DLHT_OK)
            bench_die("no memory");
    }
}

size_t ring_world_holder(const struct ring_world *world, struct span key)
{
    size_t from = 0;
    size_t to = world->count;
    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;
        if (span_compare(world->arcs[middle].lo, key) <= 0)
            from = middle;
        else
            to = middle;
    }
    return from;
}

size_t ring_world_walk(const struct ring_world *world,
                       const struct ring_world_view *view, size_t index,
                       struct span key)
{
    size_t hops = 0;
    while (!arc_has(&world->arcs[index], key)) {
        const struct ring *ring = world->rings[index];
        struct lookup_view known = { view->maps ? view->maps[index] : NULL,
                                     &ring, view->rings ? 1 : 0 };
        const struct arc *next =
            lookup_next_hop(&known, key, &world->arcs[index]);
        if (!next || hops > world->count)
            bench_die("a lookup that does not end");
        index = (size_t)next->id - 1;
        hops++;
    }
    return hops;
}
