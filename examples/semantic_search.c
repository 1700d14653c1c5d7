/* SPDX-License-Identifier: Apache-2.0 */

/* Search by meaning, of the packages installed on this machine: what is like
 * "compress files"? Three nodes inside this program keep their descriptions as
 * vectors; or a ring that runs already does.
 *
 *     semantic_search [--connect HOST:PORT] [--file FILE] [QUERY...]
 *
 * FILE is written as /var/lib/dpkg/status is; if it has few packages, some that
 * are built in are taken. With --connect the collection `packages` is made
 * there, and stays.
 *
 * A text becomes a vector without a model from elsewhere: its words and their
 * triples of letters are counted, those that few texts have for more, and each
 * adds to 256 numbers a pattern of +1 and -1 that its hash is the seed of. Such
 * random patterns hardly meet, so that vectors are as near as the counts are.
 *
 * The program checks what it is told, and says so at the end: texts find
 * themselves, hits are those of a look at all vectors, filters hold, every node
 * says the same. Exit status 1: one of these does not hold. */

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dlht/vector.h"

enum {
    DIM = 256,
    NODES = 3,
    K = 5,
    TEXTS_MAX = 5000,
    TEXTS_MIN = 50, /* else the built-in ones are taken */
    TEXT_BYTES = 4096,
    NAME_BYTES = 64,
    BUCKETS = 1 << 18, /* of counts: how many texts have a feature */
    WORD_BYTES = 32,
    TITLE_WEIGHT = 2,
    LINE_BYTES = 200
};

struct text {
    char name[NAME_BYTES];
    char section[NAME_BYTES];
    long size_kb;
    char words[TEXT_BYTES]; /* the first line says it shortly */
    float vector[DIM];
};

static const char *const collection = "packages";
static struct text *texts;
static size_t text_count;
static uint32_t text_of[BUCKETS]; /* that have a feature of this bucket */
static uint32_t seen_in[BUCKETS]; /* the last of them */
static unsigned checks, failures;

static void check(bool holds, const char *format, ...)
{
    va_list list;
    checks++;
    if (holds)
        return;
    failures++;
    va_start(list, format);
    fprintf(stderr, "WRONG: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
}

static _Noreturn void give_up(const char *what, const struct dlht_error *error)
{
    fprintf(stderr, "semantic_search: %s: %s\n", what,
            error->text[0] ? error->text : dlht_strerror(error->code));
    exit(1);
}

/* Embedding */

static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t hash(const char *bytes, size_t len)
{
    uint64_t h = len;
    for (size_t i = 0; i < len; i++)
        h = mix(h ^ (unsigned char)bytes[i]);
    return h;
}

typedef void (*feature_fn)(void *context, uint64_t feature, float weight);

/* Words in small letters, and their triples with an edge on both sides. */
static void word_features(const char *word, size_t len, feature_fn fn,
                          void *context)
{
    fn(context, hash(word + 1, len), 1);
    for (size_t i = 0; len > 3 && i + 3 <= len + 2; i++)
        fn(context, hash(word + i, 3) ^ 1, 0.4f);
}

static void features(const char *text, feature_fn fn, void *context)
{
    char word[WORD_BYTES + 2] = "<";
    size_t len = 0;
    for (;; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c)) {
            if (len < WORD_BYTES)
                word[++len] = (char)tolower(c);
            continue;
        }
        word[len + 1] = '>';
        if (len > 1)
            word_features(word, len, fn, context);
        len = 0;
        if (!c)
            return;
    }
}

/* context: the number of the text, from 1. */
static void count_feature(void *context, uint64_t feature, float weight)
{
    uint32_t number = *(uint32_t *)context;
    size_t bucket = feature % BUCKETS;
    (void)weight;
    text_of[bucket] += seen_in[bucket] != number;
    seen_in[bucket] = number;
}

