/* SPDX-License-Identifier: Apache-2.0 */

/* net/host_state.h - the inside of a host.
 *
 *   host.c        turns: events in, effects out
 *   host_start.c  what it starts with, and how that is freed */

#ifndef NET_HOST_STATE_H
#define NET_HOST_STATE_H

#include <stdatomic.h>

#include "net/addr.h"
#include "net/data_dir.h"
#include "net/disk_worker.h"
#include "net/door.h"
#include "net/host.h"
#include "net/job_worker.h"
#include "net/links.h"
#include "net/loop.h"
#include "net/redis.h"

struct host {
    struct loop *loop;
    struct node *node;
    struct door *door;
    struct redis *redis; /* NULL: none */
    struct links *links;
    struct data_dir *dir;
    struct disk_worker *disk;
    struct loop_watch disk_watch;
    struct job_worker *jobs;
    struct loop_watch jobs_watch;
    struct effects effects;
    uint64_t now_ns;
    bool stepped;     /* a flush is owed */
    unsigned asked;   /* requests since the last one */
    bool no_memory;   /* a step failed: try again soon */
    struct id *downs; /* losses to tell the node */
    size_t down_count;
    size_t down_cap;
    uint64_t sweep_ns;
    uint64_t tally_ns; /* UINT64_MAX: nobody reads it */
    uint64_t turns;
    int bell;
    struct loop_watch bell_watch;
    atomic_bool stop_asked;
    uint64_t stop_ns; /* the latest end; 0: not stopping */
    int inner_fd;     /* listener for the own process */
    struct loop_watch inner_watch;
    char inner[PEER_ADDR_MAX];
    char listen[PEER_ADDR_MAX];
    char address[PEER_ADDR_MAX]; /* as others are told */
    char redis_addr[PEER_ADDR_MAX];
    enum host_state state;
    host_state_fn fn;
    void *fn_context;
    dlht_log_fn log;
    void *log_context;
    enum log_level log_level;
};

void host_say(void *context, enum log_level level, const char *text);
void host_warn(void *context, const char *text);

struct door_calls host_door_calls(struct host *h);
struct redis_calls host_redis_calls(struct host *h);
struct links_calls host_links_calls(struct host *h);

/* Readiness of what else a host watches. */
void host_on_disk(void *context, bool readable, bool writable);
void host_on_jobs(void *context, bool readable, bool writable);
void host_on_bell(void *context, bool readable, bool writable);
void host_on_inner(void *context, bool readable, bool writable);

#endif
