/* SPDX-License-Identifier: Apache-2.0 */

/* vector/collection.h - vectors by id, found by nearness and by what is known
 * of them.
 *
 * The records themselves are elsewhere (their owner hands out a function that
 * reads one); here is what finds them: an index of vectors (vector/index.h),
 * metadata, indexes of declared fields (vector/field_index.h). Ids belong to
 * parts, numbers that the owner has made (an arc of a ring, say); a search
 * names the parts it is about.
 *
 * A vector that was put is found from then on, and one that was removed never
 * again, though the graph follows later: what waits for the graph is compared
 * one by one until then. The graph is changed by work that another thread may
 * do (collection_take, collection_run, collection_done); all else is for one
 * thread.
 *
 * The graph can be kept in a file, and taken over from one by a collection that
 * has just been made. Then it holds vectors that nobody has put yet: each is
 * found once a record with that id and that very vector is put, and those for
 * which none comes are removed. So what a file says is never believed.
 *
 * All or nothing on DLHT_ENOMEM unless said otherwise. */

#ifndef VECTOR_COLLECTION_H
#define VECTOR_COLLECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/filter.h"
#include "vector/index.h"

enum {
    COLLECTION_PARTS_MAX = 65536,
    COLLECTION_WORK_MAX = 256 /* changes of the graph done at once */
};

struct collection;
struct collection_work;
struct collection_graph;

/* How a record is read: false if it is not there. The value stays as it is
 * until the collection returns. */
struct collection_source {
    bool (*read)(void *self, uint32_t part, struct span id, struct span *value,
                 uint64_t *version);
    void *self;
};

struct collection_config {
    struct index_config index;
    const struct span *fields; /* with an index; copied */
    size_t field_count;
    bool saves; /* the graph is to be kept in a file: 16 bytes a vector */
};

/* *out is the caller's, NULL on failure.
 *   DLHT_EINVAL  hnsw_config_fault, or a field's name
 *   DLHT_ENOMEM */
MUST_USE int collection_new(const struct collection_config *config,
                            const struct collection_source *source,
                            struct collection **out);

/* NULL is allowed. No work may be out. */
void collection_free(struct collection *c);

const struct hnsw_config *collection_graph(const struct collection *c);

/* The width of searches that name none. */
void collection_set_ef(struct collection *c, uint32_t ef);

/* DLHT_ENOMEM; DLHT_EFULL: COLLECTION_PARTS_MAX */
MUST_USE int collection_add_part(struct collection *c, uint32_t *part);
/* Nothing in it is found any more; collection_sweep clears up. */
void collection_drop_part(struct collection *c, uint32_t part);

/* A record was written. One that is there with this version stays. The value
 * is that of vector/vector_record.h; another is not found, and counted.
 *   DLHT_ENOMEM  the id is not found, or its former version is */
MUST_USE int collection_put(struct collection *c, uint32_t part, struct span id,
                            struct span value, uint64_t version);
/* Nothing if it is not there. */
void collection_remove(struct collection *c, uint32_t part, struct span id);
/* The id belongs to another part from now on. */
void collection_move(struct collection *c, uint32_t from, uint32_t to,
                     struct span id);

/* What the part holds may be wrong: it is emptied, and filled again by
 * collection_put of every record it has; such as have not changed cost little.
 * Then collection_end_refill. */
void collection_refill(struct collection *c, uint32_t part);
void collection_end_refill(struct collection *c, uint32_t part);

/* Clears up at most so many places of what is gone; true: there is more. */
bool collection_sweep(struct collection *c, size_t steps);

/* The next changes of the graph, or NULL: none, or they are out, or no memory
 * (then collection_wants_work still says so). With the exact index there are
 * none: it is changed at once. */
struct collection_work *collection_take(struct collection *c);
bool collection_wants_work(const struct collection *c);
/* Anywhere, beside searches. */
void collection_run(struct collection_work *work);
void collection_done(struct collection *c, struct collection_work *work);
/* Instead of done: it was not run, or the collection goes too. */
void collection_abandon(struct collection *c, struct collection_work *work);

/* Makes the graph anew beside the one in use, which serves until then.
 *   DLHT_EBUSY    it is under way
 *   DLHT_ENOTSUP  there is no graph
 *   DLHT_ENOMEM */
