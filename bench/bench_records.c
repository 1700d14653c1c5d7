/* SPDX-License-Identifier: Apache-2.0 */

/* Times the records of an arc beside other ordered stores, with the same keys
 * and in the same run: the map itself with ordinary and with huge pages, LMDB
 * without sync (it keeps a file in a temporary directory), GLib's balanced
 * tree and the red-black tree of the BSDs, as far as they were found at build
 * time. Keys are 16 random bytes and come in random order.
 *
 *   bench_records [--keys N] [--value-size B] [--only NAME]
 *   bench_records --turns N [--keys N]     records and LMDB by turns
 *   bench_records --arcs N [--keys N]      what many small maps take
 *
 * Times are of the processor, not of the wall: the machine may be shared. */

#include <getopt.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "net/sys.h"
#include "store/records.h"

#ifdef BENCH_LMDB
#include <lmdb.h>
#endif
#ifdef BENCH_GLIB
#include <glib.h>
#endif
#ifdef BENCH_BSD
#include <bsd/sys/tree.h>
#endif

enum {
    KEY_BYTES = 16,
    VALUE_BYTES_MAX = 4096,
    SCAN = 100,
    BATCH = 100000 /* puts of a transaction, where there are any */
};

struct options {
    uint64_t keys;
    size_t value_size; /* 0: 8 to 32 bytes */
    const char *only;
    uint64_t arcs;  /* 0: one large map */
    uint64_t turns; /* 0: one store after the other */
};

static struct options options = { 10000000, 0, NULL, 0, 0 };
static uint8_t filler[VALUE_BYTES_MAX];
static uint64_t sink; /* what is read goes here, lest it be left out */

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_records: %s\n", what);
    exit(1);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Key number i; distinct, in no order. */
static void key_make(uint64_t i, uint8_t key[KEY_BYTES])
{
    uint64_t a = mix(i + UINT64_C(0x9e3779b97f4a7c15));
    uint64_t b = mix(a);
    memcpy(key, &a, 8);
    memcpy(key + 8, &b, 8);
}

static size_t value_len(uint64_t i)
{
    return options.value_size ? options.value_size : 8 + mix(i) % 25;
}

/* One store. A scan reads count records from the first key >= key on. */
struct engine {
    const char *name;
    void *(*open)(void);
    void (*put)(void *self, const uint8_t *key, const uint8_t *value,
                size_t len);
    void (*loaded)(void *self); /* may be NULL */
    bool (*get)(void *self, const uint8_t *key);
    uint64_t (*scan)(void *self, const uint8_t *key, uint64_t count);
    /* Keys in [a, b). */
    uint64_t (*range)(void *self, const uint8_t *a, const uint8_t *b);
    uint64_t (*bytes)(void *self);
    void (*close)(void *self);
};

/* The map. */

static void *map_open(void)
{
    return records_new(42);
}

static void *map_open_huge(void)
{
    return records_new_with(42, sys_pages());
}

static void map_put(void *self, const uint8_t *key, const uint8_t *value,
                    size_t len)
{
    struct record record = { span_of(key, KEY_BYTES), span_of(value, len), 1 };
    if (records_put(self, &record) != DLHT_OK)
        die("no memory");
}

static bool map_get(void *self, const uint8_t *key)
{
    struct record record;
    if (!records_get(self, span_of(key, KEY_BYTES), &record))
        return false;
    sink += record.value.data[0];
    return true;
}

static uint64_t map_scan(void *self, const uint8_t *key, uint64_t count)
{
    struct records_cursor cursor;
    uint64_t n = 0;
    bool there = records_seek(self, span_of(key, KEY_BYTES), &cursor);
    while (there && n < count) {
        sink += records_at(&cursor).value.data[0];
        n++;
        there = n < count && records_next(&cursor);
    }
    return n;
}

static uint64_t map_range(void *self, const uint8_t *a, const uint8_t *b)
{
    uint64_t bytes_a;
    uint64_t bytes_b;
    uint64_t n = records_rank(self, span_of(b, KEY_BYTES), &bytes_b) -
                 records_rank(self, span_of(a, KEY_BYTES), &bytes_a);
    sink += bytes_b - bytes_a;
    return n;
}

static uint64_t map_bytes(void *self)
{
    return records_memory_bytes(self);
}

static void map_close(void *self)
{
    records_free(self);
}

