/* SPDX-License-Identifier: Apache-2.0 */

/* The walk: from the best of what was met and not yet expanded to its
 * neighbours, as long as one of the ef best is not expanded.
 *
 * Almost all of its time is waiting for memory. So the links of the row that
 * will likely be expanded next are asked for before the neighbours of this one
 * are measured; these are measured as one batch, and the codes of a batch are
 * asked for while it is gathered. */

#include "base/prefetch.h"
#include "dlht/err.h"
#include "vector/hnsw_state.h"

enum {
    CODE_LINES = 16 /* of a code are asked for; the rest follows in order */
};

static int resize(struct hnsw *h, void **memory, size_t old, size_t bytes)
{
    void *grown = mem_resize(*memory, bytes, 1);
    if (!grown)
        return DLHT_ENOMEM;
    *memory = grown;
    atomic_fetch_add(&h->reader_bytes, bytes - old);
    return DLHT_OK;
}

static int aim_reserve(struct hnsw *h, struct beam *s)
{
    size_t floats = quant_stride(KERNEL_F32, h->config.dim);
    if (s->code)
        return DLHT_OK;
    s->code = aligned_alloc(QUANT_LINE, 3 * floats);
    if (!s->code)
        return DLHT_ENOMEM;
    s->vector = (float *)(void *)(s->code + floats);
    s->decoded = (float *)(void *)(s->code + 2 * floats);
    memset(s->code, 0, 3 * floats);
    atomic_fetch_add(&h->reader_bytes, 3 * floats);
    return DLHT_OK;
}

int beam_reserve(struct hnsw *h, const struct body *b, struct beam *s,
                 size_t ef)
{
    if (aim_reserve(h, s) != DLHT_OK)
        return DLHT_ENOMEM;
    if (ef + 1 > s->pool_cap) {
        void *pool = s->pool;
        size_t one = sizeof *s->pool;
        if (resize(h, &pool, s->pool_cap * one, (ef + 1) * one) != DLHT_OK)
            return DLHT_ENOMEM;
        s->pool = pool;
        void *found = s->found;
        one = sizeof *s->found;
        if (resize(h, &found, s->pool_cap * one, (ef + 1) * one) != DLHT_OK)
            return DLHT_ENOMEM;
        s->found = found;
        s->pool_cap = ef + 1;
    }
    if (b->row_cap > s->visited_cap) {
        void *visited = s->visited;
        size_t one = sizeof *s->visited;
        size_t old = s->visited_cap;
        if (resize(h, &visited, old * one, b->row_cap * one) != DLHT_OK)
            return DLHT_ENOMEM;
        s->visited = visited;
        s->visited_cap = b->row_cap;
        memset(s->visited + old, 0, (b->row_cap - old) * one);
    }
    return DLHT_OK;
}

void beam_deinit(struct hnsw *h, struct beam *s)
{
    size_t bytes = s->pool_cap * (sizeof *s->pool + sizeof *s->found) +
                   s->visited_cap * sizeof *s->visited;
    if (s->code)
        bytes += 3 * quant_stride(KERNEL_F32, h->config.dim);
    atomic_fetch_sub(&h->reader_bytes, bytes);
    free(s->visited);
    free(s->pool);
    free(s->found);
    free(s->code);
    *s = (struct beam){ .visited = NULL };
}

float beam_aim(const struct hnsw *h, const struct body *b, struct beam *s,
               const float *vector)
{
    size_t dim = h->config.dim;
    float length = 1;
    if (h->config.metric == METRIC_COSINE)
        length = metric_normalise(vector, dim, s->vector);
    else
        memcpy(s->vector, vector, dim * sizeof *vector);
    quant_encode(b->quant, s->vector, s->code);
    return length;
}

void beam_begin(struct beam *s, size_t keep)
{
    if (++s->stamp == 0) {
        memset(s->visited, 0, s->visited_cap * sizeof *s->visited);
        s->stamp = 1;
    }
    if (s->pool_count > keep)
        s->pool_count = keep;
    for (size_t i = 0; i < s->pool_count; i++) {
        s->visited[key_row(s->pool[i])] = s->stamp;
        s->pool[i] &= ~(uint64_t)1;
    }
}

/* The first line of each, then the second, and so on: measured, 15 % more
 * searches than code by code, which gained nothing over not asking. */
static inline void ask_for_codes(const struct body *b, const uint32_t *ids,
                                 size_t count)
{
    size_t stride = b->quant->stride;
    for (size_t at = 0; at < stride && at < (size_t)CODE_LINES * QUANT_LINE;
         at += QUANT_LINE)
        for (size_t i = 0; i < count; i++)
            prefetch_line(body_code(b, ids[i]) + at);
}

size_t beam_gather(const struct hnsw *h, const struct body *b, struct beam *s,
                   uint32_t row, uint32_t level)
{
    const link_row *links = body_links(h, b, row, level);
    size_t max = links_max(h, level);
    uint16_t *visited = s->visited;
    uint16_t stamp = s->stamp;
    uint32_t *ids = s->ids;
    size_t count = 0;
    /* Whether a row was met is a coin toss: no branch hangs on it. */
    for (size_t i = 0; i < max; i++) {
        uint32_t id = link_get(links, i);
        if (id == NODE_NONE)
            break;
        /* When rows outgrow their arrays, upper links do not move with them: a
         * reader of the old arrays may meet rows that only the new have. */
        if (level > 0 && id >= b->row_cap)
            continue;
        ids[count] = id;
        count += visited[id] != stamp;
        visited[id] = stamp;
    }
    ask_for_codes(b, ids, count);
    return count;
}

void beam_walk(const struct hnsw *h, const struct body *b, struct beam *s,
               uint32_t level, size_t ef)
{
    uint64_t *pool = s->pool;
    size_t next = 0;
    while (next < s->pool_count) {
        uint32_t row = key_row(pool[next]);
        pool[next++] |= 1;
        if (next < s->pool_count && level == 0) {
            const link_row *links = body_links(h, b, key_row(pool[next]), 0);
            prefetch_line(links);
            prefetch_line(links + QUANT_LINE / sizeof *links);
        }
        size_t count = beam_gather(h, b, s, row, level);
        measure_rows(h, b, s->code, s->ids, count, s->distances);
        s->work.expanded++;
        s->work.measured += count;
        for (size_t i = 0; i < count; i++) {
            size_t at = beam_offer(s, key_of(s->distances[i], s->ids[i]), ef);
            if (at < next)
                next = at;
        }
        while (next < s->pool_count && pool[next] & 1)
            next++;
    }
}

/* To the nearest of the neighbours as long as one is nearer. */
static void greedy(const struct hnsw *h, const struct body *b, struct beam *s,
                   uint32_t level)
{
    beam_begin(s, 1);
    beam_walk(h, b, s, level, 1);
}

void beam_descend(const struct hnsw *h, const struct body *b, struct beam *s,
                  uint32_t level)
{
    uint64_t entry = atomic_load_explicit(&b->entry, memory_order_acquire);
    uint32_t row = (uint32_t)entry;
    float distance;
    measure_rows(h, b, s->code, &row, 1, &distance);
    s->pool[0] = key_of(distance, row);
    s->pool_count = 1;
    s->work.measured++;
    for (uint32_t l = (uint32_t)(entry >> 32); l > level; l--)
        greedy(h, b, s, l);
}
