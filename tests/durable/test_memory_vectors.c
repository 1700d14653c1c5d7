/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th allocation inside a node fails, for every n, while vectors are put,
 * removed, read and searched for, while their arc is cut and their graph is
 * made anew. Whatever fails, a search afterwards finds exactly what must be
 * there, and the same thing done again succeeds.
 *
 *     test_memory_vectors [exact] */

#include <string.h>

#include "dlht/err.h"
#include "durable/lack.h"
#include "durable/rig.h"
#include "sim/vectors_past.h"
#include "wire/mp.h"

enum {
    DIM = 4,
    FIRST = 40, /* vectors at first */
    HITS = 1000
};

static struct rig rig;
static struct past *past;
static uint64_t failures, now_of_past;

/* A question, packed before memory is short. */
struct question {
    struct request request;
    struct buf body;
};

static struct question question(uint8_t op)
{
    struct question q = { .request = { .op = op, .timeout_ms = 3000 } };
    q.request.keyspace_name = span_str("docs");
    return q;
}

static int ask(struct question *q)
{
    q->request.value = buf_span(&q->body);
    return rig_ask(&rig, &q->request, 6000) ? rig.response.status
                                            : (int)DLHT_ETIMEOUT;
}

static void write_vector(struct buf *doc, const float *vector)
{
    mp_write_cstr(doc, "vector");
    mp_write_bin(doc, span_of((const uint8_t *)vector, DIM * sizeof *vector));
}

static void write_flag(struct buf *doc, const char *name)
{
    mp_write_cstr(doc, name);
    mp_write_bool(doc, true);
}

static struct question put_of(size_t id, uint64_t value)
{
    struct question q = question(OP_VECTOR_PUT);
    struct buf json = { 0 };
    float vector[PAST_DIM_MAX];
    past_vector(past, value, vector);
    past_meta(past, value, &json);
    mp_write_map(&q.body, 2);
    write_vector(&q.body, vector);
    mp_write_cstr(&q.body, "meta");
    mp_write_str(&q.body, buf_span(&json));
    q.request.key = past_id(past, id);
    buf_deinit(&json);
    return q;
}

static struct question search_of(struct past_search *s, bool exact)
{
    struct question q = question(OP_SEARCH);
    static float vector[DIM] = { 0.5F, -0.25F, 1, 0.125F };
    *s = (struct past_search){ .by_id = SIZE_MAX,
                               .k = exact ? HITS : 5,
                               .vector = vector };
    s->filter = exact ? 0 : 2;
    mp_write_map(&q.body, 4);
    write_vector(&q.body, vector);
    mp_write_cstr(&q.body, "k");
    mp_write_uint(&q.body, s->k);
    write_flag(&q.body, "meta");
    if (exact) {
        write_flag(&q.body, "exact");
    } else {
        mp_write_cstr(&q.body, "filter");
        mp_write_cstr(&q.body, past_filter(s->filter));
    }
    return q;
}

/* For want of memory a part of the ring may not answer, which is said. */
static bool is_partial(void)
{
    struct mp_reader r;
    bool partial = false;
    mp_reader_init(&r, rig.response.value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        if (span_equal(mp_read_bytes(&r), span_str("partial")))
            partial = mp_read_bool(&r);
        else
            mp_skip(&r);
    }
    RIG_CHECK(!r.bad, "a search's summary is none");
    return partial;
}

