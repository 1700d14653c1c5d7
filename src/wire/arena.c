/* SPDX-License-Identifier: Apache-2.0 */

/* The arena of unpacked arrays: blocks that double, chained so that what was
 * handed out stays where it is. */

#include <assert.h>
#include <stdlib.h>

#include "wire/body.h"

/* The newest block stands first in the chain; arena.used and arena.cap are
 * its. */
struct block {
    struct block *older;
    size_t unused; /* keeps the bytes after it aligned for anything */
};

enum {
    BLOCK_MIN = 4096,
    ALIGN = 16
};

_Static_assert(sizeof(struct block) % ALIGN == 0, "what follows is aligned");

static void free_chain(struct block *block)
{
    while (block) {
        struct block *older = block->older;
        free(block);
        block = older;
    }
}

void codec_arena_reset(struct codec_arena *arena)
{
    struct block *newest = arena->blocks;
    arena->used = 0;
    arena->total = 0;
    arena->failed = false;
    if (!newest)
        return;
    free_chain(newest->older);
    newest->older = NULL;
    if (arena->cap > CODEC_ARENA_KEEP)
        codec_arena_deinit(arena);
}

void codec_arena_deinit(struct codec_arena *arena)
{
    free_chain(arena->blocks);
    *arena = (struct codec_arena){ 0 };
}

static void *arena_take(struct codec_arena *arena, size_t bytes)
{
    assert(arena->used <= arena->cap);
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes > CODEC_ARENA_MAX - arena->total)
        return NULL;
    if (arena->cap - arena->used < bytes) {
        size_t cap = 2 * arena->cap > BLOCK_MIN ? 2 * arena->cap : BLOCK_MIN;
        if (cap > CODEC_ARENA_KEEP)
            cap = CODEC_ARENA_KEEP;
        if (cap < bytes)
            cap = bytes;
        struct block *block = malloc(sizeof *block + cap);
        if (!block)
            return NULL;
        block->older = arena->blocks;
        arena->blocks = block;
        arena->cap = cap;
        arena->used = 0;
    }
    uint8_t *data = (uint8_t *)((struct block *)arena->blocks + 1);
    void *taken = data + arena->used;
    arena->used += bytes;
    arena->total += bytes;
    return taken;
}

void *body_array(struct codec_arena *arena, struct mp_reader *r, size_t count,
                 size_t size, size_t packed_min)
{
    assert(size > 0 && packed_min > 0);
    if (r->bad || count == 0)
        return NULL;
    if (count > mp_left(r) / packed_min) {
        mp_fail(r);
        return NULL;
    }
    void *taken = NULL;
    if (count <= CODEC_ARENA_MAX / size)
        taken = arena_take(arena, count * size);
    if (!taken) {
        arena->failed = true;
        mp_fail(r);
    }
    return taken;
}
