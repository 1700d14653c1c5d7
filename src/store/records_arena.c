/* SPDX-License-Identifier: Apache-2.0 */

/* Chunks, runs and objects. Free runs are kept by a buddy system within their
 * chunk: a run of 2^n pages begins at a multiple of 2^n. */

#include "store/records_arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES = RECORDS_ARENA_UNIT << RECORDS_ARENA_PAGE_BITS,
    PAGE_UNITS = 1 << RECORDS_ARENA_PAGE_BITS,
    CHUNK_PAGE_BITS = RECORDS_ARENA_CHUNK_BITS - RECORDS_ARENA_PAGE_BITS,
    CHUNK_BYTES_MIN = 8 << 10,
    CHUNK_BYTES_MAX = RECORDS_ARENA_UNIT << RECORDS_ARENA_CHUNK_BITS,
    CHUNK_NUMBERS = 1 << (32 - RECORDS_ARENA_CHUNK_BITS),
    KIND_FREE = 255,   /* first page of a free run */
    KIND_INSIDE = 254, /* another page of a free run */
    SLAB_CLASS = 16    /* that of the smallest slab */
};

/* One for each page. Those of a run in use all know its kind and order, the
 * rest is kept at its first page. */
struct records_run {
    uint32_t next; /* in the list of open or of free runs */
    uint32_t previous;
    uint16_t live;  /* objects in use */
    uint16_t given; /* first returned object: its unit + 1; 0: none */
    uint16_t fresh; /* units handed out at least once */
    uint8_t kind;
    uint8_t order;
};

/* What a slab begins with. */
struct slab {
    uint16_t unused; /* the link of a free one */
    uint16_t count;  /* objects at first */
    uint32_t live;   /* objects in use */
};

_Static_assert(sizeof(struct slab) == RECORDS_ARENA_UNIT, "one unit");

struct records_chunk {
    struct records_run *runs;
    uint32_t page_count;
    uint32_t free_count;
};

struct records_block {
    struct records_block *next;
    struct records_block *previous;
    size_t size;
};

