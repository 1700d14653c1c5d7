/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/box.h: points and boxes over the ranges of dlht/dlht.h. */

#include "dlht/box.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hilbert.h"
#include "base/hilbert_cover.h"

_Static_assert((int)DLHT_BOX_DIMS_MAX == (int)HILBERT_DIMS_MAX &&
                   (int)DLHT_BOX_DIMS_MIN == (int)HILBERT_DIMS_MIN &&
                   (int)DLHT_BOX_BITS_MAX == (int)HILBERT_BITS_MAX &&
                   (int)DLHT_BOX_HILBERT == (int)HILBERT_CURVE &&
                   (int)DLHT_BOX_Z == (int)HILBERT_Z,
               "the public numbers are the inner ones");
_Static_assert((int)DLHT_BOX_RANGES_MAX == (int)HILBERT_COVER_MAX &&
                   (int)DLHT_BOX_RANGES_DEFAULT == (int)HILBERT_COVER_DEFAULT,
               "the public numbers are the inner ones");
_Static_assert((int)DLHT_BOX_KEY_MAX ==
                   (int)DLHT_BOX_PREFIX_MAX + (int)HILBERT_KEY_MAX + 1,
               "a key has room");

enum {
    /* A query for a few records asks for so many more: some are filtered. */
    BOX_PAGE_MIN = 64,
    BOX_PAGE_MAX = 1024, /* beyond, the node's own page is meant */
    /* Ranges asked for at once: hides most of the way there and back, and at
     * most so many pages wait in memory. */
    BOX_OPEN_MAX = 8
};

/* A box in cells: two where it goes over the seam. */
struct box_cells {
    struct hilbert_grid grid;
    struct hilbert_box boxes[HILBERT_COVER_BOXES_MAX];
    size_t count;
};

static struct hilbert_grid box_inner(const struct dlht_box_grid *grid)
{
    return (struct hilbert_grid){ (enum hilbert_curve)grid->curve, grid->dims,
                                  grid->bits };
}

static struct hilbert_axis box_axis(const struct dlht_box_grid *grid,
                                    uint32_t i)
{
    return (struct hilbert_axis){ grid->min[i], grid->max[i] };
}

static int box_set_prefix(struct dlht_box_grid *grid, const char *prefix)
{
    size_t len = prefix ? strlen(prefix) : 0;

    if (len > DLHT_BOX_PREFIX_MAX) {
        memset(grid, 0, sizeof(*grid));
        return DLHT_ETOOBIG;
    }
    if (len)
        memcpy(grid->prefix, prefix, len);
    grid->prefix_len = (uint32_t)len;
    return DLHT_OK;
}

int dlht_box_integers(struct dlht_box_grid *grid, uint32_t dims, uint32_t bits,
                      const char *prefix)
{
    struct hilbert_grid inner = { HILBERT_CURVE, dims, bits };

    memset(grid, 0, sizeof(*grid));
    if (!hilbert_is_grid(&inner))
        return DLHT_EINVAL;
    grid->dims = dims;
    grid->bits = bits;
    for (uint32_t i = 0; i < dims; i++)
        grid->max[i] = hilbert_cell_max(&inner);
    return box_set_prefix(grid, prefix);
}

int dlht_box_latlon(struct dlht_box_grid *grid, const char *prefix)
{
    struct hilbert_axis latitude = hilbert_latitude();
    struct hilbert_axis longitude = hilbert_longitude();

    memset(grid, 0, sizeof(*grid));
    grid->dims = 2;
    grid->bits = HILBERT_BITS_MAX;
    grid->wraps = true;
    grid->min[0] = latitude.min;
    grid->max[0] = latitude.max;
    grid->min[1] = longitude.min;
    grid->max[1] = longitude.max;
    return box_set_prefix(grid, prefix);
}

int dlht_box_check(const struct dlht_box_grid *grid)
{
    struct hilbert_grid inner = box_inner(grid);

    if (!hilbert_is_grid(&inner) || grid->prefix_len > DLHT_BOX_PREFIX_MAX)
        return DLHT_EINVAL;
    for (uint32_t i = 0; i < grid->dims; i++) {
        struct hilbert_axis axis = box_axis(grid, i);
        if (!hilbert_is_axis(&axis, grid->bits))
            return DLHT_EINVAL;
    }
    return DLHT_OK;
}

