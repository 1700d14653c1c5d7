/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_admin.h - commands about the connection and the server, which ask
 * nobody. Each is the run of the command of its name in net/redis_table.c. */

#ifndef NET_REDIS_ADMIN_H
#define NET_REDIS_ADMIN_H

#include "net/redis_state.h"

/* What clients are told they speak to. */
#define REDIS_VERSION_TEXT "7.0.15"

/* redis_admin.c */
void redis_run_ping(struct redis_call *call);
void redis_run_echo(struct redis_call *call);
void redis_run_hello(struct redis_call *call);
void redis_run_auth(struct redis_call *call);
void redis_run_quit(struct redis_call *call);
void redis_run_reset(struct redis_call *call);
void redis_run_select(struct redis_call *call);
void redis_run_time(struct redis_call *call);
void redis_run_wait(struct redis_call *call);
void redis_run_slowlog(struct redis_call *call);
void redis_run_latency(struct redis_call *call);
void redis_run_asking(struct redis_call *call);
void redis_run_ok(struct redis_call *call);

/* redis_client.c */
void redis_run_client(struct redis_call *call);

/* redis_info.c */
void redis_run_config(struct redis_call *call);

#endif
