/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/points.h - points as people write them: 48.8566,2.3522.
 *
 * A point is printed with the fewest digits that lead to its cell of the grid
 * again, so what was put with no more digits than the grid has comes back as
 * it was written. */

#ifndef CLI_POINTS_H
#define CLI_POINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "dlht/box.h"

/* Numbers between commas, blanks around them allowed; 1 to DLHT_BOX_DIMS_MAX,
 * all finite. False: *why says what is wrong. */
bool points_parse(struct dlht_bytes text, double *numbers, size_t *count,
                  const char **why);

/* The key of a point of the grid; false: *why says what is wrong. */
bool points_key(const struct dlht_box_grid *grid, struct dlht_bytes text,
                struct dlht_box_key *key, const char **why);

/* As points_key, for a point that is parsed. */
bool points_fit(const struct dlht_box_grid *grid, const double *point,
                size_t count, struct dlht_box_key *key, const char **why);

/* Prints what stands for a cell, with commas. */
void points_print(const struct dlht_box_grid *grid, const double *point);

#endif
