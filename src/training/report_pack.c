/* SPDX-License-Identifier: Apache-2.0 */

/* Reports as they travel: neighbouring quantiles begin alike. */

#include "dlht/err.h"
#include "training/report.h"

enum {
    GROUP_BITS = 7
};

static void pack_groups(struct buf *out, uint64_t x)
{
    for (; x >> GROUP_BITS > 0; x >>= GROUP_BITS)
        buf_append_byte(out, (uint8_t)(x | 0x80));
    buf_append_byte(out, (uint8_t)x);
}

static void pack_key(struct buf *out, struct span before, struct span key)
{
    size_t n = before.len < key.len ? before.len : key.len;
    size_t common = 0;
    while (common < n && before.data[common] == key.data[common])
        common++;
    pack_groups(out, common);
    pack_groups(out, key.len - common);
    buf_append_span(out, span_tail(key, common));
}

void report_pack(const struct report *report, struct buf *out)
{
    struct span before = report->lo;
    for (size_t i = 0; i < report->quantile_count; i++) {
        pack_key(out, before, report->quantiles[i].key);
        pack_groups(out, report->quantiles[i].count);
        before = report->quantiles[i].key;
    }
    if (report->quantile_count > 0)
        pack_key(out, before, report->end);
}

/* After something was short or too long, bad stays and zeros come. */
struct unpacking {
    struct span left;
    bool bad;
    struct buf *room; /* NULL: only measured */
    struct span before;
    size_t total; /* bytes of keys so far */
};

static uint64_t unpack_groups(struct unpacking *u)
{
    uint64_t x = 0;
    for (int shift = 0; shift < 63; shift += GROUP_BITS) {
        u->bad = u->bad || u->left.len == 0;
        if (u->bad)
            return 0;
        uint8_t byte = u->left.data[0];
        u->left = span_tail(u->left, 1);
        x |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return x;
    }
    u->bad = true;
    return 0;
}

/* Only measured, a key has a length but no bytes. */
static struct span unpack_key(struct unpacking *u)
{
    uint64_t common = unpack_groups(u);
    uint64_t more = unpack_groups(u);
    u->bad = u->bad || common > u->before.len || more > u->left.len ||
             common + more > REPORT_KEY_LEN_MAX ||
             u->total + common + more > REPORT_BYTES_MAX;
    if (u->bad)
        return span_empty();
    struct span tail = span_of(u->left.data, (size_t)more);
    struct span key = { NULL, (size_t)(common + more) };
    u->left = span_tail(u->left, (size_t)more);
    u->total += key.len;
    if (u->room) {
        size_t at = u->room->len;
        buf_append(u->room, u->before.data, (size_t)common);
        buf_append_span(u->room, tail);
        key.data = u->room->data ? u->room->data + at : NULL;
    }
    u->before = key;
    return key;
}

static void unpack_all(struct unpacking *u, size_t count,
                       struct fit_quantile *quantiles, struct span *end)
{
    for (size_t i = 0; i < count && !u->bad; i++) {
        quantiles[i].key = unpack_key(u);
        quantiles[i].count = unpack_groups(u);
    }
    *end = count > 0 ? unpack_key(u) : span_empty();
}

int report_unpack(struct span packed, struct span lo, size_t count,
                  struct fit_quantile *quantiles, struct span *end,
                  struct buf *room)
{
    struct unpacking measured = { .left = packed, .before = lo };
    unpack_all(&measured, count, quantiles, end);
    if (measured.bad || measured.left.len > 0)
        return DLHT_EPROTO;
    buf_reset(room);
    if (buf_reserve(room, measured.total) != DLHT_OK)
        return DLHT_ENOMEM;
    struct unpacking u = { .left = packed, .before = lo, .room = room };
    unpack_all(&u, count, quantiles, end);
    return DLHT_OK;
}
