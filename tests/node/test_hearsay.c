/* SPDX-License-Identifier: Apache-2.0 */

/* What a node makes of what peers say: digests in parts, sums that they ask for;
 * and what it tells operators of arcs that nobody serves. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/crowd.h"
#include "node/inspect.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"

/* Digests */

static void say_digest(struct crowd *c, struct span parts, bool answer)
{
    struct id from = crowd_peer(0);
    struct message m = { .type = MESSAGE_DIGEST };
    m.u.digest.arcs = 0x1234567; /* something else */
    m.u.digest.answer = answer;
    m.u.digest.parts = parts;
    crowd_look_again(c);
    alone_hear_from(&c->a, &from, &m);
}

Test(digest, of_few_arcs_all_are_told, .timeout = 60)
{
    struct crowd c;
    crowd_begin(&c, 1);
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_arcs(&c, FAR, 20);
    say_digest(&c, span_empty(), false);
    cr_expect_eq(c.arcs, 22, "%zu: and two of its own", c.arcs);
    cr_expect_eq(c.keyspaces, 2, "%zu", c.keyspaces);
    cr_expect_eq(c.digests, 1);
    cr_expect(c.answer, "which the other does not answer again");
    say_digest(&c, span_empty(), true);
    cr_expect_eq(c.arcs, 22);
    cr_expect_eq(c.digests, 0, "once is enough");
    crowd_end(&c);
}

Test(digest, of_many_arcs_those_in_parts_that_differ_are_told, .timeout = 60)
{
    enum {
        ARCS = 700
    };
    struct crowd c;
    crowd_begin(&c, 2);
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_arcs(&c, FAR, ARCS);
    alone_run(&c.a, 200);
    say_digest(&c, span_empty(), false);
    cr_assert_eq(c.digests, 1);
    cr_expect_not(c.answer, "parts are asked for, and told");
    cr_expect_eq(c.arcs, 0);
    size_t part_count = c.parts.len / 4;
    cr_expect_eq(part_count, 128, "%zu parts of 5 arcs", part_count);

    struct buf said = { 0 };
    buf_append_span(&said, buf_span(&c.parts));
    say_digest(&c, buf_span(&said), false);
    cr_expect_eq(c.arcs, 0, "none differs, but %zu were told", c.arcs);
    cr_expect_eq(c.digests, 1);
    cr_expect(c.answer);
    cr_expect(span_equal(buf_span(&c.parts), buf_span(&said)));

    const struct map *map = crowd_map_of_far(&c);
    for (size_t part = 0; part < part_count; part += 13) {
        size_t there = 0;
        for (size_t i = 0; i < map_count(map); i++)
            there += map_part_of(map, i, part_count) == part;
        said.data[4 * part + part % 4] ^= 1;
        say_digest(&c, buf_span(&said), true);
        /* The node's own two arcs are in some part. */
        cr_expect(c.arcs >= there && c.arcs <= there + 2,
                  "part %zu: %zu of %zu", part, c.arcs, there);
        cr_expect_eq(c.digests, 0, "an answer is not answered");
        said.data[4 * part + part % 4] ^= 1;
    }
    memset(said.data, 0xa5, said.len);
    say_digest(&c, buf_span(&said), true);
    cr_expect_eq(c.arcs, ARCS + 2, "all differ: told in several messages");
    buf_deinit(&said);
    crowd_end(&c);
}

Test(digest, parts_that_are_none_are_taken_for_absent, .timeout = 60)
{
    static const size_t lens[] = { 1, 5, 12, 20, 4096 + 4, 8192 };
    static uint8_t bytes[8192];
    struct crowd c;
    crowd_begin(&c, 3);
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_arcs(&c, FAR, 100);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        say_digest(&c, span_of(bytes, lens[i]), false);
        cr_expect_eq(c.arcs, 0, "%zu bytes", lens[i]);
        cr_expect_eq(c.digests, 1, "%zu bytes", lens[i]);
        cr_expect_eq(c.parts.len, 4 * 16, "%zu bytes: asked anew: %zu", lens[i],
                     c.parts.len);
    }
    crowd_end(&c);
}