#ifdef BENCH_LMDB
struct lmdb {
    char dir[64];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    uint64_t puts;
    bool writes;
};

static void lmdb_try(int rc)
{
    if (rc != 0)
        die(mdb_strerror(rc));
}

static void lmdb_begin(struct lmdb *db, bool writes)
{
    lmdb_try(mdb_txn_begin(db->env, NULL, writes ? 0 : MDB_RDONLY, &db->txn));
    lmdb_try(mdb_dbi_open(db->txn, NULL, 0, &db->dbi));
    lmdb_try(mdb_cursor_open(db->txn, db->dbi, &db->cursor));
    db->writes = writes;
}

static void lmdb_end(struct lmdb *db)
{
    mdb_cursor_close(db->cursor);
    lmdb_try(mdb_txn_commit(db->txn));
}

static void *lmdb_open(void)
{
    struct lmdb *db = calloc(1, sizeof *db);
    if (!db)
        die("no memory");
    strcpy(db->dir, "/tmp/bench_records.XXXXXX");
    if (!mkdtemp(db->dir))
        die("no temporary directory");
    lmdb_try(mdb_env_create(&db->env));
    lmdb_try(mdb_env_set_mapsize(db->env, (size_t)1 << 36));
    lmdb_try(mdb_env_open(db->env, db->dir, MDB_NOSYNC | MDB_WRITEMAP, 0600));
    lmdb_begin(db, true);
    return db;
}

static void lmdb_put(void *self, const uint8_t *key, const uint8_t *value,
                     size_t len)
{
    struct lmdb *db = self;
    if (!db->writes) {
        lmdb_end(db);
        lmdb_begin(db, true);
    }
    MDB_val k = { KEY_BYTES, (void *)(uintptr_t)key };
    MDB_val v = { len, (void *)(uintptr_t)value };
    lmdb_try(mdb_put(db->txn, db->dbi, &k, &v, 0));
    if (++db->puts % BATCH == 0) {
        lmdb_end(db);
        lmdb_begin(db, true);
    }
}

static void lmdb_loaded(void *self)
{
    struct lmdb *db = self;
    lmdb_end(db);
    lmdb_begin(db, false);
}

static bool lmdb_get(void *self, const uint8_t *key)
{
    struct lmdb *db = self;
    MDB_val k = { KEY_BYTES, (void *)(uintptr_t)key };
    MDB_val v;
    if (mdb_get(db->txn, db->dbi, &k, &v) != 0)
        return false;
    sink += *(uint8_t *)v.mv_data;
    return true;
}

static uint64_t lmdb_scan(void *self, const uint8_t *key, uint64_t count)
{
    struct lmdb *db = self;
    MDB_val k = { KEY_BYTES, (void *)(uintptr_t)key };
    MDB_val v;
    uint64_t n = 0;
    int rc = mdb_cursor_get(db->cursor, &k, &v, MDB_SET_RANGE);
    while (rc == 0 && n < count) {
        sink += *(uint8_t *)v.mv_data;
        n++;
        rc = mdb_cursor_get(db->cursor, &k, &v, MDB_NEXT);
    }
    return n;
}

static uint64_t lmdb_range(void *self, const uint8_t *a, const uint8_t *b)
{
    struct lmdb *db = self;
    MDB_val k = { KEY_BYTES, (void *)(uintptr_t)a };
    MDB_val v;
    uint64_t n = 0;
    int rc = mdb_cursor_get(db->cursor, &k, &v, MDB_SET_RANGE);
    while (rc == 0 && memcmp(k.mv_data, b, KEY_BYTES) < 0) {
        n++;
        rc = mdb_cursor_get(db->cursor, &k, &v, MDB_NEXT);
    }
    return n;
}

static uint64_t lmdb_bytes(void *self)
{
    struct lmdb *db = self;
    MDB_envinfo info;
    lmdb_try(mdb_env_info(db->env, &info));
    return (uint64_t)(info.me_last_pgno + 1) * 4096;
}

