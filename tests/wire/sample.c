/* SPDX-License-Identifier: Apache-2.0 */

/* Made-up messages. Small more often than not, so that truncating at each byte
 * stays affordable; numbers of every width. */

#include "wire/sample.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "wire/mp.h"

static void *take(struct sample_pool *pool, size_t bytes)
{
    bytes = (bytes + 15) / 16 * 16;
    assert(pool->used + bytes <= SAMPLE_POOL_BYTES);
    void *at = pool->bytes + pool->used;
    pool->used += bytes;
    return at;
}

/* Every width, often the edge of one. */
static uint64_t number(struct rng *rng, uint64_t max)
{
    static const uint64_t edges[] = { 0,          1,          127,       128,
                                      255,        256,        65535,     65536,
                                      UINT32_MAX, 1ull << 32, UINT64_MAX };
    uint64_t x = rng_chance(rng, 0.5)
                     ? edges[rng_below(rng, sizeof edges / sizeof *edges)]
                     : rng_next(rng) >> rng_below(rng, 64);
    return x <= max ? x : x % (max + 1);
}

static uint64_t positive(struct rng *rng)
{
    uint64_t x = number(rng, UINT64_MAX);
    return x ? x : 1;
}

static bool flip(struct rng *rng)
{
    return rng_chance(rng, 0.5);
}

static struct span bytes(struct rng *rng, struct sample_pool *pool, size_t min,
                         size_t max)
{
    static const size_t edges[] = { 0, 1, 31, 32, 255, 256, 300 };
    size_t len = flip(rng) ? rng_below(rng, 20) : edges[rng_below(rng, 7)];
    len = len < min ? min : len > max ? max : len;
    uint8_t *data = take(pool, len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)rng_next(rng);
    return len ? span_of(data, len) : span_empty();
}

static struct span text(struct rng *rng, struct sample_pool *pool, size_t min,
                        size_t max)
{
    size_t len = (size_t)rng_range(rng, min, max);
    char *data = take(pool, len + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('!' + rng_below(rng, 94));
    return len ? span_of(data, len) : span_empty();
}

static struct id id_or_zero(struct rng *rng)
{
    static const struct id zero;
    return flip(rng) ? id_random(rng) : zero;
}

void sample_arc(struct rng *rng, struct sample_pool *pool, struct arc *out)
{
    *out = (struct arc){ .keyspace = (keyspace_id)number(rng, UINT32_MAX),
                         .id = positive(rng),
                         .lo = bytes(rng, pool, 0, 300),
                         .generation = number(rng, UINT64_MAX),
                         .term = number(rng, UINT64_MAX),
                         .owner = id_or_zero(rng) };
    out->has_hi = flip(rng);
    if (out->has_hi) { /* the lo, and one byte more */
        uint8_t *hi = take(pool, out->lo.len + 1);
        if (out->lo.len)
            memcpy(hi, out->lo.data, out->lo.len);
        hi[out->lo.len] = 0;
        out->hi = span_of(hi, out->lo.len + 1);
    }
    out->member_count = rng_range(rng, 1, flip(rng) ? 3 : ARC_MEMBERS_MAX);
    for (size_t i = 0; i < out->member_count; i++)
        out->members[i] =
            (struct arc_member){ rng_next(rng) | 1, id_random(rng), flip(rng) };
}

void sample_members(struct rng *rng, struct raft_members *out)
{
    *out = (struct raft_members){ .count = rng_below(rng, 4) };
    for (size_t i = 0; i < out->count; i++)
        out->list[i] = (struct raft_member){ rng_next(rng) | 1, flip(rng) };
}

static const struct arc *arcs(struct rng *rng, struct sample_pool *pool,
                              size_t count)
{
    struct arc *list = take(pool, count * sizeof *list);
    for (size_t i = 0; i < count; i++)
        sample_arc(rng, pool, &list[i]);
    return list;
}

void sample_keyspace(struct rng *rng, struct sample_pool *pool,
                     struct keyspace_record *out)
{
    static const uint8_t replicas[] = { 1, 3, 5 };
    *out = (struct keyspace_record){
        .id = (keyspace_id)number(rng, UINT32_MAX),
        .name = text(rng, pool, 1, KEYSPACE_NAME_MAX),
        .version = number(rng, UINT64_MAX),
        .placement = flip(rng) ? PLACEMENT_ORDERED : PLACEMENT_HASHED,
        .replicas = replicas[rng_below(rng, 3)],
        .is_volatile = flip(rng),
        .dropped = flip(rng),
        .floor_keys = number(rng, UINT64_MAX),
        .ceiling_bytes = number(rng, UINT64_MAX),
        .first_arc_count = flip(rng) ? 0 : rng_below(rng, 3),
        .options = text(rng, pool, 0, 60)
    };
    out->first_arcs = arcs(rng, pool, out->first_arc_count);
}

static struct peer sample_peer(struct rng *rng, struct sample_pool *pool)
{
    struct peer p = { .id = id_random(rng),
                      .incarnation = number(rng, UINT64_MAX),
                      .refutation = (uint32_t)number(rng, UINT32_MAX),
                      .weight_milli = (uint32_t)number(rng, 100000),
                      .state = (uint8_t)rng_range(rng, PEER_ALIVE, PEER_LEFT) };
    struct span addr = text(rng, pool, 0, PEER_ADDR_MAX - 1);
    struct span zone = text(rng, pool, 0, PEER_ZONE_MAX - 1);
    if (addr.len)
        memcpy(p.addr, addr.data, addr.len);
    if (zone.len)
        memcpy(p.zone, zone.data, zone.len);
    return p;
}

static const struct peer *peers(struct rng *rng, struct sample_pool *pool,
                                size_t count)
{
    struct peer *list = take(pool, count * sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = sample_peer(rng, pool);
    return list;
}

/* Packs items into the pool. kinds: k a key, v a value, n a number, c a
 * condition; repeated
 * for each record. */
static struct span list(struct rng *rng, struct sample_pool *pool,
                        const char *kinds, size_t records)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < records; i++)
        for (const char *kind = kinds; *kind; kind++)
            if (*kind == 'n')
                mp_write_uint(&b, number(rng, UINT64_MAX));
            else if (*kind == 'c')
                mp_write_bin(&b, span_of("version", flip(rng) ? 8 : 0));
            else
                mp_write_bin(&b, bytes(rng, pool, *kind == 'k', 300));
    assert(!b.failed);
    void *data = take(pool, b.len);
    if (b.len)
        memcpy(data, b.data, b.len);
    struct span out = b.len ? span_of(data, b.len) : span_empty();
    buf_deinit(&b);
    return out;
}

