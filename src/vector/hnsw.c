/* SPDX-License-Identifier: Apache-2.0 */

/* The graph as a whole: making it, adding to it. */

#include "vector/hnsw.h"

#include <math.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "vector/hnsw_state.h"

struct hnsw_config hnsw_config_default(uint32_t dim)
{
    return (struct hnsw_config){
        .dim = dim,
        .metric = METRIC_L2,
        .codes = KERNEL_I8,
        .m = 16,
        .ef_construction = 200,
        .ef_search = 64,
        .alpha = 1,
    };
}

const char *hnsw_config_fault(const struct hnsw_config *c)
{
    if (c->dim < 1 || c->dim > KERNEL_DIM_MAX)
        return "dim must be 1 to 16384";
    if ((unsigned)c->metric >= METRICS)
        return "the metric must be l2, cosine or ip";
    if ((unsigned)c->codes >= KERNEL_TYPES)
        return "codes must be of float32, float16 or int8";
    if (c->drop_floats && c->codes == KERNEL_F32)
        return "vectors cannot be dropped where there are no codes";
    if (c->m < HNSW_M_MIN || c->m > HNSW_M_MAX)
        return "m must be 2 to 128";
    if (c->m0 != 0 && (c->m0 < c->m || c->m0 > HNSW_M0_MAX))
        return "m0 must be m to 256";
    if (c->ef_construction < 1 || c->ef_construction > HNSW_EF_CONSTRUCTION_MAX)
        return "ef_construction must be 1 to 4096";
    if (c->ef_search < 1 || c->ef_search > QUERY_EF_MAX)
        return "ef_search must be 1 to 100000";
    if (!(c->alpha >= 1 && c->alpha <= 2))
        return "alpha must be 1 to 2";
    return NULL;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static void derive(struct hnsw *h)
{
    struct hnsw_config *c = &h->config;
    if (c->m0 == 0)
        c->m0 = 2 * c->m;
    if (!c->kernel)
        c->kernel = kernel_choose(NULL);
    h->kernel = c->kernel;
    /* int8 codes of vectors of length one: by squared distance, which orders
     * them as the inner product does and is right after centring. */
    bool ip = c->metric == METRIC_IP ||
              (c->metric == METRIC_COSINE && c->codes != KERNEL_I8);
    h->measure = ip ? KERNEL_IP : KERNEL_L2;
    h->ip_base = c->metric == METRIC_COSINE ? 1 : 0;
    h->alpha_squared = c->metric == METRIC_IP ? 1 : c->alpha * c->alpha;
    h->many = h->kernel->many[c->codes][h->measure];
    size_t line = QUANT_LINE / sizeof(link_row);
    h->links_stride = round_up(c->m0, line);
    h->upper_stride = round_up(c->m, line / 4);
    size_t *bytes = h->item_bytes;
    bytes[ARRAY_LINKS] = h->links_stride * sizeof(link_row);
    bytes[ARRAY_UPPER] = h->upper_stride * sizeof(link_row);
    bytes[ARRAY_UPPER_AT] = sizeof(uint32_t);
    bytes[ARRAY_LEVELS] = sizeof(uint8_t);
    if (c->codes != KERNEL_F32)
        bytes[ARRAY_CODES] = quant_stride(c->codes, c->dim);
    if (!c->drop_floats)
        bytes[ARRAY_FLOATS] = quant_stride(KERNEL_F32, c->dim);
    if (c->metric == METRIC_COSINE)
        bytes[ARRAY_NORMS] = sizeof(float);
    bytes[ARRAY_HANDLES] = sizeof(uint64_t);
}

struct hnsw *hnsw_make(const struct hnsw_config *config)
{
    struct hnsw *h = mem_zero(1, sizeof *h);
    struct body *b = mem_zero(1, sizeof *b);
    struct quant *quant =
        quant_new(config->codes, config->dim, config->metric != METRIC_IP);
    if (!h || !b || !quant) {
        free(h);
        free(b);
        free(quant);
        return NULL;
    }
    h->config = *config;
    derive(h);
    b->quant = quant;
    atomic_init(&b->entry, ENTRY_NONE);
    atomic_init(&h->body, b);
    atomic_init(&h->epoch, 1);
    h->safe_epoch = 1;
    h->next_training = 1;
    strays_init(&h->strays);
    handles_init(&h->handles);
    return h;
}

int hnsw_new(const struct hnsw_config *config, struct hnsw **out)
{
    *out = NULL;
    if (hnsw_config_fault(config))
        return DLHT_EINVAL;
    struct hnsw *h = hnsw_make(config);
    if (!h)
        return DLHT_ENOMEM;
    size_t rows = config->capacity;
    int rc = rows ? body_reserve(h, rows, 0) : DLHT_OK;
    if (rc == DLHT_OK)
        rc = handles_reserve(&h->handles, rows, body_handles(hnsw_body(h)));
    if (rc != DLHT_OK)
        hnsw_free(h);
    else
        *out = h;
    return rc;
}

void hnsw_free(struct hnsw *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < HNSW_READERS_MAX; i++)
        assert(!atomic_load(&h->cells[i].taken));
    retired_give_back(h);
    assert(h->retired_count == 0);
    body_free(h, hnsw_body(h));
    beam_deinit(h, &h->beam);
    strays_deinit(&h->strays);
    handles_deinit(&h->handles);
    free(h->sides);
    free(h->upper_sides);
    free(h->early);
    free(h->free_rows);
    free(h->retired);
    free(h->scratch);
    free(h);
}

