/* SPDX-License-Identifier: Apache-2.0 */

/* What was written to a collection, and what may be answered. */

#include "sim/vectors_past.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    TEXT_MAX = 400,
    META_TEXT_MAX = 80,
    SHOWN_MAX = 64, /* of an id, in messages */
    COLORS = 4      /* the last: none */
};
/* Of the sums of floats in another order. */
static const double SLACK = 1e-4;

struct write {
    uint64_t value; /* 0: removed */
    uint64_t call_ns;
    uint64_t end_ns; /* UINT64_MAX: open, or nobody knows */
    uint64_t version;
};

struct named {
    struct span name; /* owned */
    char shown[SHOWN_MAX];
    struct write *writes;
    size_t count, cap;
    uint64_t newest; /* of its values */
};

struct value {
    size_t id;
    uint64_t before; /* another one of the id; 0: none */
    uint64_t version;
    uint64_t call_ns;
    float vector[PAST_DIM_MAX];
    uint8_t color, x;
};

struct past {
    uint64_t seed;
    uint32_t dim;
    enum metric metric;
    struct named *ids;
    size_t id_count, id_cap;
    struct value *values; /* from 1 on */
    size_t value_count, value_cap;
    char text[TEXT_MAX];
};

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct past *past_new(uint64_t seed, uint32_t dim, enum metric metric)
{
    struct past *past = need(mem_zero(1, sizeof *past));
    past->seed = seed;
    past->dim = dim;
    past->metric = metric;
    return past;
}

void past_free(struct past *past)
{
    if (!past)
        return;
    for (size_t i = 0; i < past->id_count; i++) {
        free((void *)(uintptr_t)past->ids[i].name.data);
        free(past->ids[i].writes);
    }
    free(past->ids);
    free(past->values);
    free(past);
}

/* Ids and values */

static void add_write(struct named *id, const struct write *write)
{
    if (id->count == id->cap) {
        id->cap = id->cap ? 2 * id->cap : 8;
        id->writes = need(mem_resize(id->writes, id->cap, sizeof *id->writes));
    }
    id->writes[id->count++] = *write;
}

