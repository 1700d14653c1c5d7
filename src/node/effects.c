/* SPDX-License-Identifier: Apache-2.0 */

/* The list of effects and its arena. */

#include "node/effects.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    ARENA_BLOCK_BYTES = 64 << 10
};

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t cap;
    alignas(max_align_t) uint8_t bytes[];
};

void effects_deinit(struct effects *effects)
{
    for (struct arena_block *b = effects->arena; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    free(effects->list);
    memset(effects, 0, sizeof *effects);
}

void effects_reset(struct effects *effects)
{
    effects->count = 0;
    /* One block stays, so that a quiet turn allocates nothing. */
    struct arena_block *keep = NULL;
    for (struct arena_block *b = effects->arena; b;) {
        struct arena_block *next = b->next;
        if (!keep && b->cap == ARENA_BLOCK_BYTES)
            keep = b;
        else
            free(b);
        b = next;
    }
    effects->arena = keep;
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
}

struct effect *effects_add(struct effects *effects, enum effect_kind kind)
{
    if (effects->count == effects->cap) {
        size_t cap = effects->cap ? effects->cap * 2 : 32;
        struct effect *grown =
            mem_resize(effects->list, cap, sizeof *effects->list);
        if (!grown)
            return NULL;
        effects->list = grown;
        effects->cap = cap;
    }
    struct effect *effect = &effects->list[effects->count++];
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    return effect;
}

void *effects_room(struct effects *effects, size_t bytes)
{
    size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    struct arena_block *b = effects->arena;
    if (!b || b->cap - b->used < bytes) {
        size_t cap = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
        b = malloc(sizeof *b + cap);
        if (!b)
            return NULL;
        b->next = effects->arena;
        b->used = 0;
        b->cap = cap;
        effects->arena = b;
    }
    void *room = b->bytes + b->used;
    b->used += bytes;
    return room;
}

struct span effects_copy(struct effects *effects, struct span bytes)
{
    if (bytes.len == 0)
        return span_empty();
    void *room = effects_room(effects, bytes.len);
    if (!room)
        return span_empty();
    memcpy(room, bytes.data, bytes.len);
    return span_of(room, bytes.len);
}
