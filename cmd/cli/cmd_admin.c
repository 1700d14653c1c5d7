/* SPDX-License-Identifier: Apache-2.0 */

/* What the cluster says of itself: lookup, ring, peers, status; and leave.
 * With --json documents are passed on as they are. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cells.h"
#include "document.h"
#include "output.h"

enum {
    LEAVE_EVERY_MS = 200,
    LEAVE_SECONDS = 600
};

static void print_lookup(const msgpack_object *found)
{
    char text[CELL_MAX];

    printf("keyspace       %s\n",
           output_printable(document_bytes(found, "keyspace"), 64, text,
                            sizeof(text)));
    printf("key            %s\n", output_printable(document_bytes(found, "key"),
                                                   200, text, sizeof(text)));
    printf("position       0x%016" PRIx64 " (%.4f %%)\n",
           document_u64(found, "position"), document_f64(found, "percent"));
    if (document_has(found, "predicted_arc"))
        printf("predicted arc  %" PRIx64 " (error bound %.4f %%)\n",
               document_u64(found, "predicted_arc"),
               100 * document_f64(found, "error"));
    else
        printf("predicted arc  none: no learned model yet\n");
    printf("arc            %" PRIx64 " generation %" PRIu64 "\n",
           document_u64(found, "arc"), document_u64(found, "generation"));
    printf("               from %s",
           cells_bound_text(found, "lo", text, sizeof(text)));
    printf(" to %s\n", cells_bound_text(found, "hi", text, sizeof(text)));
    printf("owner          %s\n",
           document_has(found, "owner")
               ? output_printable(document_bytes(found, "owner"), 64, text,
                                  sizeof(text))
               : "none known");
    printf("replicas       %s\n",
           cells_list_text(found, "replicas", text, sizeof(text)));
    printf("hops           %" PRIu64 "\n", document_u64(found, "hops"));
    printf("model          %s, epoch %" PRIu64 "\n",
           output_printable(document_bytes(found, "model"), 64, text,
                            sizeof(text)),
           document_u64(found, "model_epoch"));
}

/* What to look up: a key, or a position in a document that *buffer holds. */
static int lookup_request(struct cli *cli, const struct arguments *args,
                          struct dlht_request *request, msgpack_sbuffer *buffer)
{
    const struct option_value *at = options_get(args, "position");
    uint64_t position = 0;
    msgpack_packer packer;

    if (at->given == (args->count > 0))
        return cli_usage(cli, "a KEY is meant, or --position P");
    if (!at->given) {
        request->key = word_bytes(&args->list[0]);
        return cli_check_key(cli, request->key);
    }
    if (!options_parse_position(at->word.data, at->word.len, &position))
        return cli_usage(cli,
                         "--position '%s': 0x0 to 0xffffffffffffffff, a "
                         "number, or 0%% to 100%% is meant",
                         at->word.data);
    msgpack_packer_init(&packer, buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 1);
    document_pack_text(&packer, "position");
    msgpack_pack_uint64(&packer, position);
    request->document = (struct dlht_bytes){ buffer->data, buffer->size };
    return CLI_DONE;
}

