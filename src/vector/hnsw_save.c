/* SPDX-License-Identifier: Apache-2.0 */

/* Writes a snapshot: only rows that are alive, renumbered breadth-first from
 * the entry, so that who is near in the graph is near in memory. */

#include "dlht/err.h"
#include "vector/hnsw_file.h"

struct save {
    struct hnsw *h;
    const struct body *b;
    uint32_t rows;
    uint32_t blocks;
    uint32_t *order; /* old row of each new one */
    uint32_t *place; /* new row of each old one; NODE_NONE */
    struct file_layout layout;
    hnsw_write_fn write;
    void *self;
    uint8_t *block; /* what is to be written next */
    size_t block_len;
    uint64_t written; /* after the head */
    uint64_t *checks;
    size_t check_count;
    int rc;
};

static void flush(struct save *s)
{
    if (s->rc != DLHT_OK || s->block_len == 0)
        return;
    s->checks[s->check_count] =
        hash64_seeded(span_of(s->block, s->block_len), s->check_count);
    s->check_count++;
    s->rc = s->write(s->self, s->block, s->block_len);
    s->block_len = 0;
}

static void emit(struct save *s, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    s->written += len;
    while (len > 0) {
        size_t room = FILE_BLOCK - s->block_len;
        size_t n = len < room ? len : room;
        memcpy(s->block + s->block_len, from, n);
        s->block_len += n;
        from += n;
        len -= n;
        if (s->block_len == FILE_BLOCK)
            flush(s);
    }
}

static void fill_up(struct save *s)
{
    static const uint8_t zeros[QUANT_LINE];
    emit(s, zeros, (QUANT_LINE - s->written % QUANT_LINE) % QUANT_LINE);
}

static void visit(struct save *s, uint32_t row, uint32_t *count)
{
    if (s->place[row] != NODE_NONE)
        return;
    s->place[row] = *count;
    s->order[(*count)++] = row;
}

static void find_order(struct save *s)
{
    uint32_t old_rows = atomic_load(&s->b->row_count);
    uint64_t entry = atomic_load(&s->b->entry);
    uint32_t count = 0;
    for (uint32_t row = 0; row < old_rows; row++)
        s->place[row] = NODE_NONE;
    if (entry != ENTRY_NONE)
        visit(s, (uint32_t)entry, &count);
    uint32_t next = 0;
    for (uint32_t row = 0; row < old_rows; row++) {
        for (; next < count; next++) {
            const link_row *links = body_links(s->h, s->b, s->order[next], 0);
            size_t degree = link_count(s->h, s->b, s->order[next], 0);
            for (size_t i = 0; i < degree; i++)
                visit(s, link_get(links, i), &count);
        }
        if (body_handle(s->b, row) != HANDLES_NONE)
            visit(s, row, &count); /* what level 0 does not reach */
    }
    assert(count == s->rows);
}

static void emit_links(struct save *s, uint32_t row, uint32_t level)
{
    uint32_t out[HNSW_M0_MAX];
    size_t stride = level ? s->h->upper_stride : s->h->links_stride;
    size_t count = link_count(s->h, s->b, row, level);
    const link_row *links = body_links(s->h, s->b, row, level);
    for (size_t i = 0; i < stride; i++)
        out[i] = i < count ? s->place[link_get(links, i)] : NODE_NONE;
    emit(s, out, stride * sizeof *out);
}

static void emit_item(struct save *s, size_t array, uint32_t row,
                      uint32_t *blocks)
{
    const uint8_t *items = s->b->arrays[array];
    uint32_t level = body_level(s->b, row);
    uint32_t upper_at = level ? *blocks : NODE_NONE;
    switch (array) {
    case ARRAY_LINKS:
        emit_links(s, row, 0);
        return;
    case ARRAY_UPPER:
        for (uint32_t l = 1; l <= level; l++)
            emit_links(s, row, l);
        return;
    case ARRAY_UPPER_AT:
        emit(s, &upper_at, sizeof upper_at);
        *blocks += level;
        return;
    default:
        emit(s, items + row * s->h->item_bytes[array], s->h->item_bytes[array]);
        return;
    }
}

