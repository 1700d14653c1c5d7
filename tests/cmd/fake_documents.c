/* SPDX-License-Identifier: Apache-2.0 */

/* What a fake cluster says of itself. */

#include "fake_documents.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/rmi.h"

static void pack_text(msgpack_packer *p, const char *text)
{
    msgpack_pack_str(p, strlen(text));
    msgpack_pack_str_body(p, text, strlen(text));
}

static void pack_number(msgpack_packer *p, const char *name, uint64_t number)
{
    pack_text(p, name);
    msgpack_pack_uint64(p, number);
}

static void pack_pair(msgpack_packer *p, const char *name, const char *text)
{
    pack_text(p, name);
    if (text)
        pack_text(p, text);
    else
        msgpack_pack_nil(p);
}

static void pack_bin(msgpack_packer *p, const char *name, const char *bytes,
                     size_t len)
{
    pack_text(p, name);
    if (!bytes) {
        msgpack_pack_nil(p);
        return;
    }
    msgpack_pack_bin(p, len);
    msgpack_pack_bin_body(p, bytes, len);
}

static void pack_replicas(msgpack_packer *p)
{
    pack_text(p, "replicas");
    msgpack_pack_array(p, 2);
    pack_text(p, "127.0.0.1:9000");
    pack_text(p, "127.0.0.1:9001");
}

static void pack_flag(msgpack_packer *p, const char *name, bool yes)
{
    pack_text(p, name);
    if (yes)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

static void pack_float(msgpack_packer *p, const char *name, double number)
{
    pack_text(p, name);
    msgpack_pack_double(p, number);
}

/* The field of a document that was sent; nil if it has none of that name. */
static msgpack_object asked(const struct dlht_request *request,
                            msgpack_unpacked *room, const char *name)
{
    msgpack_object none = { .type = MSGPACK_OBJECT_NIL };
    size_t at = 0;

    msgpack_unpacked_init(room);
    if (request->document.len == 0)
        return none;
    assert(msgpack_unpack_next(room, request->document.data,
                               request->document.len,
                               &at) == MSGPACK_UNPACK_SUCCESS);
    assert(room->data.type == MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < room->data.via.map.size; i++) {
        msgpack_object_kv *pair = &room->data.via.map.ptr[i];
        assert(pair->key.type == MSGPACK_OBJECT_STR);
        if (pair->key.via.str.size == strlen(name) &&
            memcmp(pair->key.via.str.ptr, name, strlen(name)) == 0)
            return pair->val;
    }
    return none;
}

static bool is_text(const msgpack_object *object, const char *text)
{
    return object->type == MSGPACK_OBJECT_STR &&
           object->via.str.size == strlen(text) &&
           memcmp(object->via.str.ptr, text, strlen(text)) == 0;
}

bool fake_model_is(const char *name)
{
    const char *model = getenv("FAKE_DLHT_MODEL");

    return model && strcmp(model, name) == 0;
}

static uint64_t asked_position(const struct dlht_request *request)
{
    msgpack_unpacked room;
    msgpack_object position = asked(request, &room, "position");
    uint64_t value = 0x6100000000000000u;

    if (position.type != MSGPACK_OBJECT_NIL) {
        assert(position.type == MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert(request->key.len == 0);
        value = position.via.u64;
    }
    msgpack_unpacked_destroy(&room);
    return value;
}

static void lookup(msgpack_packer *p, const struct dlht_request *request)
{
    msgpack_pack_map(p, 15);
    pack_pair(p, "keyspace", "default");
    pack_bin(p, "key", request->key.data, request->key.len);
    pack_number(p, "arc", 0xA1);
    pack_bin(p, "lo", "", 0);
    pack_bin(p, "hi", "m", 1);
    pack_number(p, "generation", 3);
    pack_pair(p, "owner", "127.0.0.1:9000");
    pack_replicas(p);
    pack_number(p, "hops", 1);
    pack_number(p, "position", asked_position(request));
    pack_float(p, "percent", 37.890625);
    pack_pair(p, "predicted_arc", NULL);
    pack_pair(p, "error", NULL);
    pack_number(p, "model_epoch", 0);
    pack_pair(p, "model", "identity");
}

static void ring(msgpack_packer *p, bool second)
{
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 11);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "arc", second ? 0xA2 : 0xA1);
    pack_bin(p, "lo", second ? "m" : "", second);
    pack_bin(p, "hi", second ? NULL : "m", 1);
    pack_number(p, "generation", 3);
    pack_pair(p, "owner", second ? NULL : "127.0.0.1:9000");
    pack_replicas(p);
    pack_number(p, "keys", 10);
    pack_number(p, "bytes", second ? 640 : 1536);
    pack_number(p, "position_lo", second ? 0x6d00000000000000u : 0);
    pack_number(p, "position_hi", second ? UINT64_MAX : 0x6d00000000000000u);
}

