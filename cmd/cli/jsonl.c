/* SPDX-License-Identifier: Apache-2.0 */

/* Reading records from JSON lines. What JSON says is shorter decoded than
 * encoded, so strings are decoded where they stand. */

#include "jsonl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

enum {
    DEPTH_MAX = 16
};

struct reader {
    char *at;
    char *end;
    const char *why;
};

static bool fail(struct reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return false;
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' ||
                              *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

/* Passes c, with blanks before it, if it is next. */
static bool passes(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool read_hex4(struct reader *r, uint32_t *code)
{
    *code = 0;
    if (r->end - r->at < 4)
        return fail(r, "\\u needs four hexadecimal digits");
    for (int i = 0; i < 4; i++) {
        static const char digits[32] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = memchr(digits, *r->at++, sizeof digits);
        if (!digit)
            return fail(r, "\\u needs four hexadecimal digits");
        *code = *code * 16 + (uint32_t)(digit - digits) % 16;
    }
    return true;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xC0 | (code >> 6));
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xE0 | (code >> 12));
        } else {
            *out++ = (char)(0xF0 | (code >> 18));
            *out++ = (char)(0x80 | ((code >> 12) & 63));
        }
        *out++ = (char)(0x80 | ((code >> 6) & 63));
    }
    *out++ = (char)(0x80 | (code & 63));
    return out;
}

