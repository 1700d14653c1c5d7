/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_request.h - between the structs of dlht/dlht.h and those of the
 * wire: checking what a user asks, and showing what came back. */

#ifndef NET_CLIENT_REQUEST_H
#define NET_CLIENT_REQUEST_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "dlht/dlht.h"
#include "wire/message.h"

/* Copies all bytes into `bytes` (emptied first), which *out then points to
 * until it changes.
 *   DLHT_EINVAL, DLHT_ETOOBIG, DLHT_ENOMEM */
MUST_USE int client_request_make(const struct dlht_request *request,
                                 struct buf *bytes, struct request *out);

/* Does it change anything? Then it needs a number. */
bool client_request_is_write(const struct request *request);

/* Room for what a result points to, reused from one to the next; all zeros is
 * a valid empty one. */
struct client_result {
    struct dlht_result result;
    struct dlht_record *records;
    size_t record_cap;
    char text[DLHT_ERROR_TEXT_MAX];
};

void client_result_deinit(struct client_result *room);

/* Shows an answer; spans point to where the response's do. Without memory the
 * status is DLHT_ENOMEM. */
void client_result_show(struct client_result *room,
                        const struct response *response);

/* Shows an outcome that no node told. */
void client_result_fail(struct client_result *room, int status,
                        const char *text);

#endif
