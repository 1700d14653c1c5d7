/* SPDX-License-Identifier: Apache-2.0 */

/* An arc whose other two voters are gone, recovered from the copy here; and a
 * crash after each record that this writes. */

#include <criterion/criterion.h>

#include <stdlib.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "node/journal_types.h"
#include "node/node.h"
#include "wire/codec.h"
#include "wire/mp.h"

struct kept {
    struct journal_record record;
    struct buf payload;
};

/* A node with a disk that never fails, driven by hand. */
struct life {
    struct node *node;
    struct effects fx;
    uint64_t now_ns;
    struct kept *journal;
    size_t count;
    bool ready, answered;
    struct response response; /* spans of it are not kept */
    struct buf text, value;
};

static void keep(struct life *l, const struct journal_record *record)
{
    l->journal = realloc(l->journal, (l->count + 1) * sizeof *l->journal);
    struct kept *k = &l->journal[l->count++];
    *k = (struct kept){ .record = *record };
    buf_append_span(&k->payload, record->payload);
    k->record.payload = buf_span(&k->payload);
}

static void step(struct life *l, struct event *event)
{
    event->now_ns = l->now_ns;
    cr_assert_eq(node_step(l->node, event, &l->fx), DLHT_OK);
    uint64_t sync = 0;
    for (size_t i = 0; i < l->fx.count; i++) {
        struct effect *e = &l->fx.list[i];
        cr_assert_neq(e->kind, EFFECT_FAILED, "%s", e->u.failed.text);
        l->ready = l->ready || e->kind == EFFECT_READY;
        if (e->kind == EFFECT_SYNC)
            sync = e->u.sync.number;
        if (e->kind == EFFECT_APPEND)
            keep(l, &e->u.append);
        if (e->kind != EFFECT_REPLY)
            continue;
        l->answered = true;
        l->response = e->u.reply.response;
        buf_reset(&l->text);
        buf_append_span(&l->text, l->response.text);
        buf_reset(&l->value);
        buf_append_span(&l->value, l->response.value);
    }
    if (sync == 0)
        return;
    struct event synced = { .kind = EVENT_SYNCED };
    synced.u.synced.number = sync;
    step(l, &synced);
}

static void turn(struct life *l, enum event_kind kind)
{
    struct event event = { .kind = kind };
    step(l, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(l, &flush);
}

static void run(struct life *l, uint64_t ms, const bool *until)
{
    uint64_t end = l->now_ns + ms * 1000000;
    while (l->now_ns < end && !(until && *until)) {
        l->now_ns += 10 * 1000000;
        if (node_next_timeout_ns(l->node) <= l->now_ns)
            turn(l, EVENT_TICK);
    }
}

static int ask(struct life *l, const struct request *q)
{
    l->answered = false;
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.request = q;
    step(l, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(l, &flush);
    run(l, 20000, &l->answered);
    cr_assert(l->answered);
    return l->response.status;
}

static void begin(struct life *l, uint64_t seed)
{
    struct node_config config;
    node_config_default(&config);
    strcpy(config.addr, "127.0.0.1:9000");
    config.seed = seed;
    config.durable = true;
    cr_assert_eq(node_new(&config, &l->node), DLHT_OK);
    l->ready = false;
    l->now_ns = 1000000000;
}

static void end(struct life *l)
{
    node_check(l->node);
    node_free(l->node);
    l->node = NULL;
    effects_deinit(&l->fx);
    for (size_t i = 0; i < l->count; i++)
        buf_deinit(&l->journal[i].payload);
    free(l->journal);
    buf_deinit(&l->text);
    buf_deinit(&l->value);
    *l = (struct life){ 0 };
}

/* From the first records of another life's journal, not written yet by this
 * one. */
static void restore(struct life *l, const struct life *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct journal_record *record = &from->journal[i].record;
        cr_assert_eq(node_restore_record(l->node, record), DLHT_OK,
                     "record %zu of type %d", i, record->type);
        keep(l, record);
    }
    turn(l, EVENT_BOOT);
    run(l, 10000, &l->ready);
    cr_assert(l->ready);
}

static struct request op(int op, const char *key)
{
    struct request q = { .op = (uint8_t)op, .timeout_ms = 1000 };
    q.key = span_str(key);
    if (op == OP_PUT)
        q.value = span_str("v");
    return q;
}

static int ask_recover(struct life *l, arc_id arc, bool accept, bool empty)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "arc");
    mp_write_uint(&doc, arc);
    mp_write_cstr(&doc, "accept_loss");
    mp_write_bool(&doc, accept);
    mp_write_cstr(&doc, "empty");
    mp_write_bool(&doc, empty);
    struct request q = { .op = OP_RECOVER,
                         .value = buf_span(&doc),
                         .timeout_ms = 5000 };
    int status = ask(l, &q);
    buf_deinit(&doc);
    return status;
}

