/* SPDX-License-Identifier: Apache-2.0 */

/* model show, train, export, import and history: the learned model of the
 * keyspace. With --json documents are passed on as they are. */

#include "cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "dlht/rmi.h"
#include "document.h"
#include "output.h"

enum {
    WAIT_TIMEOUT_MS = 60000,  /* of a round, unless --timeout says else */
    CARRY_TIMEOUT_MS = 30000, /* of a model on its way */
    MODEL_BYTES_MAX = 1 << 20 /* packed */
};

/* Begins the document of an action, which has `more` fields yet. */
static void begin(const struct cli *cli, const char *action, uint32_t more,
                  msgpack_sbuffer *buffer, msgpack_packer *packer)
{
    const char *keyspace = cli->set.keyspace ? cli->set.keyspace : "default";

    msgpack_sbuffer_init(buffer);
    msgpack_packer_init(packer, buffer, msgpack_sbuffer_write);
    msgpack_pack_map(packer, 2 + more);
    document_pack_text(packer, "action");
    document_pack_text(packer, action);
    document_pack_text(packer, "keyspace");
    document_pack_text(packer, keyspace);
}

/* Sends what begin began, and frees buffer. */
static int ask(struct cli *cli, uint32_t timeout_ms, msgpack_sbuffer *buffer,
               struct document *document)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_MODEL);
    struct dlht_result result;
    int rc;

    if (request.timeout_ms == 0)
        request.timeout_ms = timeout_ms;
    request.document = (struct dlht_bytes){ buffer->data, buffer->size };
    rc = cells_call(cli, &request, &result, document);
    msgpack_sbuffer_destroy(buffer);
    return rc;
}

static int ask_plainly(struct cli *cli, const char *action, uint32_t timeout_ms,
                       struct document *document)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    begin(cli, action, 0, &buffer, &packer);
    return ask(cli, timeout_ms, &buffer, document);
}

static const char *text_of(const msgpack_object *row, const char *name,
                           char text[CELL_MAX])
{
    return output_printable(document_bytes(row, name), 64, text, CELL_MAX);
}

static void print_triggers(const msgpack_object *triggers)
{
    bool any = false;

    if (!triggers || triggers->type != MSGPACK_OBJECT_MAP)
        return;
    fputs("triggers    ", stdout);
    for (uint32_t i = 0; i < triggers->via.map.size; i++) {
        const msgpack_object_kv *pair = &triggers->via.map.ptr[i];
        char name[CELL_MAX];
        if (pair->key.type != MSGPACK_OBJECT_STR ||
            pair->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER)
            continue;
        output_printable((struct dlht_bytes){ pair->key.via.str.ptr,
                                              pair->key.via.str.size },
                         64, name, sizeof(name));
        printf("%s%s %" PRIu64, any ? ", " : "", name, pair->val.via.u64);
        any = true;
    }
    puts(any ? "" : "none fired");
}

static void print_errors(const msgpack_object *model)
{
    static const struct {
        const char *name;
        const char *label;
    } errors[] = { { "ks", "KS" },
                   { "mean_error", "mean" },
                   { "max_error", "max" } };

    fputs("error now   ", stdout);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        printf("%s%s ", i ? ", " : "", errors[i].label);
        if (document_has(model, errors[i].name))
            printf("%.6f", document_f64(model, errors[i].name));
        else
            fputs("not measured", stdout);
    }
    putchar('\n');
}

static void print_model(const msgpack_object *model)
{
    char a[CELL_MAX];
    char b[CELL_MAX];

    printf("keyspace    %s\n", text_of(model, "keyspace", a));
    if (document_u64(model, "epoch") == 0) {
        puts("epoch       none: no model is trained yet");
        print_triggers(document_field(model, "triggers"));
        return;
    }
    printf("epoch       %" PRIu64 "\n", document_u64(model, "epoch"));
    printf("keys        %" PRIu64 "\n", document_u64(model, "keys"));
    printf("shape       %s root, ", text_of(model, "root", a));
    printf("%" PRIu64 " %s leaves, %s\n", document_u64(model, "leaves"),
           text_of(model, "leaf", a),
           output_size(document_u64(model, "bytes"), b, sizeof(b)));
    print_errors(model);
    printf("trained     %s ago",
           cells_age_text(document_f64(model, "age_s"), a, sizeof(a)));
    printf(" in %" PRIu64 " ms, because: %s\n", document_u64(model, "took_ms"),
           text_of(model, "reason", a));
    if (document_has(model, "trained_by"))
        printf("trained by  %s\n", text_of(model, "trained_by", a));
    if (document_has(model, "distance"))
        printf("distance    %.6f from the one before\n",
               document_f64(model, "distance"));
    if (document_u64(model, "lies"))
        printf("lies        %" PRIu64 " claims were scaled down\n",
               document_u64(model, "lies"));
    if (document_u64(model, "missing"))
        printf("missing     %" PRIu64 " arcs did not report\n",
               document_u64(model, "missing"));
    print_triggers(document_field(model, "triggers"));
}

