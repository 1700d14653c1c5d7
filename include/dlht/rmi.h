/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/rmi.h - the learned index by itself: where does a key stand among all?
 *
 * A model is trained from sorted keys and answers with a position: the share of
 * keys that sort before one, scaled to 0 .. 2^64 - 1. It keeps order,
 *
 *     a <= b   implies   dlht_model_position(m, a) <= dlht_model_position(m, b)
 *
 * for any keys, seen or not; and for those it was trained from it says within
 * what bounds the truth lies. It is never further off than one leaf, so 1,024
 * leaves of distinct keys are right to a thousandth. It is small (30 KB for
 * 1,024 leaves of numbers, 1 MiB at the most), and travels as bytes.
 *
 *     struct dlht_model *m;
 *     int rc = dlht_model_train_u64(keys, count, NULL, &m);
 *     uint64_t p = dlht_model_position_u64(m, keys[7]);
 *     dlht_model_free(m);
 *
 * Keys are byte strings, compared as unsigned bytes, a prefix before what it
 * begins. Numbers are keys of 8 bytes that sort as the numbers do; the calls
 * that end in _u64 and _f64 make them.
 *
 * A model does not change once it is made: any number of threads may ask it;
 * it is freed when none does. Training calls OpenBLAS and tells it, for the
 * whole process, to use one thread. Nothing here opens, reads or waits. */

#ifndef DLHT_RMI_H
#define DLHT_RMI_H

#include <stddef.h>
#include <stdint.h>

#include "dlht/dlht.h"
#include "dlht/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dlht_model;

enum dlht_model_kind {
    DLHT_MODEL_LINEAR = 1, /* steps between leaves, better on clustered keys */
    DLHT_MODEL_CUBIC = 2   /* no steps, better on smooth keys */
};

/* Zeros and NULL are defaults. */
struct dlht_model_config {
    uint32_t leaf_count;       /* at most; 1,024; up to 65,536. Fewer if keys
                                * are fewer or the model would pass 1 MiB */
    enum dlht_model_kind root; /* cubic */
    enum dlht_model_kind leaf; /* linear */
};

/* Trains from count keys in ascending order, repeats allowed, of which nothing
 * is kept. *out is the caller's to free; NULL on failure. About 15 ns a key.
 *   DLHT_EINVAL  no keys, not in order, or a bad configuration
 *   DLHT_ENOMEM */
DLHT_API int dlht_model_train(const struct dlht_bytes *keys, size_t count,
                              const struct dlht_model_config *config,
                              struct dlht_model **out);
DLHT_API int dlht_model_train_u64(const uint64_t *keys, size_t count,
                                  const struct dlht_model_config *config,
                                  struct dlht_model **out);

/* Doubles sort as -inf < -1 < -0 < +0 < 1 < inf, NaNs beyond the infinities. */
DLHT_API int dlht_model_train_f64(const double *keys, size_t count,
                                  const struct dlht_model_config *config,
                                  struct dlht_model **out);

/* NULL is allowed. */
DLHT_API void dlht_model_free(struct dlht_model *model);

/* The position of a key: 30 to 90 ns. */
DLHT_API uint64_t dlht_model_position(const struct dlht_model *model,
                                      const void *key, size_t key_len);
DLHT_API uint64_t dlht_model_position_u64(const struct dlht_model *model,
                                          uint64_t key);
DLHT_API uint64_t dlht_model_position_f64(const struct dlht_model *model,
                                          double key);

/* The same, and where the truth lies: lo <= position <= hi, both included, for
 * every key trained from. For others it is where they would have stood. */
struct dlht_model_guess {
    uint64_t position, lo, hi;
    uint32_t leaf;
};
DLHT_API struct dlht_model_guess
dlht_model_position_with_error(const struct dlht_model *model, const void *key,
                               size_t key_len);

/* Positions lo .. hi that hold every key trained from in [from, to), and about
 * how many keys that is, give or take error. */
struct dlht_model_range {
    uint64_t lo, hi;
    double count, error;
};

/* to.data NULL: all keys from `from` on. */
DLHT_API struct dlht_model_range
dlht_model_range(const struct dlht_model *model, struct dlht_bytes from,
                 struct dlht_bytes to);

/* The way back: a key whose position is the greatest not above position. It is
 * the caller's to free(), with a zero byte after its end. DLHT_ENOMEM */
DLHT_API int dlht_model_key_at(const struct dlht_model *model,
                               uint64_t position, void **key, size_t *key_len);

/* Leaf i, fitted anew to the keys, ascending, that are in it now, as a model of
 * its own: the old one stays. What is said of keys in other leaves does not
 * change, but by the number of keys that came or went. Keys that belong to
 * other leaves are passed over.
 *   DLHT_EINVAL  no such leaf, or no key would be left
 *   DLHT_ENOMEM */
DLHT_API int dlht_model_update_leaf(const struct dlht_model *model,
                                    uint32_t leaf,
                                    const struct dlht_bytes *keys, size_t count,
                                    struct dlht_model **out);

struct dlht_model_stats {
    uint64_t key_count;
    uint32_t leaf_count;
    enum dlht_model_kind root, leaf;
    size_t packed_size;
    /* Measured against keys; 0 if there are none. Shares of all. */
    double ks;         /* greatest distance from the truth, between keys, too */
    double mean_error; /* at the keys */
    double max_error;
    double mean_bound;   /* half of hi - lo */
    uint64_t inversions; /* neighbours whose positions fall: 0 */
    uint64_t outside;    /* keys whose truth is outside lo .. hi: 0, if they are
                          * what was trained from */
};

/* keys in ascending order, or NULL with count 0. DLHT_ENOMEM */
DLHT_API int dlht_model_stats(const struct dlht_model *model,
                              const struct dlht_bytes *keys, size_t count,
                              struct dlht_model_stats *out);

/* The model as bytes (docs/model.md), the caller's to free(). DLHT_ENOMEM */
DLHT_API int dlht_model_pack(const struct dlht_model *model, void **bytes,
                             size_t *len);

/* Back from bytes that a stranger may have sent. *out is NULL on failure.
 *   DLHT_ECORRUPT  not a model, cut short, changed, or not order-keeping
 *   DLHT_EVERSION  of a newer form
 *   DLHT_ETOOBIG, DLHT_ENOMEM */
DLHT_API int dlht_model_unpack(const void *bytes, size_t len,
                               struct dlht_model **out);

#ifdef __cplusplus
}
#endif

#endif