MUST_USE int collection_rebuild(struct collection *c);

/* The graph in a file; the form: docs/vector.md. */

/* There is a graph, and the collection was made with `saves`. */
bool collection_saves(const struct collection *c);

/* As collection_take, of work that writes the graph as it is: collection_save
 * instead of collection_run. NULL: other work is out, collection_saves
 * does not hold, or no memory. */
struct collection_work *collection_take_save(struct collection *c);
/* Anywhere, beside searches. What take returns ends it. `keyspace` is told
 * again by who loads it.
 *   as hnsw_save */
MUST_USE int collection_save(struct collection_work *work, uint64_t keyspace,
                             hnsw_write_fn take, void *self);

/* What it writes. Linear. */
uint64_t collection_save_bytes(const struct collection_work *work);

/* Anywhere: a graph out of a file's bytes, which begin at a multiple of 64 and
 * are not read any more afterwards. It must be one of this keyspace with these
 * parameters (but for ef_search, seed and capacity). Linear.
 *   DLHT_ECORRUPT, DLHT_EVERSION, DLHT_EINVAL (another keyspace, other
 *                 parameters): *fault says what is wrong
 *   DLHT_ENOTSUP, DLHT_ENOMEM */
MUST_USE int collection_graph_load(struct span bytes, uint64_t keyspace,
                                   const struct hnsw_config *config,
                                   struct collection_graph **out,
                                   struct hnsw_fault *fault);
void collection_graph_free(struct collection_graph *graph); /* or NULL */

/* Takes the graph over. False: something was put already, or the collection
 * does not keep its graph; the graph stays the caller's. */
bool collection_adopt(struct collection *c, struct collection_graph *graph);
/* Vectors of the file for which no record has come are removed. */
void collection_drop_kept(struct collection *c);

struct collection_info {
    uint64_t live;    /* vectors that are found */
    uint64_t indexed; /* of these in the graph */
    uint64_t waiting; /* changes that wait for it */
    uint64_t damaged; /* records of parts that are no vectors */
    uint64_t bytes;   /* of memory, the index included */
    uint64_t index_bytes;
    uint64_t adopted; /* vectors of the file that was taken over */
    uint64_t claimed; /* of these, records that have come */
    uint64_t kept;    /* of these, still waiting for one */
    uint64_t changes; /* of the graph, since the collection was made */
    bool rebuilding;
};
void collection_info(const struct collection *c, struct collection_info *out);
uint64_t collection_part_live(const struct collection *c, uint32_t part);
/* Records of it that were no vectors, since it was filled. */
uint64_t collection_part_damaged(const struct collection *c, uint32_t part);

/* A search */

struct collection_hit {
    float distance; /* vector/metric.h */
    uint32_t part;
    struct span
        id; /* borrowed: until the next change of what it was found in */
    uint64_t version;
};

struct collection_query {
    const float *vector;         /* checked by metric_check */
    size_t k;                    /* 1 .. QUERY_K_MAX */
    size_t ef;                   /* 0: the collection's */
    const struct filter *filter; /* NULL: none */
    bool exact;
};

struct collection_search; /* under way */

/* *out is the caller's until collection_search_free. DLHT_ENOMEM */
MUST_USE int collection_search_new(struct collection *c,
                                   const struct collection_query *query,
                                   struct collection_search **out);
void collection_search_free(struct collection_search *s);

/* The search is about this part, too. */
void collection_search_add(struct collection_search *s, uint32_t part);

/* A record beside those of the parts: compared at once. Others must not be
 * offered twice, nor if they are of an added part. */
void collection_search_offer(struct collection_search *s, uint32_t part,
                             struct span id, struct span value,
                             uint64_t version);

/* The nearest of what was added and offered, nearest first; of equal ones the
 * lesser id. DLHT_ENOMEM */
MUST_USE int collection_search_run(struct collection_search *s,
                                   const struct collection_hit **hits,
                                   size_t *count);

struct collection_search_work {
    uint64_t measured; /* distances, about */
    bool exact;        /* every vector was looked at */
    const char *way;   /* of the filter's plan; "" without */
};
void collection_search_work(const struct collection_search *s,
                            struct collection_search_work *out);

/* Asserts all that must hold, and that what each part finds is what records
 * says: linear, for tests. No work may be out. */
void collection_check(struct collection *c);

#endif