Test(digest, many_keyspaces_go_in_several_messages, .timeout = 60)
{
    enum {
        KEYSPACES = 150
    };
    struct crowd c;
    char name[16];
    crowd_begin(&c, 4);
    for (size_t i = 0; i < KEYSPACES; i++) {
        snprintf(name, sizeof name, "ks%zu", i);
        crowd_tell_keyspace(&c, (keyspace_id)(FAR + i), name, false);
    }
    alone_run(&c.a, 5000);
    say_digest(&c, span_empty(), false);
    cr_expect_eq(c.keyspaces, KEYSPACES + 1, "%zu", c.keyspaces);
    crowd_end(&c);
}

/* What operators are told */

static const struct response *status(struct crowd *c)
{
    struct request q = { .op = OP_STATUS, .timeout_ms = 9000 };
    const struct response *r = alone_ask(&c->a, &q);
    cr_assert_eq(r->status, DLHT_OK);
    return r;
}

/* Why an arc is in trouble; empty: it is not named. */
static struct span why_of(struct span doc, arc_id arc, const char *state)
{
    struct mp_reader r = crowd_reader(doc, "troubles");
    for (size_t n = mp_read_array(&r); n > 0; n--) {
        struct span trouble = mp_read_raw(&r);
        if (crowd_number(trouble, "arc") == arc &&
            span_equal(crowd_text(trouble, "state"), span_str(state)))
            return crowd_text(trouble, "why");
    }
    return span_empty();
}

static void expect_why(struct span doc, arc_id arc, const char *why)
{
    struct span found = why_of(doc, arc, "unavailable");
    cr_expect(span_equal(found, span_str(why)), "%.*s", (int)found.len,
              (const char *)found.data);
}

Test(status, names_who_is_down_where_nobody_serves, .timeout = 60)
{
    struct crowd c;
    char bounds[2][8];
    crowd_begin(&c, 5);
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_keyspace(&c, FAR + 1, "void", false);
    crowd_tell_arcs(&c, FAR, 3);
    struct arc odd = crowd_arc(FAR, 1, 3, bounds);
    odd.generation++;
    odd.members[0].peer.bytes[1] = 0x77; /* of whom nobody told */
    odd.members[1].voter = false;
    crowd_tell_arc(&c, &odd);
    alone_run(&c.a, 1000);
    struct span doc = status(&c)->value;
    cr_expect_eq(crowd_number(doc, "peers_up"), PEERS + 1);
    cr_expect_eq(crowd_number(doc, "arcs_unavailable"), 4);
    expect_why(doc, FIRST_ARC, "3 of 3 voters are up, but no owner answers");
    expect_why(doc, FIRST_ARC + 1,
               "1 of 2 voters are up, no majority; down: a peer not known "
               "here");
    expect_why(doc, 0, "no peer that is up has told of it");

    c.up[1] = c.up[2] = false;
    alone_run(&c.a, 30000);
    doc = status(&c)->value;
    cr_expect_eq(crowd_number(doc, "peers_up"), PEERS - 1);
    cr_expect_eq(crowd_number(doc, "peers_down"), 2);
    expect_why(doc, FIRST_ARC,
               "1 of 3 voters are up, no majority; down: 10.0.0.2:9000, "
               "10.0.0.3:9000");
    static const char verdict[] = "not whole: some arcs have no owner that "
                                  "answers (peers are down)";
    cr_expect(span_equal(crowd_text(doc, "verdict"), span_str(verdict)));

    struct request q = { .op = OP_PEERS, .timeout_ms = 9000 };
    const struct response *r = alone_ask(&c.a, &q);
    struct mp_reader peers;
    size_t up = 0, down = 0;
    mp_reader_init(&peers, r->value);
    for (size_t n = mp_read_array(&peers); n > 0; n--) {
        struct span one = mp_read_raw(&peers);
        up += span_equal(crowd_text(one, "state"), span_str("up"));
        down += span_equal(crowd_text(one, "state"), span_str("down"));
    }
    cr_expect_eq(up, PEERS - 1);
    cr_expect_eq(down, 2);
    crowd_end(&c);
}

