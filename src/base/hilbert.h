/* SPDX-License-Identifier: Apache-2.0 */

/* base/hilbert.h - points of a grid as keys along a curve, and back.
 *
 * A grid has 2 to 8 dimensions of 2^bits cells each. The Hilbert curve visits
 * every cell once and always steps to a neighbour, so cells whose keys are
 * close are close in space; the Z-order (Morton) curve interleaves bits, jumps,
 * and is there to compare with. A key is dims * bits bits long, big-endian,
 * with zero bits behind the last one up to a whole byte: keys of one grid sort
 * as bytes in the order of the curve, and the first level * dims bits of a key
 * name the cube of side 2^(bits - level) that the cell lies in.
 *
 * The Hilbert curve is that of Skilling, "Programming the Hilbert curve", AIP
 * Conference Proceedings 707, 381 (2004). The paper transforms all bits in
 * place; here the same is done from the top bit down with a small state, so
 * that encoding, decoding and descending into cubes are one step repeated.
 *
 * Pure: nothing is allocated or kept. */

#ifndef BASE_HILBERT_H
#define BASE_HILBERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HILBERT_DIMS_MIN = 2,
    HILBERT_DIMS_MAX = 8, /* a digit of the key fits a byte */
    HILBERT_BITS_MAX = 32,
    HILBERT_KEY_MAX = HILBERT_DIMS_MAX * HILBERT_BITS_MAX / 8 /* bytes */
};

enum hilbert_curve {
    HILBERT_CURVE = 0,
    HILBERT_Z = 1
};

struct hilbert_grid {
    enum hilbert_curve curve;
    uint32_t dims; /* 2 .. 8 */
    uint32_t bits; /* 1 .. 32, of each dimension */
};

/* Whether dims, bits and curve are as above; all other calls assert it. */
bool hilbert_is_grid(const struct hilbert_grid *grid);

/* Bytes of a key. */
size_t hilbert_key_len(const struct hilbert_grid *grid);

/* The greatest coordinate, 2^bits - 1. */
uint32_t hilbert_cell_max(const struct hilbert_grid *grid);

/* Writes hilbert_key_len bytes. Coordinates are at most hilbert_cell_max. */
void hilbert_encode(const struct hilbert_grid *grid, const uint32_t *point,
                    uint8_t *key);

/* Reads hilbert_key_len bytes, which a stranger may have made. False, point
 * untouched: bits behind the last one are set, so this is no key of the grid.
 */
bool hilbert_decode(const struct hilbert_grid *grid, const uint8_t *key,
                    uint32_t *point);

/* Where a descent stands: which axis plays which part in the cube at hand. */
struct hilbert_state {
    uint8_t axis[HILBERT_DIMS_MAX];
    uint8_t flip;   /* bit i: the i-th part is mirrored */
    uint8_t parity; /* 0 or 1 */
};

void hilbert_begin(struct hilbert_state *state);

/* The halves (bit a: the upper one of axis a) of the digit-th sub-cube on the
 * curve, and the other way round. state is not moved. */
uint32_t hilbert_halves(const struct hilbert_grid *grid,
                        const struct hilbert_state *state, uint32_t digit);
uint32_t hilbert_digit(const struct hilbert_grid *grid,
                       const struct hilbert_state *state, uint32_t halves);

/* Moves state into the sub-cube with these halves. */
void hilbert_enter(const struct hilbert_grid *grid, struct hilbert_state *state,
                   uint32_t halves);

/* Sets the digit of a level (0: the first) in a key whose bits there are
 * zero. */
void hilbert_set_digit(const struct hilbert_grid *grid, uint8_t *key,
                       uint32_t level, uint32_t digit);
uint32_t hilbert_get_digit(const struct hilbert_grid *grid, const uint8_t *key,
                           uint32_t level);

/* A line of real numbers cut into cells: cell 0 stands for min, the last one
 * for max, the others evenly between; a number belongs to the nearest. So the
 * integers 0 .. 2^bits - 1 are their own cells if min and max are those. */
struct hilbert_axis {
    double min;
    double max;
};

/* Degrees. -180 and 180 are different cells of one meridian; at a pole every
 * longitude has a cell of its own. */
struct hilbert_axis hilbert_latitude(void);
struct hilbert_axis hilbert_longitude(void);

/* Whether both ends and their distance are finite, min < max, and doubles
 * between them are fine enough to tell 2^bits cells apart, so that
 * hilbert_cell(hilbert_real(cell)) is cell. */
bool hilbert_is_axis(const struct hilbert_axis *axis, uint32_t bits);

/* The cell of x; keeps order. False, cell untouched: x is not a number of
 * [min, max]. */
bool hilbert_cell(const struct hilbert_axis *axis, uint32_t bits, double x,
                  uint32_t *cell);

/* What a cell stands for, never outside [min, max]. */
double hilbert_real(const struct hilbert_axis *axis, uint32_t bits,
                    uint32_t cell);

#endif
