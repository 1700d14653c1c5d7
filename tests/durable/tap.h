/* SPDX-License-Identifier: Apache-2.0 */

/* tests/durable/tap.h - stands between a store and its disk, and speaks up
 * after each call that changed something. */

#ifndef TESTS_DURABLE_TAP_H
#define TESTS_DURABLE_TAP_H

#include "store/disk.h"

enum tap_call {
    TAP_OPEN,
    TAP_CREATE,
    TAP_SIZE,
    TAP_ALLOCATE,
    TAP_READ,
    TAP_WRITE,
    TAP_SYNC,
    TAP_RENAME,
    TAP_REMOVE,
    TAP_LIST,
    TAP_SYNC_NAMES,
    TAP_CALLS
};

struct tap {
    struct disk inner;
    /* After a call; NULL is allowed. */
    void (*after)(void *context, enum tap_call call);
    /* Before a call: not DLHT_OK says that it fails with that and does
     * nothing. NULL is allowed. */
    int (*before)(void *context, enum tap_call call);
    void *context;
    /* True as the inner disk is entered, false as it is left; NULL is
     * allowed. */
    void (*inside)(bool inner);
};

struct disk tap_disk(struct tap *tap);

/* "open", "create", ... */
const char *tap_name(enum tap_call call);

#endif
