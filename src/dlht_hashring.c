/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/hashring.h. A view is a struct hashring of placement/, a
 * plan a struct hashring_plan. */

#include "dlht/hashring.h"

#include <stdlib.h>

#include "base/mem.h"
#include "placement/hashring.h"
#include "placement/hashring_plan.h"

_Static_assert((int)DLHT_HASHRING_ID_MAX == (int)HASHRING_ID_MAX &&
                   (int)DLHT_HASHRING_REPLICAS_MAX ==
                       (int)HASHRING_REPLICAS_MAX &&
                   (int)DLHT_HASHRING_PROBES_MAX == (int)HASHRING_PROBES_MAX,
               "bounds are the same inside and outside");

struct dlht_hashring {
    struct hashring_slot slot;
};

enum {
    CHOSEN_VNODES = 8,
    FIND_PART = 64 /* keys handed inside at once */
};

static const struct hashring *inner(const struct dlht_hashring_view *view)
{
    return (const struct hashring *)(const void *)view;
}

static const struct hashring_plan *
inner_plan(const struct dlht_hashring_plan *plan)
{
    return (const struct hashring_plan *)(const void *)plan;
}

static struct dlht_bytes bytes_of(struct span span)
{
    return (struct dlht_bytes){ span.data, span.len };
}

static struct hashring_config
config_of(const struct dlht_hashring_config *config)
{
    struct hashring_config c = hashring_config_default();
    if (!config)
        return c;
    c.seed = config->seed;
    c.hash_seed = config->hash_seed;
    c.tokens = config->chosen ? HASHRING_CHOSEN : HASHRING_DERIVED;
    if (config->chosen)
        c.vnodes = CHOSEN_VNODES;
    if (config->vnodes)
        c.vnodes = config->vnodes;
    if (config->probes)
        c.probes = config->probes;
    if (config->hash == DLHT_HASHRING_MD5)
        c.hash = hashring_md5;
    else if (config->hash != DLHT_HASHRING_XXH3)
        c.hash = config->hash == DLHT_HASHRING_OWN ? config->own : NULL;
    c.context = config->context;
    return c;
}

/* Takes over the caller's hold of first, also on failure. */
static int ring_of(struct hashring *first, struct dlht_hashring **out)
{
    struct dlht_hashring *ring = mem_zero(1, sizeof *ring);
    if (!ring) {
        hashring_drop(first);
        return DLHT_ENOMEM;
    }
    hashring_slot_init(&ring->slot, first);
    *out = ring;
    return DLHT_OK;
}

int dlht_hashring_new(const struct dlht_hashring_config *config,
                      struct dlht_hashring **out)
{
    struct hashring_config c = config_of(config);
    struct hashring *empty;
    *out = NULL;
    int rc = hashring_new(&c, &empty);
    return rc == DLHT_OK ? ring_of(empty, out) : rc;
}

int dlht_hashring_read(const char *json, size_t len,
                       const struct dlht_hashring_config *config,
                       struct dlht_hashring **out,
                       struct dlht_hashring_fault *fault)
{
    struct hashring_fault found;
    struct hashring *read;
    *out = NULL;
    int rc = hashring_read(span_of(json, len), config ? config->own : NULL,
                           config ? config->context : NULL, &read, &found);
    if (fault)
        *fault = (struct dlht_hashring_fault){ found.at, found.what };
    return rc == DLHT_OK ? ring_of(read, out) : rc;
}

void dlht_hashring_free(struct dlht_hashring *ring)
{
    if (!ring)
        return;
    hashring_slot_deinit(&ring->slot);
    free(ring);
}

/* --- changes */

static int apply(struct dlht_hashring *ring,
                 const struct hashring_change *changes, size_t count,
                 size_t *bad)
{
    struct hashring *old = hashring_slot_take(&ring->slot);
    struct hashring *next;
    int rc = hashring_apply(old, changes, count, &next, bad);
    hashring_drop(old);
    if (rc == DLHT_OK)
        hashring_slot_set(&ring->slot, next);
    return rc;
}

int dlht_hashring_add(struct dlht_hashring *ring, const void *id, size_t id_len,
                      double weight, const void *zone, size_t zone_len)
{
    struct hashring_change change = { .verb = HASHRING_ADD,
                                      .id = span_of(id, id_len),
                                      .weight = weight,
                                      .zone = span_of(zone, zone_len) };
    return apply(ring, &change, 1, NULL);
}

int dlht_hashring_remove(struct dlht_hashring *ring, const void *id,
                         size_t id_len)
{
    struct hashring_change change = { .verb = HASHRING_REMOVE,
                                      .id = span_of(id, id_len) };
    return apply(ring, &change, 1, NULL);
}

int dlht_hashring_reweight(struct dlht_hashring *ring, const void *id,
                           size_t id_len, double weight)
{
    struct hashring_change change = { .verb = HASHRING_REWEIGHT,
                                      .id = span_of(id, id_len),
                                      .weight = weight };
    return apply(ring, &change, 1, NULL);
}

int dlht_hashring_add_all(struct dlht_hashring *ring,
                          const struct dlht_hashring_add_node *nodes,
                          size_t count, size_t *bad)
{
    struct hashring_change *changes = mem_array(count, sizeof *changes);
    if (bad)
        *bad = count;
    if (!changes)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct hashring_change){
            .verb = HASHRING_ADD,
            .id = span_of(nodes[i].id.data, nodes[i].id.len),
            .weight = nodes[i].weight,
            .zone = span_of(nodes[i].zone.data, nodes[i].zone.len)
        };
    int rc = apply(ring, changes, count, bad);
    free(changes);
    return rc;
}

