/* SPDX-License-Identifier: Apache-2.0 */

/* CLUSTER, ASK and DLHT.LOOKUP. */

#include "net/redis_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/addr.h"
#include "net/redis_start.h"
#include "net/redis_txn.h"
#include "wire/mp.h"

enum {
    MEMBERS_MAX = 1024,
    MEMBER_ID_LEN = 40
};

/* CRC16 of XMODEM, bit by bit: nothing here is in a hurry. */
static unsigned crc16(struct span bytes)
{
    unsigned crc = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (unsigned)bytes.data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc & 0xffff;
}

unsigned redis_slot_of(struct span key)
{
    const uint8_t *open = key.len ? memchr(key.data, '{', key.len) : NULL;
    if (open) {
        struct span rest = span_tail(key, (size_t)(open - key.data) + 1);
        const uint8_t *close = rest.len ? memchr(rest.data, '}', rest.len) : 0;
        if (close && close != rest.data)
            key = span_of(rest.data, (size_t)(close - rest.data));
    }
    return crc16(key) % REDIS_SLOTS;
}

/* Members. */

struct member {
    char id[MEMBER_ID_LEN + 1];
    char host[PEER_ADDR_MAX];
    int port;
    bool me;
};

struct cluster {
    struct redis_job job;
    struct redis_to to;
    bool resp3;
    char what[16];
    struct member *members;
    size_t count;
    int status;
};

static void set_id(struct member *m, struct span hex)
{
    memset(m->id, '0', MEMBER_ID_LEN);
    m->id[MEMBER_ID_LEN] = 0;
    for (size_t i = 0; i < hex.len && i < MEMBER_ID_LEN; i++)
        m->id[i] = (char)hex.data[i];
}

static void split_addr(const char *addr, struct member *m)
{
    const char *colon = strrchr(addr, ':');
    size_t len = colon ? (size_t)(colon - addr) : strlen(addr);
    if (len > 2 && addr[0] == '[' && addr[len - 1] == ']') {
        addr++;
        len -= 2;
    }
    memcpy(m->host, addr, len);
    m->host[len] = 0;
    m->port = addr_port(addr);
}

static void add_me(struct redis *redis, struct redis_client *client,
                   struct member *m)
{
    struct hello hello;
    char text[ID_TEXT_BYTES], addr[PEER_ADDR_MAX];
    redis->calls.hello(redis->calls.context, &hello);
    id_to_text(&hello.peer, text);
    set_id(m, span_str(text));
    addr_of_here(client->conn.fd, addr);
    split_addr(addr[0] ? addr : redis->addr, m);
    m->me = true;
}

/* What a client's Redis port of another node is, by this node's. */
static int redis_port_of(const struct redis *redis, int node_port)
{
    return node_port + addr_port(redis->addr) - redis->node_port;
}

static void take_peer(struct redis *redis, struct cluster *c,
                      struct mp_reader *r)
{
    struct span addr = span_empty(), id = span_empty(), state = span_empty();
    for (size_t n = mp_read_map(r); n > 0 && !r->bad; n--) {
        struct span name = mp_read_bytes(r);
        if (span_equal(name, span_str("peer")))
            addr = mp_read_bytes(r);
        else if (span_equal(name, span_str("id")))
            id = mp_read_bytes(r);
        else if (span_equal(name, span_str("state")))
            state = mp_read_bytes(r);
        else
            mp_skip(r);
    }
    struct member *m = &c->members[c->count];
    char text[PEER_ADDR_MAX];
    if (r->bad || addr.len == 0 || addr.len >= sizeof text ||
        c->count == MEMBERS_MAX ||
        !(span_equal(state, span_str("up")) ||
          span_equal(state, span_str("alive"))))
        return;
    memcpy(text, addr.data, addr.len);
    text[addr.len] = 0;
    set_id(m, id);
    if (memcmp(m->id, c->members[0].id, MEMBER_ID_LEN) == 0)
        return; /* this node is there already */
    split_addr(text, m);
    m->port = redis_port_of(redis, m->port);
    c->count++;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return memcmp(x->id, y->id, MEMBER_ID_LEN);
}

static unsigned slot_from(const struct cluster *c, size_t i)
{
    return (unsigned)(i * REDIS_SLOTS / c->count);
}

static void write_slots(const struct cluster *c, struct buf *out)
{
    resp_write_array(out, c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        resp_write_array(out, 3);
        resp_write_int(out, slot_from(c, i));
        resp_write_int(out, slot_from(c, i + 1) - 1);
        resp_write_array(out, 4);
        resp_write_bulk_text(out, m->host);
        resp_write_int(out, m->port);
        resp_write_bulk_text(out, m->id);
        resp_write_array(out, 0);
    }
}

