/* SPDX-License-Identifier: Apache-2.0 */

/* A node of one local map, for tests of the world around it: no peers, no
 * agreement. Reads and writes are answered at the flush, as a true node
 * does. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "node/node.h"
#include "wire/mp.h"

enum {
    FAKE_SLOTS = 1 << 18
};

struct fake_record {
    uint8_t *key; /* NULL: free */
    uint8_t *value;
    size_t key_len;
    size_t value_len;
    uint64_t version;
};

struct fake_reply {
    uint64_t ticket;
    uint8_t op;
    int32_t status;
    size_t slot;
    uint64_t version;
};

struct node {
    struct node_config config;
    struct rng rng;
    struct id self;
    struct id cluster;
    struct fake_record *slots;
    uint64_t version;
    struct fake_reply *replies;
    size_t reply_count;
    size_t reply_cap;
    struct buf document;
};

void node_config_default(struct node_config *config)
{
    *config = (struct node_config){ .vnodes = 8,
                                    .weight_milli = 1000,
                                    .replicas = 3 };
}

int node_new(const struct node_config *config, struct node **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return DLHT_ENOMEM;
    struct node *n = *out;
    n->slots = calloc(FAKE_SLOTS, sizeof *n->slots);
    n->config = *config;
    rng_init(&n->rng, config->seed);
    n->self = id_random(&n->rng);
    memset(n->cluster.bytes, 7, sizeof n->cluster.bytes);
    return DLHT_OK;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < FAKE_SLOTS; i++) {
        free(n->slots[i].key);
        free(n->slots[i].value);
    }
    free(n->slots);
    free(n->replies);
    buf_deinit(&n->document);
    free(n);
}

int node_restore_header(struct node *n, arc_id arc, uint64_t number,
                        struct span bytes, struct records **into)
{
    (void)n, (void)arc, (void)number, (void)bytes;
    *into = NULL;
    return DLHT_OK;
}

int node_restore_block(struct records *into, struct span bytes)
{
    (void)into, (void)bytes;
    return DLHT_OK;
}

int node_restore_graph(struct node *n, uint64_t number)
{
    (void)n, (void)number;
    return DLHT_OK;
}

void node_restore_older(struct node *n, arc_id arc)
{
    (void)n, (void)arc;
}

static size_t fake_slot(const struct node *n, struct span key)
{
    size_t i = hash64(key) % FAKE_SLOTS;
    while (n->slots[i].key &&
           !span_equal(span_of(n->slots[i].key, n->slots[i].key_len), key))
        i = (i + 1) % FAKE_SLOTS;
    return i;
}

static uint64_t fake_put(struct node *n, struct span key, struct span value)
{
    struct fake_record *r = &n->slots[fake_slot(n, key)];
    if (!r->key) {
        r->key = malloc(key.len);
        memcpy(r->key, key.data, key.len);
        r->key_len = key.len;
    }
    if (r->value_len < value.len) {
        free(r->value);
        r->value = malloc(value.len);
    }
    if (value.len)
        memcpy(r->value, value.data, value.len);
    r->value_len = value.len;
    r->version = ++n->version;
    return r->version;
}

int node_restore_record(struct node *n, const struct journal_record *record)
{
    struct mp_reader r;
    mp_reader_init(&r, record->payload);
    struct span key = mp_read_bytes(&r);
    struct span value = mp_read_bytes(&r);
    if (r.bad)
        return DLHT_ECORRUPT;
    fake_put(n, key, value);
    return DLHT_OK;
}

int node_quarantine(struct node *n, arc_id arc)
{
    (void)n, (void)arc;
    return DLHT_ECORRUPT; /* there is no group */
}

int node_quarantined(void *context, journal_replay_fn take, void *take_context)
{
    (void)context, (void)take, (void)take_context;
    return DLHT_OK;
}

static struct effect *fake_effect(struct effects *out, enum effect_kind kind)
{
    if (out->count == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 16;
        struct effect *grown = mem_resize(out->list, cap, sizeof *grown);
        assert(grown);
        out->list = grown;
        out->cap = cap;
    }
    struct effect *e = &out->list[out->count++];
    e->kind = kind;
    return e;
}

void effects_deinit(struct effects *effects)
{
    free(effects->list);
    *effects = (struct effects){ 0 };
}

