/* SPDX-License-Identifier: Apache-2.0 */

/* wire/fields.h - a struct as a MessagePack array of its fields in fixed
 * order.
 *
 * Written: trailing fields that hold their default are left out, so an array
 * is as short as its last meaningful field. Read: missing trailing fields are
 * defaults, elements past the last known one are skipped. That is how bodies
 * grow without a new version. At most 15 fields, so the header is one byte.
 *
 *     struct fields_out f = fields_begin(b);     struct fields_in f = ...
 *     fields_put_uint(&f, x);                    x = fields_uint(&f, max);
 *     fields_end(&f);                            fields_close(&f);
 */

#ifndef WIRE_FIELDS_H
#define WIRE_FIELDS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "wire/mp.h"

enum {
    FIELDS_MAX = 15
};

struct fields_out {
    struct buf *b;
    size_t at;      /* of the array's header */
    size_t kept;    /* buffer length after the last meaningful field */
    unsigned count; /* fields so far */
    unsigned keep;  /* up to the last meaningful one */
};

static inline struct fields_out fields_begin(struct buf *b)
{
    struct fields_out f = { b, b->len, b->len + 1, 0, 0 };
    mp_write_byte(b, 0x90);
    return f;
}

/* A field was written by other means; meant: it is not the default. */
static inline void fields_note(struct fields_out *f, bool meant)
{
    f->count++;
    if (meant) {
        f->keep = f->count;
        f->kept = f->b->len;
    }
}

static inline void fields_end(struct fields_out *f)
{
    assert(f->count <= FIELDS_MAX);
    if (f->b->failed)
        return;
    f->b->data[f->at] = (uint8_t)(0x90 | f->keep);
    f->b->len = f->kept;
}

static inline void fields_put_uint(struct fields_out *f, uint64_t value)
{
    mp_write_uint(f->b, value);
    fields_note(f, value != 0);
}

static inline void fields_put_int(struct fields_out *f, int64_t value)
{
    mp_write_int(f->b, value);
    fields_note(f, value != 0);
}

static inline void fields_put_bool(struct fields_out *f, bool value)
{
    mp_write_bool(f->b, value);
    fields_note(f, value);
}

static inline void fields_put_bytes(struct fields_out *f, struct span bytes)
{
    mp_write_bin(f->b, bytes);
    fields_note(f, bytes.len > 0);
}

/* nil for the zero id. */
static inline void fields_put_id(struct fields_out *f, const struct id *id)
{
    bool meant = !id_is_zero(id);
    if (meant)
        mp_write_bin(f->b, span_of(id->bytes, ID_BYTES));
    else
        mp_write_nil(f->b);
    fields_note(f, meant);
}

struct fields_in {
    struct mp_reader *r;
    size_t left;
};

static inline struct fields_in fields_open(struct mp_reader *r)
{
    struct fields_in f = { r, mp_read_array(r) };
    return f;
}

/* Is there one more? Then it must be read by other means. */
static inline bool fields_more(struct fields_in *f)
{
    if (f->left == 0)
        return false;
    f->left--;
    return true;
}

static inline void fields_close(struct fields_in *f)
{
    for (; f->left > 0 && !f->r->bad; f->left--)
        mp_skip(f->r);
}

/* The next field, or its default; bad if it exceeds max. */
static inline uint64_t fields_uint(struct fields_in *f, uint64_t max)
{
    uint64_t value = fields_more(f) ? mp_read_uint(f->r) : 0;
    if (value > max) {
        mp_fail(f->r);
        return 0;
    }
    return value;
}

/* An int32_t in [min, 0]: a status. */
static inline int32_t fields_status(struct fields_in *f, int32_t min)
{
    int64_t value = fields_more(f) ? mp_read_int(f->r) : 0;
    if (value > 0 || value < min) {
        mp_fail(f->r);
        return 0;
    }
    return (int32_t)value;
}

static inline bool fields_bool(struct fields_in *f)
{
    return fields_more(f) && mp_read_bool(f->r);
}

/* Bad if longer than len_max. */
static inline struct span fields_bytes(struct fields_in *f, size_t len_max)
{
    struct span bytes = fields_more(f) ? mp_read_bytes(f->r) : span_empty();
    if (bytes.len > len_max) {
        mp_fail(f->r);
        return span_empty();
    }
    return bytes;
}

static inline bool fields_next_is_nil(const struct fields_in *f)
{
    return f->r->at < f->r->end && *f->r->at == 0xc0;
}

/* nil: the zero id. */
static inline struct id fields_id(struct fields_in *f)
{
    struct id id = { { 0 } };
    if (!fields_more(f))
        return id;
    if (fields_next_is_nil(f))
        mp_read_nil(f->r);
    else
        mp_read_fixed(f->r, id.bytes, ID_BYTES);
    return id;
}

#endif
