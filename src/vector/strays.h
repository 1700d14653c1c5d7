/* SPDX-License-Identifier: Apache-2.0 */

/* vector/strays.h - for each node of a graph, who links to it without being
 * linked back.
 *
 * Most links of the graph are mutual, so a node's in-neighbours are those of
 * its out-neighbours that link back, and its strays. Keeping only these costs a
 * third of whole reverse lists. Lists are chains of blocks of 32 bytes; the
 * first may be partly filled, the others are full.
 *
 * A list is a number that its owner keeps: STRAYS_EMPTY at first. */

#ifndef VECTOR_STRAYS_H
#define VECTOR_STRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"

#define STRAYS_EMPTY UINT32_MAX

enum {
    STRAYS_PER_BLOCK = 7
};

struct strays_block {
    uint32_t next;
    uint32_t rows[STRAYS_PER_BLOCK]; /* the filled ones first */
};

struct strays {
    struct strays_block *blocks;
    uint32_t cap;
    uint32_t used;       /* blocks ever given out */
    uint32_t free;       /* chain of those given back */
    uint32_t free_count; /* in it */
};

void strays_init(struct strays *s);
void strays_deinit(struct strays *s);

/* So many additions will find room. DLHT_ENOMEM */
MUST_USE int strays_reserve(struct strays *s, size_t additions);

/* Room has been reserved. */
void strays_add(struct strays *s, uint32_t *list, uint32_t row);

/* It is there. */
void strays_remove(struct strays *s, uint32_t *list, uint32_t row);

bool strays_has(const struct strays *s, uint32_t list, uint32_t row);
size_t strays_count(const struct strays *s, uint32_t list);

/* Writes all of them to out, which has room. */
size_t strays_copy(const struct strays *s, uint32_t list, uint32_t *out);

void strays_clear(struct strays *s, uint32_t *list);

#endif
