/* SPDX-License-Identifier: Apache-2.0 */

/* Models under faults. */

#include "sim/models_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/inspect.h"
#include "sim/liar.h"
#include "sim/silent.h"
#include "wire/mp.h"

enum {
    PROBES = 1000,
    PROBE_BYTES_MAX = 40,
    EPOCHS_MAX = 4096, /* remembered */
    TRAIN_TRIES = 5,
    PHASES = 7 /* enum training_phase */
};
static const uint64_t SETTLE_NS = 90 * WORLD_S;
static const uint64_t CRASH_EVERY_NS = 3 * WORLD_S;
static const uint64_t CRASH_WITHIN_NS = 30 * WORLD_MS;
static const double KS_MAX = 0.02;
/* Two arcs of at most an eighth of the keys have the share that they had when
 * there were two thirds of them. */
static const double KS_MAX_SILENT = 0.1;

struct probe {
    uint8_t bytes[PROBE_BYTES_MAX];
    size_t len;
};

/* What a peer had at its last turn. */
struct held_before {
    uint32_t starts;
    uint64_t epoch;
    int phase;
};

struct models_story {
    struct world *world;
    struct workload *workload;
    struct fault *fault;
    struct rng rng;
    struct liar *liar;     /* NULL: none lies */
    struct silent *silent; /* NULL: all say what they have */
    struct probe *probes;
    struct held_before *before;
    uint64_t *digests; /* of each epoch; 0: not met */
    bool set;
    bool torments;
    uint64_t next_crash_ns;
    int crash_phase; /* the next crash comes in this phase of a round */
    size_t adopted;
    size_t crashes[PHASES];
    uint64_t newest;
    uint64_t newest_lies; /* of the newest epoch */
    uint64_t newest_missing;
    uint64_t missing;       /* of all epochs */
    bool waits, trained;    /* a round was asked for; has come */
    uint64_t lies, refused; /* seen anywhere */
    double ks;
    size_t keys;
};

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static int compare_probes(const void *a, const void *b)
{
    const struct probe *x = a, *y = b;
    return span_compare(span_of(x->bytes, x->len), span_of(y->bytes, y->len));
}

/* Keys of the workload, keys a little beside them, and any bytes. */
static void draw_probes(struct models_story *s)
{
    const struct history *history = workload_history(s->workload);
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &s->probes[i];
        if (i % 4 < 3) {
            struct span key = history_key(
                history,
                (size_t)rng_below(&s->rng, history_key_count(history)));
            memcpy(p->bytes, key.data, key.len);
            p->len = key.len;
        }
        if (i % 4 == 1)
            p->len = 1 + (size_t)rng_below(&s->rng, p->len);
        for (size_t n = i % 4 > 1 ? rng_below(&s->rng, 10) : 0; n > 0; n--)
            p->bytes[p->len++] = (uint8_t)rng_next(&s->rng);
    }
    qsort(s->probes, PROBES, sizeof *s->probes, compare_probes);
}

struct models_story *models_story_new(struct world *world,
                                      struct workload *workload,
                                      struct fault *fault,
                                      const struct models_story_config *config)
{
    struct models_story *s = need(mem_zero(1, sizeof *s));
    s->world = world;
    s->workload = workload;
    s->fault = fault;
    rng_init(&s->rng, config->seed);
    s->probes = need(mem_zero(PROBES, sizeof *s->probes));
    s->before = need(mem_zero(world_peer_count(world), sizeof *s->before));
    s->digests = need(mem_zero(EPOCHS_MAX, sizeof *s->digests));
    s->crash_phase = 1 + (int)rng_below(&s->rng, PHASES - 1);
    draw_probes(s);
    if (config->lies) {
        size_t who = (size_t)rng_below(&s->rng, world_peer_count(world));
        s->liar = liar_new(world, who, rng_next(&s->rng));
    }
    if (config->silence) {
        size_t count = world_peer_count(world);
        size_t first = (size_t)rng_below(&s->rng, count);
        size_t second = (first + 1 + rng_below(&s->rng, count - 1)) % count;
        s->silent = silent_new(world, first, second, rng_next(&s->rng));
    }
    return s;
}