static int box_point_cells(const struct dlht_box_grid *grid,
                           const double *point, uint32_t *cells)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        struct hilbert_axis axis = box_axis(grid, i);
        if (!hilbert_cell(&axis, grid->bits, point[i], &cells[i]))
            return DLHT_EINVAL;
    }
    return DLHT_OK;
}

static void box_put_key(const struct dlht_box_grid *grid, const uint8_t *bytes,
                        size_t len, struct dlht_box_key *key)
{
    memset(key, 0, sizeof(*key));
    memcpy(key->data, grid->prefix, grid->prefix_len);
    memcpy(key->data + grid->prefix_len, bytes, len);
    key->len = grid->prefix_len + len;
}

int dlht_box_key(const struct dlht_box_grid *grid, const double *point,
                 struct dlht_box_key *key)
{
    struct hilbert_grid inner = box_inner(grid);
    uint32_t cells[HILBERT_DIMS_MAX];
    uint8_t bytes[HILBERT_KEY_MAX];
    int rc = dlht_box_check(grid);

    memset(key, 0, sizeof(*key));
    if (rc == DLHT_OK)
        rc = box_point_cells(grid, point, cells);
    if (rc != DLHT_OK)
        return rc;
    hilbert_encode(&inner, cells, bytes);
    box_put_key(grid, bytes, hilbert_key_len(&inner), key);
    return DLHT_OK;
}

/* The cells of a key that anybody may have made. */
static bool box_key_cells(const struct dlht_box_grid *grid, const void *key,
                          size_t key_len, uint32_t *cells)
{
    struct hilbert_grid inner = box_inner(grid);

    return key_len == grid->prefix_len + hilbert_key_len(&inner) &&
           memcmp(key, grid->prefix, grid->prefix_len) == 0 &&
           hilbert_decode(&inner, (const uint8_t *)key + grid->prefix_len,
                          cells);
}

static void box_cells_point(const struct dlht_box_grid *grid,
                            const uint32_t *cells, double *point)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        struct hilbert_axis axis = box_axis(grid, i);
        point[i] = hilbert_real(&axis, grid->bits, cells[i]);
    }
}

int dlht_box_point(const struct dlht_box_grid *grid, const void *key,
                   size_t key_len, double *point)
{
    uint32_t cells[HILBERT_DIMS_MAX];
    int rc = dlht_box_check(grid);

    if (rc != DLHT_OK)
        return rc;
    if (!box_key_cells(grid, key, key_len, cells))
        return DLHT_ENOTFOUND;
    box_cells_point(grid, cells, point);
    return DLHT_OK;
}

/* The cells of a box between corners. Over the seam, it is what is above from
 * and what is below to. */
static int box_cells_of(const struct dlht_box_grid *grid, const double *from,
                        const double *to, struct box_cells *cells)
{
    struct hilbert_box box;
    uint32_t last = grid->dims - 1;
    int rc = dlht_box_check(grid);

    memset(&box, 0, sizeof(box));
    memset(cells, 0, sizeof(*cells));
    if (rc == DLHT_OK)
        rc = box_point_cells(grid, from, box.from);
    if (rc == DLHT_OK)
        rc = box_point_cells(grid, to, box.to);
    if (rc != DLHT_OK)
        return rc;
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (from[i] > to[i] && !(grid->wraps && i == last))
            return DLHT_EINVAL;
    }
    cells->grid = box_inner(grid);
    cells->count = 1;
    cells->boxes[0] = box;
    if (from[last] > to[last] && box.from[last] == box.to[last]) {
        /* Both in one cell, so all around. */
        cells->boxes[0].from[last] = 0;
        cells->boxes[0].to[last] = hilbert_cell_max(&cells->grid);
    } else if (from[last] > to[last]) {
        cells->count = 2;
        cells->boxes[1] = box;
        cells->boxes[0].from[last] = 0;
        cells->boxes[1].to[last] = hilbert_cell_max(&cells->grid);
    }
    return DLHT_OK;
}

