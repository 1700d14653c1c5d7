/* SPDX-License-Identifier: Apache-2.0 */

/* Walks every invariant of the graph. */

#include "dlht/err.h"
#include "vector/hnsw_state.h"

/* One check. */
struct check {
    struct hnsw *h;
    const struct body *b;
    struct hnsw_report *report;
    uint32_t *in_counts; /* of level 0, by row */
    uint32_t *upper_in_counts;
};

static void blame(struct check *c, const char *fault, uint32_t row,
                  uint32_t level)
{
    if (c->report->fault)
        return;
    c->report->fault = fault;
    c->report->fault_row = row;
    c->report->fault_level = level;
}

static bool is_alive(const struct check *c, uint32_t row)
{
    return row < atomic_load(&c->b->row_count) &&
           body_handle(c->b, row) != HANDLES_NONE;
}

static uint32_t *counter_of(struct check *c, uint32_t row, uint32_t level)
{
    const uint32_t *upper_at = c->b->arrays[ARRAY_UPPER_AT];
    return level == 0 ? &c->in_counts[row]
                      : &c->upper_in_counts[upper_at[row] + level - 1];
}

static bool check_link(struct check *c, uint32_t row, uint32_t level, size_t i)
{
    const link_row *links = body_links(c->h, c->b, row, level);
    uint32_t to = link_get(links, i);
    if (to == row)
        blame(c, "a row links to itself", row, level);
    else if (!is_alive(c, to))
        blame(c, "a link to a row that is not alive", row, level);
    else if (body_level(c->b, to) < level)
        blame(c, "a link to a row that is not on this level", row, level);
    if (c->report->fault)
        return false;
    for (size_t j = 0; j < i; j++)
        if (link_get(links, j) == to)
            blame(c, "two links to one row", row, level);
    ++*counter_of(c, to, level);
    if (c->h->lacks_sides)
        return true;
    bool mutual = link_has(c->h, c->b, to, level, row);
    struct side *side = side_of(c->h, c->b, to, level);
    c->report->strays += level == 0 && !mutual;
    if (strays_has(&c->h->strays, side->strays, row) == mutual)
        blame(c, "who links back is not what is known", row, level);
    return true;
}

static void check_node(struct check *c, uint32_t row, uint32_t level)
{
    const link_row *links = body_links(c->h, c->b, row, level);
    size_t max = links_max(c->h, level);
    size_t stride = level ? c->h->upper_stride : c->h->links_stride;
    size_t count = link_count(c->h, c->b, row, level);
    for (size_t i = count; i < stride; i++)
        if (link_get(links, i) != NODE_NONE)
            blame(c, i < max ? "a gap among the links" : "too many links", row,
                  level);
    for (size_t i = 0; i < count; i++)
        if (!check_link(c, row, level, i))
            return;
    if (level == 0)
        c->report->links += count;
}

static void check_rows(struct check *c)
{
    const struct body *b = c->b;
    uint32_t rows = atomic_load(&b->row_count);
    size_t levels[HNSW_LEVELS_MAX + 1] = { 0 };
    const uint32_t *upper_at = b->arrays[ARRAY_UPPER_AT];
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t level = body_level(b, row);
        if (level > HNSW_LEVELS_MAX ||
            (level > 0 && (upper_at[row] > c->h->block_count ||
                           level > c->h->block_count - upper_at[row]))) {
            blame(c, "a level or its place is out of range", row, level);
            return;
        }
    }
    for (uint32_t row = 0; row < rows && !c->report->fault; row++) {
        uint64_t handle = body_handle(b, row);
        if (handle == HANDLES_NONE)
            continue;
        c->report->rows++;
        levels[body_level(b, row)]++;
        if (handles_find(&c->h->handles, handle, body_handles(b)) != row)
            blame(c, "a handle finds another row", row, 0);
        for (uint32_t level = 0; level <= body_level(b, row); level++)
            check_node(c, row, level);
    }
    for (uint32_t l = 0; l <= HNSW_LEVELS_MAX && !c->report->fault; l++) {
        if (levels[l] != c->h->level_counts[l])
            blame(c, "rows of a level are miscounted", 0, l);
        if (levels[l] > 0)
            c->report->top_level = l;
    }
}

static void check_sides(struct check *c)
{
    uint32_t rows = atomic_load(&c->b->row_count);
    for (uint32_t row = 0; row < rows && !c->report->fault; row++) {
        if (!is_alive(c, row))
            continue;
        for (uint32_t level = 0; level <= body_level(c->b, row); level++) {
            uint32_t in = *counter_of(c, row, level);
            struct side *side = side_of(c->h, c->b, row, level);
            size_t mutual = 0;
            size_t count = link_count(c->h, c->b, row, level);
            const link_row *links = body_links(c->h, c->b, row, level);
            for (size_t i = 0; i < count; i++)
                mutual += link_has(c->h, c->b, link_get(links, i), level, row);
            if (in != side->in_count ||
                in != mutual + strays_count(&c->h->strays, side->strays))
                blame(c, "links to a row are miscounted", row, level);
            if (level == 0 && in == 0 && c->report->rows > 1)
                blame(c, "no link to a row", row, level);
        }
    }
}

