/* SPDX-License-Identifier: Apache-2.0 */

/* vector/meta.h - what is known of a record besides its vector: named fields.
 *
 * A user gives a JSON object; it is read once, when the record is written, into
 * a compact form that is kept with the record, travels, and is asked by filters
 * without allocating. Objects inside are flattened: {"a": {"b": 1}} and
 * {"a.b": 1} are both the field a.b, and are printed as the first. A list holds
 * strings, numbers, true and false. An object without fields leaves nothing.
 *
 * The same fields have the same bytes, however the text was ordered. Layout,
 * all numbers little-endian:
 *
 *     u8 version, u8 zero, u16 field count
 *     per field: u8 tag, u8 kind, u16 where its name begins
 *     per field, without gaps: u8 length of the name, the name, the value
 *
 * A value: nothing for null, false and true; 8 bytes of a number; u16 length
 * and the bytes of a string; u16 bytes and u16 count of a list and its items,
 * each a kind and a value. The tag is a hash of the name. Fields are sorted by
 * name with '.' before every other byte, so that what an object held stays
 * together. No bytes at all are no fields. */

#ifndef VECTOR_META_H
#define VECTOR_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "vector/meta_error.h"
#include "vector/meta_value.h"

enum {
    META_VERSION = 1,
    META_JSON_MAX = 262144, /* bytes of the text: room for white space */
    META_BYTES_MAX = 65535, /* so that offsets take two bytes */
    META_FIELDS_MAX = 256,
    META_ITEMS_MAX =
        256,             /* of one list: updates of an index compare them all */
    META_NAME_MAX = 255, /* bytes, dots included */
    META_DEPTH_MAX = 8   /* objects in one another */
};

/* Borrowed bytes that are known to be right. */
struct meta {
    struct span bytes;
};

struct meta_field {
    enum meta_kind kind;
    struct span name;
    const uint8_t *value;
};

/* Appends the object's form to out. Text that is not JSON as RFC 8259 has it,
 * or passes a bound, leaves out as it was, and error says why.
 *   DLHT_EINVAL   not an object; not UTF-8; a name twice, empty, or with an
 *                 empty part; a field that is both a value and an object;
 *                 null, a list or an object in a list
 *   DLHT_ETOOBIG  a bound is passed
 *   DLHT_ENOMEM */
MUST_USE int meta_parse(struct span json, struct buf *out,
                        struct meta_error *error);

/* Checks bytes a stranger may have sent, and gives a view of them.
 *   DLHT_ECORRUPT  meta_parse writes no such bytes
 *   DLHT_EVERSION  of a later version */
MUST_USE int meta_open(struct span bytes, struct meta *out);

/* A view of bytes that meta_open found right, or meta_parse wrote. */
static inline struct meta meta_trust(struct span bytes)
{
    struct meta meta = { bytes };
    return meta;
}

size_t meta_count(struct meta meta);

/* The i-th field in the order of the form, i < meta_count. Borrows from meta. */
struct meta_field meta_at(struct meta meta, size_t i);

/* The tag that a field of this name bears. */
uint8_t meta_tag(struct span name);

/* False: no such field. tag is that of the name. */
bool meta_find(struct meta meta, uint8_t tag, struct span name,
               struct meta_field *out);

/* The value of a field that is no list. */
struct meta_value meta_value_of(const struct meta_field *field);

/* Items of a field, one after the other; of one that is no list, its value. */
struct meta_items {
    const uint8_t *at;
    size_t left;
    bool single;
    enum meta_kind kind;
};

struct meta_items meta_items_of(const struct meta_field *field);
bool meta_items_next(struct meta_items *items, struct meta_value *out);

/* Appends the object as JSON that meta_parse makes the same bytes of: objects
 * in objects, names in order, no white space but after ':' and ','. */
void meta_print(struct meta meta, struct buf *out);

/* A value as JSON. */
void meta_print_value(const struct meta_value *value, struct buf *out);

/* How names are sorted: '.' before every other byte. */
int meta_compare_names(struct span a, struct span b);

/* True if inner is name, a dot, and something. */
bool meta_is_inside(struct span inner, struct span name);

/* What is wrong with the name of a field, or NULL. */
const char *meta_name_wrong(struct span name);

#endif
