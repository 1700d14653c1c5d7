/* SPDX-License-Identifier: Apache-2.0 */

/* tests/cmd/fake_documents.h - the administrative answers of fake_dlht.c.
 *
 * They are the same ever: two arcs, two peers, one keyspace.
 * $FAKE_DLHT_MODEL: `none`, there is no model; `stays`, training publishes
 * none; `bad`, answers that no node gives. What keyspace set and presplit are
 * told is written to $FAKE_DLHT_TOLD, without which presplit is not known. */

#ifndef CMD_FAKE_DOCUMENTS_H
#define CMD_FAKE_DOCUMENTS_H

#include <msgpack.h>
#include <stdbool.h>

#include "dlht/dlht.h"

bool fake_model_is(const char *name);

/* Appends the answer to buffer; more, cursor, status and text go to result. */
void fake_document(const struct dlht_request *request, msgpack_sbuffer *buffer,
                   struct dlht_result *result);

void fake_set(const struct dlht_request *request, struct dlht_result *result);

#endif