static bool says(const struct buf *b, const char *words)
{
    size_t len = strlen(words);
    for (size_t i = 0; i + len <= b->len; i++)
        if (memcmp(b->data + i, words, len) == 0)
            return true;
    return false;
}

static arc_id only_arc(const struct life *l)
{
    struct keyspace_record record;
    return map_at(inspect_map(l->node, 1, &record), 0)->id;
}

/* Two more voters stand in the founding of the arc. */
static void add_voters(struct kept *k)
{
    struct mp_reader reader;
    mp_reader_init(&reader, k->record.payload);
    uint64_t self = mp_read_uint(&reader);
    struct arc arc;
    codec_unpack_arc(&reader, &arc);
    cr_assert_not(reader.bad);
    for (uint8_t i = 1; i <= 2; i++) {
        struct arc_member *m = &arc.members[arc.member_count++];
        *m = (struct arc_member){ .replica = 100 + i, .voter = true };
        m->peer.bytes[0] = i;
    }
    struct buf payload = { 0 };
    mp_write_uint(&payload, self);
    codec_pack_arc(&payload, &arc);
    buf_deinit(&k->payload);
    k->payload = payload;
    k->record.payload = buf_span(&k->payload);
}

/* A life that puts a key, and what it leaves behind, as one of three. */
static arc_id first_life(struct life *l)
{
    begin(l, 1);
    turn(l, EVENT_BOOT);
    run(l, 10000, &l->ready);
    struct request put = op(OP_PUT, "k");
    cr_assert_eq(ask(l, &put), DLHT_OK);
    arc_id arc = only_arc(l);
    for (size_t i = 0; i < l->count; i++)
        if (l->journal[i].record.type == JOURNAL_FOUND &&
            l->journal[i].record.arc == arc)
            add_voters(&l->journal[i]);
    node_free(l->node);
    l->node = NULL;
    return arc;
}

static void end_first(struct life *l)
{
    begin(l, 1); /* for a node to end */
    end(l);
}

/* Old: nothing answers. New: all is there, and goes on. */
static bool is_new(struct life *l)
{
    struct request get = op(OP_GET, "k"), put = op(OP_PUT, "k2");
    int status = ask(l, &get);
    cr_assert(status == DLHT_OK || status == DLHT_ETIMEOUT ||
                  status == DLHT_EUNAVAILABLE,
              "%s", dlht_errname(status));
    if (status != DLHT_OK)
        return false;
    cr_expect_eq(ask(l, &put), DLHT_OK);
    cr_expect_geq(l->response.version, UINT64_C(1) << 32,
                  "no lost version comes again");
    return true;
}

Test(recover, a_crash_at_any_record_leaves_the_old_group_or_the_new_one)
{
    struct life first = { 0 }, second = { 0 };
    arc_id arc = first_life(&first);
    begin(&second, 2);
    restore(&second, &first, first.count);
    run(&second, 6000, NULL);
    cr_assert_not(is_new(&second), "its two other voters are not there");
    size_t before = second.count;
    cr_assert_eq(ask_recover(&second, arc, true, false), DLHT_OK);
    cr_expect(says(&second.value, "done\xc3"));
    cr_assert(is_new(&second));
    size_t news = 0;
    for (size_t n = before; n <= second.count; n++) {
        struct life third = { 0 };
        begin(&third, 3);
        restore(&third, &second, n);
        bool now = is_new(&third);
        cr_expect(now || news == 0, "after %zu records it is old again", n);
        news += now;
        end(&third);
    }
    cr_expect_gt(news, 0);
    cr_expect_lt(news, second.count - before + 1, "the first was old");
    end(&second);
    end_first(&first);
}

static const struct {
    const char *why;
    bool accept, empty;
    uint64_t wait_ms;
    int status;
    const char *says;
} refusals[] = {
    { "a plan changes nothing", false, false, 6000, DLHT_OK, "done\xc2" },
    { "just started", true, false, 0, DLHT_EREFUSED, "started just now" },
    { "a copy is here", true, true, 6000, DLHT_EREFUSED, "a copy is left" },
};

Test(recover, nothing_is_done_where_it_is_refused)
{
    struct life first = { 0 };
    arc_id arc = first_life(&first);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct life l = { 0 };
        begin(&l, 2);
        restore(&l, &first, first.count);
        run(&l, refusals[i].wait_ms, NULL);
        cr_expect_eq(
            ask_recover(&l, arc, refusals[i].accept, refusals[i].empty),
            refusals[i].status, "%s", refusals[i].why);
        cr_expect(says(&l.text, refusals[i].says) ||
                      says(&l.value, refusals[i].says),
                  "%s", refusals[i].why);
        cr_expect_not(is_new(&l), "%s", refusals[i].why);
        end(&l);
    }
    end_first(&first);
}

