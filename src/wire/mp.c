/* SPDX-License-Identifier: Apache-2.0 */

/* MessagePack: what mp.h does not inline. */

#include "wire/mp.h"

#include <assert.h>
#include <string.h>

#include "wire/message.h"

_Static_assert((int)MP_DEPTH_MAX == WIRE_DEPTH_MAX, "one depth limit");

/* What the first byte of a value says. */
struct form {
    uint8_t type;      /* enum mp_type; MP_NONE: no such form */
    uint8_t len_bytes; /* big-endian length or count after the first byte */
    uint8_t fixed;     /* payload bytes besides those that the length counts */
};

/* 0xc0 to 0xdf; the others are fixed forms. */
static const struct form forms[32] = {
    { MP_NIL, 0, 0 },   { MP_NONE, 0, 0 },  { MP_BOOL, 0, 0 },
    { MP_BOOL, 0, 0 },  { MP_BYTES, 1, 0 }, { MP_BYTES, 2, 0 },
    { MP_BYTES, 4, 0 }, { MP_EXT, 1, 1 },   { MP_EXT, 2, 1 },
    { MP_EXT, 4, 1 },   { MP_FLOAT, 0, 4 }, { MP_FLOAT, 0, 8 },
    { MP_INT, 0, 1 },   { MP_INT, 0, 2 },   { MP_INT, 0, 4 },
    { MP_INT, 0, 8 },   { MP_INT, 0, 1 },   { MP_INT, 0, 2 },
    { MP_INT, 0, 4 },   { MP_INT, 0, 8 },   { MP_EXT, 0, 2 },
    { MP_EXT, 0, 3 },   { MP_EXT, 0, 5 },   { MP_EXT, 0, 9 },
    { MP_EXT, 0, 17 },  { MP_BYTES, 1, 0 }, { MP_BYTES, 2, 0 },
    { MP_BYTES, 4, 0 }, { MP_ARRAY, 2, 0 }, { MP_ARRAY, 4, 0 },
    { MP_MAP, 2, 0 },   { MP_MAP, 4, 0 }
};

/* One value without its children. */
struct head {
    uint8_t type;
    uint64_t bytes;    /* all of a scalar; of a container its header */
    uint64_t children; /* values that follow: elements, or keys and values */
};

static inline uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* n is 1, 2, 4 or 8. */
static inline uint64_t read_big_endian(const uint8_t *p, size_t n)
{
    if (n == 1)
        return p[0];
    if (n == 2)
        return (uint64_t)p[0] << 8 | p[1];
    uint64_t high = read32(p);
    return n == 4 ? high : high << 32 | read32(p + 4);
}

/* The head of the forms that need no second byte. */
static inline bool fixed_head(uint8_t byte, struct head *out)
{
    struct head h = { MP_INT, 1, 0 };
    if (byte >= 0x80 && byte < 0x90) {
        h.type = MP_MAP;
        h.children = 2 * (uint64_t)(byte & 0x0f);
    } else if (byte >= 0x90 && byte < 0xa0) {
        h.type = MP_ARRAY;
        h.children = byte & 0x0f;
    } else if (byte >= 0xa0 && byte < 0xc0) {
        h.type = MP_BYTES;
        h.bytes = 1u + (byte & 0x1f);
    } else if (byte >= 0xc0 && byte < 0xe0) {
        return false;
    }
    *out = h;
    return true;
}

/* 1: *out is known; 0: the header goes past left (*out says how many bytes it
 * has at the least); -1: no such form. */
static inline int read_head(const uint8_t *p, size_t left, struct head *out)
{
    if (left == 0) {
        *out = (struct head){ MP_NONE, 1, 0 };
        return 0;
    }
    if (fixed_head(*p, out))
        return 1;
    const struct form *form = &forms[*p - 0xc0];
    *out = (struct head){ form->type, 1u + form->len_bytes + form->fixed, 0 };
    if (form->type == MP_NONE)
        return -1;
    if (form->len_bytes == 0)
        return 1;
    if (left < 1u + form->len_bytes)
        return 0;
    uint64_t n = read_big_endian(p + 1, form->len_bytes);
    if (form->type == MP_ARRAY)
        out->children = n;
    else if (form->type == MP_MAP)
        out->children = 2 * n;
    else
        out->bytes += n;
    return 1;
}

/* Bytes of a value whose first byte says it all; 0: it does not. */
static inline size_t scalar_bytes(uint8_t byte)
{
    static const uint8_t bytes[32] = { 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5,  9, 2,
                                       3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18 };
    if (byte < 0x80 || byte >= 0xe0)
        return 1;
    if (byte >= 0xc0)
        return bytes[byte - 0xc0];
    return byte >= 0xa0 ? 1u + (byte & 0x1f) : 0;
}

/* left is written before it is read. */
static inline void scan_begin(struct mp_scan *s)
{
    s->at = 0;
    s->depth = 0;
    s->pending = 1;
    s->here = 1;
    s->begun = true;
}

