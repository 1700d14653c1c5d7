/* SPDX-License-Identifier: Apache-2.0 */

/* Arcs for tests. */

#include "chord/arcs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct arc arcs_make(arc_id id, const char *lo, const char *hi,
                     uint64_t generation)
{
    struct arc arc = { .id = id, .generation = generation };
    arc.lo = span_str(lo);
    arc.has_hi = hi != NULL;
    if (hi)
        arc.hi = span_str(hi);
    return arc;
}

static struct arc *copy(const struct arc *arc)
{
    struct arc *made = arc_copy(arc);
    assert(made);
    return made;
}

static void tell(struct history *h, const struct arc *arc)
{
    if (h->news_count == h->news_cap) {
        h->news_cap = h->news_cap ? 2 * h->news_cap : 64;
        h->news = realloc(h->news, h->news_cap * sizeof *h->news);
        assert(h->news);
    }
    h->news[h->news_count++] = copy(arc);
}

/* Sets truth[index] to a copy of arc and tells of it. */
static void set(struct history *h, size_t index, const struct arc *arc)
{
    struct arc *made = copy(arc);
    arc_free(h->truth[index]);
    h->truth[index] = made;
    tell(h, made);
}

static struct arc_member random_member(struct history *h)
{
    return (struct arc_member){ rng_next(&h->rng) | 1, id_random(&h->rng),
                                true };
}

void history_init(struct history *h, uint64_t seed, size_t truth_max)
{
    *h = (struct history){ .truth_max = truth_max, .next_id = 100 };
    rng_init(&h->rng, seed);
    h->truth = calloc(truth_max, sizeof *h->truth);
    assert(h->truth);
    struct arc all = { .id = h->next_id++, .generation = 1, .term = 1 };
    all.members[all.member_count++] = random_member(h);
    h->truth_count = 1;
    set(h, 0, &all);
}

void history_deinit(struct history *h)
{
    for (size_t i = 0; i < h->truth_count; i++)
        arc_free(h->truth[i]);
    for (size_t i = 0; i < h->news_count; i++)
        arc_free(h->news[i]);
    free(h->truth);
    free(h->news);
}

static void split_at(struct history *h, size_t index, struct span cut)
{
    const struct arc *parent = h->truth[index];
    struct arc left = *parent;
    struct arc right = *parent;
    left.generation = right.generation = parent->generation + 1;
    left.hi = right.lo = cut;
    left.has_hi = true;
    right.id = h->next_id++;
    right.term = 1;
    struct arc *kept_left = copy(&left);
    struct arc *kept_right = copy(&right);
    memmove(h->truth + index + 2, h->truth + index + 1,
            (h->truth_count - index - 1) * sizeof *h->truth);
    h->truth[index + 1] = NULL;
    h->truth_count++;
    set(h, index, kept_left);
    set(h, index + 1, kept_right);
    arc_free(kept_left);
    arc_free(kept_right);
}

/* Short random keys, so that prefixes and equal first bytes are common. */
static void split(struct history *h, size_t index)
{
    if (h->truth_count == h->truth_max)
        return;
    uint8_t key[12];
    size_t len = 1 + rng_below(&h->rng, sizeof key);
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)rng_below(&h->rng, i < 9 ? 3 : 256);
    struct span cut = span_of(key, len);
    const struct arc *parent = h->truth[index];
    if (arc_has(parent, cut) && !span_equal(parent->lo, cut))
        split_at(h, index, cut);
}

static void merge(struct history *h, size_t index)
{
    if (index + 1 >= h->truth_count)
        return;
    struct arc left = *h->truth[index];
    const struct arc *right = h->truth[index + 1];
    left.hi = right->hi;
    left.has_hi = right->has_hi;
    if (right->generation > left.generation)
        left.generation = right->generation;
    left.generation++;
    set(h, index, &left);
    arc_free(h->truth[index + 1]);
    memmove(h->truth + index + 1, h->truth + index + 2,
            (h->truth_count - index - 2) * sizeof *h->truth);
    h->truth_count--;
}

void history_step(struct history *h)
{
    size_t index = rng_below(&h->rng, h->truth_count);
    uint64_t die = rng_below(&h->rng, 10);
    struct arc changed = *h->truth[index];
    if (die < 5) {
        split(h, index);
    } else if (die < 7) {
        merge(h, index);
    } else if (die < 8) {
        changed.generation++;
        changed.members[0] = random_member(h);
        set(h, index, &changed);
    } else {
        changed.term += 1 + rng_below(&h->rng, 3);
        changed.owner = id_random(&h->rng);
        set(h, index, &changed);
    }
}

void history_cut_evenly(struct history *h, size_t count)
{
    assert(count <= h->truth_max && h->truth_count == 1);
    for (size_t i = 1; i < count; i++) {
        uint64_t position = UINT64_MAX / count * i;
        uint8_t key[8];
        for (size_t j = 0; j < 8; j++)
            key[j] = (uint8_t)(position >> (56 - 8 * j));
        split_at(h, i - 1, span_of(key, sizeof key));
    }
}
