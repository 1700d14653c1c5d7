/* SPDX-License-Identifier: Apache-2.0 */

/* net/wheel.h - many deadlines, each put, removed and found due in O(1).
 *
 * Slots of 8 ms that cover 65 s; a deadline is found due up to one slot late,
 * never early, and none may lie further ahead than WHEEL_AHEAD_NS. Nodes are
 * embedded by their owner. */

#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WHEEL_SLOTS = 8192,
    WHEEL_SHIFT = 23 /* a slot is 2^23 ns */
};

#define WHEEL_AHEAD_NS ((uint64_t)(WHEEL_SLOTS - 2) << WHEEL_SHIFT)

struct wheel_node {
    struct wheel_node *next; /* NULL: in no slot */
    struct wheel_node *previous;
};

struct wheel {
    struct wheel_node slots[WHEEL_SLOTS]; /* heads */
    uint64_t bits[WHEEL_SLOTS / 64];      /* slots that may hold something */
    uint64_t at; /* the slot number up to which all was taken */
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);
void wheel_put(struct wheel *wheel, struct wheel_node *node, uint64_t at_ns);
void wheel_remove(struct wheel_node *node); /* in no slot: nothing */

/* The next one that is due, removed; NULL: none. */
struct wheel_node *wheel_take(struct wheel *wheel, uint64_t now_ns);

/* When wheel_take has something, at the earliest; UINT64_MAX: empty. */
uint64_t wheel_next_ns(const struct wheel *wheel);

#endif
