/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/cells.h - fields of a document as cells of a table: the next cell of
 * table is the field `name` of row, in the way people read it. Absent fields
 * are empty cells, or 0 where the name says a number. */

#ifndef CLI_CELLS_H
#define CLI_CELLS_H

#include "cli.h"
#include "document.h"
#include "output.h"

enum {
    CELL_MAX = 512
};

/* A call answered with a document. document_close is the caller's if
 * CLI_DONE; else the error has been said. */
int cells_call(struct cli *cli, const struct dlht_request *request,
               struct dlht_result *result, struct document *document);

void cells_text(struct output_table *table, const msgpack_object *row,
                const char *name);
void cells_u64(struct output_table *table, const msgpack_object *row,
               const char *name);
void cells_hex(struct output_table *table, const msgpack_object *row,
               const char *name);
void cells_size(struct output_table *table, const msgpack_object *row,
                const char *name);

/* A number of few digits, for shares and errors; "-" if there is none. */
void cells_share(struct output_table *table, const msgpack_object *row,
                 const char *name);

/* "42 s", "3 h". */
void cells_age(struct output_table *table, const msgpack_object *row,
               const char *name);
char *cells_age_text(double seconds, char *text, size_t size);

/* A bound of an arc: (begin), (end) or the key. */
void cells_bound(struct output_table *table, const msgpack_object *row,
                 const char *name);
char *cells_bound_text(const msgpack_object *row, const char *name, char *text,
                       size_t size);

/* The strings of an array, with spaces between. */
void cells_list(struct output_table *table, const msgpack_object *row,
                const char *name);
char *cells_list_text(const msgpack_object *row, const char *name, char *text,
                      size_t size);

#endif
