/* SPDX-License-Identifier: Apache-2.0 */

/* Buckets, their chains, and growth and shrinkage by one bucket. */

#include "store/records_hash.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "store/records_entry.h"

enum {
    SLOTS = 12,
    /* Mean entries of a bucket at which a round of dividing begins. At ten of
     * twelve places about one entry in twenty is in a chained bucket. */
    LOAD_MAX = 10,
    /* Below the first, divisions are undone; an insertion goes on with a round
     * only above the second, which every round that began at LOAD_MAX is. */
    LOAD_MIN = 2,
    LOAD_GROWING = 4,
    SEGMENT_BITS = 15, /* 2 MiB of buckets */
    SEGMENT = 1 << SEGMENT_BITS
};

/* Entries fill the places in order and all buckets of a chain but the last.
 * Tag 0 is an empty place. */
struct records_bucket {
    uint8_t tags[SLOTS];
    uint32_t chained; /* an object of the arena, 0: none */
    uint32_t refs[SLOTS];
};

_Static_assert(sizeof(struct records_bucket) == 64, "one cache line");

static uint8_t tag_of(uint64_t of)
{
    uint8_t tag = (uint8_t)(of >> 56);
    return tag ? tag : 1;
}

void records_hash_init(struct records_hash *hash, struct records_arena *arena,
                       uint64_t seed)
{
    *hash = (struct records_hash){ .arena = arena, .seed = seed };
}

static size_t segment_bytes(const struct records_hash *hash, uint32_t segment)
{
    size_t buckets = segment == 0 ? hash->first_cap : SEGMENT;
    return buckets * sizeof(struct records_bucket);
}

void records_hash_deinit(struct records_hash *hash)
{
    for (uint32_t i = 0; i < hash->segment_count; i++)
        records_arena_raw_give(hash->arena, hash->segments[i],
                               segment_bytes(hash, i));
    if (hash->segment_cap)
        records_arena_raw_give(hash->arena, hash->segments,
                               hash->segment_cap * sizeof *hash->segments);
    records_hash_init(hash, hash->arena, hash->seed);
}

uint64_t records_hash_of(const struct records_hash *hash, struct span key)
{
    return hash64_seeded(key, hash->seed);
}

static struct records_bucket *bucket_at(const struct records_hash *hash,
                                        uint32_t index)
{
    return &hash->segments[index >> SEGMENT_BITS][index & (SEGMENT - 1)];
}

static struct records_bucket *bucket_of(const struct records_hash *hash,
                                        uint64_t of)
{
    uint32_t index = (uint32_t)of & (hash->level - 1);
    if (index < hash->split)
        index = (uint32_t)of & (2 * hash->level - 1);
    return bucket_at(hash, index);
}

/* The link behind one that has such. */
static struct records_bucket *link_of(const struct records_hash *hash,
                                      const struct records_bucket *bucket)
{
    return (struct records_bucket *)records_arena_at(hash->arena,
                                                     bucket->chained);
}

static struct records_bucket *chained(const struct records_hash *hash,
                                      const struct records_bucket *bucket)
{
    return bucket->chained ? link_of(hash, bucket) : NULL;
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
static uint64_t match_tags(const struct records_bucket *bucket, uint8_t tag)
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

static bool is_key(const struct records_hash *hash, uint32_t ref,
                   struct span key)
{
    struct records_entry *entry = records_entry_at(hash->arena, ref);
    if (entry->key_len != key.len)
        return false;
    return span_same(records_entry_bytes(entry), key.data, key.len);
}

uint32_t *records_hash_find(const struct records_hash *hash, uint64_t of,
                            struct span key)
{
    if (hash->level == 0)
        return NULL;
    uint8_t tag = tag_of(of);
    struct records_bucket *bucket = bucket_of(hash, of);
    for (; bucket; bucket = chained(hash, bucket)) {
        uint64_t match = match_tags(bucket, tag);
        for (; match; match &= match - 1) {
            uint32_t *slot = &bucket->refs[match_place(match)];
            if (is_key(hash, *slot, key))
                return slot;
        }
    }
    return NULL;
}

void records_hash_prefetch(const struct records_hash *hash, uint64_t of)
{
    if (hash->level)
        prefetch_line(bucket_of(hash, of));
}

void records_hash_prefetch_entry(const struct records_hash *hash, uint64_t of)
{
    if (hash->level == 0)
        return;
    const struct records_bucket *bucket = bucket_of(hash, of);
    uint64_t match = match_tags(bucket, tag_of(of));
    if (match)
        records_entry_prefetch(hash->arena, bucket->refs[match_place(match)]);
}

static size_t bucket_count(const struct records_bucket *bucket)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t empty = match_tags(bucket, 0);
    empty = (empty & ones) + (empty >> 1 & ones);
    return SLOTS - (size_t)(empty * ones >> 56);
}

