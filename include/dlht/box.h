/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/box.h - points of 2 to 8 dimensions as keys, and boxes as ranges.
 *
 * A grid cuts the space between min and max into 2^bits cells a dimension. A
 * point is kept under the key of its cell: the prefix, then the cell's place on
 * a curve through the grid (Hilbert's, by Skilling 2004, or Z-order). Cells
 * close on the curve are close in space, so a box is a few ranges of keys, and
 * these lie on few arcs of the ring.
 *
 *     struct dlht_box_grid grid;
 *     double paris[] = { 48.8566, 2.3522 };
 *     struct dlht_box_key key;
 *     dlht_box_latlon(&grid, "city/");
 *     int rc = dlht_box_key(&grid, paris, &key);
 *     if (rc == DLHT_OK)
 *         rc = dlht_put(d, NULL, key.data, key.len, "Paris", 5, NULL);
 *
 * The grid is not kept in the cluster: whoever writes and reads the points
 * uses the same one, and a prefix or a keyspace for them alone. Two points of
 * one cell are one record. Cell 0 stands for min, the last one for max, and a
 * number belongs to the nearest cell, so integers from 0 to 2^bits - 1 are
 * exact and degrees with 32 bits are within 5 mm on the ground.
 *
 * Nothing here but dlht_box_query speaks to the cluster or allocates. Structs
 * are plain and may be copied; a grid may be used by many threads. */

#ifndef DLHT_BOX_H
#define DLHT_BOX_H

#include "dlht/dlht.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DLHT_BOX_DIMS_MIN = 2,
    DLHT_BOX_DIMS_MAX = 8,
    DLHT_BOX_BITS_MAX = 32,
    DLHT_BOX_PREFIX_MAX = 64, /* bytes */
    /* A byte more than a key: the end of a range may be the key after it. */
    DLHT_BOX_KEY_MAX = 64 + 8 * 32 / 8 + 1,
    DLHT_BOX_RANGES_DEFAULT = 64,
    DLHT_BOX_RANGES_MAX = 1024
};

enum dlht_box_curve {
    DLHT_BOX_HILBERT = 0,
    DLHT_BOX_Z = 1
};

/* Made by one of the two calls below; fields may be changed afterwards. */
struct dlht_box_grid {
    enum dlht_box_curve curve;
    uint32_t dims; /* 2 .. 8 */
    uint32_t bits; /* 1 .. 32, of each dimension */
    /* Finite, min below max, and far enough apart that doubles between them
     * tell 2^bits cells apart. */
    double min[DLHT_BOX_DIMS_MAX];
    double max[DLHT_BOX_DIMS_MAX];
    /* The last dimension is a circle: a box whose from is above its to there
     * goes over the seam. min and max are different cells all the same. */
    bool wraps;
    uint8_t prefix[DLHT_BOX_PREFIX_MAX];
    uint32_t prefix_len;
};

/* Integers from 0 to 2^bits - 1 in each dimension, along Hilbert's curve;
 * prefix may be NULL. Set min and max for other numbers.
 *   DLHT_EINVAL, DLHT_ETOOBIG (prefix); *grid is zeros then */
DLHT_API int dlht_box_integers(struct dlht_box_grid *grid, uint32_t dims,
                               uint32_t bits, const char *prefix);

/* Latitude -90 to 90, then longitude -180 to 180, of 32 bits; wraps. At a pole
 * each longitude is a point of its own.
 *   DLHT_ETOOBIG (prefix) */
DLHT_API int dlht_box_latlon(struct dlht_box_grid *grid, const char *prefix);

/*   DLHT_EINVAL  not as the fields say; every call below refuses it so */
DLHT_API int dlht_box_check(const struct dlht_box_grid *grid);

struct dlht_box_key {
    uint8_t data[DLHT_BOX_KEY_MAX];
    size_t len;
};

/* The key of a point of grid->dims coordinates. Keys sort as the curve runs.
 *   DLHT_EINVAL  a coordinate is not a number, or outside [min, max] */
DLHT_API int dlht_box_key(const struct dlht_box_grid *grid, const double *point,
                          struct dlht_box_key *key);

/* What the cell of a key stands for; the key of that is the same key. Changes
 * nothing if it fails.
 *   DLHT_ENOTFOUND  the key is not one of this grid */
DLHT_API int dlht_box_point(const struct dlht_box_grid *grid, const void *key,
                            size_t key_len, double *point);

/* Whether the key's point lies in the box; false for keys of other kinds, and
 * for boxes that dlht_box_ranges refuses. */
DLHT_API bool dlht_box_has(const struct dlht_box_grid *grid, const double *from,
                           const double *to, const void *key, size_t key_len);

/* Keys from `from` on and before `to`. */
struct dlht_box_range {
    struct dlht_box_key from;
    struct dlht_box_key to;
};

/* How much the ranges cover, in cells; rounded, as doubles are. */
struct dlht_box_cover {
    size_t count;   /* of ranges */
    double covered; /* wanted, and what is to be filtered out */
    double wanted;  /* in the box */
};

/* Covers the box between two corners, both included, with at most range_max (1
 * .. 1024) ranges: in order, apart, and every point of the box is in one.
 * What else is in them dlht_box_has tells. A box of 1 % of a grid, covered by
 * 64 ranges: 3 % too much in two dimensions, 45 % in three; three times as much
 * as wanted in four, seven times in five; from six on a fifth of the grid and
 * more, so give more ranges there (docs/box.md has figures). Takes about 1 ms
 * in two dimensions, 20 ms in eight, and 80 KiB of stack.
 *   DLHT_EINVAL  a corner is no point of the grid, from is above to, or
 *                range_max */
DLHT_API int dlht_box_ranges(const struct dlht_box_grid *grid,
                             const double *from, const double *to,
                             struct dlht_box_range *ranges, size_t range_max,
                             struct dlht_box_cover *cover);

/* What a query costs. */
struct dlht_box_stats {
    struct dlht_box_cover cover;
    uint64_t requests; /* a range takes one or, with many records, more */
    uint64_t parts;    /* pieces of arcs that were read, over all requests */
    uint64_t hops;
    uint64_t read; /* keys that came */
    uint64_t kept; /* of them, in the box */
};

struct dlht_box_query {
    const double *from; /* corners, both included */
    const double *to;
    size_t range_max; /* 0: 64 */
    uint64_t limit;   /* 0: all */
    bool keys_only;
};

/* Takes a record of the box and what its cell stands for; both are borrowed
 * until it returns; value and key have a zero byte behind them. It may call on
 * the same handle, but not close it. False: enough. */
typedef bool (*dlht_box_fn)(void *context, const double *point,
                            const struct dlht_record *record);

/* Reads a box, in the order of the curve: up to 8 ranges at once, each page by
 * page; other callbacks may run meanwhile. Each page is as a RANGE is; records that change meanwhile are seen or not.
 * fn may be NULL, to count. stats may be NULL; it is filled in on failure too.
 * options->timeout_ms is for each request; its stale and strict hold.
 *   DLHT_EINVAL  as for dlht_box_ranges, or called from a callback of
 *                dlht_submit; DLHT_ENOMEM; those of a RANGE */
DLHT_API int dlht_box_query(struct dlht *d, const struct dlht_options *options,
                            const struct dlht_box_grid *grid,
                            const struct dlht_box_query *query, dlht_box_fn fn,
                            void *context, struct dlht_box_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
