/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache.h - a cache: keys and values in memory, within bounds, for a
 * time.
 *
 * An entry goes when it is removed, when its time is up, or when the bounds
 * need its room and the policy names it. What is counted against the bound in
 * bytes is an entry's whole object, its header and rounding included, and a
 * fixed share of the index. Between calls the bounds are exceeded by one entry
 * at most (a large one is made room for in slices).
 *
 * Time is an argument, in milliseconds of one clock that the caller chooses
 * and that does not run backwards; expiry is a point on it (`expire_ms`). An
 * entry is not seen from its expire_ms on, to the millisecond; its memory is
 * taken back by the next call that meets it or by cache_tick. Chance comes
 * from the seed. So equal calls give equal results.
 *
 * A version is one number for all entries, one more with each change of a
 * value, for compare-and-set.
 *
 * How a volatile keyspace uses it: one cache for each arc that the node keeps,
 * its bounds the keyspace's divided by the node's arcs; applying an entry of
 * the arc's log calls put, remove, expire or flush with the time that the
 * proposer wrote into it, after cache_version_raise where the arc's counter
 * must be kept; reads call get; the turn ends with one cache_tick of every
 * cache for which cache_next_ms has come. Handing an arc over is a scan here
 * and puts there.
 *
 * How a RESP front end uses it: for all commands of a read, cache_key_of and
 * cache_prefetch; then cache_prefetch_entry for all; then each command with
 * the turn's one now_ms:
 *   GET, EXISTS, TTL      cache_get or cache_peek
 *   SET NX, XX, KEEPTTL   cache_put with `when` and expire_ms CACHE_KEEP
 *   EXPIRE, PERSIST       cache_expire with a time or CACHE_NEVER
 *   INCR, SETRANGE        cache_peek, then cache_resize and write the bytes
 *   APPEND                cache_append
 *   SCAN                  cache_scan, whose cursor is the client's
 *   FLUSHDB               cache_flush
 *   DBSIZE, INFO          cache_count, cache_stats
 * ENOMEM and ETOOBIG are its -OOM. Wall-clock times (EXPIREAT) it converts.
 *
 * Spans handed out point into the cache and are valid until the next call that
 * may change it; of those that only read, cache_get and cache_lease are such,
 * since they take back what has expired. Not for two threads at once. */

#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "store/records.h"

enum {
    CACHE_KEY_BYTES_MAX = RECORDS_KEY_BYTES_MAX,
    CACHE_VALUE_BYTES_MAX = RECORDS_VALUE_BYTES_MAX,
    /* What an entry costs the index, by the middle of its growth. */
    CACHE_INDEX_BYTES = 10
};

#define CACHE_NEVER UINT64_MAX      /* expire_ms: no end */
#define CACHE_KEEP (UINT64_MAX - 1) /* expire_ms of a put: as it was */
#define CACHE_VERSION_MAX ((UINT64_C(1) << 56) - 1)

struct cache;

enum cache_policy_kind {
    CACHE_S3FIFO, /* Yang et al. 2023, with credit for cost */
    CACHE_LRU
};

struct cache_config {
    uint64_t bytes_max; /* 0: no bound */
    uint64_t count_max; /* 0: no bound */
    enum cache_policy_kind policy;
    uint64_t seed;            /* of the index and of early refresh */
    uint64_t stale_ms;        /* kept so long past expiry, for leases only */
    uint64_t lease_ms;        /* how long a token is good */
    uint32_t lease_count_max; /* tokens out at once */
    double early_beta;        /* of early refresh; 0: none */
    uint64_t negative_ms_max; /* negative entries live no longer */
    const struct records_pages *pages; /* NULL: the C library's */
};

/* No bounds, S3-FIFO, no stale values, leases of 10 s and 4096 of them, beta
 * 1, negative entries of 5 s. */
struct cache_config cache_config_default(void);

/* An empty cache, or NULL: no memory. */
struct cache *cache_new(const struct cache_config *config);

/* NULL is allowed. */
void cache_free(struct cache *cache);

/* A key and its hash in this cache; the bytes stay the caller's. */
struct cache_key {
    struct span bytes;
    uint64_t hash;
};

struct cache_item {
    struct span key;
    struct span value;
    uint64_t version;
    uint64_t expire_ms; /* CACHE_NEVER: none */
    uint32_t cost_us;   /* as put, to three digits */
    bool negative;      /* known to be absent; no value */
};

