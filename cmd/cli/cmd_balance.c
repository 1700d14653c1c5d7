/* SPDX-License-Identifier: Apache-2.0 */

/* What moves, what would move, and whether it may: balance; peer set. With
 * --json each step, peer and sum is an object on a line of its own. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cells.h"
#include "document.h"
#include "output.h"
#include "settings.h"

static void begin_document(msgpack_sbuffer *buffer, msgpack_packer *packer,
                           size_t fields, const char *action)
{
    msgpack_sbuffer_init(buffer);
    msgpack_packer_init(packer, buffer, msgpack_sbuffer_write);
    msgpack_pack_map(packer, fields);
    document_pack_text(packer, "action");
    document_pack_text(packer, action);
}

/* Sends buffer as the document of a balance action and frees it. */
static int ask(struct cli *cli, msgpack_sbuffer *buffer, uint64_t limit,
               struct document *document)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_BALANCE);
    struct dlht_result result;
    int rc;

    request.document = (struct dlht_bytes){ buffer->data, buffer->size };
    request.limit = limit;
    rc = cells_call(cli, &request, &result, document);
    msgpack_sbuffer_destroy(buffer);
    return rc;
}

static size_t count_of(const msgpack_object *list)
{
    return list && list->type == MSGPACK_OBJECT_ARRAY ? list->via.array.size
                                                      : 0;
}

/* A line an object, of the field's array. */
static void print_lines(const msgpack_object *root, const char *name)
{
    const msgpack_object *list = document_field(root, name);

    for (size_t i = 0; i < count_of(list); i++)
        document_print_json(&list->via.array.ptr[i]);
}

/* The rest of the map: what is no array. */
static void print_sums(const msgpack_object *root)
{
    msgpack_object_kv kept[64];
    msgpack_object map = { .type = MSGPACK_OBJECT_MAP };
    uint32_t count = 0;

    if (root->type != MSGPACK_OBJECT_MAP)
        return;
    for (uint32_t i = 0; i < root->via.map.size && count < 64; i++)
        if (root->via.map.ptr[i].val.type != MSGPACK_OBJECT_ARRAY)
            kept[count++] = root->via.map.ptr[i];
    map.via.map.size = count;
    map.via.map.ptr = kept;
    document_print_json(&map);
}

static const char *size_text(const msgpack_object *row, const char *name,
                             char *text, size_t size)
{
    return output_size(document_u64(row, name), text, size);
}

static void add_weight(struct output_table *table, const msgpack_object *row)
{
    char cell[CELL_MAX];

    snprintf(cell, sizeof(cell), "%g", document_f64(row, "weight"));
    output_table_add(table, cell);
}

static void add_step(struct output_table *table, const msgpack_object *step)
{
    char cell[CELL_MAX];
    uint64_t ways = document_u64(step, "ways");

    cells_text(table, step, "step");
    cells_text(table, step, "keyspace");
    cells_hex(table, step, "arc");
    cells_text(table, step, "from");
    if (document_has(step, "into"))
        cells_hex(table, step, "into");
    else if (ways) {
        snprintf(cell, sizeof(cell), "%" PRIu64 " parts", ways);
        output_table_add(table, cell);
    } else
        cells_text(table, step, "to");
    cells_u64(table, step, "keys");
    cells_size(table, step, "bytes");
    cells_text(table, step, "reason");
}

static void print_steps(const msgpack_object *plan)
{
    static const char *const head[] = { "STEP", "KEYSPACE", ">ARC",  "FROM",
                                        "TO",   ">KEYS",    ">SIZE", "WHY" };
    const msgpack_object *steps = document_field(plan, "steps");
    uint64_t all = document_u64(plan, "steps_count");
    struct output_table table;

    if (all == 0) {
        puts("nothing is to be done");
        return;
    }
    output_table_init(&table, head, 8);
    for (size_t i = 0; i < count_of(steps); i++)
        add_step(&table, &steps->via.array.ptr[i]);
    output_table_end(&table);
    if (all > count_of(steps))
        printf("... and %" PRIu64 " more\n", all - count_of(steps));
}

static void add_planned_peer(struct output_table *table,
                             const msgpack_object *peer)
{
    cells_text(table, peer, "peer");
    add_weight(table, peer);
    cells_size(table, peer, "fair_bytes");
    cells_size(table, peer, "held_before");
    cells_size(table, peer, "held_after");
    cells_size(table, peer, "led_before");
    cells_size(table, peer, "led_after");
}

static void print_evenness(const char *name, const msgpack_object *shares)
{
    if (shares)
        printf("%-12s led %.2f to %.2f of the mean, held %.2f to %.2f\n", name,
               document_f64(shares, "led_least"),
               document_f64(shares, "led_most"),
               document_f64(shares, "held_least"),
               document_f64(shares, "held_most"));
}

