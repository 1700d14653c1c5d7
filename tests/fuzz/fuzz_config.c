/* SPDX-License-Identifier: Apache-2.0 */

/* The command line and the config file of dlht-node. An input is words, each
 * up to a zero byte, for the command line, an empty word, then the file.
 *
 * What is accepted is given to no node: options_parse is what is tried. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"

#include "../../cmd/node/options.h"

enum {
    WORDS_MAX = 64
};

static int file = -1;
static char file_name[64];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    file = memfd_create("config", 0);
    assert(file >= 0);
    snprintf(file_name, sizeof file_name, "/proc/self/fd/%d", file);
    return 0;
}

static void write_file(struct span text)
{
    int rc = ftruncate(file, 0);
    assert(rc == 0);
    ssize_t n =
        pwrite(file, text.data ? text.data : (const uint8_t *)"", text.len, 0);
    assert(n == (ssize_t)text.len);
}

/* One line, and what is accepted is whole. */
static void judge(bool ok, const struct options *o)
{
    size_t len = strlen(o->error);
    assert(len < OPTIONS_ERROR_MAX);
    assert(ok == (len == 0));
    assert(o->text_count <= OPTIONS_TEXTS_MAX);
    if (!ok)
        return;
    assert(o->config.bootstrap_count <= DLHT_BOOTSTRAP_MAX);
    for (size_t i = 0; i < o->config.bootstrap_count; i++)
        assert(strlen(o->config.bootstrap[i]) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS_MAX + 3];
    int argc = 0;
    size_t at = 0;
    char *text = malloc(size + 1);
    assert(text);
    memcpy(text, data, size);
    text[size] = 0;
    argv[argc++] = (char[]){ "dlht-node" };
    while (at < size && text[at] && argc <= WORDS_MAX) {
        /* No other file than the one made here. */
        if (!strstr(text + at, "conf"))
            argv[argc++] = text + at;
        at += strlen(text + at) + 1;
    }
    char option[sizeof file_name + 16];
    snprintf(option, sizeof option, "--config=%s", file_name);
    if (at < size) {
        write_file(span_of(text + at + 1, size - at - 1));
        argv[argc++] = option;
    }
    argv[argc] = NULL;
    struct options options;
    bool ok = options_parse(&options, argc, argv);
    judge(ok, &options);
    options_free(&options);
    free(text);
    return 0;
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    static const char *const names[] = {
        "listen",     "advertise", "bootstrap",    "join-timeout", "down-out",
        "data-dir",   "vnodes",    "durability",   "weight",       "replicas",
        "successors", "zone",      "memory-limit", "map",          "move-rate",
        "redis",      "config",    "log-level",    "log-format",   "help",
        "version",    "nothing",
    };
    static const char *const values[] = {
        "127.0.0.1:9000",
        "30s",
        "5m",
        "1",
        "3",
        "full",
        "fingers",
        "64M",
        "1K",
        "",
        "json",
        "sync",
        "interval",
        "memory",
        "99999999999999999999",
        "-1",
        "info",
        "1e400",
        "nan",
        "0x10",
        "500ms",
    };
    uint64_t words = rng_below(rng, 5), lines = rng_below(rng, 8);
    for (uint64_t i = 0; i < words + lines; i++) {
        const char *name = names[rng_below(rng, sizeof names / sizeof *names)];
        const char *value =
            values[rng_below(rng, sizeof values / sizeof *values)];
        char text[128];
        int n = snprintf(text, sizeof text, i < words ? "--%s=%s" : "%s = %s\n",
                         name, value);
        if (i == words)
            buf_append_byte(out, 0);
        buf_append(out, text, (size_t)n);
        if (i < words)
            buf_append_byte(out, 0);
    }
    for (uint64_t n = rng_below(rng, 3); n > 0 && out->len > 0; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
