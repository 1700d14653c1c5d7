/* SPDX-License-Identifier: Apache-2.0 */

/* With Chord pointers: an arc that is long gone and that others still name; and
 * the way to one that is not known here. */

#include <criterion/criterion.h>
#include <string.h>

#include "dlht/err.h"
#include "node/crowd.h"
#include "node/node_state.h"

enum {
    GONE = FIRST_ARC + 1,
    QUESTIONS_MAX = 16
};

struct question {
    struct id to;
    uint32_t stream;
    arc_id arc;
    uint8_t op;
    bool avoids; /* the arc that is gone */
};

static struct question questions[QUESTIONS_MAX];
static size_t question_count;
static void (*sends_before)(struct alone *a, const struct id *to,
                            const struct message *message);

static bool names_gone(struct span avoid)
{
    for (size_t i = 0; i + 8 <= avoid.len; i += 8) {
        arc_id id = 0;
        for (size_t k = 0; k < 8; k++)
            id |= (arc_id)avoid.data[i + k] << 8 * k;
        if (id == GONE)
            return true;
    }
    return false;
}

static void note_question(struct alone *a, const struct id *to,
                          const struct message *m)
{
    if (m->type == MESSAGE_REQUEST && question_count < QUESTIONS_MAX)
        questions[question_count++] =
            (struct question){ .to = *to,
                               .stream = m->stream,
                               .arc = m->u.request.arc,
                               .op = m->u.request.op,
                               .avoids = names_gone(m->u.request.avoid) };
    sends_before(a, to, m);
}

/* Nobody serves it; who is asked for the way is asked not to name it. */
Test(hearsay, an_arc_that_nobody_serves_is_not_to_be_named_again, .timeout = 60)
{
    struct crowd c;
    crowd_begin(&c, 30);
    c.a.node->config.map_fingers = true;
    crowd_tell_keyspace(&c, FAR, "far", false);
    crowd_tell_arcs(&c, FAR, 2);
    sends_before = c.a.sends;
    c.a.sends = note_question;
    question_count = 0;
    struct request q = { .op = OP_GET,
                         .timeout_ms = 2000,
                         .keyspace_name = span_str("far"),
                         .key = span_str("000001x") };
    alone_begin(&c.a, &q);
    alone_flush(&c.a);
    size_t answered = 0, asked_gone = 0;
    bool gone_around = false;
    for (int i = 0; i < 100 && !gone_around; i++) {
        alone_run(&c.a, 10);
        for (; answered < question_count && !gone_around; answered++) {
            struct question *to = &questions[answered];
            struct message no = { .type = MESSAGE_RESPONSE,
                                  .stream = to->stream };
            no.u.response.status = DLHT_ENOTOWNER;
            asked_gone += to->arc == GONE;
            gone_around = to->arc == FIRST_ARC;
            if (gone_around)
                cr_expect(to->avoids);
            else
                alone_hear_from(&c.a, &to->to, &no);
        }
    }
    cr_expect(gone_around, "%zu questions", question_count);
    cr_expect_geq(asked_gone, 3);
    crowd_end(&c);
}

/* A keyspace of two arcs, of which this node has a copy of the first that does
 * not lead. The second is not known. */
static void found_half(struct crowd *c)
{
    char bounds[2][2][8];
    struct arc arcs[2];
    struct message m = { .type = MESSAGE_GOSSIP };
    struct keyspace_record record = { .id = FAR,
                                      .name = span_str("far"),
                                      .version = 1,
                                      .placement = PLACEMENT_ORDERED,
                                      .replicas = 3,
                                      .floor_keys = 1000,
                                      .ceiling_bytes = 1 << 20,
                                      .first_arcs = arcs,
                                      .first_arc_count = 2 };
    for (size_t i = 0; i < 2; i++)
        arcs[i] = crowd_arc(FAR, i, 2, bounds[i]);
    arcs[0].members[2].peer = c->a.node->self;
    m.u.gossip.keyspaces = &record;
    m.u.gossip.keyspace_count = 1;
    alone_hear(&c->a, &m);
    struct keyspace *far = keyspaces_find(c->a.node, FAR);
    map_forget(far->map, FIRST_ARC + 1, UINT64_MAX);
}

/* Any copy may answer what may be stale. But of the way one that is here knows
 * no more than what chose it. */
Test(hearsay, a_stale_request_asks_others_for_the_way, .timeout = 60)
{
    struct crowd c;
    crowd_begin(&c, 31);
    c.a.node->config.map_fingers = true;
    found_half(&c);
    cr_assert_not_null(node_replica(c.a.node, FIRST_ARC));
    sends_before = c.a.sends;
    c.a.sends = note_question;
    question_count = 0;
    struct request q = { .op = OP_GET,
                         .flags = REQUEST_STALE,
                         .timeout_ms = 2000,
                         .keyspace_name = span_str("far"),
                         .key = span_str("000001x") };
    alone_begin(&c.a, &q);
    alone_flush(&c.a);
    size_t asked = 0;
    for (size_t i = 0; i < question_count; i++)
        asked += questions[i].op == OP_GET && questions[i].arc == FIRST_ARC;
    cr_expect_eq(asked, 1, "%zu questions", question_count);
    crowd_end(&c);
}
