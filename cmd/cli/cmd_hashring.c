/* SPDX-License-Identifier: Apache-2.0 */

/* The verb hashring: who would hold what on a consistent-hash ring, and what
 * would move. Asks no cluster. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "dlht/hashring.h"
#include "lines.h"
#include "output.h"

/* One run of the verb. */
struct trial {
    struct cli *cli;
    const struct arguments *args;
    struct dlht_hashring *ring;
    struct dlht_hashring_view *before;
    struct dlht_hashring_view *after; /* NULL: nothing changes */
    struct dlht_hashring_plan *plan;  /* as after */
    size_t copies;
    uint64_t *counts;  /* copies of keys by node of before; NULL: no --keys */
    uint64_t *arrived; /* by node of the plan */
    uint64_t *left;
    uint64_t keys;
    uint64_t moved; /* copies */
};

/* name[=weight][@zone]; the id ends at the last = before the last @. */
static int parse_node(struct cli *cli, const struct word *word,
                      struct dlht_hashring_add_node *node)
{
    const char *text = word->data;
    const char *at = strrchr(text, '@');
    size_t len = at ? (size_t)(at - text) : word->len;
    const char *equals = NULL;
    char *end = NULL;

    if (strlen(text) != word->len)
        return cli_usage(cli, "a node's name has no zero bytes");
    for (size_t i = 0; i < len; i++)
        if (text[i] == '=')
            equals = text + i;
    *node = (struct dlht_hashring_add_node){ .weight = 1 };
    node->id =
        (struct dlht_bytes){ text, equals ? (size_t)(equals - text) : len };
    if (at)
        node->zone = (struct dlht_bytes){ at + 1, strlen(at + 1) };
    if (equals)
        node->weight = strtod(equals + 1, &end);
    if (equals && (end == equals + 1 || end != text + len))
        return cli_usage(cli, "'%s': NAME[=WEIGHT][@ZONE] is meant", text);
    return CLI_DONE;
}

static int say_node(struct cli *cli, int rc, const struct word *word)
{
    if (rc == DLHT_EINVAL)
        return cli_usage(cli,
                         "'%s': a name of 1 to 255 bytes and a weight of 0.1 "
                         "to 100, or 0, are meant",
                         word->data);
    if (rc == DLHT_EEXISTS)
        return cli_usage(cli, "'%s': that node is there already", word->data);
    if (rc == DLHT_ENOTFOUND)
        return cli_usage(cli, "'%s': no such node", word->data);
    if (rc == DLHT_EFULL)
        return cli_usage(cli, "too many nodes or tokens");
    return cli_fail(cli, rc, NULL);
}

static int add_nodes(struct trial *t)
{
    const struct arguments *args = t->args;
    struct dlht_hashring_add_node *nodes = calloc(args->count, sizeof(*nodes));
    size_t bad = 0;
    int rc = CLI_DONE;

    if (!nodes)
        return cli_fail(t->cli, DLHT_ENOMEM, NULL);
    for (size_t i = 0; i < args->count && rc == CLI_DONE; i++)
        rc = parse_node(t->cli, &args->list[i], &nodes[i]);
    if (rc == CLI_DONE) {
        int made = dlht_hashring_add_all(t->ring, nodes, args->count, &bad);
        if (made != DLHT_OK)
            rc = say_node(t->cli, made,
                          &args->list[bad < args->count ? bad : 0]);
    }
    free(nodes);
    return rc;
}

static int change_nodes(struct trial *t)
{
    const struct option_value *gone = options_get(t->args, "remove");
    const struct option_value *come = options_get(t->args, "add");
    struct dlht_hashring_add_node node = { .weight = 0 };
    int rc;

    if (gone->given) {
        rc = dlht_hashring_remove(t->ring, gone->word.data, gone->word.len);
        if (rc != DLHT_OK)
            return say_node(t->cli, rc, &gone->word);
    }
    if (come->given) {
        rc = parse_node(t->cli, &come->word, &node);
        if (rc != CLI_DONE)
            return rc;
        rc = dlht_hashring_add(t->ring, node.id.data, node.id.len, node.weight,
                               node.zone.data, node.zone.len);
        if (rc != DLHT_OK)
            return say_node(t->cli, rc, &come->word);
    }
    if (!gone->given && !come->given)
        return CLI_DONE;
    t->after = dlht_hashring_view(t->ring);
    rc = dlht_hashring_plan(t->before, t->after, t->copies, &t->plan);
    return rc == DLHT_OK ? CLI_DONE : cli_fail(t->cli, rc, NULL);
}

