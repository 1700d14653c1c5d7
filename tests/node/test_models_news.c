/* SPDX-License-Identifier: Apache-2.0 */

/* Whom a peer outside the system arc believes about epochs. What it would send
 * and ask is kept here. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/models.h"
#include "node/pending.h"
#include "node/replica.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"
#include "wire/mp.h"

static struct {
    bool on;
    size_t asked; /* of the system arc */
    pending_fn *done;
    void *context;
    size_t fetches; /* MODEL_ASK */
    struct id from;
    uint64_t epoch;
    uint64_t offset;
    size_t parts, news; /* MODEL_PART, MODEL_NEWS */
    uint64_t part_len, total;
} w;

int __real_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target);
int __wrap_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target);
int __wrap_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target)
{
    if (!w.on)
        return __real_pending_begin(node, request, deadline_ns, target);
    cr_assert_eq(request->op, OP_MODEL);
    cr_assert_eq(request->keyspace, SYSTEM_KEYSPACE);
    w.done = target->done;
    w.context = target->context;
    w.asked++;
    return DLHT_OK;
}

void __real_node_send(struct node *node, const struct id *to,
                      const struct message *message);
void __wrap_node_send(struct node *node, const struct id *to,
                      const struct message *message);
void __wrap_node_send(struct node *node, const struct id *to,
                      const struct message *message)
{
    if (!w.on) {
        __real_node_send(node, to, message);
        return;
    }
    if (message->type != MESSAGE_MODEL)
        return;
    if (message->u.model.kind == MODEL_PART) {
        w.parts++;
        w.part_len = message->u.model.bytes.len;
        w.total = message->u.model.total;
    }
    w.news += message->u.model.kind == MODEL_NEWS;
    if (message->u.model.kind != MODEL_ASK)
        return;
    w.fetches++;
    w.offset = message->u.model.offset;
    w.from = *to;
    w.epoch = message->u.model.epoch;
}

struct outside {
    struct alone alone;
    struct node *node;
    struct keyspace *ks;
    struct buf packed[2]; /* of epoch 5, and another */
};

static struct model *fit(size_t keys, uint32_t leaves, uint64_t seed)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, keys, seed);
    struct fit_config config = fit_config_default();
    struct model *model;
    config.leaf_count = leaves;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &model), DLHT_OK);
    key_set_free(&set);
    return model;
}

static struct model_info info_of(const struct model *model)
{
    return (struct model_info){ .epoch = 5,
                                .keys = model_key_count(model),
                                .leaves = model_leaf_count(model),
                                .root = (uint8_t)model_root_kind(model),
                                .leaf = (uint8_t)model_leaf_kind(model) };
}

/* With as many records. */
static void begin_with(struct outside *o, int records)
{
    char key[16];
    memset(o, 0, sizeof *o);
    memset(&w, 0, sizeof w);
    alone_init(&o->alone, 20261121);
    o->node = o->alone.node;
    for (int i = 0; i < records; i++) {
        snprintf(key, sizeof key, "k%06d", i);
        cr_assert_eq(alone_put(&o->alone, key, "v"), DLHT_OK);
    }
    o->ks = keyspaces_find_name(o->node, span_str("default"));
    for (size_t i = 0; i < 2; i++) {
        struct model *model = fit(2000, 16, 7 + i);
        struct model_info info = info_of(model);
        cr_assert_eq(models_pack(&info, model, &o->packed[i]), DLHT_OK);
        model_free(model);
    }
    node_replica(o->node, SYSTEM_ARC)->empty = true; /* outside */
    w.on = true;
}

static void begin(struct outside *o)
{
    begin_with(o, 0);
}

static void end(struct outside *o)
{
    w.on = false;
    node_replica(o->node, SYSTEM_ARC)->empty = false;
    alone_deinit(&o->alone);
    buf_deinit(&o->packed[0]);
    buf_deinit(&o->packed[1]);
}

static struct id peer(uint8_t number)
{
    struct id id = { { 0 } };
    id.bytes[0] = number;
    return id;
}

static void tell(struct outside *o, uint8_t from, uint64_t epoch)
{
    struct id id = peer(from);
    struct model_message m = { .kind = MODEL_NEWS,
                               .keyspace = o->ks->record.id,
                               .epoch = epoch };
    models_receive(o->node, &id, &m);
}