static void write_shards(const struct cluster *c, struct buf *out)
{
    resp_write_array(out, c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        resp_write_map(out, 2, c->resp3);
        resp_write_bulk_text(out, "slots");
        resp_write_array(out, 2);
        resp_write_int(out, slot_from(c, i));
        resp_write_int(out, slot_from(c, i + 1) - 1);
        resp_write_bulk_text(out, "nodes");
        resp_write_array(out, 1);
        resp_write_map(out, 7, c->resp3);
        resp_write_bulk_text(out, "id");
        resp_write_bulk_text(out, m->id);
        resp_write_bulk_text(out, "port");
        resp_write_int(out, m->port);
        resp_write_bulk_text(out, "ip");
        resp_write_bulk_text(out, m->host);
        resp_write_bulk_text(out, "endpoint");
        resp_write_bulk_text(out, m->host);
        resp_write_bulk_text(out, "role");
        resp_write_bulk_text(out, "master");
        resp_write_bulk_text(out, "replication-offset");
        resp_write_int(out, 0);
        resp_write_bulk_text(out, "health");
        resp_write_bulk_text(out, "online");
    }
}

static void write_nodes(const struct cluster *c, struct buf *out)
{
    struct buf text = { 0 };
    for (size_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        char line[512];
        snprintf(line, sizeof line,
                 "%s %s:%d@%d %smaster - 0 0 %zu connected %u-%u\n", m->id,
                 m->host, m->port, m->port + 10000, m->me ? "myself," : "",
                 i + 1, slot_from(c, i), slot_from(c, i + 1) - 1);
        resp_write(&text, line);
    }
    resp_write_bulk(out, buf_span(&text));
    buf_deinit(&text);
}

static void write_cluster_info(const struct cluster *c, struct buf *out)
{
    char text[512];
    snprintf(text, sizeof text,
             "cluster_state:ok\r\ncluster_slots_assigned:%d\r\n"
             "cluster_slots_ok:%d\r\ncluster_slots_pfail:0\r\n"
             "cluster_slots_fail:0\r\ncluster_known_nodes:%zu\r\n"
             "cluster_size:%zu\r\ncluster_current_epoch:%zu\r\n"
             "cluster_my_epoch:1\r\n",
             REDIS_SLOTS, REDIS_SLOTS, c->count, c->count, c->count);
    resp_write_bulk_text(out, text);
}

static void cluster_free(struct redis_job *job)
{
    struct cluster *c = (struct cluster *)job;
    free(c->members);
    free(c);
}

static void cluster_step(struct redis *redis, struct redis_job *job)
{
    struct cluster *c = (struct cluster *)job;
    if (c->status != DLHT_OK) {
        struct response failed = { .status = c->status };
        redis_fail(redis, &c->to, &failed, false);
        redis_job_end(redis, job);
        return;
    }
    char my_id[MEMBER_ID_LEN + 1];
    memcpy(my_id, c->members[0].id, sizeof my_id);
    qsort(c->members, c->count, sizeof *c->members, compare_members);
    struct buf *out = redis_begin(redis, &c->to);
    if (out && strcmp(c->what, "slots") == 0)
        write_slots(c, out);
    else if (out && strcmp(c->what, "shards") == 0)
        write_shards(c, out);
    else if (out && strcmp(c->what, "nodes") == 0)
        write_nodes(c, out);
    else if (out && strcmp(c->what, "myid") == 0)
        resp_write_bulk_text(out, my_id);
    else if (out)
        write_cluster_info(c, out);
    redis_end(redis, &c->to);
    redis_job_end(redis, job);
}

static void cluster_reply(struct redis *redis, struct redis_job *job,
                          uint32_t part, const struct response *response)
{
    struct cluster *c = (struct cluster *)job;
    struct mp_reader r;
    (void)part;
    mp_reader_init(&r, response->value);
    c->status = response->status;
    if (c->status == DLHT_OK)
        for (size_t n = mp_read_array(&r); n > 0 && !r.bad; n--)
            take_peer(redis, c, &r);
    redis_ready(redis, job);
}

