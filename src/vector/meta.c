/* SPDX-License-Identifier: Apache-2.0 */

/* The form of metadata: looking into it, checking it, printing it. */

#include "vector/meta.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "vector/meta_form.h"
#include "vector/meta_text.h"

_Static_assert(META_NAME_MAX <= UINT8_MAX, "a length of one byte");
_Static_assert(META_BYTES_MAX <= UINT16_MAX, "offsets of two bytes");

int meta_compare_names(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    for (size_t i = 0; i < n; i++) {
        if (a.data[i] == b.data[i])
            continue;
        if (a.data[i] == '.')
            return -1;
        return b.data[i] == '.' || a.data[i] > b.data[i] ? 1 : -1;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool meta_is_inside(struct span inner, struct span name)
{
    return inner.len > name.len && span_has_prefix(inner, name) &&
           inner.data[name.len] == '.';
}

const char *meta_name_wrong(struct span name)
{
    size_t bad;
    if (name.len == 0)
        return "a name that is not empty would be right";
    if (name.len > META_NAME_MAX)
        return "a name of at most 255 bytes, dots included, would be right";
    if (!meta_text_is_utf8(name, &bad))
        return "a name in UTF-8 would be right";
    bool dot = true;
    size_t parts = 0;
    for (size_t i = 0; i <= name.len; i++) {
        bool next = i == name.len || name.data[i] == '.';
        if (dot && next)
            return "a name on each side of a dot would be right";
        parts += next;
        dot = next;
    }
    if (parts > META_DEPTH_MAX)
        return "a name of at most 8 parts would be right";
    return NULL;
}

uint8_t meta_tag(struct span name)
{
    return (uint8_t)hash64(name);
}

size_t meta_count(struct meta meta)
{
    return meta.bytes.len ? meta_form_u16(meta.bytes.data + 2) : 0;
}

static const uint8_t *entry_at(const uint8_t *form, size_t i)
{
    return form + META_FORM_HEADER + i * META_FORM_ENTRY;
}

static void field_of(const uint8_t *form, const uint8_t *entry,
                     struct meta_field *out)
{
    const uint8_t *p = form + meta_form_u16(entry + 2);
    out->kind = (enum meta_kind)entry[1];
    out->name = span_of(p + 1, p[0]);
    out->value = p + 1 + p[0];
}

struct meta_field meta_at(struct meta meta, size_t i)
{
    struct meta_field field;
    assert(i < meta_count(meta));
    field_of(meta.bytes.data, entry_at(meta.bytes.data, i), &field);
    return field;
}

bool meta_find(struct meta meta, uint8_t tag, struct span name,
               struct meta_field *out)
{
    const uint8_t *form = meta.bytes.data;
    size_t count = meta_count(meta);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = entry_at(form, i);
        if (entry[0] != tag)
            continue;
        field_of(form, entry, out);
        if (span_equal(out->name, name))
            return true;
    }
    return false;
}

static struct meta_value read_value(enum meta_kind kind, const uint8_t *p)
{
    if (kind == META_INT)
        return meta_value_int(meta_form_int(p));
    if (kind == META_REAL)
        return meta_value_real(meta_form_real(p));
    if (kind == META_TEXT)
        return meta_value_text(span_of(p + 2, meta_form_u16(p)));
    return meta_value_mark(kind);
}

struct meta_value meta_value_of(const struct meta_field *field)
{
    assert(field->kind != META_LIST);
    return read_value(field->kind, field->value);
}

/* Bytes of a value that is no list. */
static size_t value_len(enum meta_kind kind, const uint8_t *p)
{
    if (meta_value_is_number(kind))
        return META_FORM_NUMBER;
    return kind == META_TEXT ? 2 + meta_form_u16(p) : 0;
}

struct meta_items meta_items_of(const struct meta_field *field)
{
    struct meta_items items = { field->value, 1, true, field->kind };
    if (field->kind == META_LIST) {
        items.left = meta_form_u16(field->value + 2);
        items.at = field->value + META_FORM_LIST;
        items.single = false;
    }
    return items;
}

bool meta_items_next(struct meta_items *items, struct meta_value *out)
{
    if (items->left == 0)
        return false;
    items->left--;
    if (!items->single)
        items->kind = (enum meta_kind) * items->at++;
    *out = read_value(items->kind, items->at);
    items->at += value_len(items->kind, items->at);
    return true;
}

/* Checking */

/* A value that is no list, taken from the front of *rest. */
static bool take_value(uint8_t kind, struct span *rest)
{
    size_t bad;
    switch (kind) {
    case META_NULL:
    case META_FALSE:
    case META_TRUE:
        return true;
    case META_INT:
    case META_REAL:
        if (rest->len < META_FORM_NUMBER ||
            (kind == META_REAL && !isfinite(meta_form_real(rest->data))))
            return false;
        *rest = span_tail(*rest, META_FORM_NUMBER);
        return true;
    case META_TEXT: {
        if (rest->len < 2 || rest->len - 2 < meta_form_u16(rest->data))
            return false;
        struct span text = span_of(rest->data + 2, meta_form_u16(rest->data));
        *rest = span_tail(*rest, 2 + text.len);
        return meta_text_is_utf8(text, &bad);
    }
    default:
        return false;
    }
}

static bool take_list(struct span *rest)
{
    if (rest->len < META_FORM_LIST)
        return false;
    size_t len = meta_form_u16(rest->data);
    size_t count = meta_form_u16(rest->data + 2);
    *rest = span_tail(*rest, META_FORM_LIST);
    if (len > rest->len || count > META_ITEMS_MAX)
        return false;
    struct span items = span_of(rest->data, len);
    *rest = span_tail(*rest, len);
    while (count-- > 0) {
        if (items.len == 0 || items.data[0] == META_NULL)
            return false;
        uint8_t kind = items.data[0];
        items = span_tail(items, 1);
        if (!take_value(kind, &items))
            return false;
    }
    return items.len == 0;
}

/* One field from the front of *rest, and its name. */
static bool take_field(const uint8_t *entry, struct span *rest,
                       struct span *name)
{
    if (rest->len == 0 || rest->len - 1 < rest->data[0])
        return false;
    *name = span_of(rest->data + 1, rest->data[0]);
    *rest = span_tail(*rest, 1 + name->len);
    if (meta_name_wrong(*name) || entry[0] != meta_tag(*name))
        return false;
    return entry[1] == META_LIST ? take_list(rest) : take_value(entry[1], rest);
}

int meta_open(struct span bytes, struct meta *out)
{
    struct span name, before = span_empty();
    out->bytes = span_empty();
    if (bytes.len == 0)
        return DLHT_OK;
    if (bytes.len < META_FORM_HEADER || bytes.len > META_BYTES_MAX)
        return DLHT_ECORRUPT;
    if (bytes.data[0] > META_VERSION)
        return DLHT_EVERSION;
    size_t count = meta_form_u16(bytes.data + 2);
    size_t head = META_FORM_HEADER + count * META_FORM_ENTRY;
    if (bytes.data[0] != META_VERSION || bytes.data[1] != 0 || count == 0 ||
        count > META_FIELDS_MAX || head > bytes.len)
        return DLHT_ECORRUPT;
    struct span rest = span_tail(bytes, head);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = entry_at(bytes.data, i);
        if (meta_form_u16(entry + 2) != bytes.len - rest.len ||
            !take_field(entry, &rest, &name))
            return DLHT_ECORRUPT;
        if (i > 0 && (meta_compare_names(before, name) >= 0 ||
                      meta_is_inside(name, before)))
            return DLHT_ECORRUPT;
        before = name;
    }
    if (rest.len != 0)
        return DLHT_ECORRUPT;
    out->bytes = bytes;
    return DLHT_OK;
}