/* len <= CACHE_KEY_BYTES_MAX. */
struct cache_key cache_key_of(const struct cache *cache, struct span key);

/* Brings the key's place in the index into the processor's cache. */
void cache_prefetch(const struct cache *cache, const struct cache_key *key);

/* Brings the entry in too; waits for the place if that is not there yet. */
void cache_prefetch_entry(const struct cache *cache,
                          const struct cache_key *key);

/* The value of a key. False: there is none, and *item is zero but for
 * `negative`, which tells a key known to be absent. Counts a hit or a miss and
 * is an access to the policy. */
bool cache_get(struct cache *cache, const struct cache_key *key,
               uint64_t now_ms, struct cache_item *item);

/* As cache_get of each, with the waits for memory overlapped: hashes all,
 * prefetches, then looks. An absent key's item has a NULL key. Nothing that
 * has expired is taken back, so that all the spans are valid. Returns how many
 * were found. */
size_t cache_get_many(struct cache *cache, const struct span *keys,
                      size_t count, uint64_t now_ms, struct cache_item *items);

/* As cache_get, without a trace in counters, policy or memory. */
bool cache_peek(const struct cache *cache, const struct cache_key *key,
                uint64_t now_ms, struct cache_item *item);

/* As cache_peek, but a negative entry is told as others are. */
bool cache_look(const struct cache *cache, const struct cache_key *key,
                uint64_t now_ms, struct cache_item *item);

enum cache_when {
    CACHE_ALWAYS,
    CACHE_IF_ABSENT,  /* DLHT_EEXISTS; a negative entry is absent */
    CACHE_IF_PRESENT, /* DLHT_ENOTFOUND */
    CACHE_IF_VERSION, /* DLHT_EMISMATCH; version 0: if absent */
    CACHE_IF_LEASED   /* DLHT_ESTALE */
};

struct cache_put {
    struct span value;  /* may point into this cache */
    uint64_t expire_ms; /* of the past: the key is removed */
    uint32_t cost_us;   /* what it took to make the value; 0: not known */
    bool negative;      /* remember that there is none; value is empty */
    enum cache_when when;
    uint64_t version; /* for CACHE_IF_VERSION */
    uint64_t token;   /* for CACHE_IF_LEASED */
    uint64_t given;   /* the version that it has from another cache, at most
                       * CACHE_VERSION_MAX; 0: the next of this one */
};

/* Adds or replaces, and voids the key's lease. *version (NULL: not asked) is
 * the new one, 0 if the key was removed for an expire_ms of the past. On
 * failure the cache is as before.
 *   DLHT_ETOOBIG  alone it would not fit the bound in bytes, or the value is
 *                 over CACHE_VALUE_BYTES_MAX
 *   DLHT_ENOMEM
 *   and as `when` says */
MUST_USE int cache_put(struct cache *cache, const struct cache_key *key,
                       uint64_t now_ms, const struct cache_put *put,
                       uint64_t *version);

/* False: there was none. Voids the key's lease either way, so that what was
 * read before the removal cannot be stored after it. */
bool cache_remove(struct cache *cache, const struct cache_key *key,
                  uint64_t now_ms);

/* Gives an entry another end; one of the past removes it. The version stays.
 *   DLHT_ENOTFOUND
 *   DLHT_ETOOBIG    what an end takes does not fit the bound
 *   DLHT_ENOMEM     it is as before */
MUST_USE int cache_expire(struct cache *cache, const struct cache_key *key,
                          uint64_t now_ms, uint64_t expire_ms);

/* Makes the value that long, zeros behind what it was; end and cost stay, the
 * version grows and the lease is void. An absent key is added, without end.
 * The caller writes into *value before its next call; the memory is the
 * entry's own where the length rounds to the same size.
 *   DLHT_ETOOBIG, DLHT_ENOMEM  it is as before */
MUST_USE int cache_resize(struct cache *cache, const struct cache_key *key,
                          uint64_t now_ms, size_t value_len, uint8_t **value);

/* Puts bytes behind a value, or adds the key; *len is that of the result. The
 * bytes must not be of this cache. Fails as cache_resize. */
MUST_USE int cache_append(struct cache *cache, const struct cache_key *key,
                          uint64_t now_ms, struct span bytes, size_t *len);

/* How a key is to be had. A token other than 0 asks its holder to make the
 * value and put it with CACHE_IF_LEASED; for each key one is out at a time,
 * until such a put, any other put or removal, a flush, or lease_ms. */
