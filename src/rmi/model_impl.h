/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/model_impl.h - what a model is made of; for rmi/ only.
 *
 * One block of memory: the head, the leaves (a cache line each), the first 8
 * bytes of each knot as a number, and the bytes of the knots. All knots begin
 * with the prefix, which is kept once; a knot is at most MODEL_KNOT_MAX bytes
 * more. One exception: if the greatest key begins with the prefix and more 0xff
 * bytes than a knot may have, no such knot is above it; then the last knot has
 * MODEL_KNOT_MAX + 1 bytes of 0xff and stands for the end of all keys.
 *
 * How order is kept to the last bit: what a rounded product or sum of a
 * constant and a growing number yields never falls. A line is computed so. A
 * cubic is not safe in rounded arithmetic; it is computed at the ends of one of
 * 64 equal pieces, where the values of a cubic in the box [0, 3]^2 differ by
 * 1e-6 at least, far above what rounding does, and between them it is a line.
 * (The least growth over a piece of width h: the slope is a quadratic that is
 * nowhere below 0 and whose integral is 1; it is smallest around a double zero,
 * 3 (t - z)^2 at least, which gives h^3 / 4.) */

#ifndef RMI_MODEL_IMPL_H
#define RMI_MODEL_IMPL_H

#include "rmi/key8.h"
#include "rmi/model.h"

enum {
    MODEL_PREFIX_MAX = 65536, /* as long as a key may be in the grid */
    MODEL_PIECES = 64,        /* of a cubic */
    MODEL_ROOT_TERMS = 4
};

/* Counts are exact in a double. */
#define MODEL_KEYS_MAX ((uint64_t)1 << 52)

/* Of a line; far beyond any that fits. */
#define MODEL_COEF_MAX 1e15

struct leaf {
    uint64_t base;  /* key8_at(q_i, skip) */
    double inverse; /* 1 / (that of q_i+1 - base); 0 if they are equal */
    double before;  /* c_i */
    double width;   /* c_i+1 - c_i */
    double coef[2];
    float lo, hi;  /* truth - prediction is in [lo, hi], lo <= 0 <= hi */
    uint32_t skip; /* bytes that q_i and q_i+1 begin with alike */
    uint32_t unused;
};

/* Predicts a leaf from w, the first 8 bytes after the prefix scaled to
 * [-1, 1]. Below and above say by how much it was wrong at the knots. */
struct root {
    double coef[MODEL_ROOT_TERMS];
    uint64_t base;
    double scale;
    size_t below, window; /* look at window knots from the guess - below on */
};

struct model {
    uint32_t leaf_count;
    uint32_t prefix_len;
    enum model_kind root_kind, leaf_kind;
    bool open_end;
    uint64_t key_count;
    double keys;        /* key_count */
    double to_position; /* 2^64 / key_count */
    size_t packed_size;
    uint64_t prefix8; /* the first 8 bytes of the prefix, which the keys have */
    uint64_t prefix8_mask;
    struct root root;
    struct leaf *leaf;
    uint64_t *head; /* leaf_count + 1 */
    uint32_t *at;   /* leaf_count + 2: where knots begin in bytes */
    uint8_t *bytes; /* prefix, then knots without it */
    size_t bytes_len;
};

/* A knot without the prefix. */
static inline struct span model_suffix(const struct model *model, size_t i)
{
    return span_of(model->bytes + model->at[i],
                   model->at[i + 1] - model->at[i]);
}

static inline double model_hermite(const double coef[2], double t)
{
    double c2 = 3 - 2 * coef[0] - coef[1];
    double c3 = coef[0] + coef[1] - 2;
    return ((c3 * t + c2) * t + coef[0]) * t;
}

static inline double model_y_cubic(const double coef[2], double t)
{
    double scaled = t * MODEL_PIECES;
    int piece = (int)scaled;
    piece = piece < MODEL_PIECES ? piece : MODEL_PIECES - 1;
    double y0 = model_hermite(coef, (double)piece / MODEL_PIECES);
    double y1 = piece + 1 < MODEL_PIECES
                    ? model_hermite(coef, (double)(piece + 1) / MODEL_PIECES)
                    : 1;
    double y = y0 + (y1 - y0) * (scaled - piece);
    return y < y1 ? y : y1;
}

static inline double model_y_line(const double coef[2], double t)
{
    double y = coef[0] + coef[1] * t;
    y = y > 0 ? y : 0;
    return y < 1 ? y : 1;
}

/* Share of the leaf's keys that sort before t. */
static inline double model_y(enum model_kind kind, const struct leaf *leaf,
                             double t)
{
    return kind == MODEL_CUBIC ? model_y_cubic(leaf->coef, t)
                               : model_y_line(leaf->coef, t);
}

static inline double model_leaf_rank(enum model_kind kind,
                                     const struct leaf *leaf, double t)
{
    return leaf->before + model_y(kind, leaf, t) * leaf->width;
}

/* t of the 8 bytes x of a key that is in the leaf. */
static inline double model_t_of(const struct leaf *leaf, uint64_t x)
{
    double t = key8_double(x - leaf->base) * leaf->inverse;
    return t < 1 ? t : 1;
}

/* Where a key stands: in a leaf, or before or after all knots. */
enum model_side {
    MODEL_BEFORE = -1,
    MODEL_INSIDE = 0,
    MODEL_AFTER = 1
};
enum model_side model_locate(const struct model *model, struct span key,
                             uint32_t *leaf);

/* Position of a rank out of so many keys. */
uint64_t model_to_position(double rank, double keys);

/* As model_rank, of the key that comes right after key. */
double model_rank_after(const struct model *model, struct span key);

#endif
