/* SPDX-License-Identifier: Apache-2.0 */

/* Writing answers: JSON, tables, quantities. */

#include "output.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

static bool first_field;

/* Length of the UTF-8 sequence that begins at p, 0 if there is none. Overlong
 * forms, surrogates and numbers past U+10FFFF are none. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    uint32_t code;

    if (n == 1)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < n)
        return 0;
    code = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        code = (code << 6) | (p[i] & 0x3Fu);
    }
    if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000) ||
        (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF)
        return 0;
    return n;
}

bool output_is_utf8(struct dlht_bytes bytes)
{
    const uint8_t *p = bytes.data;

    for (size_t i = 0; i < bytes.len;) {
        size_t n = utf8_length(p + i, bytes.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void json_string(struct dlht_bytes bytes)
{
    const uint8_t *p = bytes.data;

    putchar('"');
    for (size_t i = 0; i < bytes.len; i++) {
        if (p[i] == '"' || p[i] == '\\')
            printf("\\%c", p[i]);
        else if (p[i] == '\n')
            fputs("\\n", stdout);
        else if (p[i] == '\t')
            fputs("\\t", stdout);
        else if (p[i] < 0x20 || p[i] == 0x7F)
            printf("\\u%04x", p[i]);
        else
            putchar(p[i]);
    }
    putchar('"');
}

void output_value_bytes(struct dlht_bytes bytes)
{
    char *text;

    if (output_is_utf8(bytes)) {
        json_string(bytes);
        return;
    }
    text = base64_encode(bytes.data, bytes.len);
    printf("{\"base64\": \"%s\"}", text ? text : "");
    free(text);
}

void output_value_f64(double number)
{
    char text[40];

    if (!isfinite(number)) {
        fputs("null", stdout);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    fputs(text, stdout);
}

void output_begin(void)
{
    putchar('{');
    first_field = true;
}

void output_end(void)
{
    fputs("}\n", stdout);
}

void output_name(const char *name)
{
    if (!first_field)
        fputs(", ", stdout);
    first_field = false;
    output_value_bytes((struct dlht_bytes){ name, strlen(name) });
    fputs(": ", stdout);
}

void output_text(const char *name, const char *text)
{
    output_bytes(name, (struct dlht_bytes){ text, strlen(text) });
}

void output_bytes(const char *name, struct dlht_bytes bytes)
{
    output_name(name);
    output_value_bytes(bytes);
}

void output_u64(const char *name, uint64_t number)
{
    output_name(name);
    printf("%" PRIu64, number);
}

void output_i64(const char *name, int64_t number)
{
    output_name(name);
    printf("%" PRId64, number);
}

void output_f64(const char *name, double number)
{
    output_name(name);
    output_value_f64(number);
}

void output_flag(const char *name, bool yes)
{
    output_name(name);
    fputs(yes ? "true" : "false", stdout);
}

void output_raw(struct dlht_bytes bytes)
{
    if (bytes.len)
        fwrite(bytes.data, 1, bytes.len, stdout);
}

/* The next character of bytes at p: how many bytes it is, and whether it is
 * shown as it is, in one column, or as \xHH, in four. */
static size_t next_character(const uint8_t *p, size_t left, bool *plain)
{
    size_t n = utf8_length(p, left);

    *plain = n > 1 || (n == 1 && p[0] >= 0x20 && p[0] < 0x7F);
    return *plain ? n : 1;
}

static size_t printable_width(struct dlht_bytes bytes)
{
    const uint8_t *p = bytes.data;
    size_t width = 0;
    bool plain;

    for (size_t i = 0; i < bytes.len; width += plain ? 1 : 4)
        i += next_character(p + i, bytes.len - i, &plain);
    return width;
}

char *output_printable(struct dlht_bytes bytes, size_t width, char *text,
                       size_t text_size)
{
    static const char dots[] = "...";
    const uint8_t *p = bytes.data;
    size_t room = printable_width(bytes) <= width ? width : width - 3;
    size_t columns = 0;
    size_t used = 0;

    assert(text_size > 8 && width >= 4);
    for (size_t i = 0; i < bytes.len;) {
        bool plain;
        size_t n = next_character(p + i, bytes.len - i, &plain);
        columns += plain ? 1 : 4;
        if (columns > room || used + 4 + sizeof(dots) > text_size) {
            memcpy(text + used, dots, sizeof(dots));
            return text;
        }
        if (plain)
            memcpy(text + used, p + i, n);
        else
            snprintf(text + used, text_size - used, "\\x%02x", p[i]);
        used += plain ? n : 4;
        i += n;
    }
    text[used] = 0;
    return text;
}

char *output_size(uint64_t bytes, char *text, size_t text_size)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
    double size = (double)bytes;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(text, text_size, "%" PRIu64 " B", bytes);
        return text;
    }
    for (size /= 1024; size >= 1024 && unit < 4; unit++)
        size /= 1024;
    snprintf(text, text_size, "%.1f %s", size, units[unit]);
    return text;
}

bool output_flush(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}

void output_table_init(struct output_table *table, const char *const *head,
                       size_t columns)
{
    assert(columns > 0 && columns <= OUTPUT_COLUMNS_MAX);
    memset(table, 0, sizeof(*table));
    table->head = head;
    table->columns = columns;
}

void output_table_add(struct output_table *table, const char *cell)
{
    if (table->count == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 64;
        char **cells = realloc(table->cells, cap * sizeof(*cells));
        if (!cells) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->cap = cap;
    }
    table->cells[table->count] = strdup(cell);
    if (!table->cells[table->count])
        table->failed = true;
    else
        table->count++;
}

/* Columns that text takes at a terminal, one a character. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((uint8_t)*text & 0xC0) != 0x80;
    return width;
}

static const char *head_name(const char *head)
{
    return *head == '>' ? head + 1 : head;
}

static void print_cell(const struct output_table *table, size_t column,
                       const char *cell, size_t width)
{
    size_t pad = width - text_width(cell);
    bool right = *table->head[column] == '>';
    bool last = column + 1 == table->columns;

    printf("%*s%s%*s%s", right ? (int)pad : 0, "", cell,
           right || last ? 0 : (int)pad, "", last ? "\n" : "  ");
}

void output_table_end(struct output_table *table)
{
    size_t width[OUTPUT_COLUMNS_MAX];
    size_t rows = table->count / table->columns;

    for (size_t c = 0; c < table->columns; c++) {
        width[c] = text_width(head_name(table->head[c]));
        for (size_t r = 0; r < rows; r++) {
            size_t w = text_width(table->cells[r * table->columns + c]);
            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (size_t c = 0; c < table->columns; c++)
        print_cell(table, c, head_name(table->head[c]), width[c]);
    for (size_t i = 0; i < rows * table->columns; i++)
        print_cell(table, i % table->columns, table->cells[i],
                   width[i % table->columns]);
    if (table->failed)
        fputs("dlht-cli: out of memory: rows are missing\n", stderr);
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}