static void send_part(struct outside *o, uint8_t from, struct span bytes)
{
    struct id id = peer(from);
    struct model_message m = { .kind = MODEL_PART,
                               .keyspace = o->ks->record.id,
                               .epoch = 5,
                               .total = bytes.len,
                               .bytes = bytes };
    models_receive(o->node, &id, &m);
}

static void wait_s(struct outside *o, uint64_t seconds)
{
    o->node->now_ns += seconds * NS_PER_S;
    models_news_tick(o->node, o->ks);
}

/* What the system arc says. */
static void answer(struct outside *o, uint64_t epoch, uint64_t digest)
{
    struct buf doc = { 0 };
    mp_write_array(&doc, 2);
    mp_write_uint(&doc, epoch);
    mp_write_uint(&doc, digest);
    struct response response = { .status = DLHT_OK, .value = buf_span(&doc) };
    pending_fn *done = w.done;
    cr_assert_not_null(done);
    w.done = NULL;
    done(o->node, w.context, &response);
    buf_deinit(&doc);
}

Test(models_news, bytes_must_be_those_of_the_system_arc)
{
    struct outside o;
    begin(&o);
    tell(&o, 1, 5);
    cr_expect_eq(w.asked, 0u, "after a moment");
    wait_s(&o, 3);
    tell(&o, 2, 5);
    cr_expect_eq(w.asked, 1u);
    cr_expect_eq(w.fetches, 0u, "not before the system arc has answered");
    answer(&o, 5, hash64(buf_span(&o.packed[0])));
    struct id first = peer(1), second = peer(2);
    cr_expect_eq(w.fetches, 1u);
    cr_expect(id_equal(&w.from, &first) && w.epoch == 5);
    send_part(&o, 1, buf_span(&o.packed[1]));
    cr_expect_null(o.ks->held, "sound, but another");
    cr_expect_eq(o.ks->models_refused, 1u);
    tell(&o, 1, 5);
    cr_expect_eq(w.fetches, 1u, "not of the liar again");
    tell(&o, 2, 5);
    cr_expect_eq(w.fetches, 2u);
    cr_expect(id_equal(&w.from, &second));
    send_part(&o, 2, buf_span(&o.packed[0]));
    cr_assert_not_null(o.ks->held);
    cr_expect_eq(o.ks->held->info.epoch, 5u);
    cr_expect_eq(w.asked, 1u, "the system arc is asked once an epoch");
    end(&o);
}

Test(models_news, an_epoch_made_up_is_never_fetched)
{
    struct outside o;
    begin(&o);
    for (int i = 0; i < 100; i++) {
        tell(&o, 1, 1000 + (uint64_t)i);
        wait_s(&o, 3);
        if (w.done)
            answer(&o, 5, hash64(buf_span(&o.packed[0])));
    }
    cr_expect_eq(w.fetches, 0u);
    cr_expect_leq(w.asked, 20u, "%zu times in five minutes", w.asked);
    cr_expect_geq(o.ks->models_refused, 5u);
    /* An honest one is not kept waiting by that. */
    tell(&o, 2, 5);
    cr_expect_eq(w.fetches, 1u);
    send_part(&o, 2, buf_span(&o.packed[0]));
    cr_expect_not_null(o.ks->held);
    /* Nor the next epoch. */
    tell(&o, 1, 5000);
    wait_s(&o, 3);
    if (w.done)
        answer(&o, 5, hash64(buf_span(&o.packed[0])));
    wait_s(&o, 3);
    tell(&o, 2, 6);
    wait_s(&o, 3);
    cr_assert_not_null(w.done);
    answer(&o, 6, 1);
    cr_expect_eq(w.fetches, 2u);
    cr_expect_eq(w.epoch, 6u);
    end(&o);
}

/* Two peers tell of epoch 5; the system arc says that these bytes are it, and
 * the first one is asked for them. */
static void await_bytes(struct outside *o, struct span bytes)
{
    tell(o, 1, 5);
    wait_s(o, 3);
    tell(o, 2, 5);
    answer(o, 5, hash64(bytes));
    cr_assert_eq(w.fetches, 1u);
    cr_assert_eq(w.offset, 0u);
}

/* As models.c packs it, and as it must not be. */
struct forgery {
    size_t fields, rest, id_len;
    bool more;                               /* behind the model */
    bool flipped;                            /* a bit of it */
    uint8_t epoch, keys, leaves, root, leaf; /* by how much too large */
};