static void add_feature(void *context, uint64_t feature, float weight)
{
    float *vector = context;
    float texts_with = (float)text_of[feature % BUCKETS];
    weight *= logf((1 + (float)text_count) / (1 + texts_with));
    for (size_t i = 0; i < DIM; i += 64) {
        uint64_t signs = mix(feature + i);
        for (size_t j = 0; j < 64; j++)
            vector[i + j] += signs >> j & 1 ? weight : -weight;
    }
}

/* Of length one; what is in the title counts more. False: there is no word. */
static bool embed(const char *title, const char *text, float *vector)
{
    float sum = 0;
    memset(vector, 0, DIM * sizeof *vector);
    for (int i = 0; i < TITLE_WEIGHT; i++)
        features(title, add_feature, vector);
    features(text, add_feature, vector);
    for (size_t i = 0; i < DIM; i++)
        sum += vector[i] * vector[i];
    for (size_t i = 0; i < DIM && sum > 0; i++)
        vector[i] /= sqrtf(sum);
    return sum > 0;
}

/* Texts */

static const struct {
    const char *name, *section, *words;
    long size_kb;
} built_in[] = {
    { "gzip", "utils", "GNU compression utilities for files", 240 },
    { "bzip2", "utils", "block-sorting file compressor", 120 },
    { "tar", "utils", "stores many files in one archive", 3100 },
    { "bash", "shells", "interactive command shell and language", 7100 },
    { "dash", "shells", "small command shell for scripts", 190 },
    { "grep", "utils", "finds lines that match a pattern", 1300 },
    { "sed", "utils", "stream editor that changes lines of text", 980 },
    { "passwd", "admin", "changes passwords and user accounts", 2800 },
    { "sqlite3", "database", "command line of an embedded SQL database", 900 },
    { "curl", "web", "transfers data with URLs over the network", 500 },
    { "gcc", "devel", "compiler of the C language", 60 },
    { "zlib1g", "libs", "compression library", 160 },
    { "python3", "python", "interpreter of a high-level language", 90 },
};

static struct text *new_text(void)
{
    if (text_count == TEXTS_MAX)
        return NULL;
    struct text *text = &texts[text_count];
    memset(text, 0, sizeof *text);
    return text;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < text_count; i++)
        if (strcmp(texts[i].name, name) == 0)
            return true;
    return false;
}

static void finish_text(const struct text *text)
{
    if (text && text->name[0] && text->section[0] && text->words[0] &&
        !is_known(text->name))
        text_count++;
}

/* Behind what is there; what is too long is cut. */
static void append(char *out, size_t room, const char *what)
{
    size_t at = strlen(out), len = strlen(what);
    if (len > room - at - 1)
        len = room - at - 1;
    memcpy(out + at, what, len);
    out[at + len] = 0;
}

static bool take_field(const char *line, const char *field, char *out,
                       size_t room)
{
    size_t len = strlen(field);
    if (strncmp(line, field, len) != 0)
        return false;
    *out = 0;
    append(out, room, line + len);
    return true;
}

static void read_line(struct text *text, const char *line, bool *in_words)
{
    char size[32];
    if (line[0] == ' ') {
        if (*in_words) {
            append(text->words, sizeof text->words, "\n");
            append(text->words, sizeof text->words, line);
        }
        return;
    }
    *in_words =
        take_field(line, "Description: ", text->words, sizeof text->words);
    take_field(line, "Package: ", text->name, sizeof text->name);
    take_field(line, "Section: ", text->section, sizeof text->section);
    if (take_field(line, "Installed-Size: ", size, sizeof size))
        text->size_kb = strtol(size, NULL, 10);
}

static void read_packages(const char *path)
{
    static char line[1 << 16];
    FILE *file = fopen(path, "r");
    struct text *text = new_text();
    bool in_words = false;
    while (file && text && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0]) {
            read_line(text, line, &in_words);
            continue;
        }
        finish_text(text);
        text = new_text();
    }
    if (file)
        fclose(file);
    finish_text(text);
    if (text_count >= TEXTS_MIN)
        return;
    text_count = 0;
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) {
        text = &texts[i];
        *text = (struct text){ .size_kb = built_in[i].size_kb };
        append(text->name, sizeof text->name, built_in[i].name);
        append(text->section, sizeof text->section, built_in[i].section);
        append(text->words, sizeof text->words, built_in[i].words);
        finish_text(text);
    }
}

