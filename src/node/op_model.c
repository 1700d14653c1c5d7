/* SPDX-License-Identifier: Apache-2.0 */

/* Operations on models: what arcs tell a round. */

#include "node/op_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper.h"
#include "node/models.h"
#include "node/pending.h"
#include "node/replica.h"
#include "node/trainer.h"
#include "rmi/sums_pack.h"
#include "wire/mp.h"

enum {
    SUM_SLICE = 2048, /* keys of one question that are summed at a time */
    SUM_CHUNK = 256,
    SUMS_OPEN_MAX = 64, /* at once in one node */
    PRESPLIT_KEYS_MAX = 4096,
    PRESPLIT_ARCS_MAX = 8192 /* of a keyspace: a client may not make groups
                              * without end */
};

/* Keys of an arc being summed, a slice each turn. */
struct summing {
    struct summing *next;
    struct origin origin;
    arc_id arc;
    uint64_t generation;
    struct model *slice;
    struct sums *sums;
    struct buf from; /* where to go on: after it */
    bool begun;      /* from has been summed */
    struct buf end;
    bool has_end;
};

/* Key at of the records: as much of it as tells it from the one before. */
static struct span separated_key(const struct replica *r, uint64_t at,
                                 bool first)
{
    struct record before = { 0 }, record = { 0 };
    (void)records_nth(r->records, at, &record);
    if (!first && records_nth(r->records, at - 1, &before))
        record.key = report_separator(before.key, record.key);
    return record.key;
}

/* Makes out wanted quantiles of keys records from below on; false: that were
 * too many bytes. */
static bool fill_report(const struct replica *r, uint64_t below, size_t wanted,
                        struct fit_quantile *quantiles, struct report *out)
{
    struct record last = { 0 };
    size_t bytes = 0;
    for (size_t i = 0; i < wanted; i++) {
        uint64_t at = out->keys * i / wanted;
        quantiles[i].key = separated_key(r, below + at, i == 0);
        quantiles[i].count = out->keys * (i + 1) / wanted - at;
        bytes += quantiles[i].key.len;
    }
    if (out->keys)
        (void)records_nth(r->records, below + out->keys - 1, &last);
    out->end = last.key;
    out->quantiles = quantiles;
    out->quantile_count = wanted;
    return bytes + last.key.len <= REPORT_BYTES_MAX;
}

static void write_report(const struct replica *r, const struct report *report,
                         struct buf *b)
{
    struct buf packed = { 0 };
    report_pack(report, &packed);
    mp_write_uint(b, r->id);
    mp_write_uint(b, r->arc->generation);
    mp_write_uint(b, r->applied);
    mp_write_bool(b, span_equal(report->lo, r->arc->lo) &&
                         report->has_hi == r->arc->has_hi &&
                         span_equal(report->hi, r->arc->hi));
    mp_write_bin(b, report->lo);
    mp_write_bool(b, report->has_hi);
    mp_write_bin(b, report->hi);
    mp_write_uint(b, report->keys);
    mp_write_uint(b, report->quantile_count);
    mp_write_bin(b, buf_span(&packed));
    b->failed = b->failed || packed.failed;
    buf_deinit(&packed);
}

/* What of the arc was asked for. */
static struct report report_on(const struct replica *r, const struct request *q,
                               uint64_t *below)
{
    const struct arc *arc = r->arc;
    struct report report = { .lo = q->key,
                             .hi = arc->has_hi ? arc->hi : span_empty(),
                             .has_hi = arc->has_hi };
    if ((q->flags & REQUEST_HAS_END) &&
        (!arc->has_hi || span_compare(q->end, arc->hi) < 0)) {
        report.hi = q->end;
        report.has_hi = true;
    }
    *below = records_rank(r->records, q->key, NULL);
    uint64_t end = replica_key_count(r);
    if (report.has_hi)
        end = records_rank(r->records, report.hi, NULL);
    report.keys = end > *below ? end - *below : 0;
    return report;
}