static void lmdb_close(void *self)
{
    struct lmdb *db = self;
    char path[128];
    lmdb_end(db);
    mdb_env_close(db->env);
    snprintf(path, sizeof path, "%s/data.mdb", db->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/lock.mdb", db->dir);
    unlink(path);
    rmdir(db->dir);
    free(db);
}
#endif

#if defined(BENCH_GLIB) || defined(BENCH_BSD)
/* What malloc has given out. */
static uint64_t heap_bytes(void *self)
{
    (void)self;
    static uint64_t before;
    struct mallinfo2 info = mallinfo2();
    uint64_t now = info.uordblks + info.hblkhd;
    uint64_t grown = now - before;
    before = now;
    return grown;
}

/* One allocation a record, as a careful user of these trees would do. */
struct item {
#ifdef BENCH_BSD
    RB_ENTRY(item) links;
#endif
    uint32_t len;
    uint8_t key[KEY_BYTES];
    uint8_t value[];
};
#endif

#ifdef BENCH_GLIB
/* GTree keeps links in nodes of its own. */
struct pair {
    uint32_t len;
    uint8_t key[KEY_BYTES];
    uint8_t value[];
};

static int pair_order(const void *a, const void *b, void *unused)
{
    (void)unused;
    return memcmp(a, b, KEY_BYTES);
}

static void pair_free(void *value)
{
    free(value);
}

static void *glib_open(void)
{
    heap_bytes(NULL);
    return g_tree_new_full(pair_order, NULL, NULL, pair_free);
}

static void glib_put(void *self, const uint8_t *key, const uint8_t *value,
                     size_t len)
{
    struct pair *old = g_tree_lookup(self, key);
    if (old && old->len == len) {
        memcpy(old->value, value, len);
        return;
    }
    struct pair *pair = malloc(sizeof *pair + len);
    if (!pair)
        die("no memory");
    pair->len = (uint32_t)len;
    memcpy(pair->key, key, KEY_BYTES);
    memcpy(pair->value, value, len);
    g_tree_replace(self, pair->key, pair);
}

static bool glib_get(void *self, const uint8_t *key)
{
    struct pair *pair = g_tree_lookup(self, key);
    if (!pair)
        return false;
    sink += pair->value[0];
    return true;
}

static uint64_t glib_scan(void *self, const uint8_t *key, uint64_t count)
{
    uint64_t n = 0;
    GTreeNode *node = g_tree_lower_bound(self, key);
    for (; node && n < count; node = g_tree_node_next(node)) {
        sink += ((struct pair *)g_tree_node_value(node))->value[0];
        n++;
    }
    return n;
}

static uint64_t glib_range(void *self, const uint8_t *a, const uint8_t *b)
{
    uint64_t n = 0;
    GTreeNode *node = g_tree_lower_bound(self, a);
    for (; node && memcmp(g_tree_node_key(node), b, KEY_BYTES) < 0;
         node = g_tree_node_next(node))
        n++;
    return n;
}

static void glib_close(void *self)
{
    g_tree_destroy(self);
}
#endif

#ifdef BENCH_BSD
RB_HEAD(items, item);

static int item_order(struct item *a, struct item *b)
{
    return memcmp(a->key, b->key, KEY_BYTES);
}

RB_PROTOTYPE(items, item, links, item_order)
RB_GENERATE(items, item, links, item_order)

static struct items items;

static void *bsd_open(void)
{
    heap_bytes(NULL);
    RB_INIT(&items);
    return &items;
}

static struct item *bsd_find(const uint8_t *key, bool after)
{
    struct item probe;
    memcpy(probe.key, key, KEY_BYTES);
    return after ? RB_NFIND(items, &items, &probe)
                 : RB_FIND(items, &items, &probe);
}

static void bsd_put(void *self, const uint8_t *key, const uint8_t *value,
                    size_t len)
{
    (void)self;
    struct item *item = malloc(sizeof *item + len);
    if (!item)
        die("no memory");
    item->len = (uint32_t)len;
    memcpy(item->key, key, KEY_BYTES);
    memcpy(item->value, value, len);
    struct item *old = RB_INSERT(items, &items, item);
    if (!old)
        return;
    if (old->len == len) {
        memcpy(old->value, value, len);
        free(item);
        return;
    }
    RB_REMOVE(items, &items, old);
    free(old);
    RB_INSERT(items, &items, item);
}

static bool bsd_get(void *self, const uint8_t *key)
{
    (void)self;
    struct item *item = bsd_find(key, false);
    if (!item)
        return false;
    sink += item->value[0];
    return true;
}

static uint64_t bsd_scan(void *self, const uint8_t *key, uint64_t count)
{
    (void)self;
    uint64_t n = 0;
    struct item *item = bsd_find(key, true);
    for (; item && n < count; item = RB_NEXT(items, &items, item)) {
        sink += item->value[0];
        n++;
    }
    return n;
}

static uint64_t bsd_range(void *self, const uint8_t *a, const uint8_t *b)
{
    (void)self;
    uint64_t n = 0;
    struct item *item = bsd_find(a, true);
    for (; item && memcmp(item->key, b, KEY_BYTES) < 0;
         item = RB_NEXT(items, &items, item))
        n++;
    return n;
}

static void bsd_close(void *self)
{
    (void)self;
    struct item *item = RB_MIN(items, &items);
    while (item) {
        struct item *next = RB_NEXT(items, &items, item);
        RB_REMOVE(items, &items, item);
        free(item);
        item = next;
    }
}
#endif

static const struct engine engines[] = {
    { "records", map_open, map_put, NULL, map_get, map_scan, map_range,
      map_bytes, map_close },
    { "records-huge", map_open_huge, map_put, NULL, map_get, map_scan,
      map_range, map_bytes, map_close },
#ifdef BENCH_LMDB
    { "lmdb", lmdb_open, lmdb_put, lmdb_loaded, lmdb_get, lmdb_scan, lmdb_range,
      lmdb_bytes, lmdb_close },
#endif
#ifdef BENCH_BSD
    { "rb-tree", bsd_open, bsd_put, NULL, bsd_get, bsd_scan, bsd_range,
      heap_bytes, bsd_close },
#endif
#ifdef BENCH_GLIB
    { "gtree", glib_open, glib_put, NULL, glib_get, glib_scan, glib_range,
      heap_bytes, glib_close },
#endif
};

static void load(const struct engine *e, void *self)
{
    uint8_t key[KEY_BYTES];
    for (uint64_t i = 0; i < options.keys; i++) {
        key_make(i, key);
        e->put(self, key, filler, value_len(i));
    }
    if (e->loaded)
        e->loaded(self);
}

static void gets(const struct engine *e, void *self, uint64_t n)
{
    uint8_t key[KEY_BYTES];
    struct rng rng;
    rng_init(&rng, 1);
    for (uint64_t i = 0; i < n; i++) {
        key_make(rng_below(&rng, options.keys), key);
        if (!e->get(self, key))
            die("a key is missing");
    }
}

/* As gets, sixteen at a time with their waits overlapped. */
static double batched_gets(struct records *map, uint64_t n)
{
    enum {
        MANY = 16
    };
    uint8_t keys[MANY][KEY_BYTES];
    struct rng rng;
    rng_init(&rng, 1);
    double before = cpu_ns();
    for (uint64_t i = 0; i < n; i += MANY) {
        for (size_t j = 0; j < MANY; j++) {
            key_make(rng_below(&rng, options.keys), keys[j]);
            records_prefetch(map, span_of(keys[j], KEY_BYTES));
        }
        for (size_t j = 0; j < MANY; j++)
            records_prefetch_record(map, span_of(keys[j], KEY_BYTES));
        for (size_t j = 0; j < MANY; j++)
            if (!map_get(map, keys[j]))
                die("a key is missing");
    }
    return (cpu_ns() - before) / (double)n;
}

static void overwrites(const struct engine *e, void *self, uint64_t n)
{
    uint8_t key[KEY_BYTES];
    struct rng rng;
    rng_init(&rng, 2);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t k = rng_below(&rng, options.keys);
        key_make(k, key);
        e->put(self, key, filler, value_len(k));
    }
    if (e->loaded)
        e->loaded(self);
}

