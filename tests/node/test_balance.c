/* SPDX-License-Identifier: Apache-2.0 */

/* What is decided of balancing and told of it, on a node of its own: documents
 * and what is wrong with them, weights, averages, and giving way to clients. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/keeper_state.h"
#include "node/latency.h"
#include "node/op.h"
#include "wire/mp.h"

static const char ADDR[] = "127.0.0.1:9000";

Test(latency, knows_the_99th_percentile_to_half_of_itself)
{
    static const struct {
        const char *why;
        uint64_t fast, fast_us, slow, slow_us; /* how many, how long */
        uint64_t least_us, most_us;            /* that may be said */
    } rows[] = {
        { "one", 1, 100, 0, 0, 100, 150 },
        { "all alike", 1000, 700, 0, 0, 700, 1050 },
        { "one in a hundred", 990, 100, 10, 9000, 100, 150 },
        { "two in a hundred", 980, 100, 20, 9000, 9000, 13500 },
        { "below a microsecond", 10, 0, 0, 0, 1, 1 },
        { "an hour", 10, 3600000000, 0, 0, 2147483648, 4294967296 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct latency l = { 0 };
        uint64_t now = 77 * NS_PER_S, samples;
        for (uint64_t k = 0; k < rows[i].fast; k++)
            latency_note(&l, now, rows[i].fast_us * 1000);
        for (uint64_t k = 0; k < rows[i].slow; k++)
            latency_note(&l, now, rows[i].slow_us * 1000);
        uint64_t p99 = latency_p99(&l, now, &samples) / 1000;
        cr_expect_eq(samples, rows[i].fast + rows[i].slow, "%s", rows[i].why);
        cr_expect(p99 >= rows[i].least_us && p99 <= rows[i].most_us,
                  "%s: %lu us", rows[i].why, (unsigned long)p99);
    }
}

Test(latency, forgets_after_five_seconds)
{
    struct latency l = { 0 };
    uint64_t samples, now = 5 * NS_PER_S;
    for (int s = 0; s < 20; s++) {
        latency_note(&l, now, NS_PER_MS);
        (void)latency_p99(&l, now, &samples);
        cr_expect_eq(samples, s < 5 ? (uint64_t)s + 1 : 5, "second %d", s);
        now += NS_PER_S;
    }
    cr_expect_eq(latency_p99(&l, now + 60 * NS_PER_S, &samples), 0);
    cr_expect_eq(samples, 0);
}

/* {action, name: text} */
static const struct response *ask(struct alone *a, const char *action,
                                  const char *name, const char *text)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, name ? 2 : 1);
    mp_write_cstr(&doc, "action");
    mp_write_cstr(&doc, action);
    if (name) {
        mp_write_cstr(&doc, name);
        if (strcmp(name, "what_if") == 0)
            mp_write_array(&doc, 1);
        if (strcmp(name, "rate") == 0)
            mp_write_uint(&doc, strtoull(text, NULL, 10));
        else
            mp_write_cstr(&doc, text);
    }
    struct request q = { .op = OP_BALANCE, .value = buf_span(&doc) };
    const struct response *r = alone_ask(a, &q);
    buf_deinit(&doc);
    return r;
}

/* The field's value, of any kind; empty: there is none. */
static struct span field_of(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    struct span found = span_empty();
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        bool it = span_equal(mp_read_bytes(&r), span_str(name));
        struct span value = mp_read_raw(&r);
        found = it ? value : found;
    }
    cr_expect(!r.bad && mp_at_end(&r), "a sound document");
    return found;
}

static enum mp_type type_of(struct span value)
{
    struct mp_reader r;
    mp_reader_init(&r, value);
    return value.len ? mp_peek(&r) : MP_NONE;
}

struct field {
    const char *name;
    enum mp_type type;
};

static void has_fields(struct span doc, const struct field *fields,
                       const char *what)
{
    for (; fields->name; fields++) {
        enum mp_type type = type_of(field_of(doc, fields->name));
        cr_expect_eq(type, fields->type, "%s: %s is of type %d", what,
                     fields->name, type);
    }
}

static double number_of(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, field_of(doc, name));
    return mp_read_float(&r);
}

static bool flag_of(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, field_of(doc, name));
    return mp_read_bool(&r);
}

/* The first of a list. */
static struct span first_of(struct span list)
{
    struct mp_reader r;
    mp_reader_init(&r, list);
    return mp_read_array(&r) ? mp_read_raw(&r) : span_empty();
}

