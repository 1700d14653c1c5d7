/* SPDX-License-Identifier: Apache-2.0 */

/* Making and measuring of entries. */

#include "store/cache_entry.h"

#include <assert.h>

enum {
    COST_BITS = 15,
    COST_MANTISSA = 10,
    BLOCK_OVERHEAD = 64 /* links of a block, and its alignment */
};

_Static_assert(COST_BITS + CACHE_ENTRY_KEY_BITS == 32, "one word");

static bool is_big(size_t data_len)
{
    return data_len > CACHE_ENTRY_INLINE_MAX;
}

static size_t object_size(size_t data_len, bool timer)
{
    size_t size = sizeof(struct cache_entry);
    if (timer)
        size += sizeof(struct cache_timer);
    return size + (is_big(data_len) ? sizeof(uint8_t *) : data_len);
}

/* len rounded up to an eighth of the power of two below. */
static size_t block_size(size_t len)
{
    size_t step = 2048;
    while (len > step * 16)
        step *= 2;
    return (len + step - 1) / step * step;
}

uint64_t cache_entry_charge(const struct records_arena *arena, size_t key_len,
                            size_t value_len, bool timer)
{
    size_t data_len = key_len + value_len;
    unsigned kind = records_arena_kind(object_size(data_len, timer));
    uint64_t charge = records_arena_kind_bytes(arena, kind) + CACHE_INDEX_BYTES;
    if (is_big(data_len))
        charge += block_size(data_len) + BLOCK_OVERHEAD;
    return charge;
}

static uint8_t *block_place(struct cache_entry *entry)
{
    return entry->bytes + (cache_entry_is(entry, CACHE_ENTRY_TIMER)
                               ? sizeof(struct cache_timer)
                               : 0);
}

/* The object alone, with its lengths and the flag of the timer. */
static uint32_t shell_new(struct records_arena *arena, size_t key_len,
                          size_t value_len, bool timer)
{
    assert(key_len <= CACHE_KEY_BYTES_MAX);
    assert(value_len <= CACHE_VALUE_BYTES_MAX);
    unsigned kind = records_arena_kind(object_size(key_len + value_len, timer));
    uint32_t ref = records_arena_take(arena, kind);
    if (ref == 0)
        return 0;
    struct cache_entry *entry = cache_entry_at(arena, ref);
    *entry = (struct cache_entry){ .key_cost = (uint32_t)key_len,
                                   .value_flags = (uint32_t)value_len };
    cache_entry_flag(entry, CACHE_ENTRY_TIMER, timer);
    if (timer)
        *cache_entry_timer(entry) =
            (struct cache_timer){ .expire_ms = CACHE_NEVER };
    return ref;
}

static bool block_new(struct records_arena *arena, struct cache_entry *entry)
{
    size_t len = cache_entry_key_len(entry) + cache_entry_value_len(entry);
    uint8_t *block = records_arena_block(arena, block_size(len));
    if (block)
        memcpy(block_place(entry), &block, sizeof block);
    return block != NULL;
}

uint32_t cache_entry_new(struct records_arena *arena, struct span key,
                         size_t value_len, bool timer)
{
    uint32_t ref = shell_new(arena, key.len, value_len, timer);
    if (ref == 0)
        return 0;
    struct cache_entry *entry = cache_entry_at(arena, ref);
    if (is_big(key.len + value_len) && !block_new(arena, entry)) {
        records_arena_give(arena, ref);
        return 0;
    }
    if (key.len)
        memcpy(cache_entry_data(entry), key.data, key.len);
    return ref;
}

void cache_entry_free(struct records_arena *arena, uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(arena, ref);
    if (is_big(cache_entry_key_len(entry) + cache_entry_value_len(entry)))
        records_arena_block_give(arena, cache_entry_data(entry));
    records_arena_give(arena, ref);
}

void cache_entry_free_shell(struct records_arena *arena, uint32_t ref)
{
    records_arena_give(arena, ref);
}

static bool same_block(size_t a, size_t b)
{
    return is_big(a) && is_big(b) && block_size(a) == block_size(b);
}

