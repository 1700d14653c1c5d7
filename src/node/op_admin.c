/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask of the ring: lookup, ring, peers, status. All but lookup are
 * surveys: the entry node asks each arc's owner in key order. An arc that does
 * not answer in time is counted as unavailable and passed by what the map
 * says. Documents are MessagePack; docs/protocol.md has their fields. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/fingers.h"
#include "node/keeper.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"
#include "wire/codec.h"
#include "wire/mp.h"

#define ARC_ANSWER_NS (UINT64_C(1200) * NS_PER_MS)
/* Once one is missing, the others are not waited for as long: the whole answer
 * must come before its client gives up. */
#define ARC_ANSWER_LATER_NS (UINT64_C(30) * NS_PER_MS)

enum {
    TROUBLES_MAX = 16, /* named of those unavailable, and of others; all are
                        * counted */
    DEPTH_MAX = 16
};

/* What ARC_INFO tells of one arc. */
struct arc_info {
    struct arc arc; /* spans into the answer */
    uint64_t keys;
    uint64_t bytes;
    uint16_t caught_up;
};

void op_arc_info_read(struct node *node, struct replica *r,
                      const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_OK };
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    struct arc_report report = keeper_report_of(node, r);
    struct buf doc = { 0 };
    codec_pack_arc(&doc, &report.arc);
    mp_write_uint(&doc, report.keys);
    mp_write_uint(&doc, report.bytes);
    mp_write_uint(&doc, report.caught_up);
    response.value = buf_span(&doc);
    if (doc.failed)
        response.status = DLHT_EBUSY;
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}

static bool read_info(struct span doc, struct arc_info *out)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    codec_unpack_arc(&r, &out->arc);
    out->keys = mp_read_uint(&r);
    out->bytes = mp_read_uint(&r);
    out->caught_up = (uint16_t)mp_read_uint(&r);
    return !r.bad;
}

static void write_peer(struct node *node, struct buf *b, const struct id *id)
{
    const char *addr = node_peer_addr(node, id);
    char text[ID_TEXT_BYTES];
    if (!addr) {
        id_to_text(id, text);
        addr = text;
    }
    mp_write_cstr(b, addr);
}

static void write_owner(struct node *node, struct buf *b, const struct arc *arc)
{
    mp_write_cstr(b, "owner");
    if (id_is_zero(&arc->owner))
        mp_write_nil(b);
    else
        write_peer(node, b, &arc->owner);
    mp_write_cstr(b, "replicas");
    mp_write_array(b, arc->member_count);
    for (size_t i = 0; i < arc->member_count; i++)
        write_peer(node, b, &arc->members[i].peer);
}

static void write_bounds(struct buf *b, const struct arc *arc)
{
    mp_write_cstr(b, "lo");
    mp_write_bin(b, arc->lo);
    mp_write_cstr(b, "hi");
    if (arc->has_hi)
        mp_write_bin(b, arc->hi);
    else
        mp_write_nil(b);
    mp_write_cstr(b, "generation");
    mp_write_uint(b, arc->generation);
}

struct lookup {
    struct origin origin;
    keyspace_id keyspace;
    struct buf key;
};

