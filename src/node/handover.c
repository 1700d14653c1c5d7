/* SPDX-License-Identifier: Apache-2.0 */

/* Handing a volatile arc over: the voter's side. */

#include "node/handover.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/cache_arc.h"
#include "node/gossip.h"
#include "node/keeper.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    CHUNKS_A_CALL = 2,
    SCAN_ABOUT = 64,    /* entries */
    SCANS_A_CHUNK = 64, /* where most are gone, a call ends early */
    SETS = 1 << 14,     /* of slots of keys that wait */
    WAYS = 4,
    SLOTS = SETS * WAYS,
    LAST_BYTES = 16 << 10,
    KEYS_BYTES_MAX = 8 << 20,
    KEY_HEADER = 4
};
#define RESEND_NS (UINT64_C(500) * NS_PER_MS)
/* Once the end is sent, the other one may have taken the arc, and whoever goes
 * on would undo that: up or not, it may yet say so as long as it may take it
 * (HANDOVER_LATE_MS). */
#define GIVE_UP_NS (UINT64_C(5000) * NS_PER_MS)
/* An arc that is written to faster than it is sent is only read then. */
#define TAIL_NS (UINT64_C(2000) * NS_PER_MS)

/* Less than a world waits for a node to stop. */
#define STOP_NS (UINT64_C(6000) * NS_PER_MS)
/* A new owner of the system arc plans only KEEPER_SETTLE_NS later. */
#define STOP_IDLE_NS (UINT64_C(5000) * NS_PER_MS)

struct handover {
    struct arc *next; /* as it will be */
    struct id peer;
    replica_id fresh;
    uint64_t transfer;
    bool active; /* else it waits for others */

    /* Keys that wait to be packed: length and bytes, from keys_at on. */
    struct buf keys;
    size_t keys_at;
    uint64_t keys_gone; /* bytes that were there before keys.data */
    uint64_t *slots;    /* where, of all bytes ever, a key of that hash may be
                         * that waits, plus one */
    uint64_t cursor;    /* of the scan: all before it was told */
    bool scanned;
    uint64_t scan_end; /* of all bytes of keys ever */
    bool told;         /* all that waited when the scan ended is packed */
    uint64_t told_ns;

    struct buf stream; /* packed and not in a chunk yet, from stream_at on */
    size_t stream_at;
    bool ended;
    struct buf window[HANDOVER_WINDOW]; /* chunk n in n % HANDOVER_WINDOW */
    uint64_t acked, filled;
    uint64_t last;     /* number of the last chunk, UINT64_MAX: not known */
    uint64_t acked_ns; /* when the last ack came that was news */
    uint64_t asked_ns; /* since then an answer is awaited, if one is */
    uint64_t sent_ns;
    bool held; /* nothing is written any more */
    bool frozen;
    bool broken; /* memory was lacking for what must not be left out */
};

void handover_free(struct handover *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < HANDOVER_WINDOW; i++)
        buf_deinit(&h->window[i]);
    buf_deinit(&h->stream);
    buf_deinit(&h->keys);
    free(h->slots);
    arc_free(h->next);
    free(h);
}

uint64_t handover_sent_memory_bytes(const struct handover *h)
{
    uint64_t bytes = h->stream.cap + h->keys.cap;
    for (size_t i = 0; i < HANDOVER_WINDOW; i++)
        bytes += h->window[i].cap;
    return bytes + (h->slots ? SLOTS * sizeof *h->slots : 0);
}

bool handover_is_frozen(const struct replica *r)
{
    return r->handover && r->handover->frozen;
}

static size_t keys_waiting(const struct handover *h)
{
    return h->keys.len - h->keys_at;
}

bool handover_is_full(const struct handover *h)
{
    return h->frozen || h->held || keys_waiting(h) > KEYS_BYTES_MAX;
}

/* Keys. */

/* The key at that place of all bytes ever; empty: it does not wait any more. */
static struct span key_at(const struct handover *h, uint64_t place)
{
    if (place < h->keys_gone + h->keys_at)
        return span_empty();
    uint32_t len;
    const uint8_t *at = h->keys.data + (place - h->keys_gone);
    memcpy(&len, at, sizeof len);
    return span_of(at + KEY_HEADER, len);
}

static void add_key(struct handover *h, const struct cache_key *key)
{
    uint64_t *set = &h->slots[(key->hash >> 32) % SETS * WAYS], *slot = set;
    uint32_t len = (uint32_t)key->bytes.len;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i] && span_equal(key_at(h, set[i] - 1), key->bytes))
            return;
        if (set[i] < *slot)
            slot = &set[i]; /* the first to be gone */
    }
    *slot = h->keys_gone + h->keys.len + 1;
    buf_append(&h->keys, &len, sizeof len);
    buf_append_span(&h->keys, key->bytes);
    h->broken = h->broken || h->keys.failed;
}