size_t past_add_id(struct past *past, struct span name)
{
    if (past->id_count == past->id_cap) {
        past->id_cap = past->id_cap ? 2 * past->id_cap : 64;
        past->ids =
            need(mem_resize(past->ids, past->id_cap, sizeof *past->ids));
    }
    uint8_t *bytes = need(malloc(name.len + 1));
    memcpy(bytes, name.data, name.len);
    struct named *id = &past->ids[past->id_count];
    *id = (struct named){ .name = span_of(bytes, name.len) };
    for (size_t i = 0; i < name.len && i + 1 < SHOWN_MAX; i++)
        id->shown[i] =
            (char)(bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?');
    add_write(id, &(struct write){ 0 }); /* at first it is not there */
    return past->id_count++;
}

size_t past_id_count(const struct past *past)
{
    return past->id_count;
}

struct span past_id(const struct past *past, size_t id)
{
    return past->ids[id].name;
}

bool past_is_doubtful(const struct past *past, size_t id)
{
    const struct named *n = &past->ids[id];
    for (size_t i = 0; i < n->count; i++)
        if (n->writes[i].end_ns == UINT64_MAX)
            return true;
    return false;
}

static size_t find_id(const struct past *past, struct span name)
{
    for (size_t i = 0; i < past->id_count; i++)
        if (span_equal(past->ids[i].name, name))
            return i;
    return SIZE_MAX;
}

/* Around one of a few middles, so that neighbours are near. */
uint64_t past_draw(struct past *past, size_t id)
{
    struct rng rng, middle;
    if (past->value_count == past->value_cap) {
        past->value_cap = past->value_cap ? 2 * past->value_cap : 256;
        past->values = need(mem_resize(past->values, past->value_cap + 1,
                                       sizeof *past->values));
    }
    uint64_t number = ++past->value_count;
    struct value *v = &past->values[number];
    *v = (struct value){ .id = id,
                         .before = past->ids[id].newest,
                         .call_ns = UINT64_MAX };
    past->ids[id].newest = number;
    rng_init(&rng, hash64_mix(past->seed, number));
    rng_init(&middle, hash64_mix(past->seed, rng_below(&rng, 5) << 32));
    for (uint32_t i = 0; i < past->dim; i++)
        v->vector[i] =
            (float)(rng_real(&middle) * 2 - 1 + (rng_real(&rng) - 0.5) * 1.2);
    v->vector[rng_below(&rng, past->dim)] += 0.01F; /* no zero vector */
    v->color = (uint8_t)rng_below(&rng, COLORS);
    v->x = (uint8_t)rng_below(&rng, 10);
    return number;
}

uint64_t past_value_count(const struct past *past)
{
    return past->value_count;
}

void past_vector(const struct past *past, uint64_t value, float *out)
{
    memcpy(out, past->values[value].vector, past->dim * sizeof *out);
}

static const char *const colors[COLORS] = { "red", "green", "blue", NULL };

static void say_meta(const struct past *past, uint64_t value,
                     char text[META_TEXT_MAX])
{
    const struct value *v = &past->values[value];
    if (colors[v->color])
        snprintf(text, META_TEXT_MAX, "{\"c\": \"%s\", \"n\": %llu, \"x\": %u}",
                 colors[v->color], (unsigned long long)value, v->x);
    else
        snprintf(text, META_TEXT_MAX, "{\"n\": %llu, \"x\": %u}",
                 (unsigned long long)value, v->x);
}

void past_meta(const struct past *past, uint64_t value, struct buf *json)
{
    char text[META_TEXT_MAX];
    say_meta(past, value, text);
    buf_append_span(json, span_str(text));
}

/* Filters, and what they mean */

static const char *const filters[PAST_FILTERS] = {
    "c = 'red'",
    "x < 3",
    "c != 'blue' and x >= 5",
    "c in ('red', 'green') or x = 7",
    "not exists c",
    "not (c = 'green' or x > 1)",
    "x = 4",
    "n > 0"
};

const char *past_filter(int filter)
{
    return filter ? filters[filter - 1] : NULL;
}

static bool passes(const struct past *past, uint64_t value, int filter)
{
    enum {
        RED,
        GREEN,
        BLUE,
        NONE
    };
    const struct value *v = &past->values[value];
    switch (filter) {
    case 1:
        return v->color == RED;
    case 2:
        return v->x < 3;
    case 3:
        return v->color != BLUE && v->color != NONE && v->x >= 5;
    case 4:
        return v->color == RED || v->color == GREEN || v->x == 7;
    case 5:
        return v->color == NONE;
    case 6:
        return !(v->color == GREEN || v->x > 1);
    case 7:
        return v->x == 4;
    default:
        return true;
    }
}

static double distance(const struct past *past, const float *a, uint64_t value)
{
    const float *b = past->values[value].vector;
    double square = 0, product = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < past->dim; i++) {
        double x = (double)a[i], y = (double)b[i];
        square += (x - y) * (x - y);
        product += x * y;
        aa += x * x;
        bb += y * y;
    }
    if (past->metric == METRIC_L2)
        return square;
    return past->metric == METRIC_IP ? -product : 1 - product / sqrt(aa * bb);
}

static double slack_of(double d)
{
    return SLACK * (1 + fabs(d));
}

/* Writes */

uint64_t past_begin(struct past *past, size_t id, uint64_t value,
                    uint64_t now_ns)
{
    struct named *n = &past->ids[id];
    if (value)
        past->values[value].call_ns = now_ns;
    add_write(n, &(struct write){
                     .value = value, .call_ns = now_ns, .end_ns = UINT64_MAX });
    return n->count - 1;
}

void past_done(struct past *past, size_t id, uint64_t write, uint64_t version,
               uint64_t now_ns)
{
    struct write *w = &past->ids[id].writes[write];
    w->end_ns = now_ns;
    w->version = version;
    if (w->value)
        past->values[w->value].version = version;
}

void past_never(struct past *past, size_t id, uint64_t write)
{
    struct write *w = &past->ids[id].writes[write];
    w->call_ns = UINT64_MAX;
    if (w->value)
        past->values[w->value].call_ns = UINT64_MAX;
    w->end_ns = 0; /* neither open nor begun */
}

/* Since when no value is possible that another one replaced by from_ns. */
static uint64_t replaced_by(const struct named *n, uint64_t from_ns)
{
    uint64_t latest = 0;
    for (size_t i = 0; i < n->count; i++) {
        const struct write *w = &n->writes[i];
        if (w->call_ns != UINT64_MAX && w->end_ns < from_ns &&
            w->call_ns > latest)
            latest = w->call_ns;
    }
    return latest;
}

static bool is_possible(const struct write *w, uint64_t replaced,
                        uint64_t to_ns)
{
    return w->call_ns <= to_ns && w->call_ns != UINT64_MAX &&
           w->end_ns >= replaced;
}

/* Verdicts */

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static const char *
broken(struct past *past, const char *invariant, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(past->text, sizeof past->text, format, args);
    va_end(args);
    return invariant;
}

const char *past_text(const struct past *past)
{
    return past->text;
}

