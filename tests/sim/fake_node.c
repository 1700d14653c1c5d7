/* SPDX-License-Identifier: Apache-2.0 */

/* One copy of everything on one peer. Small and slow. */

#include "sim/fake_node.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/node.h"
#include "wire/mp.h"

enum {
    RECORDS_MAX = 4096,
    WAITING_MAX = 256,
    SEEN_MAX = 1024,
    KEY_MAX = 32,
    PAGE_MAX = 50,
    TEMP_MAX = 1024
};

enum fake_wrong fake_wrong;

struct item {
    char key[KEY_MAX];
    size_t key_len;
    uint8_t *value;
    size_t len;
    uint64_t version;
};

/* A client's request, or another peer's, that is not answered yet. */
struct waiting {
    bool used;
    bool local;
    uint64_t ticket; /* local */
    struct id from;  /* else */
    char addr[PEER_ADDR_MAX];
    uint32_t stream;
    uint64_t sync; /* answered after that one; 0: by the owner */
    struct response response;
    uint8_t *value; /* of the response */
    uint64_t until_ns;
    bool is_write;
    struct buf request; /* of a forwarded one: its key, for the cache */
};

struct seen {
    struct id session;
    uint64_t number;
    int32_t status;
    uint64_t version;
};

struct known {
    struct id id;
    char addr[PEER_ADDR_MAX];
};

struct node {
    struct node_config config;
    struct rng rng;
    struct id id;
    bool owner;
    struct item *items; /* ascending; of others: their cache */
    size_t count;
    uint64_t version;
    uint64_t log_index;
    struct waiting *waiting;
    struct seen *seen;
    size_t seen_count;
    uint64_t sync_next, sync_done;
    bool sync_wanted, sync_running;
    uint32_t stream;
    struct id lane; /* the session of requests that come without one */
    uint64_t lane_number;
    struct buf journal; /* of this step */
    struct buf *bufs[TEMP_MAX];
    size_t buf_count;
};

void node_config_default(struct node_config *config)
{
    memset(config, 0, sizeof *config);
}

int node_new(const struct node_config *config, struct node **out)
{
    struct node *node = mem_zero(1, sizeof *node);
    assert(node);
    node->config = *config;
    rng_init(&node->rng, config->seed);
    node->owner = config->bootstrap_count == 0;
    /* An answer to an earlier life must not pass for one to this. */
    node->stream = (uint32_t)rng_next(&node->rng);
    node->lane = id_random(&node->rng);
    struct span addr = span_str(config->addr);
    uint64_t id = hash64(addr);
    memcpy(node->id.bytes, &id, sizeof id);
    node->items = mem_zero(RECORDS_MAX, sizeof *node->items);
    node->waiting = mem_zero(WAITING_MAX, sizeof *node->waiting);
    node->seen = mem_zero(SEEN_MAX, sizeof *node->seen);
    assert(node->items && node->waiting && node->seen);
    *out = node;
    return DLHT_OK;
}

static void free_bufs(struct node *node)
{
    while (node->buf_count > 0) {
        struct buf *buf = node->bufs[--node->buf_count];
        buf_deinit(buf);
        free(buf);
    }
}

void node_free(struct node *node)
{
    if (!node)
        return;
    free_bufs(node);
    for (size_t i = 0; i < node->count; i++)
        free(node->items[i].value);
    for (size_t i = 0; i < WAITING_MAX; i++) {
        free(node->waiting[i].value);
        buf_deinit(&node->waiting[i].request);
    }
    free(node->items);
    free(node->waiting);
    free(node->seen);
    free(node);
}

void effects_deinit(struct effects *effects)
{
    free(effects->list);
    *effects = (struct effects){ 0 };
}

static struct effect *add_effect(struct effects *effects, enum effect_kind kind)
{
    if (effects->count == effects->cap) {
        effects->cap = effects->cap ? effects->cap * 2 : 16;
        effects->list =
            mem_resize(effects->list, effects->cap, sizeof *effects->list);
        assert(effects->list);
    }
    struct effect *effect = &effects->list[effects->count++];
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    return effect;
}

/* A buffer that lives until the next step. */
static struct buf *temp_buf(struct node *node)
{
    struct buf *buf = mem_zero(1, sizeof *buf);
    assert(buf && node->buf_count < TEMP_MAX);
    node->bufs[node->buf_count++] = buf;
    return buf;
}

/* The map. */

static size_t place_of(const struct node *node, struct span key, bool *there)
{
    size_t i = 0;
    *there = false;
    for (; i < node->count; i++) {
        int order = span_compare(
            span_of(node->items[i].key, node->items[i].key_len), key);
        *there = order == 0;
        if (order >= 0)
            break;
    }
    return i;
}

