/* SPDX-License-Identifier: Apache-2.0 */

/* Starting, watching and joining the node's thread. */

#include "net/embed.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "net/host.h"
#include "vector/kernel.h"

struct embed {
    struct host *host;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum host_state state;   /* under lock */
    struct dlht_error error; /* under lock */
};

static int embed_bad(struct dlht_error *error, const char *format, ...)
{
    error->code = DLHT_EINVAL;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return DLHT_EINVAL;
}

/* On the host's thread, and before it starts. */
static void embed_on_state(void *context, enum host_state state, int status,
                           const char *text)
{
    struct embed *e = context;
    pthread_mutex_lock(&e->lock);
    e->state = state;
    e->error.code = status;
    snprintf(e->error.text, sizeof e->error.text, "%s", text);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void *embed_main(void *context)
{
    struct embed *e = context;
    host_run(e->host);
    return NULL;
}

/* Signals are the program's: its own threads take them. */
static int embed_start(struct embed *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&e->thread, NULL, embed_main, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    e->running = rc == 0;
    return rc == 0 ? DLHT_OK : DLHT_ENOMEM;
}

static int embed_check_numbers(const struct dlht_config *c,
                               struct dlht_error *error)
{
    if (c->successors > 20)
        return embed_bad(error,
                         "successors is %u: give 1 to 20, or 0 for as many "
                         "as the ring wants",
                         c->successors);
    if (c->vnodes < 1 || c->vnodes > 4096)
        return embed_bad(error, "vnodes is %u: give 1 to 4096", c->vnodes);
    if (!(c->weight >= 0.1 && c->weight <= 100))
        return embed_bad(error, "weight is %g: give 0.1 to 100", c->weight);
    if (c->replicas != 1 && c->replicas != 3 && c->replicas != 5)
        return embed_bad(error, "replicas is %u: give 1, 3 or 5", c->replicas);
    if (c->move_rate && c->move_rate < 64 << 10)
        return embed_bad(error,
                         "move-rate is %llu bytes a second: give 64K or more, "
                         "or 0 for no bound",
                         (unsigned long long)c->move_rate);
    if (c->bootstrap_count > DLHT_BOOTSTRAP_MAX)
        return embed_bad(error, "more than %d bootstrap addresses",
                         DLHT_BOOTSTRAP_MAX);
    if (!c->data_dir && (c->durability == DLHT_DURABILITY_SYNC ||
                         c->durability == DLHT_DURABILITY_INTERVAL))
        return embed_bad(error, "this durability needs a data directory: give "
                                "--data-dir DIR");
    if (c->data_dir && c->durability == DLHT_DURABILITY_MEMORY)
        return embed_bad(error, "durability memory keeps nothing: leave the "
                                "data directory out");
    return DLHT_OK;
}

static int embed_check_words(const struct dlht_config *c,
                             struct dlht_error *error)
{
    if (c->zone && strlen(c->zone) >= PEER_ZONE_MAX)
        return embed_bad(error, "zone '%s' is longer than %d bytes", c->zone,
                         PEER_ZONE_MAX - 1);
    if (c->advertise &&
        (!addr_is_of_peer(c->advertise) || addr_is_wildcard(c->advertise)))
        return embed_bad(error,
                         "'%s' is no address to be reached by: give "
                         "HOST:PORT",
                         c->advertise);
    for (size_t i = 0; i < DLHT_REDIS_DBS_MAX; i++)
        if (c->redis_db[i] &&
            (!c->redis_db[i][0] || strlen(c->redis_db[i]) > KEYSPACE_NAME_MAX))
            return embed_bad(error,
                             "'%s' is no name of a keyspace: 1 to %d "
                             "characters",
                             c->redis_db[i], KEYSPACE_NAME_MAX);
    for (size_t i = 0; i < c->bootstrap_count; i++)
        if (!c->bootstrap[i] || !addr_is_of_peer(c->bootstrap[i]))
            return embed_bad(error,
                             "'%s' is no bootstrap address: give "
                             "HOST:PORT",
                             c->bootstrap[i] ? c->bootstrap[i] : "");
    if (!kernel_choose(getenv("DLHT_KERNEL")))
        return embed_bad(error,
                         "DLHT_KERNEL '%s' is none that this processor runs: "
                         "scalar, avx2, avx512 or neon",
                         getenv("DLHT_KERNEL"));
    return DLHT_OK;
}

static void embed_node_config(const struct dlht_config *c,
                              struct node_config *node)
{
    node_config_default(node);
    if (c->zone)
        strcpy(node->zone, c->zone);
    for (size_t i = 0; i < c->bootstrap_count; i++)
        strcpy(node->bootstrap[i], c->bootstrap[i]);
    node->bootstrap_count = c->bootstrap_count;
    node->join_timeout_ns = c->join_timeout_ms * UINT64_C(1000000);
    node->vnodes = c->vnodes;
    node->successors = c->successors;
    node->weight_milli = (uint32_t)(c->weight * 1000 + 0.5);
    node->replicas = (uint8_t)c->replicas;
    node->map_fingers = c->map_fingers;
    node->down_out_ns = c->down_out_ms * UINT64_C(1000000);
    node->memory_limit = c->memory_limit;
    node->move_rate = c->move_rate;
    node->kernel = kernel_choose(getenv("DLHT_KERNEL"));
}

/* Number 0 is `default` unless it is said otherwise. */
static void embed_redis_config(const struct dlht_config *c,
                               struct host_config *host)
{
    _Static_assert((int)DLHT_REDIS_DBS_MAX == (int)REDIS_DBS_MAX,
                   "one number each");
    host->redis = c->redis;
    host->redis_ask = c->redis_ask;
    for (int i = 0; i < DLHT_REDIS_DBS_MAX; i++)
        host->redis_dbs[i] = c->redis_db[i];
    if (!host->redis_dbs[0])
        host->redis_dbs[0] = "default";
}

/* A join that failed: whom it asked. */
static void embed_name_bootstrap(const struct dlht_config *config,
                                 struct dlht_error *error)
{
    if (error->code != DLHT_EUNAVAILABLE && error->code != DLHT_ECLUSTER)
        return;
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        size_t len = strlen(error->text);
        snprintf(error->text + len, sizeof error->text - len, "%s%s",
                 i ? ", " : "; asked ", config->bootstrap[i]);
    }
}

