/* SPDX-License-Identifier: Apache-2.0 */

/* Creating, listing and dropping keyspaces. What the cluster must agree on is a
 * record in the system arc, changed by cas. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keyspaces.h"
#include "node/op.h"
#include "node/options.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    OPTIONS_MAX = 64 /* set by one request */
};

enum change_kind {
    CHANGE_CREATE,
    CHANGE_DROP,
    CHANGE_SET
};

struct change {
    struct origin origin;
    enum change_kind kind;
    struct buf name;
    struct buf options; /* SET: a MessagePack map of texts */
    uint8_t placement;
    uint8_t replicas;
    bool is_volatile;
    uint64_t deadline_ns;
    struct buf value; /* what is written */
};

static void change_end(struct node *node, struct change *c, int status,
                       const char *text)
{
    node_answer_status(node, &c->origin, status, text);
    buf_deinit(&c->name);
    buf_deinit(&c->options);
    buf_deinit(&c->value);
    free(c);
}

/* "NAME: text", as long as the step. */
static const char *about_option(struct node *node, struct span name,
                                const char *text)
{
    size_t room = KEYSPACE_OPTIONS_MAX + 256;
    char *said = effects_room(node->fx, room);
    if (!said)
        return text;
    int shown = name.len < 64 ? (int)name.len : 64;
    snprintf(said, room, "%.*s: %s", shown, (const char *)name.data, text);
    return said;
}

/* A keyspace as it is born, with its options. */
static void pack_new(struct node *node, struct change *c,
                     const struct keyspace_record *record)
{
    struct keyspace_plan plan = { .name = buf_span(&c->name),
                                  .placement = c->placement,
                                  .replicas = record->replicas,
                                  .is_volatile = record->is_volatile,
                                  .floor_keys = record->floor_keys,
                                  .ceiling_bytes = record->ceiling_bytes,
                                  .options = record->options };
    keyspaces_pack_new(node, &plan, &c->value);
}

/* Options of vectors make sense only with their dimensions. */
static int check_new(const struct keyspace_record *record, const char **text)
{
    struct keyspace_settings settings;
    options_read(record->options, &settings);
    struct span rest = record->options;
    if (record->is_volatile && settings.vectors.dim) {
        *text = "a collection of vectors cannot be volatile in this version";
        return DLHT_EINVAL;
    }
    for (; rest.len && settings.vectors.dim == 0; rest = span_tail(rest, 1))
        if (vector_settings_has(rest)) {
            *text = "a collection needs vector-dim, the number of dimensions";
            return DLHT_EINVAL;
        }
    return DLHT_OK;
}

/* Sets all options or none, and packs the record. */
static bool set_options(struct node *node, struct change *c,
                        struct keyspace_record *record)
{
    bool creating = c->kind == CHANGE_CREATE;
    struct buf options = { 0 };
    const char *text = NULL;
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&c->options));
    buf_append_span(&options, record->options);
    size_t pairs = mp_read_map(&r);
    int rc = pairs && pairs <= OPTIONS_MAX ? DLHT_OK : DLHT_EINVAL;
    if (creating && c->options.len == 0) { /* none are given */
        r.bad = false;
        pairs = 0;
        rc = DLHT_OK;
    }
    for (size_t i = 0; i < pairs && rc == DLHT_OK; i++) {
        struct span name = mp_read_bytes(&r), value = mp_read_bytes(&r);
        rc = r.bad
                 ? DLHT_EINVAL
                 : options_set(record, &options, creating, name, value, &text);
        if (text)
            text = about_option(node, name, text);
    }
    record->options = buf_span(&options);
    if (rc == DLHT_OK && creating)
        rc = check_new(record, &text);
    if (rc == DLHT_OK && creating)
        pack_new(node, c, record);
    else if (rc == DLHT_OK)
        codec_pack_keyspace(&c->value, record);
    buf_deinit(&options);
    if (rc != DLHT_OK)
        change_end(node, c, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                   text ? text : "options are a map of names and texts");
    return rc == DLHT_OK;
}

static void change_written(struct node *node, void *context,
                           const struct response *response)
{
    struct change *c = context;
    if (response->status == DLHT_EMISMATCH) {
        change_end(node, c, DLHT_EBUSY,
                   "somebody else changed this keyspace just now: try again");
        return;
    }
    if (response->status == DLHT_OK) {
        struct codec_arena arena = { 0 };
        struct keyspace_record record;
        struct mp_reader r;
        mp_reader_init(&r, buf_span(&c->value));
        codec_unpack_keyspace(&r, &arena, &record);
        record.version = response->version;
        if (record.id == 0)
            record.id = (keyspace_id)response->version;
        if (!r.bad)
            keyspaces_notice(node, &record);
        codec_arena_deinit(&arena);
    }
    change_end(node, c, response->status, NULL);
}

