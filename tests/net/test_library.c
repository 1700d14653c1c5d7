/* SPDX-License-Identifier: Apache-2.0 */

/* The public library against a fake node: over a socket, inside the process,
 * and through an embedded node. One body for all. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dlht/dlht.h"
#include "net/check.h"

static void put_and_get(struct dlht *d)
{
    uint64_t version = 0, seen = 0;
    CHECK_EQ(dlht_put(d, NULL, "kiwi", 4, "fruit", 5, &version), DLHT_OK);
    CHECK(version > 0);
    void *value;
    size_t len;
    CHECK_EQ(dlht_get(d, NULL, "kiwi", 4, &value, &len, &seen), DLHT_OK);
    CHECK_EQ(len, 5);
    CHECK(value && memcmp(value, "fruit", 6) == 0);
    CHECK_EQ(seen, version);
    free(value);
    CHECK_EQ(dlht_get(d, NULL, "none", 4, &value, &len, NULL), DLHT_ENOTFOUND);
    CHECK(value == NULL);
}

/* The largest there are, and a little more. */
static void sizes(struct dlht *d)
{
    enum {
        KEY = 64 << 10,
        VALUE = 16 << 20
    };
    char *key = malloc(KEY + 1), *value = malloc(VALUE + 1);
    memset(key, 'k', KEY + 1);
    for (size_t i = 0; i < VALUE + 1; i++)
        value[i] = (char)(i * 7 / 5);
    /* It may take long where a sanitizer watches. */
    struct dlht_options patient = { .timeout_ms = 60000 };
    CHECK_EQ(dlht_put(d, &patient, key, KEY, value, VALUE, NULL), DLHT_OK);
    void *got;
    size_t len;
    CHECK_EQ(dlht_get(d, &patient, key, KEY, &got, &len, NULL), DLHT_OK);
    CHECK_EQ(len, VALUE);
    CHECK(got && memcmp(got, value, VALUE) == 0);
    free(got);
    CHECK_EQ(dlht_put(d, NULL, key, KEY + 1, "", 0, NULL), DLHT_ETOOBIG);
    CHECK_EQ(dlht_put(d, NULL, key, 1, value, VALUE + 1, NULL), DLHT_ETOOBIG);
    CHECK_EQ(dlht_put(d, NULL, "", 0, "", 0, NULL), DLHT_EINVAL);
    CHECK_EQ(dlht_put(d, NULL, "e", 1, NULL, 0, NULL), DLHT_OK);
    CHECK_EQ(dlht_get(d, NULL, "e", 1, &got, &len, NULL), DLHT_OK);
    CHECK_EQ(len, 0);
    free(got);
    free(key);
    free(value);
}

struct many {
    struct dlht *d;
    int done;
    int failed;
    int again; /* requests that callbacks submit */
};

static void on_many(void *context, const struct dlht_result *result)
{
    struct many *m = context;
    m->done++;
    m->failed += result->status != DLHT_OK;
    if (m->again-- <= 0)
        return;
    struct dlht_request q = { .op = DLHT_OP_GET, .key = { "kiwi", 4 } };
    CHECK_EQ(dlht_submit(m->d, &q, on_many, m), DLHT_OK);
    /* Waiting inside a callback cannot be. */
    struct dlht_result none;
    CHECK_EQ(dlht_call(m->d, &q, &none), DLHT_EINVAL);
    CHECK_EQ(dlht_poll(m->d, 0), DLHT_EINVAL);
}

static void many_at_once(struct dlht *d)
{
    enum {
        COUNT = 20000
    };
    struct many m = { .d = d, .again = 100 };
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        struct dlht_request q = { .op = i % 2 ? DLHT_OP_GET : DLHT_OP_PUT };
        q.key.data = key;
        q.key.len = (size_t)snprintf(key, sizeof key, "key%d", i / 2 % 500);
        q.value = q.key;
        CHECK_EQ(dlht_submit(d, &q, on_many, &m), DLHT_OK);
    }
    while (m.done < COUNT + 100)
        CHECK(dlht_poll(d, 5000) > 0);
    CHECK_EQ(m.done, COUNT + 100);
    CHECK_EQ(m.failed, 0);
    CHECK_EQ(dlht_poll(d, 0), 0);
    CHECK_EQ(dlht_poll(d, -1), 0); /* nothing is open: returns at once */
}

static void body(struct dlht *d)
{
    put_and_get(d);
    sizes(d);
    many_at_once(d);
}

static void over_the_socket(const char *path)
{
    char addr[64];
    snprintf(addr, sizeof addr, "unix:%s", path);
    struct dlht *d;
    struct dlht_error error;
    CHECK_EQ(dlht_connect(addr, 5000, &d, &error), DLHT_OK);
    body(d);
    dlht_close(d);
}

