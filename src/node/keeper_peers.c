/* SPDX-License-Identifier: Apache-2.0 */

/* Which peers count for how much, and which are to be replaced. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper_state.h"
#include "node/pending.h"
#include "store/records.h"
#include "wire/mp.h"

enum {
    REPLACED_PERCENT = 10 /* of the peers, at once; at least one */
};
#define STUCK_NS (UINT64_C(15000) * NS_PER_MS)
#define MEND_NS (UINT64_C(3000) * NS_PER_MS)

static const char settings_key[] = "balance";

static bool read_record(const struct node *node, struct span key,
                        struct record *out)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    return r && !r->empty && records_get(r->records, key, out);
}

void keeper_settings_read(const struct node *node, struct keeper_settings *out)
{
    struct record record;
    memset(out, 0, sizeof *out);
    if (!read_record(node, span_str(settings_key), &record))
        return;
    out->version = record.version;
    struct mp_reader r;
    mp_reader_init(&r, record.value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("paused")))
            out->paused = mp_read_bool(&r);
        else if (span_equal(field, span_str("rate")))
            out->rate = mp_read_uint(&r);
        else
            mp_skip(&r);
    }
}

void keeper_settings_pack(const struct keeper_settings *s, struct buf *out)
{
    mp_write_map(out, 2);
    mp_write_cstr(out, "paused");
    mp_write_bool(out, s->paused);
    mp_write_cstr(out, "rate");
    mp_write_uint(out, s->rate);
}

struct span keeper_decree_key(const struct id *peer, char room[64])
{
    memcpy(room, "peer/", 5);
    id_to_text(peer, room + 5);
    return span_str(room);
}

static void read_text(struct mp_reader *r, char out[PEER_ZONE_MAX])
{
    struct span text = mp_read_bytes(r);
    memset(out, 0, PEER_ZONE_MAX);
    if (!r->bad && text.len && text.len < PEER_ZONE_MAX)
        memcpy(out, text.data, text.len);
}

bool keeper_decree_of(const struct node *node, const struct id *peer,
                      struct keeper_decree *out)
{
    char room[64];
    struct record record;
    memset(out, 0, sizeof *out);
    if (!read_record(node, keeper_decree_key(peer, room), &record))
        return false;
    out->version = record.version;
    struct mp_reader r;
    mp_reader_init(&r, record.value);
    if (mp_peek(&r) != MP_MAP) { /* the word, as it once was written */
        out->leaving = true;
        return true;
    }
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("leaving"))) {
            out->leaving = mp_read_bool(&r);
        } else if (span_equal(field, span_str("weight"))) {
            out->weight_milli = (uint32_t)mp_read_uint(&r);
        } else if (span_equal(field, span_str("own_weight"))) {
            out->own_weight_milli = (uint32_t)mp_read_uint(&r);
        } else if (span_equal(field, span_str("zone"))) {
            out->has_zone = true;
            read_text(&r, out->zone);
        } else if (span_equal(field, span_str("own_zone"))) {
            read_text(&r, out->own_zone);
        } else {
            mp_skip(&r);
        }
    }
    return true;
}

void keeper_decree_pack(const struct keeper_decree *d, struct buf *out)
{
    bool weight = d->weight_milli != 0;
    mp_write_map(out, 1u + 2u * weight + 2u * d->has_zone);
    mp_write_cstr(out, "leaving");
    mp_write_bool(out, d->leaving);
    if (weight) {
        mp_write_cstr(out, "weight");
        mp_write_uint(out, d->weight_milli);
        mp_write_cstr(out, "own_weight");
        mp_write_uint(out, d->own_weight_milli);
    }
    if (d->has_zone) {
        mp_write_cstr(out, "zone");
        mp_write_cstr(out, d->zone);
        mp_write_cstr(out, "own_zone");
        mp_write_cstr(out, d->own_zone);
    }
}

bool keeper_is_leaving(const struct node *node, const struct id *peer)
{
    struct keeper_decree d;
    return keeper_decree_of(node, peer, &d) && d.leaving;
}