static void peers(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    for (unsigned i = 0; i < 2; i++) {
        msgpack_pack_map(p, 10);
        pack_pair(p, "peer", i ? "127.0.0.1:9001" : "127.0.0.1:9000");
        pack_pair(p, "id",
                  i ? "0123456789abcdef0123456789abcdef"
                    : "fedcba9876543210fedcba9876543210");
        pack_pair(p, "state", i ? "suspect" : "up");
        pack_pair(p, "zone", i ? "z1" : "");
        pack_float(p, "weight", i ? 1.5 : 1);
        pack_number(p, "arcs_led", 1);
        pack_number(p, "replicas", 2);
        pack_number(p, "keys", 20);
        pack_number(p, "bytes", 2176);
        pack_number(p, "incarnation", 7);
    }
}

static void status(msgpack_packer *p)
{
    msgpack_pack_map(p, 14);
    pack_number(p, "peers_up", 2);
    pack_number(p, "peers_down", 1);
    pack_number(p, "arcs", 2);
    pack_number(p, "arcs_under_replicated", 1);
    pack_number(p, "arcs_unavailable", 0);
    pack_number(p, "keys", 20);
    pack_number(p, "bytes", 2176);
    pack_number(p, "model_epoch", 0);
    pack_flag(p, "safe_to_stop", false);
    pack_flag(p, "whole", false);
    pack_pair(p, "verdict", "1 arc is under-replicated");
    pack_pair(p, "cluster", "c0ffee");
    pack_pair(p, "durability", "memory");
    pack_pair(p, "news", "a field of a later version");
}

static void keyspaces(msgpack_packer *p)
{
    static const char *const names[] = { "default", "l2" };

    msgpack_pack_array(p, 2);
    for (uint64_t i = 0; i < 2; i++) {
        msgpack_pack_map(p, 9);
        pack_pair(p, "name", names[i]);
        pack_number(p, "id", 1 + i);
        pack_pair(p, "placement", "ordered");
        pack_number(p, "replicas", 3);
        pack_flag(p, "volatile", false);
        pack_number(p, "arcs", 2);
        pack_flag(p, "dropped", false);
        pack_number(p, "dim", 3 * i);
        pack_pair(p, "metric", i ? "l2" : "");
    }
}

static void errors(msgpack_packer *p)
{
    pack_float(p, "ks", 0.0025);
    pack_float(p, "mean_error", 0.0005);
    pack_float(p, "max_error", 0.0025);
}

static void model_none(msgpack_packer *p)
{
    msgpack_pack_map(p, 5);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "epoch", 0);
    pack_pair(p, "ks", NULL);
    pack_pair(p, "reason", "none");
    pack_text(p, "triggers");
    msgpack_pack_map(p, 0);
}

static void model_show(msgpack_packer *p)
{
    msgpack_pack_map(p, 17);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "epoch", 3);
    pack_number(p, "keys", 20000);
    pack_number(p, "leaves", 128);
    pack_pair(p, "root", "cubic");
    pack_pair(p, "leaf", "linear");
    errors(p);
    pack_number(p, "bytes", 1536);
    pack_float(p, "age_s", 300);
    pack_pair(p, "reason", "volume");
    pack_float(p, "distance", 0.125);
    pack_pair(p, "trained_by", "127.0.0.1:9000");
    pack_number(p, "took_ms", 42);
    pack_number(p, "lies", 1);
    pack_text(p, "triggers");
    msgpack_pack_map(p, 2);
    pack_number(p, "first", 1);
    pack_number(p, "volume", 2);
}

static void model_history(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    for (unsigned i = 0; i < 2; i++) {
        msgpack_pack_map(p, 12);
        pack_number(p, "epoch", 3 - i);
        pack_number(p, "keys", 20000);
        pack_number(p, "leaves", 128);
        pack_number(p, "bytes", 1536);
        pack_pair(p, "reason", i ? "first" : "volume");
        if (i)
            pack_pair(p, "distance", NULL);
        else
            pack_float(p, "distance", 0.125);
        errors(p);
        pack_number(p, "took_ms", 42);
        pack_number(p, "age_s", i ? 90000 : 42);
        pack_pair(p, "trained_by", "127.0.0.1:9000");
    }
}