static void set_item(struct node *node, struct span key, struct span value,
                     uint64_t version)
{
    bool there;
    size_t i = place_of(node, key, &there);
    if (!there) {
        assert(node->count < RECORDS_MAX && key.len <= KEY_MAX);
        memmove(&node->items[i + 1], &node->items[i],
                (node->count - i) * sizeof *node->items);
        node->count++;
        node->items[i] = (struct item){ .key_len = key.len };
        memcpy(node->items[i].key, key.data, key.len);
    } else {
        free(node->items[i].value);
    }
    node->items[i].value = mem_array(value.len, 1);
    memcpy(node->items[i].value, value.data, value.len);
    node->items[i].len = value.len;
    node->items[i].version = version;
}

static bool unset_item(struct node *node, struct span key)
{
    bool there;
    size_t i = place_of(node, key, &there);
    if (!there)
        return false;
    free(node->items[i].value);
    node->count--;
    memmove(&node->items[i], &node->items[i + 1],
            (node->count - i) * sizeof *node->items);
    return true;
}

/* The journal: op, key, value, version, and the session's result. */

static void log_change(struct node *node, struct effects *out, uint8_t type,
                       const struct request *q, struct span key,
                       struct span value, const struct response *r)
{
    struct buf *b = temp_buf(node);
    mp_write_bin(b, key);
    mp_write_bin(b, value);
    mp_write_bin(b, span_of(q->session.bytes, ID_BYTES));
    mp_write_uint(b, q->number);
    mp_write_int(b, r->status);
    mp_write_uint(b, r->version);
    struct effect *e = add_effect(out, EFFECT_APPEND);
    e->u.append.type = type;
    e->u.append.arc = 7;
    e->u.append.index = ++node->log_index;
    e->u.append.payload = buf_span(b);
    node->sync_wanted = true;
}

int node_restore_checkpoint(struct node *node, arc_id arc, uint64_t number,
                            bool first, struct span bytes)
{
    (void)node, (void)arc, (void)number, (void)first, (void)bytes;
    return DLHT_ECORRUPT;
}

static void add_seen(struct node *node, const struct seen *seen)
{
    if (node->seen_count == SEEN_MAX) {
        node->seen_count /= 2;
        memmove(node->seen, node->seen + node->seen_count,
                node->seen_count * sizeof *node->seen);
    }
    node->seen[node->seen_count++] = *seen;
}

/* The versions of a batch end with the one that it was answered with. */
static void restore_batch(struct node *node, struct span list, uint64_t version)
{
    struct mp_reader r;
    uint64_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        mp_reader_init(&r, list);
        for (uint64_t i = 1; !mp_at_end(&r); i++) {
            struct span key = mp_read_bytes(&r), value = mp_read_bytes(&r);
            if (pass == 1)
                set_item(node, key, value, version - count + i);
            else
                count++;
        }
    }
}

int node_restore_record(struct node *node, const struct journal_record *record)
{
    struct mp_reader r;
    mp_reader_init(&r, record->payload);
    struct span key = mp_read_bytes(&r), value = mp_read_bytes(&r);
    struct seen seen = { .number = 0 };
    mp_read_fixed(&r, seen.session.bytes, ID_BYTES);
    seen.number = mp_read_uint(&r);
    seen.status = (int32_t)mp_read_int(&r);
    seen.version = mp_read_uint(&r);
    assert(!r.bad);
    if (record->type == OP_DEL && fake_wrong != FAKE_DELETE_RETURNS)
        unset_item(node, key);
    else if (record->type == OP_PUT)
        set_item(node, key, value, seen.version);
    else if (record->type == OP_BATCH)
        restore_batch(node, value, seen.version);
    node->log_index = record->index;
    if (seen.version > node->version)
        node->version = seen.version;
    if (seen.number)
        add_seen(node, &seen);
    return DLHT_OK;
}

int node_restore_graph(struct node *node, uint64_t number)
{
    (void)node, (void)number;
    return DLHT_OK;
}

void node_restore_older(struct node *node, arc_id arc)
{
    (void)node, (void)arc;
}

int node_quarantine(struct node *node, arc_id arc)
{
    (void)node, (void)arc;
    return DLHT_OK;
}

int node_quarantined(void *context, journal_replay_fn take, void *take_context)
{
    (void)context, (void)take, (void)take_context;
    return DLHT_OK;
}

/* Serving, at the owner. */

