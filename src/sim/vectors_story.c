/* SPDX-License-Identifier: Apache-2.0 */

/* Collections under faults: life. */

#include "sim/vectors_story.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/inspect.h"
#include "sim/vectors_inner.h"
#include "wire/mp.h"

enum {
    TIMEOUT_MS_MAX = 60000,
    EF_CONSTRUCTION = 40,
    DIM_MAX = 10,
    RECALL_WANTED_MIN = 100 /* for a verdict on recall */
};
/* Inner products know no triangle: a graph may miss half of what is near. */
static const double RECALL_MIN[METRICS] = {
    [METRIC_L2] = 0.9, [METRIC_COSINE] = 0.9, [METRIC_IP] = 0.4
};
static const uint64_t STEP_NS = 50 * WORLD_MS;
/* After all is whole again: leaders are still moved. */
static const uint64_t CALM_NS = 3 * WORLD_S;

static void attempt(struct seeker *s);
static void think(struct seeker *s);

/* Collections */

static void draw_room(struct vectors_story *t, size_t i, enum metric metric)
{
    static const char *const CODES[] = { "none", "f16", "int8", "int8" };
    static const char *const FIELDS[] = { "c", "x", "c,x" };
    struct rng *rng = &t->rng;
    struct room *room = &t->rooms[i];
    *room = (struct room){ .dim = (uint32_t)rng_range(rng, 4, DIM_MAX),
                           .metric = metric,
                           .hashed = rng_chance(rng, 0.4),
                           .replicas = rng_chance(rng, 0.15) ? 5 : 3,
                           .quantization = CODES[rng_below(rng, 4)],
                           .index = rng_chance(rng, 0.25) ? "exact" : "hnsw",
                           .m = (uint32_t)rng_range(rng, 6, 12),
                           .ef = (uint32_t)rng_range(rng, 16, 64) };
    if (rng_chance(rng, 0.6))
        room->fields = FIELDS[rng_below(rng, 3)];
    /* Beyond 128 on a node its graph is walked. */
    room->ids_max = rng_chance(rng, 0.4) ? (size_t)rng_range(rng, 20, 150)
                                         : (size_t)rng_range(rng, 250, 600);
    snprintf(room->name, sizeof room->name, "vectors-%zu", i);
    room->past = past_new(rng_next(rng), room->dim, metric);
}

static void open_seeker(struct vectors_story *t, struct seeker *s, size_t i)
{
    s->story = t;
    s->index = (uint32_t)i;
    s->session = id_random(&t->rng);
    s->peer = SIZE_MAX;
}

struct vectors_story *vectors_story_new(struct world *world, uint64_t seed)
{
    struct vectors_story *t = mem_zero(1, sizeof *t);
    if (!t) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    t->world = world;
    rng_init(&t->rng, seed);
    t->room_count = 1 + (size_t)rng_below(&t->rng, ROOMS_MAX);
    size_t metric = (size_t)rng_below(&t->rng, METRICS);
    for (size_t i = 0; i < t->room_count; i++)
        draw_room(t, i, (enum metric)((metric + i) % METRICS));
    t->seeker_count = (size_t)rng_range(&t->rng, 3, SEEKERS_MAX);
    t->think_ns = rng_range(&t->rng, 60, 250) * WORLD_MS;
    for (size_t i = 0; i < t->seeker_count; i++)
        open_seeker(t, &t->seekers[i], i);
    open_seeker(t, &t->last, SEEKERS_MAX);
    return t;
}

void vectors_story_free(struct vectors_story *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->room_count; i++)
        past_free(t->rooms[i].past);
    for (size_t i = 0; i < t->seeker_count; i++)
        buf_deinit(&t->seekers[i].body);
    buf_deinit(&t->last.body);
    free(t);
}

static bool run_for(struct vectors_story *t, uint64_t ns)
{
    return world_run(t->world, world_now_ns(t->world) + ns);
}

static void on_made(void *context, uint64_t argument,
                    const struct response *response)
{
    struct vectors_story *t = context;
    (void)argument;
    t->asked = false;
    t->made = response &&
              (response->status == DLHT_OK || response->status == DLHT_EEXISTS);
    if (response && response->status == DLHT_EINVAL)
        world_fail(t->world, "reply_fits", "a collection is refused: %.*s",
                   (int)response->text.len, (const char *)response->text.data);
}

static void write_option(struct buf *doc, const char *name, const char *value)
{
    mp_write_cstr(doc, name);
    mp_write_cstr(doc, value);
}

static void write_number(struct buf *doc, const char *name, uint32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    write_option(doc, name, text);
}

