/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/shell.h - commands one a line: from standard input when it is no
 * terminal, else with editing, history and completion.
 *
 * Besides the verbs: help [VERB], use KEYSPACE, exit. A line that begins with
 * # is a comment. */

#ifndef CLI_SHELL_H
#define CLI_SHELL_H

#include "cli.h"

/* Runs to the end of input or `exit`. From a pipe the exit code is the
 * greatest that a line had; at a terminal CLI_DONE. */
int shell_piped(struct cli *cli);
int shell_interactive(struct cli *cli);

#endif
