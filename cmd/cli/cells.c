/* SPDX-License-Identifier: Apache-2.0 */

/* Fields of a document as cells of a table. */

#include "cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    BOUND_WIDTH = 24 /* columns of an arc's end in a table */
};

int cells_call(struct cli *cli, const struct dlht_request *request,
               struct dlht_result *result, struct document *document)
{
    int rc = cli_call(cli, request, result);

    if (rc != CLI_DONE)
        return rc;
    if (document_open(document, result->value))
        return CLI_DONE;
    document_close(document);
    return cli_fail(cli, DLHT_EPROTO, "the answer is no document");
}

void cells_text(struct output_table *table, const msgpack_object *row,
                const char *name)
{
    char cell[CELL_MAX];

    output_table_add(table, output_printable(document_bytes(row, name), 64,
                                             cell, sizeof(cell)));
}

void cells_u64(struct output_table *table, const msgpack_object *row,
               const char *name)
{
    char cell[CELL_MAX];

    snprintf(cell, sizeof(cell), "%" PRIu64, document_u64(row, name));
    output_table_add(table, cell);
}

void cells_hex(struct output_table *table, const msgpack_object *row,
               const char *name)
{
    char cell[CELL_MAX];

    snprintf(cell, sizeof(cell), "%" PRIx64, document_u64(row, name));
    output_table_add(table, cell);
}

void cells_size(struct output_table *table, const msgpack_object *row,
                const char *name)
{
    char cell[CELL_MAX];

    output_table_add(table,
                     output_size(document_u64(row, name), cell, sizeof(cell)));
}

char *cells_bound_text(const msgpack_object *row, const char *name, char *text,
                       size_t size)
{
    struct dlht_bytes key = document_bytes(row, name);

    if (!document_has(row, name))
        snprintf(text, size, "(end)");
    else if (key.len == 0)
        snprintf(text, size, "(begin)");
    else
        output_printable(key, BOUND_WIDTH, text, size);
    return text;
}

void cells_bound(struct output_table *table, const msgpack_object *row,
                 const char *name)
{
    char cell[CELL_MAX];

    output_table_add(table, cells_bound_text(row, name, cell, sizeof(cell)));
}

char *cells_list_text(const msgpack_object *row, const char *name, char *text,
                      size_t size)
{
    const msgpack_object *list = document_field(row, name);
    size_t used = 0;

    text[0] = 0;
    if (!list || list->type != MSGPACK_OBJECT_ARRAY)
        return text;
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *item = &list->via.array.ptr[i];
        char one[80];
        int n;
        if (item->type != MSGPACK_OBJECT_STR)
            continue;
        output_printable(
            (struct dlht_bytes){ item->via.str.ptr, item->via.str.size }, 64,
            one, sizeof(one));
        n = snprintf(text + used, size - used, "%s%s", used ? " " : "", one);
        if (n < 0 || (size_t)n >= size - used)
            break;
        used += (size_t)n;
    }
    return text;
}

void cells_list(struct output_table *table, const msgpack_object *row,
                const char *name)
{
    char cell[CELL_MAX];

    output_table_add(table, cells_list_text(row, name, cell, sizeof(cell)));
}

void cells_share(struct output_table *table, const msgpack_object *row,
                 const char *name)
{
    char cell[CELL_MAX] = "-";

    if (document_has(row, name))
        snprintf(cell, sizeof(cell), "%.4g", document_f64(row, name));
    output_table_add(table, cell);
}

char *cells_age_text(double seconds, char *text, size_t size)
{
    static const struct {
        double at_least;
        double unit;
        const char *name;
    } units[] = { { 172800, 86400, "d" },
                  { 7200, 3600, "h" },
                  { 120, 60, "min" } };

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (seconds >= units[i].at_least) {
            snprintf(text, size, "%.0f %s", seconds / units[i].unit,
                     units[i].name);
            return text;
        }
    }
    snprintf(text, size, "%.0f s", seconds);
    return text;
}

void cells_age(struct output_table *table, const msgpack_object *row,
               const char *name)
{
    char cell[CELL_MAX] = "-";

    if (document_has(row, name))
        cells_age_text(document_f64(row, name), cell, sizeof(cell));
    output_table_add(table, cell);
}
