/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/vector.h - collections of vectors: put, search, filters.
 *
 * A collection is a keyspace that holds vectors of one dimension under ids,
 * each with metadata if wanted (a JSON object), and finds those nearest to
 * another one. A search asks all of the ring at once, through any node.
 *
 *     struct dlht_collection_config config;
 *     dlht_collection_config_default(&config);
 *     config.dim = 3;
 *     int rc = dlht_collection_create(d, "docs", &config, NULL);
 *
 *     struct dlht_options docs = { .keyspace = "docs" };
 *     float x[] = { 0.1f, 0.2f, 0.3f };
 *     struct dlht_vector v = { .id = { "a", 1 }, .values = x, .dim = 3,
 *                              .meta = "{\"lang\": \"en\"}" };
 *     rc = dlht_vector_put(d, &docs, &v, NULL, NULL);
 *
 *     struct dlht_search search = { .values = x, .dim = 3, .k = 5,
 *                                   .filter = "lang = \"en\"" };
 *     struct dlht_hits hits;
 *     rc = dlht_vector_search(d, &docs, &search, &hits, NULL);
 *     ...
 *     dlht_hits_free(&hits);
 *
 * A vector that was put is found by every search begun after the put returned,
 * and one that was removed by none. Distances: l2 is the square of the
 * Euclidean one, cosine is 1 - cosine, ip is the inner product negated; smaller
 * is nearer. Filters are written as docs/filter.md has it.
 *
 * options->keyspace names the collection in every call. error may be NULL; on
 * failure it says in a sentence what was refused. Calls that wait may not be
 * made inside a callback of dlht_submit. Codes beside those named: those of
 * dlht/dlht.h, and DLHT_ENOTSUP for a keyspace that is no collection. */

#ifndef DLHT_VECTOR_H
#define DLHT_VECTOR_H

#include "dlht/dlht.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DLHT_VECTOR_DIM_MAX = 16384,
    DLHT_VECTOR_K_DEFAULT = 10,
    DLHT_VECTOR_K_MAX = 10000,
    DLHT_VECTOR_META_MAX = 262144, /* bytes of JSON */
    DLHT_VECTOR_FILTER_MAX = 65536,
    DLHT_VECTOR_WORD_MAX = 16,
    DLHT_VECTOR_FIELDS_MAX = 1024,
    DLHT_VECTOR_OPEN_DEFAULT = 256,
    DLHT_VECTOR_OPEN_MAX = 4096
};

/* What a collection is made with; strings are borrowed by the call. Zeros and
 * NULLs are the defaults. Only ef can be changed afterwards. */
struct dlht_collection_config {
    uint32_t dim;              /* 1 .. 16384; must be given */
    const char *metric;        /* "cosine" (default), "l2", "ip" */
    uint32_t m;                /* links of a vector in the graph; 16 */
    uint32_t ef_construction;  /* candidates while building; 200 */
    uint32_t ef;               /* candidates of a search; 64 */
    const char *quantization;  /* of the graph: "int8" (default), "f16", "none";
                               * hits are ranked by the full vectors anyway */
    const char *index;         /* "hnsw" (default), "exact" */
    const char *const *fields; /* of metadata, that filters are quick on */
    size_t field_count;
    uint32_t replicas;     /* 1, 3, 5; 0: as the node was started with */
    const char *placement; /* "ordered", "hashed"; NULL: ordered */
};

/* Zeros: defaults of everything but dim. */
DLHT_API void
dlht_collection_config_default(struct dlht_collection_config *config);

/*   DLHT_EINVAL  a bad configuration or name; error says which part
 *   DLHT_EEXISTS  a keyspace has that name */
DLHT_API int dlht_collection_create(struct dlht *d, const char *name,
                                    const struct dlht_collection_config *config,
                                    struct dlht_error *error);

/* With all that it holds.
 *   DLHT_ENOKEYSPACE */
DLHT_API int dlht_collection_drop(struct dlht *d, const char *name,
                                  struct dlht_error *error);

struct dlht_collection {
    const char *name;
    const char *metric;
    uint32_t dim;
    uint32_t replicas;
    uint32_t arcs; /* pieces on the ring */
};

