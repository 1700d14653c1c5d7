/* SPDX-License-Identifier: Apache-2.0 */

/* What finds the vectors that this node holds. */

#include "node/collections.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/graphs.h"
#include "node/jobs.h"
#include "node/replica.h"

enum {
    READ_SLICE = 256,  /* records a turn */
    SWEEP_SLICE = 4096 /* places a turn */
};

/* What is done elsewhere, and for whom. */
struct job {
    struct node_collection *of;
    struct collection_work *work;
};

static bool read_record(void *self, uint32_t part, struct span id,
                        struct span *value, uint64_t *version)
{
    const struct node_collection *nc = self;
    struct record record;
    const struct replica *r = part < nc->part_cap ? nc->by_part[part] : NULL;
    if (!r || !records_get(r->records, id, &record))
        return false;
    *value = record.value;
    *version = record.version;
    return true;
}

static int new_collection(const struct node *node,
                          const struct vector_settings *settings,
                          const struct collection_source *source,
                          keyspace_id id, struct collection **out)
{
    struct span fields[VECTOR_FIELDS_MAX];
    struct collection_config config = {
        .index = vector_settings_index(settings),
        .fields = fields,
        .field_count = vector_settings_fields(settings, fields),
        .saves = id != 0 && node->config.durable,
    };
    config.index.hnsw.kernel = node->config.kernel;
    config.index.hnsw.seed = node->config.seed ^ id;
    return collection_new(&config, source, out);
}

int collections_new_empty(const struct node *node,
                          const struct vector_settings *settings,
                          struct collection **out)
{
    static struct node_collection none;
    struct collection_source source = { read_record, &none };
    return new_collection(node, settings, &source, 0, out);
}

struct node_collection *collections_find(const struct node *node,
                                         keyspace_id id)
{
    for (size_t i = 0; i < node->collection_count; i++)
        if (node->collections[i]->keyspace == id)
            return node->collections[i];
    return NULL;
}

struct collection *collections_of(struct node_collection *nc)
{
    return nc->c;
}

struct replica *collections_replica(const struct node_collection *nc,
                                    uint32_t part)
{
    return part < nc->part_cap ? nc->by_part[part] : NULL;
}

bool collections_is_busy(const struct node_collection *nc)
{
    return nc->busy;
}

static struct node_collection *add(struct node *node, const struct keyspace *ks)
{
    struct node_collection **grown =
        mem_resize(node->collections, node->collection_count + 1,
                   sizeof(struct node_collection *));
    if (!grown)
        return NULL;
    node->collections = grown;
    struct node_collection *nc = mem_zero(1, sizeof *nc);
    if (!nc)
        return NULL;
    nc->keyspace = ks->record.id;
    nc->version = ks->record.version;
    struct collection_source source = { read_record, nc };
    if (new_collection(node, &ks->vectors, &source, nc->keyspace, &nc->c) !=
        DLHT_OK) {
        free(nc);
        return NULL;
    }
    node->collections[node->collection_count++] = nc;
    graphs_begin(node, nc);
    return nc;
}

static void free_one(struct node_collection *nc)
{
    assert(!nc->busy);
    collection_free(nc->c);
    free(nc->by_part);
    free(nc);
}

void collections_deinit(struct node *node)
{
    for (size_t i = 0; i < node->collection_count; i++)
        free_one(node->collections[i]);
    free(node->collections);
    node->collections = NULL;
    node->collection_count = 0;
}

/* Parts */

/* All its records are read again. */
static void read_anew(struct vector_part *v)
{
    collection_refill(v->of->c, v->part);
    v->reading = true;
    buf_deinit(&v->from);
}

/* Those before `from` are known to it. */
static void read_from(struct vector_part *v, struct span from)
{
    v->reading = true;
    buf_reset(&v->from);
    buf_append_span(&v->from, from);
    if (v->from.failed)
        read_anew(v);
}