/* Printing */

void meta_print_value(const struct meta_value *value, struct buf *out)
{
    switch (value->kind) {
    case META_NULL:
        buf_append_span(out, span_str("null"));
        break;
    case META_FALSE:
        buf_append_span(out, span_str("false"));
        break;
    case META_TRUE:
        buf_append_span(out, span_str("true"));
        break;
    case META_INT:
        meta_text_put_int(out, value->u.i);
        break;
    case META_REAL:
        meta_text_put_real(out, value->u.d);
        break;
    case META_TEXT:
        meta_text_quote(out, value->u.text);
        break;
    case META_LIST:
        assert(value->kind != META_LIST);
    }
}

static void print_field_value(const struct meta_field *field, struct buf *out)
{
    struct meta_items items = meta_items_of(field);
    struct meta_value value;
    bool list = field->kind == META_LIST, first = true;
    if (list)
        buf_append_byte(out, '[');
    while (meta_items_next(&items, &value)) {
        if (!first)
            buf_append_span(out, span_str(", "));
        meta_print_value(&value, out);
        first = false;
    }
    if (list)
        buf_append_byte(out, ']');
}

static size_t part_len(struct span rest)
{
    const uint8_t *dot = memchr(rest.data, '.', rest.len);
    return dot ? (size_t)(dot - rest.data) : rest.len;
}

/* Bytes of what both names have in common, up to and with a dot. */
static size_t shared(struct span a, struct span b)
{
    size_t whole = 0;
    for (size_t i = 0; i < a.len && i < b.len && a.data[i] == b.data[i]; i++)
        if (a.data[i] == '.')
            whole = i + 1;
    return whole;
}

static size_t dots(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.data[i] == '.';
    return n;
}

/* Objects that the name before lies in are closed, those of name opened. */
static void print_name(struct span before, struct span name, bool first,
                       struct buf *out)
{
    size_t at = shared(before, name);
    for (size_t n = dots(span_tail(before, at)); n > 0; n--)
        buf_append_byte(out, '}');
    if (!first)
        buf_append_span(out, span_str(", "));
    for (;;) {
        struct span rest = span_tail(name, at);
        size_t len = part_len(rest);
        meta_text_quote(out, span_of(rest.data, len));
        buf_append_span(out, span_str(": "));
        if (len == rest.len)
            return;
        buf_append_byte(out, '{');
        at += len + 1;
    }
}

void meta_print(struct meta meta, struct buf *out)
{
    size_t count = meta_count(meta);
    struct span before = span_empty();
    buf_append_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        struct meta_field field = meta_at(meta, i);
        print_name(before, field.name, i == 0, out);
        print_field_value(&field, out);
        before = field.name;
    }
    for (size_t n = dots(before) + 1; n > 0; n--)
        buf_append_byte(out, '}');
}
