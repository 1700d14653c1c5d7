/* SPDX-License-Identifier: Apache-2.0 */

/* Many records in one request. A batch is cut into a piece per arc, each one
 * log entry; a piece whose arc was split meanwhile is certainly not done and
 * is cut again. All pieces carry the batch's session and number (the client's,
 * or one of this node) and the rank of their first record, in key order, among
 * those of the batch: so a batch that is repeated is stored once, however it is
 * cut then, and an arc that meets two pieces of one batch, because it was
 * merged, stores both. mget asks for each key on its own and answers in the order of
 * the request. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/ahead.h"
#include "node/op.h"
#include "wire/mp.h"

struct batch {
    struct batch *next, *previous; /* among those of this node's session */
    bool listed;
    struct origin origin;
    struct request request; /* without list */
    uint64_t deadline_ns;
    uint64_t stored;
    size_t open; /* pieces, and one while cutting */
    int status;  /* the worst so far */
};

struct piece {
    struct batch *batch;
    struct buf list;
    uint32_t list_count;
    uint64_t rank; /* of the first record in the batch */
};

static void release_batch(struct node *node, struct batch *b)
{
    if (--b->open)
        return;
    struct response response = { .status = b->status, .count = b->stored };
    /* A batch over several arcs may be stored in part: then "failed" would be
     * a lie, too. */
    if (b->status != DLHT_OK && b->stored)
        response.status = DLHT_EUNKNOWN;
    if (response.status == DLHT_EUNKNOWN)
        response.text = span_str("some of the records may be stored and "
                                 "others not");
    node_answer(node, &b->origin, &response);
    if (b->listed) {
        if (b->previous)
            b->previous->next = b->next;
        else
            node->batches_first = b->next;
        if (b->next)
            b->next->previous = b->previous;
        else
            node->batches_last = b->previous;
    }
    free(b);
}

/* A batch without a client's session is numbered in one of this node. */
static void number_batch(struct node *node, struct batch *b)
{
    if (!id_is_zero(&b->request.session))
        return;
    if (id_is_zero(&node->batch_session))
        node->batch_session = id_random(&node->rng);
    b->request.session = node->batch_session;
    b->request.number = ++node->batch_number;
    b->listed = true;
    b->previous = node->batches_last;
    if (b->previous)
        b->previous->next = b;
    else
        node->batches_first = b;
    node->batches_last = b;
    b->request.lowest_open = node->batches_first->request.number;
}

static void note_status(struct batch *b, int status)
{
    if (b->status == DLHT_OK || status == DLHT_EUNKNOWN)
        b->status = status;
}

static void piece_free(struct piece *p)
{
    if (!p)
        return;
    buf_deinit(&p->list);
    free(p);
}

static void cut_again(struct node *node, struct batch *b,
                      const struct piece *p);

static void piece_done(struct node *node, void *context,
                       const struct response *response)
{
    struct piece *p = context;
    struct batch *b = p->batch;
    if (response->status == DLHT_OK)
        b->stored += response->count;
    else if (response->status == DLHT_ENOTOWNER)
        cut_again(node, b, p);
    else
        note_status(b, response->status);
    piece_free(p);
    release_batch(node, b);
}

static void send_piece(struct node *node, struct batch *b, struct piece *p)
{
    struct request q = b->request;
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&p->list));
    q.key = mp_read_bytes(&r); /* routes the piece */
    q.list = buf_span(&p->list);
    q.list_count = p->list_count;
    q.limit = p->rank;
    struct pending_target target = {
        .done = piece_done, .context = p, .later = true, .wants_not_owner = true
    };
    b->open++;
    int rc = p->list.failed ? DLHT_ENOMEM
                            : pending_begin(node, &q, b->deadline_ns, &target);
    if (rc == DLHT_OK)
        return;
    b->open--;
    note_status(b, DLHT_EBUSY);
    piece_free(p);
}

