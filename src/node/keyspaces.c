/* SPDX-License-Identifier: Apache-2.0 */

/* The table of keyspaces. */

#include "node/keyspaces.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/cache_arc.h"
#include "node/forgotten.h"
#include "node/gossip.h"
#include "node/models.h"
#include "node/options.h"
#include "node/pending.h"
#include "node/replica.h"
#include "node/trainer.h"
#include "node/volatile.h"
#include "wire/codec.h"
#include "wire/mp.h"

static const char key_prefix[] = "keyspace/";

enum {
    KEY_PREFIX_LEN = sizeof key_prefix - 1,
    FIRST_ARCS_MAX = MESSAGE_ARCS_MAX
};

struct keyspace *keyspaces_find(const struct node *node, keyspace_id id)
{
    size_t lo = 0, hi = node->keyspace_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (node->keyspaces[mid].record.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < node->keyspace_count && node->keyspaces[lo].record.id == id)
        return &node->keyspaces[lo];
    return NULL;
}

struct keyspace *keyspaces_find_name(const struct node *node, struct span name)
{
    struct keyspace *found = NULL;
    for (size_t i = 0; i < node->keyspace_count; i++) {
        struct keyspace *ks = &node->keyspaces[i];
        if (!span_equal(ks->record.name, name))
            continue;
        /* One that was dropped and made anew has two ids. */
        if (!found || found->record.dropped)
            found = ks;
    }
    return found;
}

