/* SPDX-License-Identifier: Apache-2.0 */

/* A JSON object becomes the form of vector/meta.h. Why no library does it:
 * docs/decisions/0008-json-of-our-own.md.
 *
 * Fields are first written as they come behind what out held; their entries
 * are kept sorted meanwhile, so that a name given twice is found where it
 * stands. In the end the form is written behind them in order, and moved to the
 * front. */

#include <assert.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/meta.h"
#include "vector/meta_form.h"
#include "vector/meta_text.h"

struct draft_field {
    uint32_t at; /* from the start of the draft: length and bytes of the name */
    uint32_t value_len;
    uint8_t kind;
};

struct parse {
    struct span text;
    size_t at;
    struct buf *out;
    size_t start; /* of the draft in out */
    struct meta_error *error;
    size_t count;
    struct draft_field fields[META_FIELDS_MAX];
    size_t path_len;
    uint8_t path[META_NAME_MAX];
};

static int wrong(struct parse *p, const char *right)
{
    struct span rest = span_tail(p->text, p->at);
    size_t len = 0;
    /* A word or a number is shown whole, else one character. */
    while (len < rest.len &&
           (rest.data[len] == '-' || rest.data[len] == '+' ||
            rest.data[len] == '.' ||
            (rest.data[len] >= '0' && rest.data[len] <= '9') ||
            (rest.data[len] >= 'A' && rest.data[len] <= 'Z') ||
            (rest.data[len] >= 'a' && rest.data[len] <= 'z')))
        len++;
    if (len == 0 && rest.len > 0) {
        len = meta_text_char(rest);
        len = len ? len : 1;
    }
    meta_error_found(p->error, p->at, span_of(rest.data, len), right);
    return DLHT_EINVAL;
}

static int too_big(struct parse *p, size_t at, const char *what,
                   const char *right)
{
    meta_error_say(p->error, at, what, right);
    return DLHT_ETOOBIG;
}

static void skip_space(struct parse *p)
{
    while (p->at < p->text.len && p->text.data[p->at] != 0 &&
           strchr(" \t\r\n", p->text.data[p->at]))
        p->at++;
}

/* The next byte that is no white space, 0 at the end. */
static uint8_t peek(struct parse *p)
{
    skip_space(p);
    return p->at < p->text.len ? p->text.data[p->at] : 0;
}

static int check_room(struct parse *p, size_t at)
{
    if (p->out->failed)
        return DLHT_ENOMEM;
    if (p->out->len - p->start > META_BYTES_MAX)
        return too_big(p, at, "too much metadata",
                       "at most 65535 bytes would be right");
    return DLHT_OK;
}

/* One character or escape of a string; its bytes and length in the text. */
static int read_char(struct parse *p, const uint8_t **bytes, size_t *len,
                     uint8_t escaped[META_ESCAPED_MAX])
{
    struct span rest = span_tail(p->text, p->at);
    const char *why;
    size_t taken = meta_text_char(rest);
    if (rest.len == 0)
        return wrong(p, "'\"' at the end of the string would be right");
    *bytes = rest.data;
    *len = taken;
    if (rest.data[0] < 0x20)
        return wrong(p, "an escape as \\n or \\u0000 would be right");
    if (taken == 0) {
        meta_error_say(p->error, p->at, "found bytes that are no UTF-8",
                       "text in UTF-8 would be right");
        return DLHT_EINVAL;
    }
    if (rest.data[0] == '\\') {
        *bytes = escaped;
        *len = meta_text_unescape(rest, 0, escaped, &taken, &why);
        if (*len == 0) {
            struct span found =
                span_of(rest.data, taken < rest.len ? taken : rest.len);
            meta_error_found(p->error, p->at, found, why);
            return DLHT_EINVAL;
        }
    }
    p->at += taken;
    return DLHT_OK;
}

/* A string, its bytes appended to out with a length of two bytes. */
static int read_text(struct parse *p)
{
    uint8_t escaped[META_ESCAPED_MAX];
    const uint8_t *bytes;
    size_t len, from = p->at++, head = p->out->len;
    buf_append(p->out, "\0", 2);
    for (;;) {
        if (p->at < p->text.len && p->text.data[p->at] == '"')
            break;
        int rc = read_char(p, &bytes, &len, escaped);
        if (rc != DLHT_OK)
            return rc;
        buf_append(p->out, bytes, len);
        rc = check_room(p, from);
        if (rc != DLHT_OK)
            return rc;
    }
    p->at++;
    if (p->out->failed)
        return DLHT_ENOMEM;
    meta_form_put_u16(p->out->data + head, p->out->len - head - 2);
    return DLHT_OK;
}