/* From the records' own order: exact, and not a scan. */
static void read_report(struct node *node, struct replica *r,
                        const struct request *q, const struct origin *origin)
{
    uint64_t below;
    struct report report = report_on(r, q, &below);
    uint64_t all = q->version > report.keys ? q->version : report.keys;
    double share = all ? (double)report.keys / (double)all : 1.0;
    size_t wanted = report_quantiles_wanted(share, (uint32_t)q->limit);
    wanted = wanted < report.keys ? wanted : (size_t)report.keys;
    struct fit_quantile *quantiles = mem_array(wanted + 1, sizeof *quantiles);
    struct buf doc = { 0 };
    while (quantiles && !fill_report(r, below, wanted, quantiles, &report) &&
           wanted > 1)
        wanted /= 2;
    if (quantiles)
        write_report(r, &report, &doc);
    bool failed = !quantiles || doc.failed;
    struct response response = { .status = failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
    free(quantiles);
}

void op_model_piece_deinit(struct model_piece *piece)
{
    free(piece->quantiles);
    piece->quantiles = NULL;
    buf_deinit(&piece->keys);
}

int op_model_read_report(struct span answer, struct model_piece *out)
{
    struct mp_reader r;
    struct report *report = &out->report;
    mp_reader_init(&r, answer);
    memset(out, 0, sizeof *out);
    out->arc = mp_read_uint(&r);
    out->generation = mp_read_uint(&r);
    out->applied = mp_read_uint(&r);
    out->whole = mp_read_bool(&r);
    report->lo = mp_read_bytes(&r);
    report->has_hi = mp_read_bool(&r);
    report->hi = mp_read_bytes(&r);
    report->keys = mp_read_uint(&r);
    uint64_t count = mp_read_uint(&r);
    struct span packed = mp_read_bytes(&r);
    if (r.bad || !mp_at_end(&r) || count > REPORT_QUANTILES_MAX)
        return DLHT_EPROTO;
    report->quantile_count = (size_t)count;
    out->quantiles =
        mem_zero(report->quantile_count + 1, sizeof *out->quantiles);
    int rc = DLHT_ENOMEM;
    if (out->quantiles)
        rc = report_unpack(packed, report->lo, report->quantile_count,
                           out->quantiles, &report->end, &out->keys);
    report->quantiles = out->quantiles;
    if (rc != DLHT_OK)
        op_model_piece_deinit(out);
    return rc;
}

static void summing_free(struct summing *s)
{
    model_free(s->slice);
    free(s->sums);
    buf_deinit(&s->from);
    buf_deinit(&s->end);
    free(s);
}

/* Leaves without keys at either end are left out. */
static void answer_sums(struct node *node, const struct replica *r,
                        struct summing *s)
{
    size_t count = model_leaf_count(s->slice), first = 0;
    while (count > 0 && sums_count(&s->sums[count - 1]) == 0)
        count--;
    while (first < count && sums_count(&s->sums[first]) == 0)
        first++;
    struct buf doc = { 0 };
    mp_write_uint(&doc, first);
    mp_write_uint(&doc, count - first);
    struct buf packed = { 0 };
    sums_pack(s->sums + first, count - first, model_leaf_kind(s->slice),
              &packed);
    mp_write_bin(&doc, buf_span(&packed));
    doc.failed = doc.failed || packed.failed;
    buf_deinit(&packed);
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    if (r->arc->has_hi &&
        (!s->has_end || span_compare(r->arc->hi, buf_span(&s->end)) < 0)) {
        response.more = true;
        response.cursor = r->arc->hi;
    }
    node_answer(node, &s->origin, &response);
    buf_deinit(&doc);
}

int op_model_read_sums(const struct response *response, enum model_kind kind,
                       uint32_t *first, struct sums **sums, size_t *count)
{
    struct mp_reader r;
    mp_reader_init(&r, response->value);
    *sums = NULL;
    *count = 0;
    uint64_t from = mp_read_uint(&r);
    uint64_t n = mp_read_uint(&r);
    struct span packed = mp_read_bytes(&r);
    if (r.bad || from > MODEL_LEAVES_MAX || n > MODEL_LEAVES_MAX ||
        n > packed.len)
        return DLHT_EPROTO;
    struct sums *read = mem_zero((size_t)n + 1, sizeof *read);
    if (!read)
        return DLHT_ENOMEM;
    if (sums_unpack(packed, kind, read, (size_t)n) != DLHT_OK) {
        free(read);
        return DLHT_EPROTO;
    }
    *first = (uint32_t)from;
    *sums = read;
    *count = (size_t)n;
    return DLHT_OK;
}

/* Sums a slice of keys; true: all are. */
static bool sum_some(const struct replica *r, struct summing *s)
{
    struct records_cursor at;
    bool there = records_seek(r->records, buf_span(&s->from), &at);
    if (there && s->begun &&
        span_equal(records_at(&at).key, buf_span(&s->from)))
        there = records_next(&at);
    struct span keys[SUM_CHUNK];
    struct span end = buf_span(&s->end);
    for (size_t done = 0; done < SUM_SLICE;) {
        size_t n = 0;
        while (there && n < SUM_CHUNK) {
            struct record record = records_at(&at);
            if ((s->has_end && span_compare(record.key, end) >= 0) ||
                !replica_is_own(r, record.key)) {
                there = false;
                break;
            }
            keys[n++] = record.key;
            there = records_next(&at);
        }
        fit_sum(s->slice, keys, n, s->sums);
        if (!there)
            return true;
        done += n;
        if (done >= SUM_SLICE) {
            buf_reset(&s->from);
            buf_append_span(&s->from, keys[n - 1]);
            s->begun = true;
        }
    }
    return false;
}

/* Runs one slice; true: it is over and answered. */
static bool summing_step(struct node *node, struct summing *s)
{
    struct replica *r = node_replica(node, s->arc);
    if (!r || r->empty || !replica_leads(r) ||
        r->arc->generation != s->generation || s->from.failed) {
        node_answer_status(node, &s->origin,
                           s->from.failed ? DLHT_EBUSY : DLHT_EUNAVAILABLE,
                           NULL);
        return true;
    }
    if (!sum_some(r, s))
        return false;
    answer_sums(node, r, s);
    return true;
}

/* At the end of those under way. */
static void summing_queue(struct node *node, struct summing *s)
{
    struct summing **at = &node->summing;
    while (*at)
        at = &(*at)->next;
    s->next = NULL;
    *at = s;
}

bool op_model_tick(struct node *node)
{
    int slices = ROUND_TURN_KEYS / SUM_SLICE;
    for (; node->summing && slices > 0; slices--) {
        struct summing *s = node->summing;
        node->summing = s->next;
        if (summing_step(node, s)) {
            summing_free(s);
            node->summing_count--;
        } else {
            summing_queue(node, s);
        }
    }
    if (node->summing)
        node_wake_at(node, node->now_ns);
    return node->summing != NULL;
}

void op_model_stop(struct node *node)
{
    while (node->summing) {
        struct summing *s = node->summing;
        node->summing = s->next;
        summing_free(s);
    }
    node->summing_count = 0;
}

static void begin_sums(struct node *node, struct replica *r,
                       const struct request *q, const struct origin *origin)
{
    struct summing *s = NULL;
    int rc = node->summing_count < SUMS_OPEN_MAX ? DLHT_OK : DLHT_EBUSY;
    if (rc == DLHT_OK) {
        s = mem_zero(1, sizeof *s);
        rc = s ? model_unpack(q->value, &s->slice) : DLHT_ENOMEM;
    }
    if (rc == DLHT_OK) {
        s->sums = mem_zero(model_leaf_count(s->slice), sizeof *s->sums);
        buf_append_span(&s->from, q->key);
        buf_append_span(&s->end, q->end);
        if (!s->sums || s->from.failed || s->end.failed)
            rc = DLHT_ENOMEM;
    }
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                           NULL);
        if (s)
            summing_free(s);
        return;
    }
    s->origin = *origin;
    s->arc = r->id;
    s->generation = r->arc->generation;
    s->has_end = (q->flags & REQUEST_HAS_END) != 0;
    summing_queue(node, s);
    node->summing_count++;
    node_wake_at(node, node->now_ns);
}

