/* SPDX-License-Identifier: Apache-2.0 */

/* vector/hnsw_state.h - what the sources of the graph share; no one else
 * includes it.
 *
 * Rows are numbers from 0. All that is known of them lies in arrays by row,
 * each for itself, so that a walk touches links and codes alone:
 *
 *     links     m0 rows, NODE_NONE after the last; 128 bytes if m0 is 32
 *     codes     what is measured in a walk
 *     floats    what is measured at the end
 *     handles   whose it is; HANDLES_NONE: not alive
 *     levels    highest level of the row
 *     upper_at  its first block of links in `upper`, one a level from 1 on
 *     norms     lengths, for cosine
 *
 * A body is a set of such arrays. Readers take the pointer to the body once a
 * search and see that one to the end. The writer changes links in it in place;
 * to change anything else of rows that are alive (more room, other codes) it
 * makes another body, in which arrays that stay are shared.
 *
 * A row that is not alive keeps its level and its blocks, and its next vector
 * takes them over: levels are as good as drawn anew, and a reader that still
 * stands there finds links, though of another time.
 *
 * Epochs (Fraser 2004): each reader writes the epoch it began in to its cell.
 * What was unlinked in epoch e is given back once every cell is idle or
 * later. */

#ifndef VECTOR_HNSW_STATE_H
#define VECTOR_HNSW_STATE_H

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "vector/exact.h"
#include "vector/hnsw.h"
#include "vector/quant.h"
#include "vector/strays.h"

#define NODE_NONE UINT32_MAX
#define ENTRY_NONE UINT64_MAX

typedef _Atomic uint32_t link_row;

enum {
    HNSW_EARLY_ROWS = 1024 /* kept as vectors until codes are trained */
};

enum array {
    ARRAY_LINKS,
    ARRAY_UPPER, /* the one by blocks, not by rows */
    ARRAY_UPPER_AT,
    ARRAY_LEVELS,
    ARRAY_CODES, /* NULL if they are the floats */
    ARRAY_FLOATS,
    ARRAY_NORMS,
    ARRAY_HANDLES,
    ARRAYS
};

struct body {
    void *arrays[ARRAYS];
    const uint8_t *codes; /* ARRAY_CODES or ARRAY_FLOATS */
    size_t row_cap;
    size_t block_cap;
    struct quant *quant;
    _Atomic uint64_t entry;     /* level << 32 | row */
    _Atomic uint32_t row_count; /* rows ever used */
};

/* What only the writer knows of a node, which is a row on a level. */
struct side {
    uint32_t strays;
    uint32_t in_count : 24; /* who links to it */
    uint32_t lost : 8;      /* links that went with other rows, of late */
};

/* Marks and lists of one walk. */
struct beam {
    uint16_t *visited; /* by row: the stamp of the last walk that met it */
    size_t visited_cap;
    uint16_t stamp;
    uint64_t *pool; /* keys in order; see key_of */
    size_t pool_cap;
    size_t pool_count;
    struct hit *found; /* room for pool_cap: what may be returned */
    uint8_t *code;     /* of the query */
    float *vector;     /* of the query, padded */
    float *decoded;    /* of a row whose vector was dropped, padded */
    uint32_t ids[HNSW_M0_MAX + 1];
    float distances[HNSW_M0_MAX + 1];
    struct query_work work;
};

struct cell {
    _Atomic uint64_t epoch; /* 0: idle */
    atomic_bool taken;
    uint8_t apart[48]; /* each has a line of the cache */
};

struct retired {
    void *memory;
    size_t bytes;
    uint64_t epoch;
};

struct free_row {
    uint64_t epoch;
    uint32_t row;
};

struct hnsw {
    struct hnsw_config config;
    const struct kernel *kernel;
    kernel_many_fn many; /* of codes */
    kernel_one_fn one;
    enum kernel_measure measure; /* of codes */
    float ip_base;
    float alpha_squared;
    size_t item_bytes[ARRAYS]; /* 0: not kept */
    size_t links_stride;       /* link_row of a node of level 0 */
    size_t upper_stride;

    _Atomic(struct body *) body;
    _Atomic uint64_t epoch;
    _Atomic uint64_t moved; /* handles that changed their row */
    _Atomic uint64_t reader_bytes;
    struct cell cells[HNSW_READERS_MAX];

    atomic_size_t count; /* alive */

