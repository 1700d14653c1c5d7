/* SPDX-License-Identifier: Apache-2.0 */

/* S3-FIFO (Yang, Zhang, Qiu, Yue and Vigfusson, SOSP 2023): new entries go
 * through a small queue of a tenth of the bounds, and only those asked for
 * again, there or soon after they were evicted from it, enter the main one. A
 * hit counts up to 3 in the entry and moves nothing; the main queue lets an
 * entry round again once for each. So a scan passes through the small queue.
 *
 * Entries put with a cost have credit: those above the mean cost by byte begin
 * with one access and get one more round, those above four times the mean two
 * and two. */

#include <assert.h>

#include "store/cache_state.h"

enum {
    FREQ_MAX = 3,
    SMALL_PART = 10, /* the small queue is a tenth */
    /* Entries that one call lets go round; then the next goes, whatever was
     * counted. So no call is slow when all entries are hot. */
    ROUNDS_MAX = 64,
    MEAN_OVER = 256 /* puts that the mean cost is about */
};

static unsigned credit_for(struct cache *cache, struct cache_entry *entry)
{
    uint32_t cost_us = cache_entry_cost_us(entry);
    if (cost_us == 0)
        return 0;
    double cost = cost_us / (double)cache_entry_charge_of(&cache->arena, entry);
    if (cache->cost_mean == 0)
        cache->cost_mean = cost;
    unsigned credit = cost > 4 * cache->cost_mean ? 2 : cost > cache->cost_mean;
    cache->cost_mean += (cost - cache->cost_mean) / MEAN_OVER;
    return credit;
}

/* The main queue's share of all entries. */
static uint64_t ghost_window(const struct cache *cache)
{
    uint64_t count = cache->queues[CACHE_QUEUE_SMALL].count +
                     cache->queues[CACHE_QUEUE_MAIN].count;
    return count - count / SMALL_PART;
}

static void s3fifo_add(struct cache *cache, uint32_t ref, uint64_t hash)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    unsigned credit = credit_for(cache, entry);
    cache_entry_freq_set(entry, credit);
    cache_entry_credit_set(entry, credit);
    bool known = cache_ghost_take(&cache->ghost, hash, ghost_window(cache));
    cache_state_push(cache, ref, known ? CACHE_QUEUE_MAIN : CACHE_QUEUE_SMALL);
}

static void s3fifo_hit(struct cache *cache, uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    unsigned freq = cache_entry_freq(entry);
    if (freq < FREQ_MAX)
        cache_entry_freq_set(entry, freq + 1);
}

static bool small_is_full(const struct cache *cache)
{
    const struct cache_queue *small = &cache->queues[CACHE_QUEUE_SMALL];
    const struct cache_queue *main = &cache->queues[CACHE_QUEUE_MAIN];
    const struct cache_config *config = &cache->config;
    if (small->count == 0 || main->count == 0)
        return small->count > 0;
    if (config->bytes_max && small->bytes > config->bytes_max / SMALL_PART)
        return true;
    return config->count_max && small->count > config->count_max / SMALL_PART;
}

static void requeue(struct cache *cache, uint32_t ref, unsigned freq)
{
    cache_state_unlink(cache, ref);
    cache_entry_freq_set(cache_entry_at(&cache->arena, ref), freq);
    cache_state_push(cache, ref, CACHE_QUEUE_MAIN);
}

/* True: the entry was given another round. */
static bool goes_round(struct cache *cache, uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    unsigned freq = cache_entry_freq(entry);
    unsigned credit = cache_entry_credit(entry);
    if (cache_entry_queue(entry) == CACHE_QUEUE_SMALL) {
        if (freq < 2)
            return false;
        requeue(cache, ref, 0);
        return true;
    }
    if (freq == 0 && credit == 0)
        return false;
    if (freq == 0)
        cache_entry_credit_set(entry, credit - 1);
    requeue(cache, ref, freq ? freq - 1 : 0);
    return true;
}

static uint32_t s3fifo_victim(struct cache *cache, uint32_t keep)
{
    for (int rounds = 0;; rounds++) {
        bool small = small_is_full(cache);
        const struct cache_queue *queue =
            &cache->queues[small ? CACHE_QUEUE_SMALL : CACHE_QUEUE_MAIN];
        uint32_t ref = queue->oldest;
        if (ref == 0)
            return 0;
        if (ref == keep) {
            if (queue->newest == ref && !small)
                return cache->queues[CACHE_QUEUE_SMALL].oldest;
            requeue(cache, ref, 0);
            continue;
        }
        if (rounds >= ROUNDS_MAX || !goes_round(cache, ref))
            return ref;
    }
}

static void s3fifo_evict(struct cache *cache, uint32_t ref, uint64_t hash)
{
    const struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (cache_entry_queue(entry) == CACHE_QUEUE_SMALL)
        cache_ghost_add(&cache->ghost, hash, ghost_window(cache));
}

const struct cache_policy cache_state_s3fifo = { "s3fifo", s3fifo_add,
                                                 s3fifo_hit, s3fifo_victim,
                                                 s3fifo_evict };
