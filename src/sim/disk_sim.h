/* SPDX-License-Identifier: Apache-2.0 */

/* sim/disk_sim.h - a disk in memory that forgets and tears what was not synced.
 *
 * Each file has two images: what a reader sees, and what would survive a power
 * cut for certain. Between them lie the doubts, in the order of their making:
 * a 512-byte sector written, a file's size set, a name made, renamed or
 * removed. A sync settles the doubts of a file, sync_names those of names; a
 * power cut keeps any subset and may tear a sector in two.
 *
 * After a sync that was made to fail the sectors in question stay readable and
 * in doubt for ever: a later sync does not write them, as on Linux, until they
 * are written again.
 *
 * Handles are never used twice: one from before a crash gives DLHT_EIO. All is
 * a function of the calls and of the rng handed in. */

#ifndef SIM_DISK_SIM_H
#define SIM_DISK_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/rng.h"
#include "store/disk.h"

enum {
    DISK_SIM_SECTOR_BYTES = 512
};

struct disk_sim;

/* An empty disk, or NULL: no memory. */
struct disk_sim *disk_sim_new(void);

/* A disk that is in the same state, doubts and all, but with no file open and
 * no failure ahead; NULL: no memory. */
struct disk_sim *disk_sim_clone(const struct disk_sim *sim);

/* NULL is allowed. */
void disk_sim_free(struct disk_sim *sim);

/* The calls; valid as long as sim is. */
struct disk disk_sim_disk(struct disk_sim *sim);

/* The process ends, the machine stays up: handles are invalid, what was
 * written stays readable and in doubt. Failures ahead are cancelled, but for
 * the power's. */
void disk_sim_restart(struct disk_sim *sim);

/* The power fails: any subset of the doubts is lost, some sectors tear. No
 * doubt is left. Failures ahead are cancelled. */
void disk_sim_crash(struct disk_sim *sim, struct rng *rng);

/* --- crashes of the caller's choice */

enum disk_sim_doubt_kind {
    DISK_SIM_SECTOR,
    DISK_SIM_SIZE,
    DISK_SIM_NAME
};

struct disk_sim_doubt {
    enum disk_sim_doubt_kind kind;
    uint64_t call;   /* disk_sim_changes when it was made */
    uint64_t offset; /* of the sector in its file */
    size_t from, to; /* bytes of the sector that the call wrote: [from, to) */
};

size_t disk_sim_doubt_count(const struct disk_sim *sim);

/* The i-th in the order of making. */
void disk_sim_doubt_at(const struct disk_sim *sim, size_t i,
                       struct disk_sim_doubt *out);

/* As disk_sim_crash; keep[i] is for the i-th doubt how many of the sector's
 * first bytes reached the disk, 0: none, DISK_SIM_SECTOR_BYTES: all. For sizes
 * and names not 0 means kept. */
void disk_sim_crash_keep(struct disk_sim *sim, const uint16_t *keep);

/* --- failures */

enum disk_sim_call {
    DISK_SIM_OPEN,
    DISK_SIM_ALLOCATE,
    DISK_SIM_READ,
    DISK_SIM_WRITE,
    DISK_SIM_SYNC,
    DISK_SIM_RENAME,
    DISK_SIM_REMOVE,
    DISK_SIM_SYNC_NAMES,
    DISK_SIM_CALLS
};

/* After skip further calls of the kind one fails with code; it does nothing,
 * but for a write, of which any part may be done (here: the first half). */
void disk_sim_fail_next(struct disk_sim *sim, enum disk_sim_call call,
                        uint64_t skip, int code);

/* All files together may have that many bytes; UINT64_MAX: no limit. */
void disk_sim_limit(struct disk_sim *sim, uint64_t bytes);

/* The power goes after that many further calls that change the disk
 * (UINT64_MAX: it does not): from then on every call fails with DLHT_EIO until disk_sim_crash. */
void disk_sim_stop_after(struct disk_sim *sim, uint64_t changes);

/* Calls that changed the disk, or would have, so far. */
uint64_t disk_sim_changes(const struct disk_sim *sim);

/* Turns over bits of a byte in both images. False: no such file or byte. */
bool disk_sim_flip(struct disk_sim *sim, const char *name, uint64_t offset,
                   uint8_t bits);

/* Exchanges bytes in both images, as a write that went astray would. False: no
 * such file, or it is shorter. */
bool disk_sim_overwrite(struct disk_sim *sim, const char *name, uint64_t offset,
                        const uint8_t *bytes, size_t len);

/* Size of a file as a reader sees it. False: no such file. */
bool disk_sim_file_size(const struct disk_sim *sim, const char *name,
                        uint64_t *bytes);

/* A hash of names, images and doubts: equal for equal states. */
uint64_t disk_sim_hash(const struct disk_sim *sim);

#endif
