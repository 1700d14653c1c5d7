/* SPDX-License-Identifier: Apache-2.0 */

/* The curves, one level of the grid after the other from the top.
 *
 * In Skilling's AxestoTranspose, the bit of level q of part i either inverts
 * the lower bits of part 0 or exchanges them with those of part i. Over all
 * levels that is a permutation of the axes and a mirroring of some, which is
 * the state here. What follows in the paper, Gray coding and the last pass,
 * makes the digit: prefix sums modulo 2 of the parts' bits, all inverted if
 * the last sums of the levels above add up to one. */

#include "base/hilbert.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

bool hilbert_is_grid(const struct hilbert_grid *grid)
{
    return (grid->curve == HILBERT_CURVE || grid->curve == HILBERT_Z) &&
           grid->dims >= HILBERT_DIMS_MIN && grid->dims <= HILBERT_DIMS_MAX &&
           grid->bits >= 1 && grid->bits <= HILBERT_BITS_MAX;
}

size_t hilbert_key_len(const struct hilbert_grid *grid)
{
    assert(hilbert_is_grid(grid));
    return ((size_t)grid->dims * grid->bits + 7) / 8;
}

static uint32_t cell_max(uint32_t bits)
{
    return UINT32_MAX >> (HILBERT_BITS_MAX - bits);
}

uint32_t hilbert_cell_max(const struct hilbert_grid *grid)
{
    assert(hilbert_is_grid(grid));
    return cell_max(grid->bits);
}

void hilbert_begin(struct hilbert_state *state)
{
    for (int i = 0; i < HILBERT_DIMS_MAX; i++)
        state->axis[i] = (uint8_t)i;
    state->flip = 0;
    state->parity = 0;
}

/* Digits have the first part's bit on top. */
static uint32_t bit_of_part(const struct hilbert_grid *grid, uint32_t part)
{
    return 1u << (grid->dims - 1 - part);
}

uint32_t hilbert_halves(const struct hilbert_grid *grid,
                        const struct hilbert_state *state, uint32_t digit)
{
    uint32_t halves = 0;
    uint32_t before = 0;

    for (uint32_t i = 0; i < grid->dims; i++) {
        uint32_t sum = (digit & bit_of_part(grid, i)) ? 1 : 0;
        uint32_t bit = sum;
        if (grid->curve == HILBERT_CURVE) {
            sum ^= state->parity;
            bit = sum ^ before ^ ((state->flip >> i) & 1u);
            before = sum;
        }
        halves |= bit << state->axis[i];
    }
    return halves;
}

/* The bit of part i, with its mirroring undone. */
static uint32_t part_bit(const struct hilbert_state *state, uint32_t halves,
                         uint32_t i)
{
    return ((halves >> state->axis[i]) ^ (uint32_t)(state->flip >> i)) & 1u;
}

uint32_t hilbert_digit(const struct hilbert_grid *grid,
                       const struct hilbert_state *state, uint32_t halves)
{
    uint32_t digit = 0;
    uint32_t sum = state->parity;

    for (uint32_t i = 0; i < grid->dims; i++) {
        uint32_t bit = part_bit(state, halves, i);
        sum = grid->curve == HILBERT_CURVE ? sum ^ bit : bit;
        if (sum)
            digit |= bit_of_part(grid, i);
    }
    return digit;
}

static void exchange(struct hilbert_state *state, uint32_t i)
{
    uint8_t axis = state->axis[0];
    uint32_t differ = (state->flip ^ (uint32_t)(state->flip >> i)) & 1u;

    state->axis[0] = state->axis[i];
    state->axis[i] = axis;
    if (i > 0)
        state->flip = (uint8_t)(state->flip ^ (differ | differ << i));
}

void hilbert_enter(const struct hilbert_grid *grid, struct hilbert_state *state,
                   uint32_t halves)
{
    uint32_t bits = 0;

    if (grid->curve == HILBERT_Z)
        return;
    for (uint32_t i = 0; i < grid->dims; i++)
        bits |= part_bit(state, halves, i) << i;
    for (uint32_t i = 0; i < grid->dims; i++) {
        if ((bits >> i) & 1u) {
            state->flip ^= 1u;
            state->parity ^= 1u;
        } else {
            exchange(state, i);
        }
    }
}

