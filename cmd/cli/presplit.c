/* SPDX-License-Identifier: Apache-2.0 */

/* What the cluster is asked and told. */

#include "presplit.h"

#include <stdlib.h>
#include <string.h>

#include "document.h"

enum {
    TIMEOUT_MS = 30000
};

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