/* Behind \u; a pair of surrogates is one character. */
static bool read_unicode(struct reader *r, char **out)
{
    uint32_t code;
    uint32_t low;

    if (!read_hex4(r, &code))
        return false;
    if (code >= 0xD800 && code < 0xDC00) {
        if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
            return fail(r, "half a surrogate pair");
        r->at += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail(r, "half a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
        return fail(r, "half a surrogate pair");
    }
    *out = put_utf8(*out, code);
    return true;
}

static bool read_escape(struct reader *r, char **out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    char c;
    const char *name;

    if (r->at == r->end)
        return fail(r, "a string is not closed");
    c = *r->at++;
    if (c == 'u')
        return read_unicode(r, out);
    name = memchr(names, c, sizeof(names) - 1);
    if (!name)
        return fail(r, "an unknown escape in a string");
    *(*out)++ = bytes[name - names];
    return true;
}

static bool read_string(struct reader *r, struct dlht_bytes *text)
{
    char *out;

    if (!passes(r, '"'))
        return fail(r, "a string is meant");
    out = r->at;
    text->data = out;
    while (r->at < r->end && *r->at != '"') {
        char c = *r->at++;
        if (c != '\\')
            *out++ = c;
        else if (!read_escape(r, &out))
            return false;
    }
    if (!passes(r, '"'))
        return fail(r, "a string is not closed");
    text->len = (size_t)(out - (const char *)text->data);
    return true;
}

/* A number, true, false or null, as its text. */
static bool read_plain(struct reader *r, struct dlht_bytes *text)
{
    char *begin;

    skip_blanks(r);
    begin = r->at;
    while (r->at < r->end && !strchr(" \t\r\n,]}:[{\"", *r->at))
        r->at++;
    *text = (struct dlht_bytes){ begin, (size_t)(r->at - begin) };
    return text->len ? true : fail(r, "a value is missing");
}

static bool skip_value(struct reader *r, int depth);

/* The rest of an object or array, behind its opening. */
static bool skip_rest(struct reader *r, bool object, int depth)
{
    char close = object ? '}' : ']';
    struct dlht_bytes name;

    if (depth == DEPTH_MAX)
        return fail(r, "nested too deeply");
    if (passes(r, close))
        return true;
    do {
        if (object && (!read_string(r, &name) || !passes(r, ':')))
            return fail(r, "a field is \"name\": value");
        if (!skip_value(r, depth + 1))
            return false;
    } while (passes(r, ','));
    return passes(r, close) ? true : fail(r, "a bracket is not closed");
}

static bool skip_value(struct reader *r, int depth)
{
    struct dlht_bytes ignored;

    skip_blanks(r);
    if (r->at < r->end && *r->at == '"')
        return read_string(r, &ignored);
    if (passes(r, '{'))
        return skip_rest(r, true, depth);
    if (passes(r, '['))
        return skip_rest(r, false, depth);
    return read_plain(r, &ignored);
}

static bool read_base64(struct reader *r, struct dlht_bytes *bytes)
{
    struct dlht_bytes name;
    char *text;

    if (!read_string(r, &name))
        return false;
    if (name.len != 6 || memcmp(name.data, "base64", 6) != 0 ||
        !passes(r, ':') || !read_string(r, bytes) || !passes(r, '}'))
        return fail(r, "an object as key or value is {\"base64\": \"...\"}");
    text = r->at; /* in the same line: the string that bytes points at */
    text -= r->at - (const char *)bytes->data;
    if (!base64_decode(text, &bytes->len))
        return fail(r, "not base64");
    return true;
}

static bool read_bytes(struct reader *r, struct dlht_bytes *bytes)
{
    skip_blanks(r);
    if (r->at < r->end && *r->at == '"')
        return read_string(r, bytes);
    if (passes(r, '{'))
        return read_base64(r, bytes);
    return read_plain(r, bytes);
}

static bool name_is(struct dlht_bytes name, const char *text)
{
    return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0;
}

bool jsonl_read(char *line, size_t len, struct dlht_bytes *key,
                struct dlht_bytes *value, const char **why)
{
    struct reader r = { line, line + len, NULL };
    bool has_key = false;
    bool has_value = false;
    bool done = passes(&r, '{') || fail(&r, "an object is meant");

    while (done) {
        struct dlht_bytes name;
        done = (read_string(&r, &name) && passes(&r, ':')) ||
               fail(&r, "a field is \"name\": value");
        if (done && name_is(name, "key"))
            done = has_key = read_bytes(&r, key);
        else if (done && name_is(name, "value"))
            done = has_value = read_bytes(&r, value);
        else if (done)
            done = skip_value(&r, 0);
        if (!done || !passes(&r, ','))
            break;
    }
    done = done && (passes(&r, '}') || fail(&r, "a bracket is not closed"));
    skip_blanks(&r);
    done = done && (r.at == r.end || fail(&r, "more behind the object"));
    done = done && (has_key || fail(&r, "no field \"key\""));
    done = done && (has_value || fail(&r, "no field \"value\""));
    *why = r.why;
    return done;
}

/* Where a value ends, without decoding it: brackets are counted, strings are
 * passed over. Whoever gets it reads it in earnest. */
static bool read_object(struct reader *r, struct dlht_bytes *text)
{
    const char *begin;
    size_t depth = 0;
    bool inside = false; /* a string */

    skip_blanks(r);
    begin = r->at;
    if (r->at == r->end || *r->at != '{')
        return fail(r, "\"meta\" is an object");
    for (; r->at < r->end; r->at++) {
        if (*r->at == '"')
            inside = !inside;
        else if (inside && *r->at == '\\' && r->at + 1 < r->end)
            r->at++;
        else if (!inside && *r->at == '{')
            depth++;
        else if (!inside && *r->at == '}' && --depth == 0)
            break;
    }
    if (r->at == r->end)
        return fail(r, "a bracket is not closed");
    r->at++;
    *text = (struct dlht_bytes){ begin, (size_t)(r->at - begin) };
    return true;
}

static bool add_number(struct reader *r, size_t count_max,
                       struct jsonl_vector *out)
{
    char *end;
    float number;

    skip_blanks(r);
    if (r->at == r->end || !strchr("-0123456789NnIi", *r->at))
        return fail(r, "\"vector\" is an array of numbers");
    number = strtof(r->at, &end);
    if (end == r->at || end > r->end)
        return fail(r, "\"vector\" is an array of numbers");
    r->at = end;
    if (out->count == count_max)
        return fail(r, "the vector has too many numbers");
    if (out->count == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 256;
        float *values = realloc(out->values, cap * sizeof(*values));
        if (!values)
            return fail(r, "out of memory");
        out->values = values;
        out->cap = cap;
    }
    out->values[out->count++] = number;
    return true;
}

static bool read_numbers(struct reader *r, size_t count_max,
                         struct jsonl_vector *out)
{
    out->count = 0;
    if (!passes(r, '['))
        return fail(r, "\"vector\" is an array of numbers");
    if (passes(r, ']'))
        return true;
    do {
        if (!add_number(r, count_max, out))
            return false;
    } while (passes(r, ','));
    return passes(r, ']') ? true : fail(r, "a bracket is not closed");
}

/* null: as if it were not there. */
static bool read_meta(struct reader *r, struct dlht_bytes *meta)
{
    skip_blanks(r);
    if (r->end - r->at >= 4 && memcmp(r->at, "null", 4) == 0) {
        r->at += 4;
        return true;
    }
    return read_object(r, meta);
}

bool jsonl_read_vector(char *line, size_t len, size_t count_max,
                       struct jsonl_vector *out, const char **why)
{
    struct reader r = { line, line + len, NULL };
    struct dlht_bytes meta = { NULL, 0 };
    bool has_id = false;
    bool has_vector = false;
    bool done = passes(&r, '{') || fail(&r, "an object is meant");

    out->meta = NULL;
    while (done) {
        struct dlht_bytes name;
        done = (read_string(&r, &name) && passes(&r, ':')) ||
               fail(&r, "a field is \"name\": value");
        if (done && name_is(name, "id"))
            done = has_id = read_bytes(&r, &out->id);
        else if (done && name_is(name, "vector"))
            done = has_vector = read_numbers(&r, count_max, out);
        else if (done && name_is(name, "meta"))
            done = read_meta(&r, &meta);
        else if (done)
            done = skip_value(&r, 0);
        if (!done || !passes(&r, ','))
            break;
    }
    done = done && (passes(&r, '}') || fail(&r, "a bracket is not closed"));
    skip_blanks(&r);
    done = done && (r.at == r.end || fail(&r, "more behind the object"));
    done = done && (has_id || fail(&r, "no field \"id\""));
    done = done && (has_vector || fail(&r, "no field \"vector\""));
    if (done && meta.data) {
        out->meta = line + ((const char *)meta.data - line);
        out->meta[meta.len] = 0; /* a comma or a bracket, read already */
    }
    *why = r.why;
    return done;
}
