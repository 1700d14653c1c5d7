/* SPDX-License-Identifier: Apache-2.0 */

/* Reading requests in place, writing answers. */

#include "net/resp.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void resp_args_deinit(struct resp_args *args)
{
    free(args->list);
    buf_deinit(&args->scratch);
    memset(args, 0, sizeof *args);
}

static bool args_add(struct resp_args *args, struct span word)
{
    if (args->count == args->cap) {
        size_t cap = args->cap ? args->cap * 2 : 16;
        struct span *grown = mem_resize(args->list, cap, sizeof *grown);
        if (!grown)
            return false;
        args->list = grown;
        args->cap = cap;
    }
    args->list[args->count++] = word;
    return true;
}

static enum resp_result args_bad(struct resp_args *args, const char *why)
{
    snprintf(args->error, sizeof args->error, "Protocol error: %.64s", why);
    return RESP_BAD;
}

/* Numbers. */

bool resp_to_int(struct span text, int64_t *out)
{
    const uint8_t *p = text.data;
    size_t len = text.len;
    if (len == 0 || len > 20)
        return false;
    bool negative = p[0] == '-';
    size_t i = negative;
    if (i == len || p[i] < '0' || p[i] > '9')
        return false;
    if (p[i] == '0') {
        *out = 0;
        return len == 1;
    }
    uint64_t n = 0;
    for (; i < len; i++) {
        unsigned digit = (unsigned)(p[i] - '0');
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    uint64_t max = (uint64_t)INT64_MAX + negative;
    if (n > max)
        return false;
    *out = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool resp_to_double(struct span text, long double *out)
{
    char word[256], *end;
    if (text.len == 0 || text.len >= sizeof word ||
        isspace((unsigned char)text.data[0]) || memchr(text.data, 0, text.len))
        return false;
    memcpy(word, text.data, text.len);
    word[text.len] = 0;
    errno = 0;
    *out = strtold(word, &end);
    if (*end || isnan(*out))
        return false;
    return errno != ERANGE || (!isinf(*out) && fpclassify(*out) != FP_ZERO);
}

size_t resp_uint_text(uint64_t value, char *out)
{
    char digits[RESP_INT_MAX];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

size_t resp_int_text(int64_t value, char *out)
{
    if (value >= 0)
        return resp_uint_text((uint64_t)value, out);
    out[0] = '-';
    return 1 + resp_uint_text(0 - (uint64_t)value, out + 1);
}

size_t resp_double_text(long double value, char *out)
{
    int n = snprintf(out, RESP_DOUBLE_MAX, "%.17Lf", value);
    assert(n > 0 && n < RESP_DOUBLE_MAX);
    size_t len = (size_t)n;
    if (memchr(out, '.', len)) {
        while (out[len - 1] == '0')
            len--;
        if (out[len - 1] == '.')
            len--;
    }
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        len = 1;
    }
    return len;
}

/* Requests. */

enum {
    PLAIN_DIGITS = 6 /* of a number */
};

/* "*3\r\n" or "$16\r\n", of which *at is set to the end; false: neither, or
 * not whole, or not usual. */
static bool plain_number(const uint8_t **at, const uint8_t *end, uint8_t mark,
                         size_t *out)
{
    const uint8_t *p = *at;
    if (end - p < 4 || p[0] != mark)
        return false;
    size_t n = (size_t)(p[1] - '0');
    if (n > 9 || (n == 0 && p[2] != '\r'))
        return false;
    size_t digits = 1;
    for (p += 2; p < end && *p != '\r'; p++) {
        size_t digit = (size_t)(*p - '0');
        if (digit > 9 || ++digits > PLAIN_DIGITS)
            return false;
        n = n * 10 + digit;
    }
    if (end - p < 2 || p[1] != '\n')
        return false;
    *at = p + 2;
    *out = n;
    return true;
}

static bool peek_one(const uint8_t **at, const uint8_t *end,
                     struct resp_plain *plain)
{
    size_t len;
    if (!plain_number(at, end, '*', &plain->count) || plain->count < 2 ||
        plain->count > RESP_PLAIN_WORDS)
        return false;
    for (size_t i = 0; i < plain->count; i++) {
        if (!plain_number(at, end, '$', &len) || (size_t)(end - *at) < len + 2)
            return false;
        if (i < RESP_PLAIN_KEPT)
            plain->words[i] = span_of(*at, len);
        *at += len + 2;
    }
    return true;
}

size_t resp_peek(struct span input, struct resp_plain *list, size_t max)
{
    const uint8_t *at = input.data;
    size_t count = 0;
    while (count < max && input.len > 0 &&
           peek_one(&at, input.data + input.len, &list[count])) {
        list[count].end = (size_t)(at - input.data);
        count++;
    }
    return count;
}

/* The number between at and the next line end. 1: *at is behind it; 0: not
 * there yet; -1: too long. */
static int line_number(struct span input, size_t *at, bool *good, int64_t *out)
{
    const uint8_t *p = input.data + *at;
    size_t left = input.len - *at;
    size_t look = left < RESP_LINE_MAX + 1 ? left : RESP_LINE_MAX + 1;
    const uint8_t *end = memchr(p, '\r', look);
    if (!end)
        return left > RESP_LINE_MAX ? -1 : 0;
    size_t len = (size_t)(end - p);
    if (left - len < 2)
        return 0;
    *good = resp_to_int(span_of(p, len), out);
    *at += len + 2;
    return 1;
}

/* The common case of line_number: one or two digits, all there. Bytes taken;
 * 0: it is not so. */
static inline size_t short_number(const uint8_t *p, size_t left, int64_t *out)
{
    if (left < 4 || (unsigned)(p[0] - '1') > 8)
        return 0;
    if (p[1] == '\r') {
        *out = p[0] - '0';
        return p[2] == '\n' ? 3 : 0;
    }
    *out = (p[0] - '0') * 10 + (p[1] - '0');
    return (unsigned)(p[1] - '0') < 10 && p[2] == '\r' && p[3] == '\n' ? 4 : 0;
}

/* Bulk strings from scan->at on; taken: are kept in args. */
static enum resp_result parse_bulks(struct resp_scan *scan, struct span input,
                                    struct resp_args *args, bool kept)
{
    while (scan->left) {
        size_t at = scan->at;
        int64_t len = 0;
        bool good = false;
        if (at == input.len)
            return RESP_MORE;
        if (input.data[at] != '$') {
            char why[RESP_ERROR_MAX / 2];
            snprintf(why, sizeof why, "expected '$', got '%c'", input.data[at]);
            /* Redis looks at the line's end first. */
            if (line_number(input, &at, &good, &len) == 0)
                return RESP_MORE;
            return args_bad(args, why);
        }
        at++;
        size_t taken = short_number(input.data + at, input.len - at, &len);
        int there = 1;
        at += taken;
        if (taken == 0)
            there = line_number(input, &at, &good, &len);
        if (there == 0)
            return RESP_MORE;
        if (there < 0)
            return args_bad(args, "too big bulk count string");
        if (taken == 0 && (!good || len < 0 || len > RESP_BULK_MAX))
            return args_bad(args, "invalid bulk length");
        if (at + (size_t)len > RESP_REQUEST_MAX)
            return args_bad(args, "too big request");
        if (input.len - at < (size_t)len + 2)
            return RESP_MORE;
        if (kept && !args_add(args, span_of(input.data + at, (size_t)len)))
            return RESP_NO_MEMORY;
        scan->at = at + (size_t)len + 2;
        scan->left--;
    }
    return RESP_REQUEST;
}

static enum resp_result parse_array(struct resp_scan *scan, struct span input,
                                    struct resp_args *args, size_t *used)
{
    bool kept = !scan->resumed;
    if (scan->at == 0) {
        size_t at = 1;
        int64_t count = 0;
        bool good = true;
        size_t taken = short_number(input.data + at, input.len - at, &count);
        int there = 1;
        at += taken;
        if (taken == 0)
            there = line_number(input, &at, &good, &count);
        if (there == 0)
            return RESP_MORE;
        if (there < 0)
            return args_bad(args, "too big mbulk count string");
        if (!good || count > RESP_ARGS_MAX)
            return args_bad(args, "invalid multibulk length");
        scan->at = at;
        scan->left = count > 0 ? (uint32_t)count : 0;
    }
    enum resp_result rc = parse_bulks(scan, input, args, kept);
    if (rc == RESP_MORE)
        scan->resumed = true;
    if (rc != RESP_REQUEST)
        return rc;
    *used = scan->at;
    memset(scan, 0, sizeof *scan);
    if (kept)
        return rc;
    /* It came in pieces: once more from the start, now that all is there. */
    return parse_array(scan, span_of(input.data, *used), args, used);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint8_t escape_of(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* A quoted part from the quote at *at on, into scratch, which has room. False:
 * unbalanced. */
static bool take_quoted(struct span line, size_t *at, struct buf *scratch)
{
    uint8_t quote = line.data[*at];
    size_t i = *at + 1;
    for (; i < line.len && line.data[i] != quote; i++) {
        const uint8_t *p = line.data + i;
        size_t left = line.len - i;
        uint8_t c = p[0];
        if (quote == '"' && c == '\\' && left > 3 && p[1] == 'x' &&
            hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0) {
            c = (uint8_t)(hex_digit(p[2]) * 16 + hex_digit(p[3]));
            i += 3;
        } else if (quote == '"' && c == '\\' && left > 1) {
            c = escape_of(p[1]);
            i++;
        } else if (quote == '\'' && c == '\\' && left > 1 && p[1] == '\'') {
            c = '\'';
            i++;
        }
        scratch->data[scratch->len++] = c;
    }
    *at = i + 1;
    return i < line.len && (*at == line.len || is_space(line.data[*at]));
}

static enum resp_result parse_words(struct span line, struct resp_args *args)
{
    buf_reset(&args->scratch);
    if (buf_reserve(&args->scratch, line.len + 1) != 0)
        return RESP_NO_MEMORY;
    size_t at = 0;
    for (;;) {
        while (at < line.len && (is_space(line.data[at]) || !line.data[at]))
            at++;
        if (at == line.len)
            return RESP_REQUEST;
        size_t begin = args->scratch.len;
        bool ended = false;
        while (!ended && at < line.len && line.data[at] &&
               !is_space(line.data[at])) {
            uint8_t c = line.data[at];
            if (c == '"' || c == '\'') {
                if (!take_quoted(line, &at, &args->scratch))
                    return args_bad(args, "unbalanced quotes in request");
                ended = true;
            } else {
                args->scratch.data[args->scratch.len++] = c;
                at++;
            }
        }
        if (!args_add(args, span_of(args->scratch.data + begin,
                                    args->scratch.len - begin)))
            return RESP_NO_MEMORY;
    }
}

static enum resp_result parse_inline(struct resp_scan *scan, struct span input,
                                     struct resp_args *args, size_t *used)
{
    size_t look = input.len < RESP_LINE_MAX + 1 ? input.len : RESP_LINE_MAX + 1;
    const uint8_t *end =
        scan->at < look ? memchr(input.data + scan->at, '\n', look - scan->at)
                        : NULL;
    if (!end) {
        scan->at = look;
        return look > RESP_LINE_MAX ? args_bad(args, "too big inline request")
                                    : RESP_MORE;
    }
    memset(scan, 0, sizeof *scan);
    size_t len = (size_t)(end - input.data);
    *used = len + 1;
    if (len && input.data[len - 1] == '\r')
        len--;
    return parse_words(span_of(input.data, len), args);
}

enum resp_result resp_parse(struct resp_scan *scan, struct span input,
                            struct resp_args *args, size_t *used)
{
    args->count = 0;
    if (input.len == 0)
        return RESP_MORE;
    return input.data[0] == '*' ? parse_array(scan, input, args, used)
                                : parse_inline(scan, input, args, used);
}

/* Answers. */

/* Where n more bytes may be written, or NULL. */
static uint8_t *room(struct buf *out, size_t n)
{
    if (out->failed || (out->cap - out->len < n && buf_reserve(out, n) != 0)) {
        out->failed = true;
        return NULL;
    }
    return out->data + out->len;
}

void resp_write(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void resp_write_simple(struct buf *out, const char *text)
{
    buf_append_byte(out, '+');
    resp_write(out, text);
    resp_write(out, "\r\n");
}

void resp_write_error(struct buf *out, struct span text)
{
    uint8_t *p = room(out, text.len + 3);
    if (!p)
        return;
    *p++ = '-';
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        *p++ = c == '\r' || c == '\n' ? ' ' : c;
    }
    memcpy(p, "\r\n", 2);
    out->len += text.len + 3;
}

/* mark, number, line end, and room for more behind. */
static void write_head(struct buf *out, char mark, int64_t value, size_t more)
{
    uint8_t *p = room(out, RESP_INT_MAX + 3 + more);
    if (!p)
        return;
    size_t n = 1;
    p[0] = (uint8_t)mark;
    if (value >= 0 && value < 10)
        p[n++] = (uint8_t)('0' + value);
    else
        n += resp_int_text(value, (char *)p + 1);
    p[n++] = '\r';
    p[n++] = '\n';
    out->len += n;
}

void resp_write_int(struct buf *out, int64_t value)
{
    write_head(out, ':', value, 0);
}

void resp_write_bulk(struct buf *out, struct span bytes)
{
    write_head(out, '$', (int64_t)bytes.len, bytes.len + 2);
    if (out->failed)
        return;
    uint8_t *p = out->data + out->len;
    if (bytes.len)
        memcpy(p, bytes.data, bytes.len);
    p[bytes.len] = '\r';
    p[bytes.len + 1] = '\n';
    out->len += bytes.len + 2;
}

void resp_write_bulk_head(struct buf *out, size_t len)
{
    write_head(out, '$', (int64_t)len, 0);
}

void resp_write_bulk_text(struct buf *out, const char *text)
{
    resp_write_bulk(out, span_str(text));
}

void resp_write_bulk_uint(struct buf *out, uint64_t value)
{
    char text[RESP_INT_MAX];
    resp_write_bulk(out, span_of(text, resp_uint_text(value, text)));
}

void resp_write_null(struct buf *out, bool resp3)
{
    resp_write(out, resp3 ? "_\r\n" : "$-1\r\n");
}

void resp_write_null_array(struct buf *out, bool resp3)
{
    resp_write(out, resp3 ? "_\r\n" : "*-1\r\n");
}

void resp_write_array(struct buf *out, size_t count)
{
    write_head(out, '*', (int64_t)count, 0);
}

void resp_write_map(struct buf *out, size_t pairs, bool resp3)
{
    write_head(out, resp3 ? '%' : '*', (int64_t)(resp3 ? pairs : 2 * pairs), 0);
}

void resp_write_set(struct buf *out, size_t count, bool resp3)
{
    write_head(out, resp3 ? '~' : '*', (int64_t)count, 0);
}

/* Patterns. */

/* The class behind '[' at *at; moves behind it. */
static bool class_has(struct span pattern, size_t *at, uint8_t c)
{
    const uint8_t *p = pattern.data;
    size_t i = *at + 1;
    bool turned = i < pattern.len && p[i] == '^', has = false;
    i += turned;
    while (i < pattern.len && p[i] != ']') {
        if (p[i] == '\\' && i + 1 < pattern.len) {
            i++;
            has = has || p[i] == c;
        } else if (i + 2 < pattern.len && p[i + 1] == '-') {
            uint8_t lo = p[i], hi = p[i + 2];
            if (lo > hi) {
                lo = p[i + 2];
                hi = p[i];
            }
            has = has || (c >= lo && c <= hi);
            i += 2;
        } else {
            has = has || p[i] == c;
        }
        i++;
    }
    *at = i < pattern.len ? i + 1 : i;
    return has != turned;
}

/* One character against what stands at *at, which is no star. */
static bool one_matches(struct span pattern, size_t *at, uint8_t c)
{
    const uint8_t *p = pattern.data;
    switch (p[*at]) {
    case '?':
        ++*at;
        return true;
    case '[':
        return class_has(pattern, at, c);
    case '\\':
        if (*at + 1 < pattern.len)
            ++*at;
        break;
    default:
        break;
    }
    return p[(*at)++] == c;
}

bool resp_glob(struct span pattern, struct span text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, back = 0; /* go on from here if it fails */
    while (t < text.len) {
        size_t next = p;
        if (p < pattern.len && pattern.data[p] == '*') {
            star = ++p;
            back = t;
        } else if (p < pattern.len &&
                   one_matches(pattern, &next, text.data[t])) {
            p = next;
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++back;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool resp_is(struct span text, const char *word)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + 32);
        if (c == 0 || c != (uint8_t)word[i])
            return false;
    }
    return word[text.len] == 0;
}
