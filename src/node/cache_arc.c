/* SPDX-License-Identifier: Apache-2.0 */

/* The cache behind an arc. */

#include "node/cache_arc.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/handover.h"
#include "node/op.h"
#include "node/volatile.h"
#include "store/cache.h"
#include "wire/cas_item.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    TICK_BUDGET = 1000, /* entries taken back in one go */
    TICK_REST_MS = 20,
    PLACE_BYTES = OP_HASH_BYTES + 1 + 4 + 8, /* of a cursor, see pack_place */
    STATS_COUNT = 17,
    TOKEN_BITS = 20,
    TOKEN_MARK = (1 << TOKEN_BITS) - 1
};
#define TTL_MS_MAX (UINT64_C(1) << 62)

uint64_t cache_arc_now_ms(const struct node *node)
{
    return node->now_ns / NS_PER_MS;
}

struct cache *cache_arc_new(struct node *node, const struct keyspace *ks,
                            uint64_t seed)
{
    struct cache_config config = cache_config_default();
    config.policy = ks->cache.policy;
    config.seed = seed;
    config.pages = node->config.pages;
    return cache_new(&config);
}

int cache_arc_begin(struct node *node, struct replica *r)
{
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    assert(ks && ks->record.is_volatile && r->arc);
    r->cache = cache_arc_new(node, ks, rng_next(&node->rng));
    if (!r->cache)
        return DLHT_ENOMEM;
    cache_version_raise(r->cache, volatile_version_base(r->arc->generation));
    return DLHT_OK;
}

static uint64_t part_of(uint64_t bound, size_t arcs)
{
    if (bound == 0)
        return 0;
    uint64_t part = bound / arcs;
    return part ? part : 1;
}

void cache_arc_share(struct node *node, keyspace_id keyspace)
{
    const struct keyspace *ks = keyspaces_find(node, keyspace);
    size_t arcs = handover_count(node, keyspace);
    for (size_t i = 0; i < node->replica_count; i++)
        arcs +=
            node->replicas[i]->cache && node->replicas[i]->keyspace == keyspace;
    for (size_t i = 0; ks && i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (!r->cache || r->keyspace != keyspace)
            continue;
        r->cache_bytes_max = part_of(ks->cache.bytes_max, arcs);
        r->cache_count_max = part_of(ks->cache.count_max, arcs);
        cache_bound(r->cache, r->cache_bytes_max, r->cache_count_max);
    }
    if (ks && arcs)
        handover_bound(node, keyspace, part_of(ks->cache.bytes_max, arcs),
                       part_of(ks->cache.count_max, arcs));
}

/* Caches count their tokens from 1: those of another generation must not be
 * good here. */
static uint64_t token_mark(const struct replica *r)
{
    return hash64_mix(r->id, r->arc->generation) & TOKEN_MARK;
}

static uint64_t token_out(const struct replica *r, uint64_t token)
{
    return token ? token << TOKEN_BITS | token_mark(r) : 0;
}

/* 0, which is none: it is not of this generation. */
static uint64_t token_in(const struct replica *r, uint64_t token)
{
    return (token & TOKEN_MARK) == token_mark(r) ? token >> TOKEN_BITS : 0;
}

struct cache_key cache_arc_key(const struct replica *r, struct span key)
{
    struct span bare = span_tail(key, OP_HASH_BYTES);
    return cache_key_of(r->cache, bare);
}

/* A key without its hash, or one that no cache takes, is of a stranger. */
static bool is_key(struct span key)
{
    return key.len > OP_HASH_BYTES &&
           key.len - OP_HASH_BYTES <= CACHE_KEY_BYTES_MAX;
}

static uint64_t end_of(uint64_t ttl_ms, uint64_t now_ms)
{
    if (ttl_ms == 0)
        return CACHE_NEVER;
    if (DLHT_MUTANT == 61)
        ttl_ms *= 3;
    return now_ms + (ttl_ms < TTL_MS_MAX ? ttl_ms : TTL_MS_MAX);
}

static uint64_t ttl_of(const struct cache_item *item, uint64_t now_ms)
{
    if (item->expire_ms == CACHE_NEVER)
        return 0;
    return item->expire_ms > now_ms ? item->expire_ms - now_ms : 1;
}