const struct hnsw_config *hnsw_config(const struct hnsw *h)
{
    return &h->config;
}

size_t hnsw_count(const struct hnsw *h)
{
    return atomic_load(&h->count);
}

uint32_t hnsw_row_count(const struct hnsw *h)
{
    return atomic_load(&hnsw_body(h)->row_count);
}

uint32_t hnsw_row(const struct hnsw *h, uint64_t handle)
{
    if (handle == HANDLES_NONE)
        return HANDLES_NO_ROW;
    return handles_find(&h->handles, handle, body_handles(hnsw_body(h)));
}

void hnsw_rows(const struct hnsw *h, const uint32_t *handles, size_t count,
               uint32_t *rows)
{
    handles_find_many(&h->handles, handles, count, body_handles(hnsw_body(h)),
                      rows);
}

bool hnsw_get(const struct hnsw *h, uint64_t handle, float *vector)
{
    const struct body *b = hnsw_body(h);
    uint32_t row = hnsw_row(h, handle);
    if (row == HANDLES_NO_ROW)
        return false;
    size_t dim = h->config.dim;
    if (h->item_bytes[ARRAY_FLOATS])
        memcpy(vector, body_vector(h, b, row), dim * sizeof *vector);
    else
        quant_decode(b->quant, body_code(b, row), vector);
    if (h->config.metric == METRIC_COSINE) {
        const float *norms = b->arrays[ARRAY_NORMS];
        for (size_t i = 0; i < dim; i++)
            vector[i] *= norms[row];
    }
    return true;
}

