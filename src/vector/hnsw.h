/* SPDX-License-Identifier: Apache-2.0 */

/* vector/hnsw.h - approximate nearest neighbours by a hierarchical navigable
 * small world (Malkov and Yashunin 2018): a graph whose nodes link to near ones
 * in all directions, in layers, each upper one with every m-th node. A search
 * walks greedily down the layers, and on the lowest keeps the ef best it met.
 *
 * What is particular here:
 * - The walk reads codes (vector/quant.h), of which more fit a line of the
 *   cache; the best it met are measured again by the vectors themselves.
 * - Vectors can be removed for good: every in-neighbour of a row is known, its
 *   links are mended at once and the row is used again. No row is ever linked
 *   to that is not alive.
 * - No row is left without a link to it.
 * - One thread writes while others search. A writer changes single links, or
 *   replaces whole arrays; what readers may still look at is given back when
 *   those of that time have left.
 *
 * A vector bears a handle, any number but HANDLES_NONE, that the caller
 * chooses and keeps unique (the number of a record, or 64 bits of XXH3 of its
 * id if a collision in 2^64 may be borne). The graph keeps no copy of ids.
 *
 * All follows from the order of calls and the seed; with int8 codes, whose
 * distances are whole numbers, on every processor alike. Nothing here reads a
 * clock or makes a thread.
 *
 * Threads: calls with a plain `struct hnsw *` are the writer's, one at a time;
 * hnsw_search and hnsw_reader_* may be called beside it, a reader by one thread
 * at a time. */

#ifndef VECTOR_HNSW_H
#define VECTOR_HNSW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/handles.h"
#include "vector/kernel.h"
#include "vector/metric.h"
#include "vector/query.h"

enum {
    HNSW_M_MIN = 2,
    HNSW_M_MAX = 128,
    HNSW_M0_MAX = 256, /* what a walk evaluates at once */
    HNSW_EF_CONSTRUCTION_MAX = 4096,
    HNSW_LEVELS_MAX = 16,
    HNSW_READERS_MAX = 64,
    HNSW_ROWS_MAX = INT32_MAX /* a bit is left for the walk */
};

struct hnsw;
struct hnsw_reader;

struct hnsw_config {
    uint32_t dim; /* 1 .. KERNEL_DIM_MAX */
    enum metric metric;
    enum kernel_type codes; /* what a walk reads; KERNEL_F32: the vectors */
    bool drop_floats;       /* keep codes only; distances are then theirs */
    uint32_t m;             /* links of a node in upper layers */
    uint32_t m0;            /* on the lowest; 0: twice m */
    uint32_t ef_construction;
    uint32_t ef_search; /* of searches that name none */
    /* A neighbour is left out if another is alpha times nearer to it than the
     * node is. 1 to 2; more than 1 keeps more links, which serves clustered
     * data of few dimensions. Not heeded for inner products. */
    float alpha;
    uint64_t seed;
    size_t capacity;             /* rows to have room for at once; grows */
    const struct kernel *kernel; /* NULL: the fastest */
    /* Told of memory of whole huge pages (2 MiB), where searches at random
     * would gain by them; NULL: nobody is. */
    void (*advise)(void *self, void *memory, size_t size);
    void *advise_self;
};

/* l2, int8 codes with vectors kept, m 16, ef_construction 200, ef_search 64,
 * alpha 1. */
struct hnsw_config hnsw_config_default(uint32_t dim);

/* What is out of range, as a sentence; NULL: nothing. */
const char *hnsw_config_fault(const struct hnsw_config *config);

/* *out is the caller's, NULL on failure.
 *   DLHT_EINVAL  hnsw_config_fault
 *   DLHT_ENOMEM */
MUST_USE int hnsw_new(const struct hnsw_config *config, struct hnsw **out);

/* NULL is allowed. No reader may be left. */
void hnsw_free(struct hnsw *h);

/* The configuration in force. */
const struct hnsw_config *hnsw_config(const struct hnsw *h);

/* Adds a vector, or gives a handle another one: then the new one is in place
 * before the old one goes. The vector has been checked by metric_check.
 *   DLHT_EFULL   HNSW_ROWS_MAX
 *   DLHT_ENOMEM  as before */
MUST_USE int hnsw_put(struct hnsw *h, uint64_t handle, const float *vector);

/* *removed says whether it was there. Costs about twice what adding one
 * does.
 *   DLHT_ENOMEM  as before */
MUST_USE int hnsw_remove(struct hnsw *h, uint64_t handle, bool *removed);

/* Its row, until the next write; HANDLES_NO_ROW. */
uint32_t hnsw_row(const struct hnsw *h, uint64_t handle);

