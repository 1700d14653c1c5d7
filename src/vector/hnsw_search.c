/* SPDX-License-Identifier: Apache-2.0 */

/* Searches: the walk, the filter in it, and measuring again what it found. */

#include "base/prefetch.h"
#include "dlht/err.h"
#include "vector/hnsw_state.h"

enum {
    SMALL = 128, /* rows: all are looked at, codes are not yet known well */
    ENOUGH = 4,  /* times k, of what codes say are nearest, hold the k */
    SECOND_HOPS_MAX = 64,    /* rows looked at past those not admitted */
    VECTOR_BYTES_ASKED = 512 /* the rest follows in order */
};

struct hnsw_reader {
    struct hnsw *h;
    struct cell *cell;
    struct beam beam;
};

/* One search. */
struct search {
    const struct hnsw *h;
    const struct body *b;
    struct beam *beam;
    const struct query *query;
    size_t ef;
    struct topk top; /* admitted, in beam->found */
};

int hnsw_reader_new(struct hnsw *h, struct hnsw_reader **out)
{
    *out = NULL;
    struct hnsw_reader *reader = mem_zero(1, sizeof *reader);
    if (!reader)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < HNSW_READERS_MAX; i++) {
        bool taken = false;
        if (!atomic_compare_exchange_strong(&h->cells[i].taken, &taken, true))
            continue;
        reader->h = h;
        reader->cell = &h->cells[i];
        *out = reader;
        return DLHT_OK;
    }
    free(reader);
    return DLHT_EFULL;
}

void hnsw_reader_free(struct hnsw_reader *reader)
{
    if (!reader)
        return;
    beam_deinit(reader->h, &reader->beam);
    atomic_store(&reader->cell->taken, false);
    free(reader);
}

static bool is_admitted(const struct search *s, uint32_t row)
{
    uint64_t handle = body_handle(s->b, row);
    return handle != HANDLES_NONE && admit_has(s->query->admit, row, handle);
}

/* What was measured, to the pool and, if admitted, to what is found. Returns
 * the first place in the pool that changed. */
static size_t offer_measured(struct search *s, size_t count, size_t next)
{
    struct beam *beam = s->beam;
    for (size_t i = 0; i < count; i++) {
        uint32_t row = beam->ids[i];
        float distance = beam->distances[i];
        size_t at = beam_offer(beam, key_of(distance, row), s->ef);
        next = at < next ? at : next;
        if (topk_wants(&s->top, distance) && is_admitted(s, row)) {
            topk_offer(&s->top, row, distance);
            beam->work.admitted++;
        }
    }
    return next;
}

/* Of the neighbours of a row that is not admitted those that are. */
static size_t look_past(struct search *s, uint32_t row, size_t count,
                        size_t *left)
{
    const link_row *links = body_links(s->h, s->b, row, 0);
    struct beam *beam = s->beam;
    size_t max = links_max(s->h, 0);
    for (size_t i = 0; i<max && * left> 0 && count < HNSW_M0_MAX; i++) {
        uint32_t id = link_get(links, i);
        if (id == NODE_NONE)
            break;
        if (beam->visited[id] == beam->stamp || !is_admitted(s, id))
            continue;
        beam->visited[id] = beam->stamp;
        beam->ids[count++] = id;
        --*left;
        prefetch_line(body_code(s->b, id));
    }
    return count;
}

/* Admitted neighbours and those one step further. If there is none, and not
 * enough was found, the others, so that the walk goes on. */
static size_t gather_second(struct search *s, uint32_t row)
{
    uint32_t others[HNSW_M0_MAX];
    struct beam *beam = s->beam;
    size_t met = beam_gather(s->h, s->b, beam, row, 0);
    size_t other_count = 0;
    size_t count = 0;
    for (size_t i = 0; i < met; i++) {
        uint32_t id = beam->ids[i];
        if (is_admitted(s, id))
            beam->ids[count++] = id;
        else
            others[other_count++] = id;
    }
    size_t left = SECOND_HOPS_MAX;
    for (size_t i = 0; i < other_count && left > 0; i++)
        count = look_past(s, others[i], count, &left);
    if (count > 0 || s->top.count >= s->query->k)
        return count;
    memcpy(beam->ids, others, other_count * sizeof *others);
    return other_count;
}