/* A record of a batch, as its arc keeps it. */
struct item {
    struct span key;
    struct span value;
    uint32_t order; /* in which it was given: of one key the last one stays */
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = span_compare(x->key, y->key);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void sort_items(struct item *items, uint32_t count)
{
    uint32_t i = 1;
    while (i < count && compare_items(&items[i - 1], &items[i]) < 0)
        i++;
    if (i < count)
        qsort(items, count, sizeof *items, compare_items);
}

static struct piece *piece_new(struct batch *b, uint64_t rank)
{
    struct piece *p = mem_zero(1, sizeof *p);
    if (p) {
        p->batch = b;
        p->rank = rank;
    }
    return p;
}

/* Sends records in key order in pieces by arc. Keys between two known arcs are
 * a piece, too; it is cut again where it arrives. */
static void cut(struct node *node, struct batch *b, const struct item *items,
                uint32_t count, uint64_t rank)
{
    struct keyspace *ks = keyspaces_find(node, b->request.keyspace);
    struct piece *p = NULL;
    const struct arc *before = NULL;
    bool held_before = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct arc *arc = map_find(ks->map, items[i].key, SIZE_MAX);
        bool held = arc && arc_has(arc, items[i].key);
        if (p && (arc != before || held != held_before)) {
            send_piece(node, b, p);
            p = NULL;
        }
        if (!p)
            p = piece_new(b, rank + i);
        if (!p) {
            note_status(b, DLHT_EBUSY);
            return;
        }
        mp_write_bin(&p->list, items[i].key);
        mp_write_bin(&p->list, items[i].value);
        p->list_count += 2;
        before = arc;
        held_before = held;
    }
    if (p)
        send_piece(node, b, p);
}

/* The records of a list, unsorted; NULL: no memory. */
static struct item *read_items(struct node *node, struct span list,
                               uint32_t count, bool hash)
{
    struct item *items = mem_array(count, sizeof *items);
    struct mp_reader r;
    mp_reader_init(&r, list);
    for (uint32_t i = 0; items && i < count; i++) {
        struct span key = mp_read_bytes(&r);
        items[i].key = hash ? op_hashed_key(node, key) : key;
        items[i].value = mp_read_bytes(&r);
        items[i].order = i;
        if (items[i].key.len == 0) { /* there was none for the hashed one */
            free(items);
            items = NULL;
        }
    }
    return items;
}

/* A piece that is in no arc as a whole; it is in key order. */
static void cut_again(struct node *node, struct batch *b, const struct piece *p)
{
    uint32_t count = p->list_count / 2;
    struct item *items = read_items(node, buf_span(&p->list), count, false);
    if (items)
        cut(node, b, items, count, p->rank);
    else
        note_status(b, DLHT_EBUSY);
    free(items);
}

static void cut_first(struct node *node, struct batch *b,
                      const struct request *q)
{
    const struct keyspace *ks = keyspaces_find(node, q->keyspace);
    uint32_t count = q->list_count / 2;
    struct item *items = read_items(node, q->list, count,
                                    ks->record.placement == PLACEMENT_HASHED);
    if (items) {
        sort_items(items, count);
        cut(node, b, items, count, 0);
    } else {
        note_status(b, DLHT_EBUSY);
    }
    free(items);
}

static int check_list(const struct request *q, uint32_t step, const char **text)
{
    struct mp_reader r;
    mp_reader_init(&r, q->list);
    *text = "a batch is 1 to 4096 records of keys of 1 byte to 64 KiB and "
            "values up to 16 MiB";
    if (q->list_count == 0 || q->list_count % step ||
        q->list_count / step > BATCH_COUNT_MAX)
        return DLHT_EINVAL;
    for (uint32_t i = 0; i < q->list_count; i += step) {
        struct span key = mp_read_bytes(&r);
        struct span value = step == 2 ? mp_read_bytes(&r) : span_empty();
        if (r.bad || key.len == 0)
            return DLHT_EINVAL;
        if (key.len > KEY_LEN_MAX || value.len > VALUE_LEN_MAX)
            return DLHT_ETOOBIG;
    }
    return DLHT_OK;
}

void op_batch_begin(struct node *node, const struct request *q,
                    const struct origin *origin)
{
    const char *text;
    int rc = check_list(q, 2, &text);
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc, text);
        return;
    }
    struct batch *b = mem_zero(1, sizeof *b);
    if (!b) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    b->origin = *origin;
    b->request = *q;
    b->request.list = b->request.value = b->request.keyspace_name =
        span_empty();
    b->deadline_ns = op_deadline_ns(node, q);
    b->open = 1;
    number_batch(node, b);
    cut_first(node, b, q);
    release_batch(node, b);
}

