/* SPDX-License-Identifier: Apache-2.0 */

/* tests/cmd/fake_vectors.h - collections of fake_dlht.c: `l2` and `cos`, both
 * of three numbers, and `odd`, whose answers no node gives. Metadata, filters
 * and what is refused are true ones; a search looks at everything. With
 * `partial` in the filter's text, part of the ring did not answer. */

#ifndef CMD_FAKE_VECTORS_H
#define CMD_FAKE_VECTORS_H

#include <stdbool.h>

#include "dlht/dlht.h"

bool fake_vectors_has(const char *keyspace);

/* The value to store for OP_VECTOR_PUT, valid until the next call; else status
 * and text go to result. */
bool fake_vectors_put(const struct dlht_request *request,
                      struct dlht_bytes *value, struct dlht_result *result);

/* The document of a stored value; valid until the next call. */
void fake_vectors_get(const struct dlht_record *record,
                      struct dlht_result *result);

/* Of all that is stored. */
void fake_vectors_search(const struct dlht_request *request,
                         const struct dlht_record *records, size_t count,
                         struct dlht_result *result);

/* info, rebuild. */
void fake_vectors_act(const struct dlht_request *request, size_t count,
                      struct dlht_result *result);

void fake_vectors_forget(void);

#endif