static void lookup_done(struct node *node, void *context,
                        const struct response *response)
{
    struct lookup *l = context;
    struct keyspace *ks = keyspaces_find(node, l->keyspace);
    struct arc_info info;
    struct response final = { .status = response->status,
                              .text = response->text,
                              .hops = response->hops };
    struct buf doc = { 0 };
    if (response->status == DLHT_OK && ks &&
        read_info(response->value, &info)) {
        struct span key = buf_span(&l->key);
        double error;
        uint64_t position = models_position(ks, key, &error);
        const struct arc *predicted = models_predict(ks, key);
        mp_write_map(&doc, 15);
        mp_write_cstr(&doc, "keyspace");
        mp_write_str(&doc, ks->record.name);
        mp_write_cstr(&doc, "key");
        mp_write_bin(&doc, ks->record.placement == PLACEMENT_HASHED
                               ? span_tail(key, OP_HASH_BYTES)
                               : key);
        mp_write_cstr(&doc, "position");
        mp_write_uint(&doc, position);
        mp_write_cstr(&doc, "percent");
        mp_write_float(&doc, (double)position / 0x1.0p64 * 100);
        mp_write_cstr(&doc, "predicted_arc");
        if (predicted)
            mp_write_uint(&doc, predicted->id);
        else
            mp_write_nil(&doc);
        mp_write_cstr(&doc, "error");
        if (ks->held)
            mp_write_float(&doc, error);
        else
            mp_write_nil(&doc);
        mp_write_cstr(&doc, "arc");
        mp_write_uint(&doc, info.arc.id);
        write_bounds(&doc, &info.arc);
        write_owner(node, &doc, &info.arc);
        mp_write_cstr(&doc, "hops");
        mp_write_uint(&doc, response->hops);
        mp_write_cstr(&doc, "model_epoch");
        mp_write_uint(&doc, ks->held ? ks->held->info.epoch : 0);
        mp_write_cstr(&doc, "model");
        mp_write_cstr(&doc, ks->held ? "learned"
                            : ks->record.placement == PLACEMENT_HASHED
                                ? "identity: the hash is even as it is"
                                : "identity: none is trained yet");
        final.value = buf_span(&doc);
    }
    node_answer(node, &l->origin, &final);
    buf_deinit(&doc);
    buf_deinit(&l->key);
    free(l);
}

/* Of a document {position}. */
static bool read_position(struct span doc, uint64_t *position)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    if (mp_peek(&r) != MP_MAP || mp_read_map(&r) != 1 ||
        !span_equal(mp_read_bytes(&r), span_str("position")))
        return false;
    *position = mp_read_uint(&r);
    return !r.bad;
}

void op_lookup_begin(struct node *node, const struct request *request,
                     const struct origin *origin)
{
    struct keyspace *ks = keyspaces_find(node, request->keyspace);
    struct lookup *l = mem_zero(1, sizeof *l);
    struct request q = *request;
    uint64_t position;
    bool by_position = q.key.len == 0 && read_position(q.value, &position);
    if ((!by_position && q.key.len == 0) || q.key.len > KEY_LEN_MAX || !l) {
        node_answer_status(node, origin, l ? DLHT_EINVAL : DLHT_EBUSY,
                           "a key is 1 byte to 64 KiB");
        free(l);
        return;
    }
    if (by_position) {
        if (models_key_at(ks, position, &l->key) != DLHT_OK)
            buf_reset(&l->key);
        q.key = buf_span(&l->key);
    } else {
        if (ks->record.placement == PLACEMENT_HASHED)
            q.key = op_hashed_key(node, q.key);
        buf_append_span(&l->key, q.key);
    }
    q.op = OP_ARC_INFO;
    q.value = span_empty();
    l->origin = *origin;
    l->keyspace = request->keyspace;
    struct pending_target target = { .done = lookup_done, .context = l };
    if (pending_begin(node, &q, op_deadline_ns(node, request), &target) ==
        DLHT_OK)
        return;
    node_answer_status(node, origin, DLHT_EBUSY, NULL);
    buf_deinit(&l->key);
    free(l);
}

enum survey_kind {
    SURVEY_RING,
    SURVEY_PEERS,
    SURVEY_STATUS
};

struct peer_sums {
    struct id peer;
    uint64_t led, replicas, keys, bytes;
};

struct survey {
    enum survey_kind kind;
    struct origin origin;
    keyspace_id keyspace; /* under way */
    struct buf from;      /* next arc's lo */
    uint64_t deadline_ns;
    uint64_t limit; /* RING: arcs */
    uint32_t depth;
    struct buf list;                 /* RING: arcs; STATUS: troubles; as maps */
    size_t lost_named, others_named; /* in list */
    uint64_t arcs, unavailable, under_replicated, unsafe;
    uint64_t keys, bytes;
    struct peer_sums *sums; /* PEERS */
    size_t sum_count;
};

static void survey_free(struct survey *s)
{
    buf_deinit(&s->from);
    buf_deinit(&s->list);
    free(s->sums);
    free(s);
}