/* The answer is judged as of now. */
static void judge(struct past_search *s)
{
    static struct past_hit hits[HITS + 1];
    struct past_recall recall = { 0 };
    struct mp_reader r, body;
    size_t count = rig.response.list_count;
    RIG_CHECK(count <= HITS, "%zu hits", count);
    mp_reader_init(&r, rig.response.list);
    for (size_t i = 0; i < count; i++) {
        hits[i] =
            (struct past_hit){ .id = mp_read_bytes(&r), .has_meta = true };
        mp_reader_init(&body, mp_read_bytes(&r));
        hits[i].version = mp_read_uint(&r);
        RIG_CHECK(mp_read_array(&body) == 3, "a hit is none");
        hits[i].distance = mp_read_float(&body);
        hits[i].meta = mp_read_bytes(&body);
        RIG_CHECK(!body.bad && !r.bad, "a hit is none");
    }
    s->partial = is_partial();
    s->exact = true; /* so few that all are looked at */
    s->from_ns = s->to_ns = now_of_past;
    const char *wrong = past_judge(past, s, hits, count, &recall);
    RIG_CHECK(!wrong, "%s: %s", wrong, past_text(past));
}

static void search_all(void)
{
    struct past_search s;
    struct question q = search_of(&s, true);
    int status = ask(&q);
    RIG_CHECK(status == DLHT_OK, "a search: %s", dlht_errname(status));
    judge(&s);
    RIG_CHECK(!s.partial, "with memory an answer is partial");
    buf_deinit(&q.body);
}

static bool is_refusal(int status)
{
    return status == DLHT_EBUSY || status == DLHT_ETIMEOUT ||
           status == DLHT_EUNAVAILABLE || status == DLHT_EUNKNOWN;
}

static bool ask_lacking(struct question *q, uint64_t n, int *status)
{
    lack_nth(n);
    *status = ask(q);
    rig_run(&rig, 100, false);
    bool happened = lack_happened();
    lack_nth(0);
    failures += happened;
    RIG_CHECK(happened || *status == DLHT_OK, "it fails by itself: %s",
              dlht_errname(*status));
    RIG_CHECK(*status == DLHT_OK || is_refusal(*status), "it is answered %s",
              dlht_errname(*status));
    RIG_CHECK(!rig.failed, "it ended: %s", rig.failed_text);
    rig_run(&rig, 600, false);
    node_check(rig.node);
    return happened;
}

/* A write that may have come about is in doubt until it is done again. */
static bool write_lacking(uint64_t n, size_t id, bool put)
{
    uint64_t value = put ? past_draw(past, id) : 0;
    uint64_t write = past_begin(past, id, value, ++now_of_past);
    struct question q = put ? put_of(id, value) : question(OP_DEL);
    int status;
    q.request.key = past_id(past, id);
    bool happened = ask_lacking(&q, n, &status);
    if (status != DLHT_OK) {
        search_all();
        status = ask(&q);
        RIG_CHECK(status == DLHT_OK || (!put && status == DLHT_ENOTFOUND),
                  "done again: %s", dlht_errname(status));
    }
    past_done(past, id, write, put ? rig.response.version : 0, ++now_of_past);
    now_of_past++;
    buf_deinit(&q.body);
    search_all();
    return happened;
}

static bool try_overwrite(uint64_t n)
{
    return write_lacking(n, n % FIRST, true);
}

static bool try_new(uint64_t n)
{
    char name[16];
    snprintf(name, sizeof name, "n%03u", (unsigned)past_id_count(past));
    return write_lacking(n, past_add_id(past, span_str(name)), true);
}

/* One that is there: the newest, which is then put again. */
static bool try_remove(uint64_t n)
{
    size_t id = past_id_count(past) - 1;
    bool happened = write_lacking(n, id, false);
    (void)write_lacking(0, id, true);
    return happened;
}

static bool try_search(uint64_t n, bool exact)
{
    struct past_search s;
    struct question q = search_of(&s, exact);
    int status;
    lack_nth(n);
    status = ask(&q);
    if (status == DLHT_OK)
        judge(&s);
    bool happened = lack_happened();
    lack_nth(0);
    failures += happened;
    RIG_CHECK(status == DLHT_OK || (happened && is_refusal(status)),
              "it is answered %s", dlht_errname(status));
    RIG_CHECK(!rig.failed, "it ended: %s", rig.failed_text);
    rig_run(&rig, 100, false);
    node_check(rig.node);
    buf_deinit(&q.body);
    search_all();
    return happened;
}