static void ask_to_make(struct vectors_story *t, const struct room *room)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 4);
    write_option(&doc, "name", room->name);
    write_option(&doc, "placement", room->hashed ? "hashed" : "ordered");
    mp_write_cstr(&doc, "replicas");
    mp_write_uint(&doc, room->replicas);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 7 + (room->fields != NULL));
    write_number(&doc, "vector-dim", room->dim);
    write_option(&doc, "vector-metric", metric_name(room->metric));
    write_number(&doc, "vector-m", room->m);
    write_number(&doc, "vector-ef", room->ef);
    write_number(&doc, "vector-ef-construction", EF_CONSTRUCTION);
    write_option(&doc, "vector-quantization", room->quantization);
    write_option(&doc, "vector-index", room->index);
    if (room->fields)
        write_option(&doc, "vector-fields", room->fields);
    struct request q = { .op = OP_KEYSPACE_CREATE, .timeout_ms = 3000 };
    q.value = buf_span(&doc);
    size_t by = (size_t)rng_below(&t->rng, world_peer_count(t->world));
    if (world_is_ready(t->world, by)) {
        t->asked = true;
        if (doc.failed ||
            world_request(t->world, by, &q, on_made, t, 0) != DLHT_OK)
            world_fail(t->world, "codec", "a collection cannot be asked for");
    }
    buf_deinit(&doc);
}

static bool make_room(struct vectors_story *t, const struct room *room,
                      uint64_t end_ns)
{
    world_trace(t->world,
                "%s: %s, %s, %u dimensions, %s, %s, m %u, ef %u, fields %s, "
                "%u replicas, up to %zu ids",
                room->name, room->hashed ? "hashed" : "ordered", room->index,
                (unsigned)room->dim, metric_name(room->metric),
                room->quantization, (unsigned)room->m, (unsigned)room->ef,
                room->fields ? room->fields : "none", (unsigned)room->replicas,
                room->ids_max);
    for (t->made = t->asked = false; !t->made || t->asked;) {
        if (!t->asked && !t->made)
            ask_to_make(t, room);
        if (world_now_ns(t->world) > end_ns)
            world_fail(t->world, "A10_keyspace", "%s is not made", room->name);
        if (!run_for(t, 100 * WORLD_MS))
            return false;
    }
    return true;
}

/* Until the client that is no other has its answer. */
static bool await_last(struct vectors_story *t)
{
    while (t->last.open)
        if (!run_for(t, STEP_NS))
            return false;
    return true;
}

bool vectors_story_make(struct vectors_story *t, uint64_t bound_ns)
{
    uint64_t end_ns = world_now_ns(t->world) + bound_ns;
    for (size_t i = 0; i < t->room_count; i++) {
        struct room *room = &t->rooms[i];
        if (!make_room(t, room, end_ns))
            return false;
        for (size_t n = rng_below(&t->rng, room->ids_max + 1); n > 0;) {
            size_t count = n < LOAD_MAX ? n : LOAD_MAX;
            n -= count;
            vectors_ask_load(&t->last, room, count);
            vectors_begin(&t->last);
            if (!await_last(t))
                return false;
        }
    }
    return true;
}

/* The end of a request */

static void close_request(struct seeker *s)
{
    s->open = false;
    s->story->open_count--;
    think(s);
}

static void end_writes(struct seeker *s, bool done, uint64_t version)
{
    struct past *past = s->room->past;
    uint64_t now = world_now_ns(s->story->world);
    if (s->kind == SEEK_DEL)
        version = 0;
    for (size_t i = 0; i < s->write_count; i++) {
        const struct seek_write *w = &s->writes[i];
        if (done)
            past_done(past, w->id, w->write,
                      s->kind == SEEK_BATCH ? 0 : version, now);
        else
            past_never(past, w->id, w->write);
    }
    s->story->stats.writes += done ? s->write_count : 0;
}

/* Nobody knows whether it was done. */
static void give_up(struct seeker *s)
{
    s->story->stats.unknown += s->write_count;
    close_request(s);
}

static void retry(struct seeker *s, uint64_t delay_ns);

/* This attempt did nothing. With all well there is no reason for it, given
 * time. */
static void refused(struct seeker *s, int status)
{
    struct vectors_story *t = s->story;
    bool again = s->kind != SEEK_SEARCH && rng_chance(&t->rng, 0.8);
    if (world_now_ns(t->world) < s->deadline_ns && (again || s->final)) {
        retry(s, rng_range(&t->rng, 20, 300) * WORLD_MS);
        return;
    }
    if (s->final)
        world_fail(t->world, "A10_answered", "%s: op %u is answered %s by n%zu",
                   s->room->name, (unsigned)s->request.op, dlht_errname(status),
                   s->peer);
    t->stats.refused++;
    if (s->maybe) {
        give_up(s);
        return;
    }
    end_writes(s, false, 0);
    close_request(s);
}