Test(balance, its_documents_have_what_is_promised, .timeout = 60)
{
    static const struct field status[] = { { "paused", MP_BOOL },
                                           { "whole_picture", MP_BOOL },
                                           { "planner", MP_BYTES },
                                           { "moves_count", MP_INT },
                                           { "moves", MP_ARRAY },
                                           { "plan_s", MP_FLOAT },
                                           { "steps", MP_INT },
                                           { "moved_bytes", MP_INT },
                                           { "moved_hour_bytes", MP_INT },
                                           { "ideal_bytes", MP_INT },
                                           { "led_most", MP_FLOAT },
                                           { "led_least", MP_FLOAT },
                                           { "held_most", MP_FLOAT },
                                           { "held_least", MP_FLOAT },
                                           { "peers", MP_ARRAY },
                                           { "slow_down", MP_INT },
                                           { "slow_why", MP_BYTES },
                                           { "p99_us", MP_INT },
                                           { "baseline_us", MP_INT },
                                           { "rate", MP_INT },
                                           { "moves_max", MP_INT },
                                           { "waiting", MP_ARRAY },
                                           { NULL, MP_NONE } };
    static const struct field peer[] = {
        { "peer", MP_BYTES },    { "weight", MP_FLOAT },
        { "zone", MP_BYTES },    { "leaving", MP_BOOL },
        { "led_bytes", MP_INT }, { "held_bytes", MP_INT },
        { "requests", MP_INT },  { "led", MP_FLOAT },
        { "held", MP_FLOAT },    { "over", MP_BOOL },
        { NULL, MP_NONE }
    };
    static const struct field plan[] = {
        { "steps", MP_ARRAY },   { "steps_count", MP_INT },
        { "finished", MP_BOOL }, { "paused", MP_BOOL },
        { "bytes", MP_INT },     { "ideal_bytes", MP_INT },
        { "ratio", MP_FLOAT },   { "before", MP_MAP },
        { "after", MP_MAP },     { "peers", MP_ARRAY },
        { NULL, MP_NONE }
    };
    static const struct field step[] = {
        { "step", MP_BYTES }, { "keyspace", MP_BYTES }, { "arc", MP_INT },
        { "from", MP_BYTES }, { "to", MP_BYTES },       { "into", MP_NIL },
        { "ways", MP_NIL },   { "reason", MP_BYTES },   { "keys", MP_INT },
        { "bytes", MP_INT },  { NULL, MP_NONE }
    };
    struct alone a;
    alone_init(&a, 5);
    a.runs_jobs = true;
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(alone_put(&a, key, "value"), DLHT_OK);
    }
    alone_run(&a, 6000);
    const struct response *r = ask(&a, "status", NULL, NULL);
    cr_assert_eq(r->status, DLHT_OK);
    has_fields(r->value, status, "status");
    has_fields(first_of(field_of(r->value, "peers")), peer, "peer");
    r = ask(&a, "plan", "what_if", "add=2.5");
    cr_assert_eq(r->status, DLHT_OK);
    has_fields(r->value, plan, "plan");
    has_fields(first_of(field_of(r->value, "steps")), step, "step");
    cr_expect(flag_of(r->value, "finished"));
    cr_expect_gt(number_of(r->value, "bytes"), 20 * 5);
    alone_deinit(&a);
}

Test(balance, what_is_asked_wrongly_is_refused, .timeout = 60)
{
    static const struct {
        const char *action, *name, *text;
        int status;
        const char *says;
    } rows[] = {
        { "", NULL, NULL, DLHT_EINVAL, "balance takes a map" },
        { "dance", NULL, NULL, DLHT_EINVAL, "the action is plan" },
        { "set", NULL, NULL, DLHT_EINVAL, "rate is bytes" },
        { "set", "rate", "65535", DLHT_EINVAL, "rate is bytes" },
        { "set", "rate", "65536", DLHT_OK, "" },
        { "set", "rate", "0", DLHT_OK, "" },
        { "plan", "what_if", "add=0.09", DLHT_EINVAL, "add=WEIGHT" },
        { "plan", "what_if", "add=101", DLHT_EINVAL, "add=WEIGHT" },
        { "plan", "what_if", "add=", DLHT_EINVAL, "add=WEIGHT" },
        { "plan", "what_if", "swap=1", DLHT_EINVAL, "what if is" },
        { "plan", "what_if", "remove=h:1", DLHT_EINVAL, "no such peer" },
        { "plan", "what_if", "remove=127.0.0.1:9000", DLHT_EINVAL,
          "no peer would be left" },
        { "plan", "colour", "red", DLHT_OK, "" },
    };
    struct alone a;
    alone_init(&a, 6);
    a.runs_jobs = true;
    alone_run(&a, 200);
    cr_expect_eq(ask(&a, "plan", NULL, NULL)->status, DLHT_EBUSY,
                 "not all have reported");
    alone_run(&a, 6000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct response *r =
            ask(&a, rows[i].action, rows[i].name, rows[i].text);
        cr_expect_eq(r->status, rows[i].status, "row %zu: %d", i, r->status);
        cr_expect(span_has_prefix(r->text, span_str(rows[i].says)),
                  "row %zu: %.*s", i, (int)r->text.len, r->text.data);
    }
    struct request bare = { .op = OP_BALANCE, .value = span_str("\x91\x01") };
    cr_expect_eq(alone_ask(&a, &bare)->status, DLHT_EINVAL);
    alone_deinit(&a);
}

