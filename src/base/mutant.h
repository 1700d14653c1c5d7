/* SPDX-License-Identifier: Apache-2.0 */

/* base/mutant.h - bugs built in on purpose, to see that the tests find them.
 *
 * In every build that is shipped DLHT_MUTANT is the constant 0 and nothing is
 * left of them. With -DDLHT_MUTANTS=ON any program takes the number of one
 * from the environment variable DLHT_MUTANT. docs/testing.md lists them, and
 * scripts/mutants looks for each. */

#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#ifdef DLHT_MUTANTS
extern int mutant_number; /* src/mutant.c */
#define DLHT_MUTANT mutant_number
#else
#define DLHT_MUTANT 0
#endif

#endif
