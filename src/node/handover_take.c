/* SPDX-License-Identifier: Apache-2.0 */

/* Handing a volatile arc over: the receiver's side. */

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/cache_arc.h"
#include "node/handover.h"
#include "node/keeper.h"
#include "node/op.h"
#include "node/replica.h"
#include "node/volatile.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    ACKS = 2 * HANDOVER_WINDOW /* whose times are remembered */
};
#define SILENCE_NS (UINT64_C(15000) * NS_PER_MS)
#define TTL_MS_MAX (UINT64_C(1) << 62)

struct taking {
    struct taking *following;
    struct arc *arc; /* as it will be */
    struct id peer;
    replica_id from;
    uint64_t transfer;
    uint64_t next;           /* chunk */
    uint64_t acked_ms[ACKS]; /* when an ack with that sequence was first sent */
    uint64_t clock_ms;       /* what comes now was not packed before */
    struct cache *cache;
    struct buf stream; /* of an item that is not whole yet */
    uint64_t version;
    bool ended;
    uint64_t heard_ns;
};

static void taking_free(struct taking *t)
{
    if (!t)
        return;
    arc_free(t->arc);
    cache_free(t->cache);
    buf_deinit(&t->stream);
    free(t);
}

static struct taking *find(const struct node *node, arc_id arc)
{
    struct taking *t = node->takings;
    while (t && t->arc->id != arc)
        t = t->following;
    return t;
}

static void unlink_taking(struct node *node, const struct taking *t)
{
    struct taking **at = &node->takings;
    while (*at != t)
        at = &(*at)->following;
    *at = t->following;
}

static void drop(struct node *node, struct taking *t)
{
    keyspace_id keyspace = t->arc->keyspace;
    unlink_taking(node, t);
    taking_free(t);
    cache_arc_share(node, keyspace);
}

void handover_forget(struct node *node, arc_id arc, uint64_t generation)
{
    struct taking *t = find(node, arc);
    if (t && t->arc->generation <= generation)
        drop(node, t);
}

void handover_forget_all(struct node *node)
{
    while (node->takings) {
        struct taking *t = node->takings;
        node->takings = t->following;
        taking_free(t);
    }
}

size_t handover_count(const struct node *node, keyspace_id keyspace)
{
    size_t count = 0;
    for (const struct taking *t = node->takings; t; t = t->following)
        count += t->arc->keyspace == keyspace;
    return count;
}

void handover_bound(struct node *node, keyspace_id keyspace, uint64_t bytes_max,
                    uint64_t count_max)
{
    for (struct taking *t = node->takings; t; t = t->following)
        if (t->arc->keyspace == keyspace)
            cache_bound(t->cache, bytes_max, count_max);
}

uint64_t handover_memory_bytes(const struct node *node)
{
    uint64_t bytes = 0;
    for (const struct taking *t = node->takings; t; t = t->following) {
        struct cache_stats stats;
        cache_stats(t->cache, &stats);
        bytes += stats.memory_bytes + t->stream.cap;
    }
    return bytes;
}

static void answer(struct node *node, const struct id *to,
                   const struct snapshot_chunk *chunk, struct snapshot_ack ack)
{
    struct message m = { .type = MESSAGE_SNAPSHOT_ACK };
    ack.arc = chunk->arc;
    ack.from = chunk->to;
    ack.to = chunk->from;
    ack.transfer = chunk->transfer;
    m.u.ack = ack;
    node_send(node, to, &m);
}

static void refuse(struct node *node, const struct id *to,
                   const struct snapshot_chunk *chunk)
{
    answer(node, to, chunk, (struct snapshot_ack){ .refused = true });
}

static void go_on(struct node *node, struct taking *t,
                  const struct snapshot_chunk *chunk)
{
    t->heard_ns = node->now_ns;
    answer(node, &t->peer, chunk, (struct snapshot_ack){ .sequence = t->next });
}

/* The header. */

static bool has_bounds_of(const struct arc *a, const struct arc *b)
{
    return span_equal(a->lo, b->lo) && a->has_hi == b->has_hi &&
           (!a->has_hi || span_equal(a->hi, b->hi));
}

/* It may be: the arc as this peer knows it, of this life, from its voter. */
static bool is_sound(const struct node *node, const struct keyspace *ks,
                     const struct arc *arc, uint64_t before,
                     const struct id *from, const struct snapshot_chunk *chunk)
{
    const struct arc *known = map_by_id(ks->map, arc->id);
    const struct replica *r = node_replica(node, arc->id);
    return ks->record.is_volatile && !ks->record.dropped &&
           arc->member_count == 1 && arc->members[0].voter &&
           arc->members[0].replica == chunk->to &&
           node_is_self(node, &arc->members[0].peer) &&
           volatile_is_of(chunk->to, volatile_life(node)) &&
           (!r || (r->cache && r->arc->generation < arc->generation)) &&
           before < arc->generation &&
           (!known || (known->generation <= before &&
                       has_bounds_of(known, arc) && known->member_count == 1 &&
                       (known->generation < before ||
                        id_equal(&known->members[0].peer, from))));
}

