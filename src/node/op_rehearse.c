/* SPDX-License-Identifier: Apache-2.0 */

/* What would be done if nothing changed from now on, or if some peers came or
 * went: the planner is played through to its end, as a job, on a copy. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keyspaces.h"
#include "node/op_balance.h"

enum {
    TURNS_MAX = 500,
    STEPS_MAX = 50000,
    LISTED_MAX = 2000, /* steps in the answer */
    IFS_MAX = 16,
    OPEN_MAX = 1 /* plans made at once: they take the worker from others */
};

struct told_step {
    struct plan_step step; /* pointers are not valid any more */
    arc_id arc, into;
    keyspace_id keyspace;
    struct id from, to;
    uint64_t keys, bytes;
};

/* Where a peer is before and after. */
struct told_peer {
    struct id id;
    uint32_t weight_milli;
    bool added, removed;
    struct keeper_share before, after;
};

struct play {
    struct origin origin;
    struct rehearsal *r;
    size_t limit;
    int rc;
    struct told_step *steps;
    size_t listed, total;
    bool unfinished;
    struct told_peer *peers;
    size_t peer_count;
    struct plan_shares before, after;
    uint64_t bytes, ideal;
};

static void play_free(void *data)
{
    struct play *p = data;
    rehearsal_free(p->r);
    free(p->steps);
    free(p->peers);
    free(p);
}

/* Arcs before a turn, by id: afterwards some are cut, led by others, or gone. */
struct size {
    arc_id id;
    uint64_t keys, bytes;
    struct id owner;
};

static int compare_sizes(const void *a, const void *b)
{
    const struct size *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static size_t list_sizes(const struct plan_input *in, struct size **out)
{
    struct size *list = mem_zero(in->arc_count + 1, sizeof *list);
    *out = list;
    for (size_t i = 0; list && i < in->arc_count; i++)
        list[i] = (struct size){ in->arcs[i].arc->id, in->arcs[i].keys,
                                 in->arcs[i].bytes, in->arcs[i].arc->owner };
    if (list && in->arc_count)
        qsort(list, in->arc_count, sizeof *list, compare_sizes);
    return list ? in->arc_count : 0;
}

static void list_step(struct play *p, const struct plan_step *step,
                      const struct size *sizes, size_t count)
{
    struct size key = { .id = step->arc->id };
    const struct size *size =
        count ? bsearch(&key, sizes, count, sizeof *sizes, compare_sizes)
              : NULL;
    struct told_step *out = &p->steps[p->listed++];
    out->step = *step;
    out->arc = step->arc->id;
    out->into = step->into ? step->into->id : 0;
    out->keyspace = step->arc->keyspace;
    out->keys = size ? size->keys : 0;
    out->bytes = step->bytes ? step->bytes : size ? size->bytes : 0;
    if (step->kind == PLAN_DEMOTE || step->kind == PLAN_REMOVE)
        out->from = step->peer;
    else if (step->kind != PLAN_PROMOTE && step->kind <= PLAN_TRANSFER && size)
        out->from = size->owner;
    if (step->kind != PLAN_DEMOTE && step->kind != PLAN_REMOVE &&
        step->kind <= PLAN_TRANSFER)
        out->to = step->peer;
}

static void take_shares(struct play *p, bool after)
{
    const struct plan_input *in = rehearsal_input(p->r);
    struct keeper_share *shares = mem_zero(in->peer_count + 1, sizeof *shares);
    if (!shares) {
        p->rc = DLHT_ENOMEM;
        return;
    }
    keeper_shares(in, shares);
    for (size_t i = 0; i < in->peer_count && i < p->peer_count; i++)
        *(after ? &p->peers[i].after : &p->peers[i].before) = shares[i];
    if (!after)
        p->ideal = keeper_ideal(in, shares);
    planner_shares(in, after ? &p->after : &p->before);
    free(shares);
}

static void run(void *data)
{
    struct play *p = data;
    take_shares(p, false);
    p->unfinished = true;
    for (size_t turn = 0;
         turn < TURNS_MAX && p->total < STEPS_MAX && p->rc == DLHT_OK; turn++) {
        const struct plan_step *steps;
        struct size *sizes = NULL;
        size_t count = 0, known = 0;
        if (p->listed < p->limit)
            known = list_sizes(rehearsal_input(p->r), &sizes);
        p->rc = rehearsal_turn(p->r, &steps, &count);
        for (size_t i = 0; i < count && p->listed < p->limit; i++)
            list_step(p, &steps[i], sizes, known);
        free(sizes);
        p->total += count;
        if (count == 0) {
            p->unfinished = false;
            break;
        }
    }
    p->bytes = rehearsal_bytes_moved(p->r);
    take_shares(p, true);
}

/* A peer that was made up is numbered. */
static void write_name(struct node *node, const struct play *p, struct buf *b,
                       const char *name, const struct id *id)
{
    char text[32];
    unsigned number = 0;
    for (size_t i = 0; i < p->peer_count; i++) {
        number += p->peers[i].added;
        if (!p->peers[i].added || !id_equal(&p->peers[i].id, id))
            continue;
        snprintf(text, sizeof text, "(new %u)", number);
        mp_write_cstr(b, name);
        mp_write_cstr(b, text);
        return;
    }
    op_balance_write_peer(node, b, name, id);
}

static void write_step(struct node *node, const struct play *p, struct buf *b,
                       const struct told_step *s)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    mp_write_map(b, 10);
    mp_write_cstr(b, "step");
    mp_write_cstr(b, op_balance_kind(s->step.kind));
    mp_write_cstr(b, "keyspace");
    mp_write_str(b, ks ? ks->record.name : span_empty());
    mp_write_cstr(b, "arc");
    mp_write_uint(b, s->arc);
    write_name(node, p, b, "from", &s->from);
    write_name(node, p, b, "to", &s->to);
    mp_write_cstr(b, "into");
    if (s->into)
        mp_write_uint(b, s->into);
    else
        mp_write_nil(b);
    mp_write_cstr(b, "ways");
    if (s->step.kind == PLAN_SPLIT)
        mp_write_uint(b, s->step.ways);
    else
        mp_write_nil(b);
    mp_write_cstr(b, "reason");
    mp_write_cstr(b, op_balance_reason(s->step.reason));
    mp_write_cstr(b, "keys");
    mp_write_uint(b, s->keys);
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, s->bytes);
}

