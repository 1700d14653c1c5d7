/* SPDX-License-Identifier: Apache-2.0 */

/* sim/liar.h - a peer that lies about its keys and sends broken models. It
 * changes what the peer sends on its way; the peer itself knows nothing. */

#ifndef SIM_LIAR_H
#define SIM_LIAR_H

#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct liar;

/* Aborts without memory. One in a world. */
struct liar *liar_new(struct world *world, size_t peer, uint64_t seed);
void liar_free(struct liar *liar); /* NULL is allowed; the world still lives */

/* Reports that were falsified, and models. */
uint64_t liar_reports(const struct liar *liar);
uint64_t liar_models(const struct liar *liar);

#endif