static void write_cluster_now(struct redis_call *call)
{
    static const char *const help[] = {
        "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "COUNTKEYSINSLOT, GETKEYSINSLOT, INFO, KEYSLOT, MYID, NODES, SHARDS,",
        "SLOTS: as in Redis; keys have no slots here.",
        "HELP",
        "    Prints this help.",
    };
    bool wrong;
    int64_t n;
    if (redis_sub_is(call, "keyslot", 3, 3, &wrong)) {
        if (!wrong)
            resp_write_int(call->out, redis_slot_of(call->args[2]));
    } else if (redis_sub_is(call, "countkeysinslot", 3, 3, &wrong)) {
        if (!wrong && redis_read_int(call, call->args[2], &n))
            resp_write_int(call->out, 0);
    } else if (redis_sub_is(call, "getkeysinslot", 4, 4, &wrong)) {
        if (!wrong)
            resp_write_array(call->out, 0);
    } else if (redis_sub_is(call, "help", 2, 2, &wrong)) {
        if (!wrong)
            redis_write_lines(call->out, help, sizeof help / sizeof help[0]);
    } else {
        redis_write_subcommand(call, "CLUSTER");
    }
}

static const char *member_word(const struct redis_call *call)
{
    static const char *const words[] = { "slots", "shards", "nodes", "info",
                                         "myid" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (call->count == 2 && resp_is(call->args[1], words[i]))
            return words[i];
    return NULL;
}

void redis_start_cluster(struct redis_call *call)
{
    struct redis *redis = call->redis;
    struct redis_to to;
    const char *word = member_word(call);
    if (!redis_promise(call->client, &to))
        return;
    if (!word) {
        call->out = redis_begin(redis, &to);
        if (call->out)
            write_cluster_now(call);
        redis_end(redis, &to);
        return;
    }
    struct cluster *c = mem_zero(1, sizeof *c);
    if (c)
        c->members =
            mem_zero(redis->ask ? MEMBERS_MAX + 1 : 1, sizeof *c->members);
    if (!c || !c->members) {
        struct response none = { .status = DLHT_ENOMEM };
        free(c);
        redis_fail(redis, &to, &none, false);
        return;
    }
    c->job.reply = cluster_reply;
    c->job.step = cluster_step;
    c->job.free = cluster_free;
    c->to = to;
    c->resp3 = call->resp3;
    snprintf(c->what, sizeof c->what, "%s", word);
    add_me(redis, call->client, &c->members[c->count++]);
    redis_job_init(redis, &c->job);
    struct request q = { .op = OP_PEERS };
    if (!redis->ask) {
        redis_ready(redis, &c->job);
    } else if (!redis_ask_for(redis, &c->job, 0, &q)) {
        c->status = DLHT_ENOMEM;
        redis_ready(redis, &c->job);
    }
}

/* DLHT.LOOKUP: the node's document as a map. */

struct lookup {
    struct redis_job job;
    struct redis_to to;
    bool resp3;
    int status;
    struct buf text;
    struct buf doc;        /* as it is answered */
    struct redis_txn *txn; /* of ASK: what runs if the key is here */
    struct buf key;
    char owner[PEER_ADDR_MAX];
};

static void lookup_free(struct redis_job *job)
{
    struct lookup *l = (struct lookup *)job;
    buf_deinit(&l->text);
    buf_deinit(&l->doc);
    buf_deinit(&l->key);
    free(l);
}

static void write_value(struct mp_reader *r, struct buf *out, bool resp3)
{
    char text[64];
    switch (mp_peek(r)) {
    case MP_INT:
        resp_write_int(out, (int64_t)mp_read_uint(r));
        break;
    case MP_FLOAT:
        snprintf(text, sizeof text, "%.17g", mp_read_float(r));
        resp_write_bulk_text(out, text);
        break;
    case MP_BYTES:
        resp_write_bulk(out, mp_read_bytes(r));
        break;
    case MP_ARRAY: {
        size_t n = mp_read_array(r);
        resp_write_array(out, n);
        for (; n > 0 && !r->bad; n--)
            resp_write_bulk(out, mp_read_bytes(r));
        break;
    }
    case MP_NONE:
    case MP_NIL:
    case MP_BOOL:
    case MP_MAP:
    case MP_EXT:
        mp_skip(r);
        resp_write_null(out, resp3);
        break;
    }
}

static void write_document(struct span document, struct buf *out, bool resp3)
{
    struct mp_reader r;
    mp_reader_init(&r, document);
    size_t pairs = mp_read_map(&r);
    resp_write_map(out, pairs, resp3);
    for (; pairs > 0 && !r.bad; pairs--) {
        struct span name = mp_read_bytes(&r);
        resp_write_bulk(out, name);
        bool wide = span_equal(name, span_str("position")) ||
                    span_equal(name, span_str("arc")) ||
                    span_equal(name, span_str("predicted_arc"));
        if (wide && mp_peek(&r) == MP_INT) /* of 64 bits without a sign */
            resp_write_bulk_uint(out, mp_read_uint(&r));
        else
            write_value(&r, out, resp3);
    }
}

static void take_owner(struct lookup *l, struct span document)
{
    struct mp_reader r;
    mp_reader_init(&r, document);
    for (size_t n = mp_read_map(&r); n > 0 && !r.bad; n--) {
        if (!span_equal(mp_read_bytes(&r), span_str("owner")) ||
            mp_peek(&r) != MP_BYTES) {
            mp_skip(&r);
            continue;
        }
        struct span owner = mp_read_bytes(&r);
        if (owner.len && owner.len < sizeof l->owner)
            memcpy(l->owner, owner.data, owner.len);
    }
}

static void lookup_reply(struct redis *redis, struct redis_job *job,
                         uint32_t part, const struct response *response)
{
    struct lookup *l = (struct lookup *)job;
    (void)part;
    l->status = response->status;
    buf_append_span(&l->text, response->text);
    if (l->status == DLHT_OK && !l->txn)
        write_document(response->value, &l->doc, l->resp3);
    else if (l->status == DLHT_OK)
        take_owner(l, response->value);
    redis_ready(redis, job);
}

/* The owner's address for clients; false: it is this node, or not known. */
static bool owner_is_elsewhere(struct redis *redis, const struct lookup *l,
                               struct member *out)
{
    struct hello hello;
    redis->calls.hello(redis->calls.context, &hello);
    if (!l->owner[0] || l->status != DLHT_OK ||
        span_equal(hello.addr, span_str(l->owner)))
        return false;
    split_addr(l->owner, out);
    out->port = redis_port_of(redis, out->port);
    return true;
}

static void lookup_step(struct redis *redis, struct redis_job *job)
{
    struct lookup *l = (struct lookup *)job;
    struct member owner;
    if (l->txn && owner_is_elsewhere(redis, l, &owner)) {
        char line[PEER_ADDR_MAX + 64];
        snprintf(line, sizeof line, "ASK %u %s:%d",
                 redis_slot_of(buf_span(&l->key)), owner.host, owner.port);
        redis_txn_drop(l->txn);
        redis_fail_text(redis, &l->to, line);
    } else if (l->txn) {
        redis_txn_go(l->txn, &l->to);
    } else if (l->status != DLHT_OK) {
        struct response failed = { .status = l->status,
                                   .text = buf_span(&l->text) };
        redis_fail(redis, &l->to, &failed, false);
    } else {
        struct buf *out = redis_begin(redis, &l->to);
        if (out) {
            buf_append_span(out, buf_span(&l->doc));
            out->failed = out->failed || l->doc.failed;
        }
        redis_end(redis, &l->to);
    }
    redis_job_end(redis, job);
}

static void lookup_begin(struct redis_call *call, struct span key,
                         struct redis_txn *txn)
{
    struct redis *redis = call->redis;
    struct redis_to to;
    if (!redis_promise(call->client, &to)) {
        if (txn)
            redis_txn_drop(txn);
        return;
    }
    struct lookup *l = mem_zero(1, sizeof *l);
    if (!l) {
        struct response none = { .status = DLHT_ENOMEM };
        if (txn)
            redis_txn_drop(txn);
        redis_fail(redis, &to, &none, false);
        return;
    }
    l->job.reply = lookup_reply;
    l->job.step = lookup_step;
    l->job.free = lookup_free;
    l->to = to;
    l->resp3 = call->resp3;
    l->txn = txn;
    buf_append_span(&l->key, key);
    redis_job_init(redis, &l->job);
    struct request q = { .op = OP_LOOKUP,
                         .keyspace_name = redis_db_name(redis, call->db),
                         .key = key };
    if (redis_ask_for(redis, &l->job, 0, &q))
        return;
    l->status = DLHT_ENOMEM;
    redis_ready(redis, &l->job);
}

void redis_start_lookup(struct redis_call *call)
{
    lookup_begin(call, call->args[1], NULL);
}

bool redis_cluster_takes(struct redis_call *call)
{
    size_t first, last, step;
    bool asking = call->client->asking;
    call->client->asking = false;
    if (!call->redis->ask || asking || !call->command->run ||
        !redis_key_range(call, &first, &last, &step) || first != last)
        return false;
    struct redis_txn *txn = redis_txn_new_single(call);
    if (!txn)
        return false;
    lookup_begin(call, call->args[first], txn);
    return true;
}
