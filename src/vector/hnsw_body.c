/* SPDX-License-Identifier: Apache-2.0 */

/* The arrays of the graph, how they grow beside readers, and epochs. */

#include "base/hash.h"
#include "dlht/err.h"
#include "vector/hnsw_state.h"

enum {
    HUGE_PAGE = 2 << 20,
    ROWS_FIRST = 16,
    TRAIN_ROWS_MAX = 4096 /* a sample of so many is enough */
};

static size_t whole(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Lines of the cache, and huge pages once there is one. */
static void *array_new(const struct hnsw *h, size_t items, size_t item_bytes)
{
    if (items > (SIZE_MAX - HUGE_PAGE) / item_bytes)
        return NULL;
    size_t bytes = items * item_bytes;
    if (bytes < HUGE_PAGE)
        return aligned_alloc(QUANT_LINE, whole(bytes + !bytes, QUANT_LINE));
    void *memory = aligned_alloc(HUGE_PAGE, whole(bytes, HUGE_PAGE));
    if (memory && h->config.advise)
        h->config.advise(h->config.advise_self, memory,
                         bytes / HUGE_PAGE * HUGE_PAGE);
    return memory;
}

static size_t items_of(const struct body *b, size_t array)
{
    return array == ARRAY_UPPER ? b->block_cap : b->row_cap;
}

int retire_reserve(struct hnsw *h, size_t count)
{
    if (h->retired_count + count <= h->retired_cap)
        return DLHT_OK;
    size_t cap = h->retired_cap * 2 + count;
    struct retired *list = mem_resize(h->retired, cap, sizeof *list);
    if (!list)
        return DLHT_ENOMEM;
    h->retired = list;
    h->retired_cap = cap;
    return DLHT_OK;
}

static void retire(struct hnsw *h, void *memory, size_t bytes, uint64_t epoch)
{
    if (!memory)
        return;
    assert(h->retired_count < h->retired_cap);
    h->retired[h->retired_count++] = (struct retired){ memory, bytes, epoch };
    h->retired_bytes += bytes;
}

uint64_t epoch_end(struct hnsw *h)
{
    return atomic_fetch_add(&h->epoch, 1);
}

bool epoch_is_over(struct hnsw *h, uint64_t epoch)
{
    if (epoch < h->safe_epoch)
        return true;
    uint64_t oldest = atomic_load(&h->epoch);
    for (size_t i = 0; i < HNSW_READERS_MAX; i++) {
        uint64_t at = atomic_load(&h->cells[i].epoch);
        if (at != 0 && at < oldest)
            oldest = at;
    }
    h->safe_epoch = oldest;
    return epoch < oldest;
}

void retired_give_back(struct hnsw *h)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->retired_count; i++) {
        struct retired *r = &h->retired[i];
        if (epoch_is_over(h, r->epoch)) {
            h->retired_bytes -= r->bytes;
            free(r->memory);
        } else {
            h->retired[kept++] = *r;
        }
    }
    h->retired_count = kept;
}

/* The writer that scanned the cells before this one was set had already begun
 * an epoch that is seen here: so either it waits for this reader, or the reader
 * does not see what it unlinked. */
struct body *reader_enter(struct hnsw *h, struct cell *cell)
{
    uint64_t epoch = atomic_load(&h->epoch);
    for (;;) {
        atomic_store(&cell->epoch, epoch);
        uint64_t now = atomic_load(&h->epoch);
        if (now == epoch)
            return atomic_load(&h->body);
        epoch = now;
    }
}

void reader_leave(struct cell *cell)
{
    atomic_store_explicit(&cell->epoch, 0, memory_order_release);
}

void body_free(struct hnsw *h, struct body *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < ARRAYS && !h->mapped; i++)
        free(b->arrays[i]);
    free(b->quant);
    free(b);
}