static void bucket_clear(struct records_bucket *bucket)
{
    memset(bucket, 0, sizeof *bucket);
}

/* Segment 0 begins small and doubles. */
static bool first_grow(struct records_hash *hash)
{
    uint32_t cap = hash->first_cap ? hash->first_cap * 2 : 1;
    size_t old = segment_bytes(hash, 0);
    struct records_bucket *segment =
        records_arena_raw(hash->arena, cap * sizeof(struct records_bucket));
    if (!segment)
        return false;
    if (hash->first_cap) {
        memcpy(segment, hash->segments[0], old);
        records_arena_raw_give(hash->arena, hash->segments[0], old);
    }
    hash->segments[0] = segment;
    hash->segment_count = 1;
    hash->first_cap = cap;
    return true;
}

static bool segments_grow(struct records_hash *hash)
{
    uint32_t cap = hash->segment_cap ? hash->segment_cap * 2 : 1;
    struct records_bucket **segments =
        records_arena_raw(hash->arena, cap * sizeof(struct records_bucket *));
    if (!segments)
        return false;
    if (hash->segment_cap) {
        size_t old = hash->segment_cap * sizeof *segments;
        memcpy(segments, hash->segments, old);
        records_arena_raw_give(hash->arena, hash->segments, old);
    }
    hash->segments = segments;
    hash->segment_cap = cap;
    return true;
}

/* Memory for bucket `index`, the next after those there; false: none. */
static bool bucket_room(struct records_hash *hash, uint32_t index)
{
    uint32_t segment = index >> SEGMENT_BITS;
    if (segment >= hash->segment_cap && !segments_grow(hash))
        return false;
    if (segment == 0) {
        while (index >= hash->first_cap)
            if (!first_grow(hash))
                return false;
    } else if (segment >= hash->segment_count) {
        hash->segments[segment] = records_arena_raw(
            hash->arena, SEGMENT * sizeof(struct records_bucket));
        if (!hash->segments[segment])
            return false;
        hash->segment_count++;
    }
    return true;
}

/* Gives back a segment that lies wholly behind the buckets in use. */
static void segment_trim(struct records_hash *hash, uint32_t buckets)
{
    uint32_t last = hash->segment_count - 1;
    if (last == 0 || last << SEGMENT_BITS < buckets)
        return;
    records_arena_raw_give(hash->arena, hash->segments[last],
                           segment_bytes(hash, last));
    hash->segment_count--;
}

bool records_hash_presize(struct records_hash *hash, uint64_t count)
{
    assert(hash->count == 0);
    uint32_t level = hash->level ? hash->level : 1;
    while ((uint64_t)level * LOAD_MAX < count)
        level *= 2;
    for (uint32_t i = hash->level + hash->split; i < level; i++) {
        if (!bucket_room(hash, i))
            return false;
        bucket_clear(bucket_at(hash, i));
    }
    hash->level = level;
    hash->split = 0;
    return true;
}

