/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_arena.h - the memory of one map of records.
 *
 * Chunks (8 KiB at first, so that a small map stays small, 2 MiB once it is
 * large) are cut into pages of 4 KiB, pages are lent as runs of 1 to 16 to one
 * size class each, and a run is cut into objects of that size. A run that has
 * become empty serves any class, a chunk that has become empty goes back. An
 * object is named by 32 bits, half a pointer: its chunk and its place in units
 * of 8 bytes; so one arena holds 32 GiB of objects. What is bigger than an
 * object may be is a block of its own.
 *
 * A slab is an object that holds several, one behind the other, of any size;
 * it becomes free when all that were in it are.
 *
 * Objects do not move. The descriptors of runs are kept apart, so that freeing
 * all is a matter of chunks. */

#ifndef STORE_RECORDS_ARENA_H
#define STORE_RECORDS_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefetch.h"
#include "store/records.h"

enum {
    RECORDS_ARENA_OBJECT_MAX = 16 << 10,
    RECORDS_ARENA_KINDS = 130, /* 72 size classes, leaf, inner node, slabs */
    RECORDS_ARENA_KIND_LEAF = 72,
    RECORDS_ARENA_KIND_INNER = 73,
    RECORDS_ARENA_KIND_SLAB = 74,     /* of the size of class 16, and so on */
    RECORDS_ARENA_LEAF_BYTES = 816,   /* five of them a page */
    RECORDS_ARENA_INNER_BYTES = 2024, /* two of them a page */
    RECORDS_ARENA_UNIT = 8,
    RECORDS_ARENA_SLAB_MAX = RECORDS_ARENA_OBJECT_MAX - RECORDS_ARENA_UNIT,
    RECORDS_ARENA_PAGE_BITS = 9,   /* units of a page */
    RECORDS_ARENA_CHUNK_BITS = 18, /* units of the largest chunk */
    RECORDS_ARENA_ORDERS = 5       /* runs of 1, 2, 4, 8, 16 pages */
};

struct records_run;
struct records_chunk;
struct records_block;

struct records_arena {
    uint8_t **bases; /* by chunk number; number 0 is not used */
    struct records_chunk *chunks;
    uint32_t chunk_count; /* numbers handed out, 0 included */
    uint32_t chunk_cap;
    uint32_t idle_chunks;                     /* chunks without a run */
    uint32_t free_pages;                      /* in no run */
    uint32_t free_runs[RECORDS_ARENA_ORDERS]; /* page names, 0: none */
    uint32_t open_runs[RECORDS_ARENA_KINDS];  /* runs with room */
    uint16_t units[RECORDS_ARENA_KINDS];      /* size of the objects */
    struct records_block *blocks;
    size_t block_count;
    uint64_t taken; /* bytes got from pages and not given back */
    struct records_pages pages;
};

/* NULL pages: malloc. Takes nothing yet. */
void records_arena_init(struct records_arena *arena,
                        const struct records_pages *pages);

/* Gives everything back: objects, blocks; memory got by raw is the caller's. */
void records_arena_deinit(struct records_arena *arena);

/* As deinit, but no more than so many blocks and chunks a call: for memory
 * that nothing refers to any more. True: all is given back. */
bool records_arena_dismantle(struct records_arena *arena, uint32_t parts);

/* Bytes that an object of that class takes. */
static inline size_t records_arena_kind_bytes(const struct records_arena *arena,
                                              unsigned kind)
{
    return (size_t)arena->units[kind] * RECORDS_ARENA_UNIT;
}

/* The class whose objects have room for size bytes, 1 .. OBJECT_MAX. */
unsigned records_arena_kind(size_t size);

/* A new object's name, uninitialised; 0: no memory. */
uint32_t records_arena_take(struct records_arena *arena, unsigned kind);

void records_arena_give(struct records_arena *arena, uint32_t ref);

/* A slab with size bytes for count objects, the first of which is named; the
 * others follow at multiples of UNIT as the caller divides it. All are in use,
 * and given back one by one. At most SLAB_MAX bytes. 0: no memory. */
uint32_t records_arena_slab(struct records_arena *arena, size_t size,
                            uint32_t count);

bool records_arena_in_slab(const struct records_arena *arena, uint32_t ref);

/* Bytes taken and in use: without the pages that any class may have. */
static inline uint64_t
records_arena_used_bytes(const struct records_arena *arena)
{
    return arena->taken - ((uint64_t)arena->free_pages * RECORDS_ARENA_UNIT
                           << RECORDS_ARENA_PAGE_BITS);
}

/* Whether less than four fifths of an object's run are in use. */
bool records_arena_is_sparse(const struct records_arena *arena, uint32_t ref);

bool records_arena_same_run(const struct records_arena *arena, uint32_t a,
                            uint32_t b);

/* Whether without this object half or less of its slab would be in use, but
 * some: the rest should move to a new one. */
bool records_arena_thins(const struct records_arena *arena, uint32_t ref);

static inline void *records_arena_at(const struct records_arena *arena,
                                     uint32_t ref)
{
    return arena->bases[ref >> RECORDS_ARENA_CHUNK_BITS] +
           (size_t)(ref & ((1u << RECORDS_ARENA_CHUNK_BITS) - 1)) *
               RECORDS_ARENA_UNIT;
}

/* Big memory that deinit frees, or NULL: no memory. */
uint8_t *records_arena_block(struct records_arena *arena, size_t size);
void records_arena_block_give(struct records_arena *arena, uint8_t *block);

/* Hands a block over to another arena with the same pages. */
void records_arena_block_move(struct records_arena *from,
                              struct records_arena *to, uint8_t *block);

/* Accounted memory that its taker gives back. */
void *records_arena_raw(struct records_arena *arena, size_t size);
void records_arena_raw_give(struct records_arena *arena, void *memory,
                            size_t size);

/* Asserts what lists and descriptors promise; linear in pages. Returns the
 * number of live objects. */
size_t records_arena_check(const struct records_arena *arena);

#endif
