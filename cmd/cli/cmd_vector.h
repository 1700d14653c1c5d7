/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/cmd_vector.h - what the verbs of collections share. */

#ifndef CLI_CMD_VECTOR_H
#define CLI_CMD_VECTOR_H

#include "cli.h"
#include "options.h"
#include "vectors.h"

/* Options of the library by what the settings say. CLI_USAGE, with the error
 * said, if no collection is named. */
int vector_options(const struct cli *cli, struct dlht_options *options);

/* The numbers of --values, the caller's to free; NULL if it is not given. */
int vector_values(const struct cli *cli, const struct arguments *args,
                  float **values, uint32_t *dim);

/* Opens name, "-" for standard input, in the format of --format or by its
 * end. vectors_close, and fclose if it is not stdin, are the caller's if
 * CLI_DONE. */
int vector_open(const struct cli *cli, const struct arguments *args,
                const struct word *name, uint64_t ids_from,
                struct vectors_file *file);
void vector_close(struct vectors_file *file);

/* "name": the metadata, as it is. */
void vector_print_meta(const char *name, const char *meta);

/* Says on standard error that part of the ring is missing, if it is. */
void vector_say_partial(const struct dlht_hits *hits);

#endif
