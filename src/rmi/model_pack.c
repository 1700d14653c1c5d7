/* SPDX-License-Identifier: Apache-2.0 */

/* Models as bytes (docs/model.md has the table). There is one form of each
 * model: what unpacks packs to the same bytes. */

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/knots.h"

enum {
    PACK_VERSION = 1,
    PACK_LEAF_MIN = PACKED_LEAF + 1 + 2 /* a width and a knot */
};

static const uint8_t pack_magic[4] = { 'D', 'L', 'R', 'M' };

static uint64_t pack_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void pack_number(struct buf *out, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_append_byte(out, (uint8_t)(x >> (8 * i)));
}

static void pack_double(struct buf *out, double x)
{
    pack_number(out, pack_bits(x), 8);
}

static void pack_float(struct buf *out, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    pack_number(out, bits, 4);
}

static void pack_width(struct buf *out, uint64_t x)
{
    for (; x >= 0x80; x >>= 7)
        buf_append_byte(out, (uint8_t)(x | 0x80));
    buf_append_byte(out, (uint8_t)x);
}

static void pack_head(const struct model *model, struct buf *out)
{
    buf_append(out, pack_magic, sizeof pack_magic);
    pack_number(out, PACK_VERSION, 2);
    pack_number(out, (uint64_t)model->root_kind, 1);
    pack_number(out, (uint64_t)model->leaf_kind, 1);
    pack_number(out, model->leaf_count, 4);
    pack_number(out, model->prefix_len, 4);
    pack_number(out, model->key_count, 8);
    pack_number(out, model->packed_size, 8);
    for (int i = 0; i < MODEL_ROOT_TERMS; i++)
        pack_double(out, model->root.coef[i]);
}

static void pack_knots(const struct model *model, struct buf *out)
{
    buf_append(out, model->bytes, model->prefix_len);
    struct span before = span_empty();
    for (size_t i = 0; i <= model->leaf_count; i++) {
        struct span knot = model_suffix(model, i);
        size_t common = key8_common(before, knot);
        buf_append_byte(out, (uint8_t)common);
        buf_append_byte(out, (uint8_t)(knot.len - common));
        buf_append_span(out, span_tail(knot, common));
        before = knot;
    }
}

size_t model_packed_size(const struct model *model)
{
    return model->packed_size;
}

int model_pack(const struct model *model, struct buf *out)
{
    size_t start = out->len;
    if (buf_reserve(out, model->packed_size) != DLHT_OK)
        return DLHT_ENOMEM;
    pack_head(model, out);
    pack_knots(model, out);
    for (size_t i = 0; i < model->leaf_count; i++) {
        const struct leaf *leaf = &model->leaf[i];
        pack_width(out, (uint64_t)leaf->width);
        pack_double(out, leaf->coef[0]);
        pack_double(out, leaf->coef[1]);
        pack_float(out, leaf->lo);
        pack_float(out, leaf->hi);
    }
    pack_number(out, hash64(span_of(out->data + start, out->len - start)), 8);
    assert(out->len - start == model->packed_size);
    return DLHT_OK;
}

/* Reading. After something was short, failed stays and zeros come. */
struct unpack {
    const uint8_t *at, *end;
    bool failed;
};

static struct span unpack_bytes(struct unpack *u, size_t n)
{
    if (u->failed || (size_t)(u->end - u->at) < n) {
        u->failed = true;
        return span_empty();
    }
    struct span s = span_of(u->at, n);
    u->at += n;
    return s;
}

static uint64_t unpack_number(struct unpack *u, size_t bytes)
{
    struct span s = unpack_bytes(u, bytes);
    uint64_t x = 0;
    for (size_t i = 0; i < s.len; i++)
        x |= (uint64_t)s.data[i] << (8 * i);
    return x;
}