static void fake_log_put(struct node *n, struct effects *out,
                         const struct request *q)
{
    if (!n->config.durable)
        return;
    buf_reset(&n->document);
    mp_write_bin(&n->document, q->key);
    mp_write_bin(&n->document, q->value);
    struct effect *e = fake_effect(out, EFFECT_APPEND);
    e->u.append = (struct journal_record){ .type = 1,
                                           .arc = 2,
                                           .term = 1,
                                           .index = n->version,
                                           .payload = buf_span(&n->document) };
}

static void fake_request(struct node *n, const struct event *event,
                         struct effects *out)
{
    const struct request *q = event->u.request.request;
    if (n->reply_count == n->reply_cap) {
        n->reply_cap = n->reply_cap ? n->reply_cap * 2 : 64;
        n->replies = realloc(n->replies, n->reply_cap * sizeof *n->replies);
        assert(n->replies);
    }
    struct fake_reply *r = &n->replies[n->reply_count++];
    *r = (struct fake_reply){ .ticket = event->u.request.ticket, .op = q->op };
    switch (q->op) {
    case OP_PUT:
        r->version = fake_put(n, q->key, q->value);
        fake_log_put(n, out, q);
        break;
    case OP_GET:
        r->slot = fake_slot(n, q->key);
        r->version = n->slots[r->slot].version;
        if (!n->slots[r->slot].key)
            r->status = DLHT_ENOTFOUND;
        break;
    case OP_PING:
    case OP_PEERS:
        break;
    default:
        r->status = DLHT_ENOTSUP;
    }
}

/* As a true node says it: an array of maps. */
static struct span fake_peers(struct node *n)
{
    buf_reset(&n->document);
    mp_write_array(&n->document, 1);
    mp_write_map(&n->document, 2);
    mp_write_cstr(&n->document, "peer");
    mp_write_cstr(&n->document, n->config.addr);
    mp_write_cstr(&n->document, "state");
    mp_write_cstr(&n->document, "up");
    return buf_span(&n->document);
}

static void fake_answer(struct node *n, struct effects *out)
{
    for (size_t i = 0; i < n->reply_count; i++) {
        const struct fake_reply *r = &n->replies[i];
        struct effect *e = fake_effect(out, EFFECT_REPLY);
        struct response *s = &e->u.reply.response;
        e->u.reply.ticket = r->ticket;
        *s = (struct response){ .status = r->status, .version = r->version };
        const struct fake_record *f = &n->slots[r->slot];
        if (r->op == OP_GET && r->status == DLHT_OK)
            s->value = span_of(f->value, f->value_len);
        if (r->op == OP_PEERS)
            s->value = fake_peers(n);
    }
    n->reply_count = 0;
}

int node_step(struct node *n, const struct event *event, struct effects *out)
{
    out->count = 0;
    switch (event->kind) {
    case EVENT_BOOT:
        fake_effect(out, EFFECT_READY);
        break;
    case EVENT_REQUEST:
        fake_request(n, event, out);
        break;
    case EVENT_FLUSH:
        /* With a journal: answered when EVENT_SYNCED says so. */
        if (!n->config.durable)
            fake_answer(n, out);
        else if (n->reply_count)
            fake_effect(out, EFFECT_SYNC)->u.sync.number = n->version;
        break;
    case EVENT_SYNCED:
        assert(event->u.synced.status == DLHT_OK);
        if (event->u.synced.number == n->version)
            fake_answer(n, out);
        break;
    case EVENT_STOP:
        fake_effect(out, EFFECT_STOPPED);
        break;
    case EVENT_MESSAGE:
    case EVENT_TICK:
    case EVENT_CHECKPOINT:
    case EVENT_JOB:
    case EVENT_LINK_DOWN:
        break;
    }
    return DLHT_OK;
}

uint64_t node_next_timeout_ns(const struct node *n)
{
    (void)n;
    return UINT64_MAX;
}

void node_hello(const struct node *n, struct hello *out)
{
    *out = (struct hello){ .version = WIRE_VERSION,
                           .kind = HELLO_PEER,
                           .cluster = n->cluster,
                           .peer = n->self,
                           .incarnation = 1,
                           .addr = span_str(n->config.addr) };
}

int node_hello_check(const struct node *n, const struct hello *hello)
{
    if (hello->version != WIRE_VERSION)
        return DLHT_EVERSION;
    if (hello->kind == HELLO_PEER && !id_is_zero(&hello->cluster) &&
        !id_equal(&hello->cluster, &n->cluster))
        return DLHT_ECLUSTER;
    return DLHT_OK;
}

uint64_t node_hash(const struct node *n)
{
    return n->version;
}

void node_check(const struct node *n)
{
    (void)n;
}
