/* SPDX-License-Identifier: Apache-2.0 */

/* Records of conditional batches to bytes and back. */

#include "wire/cas_item.h"

#include <string.h>

enum {
    VERSION_BYTES = 8,
    REMOVED = 1,
    CHECKED = 2,
    KEEPS_TTL = 4
};

struct cas_item cas_item_read(struct mp_reader *r)
{
    struct cas_item item = { .key = mp_read_bytes(r) };
    item.value = mp_read_bytes(r); /* members may be set in any order */
    struct span condition = mp_read_bytes(r);
    item.any_version = condition.len < VERSION_BYTES;
    size_t at = item.any_version ? 0 : VERSION_BYTES;
    for (size_t i = at; i-- > 0 && !r->bad;)
        item.version = item.version << 8 | condition.data[i];
    uint8_t kind = !r->bad && condition.len > at ? condition.data[at] : 0;
    item.remove = kind == REMOVED;
    item.check = kind == CHECKED;
    item.keep_ttl = kind == KEEPS_TTL;
    bool is_kind =
        condition.len == at || item.remove || item.check || item.keep_ttl;
    if (r->bad || item.key.len == 0 || condition.len > at + 1 || !is_kind ||
        ((item.remove || item.check) && item.value.len))
        mp_fail(r);
    return item;
}

void cas_item_write(struct buf *out, const struct cas_item *item)
{
    uint8_t condition[VERSION_BYTES + 1];
    size_t len = 0;
    for (; !item->any_version && len < VERSION_BYTES; len++)
        condition[len] = (uint8_t)(item->version >> 8 * len);
    bool bare = item->remove || item->check;
    if (bare || item->keep_ttl)
        condition[len++] = item->remove  ? REMOVED
                           : item->check ? CHECKED
                                         : KEEPS_TTL;
    mp_write_bin(out, item->key);
    mp_write_bin(out, bare ? span_empty() : item->value);
    mp_write_bin(out, span_of(condition, len));
}