/* Its bytes are good until the next is added. */
static struct span take_key(struct handover *h)
{
    struct span key = key_at(h, h->keys_gone + h->keys_at);
    h->keys_at += KEY_HEADER + key.len;
    return key;
}

static void drop_taken_keys(struct handover *h)
{
    if (h->keys_at < h->keys.len && h->keys_at < HANDOVER_CHUNK)
        return;
    h->keys_gone += h->keys_at;
    buf_drop(&h->keys, h->keys_at);
    h->keys_at = 0;
}

void handover_note_key(struct replica *r, const struct cache_key *key)
{
    struct handover *h = r->handover;
    if (!h->active || h->broken || DLHT_MUTANT == 62)
        return;
    assert(!h->frozen);
    /* What the scan has yet to tell need not wait here. */
    if (h->scanned || cache_scan_order(key) >> 32 < h->cursor)
        add_key(h, key);
}

/* Items. */

static size_t begin_item(struct handover *h, enum handover_item kind)
{
    size_t at = h->stream.len;
    buf_append(&h->stream, "\0\0\0\0", HANDOVER_LENGTH_BYTES);
    mp_write_uint(&h->stream, kind);
    return at;
}

static void end_item(struct handover *h, size_t at)
{
    if (h->stream.failed) {
        h->broken = true;
        return;
    }
    size_t len = h->stream.len - at - HANDOVER_LENGTH_BYTES;
    assert(len <= HANDOVER_ITEM_MAX);
    for (size_t i = 0; i < HANDOVER_LENGTH_BYTES; i++)
        h->stream.data[at + i] = (uint8_t)(len >> (24 - 8 * i));
}

static void pack_key(struct node *node, struct replica *r, struct span bytes)
{
    struct handover *h = r->handover;
    uint64_t now_ms = cache_arc_now_ms(node);
    struct cache_key key = cache_key_of(r->cache, bytes);
    struct cache_item item;
    if (!cache_look(r->cache, &key, now_ms, &item)) {
        size_t at = begin_item(h, HANDOVER_ABSENT);
        mp_write_bin(&h->stream, bytes);
        end_item(h, at);
        return;
    }
    size_t at = begin_item(h, HANDOVER_ENTRY);
    mp_write_bin(&h->stream, item.key);
    mp_write_bin(&h->stream, item.value);
    mp_write_uint(&h->stream, item.version);
    mp_write_uint(&h->stream,
                  item.expire_ms == CACHE_NEVER ? 0 : item.expire_ms - now_ms);
    mp_write_uint(&h->stream, item.cost_us);
    mp_write_bool(&h->stream, item.negative);
    end_item(h, at);
}

static void pack_clock(struct node *node, struct handover *h)
{
    size_t at = begin_item(h, HANDOVER_CLOCK);
    mp_write_uint(&h->stream, h->acked);
    mp_write_uint(&h->stream, (node->now_ns - h->acked_ns) / NS_PER_MS);
    end_item(h, at);
}

void handover_note_flush(struct replica *r)
{
    struct handover *h = r->handover;
    if (!h || !h->active || h->broken || DLHT_MUTANT == 63)
        return;
    assert(!h->frozen);
    h->keys_at = h->keys.len;
    drop_taken_keys(h);
    end_item(h, begin_item(h, HANDOVER_FLUSH));
}

/* The end. */

static void end(struct node *node, struct replica *r, const char *why)
{
    node_log(node, LOG_INFO, "arc %016llx: is not handed over to %s: %s",
             (unsigned long long)r->id,
             node_peer_addr(node, &r->handover->peer), why);
    handover_free(r->handover);
    r->handover = NULL;
    keeper_report_soon(node);
}

/* Chunks. */

static void send_chunk(struct node *node, struct replica *r, uint64_t sequence)
{
    struct handover *h = r->handover;
    const struct buf *b = &h->window[sequence % HANDOVER_WINDOW];
    struct message m = { .type = MESSAGE_SNAPSHOT_CHUNK };
    m.u.chunk = (struct snapshot_chunk){
        .arc = r->id,
        .from = r->self,
        .to = h->fresh,
        .term = h->next->generation,
        .transfer = h->transfer,
        .sequence = sequence,
        .last = sequence == h->last,
        .bytes = effects_copy(node->fx, buf_span(b)),
    };
    h->sent_ns = node->now_ns;
    if (m.u.chunk.bytes.len == b->len) /* else it is sent again, later */
        node_send(node, &h->peer, &m);
}

