/* SPDX-License-Identifier: Apache-2.0 */

/* Which server leads the arc of each key: looked up through the library, one
 * arc at a time, and kept in the map that the library keeps. */

#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "dlht/dlht.h"
#include "load.h"
#include "net/client_map.h"

static const uint32_t TIMEOUT_MS = 20000;

static int server_of(const struct load_options *options, struct span address)
{
    for (size_t i = 0; i < options->to_count; i++)
        if (span_equal(span_str(options->to[i]), address))
            return (int)i;
    load_die("%.*s, which leads an arc, is not among --to", (int)address.len,
             (const char *)address.data);
}

/* Asks for the arc of the key, and notes it. */
static int look_up(const struct load_options *options, struct dlht *dlht,
                   struct client_map *map, struct span keyspace,
                   struct span key)
{
    struct dlht_result result;
    struct client_map_place place;
    struct dlht_request request = { .op = DLHT_OP_LOOKUP,
                                    .keyspace = options->keyspace,
                                    .key = { key.data, key.len },
                                    .timeout_ms = TIMEOUT_MS };
    if (dlht_call(dlht, &request, &result) != DLHT_OK)
        load_die("where keys are: %s", result.text);
    if (!client_map_read(span_of(result.value.data, result.value.len), &place))
        load_die("where keys are: the node does not say");
    int server = server_of(options, place.owner);
    if (client_map_put(map, keyspace, &place, server) != DLHT_OK)
        load_die("where keys are: too many arcs");
    return server;
}

uint8_t *load_route(const struct load_options *options)
{
    struct client_map *map = bench_memory(1, sizeof *map);
    uint8_t *routes = bench_memory(options->keys, 1);
    struct span keyspace =
        options->keyspace ? span_str(options->keyspace) : span_empty();
    struct dlht *dlht;
    struct dlht_error error;
    uint8_t key[LOAD_KEY_MAX];
    if (dlht_connect(options->to[0], TIMEOUT_MS, &dlht, &error) != DLHT_OK)
        load_die("%s: %s", options->to[0], error.text);
    load_key_form(key, options->key_size);
    for (uint32_t i = 0; i < options->keys; i++) {
        load_key_write(key, options->key_size, i);
        struct span bytes = span_of(key, options->key_size);
        int server = client_map_find(map, keyspace, bytes);
        if (server < 0)
            server = look_up(options, dlht, map, keyspace, bytes);
        routes[i] = (uint8_t)server;
    }
    dlht_close(dlht);
    client_map_deinit(map);
    free(map);
    return routes;
}