static void forge(const struct forgery *f, const struct model *model,
                  struct buf *out)
{
    static const uint8_t id[32];
    struct model_info info = info_of(model);
    struct buf packed = { 0 };
    cr_assert_eq(model_pack(model, &packed), DLHT_OK);
    if (f->flipped)
        packed.data[packed.len / 2] ^= 1;
    mp_write_array(out, f->fields);
    mp_write_uint(out, info.epoch + f->epoch);
    mp_write_uint(out, info.keys + f->keys);
    mp_write_uint(out, info.leaves + f->leaves);
    mp_write_uint(out, info.root + f->root);
    mp_write_uint(out, info.leaf + f->leaf);
    mp_write_uint(out, 0); /* why it was made */
    mp_write_bool(out, false);
    for (int i = 0; i < 3; i++)
        mp_write_float(out, 0.01);
    for (int i = 0; i < 3; i++)
        mp_write_uint(out, 7); /* bytes, how long it took, when */
    mp_write_array(out, f->rest);
    mp_write_uint(out, 0); /* lies */
    mp_write_bin(out, span_of(id, f->id_len));
    if (f->rest > 2)
        mp_write_uint(out, 0); /* missing */
    mp_write_bin(out, buf_span(&packed));
    if (f->more)
        mp_write_nil(out);
    buf_deinit(&packed);
}

static const struct {
    struct forgery f;
    bool taken;
    const char *why;
} forgeries[] = {
    { { 14, 3, 16, .more = false }, true, "as it is packed" },
    { { 14, 2, 16, .more = false }, true, "before missing was counted" },
    { { 13, 3, 16, .more = false }, false, "a field less" },
    { { 14, 1, 16, .more = false }, false, "of the later fields, too few" },
    { { 14, 4, 16, .more = false }, false, "or too many" },
    { { 14, 3, 15, .more = false }, false, "no id of a peer" },
    { { 14, 3, 16, .more = true }, false, "more behind it" },
    { { 14, 3, 16, .flipped = true }, false, "a bit turned" },
    { { 14, 3, 16, .epoch = 1 }, false, "another epoch" },
    { { 14, 3, 16, .keys = 1 }, false, "of other keys" },
    { { 14, 3, 16, .leaves = 1 }, false, "of other leaves" },
    { { 14, 3, 16, .root = 1 }, false, "of another root" },
    { { 14, 3, 16, .leaf = 1 }, false, "of another kind of leaf" },
};

/* What the system arc has may be of a peer that lied, or of another version. */
Test(models_news, what_is_said_of_a_model_must_fit_it)
{
    struct model *model = fit(2000, 16, 7);
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        const char *why = forgeries[i].why;
        struct outside o;
        struct buf bytes = { 0 };
        forge(&forgeries[i].f, model, &bytes);
        begin(&o);
        await_bytes(&o, buf_span(&bytes));
        send_part(&o, 1, buf_span(&bytes));
        cr_expect_eq(o.ks->held != NULL, forgeries[i].taken, "%s", why);
        cr_expect_eq(o.ks->models_refused, !forgeries[i].taken, "%s", why);
        tell(&o, 1, 5);
        cr_expect_eq(w.fetches, 1u, "%s: not of that peer again", why);
        buf_deinit(&bytes);
        end(&o);
    }
    model_free(model);
}

/* 1,200 records are all that there are; a model says that there are 400. */
Test(models_news, a_model_that_the_own_records_deny_is_not_adopted)
{
    struct model *model = fit(400, 16, 7);
    for (int imported = 0; imported < 2; imported++) {
        struct outside o;
        struct buf bytes = { 0 };
        struct model_info info = info_of(model);
        info.imported = imported;
        cr_assert_eq(models_pack(&info, model, &bytes), DLHT_OK);
        begin_with(&o, 1200);
        await_bytes(&o, buf_span(&bytes));
        send_part(&o, 1, buf_span(&bytes));
        cr_expect_eq(o.ks->held != NULL, imported,
                     "an operator's own may say what it will");
        buf_deinit(&bytes);
        end(&o);
    }
    model_free(model);
}