static void model_train(msgpack_packer *p, bool wait)
{
    bool stays = fake_model_is("stays");

    msgpack_pack_map(p, wait ? 4 : 2);
    pack_number(p, "epoch", wait && !stays ? 4 : 3);
    if (!wait) {
        pack_flag(p, "started", true);
        return;
    }
    pack_flag(p, "published", !stays);
    pack_pair(p, "reason", stays ? "it hardly differs" : "force");
    pack_number(p, "took_ms", 42);
}

/* Of two keys, packed: the caller's to free. */
static void *exported(size_t *len)
{
    static const struct dlht_bytes keys[] = { { "a", 1 }, { "b", 1 } };
    struct dlht_model *model;
    void *bytes;

    assert(dlht_model_train(keys, 2, NULL, &model) == DLHT_OK);
    assert(dlht_model_pack(model, &bytes, len) == DLHT_OK);
    dlht_model_free(model);
    return bytes;
}

static void model_import(msgpack_packer *p, const struct dlht_request *request,
                         struct dlht_result *result)
{
    msgpack_unpacked room;
    msgpack_object model = asked(request, &room, "model");

    size_t len;
    void *bytes = exported(&len);

    assert(model.type == MSGPACK_OBJECT_BIN);
    if (model.via.bin.size != len ||
        memcmp(model.via.bin.ptr, bytes, len) != 0) {
        result->status = DLHT_EREFUSED;
        result->text = "it is of other keys";
    }
    free(bytes);
    msgpack_pack_map(p, 1);
    pack_number(p, "epoch", 5);
    msgpack_unpacked_destroy(&room);
}

static void answer_model(msgpack_packer *p, const struct dlht_request *request,
                         struct dlht_result *result)
{
    msgpack_unpacked room[3];
    msgpack_object action = asked(request, &room[0], "action");
    msgpack_object keyspace = asked(request, &room[1], "keyspace");
    msgpack_object wait = asked(request, &room[2], "wait");

    assert(is_text(&keyspace, "default"));
    if (fake_model_is("bad")) {
        msgpack_pack_array(p, 1);
        msgpack_pack_nil(p);
    } else if (is_text(&action, "show")) {
        if (fake_model_is("none"))
            model_none(p);
        else
            model_show(p);
    } else if (is_text(&action, "history")) {
        model_history(p);
    } else if (is_text(&action, "train")) {
        assert(wait.type == MSGPACK_OBJECT_BOOLEAN);
        model_train(p, wait.via.boolean);
    } else if (is_text(&action, "import")) {
        model_import(p, request, result);
    } else if (is_text(&action, "export") && !fake_model_is("none")) {
        size_t len;
        void *bytes = exported(&len);
        msgpack_pack_bin(p, len);
        msgpack_pack_bin_body(p, bytes, len);
        free(bytes);
    } else {
        result->status = DLHT_ENOTSUP;
        result->text = "there is no model";
    }
    for (size_t i = 0; i < 3; i++)
        msgpack_unpacked_destroy(&room[i]);
}

static void options_shown(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    msgpack_pack_array(p, 3);
    pack_text(p, "error");
    pack_text(p, "0.02");
    pack_text(p, "0.01");
    msgpack_pack_array(p, 3);
    pack_text(p, "stale");
    pack_text(p, "off");
    pack_text(p, "86400");
}

static void tell(FILE *file, const msgpack_object *object, const char *end)
{
    assert(object->type == MSGPACK_OBJECT_STR ||
           object->type == MSGPACK_OBJECT_BIN);
    if (object->type == MSGPACK_OBJECT_STR)
        fwrite(object->via.str.ptr, 1, object->via.str.size, file);
    else
        fwrite(object->via.bin.ptr, 1, object->via.bin.size, file);
    fputs(end, file);
}

void fake_set(const struct dlht_request *request, struct dlht_result *result)
{
    const char *told = getenv("FAKE_DLHT_TOLD");
    FILE *file = told ? fopen(told, "w") : NULL;
    msgpack_unpacked room[2];
    bool peer = request->op == DLHT_OP_PEER_SET;
    msgpack_object name = asked(request, &room[0], peer ? "peer" : "name");
    msgpack_object options = asked(request, &room[1], "options");

    assert(options.type == MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < options.via.map.size; i++) {
        const msgpack_object_kv *pair = &options.via.map.ptr[i];
        if (is_text(&pair->key, "nonsense")) {
            result->status = DLHT_EINVAL;
            result->text = "no such option: nonsense";
        }
        if (file) {
            tell(file, &name, " ");
            tell(file, &pair->key, "=");
            tell(file, &pair->val, "\n");
        }
    }
    if (file)
        fclose(file);
    msgpack_unpacked_destroy(&room[0]);
    msgpack_unpacked_destroy(&room[1]);
}