static void *default_take(void *self, size_t size)
{
    (void)self;
    size_t align = size >= CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : 64;
    if (size > SIZE_MAX - align)
        return NULL;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void default_give(void *self, void *memory, size_t size)
{
    (void)self;
    (void)size;
    free(memory);
}

/* n > 0 */
static unsigned log2_floor(size_t n)
{
#if defined(__GNUC__)
    return 63u - (unsigned)__builtin_clzll(n);
#else
    unsigned bits = 0;
    while (n >>= 1)
        bits++;
    return bits;
#endif
}

/* Steps of 8 up to 128 bytes, then eight steps for each doubling: an eighth
 * is wasted at most. */
unsigned records_arena_kind(size_t size)
{
    assert(size > 0 && size <= RECORDS_ARENA_OBJECT_MAX);
    size_t last = size - 1;
    if (last < 128)
        return (unsigned)(last / 8);
    unsigned e = log2_floor(last);
    return 16 + (e - 7) * 8 + (unsigned)((last - ((size_t)1 << e)) >> (e - 3));
}

static size_t kind_bytes(unsigned kind)
{
    if (kind == RECORDS_ARENA_KIND_LEAF)
        return RECORDS_ARENA_LEAF_BYTES;
    if (kind == RECORDS_ARENA_KIND_INNER)
        return RECORDS_ARENA_INNER_BYTES;
    if (kind >= RECORDS_ARENA_KIND_SLAB)
        kind = kind - RECORDS_ARENA_KIND_SLAB + SLAB_CLASS;
    if (kind < 16)
        return (size_t)(kind + 1) * 8;
    size_t base = (size_t)128 << (kind - 16) / 8;
    return base + base / 8 * ((kind - 16) % 8 + 1);
}

/* The smallest run that wastes a twelfth of itself at most. */
static unsigned kind_order(unsigned kind)
{
    size_t size = kind_bytes(kind);
    unsigned order = 0;
    while (order + 1 < RECORDS_ARENA_ORDERS) {
        size_t run = (size_t)PAGE_BYTES << order;
        if (run >= size && run % size <= run / 12)
            break;
        order++;
    }
    return order;
}

void records_arena_init(struct records_arena *arena,
                        const struct records_pages *pages)
{
    *arena = (struct records_arena){
        .pages = { default_take, default_give, NULL },
    };
    if (pages)
        arena->pages = *pages;
    for (unsigned kind = 0; kind < RECORDS_ARENA_KINDS; kind++)
        arena->units[kind] = (uint16_t)(kind_bytes(kind) / RECORDS_ARENA_UNIT);
}

void *records_arena_raw(struct records_arena *arena, size_t size)
{
    void *memory = arena->pages.take(arena->pages.self, size);
    if (memory)
        arena->taken += size;
    return memory;
}

void records_arena_raw_give(struct records_arena *arena, void *memory,
                            size_t size)
{
    assert(arena->taken >= size);
    arena->taken -= size;
    arena->pages.give(arena->pages.self, memory, size);
}

static struct records_run *run_at(const struct records_arena *arena,
                                  uint32_t page)
{
    return &arena->chunks[page >> CHUNK_PAGE_BITS]
                .runs[page & ((1u << CHUNK_PAGE_BITS) - 1)];
}

static void list_push(struct records_arena *arena, uint32_t *head,
                      uint32_t page)
{
    struct records_run *run = run_at(arena, page);
    run->previous = 0;
    run->next = *head;
    if (*head)
        run_at(arena, *head)->previous = page;
    *head = page;
}

static void list_drop(struct records_arena *arena, uint32_t *head,
                      uint32_t page)
{
    struct records_run *run = run_at(arena, page);
    if (run->next)
        run_at(arena, run->next)->previous = run->previous;
    if (run->previous)
        run_at(arena, run->previous)->next = run->next;
    else
        *head = run->next;
}

static void free_push(struct records_arena *arena, uint32_t page,
                      unsigned order)
{
    struct records_run *run = run_at(arena, page);
    run->kind = KIND_FREE;
    run->order = (uint8_t)order;
    list_push(arena, &arena->free_runs[order], page);
}

static bool tables_grow(struct records_arena *arena)
{
    uint32_t cap = arena->chunk_cap ? arena->chunk_cap * 2 : 4;
    uint8_t **bases = records_arena_raw(arena, cap * sizeof *bases);
    struct records_chunk *chunks =
        records_arena_raw(arena, cap * sizeof *chunks);
    if (!bases || !chunks) {
        if (bases)
            records_arena_raw_give(arena, bases, cap * sizeof *bases);
        if (chunks)
            records_arena_raw_give(arena, chunks, cap * sizeof *chunks);
        return false;
    }
    memset(bases, 0, cap * sizeof *bases);
    memset(chunks, 0, cap * sizeof *chunks);
    if (arena->chunk_cap) {
        size_t old = arena->chunk_cap;
        memcpy(bases, arena->bases, old * sizeof *bases);
        memcpy(chunks, arena->chunks, old * sizeof *chunks);
        records_arena_raw_give(arena, arena->bases, old * sizeof *bases);
        records_arena_raw_give(arena, arena->chunks, old * sizeof *chunks);
    }
    arena->bases = bases;
    arena->chunks = chunks;
    arena->chunk_cap = cap;
    return true;
}

/* A number without a chunk, 0: none left or no memory. */
static uint32_t chunk_number(struct records_arena *arena)
{
    for (uint32_t i = 1; i < arena->chunk_count; i++)
        if (!arena->bases[i])
            return i;
    if (arena->chunk_count == 0)
        arena->chunk_count = 1;
    if (arena->chunk_count >= CHUNK_NUMBERS)
        return 0;
    if (arena->chunk_count >= arena->chunk_cap && !tables_grow(arena))
        return 0;
    return arena->chunk_count;
}

/* A map grows by a half or so at a time, between the two bounds. */
static size_t chunk_size(const struct records_arena *arena, unsigned order)
{
    size_t size = CHUNK_BYTES_MIN;
    while (size < (size_t)PAGE_BYTES << order ||
           (size < CHUNK_BYTES_MAX && size < arena->taken / 4))
        size *= 2;
    return size;
}

static bool chunk_new(struct records_arena *arena, unsigned order)
{
    uint32_t number = chunk_number(arena);
    if (number == 0)
        return false;
    size_t size = chunk_size(arena, order);
    uint32_t page_count = (uint32_t)(size / PAGE_BYTES);
    size_t runs_size = page_count * sizeof(struct records_run);
    uint8_t *base = records_arena_raw(arena, size);
    if (!base)
        return false;
    struct records_run *runs = records_arena_raw(arena, runs_size);
    if (!runs) {
        records_arena_raw_give(arena, base, size);
        return false;
    }
    memset(runs, 0, runs_size);
    for (uint32_t i = 0; i < page_count; i++)
        runs[i].kind = KIND_INSIDE;
    if (number == arena->chunk_count)
        arena->chunk_count++;
    arena->bases[number] = base;
    arena->chunks[number] =
        (struct records_chunk){ runs, page_count, page_count };
    arena->idle_chunks++;
    arena->free_pages += page_count;

    unsigned top = log2_floor(page_count);
    if (top >= RECORDS_ARENA_ORDERS)
        top = RECORDS_ARENA_ORDERS - 1;
    for (uint32_t i = page_count; i > 0; i -= 1u << top)
        free_push(arena, (number << CHUNK_PAGE_BITS) + i - (1u << top), top);
    return true;
}

static void chunk_give(struct records_arena *arena, uint32_t number)
{
    struct records_chunk *chunk = &arena->chunks[number];
    records_arena_raw_give(arena, arena->bases[number],
                           (size_t)chunk->page_count * PAGE_BYTES);
    records_arena_raw_give(arena, chunk->runs,
                           chunk->page_count * sizeof *chunk->runs);
    arena->bases[number] = NULL;
    *chunk = (struct records_chunk){ 0 };
}

/* Takes an idle chunk out of the lists and gives it back. */
static void chunk_retire(struct records_arena *arena, uint32_t number)
{
    struct records_chunk *chunk = &arena->chunks[number];
    for (uint32_t i = 0; i < chunk->page_count; i++) {
        unsigned order = chunk->runs[i].order;
        if (chunk->runs[i].kind == KIND_FREE)
            list_drop(arena, &arena->free_runs[order],
                      (number << CHUNK_PAGE_BITS) + i);
    }
    arena->free_pages -= chunk->page_count;
    chunk_give(arena, number);
    arena->idle_chunks--;
}

/* A free run of exactly 2^order pages, out of the lists; 0: no memory. */
static uint32_t pages_take(struct records_arena *arena, unsigned order)
{
    unsigned from = order;
    while (from < RECORDS_ARENA_ORDERS && !arena->free_runs[from])
        from++;
    if (from == RECORDS_ARENA_ORDERS) {
        if (!chunk_new(arena, order))
            return 0;
        for (from = order; !arena->free_runs[from];)
            from++;
    }
    uint32_t page = arena->free_runs[from];
    list_drop(arena, &arena->free_runs[from], page);
    while (from > order) {
        from--;
        free_push(arena, page + (1u << from), from);
    }
    struct records_chunk *chunk = &arena->chunks[page >> CHUNK_PAGE_BITS];
    if (chunk->free_count == chunk->page_count)
        arena->idle_chunks--;
    chunk->free_count -= 1u << order;
    arena->free_pages -= 1u << order;
    return page;
}

static void pages_give(struct records_arena *arena, uint32_t page,
                       unsigned order)
{
    uint32_t number = page >> CHUNK_PAGE_BITS;
    struct records_chunk *chunk = &arena->chunks[number];
    for (uint32_t i = 0; i < 1u << order; i++)
        run_at(arena, page + i)->kind = KIND_INSIDE;
    chunk->free_count += 1u << order;
    arena->free_pages += 1u << order;
    while (order + 1 < RECORDS_ARENA_ORDERS &&
           2u << order <= chunk->page_count) {
        uint32_t buddy = page ^ 1u << order;
        struct records_run *run = run_at(arena, buddy);
        if (run->kind != KIND_FREE || run->order != order)
            break;
        list_drop(arena, &arena->free_runs[order], buddy);
        run->kind = KIND_INSIDE;
        page &= ~(1u << order);
        order++;
    }
    free_push(arena, page, order);
    /* One idle chunk is kept, lest a map at the brink take and give it. */
    if (chunk->free_count == chunk->page_count && ++arena->idle_chunks > 1)
        chunk_retire(arena, number);
}

static bool run_new(struct records_arena *arena, unsigned kind)
{
    unsigned order = kind_order(kind);
    uint32_t page = pages_take(arena, order);
    if (page == 0)
        return false;
    for (uint32_t i = 0; i < 1u << order; i++) {
        struct records_run *run = run_at(arena, page + i);
        *run = (struct records_run){ .kind = (uint8_t)kind,
                                     .order = (uint8_t)order };
    }
    list_push(arena, &arena->open_runs[kind], page);
    return true;
}

static bool run_is_full(const struct records_run *run, uint32_t units)
{
    return run->given == 0 && run->fresh + units > (uint32_t)PAGE_UNITS
                                                       << run->order;
}

uint32_t records_arena_take(struct records_arena *arena, unsigned kind)
{
    if (arena->open_runs[kind] == 0 && !run_new(arena, kind))
        return 0;
    uint32_t page = arena->open_runs[kind];
    uint32_t units = arena->units[kind];
    struct records_run *run = run_at(arena, page);
    uint32_t ref = page << RECORDS_ARENA_PAGE_BITS;
    if (run->given) {
        ref += run->given - 1u;
        memcpy(&run->given, records_arena_at(arena, ref), sizeof run->given);
    } else {
        ref += run->fresh;
        run->fresh = (uint16_t)(run->fresh + units);
    }
    run->live++;
    if (run_is_full(run, units))
        list_drop(arena, &arena->open_runs[kind], page);
    return ref;
}

/* The first page of the run that an object is in. */
static uint32_t page_of(const struct records_arena *arena, uint32_t ref)
{
    uint32_t page = ref >> RECORDS_ARENA_PAGE_BITS;
    return page & ~((1u << run_at(arena, page)->order) - 1);
}

bool records_arena_is_sparse(const struct records_arena *arena, uint32_t ref)
{
    const struct records_run *run = run_at(arena, page_of(arena, ref));
    uint32_t used = run->live * arena->units[run->kind];
    return used * 5 < ((uint32_t)PAGE_UNITS << run->order) * 4;
}

bool records_arena_same_run(const struct records_arena *arena, uint32_t a,
                            uint32_t b)
{
    return page_of(arena, a) == page_of(arena, b);
}

static struct slab *slab_at(const struct records_arena *arena, uint32_t ref)
{
    return (struct slab *)records_arena_at(arena, ref);
}

uint32_t records_arena_slab(struct records_arena *arena, size_t size,
                            uint32_t count)
{
    assert(size > 0 && size <= RECORDS_ARENA_SLAB_MAX);
    assert(count > 0 && count <= UINT16_MAX);
    unsigned class = records_arena_kind(sizeof(struct slab) + size);
    if (class < SLAB_CLASS)
        class = SLAB_CLASS;
    uint32_t ref =
        records_arena_take(arena, class - SLAB_CLASS + RECORDS_ARENA_KIND_SLAB);
    if (ref == 0)
        return 0;
    *slab_at(arena, ref) =
        (struct slab){ .count = (uint16_t)count, .live = count };
    return ref + 1;
}

bool records_arena_in_slab(const struct records_arena *arena, uint32_t ref)
{
    return run_at(arena, page_of(arena, ref))->kind >= RECORDS_ARENA_KIND_SLAB;
}

/* An object, or a slab as a whole, goes back to its run. */
static void object_give(struct records_arena *arena, uint32_t page,
                        uint32_t ref)
{
    struct records_run *run = run_at(arena, page);
    unsigned kind = run->kind;
    assert(kind < RECORDS_ARENA_KINDS && run->live > 0);
    bool was_full = run_is_full(run, arena->units[kind]);

    memcpy(records_arena_at(arena, ref), &run->given, sizeof run->given);
    run->given = (uint16_t)(ref - (page << RECORDS_ARENA_PAGE_BITS) + 1);
    run->live--;
    if (run->live == 0) {
        if (!was_full)
            list_drop(arena, &arena->open_runs[kind], page);
        pages_give(arena, page, run->order);
    } else if (was_full) {
        list_push(arena, &arena->open_runs[kind], page);
    }
}

/* The slab that an object is in; 0: in none. */
static uint32_t slab_of(const struct records_arena *arena, uint32_t page,
                        uint32_t ref)
{
    unsigned kind = run_at(arena, page)->kind;
    if (kind < RECORDS_ARENA_KIND_SLAB)
        return 0;
    uint32_t inside = ref - (page << RECORDS_ARENA_PAGE_BITS);
    return ref - inside % arena->units[kind];
}

bool records_arena_thins(const struct records_arena *arena, uint32_t ref)
{
    uint32_t whole = slab_of(arena, page_of(arena, ref), ref);
    if (whole == 0)
        return false;
    const struct slab *slab = slab_at(arena, whole);
    return slab->live > 1 && (slab->live - 1) * 2 <= slab->count;
}

void records_arena_give(struct records_arena *arena, uint32_t ref)
{
    assert(ref != 0);
    uint32_t page = page_of(arena, ref);
    uint32_t whole = slab_of(arena, page, ref);
    if (whole != 0) {
        struct slab *slab = slab_at(arena, whole);
        assert(slab->live > 0 && ref > whole);
        if (--slab->live > 0)
            return;
        ref = whole;
    }
    object_give(arena, page, ref);
}

static void block_link(struct records_arena *arena, struct records_block *block)
{
    block->previous = NULL;
    block->next = arena->blocks;
    if (arena->blocks)
        arena->blocks->previous = block;
    arena->blocks = block;
    arena->block_count++;
}

static void block_unlink(struct records_arena *arena,
                         struct records_block *block)
{
    if (block->next)
        block->next->previous = block->previous;
    if (block->previous)
        block->previous->next = block->next;
    else
        arena->blocks = block->next;
    arena->block_count--;
}

uint8_t *records_arena_block(struct records_arena *arena, size_t size)
{
    assert(size <= SIZE_MAX / 2);
    struct records_block *block =
        records_arena_raw(arena, sizeof *block + size);
    if (!block)
        return NULL;
    block->size = sizeof *block + size;
    block_link(arena, block);
    return (uint8_t *)(block + 1);
}

void records_arena_block_give(struct records_arena *arena, uint8_t *block)
{
    struct records_block *b = (struct records_block *)(void *)block - 1;
    block_unlink(arena, b);
    records_arena_raw_give(arena, b, b->size);
}

void records_arena_block_move(struct records_arena *from,
                              struct records_arena *to, uint8_t *block)
{
    struct records_block *b = (struct records_block *)(void *)block - 1;
    block_unlink(from, b);
    from->taken -= b->size;
    block_link(to, b);
    to->taken += b->size;
}

void records_arena_deinit(struct records_arena *arena)
{
    while (arena->blocks)
        records_arena_block_give(arena, (uint8_t *)(arena->blocks + 1));
    for (uint32_t i = 1; i < arena->chunk_count; i++)
        if (arena->bases[i])
            chunk_give(arena, i);
    if (arena->chunk_cap) {
        size_t cap = arena->chunk_cap;
        records_arena_raw_give(arena, arena->bases, cap * sizeof(uint8_t *));
        records_arena_raw_give(arena, arena->chunks,
                               cap * sizeof *arena->chunks);
    }
    arena->bases = NULL;
    arena->chunks = NULL;
    arena->chunk_cap = arena->chunk_count = 0;
}

bool records_arena_dismantle(struct records_arena *arena, uint32_t parts)
{
    for (; arena->blocks; parts--) {
        if (parts == 0)
            return false;
        records_arena_block_give(arena, (uint8_t *)(arena->blocks + 1));
    }
    while (arena->chunk_count > 1 && parts > 0) {
        uint32_t last = --arena->chunk_count;
        if (!arena->bases[last])
            continue;
        chunk_give(arena, last);
        parts--;
    }
    if (arena->chunk_count > 1)
        return false;
    records_arena_deinit(arena);
    return true;
}

/* Objects in use in the slabs of a run. */
static size_t slabs_check(const struct records_arena *arena, uint32_t page)
{
    const struct records_run *run = run_at(arena, page);
    uint32_t units = arena->units[run->kind];
    uint32_t slabs = 0;
    size_t live = 0;
    for (uint32_t at = 0; at < run->fresh; at += units) {
        const struct slab *slab =
            slab_at(arena, (page << RECORDS_ARENA_PAGE_BITS) + at);
        assert(slab->live <= slab->count);
        slabs += slab->live > 0;
        live += slab->live;
    }
    assert(slabs == run->live);
    return live;
}

static size_t chunk_check(const struct records_arena *arena, uint32_t number)
{
    const struct records_chunk *chunk = &arena->chunks[number];
    size_t live = 0;
    uint32_t free_count = 0;
    uint32_t i = 0;
    while (i < chunk->page_count) {
        const struct records_run *run = &chunk->runs[i];
        uint32_t pages = 1u << run->order;
        assert(run->order < RECORDS_ARENA_ORDERS && i % pages == 0);
        if (run->kind == KIND_FREE) {
            free_count += pages;
        } else {
            assert(run->kind < RECORDS_ARENA_KINDS);
            assert(run->live > 0);
            assert(run->live * arena->units[run->kind] <= run->fresh);
            if (run->kind < RECORDS_ARENA_KIND_SLAB)
                live += run->live;
            else
                live += slabs_check(arena, (number << CHUNK_PAGE_BITS) + i);
        }
        i += pages;
    }
    assert(i == chunk->page_count && free_count == chunk->free_count);
    return live;
}

size_t records_arena_check(const struct records_arena *arena)
{
    size_t live = 0;
    uint32_t idle = 0;
    uint32_t free_pages = 0;
    for (uint32_t i = 1; i < arena->chunk_count; i++) {
        if (!arena->bases[i])
            continue;
        live += chunk_check(arena, i);
        free_pages += arena->chunks[i].free_count;
        if (arena->chunks[i].free_count == arena->chunks[i].page_count)
            idle++;
    }
    assert(idle == arena->idle_chunks && free_pages == arena->free_pages);
    for (unsigned kind = 0; kind < RECORDS_ARENA_KINDS; kind++)
        for (uint32_t page = arena->open_runs[kind]; page;
             page = run_at(arena, page)->next) {
            assert(run_at(arena, page)->kind == kind);
            assert(!run_is_full(run_at(arena, page), arena->units[kind]));
        }
    size_t blocks = 0;
    for (const struct records_block *b = arena->blocks; b; b = b->next)
        blocks++;
    assert(blocks == arena->block_count);
    return live;
}