/* The first line of the words, as a string of JSON may hold it. */
static void headline(const struct text *text, char *out, size_t room)
{
    size_t n = 0;
    for (const char *c = text->words; *c && *c != '\n' && n + 1 < room; c++)
        out[n++] =
            (char)(*c < ' ' || *c == '"' || *c == '\\' || *c > '~' ? '?' : *c);
    out[n] = 0;
}

static void embed_all(void)
{
    char line[LINE_BYTES];
    for (uint32_t i = 1; i <= text_count; i++)
        features(texts[i - 1].words, count_feature, &i);
    size_t kept = 0;
    for (size_t i = 0; i < text_count; i++) {
        headline(&texts[i], line, sizeof line);
        if (embed(line, texts[i].words, texts[i].vector))
            texts[kept++] = texts[i];
    }
    text_count = kept;
}

/* The ring */

static struct dlht *start_node(size_t i)
{
    char name[32];
    struct dlht_config config;
    struct dlht_error error;
    struct dlht *node;
    dlht_config_default(&config);
    snprintf(name, sizeof name, "inproc:semantic-%zu", i);
    config.listen = name;
    config.bootstrap[0] = "inproc:semantic-0";
    config.bootstrap_count = i > 0;
    if (dlht_open(&config, &node, &error) != DLHT_OK)
        give_up("a node does not start", &error);
    return node;
}

static void make_collection(struct dlht *d)
{
    static const char *const fields[] = { "section", "size" };
    struct dlht_error error;
    struct dlht_collection_config config;
    dlht_collection_config_default(&config);
    config.dim = DIM;
    config.fields = fields;
    config.field_count = 2;
    int rc = dlht_collection_create(d, collection, &config, &error);
    if (rc != DLHT_OK && rc != DLHT_EEXISTS)
        give_up("no collection", &error);
}

/* What one node was told the others hear within moments. */
static void await_collection(struct dlht *d, const struct dlht_options *options)
{
    struct dlht_collection_info info;
    struct dlht_error error;
    time_t end = time(NULL) + 10;
    while (dlht_collection_info(d, options, &info, &error) != DLHT_OK)
        if (time(NULL) > end)
            give_up("a node does not know the collection", &error);
}

struct feeder {
    size_t next;
    char meta[512];
};

static bool next_text(void *context, struct dlht_vector *out)
{
    struct feeder *f = context;
    char line[LINE_BYTES];
    if (f->next == text_count)
        return false;
    const struct text *text = &texts[f->next++];
    headline(text, line, sizeof line);
    snprintf(f->meta, sizeof f->meta,
             "{\"section\": \"%s\", \"size\": %ld, \"text\": \"%s\"}",
             text->section, text->size_kb, line);
    *out = (struct dlht_vector){ .id = { text->name, strlen(text->name) },
                                 .values = text->vector,
                                 .dim = DIM,
                                 .meta = f->meta };
    return true;
}

