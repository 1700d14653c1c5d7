/* SPDX-License-Identifier: Apache-2.0 */

/* What one sees who sees all rings of a keyspace at once. */

#include "chord/audit.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"

struct place {
    size_t best;   /* first live successor; own index: none */
    uint32_t walk; /* the walk that passed here first; 0: none yet */
    bool on_ring;
};

/* The live arc that a pointer means, or count. */
static size_t place_of(const struct ring *const *rings, size_t count,
                       const struct arc *arc)
{
    size_t from = 0;
    size_t to = count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (span_compare(ring_self(rings[middle])->lo, arc->lo) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == count || ring_self(rings[from])->id != arc->id)
        return count;
    return from;
}

static bool means(const struct arc *arc, const struct ring *ring)
{
    return arc && arc->id == ring_self(ring)->id;
}

static bool list_is_right(const struct ring *const *rings, size_t count,
                          size_t index)
{
    const struct ring *ring = rings[index];
    for (size_t i = 0; i < ring_list_len(ring); i++) {
        size_t right = i + 1 < count ? (index + i + 1) % count : index;
        if (!means(ring_successor(ring, i), rings[right]))
            return false;
    }
    return true;
}

static bool fingers_are_right(const struct ring *const *rings, size_t count,
                              size_t index)
{
    for (size_t level = 1; level < RING_LEVELS_MAX; level++) {
        size_t step = (size_t)1 << level;
        const struct arc *finger = ring_finger(rings[index], level);
        if (step >= count ? finger != NULL
                          : !means(finger, rings[(index + step) % count]))
            return false;
    }
    return true;
}

static void look_at(const struct ring *const *rings, size_t count, size_t index,
                    struct place *place, struct audit *out)
{
    const struct ring *ring = rings[index];
    const struct ring *next = rings[(index + 1) % count];
    const struct ring *before = rings[(index + count - 1) % count];
    out->wrong_successors += !means(ring_successor(ring, 0), next);
    out->wrong_predecessors +=
        count > 1 && !means(ring_predecessor(ring), before);
    out->wrong_lists += !list_is_right(rings, count, index);
    out->wrong_fingers += !fingers_are_right(rings, count, index);
    place->best = index;
    for (size_t i = 0; i < ring_list_len(ring) && place->best == index; i++) {
        size_t at = place_of(rings, count, ring_successor(ring, i));
        if (at < count)
            place->best = at;
    }
    out->lost += place->best == index && count > 1;
}

/* Every walk along first live successors ends in a cycle; those are rings. */
static void find_cycles(struct place *places, size_t count, struct audit *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t walk = (uint32_t)i + 1;
        size_t at = i;
        while (places[at].walk == 0) {
            places[at].walk = walk;
            at = places[at].best;
        }
        if (places[at].walk != walk)
            continue; /* met an earlier walk */
        out->cycles++;
        while (!places[at].on_ring) {
            places[at].on_ring = true;
            at = places[at].best;
        }
    }
    size_t next = count; /* the ring member after i, going down */
    for (size_t i = 2 * count; i-- > 0;) {
        const struct place *place = &places[i % count];
        if (!place->on_ring)
            continue;
        if (i < count)
            out->disordered += place->best != next;
        next = i % count;
    }
    for (size_t i = 0; i < count; i++)
        out->appendages += !places[i].on_ring;
}

int audit_rings(const struct ring *const *rings, size_t count,
                struct audit *out)
{
    *out = (struct audit){ .arcs = count };
    assert(count < UINT32_MAX);
    struct place *places = mem_zero(count, sizeof *places);
    if (!places)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        look_at(rings, count, i, &places[i], out);
    find_cycles(places, count, out);
    free(places);
    return DLHT_OK;
}

bool audit_is_ideal(const struct audit *audit)
{
    return audit->wrong_successors == 0 && audit->wrong_predecessors == 0 &&
           audit->wrong_lists == 0 && audit_is_one_ring(audit) &&
           audit->appendages == 0;
}

bool audit_is_one_ring(const struct audit *audit)
{
    return audit->lost == 0 && audit->disordered == 0 &&
           audit->cycles == (audit->arcs > 0);
}
