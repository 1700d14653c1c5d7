/* SPDX-License-Identifier: Apache-2.0 */

/* Links, who links back, and which neighbours are kept.
 *
 * For a node on a level, who links to it is: of those it links to the ones that
 * link back, and its strays. in_count is the number of both; it never falls to
 * 0 while the node is alive and not alone. */

#include "dlht/err.h"
#include "vector/hnsw_state.h"

enum {
    CHECKED_AT_ONCE = 4 /* of those chosen, before another is asked about */
};

struct side *side_of(const struct hnsw *h, const struct body *b, uint32_t row,
                     uint32_t level)
{
    if (level == 0)
        return &h->sides[row];
    const uint32_t *upper_at = b->arrays[ARRAY_UPPER_AT];
    return &h->upper_sides[upper_at[row] + level - 1];
}

/* The writer's own reading of links it alone writes. */
static uint32_t link_at(const link_row *links, size_t i)
{
    return atomic_load_explicit(&links[i], memory_order_relaxed);
}

size_t link_count(const struct hnsw *h, const struct body *b, uint32_t row,
                  uint32_t level)
{
    const link_row *links = body_links(h, b, row, level);
    size_t max = links_max(h, level);
    size_t count = 0;
    while (count < max && link_at(links, count) != NODE_NONE)
        count++;
    return count;
}

/* The place of a link; SIZE_MAX: none. */
static size_t place_of(const struct hnsw *h, const struct body *b, uint32_t row,
                       uint32_t level, uint32_t to)
{
    const link_row *links = body_links(h, b, row, level);
    size_t max = links_max(h, level);
    for (size_t i = 0; i < max; i++) {
        uint32_t id = link_at(links, i);
        if (id == to)
            return i;
        if (id == NODE_NONE)
            break;
    }
    return SIZE_MAX;
}

bool link_has(const struct hnsw *h, const struct body *b, uint32_t row,
              uint32_t level, uint32_t to)
{
    return place_of(h, b, row, level, to) != SIZE_MAX;
}

/* Whether one of those chosen is nearer to the row than `distance`. */
static bool is_covered(const struct hnsw *h, const struct body *b, uint32_t row,
                       float distance, const uint32_t *chosen, size_t count)
{
    float distances[CHECKED_AT_ONCE];
    for (size_t i = 0; i < count; i += CHECKED_AT_ONCE) {
        size_t n = count - i < CHECKED_AT_ONCE ? count - i : CHECKED_AT_ONCE;
        measure_rows(h, b, body_code(b, row), chosen + i, n, distances);
        for (size_t j = 0; j < n; j++)
            if (distances[j] * h->alpha_squared < distance)
                return true;
    }
    return false;
}

/* Algorithm 4 of the paper. Of rows that are equal to the node at most half of
 * the room is given away: many equal vectors would else see only each other. */
size_t link_choose(const struct hnsw *h, const struct body *b,
                   const uint64_t *keys, size_t count, size_t max,
                   uint32_t *chosen)
{
    size_t found = 0;
    size_t equal = 0;
    bool is_l2 = h->measure == KERNEL_L2;
    for (size_t i = 0; i < count && found < max; i++) {
        uint32_t row = key_row(keys[i]);
        float distance = key_distance(keys[i]);
        bool same = is_l2 && distance <= 0;
        if (same && equal >= max / 2)
            continue;
        if (is_covered(h, b, row, distance, chosen, found))
            continue;
        chosen[found++] = row;
        equal += same;
    }
    return found;
}

void link_add(struct hnsw *h, const struct body *b, uint32_t level,
              uint32_t from, uint32_t to)
{
    size_t count = link_count(h, b, from, level);
    assert(count < links_max(h, level));
    assert(from != to);
    link_set(body_links(h, b, from, level), count, to);
    struct side *side = side_of(h, b, to, level);
    side->in_count++;
    assert(side->in_count != 0);
    if (link_has(h, b, to, level, from)) /* its link is mutual now */
        strays_remove(&h->strays, &side_of(h, b, from, level)->strays, to);
    else
        strays_add(&h->strays, &side->strays, from);
}

/* What is known of a link that was taken away: its end is told. */
static void unlink(struct hnsw *h, const struct body *b, uint32_t level,
                   uint32_t from, uint32_t to)
{
    struct side *side = side_of(h, b, to, level);
    side->in_count--;
    if (link_has(h, b, to, level, from)) /* that one is one-way now */
        strays_add(&h->strays, &side_of(h, b, from, level)->strays, to);
    else
        strays_remove(&h->strays, &side->strays, from);
}