static void sample_request(struct rng *rng, struct sample_pool *pool,
                           struct request *q)
{
    *q = (struct request){ .op =
                               (uint8_t)rng_range(rng, OP_PING, OP_CACHE_LEASE),
                           .flags = (uint16_t)number(rng, 8191),
                           .key = bytes(rng, pool, 1, 300) };
    if (flip(rng))
        q->keyspace = (keyspace_id)positive(rng);
    else
        q->keyspace_name = text(rng, pool, 0, KEYSPACE_NAME_MAX);
    if (q->op >= OP_LOOKUP && q->op != OP_CAS_BATCH && q->op < OP_CACHE_EXPIRE)
        q->value = span_of("\x81\xa1z\x05", flip(rng) ? 4 : 0);
    else
        q->value = bytes(rng, pool, 0, 300);
    q->flags &= (uint16_t)~REQUEST_TO_ARC;
    if (flip(rng)) /* the rest is seldom used */
        return;
    q->number = number(rng, UINT64_MAX);
    q->lowest_open = number(rng, UINT64_MAX);
    q->session = id_or_zero(rng);
    q->version = number(rng, UINT64_MAX);
    q->timeout_ms = (uint32_t)number(rng, 60000);
    q->limit = number(rng, UINT64_MAX);
    if (q->flags & REQUEST_HAS_END)
        q->end = bytes(rng, pool, 0, 300);
    if (flip(rng)) {
        q->flags |= REQUEST_TO_ARC;
        q->arc = positive(rng);
        q->generation = number(rng, UINT64_MAX);
        q->hops = (uint8_t)number(rng, 255);
        q->avoid = bytes(rng, pool, 0, 40);
    }
    size_t records = rng_below(rng, 20);
    if (q->op == OP_MGET || q->op == OP_BATCH) {
        q->list = list(rng, pool, q->op == OP_MGET ? "k" : "kv", records);
        q->list_count = (uint32_t)(q->op == OP_MGET ? records : 2 * records);
    }
    if (q->op == OP_CAS_BATCH) {
        q->list = list(rng, pool, "kvc", records);
        q->list_count = (uint32_t)(3 * records);
    }
    q->ttl_ms = number(rng, UINT64_MAX);
}

