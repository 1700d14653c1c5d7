/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_multi.h - MULTI: commands of one client kept until EXEC. */

#ifndef NET_REDIS_MULTI_H
#define NET_REDIS_MULTI_H

#include "net/redis_state.h"

bool redis_multi_is_active(const struct redis_client *client);
size_t redis_multi_count(const struct redis_client *client);
/* Bytes of commands kept, a part of redis->held. */
size_t redis_multi_held(const struct redis_client *client);
/* As DISCARD, if there is something to discard; and watches no more. */
void redis_multi_reset(struct redis_client *client);

void redis_run_multi(struct redis_call *call);
void redis_run_discard(struct redis_call *call);
void redis_run_unwatch(struct redis_call *call);

#endif
