/* SPDX-License-Identifier: Apache-2.0 */

/* A cache under faults. */

#include "sim/cache_story.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "node/inspect.h"
#include "store/cache.h"
#include "wire/mp.h"

enum {
    KEYS = 24,
    KEYS_MAX = 160,   /* where nothing may be lost */
    WRITES_MAX = 600, /* of a key; then it is only read */
    CLIENTS_MAX = 5,
    ARCS_MAX = 256,
    VALUE_MAX = 64,
    LARGE_MAX = 64 << 10, /* where nothing may be lost */
    BOUND_MS = 3000,      /* by then bounds that fell are met */
    HEARD_MS = 1000       /* so long ago an answer may have been given */
};
static const char NAME[] = "cache";

struct write {
    uint64_t call_ns, end_ns; /* end UINT64_MAX: not acknowledged */
    uint64_t ttl_ns;          /* 0: no end */
    bool removes;
    bool never; /* certainly not done */
    bool lost;  /* or may be: with one whose arc another had */
};

struct key {
    struct write writes[WRITES_MAX];
    size_t count;
    uint64_t touched_ns; /* a touch was last begun, or answered */
    size_t touches;      /* begun and not answered */
};

struct client {
    struct cache_story *story;
    struct request request;
    char key[32], value[LARGE_MAX];
    size_t at; /* key */
    size_t write;
    bool writes;
    bool open;
    bool final;
    int status;
    uint64_t call_ns;
    uint64_t token; /* of the last lease; 0: none */
    size_t token_key;
    uint64_t version; /* of the last value got; 0: none */
    size_t version_key, version_write;
    bool cas; /* with that version */
};

struct cache_story {
    struct world *world;
    struct rng rng;
    struct key keys[KEYS_MAX];
    size_t key_count;
    struct client clients[CLIENTS_MAX];
    size_t client_count, open_count;
    uint64_t think_ns;
    bool running, asked, made;
    bool by_bytes; /* the bound is one in bytes */
    bool lru;
    bool keeps;          /* nothing may be lost */
    bool pauses;         /* but as peers pause, and are taken for dead */
    uint64_t hands;      /* who has what, folded to a number */
    uint64_t stable_ns;  /* since then nothing changed hands */
    bool doubled;        /* somebody has not heard that another has its arc */
    uint64_t doubled_ns; /* when that was last so; 0: never */
    uint64_t gets, hits, puts, refused, unknown, changes, swaps, swapped;
};

static bool run_for(struct cache_story *t, uint64_t ns)
{
    return world_run(t->world, world_now_ns(t->world) + ns);
}

struct cache_story *cache_story_new(struct world *world, uint64_t seed)
{
    struct cache_story *t = mem_zero(1, sizeof *t);
    if (!t) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    t->world = world;
    rng_init(&t->rng, seed);
    t->key_count = KEYS;
    t->client_count = (size_t)rng_range(&t->rng, 2, CLIENTS_MAX);
    t->think_ns = rng_range(&t->rng, 20, 150) * WORLD_MS;
    t->by_bytes = rng_chance(&t->rng, 0.5);
    t->lru = rng_chance(&t->rng, 0.3);
    for (size_t i = 0; i < t->client_count; i++)
        t->clients[i].story = t;
    return t;
}

void cache_story_keep(struct cache_story *t)
{
    t->keeps = true;
    t->key_count = (size_t)rng_range(&t->rng, KEYS, KEYS_MAX);
    t->think_ns = rng_range(&t->rng, 2, 30) * WORLD_MS;
}

void cache_story_pause(struct cache_story *t)
{
    t->pauses = true;
}

void cache_story_free(struct cache_story *t)
{
    free(t);
}

/* Who has which arc now. */

static void check_bounds(struct cache_story *t, size_t peer,
                         const struct inspect_replica *r)
{
    bool over = r->cache_count_max && r->cache_count > r->cache_count_max;
    if (over)
        world_fail(t->world, "cache_bound",
                   "arc %llx on n%zu holds %llu entries of %llu",
                   (unsigned long long)r->id, peer,
                   (unsigned long long)r->cache_count,
                   (unsigned long long)r->cache_count_max);
    /* One entry more at the most. */
    if (r->cache_bytes_max && r->cache_bytes > r->cache_bytes_max + 512)
        world_fail(t->world, "cache_bound",
                   "arc %llx on n%zu holds %llu bytes of %llu",
                   (unsigned long long)r->id, peer,
                   (unsigned long long)r->cache_bytes,
                   (unsigned long long)r->cache_bytes_max);
}

