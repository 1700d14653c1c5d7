/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/jsonl.h - one record from a line of JSON: {"key": K, "value": V},
 * where K and V are strings or {"base64": "..."}; a number or true or false
 * stands for its text. Other fields are passed over. And a vector from one:
 * {"id": K, "vector": [1, 2.5], "meta": {...}}. */

#ifndef CLI_JSONL_H
#define CLI_JSONL_H

#include <stdbool.h>
#include <stddef.h>

#include "dlht/dlht.h"

/* Decodes line in place: key and value point into it afterwards. False: *why
 * says what is wrong, and line is spoilt. */
bool jsonl_read(char *line, size_t len, struct dlht_bytes *key,
                struct dlht_bytes *value, const char **why);

/* values is the caller's to free, and grows as it must; count is how many
 * there are. */
struct jsonl_vector {
    struct dlht_bytes id;
    char *meta; /* NULL: none; else text with a zero byte behind it */
    float *values;
    size_t cap;
    size_t count;
};

/* The same for a vector, of at most count_max numbers; line has a zero byte
 * behind it. The numbers need not be finite. */
bool jsonl_read_vector(char *line, size_t len, size_t count_max,
                       struct jsonl_vector *out, const char **why);

#endif