static void sample_response(struct rng *rng, struct sample_pool *pool,
                            struct response *s)
{
    *s = (struct response){ .status = -(int32_t)rng_below(rng, 23),
                            .version = number(rng, UINT64_MAX),
                            .value = bytes(rng, pool, 0, 300) };
    if (flip(rng))
        return;
    s->count = number(rng, UINT64_MAX);
    s->list_count = (uint32_t)rng_below(rng, 20);
    s->list = list(rng, pool, "kvn", s->list_count);
    s->more = flip(rng);
    if (s->more)
        s->cursor = bytes(rng, pool, 0, 300);
    s->hops = (uint32_t)number(rng, UINT32_MAX);
    s->peers_asked = (uint32_t)number(rng, UINT32_MAX);
    s->text = text(rng, pool, 0, 80);
    if (flip(rng))
        s->arc = arcs(rng, pool, 1);
    s->ttl_ms = number(rng, UINT64_MAX);
}

static void sample_entries(struct rng *rng, struct sample_pool *pool,
                           struct raft_message *m)
{
    size_t count = rng_below(rng, 20);
    m->index %= UINT64_MAX - count;
    m->term = m->term > 100 ? m->term : m->term + 100;
    m->log_term = number(rng, 80);
    struct raft_entry *entries = take(pool, count * sizeof *entries);
    uint64_t term = m->log_term > 0 ? m->log_term : 1;
    for (size_t i = 0; i < count; i++) {
        entries[i] =
            (struct raft_entry){ .term = term,
                                 .index = m->index + 1 + i,
                                 .type = (uint8_t)rng_range(
                                     rng, RAFT_ENTRY_NOOP, RAFT_ENTRY_MEMBERS),
                                 .data = bytes(rng, pool, 0, 300) };
        if (entries[i].type == RAFT_ENTRY_MEMBERS) {
            struct raft_members *members = take(pool, sizeof *members);
            sample_members(rng, members);
            entries[i].members = members;
        }
        term += flip(rng) ? 0 : 1;
    }
    m->entries = entries;
    m->entry_count = count;
}

static void sample_raft(struct rng *rng, struct sample_pool *pool,
                        struct message *out)
{
    size_t count = rng_below(rng, flip(rng) ? 3 : 40);
    struct raft_envelope *envelopes = take(pool, count * sizeof *envelopes);
    for (size_t i = 0; i < count; i++) {
        struct raft_message *m = &envelopes[i].message;
        envelopes[i].arc = positive(rng);
        *m = (struct raft_message){ .type = (uint8_t)rng_range(
                                        rng, RAFT_PREVOTE_REQUEST,
                                        RAFT_TIMEOUT_NOW),
                                    .from = positive(rng),
                                    .to = positive(rng),
                                    .term = number(rng, UINT64_MAX),
                                    .index = number(rng, UINT64_MAX),
                                    .log_term = number(rng, UINT64_MAX),
                                    .commit = number(rng, UINT64_MAX),
                                    .hint = number(rng, UINT64_MAX),
                                    .stamp = number(rng, UINT64_MAX),
                                    .refused = flip(rng),
                                    .quiet = flip(rng),
                                    .transfer = flip(rng) };
        if (m->type == RAFT_APPEND)
            sample_entries(rng, pool, m);
    }
    out->u.raft.list = envelopes;
    out->u.raft.count = count;
}

static const struct swim_message *sample_swim(struct rng *rng,
                                              struct sample_pool *pool)
{
    struct swim_message *s = take(pool, sizeof *s);
    s->type = (uint8_t)rng_range(rng, SWIM_PING, SWIM_NACK);
    s->number = number(rng, UINT64_MAX);
    s->target = id_or_zero(rng);
    if (s->type == SWIM_PING_REQUEST)
        s->target = id_random(rng);
    s->update_count = rng_below(rng, flip(rng) ? 3 : SWIM_UPDATES_MAX + 1);
    for (size_t i = 0; i < s->update_count; i++)
        s->updates[i] = sample_peer(rng, pool);
    return s;
}