/* --- views */

struct dlht_hashring_view *dlht_hashring_view(struct dlht_hashring *ring)
{
    struct hashring *taken = hashring_slot_take(&ring->slot);
    return (struct dlht_hashring_view *)(void *)taken;
}

void dlht_hashring_view_free(struct dlht_hashring_view *view)
{
    hashring_drop((struct hashring *)(void *)view);
}

size_t dlht_hashring_node_count(const struct dlht_hashring_view *view)
{
    return hashring_node_count(inner(view));
}

bool dlht_hashring_node(const struct dlht_hashring_view *view, size_t index,
                        struct dlht_hashring_node *node)
{
    if (index >= hashring_node_count(inner(view)))
        return false;
    struct hashring_node n = hashring_node(inner(view), index);
    *node = (struct dlht_hashring_node){ .id = bytes_of(n.id),
                                         .zone = bytes_of(n.zone),
                                         .weight = n.weight,
                                         .token_count = n.token_count,
                                         .share = n.share };
    return true;
}

size_t dlht_hashring_find(const struct dlht_hashring_view *view,
                          const void *key, size_t key_len)
{
    return hashring_find(inner(view), span_of(key, key_len));
}

size_t dlht_hashring_find_all(const struct dlht_hashring_view *view,
                              const struct dlht_bytes *keys, size_t count,
                              uint32_t *nodes)
{
    struct span part[FIND_PART];
    size_t found = 0;
    while (found < count) {
        size_t n = count - found < FIND_PART ? count - found : FIND_PART;
        for (size_t i = 0; i < n; i++)
            part[i] = span_of(keys[found + i].data, keys[found + i].len);
        if (hashring_find_all(inner(view), part, n, nodes + found) < n)
            return 0;
        found += n;
    }
    return found;
}

uint64_t dlht_hashring_fingerprint(const struct dlht_hashring_view *view)
{
    return hashring_fingerprint(inner(view));
}

uint64_t dlht_hashring_position(const struct dlht_hashring_view *view,
                                const void *key, size_t key_len)
{
    return hashring_position(inner(view), span_of(key, key_len));
}

size_t dlht_hashring_replicas_at(const struct dlht_hashring_view *view,
                                 uint64_t position, size_t count,
                                 uint32_t *nodes)
{
    if (count > HASHRING_REPLICAS_MAX)
        count = HASHRING_REPLICAS_MAX;
    return hashring_replicas_at(inner(view), position, count, nodes);
}

size_t dlht_hashring_replicas(const struct dlht_hashring_view *view,
                              const void *key, size_t key_len, size_t count,
                              uint32_t *nodes)
{
    return dlht_hashring_replicas_at(
        view, dlht_hashring_position(view, key, key_len), count, nodes);
}

int dlht_hashring_json(const struct dlht_hashring_view *view, bool tokens,
                       char **out, size_t *len)
{
    struct buf buf = { 0 };
    *out = NULL;
    *len = 0;
    hashring_json(inner(view), tokens, &buf);
    buf_append_byte(&buf, 0);
    if (buf.failed) {
        buf_deinit(&buf);
        return DLHT_ENOMEM;
    }
    *out = (char *)buf_take(&buf, len);
    --*len;
    return DLHT_OK;
}

/* --- plans */

int dlht_hashring_plan(struct dlht_hashring_view *from,
                       struct dlht_hashring_view *to, size_t copies,
                       struct dlht_hashring_plan **out)
{
    struct hashring_plan *plan;
    int rc = hashring_plan_new((struct hashring *)(void *)from,
                               (struct hashring *)(void *)to, copies, &plan);
    *out = (struct dlht_hashring_plan *)(void *)plan;
    return rc;
}

void dlht_hashring_plan_free(struct dlht_hashring_plan *plan)
{
    hashring_plan_free((struct hashring_plan *)(void *)plan);
}

struct dlht_hashring_plan_total
dlht_hashring_plan_total(const struct dlht_hashring_plan *plan)
{
    const struct hashring_plan *p = inner_plan(plan);
    return (struct dlht_hashring_plan_total){ .move_count = p->move_count,
                                              .node_count = p->node_count,
                                              .moved = p->moved,
                                              .ideal = p->ideal,
                                              .holder_moved = p->holder_moved,
                                              .sampled = p->sampled };
}

bool dlht_hashring_plan_move(const struct dlht_hashring_plan *plan,
                             size_t index, struct dlht_hashring_move *move)
{
    if (index >= inner_plan(plan)->move_count)
        return false;
    const struct hashring_move *m = &inner_plan(plan)->moves[index];
    *move = (struct dlht_hashring_move){ .from = m->from,
                                         .to = m->to,
                                         .old_nodes = m->old_nodes,
                                         .new_nodes = m->new_nodes,
                                         .old_count = m->old_count,
                                         .new_count = m->new_count };
    return true;
}

bool dlht_hashring_plan_node(const struct dlht_hashring_plan *plan,
                             size_t index, struct dlht_hashring_plan_node *node)
{
    if (index >= inner_plan(plan)->node_count)
        return false;
    const struct hashring_plan_node *n = &inner_plan(plan)->nodes[index];
    *node = (struct dlht_hashring_plan_node){ .id = bytes_of(n->id),
                                              .was = n->was,
                                              .is = n->is,
                                              .old_share = n->old_share,
                                              .new_share = n->new_share,
                                              .gained = n->gained,
                                              .lost = n->lost,
                                              .fair_share = n->fair_share,
                                              .gained_count = n->gained_count,
                                              .lost_count = n->lost_count };
    return true;
}
