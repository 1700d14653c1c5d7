/* SPDX-License-Identifier: Apache-2.0 */

/* node/vector_settings.h - what makes a keyspace a collection of vectors: the
 * options of its record that begin with "vector-". All but vector-ef are given
 * when it is created, and stay. */

#ifndef NODE_VECTOR_SETTINGS_H
#define NODE_VECTOR_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/index.h"

enum {
    VECTOR_DIM_MAX = 16384,
    VECTOR_FIELDS_MAX = 16
};

struct vector_settings {
    uint32_t dim; /* 0: no collection */
    enum metric metric;
    uint32_t m, ef_construction, ef;
    enum kernel_type codes;
    enum index_backend backend;
    struct span fields; /* names with commas between; borrowed */
};

struct vector_settings vector_settings_default(void);

/* The name of an option begins as those of collections do. */
bool vector_settings_has(struct span name);

/* Sets one. *text says what would be right, unless DLHT_OK.
 *   DLHT_EINVAL    not a value of it
 *   DLHT_ENOTFOUND no such option */
MUST_USE int vector_settings_set(struct vector_settings *s, struct span name,
                                 struct span value, const char **text);

/* The value of each as it is and as it was born, for options_list. */
typedef void (*vector_settings_fn)(void *context, const char *name,
                                   const char *value,
                                   const char *default_value);
void vector_settings_list(const struct vector_settings *s,
                          vector_settings_fn fn, void *context);

/* "none", "f16", "int8". */
const char *vector_settings_quantization(enum kernel_type codes);

/* Splits fields; how many there are. */
size_t vector_settings_fields(const struct vector_settings *s,
                              struct span out[VECTOR_FIELDS_MAX]);

/* The index that they ask for. */
struct index_config vector_settings_index(const struct vector_settings *s);

#endif