    /* The writer's own. */
    size_t block_count;
    size_t next_training; /* rows at which codes are looked at again */
    size_t level_counts[HNSW_LEVELS_MAX + 1]; /* alive, by highest level */
    struct side *sides;                       /* of level 0, by row */
    struct side *upper_sides;                 /* by block */
    size_t side_cap;
    size_t upper_side_cap;
    struct strays strays;
    struct handles handles;
    struct beam beam;
    float *early; /* vectors of the first rows while floats are dropped */
    struct free_row *free_rows; /* a queue */
    size_t free_cap, free_first, free_count;
    struct retired *retired;
    size_t retired_cap, retired_count;
    uint64_t retired_bytes;
    uint64_t safe_epoch; /* what is older may be given back */
    const void *mapped;  /* the snapshot that the arrays lie in, or NULL */
    bool lacks_sides;    /* they are not made yet */
    size_t mapped_bytes;
    uint32_t *scratch; /* rows: in-neighbours and the like */
    size_t scratch_cap;
};

/* A distance and a row as a number that sorts by distance, then row. The
 * lowest bit says that the row was expanded. */
static inline uint64_t key_of(float distance, uint32_t row)
{
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    bits ^= (uint32_t) - (int32_t)(bits >> 31) | 0x80000000u;
    return (uint64_t)bits << 32 | row << 1;
}

static inline uint32_t key_row(uint64_t key)
{
    return (uint32_t)key >> 1;
}

static inline float key_distance(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= (bits >> 31 ? 0 : UINT32_MAX) | 0x80000000u;
    float distance;
    memcpy(&distance, &bits, sizeof distance);
    return distance;
}

static inline link_row *body_links(const struct hnsw *h, const struct body *b,
                                   uint32_t row, uint32_t level)
{
    link_row *links = b->arrays[ARRAY_LINKS];
    if (level == 0)
        return links + row * h->links_stride;
    const uint32_t *upper_at = b->arrays[ARRAY_UPPER_AT];
    links = b->arrays[ARRAY_UPPER];
    return links + (size_t)(upper_at[row] + level - 1) * h->upper_stride;
}

static inline uint32_t link_get(const link_row *links, size_t i)
{
    return atomic_load_explicit(&links[i], memory_order_acquire);
}

static inline void link_set(link_row *links, size_t i, uint32_t row)
{
    atomic_store_explicit(&links[i], row, memory_order_release);
}

static inline size_t links_max(const struct hnsw *h, uint32_t level)
{
    return level == 0 ? h->config.m0 : h->config.m;
}

static inline const uint8_t *body_code(const struct body *b, uint32_t row)
{
    return b->codes + row * b->quant->stride;
}

static inline float *body_vector(const struct hnsw *h, const struct body *b,
                                 uint32_t row)
{
    uint8_t *floats = b->arrays[ARRAY_FLOATS];
    return (float *)(void *)(floats + row * h->item_bytes[ARRAY_FLOATS]);
}

static inline _Atomic uint64_t *body_handles(const struct body *b)
{
    return b->arrays[ARRAY_HANDLES];
}

static inline uint64_t body_handle(const struct body *b, uint32_t row)
{
    return atomic_load_explicit(&body_handles(b)[row], memory_order_acquire);
}

static inline uint32_t body_level(const struct body *b, uint32_t row)
{
    return ((const uint8_t *)b->arrays[ARRAY_LEVELS])[row];
}

/* The body as the writer sees it. */
static inline struct body *hnsw_body(const struct hnsw *h)
{
    return atomic_load_explicit(&((struct hnsw *)(uintptr_t)h)->body,
                                memory_order_acquire);
}

static inline struct kernel_rows body_rows(const struct body *b)
{
    size_t stride = b->quant->stride;
    return (struct kernel_rows){ b->codes, stride,
                                 stride / kernel_type_bytes(b->quant->type) };
}

/* Distances of codes from rows ids. */
static inline void measure_rows(const struct hnsw *h, const struct body *b,
                                const void *code, const uint32_t *ids,
                                size_t count, float *out)
{
    struct kernel_rows rows = body_rows(b);
    h->many(code, &rows, ids, count, out);
    if (h->measure == KERNEL_IP)
        for (size_t i = 0; i < count; i++)
            out[i] = h->ip_base - out[i];
}

/* hnsw_body.c: arrays and epochs. */

/* Room for one more row with its level. DLHT_ENOMEM, DLHT_EFULL */
MUST_USE int body_reserve(struct hnsw *h, size_t rows, size_t blocks);
/* Trains codes on what is there and makes them anew if that matters. */
MUST_USE int body_train(struct hnsw *h);
/* Trains them on the first vector of all. DLHT_ENOMEM */
MUST_USE int body_train_first(struct hnsw *h, const float *vector);
void body_free(struct hnsw *h, struct body *b);
MUST_USE int retire_reserve(struct hnsw *h, size_t count);
/* Readers that begin from now on do not see what was unlinked before; returns
 * the epoch that has ended. */
