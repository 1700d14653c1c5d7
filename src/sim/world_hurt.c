/* SPDX-License-Identifier: Apache-2.0 */

/* Damage to what was synced. */

#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/world_inner.h"

enum {
    FILES_MAX = 256,
    MARK_BYTES = 64, /* the last of a journal closed in order, and more */
    TRIES = 20
};

struct shelf {
    char names[FILES_MAX][DISK_NAME_MAX];
    size_t count;
    size_t last_segment; /* index */
};

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static void note_name(void *context, const char *name)
{
    struct shelf *s = context;
    bool segment = begins(name, "journal-");
    if (s->count == FILES_MAX || strstr(name, ".tmp") ||
        !(segment || begins(name, "checkpoint-")))
        return;
    if (segment && (s->last_segment == SIZE_MAX ||
                    strcmp(name, s->names[s->last_segment]) > 0))
        s->last_segment = s->count;
    memcpy(s->names[s->count++], name, strlen(name) + 1);
}

/* A sector of a file; its bytes. */
struct place {
    const char *name;
    uint64_t offset;
    uint8_t bytes[DISK_SIM_SECTOR_BYTES];
    bool in_journal;
};

/* Bytes of the file before its zeros. */
static uint64_t used_bytes(struct disk disk, int handle, uint64_t size)
{
    uint8_t sector[DISK_SIM_SECTOR_BYTES];
    uint64_t at = size / sizeof sector * sizeof sector;
    while (at >= sizeof sector) {
        at -= sizeof sector;
        if (disk_read(disk, handle, at, sector, sizeof sector) != DLHT_OK)
            return 0;
        for (size_t i = sizeof sector; i-- > 0;)
            if (sector[i])
                return at + i + 1;
    }
    return 0;
}

/* False: the file has no sector that damage may be told in. */
static bool draw_place(struct world *world, struct sim_peer *peer,
                       const struct shelf *s, struct place *out)
{
    struct disk disk = disk_sim_disk(peer->disk);
    size_t at = (size_t)rng_below(&world->rng, s->count);
    int handle;
    uint64_t size = 0, used = 0;
    out->name = s->names[at];
    out->in_journal = begins(out->name, "journal-");
    if (disk_open(disk, out->name, false, &handle) != DLHT_OK)
        return false;
    if (disk_size(disk, handle, &size) == DLHT_OK)
        used = out->in_journal ? used_bytes(disk, handle, size) : size;
    if (at == s->last_segment)
        used = used > MARK_BYTES ? used - MARK_BYTES : 0;
    uint64_t sectors = used / sizeof out->bytes;
    bool fits = sectors > 0;
    out->offset =
        fits ? rng_below(&world->rng, sectors) * sizeof out->bytes : 0;
    fits = fits && disk_read(disk, handle, out->offset, out->bytes,
                             sizeof out->bytes) == DLHT_OK;
    disk_close(disk, handle);
    return fits;
}

static bool find_place(struct world *world, struct sim_peer *peer,
                       struct shelf *s, struct place *out)
{
    for (int i = 0; s->count > 0 && i < TRIES; i++)
        if (draw_place(world, peer, s, out))
            return true;
    return false;
}

static void note_damage(struct sim_peer *peer, const struct place *at)
{
    if (at->in_journal)
        peer->hurt = true;
    peer->hurt_streams = true; /* what lacks its log is older, too */
}

static void rot(struct world *world, struct sim_peer *peer,
                const struct place *at)
{
    uint64_t offset = at->offset + rng_below(&world->rng, sizeof at->bytes);
    uint8_t bit = (uint8_t)(1u << rng_below(&world->rng, 8));
    world_trace(world, "n%u: a bit of %s turns over at %llu",
                (unsigned)peer->index, at->name, (unsigned long long)offset);
    disk_sim_flip(peer->disk, at->name, offset, bit);
    note_damage(peer, at);
}

/* What belongs to one place lies at the other; the one is as before it was
 * ever written. */
static void misdirect(struct world *world, struct sim_peer *peer,
                      const struct place *from, const struct place *to)
{
    static const uint8_t zeros[DISK_SIM_SECTOR_BYTES];
    world_trace(world, "n%u: what belongs to %s at %llu is in %s at %llu",
                (unsigned)peer->index, from->name,
                (unsigned long long)from->offset, to->name,
                (unsigned long long)to->offset);
    disk_sim_overwrite(peer->disk, from->name, from->offset, zeros,
                       sizeof zeros);
    disk_sim_overwrite(peer->disk, to->name, to->offset, from->bytes,
                       sizeof from->bytes);
    note_damage(peer, from);
    note_damage(peer, to);
}

bool world_hurt(struct world *world, size_t index, enum world_damage damage)
{
    struct sim_peer *peer = &world->peers[index];
    if (!peer->journal || peer->worker.fail_next ||
        journal_flush(peer->journal, false) != DLHT_OK)
        return false;
    world_trace(world, "n%u ends in order", (unsigned)peer->index);
    world_end_clean(world, peer);
    struct shelf *shelf = world_alloc(1, sizeof *shelf);
    shelf->last_segment = SIZE_MAX;
    struct place a, b;
    int rc = disk_list(disk_sim_disk(peer->disk), note_name, shelf);
    if (rc == DLHT_OK && find_place(world, peer, shelf, &a)) {
        if (damage == WORLD_ROT)
            rot(world, peer, &a);
        else if (find_place(world, peer, shelf, &b))
            misdirect(world, peer, &a, &b);
    }
    free(shelf);
    return true;
}