/* --- a ring that was written */

static int read_all(struct cli *cli, const char *name, FILE *file, char **text,
                    size_t *len)
{
    size_t cap = 0;

    *text = NULL;
    *len = 0;
    for (size_t got = 1; got > 0;) {
        if (*len == cap) {
            char *more = realloc(*text, cap ? 2 * cap : 65536);
            if (!more)
                return cli_fail(cli, DLHT_ENOMEM, NULL);
            *text = more;
            cap = cap ? 2 * cap : 65536;
        }
        got = fread(*text + *len, 1, cap - *len, file);
        *len += got;
    }
    return ferror(file) ? cli_usage(cli, "%s cannot be read", name) : CLI_DONE;
}

static int say_fault(struct cli *cli, int rc, const char *name,
                     const struct dlht_hashring_fault *fault)
{
    if (fault->what)
        return cli_usage(cli, "%s is no ring: %s, at byte %zu", name,
                         fault->what, fault->at);
    if (rc == DLHT_EINVAL)
        return cli_usage(cli, "%s: that ring has a hash of its own program",
                         name);
    return cli_fail(cli, rc, NULL);
}

static int read_ring(struct trial *t, const char *name)
{
    static const char *const with[] = { "vnodes", "hash", "hash-seed", "chosen",
                                        "probes" };
    struct dlht_hashring_fault fault;
    char *text;
    size_t len;
    FILE *file;

    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
        if (options_has(t->args, with[i]))
            return cli_usage(t->cli, "--from has the --%s of the ring",
                             with[i]);
    if (t->args->count > 0)
        return cli_usage(t->cli, "--from has the nodes; --add adds one");
    file = fopen(name, "rb");
    if (!file)
        return cli_usage(t->cli, "%s cannot be opened: %s", name,
                         strerror(errno));
    int rc = read_all(t->cli, name, file, &text, &len);
    fclose(file);
    if (rc == CLI_DONE) {
        int done = dlht_hashring_read(text, len, NULL, &t->ring, &fault);
        rc = done == DLHT_OK ? CLI_DONE : say_fault(t->cli, done, name, &fault);
    }
    free(text);
    return rc;
}

static int new_ring(struct trial *t)
{
    struct dlht_hashring_config config = {
        .hash = options_number(t->args, "hash", 0) ? DLHT_HASHRING_MD5
                                                   : DLHT_HASHRING_XXH3,
        .vnodes = (uint32_t)options_number(t->args, "vnodes", 0),
        .probes = (uint32_t)options_number(t->args, "probes", 0),
        .chosen = options_has(t->args, "chosen"),
        .hash_seed = options_number(t->args, "hash-seed", 0)
    };

    if (config.hash_seed && config.hash != DLHT_HASHRING_XXH3)
        return cli_usage(t->cli, "MD5 has no --hash-seed");
    if (t->args->count == 0)
        return cli_usage(t->cli, "too few arguments: hashring NODE...");
    int rc = dlht_hashring_new(&config, &t->ring);
    return rc == DLHT_OK ? add_nodes(t) : cli_fail(t->cli, rc, NULL);
}

static int make_rings(struct trial *t)
{
    const struct option_value *from = options_get(t->args, "from");
    int rc = from->given ? read_ring(t, from->word.data) : new_ring(t);

    if (rc != CLI_DONE)
        return rc;
    t->before = dlht_hashring_view(t->ring);
    return change_nodes(t);
}

/* The ring as it is after the changes. */
static int dump(const struct trial *t)
{
    char *text;
    size_t len;
    int rc =
        dlht_hashring_json(t->after ? t->after : t->before, true, &text, &len);

    if (rc != DLHT_OK)
        return cli_fail(t->cli, rc, NULL);
    fwrite(text, 1, len, stdout);
    putchar('\n');
    free(text);
    return CLI_DONE;
}

