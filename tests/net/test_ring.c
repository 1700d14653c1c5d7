/* SPDX-License-Identifier: Apache-2.0 */

/* Several true nodes in one process make a ring; one body, over sockets and
 * over links inside the process. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dlht/dlht.h"
#include "net/check.h"

enum {
    NODES = 3,
    KEYS = 200,
    PATIENCE_S = 60
};

static struct dlht *start(const char *listen, const char *bootstrap)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = listen;
    config.join_timeout_ms = 20000;
    if (bootstrap)
        config.bootstrap[config.bootstrap_count++] = bootstrap;
    struct dlht *node = NULL;
    struct dlht_error error;
    int rc = dlht_open(&config, &node, &error);
    if (rc != DLHT_OK)
        fprintf(stderr, "%s: %s\n", listen, error.text);
    CHECK_EQ(rc, DLHT_OK);
    return node;
}

/* Tries again while the ring moves: a refusal is no failure of the test. */
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

static void check_value(struct dlht *d, const char *key, const char *want)
{
    void *value = NULL;
    size_t len = 0;
    int rc = DLHT_ETIMEOUT;
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end;) {
        rc = dlht_get(d, NULL, key, strlen(key), &value, &len, NULL);
        if (rc == DLHT_OK || rc == DLHT_ENOTFOUND)
            break;
    }
    CHECK_EQ(rc, DLHT_OK);
    CHECK(value && strcmp(value, want) == 0);
    free(value);
}

static void wait_for_peers(struct dlht *d, unsigned count)
{
    struct dlht_request q = { .op = DLHT_OP_PEERS };
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end;) {
        struct dlht_result r;
        /* An array of so many maps: its header is one byte. */
        if (dlht_call(d, &q, &r) == DLHT_OK && r.value.len > 0 &&
            *(const unsigned char *)r.value.data == (0x90 | count))
            return;
    }
    CHECK_EQ(count, 0); /* the peers did not find each other */
}

/* Reads all keys again and again until none has to be fetched from another node
 * than the one that the client asks. */
static void asks_owners(struct dlht *client)
{
    unsigned forwarded = KEYS;
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end && forwarded;) {
        forwarded = 0;
        for (int i = 0; i < KEYS; i++) {
            char key[32];
            snprintf(key, sizeof key, "key%03d", i);
            struct dlht_request q = { .op = DLHT_OP_GET,
                                      .key = { key, strlen(key) } };
            struct dlht_result r;
            CHECK_EQ(dlht_call(client, &q, &r), DLHT_OK);
            forwarded += r.hops > 0;
        }
    }
    CHECK_EQ(forwarded, 0);
}

static void a_ring(const char *const listens[NODES])
{
    struct dlht *nodes[NODES];
    for (int i = 0; i < NODES; i++)
        nodes[i] = start(listens[i], i ? dlht_address(nodes[0]) : NULL);
    for (int i = 0; i < NODES; i++)
        wait_for_peers(nodes[i], NODES);
    struct dlht *client;
    CHECK_EQ(dlht_connect(dlht_address(nodes[2]), 5000, &client, NULL),
             DLHT_OK);
    char key[32], value[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key%03d", i);
        snprintf(value, sizeof value, "value%d", i);
        CHECK_EQ(put(i % 2 ? client : nodes[i % NODES], key, value), DLHT_OK);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key%03d", i);
        snprintf(value, sizeof value, "value%d", i);
        check_value(nodes[(i + 1) % NODES], key, value);
    }
    struct dlht_request q = { .op = DLHT_OP_COUNT };
    struct dlht_result r;
    CHECK_EQ(dlht_call(client, &q, &r), DLHT_OK);
    CHECK_EQ(r.count, KEYS);
    asks_owners(client);
    /* The client's node goes: the client finds another by itself if it knows
     * one; here it is told of none in time, so a new one is made. */
    dlht_close(client);
    dlht_close(nodes[2]);
    CHECK_EQ(put(nodes[0], "key000", "later"), DLHT_OK);
    check_value(nodes[1], "key000", "later");
    dlht_close(nodes[1]);
    dlht_close(nodes[0]);
}

/* A bootstrap address where nobody is: a clear failure, no ring of one. */
static void nobody_to_join(void)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    config.bootstrap[0] = "127.0.0.1:1";
    config.bootstrap_count = 1;
    config.join_timeout_ms = 500;
    struct dlht *node;
    struct dlht_error error;
    CHECK_EQ(dlht_open(&config, &node, &error), DLHT_EUNAVAILABLE);
    CHECK(error.text[0] != 0);
}

int main(void)
{
    static const char *const sockets[NODES] = { "127.0.0.1:0", "127.0.0.1:0",
                                                "127.0.0.1:0" };
    static const char *const inside[NODES] = { "inproc:a", "inproc:b",
                                               "inproc:c" };
    a_ring(sockets);
    a_ring(inside);
    nobody_to_join();
    return check_done();
}
