/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/model.h - a learned guess of where a key stands among all keys: a
 * recursive model index of two stages (Kraska et al., "The Case for Learned
 * Index Structures", 2018), made monotone.
 *
 * K leaves lie between K + 1 knots: separators q_0 < ... < q_K with the exact
 * number of keys c_i before each, c_0 = 0, c_K = n, about n / K keys a leaf.
 * Stage 1, the root, is a line or a cubic that predicts the leaf of a key and
 * is corrected by a bounded search over the knots. Stage 2, the leaf, is a
 * line, or a cubic held monotone in the box of Fritsch and Carlson (1980), in
 * t, the place of the key's 8 bytes after the common prefix of the leaf's two
 * knots; clamped to the leaf's own ranks:
 *
 *     F(k) = (c_i + clamp(y_i(t)) (c_i+1 - c_i)) / n       position = F 2^64
 *
 * So for any keys a <= b, F(a) <= F(b); F is never further than one leaf from
 * the truth it was fitted to. Positions saturate at 2^64 - 1; a key before q_0
 * is at F(q_0) = 0 at least, one after q_K at F = 1.
 *
 * It decides nothing: who owns a key is asked of the arcs.
 *
 * Immutable once made: share among threads freely, free when none reads it.
 * Evaluated in doubles without contraction; peers need not agree to the bit. */

#ifndef RMI_MODEL_H
#define RMI_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"

struct model;

enum model_kind {
    MODEL_LINEAR = 1,
    MODEL_CUBIC = 2 /* leaf: monotone Hermite */
};

enum {
    MODEL_LEAVES_MAX = 65536,
    MODEL_LEAVES_DEFAULT = 1024,
    MODEL_KNOT_MAX = 128,      /* bytes after the prefix all knots share */
    MODEL_PACKED_MAX = 1 << 20 /* bytes; fewer leaves if knots are long */
};

/* NULL is allowed. */
void model_free(struct model *model);

/* Ring position of a key: F(key) * 2^64, saturating. */
uint64_t model_position(const struct model *model, struct span key);

/* Of a number, which is a key of 8 bytes, most significant first. */
uint64_t model_position_u64(const struct model *model, uint64_t key);

/* A guess and where the truth surely lies, lo <= position <= hi, for every key
 * the model was fitted to; both ends included. For other keys it is what it
 * would have been, give or take the keys that came since. */
struct model_guess {
    uint64_t position;
    uint64_t lo;
    uint64_t hi;
    uint32_t leaf;
};
struct model_guess model_guess(const struct model *model, struct span key);

/* F(key) * n, not rounded; 0 <= rank <= n. */
double model_rank(const struct model *model, struct span key);

/* Positions [*lo, *hi] that surely hold every fitted key of [from, to); an
 * absent end (to.data NULL) is after all keys. */
void model_range(const struct model *model, struct span from, struct span to,
                 uint64_t *lo, uint64_t *hi);

/* Estimated number of keys in [from, to), and by how much it may be off. */
double model_count(const struct model *model, struct span from, struct span to,
                   double *error);

/* A key whose position is the greatest not above position, as far as 8 bytes
 * after a leaf's prefix can say: what model_position turns around. Appended to
 * out. DLHT_ENOMEM */
MUST_USE int model_key_at(const struct model *model, uint64_t position,
                          struct buf *out);

/* The leaf of a key: the greatest i with q_i <= key, at least 0. */
uint32_t model_leaf_of(const struct model *model, struct span key);

/* Place of key between the knots of leaf, in [0, 1]: what sums are taken
 * over. */
double model_t(const struct model *model, uint32_t leaf, struct span key);

uint32_t model_leaf_count(const struct model *model);
uint64_t model_key_count(const struct model *model);
enum model_kind model_root_kind(const struct model *model);
enum model_kind model_leaf_kind(const struct model *model);

/* Appends the bytes of knot i, 0 .. leaf_count. DLHT_ENOMEM */
MUST_USE int model_knot(const struct model *model, uint32_t i, struct buf *out);
/* Keys before knot i. */
uint64_t model_keys_before(const struct model *model, uint32_t i);

/* Coefficients of leaf i: intercept and slope of a line, end slopes of a
 * cubic, of y in t. For the comparison modes of training. */
void model_leaf_coefficients(const struct model *model, uint32_t i,
                             double out[2]);

/* Bounds of leaf i in ranks: truth - prediction is in [*lo, *hi]. */
void model_leaf_bounds(const struct model *model, uint32_t i, double *lo,
                       double *hi);

/* sup |F - G| over the knots of both and the middle between each two: how far
 * two models are apart, 0 .. 1. */
double model_distance(const struct model *a, const struct model *b);

/* Counted against keys in ascending order. */
struct model_stats {
    double ks;         /* sup |F - truth|, as a share of all keys */
    double mean_error; /* mean |F - truth|, likewise */
    double max_error;
    uint64_t inversions; /* neighbours whose positions fall: must be 0 */
    uint64_t outside;    /* keys whose truth is not in their guess */
    double mean_bound;   /* mean (hi - lo) / 2, as a share */
};
void model_measure(const struct model *model, const struct span *keys,
                   size_t count, struct model_stats *out);

/* Bytes that model_pack writes, exactly. */
size_t model_packed_size(const struct model *model);

/* Appends the model. Layout and version: docs/model.md. DLHT_ENOMEM */
MUST_USE int model_pack(const struct model *model, struct buf *out);

/* Rebuilds a model from bytes a stranger may have sent: length, version,
 * checksum, order of knots and counts, and that every leaf keeps order, are
 * checked before anything is kept. *out is owned; NULL on failure.
 *   DLHT_ECORRUPT  not a model, cut short, or not order-keeping
 *   DLHT_EVERSION  a newer form
 *   DLHT_ETOOBIG   above MODEL_PACKED_MAX or MODEL_LEAVES_MAX
 *   DLHT_ENOMEM */
MUST_USE int model_unpack(struct span bytes, struct model **out);

#endif
