/* SPDX-License-Identifier: Apache-2.0 */

/* Taking a row out of the graph.
 *
 * Whoever linked to it is known. Each of these loses that link, and gets links
 * to the neighbours of the row that went, as many as spread out from those it
 * has: the way through the row is closed by ways past it. One that lost many
 * links since it was put looks for its neighbours anew, for what is near now
 * may have been far then. The row is free for another vector once no reader can
 * stand there any more. */

#include "dlht/err.h"
#include "vector/hnsw_state.h"

enum {
    LINKS_FOR_ONE = 3, /* at most, for the one that an in-neighbour lost */
    ANEW_AT_ONCE = 64  /* rows; others wait for the next removal */
};

/* In-neighbours of a row on all levels. */
static size_t in_count_of(const struct hnsw *h, const struct body *b,
                          uint32_t row, size_t *greatest)
{
    size_t sum = 0;
    for (uint32_t level = 0; level <= body_level(b, row); level++) {
        size_t count = side_of(h, b, row, level)->in_count;
        sum += count;
        *greatest = count > *greatest ? count : *greatest;
    }
    return sum;
}

int remove_reserve(struct hnsw *h, uint32_t row, size_t strays)
{
    size_t greatest = 0;
    if (row != HANDLES_NO_ROW) {
        /* The new vector of the same handle may link to it, too. */
        size_t links = (HNSW_LEVELS_MAX + 1) * (size_t)h->config.m0;
        size_t in = in_count_of(h, hnsw_body(h), row, &greatest) + links;
        strays += (in + links) * (2 * LINKS_FOR_ONE + 4);
        greatest += links;
    }
    size_t scratch = greatest + 2 * (size_t)HNSW_M0_MAX;
    if (scratch > h->scratch_cap) {
        uint32_t *grown = mem_resize(h->scratch, scratch, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        h->scratch = grown;
        h->scratch_cap = scratch;
    }
    if (row != HANDLES_NO_ROW && free_rows_reserve(h) != DLHT_OK)
        return DLHT_ENOMEM;
    return strays_reserve(&h->strays, strays);
}

/* A node that goes: who it linked to, who linked to it. */
struct leaving {
    uint32_t row;
    uint32_t level;
    uint32_t outs[HNSW_M0_MAX];
    size_t out_count;
    const uint32_t *ins;
    size_t in_count;
};

static void find_neighbours(struct hnsw *h, const struct body *b,
                            struct leaving *l)
{
    const link_row *links = body_links(h, b, l->row, l->level);
    l->out_count = link_count(h, b, l->row, l->level);
    l->in_count = 0;
    for (size_t i = 0; i < l->out_count; i++) {
        l->outs[i] = link_get(links, i);
        if (link_has(h, b, l->outs[i], l->level, l->row))
            h->scratch[l->in_count++] = l->outs[i];
    }
    struct side *side = side_of(h, b, l->row, l->level);
    l->in_count +=
        strays_copy(&h->strays, side->strays, h->scratch + l->in_count);
    l->ins = h->scratch;
    assert(l->in_count == side->in_count);
}

/* The row's own links stay, for readers that stand there. */
static void cut_out(struct hnsw *h, const struct body *b,
                    const struct leaving *l)
{
    for (size_t i = 0; i < l->out_count; i++) {
        struct side *side = side_of(h, b, l->outs[i], l->level);
        side->in_count--;
        if (!link_has(h, b, l->outs[i], l->level, l->row))
            strays_remove(&h->strays, &side->strays, l->row);
    }
    for (size_t i = 0; i < l->in_count; i++) {
        link_row *links = body_links(h, b, l->ins[i], l->level);
        size_t last = link_count(h, b, l->ins[i], l->level) - 1;
        size_t at = 0;
        while (link_get(links, at) != l->row)
            at++;
        link_set(links, at, link_get(links, last));
        link_set(links, last, NODE_NONE);
    }
    struct side *side = side_of(h, b, l->row, l->level);
    strays_clear(&h->strays, &side->strays);
    side->in_count = 0;
}

/* Neighbours of the row that went, as keys by their distance from `from`. */
static size_t candidates(const struct hnsw *h, const struct body *b,
                         const struct leaving *l, uint32_t from, uint64_t *keys)
{
    uint32_t ids[2 * HNSW_M0_MAX];
    float distances[2 * HNSW_M0_MAX];
    size_t count = 0;
    for (size_t i = 0; i < l->out_count; i++)
        if (l->outs[i] != from && !link_has(h, b, from, l->level, l->outs[i]))
            ids[count++] = l->outs[i];
    size_t max = links_max(h, l->level);
    for (size_t i = 0; i < l->in_count && count < max; i++) {
        uint32_t row = l->ins[i];
        bool twice = row == from || link_has(h, b, from, l->level, row);
        for (size_t j = 0; j < count && !twice; j++)
            twice = ids[j] == row;
        if (!twice)
            ids[count++] = row;
    }
    measure_rows(h, b, body_code(b, from), ids, count, distances);
    for (size_t i = 0; i < count; i++) {
        uint64_t key = key_of(distances[i], ids[i]);
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
    return count;
}

static bool spreads(const struct hnsw *h, const struct body *b, uint32_t level,
                    uint32_t from, uint64_t key)
{
    uint32_t ids[HNSW_M0_MAX];
    float distances[HNSW_M0_MAX];
    const link_row *links = body_links(h, b, from, level);
    size_t count = link_count(h, b, from, level);
    for (size_t i = 0; i < count; i++)
        ids[i] = link_get(links, i);
    measure_rows(h, b, body_code(b, key_row(key)), ids, count, distances);
    for (size_t i = 0; i < count; i++)
        if (distances[i] * h->alpha_squared < key_distance(key))
            return false;
    return true;
}

static void link_both(struct hnsw *h, const struct body *b, uint32_t level,
                      uint32_t from, uint32_t to)
{
    link_add(h, b, level, from, to);
    if (link_count(h, b, to, level) < links_max(h, level) &&
        !link_has(h, b, to, level, from))
        link_add(h, b, level, to, from);
}

static void mend(struct hnsw *h, const struct body *b, const struct leaving *l,
                 uint32_t from)
{
    uint64_t keys[2 * HNSW_M0_MAX];
    size_t count = candidates(h, b, l, from, keys);
    size_t max = links_max(h, l->level);
    size_t added = 0;
    for (size_t i = 0; i < count && added < LINKS_FOR_ONE; i++) {
        if (link_count(h, b, from, l->level) >= max)
            return;
        if (!spreads(h, b, l->level, from, keys[i]))
            continue;
        link_both(h, b, l->level, from, key_row(keys[i]));
        added++;
    }
    bool few = link_count(h, b, from, l->level) < h->config.m / 2;
    for (size_t i = 0; i < count && few && added == 0; i++) {
        if (link_has(h, b, from, l->level, key_row(keys[i])))
            continue;
        link_both(h, b, l->level, from, key_row(keys[i]));
        added++;
    }
}

/* Who may take in a node that nobody links to any more. */
static uint32_t guardian(const struct hnsw *h, const struct body *b,
                         const struct leaving *l, uint32_t row)
{
    if (link_count(h, b, row, l->level) > 0)
        return link_get(body_links(h, b, row, l->level), 0);
    for (size_t i = 0; i < l->in_count; i++)
        if (l->ins[i] != row)
            return l->ins[i];
    for (size_t i = 0; i < l->out_count; i++)
        if (l->outs[i] != row)
            return l->outs[i];
    uint32_t entry = (uint32_t)atomic_load(&b->entry);
    return entry == row ? NODE_NONE : entry;
}

static void remove_node(struct hnsw *h, const struct body *b, uint32_t row,
                        uint32_t level)
{
    struct leaving l = { .row = row, .level = level };
    find_neighbours(h, b, &l);
    cut_out(h, b, &l);
    for (size_t i = 0; i < l.in_count; i++)
        mend(h, b, &l, l.ins[i]);
    for (size_t i = 0; i < l.out_count; i++) {
        uint32_t out = l.outs[i];
        if (side_of(h, b, out, level)->in_count > 0)
            continue;
        uint32_t by = guardian(h, b, &l, out);
        if (by != NODE_NONE && body_level(b, by) >= level)
            link_adopt(h, b, level, by, out);
    }
}

/* Another row of the highest level there is. */
static uint64_t other_entry(const struct hnsw *h, const struct body *b,
                            uint32_t row)
{
    uint32_t level = HNSW_LEVELS_MAX;
    while (level > 0 && h->level_counts[level] == 0)
        level--;
    if (level <= body_level(b, row) && link_count(h, b, row, level) > 0) {
        uint32_t to = link_get(body_links(h, b, row, level), 0);
        return (uint64_t)body_level(b, to) << 32 | to;
    }
    uint32_t rows = atomic_load(&b->row_count);
    for (uint32_t r = 0; r < rows; r++)
        if (r != row && body_handle(b, r) != HANDLES_NONE &&
            body_level(b, r) == level)
            return (uint64_t)level << 32 | r;
    return ENTRY_NONE;
}

/* Counts what its in-neighbours lose; those that lost enough, into list. */
static size_t count_losses(struct hnsw *h, const struct body *b, uint32_t row,
                           uint32_t *list)
{
    struct leaving l = { .row = row, .level = 0 };
    size_t count = 0;
    find_neighbours(h, b, &l);
    for (size_t i = 0; i < l.in_count; i++) {
        struct side *side = side_of(h, b, l.ins[i], 0);
        if (side->lost < 255)
            side->lost++;
        if (side->lost < h->config.m || count == ANEW_AT_ONCE)
            continue;
        side->lost = 0;
        list[count++] = l.ins[i];
    }
    return count;
}

void remove_row(struct hnsw *h, struct body *b, uint32_t row)
{
    uint32_t anew[ANEW_AT_ONCE];
    size_t anew_count = count_losses(h, b, row, anew);
    atomic_store(&body_handles(b)[row], HANDLES_NONE);
    atomic_fetch_sub(&h->count, 1);
    h->level_counts[body_level(b, row)]--;
    if ((uint32_t)atomic_load(&b->entry) == row)
        atomic_store(&b->entry, other_entry(h, b, row));
    for (uint32_t level = 0; level <= body_level(b, row); level++)
        remove_node(h, b, row, level);
    for (size_t i = 0; i < anew_count; i++)
        link_anew(h, b, anew[i]);
    size_t last = (h->free_first + h->free_count++) % h->free_cap;
    h->free_rows[last] = (struct free_row){ epoch_end(h), row };
}

int hnsw_remove(struct hnsw *h, uint64_t handle, bool *removed)
{
    *removed = false;
    uint32_t row = hnsw_row(h, handle);
    if (row == HANDLES_NO_ROW)
        return DLHT_OK;
    retired_give_back(h);
    int rc = hnsw_thaw(h);
    if (rc == DLHT_OK)
        rc = remove_reserve(h, row, 0);
    if (rc == DLHT_OK)
        rc = beam_reserve(h, hnsw_body(h), &h->beam, h->config.ef_construction);
    if (rc != DLHT_OK)
        return rc;
    struct body *b = hnsw_body(h);
    handles_remove(&h->handles, handle, body_handles(b));
    remove_row(h, b, row);
    *removed = true;
    return DLHT_OK;
}