uint64_t epoch_end(struct hnsw *h);
bool epoch_is_over(struct hnsw *h, uint64_t epoch);
void retired_give_back(struct hnsw *h);
struct body *reader_enter(struct hnsw *h, struct cell *cell);
void reader_leave(struct cell *cell);

/* hnsw_beam.c: the walk. */

MUST_USE int beam_reserve(struct hnsw *h, const struct body *b, struct beam *s,
                          size_t ef);
void beam_deinit(struct hnsw *h, struct beam *s);
/* The query as a vector of the graph (of length one for cosine) and its code;
 * returns its length. */
float beam_aim(const struct hnsw *h, const struct body *b, struct beam *s,
               const float *vector);
/* Begins at the entry and walks down to `level`, where the nearest row is
 * then the only one in the pool. The body is not empty. */
void beam_descend(const struct hnsw *h, const struct body *b, struct beam *s,
                  uint32_t level);
/* Forgets whom it met, but for the first `keep` of the pool. */
void beam_begin(struct beam *s, size_t keep);
/* Walks on a level from what is in the pool; the best ef are there then. */
void beam_walk(const struct hnsw *h, const struct body *b, struct beam *s,
               uint32_t level, size_t ef);
/* The neighbours of a row that were not met yet, into s->ids; their codes are
 * asked for. */
size_t beam_gather(const struct hnsw *h, const struct body *b, struct beam *s,
                   uint32_t row, uint32_t level);
/* Puts a key in its place among at most ef; its place, or SIZE_MAX. */
static inline size_t beam_offer(struct beam *s, uint64_t key, size_t ef)
{
    size_t count = s->pool_count;
    if (count == ef && key >= s->pool[count - 1])
        return SIZE_MAX;
    /* Where it belongs is a coin toss at each step: no branch hangs on it. */
    const uint64_t *at = s->pool;
    for (size_t n = count; n > 0;) {
        size_t half = (n + 1) / 2;
        at += half & ((size_t)0 - (size_t)(at[half - 1] < key));
        n -= half;
    }
    size_t lo = (size_t)(at - s->pool);
    if (count == ef)
        count--;
    memmove(s->pool + lo + 1, s->pool + lo, (count - lo) * sizeof *s->pool);
    s->pool[lo] = key;
    s->pool_count = count + 1;
    return lo;
}

/* hnsw_link.c: links and who links back. */

struct side *side_of(const struct hnsw *h, const struct body *b, uint32_t row,
                     uint32_t level);
size_t link_count(const struct hnsw *h, const struct body *b, uint32_t row,
                  uint32_t level);
bool link_has(const struct hnsw *h, const struct body *b, uint32_t row,
              uint32_t level, uint32_t to);
/* Of keys in order the first that are spread out, at most max; the row they
 * are measured from is not needed. Returns how many were chosen. */
size_t link_choose(const struct hnsw *h, const struct body *b,
                   const uint64_t *keys, size_t count, size_t max,
                   uint32_t *chosen);
/* Adds or takes away one link, keeping who links back. `from` has room. */
void link_add(struct hnsw *h, const struct body *b, uint32_t level,
              uint32_t from, uint32_t to);
void link_remove(struct hnsw *h, const struct body *b, uint32_t level,
                 uint32_t from, uint32_t to);
/* Links a new node both ways to those in the pool of the writer's beam. */
void link_node(struct hnsw *h, const struct body *b, uint32_t row,
               uint32_t level);
/* Looks for the neighbours of a node of level 0 anew, and links both ways to
 * those it lacks; does nothing if there is no memory. */
void link_anew(struct hnsw *h, const struct body *b, uint32_t row);
/* Sees to it that somebody links to a node: its nearest neighbour `by`. */
void link_adopt(struct hnsw *h, const struct body *b, uint32_t level,
                uint32_t by, uint32_t row);
/* Additions to strays that link_node may need. */
size_t link_strays_max(const struct hnsw *h);
/* Makes sides and strays of all rows from the links. DLHT_ENOMEM */
MUST_USE int link_count_all(struct hnsw *h);

/* hnsw.c */

/* An empty graph without any room; NULL: no memory. */
struct hnsw *hnsw_make(const struct hnsw_config *config);
MUST_USE int free_rows_reserve(struct hnsw *h);

/* hnsw_remove.c */

/* Memory for remove_row of a row (HANDLES_NO_ROW: of none) beside so many
 * additions to strays. DLHT_ENOMEM */
MUST_USE int remove_reserve(struct hnsw *h, uint32_t row, size_t strays);
/* Its handle is known to be another's, or nobody's, by now. */
void remove_row(struct hnsw *h, struct body *b, uint32_t row);

/* hnsw_open.c: copies the arrays of a snapshot before the first change. */
MUST_USE int hnsw_thaw(struct hnsw *h);

#endif