static double now_ms(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void load(struct dlht *d, const struct dlht_options *options)
{
    struct feeder feeder = { 0 };
    struct dlht_put_report report;
    double before = now_ms();
    if (dlht_vector_put_each(d, options, next_text, &feeder, 0, &report) !=
        DLHT_OK)
        give_up("not all could be stored", &report.error);
    double took = now_ms() - before;
    printf("%" PRIu64 " texts stored in %.0f ms\n", report.stored, took);
}

/* Searches */

static const struct text *text_named(struct dlht_bytes id)
{
    for (size_t i = 0; i < text_count; i++)
        if (strlen(texts[i].name) == id.len &&
            memcmp(texts[i].name, id.data, id.len) == 0)
            return &texts[i];
    return NULL;
}

/* What a search is to find, and the same said in C. */
struct wish {
    const char *words;
    const char *filter;
    bool (*passes)(const struct text *text);
};

static bool is_library(const struct text *text)
{
    return strcmp(text->section, "libs") == 0 ||
           strcmp(text->section, "libdevel") == 0;
}

static bool is_small_tool(const struct text *text)
{
    return text->size_kb < 2000 && !is_library(text);
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += (double)a[i] * (double)b[i];
    return 1 - sum;
}

/* How many texts that pass are nearer than d. */
static size_t nearer(const struct wish *wish, const float *vector, double d)
{
    size_t count = 0;
    for (size_t i = 0; i < text_count; i++)
        count += (!wish->passes || wish->passes(&texts[i])) &&
                 distance(vector, texts[i].vector) < d;
    return count;
}

static void search(struct dlht *d, const struct dlht_options *options,
                   const struct wish *wish, const float *vector,
                   struct dlht_hits *hits)
{
    struct dlht_error error;
    struct dlht_search search = { .values = vector,
                                  .dim = DIM,
                                  .k = K,
                                  .filter = wish->filter,
                                  .with_meta = true };
    if (dlht_vector_search(d, options, &search, hits, &error) != DLHT_OK)
        give_up("a search failed", &error);
}

/* What is told is right, and complete. */
static void check_hits(const struct wish *wish, const float *vector,
                       const struct dlht_hits *hits, bool ours_alone)
{
    check(!hits->partial, "\"%s\": part of the ring is missing", wish->words);
    for (size_t i = 0; i < hits->count; i++) {
        const struct dlht_hit *hit = &hits->list[i];
        const struct text *text = text_named(hit->id);
        if (!text && !ours_alone)
            continue;
        check(text &&
                  fabs(distance(vector, text->vector) - hit->distance) < 1e-4,
              "\"%s\": the distance of hit %zu", wish->words, i);
        check(text && (!wish->passes || wish->passes(text)),
              "\"%s\": hit %zu is not what the filter asks", wish->words, i);
    }
    size_t there = nearer(wish, vector, HUGE_VAL);
    if (!ours_alone)
        return;
    check(hits->count == (there < K ? there : K), "\"%s\": %zu hits",
          wish->words, hits->count);
    /* One of five may be missed: the graph looks at few. */
    if (hits->count)
        check(nearer(wish, vector,
                     hits->list[hits->count - 1].distance - 1e-4) <= K,
              "\"%s\": nearer ones are missing", wish->words);
}

static void show_hits(const struct wish *wish, const struct dlht_hits *hits,
                      double took)
{
    printf("\n\"%s\"%s%s   (%.2f ms, %" PRIu64 " distances%s)\n", wish->words,
           wish->filter ? "   where " : "", wish->filter ? wish->filter : "",
           took, hits->measured, hits->exact ? ", all looked at" : "");
    for (size_t i = 0; i < hits->count; i++) {
        const struct text *text = text_named(hits->list[i].id);
        char line[48] = "";
        if (text)
            headline(text, line, sizeof line);
        printf("  %.3f  %-20s %-10s %s\n", hits->list[i].distance,
               (const char *)hits->list[i].id.data, text ? text->section : "",
               line);
    }
}

/* Through each node; all say the same. */
static void ask(struct dlht *const *doors, size_t door_count,
                const struct dlht_options *options, const struct wish *wish,
                bool ours_alone)
{
    float vector[DIM];
    struct dlht_hits first = { 0 };
    if (!embed("", wish->words, vector)) {
        printf("\n\"%s\" has no word\n", wish->words);
        return;
    }
    for (size_t i = 0; i < door_count; i++) {
        struct dlht_hits hits;
        double before = now_ms();
        search(doors[i], options, wish, vector, &hits);
        double took = now_ms() - before;
        check_hits(wish, vector, &hits, ours_alone);
        if (i == 0) {
            show_hits(wish, &hits, took);
            first = hits;
            continue;
        }
        /* But for the last bits: sums are made in another order where a graph
         * does not have all yet. */
        check(hits.count == first.count &&
                  (!hits.count ||
                   fabs(hits.list[0].distance - first.list[0].distance) < 1e-4),
              "\"%s\": node %zu says something else", wish->words, i);
        dlht_hits_free(&hits);
    }
    dlht_hits_free(&first);
}

/* The hit of a text's own words is that text, or one of the same words. */
static void texts_find_themselves(struct dlht *d,
                                  const struct dlht_options *options)
{
    size_t step = text_count / 40 + 1, found = 0, asked = 0;
    double before = now_ms();
    for (size_t i = 0; i < text_count; i += step) {
        struct dlht_hits hits;
        struct wish wish = { texts[i].name, NULL, NULL };
        search(d, options, &wish, texts[i].vector, &hits);
        found += hits.count > 0 && hits.list[0].distance < 1e-4;
        asked++;
        dlht_hits_free(&hits);
    }
    check(found == asked, "%zu of %zu texts find themselves", found, asked);
    printf("\n%zu of %zu texts find themselves, %.2f ms each\n", found, asked,
           (now_ms() - before) / (double)asked);
}

static void demonstrate(struct dlht *const *doors, size_t door_count,
                        char *const *queries, size_t query_count)
{
    static const struct wish wishes[] = {
        { "compress files", NULL, NULL },
        { "interactive command shell", NULL, NULL },
        { "manage passwords of user accounts", NULL, NULL },
        { "compression library", "section in (\"libs\", \"libdevel\")",
          is_library },
        { "find lines that match a pattern",
          "size < 2000 and not section in (\"libs\", \"libdevel\")",
          is_small_tool },
    };
    struct dlht_options options = { .keyspace = collection,
                                    .timeout_ms = 10000 };
    struct dlht_error error;
    uint64_t count = 0;
    make_collection(doors[0]);
    for (size_t i = 0; i < door_count; i++)
        await_collection(doors[i], &options);
    load(doors[0], &options);
    if (dlht_vector_count(doors[0], &options, &count, &error) != DLHT_OK)
        give_up("no count", &error);
    check(count >= text_count, "%" PRIu64 " are there", count);
    bool ours_alone = count == text_count;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes && !query_count; i++)
        ask(doors, door_count, &options, &wishes[i], ours_alone);
    for (size_t i = 0; i < query_count; i++) {
        struct wish wish = { queries[i], NULL, NULL };
        ask(doors, door_count, &options, &wish, ours_alone);
    }
    texts_find_themselves(doors[door_count - 1], &options);
}

static int usage(void)
{
    fprintf(stderr, "usage: semantic_search [--connect HOST:PORT] "
                    "[--file FILE] [QUERY...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *connect = NULL, *file = "/var/lib/dpkg/status";
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at += 2) {
        if (at + 1 < argc && strcmp(argv[at], "--connect") == 0)
            connect = argv[at + 1];
        else if (at + 1 < argc && strcmp(argv[at], "--file") == 0)
            file = argv[at + 1];
        else
            return usage();
    }
    texts = calloc(TEXTS_MAX, sizeof *texts);
    if (!texts)
        return 1;
    read_packages(file);
    embed_all();
    struct dlht *doors[NODES] = { NULL };
    size_t door_count = connect ? 1 : NODES;
    struct dlht_error error;
    for (size_t i = 0; i < door_count && !connect; i++)
        doors[i] = start_node(i);
    if (connect && dlht_connect(connect, 5000, &doors[0], &error) != DLHT_OK)
        give_up(connect, &error);
    demonstrate(doors, door_count, argv + at, (size_t)(argc - at));
    for (size_t i = door_count; i-- > 0;)
        dlht_close(doors[i]);
    free(texts);
    printf("%u of %u checks hold\n", checks - failures, checks);
    return failures ? 1 : 0;
}