/* Waits for the node to serve. */
static int embed_await(struct embed *e, struct dlht_error *error)
{
    int rc = DLHT_OK;
    pthread_mutex_lock(&e->lock);
    while (e->state == HOST_STARTING)
        pthread_cond_wait(&e->changed, &e->lock);
    if (e->state != HOST_READY) {
        *error = e->error;
        rc = error->code != DLHT_OK ? error->code : DLHT_ECLOSED;
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

int embed_new(const struct dlht_config *config, struct embed **out,
              struct dlht_error *error)
{
    *out = NULL;
    int rc = embed_check_numbers(config, error);
    if (rc == DLHT_OK)
        rc = embed_check_words(config, error);
    if (rc != DLHT_OK)
        return rc;
    struct embed *e = calloc(1, sizeof *e);
    if (!e) {
        error->code = DLHT_ENOMEM;
        snprintf(error->text, sizeof error->text, "out of memory");
        return DLHT_ENOMEM;
    }
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    struct host_config host = { .listen = config->listen,
                                .advertise = config->advertise,
                                .socket = config->socket,
                                .data_dir = config->data_dir,
                                .durability = config->durability,
                                .log = config->log,
                                .log_context = config->log_context,
                                .log_level = config->log_level };
    embed_redis_config(config, &host);
    embed_node_config(config, &host.node);
    rc = host_new(&host, embed_on_state, e, &e->host, error);
    if (rc == DLHT_OK)
        rc = embed_start(e);
    if (rc == DLHT_OK)
        rc = embed_await(e, error);
    if (rc != DLHT_OK) {
        embed_name_bootstrap(config, error);
        embed_free(e);
        return rc;
    }
    *out = e;
    return DLHT_OK;
}

void embed_free(struct embed *e)
{
    if (!e)
        return;
    if (e->running) {
        host_stop(e->host);
        pthread_join(e->thread, NULL);
    }
    host_free(e->host);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

const char *embed_address(const struct embed *e)
{
    return host_address(e->host);
}

const char *embed_redis_address(const struct embed *e)
{
    return host_redis_address(e->host);
}

const char *embed_inner_address(const struct embed *e)
{
    return host_inner_address(e->host);
}

bool embed_has_stopped(struct embed *e, struct dlht_error *error)
{
    pthread_mutex_lock(&e->lock);
    bool stopped = e->state == HOST_STOPPED || e->state == HOST_FAILED;
    if (stopped && error)
        *error = e->error;
    pthread_mutex_unlock(&e->lock);
    return stopped;
}