int cmd_model_show(struct cli *cli, const struct arguments *args)
{
    struct document document;
    int rc = ask_plainly(cli, "show", 0, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_model(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

static void print_trained(const msgpack_object *trained)
{
    uint64_t epoch = document_u64(trained, "epoch");
    char reason[CELL_MAX];

    text_of(trained, "reason", reason);
    if (document_flag(trained, "started"))
        printf("OK: begun; the epoch is %" PRIu64 " until it is published\n",
               epoch);
    else if (document_flag(trained, "published"))
        printf("OK: epoch %" PRIu64 " published after %" PRIu64 " ms\n", epoch,
               document_u64(trained, "took_ms"));
    else
        printf("OK: epoch %" PRIu64 " stays%s%s\n", epoch, *reason ? ": " : "",
               reason);
}

int cmd_model_train(struct cli *cli, const struct arguments *args)
{
    bool wait = options_has(args, "wait");
    struct document document;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    int rc;

    begin(cli, "train", 1, &buffer, &packer);
    document_pack_text(&packer, "wait");
    if (wait)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
    rc = ask(cli, wait ? WAIT_TIMEOUT_MS : 0, &buffer, &document);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_trained(document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

static bool is_dash(const struct word *word)
{
    return !word->quoted && strcmp(word->data, "-") == 0;
}

/* A file that could not be written whole is taken away again. */
static int write_file(const struct cli *cli, const char *name, const void *data,
                      size_t len)
{
    FILE *file = fopen(name, "wb");
    bool whole;
    int why;

    if (!file)
        return cli_usage(cli, "%s cannot be written: %s", name,
                         strerror(errno));
    whole = fwrite(data, 1, len, file) == len;
    why = errno;
    if (fclose(file) != 0 && whole) {
        whole = false;
        why = errno;
    }
    if (whole)
        return CLI_DONE;
    remove(name);
    return cli_usage(cli, "%s cannot be written: %s", name, strerror(why));
}

static int export_to(struct cli *cli, const struct word *name,
                     const msgpack_object *model)
{
    const char *data;
    size_t len;
    int rc;

    if (model->type != MSGPACK_OBJECT_BIN || model->via.bin.size == 0)
        return cli_fail(cli, DLHT_EPROTO, "the answer is no model");
    data = model->via.bin.ptr;
    len = model->via.bin.size;
    if (is_dash(name)) {
        output_raw((struct dlht_bytes){ data, len });
        return CLI_DONE;
    }
    rc = write_file(cli, name->data, data, len);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_flag("ok", true);
        output_u64("bytes", len);
        output_end();
    } else {
        printf("OK: %zu bytes\n", len);
    }
    return CLI_DONE;
}

int cmd_model_export(struct cli *cli, const struct arguments *args)
{
    struct document document;
    int rc = ask_plainly(cli, "export", CARRY_TIMEOUT_MS, &document);

    if (rc != CLI_DONE)
        return rc;
    rc = export_to(cli, &args->list[0], document_root(&document));
    document_close(&document);
    return rc;
}

int cmd_model_fetch(struct cli *cli, struct dlht_model **model)
{
    struct document document;
    const msgpack_object *root;
    int rc = ask_plainly(cli, "export", CARRY_TIMEOUT_MS, &document);

    *model = NULL;
    if (rc != CLI_DONE)
        return rc;
    root = document_root(&document);
    rc = DLHT_EPROTO;
    if (root->type == MSGPACK_OBJECT_BIN)
        rc = dlht_model_unpack(root->via.bin.ptr, root->via.bin.size, model);
    document_close(&document);
    return rc == DLHT_OK ? CLI_DONE
                         : cli_fail(cli, rc, "the answer is no model");
}

/* Refuses what is no model, without asking the cluster; one of a newer form is
 * the cluster's to judge. */
static int check_model(struct cli *cli, const char *called, const char *bytes,
                       size_t len)
{
    struct dlht_model *model = NULL;
    int rc = dlht_model_unpack(bytes, len, &model);

    dlht_model_free(model);
    if (rc == DLHT_ENOMEM)
        return cli_fail(cli, rc, NULL);
    if (rc == DLHT_ECORRUPT || rc == DLHT_ETOOBIG)
        return cli_usage(cli, "%s is no model, or was changed or cut short",
                         called);
    return CLI_DONE;
}

/* Reads a model of at most MODEL_BYTES_MAX into bytes, one more. */
static int read_model(struct cli *cli, const struct word *name, char *bytes,
                      size_t *len)
{
    bool dash = is_dash(name);
    const char *called = dash ? "standard input" : name->data;
    FILE *file = dash ? stdin : fopen(name->data, "rb");
    bool bad;
    int why;

    if (dash && cli->in_shell)
        return cli_usage(cli, "standard input holds the commands here; name "
                              "a file");
    if (!file)
        return cli_usage(cli, "%s cannot be opened: %s", called,
                         strerror(errno));
    *len = fread(bytes, 1, MODEL_BYTES_MAX + 1, file);
    bad = ferror(file);
    why = errno;
    if (!dash)
        fclose(file);
    if (bad)
        return cli_usage(cli, "%s cannot be read: %s", called, strerror(why));
    if (*len == 0)
        return cli_usage(cli, "%s is no model: it is empty", called);
    if (*len > MODEL_BYTES_MAX)
        return cli_usage(cli, "%s is no model: those have 1 MiB at the most",
                         called);
    return check_model(cli, called, bytes, *len);
}

static void print_imported(const struct cli *cli, const msgpack_object *answer)
{
    if (cli->set.json)
        document_print_json(answer);
    else
        printf("OK: epoch %" PRIu64 "\n", document_u64(answer, "epoch"));
}

static int send_model(struct cli *cli, const char *bytes, size_t len)
{
    struct document document;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    int rc;

    begin(cli, "import", 1, &buffer, &packer);
    document_pack_text(&packer, "model");
    msgpack_pack_bin(&packer, len);
    msgpack_pack_bin_body(&packer, bytes, len);
    rc = ask(cli, CARRY_TIMEOUT_MS, &buffer, &document);
    if (rc != CLI_DONE)
        return rc;
    print_imported(cli, document_root(&document));
    document_close(&document);
    return CLI_DONE;
}

int cmd_model_import(struct cli *cli, const struct arguments *args)
{
    char *bytes = malloc(MODEL_BYTES_MAX + 1);
    size_t len = 0;
    int rc;

    if (!bytes)
        return cli_fail(cli, DLHT_ENOMEM, NULL);
    rc = read_model(cli, &args->list[0], bytes, &len);
    if (rc == CLI_DONE)
        rc = send_model(cli, bytes, len);
    free(bytes);
    return rc;
}

static void add_epoch(struct output_table *table, const msgpack_object *row)
{
    char took[CELL_MAX];

    cells_u64(table, row, "epoch");
    cells_age(table, row, "age_s");
    cells_text(table, row, "reason");
    cells_u64(table, row, "keys");
    cells_u64(table, row, "leaves");
    cells_size(table, row, "bytes");
    cells_share(table, row, "distance");
    cells_share(table, row, "ks");
    cells_share(table, row, "mean_error");
    cells_share(table, row, "max_error");
    snprintf(took, sizeof(took), "%" PRIu64 " ms",
             document_u64(row, "took_ms"));
    output_table_add(table, took);
    cells_text(table, row, "trained_by");
}

int cmd_model_history(struct cli *cli, const struct arguments *args)
{
    static const char *const head[] = { ">EPOCH", ">AGE",    "REASON",
                                        ">KEYS",  ">LEAVES", ">SIZE",
                                        ">MOVED", ">KS",     ">MEAN ERROR",
                                        ">MAX",   ">TOOK",   "TRAINED BY" };
    struct document document;
    struct output_table table;
    int rc = ask_plainly(cli, "history", 0, &document);

    (void)args;
    if (rc != CLI_DONE)
        return rc;
    output_table_init(&table, head, sizeof(head) / sizeof(*head));
    for (size_t i = 0; i < document_rows(&document); i++) {
        if (cli->set.json)
            document_print_json(document_row(&document, i));
        else
            add_epoch(&table, document_row(&document, i));
    }
    if (!cli->set.json)
        output_table_end(&table);
    document_close(&document);
    return CLI_DONE;
}
