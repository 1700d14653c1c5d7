/* SPDX-License-Identifier: Apache-2.0 */

/* Readers of a hash ring while a writer does 1,000 joins and 1,000 leaves, by
 * the public header alone. A plain program, so that the sanitizer of threads
 * can watch it: the same source is built once more with that. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/hashring.h"

enum {
    READERS = 3,
    CHANGES = 1000,
    NODES = 8
};

static struct dlht_hashring *ring;
static atomic_bool done;
static atomic_ulong faults;
static atomic_ulong views;

static void check(bool right)
{
    if (!right)
        atomic_fetch_add(&faults, 1);
}

static void look(const struct dlht_hashring_view *view, uint64_t i)
{
    uint32_t nodes[3];
    uint32_t found[2];
    struct dlht_bytes keys[2] = { { &i, sizeof i }, { &i, 3 } };
    size_t count = dlht_hashring_node_count(view);
    check(dlht_hashring_replicas(view, &i, sizeof i, 3, nodes) == 3);
    check(nodes[0] < count && nodes[1] < count && nodes[2] < count);
    check(nodes[0] != nodes[1] && nodes[1] != nodes[2] && nodes[2] != nodes[0]);
    check(dlht_hashring_find(view, &i, sizeof i) == nodes[0]);
    check(dlht_hashring_find_all(view, keys, 2, found) == 2);
    check(found[0] == nodes[0] && found[1] < count);
}

/* A torn ring would have shares that do not add up. */
static void add_up(const struct dlht_hashring_view *view)
{
    struct dlht_hashring_node node;
    double share = 0;
    for (size_t i = 0; dlht_hashring_node(view, i, &node); i++) {
        share += node.share;
        check(node.id.len > 1 && *(const char *)node.id.data == 'n');
    }
    check(share > 0.999999 && share < 1.000001);
}

static void plan(struct dlht_hashring_view *old, struct dlht_hashring_view *now)
{
    struct dlht_hashring_plan *p;
    if (dlht_hashring_plan(old, now, 2, &p) != DLHT_OK) {
        check(false);
        return;
    }
    check(dlht_hashring_plan_total(p).moved >= 0);
    dlht_hashring_plan_free(p);
}

static void *read_on(void *number)
{
    uint64_t i = (uint64_t)(uintptr_t)number << 32;
    struct dlht_hashring_view *last = dlht_hashring_view(ring);
    do {
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        uint64_t print = dlht_hashring_fingerprint(view);
        for (size_t k = 0; k < 64; k++)
            look(view, i++);
        add_up(view);
        if (i % (64 * 16) == 0)
            plan(last, view);
        check(dlht_hashring_fingerprint(view) == print);
        dlht_hashring_view_free(last);
        last = view;
        atomic_fetch_add(&views, 1);
    } while (!atomic_load(&done));
    dlht_hashring_view_free(last);
    return NULL;
}

static size_t name_of(unsigned number, char name[16])
{
    return (size_t)snprintf(name, 16, "n%u", number);
}

static void join(unsigned number)
{
    char name[16];
    size_t len = name_of(number, name);
    check(dlht_hashring_add(ring, name, len, 1, "", 0) == DLHT_OK);
}

static void leave(unsigned number)
{
    char name[16];
    size_t len = name_of(number, name);
    check(dlht_hashring_remove(ring, name, len) == DLHT_OK);
}

/* Not all before the readers have begun. */
static void change(void)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        join(i + NODES);
        leave(i);
        while (i % 100 == 0 && atomic_load(&views) < i / 10)
            ;
    }
}

int main(void)
{
    struct dlht_hashring_config config = { .vnodes = 16 };
    pthread_t readers[READERS];
    if (dlht_hashring_new(&config, &ring) != DLHT_OK)
        return 1;
    for (unsigned i = 0; i < NODES; i++)
        join(i);
    for (size_t i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, read_on,
                           (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    change();
    atomic_store(&done, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    dlht_hashring_free(ring);
    printf("%lu views, %lu faults\n", atomic_load(&views),
           atomic_load(&faults));
    return atomic_load(&faults) != 0;
}
