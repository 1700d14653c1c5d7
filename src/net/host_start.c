/* SPDX-License-Identifier: Apache-2.0 */

/* What a host starts with: addresses, doors, threads, what the disk holds. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/host_state.h"
#include "net/inproc.h"
#include "net/sys.h"
#include "node/journal_types.h"

enum {
    HOST_FILES_RESERVE = 64 /* descriptors that callers leave to the rest */
};

static int host_fail(struct dlht_error *error, int code, const char *format,
                     ...)
{
    error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return code;
}

static size_t host_callers_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= DOOR_CALLERS_MAX + HOST_FILES_RESERVE)
        return DOOR_CALLERS_MAX;
    if (limit.rlim_cur / 2 < HOST_FILES_RESERVE)
        return HOST_FILES_RESERVE;
    return (size_t)limit.rlim_cur - HOST_FILES_RESERVE;
}

static int host_listen_socket(struct host *h, const char *path,
                              struct dlht_error *error)
{
    if (!path)
        return DLHT_OK;
    char addr[PEER_ADDR_MAX], bound[PEER_ADDR_MAX];
    int n = snprintf(addr, sizeof addr, "unix:%s", path), fd;
    if (*path == 0 || n < 0 || (size_t)n >= sizeof addr)
        return host_fail(error, DLHT_EINVAL,
                         "'%s' is no path for a socket: give one of 1 to %zu "
                         "bytes",
                         path, sizeof addr - sizeof "unix:");
    int rc = addr_listen(addr, bound, &fd);
    if (rc != DLHT_OK)
        return host_fail(error, rc,
                         rc == DLHT_EBUSY
                             ? "'%s' is in use: choose another path"
                             : "cannot make the socket '%s': choose a path in "
                               "a directory that is there and may be written",
                         path);
    rc = door_listen(h->door, bound, fd);
    if (rc == DLHT_OK)
        return DLHT_OK;
    addr_unlisten(bound, fd);
    return host_fail(error, rc, "no memory to start");
}

static int host_listen(struct host *h, const struct host_config *config,
                       struct dlht_error *error)
{
    const char *listen = config->listen;
    if (!addr_is_of_peer(listen))
        return host_fail(error, DLHT_EINVAL,
                         "'%s' is no address to listen on: give HOST:PORT",
                         listen);
    if (addr_is_wildcard(listen) && !config->advertise)
        return host_fail(error, DLHT_EINVAL,
                         "listening on '%s': give the address that others "
                         "reach this node by with --advertise HOST:PORT",
                         listen);
    int fd;
    int rc = addr_listen(listen, h->listen, &fd);
    if (rc != DLHT_OK)
        return host_fail(error, rc,
                         rc == DLHT_EBUSY
                             ? "'%s' is in use: choose another port"
                             : "cannot listen on '%s': choose an address of "
                               "this machine",
                         listen);
    const char *told = config->advertise ? config->advertise : h->listen;
    size_t told_len = strlen(told);
    if (told_len >= sizeof h->address)
        return host_fail(error, DLHT_EINVAL, "'%s' is too long for an address",
                         told);
    memcpy(h->address, told, told_len + 1);
    struct door_calls calls = host_door_calls(h);
    rc = door_new(h->loop, h->listen, fd, host_callers_max(), &calls, &h->door);
    if (rc == DLHT_OK)
        return host_listen_socket(h, config->socket, error);
    addr_unlisten(h->listen, fd);
    return host_fail(error, rc, "no memory to start");
}

static int host_listen_redis(struct host *h, const struct host_config *config,
                             struct dlht_error *error)
{
    const char *listen = config->redis;
    int fd;
    if (!listen)
        return DLHT_OK;
    if (!addr_is_valid(listen) || addr_is_inproc(listen))
        return host_fail(error, DLHT_EINVAL,
                         "'%s' is no address for Redis clients: give "
                         "HOST:PORT",
                         listen);
    int rc = addr_listen(listen, h->redis_addr, &fd);
    if (rc != DLHT_OK)
        return host_fail(error, rc,
                         rc == DLHT_EBUSY
                             ? "'%s' is in use: choose another port for Redis"
                             : "cannot listen on '%s' for Redis clients: "
                               "choose an address of this machine",
                         listen);
    struct redis_config redis = {
        .addr = h->redis_addr,
        .listen_fd = fd,
        .callers_max = host_callers_max() / 2,
        .node_port = addr_port(h->address),
        .ask = config->redis_ask,
        .seed = sys_random(),
        .calls = host_redis_calls(h),
    };
    memcpy(redis.dbs, config->redis_dbs, sizeof redis.dbs);
    rc = redis_new(h->loop, &redis, &h->redis);
    if (rc == DLHT_OK)
        return DLHT_OK;
    addr_unlisten(h->redis_addr, fd);
    return host_fail(error, rc, "no memory to start");
}

static bool host_watch_one(struct host *h, struct loop_watch *watch, int fd,
                           loop_fn fn)
{
    return loop_watch_init(h->loop, watch, fd, fn, h) &&
           loop_watch_set(watch, true, false);
}