int cmd_lookup(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_LOOKUP);
    struct dlht_result result;
    struct document document;
    msgpack_sbuffer buffer;
    int rc;

    msgpack_sbuffer_init(&buffer);
    rc = lookup_request(cli, args, &request, &buffer);
    if (rc == CLI_DONE)
        rc = cells_call(cli, &request, &result, &document);
    msgpack_sbuffer_destroy(&buffer);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_lookup(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

static void add_arc(struct output_table *table, const msgpack_object *arc)
{
    cells_text(table, arc, "keyspace");
    cells_hex(table, arc, "arc");
    cells_bound(table, arc, "lo");
    cells_bound(table, arc, "hi");
    cells_u64(table, arc, "generation");
    cells_text(table, arc, "owner");
    cells_list(table, arc, "replicas");
    cells_u64(table, arc, "keys");
    cells_size(table, arc, "bytes");
}

/* One page; *cursor (owned by the caller) is where the next begins. */
static int ring_page(struct cli *cli, struct dlht_request *request,
                     struct output_table *table, void **cursor, bool *more)
{
    struct dlht_result result;
    struct document document;
    int rc = cells_call(cli, request, &result, &document);

    if (rc != CLI_DONE)
        return rc;
    for (size_t i = 0; i < document_rows(&document); i++) {
        if (cli->set.json)
            document_print_json(document_row(&document, i));
        else
            add_arc(table, document_row(&document, i));
    }
    document_close(&document);
    *more = result.more;
    if (!result.more)
        return CLI_DONE;
    free(*cursor);
    *cursor = malloc(result.cursor.len + 1);
    if (!*cursor)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    if (result.cursor.len)
        memcpy(*cursor, result.cursor.data, result.cursor.len);
    request->key = (struct dlht_bytes){ *cursor, result.cursor.len };
    return CLI_DONE;
}

int cmd_ring(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "KEYSPACE", ">ARC",  "FROM",
                                        "TO",       ">GEN",  "OWNER",
                                        "REPLICAS", ">KEYS", ">SIZE" };
    struct dlht_request request = cli_request(cli, DLHT_OP_RING);
    struct output_table table;
    void *cursor = NULL;
    bool more = true;
    int rc = CLI_DONE;

    (void)args;
    output_table_init(&table, head, 9);
    while (rc == CLI_DONE && more)
        rc = ring_page(cli, &request, &table, &cursor, &more);
    if (!cli->set.json && (rc == CLI_DONE || table.count))
        output_table_end(&table);
    free(cursor);
    return rc;
}

static void add_peer(struct output_table *table, const msgpack_object *peer)
{
    char cell[CELL_MAX];

    cells_text(table, peer, "peer");
    output_table_add(table, output_printable(document_bytes(peer, "id"), 12,
                                             cell, sizeof(cell)));
    cells_text(table, peer, "state");
    cells_text(table, peer, "zone");
    snprintf(cell, sizeof(cell), "%g", document_f64(peer, "weight"));
    output_table_add(table, cell);
    cells_u64(table, peer, "arcs_led");
    cells_u64(table, peer, "replicas");
    cells_u64(table, peer, "keys");
    cells_size(table, peer, "bytes");
}