Test(balance, pause_and_rate_are_records, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 7);
    alone_run(&a, 6000);
    cr_expect_not(flag_of(ask(&a, "status", NULL, NULL)->value, "paused"));
    cr_assert_eq(ask(&a, "pause", NULL, NULL)->status, DLHT_OK);
    cr_assert_eq(ask(&a, "set", "rate", "100000")->status, DLHT_OK);
    cr_expect(flag_of(ask(&a, "status", NULL, NULL)->value, "paused"));
    cr_expect_eq(number_of(ask(&a, "status", NULL, NULL)->value, "rate"),
                 100000);
    struct keeper_input input;
    cr_assert_eq(keeper_gather(a.node, &input), DLHT_OK);
    cr_expect(input.in.paused, "and the planner is told");
    keeper_input_free(&input);
    cr_assert_eq(ask(&a, "resume", NULL, NULL)->status, DLHT_OK);
    cr_expect_not(flag_of(ask(&a, "status", NULL, NULL)->value, "paused"));
    cr_expect_eq(number_of(ask(&a, "status", NULL, NULL)->value, "rate"),
                 100000, "they do not touch each other");
    alone_deinit(&a);
}

static int set_peer(struct alone *a, const char *addr, const char *name,
                    const char *value)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "peer");
    mp_write_cstr(&doc, addr);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, value);
    struct request q = { .op = OP_PEER_SET, .value = buf_span(&doc) };
    int status = alone_ask(a, &q)->status;
    buf_deinit(&doc);
    return status;
}

static const struct keeper_peer *judged(struct alone *a)
{
    keeper_judge_peers(a->node);
    return keeper_find_peer(a->node->keeper, &a->node->self);
}

/* As if the process had been started with another option. */
static void change_own(struct alone *a, uint32_t milli, const char *zone)
{
    struct peer self = *swim_self(a->node->swim);
    self.weight_milli = milli;
    snprintf(self.zone, sizeof self.zone, "%s", zone);
    swim_set_self(a->node->swim, a->now_ns, &self);
}

Test(peer_set, holds_until_the_peer_has_another_option, .timeout = 60)
{
    struct alone a;
    struct keeper_decree decree;
    alone_init(&a, 8);
    cr_assert_eq(set_peer(&a, ADDR, "weight", "2.5"), DLHT_OK);
    cr_assert_eq(set_peer(&a, ADDR, "zone", "hall"), DLHT_OK);
    cr_expect_eq(judged(&a)->weight_milli, 2500);
    cr_expect_str_eq(judged(&a)->zone, "hall");
    change_own(&a, 1000, "");
    alone_run(&a, 1000);
    cr_expect_eq(judged(&a)->weight_milli, 2500, "the same option");
    change_own(&a, 3000, "");
    alone_run(&a, 5000);
    cr_expect_eq(judged(&a)->weight_milli, 3000, "another option");
    cr_expect_str_eq(judged(&a)->zone, "hall", "which is not about zones");
    cr_assert(keeper_decree_of(a.node, &a.node->self, &decree));
    cr_expect_eq(decree.weight_milli, 0, "and the record is put right");
    change_own(&a, 1000, "");
    alone_run(&a, 5000);
    cr_expect_eq(judged(&a)->weight_milli, 1000, "so it does not come back");
    cr_assert_eq(set_peer(&a, ADDR, "zone", "default"), DLHT_OK);
    cr_expect_str_eq(judged(&a)->zone, "");
    alone_deinit(&a);
}