static void write_ring_line(struct node *node, struct survey *s,
                            const struct keyspace *ks,
                            const struct arc_info *info)
{
    struct buf *b = &s->list;
    mp_write_map(b, 11);
    mp_write_cstr(b, "keyspace");
    mp_write_str(b, ks->record.name);
    mp_write_cstr(b, "arc");
    mp_write_uint(b, info->arc.id);
    write_bounds(b, &info->arc);
    write_owner(node, b, &info->arc);
    mp_write_cstr(b, "keys");
    mp_write_uint(b, info->keys);
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, info->bytes);
    mp_write_cstr(b, "position_lo");
    double error;
    uint64_t lo =
        info->arc.lo.len ? models_position(ks, info->arc.lo, &error) : 0;
    uint64_t hi = info->arc.has_hi ? models_position(ks, info->arc.hi, &error)
                                   : UINT64_MAX;
    mp_write_uint(b, lo);
    mp_write_cstr(b, "position_hi");
    mp_write_uint(b, hi);
}

static struct peer_sums *sums_of(struct survey *s, const struct id *peer)
{
    for (size_t i = 0; i < s->sum_count; i++)
        if (id_equal(&s->sums[i].peer, peer))
            return &s->sums[i];
    struct peer_sums *grown =
        mem_resize(s->sums, s->sum_count + 1, sizeof *grown);
    if (!grown)
        return NULL;
    s->sums = grown;
    memset(&grown[s->sum_count], 0, sizeof *grown);
    grown[s->sum_count].peer = *peer;
    return &grown[s->sum_count++];
}

static void add_sums(struct survey *s, const struct arc_info *info)
{
    for (size_t i = 0; i < info->arc.member_count; i++) {
        struct peer_sums *sums = sums_of(s, &info->arc.members[i].peer);
        if (!sums)
            return;
        bool leads = id_equal(&sums->peer, &info->arc.owner);
        sums->replicas++;
        sums->keys += leads ? info->keys : 0;
        sums->bytes += leads ? info->bytes : 0;
        sums->led += leads;
    }
}

/* Copies that the keyspace wants and the cluster could hold. */
static size_t copies_wanted(const struct node *node, const struct keyspace *ks)
{
    size_t usable = 0;
    for (size_t i = 0; i < swim_count(node->swim); i++)
        usable += swim_at(node->swim, i)->state != PEER_LEFT &&
                  !(swim_at(node->swim, i)->state == PEER_DEAD &&
                    swim_at(node->swim, i)->incarnation == INCARNATION_MEMORY);
    return ks->record.replicas < usable ? ks->record.replicas : usable;
}

/* Whether any one peer may stop and the arc keeps a majority. */
static bool survives_any_stop(const struct arc_info *info)
{
    size_t voters = 0, ready = 0;
    for (size_t i = 0; i < info->arc.member_count; i++) {
        voters += info->arc.members[i].voter;
        ready += info->arc.members[i].voter && (info->caught_up >> i & 1);
    }
    return ready >= 1 && ready - 1 >= voters / 2 + 1;
}

/* STATUS: an arc of which not all is well, and why. */
static void note_trouble(struct survey *s, const struct keyspace *ks,
                         const struct arc *arc, const char *state,
                         struct span why)
{
    bool lost = strcmp(state, "unavailable") == 0;
    size_t *count = lost ? &s->lost_named : &s->others_named;
    if (s->kind != SURVEY_STATUS || *count == TROUBLES_MAX)
        return;
    ++*count;
    mp_write_map(&s->list, 4);
    mp_write_cstr(&s->list, "keyspace");
    mp_write_str(&s->list, ks ? ks->record.name : span_empty());
    mp_write_cstr(&s->list, "arc");
    mp_write_uint(&s->list, arc ? arc->id : 0);
    mp_write_cstr(&s->list, "state");
    mp_write_cstr(&s->list, state);
    mp_write_cstr(&s->list, "why");
    mp_write_str(&s->list, why);
}