/* Those of many, together quicker than one by one. */
void hnsw_rows(const struct hnsw *h, const uint32_t *handles, size_t count,
               uint32_t *rows);

/* Rows are below this. */
uint32_t hnsw_row_count(const struct hnsw *h);

/* The vector of a handle as it was put, up to rounding (with dropped vectors:
 * up to that of codes). False: not there. */
bool hnsw_get(const struct hnsw *h, uint64_t handle, float *vector);

size_t hnsw_count(const struct hnsw *h);

/* Bytes taken, readers included. */
struct hnsw_memory {
    uint64_t links; /* and who links back */
    uint64_t codes;
    uint64_t vectors;
    uint64_t handles; /* with what finds the row of one */
    uint64_t readers; /* marks and lists of searches, the writer's included */
    uint64_t retired; /* kept until readers leave */
    uint64_t mapped;  /* of a snapshot: not in total */
    uint64_t total;
};
struct hnsw_memory hnsw_memory(const struct hnsw *h);

/* One for each thread that searches. *out is the caller's.
 *   DLHT_EFULL   HNSW_READERS_MAX
 *   DLHT_ENOMEM */
MUST_USE int hnsw_reader_new(struct hnsw *h, struct hnsw_reader **out);
/* NULL is allowed. */
void hnsw_reader_free(struct hnsw_reader *reader);

/* The nearest of what is admitted, nearest first; out has room for query->k.
 * *count is k wherever k rows are alive and admitted: if the walk ends with
 * fewer, every row is looked at. *work may be NULL.
 *   DLHT_EINVAL  k or ef too great
 *   DLHT_ENOMEM */
MUST_USE int hnsw_search(struct hnsw_reader *reader, const struct query *query,
                         struct neighbour *out, size_t *count,
                         struct query_work *work);

/* Takes len bytes of a snapshot, in order; DLHT_OK, or what ends it. */
typedef int (*hnsw_write_fn)(void *self, const void *bytes, size_t len);

/* Writes a snapshot, hnsw_save_bytes of it: rows that are alive, renumbered
 * breadth-first. Changes nothing. The form: docs/vector.md.
 *   DLHT_ENOMEM   before anything was written
 *   DLHT_ENOTSUP  this processor is not little-endian
 *   what write returns */
MUST_USE int hnsw_save(struct hnsw *h, hnsw_write_fn write, void *self);
uint64_t hnsw_save_bytes(const struct hnsw *h);

/* Why a snapshot is refused: `what` is a sentence, `at` the byte where. */
struct hnsw_fault {
    const char *what;
    uint64_t at;
};

/* A graph upon a snapshot, which begins at a multiple of 64 and stays as it is
 * until the graph is freed. Searches read it where it lies; before the first
 * change it is copied. Every byte is checked first, linear. Of `rest` (NULL:
 * none) kernel and advise are taken, all else is in the snapshot.
 *   DLHT_ECORRUPT  *fault says what is wrong
 *   DLHT_EVERSION  likewise
 *   DLHT_EINVAL    it does not begin at a multiple of 64
 *   DLHT_ENOTSUP   this processor is not little-endian
 *   DLHT_ENOMEM */
MUST_USE int hnsw_open(struct span snapshot, const struct hnsw_config *rest,
                       struct hnsw **out, struct hnsw_fault *fault);

/* Copies what is still mapped, as the first change would: the snapshot is not
 * read any more. DLHT_ENOMEM: as before. */
MUST_USE int hnsw_own(struct hnsw *h);

/* What hnsw_check found. */
struct hnsw_report {
    const char *fault;    /* an invariant that is broken; NULL: none */
    uint32_t fault_row;   /* where */
    uint32_t fault_level; /* and on which level */
    size_t rows;          /* alive */
    size_t links;         /* on the lowest level */
    size_t strays;        /* of these, not mutual */
    size_t unreachable;   /* alive, but no walk from the entry finds it */
    uint32_t top_level;
};

/* Walks every invariant: degrees, no link to itself, to what is not alive or
 * twice to one, who links back, counts, levels, entry, handles; counts what no
 * walk can reach. Linear.
 *   DLHT_ECORRUPT  report->fault: a bug of ours, or memory that failed
 *   DLHT_ENOMEM    nothing was found out */
MUST_USE int hnsw_check(struct hnsw *h, struct hnsw_report *report);

/* Links what no walk can reach to its nearest neighbour that one can; says how
 * many there were. Seldom needed: many equal vectors may do it.
 *   DLHT_ENOMEM */
MUST_USE int hnsw_mend(struct hnsw *h, size_t *mended);

#endif
