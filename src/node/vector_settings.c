/* SPDX-License-Identifier: Apache-2.0 */

/* Options of collections. */

#include "node/vector_settings.h"

#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/meta.h"

enum {
    NAME_MAX = 16, /* of a metric, a back end */
    FIELDS_TEXT_MAX = 512
};

static const char *const quantizations[KERNEL_TYPES] = {
    [KERNEL_F32] = "none", [KERNEL_F16] = "f16", [KERNEL_I8] = "int8"
};

const char *vector_settings_quantization(enum kernel_type codes)
{
    return quantizations[codes];
}

struct vector_settings vector_settings_default(void)
{
    struct hnsw_config graph = hnsw_config_default(1);
    return (struct vector_settings){ .metric = METRIC_COSINE,
                                     .m = graph.m,
                                     .ef_construction = graph.ef_construction,
                                     .ef = graph.ef_search,
                                     .codes = KERNEL_I8,
                                     .backend = INDEX_HNSW };
}

bool vector_settings_has(struct span name)
{
    return span_has_prefix(name, span_str("vector-"));
}

/* One of lo to hi, in decimal digits. */
static bool read_number(struct span text, uint32_t lo, uint32_t hi,
                        uint32_t *out)
{
    uint64_t n = 0;
    if (text.len == 0 || text.len > 9)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (n < lo || n > hi)
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool read_name(struct span text, char name[NAME_MAX])
{
    if (text.len >= NAME_MAX)
        return false;
    memcpy(name, text.data, text.len);
    name[text.len] = 0;
    return true;
}

static bool read_codes(struct span text, enum kernel_type *out)
{
    for (int i = 0; i < KERNEL_TYPES; i++)
        if (span_equal(text, span_str(quantizations[i]))) {
            *out = (enum kernel_type)i;
            return true;
        }
    return false;
}

/* Where the next name begins and ends. */
static struct span next_field(struct span *rest)
{
    size_t end = 0;
    while (end < rest->len && rest->data[end] != ',')
        end++;
    struct span name = span_of(rest->data, end);
    *rest = span_tail(*rest, end < rest->len ? end + 1 : end);
    return name;
}

static bool are_fields(struct span text)
{
    struct span names[VECTOR_FIELDS_MAX], rest = text;
    size_t count = 0;
    if (text.len == 0 || text.len > FIELDS_TEXT_MAX ||
        text.data[text.len - 1] == ',')
        return false;
    while (rest.len) {
        struct span name = next_field(&rest);
        if (count == VECTOR_FIELDS_MAX || meta_name_wrong(name))
            return false;
        for (size_t i = 0; i < count; i++)
            if (span_equal(names[i], name))
                return false;
        names[count++] = name;
    }
    return true;
}

int vector_settings_set(struct vector_settings *s, struct span name,
                        struct span value, const char **text)
{
    char word[NAME_MAX] = "";
    bool sound;
    if (span_equal(name, span_str("vector-dim"))) {
        *text = "dimensions are a number from 1 to 16384";
        sound = read_number(value, 1, VECTOR_DIM_MAX, &s->dim);
    } else if (span_equal(name, span_str("vector-metric"))) {
        *text = "the metric is cosine, l2 or ip";
        sound = read_name(value, word) && metric_from_name(word, &s->metric);
    } else if (span_equal(name, span_str("vector-m"))) {
        *text = "m is a number from 2 to 128";
        sound = read_number(value, HNSW_M_MIN, HNSW_M_MAX, &s->m);
    } else if (span_equal(name, span_str("vector-ef-construction"))) {
        *text = "ef-construction is a number from 1 to 4096";
        sound = read_number(value, 1, HNSW_EF_CONSTRUCTION_MAX,
                            &s->ef_construction);
    } else if (span_equal(name, span_str("vector-ef"))) {
        *text = "ef is a number from 1 to 100000";
        sound = read_number(value, 1, QUERY_EF_MAX, &s->ef);
    } else if (span_equal(name, span_str("vector-quantization"))) {
        *text = "quantization is none, f16 or int8";
        sound = read_codes(value, &s->codes);
    } else if (span_equal(name, span_str("vector-index"))) {
        *text = "the index is hnsw or exact";
        sound = read_name(value, word) &&
                index_backend_from_name(word, &s->backend);
    } else if (span_equal(name, span_str("vector-fields"))) {
        *text = "fields are up to 16 different names with commas between";
        sound = are_fields(value);
        s->fields = sound ? value : s->fields;
    } else {
        return DLHT_ENOTFOUND;
    }
    if (!sound)
        return DLHT_EINVAL;
    *text = NULL;
    return DLHT_OK;
}

size_t vector_settings_fields(const struct vector_settings *s,
                              struct span out[VECTOR_FIELDS_MAX])
{
    struct span rest = s->fields;
    size_t count = 0;
    while (rest.len && count < VECTOR_FIELDS_MAX)
        out[count++] = next_field(&rest);
    return count;
}

static void list_number(vector_settings_fn fn, void *context, const char *name,
                        uint32_t now, uint32_t born)
{
    char a[16], b[16];
    snprintf(a, sizeof a, "%u", now);
    snprintf(b, sizeof b, "%u", born);
    fn(context, name, a, b);
}

void vector_settings_list(const struct vector_settings *s,
                          vector_settings_fn fn, void *context)
{
    struct vector_settings born = vector_settings_default();
    char fields[FIELDS_TEXT_MAX + 1];
    list_number(fn, context, "vector-dim", s->dim, 0);
    fn(context, "vector-metric", metric_name(s->metric),
       metric_name(born.metric));
    list_number(fn, context, "vector-m", s->m, born.m);
    list_number(fn, context, "vector-ef-construction", s->ef_construction,
                born.ef_construction);
    list_number(fn, context, "vector-ef", s->ef, born.ef);
    fn(context, "vector-quantization", quantizations[s->codes],
       quantizations[born.codes]);
    fn(context, "vector-index", index_backend_name(s->backend),
       index_backend_name(born.backend));
    snprintf(fields, sizeof fields, "%.*s", (int)s->fields.len,
             s->fields.len ? (const char *)s->fields.data : "");
    fn(context, "vector-fields", fields, "");
}

struct index_config vector_settings_index(const struct vector_settings *s)
{
    struct index_config config = { .backend = s->backend,
                                   .hnsw = hnsw_config_default(s->dim) };
    config.hnsw.metric = s->metric;
    config.hnsw.codes = s->codes;
    config.hnsw.m = s->m;
    config.hnsw.ef_construction = s->ef_construction;
    config.hnsw.ef_search = s->ef;
    return config;
}
