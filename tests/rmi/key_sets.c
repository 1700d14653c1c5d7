/* SPDX-License-Identifier: Apache-2.0 */

/* Sorted keys of several shapes. */

#include "rmi/key_sets.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rng.h"
#include "rmi/model.h"

const char *const key_shape_names[KEYS_SHAPES] = { "uniform",    "lognormal",
                                                   "clustered",  "timestamps",
                                                   "sequential", "words",
                                                   "paths",      "random16" };

static void *must(void *memory)
{
    if (!memory) {
        fprintf(stderr, "key_sets: no memory\n");
        abort();
    }
    return memory;
}

static double normal(struct rng *rng)
{
    double u = 1 - rng_real(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * rng_real(rng));
}

/* By bytes, the lowest first. */
static void sort_numbers(uint64_t *a, size_t count)
{
    uint64_t *from = a;
    uint64_t *to = must(malloc((count ? count : 1) * sizeof *to));
    uint64_t *spare = to;
    for (int shift = 0; shift < 64; shift += 8) {
        size_t at[257] = { 0 };
        for (size_t i = 0; i < count; i++)
            at[(from[i] >> shift & 0xff) + 1]++;
        for (int b = 0; b < 256; b++)
            at[b + 1] += at[b];
        for (size_t i = 0; i < count; i++)
            to[at[from[i] >> shift & 0xff]++] = from[i];
        uint64_t *last = from;
        from = to;
        to = last;
    }
    free(spare); /* eight passes: all is in a again */
}

static void make_clustered(uint64_t *a, size_t count, struct rng *rng)
{
    enum {
        CLUSTERS = 20000
    };
    double *weight = must(malloc(CLUSTERS * sizeof *weight));
    double sum = 0;
    for (int i = 0; i < CLUSTERS; i++) {
        weight[i] = pow(1 - rng_real(rng), -1 / 1.2);
        sum += weight[i];
    }
    size_t n = 0;
    double due = 0;
    for (int i = 0; i < CLUSTERS; i++) {
        uint64_t centre = 0;
        for (int bit = 0; bit < 64; bit++)
            centre = centre << 1 | rng_chance(rng, 0.3);
        double width = pow(10, 4 + 9 * rng_real(rng));
        due += weight[i] / sum * (double)count;
        for (; n < count && ((double)n < due || i + 1 == CLUSTERS); n++) {
            double off = normal(rng) * width;
            uint64_t far = (uint64_t)fabs(off);
            uint64_t up = centre + far < centre ? UINT64_MAX : centre + far;
            a[n] = off > 0 ? up : centre - (far < centre ? far : centre);
        }
    }
    free(weight);
}

static void make_timestamps(uint64_t *a, size_t count, struct rng *rng)
{
    double step = 6.3e16 / (double)count;
    double now = 1.7e18;
    uint32_t burst = 0;
    for (size_t i = 0; i < count; i++) {
        if (burst > 0) {
            burst--;
            now += 1e3 * rng_real(rng);
        } else {
            double hour = fmod(now / 3.6e12, 24);
            double slow = 1.5 + cos((hour - 3) / 12 * 3.141592653589793);
            now += -log(1 - rng_real(rng)) * step * slow;
            if (rng_chance(rng, 0.002))
                burst = (uint32_t)rng_below(rng, 500);
        }
        a[i] = (uint64_t)now;
    }
}

uint64_t *key_set_numbers(enum key_shape shape, size_t count, uint64_t seed)
{
    uint64_t *a = must(malloc((count ? count : 1) * sizeof *a));
    struct rng rng;
    rng_init(&rng, seed);
    if (shape == KEYS_CLUSTERED)
        make_clustered(a, count, &rng);
    else if (shape == KEYS_TIMESTAMPS)
        make_timestamps(a, count, &rng);
    else
        for (size_t i = 0; i < count; i++) {
            double wide = exp(2 * normal(&rng)) * 1e12;
            a[i] = shape == KEYS_UNIFORM     ? rng_next(&rng)
                   : shape == KEYS_LOGNORMAL ? (uint64_t)wide
                                             : (UINT64_C(1) << 53) + i;
        }
    sort_numbers(a, count);
    return a;
}

