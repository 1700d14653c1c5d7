/* SPDX-License-Identifier: Apache-2.0 */

/* base/buf.h - bytes that grow at the end.
 *
 * A buf is an open struct the caller embeds; all zeros is a valid empty one.
 * A failed append leaves the content as it was and sets `failed`, which stays
 * until reset: a writer of many parts may check once at its end. */

#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

struct buf {
    uint8_t *data; /* owned */
    size_t len;
    size_t cap;
    bool failed;
};

void buf_init(struct buf *b);

/* Frees the bytes; b is an empty buf again. */
void buf_deinit(struct buf *b);

/* Forgets the content, keeps the memory. */
void buf_reset(struct buf *b);

/* Room for extra more bytes after len. DLHT_ENOMEM */
MUST_USE int buf_reserve(struct buf *b, size_t extra);

/* Failure is noted in b->failed. */
void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_span(struct buf *b, struct span s);
void buf_append_byte(struct buf *b, uint8_t byte);

/* Drops the first n bytes, n <= len; the rest moves to the front. */
void buf_drop(struct buf *b, size_t n);

/* The content; valid until the next change. */
struct span buf_span(const struct buf *b);

/* The content as malloc'ed memory that the caller owns; b is empty after. */
uint8_t *buf_take(struct buf *b, size_t *len);

#endif
