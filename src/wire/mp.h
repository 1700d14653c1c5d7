/* SPDX-License-Identifier: Apache-2.0 */

/* wire/mp.h - MessagePack, read and written in place by hand.
 *
 * Reading never allocates and never goes past the end: a reader that met
 * anything unexpected is `bad` from then on and gives zeros and empty spans,
 * so a parser checks once at its end. Spans point into the input. str and bin
 * are accepted for each other; integers of any width and sign that fit.
 * msgpack-c is the oracle that tests hold this against. */

#ifndef WIRE_MP_H
#define WIRE_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

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

void mp_reader_init(struct mp_reader *r, struct span input);
enum mp_type mp_peek(const struct mp_reader *r);
uint64_t mp_read_uint(struct mp_reader *r); /* bad if negative */
int64_t mp_read_int(struct mp_reader *r);
bool mp_read_bool(struct mp_reader *r);
double mp_read_float(struct mp_reader *r); /* an integer is accepted */
void mp_read_nil(struct mp_reader *r);
struct span mp_read_bytes(struct mp_reader *r);
/* Exactly len bytes of bin into out; bad if the length differs. */
void mp_read_fixed(struct mp_reader *r, void *out, size_t len);
/* Number of elements (pairs). Bad if more than the bytes left could hold. */
size_t mp_read_array(struct mp_reader *r);
size_t mp_read_map(struct mp_reader *r);
/* One whole value of any kind, at most WIRE_DEPTH_MAX deep, no recursion. */
void mp_skip(struct mp_reader *r);
/* As mp_skip, and gives its bytes. */
struct span mp_read_raw(struct mp_reader *r);
bool mp_at_end(const struct mp_reader *r);

/* Is a whole value there? 1 yes (*len its bytes), 0 not yet, -1 never: it is
 * malformed, too deep, or longer than max.
 */
int mp_whole(struct span input, size_t max, size_t *len);

/* Writers append to a buf; shortest form. Failure is noted in buf.failed. */
void mp_write_nil(struct buf *b);
void mp_write_bool(struct buf *b, bool value);
void mp_write_uint(struct buf *b, uint64_t value);
void mp_write_int(struct buf *b, int64_t value);
void mp_write_float(struct buf *b, double value);
void mp_write_bin(struct buf *b, struct span bytes);
void mp_write_str(struct buf *b, struct span text);
void mp_write_cstr(struct buf *b, const char *text);
void mp_write_array(struct buf *b, size_t count);
void mp_write_map(struct buf *b, size_t pairs);
/* Only the header of a bin of that many bytes. */
void mp_write_bin_header(struct buf *b, size_t len);

#endif
