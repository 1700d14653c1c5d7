/* SPDX-License-Identifier: Apache-2.0 */

/* vector/field_index_text.h - strings of one field, each kept once.
 *
 * A string has a number as long as an entry holds it. For field_index*.c. */

#ifndef VECTOR_FIELD_INDEX_TEXT_H
#define VECTOR_FIELD_INDEX_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

/* No string has this number. (An enum would have to be an int.) */
#define FIELD_INDEX_NO_TEXT UINT32_MAX

struct field_index_text;

/* All zeros is an empty one. */
struct field_index_texts {
    struct field_index_text **list; /* by number; NULL: free */
    uint32_t *slots;                /* number + 1, hashed; 0: none */
    uint32_t *unused;               /* numbers to give again */
    uint32_t count, cap, unused_count;
    uint32_t slot_cap; /* a power of two, or 0 */
    size_t bytes;      /* of the strings */
};

void field_index_texts_deinit(struct field_index_texts *texts);

/* The number of a string, FIELD_INDEX_NO_TEXT if it is not kept. */
uint32_t field_index_texts_find(const struct field_index_texts *texts,
                                struct span text);

/* The number of a string, held once more.
 *   DLHT_ENOMEM */
MUST_USE int field_index_texts_hold(struct field_index_texts *texts,
                                    struct span text, uint32_t *number);

void field_index_texts_release(struct field_index_texts *texts,
                               uint32_t number);

struct span field_index_texts_at(const struct field_index_texts *texts,
                                 uint32_t number);

/* How often it is held. */
uint32_t field_index_texts_held(const struct field_index_texts *texts,
                                uint32_t number);

size_t field_index_texts_bytes(const struct field_index_texts *texts);

#endif
