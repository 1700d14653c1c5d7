/* SPDX-License-Identifier: Apache-2.0 */

/* The public library against a fake node: over a socket, inside the process,
 * and through an embedded node. One body for all. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/dlht.h"
#include "net/check.h"

static struct dlht *open_node(const char *listen)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = listen;
    struct dlht *d = NULL;
    struct dlht_error error;
    CHECK_EQ(dlht_open(&config, &d, &error), DLHT_OK);
    return d;
}

static void put_and_get(struct dlht *d)
{
    uint64_t version = 0, seen = 0;
    CHECK_EQ(dlht_put(d, NULL, "kiwi", 4, "fruit", 5, &version), DLHT_OK);
    CHECK(version > 0);
    void *value;
    size_t len;
    CHECK_EQ(dlht_get(d, NULL, "kiwi", 4, &value, &len, &seen), DLHT_OK);
    CHECK_EQ(len, 5);
    CHECK(memcmp(value, "fruit", 6) == 0);
    CHECK_EQ(seen, version);
    free(value);
    CHECK_EQ(dlht_get(d, NULL, "none", 4, &value, &len, NULL), DLHT_ENOTFOUND);
    CHECK(value == NULL);
}

int main(void)
{
    static const char *const listens[] = { "127.0.0.1:0", "inproc:here" };
    for (size_t i = 0; i < 2; i++) {
        struct dlht *node = open_node(listens[i]);
        put_and_get(node);
        struct dlht *d;
        CHECK_EQ(dlht_connect(dlht_address(node), 5000, &d, NULL), DLHT_OK);
        put_and_get(d);
        dlht_close(d);
        dlht_close(node);
    }
    return check_done();
}