static void write_evenness(struct buf *b, const char *name,
                           const struct plan_shares *s)
{
    mp_write_cstr(b, name);
    mp_write_map(b, 6);
    mp_write_cstr(b, "led_most");
    mp_write_float(b, s->led_most);
    mp_write_cstr(b, "led_least");
    mp_write_float(b, s->led_least);
    mp_write_cstr(b, "held_most");
    mp_write_float(b, s->held_most);
    mp_write_cstr(b, "held_least");
    mp_write_float(b, s->held_least);
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, s->bytes);
    mp_write_cstr(b, "arcs");
    mp_write_uint(b, s->arcs);
}

static void write_peer(struct node *node, const struct play *play,
                       struct buf *b, const struct told_peer *p)
{
    mp_write_map(b, 8);
    write_name(node, play, b, "peer", &p->id);
    mp_write_cstr(b, "weight");
    mp_write_float(b, p->weight_milli / 1000.0);
    mp_write_cstr(b, "removed");
    mp_write_bool(b, p->removed);
    mp_write_cstr(b, "fair_bytes");
    mp_write_uint(b, (uint64_t)p->before.fair);
    mp_write_cstr(b, "held_before");
    mp_write_uint(b, p->before.held);
    mp_write_cstr(b, "held_after");
    mp_write_uint(b, p->after.held);
    mp_write_cstr(b, "led_before");
    mp_write_uint(b, p->before.led);
    mp_write_cstr(b, "led_after");
    mp_write_uint(b, p->after.led);
}

static void write_answer(struct node *node, struct play *p, struct buf *b)
{
    struct keeper_settings settings;
    keeper_settings_read(node, &settings);
    mp_write_map(b, 10);
    mp_write_cstr(b, "steps");
    mp_write_array(b, p->listed);
    for (size_t i = 0; i < p->listed; i++)
        write_step(node, p, b, &p->steps[i]);
    mp_write_cstr(b, "steps_count");
    mp_write_uint(b, p->total);
    mp_write_cstr(b, "finished");
    mp_write_bool(b, !p->unfinished);
    mp_write_cstr(b, "paused");
    mp_write_bool(b, settings.paused);
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, p->bytes);
    mp_write_cstr(b, "ideal_bytes");
    mp_write_uint(b, p->ideal);
    mp_write_cstr(b, "ratio");
    if (p->ideal)
        mp_write_float(b, (double)p->bytes / (double)p->ideal);
    else
        mp_write_nil(b);
    write_evenness(b, "before", &p->before);
    write_evenness(b, "after", &p->after);
    mp_write_cstr(b, "peers");
    mp_write_array(b, p->peer_count);
    for (size_t i = 0; i < p->peer_count; i++)
        write_peer(node, p, b, &p->peers[i]);
}

static void done(struct node *node, void *data)
{
    struct play *p = data;
    struct buf doc = { 0 };
    node->keeper->plays--;
    if (p->rc == DLHT_OK)
        write_answer(node, p, &doc);
    if (p->rc != DLHT_OK || doc.failed) {
        node_answer_status(node, &p->origin, DLHT_EBUSY, NULL);
    } else {
        struct response response = { .status = DLHT_OK,
                                     .value = buf_span(&doc) };
        node_answer(node, &p->origin, &response);
    }
    buf_deinit(&doc);
    play_free(p);
}

