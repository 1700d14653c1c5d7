/* SPDX-License-Identifier: Apache-2.0 */

/* Which shard will a key belong to? A model of yesterday's keys places today's
 * on N shards so that each gets about as many, in key order, without asking
 * anybody.
 *
 *     predict_shards timestamps|tasks [SHARDS]
 *
 * timestamps: milliseconds of events with busy days and quiet nights. tasks:
 * ids such as "build/arm64/000123", of queues of very different size. Beside
 * the model stands what one would do without: equal parts of the key space,
 * from the least key to the greatest. */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/rmi.h"

enum {
    KEYS = 20000,
    SHARDS_MAX = 64,
    TASK_BYTES = 32
};

static uint64_t state = 1;

/* Uniform in [0, 1): splitmix64. */
static double chance(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* The shard of a position: shards are equal parts of the ring. */
static size_t shard_of(uint64_t position, size_t shards)
{
    return (size_t)((double)position / 18446744073709551616.0 * (double)shards);
}

static void show(const char *how, const size_t *counts, size_t shards)
{
    size_t most = 0;
    for (size_t i = 0; i < shards; i++)
        most = counts[i] > most ? counts[i] : most;
    printf("%-22s fullest shard %.2f x mean:", how,
           (double)most * (double)shards / KEYS);
    for (size_t i = 0; i < shards; i++)
        printf(" %zu", counts[i]);
    printf("\n");
}

/* A day of events, in order: 9 in 10 between 8 and 20 o'clock. */
static void make_day(uint64_t day, uint64_t *keys)
{
    uint64_t begin = UINT64_C(1790000000000) + day * 86400000;
    double at[KEYS], sum = 0;
    for (size_t i = 0; i < KEYS; i++) {
        sum += -log(1 - chance());
        at[i] = sum;
    }
    for (size_t i = 0; i < KEYS; i++) {
        double u = at[i] / sum;
        double hour = u < 0.05   ? u / 0.05 * 8
                      : u < 0.95 ? 8 + (u - 0.05) / 0.9 * 12
                                 : 20 + (u - 0.95) / 0.05 * 4;
        keys[i] = begin + (uint64_t)(hour * 3599999.0);
    }
}

static int timestamps(size_t shards)
{
    static uint64_t before[KEYS], now[KEYS];
    struct dlht_model *model;
    size_t learned[SHARDS_MAX] = { 0 }, even[SHARDS_MAX] = { 0 };
    make_day(0, before);
    make_day(1, now);
    int rc = dlht_model_train_u64(before, KEYS, NULL, &model);
    if (rc != DLHT_OK)
        return rc;
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t yesterday = now[i] - 86400000;
        learned[shard_of(dlht_model_position_u64(model, yesterday), shards)]++;
        even[(now[i] - now[0]) * shards / (now[KEYS - 1] - now[0] + 1)]++;
    }
    show("by yesterday's model", learned, shards);
    show("equal parts of time", even, shards);
    dlht_model_free(model);
    return DLHT_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void make_tasks(char keys[KEYS][TASK_BYTES])
{
    static const char *queues[] = { "build/amd64", "build/arm64", "deploy",
                                    "mail", "thumbnail" };
    for (size_t i = 0; i < KEYS; i++) {
        double u = chance();
        size_t q = u < 0.5 ? 0 : u < 0.55 ? 1 : u < 0.56 ? 2 : u < 0.9 ? 3 : 4;
        snprintf(keys[i], TASK_BYTES, "%s/%06.0f", queues[q],
                 floor(chance() * 1e6));
    }
    qsort(keys, KEYS, TASK_BYTES, by_text);
}

static int tasks(size_t shards)
{
    static char before[KEYS][TASK_BYTES], now[KEYS][TASK_BYTES];
    static struct dlht_bytes list[KEYS];
    struct dlht_model *model;
    size_t learned[SHARDS_MAX] = { 0 }, even[SHARDS_MAX] = { 0 };
    make_tasks(before);
    make_tasks(now);
    for (size_t i = 0; i < KEYS; i++)
        list[i] = (struct dlht_bytes){ before[i], strlen(before[i]) };
    int rc = dlht_model_train(list, KEYS, NULL, &model);
    if (rc != DLHT_OK)
        return rc;
    int least = now[0][0], most = now[KEYS - 1][0];
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t position = dlht_model_position(model, now[i], strlen(now[i]));
        learned[shard_of(position, shards)]++;
        even[(size_t)(now[i][0] - least) * shards /
             (size_t)(most - least + 1)]++;
    }
    show("by yesterday's model", learned, shards);
    show("equal parts of a to z", even, shards);
    dlht_model_free(model);
    return DLHT_OK;
}

int main(int argc, char **argv)
{
    size_t shards = argc > 2 ? strtoul(argv[2], NULL, 10) : 8;
    int rc = DLHT_EINVAL;
    if (argc > 1 && shards > 0 && shards <= SHARDS_MAX) {
        if (strcmp(argv[1], "timestamps") == 0)
            rc = timestamps(shards);
        else if (strcmp(argv[1], "tasks") == 0)
            rc = tasks(shards);
    }
    if (rc == DLHT_EINVAL)
        fprintf(stderr, "usage: predict_shards timestamps|tasks [1 to 64]\n");
    else if (rc != DLHT_OK)
        fprintf(stderr, "predict_shards: %s\n", dlht_strerror(rc));
    return rc == DLHT_OK ? 0 : 2;
}