void op_model_read(struct node *node, struct replica *r,
                   const struct request *q, const struct origin *origin)
{
    if (!arc_has(r->arc, q->key))
        op_answer_not_owner(node, r, q, origin);
    else if (q->op == OP_MODEL_REPORT)
        read_report(node, r, q, origin);
    else
        begin_sums(node, r, q, origin);
}

static void carry_to_system(struct node *node, const struct keyspace *ks,
                            const struct request *request,
                            const struct origin *origin)
{
    struct request q = { .op = request->op,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = ks->record.name, /* any key is in that arc */
                         .value = request->value };
    struct pending_target target = { .origin = *origin,
                                     .patient = true,
                                     .busy_is_final = true };
    if (pending_begin(node, &q, op_deadline_ns(node, request), &target) !=
        DLHT_OK)
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
}

/* What a document of OP_MODEL or OP_PRESPLIT asks. */
struct ask {
    struct span action;
    struct span keyspace; /* empty: not named */
    keyspace_id keyspace_id;
    struct span model;
    bool wait;
    struct span keys; /* a MessagePack array */
};

static bool read_ask(struct span doc, struct ask *out)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    *out = (struct ask){ 0 };
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("action"))) {
            out->action = mp_read_bytes(&r);
        } else if (span_equal(field, span_str("keyspace"))) {
            if (mp_peek(&r) == MP_INT)
                out->keyspace_id = (keyspace_id)mp_read_uint(&r);
            else
                out->keyspace = mp_read_bytes(&r);
        } else if (span_equal(field, span_str("model"))) {
            out->model = mp_read_bytes(&r);
        } else if (span_equal(field, span_str("wait"))) {
            out->wait = mp_read_bool(&r);
        } else if (span_equal(field, span_str("keys"))) {
            const uint8_t *at = r.at;
            mp_skip(&r);
            out->keys = span_of(at, (size_t)(r.at - at));
        } else {
            mp_skip(&r);
        }
    }
    return !r.bad;
}