/* What a put says of a failure. Memory is the caller's matter. */
static int note_failure(int rc, struct session_result *result)
{
    if (rc == DLHT_ENOMEM)
        return rc;
    result->status = rc;
    return DLHT_OK;
}

static int run_put(struct replica *r, const struct command *c,
                   struct session_result *result)
{
    struct cache_key key = cache_arc_key(r, c->key);
    struct cache_put put = { .value = c->value,
                             .expire_ms = end_of(c->ttl_ms, c->now_ms),
                             .cost_us = c->cost_us,
                             .negative = (c->flags & REQUEST_NEGATIVE) != 0 };
    if (c->flags & REQUEST_KEEP_TTL)
        put.expire_ms = CACHE_KEEP;
    if (put.negative)
        put.value = span_empty();
    if (c->kind == COMMAND_CAS) {
        put.when = CACHE_IF_VERSION;
        put.version = c->version;
    } else if (c->flags & REQUEST_LEASED) {
        put.when = CACHE_IF_LEASED;
        put.token = token_in(r, c->version);
    }
    handover_note(r, &key);
    int rc = cache_put(r->cache, &key, c->now_ms, &put, &result->version);
    if (rc == DLHT_EMISMATCH) {
        struct cache_item now;
        (void)cache_peek(r->cache, &key, c->now_ms, &now);
        result->version = now.version;
    }
    return note_failure(rc, result);
}

void cache_arc_del_at(struct replica *r, const struct cache_key *key,
                      uint64_t now_ms, struct session_result *result)
{
    handover_note(r, key);
    if (DLHT_MUTANT == 60 || cache_remove(r->cache, key, now_ms))
        result->version = cache_version(r->cache);
    else
        result->status = DLHT_ENOTFOUND;
}

static int run_del(struct replica *r, struct span bytes, uint64_t now_ms,
                   struct session_result *result)
{
    struct cache_key key = cache_arc_key(r, bytes);
    cache_arc_del_at(r, &key, now_ms, result);
    return DLHT_OK;
}

static int run_expire(struct replica *r, const struct command *c,
                      struct session_result *result)
{
    struct cache_key key = cache_arc_key(r, c->key);
    uint64_t end = end_of(c->ttl_ms, c->now_ms);
    handover_note(r, &key);
    int rc = cache_expire(r->cache, &key, c->now_ms, end);
    struct cache_item item;
    if (rc == DLHT_OK && cache_peek(r->cache, &key, c->now_ms, &item))
        result->version = item.version;
    return note_failure(rc, result);
}

/* Alone it would not fit: then nothing of a batch is done. */
static bool fits(const struct replica *r, struct span key, struct span value)
{
    uint64_t charge = cache_charge(r->cache, key.len, value.len, true);
    return r->cache_bytes_max == 0 || charge <= r->cache_bytes_max;
}

int cache_arc_put_at(struct replica *r, const struct cache_key *key,
                     struct span value, uint64_t now_ms,
                     struct session_result *result)
{
    struct cache_put put = { .value = value, .expire_ms = CACHE_NEVER };
    handover_note(r, key);
    int rc = cache_put(r->cache, key, now_ms, &put, &result->version);
    return note_failure(rc, result);
}

static int put_item(struct replica *r, const struct cas_item *item,
                    uint64_t now_ms)
{
    struct cache_key key = cache_arc_key(r, item->key);
    struct cache_put put = { .value = item->value,
                             .expire_ms =
                                 item->keep_ttl ? CACHE_KEEP : CACHE_NEVER };
    uint64_t version;
    handover_note(r, &key);
    return cache_put(r->cache, &key, now_ms, &put, &version);
}

static int run_batch(struct replica *r, const struct command *c,
                     struct session_result *result)
{
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i += 2) {
        struct cache_key key = cache_arc_key(r, mp_read_bytes(&reader));
        struct span value = mp_read_bytes(&reader);
        int rc = cache_arc_put_at(r, &key, value, c->now_ms, result);
        if (rc != DLHT_OK || result->status != DLHT_OK)
            return rc;
    }
    result->count = c->list_count / 2;
    return DLHT_OK;
}