void models_story_free(struct models_story *s)
{
    if (!s)
        return;
    liar_free(s->liar);
    silent_free(s->silent);
    free(s->probes);
    free(s->before);
    free(s->digests);
    free(s);
}

/* The keyspace `default` is the first after that of the system. */
static bool look(const struct models_story *s, size_t peer,
                 struct inspect_model *out)
{
    const struct node *node = world_node(s->world, peer);
    if (!node || inspect_keyspace_count(node) < 2)
        return false;
    inspect_model(node, 1, out);
    return true;
}

static void check_order(struct models_story *s, size_t peer,
                        const struct inspect_model *m)
{
    uint64_t before = 0;
    for (size_t i = 0; i < PROBES; i++) {
        const struct probe *p = &s->probes[i];
        uint64_t at = model_position(m->model, span_of(p->bytes, p->len));
        if (at < before)
            world_fail(s->world, "A6_monotone",
                       "n%zu, epoch %llu: position falls at probe %zu", peer,
                       (unsigned long long)m->epoch, i);
        before = at;
    }
}

/* One epoch is one model. What is told of it a liar may change. */
static void check_same(struct models_story *s, size_t peer,
                       const struct inspect_model *m)
{
    struct buf bytes = { 0 };
    if (model_pack(m->model, &bytes) != DLHT_OK)
        abort();
    uint64_t digest = hash64(s->liar ? buf_span(&bytes) : m->packed) | 1;
    buf_deinit(&bytes);
    uint64_t *known = &s->digests[m->epoch % EPOCHS_MAX];
    if (*known && *known != digest && m->epoch < EPOCHS_MAX)
        world_fail(s->world, "model_epoch_one",
                   "n%zu has another model as epoch %llu", peer,
                   (unsigned long long)m->epoch);
    *known = digest;
}

static void on_crash(void *context, uint64_t argument)
{
    struct models_story *s = context;
    size_t peer = (size_t)argument;
    if (!s->torments || !world_is_up(s->world, peer))
        return;
    world_crash(s->world, peer, rng_chance(&s->rng, 0.5));
    fault_note_exit(s->fault, peer);
}

/* Whoever leads a round is crashed soon after a phase of it has begun. */
static void maybe_crash(struct models_story *s, size_t peer, int phase)
{
    uint64_t now = world_now_ns(s->world);
    if (!s->torments || phase != s->crash_phase || now < s->next_crash_ns)
        return;
    s->next_crash_ns = now + CRASH_EVERY_NS;
    s->crashes[phase]++;
    s->crash_phase = 1 + (int)rng_below(&s->rng, PHASES - 1);
    world_after(s->world, rng_below(&s->rng, CRASH_WITHIN_NS), on_crash, s,
                peer);
}

void models_story_turn(struct models_story *s, size_t peer)
{
    struct inspect_model m;
    if (!look(s, peer, &m))
        return;
    struct held_before *b = &s->before[peer];
    uint32_t starts = world_starts(s->world, peer);
    if (b->starts != starts)
        *b = (struct held_before){ .starts = starts };
    if (m.epoch < b->epoch)
        world_fail(s->world, "model_epoch_back",
                   "n%zu goes from epoch %llu to %llu", peer,
                   (unsigned long long)b->epoch, (unsigned long long)m.epoch);
    if (m.epoch != b->epoch) {
        check_order(s, peer, &m);
        check_same(s, peer, &m);
        s->adopted++;
        if (m.epoch > s->newest) {
            s->newest = m.epoch;
            s->newest_lies = m.lies;
            s->lies += m.lies;
            s->newest_missing = m.missing;
            s->missing += m.missing;
            if (s->silent)
                silent_wake(s->silent);
        }
    }
    if (m.phase != b->phase)
        maybe_crash(s, peer, m.phase);
    if (m.refused > s->refused)
        s->refused = m.refused;
    b->epoch = m.epoch;
    b->phase = m.phase;
}

void models_story_torment(struct models_story *s, bool on)
{
    s->torments = on;
}