static void answer_presplit(msgpack_packer *p,
                            const struct dlht_request *request,
                            struct dlht_result *result)
{
    const char *told = getenv("FAKE_DLHT_TOLD");
    FILE *file = told ? fopen(told, "w") : NULL;
    msgpack_unpacked room;
    msgpack_object keys = asked(request, &room, "keys");

    assert(keys.type == MSGPACK_OBJECT_ARRAY && keys.via.array.size > 0);
    for (uint32_t i = 0; file && i < keys.via.array.size; i++)
        tell(file, &keys.via.array.ptr[i], "\n");
    if (file)
        fclose(file);
    else
        result->status = DLHT_ENOTSUP;
    msgpack_pack_map(p, 1);
    pack_number(p, "cut", keys.via.array.size);
    msgpack_unpacked_destroy(&room);
}

static void balance_step(msgpack_packer *p, bool second)
{
    msgpack_pack_map(p, 10);
    pack_pair(p, "step", second ? "merge" : "add");
    pack_pair(p, "keyspace", "default");
    pack_number(p, "arc", 0xA1);
    pack_pair(p, "from", second ? NULL : "127.0.0.1:9000");
    pack_pair(p, "to", second ? NULL : "127.0.0.1:9001");
    if (second)
        pack_number(p, "into", 0xA2);
    else
        pack_pair(p, "into", NULL);
    pack_pair(p, "ways", NULL);
    pack_pair(p, "reason", "from a fuller peer to an emptier one");
    pack_number(p, "keys", 10);
    pack_number(p, "bytes", 1536);
}

static void evenness(msgpack_packer *p, const char *name, double least)
{
    pack_text(p, name);
    msgpack_pack_map(p, 4);
    pack_float(p, "led_least", least);
    pack_float(p, "led_most", 2 - least);
    pack_float(p, "held_least", least);
    pack_float(p, "held_most", 2 - least);
}

/* What was asked with it stands in the place of the first peer. */
static void balance_plan(msgpack_packer *p, const struct dlht_request *request)
{
    msgpack_unpacked room;
    msgpack_object ifs = asked(request, &room, "what_if");

    msgpack_pack_map(p, 10);
    pack_text(p, "steps");
    msgpack_pack_array(p, 2);
    balance_step(p, false);
    balance_step(p, true);
    pack_number(p, "steps_count", 3);
    pack_flag(p, "finished", true);
    pack_flag(p, "paused", true);
    pack_number(p, "bytes", 3072);
    pack_number(p, "ideal_bytes", 3072);
    pack_float(p, "ratio", 1);
    evenness(p, "before", 0.5);
    evenness(p, "after", 0.75);
    pack_text(p, "peers");
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 7);
    pack_text(p, "peer");
    if (ifs.type == MSGPACK_OBJECT_ARRAY)
        msgpack_pack_object(p, ifs.via.array.ptr[ifs.via.array.size - 1]);
    else
        pack_text(p, "127.0.0.1:9000");
    pack_float(p, "weight", 1.5);
    pack_number(p, "fair_bytes", 2048);
    pack_number(p, "held_before", 1024);
    pack_number(p, "held_after", 2048);
    pack_number(p, "led_before", 0);
    pack_number(p, "led_after", 1024);
    msgpack_unpacked_destroy(&room);
}

static void balance_status(msgpack_packer *p)
{
    msgpack_pack_map(p, 13);
    pack_flag(p, "paused", false);
    pack_pair(p, "planner", "127.0.0.1:9000");
    pack_number(p, "moves_count", 1);
    pack_number(p, "moves_max", 6);
    pack_text(p, "moves");
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 8);
    pack_pair(p, "step", "add");
    pack_pair(p, "keyspace", "default");
    pack_number(p, "arc", 0xA1);
    pack_pair(p, "peer", "127.0.0.1:9001");
    pack_pair(p, "reason", "its peer leaves");
    pack_number(p, "keys", 10);
    pack_number(p, "bytes", 1536);
    pack_float(p, "age_s", 4);
    pack_number(p, "moved_bytes", 1024);
    pack_number(p, "moved_hour_bytes", 2048);
    pack_number(p, "ideal_bytes", 1024);
    pack_float(p, "ratio", 1);
    pack_number(p, "slow_down", 2);
    pack_pair(p, "slow_why", "requests take long");
    pack_number(p, "rate", 1 << 20);
    pack_text(p, "waiting");
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 4);
    pack_pair(p, "peer", "127.0.0.1:9002");
    pack_pair(p, "state", "awaited");
    pack_number(p, "copies", 3);
    pack_float(p, "seconds", 120);
}

