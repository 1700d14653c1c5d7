/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors as codes. */

#include "vector/quant.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "vector/half.h"

enum {
    CODE_MAX = 127,
    FEW = 64 /* vectors: too few to know middle and greatest component by */
};

/* Components beyond so many standard deviations of the widest dimension are
 * cut: one outlier does not coarsen all codes. */
static const double widest_deviations = 4.5;

size_t quant_stride(enum kernel_type type, size_t dim)
{
    size_t bytes = dim * kernel_type_bytes(type);
    return (bytes + QUANT_LINE - 1) / QUANT_LINE * QUANT_LINE;
}

struct quant *quant_new(enum kernel_type type, size_t dim, bool centred)
{
    struct quant *q = mem_zero(1, sizeof *q + dim * sizeof q->offset[0]);
    if (!q)
        return NULL;
    q->type = type;
    q->dim = dim;
    q->stride = quant_stride(type, dim);
    q->scale = 1;
    q->centred = centred;
    return q;
}

static float component(const void *vectors, size_t stride, size_t i, size_t j)
{
    const uint8_t *row = (const uint8_t *)vectors + i * stride;
    return ((const float *)(const void *)row)[j];
}

void quant_train(struct quant *q, const void *vectors, size_t stride,
                 size_t count)
{
    if (q->type != KERNEL_I8)
        return;
    double widest = 0;
    double greatest = 0;
    for (size_t j = 0; j < q->dim; j++) {
        double sum = 0;
        double squares = 0;
        for (size_t i = 0; q->centred && count >= FEW && i < count; i++)
            sum += (double)component(vectors, stride, i, j);
        double mean = sum / (double)count;
        for (size_t i = 0; i < count; i++) {
            double d = (double)component(vectors, stride, i, j) - mean;
            squares += d * d;
            greatest = fmax(greatest, fabs(d));
        }
        widest = fmax(widest, squares / (double)count);
        q->offset[j] = (float)mean;
    }
    double cut = count < FEW
                     ? 1.5 * greatest
                     : fmin(1.1 * greatest, widest_deviations * sqrt(widest));
    q->scale = cut > 0 ? (float)(CODE_MAX / cut) : 1;
    if (!isfinite(q->scale))
        q->scale = 1;
}

bool quant_differs(const struct quant *a, const struct quant *b)
{
    if (a->type != KERNEL_I8)
        return false;
    if (a->scale > b->scale * 1.15f || b->scale > a->scale * 1.15f)
        return true;
    double shift = 0;
    for (size_t j = 0; j < a->dim; j++)
        shift = fmax(shift, fabs((double)a->offset[j] - (double)b->offset[j]));
    const int far = CODE_MAX / 8;
    return shift * (double)b->scale > far;
}

static void encode_i8(const struct quant *q, const float *vector, int8_t *code)
{
    float scale = q->scale;
    for (size_t i = 0; i < q->dim; i++) {
        float v = (vector[i] - q->offset[i]) * scale;
        v = v > CODE_MAX ? CODE_MAX : v;
        v = v < -CODE_MAX ? -CODE_MAX : v;
        code[i] = (int8_t)(v + (v < 0 ? -0.5f : 0.5f));
    }
}

void quant_encode(const struct quant *q, const float *vector, void *code)
{
    size_t bytes = q->dim * kernel_type_bytes(q->type);
    memset((uint8_t *)code + bytes, 0, q->stride - bytes);
    uint16_t *halves = code;
    if (q->type == KERNEL_I8)
        encode_i8(q, vector, code);
    else if (q->type == KERNEL_F32)
        memcpy(code, vector, bytes);
    else
        for (size_t i = 0; i < q->dim; i++)
            halves[i] = half_from_float(vector[i]);
}

void quant_decode(const struct quant *q, const void *code, float *vector)
{
    const int8_t *codes = code;
    const uint16_t *halves = code;
    if (q->type == KERNEL_F32)
        memcpy(vector, code, q->dim * sizeof *vector);
    else if (q->type == KERNEL_F16)
        for (size_t i = 0; i < q->dim; i++)
            vector[i] = half_to_float(halves[i]);
    else
        for (size_t i = 0; i < q->dim; i++)
            vector[i] = (float)codes[i] / q->scale + q->offset[i];
}