/* Whether the hit can be this value. query NULL: there is no distance. */
static bool fits(const struct past *past, const struct past_hit *hit,
                 uint64_t value, const float *query, int filter)
{
    const struct value *v = &past->values[value];
    char meta[META_TEXT_MAX];
    if (v->version && hit->version != v->version)
        return false;
    if (query) {
        double d = distance(past, query, value);
        if (!(fabs(hit->distance - d) <= slack_of(d)))
            return false;
    }
    say_meta(past, value, meta);
    if (hit->has_meta && !span_equal(hit->meta, span_str(meta)))
        return false;
    if (hit->has_vector &&
        !span_equal(hit->vector, span_of((const uint8_t *)v->vector,
                                         past->dim * sizeof *v->vector)))
        return false;
    return passes(past, value, filter);
}

/* A hit that is none of the values that its id may have had. */
static const char *unlike(struct past *past, const struct named *n,
                          const struct past_search *s, const float *query,
                          const struct past_hit *hit)
{
    char known[200] = "";
    size_t at = 0;
    for (uint64_t v = n->newest; v && at + 60 < sizeof known;
         v = past->values[v].before)
        at += (size_t)snprintf(
            known + at, sizeof known - at, " %llu: %.6f, version %llu;",
            (unsigned long long)v, query ? distance(past, query, v) : 0.0,
            (unsigned long long)past->values[v].version);
    return broken(past, "vectors_value",
                  "%s is found at %.6f, version %llu, %.*s%s%s, filter %s, "
                  "but is%s",
                  n->shown, hit->distance, (unsigned long long)hit->version,
                  (int)hit->meta.len,
                  hit->meta.len ? (const char *)hit->meta.data : "",
                  s->exact ? ", exact" : "", s->stale ? ", stale" : "",
                  s->filter ? past_filter(s->filter) : "none", known);
}

/* It is one of the values that the id may have had. */
static const char *judge_hit(struct past *past, size_t id,
                             const struct past_search *s, const float *query,
                             const struct past_hit *hit)
{
    const struct named *n = &past->ids[id];
    size_t there = 0;
    if (s->stale) {
        for (uint64_t v = n->newest; v; v = past->values[v].before) {
            bool begun = past->values[v].call_ns <= s->to_ns;
            there += begun;
            if (begun && fits(past, hit, v, query, s->filter))
                return NULL;
        }
    } else {
        uint64_t replaced = replaced_by(n, s->from_ns);
        for (size_t i = 0; i < n->count; i++) {
            const struct write *w = &n->writes[i];
            if (!w->value || !is_possible(w, replaced, s->to_ns))
                continue;
            there++;
            if (fits(past, hit, w->value, query, s->filter))
                return NULL;
        }
    }
    if (there == 0)
        return broken(past, "A9_deleted",
                      "%s is found (version %llu, %.*s) and cannot be there",
                      n->shown, (unsigned long long)hit->version,
                      (int)hit->meta.len, (const char *)hit->meta.data);
    return unlike(past, n, s, query, hit);
}

/* Where an id may be: from near to far. */
struct reach {
    bool may, must; /* be there, and pass the filter */
    double near, far;
};

static void reach_of(const struct past *past, size_t id,
                     const struct past_search *s, const float *query,
                     struct reach *out)
{
    const struct named *n = &past->ids[id];
    uint64_t replaced = replaced_by(n, s->from_ns);
    *out = (struct reach){ .must = true, .near = INFINITY, .far = -INFINITY };
    for (size_t i = 0; i < n->count; i++) {
        const struct write *w = &n->writes[i];
        if (!is_possible(w, replaced, s->to_ns))
            continue;
        if (!w->value || !passes(past, w->value, s->filter)) {
            out->must = false;
            continue;
        }
        double d = distance(past, query, w->value);
        out->may = true;
        out->near = fmin(out->near, d);
        out->far = fmax(out->far, d);
    }
    out->must = out->must && out->may;
}

static bool is_hit(const struct past *past, size_t id,
                   const struct past_hit *hits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(hits[i].id, past->ids[id].name))
            return true;
    return false;
}

static const char *judge_order(struct past *past, const struct past_search *s,
                               const struct past_hit *hits, size_t count)
{
    if (count > s->k)
        return broken(past, "vectors_count", "%zu hits of %zu", count, s->k);
    for (size_t i = 0; i < count; i++) {
        if (i && hits[i].distance < hits[i - 1].distance)
            return broken(past, "vectors_order", "hit %zu is nearer than %zu",
                          i, i - 1);
        for (size_t j = 0; j < i; j++)
            if (span_equal(hits[i].id, hits[j].id))
                return broken(past, "vectors_once",
                              "%s is told twice, as hits %zu and %zu",
                              past->ids[find_id(past, hits[i].id)].shown, j, i);
    }
    return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distance within which all that must be there is among the k nearest. */
static double sure_within(const struct past_search *s, const struct reach *all,
                          size_t count)
{
    double *near = need(mem_array(count + 1, sizeof *near));
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].may)
            near[n++] = all[i].near;
    qsort(near, n, sizeof *near, compare_doubles);
    double within = n > s->k ? near[s->k] : INFINITY;
    free(near);
    return within;
}

