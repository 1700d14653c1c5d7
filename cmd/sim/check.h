/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/sim/check.h - dlht-sim check FILE: the checker of the simulation, asked
 * about clients of real nodes. */

#ifndef SIM_CHECK_H
#define SIM_CHECK_H

/* Exit code: 0 linearizable, 1 not, 2 the file is no history. */
int check_file(const char *path);

#endif
