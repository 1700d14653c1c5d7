/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-cli: lines of its shell against a cluster that is a table in memory
 * (tests/cmd/fake_dlht.c), or lines of a file that it loads.
 *
 * The first byte of an input says how the rest is read: 'l', 't', 'j' and 'p'
 * are files of lines, tsv, jsonl and points to load, 'f', 'n' and 'v' of
 * vectors: fvecs, npy and JSON lines; 'd' a document that a peer answered with;
 * 'b' base64; else lines of the shell. Verbs that write or
 * read files, wait, or take as long as they are told to are parsed and not
 * run. What is printed goes nowhere, unless $FUZZ_LOUD is set. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"

#include "../../cmd/cli/base64.h"
#include "../../cmd/cli/cells.h"
#include "../../cmd/cli/cli.h"
#include "../../cmd/cli/document.h"
#include "../../cmd/cli/verbs.h"
#include "../../cmd/cli/words.h"

enum {
    LINES_MAX = 64
};

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    nowhere = fopen("/dev/null", "w");
    assert(nowhere);
    return 0;
}

/* Whether it may be run here. */
static bool is_harmless(const struct words *words)
{
    static const char *const not_run[] = { "load",   "export", "import",
                                           "bench",  "leave",  "train",
                                           "--file", "-",      "--keys",
                                           "--from", "--wait" };
    bool ring = false, big = false;
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->list[i].data;
        for (size_t n = 0; n < sizeof not_run / sizeof *not_run; n++) {
            size_t len = strlen(not_run[n]);
            if (strncmp(word, not_run[n], len) == 0 &&
                (word[len] == 0 || word[len] == '='))
                return false;
        }
        ring = ring || strcmp(word, "hashring") == 0;
        big = big || strncmp(word, "--vnodes", 8) == 0 || strchr(word, '=') ||
              strncmp(word, "--probes", 8) == 0 ||
              strncmp(word, "--replicas", 10) == 0;
    }
    return !(ring && (big || words->count > 12));
}

static void run_line(struct cli *cli, const char *line, size_t len)
{
    struct words words;
    const char *why;
    if (!words_split(line, len, &words, &why)) {
        assert(why && words.count == 0);
        words_deinit(&words);
        return;
    }
    for (size_t i = 0; i < words.count; i++)
        assert(words.list[i].data[words.list[i].len] == 0);
    size_t taken;
    if (words.count && is_harmless(&words)) {
        int rc = verbs_run(cli, words.list, words.count);
        assert(rc >= CLI_DONE && rc <= CLI_REFUSED);
    } else if (verbs_find(words.list, words.count, &taken)) {
        struct arguments args;
        const struct verb *verb = verbs_find(words.list, words.count, &taken);
        struct cli_settings before = cli->set; /* as verbs_run has it */
        (void)options_parse(cli, verb, words.list + taken, words.count - taken,
                            &args);
        options_deinit(&args);
        cli->set = before;
    }
    words_deinit(&words);
}

static void run_shell(struct cli *cli, struct span text)
{
    cli->in_shell = true;
    for (int i = 0; i < LINES_MAX && text.len > 0; i++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;
        char *line = malloc(len + 1);
        assert(line);
        memcpy(line, text.data, len);
        line[len] = 0;
        run_line(cli, line, len);
        free(line);
        text = span_tail(text, len + 1);
    }
}

static void run_load(struct cli *cli, struct span text, const char *command)
{
    FILE *before = stdin;
    if (text.len == 0)
        return;
    FILE *file = fmemopen((void *)(uintptr_t)text.data, text.len, "r");
    assert(file);
    stdin = file;
    struct words words;
    const char *why;
    bool split = words_split(command, strlen(command), &words, &why);
    assert(split);
    int rc = verbs_run(cli, words.list, words.count);
    assert(rc >= CLI_DONE && rc <= CLI_REFUSED);
    words_deinit(&words);
    stdin = before;
    fclose(file);
}

static void show(struct span bytes)
{
    static const char *const head[] = { "a", "b", "c", "d", "e", "f" };
    struct document document;
    if (document_open(&document,
                      (struct dlht_bytes){ bytes.data, bytes.len })) {
        document_print_json(document_root(&document));
        struct output_table table;
        output_table_init(&table, head, 6);
        for (size_t i = 0; i < document_rows(&document); i++) {
            const msgpack_object *row = document_row(&document, i);
            cells_text(&table, row, "addr");
            cells_u64(&table, row, "keys");
            cells_size(&table, row, "bytes");
            cells_bound(&table, row, "lo");
            cells_list(&table, row, "replicas");
            cells_age(&table, row, "age");
        }
        output_table_end(&table);
    }
    document_close(&document);
}