struct collector {
    struct replica *r;
};

static void collect(void *self, const struct cache_item *item)
{
    struct replica *r = ((struct collector *)self)->r;
    struct cache_key key = cache_key_of(r->cache, item->key);
    add_key(r->handover, &key);
}

/* Its keys wait behind those that do. */
static void scan(struct node *node, struct replica *r, size_t about)
{
    struct handover *h = r->handover;
    struct collector collector = { r };
    h->cursor = cache_scan_all(r->cache, cache_arc_now_ms(node), h->cursor,
                               about, collect, &collector);
    h->scanned = h->cursor == 0;
    h->scan_end = h->keys_gone + h->keys.len;
}

static size_t stream_waiting(const struct handover *h)
{
    return h->stream.len - h->stream_at;
}

/* Packs about a chunk's worth of keys, if so many are left. */
static void fill_stream(struct node *node, struct replica *r)
{
    struct handover *h = r->handover;
    int scans = 0;
    size_t packed = 0;
    pack_clock(node, h);
    while (stream_waiting(h) < HANDOVER_CHUNK && !h->broken) {
        if (keys_waiting(h)) {
            pack_key(node, r, take_key(h));
            packed++;
            continue;
        }
        drop_taken_keys(h);
        if (h->scanned || scans++ == SCANS_A_CHUNK)
            break;
        scan(node, r, SCAN_ABOUT);
    }
    drop_taken_keys(h);
    /* Where keys change faster than they are packed some always wait: the scan
     * goes on as fast as they are packed, and ends. */
    if (packed && !h->scanned && !h->broken)
        scan(node, r, packed);
    if (h->scanned && !h->told && h->keys_gone + h->keys_at >= h->scan_end) {
        h->told = true;
        h->told_ns = node->now_ns;
    }
}

/* Whether to go on now: at the node's rate, until all was told, or at any if
 * the node is about to stop. What changed since waits until there is enough of
 * it, or nothing else is on its way: then the end begins. */
static bool is_time(struct node *node, struct handover *h)
{
    if (!h->told)
        return node->phase == PHASE_STOPPING ||
               transfer_may_send(node, h->sent_ns);
    bool much =
        keys_waiting(h) > LAST_BYTES || stream_waiting(h) >= HANDOVER_CHUNK;
    if (h->frozen || much) {
        h->held = h->held || node->now_ns - h->told_ns > TAIL_NS;
        return true;
    }
    h->frozen = h->acked == h->filled;
    return h->frozen;
}

static void make_chunk(struct node *node, struct replica *r)
{
    struct handover *h = r->handover;
    buf_drop(&h->stream, h->stream_at);
    h->stream_at = 0;
    if (stream_waiting(h) < HANDOVER_CHUNK && !h->ended)
        fill_stream(node, r);
    /* What is not in this chunk is little then, and the clock is new. */
    if (h->frozen && keys_waiting(h) == 0 && !h->ended &&
        stream_waiting(h) < HANDOVER_CHUNK) {
        pack_clock(node, h);
        size_t at = begin_item(h, HANDOVER_END);
        mp_write_uint(&h->stream, cache_version(r->cache));
        end_item(h, at);
        h->ended = true;
    }
    size_t len = stream_waiting(h);
    if (len > HANDOVER_CHUNK)
        len = HANDOVER_CHUNK;
    struct buf *b = &h->window[h->filled % HANDOVER_WINDOW];
    buf_reset(b);
    buf_append(b, h->stream.data + h->stream_at, len);
    h->broken = h->broken || b->failed;
    if (h->broken)
        return;
    h->stream_at += len;
    if (h->ended && stream_waiting(h) == 0)
        h->last = h->filled;
    node->send_budget -= (int64_t)len;
    if (h->acked == h->filled || h->last == h->filled)
        h->asked_ns = node->now_ns;
    send_chunk(node, r, h->filled++);
}

/* The header is alone on its way: no end can be told before its ack. */
static void go_on(struct node *node, struct replica *r)
{
    struct handover *h = r->handover;
    for (int i = 0; i < CHUNKS_A_CALL && h->acked && h->last == UINT64_MAX &&
                    h->filled < h->acked + HANDOVER_WINDOW && !h->broken &&
                    is_time(node, h);
         i++)
        make_chunk(node, r);
    if (h->broken)
        end(node, r, "out of memory");
    else
        node_wake_at(node, node->now_ns + NODE_TICK_NS);
}