/* A name, appended to the path after a dot. */
static int read_name(struct parse *p)
{
    uint8_t escaped[META_ESCAPED_MAX];
    const uint8_t *bytes;
    size_t len, before = p->path_len;
    if (peek(p) != '"')
        return wrong(p, "a name between '\"' would be right");
    size_t from = p->at++;
    if (before > 0 && before < META_NAME_MAX)
        p->path[p->path_len++] = '.';
    size_t start = p->path_len;
    for (;;) {
        if (p->at < p->text.len && p->text.data[p->at] == '"')
            break;
        int rc = read_char(p, &bytes, &len, escaped);
        if (rc != DLHT_OK)
            return rc;
        if (len > META_NAME_MAX - p->path_len)
            return too_big(p, from, "too long a name",
                           "at most 255 bytes, dots included, would be right");
        memcpy(p->path + p->path_len, bytes, len);
        p->path_len += len;
    }
    p->at++;
    const char *right =
        meta_name_wrong(span_of(p->path + start, p->path_len - start));
    if (!right)
        return DLHT_OK;
    meta_error_found(p->error, from, span_of(p->text.data + from, p->at - from),
                     right);
    return DLHT_EINVAL;
}

static int read_number(struct parse *p, uint8_t *kind)
{
    uint8_t bytes[META_FORM_NUMBER];
    int64_t i = 0;
    double d = 0;
    size_t len;
    enum meta_number is =
        meta_text_number(span_tail(p->text, p->at), &len, &i, &d);
    if (is == META_NUMBER_NONE)
        return wrong(p, "a number as 7, -7, 0.7 or 7e7 would be right");
    if (is == META_NUMBER_TOO_LONG)
        return too_big(p, p->at, "too long a number",
                       "at most 128 characters would be right");
    if (is == META_NUMBER_TOO_LARGE)
        return too_big(p, p->at, "too large a number",
                       "less than 1.8e308 would be right");
    uint64_t bits;
    memcpy(&bits, is == META_NUMBER_INT ? (void *)&i : (void *)&d, sizeof bits);
    meta_form_put_u64(bytes, bits);
    buf_append(p->out, bytes, sizeof bytes);
    p->at += len;
    *kind = is == META_NUMBER_INT ? META_INT : META_REAL;
    return DLHT_OK;
}

static bool take_word(struct parse *p, const char *word)
{
    if (!span_has_prefix(span_tail(p->text, p->at), span_str(word)))
        return false;
    p->at += strlen(word);
    return true;
}