static struct taking *taking_new(struct node *node, const struct keyspace *ks,
                                 const struct arc *arc, const struct id *from,
                                 const struct snapshot_chunk *chunk,
                                 uint64_t seed)
{
    struct taking *t = mem_zero(1, sizeof *t);
    if (!t)
        return NULL;
    t->arc = arc_copy(arc);
    t->cache = cache_arc_new(node, ks, seed);
    if (!t->arc || !t->cache) {
        taking_free(t);
        return NULL;
    }
    t->peer = *from;
    t->from = chunk->from;
    t->transfer = chunk->transfer;
    t->next = 1;
    t->acked_ms[1] = t->clock_ms = cache_arc_now_ms(node);
    return t;
}

/* Without an answer it is sent again. */
static void begin(struct node *node, const struct id *from,
                  const struct snapshot_chunk *chunk)
{
    struct mp_reader reader;
    struct arc arc;
    size_t count = 0;
    mp_reader_init(&reader, chunk->bytes);
    bool ours = mp_read_uint(&reader) == HANDOVER_VERSION && !reader.bad;
    if (ours)
        codec_unpack_arc(&reader, &arc);
    uint64_t before = ours ? mp_read_uint(&reader) : 0;
    uint64_t seed = rng_next(&node->rng);
    if (ours && !mp_at_end(&reader)) /* of a version that tells it */
        seed = mp_read_uint(&reader);
    if (!ours || reader.bad || arc.id != chunk->arc || chunk->last ||
        arc.generation != chunk->term) {
        refuse(node, from, chunk);
        return;
    }
    const struct keyspace *ks = keyspaces_find(node, arc.keyspace);
    struct taking *old = find(node, arc.id);
    for (const struct taking *t = node->takings; t; t = t->following)
        count++;
    if (!ks || (count >= HANDOVER_TAKEN_MAX && !old))
        return;
    if (!is_sound(node, ks, &arc, before, from, chunk) ||
        (old && old->arc->generation > arc.generation)) {
        refuse(node, from, chunk);
        return;
    }
    if (old)
        drop(node, old);
    struct taking *t = taking_new(node, ks, &arc, from, chunk, seed);
    if (!t)
        return;
    t->following = node->takings;
    node->takings = t;
    cache_arc_share(node, arc.keyspace);
    go_on(node, t, chunk);
}

/* Items. */

static bool is_of_arc(struct node *node, const struct taking *t,
                      struct span key)
{
    if (key.len == 0 || key.len > KEY_LEN_MAX)
        return false;
    uint8_t hash[OP_HASH_BYTES];
    uint64_t h = hash64(key);
    for (int i = 0; i < OP_HASH_BYTES; i++)
        hash[i] = (uint8_t)(h >> (56 - 8 * i));
    buf_reset(&node->scratch);
    buf_append(&node->scratch, hash, sizeof hash);
    buf_append_span(&node->scratch, key);
    return !node->scratch.failed && arc_has(t->arc, buf_span(&node->scratch));
}

/* What cannot be kept is not there: neither is what was there before. */
static bool take_entry(struct node *node, struct taking *t, struct mp_reader *r)
{
    uint64_t now_ms = cache_arc_now_ms(node);
    struct cache_put put = { .expire_ms = CACHE_NEVER };
    struct span bytes = mp_read_bytes(r);
    put.value = mp_read_bytes(r);
    put.given = mp_read_uint(r);
    uint64_t ttl_ms = mp_read_uint(r), cost_us = mp_read_uint(r);
    put.negative = mp_read_bool(r);
    if (r->bad || !is_of_arc(node, t, bytes) || put.value.len > VALUE_LEN_MAX ||
        put.given == 0 || put.given > CACHE_VERSION_MAX ||
        ttl_ms > TTL_MS_MAX || cost_us > UINT32_MAX ||
        (put.negative && put.value.len))
        return false;
    put.cost_us = (uint32_t)cost_us;
    if (ttl_ms && DLHT_MUTANT != 64)
        put.expire_ms = t->clock_ms + ttl_ms;
    bool full = node->config.memory_limit &&
                node->memory_used > node->config.memory_limit;
    struct cache_key key = cache_key_of(t->cache, bytes);
    if (full || cache_put(t->cache, &key, now_ms, &put, NULL) != DLHT_OK)
        cache_remove(t->cache, &key, now_ms);
    return true;
}

static bool take_clock(struct node *node, struct taking *t, struct mp_reader *r)
{
    uint64_t sequence = mp_read_uint(r), passed_ms = mp_read_uint(r);
    uint64_t now_ms = cache_arc_now_ms(node);
    if (r->bad || sequence == 0 || sequence > t->next ||
        t->next - sequence >= ACKS)
        return false;
    uint64_t then_ms = t->acked_ms[sequence % ACKS];
    t->clock_ms = passed_ms < now_ms - then_ms ? then_ms + passed_ms : now_ms;
    return true;
}

