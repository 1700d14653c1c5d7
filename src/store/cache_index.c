/* SPDX-License-Identifier: Apache-2.0 */

/* Buckets, their chains, growth and shrinkage by one bucket, and walks. */

#include "store/cache_index.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "store/cache_entry.h"

enum {
    SLOTS = 12,
    /* Mean entries of a bucket at which a round of dividing begins. At ten of
     * twelve places about one entry in twenty is in a chained bucket. */
    LOAD_MAX = 10,
    /* Below the first, divisions are undone; an addition goes on with a round
     * only above the second, which every round that began at LOAD_MAX is. */
    LOAD_MIN = 2,
    LOAD_GROWING = 4,
    SEGMENT_BITS = 15, /* 2 MiB of buckets */
    SEGMENT = 1 << SEGMENT_BITS,
    FIRST_MAX = 1 << 12 /* 256 KiB */
};

/* Entries fill the places in order and all buckets of a chain but the last.
 * Tag 0 is an empty place. */
struct cache_bucket {
    uint8_t tags[SLOTS];
    uint32_t chained; /* an object of the arena, 0: none */
    uint32_t refs[SLOTS];
};

_Static_assert(sizeof(struct cache_bucket) == 64, "one cache line");

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

void cache_index_init(struct cache_index *index, struct records_arena *arena,
                      uint64_t seed)
{
    *index = (struct cache_index){ .arena = arena, .seed = seed };
}

static size_t segment_bytes(const struct cache_index *index, uint32_t segment)
{
    size_t buckets = segment == 0 ? index->first_cap : SEGMENT;
    return buckets * sizeof(struct cache_bucket);
}

bool cache_index_dismantle(struct cache_index *index, uint32_t segments)
{
    while (index->segment_count && segments-- > 0) {
        uint32_t last = index->segment_count - 1;
        records_arena_raw_give(index->arena, index->segments[last],
                               segment_bytes(index, last));
        index->segment_count = last;
    }
    if (index->segment_count)
        return false;
    if (index->segment_cap)
        records_arena_raw_give(index->arena, index->segments,
                               index->segment_cap * sizeof *index->segments);
    cache_index_init(index, index->arena, index->seed);
    return true;
}

uint64_t cache_index_hash(const struct cache_index *index, struct span key)
{
    return hash64_seeded(key, index->seed);
}

static struct cache_bucket *bucket_at(const struct cache_index *index,
                                      uint32_t number)
{
    return &index->segments[number >> SEGMENT_BITS][number & (SEGMENT - 1)];
}

static uint32_t bucket_number(const struct cache_index *index, uint32_t hash)
{
    uint32_t number = hash & (index->level - 1);
    if (number < index->split)
        number = hash & (2 * index->level - 1);
    return number;
}

static struct cache_bucket *bucket_of(const struct cache_index *index,
                                      uint64_t hash)
{
    return bucket_at(index, bucket_number(index, (uint32_t)hash));
}

/* The link behind one that has such. */
static struct cache_bucket *link_of(const struct cache_index *index,
                                    const struct cache_bucket *bucket)
{
    return (struct cache_bucket *)records_arena_at(index->arena,
                                                   bucket->chained);
}

static struct cache_bucket *chained(const struct cache_index *index,
                                    const struct cache_bucket *bucket)
{
    return bucket->chained ? link_of(index, bucket) : NULL;
}

/* 8 bytes with the highest bit set in each that equals tag, exactly. */
static uint64_t match8(const uint8_t *tags, uint8_t tag)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t x = (uint64_t)tags[0] | (uint64_t)tags[1] << 8 |
                 (uint64_t)tags[2] << 16 | (uint64_t)tags[3] << 24 |
                 (uint64_t)tags[4] << 32 | (uint64_t)tags[5] << 40 |
                 (uint64_t)tags[6] << 48 | (uint64_t)tags[7] << 56;
    x ^= tag * UINT64_C(0x0101010101010101);
    return ~(((x & low) + low) | x | low);
}

/* The places of a bucket with that tag: place p < 8 as bit 8p, places 8 to 11
 * between these as bits 1, 9, 17, 25. One number and no branch, since which
 * half has the tag is as good as random. */
static uint64_t match_tags(const struct cache_bucket *bucket, uint8_t tag)
{
    uint64_t lower = match8(bucket->tags, tag);
    uint64_t upper = match8(bucket->tags + SLOTS - 8, tag) >> 32;
    return lower >> 7 | upper >> 6;
}