static void on_set(void *context, uint64_t argument,
                   const struct response *response)
{
    struct models_story *s = context;
    (void)argument;
    if (response && response->status == DLHT_OK)
        s->set = true;
    else if (response && (response->status == DLHT_EINVAL ||
                          response->status == DLHT_EPROTO))
        world_fail(s->world, "reply_fits", "options are refused");
}

bool models_story_set(struct models_story *s)
{
    static const char *const COUNTS[] = { "1000", "256", "128" };
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, "default");
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 5);
    mp_write_cstr(&doc, "stale"); /* in half the runs rounds never end */
    mp_write_cstr(&doc, rng_chance(&s->rng, 0.5) ? "2" : "default");
    mp_write_cstr(&doc, "keys-min");
    mp_write_cstr(&doc, "50");
    mp_write_cstr(&doc, "gap");
    mp_write_cstr(&doc, "1");
    mp_write_cstr(&doc, "model-leaves");
    mp_write_cstr(&doc, COUNTS[rng_below(&s->rng, 3)]);
    mp_write_cstr(&doc, "model-leaf");
    mp_write_cstr(&doc, rng_chance(&s->rng, 0.5) ? "cubic" : "linear");
    struct request q = { .op = OP_KEYSPACE_SET,
                         .value = buf_span(&doc),
                         .timeout_ms = 3000 };
    bool sound = true;
    for (int i = 0; sound && !s->set && i < 20; i++) {
        size_t peer = (size_t)rng_below(&s->rng, world_peer_count(s->world));
        if (world_is_ready(s->world, peer) &&
            world_request(s->world, peer, &q, on_set, s, 0) != DLHT_OK)
            world_fail(s->world, "codec", "OP_KEYSPACE_SET does not pack");
        sound = world_run(s->world, world_now_ns(s->world) + WORLD_S);
    }
    buf_deinit(&doc);
    if (sound && !s->set)
        world_fail(s->world, "A10_answered", "options are never taken");
    return sound && s->set;
}

/* The keys that leaders have, in order. */
struct truth {
    struct span *keys;
    size_t count, cap;
};

static int compare_keys(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return span_compare(*x, *y);
}

static void gather_arc(struct truth *t, const struct inspect_replica *r)
{
    struct records_cursor at;
    bool there = records_seek(r->records, span_empty(), &at);
    for (; there; there = records_next(&at)) {
        if (!arc_has(r->arc, records_at(&at).key))
            break; /* of an arc that is being merged into this one */
        if (t->count == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 1024;
            t->keys = need(mem_resize(t->keys, t->cap, sizeof *t->keys));
        }
        t->keys[t->count++] = records_at(&at).key;
    }
}

static void gather(const struct models_story *s, keyspace_id keyspace,
                   struct truth *out)
{
    *out = (struct truth){ 0 };
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        const struct node *node = world_node(s->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.keyspace == keyspace && !r.empty && !r.closed &&
                raft_role(r.raft) == RAFT_LEADER)
                gather_arc(out, &r);
        }
    }
    if (out->count)
        qsort(out->keys, out->count, sizeof *out->keys, compare_keys);
}

/* How far the model is from the keys there are. */
static double distance(struct models_story *s, const struct node *node,
                       const struct model *model)
{
    struct keyspace_record record;
    struct truth truth;
    struct model_stats stats;
    inspect_map(node, 1, &record);
    gather(s, record.id, &truth);
    s->keys = truth.count;
    stats.ks = 0;
    if (truth.count)
        model_measure(model, truth.keys, truth.count, &stats);
    free(truth.keys);
    return stats.ks;
}

/* All have one epoch, and it is good. why: what is missing. */
static bool is_settled(struct models_story *s, char *why, size_t size)
{
    size_t first = SIZE_MAX;
    struct inspect_model a = { 0 }, b = { 0 };
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        if (!world_is_wanted(s->world, i))
            continue;
        if (!look(s, i, &b) || !b.model) {
            snprintf(why, size, "n%zu has no model", i);
            return false;
        }
        if (first == SIZE_MAX) {
            first = i;
            a = b;
        } else if (a.epoch != b.epoch) {
            snprintf(why, size, "n%zu has epoch %llu, n%zu epoch %llu", first,
                     (unsigned long long)a.epoch, i,
                     (unsigned long long)b.epoch);
            return false;
        }
    }
    if (first == SIZE_MAX)
        return false;
    s->ks = distance(s, world_node(s->world, first), a.model);
    double bound = (s->silent ? KS_MAX_SILENT : KS_MAX) +
                   1.0 / (double)(s->keys ? s->keys : 1);
    snprintf(why, size, "KS of epoch %llu is %.4f of %zu keys",
             (unsigned long long)a.epoch, s->ks, s->keys);
    return s->ks <= bound;
}

