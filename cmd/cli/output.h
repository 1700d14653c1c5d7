/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/output.h - answers on standard output: JSON objects of one line
 * each, aligned tables, bytes and quantities for people.
 *
 * An object is output_begin, then fields, then output_end. Bytes that are not
 * UTF-8 become {"base64": "..."}. */

#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlht/dlht.h"

void output_begin(void);
void output_end(void);
void output_text(const char *name, const char *text);
void output_bytes(const char *name, struct dlht_bytes bytes);
void output_u64(const char *name, uint64_t number);
void output_i64(const char *name, int64_t number);
void output_f64(const char *name, double number);
void output_flag(const char *name, bool yes);

/* Only the name and its colon: the value is written by output_value_... */
void output_name(const char *name);
void output_value_bytes(struct dlht_bytes bytes);
void output_value_f64(double number); /* null if not finite */

/* The bytes as they are. */
void output_raw(struct dlht_bytes bytes);

/* For people: printable UTF-8 stays, other bytes as \xHH, cut to at most
 * width columns with "..." at the end. Returns text. */
char *output_printable(struct dlht_bytes bytes, size_t width, char *text,
                       size_t text_size);

/* "12.5 MiB", "640 B". Returns text. */
char *output_size(uint64_t bytes, char *text, size_t text_size);

bool output_is_utf8(struct dlht_bytes bytes);

/* False if something could not be written to standard output. */
bool output_flush(void);

/* A table: the head gives column names, '>' before a name right-aligns it.
 * Cells are added row by row, copied. On no memory rows are lost and
 * table_print says so. */
enum {
    OUTPUT_COLUMNS_MAX = 16
};

struct output_table {
    const char *const *head;
    size_t columns;
    char **cells; /* owned */
    size_t count;
    size_t cap;
    bool failed;
};

void output_table_init(struct output_table *table, const char *const *head,
                       size_t columns);
void output_table_add(struct output_table *table, const char *cell);
/* Prints and frees; no rows: only the head. */
void output_table_end(struct output_table *table);

#endif