Test(recover, what_has_an_owner_or_is_not_known_is_refused)
{
    struct life l = { 0 };
    begin(&l, 4);
    turn(&l, EVENT_BOOT);
    run(&l, 10000, &l.ready);
    run(&l, 6000, NULL);
    cr_expect_eq(ask_recover(&l, only_arc(&l), true, false), DLHT_EREFUSED);
    cr_expect(says(&l.text, "it has an owner"));
    cr_expect_eq(ask_recover(&l, 1, true, true), DLHT_EREFUSED);
    cr_expect(says(&l.text, "it has an owner"));
    cr_expect_eq(ask_recover(&l, 77, true, true), DLHT_EREFUSED);
    cr_expect(says(&l.text, "no peer that is up knows"));
    cr_expect_eq(ask_recover(&l, 0, true, true), DLHT_EINVAL);
    end(&l);
}

/* Every copy is gone: the arc begins anew, and a restart finds it so. */
Test(recover, an_arc_without_a_copy_begins_with_nothing)
{
    struct life first = { 0 }, second = { 0 }, third = { 0 };
    arc_id arc = first_life(&first);
    begin(&second, 2);
    size_t kept = 0;
    for (size_t i = 0; i < first.count; i++) {
        bool of_arc = first.journal[i].record.arc == arc;
        if (of_arc)
            buf_deinit(&first.journal[i].payload);
        else
            first.journal[kept++] = first.journal[i];
    }
    /* The record of its keyspace would found it: as a removal says, it was
     * here and went. */
    struct buf gone = { 0 };
    struct keyspace_record record;
    const struct map *map = NULL;
    first.count = kept;
    restore(&second, &first, first.count);
    map = inspect_map(second.node, 1, &record);
    mp_write_uint(&gone, map_at(map, 0)->members[0].replica);
    struct journal_record removal = { .type = JOURNAL_REMOVE,
                                      .arc = arc,
                                      .payload = buf_span(&gone) };
    keep(&first, &removal);
    buf_deinit(&gone);
    end(&second);
    begin(&second, 2);
    restore(&second, &first, first.count);
    run(&second, 6000, NULL);
    cr_expect_eq(ask_recover(&second, arc, true, false), DLHT_EREFUSED);
    cr_expect(says(&second.text, "--empty"));
    cr_assert_eq(ask_recover(&second, arc, true, true), DLHT_OK);
    struct request get = op(OP_GET, "k"), put = op(OP_PUT, "k");
    cr_expect_eq(ask(&second, &get), DLHT_ENOTFOUND);
    cr_expect_eq(ask(&second, &put), DLHT_OK);
    cr_expect_geq(second.response.version, UINT64_C(1) << 32);
    begin(&third, 3);
    restore(&third, &second, second.count);
    cr_expect_eq(ask(&third, &get), DLHT_OK);
    end(&third);
    end(&second);
    end_first(&first);
}

/* As after a start, which writes the identity anew, and a trim, which drops the
 * one that was written first. */
static void identities_last(struct life *l)
{
    struct kept *moved = calloc(l->count, sizeof *moved);
    size_t at = 0;
    for (int last = 0; last < 2; last++)
        for (size_t i = 0; i < l->count; i++)
            if ((l->journal[i].record.type == JOURNAL_IDENTITY) == last)
                moved[at++] = l->journal[i];
    free(l->journal);
    l->journal = moved;
}

Test(recover, a_group_is_restored_before_the_node_knows_its_name)
{
    struct life first = { 0 }, second = { 0 };
    begin(&first, 1);
    turn(&first, EVENT_BOOT);
    run(&first, 10000, &first.ready);
    struct request put = op(OP_PUT, "k"), get = op(OP_GET, "k");
    cr_assert_eq(ask(&first, &put), DLHT_OK);
    identities_last(&first);
    begin(&second, 2);
    restore(&second, &first, first.count);
    cr_expect_eq(ask(&second, &get), DLHT_OK);
    end(&second);
    end(&first);
}

Test(recover, a_recovered_group_is_restored_before_the_node_knows_its_name)
{
    struct life first = { 0 }, second = { 0 }, third = { 0 };
    arc_id arc = first_life(&first);
    begin(&second, 2);
    restore(&second, &first, first.count);
    run(&second, 6000, NULL);
    cr_assert_eq(ask_recover(&second, arc, true, false), DLHT_OK);
    cr_assert(is_new(&second));
    identities_last(&second);
    begin(&third, 3);
    restore(&third, &second, second.count);
    cr_expect(is_new(&third));
    end(&third);
    end(&second);
    end_first(&first);
}
