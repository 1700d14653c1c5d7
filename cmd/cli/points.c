/* SPDX-License-Identifier: Apache-2.0 */

/* Reading and printing points. */

#include "points.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 512,
    DECIMALS_MAX = 12, /* then digits are counted from the first one */
    DIGITS_MAX = 17    /* tell all doubles apart */
};

/* One number that ends at a comma or the end; NULL: it is none. */
static const char *take_number(const char *at, double *number)
{
    char *end;

    *number = strtod(at, &end);
    if (end == at)
        return NULL;
    end += strspn(end, " ");
    return *end == ',' || *end == 0 ? end : NULL;
}

bool points_parse(struct dlht_bytes text, double *numbers, size_t *count,
                  const char **why)
{
    char copy[TEXT_MAX];
    const char *at = copy;

    *count = 0;
    *why = "numbers with commas are meant, as in 48.8566,2.3522";
    if (text.len == 0 || text.len >= sizeof(copy) ||
        memchr(text.data, 0, text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    for (;;) {
        if (*count == DLHT_BOX_DIMS_MAX) {
            *why = "there are more than 8 coordinates";
            return false;
        }
        at = take_number(at, &numbers[*count]);
        if (!at)
            return false;
        if (!isfinite(numbers[(*count)++])) {
            *why = "a coordinate is not a finite number";
            return false;
        }
        if (*at++ == 0)
            return true;
    }
}

bool points_fit(const struct dlht_box_grid *grid, const double *point,
                size_t count, struct dlht_box_key *key, const char **why)
{
    static char text[160];

    *why = text;
    if (count != grid->dims) {
        snprintf(text, sizeof(text),
                 "%zu coordinates, where %u are meant (--dims)", count,
                 grid->dims);
        return false;
    }
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (point[i] >= grid->min[i] && point[i] <= grid->max[i])
            continue;
        snprintf(text, sizeof(text),
                 "coordinate %u is %.12g, outside %.12g to %.12g (see --min, "
                 "--max, --bits, --latlon)",
                 i + 1, point[i], grid->min[i], grid->max[i]);
        return false;
    }
    *why = "not a point of the grid";
    return dlht_box_key(grid, point, key) == DLHT_OK;
}

bool points_key(const struct dlht_box_grid *grid, struct dlht_bytes text,
                struct dlht_box_key *key, const char **why)
{
    double point[DLHT_BOX_DIMS_MAX];
    size_t count;

    return points_parse(text, point, &count, why) &&
           points_fit(grid, point, count, key, why);
}

/* Whether text is in the cell of the point's i-th coordinate. */
static bool is_same_cell(const struct dlht_box_grid *grid, const double *point,
                         uint32_t i, const char *text)
{
    struct dlht_box_key a, b;
    double other[DLHT_BOX_DIMS_MAX];
    double number = strtod(text, NULL);
    double cells = ldexp(1, (int)grid->bits) - 1;

    /* The quick answer to most. */
    if (fabs(number - point[i]) > (grid->max[i] - grid->min[i]) / cells)
        return false;
    memcpy(other, point, grid->dims * sizeof(*point));
    other[i] = number;
    return dlht_box_key(grid, point, &a) == DLHT_OK &&
           dlht_box_key(grid, other, &b) == DLHT_OK &&
           memcmp(a.data, b.data, a.len) == 0;
}

static void print_number(const struct dlht_box_grid *grid, const double *point,
                         uint32_t i)
{
    char text[64];
    bool is_found = false;
    bool is_plain = fabs(point[i]) < 1e15;

    for (int n = 0; is_plain && !is_found && n <= DECIMALS_MAX; n++) {
        snprintf(text, sizeof(text), "%.*f", n, point[i]);
        is_found = is_same_cell(grid, point, i, text);
    }
    for (int n = 1; !is_found && n <= DIGITS_MAX; n++) {
        snprintf(text, sizeof(text), "%.*g", n, point[i]);
        is_found = is_same_cell(grid, point, i, text);
    }
    fputs(strtod(text, NULL) == 0 ? "0" : text, stdout);
}

void points_print(const struct dlht_box_grid *grid, const double *point)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (i > 0)
            putchar(',');
        print_number(grid, point, i);
    }
}
