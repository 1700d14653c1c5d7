/* SPDX-License-Identifier: Apache-2.0 */

/* Whether an epoch that a peer tells of is there: the system arc knows, which
 * is asked for a number and a hash, some bytes, after a moment that differs
 * from peer to peer. Who keeps the system arc knows it by itself. */

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/models.h"
#include "node/pending.h"
#include "node/replica.h"
#include "wire/mp.h"

enum {
    DENIED_DOUBLINGS = 3, /* to two seconds, whoever tells */
    LIAR_DOUBLINGS = 8    /* to a minute, who told last */
};
#define ASK_NS (UINT64_C(5) * NS_PER_S)
/* So long for each peer, at most two seconds: the owner of the system arc hears
 * of a new epoch from 500 in a second. */
#define JITTER_NS (UINT64_C(2) * NS_PER_MS)
#define JITTER_NS_MAX (UINT64_C(2) * NS_PER_S)
#define DENIED_NS (UINT64_C(250) * NS_PER_MS)

struct model_news {
    uint64_t heard; /* the last epoch told of that is not known yet */
    struct id from;
    uint64_t ask_ns; /* when the system arc is asked; 0: not waiting */
    bool asking;
    uint64_t epoch, digest; /* what it knows; 0: nothing yet */
    uint64_t denied_until_ns, liar_until_ns;
    uint32_t denied_times; /* in a row */
    struct id liar;        /* told of what was denied last */
};

void models_news_forget(struct keyspace *ks)
{
    free(ks->news);
    ks->news = NULL;
}

bool models_is_genuine(const struct keyspace *ks, uint64_t epoch,
                       struct span packed)
{
    return ks->news && ks->news->epoch == epoch &&
           ks->news->digest == hash64(packed);
}

static uint64_t rest_ns(const struct model_news *n, uint32_t doublings)
{
    return DENIED_NS << (n->denied_times < doublings ? n->denied_times
                                                     : doublings);
}

/* The system arc is not asked again at once. */
static void rest(const struct node *node, struct model_news *n)
{
    n->denied_until_ns = node->now_ns + rest_ns(n, DENIED_DOUBLINGS);
    n->denied_times++;
}

static bool read_epoch(const struct response *response, uint64_t *epoch,
                       uint64_t *digest)
{
    struct mp_reader r;
    mp_reader_init(&r, response->value);
    if (mp_read_array(&r) != 2)
        mp_fail(&r);
    *epoch = mp_read_uint(&r);
    *digest = mp_read_uint(&r);
    return !r.bad && mp_at_end(&r);
}

static void epoch_heard(struct node *node, void *context,
                        const struct response *response)
{
    struct keyspace *ks = keyspaces_find(node, *(keyspace_id *)context);
    free(context);
    struct model_news *n = ks ? ks->news : NULL;
    if (!n || response->status == DLHT_ECLOSED)
        return;
    uint64_t epoch, digest;
    n->asking = false;
    if (response->status != DLHT_OK || !read_epoch(response, &epoch, &digest)) {
        rest(node, n);
        return;
    }
    if (epoch >= n->epoch) {
        n->epoch = epoch;
        n->digest = digest;
    }
    if (n->heard > epoch) {
        n->liar = n->from;
        n->liar_until_ns = node->now_ns + rest_ns(n, LIAR_DOUBLINGS);
        rest(node, n);
        ks->models_refused++;
        node_log(node, LOG_WARNING,
                 "keyspace %.*s: a peer tells of model epoch %llu, the system "
                 "arc has %llu",
                 (int)ks->record.name.len, (const char *)ks->record.name.data,
                 (unsigned long long)n->heard, (unsigned long long)epoch);
        return;
    }
    n->denied_times = 0;
    if (n->heard == epoch)
        models_fetch(node, ks, &n->from, epoch);
}

static void ask_system(struct node *node, const struct keyspace *ks,
                       struct model_news *n)
{
    struct buf doc = { 0 };
    struct request q = { .op = OP_MODEL,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = ks->record.name };
    keyspace_id *context = mem_zero(1, sizeof *context);
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "action");
    mp_write_cstr(&doc, "epoch");
    q.value = buf_span(&doc);
    struct pending_target target = { .done = epoch_heard,
                                     .context = context,
                                     .later = true };
    int rc = context && !doc.failed
                 ? pending_begin(node, &q, node->now_ns + ASK_NS, &target)
                 : DLHT_ENOMEM;
    if (rc == DLHT_OK) {
        *context = ks->record.id;
        n->asking = true;
    } else {
        free(context);
        rest(node, n);
    }
    buf_deinit(&doc);
}

void models_news_tick(struct node *node, struct keyspace *ks)
{
    struct model_news *n = ks->news;
    if (!n || !n->ask_ns || node->now_ns < n->ask_ns)
        return;
    n->ask_ns = 0;
    ask_system(node, ks, n);
}

bool models_is_known(struct node *node, struct keyspace *ks,
                     const struct id *from, uint64_t epoch)
{
    if (!ks->news)
        ks->news = mem_zero(1, sizeof *ks->news);
    struct model_news *n = ks->news;
    if (!n)
        return false; /* heard of again */
    if (epoch <= n->epoch)
        return epoch == n->epoch;
    if (n->asking || n->ask_ns || node->now_ns < n->denied_until_ns ||
        (id_equal(from, &n->liar) && node->now_ns < n->liar_until_ns))
        return false;
    n->heard = epoch;
    n->from = *from;
    uint64_t most = swim_count(node->swim) * JITTER_NS;
    most = most < JITTER_NS_MAX ? most : JITTER_NS_MAX;
    n->ask_ns = node->now_ns + rng_below(&node->rng, most + 1);
    node_wake_at(node, n->ask_ns);
    return false;
}

void models_epoch(struct node *node, struct keyspace *ks,
                  const struct origin *origin)
{
    struct model_record record;
    uint64_t version, epoch = 0, digest = 0;
    if (models_record(node, ks->record.id, &record, &version) &&
        record.history_count > 0) {
        epoch = record.history[0].epoch;
        digest = ks->held && ks->held->info.epoch == epoch
                     ? ks->held->digest
                     : hash64(record.packed);
    }
    struct buf doc = { 0 };
    mp_write_array(&doc, 2);
    mp_write_uint(&doc, epoch);
    mp_write_uint(&doc, digest);
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}
