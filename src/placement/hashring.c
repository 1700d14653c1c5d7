/* SPDX-License-Identifier: Apache-2.0 */

/* Making one ring of another, and the holds on them. How tokens come to be is
 * in hashring_build.c, asking in hashring_find.c. */

#include "placement/hashring.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "placement/hashring_state.h"
#include "placement/md5.h"

uint64_t hashring_xxh3(void *context, const void *data, size_t len)
{
    (void)context;
    return hash64(span_of(data, len));
}

uint64_t hashring_md5(void *context, const void *data, size_t len)
{
    (void)context;
    return md5_64(span_of(data, len));
}

uint64_t hashring_hash(const struct hashring *ring, struct span bytes)
{
    if (ring->hash_seed)
        return hash64_seeded(bytes, ring->hash_seed);
    return ring->config.hash(ring->config.context, bytes.data, bytes.len);
}

struct hashring_config hashring_config_default(void)
{
    struct hashring_config config = { .hash = hashring_xxh3,
                                      .vnodes = 128,
                                      .probes = 1,
                                      .tokens = HASHRING_DERIVED };
    return config;
}

static bool is_valid(const struct hashring_config *c)
{
    if (c->hash_seed && c->hash != hashring_xxh3)
        return false;
    return c->hash && c->vnodes >= 1 && c->vnodes <= HASHRING_VNODES_MAX &&
           c->probes >= 1 && c->probes <= HASHRING_PROBES_MAX &&
           (c->tokens == HASHRING_DERIVED || c->tokens == HASHRING_CHOSEN);
}

static void destroy(struct hashring *ring)
{
    free(ring->members);
    free(ring->bytes);
    free(ring->positions);
    free(ring->owners);
    free(ring->ordinals);
    free(ring->firsts);
    free(ring->line_memory);
    free(ring);
}

