/* SPDX-License-Identifier: Apache-2.0 */

/* wire/cas_item.h - one record of a conditional batch, in lists of requests and
 * of commands: key, value and condition, three MessagePack bins. The condition
 * is the version that must be there, eight bytes, the least first, 0 for absent
 * (none: any is right), and then a byte, left out if 0: 1, the record is to be
 * removed; 2, it stays as it is, the condition is all; 4, in a cache it ends when
 * the one before would have. One of them at most. */

#ifndef WIRE_CAS_ITEM_H
#define WIRE_CAS_ITEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "wire/mp.h"

enum {
    CAS_ITEM_BINS = 3
};

struct cas_item {
    struct span key;
    struct span value; /* empty if removed */
    uint64_t version;
    bool any_version;
    bool remove;
    bool check;    /* only the condition; no value */
    bool keep_ttl; /* else it never ends */
};

/* The reader turns bad if there is no such item. */
struct cas_item cas_item_read(struct mp_reader *reader);

void cas_item_write(struct buf *out, const struct cas_item *item);

#endif