static void sample_gossip(struct rng *rng, struct sample_pool *pool,
                          struct message *out)
{
    size_t count = rng_below(rng, 4);
    struct keyspace_record *keyspaces = take(pool, count * sizeof *keyspaces);
    for (size_t i = 0; i < count; i++)
        sample_keyspace(rng, pool, &keyspaces[i]);
    out->u.gossip.keyspaces = keyspaces;
    out->u.gossip.keyspace_count = count;
    out->u.gossip.arc_count = rng_below(rng, flip(rng) ? 3 : 20);
    out->u.gossip.arcs = arcs(rng, pool, out->u.gossip.arc_count);
}

/* Where an arc is cut: MessagePack bins, one after the other. */
static struct span cut_keys(struct rng *rng, struct sample_pool *pool)
{
    struct buf b = { 0 };
    for (size_t n = rng_below(rng, 4); n > 0; n--)
        mp_write_bin(&b, bytes(rng, pool, 1, 40));
    struct span span = span_empty();
    if (b.len)
        span = span_of(memcpy(take(pool, b.len), b.data, b.len), b.len);
    buf_deinit(&b);
    return span;
}

static void sample_report(struct rng *rng, struct sample_pool *pool,
                          struct message *out)
{
    size_t count = rng_below(rng, 5);
    struct arc_report *reports = take(pool, count * sizeof *reports);
    for (size_t i = 0; i < count; i++) {
        reports[i] =
            (struct arc_report){ .keys = number(rng, REPORT_COUNT_MAX),
                                 .bytes = number(rng, REPORT_COUNT_MAX),
                                 .requests = number(rng, REPORT_COUNT_MAX),
                                 .changes = number(rng, REPORT_COUNT_MAX),
                                 .caught_up = (uint16_t)number(rng, UINT16_MAX),
                                 .lost = (uint16_t)number(rng, UINT16_MAX),
                                 .busy = flip(rng),
                                 .stops = flip(rng) };
        sample_arc(rng, pool, &reports[i].arc);
    }
    out->u.report.list = reports;
    out->u.report.count = count;
}

static void sample_ring(struct rng *rng, struct sample_pool *pool,
                        struct message *out)
{
    struct ring_message *m = &out->u.ring;
    size_t count = rng_below(rng, 1 + rng_below(rng, RING_LIST_MAX));
    struct arc *list = take(pool, (count + 2) * sizeof *list);
    *m = (struct ring_message){
        .type = (uint8_t)rng_range(rng, RING_ASK, RING_FOUND),
        .level = (uint8_t)rng_below(rng, RING_LEVELS_MAX),
        .number = number(rng, UINT64_MAX),
        .to = positive(rng),
        .key = bytes(rng, pool, 0, 50),
        .self = &list[0],
        .arc_count = count,
    };
    for (size_t i = 0; i < count + 2; i++) {
        sample_arc(rng, pool, &list[i]);
        list[i].keyspace = list[0].keyspace;
        if (i >= 2)
            m->arcs[i - 2] = &list[i];
    }
    if (flip(rng))
        m->predecessor = &list[1];
}

/* Kinds have fields of their own, but any may be said. */
static void sample_model(struct rng *rng, struct sample_pool *pool,
                         struct model_message *m)
{
    size_t count = rng_below(rng, 1 + rng_below(rng, 20));
    struct model_count *counts = take(pool, (count + 1) * sizeof *counts);
    *m = (struct model_message){
        .kind = (uint8_t)rng_range(rng, MODEL_NEWS, MODEL_COUNTS),
        .keyspace = (keyspace_id)number(rng, UINT32_MAX),
        .epoch = number(rng, UINT64_MAX),
        .total = number(rng, MODEL_TOTAL_MAX),
        .offset = number(rng, MODEL_TOTAL_MAX - 300),
        .bytes = bytes(rng, pool, 0, 300),
        .count_count = count,
    };
    for (size_t i = 0; i < count; i++)
        counts[i] = (struct model_count){ .arc = number(rng, UINT64_MAX),
                                          .generation = number(rng, UINT64_MAX),
                                          .applied = number(rng, UINT64_MAX),
                                          .keys = number(rng, UINT64_MAX) };
    m->counts = counts;
}