static bool settle(struct models_story *s)
{
    uint64_t end = world_now_ns(s->world) + SETTLE_NS;
    char why[200] = "";
    while (!is_settled(s, why, sizeof why)) {
        if (world_now_ns(s->world) >= end) {
            world_fail(s->world, "A6_settled", "%s after %.0f s", why,
                       (double)SETTLE_NS / 1e9);
            return false;
        }
        if (!world_run(s->world, world_now_ns(s->world) + WORLD_S / 4))
            return false;
    }
    return true;
}

static void on_trained(void *context, uint64_t argument,
                       const struct response *response)
{
    struct models_story *s = context;
    (void)argument;
    s->waits = false;
    s->trained = response && response->status == DLHT_OK;
}

/* A round that somebody asks for. */
static bool train(struct models_story *s)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "action");
    mp_write_cstr(&doc, "train");
    mp_write_cstr(&doc, "keyspace");
    mp_write_cstr(&doc, "default");
    mp_write_cstr(&doc, "wait");
    mp_write_bool(&doc, true);
    struct request q = { .op = OP_MODEL,
                         .value = buf_span(&doc),
                         .timeout_ms = 30000 };
    size_t peer = (size_t)rng_below(&s->rng, world_peer_count(s->world));
    s->waits = true;
    s->trained = false;
    if (world_request(s->world, peer, &q, on_trained, s, 0) != DLHT_OK)
        world_fail(s->world, "codec", "OP_MODEL does not pack");
    bool sound = true;
    while (sound && s->waits)
        sound = world_run(s->world, world_now_ns(s->world) + WORLD_S / 10);
    buf_deinit(&doc);
    return sound;
}

static uint64_t spoiled(const struct models_story *s)
{
    return s->silent ? silent_held_back(s->silent) + silent_changed(s->silent)
                     : 0;
}

/* A round of which some reports are lies says so, and one of which some are
 * missing. It may join one that was under way, or be joined by a survey: then
 * once more. */
static bool check_train(struct models_story *s)
{
    for (int i = 0; i < TRAIN_TRIES; i++) {
        uint64_t before = s->newest;
        uint64_t reports = s->liar ? liar_reports(s->liar) : 0;
        uint64_t held_back = spoiled(s);
        s->newest_lies = s->newest_missing = 0;
        if (!train(s) || !settle(s))
            return false;
        bool lied = s->liar && liar_reports(s->liar) > reports;
        bool missed = spoiled(s) > held_back;
        if (s->trained && s->newest > before && (!lied || s->newest_lies > 0) &&
            (!missed || s->newest_missing > 0))
            return true;
    }
    world_fail(s->world, "model_train",
               "asked for %d times, no round makes an epoch that counts its "
               "lies, or what is missing",
               (int)TRAIN_TRIES);
    return false;
}

bool models_story_settle(struct models_story *s)
{
    return settle(s) && check_train(s);
}

void models_story_remark(const struct models_story *s, char *text, size_t size)
{
    size_t crashes = 0;
    for (size_t i = 0; i < PHASES; i++)
        crashes += s->crashes[i];
    snprintf(text, size,
             "%llu epochs, %zu adopted, %zu rounds crashed, KS %.4f, %zu keys, "
             "%llu lies, %llu missing, %llu held back or changed, "
             "%llu refused",
             (unsigned long long)s->newest, s->adopted, crashes, s->ks, s->keys,
             (unsigned long long)s->lies, (unsigned long long)s->missing,
             (unsigned long long)spoiled(s), (unsigned long long)s->refused);
}
