/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench restart: how long a node with a collection takes to come back,
 * with the file of its graph and without. One node in this process with a data
 * directory of its own is loaded, stopped and opened again, in turn with its
 * file and with the file removed. Times are those of a clock, from before the
 * node is opened: until it serves, until an exact search is answered, and until
 * every vector is in the graph. */

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collection.h"
#include "dlht/vector.h"
#include "table.h"

enum {
    K = VECTOR_TRUTH,
    SETTLE_S = 900
};

struct place {
    char dir[256];
    struct dlht *node;
    struct dlht_options options;
    const struct vector_data *data;
    size_t rows;
};

struct came_back {
    double serves_s, searched_s, ready_s;
    double recall;
};

static void must(int rc, const struct dlht_error *error)
{
    if (rc != DLHT_OK)
        bench_die(error->text[0] ? error->text : dlht_strerror(rc));
}

static int remove_one(const char *path, const struct stat *stat, int type,
                      struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

static void open_node(struct place *p)
{
    struct dlht_error error = { 0 };
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    config.data_dir = p->dir;
    config.replicas = 1;
    must(dlht_open(&config, &p->node, &error), &error);
}

struct feed {
    const struct place *place;
    size_t next;
    char id[COLLECTION_ID_BYTES];
};

static bool next_row(void *context, struct dlht_vector *out)
{
    struct feed *f = context;
    const struct vector_data *data = f->place->data;
    if (f->next == f->place->rows)
        return false;
    struct span id = collection_id(f->next, f->id);
    *out = (struct dlht_vector){ .id = { id.data, id.len },
                                 .values = data->vectors + f->next * data->dim,
                                 .dim = (uint32_t)data->dim };
    f->next++;
    return true;
}

static void await_graph(const struct place *p, double before)
{
    for (;;) {
        struct dlht_collection_info info;
        struct dlht_error error = { 0 };
        must(dlht_collection_info(p->node, &p->options, &info, &error), &error);
        if (info.indexed == p->rows && info.held == p->rows &&
            info.waiting == 0 && info.arcs_scanning == 0)
            return;
        if (wall_ns() - before > SETTLE_S * 1e9)
            bench_die("the graph does not get ready");
        usleep(5000);
    }
}

static void load(struct place *p)
{
    struct dlht_collection_config config;
    struct dlht_error error = { 0 };
    struct feed feed = { .place = p };
    struct dlht_put_report report = { 0 };
    dlht_collection_config_default(&config);
    config.dim = (uint32_t)p->data->dim;
    config.metric = "l2";
    config.ef = COLLECTION_EF;
    config.replicas = 1;
    must(dlht_collection_create(p->node, p->options.keyspace, &config, &error),
         &error);
    must(dlht_vector_put_each(p->node, &p->options, next_row, &feed, 512,
                              &report),
         &report.error);
    await_graph(p, wall_ns());
}

/* The share of the K nearest that was told. */
static double search(const struct place *p, size_t q, bool exact)
{
    const struct vector_data *data = p->data;
    struct dlht_search s = { .values = data->queries + q * data->dim,
                             .dim = (uint32_t)data->dim,
                             .k = K,
                             .exact = exact };
    struct dlht_hits hits;
    struct dlht_error error = { 0 };
    must(dlht_vector_search(p->node, &p->options, &s, &hits, &error), &error);
    size_t met = 0;
    for (size_t i = 0; i < hits.count; i++)
        for (size_t k = 0; k < K; k++) {
            char id[COLLECTION_ID_BYTES];
            struct span name =
                collection_id(data->truth[q * VECTOR_TRUTH + k], id);
            met += hits.list[i].id.len == name.len &&
                   memcmp(hits.list[i].id.data, name.data, name.len) == 0;
        }
    dlht_hits_free(&hits);
    return (double)met / K;
}

static struct came_back come_back(struct place *p)
{
    struct came_back back;
    double before = wall_ns();
    open_node(p);
    back.serves_s = (wall_ns() - before) / 1e9;
    (void)search(p, 0, true);
    back.searched_s = (wall_ns() - before) / 1e9;
    await_graph(p, before);
    back.ready_s = (wall_ns() - before) / 1e9;
    size_t count = p->data->query_count < 200 ? p->data->query_count : 200;
    back.recall = 0;
    for (size_t q = 0; q < count; q++)
        back.recall += search(p, q, false) / (double)count;
    return back;
}

/* Of the node's graph files; removed, if asked. */
static uint64_t graph_files(const struct place *p, bool away)
{
    uint64_t bytes = 0;
    DIR *dir = opendir(p->dir);
    if (!dir)
        bench_die("no data directory");
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char path[600];
        struct stat st;
        if (strncmp(entry->d_name, "graph-", 6) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", p->dir, entry->d_name);
        if (stat(path, &st) == 0)
            bytes += (uint64_t)st.st_size;
        if (away && remove(path) != 0)
            bench_die("a file cannot be removed");
    }
    closedir(dir);
    return bytes;
}

static void tell(struct table *t, const char *what, const struct came_back *b,
                 uint64_t bytes)
{
    table_text(t, "start", what);
    table_number(t, "file_mb", (double)bytes / 1e6, 1);
    table_number(t, "serves_s", b->serves_s, 2);
    table_number(t, "searched_s", b->searched_s, 2);
    table_number(t, "ready_s", b->ready_s, 2);
    table_number(t, "recall", b->recall, 4);
    table_end_row(t);
}

void bench_restart(const struct bench_options *options)
{
    const char *tmp = getenv("TMPDIR");
    struct place p = { .options = { .keyspace = "docs" } };
    p.rows = bench_size(options, options->keys, 100000, 3000);
    size_t rounds = bench_size(options, options->rounds, 3, 1);
    struct vector_data *data = vector_data_new(
        VECTORS_CLUSTERED, p.rows, options->quick ? 50 : 200, options->seed);
    p.data = data;
    snprintf(p.dir, sizeof p.dir, "%s/dlht-bench-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(p.dir))
        bench_die("no folder for the node");
    open_node(&p);
    load(&p);
    struct table *t = table_begin(options, "restart", "a node comes back");
    for (size_t i = 0; i < 2 * rounds; i++) {
        bool with = i % 2 == 0;
        dlht_close(p.node);
        uint64_t bytes = graph_files(&p, !with);
        struct came_back back = come_back(&p);
        tell(t, with ? "with file" : "without", &back, with ? bytes : 0);
        bench_promise(options, "a file where one should be",
                      with && bytes == 0 ? 1 : 0, 0);
    }
    table_end(t, "seconds from before the node is opened until it serves, has "
                 "answered an\nexact search, and has every vector in its "
                 "graph");
    dlht_close(p.node);
    vector_data_free(data);
    if (nftw(p.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "%s could not be removed\n", p.dir);
}