/* Past one value; pushes the level it was on if it has children. */
static inline bool scan_step(struct mp_scan *s, const struct head *h)
{
    s->at += (size_t)h->bytes;
    s->pending += h->children;
    s->pending--;
    s->here--;
    if (h->type == MP_ARRAY || h->type == MP_MAP) {
        if (s->depth == MP_DEPTH_MAX)
            return false;
        if (h->children > 0) {
            s->left[s->depth++] = s->here;
            s->here = h->children;
        }
    }
    while (s->here == 0 && s->depth > 0)
        s->here = s->left[--s->depth];
    return true;
}

/* Not inline: it is the loop that must be small. */
static int scan_slow(struct mp_scan *s, struct span input, size_t max,
                     size_t *len)
{
    struct head h;
    size_t left = input.len - s->at;
    int rc = read_head(input.data + s->at, left, &h);
    if (rc < 0)
        return -1;
    /* Every value still to come has one byte at the least. */
    uint64_t least = s->at + h.bytes + h.children + (s->pending - 1);
    if (least > max)
        return -1;
    if (rc == 0 || h.bytes > left) {
        *len = (size_t)least;
        return 0;
    }
    return scan_step(s, &h) ? 1 : -1;
}

int mp_scan_more(struct mp_scan *s, struct span input, size_t max, size_t *len)
{
    if (!s->begun)
        scan_begin(s);
    assert(s->at <= input.len);
    *len = input.len == 0; /* and no arithmetic on a NULL */
    if (input.len == 0)
        return max > 0 ? 0 : -1;
    size_t end = input.len < max ? input.len : max;
    while (s->pending > 0) {
        size_t bytes = s->at < end ? scalar_bytes(input.data[s->at]) : 0;
        if (bytes > 0 && s->here > 1 && bytes <= end - s->at &&
            s->pending - 1 <= max - s->at - bytes) {
            s->at += bytes;
            s->pending--;
            s->here--;
            continue;
        }
        int rc = scan_slow(s, input, max, len);
        if (rc <= 0)
            return rc;
    }
    *len = s->at;
    return 1;
}

int mp_whole(struct span input, size_t max, size_t *len)
{
    struct mp_scan scan;
    scan_begin(&scan);
    return mp_scan_more(&scan, input, max, len);
}

enum mp_type mp_peek(const struct mp_reader *r)
{
    struct head h;
    if (mp_at_end(r) || read_head(r->at, mp_left(r), &h) < 0)
        return MP_NONE;
    return (enum mp_type)h.type;
}

/* An integer of any width: its 64 bits, and whether they are a negative
 * number's. */
static uint64_t read_integer(struct mp_reader *r, bool *negative)
{
    static const uint8_t widths[8] = { 1, 2, 4, 8, 1, 2, 4, 8 };
    *negative = false;
    uint8_t byte = mp_at_end(r) ? 0xc1 : *r->at;
    if (byte < 0x80) {
        r->at++;
        return byte;
    }
    if (byte >= 0xe0) {
        r->at++;
        *negative = true;
        return 0xffffffffffffff00u | byte;
    }
    if (byte < 0xcc || byte > 0xd3 || mp_left(r) < 1u + widths[byte - 0xcc]) {
        mp_fail(r);
        return 0;
    }
    size_t width = widths[byte - 0xcc];
    uint64_t value = read_big_endian(r->at + 1, width);
    r->at += 1 + width;
    if (byte >= 0xd0 && value >> (8 * width - 1)) {
        *negative = true;
        value |= width < 8 ? UINT64_MAX << (8 * width) : 0;
    }
    return value;
}

uint64_t mp_read_uint_wide(struct mp_reader *r)
{
    bool negative;
    uint64_t value = read_integer(r, &negative);
    if (negative) {
        mp_fail(r);
        return 0;
    }
    return value;
}

int64_t mp_read_int(struct mp_reader *r)
{
    bool negative;
    uint64_t value = read_integer(r, &negative);
    if (!negative && value > INT64_MAX) {
        mp_fail(r);
        return 0;
    }
    int64_t number;
    memcpy(&number, &value, sizeof number);
    return number;
}

bool mp_read_bool(struct mp_reader *r)
{
    if (mp_at_end(r) || (*r->at != 0xc2 && *r->at != 0xc3)) {
        mp_fail(r);
        return false;
    }
    return *r->at++ == 0xc3;
}

double mp_read_float(struct mp_reader *r)
{
    if (mp_peek(r) == MP_INT) {
        bool negative;
        uint64_t value = read_integer(r, &negative);
        return negative ? -(double)(0 - value) : (double)value;
    }
    size_t left = mp_left(r);
    if (left >= 5 && *r->at == 0xca) {
        uint32_t bits = (uint32_t)read_big_endian(r->at + 1, 4);
        float value;
        memcpy(&value, &bits, sizeof value);
        r->at += 5;
        return (double)value;
    }
    if (left >= 9 && *r->at == 0xcb) {
        uint64_t bits = read_big_endian(r->at + 1, 8);
        double value;
        memcpy(&value, &bits, sizeof value);
        r->at += 9;
        return value;
    }
    mp_fail(r);
    return 0;
}

