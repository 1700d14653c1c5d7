/* SPDX-License-Identifier: Apache-2.0 */

/* Drives a fuzz target without a fuzzer, or under AFL++.
 *
 *     fuzz_... FILE|DIR...           replays inputs, a corpus or a crash
 *     fuzz_... --random N [SEED]     tries N made-up inputs
 *     fuzz_... --make DIR N [SEED]   writes N made-up inputs
 *     fuzz_... --for SECONDS SEED KEEP FILE|DIR...
 *                                    tries what is there, changed blindly;
 *                                    the file KEEP holds the input that is
 *                                    tried, also of a crash
 *
 * Each input has to stay within fuzz_limits.h. Time is that of the processor,
 * the least of three tries, so that a busy machine fails nothing. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/fuzz_limits.h"
#include "fuzz/fuzz_mutate.h"

enum {
    TAKEN_MAX = 4096 /* inputs to begin with */
};

static unsigned long long seed_now, round_now;
static const char *file_now;
static struct buf taken[TAKEN_MAX];
static size_t taken_count;
static bool takes;
static size_t bytes_max;
static double cpu_ms_max;

static void on_abort(int signal_number)
{
    (void)signal_number;
    if (file_now)
        fprintf(stderr, "file %s\n", file_now);
    else
        fprintf(stderr, "seed %llu, input %llu\n", seed_now, round_now);
}

static void try_once(const uint8_t *data, size_t len)
{
    fuzz_limits_begin();
    (void)LLVMFuzzerTestOneInput(data, len);
}

static void judge(const uint8_t *data, size_t len)
{
    double cpu_ms = fuzz_limits_cpu_ms();
    size_t bytes = fuzz_limits_bytes();
    if (bytes > FUZZ_BYTES_MAX) {
        fprintf(stderr, "takes %zu bytes, more than %d\n", bytes,
                FUZZ_BYTES_MAX);
        abort();
    }
    for (int i = 0; i < 2 && cpu_ms > FUZZ_CPU_MS_MAX; i++) {
        try_once(data, len);
        double again = fuzz_limits_cpu_ms();
        cpu_ms = again < cpu_ms ? again : cpu_ms;
    }
    if (cpu_ms > FUZZ_CPU_MS_MAX) {
        fprintf(stderr, "takes %.0f ms, more than %d\n", cpu_ms,
                FUZZ_CPU_MS_MAX);
        abort();
    }
    bytes_max = bytes > bytes_max ? bytes : bytes_max;
    cpu_ms_max = cpu_ms > cpu_ms_max ? cpu_ms : cpu_ms_max;
}

/* Alone on the heap, so that a step past the end is seen by ASan. */
static void try_alone(const uint8_t *data, size_t len)
{
    uint8_t *alone = malloc(len ? len : 1);
    if (!alone)
        abort();
    if (len)
        memcpy(alone, data, len);
    try_once(alone, len);
    judge(alone, len);
    free(alone);
}

static void say_well(unsigned long long count)
{
    printf("%llu inputs: well", count);
    if (bytes_max)
        printf("; at most %.1f ms, %zu KiB", cpu_ms_max, bytes_max >> 10);
    putchar('\n');
}

static int try_random(unsigned long long count, unsigned long long seed)
{
    struct buf b = { 0 };
    seed_now = seed;
    printf("seed %llu\n", seed);
    for (round_now = 0; round_now < count; round_now++) {
        struct rng rng;
        rng_init(&rng, seed + round_now);
        buf_reset(&b);
        fuzz_make(&rng, &b);
        try_alone(b.data, b.len);
    }
    buf_deinit(&b);
    say_well(count);
    return 0;
}

static int make(const char *dir, unsigned long long count,
                unsigned long long seed)
{
    struct buf b = { 0 };
    for (unsigned long long i = 0; i < count; i++) {
        struct rng rng;
        char path[4096];
        rng_init(&rng, seed + i);
        buf_reset(&b);
        fuzz_make(&rng, &b);
        snprintf(path, sizeof path, "%s/made-%llu", dir, seed + i);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(b.data, 1, b.len, file) != b.len ||
            fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    buf_deinit(&b);
    return 0;
}

static int try_file(const char *path, unsigned long long *count)
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
    file_now = path;
    try_alone(b.data, b.len);
    file_now = NULL;
    if (takes && taken_count < TAKEN_MAX && b.len <= FUZZ_INPUT_MAX)
        taken[taken_count++] = b;
    else
        buf_deinit(&b);
    ++*count;
    return 0;
}

