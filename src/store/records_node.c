/* SPDX-License-Identifier: Apache-2.0 */

/* Search and change within one node. */

#include "store/records_node.h"

#include <assert.h>
#include <string.h>

#include "store/records_entry.h"

struct records_node *records_node_new(struct records_arena *arena,
                                      unsigned level)
{
    uint32_t ref = records_arena_take(arena, level ? RECORDS_ARENA_KIND_INNER
                                                   : RECORDS_ARENA_KIND_LEAF);
    if (ref == 0)
        return NULL;
    struct records_node *node = records_node_at(arena, ref);
    *node = (struct records_node){ .self = ref, .level = (uint8_t)level };
    return node;
}

static size_t room(const struct records_node *node)
{
    return node->level == 0 ? RECORDS_LEAF_KEYS : RECORDS_INNER_KEYS;
}

/* Up to 8 bytes as a big-endian number, zeros after the end. */
static uint64_t word_of(struct span key, size_t skip)
{
    if (key.len == skip)
        return 0;
    const uint8_t *p = key.data + skip;
    if (key.len - skip >= 8)
        return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 |
               (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
               (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
               (uint64_t)p[6] << 8 | (uint64_t)p[7];
    uint64_t word = 0;
    for (size_t i = 0; i < key.len - skip; i++)
        word |= (uint64_t)p[i] << (56 - 8 * i);
    return word;
}

static struct span key_at(const struct records_arena *arena,
                          const struct records_node *node, size_t index)
{
    return records_entry_key(arena, records_node_refs(node)[index]);
}

size_t records_node_common(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;
    while (n - i >= 8 && memcmp(a.data + i, b.data + i, 8) == 0)
        i += 8;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

/* How key compares with the bytes that all keys share: less than zero, it is
 * before all of them; zero, it has them too; else it is after. */
static int prefix_order(const struct records_arena *arena,
                        const struct records_node *node, struct span key)
{
    size_t skip = node->skip;
    size_t held = skip < RECORDS_NODE_PREFIX ? skip : RECORDS_NODE_PREFIX;
    size_t n = key.len < held ? key.len : held;
    int order = n ? memcmp(key.data, node->prefix, n) : 0;
    if (order == 0 && skip > held && key.len > held) {
        n = (key.len < skip ? key.len : skip) - held;
        order = memcmp(key.data + held, key_at(arena, node, 0).data + held, n);
    }
    if (order == 0 && key.len < skip)
        return -1;
    return order;
}

/* How many of count sorted numbers are less than word. */
static size_t words_lower(const uint64_t *words, size_t count, uint64_t word)
{
    size_t base = 0;
    while (count > 1) {
        size_t half = count / 2;
        base += words[base + half - 1] < word ? half : 0;
        count -= half;
    }
    return base + (count == 1 && words[base] < word);
}

/* Among the keys whose number is word, from index on, by whole keys. */
static size_t equal_lower(const struct records_arena *arena,
                          const struct records_node *node, size_t index,
                          struct span key, bool *equal)
{
    const uint64_t *words = records_node_words(node);
    uint64_t word = words[index];
    size_t end = index + 1;
    while (end < node->count && words[end] == word)
        end++;
    struct span tail = span_tail(key, node->skip);
    while (index < end) {
        size_t middle = index + (end - index) / 2;
        struct span other = key_at(arena, node, middle);
        int order = span_compare(span_tail(other, node->skip), tail);
        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order < 0)
            index = middle + 1;
        else
            end = middle;
    }
    return index;
}

size_t records_node_lower(const struct records_arena *arena,
                          const struct records_node *node, struct span key,
                          bool *equal)
{
    *equal = false;
    if (node->count == 0)
        return 0;
    if (node->skip) {
        int order = prefix_order(arena, node, key);
        if (order != 0)
            return order < 0 ? 0 : node->count;
    }
    const uint64_t *words = records_node_words(node);
    uint64_t word = word_of(key, node->skip);
    size_t index = words_lower(words, node->count, word);
    if (index < node->count && words[index] == word)
        return equal_lower(arena, node, index, key, equal);
    return index;
}

static void prefix_set(struct records_node *node, struct span key, size_t skip)
{
    node->skip = (uint32_t)skip;
    size_t held = skip < RECORDS_NODE_PREFIX ? skip : RECORDS_NODE_PREFIX;
    if (held)
        memcpy(node->prefix, key.data, held);
}

/* Skips all that the keys share, which are then read one by one. */
static void skip_raise(const struct records_arena *arena,
                       struct records_node *node)
{
    const uint32_t *refs = records_node_refs(node);
    uint64_t *words = records_node_words(node);
    for (size_t i = 0; i < node->count; i++)
        prefetch_line(records_arena_at(arena, refs[i]));
    struct span first = key_at(arena, node, 0);
    struct span last = key_at(arena, node, node->count - 1u);
    prefix_set(node, first, records_node_common(first, last));
    for (size_t i = 0; i < node->count; i++)
        words[i] = word_of(key_at(arena, node, i), node->skip);
}

/* Raises skip where the numbers tell the keys apart by their lower half
 * only: there equal numbers are near. */
static void skip_tune(const struct records_arena *arena,
                      struct records_node *node)
{
    if (node->count < 2)
        return;
    const uint64_t *words = records_node_words(node);
    if ((words[0] ^ words[node->count - 1u]) >> 32 == 0)
        skip_raise(arena, node);
}

/* The keys now share skip bytes only. What moves into the numbers is known:
 * no key but the first is read. */
static void skip_lower(const struct records_arena *arena,
                       struct records_node *node, size_t skip)
{
    struct span first = key_at(arena, node, 0);
    size_t fewer = node->skip - skip;
    uint64_t shared = word_of(first, skip);
    uint64_t *words = records_node_words(node);
    for (size_t i = 0; i < node->count; i++) {
        if (fewer >= 8)
            words[i] = shared;
        else
            words[i] =
                (shared & ~(UINT64_MAX >> 8 * fewer)) | words[i] >> 8 * fewer;
    }
    prefix_set(node, first, skip);
}

void records_node_insert(const struct records_arena *arena,
                         struct records_node *node, size_t index,
                         struct span key, uint32_t ref)
{
    size_t count = node->count;
    assert(index <= count && count < room(node));
    if (count == 0) {
        prefix_set(node, key, 0);
    } else if (node->skip && prefix_order(arena, node, key) != 0) {
        size_t common = records_node_common(key, key_at(arena, node, 0));
        skip_lower(arena, node, common);
    }
    uint64_t *words = records_node_words(node);
    uint32_t *refs = records_node_refs(node);
    memmove(words + index + 1, words + index, (count - index) * sizeof *words);
    memmove(refs + index + 1, refs + index, (count - index) * sizeof *refs);
    words[index] = word_of(key, node->skip);
    refs[index] = ref;
    node->count++;
    if (node->count == 2)
        skip_raise(arena, node);
}

void records_node_extend(const struct records_arena *arena,
                         struct records_node *node, const uint32_t *refs,
                         size_t count)
{
    size_t had = node->count;
    assert(count > 0 && had + count <= room(node));
    if (had < 2) { /* nothing is known yet of what they share */
        for (size_t i = 0; i < count; i++)
            records_node_insert(arena, node, had + i,
                                records_entry_key(arena, refs[i]), refs[i]);
        return;
    }
    struct span last = records_entry_key(arena, refs[count - 1]);
    if (node->skip && prefix_order(arena, node, last) != 0)
        skip_lower(arena, node,
                   records_node_common(last, key_at(arena, node, 0)));
    uint64_t *words = records_node_words(node);
    for (size_t i = 0; i < count; i++)
        words[had + i] = word_of(records_entry_key(arena, refs[i]), node->skip);
    memcpy(records_node_refs(node) + had, refs, count * sizeof *refs);
    node->count = (uint16_t)(had + count);
}

void records_node_erase(struct records_node *node, size_t index, size_t count)
{
    assert(index + count <= node->count);
    uint64_t *words = records_node_words(node);
    uint32_t *refs = records_node_refs(node);
    size_t after = node->count - index - count;
    memmove(words + index, words + index + count, after * sizeof *words);
    memmove(refs + index, refs + index + count, after * sizeof *refs);
    node->count = (uint16_t)(node->count - count);
}

void records_node_append(const struct records_arena *arena,
                         struct records_node *node,
                         const struct records_node *from_node, size_t from,
                         size_t to)
{
    size_t n = to - from;
    assert(from <= to && to <= from_node->count);
    assert(node->level == from_node->level && node->count + n <= room(node));
    if (n == 0)
        return;
    uint64_t *words = records_node_words(node);
    uint32_t *refs = records_node_refs(node);
    memcpy(words + node->count, records_node_words(from_node) + from,
           n * sizeof *words);
    memcpy(refs + node->count, records_node_refs(from_node) + from,
           n * sizeof *refs);
    bool was_empty = node->count == 0;
    node->count = (uint16_t)(node->count + n);
    if (was_empty) {
        prefix_set(node, key_at(arena, node, 0), from_node->skip);
        skip_tune(arena, node);
    } else {
        skip_raise(arena, node);
    }
}

void records_node_copy(struct records_node *leaf,
                       const struct records_node *from_leaf, size_t from,
                       size_t to, const uint32_t *refs)
{
    assert(leaf->count == 0 && leaf->level == 0 && from_leaf->level == 0);
    assert(from <= to && to <= from_leaf->count);
    leaf->skip = from_leaf->skip;
    memcpy(leaf->prefix, from_leaf->prefix, sizeof leaf->prefix);
    leaf->count = (uint16_t)(to - from);
    memcpy(records_node_words(leaf), records_node_words(from_leaf) + from,
           (to - from) * sizeof(uint64_t));
    memcpy(records_node_refs(leaf), refs, (to - from) * sizeof *refs);
}

void records_node_truncate(const struct records_arena *arena,
                           struct records_node *node, size_t count)
{
    assert(count <= node->count);
    node->count = (uint16_t)count;
    skip_tune(arena, node);
}

uint64_t records_node_bytes(const struct records_arena *arena,
                            const struct records_node *leaf, size_t from,
                            size_t to)
{
    assert(leaf->level == 0 && from <= to && to <= leaf->count);
    const uint32_t *refs = records_node_refs(leaf);
    for (size_t i = from; i < to; i++)
        prefetch_line(records_arena_at(arena, refs[i]));
    uint64_t bytes = 0;
    for (size_t i = from; i < to; i++)
        bytes += records_entry_data_len(records_entry_at(arena, refs[i]));
    return bytes;
}

void records_node_check(const struct records_arena *arena,
                        const struct records_node *node)
{
    assert(node->count <= room(node));
    if (node->count == 0)
        return;
    const uint64_t *words = records_node_words(node);
    struct span first = key_at(arena, node, 0);
    for (size_t i = 0; i < node->count; i++) {
        struct span key = key_at(arena, node, i);
        assert(key.len >= node->skip);
        assert(prefix_order(arena, node, key) == 0);
        assert(records_node_common(first, key) >= node->skip);
        assert(words[i] == word_of(key, node->skip));
        assert(i == 0 || span_compare(key_at(arena, node, i - 1), key) < 0);
    }
}