/* By its document, else by the request itself. */
static struct keyspace *find_keyspace(struct node *node, const struct ask *ask,
                                      const struct request *request)
{
    if (ask->keyspace_id)
        return keyspaces_find(node, ask->keyspace_id);
    if (ask->keyspace.len)
        return keyspaces_find_name(node, ask->keyspace);
    if (request->keyspace)
        return keyspaces_find(node, request->keyspace);
    struct span name = request->keyspace_name;
    return keyspaces_find_name(node, name.len ? name : span_str("default"));
}

/* The ordered keyspace that is meant; NULL after answering why not. */
static struct keyspace *check_keyspace(struct node *node, struct keyspace *ks,
                                       const struct origin *origin)
{
    if (!ks || ks->record.dropped || ks->record.id == SYSTEM_KEYSPACE) {
        node_answer_status(node, origin, DLHT_ENOKEYSPACE,
                           "no such keyspace; keyspace list shows those there "
                           "are");
        return NULL;
    }
    if (ks->record.placement != PLACEMENT_HASHED)
        return ks;
    node_answer_status(node, origin, DLHT_ENOTSUP,
                       "a hashed keyspace has no model: its hash is spread "
                       "evenly as it is");
    return NULL;
}

/* Any peer has the bytes of its epoch. */
static void export_model(struct node *node, const struct keyspace *ks,
                         const struct origin *origin)
{
    if (!ks->held) {
        node_answer_status(node, origin, DLHT_ENOTFOUND,
                           "no model is trained yet; model train makes one");
        return;
    }
    struct buf doc = { 0 }, packed = { 0 };
    int rc = model_pack(ks->held->model, &packed);
    mp_write_bin(&doc, buf_span(&packed));
    struct response response = { .status = rc, .value = buf_span(&doc) };
    if (rc != DLHT_OK || doc.failed)
        response.status = DLHT_EBUSY;
    node_answer(node, origin, &response);
    buf_deinit(&doc);
    buf_deinit(&packed);
}