static void look(struct cache_story *t)
{
    arc_id seen[ARCS_MAX];
    size_t count = 0;
    uint64_t hands = 0, now = world_now_ns(t->world);
    bool rested = now - t->stable_ns > BOUND_MS * WORLD_MS;
    t->doubled = false;
    for (size_t p = 0; p < world_peer_count(t->world); p++) {
        const struct node *node = world_node(t->world, p);
        for (size_t i = 0; node && i < inspect_replica_count(node); i++) {
            struct inspect_replica r;
            inspect_replica_at(node, i, &r);
            if (!r.cache)
                continue;
            hands += hash64_mix(hash64_mix(r.id, r.arc->generation), p);
            for (size_t k = 0; k < count; k++)
                t->doubled = t->doubled || seen[k] == r.id;
            if (count < ARCS_MAX)
                seen[count++] = r.id;
            if (rested && !t->doubled)
                check_bounds(t, p, &r);
        }
    }
    if (hands != t->hands) {
        t->hands = hands;
        t->stable_ns = now;
        t->changes++;
    }
    if (t->doubled)
        t->stable_ns = t->doubled_ns = now;
}

/* Making it. */

static void on_made(void *context, uint64_t argument,
                    const struct response *response)
{
    struct cache_story *t = context;
    (void)argument;
    t->asked = false;
    t->made = response &&
              (response->status == DLHT_OK || response->status == DLHT_EEXISTS);
    if (response && response->status == DLHT_EINVAL)
        world_fail(t->world, "reply_fits", "the cache is refused: %.*s",
                   (int)response->text.len, (const char *)response->text.data);
}

static void ask_to_make(struct cache_story *t, size_t by)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, NAME);
    mp_write_cstr(&doc, "volatile");
    mp_write_bool(&doc, true);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, t->by_bytes ? "max-bytes" : "max-items");
    if (t->keeps)
        mp_write_cstr(&doc, t->by_bytes ? "67108864" : "100000");
    else
        mp_write_cstr(&doc, t->by_bytes ? "1048576" : "256");
    mp_write_cstr(&doc, "policy");
    mp_write_cstr(&doc, t->lru ? "lru" : "s3fifo");
    struct request q = { .op = OP_KEYSPACE_CREATE, .timeout_ms = 3000 };
    q.value = buf_span(&doc);
    t->asked = true;
    if (doc.failed || world_request(t->world, by, &q, on_made, t, 0) != DLHT_OK)
        world_fail(t->world, "codec", "a cache cannot be asked for");
    buf_deinit(&doc);
}

bool cache_story_make(struct cache_story *t, uint64_t bound_ns)
{
    uint64_t end_ns = world_now_ns(t->world) + bound_ns;
    while (!t->made || t->asked) {
        size_t by = (size_t)rng_below(&t->rng, world_peer_count(t->world));
        if (!t->asked && !t->made && world_is_ready(t->world, by))
            ask_to_make(t, by);
        if (world_now_ns(t->world) > end_ns)
            world_fail(t->world, "A10_keyspace", "the cache is not made");
        if (!run_for(t, 100 * WORLD_MS))
            return false;
    }
    look(t);
    return true;
}

/* The judge. */

static uint64_t slack_of(uint64_t ttl_ns)
{
    return ttl_ns / 20 + 300 * WORLD_MS; /* of clocks that drift */
}

static bool was_touched(const struct key *k, const struct write *since)
{
    return k->touches || k->touched_ns >= since->call_ns;
}

static void judge_end(struct client *c, const struct key *k,
                      const struct write *w)
{
    if (w->ttl_ns == 0 || w->end_ns == UINT64_MAX || was_touched(k, w))
        return;
    uint64_t last = w->end_ns + w->ttl_ns + slack_of(w->ttl_ns);
    if (c->call_ns > last)
        world_fail(c->story->world, "cache_ended",
                   "%s: a value put for %llu ms is there %llu ms after", c->key,
                   (unsigned long long)(w->ttl_ns / WORLD_MS),
                   (unsigned long long)((c->call_ns - w->end_ns) / WORLD_MS));
}

/* Where peers pause: since then somebody may have answered who had not heard
 * that another has its arc. */
static bool was_doubled(const struct cache_story *t, uint64_t since_ns)
{
    return t->pauses && t->doubled_ns &&
           t->doubled_ns + HEARD_MS * WORLD_MS >= since_ns;
}

