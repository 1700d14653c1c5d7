/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/load.h - the part of load that other verbs use. */

#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli.h"
#include "dlht/box.h"
#include "words.h"

/* Stores the lines X,Y[,Z...]<TAB>VALUE of a file, - for standard input, as
 * points of the grid, says how many, and returns an exit code. */
int load_points(struct cli *cli, const struct word *name,
                const struct dlht_box_grid *grid);

#endif