static bool try_exact(uint64_t n)
{
    return try_search(n, true);
}

static bool try_filter(uint64_t n)
{
    return try_search(n, false);
}

static bool try_rebuild(uint64_t n)
{
    struct question q = question(OP_VECTORS);
    int status;
    mp_write_map(&q.body, 1);
    mp_write_cstr(&q.body, "action");
    mp_write_cstr(&q.body, "rebuild");
    bool happened = ask_lacking(&q, n, &status);
    buf_deinit(&q.body);
    search_all();
    return happened;
}

/* What cannot be done for want of memory is left; the arc is cut anew. */
static bool try_split(uint64_t n)
{
    char at[16];
    snprintf(at, sizeof at, "v%02u%u", (unsigned)n % FIRST, (unsigned)n);
    size_t arcs = rig_arc_count(&rig, "docs");
    lack_nth(n);
    bool told = rig_split(&rig, "docs", n % arcs, span_str(at));
    rig_run(&rig, 200, false);
    bool happened = lack_happened();
    lack_nth(0);
    failures += happened;
    RIG_CHECK(told && !rig.failed, "it ended: %s", rig.failed_text);
    rig_run(&rig, 600, false);
    node_check(rig.node);
    search_all();
    return happened;
}

static void begin(bool exact_index)
{
    struct node_config config;
    struct question q = question(OP_KEYSPACE_CREATE);
    rig_config(&config, 7);
    config.durable = false;
    RIG_CHECK(rig_open(&rig, NULL, &config) == DLHT_OK, "opening");
    RIG_CHECK(rig_boot(&rig), "booting: %s", rig.failed_text);
    mp_write_map(&q.body, 2);
    mp_write_cstr(&q.body, "name");
    mp_write_cstr(&q.body, "docs");
    mp_write_cstr(&q.body, "options");
    mp_write_map(&q.body, 3);
    mp_write_cstr(&q.body, "vector-dim");
    mp_write_cstr(&q.body, "4");
    mp_write_cstr(&q.body, "vector-index");
    mp_write_cstr(&q.body, exact_index ? "exact" : "hnsw");
    mp_write_cstr(&q.body, "vector-fields");
    mp_write_cstr(&q.body, "c,x");
    RIG_CHECK(ask(&q) == DLHT_OK, "a collection");
    buf_deinit(&q.body);
    rig_run(&rig, 1000, false);
    past = past_new(7, DIM, METRIC_COSINE);
    for (size_t i = 0; i < FIRST; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%02u", (unsigned)i);
        (void)write_lacking(0, past_add_id(past, span_str(name)), true);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool (*one)(uint64_t n);
        bool graph; /* of one */
    } things[] = {
        { "a new vector", try_new, false },
        { "another value", try_overwrite, false },
        { "a removal", try_remove, false },
        { "an exact search", try_exact, false },
        { "a filtered search", try_filter, false },
        { "a cut", try_split, false },
        { "another graph", try_rebuild, true },
    };
    bool exact_index = argc > 1 && strcmp(argv[1], "exact") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    begin(exact_index);
    for (size_t i = 0; i < sizeof things / sizeof *things; i++) {
        uint64_t n = 1;
        if (things[i].graph && exact_index)
            continue;
        for (int clean = 0; clean < 3 && n < 400; n++) {
            snprintf(rig_story, sizeof rig_story, "%s, allocation %llu fails",
                     things[i].name, (unsigned long long)n);
            clean = things[i].one(n) ? 0 : clean + 1;
        }
        printf("%s: up to allocation %llu\n", things[i].name,
               (unsigned long long)n);
        RIG_CHECK(n > 4, "nothing was allocated");
    }
    printf("%llu failures, %zu vectors\n", (unsigned long long)failures,
           past_count(past, now_of_past));
    past_free(past);
    rig_close(&rig);
    return 0;
}