struct dlht_collections {
    struct dlht_collection *list;
    size_t count;
    void *memory;
};

/* Owned by the caller until dlht_collections_free; empty on failure. */
DLHT_API int dlht_collection_list(struct dlht *d, struct dlht_collections *out,
                                  struct dlht_error *error);

/* NULL and an empty one are allowed. */
DLHT_API void dlht_collections_free(struct dlht_collections *collections);

/* What the node that was asked has of a collection: replicas included, so that
 * the sum over nodes is about vectors x replicas. */
struct dlht_collection_info {
    uint32_t dim;
    uint32_t m;
    uint32_t ef_construction;
    uint32_t ef;
    char metric[DLHT_VECTOR_WORD_MAX];
    char quantization[DLHT_VECTOR_WORD_MAX];
    char index[DLHT_VECTOR_WORD_MAX];
    char fields[DLHT_VECTOR_FIELDS_MAX]; /* with commas between */
    uint64_t held;                       /* vectors */
    uint64_t indexed;                    /* in its graph */
    uint64_t waiting;     /* not yet in it: searched exactly meanwhile */
    uint64_t damaged;     /* records that are no vectors */
    uint64_t graph_bytes; /* of memory */
    uint64_t from_file;   /* met again, since the start, in the graph's file */
    uint32_t arcs;        /* copies of arcs here */
    uint32_t arcs_scanning;
    bool rebuilding;
};

/*   DLHT_ENOKEYSPACE, DLHT_ENOTSUP; zeros on failure */
DLHT_API int dlht_collection_info(struct dlht *d,
                                  const struct dlht_options *options,
                                  struct dlht_collection_info *out,
                                  struct dlht_error *error);

/* Has the node that is asked build its graph anew from the records, while it
 * serves; returns once that has begun (dlht_collection_info says when it is
 * done: rebuilding). */
DLHT_API int dlht_vector_rebuild(struct dlht *d,
                                 const struct dlht_options *options,
                                 struct dlht_error *error);

/* A vector with its id. */
struct dlht_vector {
    struct dlht_bytes id; /* 1 byte to 64 KiB, of any bytes */
    const float *values;
    uint32_t dim;
    const char *meta; /* a JSON object; NULL: none */
    uint64_t version; /* of one that was got */
};

/* Stores it, instead of what is under that id. version may be NULL.
 *   DLHT_EINVAL  another dim than the collection's; a value that is not finite;
 *                zero, where the metric is cosine; meta is no JSON object
 *   DLHT_ETOOBIG */
DLHT_API int dlht_vector_put(struct dlht *d, const struct dlht_options *options,
                             const struct dlht_vector *vector,
                             uint64_t *version, struct dlht_error *error);

/* The vector is the caller's until dlht_vector_free; zeros on failure. Its meta
 * is "{}" if it has none.
 *   DLHT_ENOTFOUND */
DLHT_API int dlht_vector_get(struct dlht *d, const struct dlht_options *options,
                             const void *id, size_t id_len,
                             struct dlht_vector **out,
                             struct dlht_error *error);

/* Of a vector that came from this library. NULL is allowed. */
DLHT_API void dlht_vector_free(struct dlht_vector *vector);

/*   DLHT_ENOTFOUND  there was none */
DLHT_API int dlht_vector_del(struct dlht *d, const struct dlht_options *options,
                             const void *id, size_t id_len,
                             struct dlht_error *error);

/* How many the collection holds. */
DLHT_API int dlht_vector_count(struct dlht *d,
                               const struct dlht_options *options,
                               uint64_t *count, struct dlht_error *error);

/* What became of many. */
struct dlht_put_report {
    uint64_t stored;
    uint64_t failed;
    uint64_t first;          /* index, from 0, of the first that failed */
    struct dlht_error error; /* why that one did */
};

/* Gives the next vector; what it points to is borrowed until the next call.
 * False: there are no more. May not call on the handle. */
typedef bool (*dlht_vector_next_fn)(void *context, struct dlht_vector *out);

