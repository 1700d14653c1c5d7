/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_start.h - commands that ask the node and answer when it has: each
 * is the start of the command of its name in net/redis_table.c. */

#ifndef NET_REDIS_START_H
#define NET_REDIS_START_H

#include "net/redis_state.h"

/* redis_record.c: records by their keys, without a transaction. */
void redis_start_get(struct redis_call *call);
void redis_start_set(struct redis_call *call);
void redis_start_del(struct redis_call *call);
void redis_start_exists(struct redis_call *call);
void redis_start_mget(struct redis_call *call);
void redis_start_mset(struct redis_call *call);

/* redis_walk.c: what walks over keys. */
void redis_start_scan(struct redis_call *call);
void redis_start_keys(struct redis_call *call);
void redis_start_randomkey(struct redis_call *call);
void redis_start_dbsize(struct redis_call *call);
void redis_start_flush(struct redis_call *call);
void redis_start_range(struct redis_call *call);
void redis_start_prefix(struct redis_call *call);
void redis_start_count(struct redis_call *call);
void redis_start_delrange(struct redis_call *call);

/* redis_cluster.c: documents of the node. */
void redis_start_lookup(struct redis_call *call);
void redis_start_cluster(struct redis_call *call);

/* redis_info.c */
void redis_start_info(struct redis_call *call);

/* redis_multi.c */
void redis_start_exec(struct redis_call *call);
void redis_start_watch(struct redis_call *call);

#endif