/* Without memory it stays without a part. */
static bool attach(struct node_collection *nc, struct replica *r)
{
    struct vector_part *v = mem_zero(1, sizeof *v);
    if (!v)
        return false;
    v->of = nc;
    if (collection_add_part(nc->c, &v->part) != DLHT_OK) {
        free(v);
        return false;
    }
    if (v->part >= nc->part_cap) {
        uint32_t cap = nc->part_cap ? nc->part_cap * 2 : 8;
        struct replica **grown =
            mem_resize(nc->by_part, cap, sizeof(struct replica *));
        if (!grown) {
            collection_drop_part(nc->c, v->part);
            free(v);
            return false;
        }
        memset(grown + nc->part_cap, 0,
               (cap - nc->part_cap) * sizeof(struct replica *));
        nc->by_part = grown;
        nc->part_cap = cap;
    }
    nc->by_part[v->part] = r;
    nc->part_count++;
    r->vectors = v;
    return true;
}

void collections_detach(struct replica *r)
{
    struct vector_part *v = r->vectors;
    if (!v)
        return;
    collection_drop_part(v->of->c, v->part);
    v->of->by_part[v->part] = NULL;
    v->of->part_count--;
    buf_deinit(&v->from);
    free(v);
    r->vectors = NULL;
}

static bool is_read(const struct vector_part *v, struct span key)
{
    return !v->reading || span_compare(key, buf_span(&v->from)) < 0;
}

void collections_changed(struct replica *r, struct span key)
{
    struct vector_part *v = r->vectors;
    struct record record;
    if (!v || !is_read(v, key))
        return;
    bool there = records_get(r->records, key, &record);
    if (!there && DLHT_MUTANT == 40)
        return;
    if (!there)
        collection_remove(v->of->c, v->part, key);
    else if (collection_put(v->of->c, v->part, key, record.value,
                            record.version) != DLHT_OK)
        read_anew(v);
}

void collections_replaced(struct replica *r)
{
    if (r->vectors)
        read_anew(r->vectors);
}

void collections_grown(struct replica *r, struct span from)
{
    if (r->vectors && !r->vectors->reading)
        read_from(r->vectors, from);
}

void collections_split(struct node *node, struct replica *r,
                       struct replica *right)
{
    struct vector_part *v = r->vectors;
    (void)node;
    if (!v)
        return;
    /* Of records that are no vectors it is not known where they were. */
    bool damaged = collection_part_damaged(v->of->c, v->part) > 0;
    if (!right || right->vectors || damaged || !attach(v->of, right)) {
        read_anew(v);
        return;
    }
    struct records_cursor at;
    struct span limit = buf_span(&v->from);
    for (bool more = records_seek(right->records, span_empty(), &at); more;
         more = records_next(&at)) {
        struct span key = records_at(&at).key;
        if ((v->reading && span_compare(key, limit) >= 0) || DLHT_MUTANT == 41)
            break;
        collection_move(v->of->c, v->part, right->vectors->part, key);
    }
    if (!v->reading)
        return;
    read_from(right->vectors, limit);
    if (r->arc->has_hi && span_compare(limit, r->arc->hi) >= 0) {
        v->reading = false;
        collection_end_refill(v->of->c, v->part);
    }
}

/* Turns */

/* One slice; true: there is more. */
static bool read_on(struct replica *r)
{
    struct vector_part *v = r->vectors;
    struct records_cursor at;
    struct span from = buf_span(&v->from);
    if (span_compare(from, r->arc->lo) < 0)
        from = r->arc->lo;
    bool more = records_seek(r->records, from, &at);
    for (int i = 0; more && i < READ_SLICE; i++) {
        struct record record = records_at(&at);
        if (!replica_is_own(r, record.key))
            break;
        if (collection_put(v->of->c, v->part, record.key, record.value,
                           record.version) != DLHT_OK) {
            read_from(v, record.key); /* from here, when there is memory */
            return false;
        }
        more = records_next(&at);
    }
    if (more && replica_is_own(r, records_at(&at).key)) {
        read_from(v, records_at(&at).key);
        return true;
    }
    v->reading = false;
    buf_deinit(&v->from);
    collection_end_refill(v->of->c, v->part);
    return false;
}

static void run_job(void *data)
{
    struct job *job = data;
    collection_run(job->work);
}

static void job_done(struct node *node, void *data)
{
    struct job *job = data;
    struct node_collection *nc = job->of;
    (void)node;
    nc->busy = false;
    collection_done(nc->c, job->work);
    free(job);
}

