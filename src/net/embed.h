/* SPDX-License-Identifier: Apache-2.0 */

/* net/embed.h - a node inside the calling process, on a thread of its own.
 *
 * Requests reach it as they do from outside, over a link inside the process:
 * one way of retrying, of bounding and of packing serves both. */

#ifndef NET_EMBED_H
#define NET_EMBED_H

#include <stdbool.h>

#include "base/must_use.h"
#include "dlht/dlht.h"

struct embed;

/* Starts the node and waits until it serves, or fails to. Codes as dlht_open;
 * error is filled on failure. */
MUST_USE int embed_new(const struct dlht_config *config, struct embed **out,
                       struct dlht_error *error);

/* Hands over, stops and joins the thread. NULL is allowed. */
void embed_free(struct embed *embed);

/* Where it listens. */
const char *embed_address(const struct embed *embed);

/* Where Redis clients come in; empty: nowhere. */
const char *embed_redis_address(const struct embed *embed);

/* "inproc:..." at which the own process reaches it. */
const char *embed_inner_address(const struct embed *embed);

/* True when the node has left or failed for good. error may be NULL. */
bool embed_has_stopped(struct embed *embed, struct dlht_error *error);

#endif