static void walk_filtered(struct search *s)
{
    struct beam *beam = s->beam;
    bool second = s->query->mode == QUERY_SECOND_HOP;
    uint32_t first = key_row(beam->pool[0]);
    if (is_admitted(s, first))
        topk_offer(&s->top, first, key_distance(beam->pool[0]));
    size_t next = 0;
    while (next < beam->pool_count) {
        uint32_t row = key_row(beam->pool[next]);
        beam->pool[next++] |= 1;
        size_t count = second ? gather_second(s, row)
                              : beam_gather(s->h, s->b, beam, row, 0);
        measure_rows(s->h, s->b, beam->code, beam->ids, count, beam->distances);
        beam->work.expanded++;
        beam->work.measured += count;
        next = offer_measured(s, count, next);
        while (next < beam->pool_count && beam->pool[next] & 1)
            next++;
    }
}

static void walk(struct search *s)
{
    struct beam *beam = s->beam;
    beam_descend(s->h, s->b, beam, 0);
    beam_begin(beam, 1);
    if (s->query->admit) {
        walk_filtered(s);
        topk_sort(&s->top);
        return;
    }
    beam_walk(s->h, s->b, beam, 0, s->ef);
    for (size_t i = 0; i < beam->pool_count; i++)
        s->top.hits[i] =
            (struct hit){ key_row(beam->pool[i]), key_distance(beam->pool[i]) };
    s->top.count = beam->pool_count;
    beam->work.admitted = beam->work.measured;
}

static void scan(struct search *s)
{
    const struct hnsw *h = s->h;
    bool floats = h->item_bytes[ARRAY_FLOATS] && !s->query->by_codes;
    bool ip = floats ? h->config.metric != METRIC_L2 : h->measure == KERNEL_IP;
    struct exact_set set = {
        .kernel = h->kernel,
        .type = floats ? KERNEL_F32 : h->config.codes,
        .measure = ip ? KERNEL_IP : KERNEL_L2,
        .ip_base = h->ip_base,
        .rows = body_rows(s->b),
        .row_count = atomic_load(&s->b->row_count),
        .handles = body_handles(s->b),
    };
    if (floats)
        set.rows =
            (struct kernel_rows){ s->b->arrays[ARRAY_FLOATS],
                                  h->item_bytes[ARRAY_FLOATS],
                                  h->item_bytes[ARRAY_FLOATS] / sizeof(float) };
    topk_init(&s->top, s->beam->found, s->ef);
    exact_scan(&set, floats ? (void *)s->beam->vector : s->beam->code,
               s->query->admit, &s->top);
    topk_sort(&s->top);
    s->beam->work.scanned = true;
}

static void ask_for_vector(const float *vector, size_t bytes)
{
    for (size_t i = 0; i < bytes && i < VECTOR_BYTES_ASKED; i += QUANT_LINE)
        prefetch_line((const uint8_t *)vector + i);
}

/* Distances of the nearest ones (of codes they are nearly right: of four times
 * k all that matter are there) as the metric has them, from the vectors or what codes stand
 * for. */