static void judge_order(struct client *c, const struct key *k,
                        const struct write *w)
{
    const struct cache_story *t = c->story;
    if (w->end_ns == UINT64_MAX || (t->doubled && !t->keeps) ||
        was_doubled(t, c->call_ns))
        return;
    for (size_t i = 0; i < k->count; i++) {
        const struct write *later = &k->writes[i];
        if (later->never || later->lost || later->end_ns == UINT64_MAX ||
            later->call_ns <= w->end_ns || later->end_ns >= c->call_ns ||
            (later->call_ns < t->stable_ns && !t->keeps))
            continue;
        world_fail(t->world, "cache_overwritten",
                   "%s: value %zu is there, which %s %zu followed", c->key,
                   (size_t)(w - k->writes), later->removes ? "removal" : "put",
                   i);
    }
}

/* Whether anything else done to the key, before or after, may have taken away
 * what this write put. */
static bool may_be_gone(const struct key *k, const struct write *w)
{
    if (was_touched(k, w))
        return true;
    for (size_t i = 0; i < k->count; i++) {
        const struct write *other = &k->writes[i];
        bool may = (other->removes || other->ttl_ns) && !other->never;
        if (may && other->end_ns >= w->call_ns)
            return true;
    }
    return false;
}

static void judge_miss(struct client *c)
{
    const struct cache_story *t = c->story;
    const struct key *k = &t->keys[c->at];
    for (size_t i = 0; t->keeps && !t->pauses && i < k->count; i++) {
        const struct write *w = &k->writes[i];
        if (w->removes || w->ttl_ns || w->end_ns >= c->call_ns ||
            may_be_gone(k, w))
            continue;
        world_fail(t->world, "cache_kept",
                   "%s: value %zu is not there, which nothing followed", c->key,
                   i);
        return;
    }
}

static void judge(struct client *c, const struct response *response)
{
    struct span value = response->value;
    struct cache_story *t = c->story;
    char text[VALUE_MAX], *end;
    size_t len = value.len < VALUE_MAX - 1 ? value.len : VALUE_MAX - 1;
    if (len)
        memcpy(text, value.data, len);
    text[len] = 0;
    const struct key *k = &t->keys[c->at];
    size_t key = strtoull(text, &end, 10);
    size_t number = *end == '.' ? strtoull(end + 1, &end, 10) : SIZE_MAX;
    if (*end != '.' || key != c->at || number >= k->count ||
        k->writes[number].removes) {
        world_fail(t->world, "cache_invented", "%s: nobody put '%s'", c->key,
                   text);
        return;
    }
    const struct write *w = &k->writes[number];
    if (w->never)
        world_fail(t->world, "cache_refused", "%s: put %zu was refused", c->key,
                   number);
    look(t);
    judge_end(c, k, w);
    judge_order(c, k, w);
    t->hits++;
    c->version = c->request.op == OP_GET ? response->version : 0;
    c->version_key = c->at;
    c->version_write = number;
}

/* Clients. */

static void begin_write(struct client *c, size_t at, bool removes,
                        uint64_t ttl_ms)
{
    struct cache_story *t = c->story;
    struct key *k = &t->keys[at];
    c->writes = true;
    c->write = k->count;
    k->writes[k->count++] = (struct write){ .call_ns = world_now_ns(t->world),
                                            .end_ns = UINT64_MAX,
                                            .ttl_ns = ttl_ms * WORLD_MS,
                                            .removes = removes };
}

static void begin_put(struct client *c)
{
    struct rng *rng = &c->story->rng;
    uint64_t ttl_ms = rng_chance(rng, 0.4) ? rng_range(rng, 50, 3000) : 0;
    begin_write(c, c->at, false, ttl_ms);
    int head = snprintf(c->value, sizeof c->value, "%zu.%zu.", c->at, c->write);
    size_t more = (size_t)rng_below(rng, 20);
    if (c->story->keeps && rng_chance(rng, 0.5))
        more = (size_t)rng_below(rng, LARGE_MAX - VALUE_MAX);
    memset(c->value + head, '.', more);
    c->value[(size_t)head + more] = 0;
    c->request.op = OP_PUT;
    c->request.ttl_ms = ttl_ms;
    c->request.value = span_str(c->value);
    if (c->token && c->token_key == c->at) {
        c->request.flags = REQUEST_LEASED;
        c->request.version = c->token;
    } else if (rng_chance(rng, 0.1)) {
        c->request.op = OP_CAS; /* if absent */
    } else if (c->story->keeps && c->version && c->version_key == c->at) {
        c->request.op = OP_CAS;
        c->request.version = c->version;
        c->cas = true;
        c->story->swaps++;
    }
    c->token = 0;
    c->story->puts++;
}