/* The first place of a match, which is not 0. */
static size_t match_place(uint64_t match)
{
#if defined(__GNUC__)
    unsigned bit = (unsigned)__builtin_ctzll(match);
#else
    unsigned bit = 0;
    while ((match >> bit & 1) == 0)
        bit++;
#endif
    return bit / 8 + bit % 2 * 8;
}

static bool is_key(const struct cache_index *index, uint32_t ref,
                   struct span key)
{
    struct cache_entry *entry = cache_entry_at(index->arena, ref);
    if (cache_entry_key_len(entry) != key.len)
        return false;
    return span_same(cache_entry_data(entry), key.data, key.len);
}

uint32_t *cache_index_find(const struct cache_index *index, uint64_t hash,
                           struct span key)
{
    if (index->level == 0)
        return NULL;
    uint8_t tag = tag_of(hash);
    struct cache_bucket *bucket = bucket_of(index, hash);
    for (; bucket; bucket = chained(index, bucket)) {
        uint64_t match = match_tags(bucket, tag);
        for (; match; match &= match - 1) {
            uint32_t *slot = &bucket->refs[match_place(match)];
            if (is_key(index, *slot, key))
                return slot;
        }
    }
    return NULL;
}

void cache_index_prefetch(const struct cache_index *index, uint64_t hash)
{
    if (index->level)
        prefetch_line(bucket_of(index, hash));
}

bool cache_index_prefetch_entry(const struct cache_index *index, uint64_t hash)
{
    if (index->level == 0)
        return false;
    const struct cache_bucket *bucket = bucket_of(index, hash);
    uint64_t match = match_tags(bucket, tag_of(hash));
    if (match)
        cache_entry_prefetch(index->arena, bucket->refs[match_place(match)]);
    return match != 0;
}

static size_t bucket_count(const struct cache_bucket *bucket)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t empty = match_tags(bucket, 0);
    empty = (empty & ones) + (empty >> 1 & ones);
    return SLOTS - (size_t)(empty * ones >> 56);
}

static void bucket_clear(struct cache_bucket *bucket)
{
    memset(bucket, 0, sizeof *bucket);
}

/* Segment 0 begins small and doubles; the last time it becomes whole at once,
 * so that no more than FIRST_MAX buckets are ever copied. */
static bool first_grow(struct cache_index *index)
{
    uint32_t cap = index->first_cap ? index->first_cap * 2 : 1;
    if (cap > FIRST_MAX)
        cap = SEGMENT;
    size_t old = segment_bytes(index, 0);
    struct cache_bucket *segment =
        records_arena_raw(index->arena, cap * sizeof(struct cache_bucket));
    if (!segment)
        return false;
    if (index->first_cap) {
        memcpy(segment, index->segments[0], old);
        records_arena_raw_give(index->arena, index->segments[0], old);
    }
    index->segments[0] = segment;
    index->segment_count = 1;
    index->first_cap = cap;
    return true;
}

static bool segments_grow(struct cache_index *index)
{
    uint32_t cap = index->segment_cap ? index->segment_cap * 2 : 1;
    struct cache_bucket **segments =
        records_arena_raw(index->arena, cap * sizeof(struct cache_bucket *));
    if (!segments)
        return false;
    if (index->segment_cap) {
        size_t old = index->segment_cap * sizeof *segments;
        memcpy(segments, index->segments, old);
        records_arena_raw_give(index->arena, index->segments, old);
    }
    index->segments = segments;
    index->segment_cap = cap;
    return true;
}

/* Memory for bucket `number`, the next after those there; false: none. */
static bool bucket_room(struct cache_index *index, uint32_t number)
{
    uint32_t segment = number >> SEGMENT_BITS;
    if (segment >= index->segment_cap && !segments_grow(index))
        return false;
    if (segment == 0) {
        while (number >= index->first_cap)
            if (!first_grow(index))
                return false;
    } else if (segment >= index->segment_count) {
        index->segments[segment] = records_arena_raw(
            index->arena, SEGMENT * sizeof(struct cache_bucket));
        if (!index->segments[segment])
            return false;
        index->segment_count++;
    }
    return true;
}

/* Gives back a segment that lies wholly behind the buckets in use. */
static void segment_trim(struct cache_index *index, uint32_t buckets)
{
    uint32_t last = index->segment_count - 1;
    if (last == 0 || last << SEGMENT_BITS < buckets)
        return;
    records_arena_raw_give(index->arena, index->segments[last],
                           segment_bytes(index, last));
    index->segment_count--;
}

