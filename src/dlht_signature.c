/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/cache.h: JSON to its canonical text, and that to a name. */

#include "dlht/cache.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    NUMBER_MAX = 512, /* bytes of a number that is read */
    SHORTEST_MAX = 40
};

struct json {
    const char *at, *end, *start;
    const char *wrong; /* NULL: nothing yet */
    const char *where;
    unsigned depth;
    bool lacks_memory;
};

static void refuse(struct json *j, const char *wrong)
{
    if (!j->wrong) {
        j->wrong = wrong;
        j->where = j->at;
    }
}

static void skip_space(struct json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' ||
                              *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

static bool takes(struct json *j, char c)
{
    skip_space(j);
    if (j->wrong || j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

static void add_utf8(struct buf *out, uint32_t point)
{
    if (point < 0x80) {
        buf_append_byte(out, (uint8_t)point);
        return;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    buf_append_byte(out, (uint8_t)(lead[more] | point >> (6 * more)));
    while (more-- > 0)
        buf_append_byte(out, (uint8_t)(0x80 | (point >> (6 * more) & 0x3f)));
}

/* As it stands in the canonical text. */
static void add_point(struct buf *out, uint32_t point)
{
    char text[8];
    if (point == '"' || point == '\\')
        buf_append_byte(out, '\\');
    if (point >= 0x20) {
        add_utf8(out, point);
        return;
    }
    snprintf(text, sizeof text, "\\u%04x", (unsigned)point);
    buf_append(out, text, 6);
}

static uint32_t read_hex4(struct json *j)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = '\0';
        if (j->at < j->end)
            c = *j->at;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 16;
        if (digit > 15) {
            refuse(j, "four hexadecimal digits follow \\u");
            return 0;
        }
        value = value << 4 | digit;
        j->at++;
    }
    return value;
}

static uint32_t read_escape(struct json *j)
{
    static const char names[] = "\"\\/bfnrt";
    static const char means[] = "\"\\/\b\f\n\r\t";
    char c = '\0';
    if (j->at < j->end)
        c = *j->at++;
    const char *name = c ? strchr(names, c) : NULL;
    if (name)
        return (uint32_t)(uint8_t)means[name - names];
    if (c != 'u') {
        refuse(j, "no such escape");
        return 0;
    }
    uint32_t high = read_hex4(j);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high < 0xdc00 && j->end - j->at > 1 && j->at[0] == '\\' &&
        j->at[1] == 'u') {
        j->at += 2;
        uint32_t low = read_hex4(j);
        if (low >= 0xdc00 && low <= 0xdfff)
            return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    refuse(j, "half of a surrogate pair");
    return 0;
}

/* One character of more than one byte; refused if it is not UTF-8. */
static uint32_t read_utf8(struct json *j)
{
    uint8_t c = (uint8_t)*j->at++;
    int more = c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    uint32_t point = c & (0x3fu >> more);
    if (more == 0 || c >= 0xf5 || j->end - j->at < more) {
        refuse(j, "a string is UTF-8");
        return 0;
    }
    for (int i = 0; i < more; i++) {
        uint8_t next = (uint8_t)*j->at++;
        if ((next & 0xc0) != 0x80)
            refuse(j, "a string is UTF-8");
        point = point << 6 | (next & 0x3f);
    }
    if (point < least[more] || point > 0x10ffff ||
        (point >= 0xd800 && point <= 0xdfff))
        refuse(j, "a string is UTF-8");
    return point;
}

static void read_string(struct json *j, struct buf *out)
{
    if (!takes(j, '"')) {
        refuse(j, "a string is meant here");
        return;
    }
    buf_append_byte(out, '"');
    while (!j->wrong) {
        if (j->at == j->end) {
            refuse(j, "a string does not end");
            return;
        }
        uint8_t c = (uint8_t)*j->at;
        if (c == '"')
            break;
        if (c < 0x20) {
            refuse(j, "a control character in a string is escaped");
        } else if (c == '\\') {
            j->at++;
            add_point(out, read_escape(j));
        } else if (c < 0x80) {
            j->at++;
            add_point(out, c);
        } else {
            add_point(out, read_utf8(j));
        }
    }
    if (!j->wrong)
        j->at++;
    buf_append_byte(out, '"');
}

static size_t digits(const char *at, const char *end)
{
    size_t n = 0;
    while (at + n < end && at[n] >= '0' && at[n] <= '9')
        n++;
    return n;
}

/* Its length as JSON writes numbers; 0: it is none. */
static size_t number_len(const char *start, const char *end)
{
    const char *at = start;
    at += at < end && *at == '-';
    size_t whole = digits(at, end);
    if (whole == 0 || (*at == '0' && whole > 1))
        return 0;
    at += whole;
    if (at < end && *at == '.') {
        size_t part = digits(at + 1, end);
        if (part == 0)
            return 0;
        at += 1 + part;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        size_t power = digits(at, end);
        if (power == 0)
            return 0;
        at += power;
    }
    return (size_t)(at - start);
}

/* The shortest of %g that reads as the same; so 1, 1.0 and 10e-1 are one. */
static void read_number(struct json *j, struct buf *out)
{
    char text[NUMBER_MAX], shortest[SHORTEST_MAX];
    size_t len = number_len(j->at, j->end);
    if (len == 0 || len >= sizeof text) {
        refuse(j, "a value is meant here");
        return;
    }
    memcpy(text, j->at, len);
    text[len] = 0;
    double value = strtod(text, NULL);
    if (!isfinite(value)) {
        refuse(j, "a number is within the range of a double");
        return;
    }
    j->at += len;
    if (value == 0)
        value = fabs(value); /* without a sign */
    if (fabs(value) < 9007199254740992.0 && floor(value) == value) {
        snprintf(shortest, sizeof shortest, "%lld", (long long)value);
    } else {
        for (int i = 1; i <= 17; i++) {
            snprintf(shortest, sizeof shortest, "%.*g", i, value);
            if (strtod(shortest, NULL) == value)
                break;
        }
    }
    buf_append(out, shortest, strlen(shortest));
}

static void read_value(struct json *j, struct buf *out);

static void read_array(struct json *j, struct buf *out)
{
    buf_append_byte(out, '[');
    if (!takes(j, ']')) {
        do {
            read_value(j, out);
            skip_space(j);
            if (!j->wrong && j->at < j->end && *j->at == ',')
                buf_append_byte(out, ',');
        } while (takes(j, ','));
        if (!takes(j, ']'))
            refuse(j, "an array goes on with , or ends with ]");
    }
    buf_append_byte(out, ']');
}

struct member {
    struct buf text; /* "name":value */
    size_t name_len; /* with its quotes */
};

struct object {
    struct member *list;
    size_t count, cap;
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    /* Without quotes, which would sort before what goes on. */
    struct span p = span_of(x->text.data + 1, x->name_len - 2);
    struct span q = span_of(y->text.data + 1, y->name_len - 2);
    return span_compare(p, q);
}

static struct member *add_member(struct json *j, struct object *o)
{
    if (o->count == o->cap) {
        size_t cap = o->cap ? 2 * o->cap : 8;
        struct member *grown = mem_resize(o->list, cap, sizeof *grown);
        if (!grown) {
            j->lacks_memory = true;
            refuse(j, "no memory");
            return NULL;
        }
        o->list = grown;
        o->cap = cap;
    }
    o->list[o->count] = (struct member){ 0 };
    return &o->list[o->count++];
}

static void read_member(struct json *j, struct object *o)
{
    struct member *m = add_member(j, o);
    if (!m)
        return;
    read_string(j, &m->text);
    m->name_len = m->text.len;
    if (!takes(j, ':'))
        refuse(j, "a name is followed by :");
    buf_append_byte(&m->text, ':');
    if (!j->wrong)
        read_value(j, &m->text);
    if (m->text.failed && !j->wrong) {
        j->lacks_memory = true;
        refuse(j, "no memory");
    }
}

static void write_members(struct json *j, struct object *o, struct buf *out)
{
    if (o->count)
        qsort(o->list, o->count, sizeof *o->list, compare_members);
    for (size_t i = 0; i < o->count; i++) {
        if (i && compare_members(&o->list[i - 1], &o->list[i]) == 0)
            refuse(j, "a name stands twice in one object");
        if (i)
            buf_append_byte(out, ',');
        buf_append_span(out, buf_span(&o->list[i].text));
    }
}

static void read_object(struct json *j, struct buf *out)
{
    struct object o = { 0 };
    buf_append_byte(out, '{');
    if (!takes(j, '}')) {
        do {
            read_member(j, &o);
        } while (takes(j, ','));
        if (!takes(j, '}'))
            refuse(j, "an object goes on with , or ends with }");
    }
    if (!j->wrong)
        write_members(j, &o, out);
    buf_append_byte(out, '}');
    for (size_t i = 0; i < o.count; i++)
        buf_deinit(&o.list[i].text);
    free(o.list);
}

static bool takes_word(struct json *j, const char *word, struct buf *out)
{
    size_t len = strlen(word);
    if ((size_t)(j->end - j->at) < len || memcmp(j->at, word, len) != 0)
        return false;
    j->at += len;
    buf_append(out, word, len);
    return true;
}

static void read_value(struct json *j, struct buf *out)
{
    skip_space(j);
    if (j->at == j->end) {
        refuse(j, "a value is meant here");
        return;
    }
    if (++j->depth > DLHT_SIGNATURE_DEPTH_MAX) {
        refuse(j, "it is nested too deep");
    } else if (*j->at == '{') {
        j->at++;
        read_object(j, out);
    } else if (*j->at == '[') {
        j->at++;
        read_array(j, out);
    } else if (*j->at == '"') {
        read_string(j, out);
    } else if (!takes_word(j, "true", out) && !takes_word(j, "false", out) &&
               !takes_word(j, "null", out)) {
        read_number(j, out);
    }
    j->depth--;
}

static int say(const struct json *j, struct dlht_error *error)
{
    int code = j->lacks_memory ? DLHT_ENOMEM : DLHT_EINVAL;
    if (!error)
        return code;
    error->code = code;
    snprintf(error->text, sizeof error->text, "not JSON at byte %zu: %s",
             (size_t)(j->where - j->start), j->wrong);
    return code;
}

int dlht_signature(const char *json, size_t len, char out[DLHT_SIGNATURE_TEXT],
                   struct dlht_error *error)
{
    struct json j = { .at = json, .start = json, .end = json + len };
    struct buf text = { 0 };
    memset(out, 0, DLHT_SIGNATURE_TEXT);
    read_value(&j, &text);
    skip_space(&j);
    if (!j.wrong && j.at != j.end)
        refuse(&j, "one value is meant, and nothing behind it");
    if (!j.wrong && text.failed) {
        j.lacks_memory = true;
        refuse(&j, "no memory");
    }
    int rc = j.wrong ? say(&j, error) : DLHT_OK;
    if (rc == DLHT_OK) {
        uint64_t hash[2];
        hash128(buf_span(&text), hash);
        snprintf(out, DLHT_SIGNATURE_TEXT, "%016llx%016llx",
                 (unsigned long long)hash[0], (unsigned long long)hash[1]);
    }
    buf_deinit(&text);
    return rc;
}