uint32_t *records_hash_reserve(struct records_hash *hash, uint64_t of)
{
    if (hash->level == 0 && !records_hash_presize(hash, 1))
        return NULL;
    struct records_bucket *bucket = bucket_of(hash, of);
    while (bucket->chained)
        bucket = link_of(hash, bucket);
    size_t n = bucket_count(bucket);
    if (n < SLOTS)
        return &bucket->refs[n];
    uint32_t ref =
        records_arena_take(hash->arena, records_arena_kind(sizeof *bucket));
    if (ref == 0)
        return NULL;
    bucket->chained = ref;
    bucket = link_of(hash, bucket);
    bucket_clear(bucket);
    return &bucket->refs[0];
}

/* Puts an entry at the end of a chain; a new link comes from *spares, a list
 * by `chained`. */
static void chain_add(struct records_hash *hash, struct records_bucket *bucket,
                      uint8_t tag, uint32_t ref, uint32_t *spares)
{
    while (bucket->chained)
        bucket = link_of(hash, bucket);
    size_t n = bucket_count(bucket);
    if (n == SLOTS) {
        assert(*spares != 0);
        bucket->chained = *spares;
        bucket = link_of(hash, bucket);
        *spares = bucket->chained;
        bucket_clear(bucket);
        n = 0;
    }
    bucket->tags[n] = tag;
    bucket->refs[n] = ref;
}

static void spares_drop(struct records_hash *hash, uint32_t spares)
{
    while (spares) {
        struct records_bucket *bucket =
            (struct records_bucket *)records_arena_at(hash->arena, spares);
        uint32_t next = bucket->chained;
        records_arena_give(hash->arena, spares);
        spares = next;
    }
}

/* Divides bucket `split` with bucket `level + split`. The links of the old
 * chain are enough for both: of n entries read so far, two chains whose first
 * bucket is free need n / 12 - 1 links at most, and that many were read. */
static void divide(struct records_hash *hash)
{
    struct records_bucket *stay = bucket_at(hash, hash->split);
    struct records_bucket *go = bucket_at(hash, hash->level + hash->split);
    struct records_bucket read = *stay;
    uint32_t spares = 0;
    bucket_clear(stay);
    bucket_clear(go);
    for (;;) {
        for (size_t i = 0; i < SLOTS && read.tags[i]; i++) {
            struct span key = records_entry_key(hash->arena, read.refs[i]);
            bool goes = (records_hash_of(hash, key) & hash->level) != 0;
            chain_add(hash, goes ? go : stay, read.tags[i], read.refs[i],
                      &spares);
        }
        uint32_t next = read.chained;
        if (next == 0)
            break;
        struct records_bucket *link =
            (struct records_bucket *)records_arena_at(hash->arena, next);
        read = *link;
        link->chained = spares;
        spares = next;
    }
    spares_drop(hash, spares);
}

/* Brings what the next division reads into the cache. */
static void divide_prefetch(const struct records_hash *hash)
{
    const struct records_bucket *bucket = bucket_at(hash, hash->split);
    for (size_t i = 0; i < SLOTS; i++)
        if (bucket->tags[i])
            prefetch_line(records_arena_at(hash->arena, bucket->refs[i]));
}

static bool should_grow(const struct records_hash *hash)
{
    if (hash->level > UINT32_MAX / 4)
        return false;
    uint64_t buckets = (uint64_t)hash->level + hash->split;
    if (hash->split)
        return hash->count > buckets * LOAD_GROWING;
    return hash->count > buckets * LOAD_MAX;
}

/* Divides two buckets: a round begins when the mean is LOAD_MAX and is over
 * before it has grown by half an entry. */
static void grow(struct records_hash *hash)
{
    for (int i = 0; i < 2; i++) {
        if (!should_grow(hash) || !bucket_room(hash, hash->level + hash->split))
            return;
        divide(hash);
        hash->split++;
        if (hash->split == hash->level) {
            hash->level *= 2;
            hash->split = 0;
        }
        if (hash->split)
            divide_prefetch(hash);
    }
}

