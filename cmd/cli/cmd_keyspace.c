/* SPDX-License-Identifier: Apache-2.0 */

/* keyspace create, list and drop. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "document.h"
#include "output.h"

static void pack_text(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str(packer, strlen(text));
    msgpack_pack_str_body(packer, text, strlen(text));
}

static void pack_name(msgpack_packer *packer, const struct word *name)
{
    pack_text(packer, "name");
    msgpack_pack_str(packer, name->len);
    msgpack_pack_str_body(packer, name->data, name->len);
}

/* Sends what buffer holds as the document of op, then frees buffer. */
static int send_document(struct cli *cli, enum dlht_op op,
                         msgpack_sbuffer *buffer)
{
    struct dlht_request request = cli_request(cli, op);
    struct dlht_result result;
    int rc;

    request.document = (struct dlht_bytes){ buffer->data, buffer->size };
    rc = cli_call(cli, &request, &result);
    msgpack_sbuffer_destroy(buffer);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_flag("ok", true);
        output_end();
    } else {
        puts("OK");
    }
    return CLI_DONE;
}

int cmd_keyspace_create(struct cli *cli, const struct arguments *args)
{
    static const char *const placements[] = { "ordered", "hashed" };
    uint64_t replicas = options_number(args, "replicas", 0);
    bool is_volatile = options_has(args, "volatile");
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    if (replicas && replicas % 2 == 0)
        return cli_usage(cli, "--replicas '%" PRIu64 "': 1, 3 or 5 is meant",
                         replicas);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2u + (replicas > 0) + is_volatile);
    pack_name(&packer, &args->list[0]);
    pack_text(&packer, "placement");
    pack_text(&packer, placements[options_number(args, "placement", 0)]);
    if (replicas) {
        pack_text(&packer, "replicas");
        msgpack_pack_uint64(&packer, replicas);
    }
    if (is_volatile) {
        pack_text(&packer, "volatile");
        msgpack_pack_true(&packer);
    }
    return send_document(cli, DLHT_OP_KEYSPACE_CREATE, &buffer);
}

int cmd_keyspace_drop(struct cli *cli, const struct arguments *args)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 1);
    pack_name(&packer, &args->list[0]);
    return send_document(cli, DLHT_OP_KEYSPACE_DROP, &buffer);
}

static void add_keyspace(struct output_table *table,
                         const msgpack_object *keyspace)
{
    static const char *const numbers[] = { "id", "replicas", "arcs" };
    char cell[256];

    output_table_add(table, output_printable(document_bytes(keyspace, "name"),
                                             64, cell, sizeof(cell)));
    output_table_add(table,
                     output_printable(document_bytes(keyspace, "placement"), 32,
                                      cell, sizeof(cell)));
    for (size_t i = 0; i < 3; i++) {
        snprintf(cell, sizeof(cell), "%" PRIu64,
                 document_u64(keyspace, numbers[i]));
        output_table_add(table, cell);
    }
    output_table_add(table, document_flag(keyspace, "dropped") ? "being dropped"
                            : document_flag(keyspace, "volatile") ? "volatile"
                                                                  : "durable");
}

int cmd_keyspace_list(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "NAME",      "PLACEMENT", ">ID",
                                        ">REPLICAS", ">ARCS",     "KIND" };
    struct dlht_request request = cli_request(cli, DLHT_OP_KEYSPACE_LIST);
    struct dlht_result result;
    struct document document;
    struct output_table table;
    int rc = cli_call(cli, &request, &result);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    if (!document_open(&document, result.value)) {
        document_close(&document);
        return cli_fail(cli, DLHT_EPROTO, "the answer is no document");
    }
    output_table_init(&table, head, 6);
    for (size_t i = 0; i < document_rows(&document); i++) {
        if (cli->set.json)
            document_print_json(document_row(&document, i));
        else
            add_keyspace(&table, document_row(&document, i));
    }
    if (!cli->set.json)
        output_table_end(&table);
    document_close(&document);
    return CLI_DONE;
}
