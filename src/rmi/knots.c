/* SPDX-License-Identifier: Apache-2.0 */

/* Choosing the knots of a model. */

#include "rmi/knots.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

struct span source_key(const struct source *source, size_t i, uint8_t bytes[8])
{
    if (!source->numbers)
        return source->spans[i];
    key8_store(bytes, source->numbers[i]);
    return span_of(bytes, 8);
}

uint64_t source_total(const struct source *source)
{
    return source->before ? source->before[source->count] : source->count;
}

static bool source_same(const struct source *source, size_t i, size_t j)
{
    if (source->numbers)
        return source->numbers[i] == source->numbers[j];
    return span_equal(source->spans[i], source->spans[j]);
}

/* The first key in [lo, hi] that is >= key; hi if none before it is. */
static size_t source_lower(const struct source *source, size_t lo, size_t hi,
                           struct span key)
{
    uint8_t bytes[8];
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (span_compare(source_key(source, middle, bytes), key) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* The first key with at least weight before it. */
static size_t source_at_weight(const struct source *source, uint64_t weight)
{
    if (!source->before)
        return (size_t)weight;
    size_t lo = 0;
    size_t hi = source->count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (source->before[middle] < weight)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* Begin and end of the run of keys equal to key i. */
static void source_run(const struct source *source, size_t i, size_t *begin,
                       size_t *end)
{
    uint8_t bytes[8];
    *begin = source_lower(source, 0, i, source_key(source, i, bytes));
    size_t lo = i + 1;
    size_t hi = source->count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (source_same(source, middle, i))
            lo = middle + 1;
        else
            hi = middle;
    }
    *end = lo;
}

/* Where to cut for the ideal index i: there, if another key begins there; else
 * at the begin or the end of the run that i is in, both if the run is so long
 * that the next ideal is in it, too. last is the cut before; not above it:
 * none. */
static size_t knots_cut(const struct source *source, size_t last, size_t i,
                        size_t next)
{
    if (i <= last || i >= source->count)
        return last;
    if (!source_same(source, i - 1, i))
        return i;
    size_t begin;
    size_t end;
    source_run(source, i, &begin, &end);
    bool at_begin = next < end || i - begin <= end - i;
    if (begin > last && at_begin)
        return begin;
    return end < source->count ? end : last;
}

static struct span knots_suffix(const struct knots *knots, size_t i)
{
    uint32_t from = knots->at[i];
    uint32_t to =
        i + 1 < knots->count ? knots->at[i + 1] : (uint32_t)knots->bytes.len;
    return span_of(knots->bytes.data + from, to - from);
}

static void knots_add(struct knots *knots, size_t cut, struct span suffix)
{
    knots->cut[knots->count] = cut;
    knots->at[knots->count] = (uint32_t)knots->bytes.len;
    knots->count++;
    buf_append_span(&knots->bytes, suffix);
}

/* True if so many copies of a key are about index i that it has a leaf of its
 * own, or most of one. */
static bool knots_is_heavy(const struct source *source,
                           const struct knots *knots, size_t i)
{
    size_t half = knots->depth / 2;
    bool back = i >= half && source_same(source, i - half, i);
    bool on = source->count - i > half && source_same(source, i + half, i);
    return half > 0 && !source->before && (back || on);
}

/* Puts a knot between key cut - 1 and key cut: the shortest bytes that sort
 * after the one and not after the other; beside a key of many copies, right at
 * that key. If they are too long, what of them is allowed, and the cut they
 * make. Nothing if that is the knot before, or takes no key from it. */
static void knots_separate(const struct source *source, struct knots *knots,
                           size_t cut)
{
    uint8_t bytes[2][8];
    uint8_t next[MODEL_KNOT_MAX];
    struct span before = source_key(source, cut - 1, bytes[0]);
    struct span key = source_key(source, cut, bytes[1]);
    struct span tail = span_tail(before, knots->prefix_len);
    struct span suffix = span_tail(key, knots->prefix_len);
    if (knots_is_heavy(source, knots, cut)) {
        /* All of it. */
    } else if (tail.len < sizeof next &&
               knots_is_heavy(source, knots, cut - 1)) {
        if (tail.len)
            memcpy(next, tail.data, tail.len);
        next[tail.len] = 0;
        suffix = span_of(next, tail.len + 1);
    } else {
        size_t len = key8_common(tail, suffix) + 1;
        suffix.len = len < suffix.len ? len : suffix.len;
    }
    size_t last = knots->cut[knots->count - 1];
    if (suffix.len > MODEL_KNOT_MAX) {
        suffix.len = MODEL_KNOT_MAX;
        struct span knot =
            span_of(key.data, (size_t)knots->prefix_len + MODEL_KNOT_MAX);
        cut = source_lower(source, last, cut, knot);
    }
    if (cut > last &&
        span_compare(suffix, knots_suffix(knots, knots->count - 1)) > 0)
        knots_add(knots, cut, suffix);
}

/* Short and above key: it and a zero, or its begin with a byte more by one, or
 * the end of all keys. */
static void knots_add_end(const struct source *source, struct knots *knots,
                          struct span end)
{
    uint8_t bytes[MODEL_KNOT_MAX + 1];
    struct span tail = span_tail(end, knots->prefix_len);
    size_t n = tail.len < MODEL_KNOT_MAX ? tail.len : MODEL_KNOT_MAX;
    if (n)
        memcpy(bytes, tail.data, n);
    if (tail.len < MODEL_KNOT_MAX) {
        bytes[n++] = 0;
    } else {
        while (n > 0 && bytes[n - 1] == 0xff)
            n--;
        if (n > 0) {
            bytes[n - 1]++;
        } else {
            n = sizeof bytes;
            memset(bytes, 0xff, n);
        }
    }
    knots_add(knots, source->count, span_of(bytes, n));
}

static size_t knots_packed_max(const struct knots *knots)
{
    size_t size = PACKED_HEAD + PACKED_TAIL + knots->prefix_len;
    struct span before = span_empty();
    for (size_t i = 0; i < knots->count; i++) {
        struct span knot = knots_suffix(knots, i);
        size += packed_knot_size(before, knot);
        before = knot;
    }
    return size + (knots->count - 1) * (PACKED_LEAF + PACKED_WIDTH_MAX);
}

static int knots_try(const struct source *source, struct span end,
                     uint32_t leaf_count, struct knots *knots)
{
    uint8_t bytes[8];
    struct span first = source_key(source, 0, bytes);
    size_t common = key8_common(first, end);
    common = common < MODEL_PREFIX_MAX ? common : MODEL_PREFIX_MAX;
    knots->prefix_len = (uint32_t)common;
    knots->count = 0;
    buf_reset(&knots->bytes);
    buf_append(&knots->bytes, first.data, common);
    struct span tail = span_tail(first, common);
    tail.len = tail.len < MODEL_KNOT_MAX ? tail.len : MODEL_KNOT_MAX;
    knots_add(knots, 0, tail);
    uint64_t total = source_total(source);
    knots->depth = (size_t)(total / leaf_count);
    uint64_t each = total / leaf_count;
    uint64_t rest = total % leaf_count;
    size_t last = 0;
    size_t ideal = source_at_weight(source, each + rest / leaf_count);
    for (uint64_t i = 1; i < leaf_count; i++) {
        uint64_t weight = each * (i + 1) + rest * (i + 1) / leaf_count;
        size_t next = source_at_weight(source, weight);
        size_t cut = knots_cut(source, last, ideal, next);
        if (cut > last)
            knots_separate(source, knots, cut);
        last = cut;
        ideal = next;
    }
    knots_add_end(source, knots, end);
    return knots->bytes.failed ? DLHT_ENOMEM : DLHT_OK;
}

int knots_choose(const struct source *source, struct span end,
                 uint32_t leaf_count, struct knots *out)
{
    *out = (struct knots){ 0 };
    uint64_t total = source_total(source);
    if (leaf_count > total)
        leaf_count = (uint32_t)total;
    out->at = mem_array((size_t)leaf_count + 1, sizeof *out->at);
    out->cut = mem_array((size_t)leaf_count + 1, sizeof *out->cut);
    if (!out->at || !out->cut)
        return DLHT_ENOMEM;
    for (;;) {
        int rc = knots_try(source, end, leaf_count, out);
        if (rc != DLHT_OK)
            return rc;
        size_t size = knots_packed_max(out);
        if (size <= MODEL_PACKED_MAX || leaf_count == 1)
            return DLHT_OK;
        double share = 0.98 * MODEL_PACKED_MAX / (double)size;
        leaf_count = (uint32_t)(share * leaf_count);
        leaf_count = leaf_count > 0 ? leaf_count : 1;
    }
}

void knots_deinit(struct knots *knots)
{
    buf_deinit(&knots->bytes);
    free(knots->at);
    free(knots->cut);
}
