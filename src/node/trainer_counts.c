/* SPDX-License-Identifier: Apache-2.0 */

/* What other replicas count of the arcs that were reported. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/replica.h"
#include "node/trainer_state.h"

enum {
    COUNT_PART = 10,  /* counts of an arc agree that are no more than this
                       * part of it apart, */
    COUNT_SLACK = 100 /* and so many keys */
};
#define COUNTS_NS (UINT64_C(300) * NS_PER_MS)
#define AGAIN_NS (UINT64_C(250) * NS_PER_MS) /* more than a heartbeat */

void trainer_counts_free(struct training *t)
{
    free(t->asked);
    free(t->claims);
    free(t->heard);
    t->asked = NULL;
    t->claims = NULL;
    t->heard = NULL;
    t->claim_count = t->heard_count = t->heard_cap = 0;
    t->late = t->asked_twice = false;
    t->again_ns = 0;
}

static int by_arc(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    if (x->arc != y->arc)
        return x->arc < y->arc ? -1 : 1;
    return (x->portion > y->portion) - (x->portion < y->portion);
}

static bool list_claims(struct training *t)
{
    t->claims = mem_array(t->portion_count + 1, sizeof *t->claims);
    if (!t->claims)
        return false;
    for (size_t i = 0; i < t->portion_count; i++)
        if (t->portions[i]->whole && !t->portions[i]->missing)
            t->claims[t->claim_count++] =
                (struct claim){ t->portions[i]->arc, i };
    qsort(t->claims, t->claim_count, sizeof *t->claims, by_arc);
    return true;
}

static void ask(struct node *node, struct training *t)
{
    t->asked_peers = t->heard_peers = 0;
    t->counts_ns = node->now_ns;
    t->again_ns = 0;
    free(t->asked);
    t->asked = mem_zero(swim_count(node->swim) + 1, sizeof *t->asked);
    if (!t->asked) {
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for counts");
        return;
    }
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = MODEL_COUNT_ASK;
    m.u.model.keyspace = t->keyspace;
    m.u.model.epoch = t->number;
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (p->state != PEER_ALIVE || node_is_self(node, &p->id))
            continue;
        node_send(node, &p->id, &m);
        t->asked[t->asked_peers++] = p->id;
    }
    node_wake_at(node, node->now_ns + COUNTS_NS);
}

void trainer_counts_begin(struct node *node, struct training *t)
{
    t->phase = TRAINING_COUNTS;
    if (list_claims(t))
        ask(node, t);
    else
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for counts");
}

/* Each peer that was asked has one answer. */
static bool takes_answer(struct training *t, const struct id *from)
{
    for (size_t i = 0; i < t->asked_peers; i++) {
        if (!id_equal(&t->asked[i], from))
            continue;
        t->asked[i] = (struct id){ { 0 } };
        t->heard_peers++;
        return true;
    }
    return false;
}

/* It keeps a copy of the arc and has not reported it, as far as known here. */
static bool may_count(const struct keyspace *ks, const struct id *from,
                      const struct model_count *heard)
{
    const struct arc *arc = map_by_id(ks->map, heard->arc);
    return !arc || arc->generation != heard->generation ||
           (arc_member_of(arc, from) && !id_equal(&arc->owner, from));
}