/* One "add=WEIGHT" or "remove=HOST:PORT"; NULL, or what is wrong. */
static const char *suppose(struct node *node, struct play *p, struct span what)
{
    if (span_has_prefix(what, span_str("add="))) {
        struct plan_peer more = { .id = id_random(&node->rng), .up = true };
        if (!op_peer_read_weight(span_tail(what, 4), &more.weight_milli))
            return "add=WEIGHT takes a number of 0.1 to 100";
        return rehearsal_add_peer(p->r, &more) == DLHT_OK ? NULL
                                                          : "out of memory";
    }
    if (!span_has_prefix(what, span_str("remove=")))
        return "what if is add=WEIGHT or remove=HOST:PORT";
    const struct peer *peer = op_peer_at(node, span_tail(what, 7));
    struct plan_input *in = rehearsal_input(p->r);
    for (size_t i = 0; peer && i < in->peer_count; i++) {
        struct plan_peer *found = (struct plan_peer *)&in->peers[i];
        if (!id_equal(&found->id, &peer->id))
            continue;
        found->leaving = true;
        found->gone = !found->up;
        return NULL;
    }
    return "no such peer to remove; `peers` shows those there are";
}

static const char *suppose_all(struct node *node, struct play *p,
                               struct span what_if)
{
    struct mp_reader r;
    if (what_if.len == 0)
        return NULL;
    mp_reader_init(&r, what_if);
    size_t count = mp_read_array(&r);
    const char *wrong = NULL;
    if (r.bad || count > IFS_MAX)
        return "what_if is an array of at most 16 texts";
    for (size_t i = 0; i < count && !wrong; i++) {
        struct span what = mp_read_bytes(&r);
        wrong = r.bad ? "what_if is an array of texts" : suppose(node, p, what);
    }
    return wrong;
}

static const char *check_peers(const struct play *p)
{
    const struct plan_input *in = rehearsal_input(p->r);
    for (size_t i = 0; i < in->peer_count; i++)
        if (in->peers[i].up && !in->peers[i].leaving)
            return NULL;
    return "no peer would be left";
}

/* Room for what is to be told. False: no memory. */
static bool make_room(struct play *p, size_t peers_before)
{
    const struct plan_input *in = rehearsal_input(p->r);
    p->peer_count = in->peer_count;
    p->steps = mem_zero(p->limit + 1, sizeof *p->steps);
    p->peers = mem_zero(p->peer_count + 1, sizeof *p->peers);
    if (!p->steps || !p->peers)
        return false;
    for (size_t i = 0; i < p->peer_count; i++) {
        p->peers[i].id = in->peers[i].id;
        p->peers[i].weight_milli = in->peers[i].weight_milli;
        p->peers[i].removed = in->peers[i].leaving || in->peers[i].gone;
        p->peers[i].added = i >= peers_before;
    }
    return true;
}

void op_rehearse(struct node *node, struct span what_if, uint64_t limit,
                 const struct origin *origin)
{
    struct keeper_input input;
    struct play *p = NULL;
    const char *wrong = NULL;
    int rc = keeper_gather(node, &input);
    input.in.paused = false; /* what it would do once it goes on */
    input.in.moves_max = input.in.moves_max ? input.in.moves_max : 1;
    if (rc == DLHT_OK &&
        (input.in.partial || node->keeper->plays >= OPEN_MAX)) {
        wrong = input.in.partial ? "not all arcs have reported yet to who "
                                   "plans: try again in some seconds"
                                 : "other plans are being made: try again";
        rc = DLHT_EBUSY;
    }
    if (rc == DLHT_OK && !(p = mem_zero(1, sizeof *p)))
        rc = DLHT_ENOMEM;
    if (rc == DLHT_OK)
        rc = rehearsal_new(&input.in, &p->r);
    if (rc == DLHT_OK) {
        p->origin = *origin;
        p->limit = limit && limit < LISTED_MAX ? (size_t)limit : LISTED_MAX;
        wrong = suppose_all(node, p, what_if);
        wrong = wrong ? wrong : check_peers(p);
        rc = wrong ? DLHT_EINVAL : DLHT_OK;
    }
    if (rc == DLHT_OK && !make_room(p, input.in.peer_count))
        rc = DLHT_ENOMEM;
    if (rc == DLHT_OK)
        rc = jobs_begin(node, run, done, play_free, p, NULL);
    if (rc == DLHT_OK) {
        node->keeper->plays++;
    } else {
        node_answer_status(node, origin, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                           wrong);
        if (p)
            play_free(p);
    }
    keeper_input_free(&input);
}
