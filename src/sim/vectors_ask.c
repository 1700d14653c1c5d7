/* SPDX-License-Identifier: Apache-2.0 */

/* What clients of collections ask for. */

#include <stdio.h>
#include <string.h>

#include "sim/vectors_inner.h"
#include "vector/vector_record.h"
#include "wire/mp.h"

static void reset(struct seeker *s, struct room *room, enum seek_kind kind,
                  enum op op)
{
    s->room = room;
    s->kind = kind;
    s->number++;
    s->write_count = 0;
    s->maybe = false;
    buf_reset(&s->body);
    s->request = (struct request){ .op = (uint8_t)op,
                                   .keyspace_name = span_str(room->name) };
}

/* Names of all kinds: short and long, text and bytes, first and last. */
static size_t new_id(struct seeker *s)
{
    struct past *past = s->room->past;
    struct rng *rng = &s->story->rng;
    size_t n = past_id_count(past);
    char name[64];
    int len =
        snprintf(name, sizeof name, "%c%c-%zu", 'a' + (int)rng_below(rng, 26),
                 'a' + (int)rng_below(rng, 26), n);
    if (n % 7 == 3) {
        name[0] = (char)(uint8_t)rng_below(rng, 256);
        name[1] = (char)(uint8_t)rng_below(rng, 256);
    }
    if (n % 11 == 5)
        len = snprintf(name, sizeof name, "%050zu", n);
    return past_add_id(past, span_of((const uint8_t *)name, (size_t)len));
}

/* Mostly one that no lost write may still change. */
static size_t draw_id(struct seeker *s)
{
    struct past *past = s->room->past;
    struct rng *rng = &s->story->rng;
    size_t count = past_id_count(past), id = 0;
    if (count == 0 || (count < s->room->ids_max && rng_chance(rng, 0.1)))
        return new_id(s);
    for (int tries = 0; tries < 5; tries++) {
        id = (size_t)rng_below(rng, count);
        if (!past_is_doubtful(past, id) || rng_chance(rng, 0.1))
            break;
    }
    return id;
}

static bool is_written(const struct seeker *s, size_t id)
{
    for (size_t i = 0; i < s->write_count; i++)
        if (s->writes[i].id == id)
            return true;
    return false;
}

static uint64_t note(struct seeker *s, size_t id, bool put)
{
    struct past *past = s->room->past;
    uint64_t value = put ? past_draw(past, id) : 0;
    uint64_t write = past_begin(past, id, value, world_now_ns(s->story->world));
    s->writes[s->write_count++] = (struct seek_write){ id, write };
    return value;
}

static void add_record(struct seeker *s, uint64_t value, struct buf *out)
{
    const struct room *room = s->room;
    struct buf json = { 0 }, meta = { 0 };
    struct meta_error error;
    float vector[PAST_DIM_MAX];
    past_vector(room->past, value, vector);
    past_meta(room->past, value, &json);
    if (meta_parse(buf_span(&json), &meta, &error) != 0)
        world_fail(s->story->world, "codec", "metadata: %s", error.text);
    vector_record_pack(vector, room->dim, buf_span(&meta), out);
    buf_deinit(&json);
    buf_deinit(&meta);
}

static void add_batched(struct seeker *s, size_t id)
{
    struct buf record = { 0 };
    add_record(s, note(s, id, true), &record);
    mp_write_bin(&s->body, past_id(s->room->past, id));
    mp_write_bin(&s->body, buf_span(&record));
    s->request.list_count += 2;
    buf_deinit(&record);
}

void vectors_ask_load(struct seeker *s, struct room *room, size_t count)
{
    reset(s, room, SEEK_BATCH, OP_BATCH);
    for (size_t i = 0; i < count; i++)
        add_batched(s, new_id(s));
    s->request.list = buf_span(&s->body);
}

static void ask_batch(struct seeker *s)
{
    size_t count = (size_t)rng_range(&s->story->rng, 1, BATCH_MAX);
    reset(s, s->room, SEEK_BATCH, OP_BATCH);
    for (size_t i = 0; i < count; i++) {
        size_t id = draw_id(s);
        if (!is_written(s, id))
            add_batched(s, id);
    }
    s->request.list = buf_span(&s->body);
}

static void write_vector(struct seeker *s, const float *vector)
{
    uint32_t dim = s->room->dim;
    uint8_t bytes[PAST_DIM_MAX * sizeof(float)];
    mp_write_cstr(&s->body, "vector");
    if (rng_chance(&s->story->rng, 0.2)) {
        mp_write_array(&s->body, dim);
        for (uint32_t i = 0; i < dim; i++)
            mp_write_float(&s->body, (double)vector[i]);
        return;
    }
    vector_record_bytes(vector, dim, bytes);
    mp_write_bin(&s->body, span_of(bytes, dim * sizeof(float)));
}

static void ask_put(struct seeker *s)
{
    bool plain = rng_chance(&s->story->rng, 0.2); /* as a record */
    size_t id = draw_id(s);
    struct buf json = { 0 };
    reset(s, s->room, SEEK_PUT, plain ? OP_PUT : OP_VECTOR_PUT);
    uint64_t value = note(s, id, true);
    s->request.key = past_id(s->room->past, id);
    if (plain) {
        add_record(s, value, &s->body);
    } else {
        float vector[PAST_DIM_MAX];
        past_vector(s->room->past, value, vector);
        past_meta(s->room->past, value, &json);
        mp_write_map(&s->body, 2);
        write_vector(s, vector);
        mp_write_cstr(&s->body, "meta");
        mp_write_str(&s->body, buf_span(&json));
        buf_deinit(&json);
    }
    s->request.value = buf_span(&s->body);
}

