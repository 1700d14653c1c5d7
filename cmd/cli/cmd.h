/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/cmd.h - one function a verb; the table in verbs.c names them. Each
 * prints its answer, says its errors, and returns an exit code. */

#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "cli.h"
#include "options.h"

/* cmd_record.c */
int cmd_put(struct cli *cli, const struct arguments *args);
int cmd_get(struct cli *cli, const struct arguments *args);
int cmd_del(struct cli *cli, const struct arguments *args);
int cmd_cas(struct cli *cli, const struct arguments *args);
int cmd_cas_batch(struct cli *cli, const struct arguments *args);
int cmd_mget(struct cli *cli, const struct arguments *args);
int cmd_ping(struct cli *cli, const struct arguments *args);

/* cmd_range.c */
int cmd_range(struct cli *cli, const struct arguments *args);
int cmd_dump(struct cli *cli, const struct arguments *args);

/* cmd_load.c */
int cmd_load(struct cli *cli, const struct arguments *args);

/* cmd_box.c */
int cmd_box_put(struct cli *cli, const struct arguments *args);
int cmd_box_get(struct cli *cli, const struct arguments *args);
int cmd_box_del(struct cli *cli, const struct arguments *args);
int cmd_box_range(struct cli *cli, const struct arguments *args);
int cmd_box_load(struct cli *cli, const struct arguments *args);

/* cmd_admin.c */
int cmd_lookup(struct cli *cli, const struct arguments *args);
int cmd_ring(struct cli *cli, const struct arguments *args);
int cmd_peers(struct cli *cli, const struct arguments *args);
int cmd_status(struct cli *cli, const struct arguments *args);
int cmd_leave(struct cli *cli, const struct arguments *args);
int cmd_recover(struct cli *cli, const struct arguments *args);

/* cmd_keyspace.c */
int cmd_keyspace_create(struct cli *cli, const struct arguments *args);
int cmd_keyspace_list(struct cli *cli, const struct arguments *args);
int cmd_keyspace_drop(struct cli *cli, const struct arguments *args);
int cmd_keyspace_set(struct cli *cli, const struct arguments *args);
int cmd_keyspace_show(struct cli *cli, const struct arguments *args);

/* cmd_balance.c */
int cmd_balance_plan(struct cli *cli, const struct arguments *args);
int cmd_balance_status(struct cli *cli, const struct arguments *args);
int cmd_balance_pause(struct cli *cli, const struct arguments *args);
int cmd_balance_resume(struct cli *cli, const struct arguments *args);
int cmd_balance_set(struct cli *cli, const struct arguments *args);
int cmd_peer_set(struct cli *cli, const struct arguments *args);

/* cmd_model.c */
int cmd_model_show(struct cli *cli, const struct arguments *args);
int cmd_model_train(struct cli *cli, const struct arguments *args);
int cmd_model_export(struct cli *cli, const struct arguments *args);
int cmd_model_import(struct cli *cli, const struct arguments *args);
int cmd_model_history(struct cli *cli, const struct arguments *args);

/* The model of the keyspace, the caller's to free; CLI_DONE, or an exit code
 * with the error said and NULL. */
struct dlht_model;
int cmd_model_fetch(struct cli *cli, struct dlht_model **model);

/* cmd_cache.c */
int cmd_cache_set(struct cli *cli, const struct arguments *args);
int cmd_cache_get(struct cli *cli, const struct arguments *args);
int cmd_cache_del(struct cli *cli, const struct arguments *args);
int cmd_cache_ttl(struct cli *cli, const struct arguments *args);
int cmd_cache_touch(struct cli *cli, const struct arguments *args);
int cmd_cache_flush(struct cli *cli, const struct arguments *args);
int cmd_cache_stats(struct cli *cli, const struct arguments *args);
int cmd_cache_signature(struct cli *cli, const struct arguments *args);

/* cmd_vector.c */
int cmd_vector_create(struct cli *cli, const struct arguments *args);
int cmd_vector_list(struct cli *cli, const struct arguments *args);
int cmd_vector_info(struct cli *cli, const struct arguments *args);
int cmd_vector_drop(struct cli *cli, const struct arguments *args);
int cmd_vector_put(struct cli *cli, const struct arguments *args);
int cmd_vector_get(struct cli *cli, const struct arguments *args);
int cmd_vector_del(struct cli *cli, const struct arguments *args);
int cmd_vector_rebuild(struct cli *cli, const struct arguments *args);

/* cmd_vector_load.c */
int cmd_vector_load(struct cli *cli, const struct arguments *args);

/* cmd_vector_search.c */
int cmd_vector_search(struct cli *cli, const struct arguments *args);
int cmd_vector_recall(struct cli *cli, const struct arguments *args);

/* cmd_hashring.c */
int cmd_hashring(struct cli *cli, const struct arguments *args);

/* cmd_bench.c */
int cmd_bench(struct cli *cli, const struct arguments *args);

#endif