void mp_read_nil(struct mp_reader *r)
{
    if (!mp_at_end(r) && *r->at == 0xc0)
        r->at++;
    else
        mp_fail(r);
}

struct span mp_read_bytes_wide(struct mp_reader *r)
{
    struct head h;
    size_t left = mp_left(r);
    if (read_head(r->at, left, &h) != 1 || h.type != MP_BYTES ||
        h.bytes > left) {
        mp_fail(r);
        return span_empty();
    }
    size_t head = *r->at < 0xc0 ? 1 : 1u + forms[*r->at - 0xc0].len_bytes;
    struct span bytes = span_of(r->at + head, (size_t)h.bytes - head);
    r->at += h.bytes;
    return bytes;
}

void mp_read_fixed(struct mp_reader *r, void *out, size_t len)
{
    struct span bytes = mp_read_bytes(r);
    if (r->bad || bytes.len != len) {
        mp_fail(r);
        memset(out, 0, len);
    } else if (len) {
        memcpy(out, bytes.data, len);
    }
}

/* Children of the container of that type that stands next. */
static size_t read_container(struct mp_reader *r, uint8_t type)
{
    struct head h;
    size_t left = mp_left(r);
    if (read_head(r->at, left, &h) != 1 || h.type != type ||
        h.children > left - h.bytes) {
        mp_fail(r);
        return 0;
    }
    r->at += h.bytes;
    return (size_t)h.children;
}

size_t mp_read_array_wide(struct mp_reader *r)
{
    return read_container(r, MP_ARRAY);
}

size_t mp_read_map(struct mp_reader *r)
{
    return read_container(r, MP_MAP) / 2;
}

struct span mp_read_raw(struct mp_reader *r)
{
    size_t len;
    size_t left = mp_left(r);
    const uint8_t *from = r->at;
    if (mp_whole(span_of(from, left), left, &len) != 1) {
        mp_fail(r);
        return span_empty();
    }
    r->at += len;
    return span_of(from, len);
}

void mp_skip(struct mp_reader *r)
{
    (void)mp_read_raw(r);
}

/* A first byte and a big-endian number of len bytes, len <= 8. */
static inline void write_headed(struct buf *b, uint8_t first, uint64_t number,
                                unsigned len)
{
    uint8_t *p = mp_room(b, 1 + 8);
    if (!p)
        return;
    p[0] = first;
    for (unsigned i = 0; i < len; i++)
        p[1 + i] = (uint8_t)(number >> 8 * (len - 1 - i));
    b->len += 1 + len;
}

void mp_write_uint_wide(struct buf *b, uint64_t value)
{
    if (value < 0x80)
        write_headed(b, (uint8_t)value, 0, 0);
    else if (value <= UINT8_MAX)
        write_headed(b, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        write_headed(b, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        write_headed(b, 0xce, value, 4);
    else
        write_headed(b, 0xcf, value, 8);
}

void mp_write_int(struct buf *b, int64_t value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value >= 0)
        mp_write_uint(b, bits);
    else if (value >= -32)
        write_headed(b, (uint8_t)bits, 0, 0);
    else if (value >= INT8_MIN)
        write_headed(b, 0xd0, bits, 1);
    else if (value >= INT16_MIN)
        write_headed(b, 0xd1, bits, 2);
    else if (value >= INT32_MIN)
        write_headed(b, 0xd2, bits, 4);
    else
        write_headed(b, 0xd3, bits, 8);
}

void mp_write_float(struct buf *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    write_headed(b, 0xcb, bits, 8);
}

/* The shortest of three headers with 1, 2 and 4 bytes of length; first8 0:
 * there is none of 1. */
static void write_length(struct buf *b, uint8_t first8, uint8_t first16,
                         size_t len)
{
    if (len <= UINT8_MAX && first8)
        write_headed(b, first8, len, 1);
    else if (len <= UINT16_MAX)
        write_headed(b, first16, len, 2);
    else if (len <= UINT32_MAX)
        write_headed(b, (uint8_t)(first16 + 1), len, 4);
    else
        b->failed = true;
}

void mp_write_bin_header(struct buf *b, size_t len)
{
    write_length(b, 0xc4, 0xc5, len);
}

void mp_write_bin_wide(struct buf *b, struct span bytes)
{
    mp_write_bin_header(b, bytes.len);
    buf_append_span(b, bytes);
}

void mp_write_str(struct buf *b, struct span text)
{
    if (text.len < 32)
        mp_write_byte(b, (uint8_t)(0xa0 | text.len));
    else
        write_length(b, 0xd9, 0xda, text.len);
    buf_append_span(b, text);
}

void mp_write_cstr(struct buf *b, const char *text)
{
    mp_write_str(b, span_str(text));
}

void mp_write_array_wide(struct buf *b, size_t count)
{
    if (count < 16)
        mp_write_byte(b, (uint8_t)(0x90 | count));
    else
        write_length(b, 0, 0xdc, count);
}

void mp_write_map(struct buf *b, size_t pairs)
{
    if (pairs < 16)
        mp_write_byte(b, (uint8_t)(0x80 | pairs));
    else
        write_length(b, 0, 0xde, pairs);
}
