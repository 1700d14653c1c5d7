/* SPDX-License-Identifier: Apache-2.0 */

/* Characters, escapes and numbers. */

#include "vector/meta_text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

size_t meta_text_char(struct span text)
{
    const uint8_t *p = text.data;
    if (text.len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || text.len < 2 || !is_tail(p[1]))
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if (text.len < 3 || !is_tail(p[2]))
        return 0;
    if (p[0] < 0xf0) {
        bool overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    bool overlong = p[0] == 0xf0 && p[1] < 0x90;
    bool beyond = p[0] > 0xf4 || (p[0] == 0xf4 && p[1] >= 0x90);
    if (text.len < 4 || !is_tail(p[3]) || overlong || beyond)
        return 0;
    return 4;
}

bool meta_text_is_utf8(struct span text, size_t *bad)
{
    size_t at = 0;
    while (at < text.len) {
        size_t n = meta_text_char(span_tail(text, at));
        if (n == 0) {
            *bad = at;
            return false;
        }
        at += n;
    }
    return true;
}

/* Four hexadecimal digits after a backslash and 'u', or -1. */
static int32_t read_unit(struct span text)
{
    int32_t unit = 0;
    if (text.len < 6 || text.data[0] != '\\' || text.data[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        uint8_t c = text.data[i];
        uint8_t low = c | 0x20;
        if (c >= '0' && c <= '9')
            unit = unit * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            unit = unit * 16 + (low - 'a' + 10);
        else
            return -1;
    }
    return unit;
}

static size_t put_char(uint32_t c, uint8_t out[META_ESCAPED_MAX])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static size_t unescape_unit(struct span text, uint8_t out[META_ESCAPED_MAX],
                            size_t *len, const char **why)
{
    int32_t unit = read_unit(text);
    *len = 6;
    *why = "four hexadecimal digits after \\u would be right";
    if (unit < 0)
        return 0;
    if (unit < 0xd800 || unit > 0xdfff)
        return put_char((uint32_t)unit, out);
    *why = "a high and a low surrogate together would be right";
    int32_t low = read_unit(span_tail(text, 6));
    if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return 0;
    *len = 12;
    uint32_t c = ((uint32_t)unit - 0xd800) << 10 | ((uint32_t)low - 0xdc00);
    return put_char(0x10000 + c, out);
}

size_t meta_text_unescape(struct span text, char quote,
                          uint8_t out[META_ESCAPED_MAX], size_t *len,
                          const char **why)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    *len = text.len < 2 ? text.len : 2;
    *why = "\\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\uXXXX would be right";
    if (text.len < 2)
        return 0;
    if (text.data[1] == 'u')
        return unescape_unit(text, out, len, why);
    const char *name = memchr(names, text.data[1], sizeof names - 1);
    if (name)
        out[0] = (uint8_t)values[name - names];
    else if (quote && text.data[1] == (uint8_t)quote)
        out[0] = (uint8_t)quote;
    else
        return 0;
    return 1;
}

static void put_str(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void meta_text_quote(struct buf *out, struct span text)
{
    static const char names[] = "\"\\bfnrt";
    static const char values[] = "\"\\\b\f\n\r\t";
    size_t from = 0;
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[8];
        const char *value = memchr(values, c, sizeof values - 1);
        if (value)
            snprintf(escape, sizeof escape, "\\%c", names[value - values]);
        else
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        buf_append(out, text.data + from, i - from);
        put_str(out, escape);
        from = i + 1;
    }
    if (text.len > from)
        buf_append(out, text.data + from, text.len - from);
    buf_append_byte(out, '"');
}

static size_t digits(struct span text, size_t at)
{
    size_t from = at;
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - from;
}

static bool has(struct span text, size_t at, char c)
{
    return at < text.len && text.data[at] == (uint8_t)c;
}

/* The parts of a number: where they begin, and how long they are. */
struct parts {
    bool minus;
    size_t whole_at, whole; /* digits before the point */
    size_t part_at, part;   /* digits after it, 0: no point */
    size_t power_at;        /* sign and digits of the exponent, 0: none */
    size_t len;
};

/* False: no number begins here. */
static bool split(struct span text, struct parts *out)
{
    struct parts p = { .minus = has(text, 0, '-') };
    p.whole_at = p.minus;
    p.whole = digits(text, p.whole_at);
    if (p.whole == 0 || (p.whole > 1 && text.data[p.whole_at] == '0'))
        return false;
    p.len = p.whole_at + p.whole;
    if (has(text, p.len, '.')) {
        p.part_at = p.len + 1;
        p.part = digits(text, p.part_at);
        if (p.part == 0)
            return false;
        p.len = p.part_at + p.part;
    }
    if (has(text, p.len, 'e') || has(text, p.len, 'E')) {
        p.power_at = p.len + 1;
        bool sign = has(text, p.power_at, '-') || has(text, p.power_at, '+');
        size_t n = digits(text, p.power_at + sign);
        if (n == 0)
            return false;
        p.len = p.power_at + sign + n;
    }
    *out = p;
    return true;
}

static bool read_int(struct span text, const struct parts *p, int64_t *out)
{
    uint64_t limit = (uint64_t)INT64_MAX + p->minus, n = 0;
    if (p->part || p->power_at)
        return false;
    for (size_t i = 0; i < p->whole; i++) {
        uint64_t digit = (uint64_t)(text.data[p->whole_at + i] - '0');
        if (n > (limit - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = p->minus ? -(int64_t)(n - (n > 0)) - (n > 0) : (int64_t)n;
    return true;
}

/* strtod takes the point of the program's locale; so it is given none: the
 * digits as a whole number, and the exponent less for it. */
static double read_real(struct span text, const struct parts *p)
{
    char plain[META_NUMBER_MAX + 32];
    size_t n = 0;
    long power = 0;
    bool down = false;
    if (p->minus)
        plain[n++] = '-';
    memcpy(plain + n, text.data + p->whole_at, p->whole);
    n += p->whole;
    if (p->part) {
        memcpy(plain + n, text.data + p->part_at, p->part);
        n += p->part;
    }
    for (size_t i = p->power_at; p->power_at && i < p->len; i++) {
        uint8_t c = text.data[i];
        down = down || c == '-';
        if (c >= '0' && c <= '9' && power < 100000)
            power = power * 10 + (c - '0');
    }
    power = (down ? -power : power) - (long)p->part;
    snprintf(plain + n, sizeof plain - n, "e%ld", power);
    return strtod(plain, NULL);
}

enum meta_number meta_text_number(struct span text, size_t *len, int64_t *i,
                                  double *d)
{
    struct parts p;
    *len = 0;
    if (!split(text, &p))
        return META_NUMBER_NONE;
    *len = p.len;
    if (p.len > META_NUMBER_MAX)
        return META_NUMBER_TOO_LONG;
    if (read_int(text, &p, i))
        return META_NUMBER_INT;
    *d = read_real(text, &p);
    return isfinite(*d) ? META_NUMBER_REAL : META_NUMBER_TOO_LARGE;
}

void meta_text_put_int(struct buf *out, int64_t i)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, i);
    put_str(out, text);
}

void meta_text_put_real(struct buf *out, double d)
{
    char text[40];
    bool point = false;
    assert(isfinite(d));
    snprintf(text, sizeof text, "%.15g", d);
    if (strtod(text, NULL) != d)
        snprintf(text, sizeof text, "%.16g", d);
    if (strtod(text, NULL) != d)
        snprintf(text, sizeof text, "%.17g", d);
    /* The locale's point, of however many bytes, becomes one. */
    bool other = false;
    for (const char *c = text; *c; c++) {
        bool plain = strchr("0123456789+-e", *c);
        if (plain)
            buf_append_byte(out, (uint8_t)*c);
        else if (!other)
            buf_append_byte(out, '.');
        other = !plain;
        point = point || !plain || *c == 'e';
    }
    if (!point)
        put_str(out, ".0");
}