static void ask_del(struct seeker *s)
{
    size_t id = draw_id(s);
    reset(s, s->room, SEEK_DEL, OP_DEL);
    (void)note(s, id, false);
    s->request.key = past_id(s->room->past, id);
}

static void ask_get(struct seeker *s)
{
    s->id = draw_id(s);
    reset(s, s->room, SEEK_GET, OP_VECTOR_GET);
    s->request.key = past_id(s->room->past, s->id);
    if (rng_chance(&s->story->rng, 0.2))
        s->request.flags |= REQUEST_STRICT;
}

/* Near one that was written. */
static void draw_query(struct seeker *s)
{
    struct rng *rng = &s->story->rng;
    struct past *past = s->room->past;
    float drawn[PAST_DIM_MAX] = { 1 };
    uint64_t count = past_value_count(past);
    if (count > 0)
        past_vector(past, rng_range(rng, 1, count), drawn);
    for (uint32_t i = 0; i < s->room->dim; i++)
        s->vector[i] = drawn[i] + (float)(rng_real(rng) - 0.5) * 0.2F;
    s->search.vector = s->vector;
}

static void pack_search(struct seeker *s, uint32_t ef, bool exact)
{
    struct buf *b = &s->body;
    struct rng *rng = &s->story->rng;
    const char *filter = past_filter(s->search.filter);
    mp_write_map(b, 6 + (filter != NULL));
    if (s->search.vector) {
        write_vector(s, s->vector);
    } else {
        mp_write_cstr(b, "id");
        mp_write_bin(b, past_id(s->room->past, s->search.by_id));
    }
    mp_write_cstr(b, "k");
    mp_write_uint(b, s->search.k);
    mp_write_cstr(b, "ef");
    mp_write_uint(b, ef);
    mp_write_cstr(b, "exact");
    mp_write_bool(b, exact);
    s->meta = rng_chance(rng, 0.6);
    mp_write_cstr(b, "meta");
    mp_write_bool(b, s->meta);
    s->vectors = rng_chance(rng, 0.3);
    mp_write_cstr(b, "vectors");
    mp_write_bool(b, s->vectors);
    if (filter) {
        mp_write_cstr(b, "filter");
        mp_write_cstr(b, filter);
    }
    s->request.value = buf_span(b);
}

static void ask_search(struct seeker *s)
{
    static const size_t COUNTS[] = { 1, 3, 5, 10, 10, 10, 40, 500 };
    struct rng *rng = &s->story->rng;
    bool by_id = past_id_count(s->room->past) > 0 && rng_chance(rng, 0.15);
    size_t id = by_id ? draw_id(s) : SIZE_MAX;
    reset(s, s->room, SEEK_SEARCH, OP_SEARCH);
    s->search =
        (struct past_search){ .by_id = id, .k = COUNTS[rng_below(rng, 8)] };
    if (!by_id)
        draw_query(s);
    if (rng_chance(rng, 0.5))
        s->search.filter = (int)rng_range(rng, 1, PAST_FILTERS);
    s->search.stale = rng_chance(rng, 0.15);
    if (s->search.stale)
        s->request.flags |= REQUEST_STALE;
    else if (rng_chance(rng, 0.2))
        s->request.flags |= REQUEST_STRICT;
    pack_search(s, rng_chance(rng, 0.5) ? 0 : 12, rng_chance(rng, 0.45));
}

void vectors_ask_all(struct seeker *s, struct room *room, bool stale,
                     bool exact)
{
    reset(s, room, SEEK_SEARCH, OP_SEARCH);
    s->search = (struct past_search){ .by_id = SIZE_MAX,
                                      .k = HITS_MAX,
                                      .stale = stale };
    if (stale)
        s->request.flags |= REQUEST_STALE;
    draw_query(s);
    pack_search(s, 0, exact);
}

static void ask_admin(struct seeker *s)
{
    bool rebuild = rng_chance(&s->story->rng, 0.25);
    reset(s, s->room, SEEK_ADMIN, OP_VECTORS);
    s->story->stats.rebuilds += rebuild;
    mp_write_map(&s->body, 1);
    mp_write_cstr(&s->body, "action");
    mp_write_cstr(&s->body, rebuild ? "rebuild" : "info");
    s->request.value = buf_span(&s->body);
}

void vectors_ask_any(struct seeker *s)
{
    struct vectors_story *t = s->story;
    static void (*const ASKS[])(struct seeker *) = {
        ask_put,    ask_put,    ask_put,    ask_put,    ask_batch,
        ask_del,    ask_del,    ask_get,    ask_get,    ask_search,
        ask_search, ask_search, ask_search, ask_search, ask_search,
        ask_search, ask_search, ask_search, ask_search, ask_admin
    };
    s->room = &t->rooms[rng_below(&t->rng, t->room_count)];
    ASKS[rng_below(&t->rng, sizeof ASKS / sizeof *ASKS)](s);
    if (s->kind != SEEK_GET && s->kind != SEEK_SEARCH &&
        s->kind != SEEK_ADMIN && rng_chance(&t->rng, 0.05))
        s->request.flags |= REQUEST_ALL;
}