static int host_watch(struct host *h)
{
    struct links_calls calls = host_links_calls(h);
    int rc = links_new(h->loop, &calls, sys_random(), &h->links);
    if (rc != DLHT_OK)
        return rc;
    h->bell = sys_bell_new();
    if (h->bell == -1)
        return DLHT_EIO;
    if (!host_watch_one(h, &h->bell_watch, h->bell, host_on_bell))
        return DLHT_ENOMEM;
    rc = job_worker_new(&h->jobs);
    if (rc != DLHT_OK)
        return rc;
    if (!host_watch_one(h, &h->jobs_watch, job_worker_fd(h->jobs),
                        host_on_jobs))
        return DLHT_ENOMEM;
    snprintf(h->inner, sizeof h->inner, "inproc:.host-%016llx",
             (unsigned long long)sys_random());
    char bound[PEER_ADDR_MAX];
    rc = addr_listen(h->inner, bound, &h->inner_fd);
    if (rc != DLHT_OK)
        return rc;
    return host_watch_one(h, &h->inner_watch, h->inner_fd, host_on_inner)
               ? DLHT_OK
               : DLHT_ENOMEM;
}

/* With --durability interval: what a power cut must not take all the same. An
 * entry may be lost as others are; a vote, an identity or a founding not. */
static bool host_must_sync(uint8_t type)
{
    return type != JOURNAL_ENTRY && type != JOURNAL_COMMIT &&
           type != JOURNAL_PEERS;
}

static int host_restore(struct host *h, const struct host_config *config,
                        struct dlht_error *error)
{
    if (!h->dir)
        return DLHT_OK;
    struct journal *journal;
    job_worker_set_disk(h->jobs, data_dir_files(h->dir));
    int rc = data_dir_restore(h->dir, h->node, sys_random(), host_say, h,
                              &journal, error);
    if (rc != DLHT_OK)
        return rc;
    struct disk_worker_config worker = { .disk = data_dir_disk(h->dir),
                                         .journal = journal,
                                         .must_sync = host_must_sync };
    if (config->durability == DLHT_DURABILITY_INTERVAL)
        worker.interval_ms = DISK_WORKER_INTERVAL_MS;
    rc = disk_worker_new(&worker, &h->disk);
    if (rc != DLHT_OK) {
        journal_close(journal);
        return host_fail(error, rc, "cannot start the disk thread");
    }
    if (host_watch_one(h, &h->disk_watch, disk_worker_fd(h->disk),
                       host_on_disk))
        return DLHT_OK;
    return host_fail(error, DLHT_ENOMEM, "no memory to start");
}

static int host_make_node(struct host *h, const struct host_config *config)
{
    struct node_config node = config->node;
    memcpy(node.addr, h->address, sizeof node.addr);
    node.durable = h->dir != NULL;
    node.seed = sys_random();
    node.pages = sys_pages();
    return node_new(&node, &h->node);
}

static int host_build(struct host *h, const struct host_config *config,
                      struct dlht_error *error)
{
    if (loop_new(&h->loop) != DLHT_OK)
        return host_fail(error, DLHT_EIO, "cannot make an event loop");
    if (config->data_dir) {
        int rc = data_dir_open(config->data_dir, &h->dir, error);
        if (rc != DLHT_OK)
            return rc;
    }
    int rc = host_listen(h, config, error);
    if (rc != DLHT_OK)
        return rc;
    rc = host_listen_redis(h, config, error);
    if (rc != DLHT_OK)
        return rc;
    rc = host_watch(h);
    if (rc == DLHT_OK)
        rc = host_make_node(h, config);
    if (rc != DLHT_OK)
        return host_fail(error, rc, "cannot start: %s", dlht_strerror(rc));
    return host_restore(h, config, error);
}

int host_new(const struct host_config *config, host_state_fn fn, void *context,
             struct host **out, struct dlht_error *error)
{
    *out = NULL;
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return host_fail(error, DLHT_ENOMEM, "no memory to start");
    h->bell = -1;
    h->inner_fd = -1;
    h->fn = fn;
    h->fn_context = context;
    h->log = config->log;
    h->log_context = config->log_context;
    h->log_level = (enum log_level)config->log_level;
    int rc = host_build(h, config, error);
    if (rc != DLHT_OK) {
        host_free(h);
        return rc;
    }
    *out = h;
    return DLHT_OK;
}

void host_free(struct host *h)
{
    if (!h)
        return;
    loop_watch_end(&h->disk_watch);
    loop_watch_end(&h->jobs_watch);
    loop_watch_end(&h->inner_watch);
    loop_watch_end(&h->bell_watch);
    disk_worker_free(h->disk);
    job_worker_free(h->jobs); /* what jobs write to is the node's */
    if (h->inner_fd != -1)
        inproc_unlisten(h->inner_fd);
    if (h->bell != -1)
        close(h->bell);
    door_free(h->door);
    redis_free(h->redis);
    links_free(h->links);
    node_free(h->node);
    effects_deinit(&h->effects);
    data_dir_close(h->dir);
    loop_free(h->loop);
    free(h->downs);
    free(h);
}