static void print_plan(const msgpack_object *plan)
{
    static const char *const head[] = { "PEER",  ">WEIGHT", ">FAIR", ">HOLDS",
                                        ">THEN", ">LEADS",  ">THEN" };
    const msgpack_object *peers = document_field(plan, "peers");
    char bytes[CELL_MAX], ideal[CELL_MAX];
    struct output_table table;

    print_steps(plan);
    putchar('\n');
    output_table_init(&table, head, 7);
    for (size_t i = 0; i < count_of(peers); i++)
        add_planned_peer(&table, &peers->via.array.ptr[i]);
    output_table_end(&table);
    putchar('\n');
    printf("would move   %s in %" PRIu64 " steps",
           size_text(plan, "bytes", bytes, sizeof(bytes)),
           document_u64(plan, "steps_count"));
    printf("; the least is %s",
           size_text(plan, "ideal_bytes", ideal, sizeof(ideal)));
    if (document_has(plan, "ratio"))
        printf(": %.2f of it", document_f64(plan, "ratio"));
    putchar('\n');
    print_evenness("now", document_field(plan, "before"));
    print_evenness("then", document_field(plan, "after"));
    if (!document_flag(plan, "finished"))
        puts("the plan is longer than what was looked at");
    if (document_flag(plan, "paused"))
        puts("balancing is paused: only what is missing is made anew until "
             "`balance resume`");
}

/* what_if, cut at commas. */
static void pack_ifs(msgpack_packer *packer, const struct word *word)
{
    size_t count = 1;

    for (size_t i = 0; i < word->len; i++)
        count += word->data[i] == ',';
    document_pack_text(packer, "what_if");
    msgpack_pack_array(packer, count);
    for (size_t at = 0; count > 0; count--) {
        const char *end = memchr(word->data + at, ',', word->len - at);
        size_t len = end ? (size_t)(end - word->data) - at : word->len - at;
        document_pack_str(packer, (struct dlht_bytes){ word->data + at, len });
        at += len + 1;
    }
}

int cmd_balance_plan(struct cli *cli, const struct arguments *args)
{
    const struct option_value *ifs = options_get(args, "what-if");
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    struct document document;
    int rc;

    begin_document(&buffer, &packer, 1u + ifs->given, "plan");
    if (ifs->given)
        pack_ifs(&packer, &ifs->word);
    rc = ask(cli, &buffer, options_number(args, "limit", 0), &document);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        print_lines(document_root(&document), "steps");
        print_lines(document_root(&document), "peers");
        print_sums(document_root(&document));
    } else {
        print_plan(document_root(&document));
    }
    document_close(&document);
    return CLI_DONE;
}

static void print_moves(const msgpack_object *status)
{
    static const char *const head[] = { "  STEP", "KEYSPACE", ">ARC", "PEER",
                                        ">KEYS",  ">SIZE",    ">AGE", "WHY" };
    const msgpack_object *moves = document_field(status, "moves");
    struct output_table table;

    printf("under way    %" PRIu64 " arcs; at most %" PRIu64
           " have a copy too many at a time\n",
           document_u64(status, "moves_count"),
           document_u64(status, "moves_max"));
    if (count_of(moves) == 0)
        return;
    output_table_init(&table, head, 8);
    for (size_t i = 0; i < count_of(moves); i++) {
        const msgpack_object *move = &moves->via.array.ptr[i];
        char cell[CELL_MAX], text[CELL_MAX];
        snprintf(cell, sizeof(cell), "  %s",
                 output_printable(document_bytes(move, "step"), 32, text,
                                  sizeof(text)));
        output_table_add(&table, cell);
        cells_text(&table, move, "keyspace");
        cells_hex(&table, move, "arc");
        cells_text(&table, move, "peer");
        cells_u64(&table, move, "keys");
        cells_size(&table, move, "bytes");
        cells_age(&table, move, "age_s");
        cells_text(&table, move, "reason");
    }
    output_table_end(&table);
}

static void print_waiting(const msgpack_object *status)
{
    const msgpack_object *list = document_field(status, "waiting");
    char peer[CELL_MAX], state[CELL_MAX];

    for (size_t i = 0; i < count_of(list); i++) {
        const msgpack_object *row = &list->via.array.ptr[i];
        printf("down         %s, %" PRIu64 " copies: %s",
               output_printable(document_bytes(row, "peer"), 64, peer,
                                sizeof(peer)),
               document_u64(row, "copies"),
               output_printable(document_bytes(row, "state"), 32, state,
                                sizeof(state)));
        if (document_has(row, "seconds"))
            printf(" for %.0f s more", document_f64(row, "seconds"));
        putchar('\n');
    }
}

