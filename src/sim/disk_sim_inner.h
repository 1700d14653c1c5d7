/* SPDX-License-Identifier: Apache-2.0 */

/* sim/disk_sim_inner.h - what the parts of the simulated disk know of each
 * other.
 *
 * disk_sim.c        life, crashes, failures to come, the hash
 * disk_sim_doubt.c  images, names, and the doubts between seen and durable
 * disk_sim_calls.c  the calls of store/disk.h
 *
 * Files are numbered and never reused; names point to them, as seen and as
 * durable. */

#ifndef SIM_DISK_SIM_INNER_H
#define SIM_DISK_SIM_INNER_H

#include "base/must_use.h"
#include "sim/disk_sim.h"

enum {
    SECTOR = DISK_SIM_SECTOR_BYTES
};

struct image {
    uint8_t *bytes; /* cap of them, zero from size on */
    uint64_t size;
    uint64_t cap;
};

struct file {
    struct image seen;
    struct image durable;
};

struct name {
    char text[DISK_NAME_MAX];
    size_t file;
};

struct names {
    struct name *list; /* ascending by text */
    size_t count;
    size_t cap;
};

struct doubt {
    enum disk_sim_doubt_kind kind;
    bool lost; /* a sync of it failed: no later one will write it */
    uint64_t call;
    size_t file;
    uint64_t offset; /* sector: its offset; size: the size */
    uint16_t from, to;
    uint8_t *sector;             /* its whole content after the write, owned */
    char removed[DISK_NAME_MAX]; /* name: goes if not "" */
    char made[DISK_NAME_MAX];    /* name: comes to mean file if not "" */
};

struct failure {
    bool ahead;
    uint64_t skip;
    int code;
};

struct disk_sim {
    struct file *files;
    size_t file_count;
    size_t file_cap;
    struct names seen;
    struct names durable;
    struct doubt *doubts;
    size_t doubt_count;
    size_t doubt_cap;
    size_t *handles; /* handle - first_handle -> file; SIZE_MAX: closed */
    size_t handle_count;
    size_t handle_cap;
    int first_handle;
    uint64_t changes;
    uint64_t stop_at; /* of changes */
    uint64_t limit;
    struct failure failures[DISK_SIM_CALLS];
};

/* disk_sim_doubt.c */
/* Bytes from the old size on are zero. On failure as before.
 *   DLHT_ENOMEM */
MUST_USE int disk_sim_image_resize(struct image *image, uint64_t size);
/* Into a to that holds nothing; on failure it still does not.
 *   DLHT_ENOMEM */
MUST_USE int disk_sim_image_copy(struct image *to, const struct image *from);
/* NULL: no such name. */
struct name *disk_sim_names_find(const struct names *names, const char *text);
/* Room for one more. */
MUST_USE int disk_sim_names_reserve(struct names *names);
/* Room was reserved. */
void disk_sim_names_set(struct names *names, const char *text, size_t file);
void disk_sim_names_unset(struct names *names, const char *text);
/* Like disk_sim_image_copy. */
MUST_USE int disk_sim_names_copy(struct names *to, const struct names *from);
/* A new last doubt, all zeros but for its number; NULL: no memory. */
struct doubt *disk_sim_doubt_add(struct disk_sim *sim,
                                 enum disk_sim_doubt_kind kind, size_t file);
/* Makes the doubt true on the durable side; of a sector the first keep bytes,
 * as far as the durable file reaches. Images never shrink their memory, and
 * room for names was reserved: cannot fail but for growing a file. */
MUST_USE int disk_sim_apply(struct disk_sim *sim, const struct doubt *doubt,
                            size_t keep);
void disk_sim_drop_doubts(struct disk_sim *sim);
/* Applies the doubts of a file, or of names, and forgets them. */
MUST_USE int disk_sim_settle(struct disk_sim *sim, bool names, size_t file);
/* The sync failed: the system takes the sectors for written. */
void disk_sim_lose_doubts(struct disk_sim *sim, size_t file);

/* disk_sim_calls.c */
/* An empty file that has no name yet. */
MUST_USE int disk_sim_new_file(struct disk_sim *sim, size_t *file);

#endif