static const struct seen *find_seen(const struct node *node,
                                    const struct request *q)
{
    for (size_t i = node->seen_count; i-- > 0;) {
        if (node->seen[i].number == q->number &&
            id_equal(&node->seen[i].session, &q->session))
            return &node->seen[i];
    }
    return NULL;
}

static void note_seen(struct node *node, const struct request *q,
                      const struct response *r)
{
    struct seen seen = { q->session, q->number, r->status, r->version };
    add_seen(node, &seen);
}

static void add_triple(const struct node *node, size_t i, struct buf *list,
                       struct response *r)
{
    const struct item *item = &node->items[i];
    mp_write_bin(list, span_of(item->key, item->key_len));
    mp_write_bin(list, span_of(item->value, item->len));
    mp_write_uint(list, item->version);
    r->list_count++;
}

static void serve_range(struct node *node, const struct request *q,
                        struct response *r)
{
    struct buf *list = temp_buf(node);
    bool there, down = q->flags & REQUEST_REVERSE;
    size_t lo = place_of(node, q->key, &there);
    size_t hi = q->flags & REQUEST_HAS_END ? place_of(node, q->end, &there)
                                           : node->count;
    size_t limit = q->limit ? q->limit : PAGE_MAX;
    if (hi < lo)
        hi = lo;
    r->count = hi - lo;
    if (q->op == OP_COUNT)
        return;
    while (lo < hi && r->list_count < limit) {
        size_t i = down ? --hi : lo++;
        if (fake_wrong == FAKE_RANGE_SKIPS && rng_chance(&node->rng, 0.01))
            continue;
        add_triple(node, i, list, r);
    }
    r->list = buf_span(list);
    r->more = lo < hi;
    if (r->more) {
        /* Downwards the next end excludes itself: the last one given. */
        const struct item *item = &node->items[down ? hi : lo];
        r->cursor = span_of(item->key, item->key_len);
    }
}

static void serve_list(struct node *node, const struct request *q,
                       struct effects *out, struct response *r)
{
    struct mp_reader reader;
    mp_reader_init(&reader, q->list);
    struct buf *list = q->op == OP_MGET ? temp_buf(node) : NULL;
    for (uint32_t i = 0; i < q->list_count; i++) {
        struct span key = mp_read_bytes(&reader);
        bool there;
        size_t at = place_of(node, key, &there);
        if (q->op == OP_MGET) {
            if (there)
                add_triple(node, at, list, r);
            continue;
        }
        struct span value = mp_read_bytes(&reader);
        i++;
        set_item(node, key, value, ++node->version);
        r->count++;
    }
    if (list) {
        r->list = buf_span(list);
        return;
    }
    /* One record, so that a crash keeps all of it or nothing. */
    struct response last = { .version = node->version };
    log_change(node, out, OP_BATCH, q, span_empty(), q->list, &last);
}

static void serve_write(struct node *node, const struct request *q,
                        struct effects *out, struct response *r)
{
    bool there;
    size_t at = place_of(node, q->key, &there);
    uint64_t current = there ? node->items[at].version : 0;
    if (q->op == OP_DEL) {
        r->status = there ? DLHT_OK : DLHT_ENOTFOUND;
        log_change(node, out, OP_DEL, q, q->key, span_empty(), r);
        unset_item(node, q->key);
        return;
    }
    if (q->op == OP_CAS && q->version != current &&
        fake_wrong != FAKE_CAS_LOOSE) {
        r->status = DLHT_EMISMATCH;
        r->version = current;
        log_change(node, out, OP_PING, q, q->key, span_empty(), r);
        return;
    }
    r->version = node->version + 1;
    log_change(node, out, OP_PUT, q, q->key, q->value, r);
    set_item(node, q->key, q->value, ++node->version);
}

static bool op_is_write(uint8_t op)
{
    return op == OP_PUT || op == OP_DEL || op == OP_CAS || op == OP_BATCH;
}

static void serve(struct node *node, const struct request *q,
                  struct effects *out, struct response *r)
{
    bool there;
    const struct seen *seen = find_seen(node, q);
    if (op_is_write(q->op) && seen && fake_wrong != FAKE_APPLY_TWICE) {
        r->status = seen->status;
        r->version = seen->version;
        return;
    }
    if (q->op == OP_GET) {
        size_t at = place_of(node, q->key, &there);
        r->status = there ? DLHT_OK : DLHT_ENOTFOUND;
        if (there) {
            r->version = node->items[at].version;
            r->value = span_of(node->items[at].value, node->items[at].len);
        }
    } else if (q->op == OP_RANGE || q->op == OP_COUNT) {
        serve_range(node, q, r);
    } else if (q->op == OP_MGET || q->op == OP_BATCH) {
        serve_list(node, q, out, r);
    } else if (op_is_write(q->op)) {
        serve_write(node, q, out, r);
    }
    if (op_is_write(q->op))
        note_seen(node, q, r);
    if (op_is_write(q->op) && fake_wrong == FAKE_FAIL_IS_WRONG &&
        rng_chance(&node->rng, 0.01)) {
        r->status = DLHT_EUNAVAILABLE;
        r->version = 0;
    }
}