enum cache_answer {
    CACHE_HIT,
    CACHE_NEGATIVE, /* known to be absent */
    CACHE_FILL,     /* no value; a token */
    CACHE_WAIT,     /* no value, another has the token: ask again later */
    CACHE_REFRESH,  /* a value that is stale or will soon be; a token */
    CACHE_STALE     /* a stale value; another has the token */
};

struct cache_lease {
    enum cache_answer answer;
    uint64_t token;
    struct cache_item item;
};

/* A get against stampedes: of all that miss a key, one makes it. A value that
 * was dear and will soon end is refreshed early by one of its readers, drawn
 * with growing probability (XFetch, Vattani et al. 2015): at once when
 * now - cost * beta * ln(chance in (0, 1]) >= expire_ms.
 *   DLHT_ENOMEM  the first one takes memory for lease_count_max */
MUST_USE int cache_lease(struct cache *cache, const struct cache_key *key,
                         uint64_t now_ms, struct cache_lease *lease);

/* Forgets all entries, negatives and leases, at once and in constant time; the
 * memory is given back by cache_tick. */
void cache_flush(struct cache *cache);

/* Takes back what has expired, what a lowered bound asks for and what was
 * flushed, at most about `budget` entries' worth. True: more is due now. */
bool cache_tick(struct cache *cache, uint64_t now_ms, uint32_t budget);

/* When cache_tick will have something to do, roughly: never later than the
 * memory of an expired entry should go; 0: at once, UINT64_MAX: nothing. */
uint64_t cache_next_ms(const struct cache *cache);

/* Other bounds, 0 for none; cache_tick and puts bring the cache within. */
void cache_bound(struct cache *cache, uint64_t bytes_max, uint64_t count_max);

typedef void (*cache_scan_fn)(void *self, const struct cache_item *item);

/* Tells about entries, about so many (a few more as they share a bucket, fewer
 * or none where most have expired), and returns the cursor to go on with, 0 at
 * the end; begins with 0. Every key that is there from begin to end is told
 * exactly once, however the cache grows or shrinks meanwhile, and no key twice
 * but one removed and put again. fn must not change the cache. A cursor is
 * below 2^32; of any other number the low bits are taken. Negative entries are
 * not told. */
uint64_t cache_scan(const struct cache *cache, uint64_t now_ms, uint64_t cursor,
                    size_t about, cache_scan_fn fn, void *self);

/* The same of negative entries, too. */
uint64_t cache_scan_all(const struct cache *cache, uint64_t now_ms,
                        uint64_t cursor, size_t about, cache_scan_fn fn,
                        void *self);

/* Scans tell entries in ascending order of this, but for those of one bucket,
 * which come in any. Its upper 32 bits are the cursor that begins there. */
uint64_t cache_scan_order(const struct cache_key *key);

/* Some entry, drawn by the seed; false: none was found, as in an empty cache
 * or one nearly all expired. */
bool cache_random(struct cache *cache, uint64_t now_ms,
                  struct cache_item *item);

/* Entries held, negatives and those expired but not taken back included. */
uint64_t cache_count(const struct cache *cache);

/* That of its configuration. */
uint64_t cache_seed(const struct cache *cache);

/* The last version given. */
uint64_t cache_version(const struct cache *cache);

/* The next will be greater than this. */
void cache_version_raise(struct cache *cache, uint64_t version);

/* What is counted, since the cache was made unless said otherwise. */
struct cache_stats {
    uint64_t count;        /* entries now */
    uint64_t bytes;        /* counted against the bound, now */
    uint64_t memory_bytes; /* all that is taken, flushed or idle included */
    uint64_t hits;
    uint64_t misses;
    uint64_t negative_hits; /* these are misses too */
    uint64_t puts;
    uint64_t removals;
    uint64_t evictions; /* for the bounds */
    uint64_t expirations;
    uint64_t leases;         /* tokens given */
    uint64_t leases_waited;  /* answers WAIT and STALE */
    uint64_t leases_early;   /* tokens for early refresh */
    uint64_t leases_refused; /* puts with a token that was void */
};

void cache_stats(const struct cache *cache, struct cache_stats *stats);

/* What an entry of these lengths counts. */
uint64_t cache_charge(const struct cache *cache, size_t key_len,
                      size_t value_len, bool expires);

/* Asserts every invariant; linear, for tests and the simulator. */
void cache_check(const struct cache *cache);

#endif