/* The record as it will be; false: refused, answered. */
static bool make_record(struct node *node, struct change *c,
                        const struct response *now)
{
    struct codec_arena arena = { 0 };
    struct keyspace_record record = { 0 };
    bool there = now->status == DLHT_OK, bad = false;
    if (there) {
        struct mp_reader r;
        mp_reader_init(&r, now->value);
        codec_unpack_keyspace(&r, &arena, &record);
        if (record.id == 0)
            record.id = (keyspace_id)now->version;
        there = !record.dropped;
        bad = r.bad;
    }
    bool ok = true;
    if (bad) {
        /* Not to be taken for none: a new one would be written over it. */
        change_end(node, c, arena.failed ? DLHT_EBUSY : DLHT_ECORRUPT,
                   arena.failed ? NULL : "its record cannot be read");
        ok = false;
    } else if (c->kind != CHANGE_CREATE && !there) {
        change_end(node, c, DLHT_ENOKEYSPACE, "no such keyspace");
        ok = false;
    } else if (c->kind == CHANGE_CREATE && there) {
        change_end(node, c, DLHT_EEXISTS, "this keyspace exists already");
        ok = false;
    } else if (c->kind == CHANGE_CREATE &&
               node->keyspace_count >= KEYSPACES_MAX) {
        change_end(node, c, DLHT_EFULL,
                   "there are 4095 keyspaces: drop one first");
        ok = false;
    } else if (c->kind == CHANGE_CREATE &&
               node->gone_count >= KEYSPACES_GONE_MAX) {
        change_end(node, c, DLHT_EFULL,
                   "65536 keyspaces were dropped already, which all peers "
                   "must remember");
        ok = false;
    } else if (c->kind == CHANGE_SET) {
        record.first_arc_count = 0;
        ok = set_options(node, c, &record);
    } else if (c->kind == CHANGE_DROP) {
        record.dropped = true;
        record.first_arc_count = 0;
        codec_pack_keyspace(&c->value, &record);
    } else {
        record = (struct keyspace_record){
            .replicas = c->replicas,
            .is_volatile = c->is_volatile,
            .floor_keys = node->config.floor_keys,
            .ceiling_bytes = node->config.ceiling_bytes,
        };
        ok = set_options(node, c, &record);
    }
    codec_arena_deinit(&arena);
    return ok;
}

static void change_read(struct node *node, void *context,
                        const struct response *response)
{
    struct change *c = context;
    if (response->status != DLHT_OK && response->status != DLHT_ENOTFOUND) {
        change_end(node, c, response->status, "the system arc did not answer");
        return;
    }
    uint64_t version = response->status == DLHT_OK ? response->version : 0;
    if (!make_record(node, c, response))
        return;
    struct request q = { .op = OP_CAS,
                         .keyspace = SYSTEM_KEYSPACE,
                         .version = version };
    q.key = keyspaces_key(node, buf_span(&c->name));
    q.value = buf_span(&c->value);
    struct pending_target target = { .done = change_written, .context = c };
    if (c->value.failed ||
        pending_begin(node, &q, c->deadline_ns, &target) != DLHT_OK)
        change_end(node, c, DLHT_EBUSY, NULL);
}

/* What was not said; text says what goes ill together, or NULL. */
static const char *fill_in(const struct node *node, struct change *c)
{
    if (c->is_volatile && c->placement == PLACEMENT_ORDERED)
        return "a volatile keyspace is hashed in this version: leave "
               "--placement "
               "out";
    if (c->is_volatile && c->replicas > 1)
        return "a volatile keyspace has one copy in this version: leave "
               "--replicas out";
    if (c->placement == 0)
        c->placement = c->is_volatile ? PLACEMENT_HASHED : PLACEMENT_ORDERED;
    if (c->replicas == 0)
        c->replicas = c->is_volatile ? 1 : node->config.replicas;
    return NULL;
}

/* Fields of the request's document; says what is wrong, or NULL. Memory may
 * have been lacking for name and options. */
