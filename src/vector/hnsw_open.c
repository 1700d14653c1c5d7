/* SPDX-License-Identifier: Apache-2.0 */

/* Opens a snapshot where it lies.
 *
 * Its bytes may be anybody's. All of them are covered by a hash; and whatever
 * would lead a walk or a change astray is looked at besides, since a hash says
 * that bytes are as they were written, not who wrote them. */

#include <math.h>

#include "base/mutant.h"
#include "dlht/err.h"
#include "vector/hnsw_file.h"

/* One opening. */
struct opening {
    const uint8_t *bytes;
    uint64_t len;
    struct hnsw *h;
    struct body *b;
    struct file_layout layout;
    uint64_t rows;
    uint64_t blocks;
    uint64_t entry;
    uint32_t *stamps; /* by row: whom it was linked by last */
    struct hnsw_fault *fault;
};

static int blame(struct opening *o, const char *what, uint64_t at)
{
    *o->fault = (struct hnsw_fault){ what, at };
    return DLHT_ECORRUPT;
}

static float float_at(const uint8_t *at)
{
    uint32_t bits = file_get32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int check_head(struct opening *o)
{
    const uint8_t *head = o->bytes;
    if (o->len < FILE_HEAD)
        return blame(o, "it is shorter than its head", o->len);
    if (memcmp(head + HEAD_MAGIC, FILE_MAGIC, 8) != 0)
        return blame(o, "it is not a snapshot of vectors", HEAD_MAGIC);
    if (file_get64(head + HEAD_HASH) != hash64(span_of(head, HEAD_HASH)))
        return blame(o, "the head is damaged", HEAD_HASH);
    if (file_get32(head + HEAD_VERSION) != FILE_VERSION) {
        blame(o, "its version is not known here", HEAD_VERSION);
        return DLHT_EVERSION;
    }
    if (file_get64(head + HEAD_BYTES) != o->len)
        return blame(o, "it is cut short or too long", HEAD_BYTES);
    for (size_t i = HEAD_END; i < HEAD_HASH; i++)
        if (head[i] != 0)
            return blame(o, "the head has more than it should", i);
    return DLHT_OK;
}

/* Of what the head says; the caller adds what it does not. */
static int read_config(struct opening *o, struct hnsw_config *c)
{
    const uint8_t *head = o->bytes;
    uint32_t metric = file_get32(head + HEAD_METRIC);
    uint32_t codes = file_get32(head + HEAD_CODES);
    uint32_t dropped = file_get32(head + HEAD_DROPPED);
    if (metric >= METRICS || codes >= KERNEL_TYPES || dropped > 1)
        return blame(o, "a parameter is out of range", HEAD_METRIC);
    c->dim = file_get32(head + HEAD_DIM);
    c->metric = (enum metric)metric;
    c->codes = (enum kernel_type)codes;
    c->drop_floats = dropped;
    c->m = file_get32(head + HEAD_M);
    c->m0 = file_get32(head + HEAD_M0);
    c->ef_construction = file_get32(head + HEAD_EF_CONSTRUCTION);
    c->ef_search = file_get32(head + HEAD_EF_SEARCH);
    c->alpha = float_at(head + HEAD_ALPHA);
    c->seed = file_get64(head + HEAD_SEED);
    if (c->m0 == 0 || hnsw_config_fault(c))
        return blame(o, "a parameter is out of range", HEAD_DIM);
    return DLHT_OK;
}

static int check_layout(struct opening *o)
{
    const uint8_t *head = o->bytes;
    o->rows = file_get64(head + HEAD_ROWS);
    o->blocks = file_get64(head + HEAD_BLOCKS);
    o->entry = file_get64(head + HEAD_ENTRY);
    if (o->rows > HNSW_ROWS_MAX || o->blocks > o->rows * HNSW_LEVELS_MAX)
        return blame(o, "a count is out of range", HEAD_ROWS);
    o->layout = file_layout(o->h, o->rows, o->blocks);
    if (o->layout.end != o->len)
        return blame(o, "its length does not suit its counts", HEAD_BYTES);
    return DLHT_OK;
}

static int check_blocks(struct opening *o)
{
    const struct file_layout *l = &o->layout;
    const uint8_t *checks = o->bytes + l->checks;
    size_t len = l->blocks * sizeof(uint64_t);
    if (file_get64(checks + len) != hash64(span_of(checks, len)))
        return blame(o, "the table of hashes is damaged", l->checks);
    for (uint64_t i = 0; i < l->blocks; i++) {
        uint64_t begin = FILE_HEAD + i * FILE_BLOCK;
        uint64_t left = l->checks - begin;
        size_t n = left < FILE_BLOCK ? left : FILE_BLOCK;
        if (hash64_seeded(span_of(o->bytes + begin, n), i) !=
                file_get64(checks + i * sizeof(uint64_t)) &&
            DLHT_MUTANT != 51)
            return blame(o, "a block is damaged", begin);
    }
    return DLHT_OK;
}

/* Nothing is written to arrays that are mapped; see hnsw_thaw. */
static void *writable(const void *bytes)
{
    return (void *)(uintptr_t)bytes;
}

static int take_arrays(struct opening *o)
{
    struct hnsw *h = o->h;
    struct body *b = o->b = hnsw_body(h);
    for (size_t i = 0; i < ARRAYS; i++)
        if (h->item_bytes[i])
            b->arrays[i] = writable(o->bytes + o->layout.begin[i + 1]);
    size_t codes = h->item_bytes[ARRAY_CODES] ? ARRAY_CODES : ARRAY_FLOATS;
    b->codes = b->arrays[codes];
    b->row_cap = o->rows;
    b->block_cap = o->blocks;
    h->block_count = o->blocks;
    h->mapped = o->bytes;
    h->mapped_bytes = o->len;
    h->lacks_sides = true;
    h->next_training = file_get64(o->bytes + HEAD_NEXT_TRAINING);
    atomic_store(&b->row_count, (uint32_t)o->rows);
    atomic_store(&b->entry, o->entry);
    atomic_store(&h->count, o->rows);
    b->quant->scale = float_at(o->bytes + HEAD_SCALE);
    if (!isfinite(b->quant->scale) || !(b->quant->scale > 0))
        return blame(o, "the scale of codes is none", HEAD_SCALE);
    memcpy(b->quant->offset, o->bytes + o->layout.begin[0],
           h->config.dim * sizeof(float));
    for (size_t i = 0; i < h->config.dim; i++)
        if (!isfinite(b->quant->offset[i]))
            return blame(o, "the offset of codes is none",
                         o->layout.begin[0] + i * sizeof(float));
    return DLHT_OK;
}

static uint64_t place(const struct opening *o, size_t array, uint64_t item)
{
    return o->layout.begin[array + 1] + item * o->h->item_bytes[array];
}

/* Levels, and that blocks follow each other as rows do. */
static int check_levels(struct opening *o)
{
    const uint32_t *upper_at = o->b->arrays[ARRAY_UPPER_AT];
    uint64_t blocks = 0;
    uint32_t top = 0;
    for (uint32_t row = 0; row < o->rows; row++) {
        uint32_t level = body_level(o->b, row);
        if (level > HNSW_LEVELS_MAX)
            return blame(o, "a level is out of range",
                         place(o, ARRAY_LEVELS, row));
        if (upper_at[row] != (level ? blocks : NODE_NONE))
            return blame(o, "upper links are not in their place",
                         place(o, ARRAY_UPPER_AT, row));
        blocks += level;
        o->h->level_counts[level]++;
        top = level > top ? level : top;
    }
    if (blocks != o->blocks)
        return blame(o, "a count is out of range", HEAD_BLOCKS);
    if (o->rows == 0)
        return o->entry == ENTRY_NONE
                   ? DLHT_OK
                   : blame(o, "an entry to nothing", HEAD_ENTRY);
    uint32_t row = (uint32_t)o->entry;
    if (row >= o->rows || o->entry >> 32 != body_level(o->b, row) ||
        o->entry >> 32 != top)
        return blame(o, "the entry is not of the top level", HEAD_ENTRY);
    return DLHT_OK;
}

static int check_links(struct opening *o, uint32_t row, uint32_t level)
{
    const uint32_t *upper_at = o->b->arrays[ARRAY_UPPER_AT];
    const link_row *links = body_links(o->h, o->b, row, level);
    size_t stride = level ? o->h->upper_stride : o->h->links_stride;
    size_t max = links_max(o->h, level);
    uint64_t at = level ? place(o, ARRAY_UPPER, upper_at[row] + level - 1)
                        : place(o, ARRAY_LINKS, row);
    bool ended = false;
    for (size_t i = 0; i < stride; i++, at += sizeof *links) {
        uint32_t to = link_get(links, i);
        if (to == NODE_NONE) {
            ended = true;
            continue;
        }
        if (ended || i >= max)
            return blame(o, "a link after the last", at);
        if (to >= o->rows || to == row)
            return blame(o, "a link to no other row", at);
        if (body_level(o->b, to) < level)
            return blame(o, "a link to a row that is not on the level", at);
        if (o->stamps[to] == row + 1)
            return blame(o, "two links to one row", at);
        o->stamps[to] = row + 1;
    }
    return DLHT_OK;
}

static int check_all_links(struct opening *o)
{
    o->stamps = mem_zero(o->rows, sizeof *o->stamps);
    if (!o->stamps)
        return DLHT_ENOMEM;
    int rc = DLHT_OK;
    for (uint32_t level = 0; level <= HNSW_LEVELS_MAX; level++) {
        if (level > 0)
            memset(o->stamps, 0, o->rows * sizeof *o->stamps);
        for (uint32_t row = 0; row < o->rows && rc == DLHT_OK; row++)
            if (level <= body_level(o->b, row))
                rc = check_links(o, row, level);
        if (o->rows == 0 || level >= o->entry >> 32)
            break;
    }
    free(o->stamps);
    return rc;
}

static int take_handles(struct opening *o)
{
    struct hnsw *h = o->h;
    const _Atomic uint64_t *handles = body_handles(o->b);
    int rc = handles_reserve(&h->handles, o->rows, handles);
    if (rc != DLHT_OK)
        return rc;
    for (uint32_t row = 0; row < o->rows; row++) {
        uint64_t handle = body_handle(o->b, row);
        if (handle == HANDLES_NONE ||
            handles_find(&h->handles, handle, handles) != HANDLES_NO_ROW)
            return blame(o, "a handle is none, or there twice",
                         place(o, ARRAY_HANDLES, row));
        handles_put(&h->handles, handle, row, handles);
    }
    return DLHT_OK;
}

static int open_all(struct opening *o, struct hnsw_config *config)
{
    int rc = check_head(o);
    if (rc == DLHT_OK)
        rc = read_config(o, config);
    if (rc != DLHT_OK)
        return rc;
    o->h = hnsw_make(config);
    if (!o->h)
        return DLHT_ENOMEM;
    rc = check_layout(o);
    if (rc == DLHT_OK)
        rc = check_blocks(o);
    if (rc == DLHT_OK)
        rc = take_arrays(o);
    if (rc == DLHT_OK)
        rc = check_levels(o);
    if (rc == DLHT_OK)
        rc = check_all_links(o);
    if (rc == DLHT_OK)
        rc = take_handles(o);
    return rc;
}

int hnsw_open(struct span snapshot, const struct hnsw_config *rest,
              struct hnsw **out, struct hnsw_fault *fault)
{
    *out = NULL;
    *fault = (struct hnsw_fault){ NULL, 0 };
    if (!file_is_little_endian())
        return DLHT_ENOTSUP;
    if ((uintptr_t)snapshot.data % QUANT_LINE != 0)
        return DLHT_EINVAL;
    struct hnsw_config config = { .dim = 0 };
    if (rest) {
        config.kernel = rest->kernel;
        config.advise = rest->advise;
        config.advise_self = rest->advise_self;
    }
    struct opening o = { .bytes = snapshot.data,
                         .len = snapshot.len,
                         .fault = fault };
    int rc = open_all(&o, &config);
    if (rc == DLHT_OK)
        *out = o.h;
    else
        hnsw_free(o.h);
    return rc;
}

int hnsw_thaw(struct hnsw *h)
{
    if (h->mapped) {
        size_t rows = atomic_load(&hnsw_body(h)->row_count);
        int rc = body_reserve(h, rows + rows / 8, h->block_count);
        if (rc != DLHT_OK)
            return rc;
    }
    if (!h->lacks_sides)
        return DLHT_OK;
    int rc = link_count_all(h);
    h->lacks_sides = rc != DLHT_OK;
    return rc;
}

int hnsw_own(struct hnsw *h)
{
    return hnsw_thaw(h);
}