static void sample_recover(struct rng *rng, struct sample_pool *pool,
                           struct recover_message *m)
{
    const struct arc *known = arcs(rng, pool, 1);
    *m = (struct recover_message){
        .kind = (uint8_t)rng_range(rng, RECOVER_ASK, RECOVER_TAKE),
        .number = number(rng, UINT64_MAX),
        .arc = known->id,
        .replica = number(rng, UINT64_MAX),
        .fresh = positive(rng),
        .voter = flip(rng),
        .empty = flip(rng),
        .leads = flip(rng),
        .last_term = number(rng, UINT64_MAX),
        .last_index = number(rng, UINT64_MAX),
        .applied = number(rng, UINT64_MAX),
        .term = number(rng, UINT64_MAX),
        .generation = number(rng, UINT64_MAX),
        .keys = number(rng, UINT64_MAX),
        .bytes = number(rng, UINT64_MAX),
        .status = -(int32_t)rng_below(rng, 23),
    };
    if (m->kind == RECOVER_TAKE || flip(rng))
        m->arc_known = known;
}

static void sample_small(struct rng *rng, struct sample_pool *pool,
                         struct message *out)
{
    switch (out->type) {
    case MESSAGE_HELLO:
        out->u.hello =
            (struct hello){ .version = (uint32_t)number(rng, UINT32_MAX),
                            .kind = flip(rng) ? HELLO_PEER : HELLO_CLIENT,
                            .cluster = id_or_zero(rng),
                            .peer = id_or_zero(rng),
                            .incarnation = number(rng, UINT64_MAX),
                            .addr = text(rng, pool, 0, PEER_ADDR_MAX - 1),
                            .status = -(int32_t)rng_below(rng, 23) };
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        out->u.chunk =
            (struct snapshot_chunk){ .arc = positive(rng),
                                     .from = positive(rng),
                                     .to = positive(rng),
                                     .term = number(rng, UINT64_MAX),
                                     .transfer = number(rng, UINT64_MAX),
                                     .sequence = number(rng, UINT64_MAX),
                                     .last = flip(rng),
                                     .bytes = bytes(rng, pool, 0, 300) };
        break;
    case MESSAGE_SNAPSHOT_ACK:
        out->u.ack = (struct snapshot_ack){ .arc = positive(rng),
                                            .from = positive(rng),
                                            .to = positive(rng),
                                            .transfer = number(rng, UINT64_MAX),
                                            .sequence = number(rng, UINT64_MAX),
                                            .done = flip(rng),
                                            .refused = flip(rng) };
        break;
    case MESSAGE_DIGEST:
        out->u.digest.arcs = number(rng, UINT64_MAX);
        out->u.digest.keyspaces = number(rng, UINT64_MAX);
        out->u.digest.answer = flip(rng);
        out->u.digest.parts = bytes(rng, pool, 0, 64);
        break;
    case MESSAGE_JOIN:
        out->u.join.self = sample_peer(rng, pool);
        break;
    case MESSAGE_WELCOME:
        out->u.welcome.status = -(int32_t)rng_below(rng, 23);
        out->u.welcome.cluster = id_or_zero(rng);
        out->u.welcome.peer_count = rng_below(rng, 20);
        out->u.welcome.peers = peers(rng, pool, out->u.welcome.peer_count);
        break;
    case MESSAGE_STEP:
        out->u.step =
            (struct step){ .kind =
                               (uint8_t)rng_range(rng, STEP_ADD, STEP_MERGE),
                           .keyspace = (keyspace_id)number(rng, UINT32_MAX),
                           .arc = positive(rng),
                           .generation = number(rng, UINT64_MAX),
                           .peer = id_random(rng),
                           .keys = cut_keys(rng, pool),
                           .ways = (uint32_t)rng_below(rng, STEP_WAYS_MAX + 1),
                           .into = positive(rng),
                           .into_generation = number(rng, UINT64_MAX),
                           .into_lo = bytes(rng, pool, 0, 300),
                           .fresh = number(rng, UINT64_MAX),
                           .fresh_generation = number(rng, UINT64_MAX) };
        break;
    case MESSAGE_MODEL:
        sample_model(rng, pool, &out->u.model);
        break;
    case MESSAGE_PACE:
        out->u.pace.p99_us = number(rng, UINT32_MAX);
        out->u.pace.samples = number(rng, UINT64_MAX);
        out->u.pace.rate = number(rng, UINT64_MAX);
        break;
    case MESSAGE_RECOVER:
        sample_recover(rng, pool, &out->u.recover);
        break;
    case MESSAGE_GONE:
        out->u.gone.arc = positive(rng);
        out->u.gone.replica = positive(rng);
        out->u.gone.generation = number(rng, UINT64_MAX);
        break;
    case MESSAGE_RING:
        sample_ring(rng, pool, out);
        break;
    default:
        assert(false && "a type that has a sample");
    }
}