static void print_peers(const msgpack_object *status)
{
    static const char *const head[] = { "PEER",       ">WEIGHT", "ZONE",
                                        ">LEADS",     ">HOLDS",  ">LED/FAIR",
                                        ">HELD/FAIR", "" };
    const msgpack_object *peers = document_field(status, "peers");
    struct output_table table;

    output_table_init(&table, head, 8);
    for (size_t i = 0; i < count_of(peers); i++) {
        const msgpack_object *peer = &peers->via.array.ptr[i];
        char cell[CELL_MAX];
        cells_text(&table, peer, "peer");
        add_weight(&table, peer);
        cells_text(&table, peer, "zone");
        cells_size(&table, peer, "led_bytes");
        cells_size(&table, peer, "held_bytes");
        snprintf(cell, sizeof(cell), "%.2f", document_f64(peer, "led"));
        output_table_add(&table, cell);
        snprintf(cell, sizeof(cell), "%.2f", document_f64(peer, "held"));
        output_table_add(&table, cell);
        output_table_add(&table, document_flag(peer, "leaving") ? "leaving"
                                 : document_flag(peer, "over")  ? "over"
                                                                : "");
    }
    output_table_end(&table);
}

static void print_pace(const msgpack_object *status)
{
    char text[CELL_MAX];
    uint64_t rate = document_u64(status, "rate");

    printf("slowed down  %s",
           document_u64(status, "slow_down") > 1 ? "by " : "no");
    if (document_u64(status, "slow_down") > 1)
        printf("%" PRIu64 ": %s", document_u64(status, "slow_down"),
               output_printable(document_bytes(status, "slow_why"), 200, text,
                                sizeof(text)));
    if (rate)
        printf("; a peer sends at most %s a second\n",
               output_size(rate, text, sizeof(text)));
    else
        puts("; peers send as fast as they can");
}

static void print_status(const msgpack_object *status)
{
    char moved[CELL_MAX], hour[CELL_MAX], ideal[CELL_MAX], text[CELL_MAX];

    printf("balancing    %s, planned by %s\n",
           document_flag(status, "paused")
               ? "paused: only what is missing is made anew"
               : "on",
           output_printable(document_bytes(status, "planner"), 64, text,
                            sizeof(text)));
    print_moves(status);
    printf("moved        %s in the plan that began %s ago",
           size_text(status, "moved_bytes", moved, sizeof(moved)),
           cells_age_text(document_f64(status, "plan_s"), text, sizeof(text)));
    printf("; the least was %s",
           size_text(status, "ideal_bytes", ideal, sizeof(ideal)));
    if (document_has(status, "ratio"))
        printf(": %.2f of it", document_f64(status, "ratio"));
    printf("; %s in the last hour\n",
           size_text(status, "moved_hour_bytes", hour, sizeof(hour)));
    print_evenness("loads", status);
    print_pace(status);
    print_waiting(status);
    putchar('\n');
    print_peers(status);
}

int cmd_balance_status(struct cli *cli, const struct arguments *args)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    struct document document;
    int rc;

    (void)args;
    begin_document(&buffer, &packer, 1, "status");
    rc = ask(cli, &buffer, 0, &document);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_status(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

static int send_action(struct cli *cli, const char *action)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    begin_document(&buffer, &packer, 1, action);
    return settings_send(cli, DLHT_OP_BALANCE, &buffer);
}

int cmd_balance_pause(struct cli *cli, const struct arguments *args)
{
    (void)args;
    return send_action(cli, "pause");
}

int cmd_balance_resume(struct cli *cli, const struct arguments *args)
{
    (void)args;
    return send_action(cli, "resume");
}

int cmd_balance_set(struct cli *cli, const struct arguments *args)
{
    const struct word *word = &args->list[0];
    uint64_t rate = 0;
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    if (word->len < 6 || memcmp(word->data, "rate=", 5) != 0 ||
        !(strcmp(word->data + 5, "default") == 0 ||
          options_parse_size(word->data + 5, &rate)))
        return cli_usage(cli,
                         "'%s': rate=SIZE is meant, bytes a second with K, M "
                         "or G, or rate=default",
                         word->data);
    begin_document(&buffer, &packer, 2, "set");
    document_pack_text(&packer, "rate");
    msgpack_pack_uint64(&packer, rate);
    return settings_send(cli, DLHT_OP_BALANCE, &buffer);
}

int cmd_peer_set(struct cli *cli, const struct arguments *args)
{
    int rc = settings_check(cli, args, "weight, zone and leaving can be set");
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    if (rc != CLI_DONE)
        return rc;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 2);
    document_pack_text(&packer, "peer");
    document_pack_str(&packer, word_bytes(&args->list[0]));
    settings_pack(&packer, args);
    return settings_send(cli, DLHT_OP_PEER_SET, &buffer);
}