struct mget {
    struct origin origin;
    size_t open;
    int status;
    size_t bytes; /* of values kept */
    uint32_t key_count;
    struct mget_key {
        struct mget *mget;
        struct buf key;
        struct buf value;
        uint64_t version;
        bool found;
    } keys[];
};

static void mget_release(struct node *node, struct mget *m)
{
    if (--m->open)
        return;
    struct response response = { .status = m->status };
    struct buf list = { 0 };
    for (uint32_t i = 0; i < m->key_count; i++) {
        struct mget_key *k = &m->keys[i];
        if (k->found && m->status == DLHT_OK) {
            mp_write_bin(&list, buf_span(&k->key));
            mp_write_bin(&list, buf_span(&k->value));
            mp_write_uint(&list, k->version);
            response.list_count++;
        }
        buf_deinit(&k->key);
        buf_deinit(&k->value);
    }
    response.list = effects_copy(node->fx, buf_span(&list));
    if (list.failed || response.list.len != list.len) {
        memset(&response, 0, sizeof response);
        response.status = DLHT_EBUSY;
    } else if (m->status == DLHT_ETOOBIG || list.len > WIRE_BODY_MAX - 4096) {
        memset(&response, 0, sizeof response);
        response.status = DLHT_ETOOBIG;
        response.text = span_str("the answer passes 32 MiB: ask for fewer "
                                 "keys at once");
    }
    node_answer(node, &m->origin, &response);
    buf_deinit(&list);
    free(m);
}

static void mget_done(struct node *node, void *context,
                      const struct response *response)
{
    struct mget_key *k = context;
    if (response->status == DLHT_OK) {
        k->mget->bytes += response->value.len;
        if (k->mget->bytes > WIRE_BODY_MAX)
            k->mget->status = DLHT_ETOOBIG;
        else
            buf_append_span(&k->value, response->value);
        k->version = response->version;
        k->found = true;
        if (k->value.failed)
            k->mget->status = DLHT_EBUSY;
    } else if (response->status != DLHT_ENOTFOUND) {
        k->mget->status = response->status;
    }
    mget_release(node, k->mget);
}

/* The next keys of the list, as they are stored. */
static size_t mget_read(struct node *node, const struct keyspace *ks,
                        struct mp_reader *r, struct mget *m, uint32_t from,
                        struct ahead list[AHEAD_MAX])
{
    size_t count = 0;
    for (uint32_t i = from; i < m->key_count && count < AHEAD_MAX; i++) {
        struct span key = mp_read_bytes(r);
        buf_append_span(&m->keys[i].key, key);
        m->keys[i].mget = m;
        if (ks->record.placement == PLACEMENT_HASHED)
            key = op_hashed_key(node, key);
        list[count++] = (struct ahead){ .ks = ks, .key = key };
    }
    ahead_warm(node, list, count);
    return count;
}

void op_mget_begin(struct node *node, const struct request *q,
                   const struct origin *origin)
{
    const char *text;
    int rc = check_list(q, 1, &text);
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc, text);
        return;
    }
    struct mget *m =
        mem_zero(1, sizeof *m + q->list_count * sizeof(struct mget_key));
    if (!m) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    struct keyspace *ks = keyspaces_find(node, q->keyspace);
    m->origin = *origin;
    m->key_count = q->list_count;
    m->open = 1;
    struct mp_reader r;
    mp_reader_init(&r, q->list);
    struct ahead list[AHEAD_MAX];
    size_t read = 0;
    for (uint32_t i = 0; i < q->list_count; i++) {
        struct mget_key *k = &m->keys[i];
        if (i % AHEAD_MAX == 0)
            read = mget_read(node, ks, &r, m, i, list);
        assert(i % AHEAD_MAX < read);
        struct request get = *q;
        get.op = OP_GET;
        get.list = span_empty();
        get.list_count = 0;
        get.key = list[i % AHEAD_MAX].key;
        struct pending_target target = { .done = mget_done, .context = k };
        m->open++;
        if (k->key.failed || pending_begin(node, &get, op_deadline_ns(node, q),
                                           &target) != DLHT_OK) {
            m->open--;
            m->status = DLHT_EBUSY;
        }
    }
    mget_release(node, m);
}
