/* SPDX-License-Identifier: Apache-2.0 */

/* Checkpoints: a file header, then blocks. Kinds and places of blocks are
 * under their checksums, so none is missing, doubled or moved unseen.
 *
 *     | file header | header block | data block | ... | end block |
 */

#include "store/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "store/le.h"

enum {
    FORMAT_VERSION = 1,
    FILE_HEADER_BYTES = 64,
    BLOCK_HEAD_BYTES = 16,
    ALIGN = 8,
    /* Blocks are gathered to writes of about this size. */
    WRITE_BYTES = 1 << 20
};

/* Places in the file header. */
enum {
    H_MAGIC = 0,
    H_VERSION = 8,
    H_ARC = 16,
    H_NUMBER = 24,
    H_CHECKSUM = FILE_HEADER_BYTES - 8
};

/* Places in a block's head. */
enum {
    B_CHECKSUM = 0,
    B_LENGTH = 8,
    B_KIND = 12
};

enum block_kind {
    KIND_HEADER = 1,
    KIND_DATA = 2,
    KIND_END = 3 /* its payload: the number of data blocks */
};

static const char magic[] = "DLHTCKPT";
static const char prefix[] = "checkpoint-";
static const char suffix[] = ".tmp";

enum {
    DIGITS = 16,
    NAME_BYTES = sizeof prefix - 1 + DIGITS + 1 + DIGITS
};

_Static_assert(NAME_BYTES + sizeof suffix <= DISK_NAME_MAX,
               "a checkpoint's name fits");

static void make_name(char name[DISK_NAME_MAX], arc_id arc, uint64_t number,
                      bool aside)
{
    snprintf(name, DISK_NAME_MAX, "%s%016" PRIx64 "-%016" PRIx64 "%s", prefix,
             arc, number, aside ? suffix : "");
}

static bool parse_digits(const char *digits, uint64_t *value)
{
    static const char hex[] = "0123456789abcdef";
    *value = 0;
    for (int i = 0; i < DIGITS; i++) {
        const char *at = digits[i] ? strchr(hex, digits[i]) : NULL;
        if (!at)
            return false;
        *value = *value << 4 | (uint64_t)(at - hex);
    }
    return true;
}

/* False: not a checkpoint's name. */
static bool parse_name(const char *name, arc_id *arc, uint64_t *number,
                       bool *aside)
{
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *rest = name + sizeof prefix - 1;
    if (!parse_digits(rest, arc) || rest[DIGITS] != '-')
        return false;
    rest += DIGITS + 1;
    if (!parse_digits(rest, number))
        return false;
    rest += DIGITS;
    *aside = *rest != '\0';
    return !*aside || strcmp(rest, suffix) == 0;
}

static size_t block_bytes(size_t len)
{
    return BLOCK_HEAD_BYTES + (len + ALIGN - 1) / ALIGN * ALIGN;
}

/* Seeded by file and place: a block of another file is none of this. */
static uint64_t block_checksum(const uint8_t *at, size_t len, arc_id arc,
                               uint64_t number, uint64_t offset)
{
    uint64_t seed = hash64_mix(hash64_mix(arc, number), offset);
    struct span covered = span_of(at + B_LENGTH, block_bytes(len) - B_LENGTH);
    return hash64_seeded(covered, seed);
}

struct checkpoint_writer {
    struct disk disk;
    arc_id arc;
    uint64_t number;
    int handle;
    uint64_t end;   /* written so far */
    uint64_t count; /* data blocks */
    struct buf out; /* goes at end */
    int failed;
};

static int write_out(struct checkpoint_writer *w)
{
    if (w->failed || w->out.len == 0)
        return w->failed;
    w->failed = disk_write(w->disk, w->handle, w->end, w->out.data, w->out.len);
    w->end += w->out.len;
    if (w->out.cap > (size_t)4 * WRITE_BYTES)
        buf_deinit(&w->out);
    buf_reset(&w->out);
    return w->failed;
}