void link_remove(struct hnsw *h, const struct body *b, uint32_t level,
                 uint32_t from, uint32_t to)
{
    link_row *links = body_links(h, b, from, level);
    size_t at = place_of(h, b, from, level, to);
    size_t last = link_count(h, b, from, level) - 1;
    assert(at != SIZE_MAX);
    link_set(links, at, link_at(links, last));
    link_set(links, last, NODE_NONE);
    unlink(h, b, level, from, to);
}

/* A link of a full node that may go: the farthest whose end is linked to by
 * others, too; NODE_NONE: there is none. keys are its links, in order. */
static uint32_t spare_link(const struct hnsw *h, const struct body *b,
                           const uint64_t *keys, size_t count, uint32_t level)
{
    while (count-- > 0) {
        uint32_t to = key_row(keys[count]);
        if (side_of(h, b, to, level)->in_count > 1)
            return to;
    }
    return NODE_NONE;
}

static void sort_keys(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

/* The links of a node by their distances from it, nearest first. */
static size_t links_in_order(const struct hnsw *h, const struct body *b,
                             uint32_t row, uint32_t level, uint64_t *keys)
{
    uint32_t ids[HNSW_M0_MAX];
    float distances[HNSW_M0_MAX];
    size_t count = link_count(h, b, row, level);
    const link_row *links = body_links(h, b, row, level);
    for (size_t i = 0; i < count; i++)
        ids[i] = link_at(links, i);
    measure_rows(h, b, body_code(b, row), ids, count, distances);
    for (size_t i = 0; i < count; i++)
        keys[i] = key_of(distances[i], ids[i]);
    sort_keys(keys, count);
    return count;
}

static bool is_in(const uint32_t *list, size_t count, uint32_t row)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == row)
            return true;
    return false;
}

/* Chosen ones and those that nobody else links to stay, the others go. */
static void keep_links(struct hnsw *h, const struct body *b, uint32_t level,
                       uint32_t from, const uint32_t *chosen, size_t count)
{
    link_row *links = body_links(h, b, from, level);
    size_t old = link_count(h, b, from, level);
    size_t kept = 0;
    uint32_t gone[HNSW_M0_MAX];
    size_t gone_count = 0;
    for (size_t i = 0; i < old; i++) {
        uint32_t to = link_at(links, i);
        if (is_in(chosen, count, to) || side_of(h, b, to, level)->in_count <= 1)
            link_set(links, kept++, to);
        else
            gone[gone_count++] = to;
    }
    for (size_t i = kept; i < old; i++)
        link_set(links, i, NODE_NONE);
    for (size_t i = 0; i < gone_count; i++)
        unlink(h, b, level, from, gone[i]);
}

/* `from` is full: chooses anew among its links and `to`, which is as far as
 * distance. False: `to` was not chosen. */
static bool shrink(struct hnsw *h, const struct body *b, uint32_t level,
                   uint32_t from, uint32_t to, float distance)
{
    uint64_t keys[HNSW_M0_MAX + 1];
    uint32_t chosen[HNSW_M0_MAX];
    size_t max = links_max(h, level);
    size_t count = links_in_order(h, b, from, level, keys);
    keys[count] = key_of(distance, to);
    sort_keys(keys, count + 1);
    count = link_choose(h, b, keys, count + 1, max, chosen);
    keep_links(h, b, level, from, chosen, count);
    if (!is_in(chosen, count, to) || link_count(h, b, from, level) == max)
        return false;
    link_add(h, b, level, from, to);
    return true;
}

void link_adopt(struct hnsw *h, const struct body *b, uint32_t level,
                uint32_t by, uint32_t row)
{
    if (link_count(h, b, by, level) == links_max(h, level)) {
        uint64_t keys[HNSW_M0_MAX];
        size_t count = links_in_order(h, b, by, level, keys);
        uint32_t spare = spare_link(h, b, keys, count, level);
        if (spare == NODE_NONE) /* all its links are the last ones: the */
            spare = key_row(keys[count - 1]); /* farthest is adopted in turn */
        link_remove(h, b, level, by, spare);
        link_add(h, b, level, by, row);
        if (side_of(h, b, spare, level)->in_count == 0)
            link_adopt(h, b, level, row, spare);
        return;
    }
    link_add(h, b, level, by, row);
}