static bool box_cells_have(const struct box_cells *cells, const uint32_t *point)
{
    for (size_t i = 0; i < cells->count; i++) {
        if (hilbert_cover_has(&cells->grid, &cells->boxes[i], point))
            return true;
    }
    return false;
}

bool dlht_box_has(const struct dlht_box_grid *grid, const double *from,
                  const double *to, const void *key, size_t key_len)
{
    struct box_cells cells;
    uint32_t point[HILBERT_DIMS_MAX];

    return box_cells_of(grid, from, to, &cells) == DLHT_OK &&
           box_key_cells(grid, key, key_len, point) &&
           box_cells_have(&cells, point);
}

/* The end of a range is the key right behind its last one in the order of
 * bytes: the same with a zero byte more. */
static void box_put_range(const struct dlht_box_grid *grid,
                          const struct hilbert_range *inner, size_t len,
                          struct dlht_box_range *range)
{
    box_put_key(grid, inner->first, len, &range->from);
    box_put_key(grid, inner->last, len, &range->to);
    range->to.len++;
    assert(range->to.len <= sizeof(range->to.data));
}

int dlht_box_ranges(const struct dlht_box_grid *grid, const double *from,
                    const double *to, struct dlht_box_range *ranges,
                    size_t range_max, struct dlht_box_cover *cover)
{
    struct hilbert_range inner[HILBERT_COVER_MAX];
    struct hilbert_cover told;
    struct box_cells cells;
    int rc = range_max >= 1 && range_max <= DLHT_BOX_RANGES_MAX ? DLHT_OK
                                                                : DLHT_EINVAL;

    memset(cover, 0, sizeof(*cover));
    if (rc == DLHT_OK)
        rc = box_cells_of(grid, from, to, &cells);
    if (rc != DLHT_OK)
        return rc;
    told =
        hilbert_cover(&cells.grid, cells.boxes, cells.count, inner, range_max);
    for (size_t i = 0; i < told.count; i++)
        box_put_range(grid, &inner[i], hilbert_key_len(&cells.grid),
                      &ranges[i]);
    cover->count = told.count;
    cover->covered = told.cells;
    cover->wanted = told.wanted;
    return DLHT_OK;
}

/* A query under way. */
struct box_walk {
    struct dlht *d;
    const struct dlht_options *options;
    const struct dlht_box_grid *grid;
    const struct dlht_box_query *query;
    struct dlht_box_range *ranges; /* owned */
    struct box_cells cells;
    struct box_piece *pieces[BOX_OPEN_MAX]; /* range i's at i % BOX_OPEN_MAX */
    dlht_box_fn fn;
    void *context;
    struct dlht_box_stats *stats;
    bool is_done; /* whoever asked has enough */
};

/* A range that is being read: a page under way, or what was kept of it. */
struct box_piece {
    struct box_walk *walk; /* NULL: nobody waits; freed by the answer */
    struct dlht_bytes end;
    bool is_open;
    bool more;
    int status;
    struct dlht_record *records; /* owned, and their bytes behind them */
    size_t count;
    struct dlht_bytes cursor; /* owned */
};

static void box_piece_reset(struct box_piece *piece)
{
    free(piece->records);
    free((void *)(uintptr_t)piece->cursor.data);
    piece->records = NULL;
    piece->count = 0;
    piece->cursor = (struct dlht_bytes){ NULL, 0 };
    piece->more = false;
}

static void box_piece_free(struct box_piece *piece)
{
    if (!piece)
        return;
    box_piece_reset(piece);
    free(piece);
}

static bool box_wants(const struct box_walk *walk,
                      const struct dlht_record *record, uint32_t *cells)
{
    return box_key_cells(walk->grid, record->key.data, record->key.len,
                         cells) &&
           box_cells_have(&walk->cells, cells);
}

