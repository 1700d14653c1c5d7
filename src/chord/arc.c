/* SPDX-License-Identifier: Apache-2.0 */

/* The descriptor of an arc: questions and copies. */

#include "chord/arc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"

bool arc_has(const struct arc *arc, struct span key)
{
    return span_compare(arc->lo, key) <= 0 &&
           (!arc->has_hi || span_compare(key, arc->hi) < 0);
}

/* a ends at or before the point where b begins. */
static bool ends_before(const struct arc *a, const struct arc *b)
{
    return a->has_hi && span_compare(a->hi, b->lo) <= 0;
}

bool arc_overlaps(const struct arc *a, const struct arc *b)
{
    return !ends_before(a, b) && !ends_before(b, a);
}

bool arc_is_sane(const struct arc *arc)
{
    return arc->id != 0 && arc->member_count <= ARC_MEMBERS_MAX &&
           (!arc->has_hi || span_compare(arc->lo, arc->hi) < 0);
}

bool arc_is_newer(const struct arc *a, const struct arc *b)
{
    if (a->generation != b->generation)
        return a->generation > b->generation;
    return a->term > b->term;
}

const struct arc_member *arc_member_of(const struct arc *arc,
                                       const struct id *peer)
{
    assert(arc->member_count <= ARC_MEMBERS_MAX);
    for (size_t i = 0; i < arc->member_count; i++) {
        if (id_equal(&arc->members[i].peer, peer))
            return &arc->members[i];
    }
    return NULL;
}

size_t arc_peers(const struct arc *arc, struct id peers[ARC_MEMBERS_MAX + 1])
{
    assert(arc->member_count <= ARC_MEMBERS_MAX);
    size_t count = 0;
    if (!id_is_zero(&arc->owner))
        peers[count++] = arc->owner;
    for (size_t i = 0; i < arc->member_count; i++) {
        if (!id_equal(&arc->members[i].peer, &arc->owner))
            peers[count++] = arc->members[i].peer;
    }
    return count;
}

/* Writes the bytes of from at *at, moves *at behind them. */
static struct span keep(uint8_t **at, struct span from)
{
    if (from.len == 0)
        return span_empty();
    uint8_t *start = *at;
    memcpy(start, from.data, from.len);
    *at += from.len;
    return span_of(start, from.len);
}

/* One block: the struct, then the bytes of lo and hi. */
struct arc *arc_copy(const struct arc *arc)
{
    struct span hi = arc->has_hi ? arc->hi : span_empty();
    if (arc->lo.len > SIZE_MAX / 4 || hi.len > SIZE_MAX / 4)
        return NULL;
    struct arc *copy = malloc(sizeof *copy + arc->lo.len + hi.len);
    if (!copy)
        return NULL;
    *copy = *arc;
    uint8_t *at = (uint8_t *)(copy + 1);
    copy->lo = keep(&at, arc->lo);
    copy->hi = keep(&at, hi);
    return copy;
}

void arc_free(struct arc *arc)
{
    free(arc);
}

int arc_assign(struct arc **to, const struct arc *from)
{
    struct arc *copy = arc_copy(from);
    if (!copy)
        return DLHT_ENOMEM;
    arc_free(*to);
    *to = copy;
    return DLHT_OK;
}