static void accept(struct seeker *s, const struct response *response)
{
    if (s->kind == SEEK_SEARCH)
        vectors_note_hits(s, response);
    else if (s->kind == SEEK_GET)
        vectors_note_found(s, response);
    else if (s->kind == SEEK_ADMIN && response->value.len)
        vectors_note_info(s, response);
    else
        end_writes(s, true, response->version);
    close_request(s);
}

static void answered(struct seeker *s, const struct response *response)
{
    struct vectors_story *t = s->story;
    switch (response->status) {
    case DLHT_OK:
        accept(s, response);
        return;
    case DLHT_ENOTFOUND:
        if (s->kind == SEEK_DEL)
            end_writes(s, true, 0);
        else
            vectors_note_absent(s);
        close_request(s);
        return;
    case DLHT_EUNKNOWN:
        s->maybe = true;
        if (world_now_ns(t->world) < s->deadline_ns && rng_chance(&t->rng, 0.5))
            retry(s, rng_range(&t->rng, 1, 200) * WORLD_MS);
        else
            give_up(s);
        return;
    case DLHT_ENOTSUP: /* a rebuild of what has no graph */
        if (s->kind != SEEK_ADMIN)
            break;
        close_request(s);
        return;
    case DLHT_EUNAVAILABLE:
    case DLHT_EBUSY:
    case DLHT_EFULL:
    case DLHT_ETIMEOUT:
    case DLHT_ENOTOWNER:
    case DLHT_ENOKEYSPACE:
    case DLHT_ECLOSED:
    case DLHT_ESTALE:
        refused(s, response->status);
        return;
    default:
        break;
    }
    world_fail(t->world, "reply_fits", "v%u.%llu, op %u, is answered %s: %.*s",
               (unsigned)s->index, (unsigned long long)s->number,
               (unsigned)s->request.op, dlht_errname(response->status),
               (int)response->text.len, (const char *)response->text.data);
}

/* argument: the attempt. */
static void on_reply(void *context, uint64_t argument,
                     const struct response *response)
{
    struct seeker *s = context;
    if (!s->open || argument != s->attempt)
        return; /* it did not wait for that one */
    s->attempt++;
    if (response) {
        world_trace(s->story->world, "v%u.%llu answered by n%zu: %s",
                    (unsigned)s->index, (unsigned long long)s->number, s->peer,
                    dlht_errname(response->status));
        answered(s, response);
        return;
    }
    s->maybe = true;
    retry(s, rng_range(&s->story->rng, 1, 100) * WORLD_MS);
}

static void on_patience_ends(void *context, uint64_t argument)
{
    struct seeker *s = context;
    if (!s->open || argument != s->attempt)
        return;
    s->attempt++;
    s->story->stats.late++;
    if (s->final)
        world_fail(s->story->world, "A10_answered", "n%zu does not answer",
                   s->peer);
    give_up(s);
}

/* Attempts */

static void on_retry(void *context, uint64_t argument)
{
    struct seeker *s = context;
    if (s->open && argument == s->attempt)
        attempt(s);
}

static void retry(struct seeker *s, uint64_t delay_ns)
{
    if (!s->final)
        s->peer = SIZE_MAX;
    world_after(s->story->world, delay_ns, on_retry, s, s->attempt);
}

static size_t choose_peer(struct seeker *s)
{
    struct world *w = s->story->world;
    size_t count = world_peer_count(w);
    if (s->final)
        return s->peer;
    size_t at = (size_t)rng_below(&s->story->rng, count);
    for (size_t i = 0; i < count; i++)
        if (world_is_ready(w, (at + i) % count))
            return (at + i) % count;
    return SIZE_MAX;
}

static void attempt(struct seeker *s)
{
    struct world *w = s->story->world;
    uint64_t now = world_now_ns(w);
    if (now >= s->deadline_ns) {
        s->attempt++;
        if (s->maybe)
            give_up(s);
        else
            refused(s, DLHT_ETIMEOUT);
        return;
    }
    s->peer = choose_peer(s);
    if (s->peer == SIZE_MAX || !world_is_up(w, s->peer)) {
        retry(s, 200 * WORLD_MS);
        return;
    }
    struct request *q = &s->request;
    uint64_t left_ms = (s->deadline_ns - now) / WORLD_MS + 1;
    q->timeout_ms =
        left_ms < TIMEOUT_MS_MAX ? (uint32_t)left_ms : TIMEOUT_MS_MAX;
    s->attempt++;
    world_trace(w, "v%u.%llu op %u of %s key %.*s asks n%zu",
                (unsigned)s->index, (unsigned long long)s->number,
                (unsigned)q->op, s->room->name, (int)q->key.len,
                q->key.len ? (const char *)q->key.data : "", s->peer);
    if (world_request(w, s->peer, q, on_reply, s, s->attempt) != DLHT_OK)
        world_fail(w, "codec", "a request does not pack");
    /* Nodes answer in time; if one does not, the client goes on. */
    world_after(w, s->deadline_ns - now + WORLD_S, on_patience_ends, s,
                s->attempt);
}