/* The node is being freed. */
static void drop_job(void *data)
{
    struct job *job = data;
    job->of->busy = false;
    collection_abandon(job->of->c, job->work);
    free(job);
}

static void begin_job(struct node *node, struct node_collection *nc)
{
    if (nc->busy || !collection_wants_work(nc->c))
        return;
    struct job *job = mem_zero(1, sizeof *job);
    if (!job)
        return;
    job->of = nc;
    job->work = collection_take(nc->c);
    if (job->work &&
        jobs_begin(node, run_job, job_done, drop_job, job, NULL) == DLHT_OK) {
        nc->busy = true;
        return;
    }
    if (job->work) /* later */
        collection_abandon(nc->c, job->work);
    free(job);
}

/* Its keyspace is no more, and nothing needs it. */
static bool is_over(const struct node *node, const struct node_collection *nc)
{
    return nc->part_count == 0 && !nc->busy &&
           !keyspaces_find(node, nc->keyspace);
}

void collections_tick(struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (r->vectors || r->empty)
            continue;
        const struct keyspace *ks = keyspaces_find(node, r->keyspace);
        if (!ks || ks->vectors.dim == 0)
            continue;
        struct node_collection *nc = collections_find(node, r->keyspace);
        if (!nc)
            nc = add(node, ks);
        if (nc && attach(nc, r))
            read_from(r->vectors, span_empty());
    }
    for (size_t i = node->collection_count; i-- > 0;) {
        struct node_collection *nc = node->collections[i];
        const struct keyspace *ks = keyspaces_find(node, nc->keyspace);
        if (ks && ks->record.version != nc->version) {
            nc->version = ks->record.version;
            collection_set_ef(nc->c, ks->vectors.ef);
        }
        if (!is_over(node, nc))
            continue;
        free_one(nc);
        node->collections[i] = node->collections[--node->collection_count];
    }
}

void collections_flush(struct node *node)
{
    bool more = false;
    for (size_t i = 0; i < node->collection_count; i++) {
        struct node_collection *nc = node->collections[i];
        bool reads = false;
        graphs_flush(node, nc);
        for (uint32_t p = 0; p < nc->part_cap && !reads && !graphs_hold(nc);
             p++)
            if (nc->by_part[p] && nc->by_part[p]->vectors->reading)
                reads = read_on(nc->by_part[p]);
        more = more || reads;
        more = collection_sweep(nc->c, SWEEP_SLICE) || more;
        if (node->phase != PHASE_STOPPING)
            begin_job(node, nc);
    }
    if (more)
        node_wake_at(node, node->now_ns);
}

int collections_rebuild(struct node *node, struct node_collection *nc)
{
    int rc = collection_rebuild(nc->c);
    if (rc == DLHT_OK)
        node_wake_at(node, node->now_ns);
    return rc;
}

void collections_search(struct collection_search *s, const struct replica *r)
{
    const struct vector_part *v = r->vectors;
    struct records_cursor at;
    struct span from = r->arc->lo;
    if (v)
        collection_search_add(s, v->part);
    if (v && !v->reading)
        return;
    if (v && span_compare(buf_span(&v->from), from) > 0)
        from = buf_span(&v->from);
    for (bool more = records_seek(r->records, from, &at); more;
         more = records_next(&at)) {
        struct record record = records_at(&at);
        if (!replica_is_own(r, record.key))
            break;
        collection_search_offer(s, v ? v->part : UINT32_MAX, record.key,
                                record.value, record.version);
    }
}

size_t collections_reading(const struct node *node, keyspace_id id)
{
    size_t count = 0;
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        count += r->keyspace == id && !r->empty &&
                 (!r->vectors || r->vectors->reading);
    }
    return count;
}

void collections_check(const struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (!r->vectors)
            continue;
        assert(r->vectors->of->by_part[r->vectors->part] == r);
        if (r->vectors->reading || r->half_applied)
            continue;
        const struct collection *c = r->vectors->of->c;
        uint64_t live = collection_part_live(c, r->vectors->part);
        uint64_t damaged = collection_part_damaged(c, r->vectors->part);
        assert(live <= replica_key_count(r));
        assert(live + damaged >= replica_key_count(r));
    }
}