static const char *judge_missing(struct past *past, const struct past_search *s,
                                 const struct reach *all,
                                 const struct past_hit *hits, size_t count,
                                 struct past_recall *recall)
{
    double last = count < s->k ? (double)INFINITY : hits[count - 1].distance;
    double sure = sure_within(s, all, past->id_count);
    size_t must = 0;
    for (size_t id = 0; id < past->id_count; id++) {
        if (!all[id].must)
            continue;
        must++;
        bool found = is_hit(past, id, hits, count);
        if (s->exact && !found && all[id].far < last - slack_of(last))
            return broken(past, "vectors_lost",
                          "%s at %.6f is not among %zu of %zu hits, the "
                          "last at %.6f",
                          past->ids[id].shown, all[id].far, count, s->k, last);
        if (!s->exact && all[id].far < sure - slack_of(all[id].far)) {
            recall->wanted++;
            recall->found += found;
        }
    }
    if (count < s->k && count < must)
        return broken(past, "vectors_few", "%zu hits of %zu, %zu are there",
                      count, s->k, must);
    return NULL;
}

static const char *judge_by(struct past *past, const struct past_search *s,
                            const float *query, const struct past_hit *hits,
                            size_t count, struct past_recall *recall)
{
    const char *wrong = NULL;
    for (size_t i = 0; !wrong && i < count; i++) {
        size_t id = find_id(past, hits[i].id);
        if (id == SIZE_MAX)
            wrong = broken(past, "vectors_value", "an id nobody wrote");
        else if (id == s->by_id)
            wrong = broken(past, "vectors_value",
                           "the id that was searched with is a hit");
        else
            wrong = judge_hit(past, id, s, query, &hits[i]);
    }
    wrong = wrong ? wrong : judge_order(past, s, hits, count);
    if (wrong || s->stale || s->partial)
        return wrong;
    struct reach *all = need(mem_zero(past->id_count + 1, sizeof *all));
    for (size_t id = 0; id < past->id_count; id++)
        if (id != s->by_id)
            reach_of(past, id, s, query, &all[id]);
    wrong = judge_missing(past, s, all, hits, count, recall);
    free(all);
    return wrong;
}

const char *past_judge(struct past *past, const struct past_search *s,
                       const struct past_hit *hits, size_t count,
                       struct past_recall *recall)
{
    struct past_recall none = { 0 };
    if (s->vector)
        return judge_by(past, s, s->vector, hits, count, recall);
    /* With the vector of an id: of the values that it may have had one must
     * explain the answer. */
    const struct named *n = &past->ids[s->by_id];
    uint64_t replaced = replaced_by(n, s->from_ns);
    size_t tried = 0;
    const char *wrong = NULL;
    for (size_t i = 0; i < n->count; i++) {
        const struct write *w = &n->writes[i];
        if (!w->value || !is_possible(w, replaced, s->to_ns))
            continue;
        tried++;
        wrong = judge_by(past, s, past->values[w->value].vector, hits, count,
                         &none);
        if (!wrong)
            return NULL;
    }
    return tried ? wrong
                 : broken(past, "A9_deleted",
                          "a search by %s is answered, which is not there",
                          n->shown);
}

const char *past_judge_get(struct past *past, size_t id, uint64_t from_ns,
                           uint64_t to_ns, const struct past_hit *hit)
{
    struct past_search s = { .from_ns = from_ns, .to_ns = to_ns };
    if (hit)
        return judge_hit(past, id, &s, NULL, hit);
    const struct named *n = &past->ids[id];
    uint64_t replaced = replaced_by(n, from_ns);
    for (size_t i = 0; i < n->count; i++)
        if (!n->writes[i].value && is_possible(&n->writes[i], replaced, to_ns))
            return NULL;
    return broken(past, "vectors_lost", "%s is not found", n->shown);
}

size_t past_count(const struct past *past, uint64_t now_ns)
{
    float zero[PAST_DIM_MAX] = { 1 };
    struct past_search s = { .from_ns = now_ns, .to_ns = now_ns };
    size_t count = 0;
    for (size_t id = 0; id < past->id_count; id++) {
        struct reach r;
        reach_of(past, id, &s, zero, &r);
        count += r.must;
    }
    return count;
}