static int add(struct node *node, const struct keyspace_record *record)
{
    if (node->keyspace_count >= KEYSPACES_MAX)
        return DLHT_EFULL;
    if (node->keyspace_count == node->keyspace_cap) {
        size_t cap = node->keyspace_cap ? node->keyspace_cap * 2 : 8;
        struct keyspace *grown =
            mem_resize(node->keyspaces, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        node->keyspaces = grown;
        node->keyspace_cap = cap;
    }
    struct keyspace ks = { .record = *record };
    char *name = malloc(record->name.len + 1);
    ks.map = map_new(MAP_ARCS_MAX);
    if (!name || !ks.map) {
        free(name);
        map_free(ks.map);
        return DLHT_ENOMEM;
    }
    memcpy(name, record->name.data, record->name.len);
    ks.record.name = span_of(name, record->name.len);
    ks.record.version = 0; /* set with the packed form */
    size_t at = node->keyspace_count;
    while (at > 0 && node->keyspaces[at - 1].record.id > record->id)
        at--;
    memmove(node->keyspaces + at + 1, node->keyspaces + at,
            (node->keyspace_count - at) * sizeof *node->keyspaces);
    node->keyspaces[at] = ks;
    node->keyspace_count++;
    return DLHT_OK;
}

int keyspaces_init(struct node *node)
{
    struct keyspace_record system = { .id = SYSTEM_KEYSPACE,
                                      .name = span_str("system"),
                                      .placement = PLACEMENT_ORDERED,
                                      .replicas = 5,
                                      .floor_keys = UINT64_MAX,
                                      .ceiling_bytes = UINT64_MAX };
    return add(node, &system);
}

static void free_keyspace(struct keyspace *ks)
{
    free((void *)(uintptr_t)ks->record.name.data);
    free(ks->packed);
    free(ks->options);
    map_free(ks->map);
    free(ks->rings);
}

static void forget_models(struct node *node, struct keyspace *ks)
{
    trainer_forget(node, ks);
    models_forget(ks);
}

void keyspaces_deinit(struct node *node)
{
    for (size_t i = 0; i < node->keyspace_count; i++) {
        forget_models(node, &node->keyspaces[i]);
        free_keyspace(&node->keyspaces[i]);
    }
    free(node->keyspaces);
    free(node->gone);
}

/* Its arcs are given up here; each peer does so when it hears. */
static void close_dropped(struct node *node, keyspace_id id)
{
    for (size_t i = node->replica_count; i-- > 0;)
        if (node->replicas[i]->keyspace == id)
            replica_remove(node, node->replicas[i]);
}

/* Index of the first that is not before id. */
static size_t gone_place(const struct node *node, keyspace_id id)
{
    size_t lo = 0, hi = node->gone_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (node->gone[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct gone_keyspace *keyspaces_find_gone(const struct node *node,
                                                keyspace_id id)
{
    size_t at = gone_place(node, id);
    bool there = at < node->gone_count && node->gone[at].id == id;
    return there ? &node->gone[at] : NULL;
}

bool keyspaces_is_gone(const struct node *node, keyspace_id id)
{
    return keyspaces_find_gone(node, id) != NULL;
}

void keyspaces_gone_record(const struct gone_keyspace *gone,
                           struct keyspace_record *out)
{
    *out = (struct keyspace_record){ .id = gone->id,
                                     .name = span_str("-"),
                                     .version = gone->version,
                                     .placement = PLACEMENT_ORDERED,
                                     .replicas = 1,
                                     .dropped = true };
}

static int remember_gone(struct node *node,
                         const struct keyspace_record *record)
{
    if (node->gone_count >= KEYSPACES_GONE_MAX)
        return DLHT_EFULL;
    if (node->gone_count == node->gone_cap) {
        size_t cap = node->gone_cap ? node->gone_cap * 2 : 16;
        struct gone_keyspace *grown =
            mem_resize(node->gone, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        node->gone = grown;
        node->gone_cap = cap;
    }
    size_t at = gone_place(node, record->id);
    memmove(node->gone + at + 1, node->gone + at,
            (node->gone_count - at) * sizeof *node->gone);
    node->gone[at] = (struct gone_keyspace){ record->id, record->version };
    node->gone_count++;
    return DLHT_OK;
}

/* Makes room in the table for another. Without memory to remember it by, the
 * record stays as one that is dropped. */
static bool forget(struct node *node, const struct keyspace_record *record)
{
    if (remember_gone(node, record) != DLHT_OK)
        return false;
    close_dropped(node, record->id);
    struct keyspace *ks = keyspaces_find(node, record->id);
    if (ks) {
        size_t at = (size_t)(ks - node->keyspaces);
        models_drop_record(node, record->id);
        forget_models(node, ks);
        free_keyspace(ks);
        memmove(ks, ks + 1,
                (node->keyspace_count - at - 1) * sizeof *node->keyspaces);
        node->keyspace_count--;
    }
    gossip_queue_keyspace(node, record->id);
    return true;
}

/* False: no memory for all of them, or not yet. */
static bool found_groups(struct node *node,
                         const struct keyspace_record *record)
{
    bool all = true, waits = forgotten_waits(node) && !record->is_volatile;
    for (size_t i = 0; i < record->first_arc_count; i++) {
        struct arc arc = record->first_arcs[i];
        arc.keyspace = record->id;
        gossip_notice_arc(node, &arc);
        if (!waits && replica_found(node, &arc) != DLHT_OK) {
            node_log(node, LOG_ERROR, "out of memory founding an arc");
            all = false;
        }
    }
    node->keyspaces_late = node->keyspaces_late || !all;
    return all && !waits;
}

/* What is kept here may be newer than the first arcs. A group of one sends
 * nothing that would tell of it later. */
static void notice_kept(struct node *node, keyspace_id id)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->keyspace == id)
            replica_notice(node, node->replicas[i]);
}

bool keyspaces_notice(struct node *node, const struct keyspace_record *record)
{
    if (record->id == SYSTEM_KEYSPACE || record->name.len == 0 ||
        keyspaces_is_gone(node, record->id))
        return false;
    struct keyspace *ks = keyspaces_find(node, record->id);
    bool is_new = ks == NULL;
    if (ks && ks->record.version >= record->version)
        return false;
    if (record->dropped && forget(node, record))
        return true;
    struct buf packed = { 0 };
    codec_pack_keyspace(&packed, record);
    char *options = malloc(record->options.len + 1);
    int rc = packed.failed || !options ? DLHT_ENOMEM : DLHT_OK;
    if (rc == DLHT_OK && is_new)
        rc = add(node, record);
    if (rc != DLHT_OK) {
        node->keyspaces_late = node->keyspaces_late || rc == DLHT_ENOMEM;
        buf_deinit(&packed);
        free(options);
        return false;
    }
    ks = keyspaces_find(node, record->id);
    struct span name = ks->record.name;
    ks->record = *record;
    ks->record.name = name;
    ks->record.first_arcs = NULL;
    ks->record.first_arc_count = 0;
    free(ks->packed);
    ks->packed = buf_take(&packed, &ks->packed_len);
    if (record->options.len)
        memcpy(options, record->options.data, record->options.len);
    free(ks->options);
    ks->options = options;
    ks->record.options = span_of(options, record->options.len);
    struct keyspace_settings settings;
    options_read(ks->record.options, &settings);
    ks->vectors = settings.vectors;
    ks->cache = settings.cache;
    if (record->is_volatile)
        cache_arc_share(node, record->id);
    gossip_queue_keyspace(node, record->id);
    if (record->dropped)
        close_dropped(node, record->id);
    else if (is_new)
        ks->unfounded = !found_groups(node, record);
    if (is_new && !record->dropped)
        notice_kept(node, record->id);
    return true;
}

/* A record as the system arc holds it. */
static void notice_value(struct node *node, struct span value, uint64_t version)
{
    struct codec_arena arena = { 0 };
    struct keyspace_record record;
    struct mp_reader r;
    mp_reader_init(&r, value);
    codec_unpack_keyspace(&r, &arena, &record);
    if (arena.failed) {
        node->keyspaces_late = true;
    } else if (r.bad) {
        node_log(node, LOG_ERROR, "a keyspace record is not understood");
    } else {
        record.version = version;
        if (record.id == 0)
            record.id = (keyspace_id)version;
        keyspaces_notice(node, &record);
    }
    codec_arena_deinit(&arena);
}

void keyspaces_applied(struct node *node, const struct command *c,
                       const struct session_result *result)
{
    if ((c->kind != COMMAND_PUT && c->kind != COMMAND_CAS) ||
        result->status != DLHT_OK ||
        !span_has_prefix(c->key, span_str(key_prefix)))
        return;
    notice_value(node, c->value, result->version);
}

void keyspaces_scan(struct node *node)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    if (!r || r->empty)
        return;
    struct records_cursor at;
    bool there = records_seek(r->records, span_str(key_prefix), &at);
    while (there) {
        struct record record = records_at(&at);
        if (!span_has_prefix(record.key, span_str(key_prefix)))
            break;
        notice_value(node, record.value, record.version);
        there = records_next(&at);
    }
}

static bool found_again(struct node *node, const struct keyspace *ks)
{
    struct codec_arena arena = { 0 };
    struct keyspace_record record;
    struct mp_reader r;
    mp_reader_init(&r, span_of(ks->packed, ks->packed_len));
    codec_unpack_keyspace(&r, &arena, &record);
    record.id = ks->record.id;
    bool all = !r.bad && found_groups(node, &record);
    codec_arena_deinit(&arena);
    return all;
}

void keyspaces_tick(struct node *node)
{
    if (!node->keyspaces_late)
        return;
    node->keyspaces_late = false;
    bool waits = forgotten_waits(node); /* it says when it does not any more */
    keyspaces_scan(node);
    for (size_t i = 0; i < node->keyspace_count; i++) {
        struct keyspace *ks = &node->keyspaces[i];
        if (waits || !ks->unfounded)
            continue;
        ks->unfounded = !ks->record.dropped && !found_again(node, ks);
        node->keyspaces_late = node->keyspaces_late || ks->unfounded;
    }
    for (size_t i = node->replica_count; i-- > 0;)
        if (!node->replicas[i]->empty &&
            keyspaces_is_gone(node, node->replicas[i]->keyspace))
            replica_remove(node, node->replicas[i]);
}

struct span keyspaces_key(struct node *node, struct span name)
{
    uint8_t *room = effects_room(node->fx, KEY_PREFIX_LEN + name.len);
    if (!room)
        return span_empty();
    memcpy(room, key_prefix, KEY_PREFIX_LEN);
    memcpy(room + KEY_PREFIX_LEN, name.data, name.len);
    return span_of(room, KEY_PREFIX_LEN + name.len);
}

/* Members for one new arc: the peers that are up, from a turning start. */
static void choose_members(struct node *node, const struct keyspace_plan *plan,
                           size_t turn, struct arc *arc)
{
    uint8_t replicas = plan->replicas;
    size_t count = swim_count(node->swim), up = 0;
    for (size_t i = 0; i < count; i++)
        up += swim_at(node->swim, i)->state == PEER_ALIVE;
    size_t want = replicas < up ? replicas : up;
    size_t voters = want % 2 ? want : want - 1;
    for (size_t i = 0; i < count && arc->member_count < want; i++) {
        const struct peer *p = swim_at(node->swim, (turn + i) % count);
        if (p->state != PEER_ALIVE)
            continue;
        struct arc_member *m = &arc->members[arc->member_count];
        m->replica = plan->is_volatile
                         ? volatile_replica_id(node, p->incarnation)
                         : rng_next(&node->rng) | 1;
        m->peer = p->id;
        m->voter = arc->member_count < voters;
        arc->member_count++;
    }
}

void keyspaces_pack_new(struct node *node, const struct keyspace_plan *plan,
                        struct buf *out)
{
    struct keyspace_record record = {
        .name = plan->name,
        .placement = plan->placement,
        .replicas = plan->replicas,
        .is_volatile = plan->is_volatile,
        .floor_keys = plan->floor_keys,
        .ceiling_bytes = plan->ceiling_bytes,
        .options = plan->options,
    };
    size_t arcs = 1;
    if (plan->placement == PLACEMENT_HASHED)
        arcs = node->config.vnodes * swim_up_count(node->swim);
    if (arcs > FIRST_ARCS_MAX)
        arcs = FIRST_ARCS_MAX;
    struct arc *list = mem_zero(arcs, sizeof *list);
    uint8_t(*cuts)[8] = mem_zero(arcs + 1, 8);
    if (!list || !cuts) {
        out->failed = true;
        free(list);
        free(cuts);
        return;
    }
    size_t turn = (size_t)rng_below(&node->rng, 1 << 20);
    for (size_t i = 0; i < arcs; i++) {
        uint64_t at = UINT64_MAX / arcs * i;
        for (int k = 0; k < 8; k++)
            cuts[i][k] = (uint8_t)(at >> (56 - 8 * k));
        list[i].id = rng_next(&node->rng) | 2;
        list[i].generation = 1;
        list[i].lo = i ? span_of(cuts[i], 8) : span_empty();
        list[i].has_hi = i + 1 < arcs;
        if (list[i].has_hi)
            list[i].hi = span_of(cuts[i + 1], 8);
        choose_members(node, plan, turn + i, &list[i]);
    }
    record.first_arcs = list;
    record.first_arc_count = arcs;
    codec_pack_keyspace(out, &record);
    free(list);
    free(cuts);
}

void keyspaces_make_default(struct node *node)
{
    struct span name = span_str("default");
    struct keyspace_plan plan = { .name = name,
                                  .placement = PLACEMENT_ORDERED,
                                  .replicas = node->config.replicas,
                                  .floor_keys = node->config.floor_keys,
                                  .ceiling_bytes = node->config.ceiling_bytes };
    struct buf packed = { 0 };
    keyspaces_pack_new(node, &plan, &packed);
    struct request q = { .op = OP_CAS, .keyspace = SYSTEM_KEYSPACE };
    q.key = keyspaces_key(node, name);
    q.value = buf_span(&packed);
    struct pending_target nobody = { .origin = { .kind = ORIGIN_NONE } };
    if (packed.failed || pending_begin(node, &q, node->now_ns + 5 * NS_PER_S,
                                       &nobody) != DLHT_OK)
        node_log(node, LOG_WARNING, "could not propose the default keyspace");
    buf_deinit(&packed);
}

uint64_t keyspaces_digest(const struct node *node)
{
    uint64_t h = 0;
    for (size_t i = 0; i < node->keyspace_count; i++)
        h = hash64_mix(hash64_mix(h, node->keyspaces[i].record.id),
                       node->keyspaces[i].record.version);
    for (size_t i = 0; i < node->gone_count; i++)
        h = hash64_mix(hash64_mix(h, node->gone[i].id), node->gone[i].version);
    return h;
}
