/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/cache.h - what programs that use a keyspace as a cache need beside
 * dlht/dlht.h: a name for a request.
 *
 * Entries are put with DLHT_OP_PUT, ttl_ms and cost_us, got with DLHT_OP_GET,
 * or with DLHT_OP_CACHE_LEASE where many may miss the same one at once. */

#ifndef DLHT_CACHE_H
#define DLHT_CACHE_H

#include "dlht/dlht.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DLHT_SIGNATURE_TEXT = 33, /* with the zero at its end */
    DLHT_SIGNATURE_DEPTH_MAX = 64
};

/* How a key was answered: result->count of DLHT_OP_CACHE_LEASE. */
enum dlht_cache_answer {
    DLHT_CACHE_HIT = 0,
    DLHT_CACHE_NEGATIVE = 1, /* known to be absent */
    DLHT_CACHE_FILL = 2,     /* no value; version is a token */
    DLHT_CACHE_WAIT = 3,     /* no value, another makes it: ask again soon */
    DLHT_CACHE_REFRESH = 4,  /* a value that is to be made anew; a token */
    DLHT_CACHE_STALE = 5     /* a stale value, another makes a new one */
};

/* The signature of a request that is written as JSON: 32 hexadecimal digits,
 * the same however its members are ordered, spaced and escaped. It is the
 * XXH3-128 of the canonical text: no spaces; members ascending by the bytes of
 * their names; strings in UTF-8 with only ", \ and control characters escaped;
 * numbers as the shortest text that reads as the same double. docs/cache.md
 * says it to the byte. error may be NULL.
 *   DLHT_EINVAL  not one JSON value, a name twice in one object, a number
 *                beyond a double, or deeper than DLHT_SIGNATURE_DEPTH_MAX
 *   DLHT_ENOMEM */
DLHT_API int dlht_signature(const char *json, size_t len,
                            char out[DLHT_SIGNATURE_TEXT],
                            struct dlht_error *error);

#ifdef __cplusplus
}
#endif

#endif