/* --- keys */

/* The plan's index of a node of a view. */
static size_t plan_index(const struct trial *t,
                         const struct dlht_hashring_view *view, size_t index)
{
    struct dlht_hashring_plan_node in_plan;
    struct dlht_hashring_node node;
    size_t i = index; /* both are by id, and the plan has more */

    if (!dlht_hashring_node(view, index, &node))
        return i;
    while (dlht_hashring_plan_node(t->plan, i, &in_plan) &&
           (in_plan.id.len != node.id.len ||
            memcmp(in_plan.id.data, node.id.data, node.id.len) != 0))
        i++;
    return i;
}

static bool among(const size_t *nodes, size_t count, size_t node)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

static void count_moves(struct trial *t, const char *key, size_t len,
                        const uint32_t *old_nodes, size_t old_count)
{
    uint32_t nodes[DLHT_HASHRING_REPLICAS_MAX];
    size_t was[DLHT_HASHRING_REPLICAS_MAX];
    size_t is[DLHT_HASHRING_REPLICAS_MAX];
    size_t count = dlht_hashring_replicas(t->after, key, len, t->copies, nodes);

    for (size_t i = 0; i < old_count; i++)
        was[i] = plan_index(t, t->before, old_nodes[i]);
    for (size_t i = 0; i < count; i++) {
        is[i] = plan_index(t, t->after, nodes[i]);
        if (!among(was, old_count, is[i])) {
            t->arrived[is[i]]++;
            t->moved++;
        }
    }
    for (size_t i = 0; i < old_count; i++)
        t->left[was[i]] += !among(is, count, was[i]);
}

static void count_key(struct trial *t, const char *key, size_t len)
{
    uint32_t nodes[DLHT_HASHRING_REPLICAS_MAX];
    size_t count =
        dlht_hashring_replicas(t->before, key, len, t->copies, nodes);

    t->keys++;
    for (size_t i = 0; i < count; i++)
        t->counts[nodes[i]]++;
    if (t->plan)
        count_moves(t, key, len, nodes, count);
}

static int count_keys(struct trial *t, const char *name)
{
    size_t n = dlht_hashring_node_count(t->before) + 2;
    struct lines lines;
    char *line;
    size_t len;
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "rb");

    if (!file)
        return cli_usage(t->cli, "%s cannot be opened: %s", name,
                         strerror(errno));
    t->counts = calloc(n, sizeof(*t->counts));
    t->arrived = calloc(n, sizeof(*t->arrived));
    t->left = calloc(n, sizeof(*t->left));
    bool ready = t->counts && t->arrived && t->left;
    memset(&lines, 0, sizeof(lines));
    lines.file = file;
    while (ready && lines_next(&lines, &line, &len))
        count_key(t, line, len);
    bool failed = ferror(file) != 0;
    lines_deinit(&lines);
    if (!standard)
        fclose(file);
    if (failed)
        return cli_usage(t->cli, "%s cannot be read", name);
    return ready ? CLI_DONE : cli_fail(t->cli, DLHT_ENOMEM, NULL);
}

/* --- what is said */

static void json_nodes(const struct trial *t)
{
    struct dlht_hashring_node node;

    for (size_t i = 0; dlht_hashring_node(t->before, i, &node); i++) {
        output_begin();
        output_bytes("node", node.id);
        output_f64("weight", node.weight);
        output_bytes("zone", node.zone);
        output_u64("tokens", node.token_count);
        output_f64("share", node.share);
        if (t->counts)
            output_u64("keys", t->counts[i]);
        output_end();
    }
}