static void scans(const struct engine *e, void *self, uint64_t n)
{
    uint8_t key[KEY_BYTES];
    struct rng rng;
    rng_init(&rng, 3);
    for (uint64_t i = 0; i < n; i++) {
        key_make(rng_next(&rng), key);
        sink += e->scan(self, key, SCAN);
    }
}

/* Ranges of about one key in 256; the same ones for each engine. */
static uint64_t ranges(const struct engine *e, void *self, uint64_t n)
{
    uint8_t a[KEY_BYTES];
    uint8_t b[KEY_BYTES];
    uint64_t sum = 0;
    struct rng rng;
    rng_init(&rng, 4);
    for (uint64_t i = 0; i < n; i++) {
        key_make(rng_next(&rng), a);
        memcpy(b, a, KEY_BYTES);
        if (b[0] < 255)
            b[0]++;
        sum += e->range(self, a, b);
    }
    return sum;
}

static void run(const struct engine *e, uint64_t *ranges_seen)
{
    uint8_t first[KEY_BYTES] = { 0 };
    uint64_t n = options.keys < 2000000 ? options.keys : 2000000;
    bool own = e->range == map_range; /* counts without walking */
    double batched_ns = 0;
    uint64_t range_count = 20;
    void *self = e->open();
    double t[8];
    t[0] = cpu_ns();
    load(e, self);
    t[1] = cpu_ns();
    uint64_t bytes = e->bytes(self);
    t[2] = cpu_ns();
    gets(e, self, n);
    t[3] = cpu_ns();
    scans(e, self, n / 20);
    t[4] = cpu_ns();
    if (e->scan(self, first, UINT64_MAX) != options.keys)
        die("the scan is not complete");
    t[5] = cpu_ns();
    uint64_t seen = ranges(e, self, range_count);
    if (*ranges_seen && *ranges_seen != seen)
        die("ranges differ");
    *ranges_seen = seen;
    double range_ns = (cpu_ns() - t[5]) / (double)range_count;
    if (own) {
        batched_ns = batched_gets(self, n);
        double before = cpu_ns();
        sink += ranges(e, self, n / 10);
        range_ns = (cpu_ns() - before) / (double)(n / 10);
    }
    t[6] = cpu_ns();
    overwrites(e, self, n);
    t[7] = cpu_ns();
    printf("%-13s %8.0f %8.0f %9.0f %9.0f %9.2f %11.0f %8.1f", e->name,
           (t[1] - t[0]) / (double)options.keys, (t[3] - t[2]) / (double)n,
           (t[7] - t[6]) / (double)n, (t[4] - t[3]) / (double)(n / 20),
           (t[5] - t[4]) / (double)options.keys, range_ns,
           (double)bytes / (double)options.keys);
    double before = cpu_ns();
    e->close(self);
    printf(" %9.1f", (cpu_ns() - before) / 1e6);
    if (own)
        printf("   get in batches of 16: %.0f", batched_ns);
    printf("\n");
    fflush(stdout);
    malloc_trim(0);
}