static void check_whole(struct check *c)
{
    const struct hnsw *h = c->h;
    uint64_t entry = atomic_load(&c->b->entry);
    size_t rows = c->report->rows;
    if (rows != atomic_load(&h->count) || rows != h->handles.count)
        blame(c, "rows are miscounted", 0, 0);
    if (rows + h->free_count != atomic_load(&c->b->row_count))
        blame(c, "a row is neither alive nor free", 0, 0);
    if ((entry == ENTRY_NONE) != (rows == 0))
        blame(c, "no entry, or one of nothing", 0, 0);
    if (rows == 0 || c->report->fault)
        return;
    if (!is_alive(c, (uint32_t)entry) ||
        body_level(c->b, (uint32_t)entry) != entry >> 32 ||
        entry >> 32 != c->report->top_level)
        blame(c, "the entry is not of the top level", (uint32_t)entry,
              (uint32_t)(entry >> 32));
}

/* Marks what can be reached from the rows of the queue; each row once. */
static void spread(const struct hnsw *h, const struct body *b, uint8_t *marks,
                   uint32_t *queue, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        uint32_t row = queue[at];
        for (uint32_t level = 0; level <= body_level(b, row); level++) {
            const link_row *links = body_links(h, b, row, level);
            size_t degree = link_count(h, b, row, level);
            for (size_t i = 0; i < degree; i++) {
                uint32_t to = link_get(links, i);
                if (!marks[to]) {
                    marks[to] = 1;
                    queue[count++] = to;
                }
            }
        }
    }
}

/* Marks of what the entry reaches, by row; NULL: no memory. */
static uint8_t *reached(const struct hnsw *h, const struct body *b,
                        uint32_t *queue)
{
    uint32_t rows = atomic_load(&b->row_count);
    uint64_t entry = atomic_load(&b->entry);
    uint8_t *marks = mem_zero(rows, 1);
    if (marks && entry != ENTRY_NONE) {
        queue[0] = (uint32_t)entry;
        marks[queue[0]] = 1;
        spread(h, b, marks, queue, 1);
    }
    return marks;
}

static int count_unreachable(struct check *c)
{
    uint32_t rows = atomic_load(&c->b->row_count);
    uint32_t *queue = mem_array(rows, sizeof *queue);
    uint8_t *marks = queue ? reached(c->h, c->b, queue) : NULL;
    for (uint32_t row = 0; marks && row < rows; row++)
        c->report->unreachable += is_alive(c, row) && !marks[row];
    int rc = marks ? DLHT_OK : DLHT_ENOMEM;
    free(marks);
    free(queue);
    return rc;
}

int hnsw_check(struct hnsw *h, struct hnsw_report *report)
{
    *report = (struct hnsw_report){ .fault = NULL };
    struct check c = { .h = h, .b = hnsw_body(h), .report = report };
    c.in_counts = mem_zero(atomic_load(&c.b->row_count), sizeof(uint32_t));
    c.upper_in_counts = mem_zero(h->block_count, sizeof(uint32_t));
    int rc = c.in_counts && c.upper_in_counts ? DLHT_OK : DLHT_ENOMEM;
    if (rc == DLHT_OK) {
        check_rows(&c);
        if (!report->fault && !h->lacks_sides)
            check_sides(&c);
        if (!report->fault)
            check_whole(&c);
        if (!report->fault)
            rc = count_unreachable(&c);
    }
    free(c.upper_in_counts);
    free(c.in_counts);
    if (rc != DLHT_OK)
        return rc;
    return report->fault ? DLHT_ECORRUPT : DLHT_OK;
}

/* The nearest row of level 0 that the walk finds. */
static uint32_t nearest(struct hnsw *h, const struct body *b, uint32_t row)
{
    struct beam *s = &h->beam;
    memcpy(s->code, body_code(b, row), b->quant->stride);
    beam_descend(h, b, s, 0);
    beam_begin(s, 1);
    beam_walk(h, b, s, 0, h->config.ef_construction);
    return key_row(s->pool[0]);
}

static int mend_all(struct hnsw *h, uint8_t *marks, uint32_t *queue,
                    size_t *mended)
{
    const struct body *b = hnsw_body(h);
    uint32_t rows = atomic_load(&b->row_count);
    for (uint32_t row = 0; row < rows; row++) {
        if (marks[row] || body_handle(b, row) == HANDLES_NONE)
            continue;
        if (strays_reserve(&h->strays, link_strays_max(h)) != DLHT_OK)
            return DLHT_ENOMEM;
        link_adopt(h, b, 0, nearest(h, b, row), row);
        ++*mended;
        marks[row] = 1;
        queue[0] = row;
        spread(h, b, marks, queue, 1);
    }
    return DLHT_OK;
}

int hnsw_mend(struct hnsw *h, size_t *mended)
{
    *mended = 0;
    int rc = hnsw_thaw(h);
    const struct body *b = hnsw_body(h);
    if (rc == DLHT_OK)
        rc = beam_reserve(h, b, &h->beam, h->config.ef_construction);
    uint32_t *queue = mem_array(atomic_load(&b->row_count), sizeof *queue);
    uint8_t *marks = queue ? reached(h, b, queue) : NULL;
    if (rc == DLHT_OK)
        rc = marks ? mend_all(h, marks, queue, mended) : DLHT_ENOMEM;
    free(marks);
    free(queue);
    return rc;
}
