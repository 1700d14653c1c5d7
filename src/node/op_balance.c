/* SPDX-License-Identifier: Apache-2.0 */

/* Balance: status, pause, resume, set. */

#include "node/op_balance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keyspaces.h"
#include "node/replica.h"

enum {
    MOVES_TOLD_MAX = 256,
    RATE_MIN = 64 << 10
};

struct ask {
    struct span action;
    struct span what_if;
    bool has_rate;
    uint64_t rate;
};

static bool read_ask(struct span doc, struct ask *out)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    memset(out, 0, sizeof *out);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("action"))) {
            out->action = mp_read_bytes(&r);
        } else if (span_equal(field, span_str("what_if"))) {
            out->what_if = mp_read_raw(&r);
        } else if (span_equal(field, span_str("rate"))) {
            out->rate = mp_read_uint(&r);
            out->has_rate = true;
        } else {
            mp_skip(&r);
        }
    }
    return !r.bad && out->action.len > 0;
}

/* What is wrong with it, or NULL. */
static const char *check_ask(const struct ask *ask)
{
    static const char *const actions[] = { "plan",   "status", "pause",
                                           "resume", "set",    "peers" };
    if (span_equal(ask->action, span_str("set")) &&
        (!ask->has_rate || (ask->rate && ask->rate < RATE_MIN)))
        return "rate is bytes a second from 65536 up, or 0 for what each peer "
               "was started with";
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (span_equal(ask->action, span_str(actions[i])))
            return NULL;
    return "the action is plan, status, pause, resume or set";
}

void op_balance_begin(struct node *node, const struct request *request,
                      const struct origin *origin)
{
    struct ask ask;
    const char *wrong = "balance takes a map of action and what it needs";
    if (read_ask(request->value, &ask))
        wrong = check_ask(&ask);
    if (wrong) {
        node_answer_status(node, origin, DLHT_EINVAL, wrong);
        return;
    }
    struct request q = { .op = OP_BALANCE,
                         .keyspace = SYSTEM_KEYSPACE,
                         .value = request->value,
                         .limit = request->limit };
    struct pending_target target = { .origin = *origin,
                                     .patient = true,
                                     .busy_is_final = true };
    if (pending_begin(node, &q, op_deadline_ns(node, request), &target) !=
        DLHT_OK)
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
}

int op_balance_ask(struct node *node, const char *action, uint64_t deadline_ns,
                   pending_fn *done, void *context)
{
    struct buf *doc = &node->scratch; /* copied by pending_begin */
    buf_reset(doc);
    mp_write_map(doc, 1);
    mp_write_cstr(doc, "action");
    mp_write_cstr(doc, action);
    struct request q = { .op = OP_BALANCE,
                         .keyspace = SYSTEM_KEYSPACE,
                         .value = buf_span(doc) };
    struct pending_target target = { .done = done,
                                     .context = context,
                                     .busy_is_final = true };
    if (doc->failed)
        return DLHT_ENOMEM;
    return pending_begin(node, &q, deadline_ns, &target);
}

const char *op_balance_kind(enum plan_kind kind)
{
    static const char *const names[] = { "none",   "add",    "promote",
                                         "demote", "remove", "transfer",
                                         "split",  "merge" };
    return kind <= PLAN_MERGE ? names[kind] : "other";
}

const char *op_balance_reason(enum plan_reason reason)
{
    static const char *const texts[] = {
        "not said",
        "too few live copies or voters",
        "its peer does not come back",
        "its peer leaves",
        "two copies are in one zone",
        "more copies or voters than wanted",
        "larger than the ceiling",
        "too few arcs for the peers there are",
        "far more load than the mean",
        "far less load than the mean, as its neighbour",
        "from a fuller peer to an emptier one"
    };
    return reason <= PLAN_FOR_BALANCE ? texts[reason] : "other";
}

