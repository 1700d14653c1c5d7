/* SPDX-License-Identifier: Apache-2.0 */

/* Options of a keyspace. */

#include "node/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "wire/mp.h"

enum {
    LEAVES_MIN = 10,
    LEAVES_MAX = 8192,
    NUMBER_MAX = 20 /* digits */
};

/* One "name=value"; false: no more. */
static bool next_option(struct span *rest, struct span *name,
                        struct span *value)
{
    while (rest->len && rest->data[0] == ' ')
        *rest = span_tail(*rest, 1);
    if (rest->len == 0)
        return false;
    size_t end = 0, equals = 0;
    while (end < rest->len && rest->data[end] != ' ') {
        if (rest->data[end] == '=' && equals == 0)
            equals = end;
        end++;
    }
    *name = span_of(rest->data, equals);
    *value = equals ? span_of(rest->data + equals + 1, end - equals - 1)
                    : span_empty();
    *rest = span_tail(*rest, end);
    return true;
}

static bool read_number(struct span text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= NUMBER_MAX - 1)
            return false;
        *out = *out * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.len > 0;
}

static bool read_kind(struct span text, enum model_kind *out)
{
    if (span_equal(text, span_str("linear")))
        *out = MODEL_LINEAR;
    else if (span_equal(text, span_str("cubic")))
        *out = MODEL_CUBIC;
    else
        return false;
    return true;
}

/* Model, triggers and vectors. DLHT_ENOTFOUND, DLHT_EINVAL */
static int set_one(struct keyspace_settings *s, struct span name,
                   struct span value)
{
    const char *text;
    if (vector_settings_has(name))
        return vector_settings_set(&s->vectors, name, value, &text);
    if (cache_settings_has(name))
        return cache_settings_set(&s->cache, name, value, &text);
    if (span_equal(name, span_str("model-leaves"))) {
        uint64_t n;
        if (!read_number(value, &n) || n < LEAVES_MIN || n > LEAVES_MAX)
            return DLHT_EINVAL;
        s->fit.leaf_count = (uint32_t)n;
        return DLHT_OK;
    }
    if (span_equal(name, span_str("model-root")))
        return read_kind(value, &s->fit.root) ? DLHT_OK : DLHT_EINVAL;
    if (span_equal(name, span_str("model-leaf")))
        return read_kind(value, &s->fit.leaf) ? DLHT_OK : DLHT_EINVAL;
    return drift_config_set(&s->triggers, name, value);
}

void options_read(struct span options, struct keyspace_settings *out)
{
    out->triggers = drift_config_default();
    out->fit = fit_config_default();
    out->vectors = vector_settings_default();
    out->cache = cache_settings_default();
    struct span name, value;
    while (next_option(&options, &name, &value))
        (void)!set_one(out, name, value);
}

static bool is_plain(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return text.len > 0;
}

/* Replaces, adds or (value "default") removes one. */
static int change_text(struct buf *options, struct span name, struct span value)
{
    struct buf now = { 0 };
    struct span rest = buf_span(options), old, old_value;
    while (next_option(&rest, &old, &old_value)) {
        if (span_equal(old, name))
            continue;
        buf_append(&now, " ", now.len ? 1 : 0);
        buf_append_span(&now, old);
        buf_append(&now, "=", 1);
        buf_append_span(&now, old_value);
    }
    if (!span_equal(value, span_str("default"))) {
        buf_append(&now, " ", now.len ? 1 : 0);
        buf_append_span(&now, name);
        buf_append(&now, "=", 1);
        buf_append_span(&now, value);
    }
    int rc = now.failed ? DLHT_ENOMEM : DLHT_OK;
    if (now.len > KEYSPACE_OPTIONS_MAX)
        rc = DLHT_EINVAL;
    if (rc == DLHT_OK) {
        buf_reset(options);
        buf_append_span(options, buf_span(&now));
        rc = options->failed ? DLHT_ENOMEM : DLHT_OK;
    }
    buf_deinit(&now);
    return rc;
}

static int set_field(struct keyspace_record *record, struct span name,
                     struct span value, const char **text)
{
    static const struct keyspace_record born = { .replicas = 3,
                                                 .floor_keys = 1000,
                                                 .ceiling_bytes = 64 << 20 };
    uint64_t n = 0;
    bool reset = span_equal(value, span_str("default"));
    bool sound = reset || read_number(value, &n);
    if (span_equal(name, span_str("replicas"))) {
        n = reset ? born.replicas : n;
        *text = "replicas is 1, 3 or 5";
        if (record->is_volatile && sound && n != 1) {
            *text = "a volatile keyspace has one copy in this version";
            return DLHT_EINVAL;
        }
        if (!sound || (n != 1 && n != 3 && n != 5))
            return DLHT_EINVAL;
        record->replicas = (uint8_t)n;
    } else if (span_equal(name, span_str("floor-keys"))) {
        *text = "floor-keys is a number of keys from 1 up";
        if (!sound || (!reset && n == 0))
            return DLHT_EINVAL;
        record->floor_keys = reset ? born.floor_keys : n;
    } else if (span_equal(name, span_str("ceiling-bytes"))) {
        *text = "ceiling-bytes is a number of bytes from 1048576 up";
        if (!sound || (!reset && n < 1 << 20))
            return DLHT_EINVAL;
        record->ceiling_bytes = reset ? born.ceiling_bytes : n;
    } else {
        return DLHT_ENOTFOUND;
    }
    *text = NULL;
    return DLHT_OK;
}

