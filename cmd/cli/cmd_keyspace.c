/* SPDX-License-Identifier: Apache-2.0 */

/* keyspace create, list, drop, set and show. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cells.h"
#include "document.h"
#include "output.h"
#include "settings.h"

static void pack_name(msgpack_packer *packer, const struct word *name)
{
    document_pack_text(packer, "name");
    document_pack_str(packer, word_bytes(name));
}

/* What makes a cache of a volatile keyspace, as the cluster is told. */
static const char *const bounds[] = { "max-bytes", "max-items", "policy" };

enum {
    BOUNDS_COUNT = sizeof(bounds) / sizeof(*bounds)
};

static unsigned count_bounds(const struct arguments *args)
{
    unsigned count = 0;

    for (size_t i = 0; i < BOUNDS_COUNT; i++)
        count += options_has(args, bounds[i]);
    return count;
}

static void pack_bounds(msgpack_packer *packer, const struct arguments *args)
{
    static const char *const policies[] = { "s3fifo", "lru" };
    char text[32];

    document_pack_text(packer, "options");
    msgpack_pack_map(packer, count_bounds(args));
    for (size_t i = 0; i < BOUNDS_COUNT; i++) {
        uint64_t number = options_number(args, bounds[i], 0);
        if (!options_has(args, bounds[i]))
            continue;
        document_pack_text(packer, bounds[i]);
        snprintf(text, sizeof(text), "%" PRIu64, number);
        document_pack_text(packer, i == 2 ? policies[number] : text);
    }
}

int cmd_keyspace_create(struct cli *cli, const struct arguments *args)
{
    static const char *const placements[] = { "ordered", "hashed" };
    uint64_t replicas = options_number(args, "replicas", 0);
    bool is_volatile = options_has(args, "volatile");
    bool is_placed = options_has(args, "placement");
    bool is_bound = count_bounds(args) > 0;
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    if (is_bound && !is_volatile)
        return cli_usage(cli, "--max-bytes, --max-items and --policy are of "
                              "volatile keyspaces: say --volatile, too");
    if (options_has(args, "policy") && !options_has(args, "max-bytes") &&
        !options_has(args, "max-items"))
        return cli_usage(cli, "--policy says what goes when a bound is met: "
                              "say --max-bytes or --max-items, too");

    if (replicas && replicas % 2 == 0)
        return cli_usage(cli, "--replicas '%" PRIu64 "': 1, 3 or 5 is meant",
                         replicas);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer,
                     1u + is_placed + (replicas > 0) + is_volatile + is_bound);
    pack_name(&packer, &args->list[0]);
    if (is_placed) {
        document_pack_text(&packer, "placement");
        document_pack_text(&packer,
                           placements[options_number(args, "placement", 0)]);
    }
    if (replicas) {
        document_pack_text(&packer, "replicas");
        msgpack_pack_uint64(&packer, replicas);
    }
    if (is_volatile) {
        document_pack_text(&packer, "volatile");
        msgpack_pack_true(&packer);
    }
    if (is_bound)
        pack_bounds(&packer, args);
    return settings_send(cli, DLHT_OP_KEYSPACE_CREATE, &buffer);
}

int cmd_keyspace_drop(struct cli *cli, const struct arguments *args)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 1);
    pack_name(&packer, &args->list[0]);
    return settings_send(cli, DLHT_OP_KEYSPACE_DROP, &buffer);
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
    snprintf(cell, sizeof(cell), "%s",
             document_flag(keyspace, "dropped")    ? "being dropped"
             : document_flag(keyspace, "volatile") ? "volatile"
                                                   : "durable");
    if (document_u64(keyspace, "dim") && !document_flag(keyspace, "dropped"))
        snprintf(cell, sizeof(cell), "vectors of %" PRIu64 " numbers",
                 document_u64(keyspace, "dim"));
    output_table_add(table, cell);
}

int cmd_keyspace_list(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "NAME",      "PLACEMENT", ">ID",
                                        ">REPLICAS", ">ARCS",     "KIND" };
    struct dlht_request request = cli_request(cli, DLHT_OP_KEYSPACE_LIST);
    struct dlht_result result;
    struct document document;
    struct output_table table;
    int rc = cells_call(cli, &request, &result, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
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

int cmd_keyspace_set(struct cli *cli, const struct arguments *args)
{
    int rc = settings_check(cli, args, "keyspace show lists them");
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    if (rc != CLI_DONE)
        return rc;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2);
    pack_name(&packer, &args->list[0]);
    settings_pack(&packer, args);
    return settings_send(cli, DLHT_OP_KEYSPACE_SET, &buffer);
}

/* One option: an array of three texts, none of which is relied on. */
static struct dlht_bytes part_of(const msgpack_object *row, uint32_t index)
{
    struct dlht_bytes none = { "", 0 };

    if (row->type != MSGPACK_OBJECT_ARRAY || row->via.array.size <= index)
        return none;
    return document_value_bytes(&row->via.array.ptr[index]);
}

static void show_option(struct cli *cli, struct output_table *table,
                        const msgpack_object *row)
{
    static const char *const names[] = { "option", "value", "default" };
    char cell[CELL_MAX];

    if (cli->set.json)
        output_begin();
    for (uint32_t i = 0; i < 3; i++) {
        if (cli->set.json)
            output_bytes(names[i], part_of(row, i));
        else
            output_table_add(table, output_printable(part_of(row, i), 64, cell,
                                                     sizeof(cell)));
    }
    if (cli->set.json)
        output_end();
}

int cmd_keyspace_show(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "OPTION", "VALUE", "DEFAULT" };
    struct dlht_request request = cli_request(cli, DLHT_OP_KEYSPACE_SHOW);
    struct dlht_result result;
    struct document document;
    struct output_table table;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    int rc;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 1);
    pack_name(&packer, &args->list[0]);
    request.document = (struct dlht_bytes){ buffer.data, buffer.size };
    rc = cells_call(cli, &request, &result, &document);
    msgpack_sbuffer_destroy(&buffer);
    if (rc != CLI_DONE)
        return rc;
    output_table_init(&table, head, 3);
    for (size_t i = 0; i < document_rows(&document); i++)
        show_option(cli, &table, document_row(&document, i));
    if (!cli->set.json)
        output_table_end(&table);
    document_close(&document);
    return CLI_DONE;
}