static struct dlht_bytes box_copy(struct dlht_bytes bytes, uint8_t **at)
{
    struct dlht_bytes copy = { *at, bytes.len };

    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    (*at)[bytes.len] = 0; /* so that values are strings too */
    *at += bytes.len + 1;
    return copy;
}

/* Copies what lies in the box: the answer is gone when the callback ends. */
static int box_keep_page(struct box_piece *piece,
                         const struct dlht_result *result)
{
    uint32_t cells[HILBERT_DIMS_MAX];
    size_t len = 0, count = 0;
    uint8_t *at;

    for (size_t i = 0; i < result->record_count; i++) {
        const struct dlht_record *record = &result->records[i];
        if (!box_wants(piece->walk, record, cells))
            continue;
        len += record->key.len + record->value.len + 2;
        count++;
    }
    piece->records = malloc(count * sizeof(*piece->records) + len + 1);
    if (!piece->records)
        return DLHT_ENOMEM;
    at = (uint8_t *)(piece->records + count);
    for (size_t i = 0; i < result->record_count; i++) {
        struct dlht_record record = result->records[i];
        if (!box_wants(piece->walk, &record, cells))
            continue;
        record.key = box_copy(record.key, &at);
        record.value = box_copy(record.value, &at);
        piece->records[piece->count++] = record;
    }
    return DLHT_OK;
}

static int box_keep_cursor(struct box_piece *piece,
                           const struct dlht_result *result)
{
    uint8_t *at = malloc(result->cursor.len + 1);

    if (!at)
        return DLHT_ENOMEM;
    piece->cursor = box_copy(result->cursor, &at);
    piece->more = true;
    return DLHT_OK;
}

static void box_on_page(void *context, const struct dlht_result *result)
{
    struct box_piece *piece = context;
    struct dlht_box_stats *stats;

    piece->is_open = false;
    if (!piece->walk) {
        box_piece_free(piece);
        return;
    }
    stats = piece->walk->stats;
    stats->requests++;
    stats->parts += result->peers_asked;
    stats->hops += result->hops;
    stats->read += result->record_count;
    piece->status = result->status;
    if (piece->status == DLHT_OK)
        piece->status = box_keep_page(piece, result);
    if (piece->status == DLHT_OK && result->more)
        piece->status = box_keep_cursor(piece, result);
}

static uint64_t box_page(const struct box_walk *walk)
{
    uint64_t left = walk->query->limit - walk->stats->kept;

    if (!walk->query->limit || left > BOX_PAGE_MAX)
        return 0;
    return left < BOX_PAGE_MIN ? BOX_PAGE_MIN : left;
}

static int box_submit(struct box_piece *piece, struct dlht_bytes from)
{
    const struct box_walk *walk = piece->walk;
    struct dlht_request request;
    int rc;

    memset(&request, 0, sizeof(request));
    request.op = DLHT_OP_RANGE;
    request.key = from;
    request.end = piece->end;
    request.has_end = true;
    request.limit = box_page(walk);
    request.keys_only = walk->query->keys_only;
    if (walk->options) {
        request.keyspace = walk->options->keyspace;
        request.timeout_ms = walk->options->timeout_ms;
        request.stale = walk->options->stale;
        request.strict = walk->options->strict;
    }
    piece->is_open = true;
    rc = dlht_submit(walk->d, &request, box_on_page, piece);
    if (rc != DLHT_OK)
        piece->is_open = false;
    return rc;
}

static int box_begin_range(struct box_walk *walk, size_t i)
{
    const struct dlht_box_range *range = &walk->ranges[i];
    struct box_piece *piece = calloc(1, sizeof(*piece));

    if (!piece)
        return DLHT_ENOMEM;
    assert(!walk->pieces[i % BOX_OPEN_MAX]);
    walk->pieces[i % BOX_OPEN_MAX] = piece;
    piece->walk = walk;
    piece->end = (struct dlht_bytes){ range->to.data, range->to.len };
    return box_submit(piece,
                      (struct dlht_bytes){ range->from.data, range->from.len });
}

static int box_await(struct box_walk *walk, const struct box_piece *piece)
{
    while (piece->is_open) {
        int rc = dlht_poll(walk->d, -1);
        if (rc < 0)
            return rc;
    }
    return piece->status;
}