void sample_message(struct rng *rng, struct sample_pool *pool, uint8_t type,
                    struct message *out)
{
    memset(out, 0, sizeof *out);
    out->type = type;
    out->stream = (uint32_t)number(rng, UINT32_MAX);
    if (type == MESSAGE_REQUEST)
        sample_request(rng, pool, &out->u.request);
    else if (type == MESSAGE_RESPONSE)
        sample_response(rng, pool, &out->u.response);
    else if (type == MESSAGE_RAFT)
        sample_raft(rng, pool, out);
    else if (type == MESSAGE_SWIM)
        out->u.swim = sample_swim(rng, pool);
    else if (type == MESSAGE_GOSSIP)
        sample_gossip(rng, pool, out);
    else if (type == MESSAGE_REPORT)
        sample_report(rng, pool, out);
    else
        sample_small(rng, pool, out);
}

/* Comparing. SAME names the first field that differs. */
#define SAME(field)                                                            \
    if (a->field != b->field)                                                  \
    return #field
#define SAME_SPAN(field)                                                       \
    if (!span_equal(a->field, b->field))                                       \
    return #field
#define SAME_ID(field)                                                         \
    if (!id_equal(&a->field, &b->field))                                       \
    return #field

static const char *arc_difference(const struct arc *a, const struct arc *b)
{
    SAME(keyspace);
    SAME(id);
    SAME_SPAN(lo);
    SAME(has_hi);
    SAME_SPAN(hi);
    SAME(generation);
    SAME(term);
    SAME_ID(owner);
    SAME(member_count);
    for (size_t i = 0; i < a->member_count; i++) {
        SAME(members[i].replica);
        SAME_ID(members[i].peer);
        SAME(members[i].voter);
    }
    return NULL;
}

bool sample_arcs_equal(const struct arc *a, const struct arc *b)
{
    return arc_difference(a, b) == NULL;
}

bool sample_members_equal(const struct raft_members *a,
                          const struct raft_members *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->list[i].id != b->list[i].id ||
            a->list[i].voter != b->list[i].voter)
            return false;
    return true;
}

static const char *keyspace_difference(const struct keyspace_record *a,
                                       const struct keyspace_record *b)
{
    SAME(id);
    SAME_SPAN(name);
    SAME(version);
    SAME(placement);
    SAME(replicas);
    SAME(is_volatile);
    SAME(dropped);
    SAME(floor_keys);
    SAME(ceiling_bytes);
    SAME_SPAN(options);
    SAME(first_arc_count);
    for (size_t i = 0; i < a->first_arc_count; i++)
        if (!sample_arcs_equal(&a->first_arcs[i], &b->first_arcs[i]))
            return "first_arcs";
    return NULL;
}

bool sample_keyspaces_equal(const struct keyspace_record *a,
                            const struct keyspace_record *b)
{
    return keyspace_difference(a, b) == NULL;
}

static const char *peer_difference(const struct peer *a, const struct peer *b)
{
    SAME_ID(id);
    if (strcmp(a->addr, b->addr) != 0)
        return "addr";
    if (strcmp(a->zone, b->zone) != 0)
        return "zone";
    SAME(incarnation);
    SAME(refutation);
    SAME(weight_milli);
    SAME(state);
    SAME(since_ns);
    return NULL;
}

static const char *request_difference(const struct request *a,
                                      const struct request *b)
{
    SAME(op);
    SAME(flags);
    SAME(keyspace);
    SAME_SPAN(keyspace_name);
    SAME_SPAN(key);
    SAME_SPAN(end);
    SAME_SPAN(value);
    SAME(version);
    SAME(limit);
    SAME_SPAN(list);
    SAME(list_count);
    SAME_ID(session);
    SAME(number);
    SAME(lowest_open);
    SAME(timeout_ms);
    SAME(arc);
    SAME(generation);
    SAME(hops);
    SAME_SPAN(avoid);
    SAME(ttl_ms);
    return NULL;
}