void vectors_begin(struct seeker *s)
{
    struct vectors_story *t = s->story;
    s->open = true;
    t->open_count++;
    s->call_ns = world_now_ns(t->world);
    uint64_t wait_ns = s->index == SEEKERS_MAX
                           ? 20 * WORLD_S
                           : rng_range(&t->rng, 2000, 6000) * WORLD_MS;
    s->deadline_ns = s->call_ns + wait_ns;
    s->request.session = s->session;
    s->request.number = s->number;
    s->request.lowest_open = s->number;
    attempt(s);
}

static void on_thought(void *context, uint64_t argument)
{
    struct seeker *s = context;
    (void)argument;
    if (!s->story->running || s->open)
        return;
    vectors_ask_any(s);
    vectors_begin(s);
}

static void think(struct seeker *s)
{
    struct vectors_story *t = s->story;
    if (t->running && s->index < SEEKERS_MAX)
        world_after(t->world, rng_range(&t->rng, 0, 2 * t->think_ns),
                    on_thought, s, 0);
}

/* Life */

void vectors_story_start(struct vectors_story *t)
{
    t->running = true;
    for (size_t i = 0; i < t->seeker_count; i++)
        if (!t->seekers[i].open)
            think(&t->seekers[i]);
}

void vectors_story_stop(struct vectors_story *t)
{
    t->running = false;
}

bool vectors_story_is_idle(const struct vectors_story *t)
{
    return t->open_count == 0;
}

void vectors_story_calm(struct vectors_story *t, bool calm)
{
    t->calm = calm;
    t->calm_ns = world_now_ns(t->world) + CALM_NS;
}

/* The end */

/* Every graph has all that its node holds. */
static bool await_graphs(struct vectors_story *t, uint64_t bound_ns)
{
    uint64_t end_ns = world_now_ns(t->world) + bound_ns;
    for (size_t i = 0; i < world_peer_count(t->world);) {
        const struct node *node = world_node(t->world, i);
        struct inspect_vectors v = { 0 };
        if (node && world_is_wanted(t->world, i))
            inspect_vectors(node, &v);
        if (!v.busy && v.reading == 0 && v.waiting == 0) {
            i++;
            continue;
        }
        if (world_now_ns(t->world) > end_ns)
            world_fail(t->world, "A10_vectors",
                       "n%zu: %llu arcs are read, %llu vectors wait%s", i,
                       (unsigned long long)v.reading,
                       (unsigned long long)v.waiting,
                       v.busy ? ", a job is out" : "");
        if (!run_for(t, STEP_NS))
            return false;
        i = 0;
    }
    return true;
}

static void check_graphs(struct vectors_story *t)
{
    for (size_t i = 0; i < world_peer_count(t->world); i++) {
        const struct node *node = world_node(t->world, i);
        struct inspect_vectors v = { 0 };
        if (!node)
            continue;
        inspect_vectors(node, &v);
        if (v.live != v.held || v.damaged)
            world_fail(t->world, "vectors_held",
                       "n%zu holds %llu vectors, finds %llu, %llu damaged", i,
                       (unsigned long long)v.held, (unsigned long long)v.live,
                       (unsigned long long)v.damaged);
        inspect_vectors_check(node);
    }
}

/* All of every collection, through the peer. Stale copies are held to all of
 * it, too: unless they have just been started, they have all. */
static bool ask_all(struct vectors_story *t, size_t peer, bool stale)
{
    for (size_t i = 0; i < t->room_count; i++)
        for (int way = 0; way < 3; way++) {
            struct seeker *s = &t->last;
            if (way == 1 && !stale)
                continue;
            vectors_ask_all(s, &t->rooms[i], way == 1, way < 2);
            s->final = true;
            s->peer = peer;
            s->search.stale = false;
            vectors_begin(s);
            if (!await_last(t))
                return false;
        }
    return true;
}