struct keeper_peer *keeper_find_peer(const struct keeper *k,
                                     const struct id *id)
{
    size_t lo = 0, hi = k->peer_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (id_compare(&k->peers[mid].id, id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < k->peer_count && id_equal(&k->peers[lo].id, id) ? &k->peers[lo]
                                                                : NULL;
}

static uint32_t own_weight(const struct peer *p)
{
    return p->weight_milli ? p->weight_milli : 1000;
}

/* Drops from the record what the peer's own options have overtaken. */
static void mend_record(struct node *node, const struct peer *p,
                        struct keeper_decree *d)
{
    struct keeper *k = node->keeper;
    if (node->now_ns - k->mended_ns < MEND_NS)
        return;
    k->mended_ns = node->now_ns;
    if (own_weight(p) != d->own_weight_milli)
        d->weight_milli = 0;
    if (strcmp(p->zone, d->own_zone) != 0)
        d->has_zone = false;
    char room[64];
    struct buf packed = { 0 };
    keeper_decree_pack(d, &packed);
    struct request q = { .op = OP_CAS,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = keeper_decree_key(&p->id, room),
                         .value = buf_span(&packed),
                         .version = d->version };
    struct pending_target nobody = { .origin = { .kind = ORIGIN_NONE } };
    if (!packed.failed && pending_begin(node, &q, node->now_ns + 5 * NS_PER_S,
                                        &nobody) == DLHT_OK)
        node_log(node, LOG_INFO,
                 "peer %s was started with other options: they hold, and not "
                 "what was set while it ran",
                 p->addr);
    buf_deinit(&packed);
}

/* What holds for a peer, by its own options and by what was set. */
static void apply_decree(struct node *node, const struct peer *p,
                         struct keeper_peer *out)
{
    struct keeper_decree d;
    out->weight_milli = own_weight(p);
    memcpy(out->zone, p->zone, sizeof out->zone);
    out->leaving = false;
    if (!keeper_decree_of(node, &p->id, &d))
        return;
    out->leaving = d.leaving;
    bool stale = false;
    if (d.weight_milli && own_weight(p) == d.own_weight_milli)
        out->weight_milli = d.weight_milli;
    else
        stale = d.weight_milli != 0;
    if (d.has_zone && strcmp(p->zone, d.own_zone) == 0)
        memcpy(out->zone, d.zone, sizeof out->zone);
    else
        stale = stale || d.has_zone;
    if (stale && p->state == PEER_ALIVE)
        mend_record(node, p, &d);
}

/* Copies by peer, and how many peers are there or hold something. */
static size_t count_copies(struct node *node)
{
    struct keeper *k = node->keeper;
    for (size_t i = 0; i < k->count; i++) {
        const struct heard *h = &k->list[i];
        if (!keeper_is_fresh(node, h))
            continue;
        for (size_t m = 0; m < h->arc->member_count; m++) {
            struct keeper_peer *p =
                keeper_find_peer(k, &h->arc->members[m].peer);
            if (p)
                p->copies++;
        }
    }
    size_t there = 0;
    for (size_t i = 0; i < k->peer_count; i++)
        there += k->peers[i].fate == FATE_UP || k->peers[i].copies > 0;
    return there;
}

/* Whether a peer that is down is not waited for: dead for longer than
 * --down-out, or without a disk to come back with, or leaving anyway. */
static bool is_given_up(const struct node *node, const struct peer *p,
                        bool leaving)
{
    return p->incarnation == INCARNATION_MEMORY || leaving ||
           node->now_ns - p->since_ns > node->config.down_out_ns;
}

static bool is_before(const struct peer *a, const struct peer *b)
{
    if (a->since_ns != b->since_ns)
        return a->since_ns < b->since_ns;
    return id_compare(&a->id, &b->id) < 0;
}

/* Its turn has come. True if nothing came of it for a while: arcs of which too
 * few others are up cannot be mended, and must not keep all from being. */
static bool follow_gone(struct node *node, struct keeper_peer *p)
{
    if (p->least_ns == 0 || p->copies < p->least) {
        p->least = p->copies;
        p->least_ns = node->now_ns;
    }
    bool stuck = node->now_ns - p->least_ns > STUCK_NS;
    p->fate = stuck ? FATE_STUCK : FATE_GONE;
    return stuck;
}

/* Of the peers that are given up and hold copies, the first to go down are
 * replaced; the others wait, so that a ring of which a part is cut off does
 * not copy itself into what is left. */
static void choose_gone(struct node *node, size_t there)
{
    struct keeper *k = node->keeper;
    size_t budget = there * REPLACED_PERCENT / 100;
    for (budget = budget ? budget : 1; budget > 0; budget--) {
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < k->peer_count; i++)
            if (k->peers[i].fate == FATE_QUEUED && k->peers[i].copies &&
                (first == SIZE_MAX ||
                 is_before(swim_at(node->swim, i), swim_at(node->swim, first))))
                first = i;
        if (first == SIZE_MAX)
            break;
        budget += follow_gone(node, &k->peers[first]);
    }
    for (size_t i = 0; i < k->peer_count; i++)
        if (k->peers[i].fate == FATE_QUEUED && k->peers[i].copies == 0)
            k->peers[i].fate = FATE_GONE; /* nothing has to be made anew */
}

static void tell_fate(struct node *node, const struct keeper_peer *p,
                      enum keeper_fate before)
{
    const char *addr = node_peer_addr(node, &p->id);
    if (p->fate == before || p->copies == 0 || !addr)
        return;
    if (p->fate == FATE_AWAITED)
        node_log(node, LOG_INFO, "peer %s is down: its %zu copies are awaited",
                 addr, p->copies);
    else if (p->fate == FATE_QUEUED)
        node_log(node, LOG_WARNING,
                 "peer %s does not come back: its %zu copies wait until those "
                 "of others are made anew",
                 addr, p->copies);
    else if (p->fate == FATE_GONE)
        node_log(node, LOG_WARNING,
                 "peer %s does not come back: its %zu copies are made anew "
                 "elsewhere",
                 addr, p->copies);
    else if (p->fate == FATE_STUCK)
        node_log(node, LOG_WARNING,
                 "peer %s: its last %zu copies cannot be made anew now", addr,
                 p->copies);
    else if (before)
        node_log(node, LOG_INFO, "peer %s is back with its %zu copies", addr,
                 p->copies);
}

void keeper_judge_peers(struct node *node)
{
    struct keeper *k = node->keeper;
    size_t count = swim_count(node->swim);
    struct keeper_peer *old = k->peers;
    struct keeper_peer *list = mem_zero(count, sizeof *list);
    if (!list)
        return; /* as they were */
    struct keeper before = { .peers = old, .peer_count = k->peer_count };
    k->peers = list;
    k->peer_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct peer *p = swim_at(node->swim, i);
        const struct keeper_peer *was = keeper_find_peer(&before, &p->id);
        list[i].id = p->id;
        if (was) {
            list[i].p99_ns = was->p99_ns;
            list[i].samples = was->samples;
            list[i].p99_at_ns = was->p99_at_ns;
            list[i].least = was->least;
            list[i].least_ns = was->least_ns;
            list[i].stops_as = was->stops_as;
        }
        apply_decree(node, p, &list[i]);
        if (p->state <= PEER_SUSPECT)
            list[i].fate = FATE_UP;
        else if (is_given_up(node, p, list[i].leaving))
            list[i].fate = FATE_QUEUED;
        else
            list[i].fate = FATE_AWAITED;
        if (list[i].fate != FATE_QUEUED)
            list[i].least_ns = 0;
        list[i].until_ns = p->since_ns + node->config.down_out_ns;
    }
    choose_gone(node, count_copies(node));
    for (size_t i = 0; i < count; i++) {
        const struct keeper_peer *was = keeper_find_peer(&before, &list[i].id);
        tell_fate(node, &list[i], was ? was->fate : 0);
    }
    free(old);
}
