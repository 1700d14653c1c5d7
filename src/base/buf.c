/* SPDX-License-Identifier: Apache-2.0 */

/* Growing bytes. */

#include "base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"

void buf_init(struct buf *b)
{
    memset(b, 0, sizeof *b);
}

void buf_deinit(struct buf *b)
{
    free(b->data);
    buf_init(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

int buf_reserve(struct buf *b, size_t extra)
{
    assert(b->len <= b->cap);
    if (b->cap - b->len >= extra)
        return DLHT_OK;
    size_t need = b->len + extra;
    if (need < extra)
        return DLHT_ENOMEM;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    uint8_t *grown = realloc(b->data, cap);
    if (!grown)
        return DLHT_ENOMEM;
    b->data = grown;
    b->cap = cap;
    return DLHT_OK;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (b->failed || buf_reserve(b, len) != DLHT_OK) {
        b->failed = true;
        return;
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

void buf_append_span(struct buf *b, struct span s)
{
    buf_append(b, s.data, s.len);
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    buf_append(b, &byte, 1);
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n && n < b->len)
        memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

struct span buf_span(const struct buf *b)
{
    return span_of(b->data, b->len);
}

uint8_t *buf_take(struct buf *b, size_t *len)
{
    uint8_t *data = b->data;
    *len = b->len;
    buf_init(b);
    return data;
}
