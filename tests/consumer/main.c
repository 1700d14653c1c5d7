/* SPDX-License-Identifier: Apache-2.0 */

/* Somebody's program that uses the installed library, and happens to have a
 * call of its own that is named like one of the library's insides. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlht/dlht.h>

int node_init(void);
int node_new(void);
int buf_append(void);

int node_init(void)
{
    return 1;
}

int node_new(void)
{
    return 2;
}

int buf_append(void)
{
    return 3;
}

int main(void)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "inproc:consumer";
    struct dlht *d;
    struct dlht_error error;
    if (dlht_open(&config, &d, &error) != DLHT_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    void *value = NULL;
    size_t len;
    int rc = dlht_put(d, NULL, "k", 1, "v", 1, NULL);
    if (rc == DLHT_OK)
        rc = dlht_get(d, NULL, "k", 1, &value, &len, NULL);
    bool right = rc == DLHT_OK && len == 1 && strcmp(value, "v") == 0;
    free(value);
    dlht_close(d);
    return !(right && node_init() == 1 && node_new() == 2 && buf_append() == 3);
}