/* Hands out what was kept of a page. */
static void box_deliver(struct box_walk *walk, const struct box_piece *piece)
{
    for (size_t i = 0; i < piece->count && !walk->is_done; i++) {
        double point[DLHT_BOX_DIMS_MAX];
        uint32_t cells[HILBERT_DIMS_MAX];
        const struct dlht_record *record = &piece->records[i];
        bool is_ours = box_wants(walk, record, cells);
        assert(is_ours);
        walk->stats->kept++;
        box_cells_point(walk->grid, cells, point);
        if (walk->fn && !walk->fn(walk->context, point, record))
            walk->is_done = true;
        if (walk->query->limit && walk->stats->kept >= walk->query->limit)
            walk->is_done = true;
    }
}

/* All pages of the range that is first in line. */
static int box_end_range(struct box_walk *walk, size_t i)
{
    struct box_piece *piece = walk->pieces[i % BOX_OPEN_MAX];
    bool more = true;

    while (more && !walk->is_done) {
        struct dlht_bytes from;
        int rc = box_await(walk, piece);
        if (rc != DLHT_OK)
            return rc;
        box_deliver(walk, piece);
        more = piece->more;
        from = piece->cursor;
        piece->cursor = (struct dlht_bytes){ NULL, 0 };
        box_piece_reset(piece);
        if (more && !walk->is_done)
            rc = box_submit(piece, from);
        free((void *)(uintptr_t)from.data);
        if (rc != DLHT_OK)
            return rc;
    }
    walk->pieces[i % BOX_OPEN_MAX] = NULL;
    box_piece_free(piece);
    return DLHT_OK;
}

/* What is under way ends; if the connection does not let it, its answer frees
 * it when the handle is closed. */
static void box_drain(struct box_walk *walk)
{
    for (size_t i = 0; i < BOX_OPEN_MAX; i++) {
        struct box_piece *piece = walk->pieces[i];
        if (!piece)
            continue;
        (void)box_await(walk, piece);
        if (piece->is_open)
            piece->walk = NULL;
        else
            box_piece_free(piece);
    }
}

static int box_read(struct box_walk *walk)
{
    size_t count = walk->stats->cover.count, begun = 0;
    int rc = DLHT_OK;

    for (size_t i = 0; rc == DLHT_OK && !walk->is_done && i < count; i++) {
        for (; rc == DLHT_OK && begun < count && begun < i + BOX_OPEN_MAX;
             begun++)
            rc = box_begin_range(walk, begun);
        if (rc == DLHT_OK)
            rc = box_end_range(walk, i);
    }
    box_drain(walk);
    return rc;
}

int dlht_box_query(struct dlht *d, const struct dlht_options *options,
                   const struct dlht_box_grid *grid,
                   const struct dlht_box_query *query, dlht_box_fn fn,
                   void *context, struct dlht_box_stats *stats)
{
    struct dlht_box_stats unheard;
    size_t range_max =
        query->range_max ? query->range_max : DLHT_BOX_RANGES_DEFAULT;
    struct box_walk walk = { .d = d,
                             .options = options,
                             .grid = grid,
                             .query = query,
                             .fn = fn,
                             .context = context,
                             .stats = stats ? stats : &unheard };
    int rc;

    memset(walk.stats, 0, sizeof(*walk.stats));
    if (range_max > DLHT_BOX_RANGES_MAX)
        return DLHT_EINVAL;
    rc = box_cells_of(grid, query->from, query->to, &walk.cells);
    if (rc == DLHT_OK)
        rc = dlht_poll(d, 0); /* refuses inside a callback */
    if (rc < 0)
        return rc;
    walk.ranges = malloc(range_max * sizeof(*walk.ranges));
    rc = walk.ranges
             ? dlht_box_ranges(grid, query->from, query->to, walk.ranges,
                               range_max, &walk.stats->cover)
             : DLHT_ENOMEM;
    if (rc == DLHT_OK)
        rc = box_read(&walk);
    free(walk.ranges);
    return rc;
}