static void everything_works_over(const char *listen)
{
    char path[48];
    snprintf(path, sizeof path, "/tmp/dlht-test-%ld.socket", (long)getpid());
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = listen;
    config.socket = path;
    struct dlht *node, *other, *d;
    struct dlht_error error;
    CHECK_EQ(dlht_open(&config, &node, &error), DLHT_OK);
    body(node);
    over_the_socket(path);
    /* Its address is taken now. */
    config.listen = dlht_address(node);
    CHECK_EQ(dlht_open(&config, &other, &error), DLHT_EBUSY);
    CHECK(strstr(error.text, config.listen) != NULL);
    CHECK(other == NULL);
    CHECK_EQ(dlht_connect(dlht_address(node), 5000, &d, &error), DLHT_OK);
    CHECK(dlht_address(d) == NULL);
    CHECK(!dlht_has_stopped(d, NULL));
    body(d);
    CHECK(!dlht_has_stopped(node, NULL));
    dlht_close(node);
    CHECK(access(path, F_OK) != 0);
    /* Without the node: a read runs out of time. */
    struct dlht_options soon = { .timeout_ms = 50 };
    void *value;
    size_t len;
    CHECK_EQ(dlht_get(d, &soon, "kiwi", 4, &value, &len, NULL), DLHT_ETIMEOUT);
    dlht_close(d);
    CHECK_EQ(dlht_connect("nonsense", 50, &d, &error), DLHT_EINVAL);
}

static void a_bad_configuration_is_explained(void)
{
    static const struct {
        const char *listen, *advertise, *bootstrap, *data_dir, *zone;
        double weight;
        uint32_t replicas;
        int rc;
        const char *named;
    } rows[] = {
        { "here", 0, 0, 0, 0, 1, 3, DLHT_EINVAL, "here" },
        { "127.0.0.1:99999", 0, 0, 0, 0, 1, 3, DLHT_EINVAL, "99999" },
        { "192.0.2.1:0", 0, 0, 0, 0, 1, 3, DLHT_EINVAL, "192.0.2.1" },
        { "0.0.0.0:0", 0, 0, 0, 0, 1, 3, DLHT_EINVAL, "--advertise" },
        { "127.0.0.1:0", "*:1", 0, 0, 0, 1, 3, DLHT_EINVAL, "*:1" },
        { "127.0.0.1:0", 0, "::1", 0, 0, 1, 3, DLHT_EINVAL, "::1" },
        { "127.0.0.1:0", 0, 0, "/proc/none", 0, 1, 3, DLHT_EINVAL, "/proc" },
        { "127.0.0.1:0", 0, 0, 0, "a-zone-with-a-name-beyond-32-bytes", 1, 3,
          DLHT_EINVAL, "zone" },
        { "127.0.0.1:0", 0, 0, 0, 0, 0.01, 3, DLHT_EINVAL, "weight" },
        { "127.0.0.1:0", 0, 0, 0, 0, 1, 2, DLHT_EINVAL, "replicas" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dlht_config config;
        dlht_config_default(&config);
        config.listen = rows[i].listen;
        config.advertise = rows[i].advertise;
        config.bootstrap[0] = rows[i].bootstrap;
        config.bootstrap_count = rows[i].bootstrap != NULL;
        config.data_dir = rows[i].data_dir;
        config.zone = rows[i].zone;
        config.weight = rows[i].weight;
        config.replicas = rows[i].replicas;
        struct dlht *d;
        struct dlht_error error;
        CHECK_EQ(dlht_open(&config, &d, &error), rows[i].rc);
        CHECK_EQ(error.code, rows[i].rc);
        CHECK(strstr(error.text, rows[i].named) != NULL);
        dlht_close(d);
    }
}

static void a_data_dir_is_kept_and_locked(void)
{
    char path[] = "/tmp/dlht_library_XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "inproc:durable";
    config.data_dir = path;
    struct dlht *node, *second;
    struct dlht_error error;
    CHECK_EQ(dlht_open(&config, &node, &error), DLHT_OK);
    put_and_get(node);
    many_at_once(node);
    config.listen = "inproc:other";
    CHECK_EQ(dlht_open(&config, &second, &error), DLHT_EBUSY);
    CHECK(strstr(error.text, path) != NULL);
    dlht_close(node);
    CHECK_EQ(dlht_open(&config, &node, &error), DLHT_OK);
    void *value;
    size_t len;
    CHECK_EQ(dlht_get(node, NULL, "key77", 5, &value, &len, NULL), DLHT_OK);
    CHECK_EQ(len, 5);
    free(value);
    dlht_close(node);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CHECK_EQ(system(command), 0);
}

int main(void)
{
    everything_works_over("127.0.0.1:0");
    everything_works_over("inproc:here");
    a_bad_configuration_is_explained();
    a_data_dir_is_kept_and_locked();
    return check_done();
}