static int try_dir(const char *path, unsigned long long *count)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    int rc = n < 0;
    if (n < 0)
        perror(path);
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && rc == 0)
            rc = try_file(name, count);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return rc;
}

static int try_all(char **paths, int count)
{
    unsigned long long tried = 0;
    for (int i = 0; i < count; i++) {
        struct stat st;
        bool is_dir = stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode);
        if ((is_dir ? try_dir : try_file)(paths[i], &tried) != 0)
            return 1;
    }
    say_well(tried);
    return 0;
}

/* The input that is tried stands in a file, its length before it, until it is
 * over: whatever ends the process. */
static uint8_t *keep_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    size_t len = sizeof(uint32_t) + FUZZ_INPUT_MAX;
    if (fd < 0 || ftruncate(fd, (off_t)len) != 0) {
        perror(path);
        exit(2);
    }
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

static void keep_this(uint8_t *keep, const struct buf *b)
{
    uint32_t len = (uint32_t)b->len;
    if (b->len > 0)
        memcpy(keep + sizeof len, b->data, b->len);
    memcpy(keep, &len, sizeof len);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void draw(struct rng *rng, struct buf *b)
{
    buf_reset(b);
    if (taken_count == 0 || rng_chance(rng, 0.1)) {
        fuzz_make(rng, b);
        return;
    }
    buf_append_span(b, buf_span(&taken[rng_below(rng, taken_count)]));
    fuzz_mutate(rng, buf_span(&taken[rng_below(rng, taken_count)]), b);
}

static int try_for(double seconds, unsigned long long seed, const char *keep,
                   char **paths, int count)
{
    struct rng rng;
    struct buf b = { 0 };
    uint8_t *kept = keep_open(keep);
    takes = true;
    if (!kept || try_all(paths, count) != 0)
        return 1;
    rng_init(&rng, seed);
    seed_now = seed;
    printf("seed %llu\n", seed);
    fflush(stdout);
    double end = now() + seconds;
    for (round_now = 0; now() < end; round_now++) {
        draw(&rng, &b);
        if (b.len > FUZZ_INPUT_MAX)
            continue;
        keep_this(kept, &b);
        try_alone(b.data, b.len);
    }
    say_well(round_now);
    unlink(keep);
    buf_deinit(&b);
    while (taken_count > 0)
        buf_deinit(&taken[--taken_count]);
    return 0;
}

#ifdef __AFL_FUZZ_TESTCASE_LEN
__AFL_FUZZ_INIT();

/* Under AFL++: each input in a process forked after the beginning, unless
 * --loop keeps it for many. */
static int under_afl(bool loop)
{
    __AFL_INIT();
    const uint8_t *data = __AFL_FUZZ_TESTCASE_BUF;
    do {
        int len = __AFL_FUZZ_TESTCASE_LEN;
        (void)LLVMFuzzerTestOneInput(data, (size_t)len);
    } while (loop && __AFL_LOOP(1000));
    return 0;
}
#endif

int main(int argc, char **argv)
{
    signal(SIGABRT, on_abort);
    (void)LLVMFuzzerInitialize(&argc, &argv);
#ifdef __AFL_FUZZ_TESTCASE_LEN
    if (argc == 2 && strcmp(argv[1], "--afl") == 0)
        return under_afl(false);
    if (argc == 2 && strcmp(argv[1], "--afl-loop") == 0)
        return under_afl(true);
#endif
    if (argc >= 3 && strcmp(argv[1], "--random") == 0)
        return try_random(strtoull(argv[2], NULL, 10),
                          argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    if (argc >= 4 && strcmp(argv[1], "--make") == 0)
        return make(argv[2], strtoull(argv[3], NULL, 10),
                    argc > 4 ? strtoull(argv[4], NULL, 10) : 1);
    if (argc >= 5 && strcmp(argv[1], "--for") == 0)
        return try_for(atof(argv[2]), strtoull(argv[3], NULL, 10), argv[4],
                       argv + 5, argc - 5);
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr,
                "usage: %s FILE|DIR... | --random N [SEED] | "
                "--make DIR N [SEED] | --for SECONDS SEED KEEP FILE|DIR...\n",
                argv[0]);
        return 2;
    }
    return try_all(argv + 1, argc - 1);
}