static void begin_flush(struct client *c)
{
    c->request.op = OP_CACHE_FLUSH;
    c->request.key = span_empty();
    for (size_t i = 0; i < c->story->key_count; i++) {
        if (c->story->keys[i].count < WRITES_MAX)
            begin_write(c, i, true, 0);
    }
}

static void choose(struct client *c)
{
    struct cache_story *t = c->story;
    struct rng *rng = &t->rng;
    double x = rng_real(rng);
    c->at = c->token && rng_chance(rng, 0.8)
                ? c->token_key
                : (size_t)rng_below(rng, t->key_count);
    if (t->keeps && c->version && rng_chance(rng, 0.3))
        c->at = c->version_key;
    snprintf(c->key, sizeof c->key, "key-%zu", c->at);
    c->writes = c->cas = false;
    c->request = (struct request){ .keyspace_name = span_str(NAME),
                                   .key = span_str(c->key),
                                   .timeout_ms = 3000 };
    bool full = t->keys[c->at].count + 8 >= WRITES_MAX;
    if (!full && (x < 0.3 || (c->token && c->at == c->token_key))) {
        begin_put(c);
    } else if (!full && x < 0.4) {
        begin_write(c, c->at, true, 0);
        c->request.op = OP_DEL;
    } else if (x < 0.45) {
        t->keys[c->at].touched_ns = world_now_ns(t->world);
        t->keys[c->at].touches++;
        c->request.op = OP_CACHE_EXPIRE;
        c->request.ttl_ms = rng_below(rng, 2000);
    } else if (!full && x < (t->keeps ? 0.451 : 0.455)) {
        begin_flush(c);
    } else if (x < 0.47) {
        c->request.op = OP_CACHE_STATS;
        c->request.key = span_empty();
    } else if (x < 0.57) {
        c->request.op = OP_CACHE_LEASE;
    } else {
        c->request.op = OP_GET;
        t->gets++;
    }
}

/* The outcome of what was begun last: done, certainly not, or who knows. */
static void end_write(struct client *c, bool done, bool never)
{
    struct cache_story *t = c->story;
    bool all = c->request.op == OP_CACHE_FLUSH;
    look(t);
    for (size_t i = 0; i < t->key_count; i++) {
        struct key *k = &t->keys[i];
        if (!all && i != c->at)
            continue;
        size_t at = c->write;
        if (all) { /* of each key the one begun at that time */
            for (at = k->count; at-- > 0;)
                if (k->writes[at].removes &&
                    k->writes[at].call_ns == c->call_ns)
                    break;
        }
        if (at >= k->count)
            continue;
        if (done)
            k->writes[at].end_ns = world_now_ns(t->world);
        k->writes[at].never = never;
        k->writes[at].lost = was_doubled(t, c->call_ns);
    }
}

/* It succeeded: the value that it was to follow was the newest. */
static void judge_swap(struct client *c)
{
    const struct key *k = &c->story->keys[c->at];
    c->story->swapped++;
    judge_order(c, k, &k->writes[c->version_write]);
}

static void think(struct client *c);

static void note_answer(struct client *c, const struct response *response)
{
    struct cache_story *t = c->story;
    switch (response->status) {
    case DLHT_OK:
        if (c->writes)
            end_write(c, true, false);
        if (c->request.op == OP_CACHE_LEASE) {
            c->token = response->version;
            c->token_key = c->at;
        }
        if (c->cas)
            judge_swap(c);
        if (response->value.len &&
            (c->request.op == OP_GET || c->request.op == OP_CACHE_LEASE))
            judge(c, response);
        else if (c->request.op == OP_CACHE_LEASE)
            judge_miss(c);
        return;
    case DLHT_ENOTFOUND: /* a removal of what is not there is done */
        if (c->writes)
            end_write(c, true, false);
        if (c->request.op == OP_GET)
            judge_miss(c);
        return;
    case DLHT_EMISMATCH:
        end_write(c, false, true);
        return;
    case DLHT_EUNKNOWN:
    case DLHT_ESTALE: /* a token, or an attempt that came late */
        t->unknown++;
        return;
    case DLHT_EUNAVAILABLE:
    case DLHT_ETIMEOUT:
    case DLHT_EBUSY:
    case DLHT_ECLOSED:
    case DLHT_ENOKEYSPACE:
        t->refused++;
        if (c->writes && c->request.op != OP_CACHE_FLUSH)
            end_write(c, false, true);
        return;
    default:
        world_fail(t->world, "reply_fits", "op %u of %s is answered %s: %.*s",
                   (unsigned)c->request.op, c->key,
                   dlht_errname(response->status), (int)response->text.len,
                   (const char *)response->text.data);
    }
}