struct hnsw_memory hnsw_memory(const struct hnsw *h)
{
    const struct body *b = hnsw_body(h);
    const size_t *bytes = h->item_bytes;
    struct hnsw_memory m = { 0 };
    m.links = b->row_cap * (bytes[ARRAY_LINKS] + bytes[ARRAY_UPPER_AT] +
                            bytes[ARRAY_LEVELS]) +
              b->block_cap * bytes[ARRAY_UPPER];
    m.codes = b->row_cap * bytes[ARRAY_CODES];
    m.vectors = b->row_cap * (bytes[ARRAY_FLOATS] + bytes[ARRAY_NORMS]);
    m.handles = b->row_cap * bytes[ARRAY_HANDLES];
    if (h->mapped) {
        m = (struct hnsw_memory){ 0 };
        m.mapped = h->mapped_bytes;
    }
    m.links += (h->side_cap + h->upper_side_cap) * sizeof *h->sides +
               h->strays.cap * sizeof *h->strays.blocks +
               h->free_cap * sizeof *h->free_rows +
               h->scratch_cap * sizeof *h->scratch;
    m.handles += h->handles.slot_count * sizeof *h->handles.slots;
    m.readers = atomic_load(&((struct hnsw *)(uintptr_t)h)->reader_bytes);
    m.retired = h->retired_bytes;
    m.total = m.links + m.codes + m.vectors + m.handles + m.readers +
              m.retired + sizeof *h + sizeof *b +
              h->retired_cap * sizeof *h->retired;
    return m;
}

/* The highest level of a row that was never used: every m-th is on the next. */
static uint32_t draw_level(const struct hnsw *h, uint32_t row)
{
    uint64_t chance = hash64_mix(hash64_mix(h->config.seed, row), row);
    chance = hash64_mix(chance, h->config.seed);
    uint64_t limit = UINT64_MAX / h->config.m;
    uint32_t level = 0;
    while (chance < limit && level < HNSW_LEVELS_MAX) {
        level++;
        limit /= h->config.m;
    }
    return level;
}

static bool has_free_row(struct hnsw *h)
{
    return h->free_count > 0 &&
           epoch_is_over(h, h->free_rows[h->free_first].epoch);
}

/* Room for a new row, whichever it will be. */
static int reserve_row(struct hnsw *h)
{
    const struct body *b = hnsw_body(h);
    size_t rows = atomic_load(&b->row_count);
    if (has_free_row(h))
        return body_reserve(h, rows, h->block_count);
    return body_reserve(h, rows + 1,
                        h->block_count + draw_level(h, (uint32_t)rows));
}

int free_rows_reserve(struct hnsw *h)
{
    if (h->free_count < h->free_cap)
        return DLHT_OK;
    size_t cap = h->free_cap ? h->free_cap * 2 : 16;
    struct free_row *rows = mem_array(cap, sizeof *rows);
    if (!rows)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < h->free_count; i++)
        rows[i] = h->free_rows[(h->free_first + i) % h->free_cap];
    free(h->free_rows);
    h->free_rows = rows;
    h->free_cap = cap;
    h->free_first = 0;
    return DLHT_OK;
}

/* A row with its blocks, no links, not alive. */
static uint32_t take_row(struct hnsw *h, struct body *b)
{
    uint32_t row;
    uint32_t *upper_at = b->arrays[ARRAY_UPPER_AT];
    uint8_t *levels = b->arrays[ARRAY_LEVELS];
    if (has_free_row(h)) {
        row = h->free_rows[h->free_first].row;
        h->free_first = (h->free_first + 1) % h->free_cap;
        h->free_count--;
    } else {
        row = atomic_load(&b->row_count);
        levels[row] = (uint8_t)draw_level(h, row);
        upper_at[row] = levels[row] ? (uint32_t)h->block_count : NODE_NONE;
        h->block_count += levels[row];
        atomic_init(&body_handles(b)[row], HANDLES_NONE);
        atomic_store(&b->row_count, row + 1);
    }
    for (uint32_t level = 0; level <= levels[row]; level++) {
        link_row *links = body_links(h, b, row, level);
        size_t stride = level ? h->upper_stride : h->links_stride;
        for (size_t i = 0; i < stride; i++)
            atomic_store_explicit(&links[i], NODE_NONE, memory_order_relaxed);
        *side_of(h, b, row, level) = (struct side){ .strays = STRAYS_EMPTY };
    }
    return row;
}

