/* SPDX-License-Identifier: Apache-2.0 */

/* Lines of a file, some of them twice. */

#include "lines.h"

#include <stdlib.h>
#include <string.h>

void lines_begin(struct lines *lines, FILE *file)
{
    memset(lines, 0, sizeof(*lines));
    lines->file = file;
    lines->from = ftello(file);
    /* A terminal may say that it stands somewhere; it cannot go back. */
    lines->seeks = lines->from >= 0 && fseeko(file, lines->from, SEEK_SET) == 0;
    lines->holding = true;
}

void lines_deinit(struct lines *lines)
{
    free(lines->line);
    free(lines->held);
    memset(lines, 0, sizeof(*lines));
}

static bool hold(struct lines *lines, const char *line, size_t len)
{
    size_t need = lines->held_len + len + 1;

    if (need > lines->held_cap) {
        size_t cap = lines->held_cap ? 2 * lines->held_cap : 65536;
        char *held;
        if (cap < need)
            cap = need;
        held = realloc(lines->held, cap);
        if (!held)
            return false;
        lines->held = held;
        lines->held_cap = cap;
    }
    if (len)
        memcpy(lines->held + lines->held_len, line, len);
    lines->held[need - 1] = '\n';
    lines->held_len = need;
    return true;
}

/* From what was held; there is some. */
static void next_held(struct lines *lines, char **line, size_t *len)
{
    char *at = lines->held + lines->held_at;
    const char *end = memchr(at, '\n', lines->held_len - lines->held_at);

    *line = at;
    *len = (size_t)(end - at);
    lines->held_at += *len + 1;
}

bool lines_next(struct lines *lines, char **line, size_t *len)
{
    ssize_t n;

    if (lines->failed)
        return false;
    if (!lines->holding && lines->held_at < lines->held_len) {
        next_held(lines, line, len);
        return true;
    }
    n = getline(&lines->line, &lines->cap, lines->file);
    if (n < 0)
        return false;
    if (n > 0 && lines->line[n - 1] == '\n')
        n--;
    *line = lines->line;
    *len = (size_t)n;
    if (lines->holding && !lines->seeks && !hold(lines, *line, *len))
        lines->failed = true;
    return !lines->failed;
}

bool lines_again(struct lines *lines)
{
    lines->holding = false;
    lines->held_at = 0;
    return !lines->seeks || fseeko(lines->file, lines->from, SEEK_SET) == 0;
}

bool lines_must_hold(const struct lines *lines)
{
    return !lines->seeks;
}

size_t lines_held_bytes(const struct lines *lines)
{
    return lines->held_len;
}