Test(status, counts_all_troubles_and_names_some, .timeout = 60)
{
    struct crowd c;
    crowd_begin(&c, 6);
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_arcs(&c, FAR, 40);
    alone_run(&c.a, 1000);
    struct span doc = status(&c)->value;
    cr_expect_eq(crowd_number(doc, "arcs_unavailable"), 40);
    struct mp_reader r = crowd_reader(doc, "troubles");
    size_t named = mp_read_array(&r), far = 0;
    for (size_t i = 0; i < named; i++)
        far += span_equal(crowd_text(mp_read_raw(&r), "keyspace"),
                          span_str("far"));
    cr_expect_eq(far, 16, "%zu of its arcs", far);
    crowd_end(&c);
}

/* Requests of peers */

static void first_of_default(struct crowd *c, struct message *m)
{
    struct keyspace_record record;
    for (size_t i = 0; i < inspect_keyspace_count(c->a.node); i++) {
        const struct map *map = inspect_map(c->a.node, i, &record);
        if (!span_equal(record.name, span_str("default")))
            continue;
        m->u.request.keyspace = record.id;
        m->u.request.arc = map_at(map, 0)->id;
        m->u.request.generation = map_at(map, 0)->generation;
        return;
    }
    cr_assert_fail("there is no default");
}

static void ask_arc(struct crowd *c, uint8_t op, struct span value)
{
    struct id from = crowd_peer(3);
    struct message m = { .type = MESSAGE_REQUEST, .stream = 7 };
    m.u.request = (struct request){
        .op = op, .flags = REQUEST_TO_ARC, .value = value, .timeout_ms = 9000
    };
    first_of_default(c, &m);
    alone_hear_from(&c->a, &from, &m);
}

static void pack_model(struct buf *out)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 2000, 5);
    struct fit_config config = fit_config_default();
    struct model *model;
    config.leaf_count = 16;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &model), DLHT_OK);
    cr_assert_eq(model_pack(model, out), DLHT_OK);
    model_free(model);
    key_set_free(&set);
}

Test(sums, are_of_a_model_and_of_few_at_once, .timeout = 60)
{
    enum {
        ASKED = 100,
        RECORDS = 3000 /* more than are summed in a turn */
    };
    struct crowd c;
    struct buf packed = { 0 };
    char key[16];
    crowd_begin(&c, 12);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(key, sizeof key, "k%06d", i);
        cr_assert_eq(alone_put(&c.a, key, "v"), DLHT_OK);
    }
    pack_model(&packed);
    ask_arc(&c, OP_MODEL_SUMS, span_str("no model"));
    cr_expect_eq(c.responses, 1);
    cr_expect_eq(c.status, DLHT_ECORRUPT, "%d", c.status);
    ask_arc(&c, OP_MODEL_SUMS, span_of(packed.data, packed.len - 1));
    cr_expect_eq(c.responses, 2);
    cr_expect_eq(c.status, DLHT_ECORRUPT, "%d", c.status);
    c.responses = 0;
    for (size_t i = 0; i < ASKED; i++)
        ask_arc(&c, OP_MODEL_SUMS, buf_span(&packed));
    cr_expect_eq(c.status, DLHT_EBUSY, "%d", c.status);
    alone_run(&c.a, 5000);
    cr_expect_eq(c.status, DLHT_OK, "%d", c.status);
    cr_expect_eq(c.responses, ASKED, "each is answered once: %zu", c.responses);
    /* What is asked last is under way when the node ends. */
    ask_arc(&c, OP_MODEL_SUMS, buf_span(&packed));
    buf_deinit(&packed);
    crowd_end(&c);
}
