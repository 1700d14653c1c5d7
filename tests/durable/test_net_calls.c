/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th call of the system about sockets fails, in a ring of two nodes with
 * a client beside them: interrupted, done by half, refused, the link at its
 * end. What was acknowledged is read back, and all goes on once the calls do.
 * And while a node starts: it starts, or says why not. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dlht/dlht.h"
#include "durable/calls.h"
#include "net/check.h"

enum {
    PATIENCE_S = 30,
    EACH = 10, /* the first so many calls of a kind */
    STARTS = 40
};

static const struct failing {
    enum call_name call;
    int error;
} ways[] = {
    { CALL_recv, EINTR },        { CALL_recv, ECONNRESET },
    { CALL_recv, CALL_SHORT },   { CALL_recv, CALL_END },
    { CALL_recv, ENOBUFS },      { CALL_send, EINTR },
    { CALL_send, EPIPE },        { CALL_send, CALL_SHORT },
    { CALL_send, EAGAIN },       { CALL_send, ENOBUFS },
    { CALL_accept4, EMFILE },    { CALL_accept4, ECONNABORTED },
    { CALL_accept4, EINTR },     { CALL_connect, ENETUNREACH },
    { CALL_connect, EINTR },     { CALL_socket, EMFILE },
    { CALL_setsockopt, EINVAL }, { CALL_getsockopt, EBADF },
};

static const struct failing starts[] = {
    { CALL_socket, EMFILE },     { CALL_bind, EADDRINUSE },
    { CALL_listen, EINVAL },     { CALL_eventfd, EMFILE },
    { CALL_setsockopt, EINVAL },
};

static uint64_t trials, failures, refused;

static int start(const char *bootstrap, struct dlht **out,
                 struct dlht_error *error)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    config.join_timeout_ms = 20000;
    if (bootstrap)
        config.bootstrap[config.bootstrap_count++] = bootstrap;
    error->text[0] = 0;
    return dlht_open(&config, out, error);
}

static int put(struct dlht *d, const char *key, const char *value)
{
    int rc = DLHT_ETIMEOUT;
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end;) {
        rc = dlht_put(d, NULL, key, strlen(key), value, strlen(value), NULL);
        if (rc == DLHT_OK)
            break;
    }
    return rc;
}

static bool has(struct dlht *d, const char *key, const char *want)
{
    void *value = NULL;
    size_t len = 0;
    int rc = DLHT_ETIMEOUT;
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end;) {
        rc = dlht_get(d, NULL, key, strlen(key), &value, &len, NULL);
        if (rc == DLHT_OK || rc == DLHT_ENOTFOUND)
            break;
    }
    bool same =
        rc == DLHT_OK && len == strlen(want) && memcmp(value, want, len) == 0;
    free(value);
    return same;
}

/* Puts through one, reads through the other, over links that fail. A client
 * that is new makes new ones. */
static void try_one(struct dlht *nodes[2], const struct failing *way,
                    uint64_t n)
{
    char key[32], value[32];
    trials++;
    snprintf(key, sizeof key, "key%llu", (unsigned long long)(trials % 50));
    snprintf(value, sizeof value, "value%llu", (unsigned long long)trials);
    calls_fail(way->call, n, way->error);
    struct dlht *client = NULL;
    struct dlht_error error;
    int rc = dlht_connect(dlht_address(nodes[n % 2]), 5000, &client, &error);
    int put_rc = put(rc == DLHT_OK ? client : nodes[0], key, value);
    bool there = has(nodes[trials % 2], key, value);
    bool happened = calls_happened();
    calls_fail(CALL_close, 0, 0);
    failures += happened;
    if (put_rc != DLHT_OK || !there || (rc != DLHT_OK && !happened))
        fprintf(stderr, "%s %llu fails by %d: connect %s, put %s, %s\n",
                calls_name(way->call), (unsigned long long)n, way->error,
                dlht_errname(rc), dlht_errname(put_rc),
                there ? "read" : "not read");
    CHECK_EQ(put_rc, DLHT_OK);
    CHECK(there);
    CHECK(rc == DLHT_OK || happened);
    dlht_close(client);
}

static void a_ring(void)
{
    struct dlht *nodes[2];
    struct dlht_error error;
    CHECK_EQ(start(NULL, &nodes[0], &error), DLHT_OK);
    CHECK_EQ(start(dlht_address(nodes[0]), &nodes[1], &error), DLHT_OK);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (uint64_t n = 1; n <= EACH; n++)
            try_one(nodes, &ways[i], n);
    char key[32];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "key%d", i);
        char value[32];
        uint64_t last = trials - (trials + 50 - (uint64_t)i) % 50;
        snprintf(value, sizeof value, "value%llu", (unsigned long long)last);
        CHECK(has(nodes[i % 2], key, value));
    }
    dlht_close(nodes[1]);
    dlht_close(nodes[0]);
}

static void beginnings(void)
{
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        bool more = true;
        for (uint64_t n = 1; more && n < STARTS; n++) {
            struct dlht *node = NULL;
            struct dlht_error error;
            calls_fail(starts[i].call, n, starts[i].error);
            int rc = start(NULL, &node, &error);
            more = calls_happened();
            calls_fail(CALL_close, 0, 0);
            failures += more;
            refused += rc != DLHT_OK;
            CHECK(rc == DLHT_OK || (more && error.text[0] && !node));
            dlht_close(node);
        }
    }
}

int main(void)
{
    a_ring();
    beginnings();
    printf("%llu calls failed, %llu starts were refused\n",
           (unsigned long long)failures, (unsigned long long)refused);
    CHECK(failures > 60);
    return check_done();
}
