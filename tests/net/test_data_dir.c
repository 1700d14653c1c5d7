/* SPDX-License-Identifier: Apache-2.0 */

/* Checkpoints that several threads load: what the node is told of each arc is
 * what stands on disk, in order, and of what is damaged or fails it hears as
 * if one thread had read all. The linker sends the node's calls here. */

#include "net/data_dir.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/check.h"
#include "store/checkpoint.h"
#include "store/le.h"

enum {
    ARCS = 40,
    DAMAGED = 11,    /* its newest generation */
    UNREADABLE = 12, /* its only one */
    GENERATIONS = 2
};

/* What the node was told of an arc. */
static struct heard {
    uint64_t number;
    uint64_t blocks;
    bool older;
    bool quarantined;
} heard[ARCS + 1];

static atomic_bool busy; /* one thread is in a call that is not a block's */
static arc_id fails;     /* its header meets no memory */

static void enter(void)
{
    CHECK(!atomic_exchange(&busy, true));
    usleep(100);
}

int __wrap_node_restore_header(struct node *node, arc_id arc, uint64_t number,
                               struct span bytes, struct records **into);
int __wrap_node_restore_block(struct records *into, struct span bytes);
void __wrap_node_restore_older(struct node *node, arc_id arc);
int __wrap_node_quarantine(struct node *node, arc_id arc);

int __wrap_node_restore_header(struct node *node, arc_id arc, uint64_t number,
                               struct span bytes, struct records **into)
{
    (void)node;
    enter();
    CHECK(arc >= 1 && arc <= ARCS);
    CHECK(bytes.len == 8 && le_get64(bytes.data) == arc);
    CHECK_EQ(heard[arc].number, 0);
    heard[arc].number = number;
    *into = (struct records *)&heard[arc];
    busy = false;
    return arc == fails ? DLHT_ENOMEM : DLHT_OK;
}

int __wrap_node_restore_block(struct records *into, struct span bytes)
{
    struct heard *h = (struct heard *)into;
    CHECK_EQ(bytes.len, 16);
    CHECK_EQ(le_get64(bytes.data), h - heard);
    CHECK_EQ(le_get64(bytes.data + 8), h->blocks);
    h->blocks++;
    return DLHT_OK;
}

void __wrap_node_restore_older(struct node *node, arc_id arc)
{
    (void)node;
    enter();
    heard[arc].older = true;
    busy = false;
}

int __wrap_node_quarantine(struct node *node, arc_id arc)
{
    (void)node;
    enter();
    heard[arc].quarantined = true;
    busy = false;
    return DLHT_OK;
}

static uint64_t blocks_of(arc_id arc)
{
    return arc * 7 % 50;
}

static void write_arc(struct disk disk, arc_id arc, uint64_t number)
{
    struct checkpoint_writer *w;
    uint8_t bytes[16];
    le_put64(bytes, arc);
    CHECK_EQ(checkpoint_begin(disk, arc, number, span_of(bytes, 8), &w),
             DLHT_OK);
    for (uint64_t i = 0; i < blocks_of(arc); i++) {
        le_put64(bytes + 8, i);
        CHECK_EQ(checkpoint_add(w, span_of(bytes, sizeof bytes)), DLHT_OK);
    }
    CHECK_EQ(checkpoint_commit(w), DLHT_OK);
}

static void damage(const char *path, arc_id arc, uint64_t number)
{
    char name[160];
    snprintf(name, sizeof name, "%s/checkpoint-%016llx-%016llx", path,
             (unsigned long long)arc, (unsigned long long)number);
    int fd = open(name, O_WRONLY);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, "x", 1, 90), 1);
    close(fd);
}

static atomic_int warnings;

static void count_warning(void *context, enum log_level level, const char *text)
{
    (void)context, (void)level, (void)text;
    warnings++;
}

static int restore(struct data_dir *dir, size_t loaders,
                   struct dlht_error *error)
{
    struct journal *journal = NULL;
    memset(heard, 0, sizeof heard);
    warnings = 0;
    data_dir_set_loaders(dir, loaders);
    int rc =
        data_dir_restore(dir, NULL, 1, count_warning, NULL, &journal, error);
    CHECK((rc == DLHT_OK) == (journal != NULL));
    journal_close(journal);
    return rc;
}

static void all_is_told(struct data_dir *dir, size_t loaders)
{
    struct dlht_error error;
    fails = 0;
    CHECK_EQ(restore(dir, loaders, &error), DLHT_OK);
    for (arc_id arc = 1; arc <= ARCS; arc++) {
        bool lost = arc == UNREADABLE;
        CHECK_EQ(heard[arc].quarantined, lost);
        CHECK_EQ(heard[arc].blocks, lost ? 0 : blocks_of(arc));
        CHECK_EQ(heard[arc].older, arc == DAMAGED);
        uint64_t number = arc == DAMAGED ? 1 : lost ? 0 : GENERATIONS;
        CHECK_EQ(heard[arc].number, number);
    }
    CHECK_EQ(warnings, 2);
}

static void a_failure_ends_the_start(struct data_dir *dir, size_t loaders)
{
    struct dlht_error error;
    fails = 20;
    CHECK_EQ(restore(dir, loaders, &error), DLHT_ENOMEM);
    CHECK_EQ(error.code, DLHT_ENOMEM);
    CHECK(strstr(error.text, "cannot read the data directory") != NULL);
    CHECK_EQ(heard[20].blocks, 0);
    for (arc_id arc = 1; arc < 20; arc++)
        CHECK(heard[arc].number || heard[arc].quarantined);
    CHECK(loaders > 1 || heard[21].number == 0);
}

int main(void)
{
    char path[] = "/tmp/dlht_data_dir_XXXXXX";
    if (!mkdtemp(path))
        return 1;
    struct data_dir *dir;
    struct dlht_error error;
    CHECK_EQ(data_dir_open(path, &dir, &error), DLHT_OK);
    for (arc_id arc = 1; arc <= ARCS; arc++)
        for (uint64_t n = arc == UNREADABLE ? 2 : 1; n <= GENERATIONS; n++)
            write_arc(data_dir_disk(dir), arc, n);
    damage(path, DAMAGED, GENERATIONS);
    damage(path, UNREADABLE, GENERATIONS);
    for (size_t loaders = 1; loaders <= 5; loaders++) {
        all_is_told(dir, loaders);
        a_failure_ends_the_start(dir, loaders);
    }
    data_dir_close(dir);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CHECK_EQ(system(command), 0);
    return check_done();
}