Test(peer_set, takes_what_makes_sense, .timeout = 60)
{
    static const struct {
        const char *addr, *name, *value;
        int status;
    } rows[] = {
        { ADDR, "weight", "0.1", DLHT_OK },
        { ADDR, "weight", "100", DLHT_OK },
        { ADDR, "weight", "1.234", DLHT_OK },
        { ADDR, "weight", "default", DLHT_OK },
        { ADDR, "weight", "0.099", DLHT_EINVAL },
        { ADDR, "weight", "100.001", DLHT_EINVAL },
        { ADDR, "weight", "1.2345", DLHT_EINVAL },
        { ADDR, "weight", "18446744073709551617", DLHT_EINVAL },
        { ADDR, "weight", "", DLHT_EINVAL },
        { ADDR, "weight", "1,5", DLHT_EINVAL },
        { ADDR, "weight", "1.5.2", DLHT_EINVAL },
        { ADDR, "zone", "", DLHT_OK },
        { ADDR, "zone", "a zone of thirty one bytes here", DLHT_OK },
        { ADDR, "zone", "a zone of thirty-two bytes here!", DLHT_EINVAL },
        { ADDR, "zone", "a\nline", DLHT_EINVAL },
        { ADDR, "leaving", "no", DLHT_OK },
        { ADDR, "leaving", "yes", DLHT_EINVAL },
        { ADDR, "colour", "red", DLHT_EINVAL },
        { "127.0.0.1:9001", "weight", "1", DLHT_EINVAL },
    };
    struct alone a;
    alone_init(&a, 9);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(set_peer(&a, rows[i].addr, rows[i].name, rows[i].value),
                     rows[i].status, "row %zu: %s=%s", i, rows[i].name,
                     rows[i].value);
    alone_deinit(&a);
}

Test(peer_set, reads_the_word_of_before)
{
    struct alone a;
    struct keeper_decree d;
    char room[64];
    alone_init(&a, 10);
    struct replica *system = node_replica(a.node, SYSTEM_ARC);
    struct record old = { keeper_decree_key(&a.node->self, room),
                          span_str("leaving"), 7 };
    cr_assert_eq(records_put(system->records, &old), DLHT_OK);
    cr_assert(keeper_decree_of(a.node, &a.node->self, &d));
    cr_expect(d.leaving && d.version == 7 && d.weight_milli == 0);
    alone_deinit(&a);
}

/* A report of an arc that nobody has. */
static void report(struct alone *a, arc_id id, const char *lo, const char *hi,
                   uint64_t generation, uint64_t keys, uint64_t requests)
{
    struct arc_report r = { .keys = keys,
                            .bytes = 10 * keys,
                            .requests = requests };
    r.arc.keyspace = 12345;
    r.arc.id = id;
    r.arc.lo = span_str(lo);
    r.arc.hi = span_str(hi);
    r.arc.has_hi = true;
    r.arc.generation = generation;
    r.arc.term = 1;
    struct message m = { .type = MESSAGE_REPORT };
    m.u.report.list = &r;
    m.u.report.count = 1;
    alone_hear(a, &m);
}

static double rate_of(struct alone *a, arc_id id)
{
    size_t at;
    struct heard *h = keeper_find_heard(a->node->keeper, id, &at);
    cr_assert(h);
    return keeper_rate_of(h);
}

Test(keeper, averages_requests_over_a_minute_and_parts_inherit, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 11);
    alone_run(&a, 5000);
    for (int i = 0; i < 750; i++) { /* five minutes of 100 a second */
        report(&a, 70, "a", "z", 1, 1000, 40);
        alone_run(&a, 400);
    }
    cr_expect_float_eq(rate_of(&a, 70), 100, 2);
    for (int i = 0; i < 105; i++) { /* 42 s of nothing */
        report(&a, 70, "a", "z", 1, 1000, 0);
        alone_run(&a, 400);
    }
    cr_expect_float_eq(rate_of(&a, 70), 50, 2);
    /* Cut: a quarter of the keys goes right. */
    report(&a, 70, "a", "m", 2, 750, 0);
    report(&a, 71, "m", "z", 2, 250, 0);
    cr_expect_float_eq(rate_of(&a, 70), 37.5, 2);
    cr_expect_float_eq(rate_of(&a, 71), 12.5, 1);
    /* Cut, and the right part is heard of first. */
    report(&a, 72, "t", "z", 3, 125, 0);
    cr_expect_float_eq(rate_of(&a, 72), 6.25, 1);
    report(&a, 71, "m", "t", 3, 125, 0);
    cr_expect_float_eq(rate_of(&a, 71), 6.25, 1);
    /* Merged. */
    report(&a, 70, "a", "t", 4, 875, 0);
    cr_expect_float_eq(rate_of(&a, 70), 43.75, 2);
    alone_deinit(&a);
}