void op_balance_write_peer(struct node *node, struct buf *b, const char *name,
                           const struct id *peer)
{
    char text[ID_TEXT_BYTES];
    const char *addr = node_peer_addr(node, peer);
    mp_write_cstr(b, name);
    if (id_is_zero(peer)) {
        mp_write_nil(b);
        return;
    }
    if (!addr)
        id_to_text(peer, text);
    mp_write_cstr(b, addr ? addr : text);
}

static double seconds_since(const struct node *node, uint64_t at_ns)
{
    return (double)(node->now_ns - at_ns) / (double)NS_PER_S;
}

static void write_float(struct buf *b, const char *name, double value)
{
    mp_write_cstr(b, name);
    mp_write_float(b, value);
}

static void write_uint(struct buf *b, const char *name, uint64_t value)
{
    mp_write_cstr(b, name);
    mp_write_uint(b, value);
}

static void write_text(struct buf *b, const char *name, const char *text)
{
    mp_write_cstr(b, name);
    mp_write_cstr(b, text);
}

static bool is_under_way(const struct node *node, const struct heard *h)
{
    return h->begun_ns && keeper_is_fresh(node, h);
}

static void write_move(struct node *node, struct buf *b, const struct heard *h)
{
    const struct keyspace *ks = keyspaces_find(node, h->arc->keyspace);
    mp_write_map(b, 8);
    write_text(b, "step", op_balance_kind(h->step_kind));
    mp_write_cstr(b, "keyspace");
    mp_write_str(b, ks ? ks->record.name : span_empty());
    write_uint(b, "arc", h->arc->id);
    op_balance_write_peer(node, b, "peer", &h->step_peer);
    write_text(b, "reason", op_balance_reason(h->step_reason));
    write_uint(b, "keys", h->report.keys);
    write_uint(b, "bytes", h->report.bytes);
    write_float(b, "age_s", seconds_since(node, h->begun_ns));
}

static void write_moves(struct node *node, struct buf *b)
{
    const struct keeper *k = node->keeper;
    size_t count = 0, told = 0;
    for (size_t i = 0; i < k->count; i++)
        count += is_under_way(node, &k->list[i]);
    write_uint(b, "moves_count", count);
    mp_write_cstr(b, "moves");
    mp_write_array(b, count < MOVES_TOLD_MAX ? count : MOVES_TOLD_MAX);
    for (size_t i = 0; i < k->count && told < MOVES_TOLD_MAX; i++) {
        if (!is_under_way(node, &k->list[i]))
            continue;
        write_move(node, b, &k->list[i]);
        told++;
    }
}

static const char *fate_name(enum keeper_fate fate)
{
    switch (fate) {
    case FATE_AWAITED:
        return "awaited";
    case FATE_QUEUED:
        return "queued";
    case FATE_GONE:
        return "replaced";
    case FATE_STUCK:
        return "stuck";
    case FATE_UP:
    default:
        return "up";
    }
}

/* Peers that are down and hold copies. */
static void write_waiting(struct node *node, struct buf *b)
{
    const struct keeper *k = node->keeper;
    size_t count = 0;
    for (size_t i = 0; i < k->peer_count; i++)
        count += k->peers[i].fate > FATE_UP && k->peers[i].copies > 0;
    mp_write_cstr(b, "waiting");
    mp_write_array(b, count);
    for (size_t i = 0; i < k->peer_count; i++) {
        const struct keeper_peer *p = &k->peers[i];
        if (p->fate <= FATE_UP || p->copies == 0)
            continue;
        mp_write_map(b, 4);
        op_balance_write_peer(node, b, "peer", &p->id);
        write_text(b, "state", fate_name(p->fate));
        write_uint(b, "copies", p->copies);
        mp_write_cstr(b, "seconds");
        if (p->fate == FATE_AWAITED && p->until_ns > node->now_ns)
            mp_write_float(b, (double)(p->until_ns - node->now_ns) /
                                  (double)NS_PER_S);
        else
            mp_write_nil(b);
    }
}

/* A share of one peer over the fair one by weight; 0: none is due. */
static double over_fair(double has, double fair)
{
    return fair > 0 ? has / fair : 0;
}