static double unpack_double(struct unpack *u)
{
    uint64_t bits = unpack_number(u, 8);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float unpack_float(struct unpack *u)
{
    uint32_t bits = (uint32_t)unpack_number(u, 4);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* In its shortest form only. */
static uint64_t unpack_width(struct unpack *u)
{
    uint64_t x = 0;
    for (unsigned shift = 0; shift < 7 * PACKED_WIDTH_MAX; shift += 7) {
        uint64_t byte = unpack_number(u, 1);
        x |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            u->failed |= byte == 0 && shift > 0;
            return x;
        }
    }
    u->failed = true;
    return 0;
}

/* What the head says. */
struct unpack_head {
    uint64_t root_kind, leaf_kind, leaf_count, prefix_len, key_count, size;
    double root[MODEL_ROOT_TERMS];
};

static int unpack_head(struct unpack *u, struct unpack_head *h)
{
    struct span magic = unpack_bytes(u, sizeof pack_magic);
    if (u->failed || memcmp(magic.data, pack_magic, sizeof pack_magic) != 0)
        return DLHT_ECORRUPT;
    uint64_t version = unpack_number(u, 2);
    if (!u->failed && version > PACK_VERSION)
        return DLHT_EVERSION;
    h->root_kind = unpack_number(u, 1);
    h->leaf_kind = unpack_number(u, 1);
    h->leaf_count = unpack_number(u, 4);
    h->prefix_len = unpack_number(u, 4);
    h->key_count = unpack_number(u, 8);
    h->size = unpack_number(u, 8);
    bool finite = true;
    for (int i = 0; i < MODEL_ROOT_TERMS; i++) {
        h->root[i] = unpack_double(u);
        finite = finite && isfinite(h->root[i]);
    }
    if (u->failed || version != PACK_VERSION || !finite)
        return DLHT_ECORRUPT;
    if (h->size > MODEL_PACKED_MAX || h->leaf_count > MODEL_LEAVES_MAX)
        return DLHT_ETOOBIG;
    return DLHT_OK;
}

static bool unpack_kind_is_known(uint64_t kind)
{
    return kind == MODEL_LINEAR || kind == MODEL_CUBIC;
}

static bool unpack_head_is_sane(const struct unpack_head *h, size_t len)
{
    return unpack_kind_is_known(h->root_kind) &&
           unpack_kind_is_known(h->leaf_kind) && h->leaf_count >= 1 &&
           h->prefix_len <= MODEL_PREFIX_MAX && h->key_count >= 1 &&
           h->key_count <= MODEL_KEYS_MAX && h->size == len &&
           len >= PACKED_HEAD + PACKED_TAIL + h->prefix_len +
                      h->leaf_count * PACK_LEAF_MIN;
}

/* One knot after the last, in the shortest form, and above it. */
static bool unpack_knot(struct unpack *u, struct span before, bool is_end,
                        struct buf *out)
{
    size_t common = unpack_number(u, 1);
    struct span rest = unpack_bytes(u, unpack_number(u, 1));
    size_t most = MODEL_KNOT_MAX + (is_end ? 1 : 0);
    if (u->failed || common > before.len || common + rest.len > most)
        return false;
    uint8_t knot[MODEL_KNOT_MAX + 1];
    if (common)
        memcpy(knot, before.data, common);
    if (rest.len)
        memcpy(knot + common, rest.data, rest.len);
    struct span whole = span_of(knot, common + rest.len);
    if (key8_common(before, whole) != common)
        return false;
    if (whole.len > MODEL_KNOT_MAX)
        for (size_t i = 0; i < whole.len; i++)
            if (knot[i] != 0xff)
                return false;
    buf_append_span(out, whole);
    return true;
}

/* bytes: the prefix and the knots; model: its at is filled in. */
static int unpack_knots(struct unpack *u, const struct unpack_head *h,
                        uint32_t *at, struct buf *bytes)
{
    /* All may be empty, and is pointed into. */
    if (buf_reserve(bytes, 1) != DLHT_OK)
        return DLHT_ENOMEM;
    buf_append_span(bytes, unpack_bytes(u, h->prefix_len));
    if (u->failed)
        return DLHT_ECORRUPT;
    for (size_t i = 0; i <= h->leaf_count; i++) {
        if (bytes->failed)
            return DLHT_ENOMEM;
        uint8_t last[MODEL_KNOT_MAX + 1];
        size_t len = i > 0 ? bytes->len - at[i - 1] : 0;
        if (len)
            memcpy(last, bytes->data + at[i - 1], len);
        at[i] = (uint32_t)bytes->len;
        if (!unpack_knot(u, span_of(last, len), i == h->leaf_count, bytes))
            return DLHT_ECORRUPT;
        if (bytes->failed)
            return DLHT_ENOMEM;
        struct span knot = span_of(bytes->data + at[i], bytes->len - at[i]);
        if (i > 0 && span_compare(span_of(last, len), knot) >= 0)
            return DLHT_ECORRUPT;
    }
    at[h->leaf_count + 1] = (uint32_t)bytes->len;
    return DLHT_OK;
}

static bool unpack_leaf_is_sane(const struct leaf *leaf, enum model_kind kind)
{
    double most = kind == MODEL_CUBIC ? 3 : MODEL_COEF_MAX;
    double least = kind == MODEL_CUBIC ? 0 : -MODEL_COEF_MAX;
    return leaf->coef[0] >= least && leaf->coef[0] <= most &&
           leaf->coef[1] >= 0 && leaf->coef[1] <= most && isfinite(leaf->lo) &&
           isfinite(leaf->hi) && leaf->lo <= 0 && leaf->hi >= 0;
}

static bool unpack_leaves(struct unpack *u, struct model *model,
                          uint64_t key_count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < model->leaf_count; i++) {
        struct leaf *leaf = &model->leaf[i];
        uint64_t width = unpack_width(u);
        leaf->width = (double)width;
        leaf->coef[0] = unpack_double(u);
        leaf->coef[1] = unpack_double(u);
        leaf->lo = unpack_float(u);
        leaf->hi = unpack_float(u);
        if (u->failed || width > key_count - sum ||
            !unpack_leaf_is_sane(leaf, model->leaf_kind))
            return false;
        sum += width;
    }
    return sum == key_count && u->at == u->end;
}