void hilbert_set_digit(const struct hilbert_grid *grid, uint8_t *key,
                       uint32_t level, uint32_t digit)
{
    uint32_t at = level * grid->dims;
    uint32_t two = digit << (16 - grid->dims - at % 8); /* bytes */

    assert(level < grid->bits);
    key[at / 8] = (uint8_t)(key[at / 8] | two >> 8);
    if (two & 0xFF)
        key[at / 8 + 1] = (uint8_t)(key[at / 8 + 1] | (two & 0xFF));
}

uint32_t hilbert_get_digit(const struct hilbert_grid *grid, const uint8_t *key,
                           uint32_t level)
{
    uint32_t at = level * grid->dims;
    uint32_t two = (uint32_t)key[at / 8] << 8;

    if (at % 8 + grid->dims > 8)
        two |= key[at / 8 + 1];
    return (two >> (16 - grid->dims - at % 8)) & ((1u << grid->dims) - 1);
}

void hilbert_encode(const struct hilbert_grid *grid, const uint32_t *point,
                    uint8_t *key)
{
    struct hilbert_state state;

    memset(key, 0, hilbert_key_len(grid));
    hilbert_begin(&state);
    for (uint32_t i = 0; i < grid->dims; i++)
        assert(point[i] <= cell_max(grid->bits));
    for (uint32_t level = 0; level < grid->bits; level++) {
        uint32_t halves = 0;
        for (uint32_t i = 0; i < grid->dims; i++)
            halves |= ((point[i] >> (grid->bits - 1 - level)) & 1u) << i;
        hilbert_set_digit(grid, key, level,
                          hilbert_digit(grid, &state, halves));
        hilbert_enter(grid, &state, halves);
    }
}

bool hilbert_decode(const struct hilbert_grid *grid, const uint8_t *key,
                    uint32_t *point)
{
    struct hilbert_state state;
    size_t len = hilbert_key_len(grid);
    uint32_t over = (uint32_t)len * 8 - grid->dims * grid->bits;

    if (key[len - 1] & ((1u << over) - 1))
        return false;
    memset(point, 0, grid->dims * sizeof(*point));
    hilbert_begin(&state);
    for (uint32_t level = 0; level < grid->bits; level++) {
        uint32_t halves =
            hilbert_halves(grid, &state, hilbert_get_digit(grid, key, level));
        for (uint32_t i = 0; i < grid->dims; i++)
            point[i] |= ((halves >> i) & 1u) << (grid->bits - 1 - level);
        hilbert_enter(grid, &state, halves);
    }
    return true;
}

struct hilbert_axis hilbert_latitude(void)
{
    return (struct hilbert_axis){ -90, 90 };
}

struct hilbert_axis hilbert_longitude(void)
{
    return (struct hilbert_axis){ -180, 180 };
}

bool hilbert_is_axis(const struct hilbert_axis *axis, uint32_t bits)
{
    double width = axis->max - axis->min;
    double low = axis->min < 0 ? -axis->min : axis->min;
    double high = axis->max < 0 ? -axis->max : axis->max;
    double far = low > high ? low : high;

    if (!isfinite(axis->min) || !isfinite(axis->max) || !isfinite(width))
        return false;
    /* A quarter of a cell is more than what rounding may shift; numbers too
     * small to have all their digits are left out too. */
    return axis->min < axis->max && width >= DBL_MIN / DBL_EPSILON &&
           width / cell_max(bits) >= 16 * DBL_EPSILON * far;
}

bool hilbert_cell(const struct hilbert_axis *axis, uint32_t bits, double x,
                  uint32_t *cell)
{
    double share;

    /* False for what is not a number, too. */
    if (!(x >= axis->min && x <= axis->max))
        return false;
    share = (x - axis->min) / (axis->max - axis->min);
    *cell = (uint32_t)(share * cell_max(bits) + 0.5);
    return true;
}

double hilbert_real(const struct hilbert_axis *axis, uint32_t bits,
                    uint32_t cell)
{
    double share = (double)cell / cell_max(bits);
    double x = axis->min + share * (axis->max - axis->min);

    /* The ends are theirs to the last bit. */
    if (cell >= cell_max(bits) || x > axis->max)
        return axis->max;
    return x < axis->min ? axis->min : x;
}