void records_hash_fill(struct records_hash *hash, uint64_t of, uint32_t *place,
                       uint32_t ref)
{
    struct records_bucket *bucket = bucket_of(hash, of);
    while (place < bucket->refs || place >= bucket->refs + SLOTS)
        bucket = link_of(hash, bucket);
    bucket->tags[place - bucket->refs] = tag_of(of);
    *place = ref;
    hash->count++;
    grow(hash);
}

void records_hash_rename(struct records_hash *hash, uint64_t of, uint32_t from,
                         uint32_t to)
{
    struct records_bucket *bucket = bucket_of(hash, of);
    for (;; bucket = chained(hash, bucket)) {
        assert(bucket);
        for (size_t i = 0; i < SLOTS && bucket->tags[i]; i++) {
            if (bucket->refs[i] == from) {
                bucket->refs[i] = to;
                return;
            }
        }
    }
}

/* Undoes the last division. */
static void shrink(struct records_hash *hash)
{
    if (hash->split == 0) {
        if (hash->level <= 1)
            return;
        hash->level /= 2;
        hash->split = hash->level;
    }
    hash->split--;
    struct records_bucket *stay = bucket_at(hash, hash->split);
    struct records_bucket *gone = bucket_at(hash, hash->level + hash->split);
    /* The entries of its own bucket must find room without new memory, hence
     * only pairs that fit into one are joined; otherwise it waits. */
    if (gone->chained || stay->chained ||
        bucket_count(stay) + bucket_count(gone) > SLOTS) {
        hash->split++;
        if (hash->split == hash->level) {
            hash->level *= 2;
            hash->split = 0;
        }
        return;
    }
    uint32_t none = 0;
    for (size_t i = 0; i < SLOTS && gone->tags[i]; i++)
        chain_add(hash, stay, gone->tags[i], gone->refs[i], &none);
    segment_trim(hash, hash->level + hash->split);
}

void records_hash_erase(struct records_hash *hash, uint64_t of, uint32_t ref)
{
    struct records_bucket *bucket = bucket_of(hash, of);
    struct records_bucket *hit = NULL;
    struct records_bucket *before = NULL;
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
        bucket = link_of(hash, bucket);
    }
    assert(hit);
    size_t last = bucket_count(bucket) - 1;
    hit->tags[place] = bucket->tags[last];
    hit->refs[place] = bucket->refs[last];
    bucket->tags[last] = 0;
    if (last == 0 && before) {
        records_arena_give(hash->arena, before->chained);
        before->chained = 0;
    }
    hash->count--;
    if (hash->count < (uint64_t)(hash->level + hash->split) * LOAD_MIN)
        shrink(hash);
}

size_t records_hash_check(const struct records_hash *hash)
{
    size_t links = 0;
    uint64_t count = 0;
    for (uint32_t i = 0; i < hash->level + hash->split; i++) {
        const struct records_bucket *bucket = bucket_at(hash, i);
        for (; bucket; bucket = chained(hash, bucket)) {
            size_t n = bucket_count(bucket);
            assert(n == SLOTS || bucket->chained == 0);
            for (size_t j = 0; j < n; j++) {
                struct span key =
                    records_entry_key(hash->arena, bucket->refs[j]);
                uint64_t of = records_hash_of(hash, key);
                assert(bucket_of(hash, of) == bucket_at(hash, i));
                assert(bucket->tags[j] == tag_of(of));
                const uint32_t *found = records_hash_find(hash, of, key);
                assert(found && *found == bucket->refs[j]);
            }
            for (size_t j = n; j < SLOTS; j++)
                assert(bucket->tags[j] == 0);
            if (bucket->chained)
                links++;
            assert(n > 0 || bucket == bucket_at(hash, i));
            count += n;
        }
    }
    assert(count == hash->count);
    return links;
}