/* The first bucket; false: no memory. */
static bool first_bucket(struct cache_index *index)
{
    if (!bucket_room(index, 0))
        return false;
    bucket_clear(bucket_at(index, 0));
    index->level = 1;
    return true;
}

/* Puts an entry at the end of a chain; a new link comes from *spares, a list
 * by `chained`. */
static void chain_add(struct cache_index *index, struct cache_bucket *bucket,
                      uint8_t tag, uint32_t ref, uint32_t *spares)
{
    while (bucket->chained)
        bucket = link_of(index, bucket);
    size_t n = bucket_count(bucket);
    if (n == SLOTS) {
        assert(*spares != 0);
        bucket->chained = *spares;
        bucket = link_of(index, bucket);
        *spares = bucket->chained;
        bucket_clear(bucket);
        n = 0;
    }
    bucket->tags[n] = tag;
    bucket->refs[n] = ref;
}

static void spares_drop(struct cache_index *index, uint32_t spares)
{
    while (spares) {
        struct cache_bucket *bucket =
            (struct cache_bucket *)records_arena_at(index->arena, spares);
        uint32_t next = bucket->chained;
        records_arena_give(index->arena, spares);
        spares = next;
    }
}

/* Divides bucket `split` with bucket `level + split`. The links of the old
 * chain are enough for both: of n entries read so far, two chains whose first
 * bucket is free need n / 12 - 1 links at most, and that many were read. */
static void divide(struct cache_index *index)
{
    struct cache_bucket *stay = bucket_at(index, index->split);
    struct cache_bucket *go = bucket_at(index, index->level + index->split);
    struct cache_bucket read = *stay;
    uint32_t spares = 0;
    bucket_clear(stay);
    bucket_clear(go);
    for (;;) {
        for (size_t i = 0; i < SLOTS && read.tags[i]; i++) {
            struct span key = cache_entry_key(index->arena, read.refs[i]);
            bool goes = (cache_index_hash(index, key) & index->level) != 0;
            chain_add(index, goes ? go : stay, read.tags[i], read.refs[i],
                      &spares);
        }
        uint32_t next = read.chained;
        if (next == 0)
            break;
        struct cache_bucket *link =
            (struct cache_bucket *)records_arena_at(index->arena, next);
        read = *link;
        link->chained = spares;
        spares = next;
    }
    spares_drop(index, spares);
}

/* Brings what the next division reads into the cache. */
static void divide_prefetch(const struct cache_index *index)
{
    const struct cache_bucket *bucket = bucket_at(index, index->split);
    for (size_t i = 0; i < SLOTS; i++)
        if (bucket->tags[i])
            prefetch_line(records_arena_at(index->arena, bucket->refs[i]));
}

static bool should_grow(const struct cache_index *index)
{
    if (index->level > UINT32_MAX / 4)
        return false;
    uint64_t buckets = (uint64_t)index->level + index->split;
    if (index->split)
        return index->count > buckets * LOAD_GROWING;
    return index->count > buckets * LOAD_MAX;
}

/* Divides two buckets: a round begins when the mean is LOAD_MAX and is over
 * before it has grown by half an entry. */
static void grow(struct cache_index *index)
{
    for (int i = 0; i < 2; i++) {
        if (!should_grow(index) ||
            !bucket_room(index, index->level + index->split))
            return;
        divide(index);
        index->split++;
        if (index->split == index->level) {
            index->level *= 2;
            index->split = 0;
        }
        if (index->split)
            divide_prefetch(index);
    }
}

bool cache_index_add(struct cache_index *index, uint64_t hash, uint32_t ref)
{
    if (index->level == 0 && !first_bucket(index))
        return false;
    struct cache_bucket *bucket = bucket_of(index, hash);
    while (bucket->chained)
        bucket = link_of(index, bucket);
    size_t n = bucket_count(bucket);
    if (n == SLOTS) {
        uint32_t link = records_arena_take(index->arena,
                                           records_arena_kind(sizeof *bucket));
        if (link == 0)
            return false;
        bucket->chained = link;
        bucket = link_of(index, bucket);
        bucket_clear(bucket);
        n = 0;
    }
    bucket->tags[n] = tag_of(hash);
    bucket->refs[n] = ref;
    index->count++;
    grow(index);
    return true;
}

