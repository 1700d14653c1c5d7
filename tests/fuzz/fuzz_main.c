/* SPDX-License-Identifier: Apache-2.0 */

/* Drives a fuzz target without a fuzzer.
 *
 *     fuzz_... FILE...              replays inputs, a corpus or a crash
 *     fuzz_... --random N [SEED]    tries N made-up inputs
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

static unsigned long long seed_now, round_now;

static void on_abort(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "seed %llu, input %llu\n", seed_now, round_now);
}

/* Alone on the heap, so that a step past the end is seen by ASan. */
static void try_alone(const uint8_t *data, size_t len)
{
    uint8_t *alone = malloc(len ? len : 1);
    if (!alone)
        abort();
    memcpy(alone, data, len);
    (void)LLVMFuzzerTestOneInput(alone, len);
    free(alone);
}

static int try_random(unsigned long long count, unsigned long long seed)
{
    struct buf b = { 0 };
    seed_now = seed;
    for (round_now = 0; round_now < count; round_now++) {
        struct rng rng;
        rng_init(&rng, seed + round_now);
        buf_reset(&b);
        fuzz_make(&rng, &b);
        try_alone(b.data, b.len);
    }
    buf_deinit(&b);
    printf("%llu inputs from seed %llu: well\n", count, seed);
    return 0;
}

static int try_file(const char *path)
{
    struct buf b = { 0 };
    uint8_t block[4096];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        buf_append(&b, block, n);
    fclose(file);
    if (b.len)
        try_alone(b.data, b.len);
    buf_deinit(&b);
    printf("%s: well\n", path);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGABRT, on_abort);
    if (argc >= 3 && strcmp(argv[1], "--random") == 0)
        return try_random(strtoull(argv[2], NULL, 10),
                          argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE... | --random N [SEED]\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (try_file(argv[i]) != 0)
            return 1;
    return 0;
}