/* A second in which requests take that long while something moves or not. */
static void second(struct alone *a, uint64_t p99_us, bool moves)
{
    struct message m = { .type = MESSAGE_PACE };
    m.u.pace.p99_us = p99_us;
    m.u.pace.samples = 100;
    keeper_receive_pace(a->node, &a->node->self, &m);
    if (moves)
        a->node->keeper->plan.active_ns = a->now_ns;
    alone_run(a, 1000);
}

Test(keeper, moves_give_way_to_clients, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 12);
    alone_run(&a, 12000);
    const struct keeper_pace *pace = &a.node->keeper->pace;
    for (int i = 0; i < 20; i++)
        second(&a, 500, false);
    cr_expect_eq(pace->baseline_ns, 500000);
    for (int i = 0; i < 20; i++)
        second(&a, 1900, true);
    cr_expect_eq(pace->shift, 0, "below two milliseconds all is well");
    cr_expect_eq(keeper_moves_max(a.node, 16), 16);
    for (int i = 0; i < 5; i++)
        second(&a, 2100, true);
    cr_expect(pace->shift == 2 || pace->shift == 3, "slower, by %u",
              pace->shift);
    cr_expect_eq(keeper_moves_max(a.node, 16), 16u >> pace->shift);
    for (int i = 0; i < 20; i++)
        second(&a, 2100, true);
    cr_expect_eq(keeper_moves_max(a.node, 16), 1, "never none");
    cr_expect_eq(keeper_rate_now(a.node), 1 << 20, "and never less than this");
    cr_expect_eq(a.node->pace_rate, 1 << 20, "which peers are told");
    uint64_t shift = pace->shift;
    for (int i = 0; i < 6; i++)
        second(&a, 600, true);
    cr_expect_eq(pace->shift, shift - 1, "back more slowly");
    for (int i = 0; i < 60; i++)
        second(&a, 600, true);
    cr_expect_eq(pace->shift, 0);
    cr_expect_eq(keeper_rate_now(a.node), 64 << 20);
    for (int i = 0; i < 120; i++)
        second(&a, 9000, true);
    cr_expect_gt(pace->baseline_ns, 4000000, "it was not the moves");
    cr_expect_lt(pace->shift, 6, "so they go on");
    alone_deinit(&a);
}

Test(keeper, moves_begin_slowly_while_clients_are_served, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 14);
    alone_run(&a, 12000);
    const struct keeper_pace *pace = &a.node->keeper->pace;
    keeper_pace_begin(a.node);
    cr_expect_eq(keeper_rate_now(a.node), 64 << 20, "nobody to give way to");
    for (int i = 0; i < 10; i++)
        second(&a, 500, false);
    keeper_pace_begin(a.node);
    cr_expect_eq(keeper_rate_now(a.node), 2 << 20);
    cr_expect_eq(keeper_moves_max(a.node, 16), 16);
    for (int i = 0; i < 3; i++)
        second(&a, 500, true);
    uint32_t ramp = pace->ramp;
    cr_expect(ramp == 3 || ramp == 4, "faster, by %u", ramp);
    for (int i = 0; i < 4; i++)
        second(&a, 3000, true);
    cr_expect_eq(pace->ramp, ramp, "not while they wait");
    for (int i = 0; i < 60; i++)
        second(&a, 500, true);
    cr_expect_eq(pace->ramp, 0);
    cr_expect_eq(keeper_rate_now(a.node), 64 << 20);
    alone_deinit(&a);
}

Test(keeper, few_requests_say_nothing, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 13);
    alone_run(&a, 12000);
    for (int i = 0; i < 20; i++) {
        struct message m = { .type = MESSAGE_PACE };
        m.u.pace.p99_us = 50000;
        m.u.pace.samples = 19;
        keeper_receive_pace(a.node, &a.node->self, &m);
        alone_run(&a, 1000);
    }
    cr_expect_eq(a.node->keeper->pace.baseline_ns, 0);
    alone_deinit(&a);
}