static void try_base64(struct span text)
{
    char *copy = malloc(text.len + 1);
    assert(copy);
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    size_t len = text.len;
    if (base64_decode(copy, &len))
        assert(len <= text.len);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cli cli = { .nodes = "127.0.0.1:9000" };
    FILE *out = stdout, *err = stderr;
    if (size == 0)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    if (!getenv("FUZZ_LOUD"))
        stdout = stderr = nowhere;
    switch (data[0]) {
    case 'l':
        run_load(&cli, rest, "load - --no-presplit");
        break;
    case 't':
        run_load(&cli, rest, "load - --format tsv --no-presplit");
        break;
    case 'j':
        run_load(&cli, rest, "load - --format jsonl --no-presplit");
        break;
    case 'p':
        run_load(&cli, rest, "box load - --dims 2");
        break;
    case 'f':
        run_load(&cli, rest, "-k l2 vector load - --format fvecs");
        break;
    case 'n':
        run_load(&cli, rest, "-k l2 vector load - --format npy");
        break;
    case 'v':
        run_load(&cli, rest, "-k l2 vector load - --format jsonl");
        break;
    case 'd':
        show(rest);
        break;
    case 'b':
        try_base64(rest);
        break;
    default:
        run_shell(&cli, span_of(data, size));
    }
    cli_close(&cli);
    stdout = out;
    stderr = err;
    return 0;
}

static void make_shell(struct rng *rng, struct buf *out)
{
    static const char *const words[] = {
        "a",         "b c",     "\"x y\"",  "'q'",       "\\x41",
        "--json",    "--limit", "5",        "--stale",   "--keyspace",
        "default",   "-k",      "--help",   "1,2",       "3,4",
        "--dims",    "2",       "--latlon", "--bits",    "--count",
        "weight=2",  "rate=1M", "--",       "--reverse", "0x10",
        "--timeout", "37.5%",   "add=1",    "--what-if", "l2",
        "--values",  "1,2,3",   "[1 2 3",   "--meta",    "{\"n\":1}",
        "--filter",  "n=1",     "--id",     "--with",    "meta,vector",
    };
    size_t verbs = 0;
    while (verbs_table[verbs].name)
        verbs++;
    for (uint64_t n = rng_range(rng, 1, 4); n > 0; n--) {
        const char *name = verbs_table[rng_below(rng, verbs)].name;
        buf_append(out, name, strlen(name));
        for (uint64_t i = rng_below(rng, 5); i > 0; i--) {
            const char *word =
                words[rng_below(rng, sizeof words / sizeof *words)];
            buf_append_byte(out, ' ');
            buf_append(out, word, strlen(word));
        }
        buf_append_byte(out, '\n');
    }
}

/* Rows of fvecs, most of them of one dim. */
static void make_rows(struct rng *rng, struct buf *out)
{
    buf_append_byte(out, 'f');
    for (uint64_t n = rng_range(rng, 1, 5); n > 0; n--) {
        uint8_t dim = rng_chance(rng, 0.9) ? 3 : (uint8_t)rng_next(rng);
        buf_append(out, (uint8_t[]){ dim, 0, 0, 0 }, 4);
        for (int i = 0; i < 3 * 4; i++)
            buf_append_byte(out, (uint8_t)rng_next(rng));
    }
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    static const struct {
        char kind;
        const char *line;
    } lines[] = {
        { 'l', "a line\n" },
        { 't', "key\tvalue\n" },
        { 'j', "{\"key\": \"k\\u00e9\", \"value\": {\"base64\": \"AAEC\"}}\n" },
        { 'j', "{\"key\": 17, \"value\": true, \"x\": [1, {\"y\": null}]}\n" },
        { 'p', "1.5,2\tvalue\n" },
        { 'v', "{\"id\": \"a\", \"vector\": [1, 2.5, -3e1], \"meta\": {\"a\": "
               "[1, \"\\\"}\"]}}\n" },
        { 'v', "{\"vector\":[0,0,0],\"x\":[{}],\"id\":7,\"meta\":null}\n" },
        { 'n', "\x93NUMPY\1 ?\1{'descr': '<f4', 'fortran_order': False, "
               "'shape': (1, 3), }\nabcdefghijkl" },
        { 'b', "QUJD" },
        { 'd', "\x91\x83\xa4"
               "addr\xa3"
               "a:9\xa4keys\x05\xa2lo\xc4\x02kk" },
        { 'd', "\x82\xa8replicas\x92\xa1"
               "a\xa1"
               "b\xa3"
               "age\xcb@\x10\1\1\1\1\1\1" },
    };
    if (rng_chance(rng, 0.1)) {
        make_rows(rng, out);
    } else if (rng_chance(rng, 0.6)) {
        make_shell(rng, out);
    } else {
        size_t i = rng_below(rng, sizeof lines / sizeof *lines);
        buf_append_byte(out, (uint8_t)lines[i].kind);
        for (uint64_t n = rng_range(rng, 1, 4); n > 0; n--)
            buf_append(out, lines[i].line, strlen(lines[i].line));
    }
    for (uint64_t n = rng_below(rng, 4); n > 0; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
