/* SPDX-License-Identifier: Apache-2.0 */

/* A checkpoint that somebody else wrote. The first byte of an input chooses:
 * 'r', the rest is the file as it stands; else blocks with right checksums
 * around what the rest says, and flipped bytes. A node that has nothing yet is
 * given what is read. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "fuzz/fuzz_world.h"
#include "node/node.h"
#include "sim/disk_sim.h"
#include "store/checkpoint.h"

enum {
    BLOCKS_MAX = 16,
    ARC = 0x1234
};

static struct node *node;

static int restore(void *context, arc_id arc, uint64_t number, bool first,
                   struct span bytes)
{
    (void)context;
    int rc = node_restore_checkpoint(node, arc, number, first, bytes);
    assert(rc == DLHT_OK || rc == DLHT_ECORRUPT);
    return rc;
}

/* Those of all arcs, until one fails. */
static int restore_arcs(struct disk disk)
{
    struct checkpoint_list list;
    bool older;
    int rc = checkpoint_list(disk, &list);
    for (size_t i = 0; rc == DLHT_OK && i < list.count; i++) {
        rc = checkpoint_read(disk, &list.arcs[i], restore, NULL, &older);
        assert(rc == DLHT_OK || rc == DLHT_ECORRUPT || rc == DLHT_EVERSION ||
               rc == DLHT_EIO);
    }
    checkpoint_list_deinit(&list);
    return rc;
}

static void put_raw(struct disk disk, struct span bytes)
{
    char name[DISK_NAME_MAX];
    int handle;
    snprintf(name, sizeof name, "checkpoint-%016x-%016x", ARC, 1);
    int rc = disk_open(disk, name, true, &handle);
    assert(rc == DLHT_OK);
    rc = disk_allocate(disk, handle, bytes.len);
    assert(rc == DLHT_OK);
    if (bytes.len > 0)
        rc = disk_write(disk, handle, 0, bytes.data, bytes.len);
    assert(rc == DLHT_OK);
    disk_close(disk, handle);
}

static struct span long_span(struct fuzz_in *in)
{
    size_t len = (size_t)fuzz_bytes(in, 2);
    if (len > in->rest.len)
        len = in->rest.len;
    struct span s = span_of(in->rest.data, len);
    in->rest = span_tail(in->rest, len);
    return s;
}

static void put_blocks(struct disk_sim *sim, struct fuzz_in *in)
{
    struct disk disk = disk_sim_disk(sim);
    char name[DISK_NAME_MAX];
    uint64_t arc = fuzz_bytes(in, 8);
    struct checkpoint_writer *w;
    int rc = checkpoint_begin(disk, arc, 1, long_span(in), &w);
    assert(rc == DLHT_OK);
    size_t blocks = fuzz_below(in, BLOCKS_MAX);
    for (size_t i = 0; i < blocks; i++) {
        rc = checkpoint_add(w, long_span(in));
        assert(rc == DLHT_OK);
    }
    rc = checkpoint_commit(w);
    assert(rc == DLHT_OK);
    snprintf(name, sizeof name, "checkpoint-%016llx-%016x",
             (unsigned long long)arc, 1);
    for (int i = 0; i < 4 && fuzz_byte(in) >= 192; i++) {
        uint64_t at = fuzz_bytes(in, 2);
        (void)disk_sim_flip(sim, name, at, fuzz_byte(in));
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_sim *sim = disk_sim_new();
    assert(sim);
    struct disk disk = disk_sim_disk(sim);
    struct fuzz_in in = { span_of(data, size) };
    struct node_config config;
    node_config_default(&config);
    config.durable = true;
    strcpy(config.addr, "10.0.0.1:9000");
    int rc = node_new(&config, &node);
    assert(rc == DLHT_OK);
    if (fuzz_byte(&in) == 'r')
        put_raw(disk, in.rest);
    else
        put_blocks(sim, &in);
    if (restore_arcs(disk) == DLHT_OK)
        node_check(node);
    node_free(node);
    disk_sim_free(sim);
    return 0;
}

/* Checkpoints of a node that served for a while, its parts changed a little. */

struct made {
    struct buf *out;
    uint64_t arc;
    size_t count_at;
};

static void append_number(struct buf *out, uint64_t n, int bytes)
{
    while (bytes-- > 0)
        buf_append_byte(out, (uint8_t)(n >> (8 * bytes)));
}

static int append_block(void *context, arc_id arc, uint64_t number, bool first,
                        struct span bytes)
{
    (void)number;
    struct made *made = context;
    if (bytes.len > 4096 || (!first && made->out->data[made->count_at] > 2))
        return DLHT_ETOOBIG;
    if (first) {
        buf_append_byte(made->out, 'b');
        append_number(made->out, arc, 8);
    }
    append_number(made->out, bytes.len, 2);
    buf_append_span(made->out, bytes);
    if (first) {
        made->count_at = made->out->len;
        buf_append_byte(made->out, 0);
    } else {
        made->out->data[made->count_at]++;
    }
    return DLHT_OK;
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    struct fuzz_world fw;
    struct checkpoint_list list;
    fuzz_world_init(&fw, 1, true, rng_below(rng, 8));
    fuzz_world_fill(&fw, 120 + (int)rng_below(rng, 100));
    fuzz_world_run_ms(&fw, 20000);
    struct disk disk = fuzz_world_disk(&fw, 0);
    int rc = checkpoint_list(disk, &list);
    assert(rc == DLHT_OK);
    if (list.count > 0) {
        bool older;
        struct made made = { .out = out };
        (void)!checkpoint_read(disk, &list.arcs[rng_below(rng, list.count)],
                               append_block, &made, &older);
    }
    checkpoint_list_deinit(&list);
    fuzz_world_deinit(&fw);
    for (uint64_t n = rng_below(rng, 4); n > 0 && out->len > 1; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
