/* SPDX-License-Identifier: Apache-2.0 */

/* A ring of lists. */

#include "net/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    memset(wheel->bits, 0, sizeof wheel->bits);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        wheel->slots[i].next = wheel->slots[i].previous = &wheel->slots[i];
    wheel->at = now_ns >> WHEEL_SHIFT;
}

void wheel_put(struct wheel *wheel, struct wheel_node *node, uint64_t at_ns)
{
    assert(!node->next);
    uint64_t number = (at_ns >> WHEEL_SHIFT) + 1;
    if (number <= wheel->at)
        number = wheel->at + 1;
    assert(number - wheel->at < WHEEL_SLOTS);
    size_t index = number % WHEEL_SLOTS;
    struct wheel_node *head = &wheel->slots[index];
    node->previous = head->previous;
    node->next = head;
    head->previous->next = node;
    head->previous = node;
    wheel->bits[index / 64] |= UINT64_C(1) << index % 64;
}

void wheel_remove(struct wheel_node *node)
{
    if (!node->next)
        return;
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = node->previous = NULL;
}

struct wheel_node *wheel_take(struct wheel *wheel, uint64_t now_ns)
{
    uint64_t now = now_ns >> WHEEL_SHIFT;
    if (now > wheel->at + WHEEL_SLOTS) /* slept long: each slot once */
        wheel->at = now - WHEEL_SLOTS;
    for (; wheel->at < now; wheel->at++) {
        size_t index = (wheel->at + 1) % WHEEL_SLOTS;
        struct wheel_node *head = &wheel->slots[index];
        if (head->next != head) {
            struct wheel_node *due = head->next;
            wheel_remove(due);
            return due;
        }
        wheel->bits[index / 64] &= ~(UINT64_C(1) << index % 64);
    }
    return NULL;
}

uint64_t wheel_next_ns(const struct wheel *wheel)
{
    for (uint64_t ahead = 1; ahead <= WHEEL_SLOTS; ahead++) {
        uint64_t number = wheel->at + ahead;
        size_t index = number % WHEEL_SLOTS;
        uint64_t bits = wheel->bits[index / 64];
        if (bits == 0) {
            ahead += 63 - index % 64;
            continue;
        }
        if ((bits >> index % 64 & 1) &&
            wheel->slots[index].next != &wheel->slots[index])
            return number << WHEEL_SHIFT;
    }
    return UINT64_MAX;
}
