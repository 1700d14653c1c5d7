/* SPDX-License-Identifier: Apache-2.0 */

/* A short list of addresses. */

#include "net/client_peers.h"

#include <assert.h>
#include <string.h>

#include "net/addr.h"
#include "wire/mp.h"

static bool peers_add(struct client_peers *peers, struct span addr,
                      bool (*is_fit)(const char *text))
{
    char text[PEER_ADDR_MAX];
    if (addr.len == 0 || addr.len >= PEER_ADDR_MAX)
        return false;
    memcpy(text, addr.data, addr.len);
    text[addr.len] = 0;
    if (!is_fit(text))
        return false;
    for (size_t i = 0; i < peers->count; i++)
        if (strcmp(peers->list[i], text) == 0)
            return true;
    if (peers->count == CLIENT_PEERS_MAX)
        return true;
    memcpy(peers->list[peers->count++], text, addr.len + 1);
    return true;
}

bool client_peers_parse(struct client_peers *peers, const char *addresses)
{
    const char *at = addresses;
    for (;;) {
        const char *end = strchr(at, ',');
        size_t len = end ? (size_t)(end - at) : strlen(at);
        if (!peers_add(peers, span_of(at, len), addr_is_valid))
            return false;
        peers->given = peers->count;
        if (!end)
            return true;
        at = end + 1;
    }
}

/* One map of the document. */
static void peers_learn_map(struct client_peers *peers, struct mp_reader *r)
{
    struct span addr = span_empty();
    bool alive = false;
    size_t pairs = mp_read_map(r);
    for (size_t i = 0; i < pairs && !r->bad; i++) {
        struct span key = mp_read_bytes(r);
        bool text = mp_peek(r) == MP_BYTES;
        if (text && span_equal(key, span_str("peer")))
            addr = mp_read_bytes(r);
        else if (text && span_equal(key, span_str("state")))
            alive = span_equal(mp_read_bytes(r), span_str("up"));
        else
            mp_skip(r);
    }
    if (!r->bad && alive)
        (void)peers_add(peers, addr, addr_is_of_peer);
}

static void peers_learn_array(struct client_peers *peers, struct mp_reader *r)
{
    size_t count = mp_read_array(r);
    for (size_t i = 0; i < count && !r->bad; i++)
        if (mp_peek(r) == MP_MAP)
            peers_learn_map(peers, r);
        else
            mp_skip(r);
}

void client_peers_learn(struct client_peers *peers, struct span document)
{
    char current[PEER_ADDR_MAX];
    memcpy(current, client_peers_current(peers), PEER_ADDR_MAX);
    peers->count = peers->given;
    struct mp_reader r;
    mp_reader_init(&r, document);
    if (mp_peek(&r) == MP_ARRAY) {
        peers_learn_array(peers, &r);
    } else if (mp_peek(&r) == MP_MAP) {
        size_t pairs = mp_read_map(&r);
        for (size_t i = 0; i < pairs && !r.bad; i++) {
            mp_skip(&r);
            if (mp_peek(&r) == MP_ARRAY)
                peers_learn_array(peers, &r);
            else
                mp_skip(&r);
        }
    }
    if (peers->count == CLIENT_PEERS_MAX)
        peers->count--; /* room for the one in use */
    (void)peers_add(peers, span_str(current), addr_is_valid);
    for (peers->at = 0; strcmp(peers->list[peers->at], current) != 0;)
        peers->at++;
}

const char *client_peers_current(const struct client_peers *peers)
{
    assert(peers->at < peers->count);
    return peers->list[peers->at];
}

void client_peers_next(struct client_peers *peers)
{
    peers->at = (peers->at + 1) % peers->count;
}