static bool await_ready(struct vectors_story *t, size_t peer, uint32_t starts,
                        uint64_t bound_ns)
{
    uint64_t end_ns = world_now_ns(t->world) + bound_ns;
    while (!world_is_ready(t->world, peer) ||
           world_starts(t->world, peer) <= starts) {
        if (world_now_ns(t->world) > end_ns)
            world_fail(t->world, "A10_vectors", "n%zu does not start again",
                       peer);
        if (!run_for(t, STEP_NS))
            return false;
    }
    return true;
}

/* All start again with what their files say: at once, or one by one. */
static bool restart_all(struct vectors_story *t, uint64_t bound_ns)
{
    struct world *w = t->world;
    bool one_by_one = rng_chance(&t->rng, 0.5);
    bool power = rng_chance(&t->rng, 0.5);
    for (size_t i = 0; i < world_peer_count(w); i++) {
        if (!world_is_wanted(w, i) || !world_is_ready(w, i))
            continue;
        uint32_t starts = world_starts(w, i);
        if (!one_by_one)
            world_crash(w, i, power);
        else
            world_stop(w, i);
        if (one_by_one && !await_ready(t, i, starts, bound_ns))
            return false;
    }
    for (size_t i = 0; i < world_peer_count(w); i++)
        if (world_is_wanted(w, i) && !world_is_up(w, i))
            world_start(w, i);
    for (size_t i = 0; i < world_peer_count(w); i++)
        if (world_is_wanted(w, i) && !await_ready(t, i, 0, bound_ns))
            return false;
    return true;
}

static bool compare_all(struct vectors_story *t, bool stale, uint64_t bound_ns)
{
    for (size_t i = 0; i < world_peer_count(t->world); i++)
        if (world_is_wanted(t->world, i) && world_is_ready(t->world, i) &&
            !ask_all(t, i, stale))
            return false;
    if (!await_graphs(t, bound_ns))
        return false;
    check_graphs(t);
    return world_failure(t->world, NULL) == NULL;
}

static void judge_recall(struct vectors_story *t, enum metric metric)
{
    const struct past_recall *recall = &t->stats.recall[metric];
    if (recall->wanted >= RECALL_WANTED_MIN &&
        (double)recall->found < RECALL_MIN[metric] * (double)recall->wanted)
        world_fail(t->world, "vectors_recall", "%s: %llu of %llu near ones",
                   metric_name(metric), (unsigned long long)recall->found,
                   (unsigned long long)recall->wanted);
}

bool vectors_story_settle(struct vectors_story *t, uint64_t bound_ns)
{
    if (!await_graphs(t, bound_ns))
        return false;
    check_graphs(t);
    if (!compare_all(t, true, bound_ns) || !restart_all(t, bound_ns) ||
        !compare_all(t, false, bound_ns))
        return false;
    for (size_t i = 0; i < world_peer_count(t->world); i++) {
        const struct node *node = world_node(t->world, i);
        struct inspect_vectors v = { 0 };
        if (node)
            inspect_vectors(node, &v);
        t->stats.adopted += v.adopted;
        t->stats.claimed += v.claimed;
    }
    for (enum metric m = METRIC_L2; m < METRICS; m++)
        judge_recall(t, m);
    return world_failure(t->world, NULL) == NULL;
}

void vectors_story_remark(const struct vectors_story *t, char *text,
                          size_t size)
{
    const struct vectors_stats *s = &t->stats;
    struct past_recall recall = { 0 };
    size_t there = 0;
    for (size_t i = 0; i < METRICS; i++) {
        recall.found += s->recall[i].found;
        recall.wanted += s->recall[i].wanted;
    }
    for (size_t i = 0; i < t->room_count; i++)
        there += past_count(t->rooms[i].past, world_now_ns(t->world));
    snprintf(text, size,
             "%zu vectors, %llu writes, %llu unknown, %llu gets, %llu "
             "searches: %llu exact, %llu stale, %llu partial, %llu refused, "
             "%llu hits, graphs found %llu of %llu, longest %.0f ms, %llu "
             "rebuilds, of %llu vectors in graph files %llu met",
             there, (unsigned long long)s->writes,
             (unsigned long long)s->unknown, (unsigned long long)s->gets,
             (unsigned long long)s->searches, (unsigned long long)s->exact,
             (unsigned long long)s->stale, (unsigned long long)s->partial,
             (unsigned long long)s->refused, (unsigned long long)s->hits,
             (unsigned long long)recall.found,
             (unsigned long long)recall.wanted, (double)s->longest_ns / 1e6,
             (unsigned long long)s->rebuilds, (unsigned long long)s->adopted,
             (unsigned long long)s->claimed);
}