static void send_piece(struct outside *o, uint8_t from, struct span whole,
                       uint64_t offset, uint64_t len, uint64_t total)
{
    struct id id = peer(from);
    struct model_message m = { .kind = MODEL_PART,
                               .keyspace = o->ks->record.id,
                               .epoch = total ? 5 : 6,
                               .total = total ? total : whole.len,
                               .offset = offset,
                               .bytes =
                                   span_of(whole.data + offset, (size_t)len) };
    models_receive(o->node, &id, &m);
}

/* A step in which what is asked may be answered. */
static void ask_bytes(struct outside *o, uint64_t epoch, uint64_t offset)
{
    struct id id = peer(3);
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model = (struct model_message){ .kind = MODEL_ASK,
                                        .keyspace = o->ks->record.id,
                                        .epoch = epoch,
                                        .offset = offset };
    w.parts = w.news = 0;
    alone_hear_from(&o->alone, &id, &m);
}

Test(models_news, a_large_model_comes_and_goes_in_parts)
{
    enum {
        PART = MODEL_PART_MAX
    };
    struct model *model = fit(30000, 3000, 11);
    struct model_info info = info_of(model);
    struct buf packed = { 0 };
    struct outside o;
    cr_assert_eq(models_pack(&info, model, &packed), DLHT_OK);
    struct span whole = buf_span(&packed);
    cr_assert_gt(whole.len, (size_t)PART + 100, "%zu bytes", whole.len);
    cr_assert_lt(whole.len, (size_t)2 * PART, "%zu bytes", whole.len);
    begin(&o);
    await_bytes(&o, whole);
    send_piece(&o, 9, whole, 0, PART, whole.len);
    cr_expect_eq(w.fetches, 1u, "it was not asked");
    send_piece(&o, 1, whole, 0, PART, 0);
    cr_expect_eq(w.fetches, 1u, "another epoch");
    send_piece(&o, 1, whole, 8, PART, whole.len);
    cr_expect_eq(w.fetches, 1u, "not where it goes on");
    send_piece(&o, 1, whole, 0, 0, whole.len);
    cr_expect_eq(w.fetches, 1u, "nothing");
    send_piece(&o, 1, whole, 0, 100, whole.len);
    cr_expect_eq(w.fetches, 1u, "a part that is not the last is a whole one");
    send_piece(&o, 1, whole, 0, PART, whole.len);
    cr_expect_eq(w.fetches, 2u);
    cr_expect_eq(w.offset, (uint64_t)PART);
    send_piece(&o, 1, whole, PART, whole.len - PART, whole.len - 1);
    cr_expect_eq(w.fetches, 2u, "it has another size now");
    cr_expect_null(o.ks->held);
    send_piece(&o, 1, whole, PART, whole.len - PART, whole.len);
    cr_assert_not_null(o.ks->held);
    cr_expect_eq(o.ks->models_refused, 0u);

    ask_bytes(&o, 5, 0);
    cr_expect_eq(w.parts, 1u);
    cr_expect_eq(w.part_len, (uint64_t)PART);
    cr_expect_eq(w.total, (uint64_t)whole.len);
    ask_bytes(&o, 5, PART);
    cr_expect_eq(w.part_len, (uint64_t)whole.len - PART);
    ask_bytes(&o, 5, whole.len);
    cr_expect_eq(w.parts, 0u, "nothing is there");
    cr_expect_eq(w.news, 1u, "but what it has is told");
    ask_bytes(&o, 4, 0);
    cr_expect_eq(w.parts, 0u);
    cr_expect_eq(w.news, 1u);
    model_free(model);
    buf_deinit(&packed);
    end(&o);
}

Test(models_news, more_than_was_told_is_dropped)
{
    struct outside o;
    begin(&o);
    struct span whole = buf_span(&o.packed[0]);
    await_bytes(&o, whole);
    send_piece(&o, 1, whole, 0, whole.len, whole.len - 1);
    cr_expect_null(o.ks->fetch, "given up");
    cr_expect_null(o.ks->held);
    /* No message of this kind, nor of a keyspace that is not there. */
    struct id id = peer(2);
    struct model_message m = { .kind = 99, .keyspace = o.ks->record.id };
    models_receive(o.node, &id, &m);
    m = (struct model_message){ .kind = MODEL_NEWS, .keyspace = 4711 };
    models_receive(o.node, &id, &m);
    cr_expect_eq(w.fetches, 1u);
    end(&o);
}