/* Undoes the last division. */
static void shrink(struct cache_index *index)
{
    if (index->split == 0) {
        if (index->level <= 1)
            return;
        index->level /= 2;
        index->split = index->level;
    }
    index->split--;
    struct cache_bucket *stay = bucket_at(index, index->split);
    struct cache_bucket *gone = bucket_at(index, index->level + index->split);
    /* The entries of its own bucket must find room without new memory, hence
     * only pairs that fit into one are joined; otherwise it waits. */
    if (gone->chained || stay->chained ||
        bucket_count(stay) + bucket_count(gone) > SLOTS) {
        index->split++;
        if (index->split == index->level) {
            index->level *= 2;
            index->split = 0;
        }
        return;
    }
    uint32_t none = 0;
    for (size_t i = 0; i < SLOTS && gone->tags[i]; i++)
        chain_add(index, stay, gone->tags[i], gone->refs[i], &none);
    segment_trim(index, index->level + index->split);
}

void cache_index_erase(struct cache_index *index, uint64_t hash, uint32_t ref)
{
    struct cache_bucket *bucket = bucket_of(index, hash);
    struct cache_bucket *hit = NULL;
    struct cache_bucket *before = NULL;
    size_t place = 0;
    for (;;) {
        for (size_t i = 0; !hit && i < SLOTS && bucket->tags[i]; i++)
            if (bucket->refs[i] == ref) {
                hit = bucket;
                place = i;
            }
        if (bucket->chained == 0)
            break;
        before = bucket;
        bucket = link_of(index, bucket);
    }
    assert(hit);
    size_t last = bucket_count(bucket) - 1;
    hit->tags[place] = bucket->tags[last];
    hit->refs[place] = bucket->refs[last];
    bucket->tags[last] = 0;
    if (last == 0 && before) {
        records_arena_give(index->arena, before->chained);
        before->chained = 0;
    }
    index->count--;
    if (index->count < (uint64_t)(index->level + index->split) * LOAD_MIN)
        shrink(index);
}

/* The bits of a word from the lowest to the highest. */
static uint32_t reversed(uint32_t x)
{
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    x = (x >> 8 & 0x00ff00ffu) | (x & 0x00ff00ffu) << 8;
    return x >> 16 | x << 16;
}

uint64_t cache_index_order(uint64_t hash)
{
    return (uint64_t)reversed((uint32_t)hash) << 32 | hash >> 32;
}

uint64_t cache_index_walk(const struct cache_index *index, uint64_t position,
                          cache_index_fn fn, void *self)
{
    assert(position < CACHE_INDEX_END);
    if (index->level == 0)
        return CACHE_INDEX_END;
    uint32_t number = bucket_number(index, reversed((uint32_t)position));
    uint64_t buckets = index->level;
    if (number < index->split || number >= index->level)
        buckets *= 2;
    uint64_t width = CACHE_INDEX_END / buckets;
    uint64_t begin = position / width * width;
    const struct cache_bucket *bucket = bucket_at(index, number);
    for (; bucket; bucket = chained(index, bucket))
        for (size_t i = 0; i < SLOTS && bucket->tags[i]; i++) {
            struct span key = cache_entry_key(index->arena, bucket->refs[i]);
            /* In the midst of a bucket only after others were joined. */
            if (position == begin ||
                reversed((uint32_t)cache_index_hash(index, key)) >= position)
                fn(self, bucket->refs[i]);
        }
    return begin + width;
}

size_t cache_index_check(const struct cache_index *index)
{
    size_t links = 0;
    uint64_t count = 0;
    for (uint32_t i = 0; i < index->level + index->split; i++) {
        const struct cache_bucket *bucket = bucket_at(index, i);
        for (; bucket; bucket = chained(index, bucket)) {
            size_t n = bucket_count(bucket);
            assert(n == SLOTS || bucket->chained == 0);
            for (size_t j = 0; j < n; j++) {
                struct span key =
                    cache_entry_key(index->arena, bucket->refs[j]);
                uint64_t hash = cache_index_hash(index, key);
                assert(bucket_of(index, hash) == bucket_at(index, i));
                assert(bucket->tags[j] == tag_of(hash));
                const uint32_t *found = cache_index_find(index, hash, key);
                assert(found && *found == bucket->refs[j]);
            }
            for (size_t j = n; j < SLOTS; j++)
                assert(bucket->tags[j] == 0);
            if (bucket->chained)
                links++;
            assert(n > 0 || bucket == bucket_at(index, i));
            count += n;
        }
    }
    assert(count == index->count);
    return links;
}