void op_model_begin(struct node *node, const struct request *request,
                    const struct origin *origin)
{
    struct ask ask;
    if (!read_ask(request->value, &ask)) {
        node_answer_status(node, origin, DLHT_EINVAL,
                           "this operation takes a map of action, keyspace "
                           "and what the action needs");
        return;
    }
    struct keyspace *ks =
        check_keyspace(node, find_keyspace(node, &ask, request), origin);
    if (!ks)
        return;
    if (request->op == OP_MODEL && span_equal(ask.action, span_str("export")))
        export_model(node, ks, origin);
    else
        carry_to_system(node, ks, request, origin);
}

static void presplit(struct node *node, const struct keyspace *ks,
                     struct span keys, const struct origin *origin)
{
    struct mp_reader r;
    mp_reader_init(&r, keys);
    size_t count = mp_read_array(&r);
    struct span *list =
        count <= mp_left(&r) ? mem_zero(count + 1, sizeof *list) : NULL;
    struct span before = span_empty();
    bool sound = list != NULL;
    for (size_t i = 0; i < count && sound; i++) {
        list[i] = mp_read_bytes(&r);
        sound = !r.bad && list[i].len > 0 && list[i].len <= KEY_LEN_MAX &&
                span_compare(before, list[i]) < 0;
        before = list[i];
    }
    uint64_t keys_now;
    size_t arcs;
    keeper_totals(node, ks, &keys_now, &arcs);
    if (sound && arcs + count > PRESPLIT_ARCS_MAX) {
        node_answer_status(node, origin, DLHT_EFULL,
                           "a keyspace may be cut ahead into 8192 arcs");
    } else if (sound) {
        struct buf doc = { 0 };
        mp_write_map(&doc, 1);
        mp_write_cstr(&doc, "cut");
        mp_write_uint(&doc, keeper_cut(node, ks, list, count));
        struct response response = { .status =
                                         doc.failed ? DLHT_EBUSY : DLHT_OK,
                                     .value = buf_span(&doc) };
        node_answer(node, origin, &response);
        buf_deinit(&doc);
    } else {
        node_answer_status(
            node, origin, DLHT_EINVAL,
            "keys to cut at are an array of at most 4096 keys in "
            "ascending order");
    }
    free(list);
}

void op_model_serve(struct node *node, const struct replica *r,
                    const struct request *request, const struct origin *origin)
{
    struct ask ask;
    if (r->id != SYSTEM_ARC || r->applied_term != raft_term(r->raft)) {
        node_answer_status(node, origin, DLHT_EUNAVAILABLE, NULL);
        return;
    }
    bool understood = read_ask(request->value, &ask);
    struct keyspace *ks = check_keyspace(
        node, understood ? keyspaces_find_name(node, request->key) : NULL,
        origin);
    if (!ks)
        return;
    if (request->op == OP_PRESPLIT)
        presplit(node, ks, ask.keys, origin);
    else if (span_equal(ask.action, span_str("show")))
        trainer_show(node, ks, origin);
    else if (span_equal(ask.action, span_str("train")))
        trainer_force(node, ks, ask.wait, origin);
    else if (span_equal(ask.action, span_str("history")))
        trainer_history(node, ks, origin);
    else if (span_equal(ask.action, span_str("epoch")))
        models_epoch(node, ks, origin);
    else if (span_equal(ask.action, span_str("import")))
        trainer_import(node, ks, ask.model, origin);
    else
        node_answer_status(node, origin, DLHT_EINVAL,
                           "the action is show, train, export, import or "
                           "history");
}
