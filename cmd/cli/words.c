/* SPDX-License-Identifier: Apache-2.0 */

/* Cutting lines into words. */

#include "words.h"

#include <stdlib.h>
#include <string.h>

struct cutter {
    const char *line;
    size_t len;
    size_t at;
    char *out; /* room for len + one zero a word */
    size_t used;
    const char *why;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* at stands on a backslash. In double quotes only some characters are escaped,
 * else the backslash stays. */
static bool take_escape(struct cutter *c, bool in_double)
{
    char next;

    if (c->at + 1 >= c->len) {
        c->why = "a backslash at the end of the line escapes nothing";
        return false;
    }
    next = c->line[c->at + 1];
    if (next == 'x') {
        int high = c->at + 2 < c->len ? hex_value(c->line[c->at + 2]) : -1;
        int low = c->at + 3 < c->len ? hex_value(c->line[c->at + 3]) : -1;
        if (high < 0 || low < 0) {
            c->why = "\\x needs two hexadecimal digits, as in \\x0a";
            return false;
        }
        c->out[c->used++] = (char)(high * 16 + low);
        c->at += 4;
        return true;
    }
    if (in_double && next != '"' && next != '\\') {
        c->out[c->used++] = '\\';
        c->at++;
        return true;
    }
    c->out[c->used++] = next;
    c->at += 2;
    return true;
}

/* at stands on the opening quote; ends behind the closing one. */
static bool take_quoted(struct cutter *c)
{
    char quote = c->line[c->at++];

    while (c->at < c->len && c->line[c->at] != quote) {
        if (quote == '"' && c->line[c->at] == '\\') {
            if (!take_escape(c, true))
                return false;
        } else {
            c->out[c->used++] = c->line[c->at++];
        }
    }
    if (c->at == c->len) {
        c->why = "a quote is not closed";
        return false;
    }
    c->at++;
    return true;
}

static bool take_word(struct cutter *c, struct word *word)
{
    word->data = c->out + c->used;
    word->quoted = false;
    while (c->at < c->len && !is_blank(c->line[c->at])) {
        char next = c->line[c->at];
        if (next == '"' || next == '\'') {
            word->quoted = true;
            if (!take_quoted(c))
                return false;
        } else if (next == '\\') {
            word->quoted = true;
            if (!take_escape(c, false))
                return false;
        } else {
            c->out[c->used++] = next;
            c->at++;
        }
    }
    word->len = (size_t)(c->out + c->used - word->data);
    c->out[c->used++] = 0;
    return true;
}

bool words_split(const char *line, size_t len, struct words *words,
                 const char **why)
{
    /* A word takes a byte at least and a blank or the end behind it. */
    size_t words_max = len / 2 + 1;
    struct cutter c = { line, len, 0, NULL, 0, "out of memory" };

    memset(words, 0, sizeof(*words));
    words->list = calloc(words_max, sizeof(*words->list));
    words->bytes = malloc(len + words_max + 1);
    c.out = words->bytes;
    if (!words->list || !words->bytes)
        goto fail;
    for (;;) {
        while (c.at < len && is_blank(line[c.at]))
            c.at++;
        if (c.at == len)
            return true;
        if (!take_word(&c, &words->list[words->count]))
            goto fail;
        words->count++;
    }
fail:
    *why = c.why;
    words_deinit(words);
    return false;
}

bool words_of_argv(char *const *argv, size_t count, struct words *words)
{
    memset(words, 0, sizeof(*words));
    words->list = calloc(count + 1, sizeof(*words->list));
    if (!words->list)
        return false;
    for (size_t i = 0; i < count; i++) {
        words->list[i].data = argv[i];
        words->list[i].len = strlen(argv[i]);
    }
    words->count = count;
    return true;
}

void words_deinit(struct words *words)
{
    free(words->list);
    free(words->bytes);
    memset(words, 0, sizeof(*words));
}

struct dlht_bytes word_bytes(const struct word *word)
{
    return (struct dlht_bytes){ word->data, word->len };
}