static const char *read_options(struct node *node, struct span doc,
                                struct change *c)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    size_t pairs = mp_read_map(&r);
    c->placement = 0;
    c->replicas = 0;
    for (size_t i = 0; i < pairs && !r.bad; i++) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("name"))) {
            buf_reset(&c->name);
            buf_append_span(&c->name, mp_read_bytes(&r));
        } else if (span_equal(field, span_str("placement"))) {
            struct span text = mp_read_bytes(&r);
            if (span_equal(text, span_str("hashed")))
                c->placement = PLACEMENT_HASHED;
            else if (span_equal(text, span_str("ordered")))
                c->placement = PLACEMENT_ORDERED;
            else
                return "placement is ordered or hashed";
        } else if (span_equal(field, span_str("replicas"))) {
            uint64_t n = mp_read_uint(&r);
            if (n != 1 && n != 3 && n != 5)
                return "replicas is 1, 3 or 5";
            c->replicas = (uint8_t)n;
        } else if (span_equal(field, span_str("options"))) {
            const uint8_t *at = r.at;
            mp_skip(&r);
            buf_reset(&c->options);
            if (!r.bad)
                buf_append(&c->options, at, (size_t)(r.at - at));
        } else if (span_equal(field, span_str("volatile"))) {
            c->is_volatile = mp_read_bool(&r);
        } else {
            mp_skip(&r);
        }
    }
    if (c->name.failed || c->options.failed)
        return NULL;
    if (r.bad)
        return "the options of a keyspace are a map of name, placement, "
               "replicas";
    if (c->name.len == 0 || c->name.len > KEYSPACE_NAME_MAX ||
        span_equal(buf_span(&c->name), span_str("system")))
        return "a keyspace has a name of 1 to 64 bytes other than `system`";
    return fill_in(node, c);
}

void op_keyspace_begin(struct node *node, const struct request *request,
                       const struct origin *origin)
{
    struct change *c = mem_zero(1, sizeof *c);
    if (!c) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    c->origin = *origin;
    c->kind = request->op == OP_KEYSPACE_DROP  ? CHANGE_DROP
              : request->op == OP_KEYSPACE_SET ? CHANGE_SET
                                               : CHANGE_CREATE;
    c->deadline_ns = op_deadline_ns(node, request);
    const char *wrong = read_options(node, request->value, c);
    if (!wrong && c->kind == CHANGE_DROP &&
        span_equal(buf_span(&c->name), span_str("default")))
        wrong = "the keyspace `default` stays";
    if (wrong) {
        change_end(node, c, DLHT_EINVAL, wrong);
        return;
    }
    struct request q = { .op = OP_GET, .keyspace = SYSTEM_KEYSPACE };
    if (!c->name.failed && !c->options.failed)
        q.key = keyspaces_key(node, buf_span(&c->name));
    struct pending_target target = { .done = change_read, .context = c };
    if (q.key.len == 0 ||
        pending_begin(node, &q, c->deadline_ns, &target) != DLHT_OK)
        change_end(node, c, DLHT_EBUSY, NULL);
}

void op_keyspace_list(struct node *node, const struct request *request,
                      const struct origin *origin)
{
    (void)request;
    struct buf doc = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < node->keyspace_count; i++)
        count += node->keyspaces[i].record.id != SYSTEM_KEYSPACE &&
                 !node->keyspaces[i].record.dropped;
    mp_write_array(&doc, count);
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct keyspace *ks = &node->keyspaces[i];
        if (ks->record.id == SYSTEM_KEYSPACE || ks->record.dropped)
            continue;
        mp_write_map(&doc, 9);
        mp_write_cstr(&doc, "name");
        mp_write_str(&doc, ks->record.name);
        mp_write_cstr(&doc, "id");
        mp_write_uint(&doc, ks->record.id);
        mp_write_cstr(&doc, "placement");
        mp_write_cstr(&doc, ks->record.placement == PLACEMENT_HASHED
                                ? "hashed"
                                : "ordered");
        mp_write_cstr(&doc, "replicas");
        mp_write_uint(&doc, ks->record.replicas);
        mp_write_cstr(&doc, "volatile");
        mp_write_bool(&doc, ks->record.is_volatile);
        mp_write_cstr(&doc, "arcs");
        mp_write_uint(&doc, map_count(ks->map));
        mp_write_cstr(&doc, "dropped");
        mp_write_bool(&doc, ks->record.dropped);
        mp_write_cstr(&doc, "dim");
        mp_write_uint(&doc, ks->vectors.dim);
        mp_write_cstr(&doc, "metric");
        mp_write_cstr(&doc,
                      ks->vectors.dim ? metric_name(ks->vectors.metric) : "");
    }
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}

void op_keyspace_options(struct node *node, const struct request *request,
                         const struct origin *origin)
{
    if (request->op == OP_KEYSPACE_SET) {
        op_keyspace_begin(node, request, origin);
        return;
    }
    struct mp_reader r;
    mp_reader_init(&r, request->value);
    struct span name = span_str("default");
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("name")))
            name = mp_read_bytes(&r);
        else
            mp_skip(&r);
    }
    const struct keyspace *ks = r.bad ? NULL : keyspaces_find_name(node, name);
    if (!ks || ks->record.dropped) {
        node_answer_status(node, origin, DLHT_ENOKEYSPACE,
                           "no such keyspace; keyspace list shows those there "
                           "are");
        return;
    }
    struct buf doc = { 0 };
    options_list(&ks->record, &doc);
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}
