/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of collections. */

#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "sim/vectors_inner.h"
#include "wire/mp.h"

static void judge(struct seeker *s, const char *wrong)
{
    if (wrong)
        world_fail(s->story->world, wrong, "%s: v%u.%llu: %s", s->room->name,
                   (unsigned)s->index, (unsigned long long)s->number,
                   past_text(s->room->past));
}

static void malformed(struct seeker *s, const char *what)
{
    world_fail(s->story->world, "reply_fits", "v%u.%llu: %s",
               (unsigned)s->index, (unsigned long long)s->number, what);
}

void vectors_note_found(struct seeker *s, const struct response *response)
{
    struct past_hit hit = { .version = response->version };
    struct mp_reader r;
    mp_reader_init(&r, response->value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        hit.has_vector |= span_equal(field, span_str("vector"));
        hit.has_meta |= span_equal(field, span_str("meta"));
        if (span_equal(field, span_str("vector")))
            hit.vector = mp_read_bytes(&r);
        else
            hit.meta = mp_read_bytes(&r);
    }
    if (r.bad || !hit.has_vector || !hit.has_meta)
        malformed(s, "a vector's document is none");
    judge(s, past_judge_get(s->room->past, s->id, s->call_ns,
                            world_now_ns(s->story->world), &hit));
    s->story->stats.gets++;
}

/* Of a get, or of a search by an id. */
void vectors_note_absent(struct seeker *s)
{
    size_t id = s->kind == SEEK_GET ? s->id : s->search.by_id;
    if (id == SIZE_MAX) {
        malformed(s, "a search by a vector finds none");
        return;
    }
    judge(s, past_judge_get(s->room->past, id, s->call_ns,
                            world_now_ns(s->story->world), NULL));
    s->story->stats.gets++;
}

static bool read_hit(struct seeker *s, struct mp_reader *r, struct past_hit *h)
{
    struct mp_reader body;
    h->id = mp_read_bytes(r);
    mp_reader_init(&body, mp_read_bytes(r));
    h->version = mp_read_uint(r);
    bool three = mp_read_array(&body) == 3;
    h->distance = mp_read_float(&body);
    h->has_meta = mp_peek(&body) != MP_NIL;
    if (h->has_meta)
        h->meta = mp_read_bytes(&body);
    else
        mp_read_nil(&body);
    h->has_vector = mp_peek(&body) != MP_NIL;
    if (h->has_vector)
        h->vector = mp_read_bytes(&body);
    return !r->bad && !body.bad && three && h->has_meta == s->meta &&
           h->has_vector == s->vectors;
}

struct summary {
    bool partial, exact, told;
    uint64_t arcs_missing;
};

static void read_summary(struct span doc, struct summary *out)
{
    struct mp_reader r;
    *out = (struct summary){ 0 };
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("partial"))) {
            out->partial = mp_read_bool(&r);
            out->told = !r.bad;
        } else if (span_equal(field, span_str("exact")))
            out->exact = mp_read_bool(&r);
        else if (span_equal(field, span_str("arcs_missing")))
            out->arcs_missing = mp_read_uint(&r);
        else
            mp_skip(&r);
    }
    out->told = out->told && !r.bad;
}

static void count(struct seeker *s, const struct summary *sum, size_t hits)
{
    struct vectors_stats *stats = &s->story->stats;
    uint64_t took = world_now_ns(s->story->world) - s->call_ns;
    stats->searches++;
    stats->exact += s->search.exact && !sum->partial;
    stats->stale += s->search.stale;
    stats->partial += sum->partial;
    stats->hits += hits;
    if (took > stats->longest_ns)
        stats->longest_ns = took;
}

void vectors_note_hits(struct seeker *s, const struct response *response)
{
    struct vectors_story *t = s->story;
    struct past_hit *hits = mem_zero(response->list_count + 1, sizeof *hits);
    struct summary sum;
    struct mp_reader r;
    if (!hits)
        abort();
    read_summary(response->value, &sum);
    if (!sum.told || (!sum.partial && sum.arcs_missing))
        malformed(s, "a search's summary is none");
    mp_reader_init(&r, response->list);
    for (size_t i = 0; i < response->list_count; i++)
        if (!read_hit(s, &r, &hits[i])) {
            malformed(s, "a hit is none");
            break;
        }
    s->search.from_ns = s->call_ns;
    s->search.to_ns = world_now_ns(t->world);
    s->search.exact = sum.exact;
    s->search.partial = sum.partial;
    count(s, &sum, response->list_count);
    bool well = s->final || (t->calm && s->call_ns > t->calm_ns);
    if (sum.partial && well)
        world_fail(t->world, "A10_partial",
                   "%s: v%u.%llu: with all whole, %llu arcs did not answer",
                   s->room->name, (unsigned)s->index,
                   (unsigned long long)s->number,
                   (unsigned long long)sum.arcs_missing);
    if (!world_failure(t->world, NULL))
        judge(s,
              past_judge(s->room->past, &s->search, hits, response->list_count,
                         &t->stats.recall[s->room->metric]));
    free(hits);
}

void vectors_note_info(struct seeker *s, const struct response *response)
{
    struct mp_reader r;
    mp_reader_init(&r, response->value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (!span_equal(field, span_str("damaged")))
            mp_skip(&r);
        else if (mp_read_uint(&r) != 0)
            world_fail(s->story->world, "vectors_damaged",
                       "%s: n%zu has records that are no vectors",
                       s->room->name, s->peer);
    }
}
