/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_state.h - the inside of a cache, for the files that make it. */

#ifndef STORE_CACHE_STATE_H
#define STORE_CACHE_STATE_H

#include "base/rng.h"
#include "store/cache.h"
#include "store/cache_entry.h"
#include "store/cache_ghost.h"
#include "store/cache_index.h"
#include "store/cache_leases.h"
#include "store/cache_wheel.h"

/* Queues, by the mark in an entry. Negative entries are not the policy's. */
enum cache_queue_kind {
    CACHE_QUEUE_SMALL,
    CACHE_QUEUE_MAIN,
    CACHE_QUEUE_NEGATIVE,
    CACHE_QUEUES
};

struct cache_queue {
    uint32_t newest;
    uint32_t oldest;
    uint64_t count;
    uint64_t bytes;
};

/* How a policy chooses what is evicted. Entries are in the first two queues;
 * the store unlinks what goes. */
struct cache_policy {
    const char *name;
    /* Pushes a new entry into a queue. */
    void (*add)(struct cache *cache, uint32_t ref, uint64_t hash);
    /* An access to an entry. Called by every get. */
    void (*hit)(struct cache *cache, uint32_t ref);
    /* The entry to go now, which is not `keep`; 0: no other. May move entries
     * within and between the queues, a bounded number of them. */
    uint32_t (*victim)(struct cache *cache, uint32_t keep);
    /* Told of a victim while it is still in its queue. */
    void (*evict)(struct cache *cache, uint32_t ref, uint64_t hash);
};

extern const struct cache_policy cache_state_s3fifo;
extern const struct cache_policy cache_state_lru;

/* Entries that have been flushed, being taken apart. */
struct cache_grave {
    struct cache_grave *next;
    struct records_arena arena;
    struct cache_index index; /* of that arena */
};

struct cache {
    struct records_arena arena;
    struct cache_index index;
    const struct cache_policy *policy;
    struct cache_queue queues[CACHE_QUEUES];
    uint64_t bytes; /* the queues' */
    uint64_t version;
    struct cache_wheel wheel;
    struct cache_ghost ghost;
    double cost_mean; /* of cost by charge, of those that have a cost */
    struct cache_leases leases;
    struct cache_grave *graves;
    uint64_t compacted; /* position of the index up to which it was */
    struct cache_config config;
    struct rng rng;
    struct cache_stats stats; /* what only grows */
};

/* The entry of a key, expired or not; 0: none. */
uint32_t cache_state_find(const struct cache *cache,
                          const struct cache_key *key);

/* Whether an entry is to be seen, and for stale reads, whether it is kept. */
bool cache_state_lives(struct cache_entry *entry, uint64_t now_ms);
bool cache_state_lingers(const struct cache *cache, struct cache_entry *entry,
                         uint64_t now_ms);

/* Unlinks and frees an entry. */
void cache_state_drop(struct cache *cache, uint32_t ref, uint64_t hash);

/* The same of one that has expired, and counts it. */
void cache_state_expire(struct cache *cache, uint32_t ref, uint64_t hash);

uint64_t cache_state_hash_of(const struct cache *cache, uint32_t ref);

/* Queues. Push counts the entry, unlink gives up its count. */
void cache_state_push(struct cache *cache, uint32_t ref, unsigned queue);
void cache_state_unlink(struct cache *cache, uint32_t ref);

/* Another entry takes the place of one in its queue. */
void cache_state_replace(struct cache *cache, uint32_t from, uint32_t to);

/* Puts `made`, a reshaped `ref` with its key and value, in its place in index,
 * queue and wheel, and frees ref; moved: without its block. */
void cache_state_swap(struct cache *cache, uint32_t ref, uint32_t made,
                      uint64_t hash, bool moved);

/* Where entries of many sizes came and went, what is left may lie thinly over
 * much memory. If so, moves some of it together: a few buckets' worth. */
void cache_state_compact(struct cache *cache);

/* By how much the bounds are exceeded. */
uint64_t cache_state_bytes_over(const struct cache *cache);
uint64_t cache_state_count_over(const struct cache *cache);

/* Evicts one entry that is not `keep`; false: there is none. */
bool cache_state_evict(struct cache *cache, uint32_t keep);

/* Takes back what is due; *budget is used up, one for each. */
void cache_state_reclaim(struct cache *cache, uint64_t now_ms,
                         uint32_t *budget);

#endif