static void on_reply(void *context, uint64_t argument,
                     const struct response *response)
{
    struct client *c = context;
    (void)argument;
    c->open = false;
    c->story->open_count--;
    c->status = response ? response->status : DLHT_EUNKNOWN;
    if (c->request.op == OP_CACHE_EXPIRE) {
        struct key *k = &c->story->keys[c->at];
        k->touched_ns = world_now_ns(c->story->world);
        k->touches--;
    }
    if (response)
        note_answer(c, response);
    else
        c->story->unknown++;
    think(c);
}

static void ask(struct client *c, size_t peer)
{
    struct cache_story *t = c->story;
    c->call_ns = world_now_ns(t->world);
    c->open = true;
    t->open_count++;
    if (world_request(t->world, peer, &c->request, on_reply, c, 0) != DLHT_OK)
        world_fail(t->world, "codec", "a request does not pack");
}

static void on_thought(void *context, uint64_t argument)
{
    struct client *c = context;
    struct cache_story *t = c->story;
    size_t peer = (size_t)rng_below(&t->rng, world_peer_count(t->world));
    (void)argument;
    if (!t->running || c->open)
        return;
    look(t);
    if (!world_is_ready(t->world, peer)) {
        think(c);
        return;
    }
    choose(c);
    ask(c, peer);
}

static void think(struct client *c)
{
    struct cache_story *t = c->story;
    if (t->running && !c->final)
        world_after(t->world, 1 + rng_below(&t->rng, 2 * t->think_ns),
                    on_thought, c, 0);
}

void cache_story_start(struct cache_story *t)
{
    t->running = true;
    for (size_t i = 0; i < t->client_count; i++)
        think(&t->clients[i]);
}

void cache_story_stop(struct cache_story *t)
{
    t->running = false;
}

bool cache_story_is_idle(const struct cache_story *t)
{
    return t->open_count == 0;
}

/* The end. */

static bool ask_last(struct cache_story *t, struct client *c, size_t peer)
{
    ask(c, peer);
    while (c->open)
        if (!run_for(t, 10 * WORLD_MS))
            return false;
    if (c->status != DLHT_OK &&
        !(c->status == DLHT_ENOTFOUND && c->request.op == OP_GET))
        world_fail(t->world, "A10_answered", "op %u of %s by n%zu: %s",
                   (unsigned)c->request.op, c->key, peer,
                   dlht_errname(c->status));
    return world_failure(t->world, NULL) == NULL;
}

static bool put_and_get(struct cache_story *t, struct client *c, size_t at,
                        size_t peer)
{
    c->at = at;
    c->token = 0;
    c->cas = false;
    snprintf(c->key, sizeof c->key, "key-%zu", at);
    c->request = (struct request){ .op = OP_PUT,
                                   .keyspace_name = span_str(NAME),
                                   .key = span_str(c->key),
                                   .timeout_ms = 5000 };
    begin_write(c, at, false, 0);
    snprintf(c->value, sizeof c->value, "%zu.%zu.", at, c->write);
    c->request.value = span_str(c->value);
    if (!ask_last(t, c, peer))
        return false;
    uint64_t hands = t->hands;
    c->writes = false;
    c->request.op = OP_GET;
    c->request.value = span_empty();
    if (!ask_last(t, c, peer))
        return false;
    look(t);
    if (c->status == DLHT_ENOTFOUND && t->hands == hands)
        world_fail(t->world, "cache_lost",
                   "%s by n%zu: what was put just now is not there", c->key,
                   peer);
    return world_failure(t->world, NULL) == NULL;
}

bool cache_story_settle(struct cache_story *t, uint64_t bound_ns)
{
    struct client *c = &t->clients[0];
    (void)bound_ns;
    c->final = true;
    look(t);
    for (size_t peer = 0; peer < world_peer_count(t->world); peer++) {
        for (size_t at = peer % 3; at < t->key_count; at += 3)
            if (world_is_ready(t->world, peer) &&
                t->keys[at].count < WRITES_MAX && !put_and_get(t, c, at, peer))
                return false;
    }
    return true;
}

void cache_story_remark(const struct cache_story *t, char *text, size_t size)
{
    snprintf(text, size,
             "cache: %llu gets, %llu values, %llu puts, %llu refused, "
             "%llu unknown, %llu changes of hands, %llu of %llu swaps",
             (unsigned long long)t->gets, (unsigned long long)t->hits,
             (unsigned long long)t->puts, (unsigned long long)t->refused,
             (unsigned long long)t->unknown, (unsigned long long)t->changes,
             (unsigned long long)t->swapped, (unsigned long long)t->swaps);
}