static const char *response_difference(const struct response *a,
                                       const struct response *b)
{
    SAME(status);
    SAME(version);
    SAME_SPAN(value);
    SAME_SPAN(list);
    SAME(list_count);
    SAME(count);
    SAME(more);
    SAME_SPAN(cursor);
    SAME(hops);
    SAME(peers_asked);
    SAME_SPAN(text);
    SAME(ttl_ms);
    if (!a->arc != !b->arc)
        return "arc";
    return a->arc ? arc_difference(a->arc, b->arc) : NULL;
}

static const char *hello_difference(const struct hello *a,
                                    const struct hello *b)
{
    SAME(version);
    SAME(kind);
    SAME_ID(cluster);
    SAME_ID(peer);
    SAME(incarnation);
    SAME_SPAN(addr);
    SAME(status);
    return NULL;
}

static const char *envelope_difference(const struct raft_envelope *a,
                                       const struct raft_envelope *b)
{
    SAME(arc);
    SAME(message.type);
    SAME(message.from);
    SAME(message.to);
    SAME(message.term);
    SAME(message.index);
    SAME(message.log_term);
    SAME(message.commit);
    SAME(message.hint);
    SAME(message.stamp);
    SAME(message.refused);
    SAME(message.quiet);
    SAME(message.transfer);
    SAME(message.entry_count);
    for (size_t i = 0; i < a->message.entry_count; i++) {
        SAME(message.entries[i].term);
        SAME(message.entries[i].index);
        SAME(message.entries[i].type);
        SAME_SPAN(message.entries[i].data);
        const struct raft_members *x = a->message.entries[i].members;
        const struct raft_members *y = b->message.entries[i].members;
        if (!x != !y || (x && !sample_members_equal(x, y)))
            return "members";
    }
    return NULL;
}

static const char *chunk_difference(const struct snapshot_chunk *a,
                                    const struct snapshot_chunk *b)
{
    SAME(arc);
    SAME(from);
    SAME(to);
    SAME(term);
    SAME(transfer);
    SAME(sequence);
    SAME(last);
    SAME_SPAN(bytes);
    return NULL;
}

static const char *ack_difference(const struct snapshot_ack *a,
                                  const struct snapshot_ack *b)
{
    SAME(arc);
    SAME(from);
    SAME(to);
    SAME(transfer);
    SAME(sequence);
    SAME(done);
    SAME(refused);
    return NULL;
}

static const char *swim_difference(const struct swim_message *a,
                                   const struct swim_message *b)
{
    SAME(type);
    SAME(number);
    SAME_ID(target);
    SAME(update_count);
    for (size_t i = 0; i < a->update_count; i++)
        if (peer_difference(&a->updates[i], &b->updates[i]))
            return peer_difference(&a->updates[i], &b->updates[i]);
    return NULL;
}

static const char *step_difference(const struct step *a, const struct step *b)
{
    SAME(kind);
    SAME(keyspace);
    SAME(arc);
    SAME(generation);
    SAME_ID(peer);
    SAME_SPAN(keys);
    SAME(ways);
    SAME(into);
    SAME(into_generation);
    SAME_SPAN(into_lo);
    SAME(fresh);
    SAME(fresh_generation);
    return NULL;
}

static const char *recover_difference(const struct recover_message *a,
                                      const struct recover_message *b)
{
    SAME(kind);
    SAME(number);
    SAME(arc);
    SAME(replica);
    SAME(fresh);
    SAME(voter);
    SAME(empty);
    SAME(leads);
    SAME(last_term);
    SAME(last_index);
    SAME(applied);
    SAME(term);
    SAME(generation);
    SAME(keys);
    SAME(bytes);
    SAME(status);
    if (!a->arc_known != !b->arc_known)
        return "arc_known";
    return a->arc_known ? arc_difference(a->arc_known, b->arc_known) : NULL;
}

static const char *model_difference(const struct model_message *a,
                                    const struct model_message *b)
{
    SAME(kind);
    SAME(keyspace);
    SAME(epoch);
    SAME(total);
    SAME(offset);
    SAME_SPAN(bytes);
    SAME(count_count);
    for (size_t i = 0; i < a->count_count; i++) {
        SAME(counts[i].arc);
        SAME(counts[i].generation);
        SAME(counts[i].applied);
        SAME(counts[i].keys);
    }
    return NULL;
}