/* A body with other room, in which the arrays named by `replace` are copies. */
static struct body *body_copy(struct hnsw *h, size_t rows, size_t blocks,
                              const bool *replace)
{
    const struct body *old = hnsw_body(h);
    struct body *b = mem_zero(1, sizeof *b);
    if (!b)
        return NULL;
    b->row_cap = rows;
    b->block_cap = blocks;
    b->quant = old->quant;
    atomic_init(&b->entry, atomic_load(&old->entry));
    atomic_init(&b->row_count, atomic_load(&old->row_count));
    for (size_t i = 0; i < ARRAYS; i++) {
        b->arrays[i] = old->arrays[i];
        if (h->item_bytes[i] && replace[i]) {
            b->arrays[i] = array_new(h, items_of(b, i), h->item_bytes[i]);
            if (!b->arrays[i]) {
                while (i-- > 0)
                    if (h->item_bytes[i] && replace[i])
                        free(b->arrays[i]);
                free(b);
                return NULL;
            }
        }
    }
    size_t used[ARRAYS];
    for (size_t i = 0; i < ARRAYS; i++) {
        used[i] =
            i == ARRAY_UPPER ? h->block_count : atomic_load(&old->row_count);
        if (h->item_bytes[i] && replace[i] && used[i])
            memcpy(b->arrays[i], old->arrays[i], used[i] * h->item_bytes[i]);
    }
    b->codes =
        b->arrays[h->item_bytes[ARRAY_CODES] ? ARRAY_CODES : ARRAY_FLOATS];
    return b;
}

/* Readers see it from now on; room to retire all of the old one is there. */
static void body_publish(struct hnsw *h, struct body *b, const bool *replace)
{
    struct body *old = hnsw_body(h);
    atomic_store(&h->body, b);
    uint64_t epoch = epoch_end(h);
    for (size_t i = 0; i < ARRAYS; i++)
        if (h->item_bytes[i] && replace[i] && !h->mapped)
            retire(h, old->arrays[i], items_of(old, i) * h->item_bytes[i],
                   epoch);
    if (b->quant != old->quant)
        retire(h, old->quant, sizeof *old->quant, epoch);
    retire(h, old, sizeof *old, epoch);
    h->mapped = NULL;
    retired_give_back(h);
}

static int sides_reserve(struct hnsw *h, size_t rows, size_t blocks)
{
    if (rows > h->side_cap) {
        struct side *sides = mem_resize(h->sides, rows, sizeof *sides);
        if (!sides)
            return DLHT_ENOMEM;
        h->sides = sides;
        h->side_cap = rows;
    }
    if (blocks > h->upper_side_cap) {
        struct side *sides = mem_resize(h->upper_sides, blocks, sizeof *sides);
        if (!sides)
            return DLHT_ENOMEM;
        h->upper_sides = sides;
        h->upper_side_cap = blocks;
    }
    return DLHT_OK;
}

static size_t grown(size_t cap, size_t want)
{
    if (want <= cap)
        return cap;
    size_t more = cap + cap / 2;
    return more > want ? more : want;
}

int body_reserve(struct hnsw *h, size_t rows, size_t blocks)
{
    struct body *b = hnsw_body(h);
    bool more_rows = rows > b->row_cap || h->mapped;
    bool more_blocks = blocks > b->block_cap || h->mapped;
    if (!more_rows && !more_blocks)
        return DLHT_OK;
    if (rows > HNSW_ROWS_MAX)
        return DLHT_EFULL;
    bool replace[ARRAYS];
    for (size_t i = 0; i < ARRAYS; i++)
        replace[i] = i == ARRAY_UPPER ? more_blocks : more_rows;
    size_t row_cap = grown(b->row_cap, rows > ROWS_FIRST ? rows : ROWS_FIRST);
    /* Each upper level has every m-th row of the one below. */
    size_t likely = row_cap / (h->config.m - 1) + ROWS_FIRST;
    size_t block_cap = b->block_cap;
    if (more_blocks || more_rows) {
        block_cap = grown(b->block_cap, blocks);
        if (more_rows && likely > block_cap) {
            block_cap = likely;
            replace[ARRAY_UPPER] = true;
        } else if (!more_blocks) {
            replace[ARRAY_UPPER] = false;
            block_cap = b->block_cap;
        }
        if (block_cap != b->block_cap)
            replace[ARRAY_UPPER] = true;
    }
    if (retire_reserve(h, ARRAYS + 2) != DLHT_OK ||
        sides_reserve(h, row_cap, block_cap) != DLHT_OK)
        return DLHT_ENOMEM;
    struct body *copy = body_copy(h, row_cap, block_cap, replace);
    if (!copy)
        return DLHT_ENOMEM;
    body_publish(h, copy, replace);
    return DLHT_OK;
}