/* The addresses of members that are not up. */
static void name_down(const struct node *node, const struct arc *arc,
                      char *text, size_t cap)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < arc->member_count && at < cap; i++) {
        const struct id *peer = &arc->members[i].peer;
        if (node_is_self(node, peer) || node_peer_is_up(node, peer))
            continue;
        const char *addr = node_peer_addr(node, peer);
        int n = snprintf(text + at, cap - at, "%s%s", at ? ", " : "",
                         addr ? addr : "a peer not known here");
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Of an arc whose owner did not answer: said is what a peer said of it. */
static void note_unavailable(const struct node *node, struct survey *s,
                             const struct keyspace *ks, const struct arc *arc,
                             const struct response *response)
{
    char down[160], text[240];
    size_t voters = 0, up = 0;
    for (size_t i = 0; arc && i < arc->member_count; i++) {
        const struct arc_member *m = &arc->members[i];
        voters += m->voter;
        up += m->voter &&
              (node_is_self(node, &m->peer) || node_peer_is_up(node, &m->peer));
    }
    struct span why = response->text;
    if (!arc || voters == 0) {
        why = span_str("no peer that is up has told of it");
    } else if (up < voters / 2 + 1) {
        name_down(node, arc, down, sizeof down);
        snprintf(text, sizeof text,
                 "%zu of %zu voters are up, no majority; down: %s", up, voters,
                 down);
        why = span_str(text);
    } else if (response->status != DLHT_EUNAVAILABLE || why.len == 0) {
        snprintf(text, sizeof text,
                 "%zu of %zu voters are up, but no owner answers", up, voters);
        why = span_str(text);
    }
    note_trouble(s, ks, arc, "unavailable", why);
}

static void note_short(const struct node *node, struct survey *s,
                       const struct keyspace *ks, const struct arc_info *info,
                       size_t ready, size_t wanted)
{
    char down[160], text[240];
    size_t voters = 0, voting = 0;
    for (size_t i = 0; i < info->arc.member_count; i++) {
        voters += info->arc.members[i].voter;
        voting += info->arc.members[i].voter && (info->caught_up >> i & 1);
    }
    name_down(node, &info->arc, down, sizeof down);
    snprintf(text, sizeof text,
             "%zu of %zu copies, %zu of %zu voters are caught up%s%s", ready,
             wanted, voting, voters, down[0] ? "; down: " : "", down);
    note_trouble(s, ks, &info->arc,
                 ready < wanted ? "under-replicated" : "not safe to stop",
                 span_str(text));
}

static void tally(struct node *node, struct survey *s,
                  const struct keyspace *ks, const struct arc_info *info)
{
    size_t ready = 0;
    for (size_t i = 0; i < info->arc.member_count; i++)
        ready += info->caught_up >> i & 1;
    s->arcs++;
    size_t wanted = copies_wanted(node, ks);
    s->under_replicated += ready < wanted;
    s->unsafe += !survives_any_stop(info);
    if (ready < wanted || !survives_any_stop(info))
        note_short(node, s, ks, info, ready, wanted);
    if (ks->record.id != SYSTEM_KEYSPACE) {
        s->keys += info->keys;
        s->bytes += info->bytes;
    }
    if (s->kind == SURVEY_RING)
        write_ring_line(node, s, ks, info);
    if (s->kind == SURVEY_PEERS)
        add_sums(s, info);
}

static const char *state_name(uint8_t state)
{
    switch (state) {
    case PEER_ALIVE:
        return "up";
    case PEER_SUSPECT:
        return "suspect";
    case PEER_DEAD:
        return "down";
    default:
        return "left";
    }
}

static void write_peers(struct node *node, struct survey *s, struct buf *b)
{
    mp_write_array(b, swim_count(node->swim));
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        struct peer_sums none = { 0 };
        struct peer_sums *sums = sums_of(s, &p->id);
        if (!sums)
            sums = &none;
        char id[ID_TEXT_BYTES];
        id_to_text(&p->id, id);
        mp_write_map(b, 10);
        mp_write_cstr(b, "peer");
        mp_write_cstr(b, p->addr);
        mp_write_cstr(b, "id");
        mp_write_cstr(b, id);
        mp_write_cstr(b, "state");
        mp_write_cstr(b, state_name(p->state));
        mp_write_cstr(b, "zone");
        mp_write_cstr(b, p->zone);
        mp_write_cstr(b, "weight");
        mp_write_float(b, p->weight_milli / 1000.0);
        mp_write_cstr(b, "arcs_led");
        mp_write_uint(b, sums->led);
        mp_write_cstr(b, "replicas");
        mp_write_uint(b, sums->replicas);
        mp_write_cstr(b, "keys");
        mp_write_uint(b, sums->keys);
        mp_write_cstr(b, "bytes");
        mp_write_uint(b, sums->bytes);
        mp_write_cstr(b, "incarnation");
        mp_write_uint(b, p->incarnation);
    }
}