static void write_peers(struct node *node, struct buf *b,
                        const struct plan_input *in,
                        const struct keeper_share *shares)
{
    double led = 0, weight = 0;
    for (size_t i = 0; i < in->peer_count; i++) {
        bool usable = !in->peers[i].gone && !in->peers[i].leaving;
        led += (double)shares[i].led;
        weight += usable ? in->peers[i].weight_milli : 0;
    }
    mp_write_cstr(b, "peers");
    mp_write_array(b, in->peer_count);
    for (size_t i = 0; i < in->peer_count; i++) {
        const struct plan_peer *p = &in->peers[i];
        double fair_led = weight > 0 ? led * p->weight_milli / weight : 0;
        double held = over_fair((double)shares[i].held, shares[i].fair);
        mp_write_map(b, 10);
        op_balance_write_peer(node, b, "peer", &p->id);
        write_float(b, "weight", p->weight_milli / 1000.0);
        write_text(b, "zone", p->zone ? p->zone : "");
        mp_write_cstr(b, "leaving");
        mp_write_bool(b, p->leaving);
        write_uint(b, "led_bytes", shares[i].led);
        write_uint(b, "held_bytes", shares[i].held);
        write_uint(b, "requests", shares[i].requests);
        write_float(b, "led", over_fair((double)shares[i].led, fair_led));
        write_float(b, "held", held);
        mp_write_cstr(b, "over");
        mp_write_bool(b, held > 1.15);
    }
}

static void write_pace(struct node *node, struct buf *b)
{
    const struct keeper_pace *pace = &node->keeper->pace;
    char why[160] = "";
    if (pace->shift)
        snprintf(why, sizeof why,
                 "requests take %.1f ms at the 99th percentile, %.1f ms when "
                 "nothing moves",
                 (double)pace->p99_ns / 1e6, (double)pace->baseline_ns / 1e6);
    else if (pace->ramp)
        snprintf(why, sizeof why,
                 "moves began a short time ago, and clients are served");
    write_uint(b, "slow_down", UINT64_C(1) << keeper_rate_shift(node));
    write_text(b, "slow_why", why);
    write_uint(b, "p99_us", pace->p99_ns / 1000);
    write_uint(b, "baseline_us", pace->baseline_ns / 1000);
    write_uint(b, "rate", keeper_rate_now(node));
}

static void write_plan(struct node *node, struct buf *b)
{
    const struct keeper_plan *plan = &node->keeper->plan;
    write_float(b, "plan_s",
                plan->begun_ns ? seconds_since(node, plan->begun_ns) : 0);
    write_uint(b, "steps", plan->steps);
    write_uint(b, "moved_bytes", plan->moved);
    write_uint(b, "moved_hour_bytes", keeper_moved_hour(node));
    write_uint(b, "ideal_bytes", plan->ideal);
    mp_write_cstr(b, "ratio");
    if (plan->ideal)
        mp_write_float(b, (double)plan->moved / (double)plan->ideal);
    else
        mp_write_nil(b);
}

static void answer_doc(struct node *node, const struct origin *origin,
                       struct buf *doc)
{
    struct response response = { .status = doc->failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(doc) };
    node_answer(node, origin, &response);
    buf_deinit(doc);
}