static int put_block(struct checkpoint_writer *w, enum block_kind kind,
                     struct span payload)
{
    if (w->failed)
        return w->failed;
    if (payload.len > CHECKPOINT_BLOCK_MAX)
        return DLHT_ETOOBIG;
    size_t bytes = block_bytes(payload.len);
    int rc = buf_reserve(&w->out, bytes);
    if (rc != DLHT_OK)
        return rc;
    uint8_t *at = w->out.data + w->out.len;
    memset(at + bytes - ALIGN, 0, ALIGN);
    le_put32(at + B_LENGTH, (uint32_t)payload.len);
    le_put32(at + B_KIND, (uint32_t)kind);
    if (payload.len)
        memcpy(at + BLOCK_HEAD_BYTES, payload.data, payload.len);
    le_put64(at + B_CHECKSUM, block_checksum(at, payload.len, w->arc, w->number,
                                             w->end + w->out.len));
    w->out.len += bytes;
    return w->out.len >= WRITE_BYTES ? write_out(w) : DLHT_OK;
}

static void put_file_header(struct checkpoint_writer *w)
{
    uint8_t bytes[FILE_HEADER_BYTES] = { 0 };
    memcpy(bytes + H_MAGIC, magic, 8);
    le_put32(bytes + H_VERSION, FORMAT_VERSION);
    le_put64(bytes + H_ARC, w->arc);
    le_put64(bytes + H_NUMBER, w->number);
    le_put64(bytes + H_CHECKSUM, hash64(span_of(bytes, H_CHECKSUM)));
    buf_append(&w->out, bytes, sizeof bytes);
}

static void free_writer(struct checkpoint_writer *w)
{
    buf_deinit(&w->out);
    free(w);
}

int checkpoint_begin(struct disk disk, arc_id arc, uint64_t number,
                     struct span header, struct checkpoint_writer **out)
{
    *out = NULL;
    struct checkpoint_writer *w = mem_zero(1, sizeof *w);
    if (!w)
        return DLHT_ENOMEM;
    w->disk = disk;
    w->arc = arc;
    w->number = number;
    char aside[DISK_NAME_MAX];
    make_name(aside, arc, number, true);
    int rc = disk_open(disk, aside, true, &w->handle);
    if (rc != DLHT_OK) {
        free_writer(w);
        return rc;
    }
    put_file_header(w);
    rc = w->out.failed ? DLHT_ENOMEM : put_block(w, KIND_HEADER, header);
    if (rc != DLHT_OK) {
        checkpoint_abort(w);
        return rc;
    }
    *out = w;
    return DLHT_OK;
}

int checkpoint_add(struct checkpoint_writer *w, struct span block)
{
    int rc = put_block(w, KIND_DATA, block);
    if (rc == DLHT_OK)
        w->count++;
    else if (!w->failed)
        w->failed = rc; /* a checkpoint without this block would be false */
    return rc;
}

void checkpoint_abort(struct checkpoint_writer *w)
{
    if (!w)
        return;
    char aside[DISK_NAME_MAX];
    make_name(aside, w->arc, w->number, true);
    disk_close(w->disk, w->handle);
    /* If it cannot be removed now, checkpoint_list does it at the start. */
    int ignored = disk_remove(w->disk, aside);
    (void)ignored;
    free_writer(w);
}

/* A generation that is there. */
struct generation {
    arc_id arc;
    uint64_t number;
};

/* The generations of one arc, or of all. */
struct listing {
    bool all;
    arc_id arc;
    struct generation *list; /* owned */
    size_t count;
    size_t cap;
    bool no_memory;
    char (*strays)[DISK_NAME_MAX]; /* owned: temporary files, if all */
    size_t stray_count;
    size_t stray_cap;
};

