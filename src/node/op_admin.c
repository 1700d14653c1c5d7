/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask of the ring: ring, peers, status. All are surveys: the entry
 * node asks each arc's owner in key order. An arc that does not answer in time
 * is counted as unavailable and passed by what the map says. What operators
 * decided of peers is asked of the system arc's owner at the end. Documents
 * are MessagePack; docs/protocol.md has their fields. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/fingers.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/op_balance.h"
#include "node/op_info.h"
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
    struct buf decided; /* what the owner of the system arc knows of peers;
                         * empty: it did not answer */
};

static void survey_free(struct survey *s)
{
    buf_deinit(&s->from);
    buf_deinit(&s->list);
    buf_deinit(&s->decided);
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
    op_info_write_bounds(b, &info->arc);
    op_info_write_owner(node, b, &info->arc);
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

/* Copies that the keyspace wants and the cluster could hold: what was down for
 * longer than --down-out is not waited for. */
static size_t copies_wanted(const struct node *node, const struct keyspace *ks)
{
    size_t usable = 0;
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        bool out = p->state == PEER_DEAD &&
                   (p->incarnation == INCARNATION_MEMORY ||
                    node->now_ns - p->since_ns > node->config.down_out_ns);
        usable += p->state != PEER_LEFT && !out;
    }
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

/* Of keys that no known arc has. Recover is to be told of the arc before. */
static struct span say_gap(const struct survey *s, const struct keyspace *ks,
                           char *text, size_t cap)
{
    struct span from = buf_span(&s->from);
    const struct arc *before = ks ? map_find(ks->map, from, SIZE_MAX) : NULL;
    if (!before || !before->has_hi || !span_equal(before->hi, from))
        return span_str("no peer that is up has told of it");
    snprintf(text, cap,
             "no peer that is up has told of it; it begins where arc %016llx "
             "ends",
             (unsigned long long)before->id);
    return span_str(text);
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
        why = say_gap(s, ks, text, sizeof text);
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
    /* A volatile arc is lost with its peer, and that is as it should be. */
    bool unsafe = !ks->record.is_volatile && !survives_any_stop(info);
    s->unsafe += unsafe;
    if (ready < wanted || unsafe)
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

/* One peer, as the owner of the system arc sees it. */
struct decided {
    struct span id;
    uint32_t weight_milli;
    struct span zone;
    bool leaving;
    struct span fate;
    uint64_t copies;
};

/* The list of them; false: not known. */
static bool open_decided(const struct survey *s, struct mp_reader *r,
                         bool *paused, size_t *count)
{
    *paused = false;
    *count = 0;
    mp_reader_init(r, buf_span(&s->decided));
    if (s->decided.len == 0 || mp_read_map(r) != 2)
        return false;
    mp_skip(r);
    *paused = mp_read_bool(r);
    mp_skip(r);
    *count = mp_read_array(r);
    return !r->bad;
}

static bool read_decided(struct mp_reader *r, struct decided *out)
{
    if (mp_read_array(r) != 6)
        return false;
    out->id = mp_read_bytes(r);
    out->weight_milli = (uint32_t)mp_read_uint(r);
    out->zone = mp_read_bytes(r);
    out->leaving = mp_read_bool(r);
    out->fate = mp_read_bytes(r);
    out->copies = mp_read_uint(r);
    return !r->bad;
}

/* What is in force for a peer: by its own word if nobody knows better. */
static struct decided decided_of(const struct survey *s, const struct peer *p)
{
    struct decided found,
        own = { .weight_milli = p->weight_milli, .zone = span_str(p->zone) };
    struct mp_reader r;
    bool paused;
    size_t count;
    if (!open_decided(s, &r, &paused, &count))
        return own;
    for (size_t i = 0; i < count && read_decided(&r, &found); i++)
        if (span_equal(found.id, span_of(p->id.bytes, ID_BYTES)))
            return found;
    return own;
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
        struct decided decided = decided_of(s, p);
        mp_write_map(b, 11);
        mp_write_cstr(b, "peer");
        mp_write_cstr(b, p->addr);
        mp_write_cstr(b, "id");
        mp_write_cstr(b, id);
        mp_write_cstr(b, "state");
        mp_write_cstr(b, state_name(p->state));
        mp_write_cstr(b, "zone");
        mp_write_str(b, decided.zone);
        mp_write_cstr(b, "weight");
        mp_write_float(b, decided.weight_milli / 1000.0);
        mp_write_cstr(b, "leaving");
        mp_write_bool(b, decided.leaving);
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

static void write_verdict(struct buf *b, const struct survey *s, size_t down,
                          bool paused)
{
    char text[200];
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
    if (paused) {
        static const char more[] = "; balancing is paused";
        memcpy(text + n, more, sizeof more - 1);
        n += sizeof more - 1;
    }
    mp_write_str(b, span_of(text, n));
}

/* Peers that are down and hold copies, and what becomes of these. */
static void write_waiting(const struct node *node, const struct survey *s,
                          struct buf *b)
{
    struct buf list = { 0 };
    struct mp_reader r;
    struct decided d;
    bool paused;
    size_t count, waiting = 0;
    if (!open_decided(s, &r, &paused, &count))
        count = 0;
    for (size_t i = 0; i < count && read_decided(&r, &d); i++) {
        struct id id;
        if (d.copies == 0 || span_equal(d.fate, span_str("up")) ||
            d.id.len != ID_BYTES)
            continue;
        memcpy(id.bytes, d.id.data, ID_BYTES);
        const char *addr = node_peer_addr(node, &id);
        mp_write_map(&list, 3);
        mp_write_cstr(&list, "peer");
        mp_write_cstr(&list, addr ? addr : "a peer not known here");
        mp_write_cstr(&list, "state");
        mp_write_str(&list, d.fate);
        mp_write_cstr(&list, "copies");
        mp_write_uint(&list, d.copies);
        waiting++;
    }
    mp_write_array(b, waiting);
    buf_append_span(b, buf_span(&list));
    b->failed = b->failed || list.failed;
    buf_deinit(&list);
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
    struct mp_reader r;
    bool paused;
    size_t count;
    bool known = open_decided(s, &r, &paused, &count);
    mp_write_map(b, 16);
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
    mp_write_cstr(b, "balance_paused");
    if (known)
        mp_write_bool(b, paused);
    else
        mp_write_nil(b);
    mp_write_cstr(b, "waiting");
    write_waiting(node, s, b);
    mp_write_cstr(b, "verdict");
    write_verdict(b, s, down, paused);
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

static void balance_heard(struct node *node, void *context,
                          const struct response *response)
{
    struct survey *s = context;
    struct response final = { 0 };
    if (response->status == DLHT_OK)
        buf_append_span(&s->decided, response->value);
    if (s->decided.failed)
        buf_deinit(&s->decided);
    survey_answer(node, s, &final);
}

/* All arcs were asked. What operators decided of peers is asked last, and not
 * waited for if the system arc has no owner. */
static void survey_end(struct node *node, struct survey *s)
{
    struct response final = { 0 };
    uint64_t deadline =
        node->now_ns + (s->unavailable ? ARC_ANSWER_LATER_NS : ARC_ANSWER_NS);
    if (deadline > s->deadline_ns)
        deadline = s->deadline_ns;
    if (s->kind == SURVEY_RING ||
        op_balance_ask(node, "peers", deadline, balance_heard, s) != DLHT_OK)
        survey_answer(node, s, &final);
}

static void survey_next(struct node *node, struct survey *s);

/* Goes on after an arc: at its end, or in the next keyspace. */
static void survey_go_on(struct node *node, struct survey *s,
                         const struct arc *arc)
{
    if (arc && arc->has_hi) {
        buf_reset(&s->from);
        buf_append_span(&s->from, arc->hi);
        if (s->kind == SURVEY_RING && s->limit && s->arcs >= s->limit) {
            struct response final = { 0 };
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
    survey_end(node, s);
}

static void survey_done(struct node *node, void *context,
                        const struct response *response)
{
    struct survey *s = context;
    struct keyspace *ks = keyspaces_find(node, s->keyspace);
    struct arc_info info;
    if (response->status == DLHT_OK && ks &&
        op_info_read(response->value, &info)) {
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