/* Puts all that next gives, with at most `open` under way at once (0: 256).
 * One that was refused for lack of room to run (busy, no owner at the moment)
 * is sent again for 30 seconds; one that is wrong or whose outcome is unknown
 * is counted as failed, and the others go on. Putting the same again does no
 * harm. DLHT_OK if none failed, else the code of the first. report may be
 * NULL. */
DLHT_API int dlht_vector_put_each(struct dlht *d,
                                  const struct dlht_options *options,
                                  dlht_vector_next_fn next, void *context,
                                  uint32_t open,
                                  struct dlht_put_report *report);

/* The same for an array. */
DLHT_API int dlht_vector_put_many(struct dlht *d,
                                  const struct dlht_options *options,
                                  const struct dlht_vector *vectors,
                                  size_t count, struct dlht_put_report *report);

/* What to look for; zeros are defaults. */
struct dlht_search {
    const float *values; /* near this vector, or */
    uint32_t dim;
    struct dlht_bytes id; /* near the one stored under id, itself left out */
    uint32_t k;           /* hits wanted; 0: 10, at most 10000 */
    uint32_t ef;          /* more finds more, slower; 0: the collection's */
    const char *filter;   /* only vectors whose metadata it holds for, as
                           * "lang = \"en\" and year >= 2020"; NULL: all */
    bool exact;           /* look at all: for small sets and for truth */
    bool with_meta;       /* hits carry their metadata, */
    bool with_values;     /* and their vectors */
};

struct dlht_hit {
    struct dlht_bytes id; /* a zero byte is behind it */
    double distance;
    const char *meta;    /* NULL if not asked for, "{}" if there is none */
    const float *values; /* NULL if not asked for */
    uint32_t dim;        /* of values */
    uint64_t version;
};

struct dlht_hits {
    struct dlht_hit *list; /* the nearest first */
    size_t count;          /* less than k only if there are not so many */
    bool partial;          /* part of the ring did not answer in time: what it
                            * holds is missing */
    bool exact;            /* all that there is was looked at */
    uint32_t arcs;
    uint32_t arcs_missing;
    uint32_t peers;    /* asked */
    uint64_t measured; /* distances, on walks through graphs */
    void *memory;
};

/* options->stale: any copy may answer, perhaps late. The hits are the caller's
 * until dlht_hits_free; empty on failure.
 *   DLHT_EINVAL  wrong dim, k, a filter that cannot be read
 *   DLHT_ENOTFOUND  no vector has that id */
DLHT_API int dlht_vector_search(struct dlht *d,
                                const struct dlht_options *options,
                                const struct dlht_search *search,
                                struct dlht_hits *out,
                                struct dlht_error *error);

/* NULL and empty ones are allowed. */
DLHT_API void dlht_hits_free(struct dlht_hits *hits);

/* Many at once: a request for dlht_submit, and what its answer says.
 *
 *     struct dlht_packed packed;
 *     int rc = dlht_search_pack(&docs, &search, &packed);
 *     if (rc == DLHT_OK)
 *         rc = dlht_submit(d, &packed.request, on_answer, context);
 *     dlht_packed_free(&packed);
 *
 * and in on_answer, with result->status DLHT_OK, dlht_hits_unpack. */
struct dlht_packed {
    struct dlht_request request; /* borrows from memory, options and ids */
    void *memory;
};

/* On failure *out is zeros.
 *   DLHT_EINVAL, DLHT_ETOOBIG, DLHT_ENOMEM */
DLHT_API int dlht_search_pack(const struct dlht_options *options,
                              const struct dlht_search *search,
                              struct dlht_packed *out);
DLHT_API int dlht_vector_pack(const struct dlht_options *options,
                              const struct dlht_vector *vector,
                              struct dlht_packed *out);

/* Once submitted (or not), it can go. NULL and zeros are allowed. */
DLHT_API void dlht_packed_free(struct dlht_packed *packed);

/* Copies: the result may go afterwards. Ownership as in dlht_vector_search.
 *   DLHT_EPROTO  not an answer to a search; DLHT_ENOMEM */
DLHT_API int dlht_hits_unpack(const struct dlht_result *result,
                              struct dlht_hits *out);

#ifdef __cplusplus
}
#endif

#endif