static void json_plan(const struct trial *t)
{
    struct dlht_hashring_plan_total total = dlht_hashring_plan_total(t->plan);
    struct dlht_hashring_plan_node node;

    for (size_t i = 0; dlht_hashring_plan_node(t->plan, i, &node); i++) {
        output_begin();
        output_bytes("node", node.id);
        output_f64("old_share", node.old_share);
        output_f64("new_share", node.new_share);
        output_f64("fair_share", node.fair_share);
        output_f64("gained", node.gained);
        output_f64("lost", node.lost);
        if (t->counts) {
            output_u64("keys_gained", t->arrived[i]);
            output_u64("keys_lost", t->left[i]);
        }
        output_end();
    }
    output_begin();
    output_f64("moved", total.moved);
    output_f64("ideal", total.ideal);
    output_u64("intervals", total.move_count);
    if (t->counts) {
        output_u64("keys", t->keys);
        output_u64("copies_moved", t->moved);
    }
    output_end();
}

__attribute__((format(printf, 2, 3))) static void
cell(struct output_table *table, const char *format, ...)
{
    char text[64];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    output_table_add(table, text);
}

static void table_nodes(const struct trial *t)
{
    static const char *const head[] = { "node",    "zone",   ">weight",
                                        ">tokens", ">share", ">keys" };
    struct output_table table;
    struct dlht_hashring_node node;
    char text[128];

    output_table_init(&table, head, t->counts ? 6 : 5);
    for (size_t i = 0; dlht_hashring_node(t->before, i, &node); i++) {
        output_table_add(&table,
                         output_printable(node.id, 40, text, sizeof(text)));
        output_table_add(&table,
                         output_printable(node.zone, 20, text, sizeof(text)));
        cell(&table, "%g", node.weight);
        cell(&table, "%zu", node.token_count);
        cell(&table, "%.2f%%", 100 * node.share);
        if (t->counts)
            cell(&table, "%" PRIu64, t->counts[i]);
    }
    output_table_end(&table);
}

static void table_plan(const struct trial *t)
{
    static const char *const head[] = { "node",         ">before",   ">after",
                                        ">fair",        ">gains",    ">loses",
                                        ">keys gained", ">keys lost" };
    struct dlht_hashring_plan_total total = dlht_hashring_plan_total(t->plan);
    struct dlht_hashring_plan_node node;
    struct output_table table;
    char text[128];

    puts("");
    output_table_init(&table, head, t->counts ? 8 : 6);
    for (size_t i = 0; dlht_hashring_plan_node(t->plan, i, &node); i++) {
        output_table_add(&table,
                         output_printable(node.id, 40, text, sizeof(text)));
        cell(&table, "%.2f%%", 100 * node.old_share);
        cell(&table, "%.2f%%", 100 * node.new_share);
        cell(&table, "%.2f%%", 100 * node.fair_share);
        cell(&table, "%.2f%%", 100 * node.gained);
        cell(&table, "%.2f%%", 100 * node.lost);
        if (t->counts) {
            cell(&table, "%" PRIu64, t->arrived[i]);
            cell(&table, "%" PRIu64, t->left[i]);
        }
    }
    output_table_end(&table);
    printf("moved %.2f%% of all copies, ideal %.2f%%\n", 100 * total.moved,
           100 * total.ideal);
    if (t->counts)
        printf("moved %" PRIu64 " copies of %" PRIu64 " keys\n", t->moved,
               t->keys);
}

int cmd_hashring(struct cli *cli, const struct arguments *args)
{
    const struct option_value *keys = options_get(args, "keys");
    struct trial t = { .cli = cli,
                       .args = args,
                       .copies = (size_t)options_number(args, "replicas", 1) };
    int rc = CLI_DONE;

    if (keys->given && strcmp(keys->word.data, "-") == 0 && cli->in_shell)
        return cli_usage(cli, "standard input holds the commands here");
    rc = make_rings(&t);
    if (rc == CLI_DONE && options_has(args, "dump")) {
        rc = dump(&t);
        goto done;
    }
    if (rc == CLI_DONE && keys->given)
        rc = count_keys(&t, keys->word.data);
    if (rc == CLI_DONE) {
        (cli->set.json ? json_nodes : table_nodes)(&t);
        if (t.plan)
            (cli->set.json ? json_plan : table_plan)(&t);
    }
done:
    dlht_hashring_plan_free(t.plan);
    dlht_hashring_view_free(t.before);
    dlht_hashring_view_free(t.after);
    dlht_hashring_free(t.ring);
    free(t.counts);
    free(t.arrived);
    free(t.left);
    return rc;
}