static void emit_parts(struct save *s)
{
    emit(s, s->b->quant->offset, s->h->config.dim * sizeof(float));
    fill_up(s);
    for (size_t array = 0; array < ARRAYS; array++) {
        assert(s->written + FILE_HEAD == s->layout.begin[array + 1]);
        uint32_t blocks = 0;
        for (uint32_t i = 0;
             i < s->rows && s->h->item_bytes[array] && s->rc == DLHT_OK; i++)
            emit_item(s, array, s->order[i], &blocks);
        if (s->rc != DLHT_OK)
            return;
        fill_up(s);
    }
    flush(s);
}

static void make_head(const struct save *s, uint8_t *head)
{
    const struct hnsw_config *c = &s->h->config;
    uint64_t entry = atomic_load(&s->b->entry);
    uint32_t bits;
    memset(head, 0, FILE_HEAD);
    memcpy(head + HEAD_MAGIC, FILE_MAGIC, 8);
    file_put32(head + HEAD_VERSION, FILE_VERSION);
    file_put32(head + HEAD_DIM, c->dim);
    file_put32(head + HEAD_METRIC, (uint32_t)c->metric);
    file_put32(head + HEAD_CODES, (uint32_t)c->codes);
    file_put32(head + HEAD_DROPPED, c->drop_floats);
    file_put32(head + HEAD_M, c->m);
    file_put32(head + HEAD_M0, c->m0);
    file_put32(head + HEAD_EF_CONSTRUCTION, c->ef_construction);
    file_put32(head + HEAD_EF_SEARCH, c->ef_search);
    memcpy(&bits, &c->alpha, sizeof bits);
    file_put32(head + HEAD_ALPHA, bits);
    memcpy(&bits, &s->b->quant->scale, sizeof bits);
    file_put32(head + HEAD_SCALE, bits);
    file_put64(head + HEAD_SEED, c->seed);
    file_put64(head + HEAD_ROWS, s->rows);
    file_put64(head + HEAD_BLOCKS, s->blocks);
    if (entry != ENTRY_NONE)
        entry = (entry >> 32) << 32 | s->place[(uint32_t)entry];
    file_put64(head + HEAD_ENTRY, entry);
    file_put64(head + HEAD_NEXT_TRAINING, s->h->next_training);
    file_put64(head + HEAD_BYTES, s->layout.end);
    file_put64(head + HEAD_HASH, hash64(span_of(head, HEAD_HASH)));
}

static void count_blocks(struct save *s)
{
    uint32_t old_rows = atomic_load(&s->b->row_count);
    for (uint32_t row = 0; row < old_rows; row++)
        if (body_handle(s->b, row) != HANDLES_NONE)
            s->blocks += body_level(s->b, row);
}

static int save_all(struct save *s)
{
    uint8_t head[FILE_HEAD];
    make_head(s, head);
    int rc = s->write(s->self, head, sizeof head);
    if (rc != DLHT_OK)
        return rc;
    emit_parts(s);
    if (s->rc != DLHT_OK)
        return s->rc;
    assert(s->check_count == s->layout.blocks);
    size_t len = s->check_count * sizeof *s->checks;
    uint64_t last = hash64(span_of(s->checks, len));
    rc = s->write(s->self, s->checks, len);
    return rc == DLHT_OK ? s->write(s->self, &last, sizeof last) : rc;
}

int hnsw_save(struct hnsw *h, hnsw_write_fn write, void *self)
{
    if (!file_is_little_endian())
        return DLHT_ENOTSUP;
    struct save s = { .h = h,
                      .b = hnsw_body(h),
                      .rows = (uint32_t)atomic_load(&h->count),
                      .write = write,
                      .self = self };
    count_blocks(&s);
    s.layout = file_layout(h, s.rows, s.blocks);
    size_t old_rows = atomic_load(&s.b->row_count);
    s.order = mem_array(s.rows, sizeof *s.order);
    s.place = mem_array(old_rows, sizeof *s.place);
    s.block = mem_array(FILE_BLOCK, 1);
    s.checks = mem_array(s.layout.blocks, sizeof *s.checks);
    int rc = DLHT_ENOMEM;
    if (s.order && s.place && s.block && s.checks) {
        find_order(&s);
        rc = save_all(&s);
    }
    free(s.checks);
    free(s.block);
    free(s.place);
    free(s.order);
    return rc;
}

uint64_t hnsw_save_bytes(const struct hnsw *h)
{
    struct save s = { .h = (struct hnsw *)(uintptr_t)h, .b = hnsw_body(h) };
    count_blocks(&s);
    return file_layout(h, atomic_load(&s.h->count), s.blocks).end;
}