/* Of vectors one option can be changed later. */
static int check_vectors(const struct keyspace_settings *now, bool creating,
                         struct span name, struct span value, const char **text)
{
    struct vector_settings tried = now->vectors;
    if (!creating && now->vectors.dim == 0) {
        *text = "this keyspace is no collection: vector create makes one";
        return DLHT_EINVAL;
    }
    if (!creating && !span_equal(name, span_str("vector-ef"))) {
        *text = "of a collection only vector-ef can be changed: create another "
                "and load it anew";
        return DLHT_EINVAL;
    }
    if (span_equal(value, span_str("default")))
        return DLHT_OK;
    int rc = vector_settings_set(&tried, name, value, text);
    if (rc == DLHT_ENOTFOUND)
        *text = "no such option of a collection";
    return rc == DLHT_OK ? DLHT_OK : DLHT_EINVAL;
}

/* Bounds and policy: of volatile keyspaces, and later only the bounds. */
static int check_cache(const struct keyspace_record *record,
                       const struct keyspace_settings *now, bool creating,
                       struct span name, struct span value, const char **text)
{
    struct cache_settings tried = now->cache;
    if (!record->is_volatile) {
        *text = "this is of volatile keyspaces: create it with --volatile";
        return DLHT_EINVAL;
    }
    if (!creating && (!cache_settings_bound(&now->cache) ||
                      span_equal(name, span_str("policy")))) {
        *text = "of a cache only bounds can be changed, and a keyspace that is "
                "none does not become one: create another";
        return DLHT_EINVAL;
    }
    if (!span_equal(value, span_str("default")))
        return cache_settings_set(&tried, name, value, text);
    if (span_equal(name, span_str("max-bytes")))
        tried.bytes_max = 0;
    else
        tried.count_max = 0;
    if (cache_settings_bound(&tried) || creating)
        return DLHT_OK;
    *text = "one bound must stay";
    return DLHT_EINVAL;
}

int options_set(struct keyspace_record *record, struct buf *options,
                bool creating, struct span name, struct span value,
                const char **text)
{
    int rc = set_field(record, name, value, text);
    if (rc != DLHT_ENOTFOUND)
        return rc;
    struct keyspace_settings settings;
    options_read(buf_span(options), &settings);
    if (vector_settings_has(name)) {
        rc = check_vectors(&settings, creating, name, value, text);
        if (rc != DLHT_OK)
            return rc;
    }
    if (cache_settings_has(name)) {
        rc = check_cache(record, &settings, creating, name, value, text);
        if (rc != DLHT_OK)
            return rc;
        *text = NULL;
    }
    rc = is_plain(value) ? DLHT_OK : DLHT_EINVAL;
    if (rc == DLHT_OK && span_equal(value, span_str("default"))) {
        /* Known at all? Any value of it will do to find out. */
        int known = set_one(&settings, name, span_empty());
        rc = known == DLHT_ENOTFOUND ? known : DLHT_OK;
    } else if (rc == DLHT_OK) {
        rc = set_one(&settings, name, value);
    }
    if (rc == DLHT_OK)
        rc = change_text(options, name, value);
    if (rc == DLHT_ENOTFOUND) {
        *text = "no such option; `keyspace show` lists those there are";
        return DLHT_EINVAL;
    }
    if (rc == DLHT_EINVAL)
        *text = "not a value of this option; `keyspace show` lists their "
                "defaults";
    return rc;
}

struct listing {
    struct buf rows;
    size_t count;
};

static void write_row(void *context, const char *name, const char *value,
                      const char *default_value)
{
    struct listing *l = context;
    mp_write_array(&l->rows, 3);
    mp_write_cstr(&l->rows, name);
    mp_write_cstr(&l->rows, value);
    mp_write_cstr(&l->rows, default_value);
    l->count++;
}

static void write_number(struct listing *l, const char *name, uint64_t value,
                         uint64_t born)
{
    char now[NUMBER_MAX + 2], then[NUMBER_MAX + 2];
    snprintf(now, sizeof now, "%" PRIu64, value);
    snprintf(then, sizeof then, "%" PRIu64, born);
    write_row(l, name, now, then);
}

static const char *kind_name(enum model_kind kind)
{
    return kind == MODEL_LINEAR ? "linear" : "cubic";
}

void options_list(const struct keyspace_record *record, struct buf *doc)
{
    struct keyspace_settings now, born;
    options_read(record->options, &now);
    options_read(span_empty(), &born);
    struct listing l = { 0 };
    write_row(&l, "placement",
              record->placement == PLACEMENT_HASHED ? "hashed" : "ordered",
              "ordered");
    write_number(&l, "replicas", record->replicas, 3);
    write_number(&l, "floor-keys", record->floor_keys, 1000);
    write_number(&l, "ceiling-bytes", record->ceiling_bytes, 64 << 20);
    if (record->is_volatile) {
        write_row(&l, "volatile", "yes", "no");
        write_number(&l, "max-bytes", now.cache.bytes_max, 0);
        write_number(&l, "max-items", now.cache.count_max, 0);
        write_row(&l, "policy", cache_settings_policy(now.cache.policy),
                  cache_settings_policy(born.cache.policy));
    }
    write_number(&l, "model-leaves", now.fit.leaf_count, born.fit.leaf_count);
    write_row(&l, "model-root", kind_name(now.fit.root),
              kind_name(born.fit.root));
    write_row(&l, "model-leaf", kind_name(now.fit.leaf),
              kind_name(born.fit.leaf));
    drift_config_list(&now.triggers, write_row, &l);
    if (now.vectors.dim)
        vector_settings_list(&now.vectors, write_row, &l);
    mp_write_array(doc, l.count);
    buf_append_span(doc, buf_span(&l.rows));
    doc->failed = doc->failed || l.rows.failed;
    buf_deinit(&l.rows);
}