static void status(struct node *node, const struct origin *origin)
{
    struct keeper_input input;
    struct keeper_settings settings;
    struct plan_shares even;
    struct buf doc = { 0 };
    struct keeper_share *shares = NULL;
    keeper_settings_read(node, &settings);
    if (keeper_gather(node, &input) == DLHT_OK)
        shares = mem_zero(input.in.peer_count + 1, sizeof *shares);
    if (!shares) {
        keeper_input_free(&input);
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    keeper_shares(&input.in, shares);
    planner_shares(&input.in, &even);
    mp_write_map(&doc, 23);
    mp_write_cstr(&doc, "paused");
    mp_write_bool(&doc, settings.paused);
    mp_write_cstr(&doc, "whole_picture");
    mp_write_bool(&doc, !input.in.partial);
    op_balance_write_peer(node, &doc, "planner", &node->self);
    write_moves(node, &doc);
    write_plan(node, &doc);
    write_float(&doc, "led_most", even.led_most);
    write_float(&doc, "led_least", even.led_least);
    write_float(&doc, "held_most", even.held_most);
    write_float(&doc, "held_least", even.held_least);
    write_peers(node, &doc, &input.in, shares);
    write_pace(node, &doc);
    write_uint(&doc, "moves_max", input.in.moves_max);
    write_waiting(node, &doc);
    answer_doc(node, origin, &doc);
    keeper_input_free(&input);
    free(shares);
}

/* What op_admin.c adds to `peers` and `status`. */
static void peers(struct node *node, const struct origin *origin)
{
    const struct keeper *k = node->keeper;
    struct keeper_settings settings;
    struct buf doc = { 0 };
    keeper_settings_read(node, &settings);
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "paused");
    mp_write_bool(&doc, settings.paused);
    mp_write_cstr(&doc, "peers");
    mp_write_array(&doc, k->peer_count);
    for (size_t i = 0; i < k->peer_count; i++) {
        const struct keeper_peer *p = &k->peers[i];
        mp_write_array(&doc, 6);
        mp_write_bin(&doc, span_of(p->id.bytes, ID_BYTES));
        mp_write_uint(&doc, p->weight_milli);
        mp_write_cstr(&doc, p->zone);
        mp_write_bool(&doc, p->leaving);
        mp_write_cstr(&doc, fate_name(p->fate));
        mp_write_uint(&doc, p->copies);
    }
    answer_doc(node, origin, &doc);
}

struct change {
    struct origin origin;
};

static void change_written(struct node *node, void *context,
                           const struct response *response)
{
    struct change *c = context;
    bool raced = response->status == DLHT_EMISMATCH;
    node_answer_status(node, &c->origin, raced ? DLHT_EBUSY : response->status,
                       raced ? "somebody else changed this just now: try again"
                             : NULL);
    free(c);
}

/* Pause, resume, set: a record of the system arc. */
static void change(struct node *node, const struct ask *ask,
                   const struct origin *origin)
{
    struct keeper_settings settings;
    struct buf packed = { 0 };
    keeper_settings_read(node, &settings);
    if (span_equal(ask->action, span_str("set")))
        settings.rate = ask->rate;
    else
        settings.paused = span_equal(ask->action, span_str("pause"));
    keeper_settings_pack(&settings, &packed);
    struct request q = { .op = OP_CAS,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = span_str("balance"),
                         .value = buf_span(&packed),
                         .version = settings.version };
    struct change *c = mem_zero(1, sizeof *c);
    struct pending_target target = { .done = change_written, .context = c };
    if (c)
        c->origin = *origin;
    if (!c || packed.failed ||
        pending_begin(node, &q, node->now_ns + 5 * NS_PER_S, &target) !=
            DLHT_OK) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        free(c);
    }
    buf_deinit(&packed);
}

void op_balance_serve(struct node *node, const struct replica *r,
                      const struct request *request,
                      const struct origin *origin)
{
    struct ask ask;
    if (r->id != SYSTEM_ARC || r->applied_term != raft_term(r->raft) ||
        node->keeper->plan_since_ns == 0) {
        node_answer_status(node, origin, DLHT_EUNAVAILABLE, NULL);
        return;
    }
    const char *wrong =
        read_ask(request->value, &ask) ? check_ask(&ask) : "not understood";
    keeper_judge_peers(node); /* what was just set is in force */
    if (wrong)
        node_answer_status(node, origin, DLHT_EINVAL, wrong);
    else if (span_equal(ask.action, span_str("status")))
        status(node, origin);
    else if (span_equal(ask.action, span_str("peers")))
        peers(node, origin);
    else if (span_equal(ask.action, span_str("plan")))
        op_rehearse(node, ask.what_if, request->limit, origin);
    else
        change(node, &ask, origin);
}