bool cache_entry_fits(const struct cache_entry *entry, size_t value_len)
{
    size_t key_len = cache_entry_key_len(entry);
    size_t before = key_len + cache_entry_value_len(entry);
    size_t after = key_len + value_len;
    bool timer = cache_entry_is(entry, CACHE_ENTRY_TIMER);
    if (is_big(before) || is_big(after))
        return same_block(before, after);
    return records_arena_kind(object_size(before, timer)) ==
           records_arena_kind(object_size(after, timer));
}

void cache_entry_value_len_set(struct cache_entry *entry, size_t value_len)
{
    assert(value_len <= CACHE_VALUE_BYTES_MAX);
    uint32_t mask = (1u << CACHE_ENTRY_VALUE_BITS) - 1;
    entry->value_flags = (entry->value_flags & ~mask) | (uint32_t)value_len;
}

/* What is not a link, a length or the flag of the timer. */
static void entry_inherit(struct cache_entry *entry, struct cache_entry *old)
{
    entry->version_marks = old->version_marks;
    entry->key_cost = old->key_cost;
    cache_entry_flag(entry, CACHE_ENTRY_NEGATIVE,
                     cache_entry_is(old, CACHE_ENTRY_NEGATIVE));
    if (cache_entry_timer(entry))
        cache_entry_timer(entry)->expire_ms = cache_entry_expire_ms(old);
}

uint32_t cache_entry_reshape(struct records_arena *arena, uint32_t ref,
                             size_t value_len, bool timer, bool keep,
                             bool *moved)
{
    struct cache_entry *old = cache_entry_at(arena, ref);
    size_t key_len = cache_entry_key_len(old);
    size_t old_len = key_len + cache_entry_value_len(old);
    uint32_t made = shell_new(arena, key_len, value_len, timer);
    *moved = false;
    if (made == 0)
        return 0;
    struct cache_entry *entry = cache_entry_at(arena, made);
    uint8_t *data = cache_entry_data(old);
    if (keep && same_block(old_len, key_len + value_len)) {
        memcpy(block_place(entry), &data, sizeof data);
        *moved = true;
    } else if (is_big(key_len + value_len) && !block_new(arena, entry)) {
        records_arena_give(arena, made);
        return 0;
    }
    if (!*moved && key_len)
        memcpy(cache_entry_data(entry), data, key_len);
    entry_inherit(entry, old);
    return made;
}

/* As a small floating-point number: 10 bits after a leading one, and how far
 * they are shifted; below 1024 exact. */
void cache_entry_cost_set(struct cache_entry *entry, uint32_t cost_us)
{
    uint32_t code = cost_us;
    uint32_t shift = 0;
    while (cost_us >> shift >= 2u << COST_MANTISSA)
        shift++;
    if (cost_us >= 1u << COST_MANTISSA)
        code = (shift + 1) << COST_MANTISSA |
               (cost_us >> shift & ((1u << COST_MANTISSA) - 1));
    entry->key_cost =
        (uint32_t)cache_entry_key_len(entry) | code << CACHE_ENTRY_KEY_BITS;
}

uint32_t cache_entry_cost_us(const struct cache_entry *entry)
{
    uint32_t code = entry->key_cost >> CACHE_ENTRY_KEY_BITS;
    uint32_t shift = code >> COST_MANTISSA;
    if (shift == 0)
        return code;
    uint32_t one = 1u << COST_MANTISSA;
    return (one | (code & (one - 1))) << (shift - 1);
}

struct cache_item cache_entry_item(struct cache_entry *entry)
{
    const uint8_t *data = cache_entry_data(entry);
    size_t key_len = cache_entry_key_len(entry);
    return (struct cache_item){
        .key = span_of(data, key_len),
        .value = span_of(data + key_len, cache_entry_value_len(entry)),
        .version = cache_entry_version(entry),
        .expire_ms = cache_entry_expire_ms(entry),
        .cost_us = cache_entry_cost_us(entry),
        .negative = cache_entry_is(entry, CACHE_ENTRY_NEGATIVE),
    };
}