/* A value that is neither object nor list. */
static int read_value(struct parse *p, uint8_t *kind, const char *right)
{
    uint8_t c = peek(p);
    if (c == '"') {
        *kind = META_TEXT;
        return read_text(p);
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(p, kind);
    if (take_word(p, "null"))
        *kind = META_NULL;
    else if (take_word(p, "false"))
        *kind = META_FALSE;
    else if (take_word(p, "true"))
        *kind = META_TRUE;
    else
        return wrong(p, right);
    return DLHT_OK;
}

static const char item_right[] =
    "a list of strings, numbers, true and false would be right";

static int read_item(struct parse *p)
{
    uint8_t kind = META_NULL;
    size_t head = p->out->len;
    buf_append_byte(p->out, 0);
    peek(p);
    size_t at = p->at;
    int rc = read_value(p, &kind, item_right);
    if (rc == DLHT_OK && kind == META_NULL) {
        p->at = at;
        rc = wrong(p, item_right);
    }
    if (rc == DLHT_OK)
        rc = check_room(p, at);
    if (rc == DLHT_OK)
        p->out->data[head] = kind;
    return rc;
}

static int read_list(struct parse *p)
{
    size_t from = p->at++, head = p->out->len, count = 0;
    buf_append(p->out, "\0\0\0", META_FORM_LIST);
    bool end = peek(p) == ']';
    while (!end) {
        if (count == META_ITEMS_MAX)
            return too_big(p, from, "too long a list",
                           "at most 256 items would be right");
        int rc = read_item(p);
        if (rc != DLHT_OK)
            return rc;
        count++;
        end = peek(p) == ']';
        if (!end && peek(p) != ',')
            return wrong(p, "',' or ']' would be right");
        p->at += !end;
    }
    p->at++;
    if (p->out->failed)
        return DLHT_ENOMEM;
    meta_form_put_u16(p->out->data + head, p->out->len - head - META_FORM_LIST);
    meta_form_put_u16(p->out->data + head + 2, count);
    return DLHT_OK;
}

static struct span name_at(const struct parse *p, size_t i)
{
    const uint8_t *name = p->out->data + p->start + p->fields[i].at;
    return span_of(name + 1, name[0]);
}

/* Where the path belongs among the sorted fields. */
static size_t find_place(const struct parse *p)
{
    struct span path = span_of(p->path, p->path_len);
    size_t lo = 0, hi = p->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (meta_compare_names(name_at(p, mid), path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Refuses a name that was there before, whole, as an object or as a value. */
static int begin_field(struct parse *p, size_t at, size_t *place)
{
    struct span path = span_of(p->path, p->path_len);
    const char *what = NULL, *right = meta_name_wrong(path);
    if (right) {
        meta_error_found(p->error, at, path, right);
        return DLHT_EINVAL;
    }
    *place = find_place(p);
    if (*place < p->count && span_equal(name_at(p, *place), path))
        what = "this name is there before";
    else if (*place < p->count && meta_is_inside(name_at(p, *place), path))
        what = "this name is an object before";
    else if (*place > 0 && meta_is_inside(path, name_at(p, *place - 1)))
        what = "this name lies in a value before";
    if (what) {
        meta_error_say(p->error, at, what, "each name once would be right");
        return DLHT_EINVAL;
    }
    if (p->count == META_FIELDS_MAX)
        return too_big(p, at, "too many fields", "at most 256 would be right");
    return DLHT_OK;
}

static int read_object(struct parse *p, size_t depth);

/* A name, a colon, and what follows. */
static int read_field(struct parse *p, size_t depth)
{
    size_t path_before = p->path_len, place;
    peek(p);
    size_t at = p->at;
    int rc = read_name(p);
    if (rc != DLHT_OK)
        return rc;
    if (peek(p) != ':')
        return wrong(p, "':' after the name would be right");
    p->at++;
    if (peek(p) == '{') {
        rc = read_object(p, depth + 1);
        p->path_len = path_before;
        return rc;
    }
    rc = begin_field(p, at, &place);
    if (rc != DLHT_OK)
        return rc;
    struct draft_field field = { .at = (uint32_t)(p->out->len - p->start) };
    buf_append_byte(p->out, (uint8_t)p->path_len);
    buf_append(p->out, p->path, p->path_len);
    size_t value = p->out->len;
    field.kind = META_LIST;
    rc = peek(p) == '[' ? read_list(p)
                        : read_value(p, &field.kind, "a value would be right");
    if (rc == DLHT_OK)
        rc = check_room(p, at);
    if (rc != DLHT_OK)
        return rc;
    field.value_len = (uint32_t)(p->out->len - value);
    memmove(p->fields + place + 1, p->fields + place,
            (p->count - place) * sizeof *p->fields);
    p->fields[place] = field;
    p->count++;
    p->path_len = path_before;
    return DLHT_OK;
}

static int read_object(struct parse *p, size_t depth)
{
    if (peek(p) != '{')
        return wrong(p, "an object between '{' and '}' would be right");
    if (depth > META_DEPTH_MAX)
        return too_big(p, p->at, "too many objects in one another",
                       "at most 8 would be right");
    p->at++;
    bool end = peek(p) == '}';
    while (!end) {
        int rc = read_field(p, depth);
        if (rc != DLHT_OK)
            return rc;
        end = peek(p) == '}';
        if (!end && peek(p) != ',')
            return wrong(p, "',' or '}' would be right");
        p->at += !end;
        if (!end && peek(p) == '}')
            return wrong(p, "a name between '\"' would be right");
    }
    p->at++;
    return DLHT_OK;
}

/* The form in order behind the draft, then in its place. */
static int finish(struct parse *p)
{
    size_t draft = p->out->len - p->start;
    size_t head = META_FORM_HEADER + p->count * META_FORM_ENTRY;
    size_t len = head + draft;
    if (p->count == 0)
        return DLHT_OK;
    if (len > META_BYTES_MAX)
        return too_big(p, 0, "too much metadata",
                       "at most 65535 bytes would be right");
    int rc = buf_reserve(p->out, len);
    if (rc != DLHT_OK)
        return rc;
    uint8_t *from = p->out->data + p->start, *form = from + draft;
    size_t at = head;
    for (size_t i = 0; i < p->count; i++) {
        const struct draft_field *field = &p->fields[i];
        uint8_t *entry = form + META_FORM_HEADER + i * META_FORM_ENTRY;
        size_t whole = 1u + from[field->at] + field->value_len;
        entry[0] = meta_tag(name_at(p, i));
        entry[1] = field->kind;
        meta_form_put_u16(entry + 2, at);
        memcpy(form + at, from + field->at, whole);
        at += whole;
    }
    assert(at == len);
    form[0] = META_VERSION;
    form[1] = 0;
    meta_form_put_u16(form + 2, p->count);
    memmove(from, form, len);
    p->out->len = p->start + len;
    return DLHT_OK;
}

int meta_parse(struct span json, struct buf *out, struct meta_error *error)
{
    struct parse p = { .text = json, .out = out, .start = out->len };
    bool failed = out->failed;
    p.error = error;
    out->failed = false;
    int rc = DLHT_OK;
    if (json.len > META_JSON_MAX)
        rc = too_big(&p, META_JSON_MAX, "too long a text",
                     "at most 262144 bytes would be right");
    if (rc == DLHT_OK)
        rc = read_object(&p, 1);
    skip_space(&p);
    if (rc == DLHT_OK && p.at < json.len)
        rc = wrong(&p, "nothing after the object would be right");
    if (rc == DLHT_OK)
        rc = finish(&p);
    if (rc != DLHT_OK)
        out->len = p.start;
    out->failed = failed;
    return rc;
}