/* The first claim of an arc with that id or a greater one. */
static size_t claims_from(const struct training *t, arc_id arc)
{
    size_t lo = 0, hi = t->claim_count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (t->claims[middle].arc < arc)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* Without memory a count is not heard, as if its peer had not answered. */
static void note(struct training *t, size_t portion, const struct id *from,
                 uint64_t keys)
{
    if (t->heard_count == t->heard_cap) {
        size_t most = (t->portion_count + 1) * 2 * ROUND_HEARD_MAX;
        size_t cap = t->heard_cap ? 2 * t->heard_cap : 64;
        if (t->heard_cap > most)
            return;
        struct heard *grown = mem_resize(t->heard, cap, sizeof *grown);
        if (!grown)
            return;
        t->heard = grown;
        t->heard_cap = cap;
    }
    t->heard[t->heard_count++] = (struct heard){ portion, *from, keys };
}

/* Replicas that are a little ahead agree. Those that stand before or behind a
 * cut or a move speak of something else; those that are behind are asked once
 * more, and then believed: the owner may lie about how far its log is. */
static void hear_count(struct training *t, const struct id *from,
                       const struct model_count *heard)
{
    for (size_t i = claims_from(t, heard->arc);
         i < t->claim_count && t->claims[i].arc == heard->arc; i++) {
        struct portion *p = t->portions[t->claims[i].portion];
        if (p->generation != heard->generation)
            continue;
        if (heard->applied < p->applied && !t->asked_twice) {
            t->late = true;
            continue;
        }
        if (t->asked_twice && p->witnessed)
            continue;
        p->witnessed = !t->asked_twice;
        uint64_t claim = p->key_count;
        uint64_t apart =
            claim > heard->keys ? claim - heard->keys : heard->keys - claim;
        bool agrees = apart <= claim / COUNT_PART + COUNT_SLACK;
        note(t, t->claims[i].portion, from, agrees ? claim : heard->keys);
    }
}

void trainer_count(struct node *node, const struct keyspace *ks,
                   const struct id *from, uint64_t round)
{
    struct model_count *list =
        effects_room(node->fx, MESSAGE_COUNTS_MAX * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; list && i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->keyspace == ks->record.id && !r->empty && !replica_leads(r) &&
            !r->incoming && count < MESSAGE_COUNTS_MAX)
            list[count++] =
                (struct model_count){ r->id, r->arc->generation, r->applied,
                                      replica_key_count(r) };
    }
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = MODEL_COUNTS;
    m.u.model.keyspace = ks->record.id;
    m.u.model.epoch = round;
    m.u.model.counts = list;
    m.u.model.count_count = count;
    node_send(node, from, &m);
}

/* Whoever was quicker is not believed more. */
static int by_portion(const void *a, const void *b)
{
    const struct heard *x = a, *y = b;
    if (x->portion != y->portion)
        return x->portion < y->portion ? -1 : 1;
    int order = memcmp(&x->from, &y->from, sizeof x->from);
    return order ? order : (x->keys > y->keys) - (x->keys < y->keys);
}

static void over(struct node *node, struct training *t)
{
    if (t->late && !t->asked_twice) {
        t->asked_twice = true;
        t->again_ns = node->now_ns + AGAIN_NS;
        node_wake_at(node, t->again_ns);
        return;
    }
    if (t->heard_count > 0)
        qsort(t->heard, t->heard_count, sizeof *t->heard, by_portion);
    trainer_counted(node, t);
}

void trainer_hear_counts(struct node *node, struct keyspace *ks,
                         const struct id *from, const struct model_message *m)
{
    struct training *t = ks->training;
    if (!t || t->number != m->epoch || t->phase != TRAINING_COUNTS ||
        t->again_ns || !takes_answer(t, from))
        return;
    arc_id before = 0; /* arcs come in order, each once */
    for (size_t i = 0; i < m->count_count; i++) {
        if (m->counts[i].arc > before && may_count(ks, from, &m->counts[i]))
            hear_count(t, from, &m->counts[i]);
        before = m->counts[i].arc > before ? m->counts[i].arc : before;
    }
    if (t->heard_peers == t->asked_peers)
        over(node, t);
}

void trainer_counts_tick(struct node *node, struct training *t)
{
    if (t->again_ns) {
        if (node->now_ns >= t->again_ns)
            ask(node, t);
    } else if (t->heard_peers == t->asked_peers ||
               node->now_ns - t->counts_ns >= COUNTS_NS) {
        over(node, t);
    }
}