static size_t active_count(const struct node *node)
{
    size_t count = 0;
    for (size_t i = 0; i < node->replica_count; i++)
        count +=
            node->replicas[i]->handover && node->replicas[i]->handover->active;
    return count;
}

static void begin(struct node *node, struct replica *r)
{
    struct handover *h = r->handover;
    struct buf *b = &h->window[0];
    h->slots = mem_zero(SLOTS, sizeof *h->slots);
    mp_write_uint(b, HANDOVER_VERSION);
    codec_pack_arc(b, h->next);
    mp_write_uint(b, r->arc->generation);
    mp_write_uint(b, cache_seed(r->cache));
    if (!h->slots || b->failed) {
        end(node, r, "out of memory");
        return;
    }
    h->active = true;
    h->transfer = rng_next(&node->rng);
    h->filled = 1;
    h->asked_ns = node->now_ns;
    send_chunk(node, r, 0);
    node_wake_at(node, node->now_ns + NODE_TICK_NS);
    node_log(node, LOG_DEBUG, "arc %016llx: is handed over to %s",
             (unsigned long long)r->id, node_peer_addr(node, &h->peer));
}

void handover_tick(struct node *node, struct replica *r)
{
    struct handover *h = r->handover;
    if (!h)
        return;
    bool all_sent = h->last != UINT64_MAX;
    if (all_sent && node->now_ns - h->sent_ns > 2 * RESEND_NS)
        h->asked_ns = node->now_ns; /* this peer itself was at rest */
    if (!all_sent && !node_peer_is_up(node, &h->peer)) {
        end(node, r, "it is not there any more");
    } else if (!h->active) {
        if (active_count(node) < HANDOVER_ACTIVE_MAX)
            begin(node, r);
        else
            node_wake_at(node, node->now_ns + NODE_TICK_NS);
    } else if (node->now_ns - h->asked_ns > GIVE_UP_NS &&
               (all_sent || h->acked < h->filled)) {
        end(node, r, "it does not answer");
    } else {
        if (node->now_ns - h->sent_ns > RESEND_NS)
            for (uint64_t n = h->acked; n < h->filled; n++)
                send_chunk(node, r, n);
        go_on(node, r);
    }
}

void handover_begin(struct node *node, struct replica *r,
                    const struct step *step)
{
    struct handover *h = r->handover;
    if (step->fresh == 0 || step->fresh_generation <= r->arc->generation ||
        node_is_self(node, &step->peer) || !node_peer_is_up(node, &step->peer))
        return;
    if (h && (h->frozen || h->next->generation >= step->fresh_generation))
        return; /* this one it is, or its end may have come */
    handover_free(h);
    r->handover = h = mem_zero(1, sizeof *h);
    if (!h)
        return;
    struct arc next = *r->arc;
    next.generation = step->fresh_generation;
    next.member_count = 1;
    next.members[0] = (struct arc_member){ .replica = step->fresh,
                                           .peer = step->peer,
                                           .voter = true };
    next.term = 0;
    next.owner = (struct id){ { 0 } };
    h->next = arc_copy(&next);
    h->peer = step->peer;
    h->fresh = step->fresh;
    h->last = UINT64_MAX;
    if (!h->next) {
        end(node, r, "out of memory");
        return;
    }
    keeper_report_soon(node);
    handover_tick(node, r);
}

void handover_receive_ack(struct node *node, struct replica *r,
                          const struct id *from, const struct snapshot_ack *ack)
{
    struct handover *h = r->handover;
    if (!h || !h->active || h->transfer != ack->transfer ||
        h->fresh != ack->from || !id_equal(&h->peer, from))
        return;
    if (ack->refused) {
        end(node, r, "it refuses");
    } else if (ack->done && h->last != UINT64_MAX) {
        struct arc *next = h->next;
        h->next = NULL;
        node_log(node, LOG_INFO, "arc %016llx: handed over to %s",
                 (unsigned long long)r->id, node_peer_addr(node, from));
        gossip_notice_arc(node, next);
        arc_free(next);
        replica_remove(node, r);
    } else if (ack->sequence > h->acked && ack->sequence <= h->filled) {
        h->acked = ack->sequence;
        h->acked_ns = h->asked_ns = node->now_ns;
        go_on(node, r);
    }
}

bool handover_stopping(struct node *node)
{
    bool has = false;
    if (node->now_ns - node->phase_since_ns >= STOP_NS)
        return false;
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        has = has || r->cache;
        if (r->handover)
            node->handing_ns = node->now_ns;
    }
    return has && swim_up_count(node->swim) > 1 &&
           node->now_ns - node->handing_ns < STOP_IDLE_NS;
}