static void measure_again(struct search *s)
{
    const struct hnsw *h = s->h;
    struct beam *beam = s->beam;
    bool ip = h->config.metric != METRIC_L2;
    size_t bytes = quant_stride(KERNEL_F32, h->config.dim);
    struct kernel_rows rows = { s->b->arrays[ARRAY_FLOATS], bytes,
                                bytes / sizeof(float) };
    bool known = h->config.codes == KERNEL_F32; /* in order, too */
    size_t enough = (known ? 1 : ENOUGH) * s->query->k;
    if (s->top.count > enough)
        s->top.count = enough;
    if (known)
        return;
    for (size_t i = 0; i < s->top.count; i++) {
        struct hit *hit = &s->top.hits[i];
        if (rows.base && i + 2 < s->top.count)
            ask_for_vector(body_vector(h, s->b, hit[2].row), bytes);
        const void *vector = beam->decoded;
        if (rows.base)
            vector = body_vector(h, s->b, hit->row);
        else
            quant_decode(s->b->quant, body_code(s->b, hit->row), beam->decoded);
        float d = h->kernel->one[KERNEL_F32][ip ? KERNEL_IP : KERNEL_L2](
            beam->vector, vector, rows.dim);
        hit->distance = ip ? h->ip_base - d : d;
    }
    struct topk top;
    topk_init(&top, s->top.hits, s->query->k);
    for (size_t i = 0; i < s->top.count; i++) {
        struct hit hit = s->top.hits[i]; /* offers lie before it */
        topk_offer(&top, hit.row, hit.distance);
    }
    topk_sort(&top);
    s->top = top;
}

static bool is_there(const struct neighbour *list, size_t count,
                     uint64_t handle)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].handle == handle)
            return true;
    return false;
}

/* What is still alive. A handle that has two rows, since it is given another
 * vector right now, is told once. */
static size_t answer(const struct search *s, uint64_t moved,
                     struct neighbour *out)
{
    bool twice = moved % 2 || moved != atomic_load(&s->h->moved);
    size_t count = 0;
    for (size_t i = 0; i < s->top.count; i++) {
        struct hit hit = s->top.hits[i];
        uint64_t handle = body_handle(s->b, hit.row);
        if (handle == HANDLES_NONE || (twice && is_there(out, count, handle)))
            continue;
        out[count++] = (struct neighbour){ handle, hit.row, hit.distance };
    }
    return count;
}

/* Of what is admitted no more is measured again. */
static size_t kept(const struct search *s)
{
    return s->query->k < s->ef / ENOUGH ? ENOUGH * s->query->k : s->ef;
}

static size_t search(struct search *s, uint64_t moved, struct neighbour *out)
{
    struct beam *beam = s->beam;
    beam->work = (struct query_work){ .scanned = false };
    beam_aim(s->h, s->b, beam, s->query->vector);
    topk_init(&s->top, beam->found, s->query->admit ? kept(s) : s->ef);
    size_t alive = atomic_load(&s->h->count);
    uint64_t entry = atomic_load(&s->b->entry);
    if (s->query->exact || alive <= SMALL || entry == ENTRY_NONE)
        scan(s);
    else
        walk(s);
    size_t wanted = s->query->k < alive ? s->query->k : alive;
    measure_again(s);
    size_t count = answer(s, moved, out);
    if (count < wanted && !beam->work.scanned) {
        scan(s);
        measure_again(s);
        count = answer(s, moved, out);
    }
    return count;
}

int hnsw_search(struct hnsw_reader *reader, const struct query *query,
                struct neighbour *out, size_t *count, struct query_work *work)
{
    struct hnsw *h = reader->h;
    *count = 0;
    if (query->k > QUERY_K_MAX || query->ef > QUERY_EF_MAX)
        return DLHT_EINVAL;
    if (query->k == 0)
        return DLHT_OK;
    size_t ef = query->ef ? query->ef : h->config.ef_search;
    ef = ef < query->k ? query->k : ef;
    if (query->by_codes && ef < ENOUGH * query->k)
        ef = ENOUGH * query->k;
    uint64_t moved = atomic_load(&h->moved);
    struct search s = { .h = h, .query = query, .ef = ef };
    s.beam = &reader->beam;
    s.b = reader_enter(h, reader->cell);
    int rc = beam_reserve(h, s.b, s.beam, ef);
    if (rc == DLHT_OK)
        *count = search(&s, moved, out);
    reader_leave(reader->cell);
    if (work)
        *work = reader->beam.work;
    return rc;
}