static int by_span(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

/* The lines of a text, distinct and in order. */
static void set_of_lines(struct key_set *set, struct buf *text)
{
    size_t cap = 0;
    for (size_t i = 0; i < text->len; i++)
        cap += text->data[i] == '\n';
    set->keys = must(malloc((cap + 1) * sizeof *set->keys));
    size_t begin = 0;
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] != '\n')
            continue;
        set->keys[set->count++] = span_of(text->data + begin, i - begin);
        begin = i + 1;
    }
    qsort(set->keys, set->count, sizeof *set->keys, by_span);
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++)
        if (n == 0 || !span_equal(set->keys[n - 1], set->keys[i]))
            set->keys[n++] = set->keys[i];
    set->count = n;
    size_t len;
    set->bytes = buf_take(text, &len);
}

static void read_files(const char *pattern, struct buf *text)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "rb");
        char block[65536];
        size_t n;
        while (file && (n = fread(block, 1, sizeof block, file)) > 0)
            buf_append(text, block, n);
        if (file)
            fclose(file);
    }
    globfree(&found);
}

static void set_of_bytes(struct key_set *set, size_t size)
{
    set->keys = must(malloc((set->count ? set->count : 1) * sizeof *set->keys));
    for (size_t i = 0; i < set->count; i++)
        set->keys[i] = span_of(set->bytes + i * size, size);
}

struct key_set key_set_make(enum key_shape shape, size_t count, uint64_t seed)
{
    struct key_set set = { NULL, NULL, count, NULL };
    if (shape == KEYS_WORDS || shape == KEYS_PATHS) {
        struct buf text = { 0 };
        set.count = 0;
        read_files(shape == KEYS_WORDS ? "/usr/share/dict/words"
                                       : "/var/lib/dpkg/info/*.list",
                   &text);
        set_of_lines(&set, &text);
        buf_deinit(&text);
        return set;
    }
    size_t size = shape == KEYS_RANDOM_16 ? 16 : 8;
    set.bytes = must(malloc(count * size + 1));
    uint64_t *numbers = key_set_numbers(
        shape == KEYS_RANDOM_16 ? KEYS_UNIFORM : shape, count, seed);
    struct rng rng;
    rng_init(&rng, ~seed);
    for (size_t i = 0; i < count; i++) {
        uint64_t rest = size == 16 ? rng_next(&rng) : 0;
        for (size_t b = 0; b < size; b++) {
            uint64_t from =
                b < 8 ? numbers[i] >> (56 - 8 * b) : rest >> (120 - 8 * b);
            set.bytes[i * size + b] = (uint8_t)from;
        }
    }
    set_of_bytes(&set, size);
    if (size == 16)
        free(numbers);
    else
        set.numbers = numbers;
    return set;
}

double key_set_tied(const struct key_set *set)
{
    size_t shared = 0;
    struct span first = set->keys[0];
    struct span end = set->keys[set->count - 1];
    while (shared < first.len && shared < end.len &&
           first.data[shared] == end.data[shared])
        shared++;
    shared += MODEL_KNOT_MAX;
    size_t most = 0;
    size_t begin = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct span a = set->keys[begin];
        struct span b = set->keys[i];
        if (a.len < shared || b.len < shared ||
            memcmp(a.data, b.data, shared) != 0)
            begin = i;
        most = i - begin + 1 > most ? i - begin + 1 : most;
    }
    return (double)most / (double)set->count;
}

void key_set_free(struct key_set *set)
{
    free(set->numbers);
    free(set->keys);
    free(set->bytes);
    *set = (struct key_set){ 0 };
}