/* Vectors of at most TRAIN_ROWS_MAX rows that are alive, evenly spread. */
static float *sample(struct hnsw *h, const struct body *b, size_t *count)
{
    size_t dim = h->config.dim;
    size_t rows = atomic_load(&b->row_count);
    size_t cap = h->count < TRAIN_ROWS_MAX ? h->count : TRAIN_ROWS_MAX;
    float *vectors = mem_array(cap ? cap * dim : 1, sizeof *vectors);
    if (!vectors)
        return NULL;
    size_t step = h->count / (cap ? cap : 1);
    size_t alive = 0;
    *count = 0;
    for (uint32_t r = 0; r < rows && *count < cap; r++) {
        if (body_handle(b, r) == HANDLES_NONE || alive++ % step != 0)
            continue;
        float *to = vectors + (*count)++ * dim;
        if (h->item_bytes[ARRAY_FLOATS])
            memcpy(to, body_vector(h, b, r), dim * sizeof *to);
        else if (h->early && r < HNSW_EARLY_ROWS)
            memcpy(to, h->early + r * dim, dim * sizeof *to);
        else
            quant_decode(b->quant, body_code(b, r), to);
    }
    return vectors;
}

static void encode_row(struct hnsw *h, const struct body *old, struct body *b,
                       uint32_t row, float *scratch)
{
    const float *vector = scratch;
    if (h->item_bytes[ARRAY_FLOATS])
        vector = body_vector(h, b, row);
    else if (h->early && row < HNSW_EARLY_ROWS)
        vector = h->early + (size_t)row * h->config.dim;
    else
        quant_decode(old->quant, body_code(old, row), scratch);
    uint8_t *codes = b->arrays[ARRAY_CODES];
    quant_encode(b->quant, vector, codes + row * b->quant->stride);
}

/* Links are copied with the codes: rows that come later are then in no body
 * that has no codes for them. */
static int recode(struct hnsw *h, struct quant *quant)
{
    const struct body *old = hnsw_body(h);
    bool replace[ARRAYS] = { false };
    replace[ARRAY_LINKS] = replace[ARRAY_UPPER] = replace[ARRAY_CODES] = true;
    if (retire_reserve(h, ARRAYS + 2) != DLHT_OK)
        return DLHT_ENOMEM;
    float *scratch = mem_array(h->config.dim, sizeof *scratch);
    struct body *b =
        scratch ? body_copy(h, old->row_cap, old->block_cap, replace) : NULL;
    if (b) {
        b->quant = quant;
        size_t rows = atomic_load(&b->row_count);
        for (uint32_t r = 0; r < rows; r++)
            if (body_handle(b, r) != HANDLES_NONE)
                encode_row(h, old, b, r, scratch);
        body_publish(h, b, replace);
    }
    free(scratch);
    return b ? DLHT_OK : DLHT_ENOMEM;
}

int body_train_first(struct hnsw *h, const float *vector)
{
    struct quant *quant = quant_new(h->config.codes, h->config.dim,
                                    h->config.metric != METRIC_IP);
    if (!quant)
        return DLHT_ENOMEM;
    quant_train(quant, vector, 0, 1);
    int rc = recode(h, quant);
    if (rc == DLHT_OK)
        h->next_training = 4;
    else
        free(quant);
    return rc;
}

int body_train(struct hnsw *h)
{
    const struct body *b = hnsw_body(h);
    if (h->config.codes != KERNEL_I8 || h->count == 0 ||
        h->count < h->next_training)
        return DLHT_OK;
    size_t count = 0;
    float *vectors = sample(h, b, &count);
    struct quant *quant =
        quant_new(KERNEL_I8, h->config.dim, h->config.metric != METRIC_IP);
    int rc = vectors && quant ? DLHT_OK : DLHT_ENOMEM;
    if (rc == DLHT_OK && count > 0)
        quant_train(quant, vectors, h->config.dim * sizeof *vectors, count);
    if (rc == DLHT_OK && quant_differs(quant, b->quant)) {
        rc = recode(h, quant);
        if (rc == DLHT_OK)
            quant = NULL; /* the body's now */
    }
    if (rc == DLHT_OK) {
        h->next_training = h->count * 4;
        if (h->count >= HNSW_EARLY_ROWS) {
            free(h->early);
            h->early = NULL;
        }
    }
    free(quant);
    free(vectors);
    return rc;
}