static void answer(struct node *node, struct effects *out,
                   const struct waiting *w, const struct response *r)
{
    if (w->local) {
        if (fake_wrong == FAKE_SILENT && rng_chance(&node->rng, 0.01))
            return;
        struct effect *e = add_effect(out, EFFECT_REPLY);
        e->u.reply.ticket = w->ticket;
        e->u.reply.response = *r;
        return;
    }
    struct buf *addr = temp_buf(node);
    buf_append(addr, w->addr, sizeof w->addr);
    struct effect *e = add_effect(out, EFFECT_SEND);
    e->u.send.to = w->from;
    e->u.send.addr = (const char *)addr->data;
    e->u.send.message.type = MESSAGE_RESPONSE;
    e->u.send.message.stream = w->stream;
    e->u.send.message.u.response = *r;
}

static struct waiting *new_waiting(struct node *node)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        if (node->waiting[i].used)
            continue;
        free(node->waiting[i].value);
        buf_deinit(&node->waiting[i].request);
        node->waiting[i] = (struct waiting){ .used = true };
        return &node->waiting[i];
    }
    return NULL;
}

static void at_owner(struct node *node, struct effects *out,
                     const struct request *q, const struct waiting *who)
{
    struct response r = { 0 };
    serve(node, q, out, &r);
    bool at_once = !node->sync_wanted && node->sync_done == node->sync_next;
    if (at_once || fake_wrong == FAKE_ACK_BEFORE_SYNC || r.list.len) {
        /* A page may show what is not durable yet; then it is a lie after a
         * crash. So it goes only when nothing is under way. */
        if (at_once || fake_wrong == FAKE_ACK_BEFORE_SYNC) {
            answer(node, out, who, &r);
            return;
        }
        r = (struct response){ .status = DLHT_EBUSY };
        answer(node, out, who, &r);
        return;
    }
    struct waiting *w = new_waiting(node);
    assert(w);
    *w = *who;
    w->used = true;
    w->sync = node->sync_next + 1;
    w->response = r;
    if (r.value.len) {
        w->value = mem_array(r.value.len, 1);
        memcpy(w->value, r.value.data, r.value.len);
        w->response.value = span_of(w->value, r.value.len);
    }
}

/* Forwarding, at the others. Stream and ticket are the waiting's index. */

static void forward(struct node *node, struct effects *out,
                    const struct request *q, uint64_t ticket, uint64_t now)
{
    bool there;
    size_t at = place_of(node, q->key, &there);
    if (fake_wrong == FAKE_STALE_CACHE && q->op == OP_GET && there) {
        struct effect *e = add_effect(out, EFFECT_REPLY);
        e->u.reply.ticket = ticket;
        e->u.reply.response.version = node->items[at].version;
        e->u.reply.response.value =
            span_of(node->items[at].value, node->items[at].len);
        return;
    }
    struct waiting *w = new_waiting(node);
    assert(w);
    w->local = true;
    w->ticket = ticket;
    w->stream = ++node->stream;
    w->until_ns = now + (uint64_t)q->timeout_ms * 1000000;
    w->is_write = op_is_write(q->op);
    if (q->op == OP_GET)
        buf_append_span(&w->request, q->key);
    struct effect *e = add_effect(out, EFFECT_SEND);
    e->u.send.addr = "10.0.0.1:9000"; /* the first of a world */
    e->u.send.message.type = MESSAGE_REQUEST;
    e->u.send.message.stream = w->stream;
    e->u.send.message.u.request = *q;
    /* The owner has to know whom to answer: the spare field of the zone. */
    e->u.send.message.u.request.keyspace_name = span_str(node->config.addr);
}

static void on_response(struct node *node, struct effects *out,
                        const struct message *m)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &node->waiting[i];
        if (!w->used || !w->local || w->stream != m->stream || w->sync)
            continue;
        w->used = false;
        if (fake_wrong == FAKE_STALE_CACHE && w->request.len &&
            m->u.response.status == DLHT_OK)
            set_item(node, buf_span(&w->request), m->u.response.value,
                     m->u.response.version);
        answer(node, out, w, &m->u.response);
    }
}

