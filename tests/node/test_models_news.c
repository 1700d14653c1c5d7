/* SPDX-License-Identifier: Apache-2.0 */

/* Whom a peer outside the system arc believes about epochs. What it would send
 * and ask is kept here. */

#include <criterion/criterion.h>
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
    if (message->type != MESSAGE_MODEL || message->u.model.kind != MODEL_ASK)
        return;
    w.fetches++;
    w.from = *to;
    w.epoch = message->u.model.epoch;
}

struct outside {
    struct alone alone;
    struct node *node;
    struct keyspace *ks;
    struct buf packed[2]; /* of epoch 5, and another */
};

static void begin(struct outside *o)
{
    memset(o, 0, sizeof *o);
    memset(&w, 0, sizeof w);
    alone_init(&o->alone, 20261121);
    o->node = o->alone.node;
    o->ks = keyspaces_find_name(o->node, span_str("default"));
    for (size_t i = 0; i < 2; i++) {
        struct key_set set = key_set_make(KEYS_UNIFORM, 2000, 7 + i);
        struct fit_config config = fit_config_default();
        struct model *model;
        config.leaf_count = 16;
        cr_assert_eq(fit_keys(set.keys, set.count, &config, &model), DLHT_OK);
        struct model_info info = { .epoch = 5,
                                   .keys = model_key_count(model),
                                   .leaves = model_leaf_count(model),
                                   .root = (uint8_t)model_root_kind(model),
                                   .leaf = (uint8_t)model_leaf_kind(model) };
        cr_assert_eq(models_pack(&info, model, &o->packed[i]), DLHT_OK);
        model_free(model);
        key_set_free(&set);
    }
    node_replica(o->node, SYSTEM_ARC)->empty = true; /* outside */
    w.on = true;
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