/* DLHT_OK, DLHT_ETOOBIG, or DLHT_EMISMATCH and at which. */
static int check_items(const struct replica *r, const struct command *c,
                       struct session_result *result)
{
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i += CAS_ITEM_BINS) {
        struct cas_item item = cas_item_read(&reader);
        struct cache_key key = cache_arc_key(r, item.key);
        struct cache_item now;
        (void)cache_peek(r->cache, &key, c->now_ms, &now);
        if (!item.any_version && item.version != now.version) {
            result->version = now.version;
            result->count = i / CAS_ITEM_BINS;
            return DLHT_EMISMATCH;
        }
        if (!item.remove && !item.check && !fits(r, item.key, item.value))
            return DLHT_ETOOBIG;
    }
    return DLHT_OK;
}

static void lose_items(struct replica *r, const struct command *c)
{
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i += CAS_ITEM_BINS) {
        struct session_result nothing = { 0 };
        struct cas_item item = cas_item_read(&reader);
        if (!item.check)
            (void)!run_del(r, item.key, c->now_ms, &nothing);
    }
}

static int run_cas_batch(struct replica *r, const struct command *c,
                         struct session_result *result)
{
    struct mp_reader reader;
    int rc = check_items(r, c, result);
    mp_reader_init(&reader, c->list);
    if (rc != DLHT_OK)
        return note_failure(rc, result);
    for (uint32_t i = 0; i < c->list_count; i += CAS_ITEM_BINS) {
        struct cas_item item = cas_item_read(&reader);
        struct session_result one = { 0 };
        if (item.check)
            continue;
        if (item.remove)
            rc = run_del(r, item.key, c->now_ms, &one);
        else
            rc = put_item(r, &item, c->now_ms);
        if (rc != DLHT_OK) {
            lose_items(r, c);
            return note_failure(rc, result);
        }
    }
    result->version = cache_version(r->cache);
    result->count = c->list_count / CAS_ITEM_BINS;
    return DLHT_OK;
}

int cache_arc_run(struct replica *r, const struct command *c,
                  struct session_result *result)
{
    switch (c->kind) {
    case COMMAND_PUT:
    case COMMAND_CAS:
        return run_put(r, c, result);
    case COMMAND_DEL:
        return run_del(r, c->key, c->now_ms, result);
    case COMMAND_EXPIRE:
        return run_expire(r, c, result);
    case COMMAND_CAS_BATCH:
        return run_cas_batch(r, c, result);
    default:
        return run_batch(r, c, result);
    }
}

static void tell_item(const struct cache_item *item, uint64_t now_ms,
                      struct response *out)
{
    out->status = DLHT_OK;
    out->value = item->value;
    out->version = item->version;
    out->ttl_ms = ttl_of(item, now_ms);
}

void cache_arc_get_at(struct replica *r, const struct cache_key *key,
                      uint64_t now_ms, struct response *out)
{
    struct cache_item item;
    out->status = DLHT_ENOTFOUND;
    if (cache_get(r->cache, key, now_ms, &item))
        tell_item(&item, now_ms, out);
}

void cache_arc_get(struct node *node, struct replica *r,
                   const struct request *q, struct response *out)
{
    struct cache_item item;
    uint64_t now_ms = cache_arc_now_ms(node);
    out->status = DLHT_ENOTFOUND;
    if (!is_key(q->key))
        return;
    struct cache_key key = cache_arc_key(r, q->key);
    bool found = q->flags & REQUEST_PEEK
                     ? cache_peek(r->cache, &key, now_ms, &item)
                     : cache_get(r->cache, &key, now_ms, &item);
    if (found)
        tell_item(&item, now_ms, out);
}

void cache_arc_lease(struct node *node, struct replica *r,
                     const struct request *q, struct response *out)
{
    struct cache_lease lease;
    uint64_t now_ms = cache_arc_now_ms(node);
    if (!is_key(q->key)) {
        out->status = DLHT_EINVAL;
        return;
    }
    struct cache_key key = cache_arc_key(r, q->key);
    int rc = cache_lease(r->cache, &key, now_ms, &lease);
    if (rc != DLHT_OK) {
        out->status = rc == DLHT_ENOMEM ? DLHT_EBUSY : rc;
        return;
    }
    if (lease.answer == CACHE_HIT || lease.answer == CACHE_REFRESH ||
        lease.answer == CACHE_STALE)
        tell_item(&lease.item, now_ms, out);
    out->version = token_out(r, lease.token);
    out->count = (uint64_t)lease.answer;
}