/* The rest of a model whose head and checksum are right. */
static int unpack_body(struct unpack *u, const struct unpack_head *h,
                       uint32_t *at, struct buf *bytes, struct model **out)
{
    int rc = unpack_knots(u, h, at, bytes);
    if (rc != DLHT_OK)
        return rc;
    struct model *model = model_alloc((uint32_t)h->leaf_count, bytes->len);
    if (!model)
        return DLHT_ENOMEM;
    model->prefix_len = (uint32_t)h->prefix_len;
    model->root_kind = (enum model_kind)h->root_kind;
    model->leaf_kind = (enum model_kind)h->leaf_kind;
    memcpy(model->root.coef, h->root, sizeof h->root);
    memcpy(model->at, at, (h->leaf_count + 2) * sizeof *at);
    if (bytes->len)
        memcpy(model->bytes, bytes->data, bytes->len);
    model_measure_knots(model);
    model_measure_root(model);
    if (!unpack_leaves(u, model, h->key_count)) {
        model_free(model);
        return DLHT_ECORRUPT;
    }
    model_finish(model);
    *out = model;
    return DLHT_OK;
}

int model_unpack(struct span bytes, struct model **out)
{
    *out = NULL;
    if (bytes.len > MODEL_PACKED_MAX)
        return DLHT_ETOOBIG;
    if (bytes.len < PACKED_HEAD + PACKED_TAIL)
        return DLHT_ECORRUPT;
    struct unpack u = { bytes.data, bytes.data + bytes.len - PACKED_TAIL,
                        false };
    struct unpack_head head;
    int rc = unpack_head(&u, &head);
    if (rc != DLHT_OK)
        return rc;
    struct unpack tail = { u.end, u.end + PACKED_TAIL, false };
    struct span body = span_of(bytes.data, bytes.len - PACKED_TAIL);
    if (!unpack_head_is_sane(&head, bytes.len) ||
        hash64(body) != unpack_number(&tail, PACKED_TAIL))
        return DLHT_ECORRUPT;
    struct buf knots = { 0 };
    uint32_t *at = mem_array(head.leaf_count + 2, sizeof *at);
    rc = at ? unpack_body(&u, &head, at, &knots, out) : DLHT_ENOMEM;
    free(at);
    buf_deinit(&knots);
    return rc;
}
