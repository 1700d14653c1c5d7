/* SPDX-License-Identifier: Apache-2.0 */

/* Up to which keyspace a damaged journal may lack foundings. */

#include "node/forgotten.h"

#include "dlht/err.h"
#include "node/journal_types.h"
#include "node/keyspaces.h"
#include "node/pending.h"

/* How long the system arc is asked, and how long it is left alone after. */
#define ASK_NS (5 * NS_PER_S)
#define REST_NS (1 * NS_PER_S)

/* Of all keyspaces: it is not known yet. */
#define ALL UINT32_MAX

static const char damaged_key[] = "damaged";

void forgotten_begin(struct node *node)
{
    node->forgotten.to = ALL;
}

bool forgotten_waits(const struct node *node)
{
    return node->phase == PHASE_NEW || node->forgotten.to == ALL;
}

bool forgotten_may(const struct node *node, const struct arc *arc)
{
    const struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    return arc->keyspace != SYSTEM_KEYSPACE &&
           arc->keyspace <= node->forgotten.to &&
           !(ks && ks->record.is_volatile); /* never in a journal */
}

static void journal(struct node *node)
{
    struct buf payload = { 0 };
    forgotten_pack(node, &payload);
    node_journal_buf(node, JOURNAL_FORGOTTEN, 0, 0, 0, &payload);
    buf_deinit(&payload);
}

static void on_written(struct node *node, void *context,
                       const struct response *response)
{
    (void)context;
    node->forgotten.asked = false;
    node->forgotten.again_ns = node->now_ns + REST_NS;
    if (response->status != DLHT_OK)
        return;
    node->forgotten.to = (keyspace_id)response->version;
    journal(node);
    node->keyspaces_late = true;
    node_log(node, LOG_WARNING,
             "the journal was damaged: no copy of keyspaces up to %lu is "
             "begun here but by learning it from others",
             (unsigned long)node->forgotten.to);
}

/* Who was damaged is of no use to anybody but a reader; that it is written is
 * what matters, since then the version is greater than all before. */
void forgotten_tick(struct node *node)
{
    if (node->forgotten.to != ALL || node->forgotten.asked ||
        node->phase != PHASE_SERVING || node->now_ns < node->forgotten.again_ns)
        return;
    struct request q = { .op = OP_PUT,
                         .keyspace = SYSTEM_KEYSPACE,
                         .key = span_str(damaged_key),
                         .value = span_of(node->self.bytes, ID_BYTES) };
    struct pending_target target = { .done = on_written };
    node->forgotten.asked = true; /* perhaps answered before this returns */
    if (pending_begin(node, &q, node->now_ns + ASK_NS, &target) == DLHT_OK)
        return;
    node->forgotten.asked = false;
    node->forgotten.again_ns = node->now_ns + REST_NS;
}

bool forgotten_pack(const struct node *node, struct buf *out)
{
    if (node->forgotten.to == 0)
        return false;
    mp_write_uint(out, node->forgotten.to);
    return true;
}

int forgotten_restore(struct node *node, struct mp_reader *reader)
{
    uint64_t to = mp_read_uint(reader);
    if (reader->bad || to > ALL)
        return DLHT_ECORRUPT;
    node->forgotten.to = (keyspace_id)to;
    return DLHT_OK;
}