static void write_verdict(struct buf *b, const struct survey *s, size_t down)
{
    char text[160];
    const char *words;
    if (s->unavailable)
        words = "not whole: some arcs have no owner that answers";
    else if (s->under_replicated)
        words = "serving, but some arcs have fewer copies than they should";
    else if (s->unsafe)
        words = "whole, but not safe to stop: some arcs would lose their "
                "majority";
    else
        words = "whole, and safe to stop any one peer";
    size_t n = strlen(words);
    memcpy(text, words, n);
    if (down) {
        static const char more[] = " (peers are down)";
        memcpy(text + n, more, sizeof more - 1);
        n += sizeof more - 1;
    }
    mp_write_str(b, span_of(text, n));
}

/* Of the keyspace `default`, which most rings have only. */
static uint64_t default_epoch(const struct node *node)
{
    const struct keyspace *ks = keyspaces_find_name(node, span_str("default"));
    return ks && ks->held ? ks->held->info.epoch : 0;
}

static void write_status(struct node *node, const struct survey *s,
                         struct buf *b)
{
    size_t up = swim_up_count(node->swim), down = 0;
    for (size_t i = 0; i < swim_count(node->swim); i++)
        down += swim_at(node->swim, i)->state == PEER_DEAD;
    char cluster[ID_TEXT_BYTES];
    id_to_text(&node->cluster, cluster);
    bool whole = s->unavailable == 0 && s->under_replicated == 0;
    mp_write_map(b, 14);
    mp_write_cstr(b, "peers_up");
    mp_write_uint(b, up);
    mp_write_cstr(b, "peers_down");
    mp_write_uint(b, down);
    mp_write_cstr(b, "arcs");
    mp_write_uint(b, s->arcs + s->unavailable);
    mp_write_cstr(b, "arcs_under_replicated");
    mp_write_uint(b, s->under_replicated);
    mp_write_cstr(b, "arcs_unavailable");
    mp_write_uint(b, s->unavailable);
    mp_write_cstr(b, "keys");
    mp_write_uint(b, s->keys);
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, s->bytes);
    mp_write_cstr(b, "model_epoch");
    mp_write_uint(b, default_epoch(node));
    mp_write_cstr(b, "whole");
    mp_write_bool(b, whole);
    mp_write_cstr(b, "safe_to_stop");
    mp_write_bool(b, whole && s->unsafe == 0);
    mp_write_cstr(b, "cluster");
    mp_write_cstr(b, cluster);
    mp_write_cstr(b, "durability");
    mp_write_cstr(b, node->config.durable ? "on disk" : "memory");
    mp_write_cstr(b, "verdict");
    write_verdict(b, s, down);
    mp_write_cstr(b, "troubles");
    mp_write_array(b, s->lost_named + s->others_named);
    buf_append_span(b, buf_span(&s->list));
}

static void survey_answer(struct node *node, struct survey *s,
                          struct response *response)
{
    struct buf doc = { 0 };
    switch (s->kind) {
    case SURVEY_RING:
        mp_write_array(&doc, s->arcs);
        buf_append_span(&doc, buf_span(&s->list));
        break;
    case SURVEY_PEERS:
        write_peers(node, s, &doc);
        break;
    case SURVEY_STATUS:
        write_status(node, s, &doc);
        break;
    }
    response->status = doc.failed || s->list.failed ? DLHT_EBUSY : DLHT_OK;
    response->value = buf_span(&doc);
    node_answer(node, &s->origin, response);
    buf_deinit(&doc);
    survey_free(s);
}

