/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring a node from its directory. */
#include "net/data_dir.h"
#include "dlht/err.h"
int data_dir_open(const char *path, struct data_dir **out, struct dlht_error *error)
{ (void)path; *out = 0; error->code = DLHT_ENOTSUP; return DLHT_ENOTSUP; }
void data_dir_close(struct data_dir *dir) { (void)dir; }
struct disk data_dir_disk(struct data_dir *dir) { struct disk d = {0}; (void)dir; return d; }
int data_dir_restore(struct data_dir *dir, struct node *node, uint64_t seed, data_dir_log_fn log, void *context, struct journal **out, struct dlht_error *error)
{ (void)dir;(void)node;(void)seed;(void)log;(void)context;(void)out;(void)error; return DLHT_ENOTSUP; }