static void answer_balance(msgpack_packer *p,
                           const struct dlht_request *request,
                           struct dlht_result *result)
{
    msgpack_unpacked room[2];
    msgpack_object action = asked(request, &room[0], "action");
    msgpack_object rate = asked(request, &room[1], "rate");
    const char *told = getenv("FAKE_DLHT_TOLD");
    FILE *file = told ? fopen(told, "w") : NULL;

    if (file) {
        tell(file, &action, "");
        if (rate.type == MSGPACK_OBJECT_POSITIVE_INTEGER)
            fprintf(file, " %llu", (unsigned long long)rate.via.u64);
        fputs("\n", file);
        fclose(file);
    }
    if (is_text(&action, "plan"))
        balance_plan(p, request);
    else if (is_text(&action, "status"))
        balance_status(p);
    else if (!is_text(&action, "pause") && !is_text(&action, "resume") &&
             !is_text(&action, "set"))
        result->status = DLHT_EINVAL;
    msgpack_unpacked_destroy(&room[0]);
    msgpack_unpacked_destroy(&room[1]);
}

static void member(msgpack_packer *p, const char *peer, const char *state,
                   uint64_t number)
{
    bool down = strcmp(state, "down") == 0;

    msgpack_pack_map(p, 5);
    pack_pair(p, "peer", peer);
    pack_pair(p, "state", state);
    pack_text(p, "votes");
    msgpack_pack_true(p);
    pack_number(p, down ? "down_s" : "last_index", number);
    pack_number(p, down ? "-" : "keys", 3);
}

/* Of arc 3 a copy is left, of arc 4 none; arc 5 has an owner. */
static void answer_recover(msgpack_packer *p,
                           const struct dlht_request *request,
                           struct dlht_result *result)
{
    msgpack_unpacked room[3];
    uint64_t arc = asked(request, &room[0], "arc").via.u64;
    bool done = asked(request, &room[1], "accept_loss").via.boolean;
    bool empty = asked(request, &room[2], "empty").via.boolean;

    if (arc == 5 || empty != (arc == 4)) {
        result->status = DLHT_EREFUSED;
        result->text = arc == 5 ? "it has an owner: there is nothing to recover"
                                : "no copy is left, or one is";
    }
    msgpack_pack_map(p, 13);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "arc", arc);
    pack_bin(p, "lo", "b", 1);
    pack_bin(p, "hi", NULL, 0);
    pack_text(p, "done");
    done ? msgpack_pack_true(p) : msgpack_pack_false(p);
    pack_number(p, "generation", done ? 4294967300 : 4);
    pack_pair(p, "survivor", empty ? NULL : "h:2");
    pack_number(p, "last_term", 2);
    pack_number(p, "last_index", 9);
    pack_number(p, "applied", 8);
    pack_number(p, "keys", 3);
    pack_pair(p, "lost", "some writes are lost");
    pack_text(p, "members");
    msgpack_pack_array(p, 2);
    member(p, "h:1", "down", 90);
    member(p, "h:2", "has a copy", 9);
    for (int i = 0; i < 3; i++)
        msgpack_unpacked_destroy(&room[i]);
}

void fake_document(const struct dlht_request *request, msgpack_sbuffer *buffer,
                   struct dlht_result *result)
{
    msgpack_packer p;

    msgpack_packer_init(&p, buffer, msgpack_sbuffer_write);
    if (request->op == DLHT_OP_LOOKUP)
        lookup(&p, request);
    else if (request->op == DLHT_OP_RING)
        ring(&p, request->key.len > 0);
    else if (request->op == DLHT_OP_PEERS)
        peers(&p);
    else if (request->op == DLHT_OP_STATUS)
        status(&p);
    else if (request->op == DLHT_OP_MODEL)
        answer_model(&p, request, result);
    else if (request->op == DLHT_OP_KEYSPACE_SHOW)
        options_shown(&p);
    else if (request->op == DLHT_OP_BALANCE)
        answer_balance(&p, request, result);
    else if (request->op == DLHT_OP_PRESPLIT)
        answer_presplit(&p, request, result);
    else if (request->op == DLHT_OP_RECOVER)
        answer_recover(&p, request, result);
    else
        keyspaces(&p);
    if (request->op == DLHT_OP_RING && request->key.len == 0) {
        result->more = true;
        result->cursor = (struct dlht_bytes){ "m", 1 };
    }
}