static void survey_next(struct node *node, struct survey *s);

/* Goes on after an arc: at its end, or in the next keyspace. */
static void survey_go_on(struct node *node, struct survey *s,
                         const struct arc *arc)
{
    struct response final = { 0 };
    if (arc && arc->has_hi) {
        buf_reset(&s->from);
        buf_append_span(&s->from, arc->hi);
        if (s->kind == SURVEY_RING && s->limit && s->arcs >= s->limit) {
            final.more = true;
            final.cursor = buf_span(&s->from);
            survey_answer(node, s, &final);
            return;
        }
        survey_next(node, s);
        return;
    }
    buf_reset(&s->from);
    if (s->kind != SURVEY_RING) {
        for (size_t i = 0; i < node->keyspace_count; i++) {
            const struct keyspace_record *record = &node->keyspaces[i].record;
            if (record->id > s->keyspace && !record->dropped) {
                s->keyspace = record->id;
                survey_next(node, s);
                return;
            }
        }
    }
    survey_answer(node, s, &final);
}

static void survey_done(struct node *node, void *context,
                        const struct response *response)
{
    struct survey *s = context;
    struct keyspace *ks = keyspaces_find(node, s->keyspace);
    struct arc_info info;
    if (response->status == DLHT_OK && ks &&
        read_info(response->value, &info)) {
        tally(node, s, ks, &info);
        survey_go_on(node, s, &info.arc);
        return;
    }
    s->unavailable++;
    if (s->kind == SURVEY_RING) {
        struct response failed = { .status = response->status,
                                   .text = response->text };
        node_answer(node, &s->origin, &failed);
        survey_free(s);
        return;
    }
    const struct arc *known =
        ks ? map_find(ks->map, buf_span(&s->from), SIZE_MAX) : NULL;
    struct arc gap = { .has_hi = true };
    if (known && !arc_has(known, buf_span(&s->from))) {
        /* Where it ends is not known here: where the next one begins. */
        known = fingers_after(node, ks, buf_span(&s->from));
        if (known) {
            gap.hi = known->lo;
            known = &gap;
        }
    }
    note_unavailable(node, s, ks, known, response);
    survey_go_on(node, s, known);
}

static void survey_next(struct node *node, struct survey *s)
{
    struct request q = { .op = OP_ARC_INFO, .keyspace = s->keyspace };
    q.key = buf_span(&s->from);
    struct pending_target target = { .done = survey_done, .context = s };
    target.later = ++s->depth % DEPTH_MAX == 0;
    uint64_t deadline =
        node->now_ns + (s->unavailable ? ARC_ANSWER_LATER_NS : ARC_ANSWER_NS);
    if (s->kind == SURVEY_RING || deadline > s->deadline_ns)
        deadline = s->deadline_ns;
    if (!s->from.failed &&
        pending_begin(node, &q, deadline, &target) == DLHT_OK)
        return;
    node_answer_status(node, &s->origin, DLHT_EBUSY, NULL);
    survey_free(s);
}

static void survey_begin(struct node *node, enum survey_kind kind,
                         const struct request *q, const struct origin *origin)
{
    struct survey *s = mem_zero(1, sizeof *s);
    if (!s) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    s->kind = kind;
    s->origin = *origin;
    s->deadline_ns = op_deadline_ns(node, q);
    if (kind == SURVEY_RING) {
        s->keyspace = q->keyspace;
        s->limit = q->limit && q->limit < 1000 ? q->limit : 1000;
        buf_append_span(&s->from, q->key);
    }
    survey_next(node, s);
}

void op_ring_begin(struct node *node, const struct request *request,
                   const struct origin *origin)
{
    survey_begin(node, SURVEY_RING, request, origin);
}

void op_peers_begin(struct node *node, const struct request *request,
                    const struct origin *origin)
{
    survey_begin(node, SURVEY_PEERS, request, origin);
}

void op_status_begin(struct node *node, const struct request *request,
                     const struct origin *origin)
{
    survey_begin(node, SURVEY_STATUS, request, origin);
}
