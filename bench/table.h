/* SPDX-License-Identifier: Apache-2.0 */

/* bench/table.h - rows of named figures, for people and for programs.
 *
 * A row is filled cell by cell; columns stand in the order in which they were
 * first named. As JSON each row is an object on a line of its own, written
 * when it ends; for people all are written, aligned, when the table ends. */

#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "bench.h"

struct table;

/* name: of the measurement, in JSON. title: above the table for people. */
struct table *table_begin(const struct bench_options *options, const char *name,
                          const char *title);
void table_text(struct table *table, const char *column, const char *text);
/* For people with so many digits after the point. */
void table_number(struct table *table, const char *column, double value,
                  int digits);
void table_end_row(struct table *table);
/* Writes it, with a note below (NULL: none), and frees it. */
void table_end(struct table *table, const char *note);

#endif