/* The longest a single put takes while a map grows, and how long it takes to
 * read a view and to split a map of half a million records. */
static void own_figures(void)
{
    enum {
        N = 500000
    };
    uint8_t key[KEY_BYTES];
    struct records *map = map_open_huge();
    double worst = 0;
    for (uint64_t i = 0; i < N; i++) {
        key_make(i, key);
        double before = cpu_ns();
        map_put(map, key, filler, value_len(i));
        double took = cpu_ns() - before;
        worst = took > worst ? took : worst;
    }
    printf("longest of %d puts: %.2f ms\n", N, worst / 1e6);

    double before = cpu_ns();
    struct records_snapshot *view = records_snapshot_new(map);
    struct record record;
    while (view && records_snapshot_next(view, &record))
        sink += record.value.len;
    printf("a view of %d: %.0f ns a record\n", N, (cpu_ns() - before) / N);
    records_snapshot_free(view);

    static const uint8_t cuts[] = { 0x80, 0xe8, 0x08 };
    for (size_t i = 0; i < sizeof cuts; i++) {
        struct records *right;
        before = cpu_ns();
        size_t count = records_count(map);
        if (records_split(map, span_of(&cuts[i], 1), 7, &right) != DLHT_OK)
            die("no memory");
        printf("split %zu | %zu of %zu: %.1f ms\n", records_count(map),
               records_count(right), count, (cpu_ns() - before) / 1e6);
        struct records_cursor cursor;
        bool there = records_seek(right, span_empty(), &cursor);
        for (; there; there = records_next(&cursor)) {
            record = records_at(&cursor);
            if (records_put(map, &record) != DLHT_OK)
                die("no memory");
        }
        records_free(right);
    }
    records_free(map);
}

/* Two stores loaded at once and measured in turns, so that a noisy machine is
 * as noisy for both: medians over the turns. */
struct turns {
    const struct engine *engine;
    void *self;
    double *ns[3];
};

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, size_t count)
{
    qsort(list, count, sizeof *list, double_order);
    return list[count / 2];
}

