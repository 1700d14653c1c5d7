/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of named figures, for people and for programs. */

#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS_MAX = 24,
    ROWS_MAX = 128,
    CELL_MAX = 64
};

struct cell {
    char people[CELL_MAX];
    char json[CELL_MAX + 2]; /* empty: no such figure in this row */
};

struct table {
    const struct bench_options *options;
    const char *name;
    const char *title;
    const char *columns[COLUMNS_MAX];
    size_t column_count;
    size_t row_count; /* ended */
    struct cell rows[ROWS_MAX][COLUMNS_MAX];
};

struct table *table_begin(const struct bench_options *options, const char *name,
                          const char *title)
{
    struct table *table = bench_memory(1, sizeof *table);
    table->options = options;
    table->name = name;
    table->title = title;
    return table;
}

static struct cell *cell_of(struct table *table, const char *column)
{
    size_t i = 0;
    while (i < table->column_count && strcmp(table->columns[i], column) != 0)
        i++;
    if (i == COLUMNS_MAX || table->row_count == ROWS_MAX)
        bench_die("a table that is too large");
    if (i == table->column_count)
        table->columns[table->column_count++] = column;
    return &table->rows[table->row_count][i];
}

void table_text(struct table *table, const char *column, const char *text)
{
    struct cell *cell = cell_of(table, column);
    snprintf(cell->people, sizeof cell->people, "%s", text);
    snprintf(cell->json, sizeof cell->json, "\"%s\"", cell->people);
}

void table_number(struct table *table, const char *column, double value,
                  int digits)
{
    struct cell *cell = cell_of(table, column);
    snprintf(cell->people, sizeof cell->people, "%.*f", digits, value);
    snprintf(cell->json, sizeof cell->json, "%.8g", value);
}

void table_end_row(struct table *table)
{
    const struct cell *row = table->rows[table->row_count++];
    if (!table->options->json)
        return;
    printf("{\"bench\": \"%s\", \"seed\": %llu", table->name,
           (unsigned long long)table->options->seed);
    for (size_t i = 0; i < table->column_count; i++)
        if (row[i].json[0])
            printf(", \"%s\": %s", table->columns[i], row[i].json);
    printf("}\n");
    fflush(stdout);
}

static void print_row(const struct table *table, size_t r, const int *widths)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct cell *cell = &table->rows[r][i];
        bool text = cell->json[0] == '"';
        printf("  %*s", text ? -widths[i] : widths[i],
               cell->json[0] ? cell->people : "-");
    }
    printf("\n");
}

void table_end(struct table *table, const char *note)
{
    int widths[COLUMNS_MAX];
    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = (int)strlen(table->columns[i]);
        for (size_t r = 0; r < table->row_count; r++) {
            int width = (int)strlen(table->rows[r][i].people);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    if (!table->options->json) {
        printf("%s (seed %llu)\n", table->title,
               (unsigned long long)table->options->seed);
        for (size_t i = 0; i < table->column_count; i++)
            printf("  %*s",
                   table->rows[0][i].json[0] == '"' ? -widths[i] : widths[i],
                   table->columns[i]);
        printf("\n");
        for (size_t r = 0; r < table->row_count; r++)
            print_row(table, r, widths);
        if (note)
            printf("  %s\n", note);
        fflush(stdout);
    }
    free(table);
}