static void note_stray(struct listing *l, const char *name)
{
    if (l->stray_count == l->stray_cap) {
        size_t cap = l->stray_cap ? l->stray_cap * 2 : 4;
        char(*larger)[DISK_NAME_MAX] =
            mem_resize(l->strays, cap, sizeof *larger);
        if (!larger) {
            l->no_memory = true;
            return;
        }
        l->strays = larger;
        l->stray_cap = cap;
    }
    strcpy(l->strays[l->stray_count++], name);
}

static void note_generation(struct listing *l, arc_id arc, uint64_t number)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        struct generation *larger = mem_resize(l->list, cap, sizeof *larger);
        if (!larger) {
            l->no_memory = true;
            return;
        }
        l->list = larger;
        l->cap = cap;
    }
    l->list[l->count++] = (struct generation){ arc, number };
}

static void note_name(void *context, const char *name)
{
    struct listing *l = context;
    arc_id arc;
    uint64_t number;
    bool aside;
    if (!parse_name(name, &arc, &number, &aside))
        return;
    if (l->all && aside)
        note_stray(l, name);
    else if (!aside && (l->all || arc == l->arc))
        note_generation(l, arc, number);
}

static int compare_generations(const void *a, const void *b)
{
    const struct generation *x = a;
    const struct generation *y = b;
    if (x->arc != y->arc)
        return x->arc < y->arc ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static void listing_deinit(struct listing *l)
{
    free(l->list);
    free(l->strays);
}

/* Fills the listing in ascending order; deinit it in any case. */
static int list(struct disk disk, struct listing *l)
{
    int rc = disk_list(disk, note_name, l);
    if (rc == DLHT_OK && l->no_memory)
        rc = DLHT_ENOMEM;
    if (rc == DLHT_OK && l->count)
        qsort(l->list, l->count, sizeof *l->list, compare_generations);
    return rc;
}

static int remove_generation(struct disk disk, arc_id arc, uint64_t number)
{
    char name[DISK_NAME_MAX];
    make_name(name, arc, number, false);
    int rc = disk_remove(disk, name);
    return rc == DLHT_ENOTFOUND ? DLHT_OK : rc;
}

/* Keeps this generation and the one before. What cannot be removed now goes
 * next time: the new generation is safe already. */
static void drop_older(struct disk disk, arc_id arc, uint64_t number)
{
    struct listing l = { .arc = arc };
    size_t older = 0;
    if (list(disk, &l) == DLHT_OK)
        while (older < l.count && l.list[older].number < number)
            older++;
    for (size_t i = 0; i + 1 < older; i++) {
        int ignored = remove_generation(disk, arc, l.list[i].number);
        (void)ignored;
    }
    listing_deinit(&l);
}

static int finish_file(struct checkpoint_writer *w)
{
    uint8_t count[8];
    le_put64(count, w->count);
    int rc = put_block(w, KIND_END, span_of(count, sizeof count));
    if (rc == DLHT_OK)
        rc = write_out(w);
    if (rc == DLHT_OK && DLHT_MUTANT != 32)
        rc = disk_sync(w->disk, w->handle);
    return rc;
}

int checkpoint_commit(struct checkpoint_writer *w)
{
    char aside[DISK_NAME_MAX];
    char name[DISK_NAME_MAX];
    make_name(aside, w->arc, w->number, true);
    make_name(name, w->arc, w->number, false);
    int rc = finish_file(w);
    if (rc == DLHT_OK)
        rc = disk_rename(w->disk, aside, name);
    if (rc != DLHT_OK) {
        checkpoint_abort(w);
        return rc;
    }
    disk_close(w->disk, w->handle);
    rc = disk_sync_names(w->disk);
    if (rc == DLHT_OK) {
        drop_older(w->disk, w->arc, w->number);
    } else {
        int ignored = remove_generation(w->disk, w->arc, w->number);
        (void)ignored;
    }
    free_writer(w);
    return rc;
}

/* One generation, open for reading. */
struct reader {
    struct disk disk;
    arc_id arc;
    uint64_t number;
    int handle;
    uint64_t size;
    uint8_t *block; /* owned */
    size_t cap;
};

/* The file as a whole, but not its blocks.
 *   DLHT_ECORRUPT, DLHT_EVERSION, DLHT_EIO */
static int check_file_header(struct reader *r)
{
    uint8_t bytes[FILE_HEADER_BYTES];
    int rc = disk_size(r->disk, r->handle, &r->size);
    if (rc != DLHT_OK)
        return rc;
    if (r->size < sizeof bytes)
        return DLHT_ECORRUPT;
    rc = disk_read(r->disk, r->handle, 0, bytes, sizeof bytes);
    if (rc != DLHT_OK)
        return rc;
    if (memcmp(bytes + H_MAGIC, magic, 8) != 0 ||
        le_get64(bytes + H_CHECKSUM) != hash64(span_of(bytes, H_CHECKSUM)))
        return DLHT_ECORRUPT;
    if (le_get32(bytes + H_VERSION) != FORMAT_VERSION)
        return DLHT_EVERSION;
    bool ours = le_get64(bytes + H_ARC) == r->arc &&
                le_get64(bytes + H_NUMBER) == r->number;
    return ours ? DLHT_OK : DLHT_ECORRUPT;
}

static int reader_init(struct reader *r, struct disk disk, arc_id arc,
                       uint64_t number)
{
    *r = (struct reader){ .disk = disk, .arc = arc, .number = number };
    char name[DISK_NAME_MAX];
    make_name(name, arc, number, false);
    int rc = disk_open(disk, name, false, &r->handle);
    if (rc != DLHT_OK)
        return rc;
    rc = check_file_header(r);
    if (rc != DLHT_OK)
        disk_close(disk, r->handle);
    return rc;
}

static void reader_deinit(struct reader *r)
{
    disk_close(r->disk, r->handle);
    free(r->block);
}

static int reader_reserve(struct reader *r, size_t bytes)
{
    if (bytes <= r->cap)
        return DLHT_OK;
    uint8_t *larger = realloc(r->block, bytes);
    if (!larger)
        return DLHT_ENOMEM;
    r->block = larger;
    r->cap = bytes;
    return DLHT_OK;
}

/* Reads and proves the block at offset into r->block.
 *   DLHT_ECORRUPT, DLHT_EIO, DLHT_ENOMEM */
static int read_block(struct reader *r, uint64_t offset, size_t *len,
                      uint32_t *kind)
{
    uint64_t left = r->size - offset;
    if (left < BLOCK_HEAD_BYTES)
        return DLHT_ECORRUPT;
    int rc = reader_reserve(r, BLOCK_HEAD_BYTES);
    if (rc == DLHT_OK)
        rc = disk_read(r->disk, r->handle, offset, r->block, BLOCK_HEAD_BYTES);
    if (rc != DLHT_OK)
        return rc;
    *len = le_get32(r->block + B_LENGTH);
    *kind = le_get32(r->block + B_KIND);
    if (*len > CHECKPOINT_BLOCK_MAX || block_bytes(*len) > left)
        return DLHT_ECORRUPT;
    size_t rest = block_bytes(*len) - BLOCK_HEAD_BYTES;
    rc = reader_reserve(r, BLOCK_HEAD_BYTES + rest);
    if (rc == DLHT_OK && rest)
        rc = disk_read(r->disk, r->handle, offset + BLOCK_HEAD_BYTES,
                       r->block + BLOCK_HEAD_BYTES, rest);
    if (rc != DLHT_OK)
        return rc;
    bool intact = le_get64(r->block + B_CHECKSUM) ==
                  block_checksum(r->block, *len, r->arc, r->number, offset);
    return intact ? DLHT_OK : DLHT_ECORRUPT;
}

/* Walks over the whole file: proves it if fn is NULL, else hands it out.
 *   DLHT_ECORRUPT, DLHT_EIO, DLHT_ENOMEM, or what fn returned */
static int walk(struct reader *r, checkpoint_read_fn fn, void *context)
{
    uint64_t offset = FILE_HEADER_BYTES;
    uint64_t blocks = 0; /* the header's one included */
    for (;;) {
        size_t len;
        uint32_t kind;
        int rc = read_block(r, offset, &len, &kind);
        if (rc != DLHT_OK)
            return rc;
        offset += block_bytes(len);
        const uint8_t *payload = r->block + BLOCK_HEAD_BYTES;
        if (kind == KIND_END && blocks > 0) {
            bool whole = len == 8 && le_get64(payload) == blocks - 1 &&
                         offset == r->size;
            return whole ? DLHT_OK : DLHT_ECORRUPT;
        }
        if (kind != (blocks == 0 ? KIND_HEADER : KIND_DATA))
            return DLHT_ECORRUPT;
        if (fn) {
            rc = fn(context, r->arc, r->number, blocks == 0,
                    span_of(payload, len));
            if (rc != DLHT_OK)
                return rc;
        }
        blocks++;
    }
}

/* One generation: proves all, then hands out all. *begun: fn was called. */
static int read_generation(struct disk disk, arc_id arc, uint64_t number,
                           checkpoint_read_fn fn, void *context, bool *begun)
{
    struct reader r;
    *begun = false;
    int rc = reader_init(&r, disk, arc, number);
    if (rc != DLHT_OK)
        return rc;
    rc = walk(&r, NULL, NULL);
    if (rc == DLHT_OK) {
        *begun = true;
        rc = walk(&r, fn, context);
    }
    reader_deinit(&r);
    return rc;
}

int checkpoint_read(struct disk disk, const struct checkpoint_found *found,
                    checkpoint_read_fn fn, void *context, bool *older)
{
    *older = false;
    int rc = DLHT_ECORRUPT;
    for (size_t left = found->count; left-- > 0;) {
        bool begun;
        rc = read_generation(disk, found->arc, found->numbers[left], fn,
                             context, &begun);
        if (rc != DLHT_ECORRUPT || begun)
            break;
        *older = left > 0;
    }
    return rc;
}

/* Gathers generations by their arcs; they are in order. */
static int gather(const struct listing *l, struct checkpoint_list *out)
{
    out->arcs = mem_array(l->count, sizeof *out->arcs);
    out->numbers = mem_array(l->count, sizeof *out->numbers);
    if (!out->arcs || !out->numbers)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < l->count; i++) {
        out->numbers[i] = l->list[i].number;
        if (i == 0 || l->list[i].arc != l->list[i - 1].arc)
            out->arcs[out->count++] =
                (struct checkpoint_found){ .arc = l->list[i].arc,
                                           .numbers = &out->numbers[i] };
        out->arcs[out->count - 1].count++;
    }
    return DLHT_OK;
}