/* What the beam was aimed at, as the content of a row. */
static void fill_row(struct hnsw *h, struct body *b, uint32_t row, float length)
{
    uint8_t *codes = b->arrays[ARRAY_CODES];
    if (h->item_bytes[ARRAY_CODES])
        memcpy(codes + row * h->item_bytes[ARRAY_CODES], h->beam.code,
               h->item_bytes[ARRAY_CODES]);
    if (h->item_bytes[ARRAY_FLOATS])
        memcpy(body_vector(h, b, row), h->beam.vector,
               h->item_bytes[ARRAY_FLOATS]);
    if (h->early && row < HNSW_EARLY_ROWS)
        memcpy(h->early + (size_t)row * h->config.dim, h->beam.vector,
               h->config.dim * sizeof(float));
    if (h->item_bytes[ARRAY_NORMS])
        ((float *)b->arrays[ARRAY_NORMS])[row] = length;
}

/* Algorithm 1 of the paper. */
static void insert_row(struct hnsw *h, struct body *b, uint32_t row)
{
    struct beam *s = &h->beam;
    uint64_t entry = atomic_load(&b->entry);
    uint32_t level = body_level(b, row);
    uint32_t top = (uint32_t)(entry >> 32);
    h->level_counts[level]++;
    if (entry != ENTRY_NONE) {
        uint32_t from = level < top ? level : top;
        beam_descend(h, b, s, from);
        for (uint32_t l = from + 1; l-- > 0;) {
            beam_begin(s, 1);
            beam_walk(h, b, s, l, h->config.ef_construction);
            link_node(h, b, row, l);
        }
    }
    if (entry == ENTRY_NONE || level > top)
        atomic_store(&b->entry, (uint64_t)level << 32 | row);
}

/* Everything that can fail, before anything is changed. */
static int prepare(struct hnsw *h, uint32_t old)
{
    retired_give_back(h);
    int rc = hnsw_thaw(h);
    if (rc != DLHT_OK)
        return rc;
    if (h->config.drop_floats && h->config.codes == KERNEL_I8 && !h->early &&
        h->next_training == 1) {
        h->early = mem_array(HNSW_EARLY_ROWS, h->config.dim * sizeof(float));
        if (!h->early)
            return DLHT_ENOMEM;
    }
    rc = reserve_row(h);
    if (rc == DLHT_OK)
        rc = body_train(h);
    const struct body *b = hnsw_body(h);
    if (rc == DLHT_OK)
        rc =
            handles_reserve(&h->handles, h->handles.count + 1, body_handles(b));
    if (rc == DLHT_OK)
        rc = beam_reserve(h, b, &h->beam, h->config.ef_construction);
    if (rc == DLHT_OK)
        rc = remove_reserve(h, old, link_strays_max(h) * (HNSW_LEVELS_MAX + 1));
    return rc;
}

int hnsw_put(struct hnsw *h, uint64_t handle, const float *vector)
{
    assert(handle != HANDLES_NONE);
    uint32_t old = hnsw_row(h, handle);
    int rc = prepare(h, old);
    if (rc != DLHT_OK)
        return rc;
    struct body *b = hnsw_body(h);
    float length = beam_aim(h, b, &h->beam, vector);
    if (h->next_training == 1) { /* the first of all */
        rc = body_train_first(h, h->beam.vector);
        if (rc != DLHT_OK)
            return rc;
        b = hnsw_body(h);
        beam_aim(h, b, &h->beam, vector);
    }
    uint32_t row = take_row(h, b);
    fill_row(h, b, row, length);
    bool moves = old != HANDLES_NO_ROW;
    if (moves) /* odd: one handle has two rows */
        atomic_fetch_add(&h->moved, 1);
    atomic_store(&body_handles(b)[row], handle);
    atomic_fetch_add(&h->count, 1);
    insert_row(h, b, row);
    handles_put(&h->handles, handle, row, body_handles(b));
    if (moves) {
        remove_row(h, b, old);
        atomic_fetch_add(&h->moved, 1);
    }
    return DLHT_OK;
}