static bool take_item(struct node *node, struct taking *t, struct span bytes)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    uint64_t kind = mp_read_uint(&r);
    if (r.bad || t->ended)
        return false;
    if (kind == HANDOVER_ENTRY)
        return take_entry(node, t, &r);
    if (kind == HANDOVER_CLOCK)
        return take_clock(node, t, &r);
    if (kind == HANDOVER_ABSENT) {
        struct span key = mp_read_bytes(&r);
        if (r.bad || key.len == 0 || key.len > KEY_LEN_MAX)
            return false;
        struct cache_key at = cache_key_of(t->cache, key);
        cache_remove(t->cache, &at, cache_arc_now_ms(node));
        return true;
    }
    if (kind == HANDOVER_FLUSH) {
        cache_flush(t->cache);
        return true;
    }
    t->version = mp_read_uint(&r);
    t->ended = true;
    return kind == HANDOVER_END && !r.bad && t->version <= CACHE_VERSION_MAX &&
           t->version >= cache_version(t->cache);
}

/* False: it is not such a stream, or there is no memory. */
static bool take_stream(struct node *node, struct taking *t, struct span bytes)
{
    buf_append_span(&t->stream, bytes);
    size_t at = 0, rest = t->stream.len;
    const uint8_t *data = t->stream.data;
    while (!t->stream.failed && rest >= HANDOVER_LENGTH_BYTES) {
        size_t len = 0;
        for (size_t i = 0; i < HANDOVER_LENGTH_BYTES; i++)
            len = len << 8 | data[at + i];
        if (len > HANDOVER_ITEM_MAX)
            return false;
        if (len > rest - HANDOVER_LENGTH_BYTES)
            break;
        at += HANDOVER_LENGTH_BYTES;
        if (!take_item(node, t, span_of(data + at, len)))
            return false;
        at += len;
        rest -= HANDOVER_LENGTH_BYTES + len;
    }
    if (t->stream.failed)
        return false;
    buf_drop(&t->stream, at);
    return true;
}

/* All is here: the arc is taken. */
static bool install(struct node *node, struct taking *t)
{
    uint64_t version = volatile_version_after(t->arc->generation, t->version);
    struct recover_message order = { .kind = RECOVER_TAKE,
                                     .arc = t->arc->id,
                                     .fresh = t->arc->members[0].replica,
                                     .term = 1,
                                     .generation = t->arc->generation,
                                     .arc_known = t->arc };
    if (version == 0)
        return false;
    unlink_taking(node, t);
    int rc = volatile_take(node, &order);
    if (rc == DLHT_OK) {
        struct replica *r = node_replica(node, t->arc->id);
        cache_version_raise(t->cache, version);
        cache_free(r->cache);
        r->cache = t->cache;
        t->cache = NULL;
        node_log(node, LOG_INFO, "arc %016llx: taken from %s, %llu entries",
                 (unsigned long long)r->id, node_peer_addr(node, &t->peer),
                 (unsigned long long)cache_count(r->cache));
    }
    cache_arc_share(node, t->arc->keyspace);
    taking_free(t);
    keeper_report_soon(node);
    return rc == DLHT_OK;
}

/* Its voter may have gone on with the arc. */
static bool is_late(const struct node *node, const struct taking *t)
{
    return cache_arc_now_ms(node) - t->clock_ms > HANDOVER_LATE_MS;
}

void handover_receive_chunk(struct node *node, const struct id *from,
                            const struct snapshot_chunk *chunk)
{
    const struct replica *r = node_replica(node, chunk->arc);
    struct taking *t = find(node, chunk->arc);
    if (r && r->self == chunk->to) { /* the word of that was lost */
        answer(node, from, chunk, (struct snapshot_ack){ .done = true });
        return;
    }
    bool known = t && t->transfer == chunk->transfer &&
                 t->from == chunk->from && id_equal(&t->peer, from) &&
                 t->arc->members[0].replica == chunk->to;
    if (!known && chunk->sequence == 0) {
        begin(node, from, chunk);
        return;
    }
    if (!known) {
        refuse(node, from, chunk);
        return;
    }
    if (chunk->sequence != t->next) {
        go_on(node, t, chunk);
        return;
    }
    bool good = chunk->bytes.len <= HANDOVER_CHUNK &&
                take_stream(node, t, chunk->bytes) && chunk->last == t->ended &&
                (!t->ended || t->stream.len == 0);
    if (good && !t->ended) {
        t->next++;
        t->acked_ms[t->next % ACKS] = cache_arc_now_ms(node);
        go_on(node, t, chunk);
    } else if (good && !is_late(node, t) && install(node, t)) {
        answer(node, from, chunk, (struct snapshot_ack){ .done = true });
    } else {
        handover_forget(node, chunk->arc, UINT64_MAX);
        refuse(node, from, chunk);
    }
}

void handover_take_tick(struct node *node)
{
    struct taking *t = node->takings;
    while (t) {
        struct taking *following = t->following;
        const struct keyspace *ks = keyspaces_find(node, t->arc->keyspace);
        const struct arc *known = ks ? map_by_id(ks->map, t->arc->id) : NULL;
        if (!ks || ks->record.dropped ||
            node->now_ns - t->heard_ns > SILENCE_NS ||
            (known && known->generation >= t->arc->generation))
            drop(node, t);
        t = following;
    }
}