void link_node(struct hnsw *h, const struct body *b, uint32_t row,
               uint32_t level)
{
    const struct beam *s = &h->beam;
    uint32_t chosen[HNSW_M0_MAX];
    float distances[HNSW_M0_MAX];
    size_t count =
        link_choose(h, b, s->pool, s->pool_count, h->config.m, chosen);
    for (size_t i = 0; i < count; i++)
        link_add(h, b, level, row, chosen[i]);
    measure_rows(h, b, body_code(b, row), chosen, count, distances);
    for (size_t i = 0; i < count; i++) {
        if (link_count(h, b, chosen[i], level) < links_max(h, level))
            link_add(h, b, level, chosen[i], row);
        else
            shrink(h, b, level, chosen[i], row, distances[i]);
    }
    if (count > 0 && side_of(h, b, row, level)->in_count == 0)
        link_adopt(h, b, level, chosen[0], row);
}

/* Adds a link where there is room, or where it is better than those there. */
static void offer_link(struct hnsw *h, const struct body *b, uint32_t from,
                       uint64_t key)
{
    uint32_t to = key_row(key);
    if (link_has(h, b, from, 0, to))
        return;
    if (link_count(h, b, from, 0) < links_max(h, 0))
        link_add(h, b, 0, from, to);
    else
        shrink(h, b, 0, from, to, key_distance(key));
}

void link_anew(struct hnsw *h, const struct body *b, uint32_t row)
{
    struct beam *s = &h->beam;
    uint32_t chosen[HNSW_M0_MAX];
    float distances[HNSW_M0_MAX];
    if (strays_reserve(&h->strays, 2 * link_strays_max(h)) != DLHT_OK)
        return;
    /* It begins where it ends: half the width finds as much. */
    size_t ef = h->config.ef_construction / 2 + 1;
    memcpy(s->code, body_code(b, row), b->quant->stride);
    s->pool[0] = key_of(0, row);
    s->pool_count = 1;
    beam_begin(s, 1);
    beam_walk(h, b, s, 0, ef);
    size_t count = 0; /* without the row itself */
    for (size_t i = 0; i < s->pool_count; i++)
        if (key_row(s->pool[i]) != row)
            s->pool[count++] = s->pool[i];
    count = link_choose(h, b, s->pool, count, h->config.m, chosen);
    measure_rows(h, b, body_code(b, row), chosen, count, distances);
    for (size_t i = 0; i < count; i++) {
        offer_link(h, b, row, key_of(distances[i], chosen[i]));
        offer_link(h, b, chosen[i], key_of(distances[i], row));
    }
}

size_t link_strays_max(const struct hnsw *h)
{
    /* Each neighbour may lose all its links and each of them leave a stray;
     * adoption moves a few more. */
    return h->config.m * (h->config.m0 + 2) + 4 * h->config.m0;
}

static void clear_sides(struct hnsw *h)
{
    strays_deinit(&h->strays);
    for (size_t i = 0; i < h->side_cap; i++)
        h->sides[i] = (struct side){ .strays = STRAYS_EMPTY };
    for (size_t i = 0; i < h->upper_side_cap; i++)
        h->upper_sides[i] = (struct side){ .strays = STRAYS_EMPTY };
}

/* As link_add does, for links that are there already. */
static int count_node(struct hnsw *h, const struct body *b, uint32_t row,
                      uint32_t level)
{
    size_t count = link_count(h, b, row, level);
    const link_row *links = body_links(h, b, row, level);
    if (strays_reserve(&h->strays, count) != DLHT_OK)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        uint32_t to = link_at(links, i);
        struct side *side = side_of(h, b, to, level);
        side->in_count++;
        if (!link_has(h, b, to, level, row))
            strays_add(&h->strays, &side->strays, row);
    }
    return DLHT_OK;
}

int link_count_all(struct hnsw *h)
{
    const struct body *b = hnsw_body(h);
    uint32_t rows = atomic_load(&b->row_count);
    clear_sides(h);
    for (uint32_t row = 0; row < rows; row++) {
        if (body_handle(b, row) == HANDLES_NONE)
            continue;
        for (uint32_t level = 0; level <= body_level(b, row); level++)
            if (count_node(h, b, row, level) != DLHT_OK)
                return DLHT_ENOMEM;
    }
    return DLHT_OK;
}
