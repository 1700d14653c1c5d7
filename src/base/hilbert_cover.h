/* SPDX-License-Identifier: Apache-2.0 */

/* base/hilbert_cover.h - a box of cells as few ranges of keys.
 *
 * Every cell of the boxes is in some range; a range may hold other cells too,
 * which the caller filters out, and how many is told. Ranges are in ascending
 * order, apart from each other, and begin and end at cells of the boxes.
 *
 * Cubes that a box cuts are taken apart level by level until the gaps between
 * ranges that are worth a range of their own are known: of all gaps found, the
 * greatest are kept. The cubes looked at are bounded, whatever the box: in
 * many dimensions the ranges may then be wider than they would have to be.
 *
 * Pure: nothing is allocated or kept. */

#ifndef BASE_HILBERT_COVER_H
#define BASE_HILBERT_COVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/hilbert.h"

enum {
    HILBERT_COVER_DEFAULT = 64,      /* ranges */
    HILBERT_COVER_MAX = 1024,        /* each new gap looks at all */
    HILBERT_COVER_BOXES_MAX = 2,     /* a box over the antimeridian is two */
    HILBERT_COVER_WORK_MAX = 1 << 17 /* cubes looked at, in one pass */
};

/* Both ends are in it. */
struct hilbert_box {
    uint32_t from[HILBERT_DIMS_MAX];
    uint32_t to[HILBERT_DIMS_MAX];
};

/* Both keys are in it; each fills hilbert_key_len bytes, zeros follow. */
struct hilbert_range {
    uint8_t first[HILBERT_KEY_MAX];
    uint8_t last[HILBERT_KEY_MAX];
};

struct hilbert_cover {
    size_t count;    /* of ranges */
    double cells;    /* in the ranges; rounded, as doubles are */
    double wanted;   /* in the boxes */
    uint32_t levels; /* taken apart */
    uint32_t looked; /* cubes looked at, in all passes */
};

/* Whether each from is at most its to, and that at most the cell_max. */
bool hilbert_cover_is_box(const struct hilbert_grid *grid,
                          const struct hilbert_box *box);

bool hilbert_cover_has(const struct hilbert_grid *grid,
                       const struct hilbert_box *box, const uint32_t *point);

/* Covers 1 .. HILBERT_COVER_BOXES_MAX boxes, which have no cell in common, with
 * at most range_max (1 .. HILBERT_COVER_MAX) ranges. */
struct hilbert_cover
hilbert_cover(const struct hilbert_grid *grid, const struct hilbert_box *boxes,
              size_t box_count, struct hilbert_range *ranges, size_t range_max);

#endif