static void lose_forwarded(struct node *node, struct effects *out, uint64_t now,
                           bool all)
{
    for (size_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &node->waiting[i];
        if (!w->used || !w->local || w->sync || (!all && w->until_ns > now))
            continue;
        struct response r = { .status = w->is_write ? DLHT_EUNKNOWN
                                                    : DLHT_EUNAVAILABLE };
        w->used = false;
        answer(node, out, w, &r);
    }
}

static void on_synced(struct node *node, struct effects *out, uint64_t number)
{
    node->sync_done = number;
    node->sync_running = false;
    for (size_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &node->waiting[i];
        if (!w->used || w->sync == 0 || w->sync > number)
            continue;
        w->used = false;
        answer(node, out, w, &w->response);
    }
}

static void flush(struct node *node, struct effects *out)
{
    bool awaited = false;
    for (size_t i = 0; i < WAITING_MAX; i++)
        awaited = awaited || (node->waiting[i].used &&
                              node->waiting[i].sync > node->sync_next);
    if (!node->sync_wanted && !awaited)
        return;
    node->sync_wanted = false;
    node->sync_running = true;
    add_effect(out, EFFECT_SYNC)->u.sync.number = ++node->sync_next;
}

static void on_message(struct node *node, struct effects *out,
                       const struct event *event)
{
    const struct message *m = event->u.message.message;
    if (m->type == MESSAGE_RESPONSE) {
        on_response(node, out, m);
        return;
    }
    if (m->type != MESSAGE_REQUEST || !node->owner)
        return;
    struct waiting who = { .from = event->u.message.from, .stream = m->stream };
    struct span addr = m->u.request.keyspace_name;
    memcpy(who.addr, addr.data, addr.len);
    at_owner(node, out, &m->u.request, &who);
}

static void on_request(struct node *node, struct effects *out,
                       const struct event *event)
{
    struct request q = *event->u.request.request;
    if (id_is_zero(&q.session)) {
        q.session = node->lane;
        q.number = ++node->lane_number;
    }
    if (!node->owner) {
        forward(node, out, &q, event->u.request.ticket, event->now_ns);
        return;
    }
    struct waiting who = { .local = true, .ticket = event->u.request.ticket };
    at_owner(node, out, &q, &who);
}

int node_step(struct node *node, const struct event *event, struct effects *out)
{
    out->count = 0;
    free_bufs(node);
    switch (event->kind) {
    case EVENT_BOOT:
        add_effect(out, EFFECT_READY);
        break;
    case EVENT_MESSAGE:
        on_message(node, out, event);
        break;
    case EVENT_REQUEST:
        on_request(node, out, event);
        break;
    case EVENT_TICK:
        lose_forwarded(node, out, event->now_ns, false);
        break;
    case EVENT_FLUSH:
        flush(node, out);
        break;
    case EVENT_SYNCED:
        if (event->u.synced.status != DLHT_OK) {
            struct effect *e = add_effect(out, EFFECT_FAILED);
            e->u.failed.status = DLHT_EIO;
            e->u.failed.text = "sync failed";
            break;
        }
        on_synced(node, out, event->u.synced.number);
        break;
    case EVENT_LINK_DOWN:
        lose_forwarded(node, out, event->now_ns, true);
        break;
    case EVENT_STOP:
        add_effect(out, EFFECT_STOPPED);
        break;
    case EVENT_CHECKPOINT:
    case EVENT_JOB:
        break;
    }
    return DLHT_OK;
}

uint64_t node_next_timeout_ns(const struct node *node)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < WAITING_MAX; i++) {
        const struct waiting *w = &node->waiting[i];
        if (w->used && w->local && !w->sync && w->until_ns < next)
            next = w->until_ns;
    }
    return next;
}

void node_hello(const struct node *node, struct hello *out)
{
    *out = (struct hello){ .version = WIRE_VERSION,
                           .kind = HELLO_PEER,
                           .peer = node->id,
                           .addr = span_str(node->config.addr) };
}

int node_hello_check(const struct node *node, const struct hello *hello)
{
    (void)node;
    return hello->version == WIRE_VERSION ? DLHT_OK : DLHT_EVERSION;
}

uint64_t node_hash(const struct node *node)
{
    uint64_t hash = node->version;
    for (size_t i = 0; i < node->count; i++)
        hash = hash64_mix(hash, node->items[i].version);
    return hash;
}

void node_check(const struct node *node)
{
    assert(node->count <= RECORDS_MAX);
}
