/* SPDX-License-Identifier: Apache-2.0 */

/* A sample of keys, and what it says of where to cut. */

#include "presplit.h"

#include <stdlib.h>
#include <string.h>

#include "document.h"

enum {
    TIMEOUT_MS = 30000
};

/* --- what the cluster says */

/* A call whose failure is not worth a word. */
static bool ask(struct cli *cli, enum dlht_op op, struct document *document)
{
    struct dlht_request request = cli_request(cli, op);
    struct dlht_result result;
    struct dlht *d = NULL;

    if (cli_open(cli, &d) != CLI_DONE ||
        dlht_call(d, &request, &result) != DLHT_OK)
        return false;
    if (document_open(document, result.value))
        return true;
    document_close(document);
    return false;
}

static bool text_is(struct dlht_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) &&
           memcmp(bytes.data, text, bytes.len) == 0;
}

/* Arcs of the keyspace; UINT64_MAX if it has no order that could be cut. */
static uint64_t arcs_there(struct cli *cli)
{
    const char *name = cli->set.keyspace ? cli->set.keyspace : "default";
    struct document list;
    uint64_t arcs = UINT64_MAX;

    if (!ask(cli, DLHT_OP_KEYSPACE_LIST, &list))
        return UINT64_MAX;
    for (size_t i = 0; i < document_rows(&list); i++) {
        const msgpack_object *row = document_row(&list, i);
        if (text_is(document_bytes(row, "name"), name) &&
            text_is(document_bytes(row, "placement"), "ordered") &&
            !document_flag(row, "dropped") && !document_flag(row, "volatile"))
            arcs = document_u64(row, "arcs");
    }
    document_close(&list);
    return arcs;
}

static uint64_t peers_up(struct cli *cli)
{
    struct document status;
    uint64_t peers = 0;

    if (!ask(cli, DLHT_OP_STATUS, &status))
        return 0;
    peers = document_u64(document_root(&status), "peers_up");
    document_close(&status);
    return peers;
}

size_t presplit_wanted(struct cli *cli, uint64_t arcs)
{
    uint64_t there = arcs_there(cli);

    if (there == UINT64_MAX)
        return 0;
    if (arcs == 0)
        arcs = peers_up(cli) * PRESPLIT_ARCS_OF_PEER;
    if (arcs > PRESPLIT_ARCS_MAX)
        arcs = PRESPLIT_ARCS_MAX;
    return arcs > there ? (size_t)arcs : 0;
}

/* --- the sample */

static int compare(const void *a, const void *b)
{
    const struct dlht_bytes *x = a;
    const struct dlht_bytes *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n ? memcmp(x->data, y->data, n) : 0;

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

bool presplit_init(struct presplit *sample)
{
    memset(sample, 0, sizeof(*sample));
    sample->keys = calloc(PRESPLIT_SAMPLE, sizeof(*sample->keys));
    sample->random = 0x9E3779B97F4A7C15u; /* any: the same input, same cuts */
    sample->in_order = true;
    return sample->keys != NULL;
}

void presplit_deinit(struct presplit *sample)
{
    for (size_t i = 0; i < sample->count; i++)
        free((void *)(uintptr_t)sample->keys[i].data);
    free(sample->keys);
    memset(sample, 0, sizeof(*sample));
}

/* SplitMix64 of Steele, Lea and Flood (2014). */
static uint64_t next_random(struct presplit *sample)
{
    uint64_t z = sample->random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void watch_order(struct presplit *sample, struct dlht_bytes key)
{
    struct dlht_bytes last = { sample->last, sample->last_len };

    if (!sample->in_order)
        return;
    sample->in_order = compare(&last, &key) <= 0;
    memcpy(sample->last, key.data, key.len);
    sample->last_len = key.len;
}

bool presplit_add(struct presplit *sample, struct dlht_bytes key)
{
    size_t at = sample->count;
    char *copy;

    if (key.len > PRESPLIT_KEY_MAX)
        key.len = PRESPLIT_KEY_MAX;
    watch_order(sample, key);
    sample->seen++;
    if (at == PRESPLIT_SAMPLE)
        at = (size_t)(next_random(sample) % sample->seen);
    if (at >= PRESPLIT_SAMPLE)
        return true;
    copy = malloc(key.len + 1);
    if (!copy)
        return false;
    memcpy(copy, key.data, key.len);
    if (at < sample->count)
        free((void *)(uintptr_t)sample->keys[at].data);
    else
        sample->count++;
    sample->keys[at] = (struct dlht_bytes){ copy, key.len };
    return true;
}

/* The shortest key that is after `before` and not after `key`, which sorts
 * after it: the beginning of key up to the first byte that differs. */
static struct dlht_bytes shortest_between(struct dlht_bytes before,
                                          struct dlht_bytes key)
{
    const uint8_t *a = before.data;
    const uint8_t *b = key.data;
    size_t i = 0;

    while (i < before.len && i < key.len && a[i] == b[i])
        i++;
    return (struct dlht_bytes){ key.data, i + 1 };
}

/* The least index of a key equal to the one at i. */
static size_t first_equal(const struct presplit *sample, size_t i)
{
    while (i > 0 && compare(&sample->keys[i - 1], &sample->keys[i]) == 0)
        i--;
    return i;
}

size_t presplit_plan(struct presplit *sample, size_t arcs,
                     struct dlht_bytes *cuts)
{
    uint64_t most = sample->seen / PRESPLIT_RECORDS_OF_ARC;
    size_t last = 0;
    size_t count = 0;

    if (arcs > most)
        arcs = (size_t)most;
    if (sample->count > 1)
        qsort(sample->keys, sample->count, sizeof(*sample->keys), compare);
    for (size_t i = 1; i < arcs; i++) {
        size_t at = first_equal(sample, i * sample->count / arcs);
        if (at <= last)
            continue; /* many records of one key, or before all */
        cuts[count++] =
            shortest_between(sample->keys[at - 1], sample->keys[at]);
        last = at;
    }
    return count;
}

/* --- telling the cluster */

int64_t presplit_send(struct cli *cli, const struct dlht_bytes *cuts,
                      size_t count)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_PRESPLIT);
    struct dlht_result result;
    struct document answer;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    struct dlht *d = NULL;
    int64_t cut;

    if (cli_open(cli, &d) != CLI_DONE)
        return DLHT_EUNAVAILABLE;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2);
    document_pack_text(&packer, "keyspace");
    document_pack_text(&packer,
                       cli->set.keyspace ? cli->set.keyspace : "default");
    document_pack_text(&packer, "keys");
    msgpack_pack_array(&packer, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_bin(&packer, cuts[i].len);
        msgpack_pack_bin_body(&packer, cuts[i].data, cuts[i].len);
    }
    request.document = (struct dlht_bytes){ buffer.data, buffer.size };
    if (request.timeout_ms == 0)
        request.timeout_ms = TIMEOUT_MS;
    cut = dlht_call(d, &request, &result);
    msgpack_sbuffer_destroy(&buffer);
    if (cut != DLHT_OK)
        return cut;
    if (document_open(&answer, result.value))
        cut = (int64_t)document_u64(document_root(&answer), "cut");
    document_close(&answer);
    return cut < 0 ? 0 : cut;
}
