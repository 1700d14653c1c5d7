/* SPDX-License-Identifier: Apache-2.0 */

/* Readers of a hash ring while a writer does 1,000 joins and leaves; a plain
 * program, for the sanitizer of threads. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "placement/hashring.h"

enum {
    READERS = 3,
    CHANGES = 1000,
    NODES = 8
};

static struct hashring_slot slot;
static atomic_bool done;
static atomic_ulong faults;

static void *read_on(void *unused)
{
    (void)unused;
    do {
        struct hashring *ring = hashring_slot_take(&slot);
        size_t count = hashring_node_count(ring);
        for (uint64_t i = 0; i < 64; i++) {
            uint32_t nodes[3];
            size_t n =
                hashring_replicas_at(ring, i * 0x9e3779b97f4a7c15u, 3, nodes);
            if (n != 3 || nodes[0] >= count || nodes[1] >= count ||
                nodes[2] >= count || nodes[0] == nodes[1])
                atomic_fetch_add(&faults, 1);
        }
        hashring_drop(ring);
    } while (!atomic_load(&done));
    return NULL;
}

static void change(enum hashring_verb verb, unsigned number)
{
    char name[16];
    int len = snprintf(name, sizeof name, "n%u", number);
    struct hashring_change c = { .verb = verb,
                                 .id = span_of(name, (size_t)len),
                                 .weight = 1 };
    struct hashring *old = hashring_slot_take(&slot);
    struct hashring *next;
    if (hashring_apply(old, &c, 1, &next, NULL) != DLHT_OK)
        abort();
    hashring_drop(old);
    hashring_slot_set(&slot, next);
}

int main(void)
{
    struct hashring_config config = hashring_config_default();
    struct hashring *ring;
    pthread_t readers[READERS];
    config.vnodes = 16;
    if (hashring_new(&config, &ring) != DLHT_OK)
        return 1;
    hashring_slot_init(&slot, ring);
    for (unsigned i = 0; i < NODES; i++)
        change(HASHRING_ADD, i);
    for (size_t i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, read_on, NULL) != 0)
            return 1;
    for (unsigned i = 0; i < CHANGES; i++) {
        change(HASHRING_ADD, i + NODES);
        change(HASHRING_REMOVE, i);
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    hashring_slot_deinit(&slot);
    printf("%lu faults\n", atomic_load(&faults));
    return atomic_load(&faults) != 0;
}
