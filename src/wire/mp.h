/* SPDX-License-Identifier: Apache-2.0 */

/* wire/mp.h - MessagePack, read and written in place by hand.
 *
 * Reading never allocates and never goes past the end: a reader that met
 * anything unexpected is `bad` from then on, stands at its end, and gives
 * zeros and empty spans, so a parser checks once at its end. Spans point into
 * the input. str and bin are accepted for each other; integers of any width
 * and sign that fit. msgpack-c is the oracle that tests hold this against.
 *
 * What the data path uses is inline; the rare forms are calls. */

#ifndef WIRE_MP_H
#define WIRE_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/span.h"

enum {
    MP_DEPTH_MAX = 16 /* arrays and maps inside each other; WIRE_DEPTH_MAX */
};

struct mp_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

enum mp_type {
    MP_NONE, /* end of input, or bad */
    MP_NIL,
    MP_BOOL,
    MP_INT,
    MP_FLOAT,
    MP_BYTES, /* str or bin */
    MP_ARRAY,
    MP_MAP,
    MP_EXT
};

/* The forms that are longer than the inline readers handle. */
uint64_t mp_read_uint_wide(struct mp_reader *r);
struct span mp_read_bytes_wide(struct mp_reader *r);
size_t mp_read_array_wide(struct mp_reader *r);

static inline void mp_reader_init(struct mp_reader *r, struct span input)
{
    static const uint8_t nothing[1];
    r->at = input.data ? input.data : nothing;
    r->end = r->at + input.len;
    r->bad = false;
}

/* For a parser that finds a value it cannot accept. */
static inline void mp_fail(struct mp_reader *r)
{
    r->bad = true;
    r->at = r->end;
}

static inline size_t mp_left(const struct mp_reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline bool mp_at_end(const struct mp_reader *r)
{
    return r->at == r->end;
}

enum mp_type mp_peek(const struct mp_reader *r);

/* Bad if negative. */
static inline uint64_t mp_read_uint(struct mp_reader *r)
{
    if (r->at < r->end && *r->at < 0x80)
        return *r->at++;
    return mp_read_uint_wide(r);
}

int64_t mp_read_int(struct mp_reader *r);
bool mp_read_bool(struct mp_reader *r);
double mp_read_float(struct mp_reader *r); /* an integer is accepted */
void mp_read_nil(struct mp_reader *r);

static inline struct span mp_read_bytes(struct mp_reader *r)
{
    const uint8_t *p = r->at;
    size_t left = mp_left(r);
    size_t head = 2, len;
    if (left < 2)
        return mp_read_bytes_wide(r);
    if (p[0] == 0xc4) {
        len = p[1];
    } else if ((p[0] & 0xe0) == 0xa0) {
        head = 1;
        len = p[0] & 0x1fu;
    } else {
        return mp_read_bytes_wide(r);
    }
    if (left - head < len) {
        mp_fail(r);
        return span_empty();
    }
    r->at = p + head + len;
    return span_of(p + head, len);
}

/* Exactly len bytes of bin into out; bad, and zeros, if the length differs. */
void mp_read_fixed(struct mp_reader *r, void *out, size_t len);

/* Number of elements (pairs). Bad if more than the bytes left could hold. */
static inline size_t mp_read_array(struct mp_reader *r)
{
    if (r->at < r->end && (*r->at & 0xf0) == 0x90) {
        size_t elements = *r->at & 0x0fu;
        if (elements < mp_left(r)) {
            r->at++;
            return elements;
        }
    }
    return mp_read_array_wide(r);
}

size_t mp_read_map(struct mp_reader *r);

/* One whole value of any kind, at most MP_DEPTH_MAX deep, no recursion. */
void mp_skip(struct mp_reader *r);

/* As mp_skip, and gives its bytes. */
struct span mp_read_raw(struct mp_reader *r);

/* Is a whole value there? 1 yes (*len its bytes), 0 not yet (*len: bytes that
 * it has at the least), -1 never: it is malformed, too deep, or longer than
 * max. */
int mp_whole(struct span input, size_t max, size_t *len);

/* The same for a value that arrives piece by piece: all zeros begins one, each
 * call goes on where the last one stopped. input is always the whole of what
 * has arrived; max must not change. Once it answered 1 or -1, begin anew. */
struct mp_scan {
    size_t at;
    size_t depth;
    uint64_t pending;            /* values still to come, in all */
    uint64_t here;               /* ... in the innermost container */
    uint64_t left[MP_DEPTH_MAX]; /* ... in those around it */
    bool begun;
};

int mp_scan_more(struct mp_scan *scan, struct span input, size_t max,
                 size_t *len);

/* Writers append to a buf; shortest form. Failure is noted in buf.failed. */
void mp_write_int(struct buf *b, int64_t value);
void mp_write_float(struct buf *b, double value);
void mp_write_str(struct buf *b, struct span text);
void mp_write_cstr(struct buf *b, const char *text);
void mp_write_map(struct buf *b, size_t pairs);
/* Only the header of a bin of that many bytes. */
void mp_write_bin_header(struct buf *b, size_t len);
void mp_write_uint_wide(struct buf *b, uint64_t value);
void mp_write_array_wide(struct buf *b, size_t count);
void mp_write_bin_wide(struct buf *b, struct span bytes);

/* Where n more bytes may be written, or NULL with buf.failed set; the caller
 * adds what it wrote to b->len. */
static inline uint8_t *mp_room(struct buf *b, size_t n)
{
    if (b->failed || (b->cap - b->len < n && buf_reserve(b, n) != 0)) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->len;
}

static inline void mp_write_byte(struct buf *b, uint8_t byte)
{
    uint8_t *p = mp_room(b, 1);
    if (p) {
        *p = byte;
        b->len++;
    }
}

static inline void mp_write_nil(struct buf *b)
{
    mp_write_byte(b, 0xc0);
}

static inline void mp_write_bool(struct buf *b, bool value)
{
    mp_write_byte(b, value ? 0xc3 : 0xc2);
}

static inline void mp_write_uint(struct buf *b, uint64_t value)
{
    if (value < 0x80)
        mp_write_byte(b, (uint8_t)value);
    else
        mp_write_uint_wide(b, value);
}

static inline void mp_write_array(struct buf *b, size_t count)
{
    if (count < 16)
        mp_write_byte(b, (uint8_t)(0x90 | count));
    else
        mp_write_array_wide(b, count);
}

static inline void mp_write_bin(struct buf *b, struct span bytes)
{
    uint8_t *p;
    if (bytes.len > 0xff) {
        mp_write_bin_wide(b, bytes);
    } else if ((p = mp_room(b, 2 + bytes.len)) != NULL) {
        p[0] = 0xc4;
        p[1] = (uint8_t)bytes.len;
        if (bytes.len)
            memcpy(p + 2, bytes.data, bytes.len);
        b->len += 2 + bytes.len;
    }
}

#endif
