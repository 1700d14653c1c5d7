/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/jsonl.h - one record from a line of JSON: {"key": K, "value": V},
 * where K and V are strings or {"base64": "..."}; a number or true or false
 * stands for its text. Other fields are passed over. */

#ifndef CLI_JSONL_H
#define CLI_JSONL_H

#include <stdbool.h>
#include <stddef.h>

#include "dlht/dlht.h"

/* Decodes line in place: key and value point into it afterwards. False: *why
 * says what is wrong, and line is spoilt. */
bool jsonl_read(char *line, size_t len, struct dlht_bytes *key,
                struct dlht_bytes *value, const char **why);

#endif