int cmd_peers(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { "PEER",      "ID",      "STATE",
                                        "ZONE",      ">WEIGHT", ">ARCS LED",
                                        ">REPLICAS", ">KEYS",   ">SIZE" };
    struct dlht_request request = cli_request(cli, DLHT_OP_PEERS);
    struct dlht_result result;
    struct document document;
    struct output_table table;
    int rc = cells_call(cli, &request, &result, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    output_table_init(&table, head, 9);
    for (size_t i = 0; i < document_rows(&document); i++) {
        if (cli->set.json)
            document_print_json(document_row(&document, i));
        else
            add_peer(&table, document_row(&document, i));
    }
    if (!cli->set.json)
        output_table_end(&table);
    document_close(&document);
    return CLI_DONE;
}

/* The arcs of which not all is well. */
static void print_troubles(const msgpack_object *list)
{
    char keyspace[CELL_MAX], state[CELL_MAX], why[CELL_MAX];

    if (list == NULL || list->type != MSGPACK_OBJECT_ARRAY)
        return;
    for (size_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *arc = &list->via.array.ptr[i];
        printf("  arc %016" PRIx64 " of %s is %s: %s\n",
               document_u64(arc, "arc"),
               output_printable(document_bytes(arc, "keyspace"), 64, keyspace,
                                sizeof(keyspace)),
               output_printable(document_bytes(arc, "state"), 64, state,
                                sizeof(state)),
               output_printable(document_bytes(arc, "why"), 300, why,
                                sizeof(why)));
    }
}

/* Peers that are down, and what becomes of their copies. */
static void print_waiting(const msgpack_object *list)
{
    char peer[CELL_MAX], state[CELL_MAX];

    if (list == NULL || list->type != MSGPACK_OBJECT_ARRAY)
        return;
    for (size_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *row = &list->via.array.ptr[i];
        printf("down        %s: its %" PRIu64 " copies are %s\n",
               output_printable(document_bytes(row, "peer"), 64, peer,
                                sizeof(peer)),
               document_u64(row, "copies"),
               output_printable(document_bytes(row, "state"), 32, state,
                                sizeof(state)));
    }
}

static void print_status(const msgpack_object *status)
{
    char text[CELL_MAX];

    printf("cluster     %s\n",
           output_printable(document_bytes(status, "cluster"), 64, text,
                            sizeof(text)));
    printf("peers       %" PRIu64 " up, %" PRIu64 " down\n",
           document_u64(status, "peers_up"),
           document_u64(status, "peers_down"));
    printf("arcs        %" PRIu64 ", %" PRIu64 " under-replicated, %" PRIu64
           " unavailable\n",
           document_u64(status, "arcs"),
           document_u64(status, "arcs_under_replicated"),
           document_u64(status, "arcs_unavailable"));
    printf("records     %" PRIu64 " keys, %s\n", document_u64(status, "keys"),
           output_size(document_u64(status, "bytes"), text, sizeof(text)));
    if (document_has(status, "durability"))
        printf("durability  %s\n",
               output_printable(document_bytes(status, "durability"), 64, text,
                                sizeof(text)));
    printf("model       epoch %" PRIu64 "%s\n",
           document_u64(status, "model_epoch"),
           document_u64(status, "model_epoch") ? "" : " (identity)");
    if (document_flag(status, "balance_paused"))
        printf("balancing   paused; `balance resume` goes on\n");
    print_waiting(document_field(status, "waiting"));
    printf("stopping    %s\n",
           document_flag(status, "safe_to_stop")
               ? "safe: any one peer may be stopped"
               : "not safe: some arc would lose its majority");
    printf("%s\n", output_printable(document_bytes(status, "verdict"), 400,
                                    text, sizeof(text)));
    print_troubles(document_field(status, "troubles"));
}

int cmd_status(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_STATUS);
    struct dlht_result result;
    struct document document;
    int rc = cells_call(cli, &request, &result, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_status(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

static void say_progress(const struct cli *cli, const char *text)
{
    if (cli->set.json) {
        output_begin();
        output_text("progress", text);
        output_end();
    } else {
        puts(text);
    }
    output_flush();
}

static void sleep_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

/* The cluster says EBUSY until the peer holds nothing any more. */
int cmd_leave(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_LEAVE);
    uint64_t seconds = options_number(args, "wait", LEAVE_SECONDS);
    uint64_t end_ns = cli_now_ns() + seconds * 1000000000u;
    char last[256] = "";
    struct dlht *d = NULL;
    int rc = cli_open(cli, &d);

    request.key = word_bytes(&args->list[0]);
    while (rc == CLI_DONE) {
        struct dlht_result result;
        int status = dlht_call(d, &request, &result);
        if (status == DLHT_OK)
            break;
        if (status != DLHT_EBUSY)
            return cli_fail(cli, status, result.text);
        if (strncmp(last, result.text, sizeof(last) - 1) != 0) {
            snprintf(last, sizeof(last), "%s", result.text);
            say_progress(cli, last);
        }
        if (cli_now_ns() >= end_ns)
            return cli_fail(cli, DLHT_ETIMEOUT,
                            "the peer is still leaving; run leave again");
        sleep_ms(LEAVE_EVERY_MS);
    }
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_flag("ok", true);
        output_end();
    } else {
        printf("OK: %s may be stopped\n", args->list[0].data);
    }
    return CLI_DONE;
}
