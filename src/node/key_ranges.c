/* SPDX-License-Identifier: Apache-2.0 */

/* Sets of keys. */

#include "node/key_ranges.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

static void free_bytes(struct span s)
{
    free((void *)(uintptr_t)s.data);
}

void key_ranges_deinit(struct key_ranges *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free_bytes(set->list[i].from);
        free_bytes(set->list[i].to);
    }
    free(set->list);
    *set = (struct key_ranges){ 0 };
}

static bool copy(struct span s, struct span *out)
{
    uint8_t *bytes = malloc(s.len + 1);
    if (bytes && s.len)
        memcpy(bytes, s.data, s.len);
    *out = span_of(bytes, s.len);
    return bytes != NULL;
}

/* a ends before b begins, with keys between them. */
static bool is_apart(const struct key_range *a, const struct key_range *b)
{
    return a->has_to && span_compare(a->to, b->from) < 0;
}

static bool is_empty(const struct key_range *r)
{
    return r->has_to && span_compare(r->from, r->to) >= 0;
}

bool key_range_meets(const struct key_range *a, const struct key_range *b)
{
    return !is_empty(a) && !is_empty(b) &&
           !(a->has_to && span_compare(a->to, b->from) <= 0) &&
           !(b->has_to && span_compare(b->to, a->from) <= 0);
}

/* The first that does not end before the key; count: none. */
static size_t place_of(const struct key_ranges *set, struct span key)
{
    size_t lo = 0, hi = set->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct key_range *r = &set->list[mid];
        if (r->has_to && span_compare(r->to, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The end that is farther. */
static struct key_range wider(const struct key_range *a,
                              const struct key_range *b)
{
    struct key_range r = *a;
    if (span_compare(b->from, r.from) < 0)
        r.from = b->from;
    if (r.has_to && (!b->has_to || span_compare(b->to, r.to) > 0)) {
        r.to = b->to;
        r.has_to = b->has_to;
    }
    return r;
}

int key_ranges_add(struct key_ranges *set, const struct key_range *range)
{
    struct key_range joint = *range, kept;
    if (is_empty(range))
        return DLHT_OK;
    if (set->count == set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 8;
        struct key_range *grown = mem_resize(set->list, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        set->list = grown;
        set->cap = cap;
    }
    size_t first = place_of(set, range->from), end = first;
    while (end < set->count && !is_apart(range, &set->list[end]))
        joint = wider(&joint, &set->list[end++]);
    kept = joint;
    bool from = copy(joint.from, &kept.from), to = copy(joint.to, &kept.to);
    if (!from || !to) {
        free_bytes(kept.from);
        free_bytes(kept.to);
        return DLHT_ENOMEM;
    }
    for (size_t i = first; i < end; i++) {
        free_bytes(set->list[i].from);
        free_bytes(set->list[i].to);
    }
    memmove(set->list + first + 1, set->list + end,
            (set->count - end) * sizeof *set->list);
    set->list[first] = kept;
    set->count = set->count - (end - first) + 1;
    return DLHT_OK;
}

bool key_ranges_gap(const struct key_ranges *set, struct span from,
                    struct key_range *out)
{
    *out = (struct key_range){ .from = from };
    for (size_t i = place_of(set, from); i < set->count; i++) {
        const struct key_range *r = &set->list[i];
        if (span_compare(out->from, r->from) < 0) {
            out->to = r->from;
            out->has_to = true;
            return true;
        }
        if (!r->has_to)
            return false;
        if (span_compare(out->from, r->to) < 0)
            out->from = r->to;
    }
    return true;
}

bool key_ranges_is_all(const struct key_ranges *set)
{
    struct key_range gap;
    return !key_ranges_gap(set, span_empty(), &gap);
}

bool key_ranges_has(const struct key_ranges *set, const struct key_range *range)
{
    struct key_range gap;
    return !key_ranges_gap(set, range->from, &gap) ||
           !key_range_meets(&gap, range);
}

bool key_ranges_meets(const struct key_ranges *set,
                      const struct key_range *range)
{
    /* The first may end where the range begins; then it is the next. */
    size_t at = place_of(set, range->from);
    for (size_t i = at; i < set->count && i < at + 2; i++)
        if (key_range_meets(&set->list[i], range))
            return true;
    return false;
}