static void take_turn(struct turns *t, size_t turn)
{
    enum {
        GETS = 200000,
        SCANS = 10000
    };
    const uint8_t first[KEY_BYTES] = { 0 };
    double before = cpu_ns();
    gets(t->engine, t->self, GETS);
    t->ns[0][turn] = (cpu_ns() - before) / GETS;
    before = cpu_ns();
    scans(t->engine, t->self, SCANS);
    t->ns[1][turn] = (cpu_ns() - before) / SCANS;
    before = cpu_ns();
    sink += t->engine->scan(t->self, first, options.keys);
    t->ns[2][turn] = (cpu_ns() - before) / (double)options.keys;
}

static void in_turns(size_t turns)
{
    static const char *const names[] = { "get", "scan100", "full/rec" };
    struct turns list[2] = { { &engines[1], NULL, { NULL } },
                             { &engines[2], NULL, { NULL } } };
    for (size_t i = 0; i < 2; i++) {
        list[i].self = list[i].engine->open();
        for (size_t j = 0; j < 3; j++)
            list[i].ns[j] = calloc(turns, sizeof(double));
        load(list[i].engine, list[i].self);
    }
    for (size_t turn = 0; turn < turns; turn++)
        for (size_t i = 0; i < 2; i++)
            take_turn(&list[i], turn);
    for (size_t j = 0; j < 3; j++) {
        double a = median(list[0].ns[j], turns);
        double b = median(list[1].ns[j], turns);
        printf("%-9s %s %.0f, %s %.0f: %.2f\n", names[j], list[0].engine->name,
               a, list[1].engine->name, b, a / b);
    }
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 3; j++)
            free(list[i].ns[j]);
        list[i].engine->close(list[i].self);
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long size = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        die("no /proc/self/statm");
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Many maps at once, keys in all of them in turn. */
static void small_maps(uint64_t maps, void *(*make)(void), const char *name)
{
    uint8_t key[KEY_BYTES];
    struct records **list = calloc(maps, sizeof *list);
    uint64_t before = resident_bytes();
    for (uint64_t i = 0; list && i < maps; i++)
        list[i] = make();
    uint64_t bytes = 0;
    for (uint64_t i = 0; list && i < options.keys; i++) {
        for (uint64_t j = 0; j < maps; j++) {
            key_make(i * maps + j, key);
            map_put(list[j], key, filler, value_len(i));
        }
    }
    uint64_t after = resident_bytes();
    for (uint64_t j = 0; list && j < maps; j++) {
        bytes += records_memory_bytes(list[j]);
        records_free(list[j]);
    }
    free(list);
    printf("%-13s %.0f KiB a map accounted, %.0f KiB resident\n", name,
           (double)bytes / 1024 / (double)maps,
           (double)(after - before) / 1024 / (double)maps);
    malloc_trim(0);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        { "keys", required_argument, NULL, 'k' },
        { "value-size", required_argument, NULL, 'v' },
        { "only", required_argument, NULL, 'o' },
        { "arcs", required_argument, NULL, 'a' },
        { "turns", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'k')
            options.keys = strtoull(optarg, NULL, 10);
        else if (c == 'v')
            options.value_size = strtoull(optarg, NULL, 10);
        else if (c == 'o')
            options.only = optarg;
        else if (c == 'a')
            options.arcs = strtoull(optarg, NULL, 10);
        else if (c == 't')
            options.turns = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (options.keys < 1000 || options.value_size > VALUE_BYTES_MAX)
        die("at least 1000 keys, values of at most 4096 bytes");
    memset(filler, 'v', sizeof filler);
    if (options.arcs) {
        small_maps(options.arcs, map_open, "records");
        small_maps(options.arcs, map_open_huge, "records-huge");
        return 0;
    }
    if (options.turns) {
        in_turns(options.turns);
        return 0;
    }
    printf("%llu keys of %d bytes, values of ",
           (unsigned long long)options.keys, KEY_BYTES);
    if (options.value_size)
        printf("%zu bytes; ns of processor\n", options.value_size);
    else
        printf("8 to 32 bytes; ns of processor\n");
    printf("%-13s %8s %8s %9s %9s %9s %11s %8s %9s\n", "", "load", "get",
           "overwrite", "scan100", "full/rec", "count range", "B/entry",
           "free ms");
    uint64_t ranges_seen = 0;
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (!options.only || strcmp(options.only, engines[i].name) == 0)
            run(&engines[i], &ranges_seen);
    own_figures();
    return sink == 1; /* it is not */
}