/* Pages. A cursor is a key of the arc: its first eight bytes, a zero, the place
 * in the cache and, if it was told in part, the scan order of the last one
 * that was. So what is removed between pages hides no other. */

static void arc_start(const struct replica *r, uint8_t out[OP_HASH_BYTES])
{
    struct span lo = r->arc->lo;
    memset(out, 0, OP_HASH_BYTES);
    if (lo.len)
        memcpy(out, lo.data, lo.len < OP_HASH_BYTES ? lo.len : OP_HASH_BYTES);
}

static struct span pack_place(struct node *node, const struct replica *r,
                              uint64_t place, uint64_t after)
{
    uint8_t *out = effects_room(node->fx, PLACE_BYTES);
    if (!out)
        return span_empty();
    arc_start(r, out);
    uint8_t *at = out + OP_HASH_BYTES;
    *at++ = 0;
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(place >> shift);
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(after >> shift);
    return span_of(out, PLACE_BYTES);
}

/* False: it is a place in the order of hashes, as every other key is. */
static bool unpack_place(const struct replica *r, struct span from,
                         uint64_t *place, uint64_t *after)
{
    uint8_t start[OP_HASH_BYTES];
    arc_start(r, start);
    *place = *after = 0;
    if (from.len != PLACE_BYTES || from.data[OP_HASH_BYTES] != 0 ||
        memcmp(from.data, start, sizeof start) != 0)
        return span_compare(from, r->arc->lo) <= 0;
    const uint8_t *at = from.data + OP_HASH_BYTES + 1;
    for (int i = 0; i < 4; i++)
        *place = *place << 8 | *at++;
    for (int i = 0; i < 8; i++)
        *after = *after << 8 | *at++;
    return true;
}

struct page {
    const struct cache *cache;
    const struct request *q;
    struct buf *list;
    bool by_hash; /* the bounds are in the order of hashes */
    uint64_t limit;
    uint32_t count;
    uint64_t now_ms;
    /* In one place: */
    uint64_t after; /* those up to it were told */
    uint64_t only;  /* no other is to be told now; 0: all are */
    uint64_t least; /* seen behind after; 0: none */
    bool looks;     /* tells none */
    bool over;      /* some were not told: the page is full */
};

static bool is_inside(const struct page *p, struct span key)
{
    const struct request *q = p->q;
    uint8_t hash[OP_HASH_BYTES];
    uint64_t h = hash64(key);
    for (int i = 0; i < OP_HASH_BYTES; i++)
        hash[i] = (uint8_t)(h >> (56 - 8 * i));
    struct span at = span_of(hash, sizeof hash);
    if (p->by_hash && span_compare(at, q->key) < 0)
        return false;
    return !(q->flags & REQUEST_HAS_END) || span_compare(at, q->end) < 0;
}

static bool is_full(const struct page *p)
{
    return p->count >= p->limit || p->list->len >= PAGE_BYTES_MAX;
}

static void add_item(void *self, const struct cache_item *item)
{
    struct page *p = self;
    if ((p->by_hash || (p->q->flags & REQUEST_HAS_END)) &&
        !is_inside(p, item->key))
        return;
    struct cache_key key = cache_key_of(p->cache, item->key);
    uint64_t order = cache_scan_order(&key) | 1;
    if (order <= p->after)
        return;
    if (p->least == 0 || order < p->least)
        p->least = order;
    if (p->looks || (p->only && p->only != order))
        return;
    if (is_full(p)) {
        p->over = true;
        return;
    }
    bool keys_only = p->q->flags & REQUEST_KEYS_ONLY;
    mp_write_bin(p->list, item->key);
    mp_write_bin(p->list, keys_only ? span_empty() : item->value);
    mp_write_uint(p->list, item->version);
    p->count++;
}

