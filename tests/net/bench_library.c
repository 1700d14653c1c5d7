/* SPDX-License-Identifier: Apache-2.0 */

/* What a request costs through the library, without a node's own work: a fake
 * node in one process, clients in another. Not a test: prints figures.
 *
 *     bench_net_library [SECONDS [CONNECTIONS [VALUE_BYTES]]] */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dlht/dlht.h"

enum {
    BENCH_KEYS = 100000,
    BENCH_CONNECTIONS_MAX = 256
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bench {
    struct dlht *d;
    enum dlht_op op;
    size_t value_len;
    const char *value;
    unsigned seed;
    unsigned long done;
    unsigned long failed;
};

static void bench_on_answer(void *context, const struct dlht_result *result)
{
    struct bench *b = context;
    b->done++;
    b->failed += result->status != DLHT_OK;
}

static void bench_submit(struct bench *b)
{
    char key[17];
    b->seed = b->seed * 1664525u + 1013904223u;
    unsigned n = (b->seed >> 8) % BENCH_KEYS;
    memcpy(key, "key:000000000000", 17);
    for (int i = 15; n; i--, n /= 10)
        key[i] = (char)('0' + n % 10);
    struct dlht_request q = { .op = b->op, .key = { key, 16 } };
    if (b->op == DLHT_OP_PUT)
        q.value = (struct dlht_bytes){ b->value, b->value_len };
    if (dlht_submit(b->d, &q, bench_on_answer, b) != DLHT_OK)
        abort();
}

static void bench_run(const char *address, enum dlht_op op, int pipeline,
                      int connections, double seconds, size_t value_len,
                      const char *value, pid_t server)
{
    static struct bench list[BENCH_CONNECTIONS_MAX];
    for (int i = 0; i < connections; i++) {
        list[i] = (struct bench){ .op = op,
                                  .value = value,
                                  .value_len = value_len,
                                  .seed = (unsigned)i * 77 + 1 };
        if (dlht_connect(address, 5000, &list[i].d, NULL) != DLHT_OK)
            abort();
    }
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)server);
    double cpu[2] = { 0, 0 };
    double begin = now_s(), end = begin;
    unsigned long done = 0, failed = 0;
    for (int half = 0; half < 2; half++) {
        FILE *f = fopen(path, "r");
        unsigned long user = 0, system = 0;
        if (f && fgets(line, sizeof line, f))
            sscanf(strrchr(line, ')') + 1,
                   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                   &user, &system);
        if (f)
            fclose(f);
        cpu[half] = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
        if (half == 1)
            break;
        do {
            for (int i = 0; i < connections; i++) {
                unsigned long target = list[i].done + (unsigned)pipeline;
                for (int k = 0; k < pipeline; k++)
                    bench_submit(&list[i]);
                if (connections == 1)
                    while (list[i].done < target)
                        dlht_poll(list[i].d, -1);
                else
                    dlht_poll(list[i].d, 0);
            }
            if (connections > 1)
                for (int i = 0; i < connections; i++)
                    while (list[i].done % (unsigned)pipeline)
                        dlht_poll(list[i].d, -1);
            end = now_s();
        } while (end - begin < seconds);
        for (int i = 0; i < connections; i++)
            while (dlht_poll(list[i].d, 50) > 0)
                ;
    }
    for (int i = 0; i < connections; i++) {
        done += list[i].done;
        failed += list[i].failed;
        dlht_close(list[i].d);
    }
    printf("%s P%-3d %d connections: %8.0f/s, server %5.0f ns each, %lu "
           "failed\n",
           op == DLHT_OP_PUT ? "put" : "get", pipeline, connections,
           (double)done / (end - begin), (cpu[1] - cpu[0]) / (double)done * 1e9,
           failed);
    fflush(stdout);
}

static void serve(int fd)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    struct dlht *node;
    if (dlht_open(&config, &node, NULL) != DLHT_OK)
        exit(1);
    const char *address = dlht_address(node);
    if (write(fd, address, strlen(address) + 1) < 0)
        exit(1);
    pause();
    exit(0);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    int connections = argc > 2 ? atoi(argv[2]) : 1;
    size_t value_len = argc > 3 ? (size_t)atoi(argv[3]) : 64;
    int fds[2];
    if (pipe(fds) != 0)
        return 1;
    pid_t server = fork();
    if (server == 0)
        serve(fds[1]);
    char address[64] = "";
    if (read(fds[0], address, sizeof address) <= 0)
        return 1;
    char *value = calloc(1, value_len + 1);
    memset(value, 'v', value_len);
    static const int pipelines[] = { 1, 16, 64 };
    for (int put = 1; put >= 0; put--)
        for (int i = put ? -1 : 0; i < 3; i++)
            bench_run(address, put ? DLHT_OP_PUT : DLHT_OP_GET,
                      i < 0 ? 256 : pipelines[i], connections, seconds,
                      value_len, value, server);
    kill(server, SIGKILL);
    free(value);
    return 0;
}