static const char *report_difference(const struct arc_report *a,
                                     const struct arc_report *b)
{
    SAME(keys);
    SAME(bytes);
    SAME(requests);
    SAME(changes);
    SAME(caught_up);
    SAME(lost);
    SAME(busy);
    SAME(stops);
    return arc_difference(&a->arc, &b->arc);
}

static const char *ring_difference(const struct ring_message *a,
                                   const struct ring_message *b)
{
    SAME(type);
    SAME(level);
    SAME(number);
    SAME(to);
    SAME(arc_count);
    if (!span_equal(a->key, b->key))
        return "key";
    if (!a->predecessor != !b->predecessor)
        return "predecessor";
    const char *found = arc_difference(a->self, b->self);
    if (!found && a->predecessor)
        found = arc_difference(a->predecessor, b->predecessor);
    for (size_t i = 0; i < a->arc_count && !found; i++)
        found = arc_difference(a->arcs[i], b->arcs[i]);
    return found;
}

static const char *list_difference(const struct message *a,
                                   const struct message *b)
{
    const char *found = NULL;
    switch (a->type) {
    case MESSAGE_RAFT:
        SAME(u.raft.count);
        for (size_t i = 0; i < a->u.raft.count && !found; i++)
            found = envelope_difference(&a->u.raft.list[i], &b->u.raft.list[i]);
        break;
    case MESSAGE_GOSSIP:
        SAME(u.gossip.arc_count);
        SAME(u.gossip.keyspace_count);
        for (size_t i = 0; i < a->u.gossip.arc_count && !found; i++)
            found = arc_difference(&a->u.gossip.arcs[i], &b->u.gossip.arcs[i]);
        for (size_t i = 0; i < a->u.gossip.keyspace_count && !found; i++)
            found = keyspace_difference(&a->u.gossip.keyspaces[i],
                                        &b->u.gossip.keyspaces[i]);
        break;
    case MESSAGE_WELCOME:
        SAME(u.welcome.status);
        SAME_ID(u.welcome.cluster);
        SAME(u.welcome.peer_count);
        for (size_t i = 0; i < a->u.welcome.peer_count && !found; i++)
            found =
                peer_difference(&a->u.welcome.peers[i], &b->u.welcome.peers[i]);
        break;
    case MESSAGE_REPORT:
        SAME(u.report.count);
        for (size_t i = 0; i < a->u.report.count && !found; i++)
            found =
                report_difference(&a->u.report.list[i], &b->u.report.list[i]);
        break;
    default:
        return "type";
    }
    return found;
}

const char *sample_difference(const struct message *a, const struct message *b)
{
    SAME(type);
    SAME(stream);
    switch (a->type) {
    case MESSAGE_HELLO:
        return hello_difference(&a->u.hello, &b->u.hello);
    case MESSAGE_REQUEST:
        return request_difference(&a->u.request, &b->u.request);
    case MESSAGE_RESPONSE:
        return response_difference(&a->u.response, &b->u.response);
    case MESSAGE_SNAPSHOT_CHUNK:
        return chunk_difference(&a->u.chunk, &b->u.chunk);
    case MESSAGE_SNAPSHOT_ACK:
        return ack_difference(&a->u.ack, &b->u.ack);
    case MESSAGE_SWIM:
        return swim_difference(a->u.swim, b->u.swim);
    case MESSAGE_DIGEST:
        SAME(u.digest.arcs);
        SAME(u.digest.keyspaces);
        SAME(u.digest.answer);
        SAME_SPAN(u.digest.parts);
        return NULL;
    case MESSAGE_JOIN:
        return peer_difference(&a->u.join.self, &b->u.join.self);
    case MESSAGE_STEP:
        return step_difference(&a->u.step, &b->u.step);
    case MESSAGE_GONE:
        SAME(u.gone.arc);
        SAME(u.gone.replica);
        SAME(u.gone.generation);
        return NULL;
    case MESSAGE_RING:
        return ring_difference(&a->u.ring, &b->u.ring);
    case MESSAGE_MODEL:
        return model_difference(&a->u.model, &b->u.model);
    case MESSAGE_PACE:
        SAME(u.pace.p99_us);
        SAME(u.pace.samples);
        SAME(u.pace.rate);
        return NULL;
    case MESSAGE_RECOVER:
        return recover_difference(&a->u.recover, &b->u.recover);
    default:
        return list_difference(a, b);
    }
}
