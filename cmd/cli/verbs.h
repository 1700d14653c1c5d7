/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/verbs.h - the one table of verbs. Parsing, help, the shell and its
 * completion all read it. */

#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "cli.h"
#include "options.h"

/* Ends with a NULL name. */
extern const struct verb verbs_table[];

/* The verb that words begin with, and how many words its name took; NULL if
 * there is none. */
const struct verb *verbs_find(const struct word *words, size_t count,
                              size_t *taken);

/* Runs one command, given as words; its exit code. Settings changed by its
 * options hold for it alone. */
int verbs_run(struct cli *cli, const struct word *words, size_t count);

void verbs_help(void);
void verbs_help_one(const struct verb *verb);

#endif