/* Tells what fits of a place that has too much for one page. */
static void tell_in_order(struct page *p, uint64_t place)
{
    while (!is_full(p)) {
        p->looks = true;
        p->least = 0;
        (void)cache_scan(p->cache, p->now_ms, place, 1, add_item, p);
        p->looks = false;
        if (p->least == 0)
            return;
        p->only = p->least;
        (void)cache_scan(p->cache, p->now_ms, place, 1, add_item, p);
        p->after = p->only;
    }
}

void cache_arc_page(struct node *node, const struct replica *r,
                    const struct request *q, struct buf *list,
                    struct response *out)
{
    uint64_t place;
    struct page p = { .cache = r->cache,
                      .q = q,
                      .list = list,
                      .limit = q->limit ? q->limit : UINT32_MAX,
                      .now_ms = cache_arc_now_ms(node) };
    p.by_hash = !unpack_place(r, q->key, &place, &p.after);
    do {
        size_t before = list->len;
        uint32_t count = p.count;
        uint64_t next = cache_scan(r->cache, p.now_ms, place, 1, add_item, &p);
        if (p.over) { /* a place is told as a whole, if it fits */
            list->len = before;
            p.count = count;
            if (count == 0) {
                tell_in_order(&p, place);
                place = p.after >> 32;
            }
        } else {
            p.after = 0;
            place = next;
        }
        out->list_count = p.count;
        if (p.over || (place && is_full(&p))) {
            out->more = true;
            out->cursor = pack_place(node, r, place, p.after);
            return;
        }
    } while (place);
    bool ends_here = !r->arc->has_hi || ((q->flags & REQUEST_HAS_END) &&
                                         span_compare(q->end, r->arc->hi) <= 0);
    if (!ends_here) {
        out->more = true;
        out->cursor = r->arc->hi;
    }
}

/* Counters. */

static size_t list_stats(struct cache_sums *s, uint64_t *out[STATS_COUNT])
{
    uint64_t *const all[STATS_COUNT] = { &s->stats.count,
                                         &s->stats.bytes,
                                         &s->stats.memory_bytes,
                                         &s->stats.hits,
                                         &s->stats.misses,
                                         &s->stats.negative_hits,
                                         &s->stats.puts,
                                         &s->stats.removals,
                                         &s->stats.evictions,
                                         &s->stats.expirations,
                                         &s->stats.leases,
                                         &s->stats.leases_waited,
                                         &s->stats.leases_early,
                                         &s->stats.leases_refused,
                                         &s->bytes_max,
                                         &s->count_max,
                                         &s->arcs };
    memcpy(out, all, sizeof all);
    return STATS_COUNT;
}

void cache_arc_pack_stats(const struct replica *r, struct buf *out)
{
    struct cache_sums s = { .bytes_max = r->cache_bytes_max,
                            .count_max = r->cache_count_max,
                            .arcs = 1 };
    uint64_t *all[STATS_COUNT];
    cache_stats(r->cache, &s.stats);
    size_t count = list_stats(&s, all);
    mp_write_array(out, count);
    for (size_t i = 0; i < count; i++)
        mp_write_uint(out, *all[i]);
}

bool cache_arc_add_stats(struct span packed, struct cache_sums *sums)
{
    struct mp_reader r;
    uint64_t *all[STATS_COUNT];
    size_t count = list_stats(sums, all);
    mp_reader_init(&r, packed);
    size_t there = mp_read_array(&r);
    for (size_t i = 0; i < count && i < there; i++)
        *all[i] += mp_read_uint(&r);
    return !r.bad && there >= count;
}

void cache_arc_tick(struct node *node, struct replica *r)
{
    uint64_t now_ms = cache_arc_now_ms(node);
    bool more = cache_next_ms(r->cache) <= now_ms &&
                cache_tick(r->cache, now_ms, TICK_BUDGET);
    uint64_t next_ms = cache_next_ms(r->cache);
    if (next_ms == UINT64_MAX)
        return;
    uint64_t least = now_ms + (more ? 1 : TICK_REST_MS);
    if (next_ms < least)
        next_ms = least;
    if (next_ms < UINT64_MAX / NS_PER_MS)
        node_wake_at(node, next_ms * NS_PER_MS);
}