struct hashring *hashring_hold(struct hashring *ring)
{
    size_t before =
        atomic_fetch_add_explicit(&ring->holds, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return ring;
}

void hashring_drop(struct hashring *ring)
{
    if (!ring)
        return;
    size_t before =
        atomic_fetch_sub_explicit(&ring->holds, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        destroy(ring);
}

int hashring_new(const struct hashring_config *config, struct hashring **out)
{
    *out = NULL;
    if (!is_valid(config))
        return DLHT_EINVAL;
    struct hashring *ring = mem_zero(1, sizeof *ring);
    if (!ring)
        return DLHT_ENOMEM;
    atomic_init(&ring->holds, 1);
    ring->config = *config;
    /* Mixed, as XXH3 folds its seed into short inputs: neighbouring seeds would
     * give the tokens of one node to another. */
    if (config->hash_seed)
        ring->hash_seed = hashring_mix(config->hash_seed);
    *out = ring;
    return DLHT_OK;
}

/* --- the list of members, changed one by one */

struct draft {
    struct member *members; /* owned, by id; spans are borrowed */
    uint32_t *from;         /* owned: index in old, UINT32_MAX: new */
    size_t count;
    size_t cap;
};

static int draft_begin(struct draft *draft, const struct hashring *old,
                       size_t change_count)
{
    draft->count = old->member_count;
    draft->cap = old->member_count + change_count;
    draft->members = mem_array(draft->cap, sizeof *draft->members);
    draft->from = mem_array(draft->cap, sizeof *draft->from);
    if (!draft->members || !draft->from)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < draft->count; i++) {
        draft->members[i] = old->members[i];
        draft->from[i] = (uint32_t)i;
    }
    return DLHT_OK;
}

static void draft_deinit(struct draft *draft)
{
    free(draft->members);
    free(draft->from);
}

/* The first member not before id. */
static size_t seek(const struct member *members, size_t count, struct span id)
{
    size_t lo = 0;
    size_t hi = count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(members[mid].id, id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t hashring_seek(const struct hashring *ring, struct span id)
{
    size_t at = seek(ring->members, ring->member_count, id);
    bool there =
        at < ring->member_count && span_equal(ring->members[at].id, id);
    return there ? at : SIZE_MAX;
}

static uint32_t tokens_for(double weight, uint32_t vnodes)
{
    double wanted = weight * vnodes + 0.5;
    if (!(weight > 0))
        return 0;
    return wanted < 1 ? 1 : (uint32_t)wanted;
}

static void draft_insert(struct draft *draft, size_t at,
                         const struct hashring_change *change)
{
    size_t after = draft->count++ - at;
    memmove(&draft->members[at + 1], &draft->members[at],
            after * sizeof *draft->members);
    memmove(&draft->from[at + 1], &draft->from[at],
            after * sizeof *draft->from);
    draft->members[at] =
        (struct member){ .id = change->id, .zone = change->zone };
    draft->from[at] = UINT32_MAX;
}

static void draft_remove(struct draft *draft, size_t at)
{
    size_t after = --draft->count - at;
    memmove(&draft->members[at], &draft->members[at + 1],
            after * sizeof *draft->members);
    memmove(&draft->from[at], &draft->from[at + 1],
            after * sizeof *draft->from);
}

static bool is_valid_change(const struct hashring_change *c)
{
    if (c->id.len == 0 || c->id.len > HASHRING_ID_MAX)
        return false;
    if (c->verb == HASHRING_ADD && c->zone.len > HASHRING_ID_MAX)
        return false;
    /* Written so that NaN is refused. */
    return c->verb == HASHRING_REMOVE || c->weight == 0 ||
           (c->weight >= HASHRING_WEIGHT_MIN &&
            c->weight <= HASHRING_WEIGHT_MAX);
}

static int draft_change(struct draft *draft, uint32_t vnodes,
                        const struct hashring_change *change)
{
    if (!is_valid_change(change))
        return DLHT_EINVAL;
    size_t at = seek(draft->members, draft->count, change->id);
    bool there =
        at < draft->count && span_equal(draft->members[at].id, change->id);
    if (there && change->verb == HASHRING_ADD)
        return DLHT_EEXISTS;
    if (!there && change->verb != HASHRING_ADD)
        return DLHT_ENOTFOUND;
    if (change->verb == HASHRING_REMOVE) {
        draft_remove(draft, at);
        return DLHT_OK;
    }
    if (!there)
        draft_insert(draft, at, change);
    draft->members[at].weight = change->weight;
    draft->members[at].token_count = tokens_for(change->weight, vnodes);
    return DLHT_OK;
}

/* --- a ring of a draft */

static struct span keep(uint8_t **at, struct span bytes)
{
    struct span kept = { *at, bytes.len };
    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
    return kept;
}

static int copy_members(struct hashring *ring, const struct draft *draft)
{
    size_t len = 0;
    size_t tokens = 0;
    for (size_t i = 0; i < draft->count; i++) {
        len += draft->members[i].id.len + draft->members[i].zone.len;
        tokens += draft->members[i].token_count;
    }
    if (draft->count > HASHRING_NODES_MAX || tokens > HASHRING_TOKENS_MAX)
        return DLHT_EFULL;
    ring->members = mem_array(draft->count, sizeof *ring->members);
    ring->bytes = mem_array(len, 1);
    ring->positions = mem_array(tokens, sizeof *ring->positions);
    ring->owners = mem_array(tokens, sizeof *ring->owners);
    ring->ordinals = mem_array(tokens, sizeof *ring->ordinals);
    if (!ring->members || !ring->bytes || !ring->positions || !ring->owners ||
        !ring->ordinals)
        return DLHT_ENOMEM;
    uint8_t *at = ring->bytes;
    for (size_t i = 0; i < draft->count; i++) {
        ring->members[i] = draft->members[i];
        ring->members[i].id = keep(&at, draft->members[i].id);
        ring->members[i].zone = keep(&at, draft->members[i].zone);
    }
    ring->member_count = draft->count;
    return DLHT_OK;
}

static int build(const struct hashring *old, const struct draft *draft,
                 struct hashring *ring)
{
    uint32_t *index_of = mem_array(old->member_count, sizeof *index_of);
    if (!index_of)
        return DLHT_ENOMEM;
    memset(index_of, 0xff, old->member_count * sizeof *index_of);
    for (size_t i = 0; i < draft->count; i++)
        if (draft->from[i] != UINT32_MAX)
            index_of[draft->from[i]] = (uint32_t)i;
    int rc = copy_members(ring, draft);
    if (rc == DLHT_OK)
        rc = hashring_build(ring, old, index_of);
    free(index_of);
    return rc;
}

static int draft_all(struct draft *draft, const struct hashring *old,
                     const struct hashring_change *changes, size_t count,
                     size_t *bad)
{
    size_t at = 0;
    int rc = draft_begin(draft, old, count);
    for (; rc == DLHT_OK && at < count; at++)
        rc = draft_change(draft, old->config.vnodes, &changes[at]);
    *bad = rc != DLHT_OK && at > 0 ? at - 1 : count;
    return rc;
}

int hashring_apply(const struct hashring *old,
                   const struct hashring_change *changes, size_t count,
                   struct hashring **out, size_t *bad)
{
    struct draft draft;
    struct hashring *ring;
    size_t at = count;
    int rc = hashring_new(&old->config, &ring);
    *out = NULL;
    if (bad)
        *bad = count;
    if (rc != DLHT_OK)
        return rc;
    rc = draft_all(&draft, old, changes, count, &at);
    if (bad)
        *bad = at;
    if (rc == DLHT_OK)
        rc = build(old, &draft, ring);
    draft_deinit(&draft);
    if (rc != DLHT_OK) {
        destroy(ring);
        return rc;
    }
    *out = ring;
    return DLHT_OK;
}

int hashring_restore(const struct hashring_config *config,
                     const struct hashring_change *changes, size_t count,
                     const struct token *tokens, size_t token_count,
                     struct hashring **out, size_t *bad, size_t *bad_token)
{
    struct draft draft;
    struct hashring *ring;
    int rc = hashring_new(config, &ring);
    *out = NULL;
    *bad = count;
    *bad_token = token_count;
    if (rc != DLHT_OK)
        return rc;
    rc = draft_all(&draft, ring, changes, count, bad);
    if (rc == DLHT_OK)
        rc = copy_members(ring, &draft);
    if (rc == DLHT_OK)
        rc = hashring_build_given(ring, tokens, token_count, bad_token);
    draft_deinit(&draft);
    if (rc != DLHT_OK) {
        destroy(ring);
        return rc;
    }
    *out = ring;
    return DLHT_OK;
}

/* --- the slot */

static void enter(struct hashring_slot *slot)
{
    while (atomic_flag_test_and_set_explicit(&slot->busy, memory_order_acquire))
        ;
}

static void leave(struct hashring_slot *slot)
{
    atomic_flag_clear_explicit(&slot->busy, memory_order_release);
}

void hashring_slot_init(struct hashring_slot *slot, struct hashring *ring)
{
    atomic_flag_clear(&slot->busy);
    slot->ring = ring;
}

void hashring_slot_deinit(struct hashring_slot *slot)
{
    hashring_drop(slot->ring);
    slot->ring = NULL;
}

struct hashring *hashring_slot_take(struct hashring_slot *slot)
{
    enter(slot);
    struct hashring *ring = hashring_hold(slot->ring);
    leave(slot);
    return ring;
}

void hashring_slot_set(struct hashring_slot *slot, struct hashring *ring)
{
    enter(slot);
    struct hashring *old = slot->ring;
    slot->ring = ring;
    leave(slot);
    hashring_drop(old);
}