int checkpoint_list(struct disk disk, struct checkpoint_list *out)
{
    *out = (struct checkpoint_list){ 0 };
    struct listing l = { .all = true };
    int rc = list(disk, &l);
    for (size_t i = 0; i < l.stray_count && rc == DLHT_OK; i++)
        rc = disk_remove(disk, l.strays[i]);
    /* A name that was seen may be in the system's cache alone; once it is
     * read, the journal may be shortened on its account. */
    if (rc == DLHT_OK)
        rc = disk_sync_names(disk);
    if (rc == DLHT_OK && l.count)
        rc = gather(&l, out);
    listing_deinit(&l);
    if (rc != DLHT_OK)
        checkpoint_list_deinit(out);
    return rc;
}

void checkpoint_list_deinit(struct checkpoint_list *list)
{
    free(list->arcs);
    free(list->numbers);
    *list = (struct checkpoint_list){ 0 };
}

int checkpoint_remove(struct disk disk, arc_id arc)
{
    struct listing l = { .arc = arc };
    int rc = list(disk, &l);
    for (size_t i = 0; i < l.count && rc == DLHT_OK; i++)
        rc = remove_generation(disk, arc, l.list[i].number);
    if (rc == DLHT_OK)
        rc = disk_sync_names(disk);
    listing_deinit(&l);
    return rc;
}
