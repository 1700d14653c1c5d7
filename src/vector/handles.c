/* SPDX-License-Identifier: Apache-2.0 */

/* Which row a handle has. */

#include "vector/handles.h"

#include <assert.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/prefetch.h"
#include "dlht/err.h"

static uint64_t handle_of(const _Atomic uint64_t *rows, uint32_t row)
{
    return atomic_load_explicit(&rows[row], memory_order_relaxed);
}

static size_t home_of(const struct handles *h, uint64_t handle)
{
    return hash64_mix(0x5eed, handle) & (h->slot_count - 1);
}

static size_t slot_of(const struct handles *h, uint64_t handle,
                      const _Atomic uint64_t *rows)
{
    size_t i = home_of(h, handle);
    while (h->slots[i] != HANDLES_NO_ROW &&
           handle_of(rows, h->slots[i]) != handle)
        i = (i + 1) & (h->slot_count - 1);
    return i;
}

void handles_init(struct handles *h)
{
    *h = (struct handles){ NULL, 0, 0 };
}

void handles_deinit(struct handles *h)
{
    free(h->slots);
    handles_init(h);
}

int handles_reserve(struct handles *h, size_t count,
                    const _Atomic uint64_t *rows)
{
    if (count <= h->slot_count / 8 * 7)
        return DLHT_OK;
    struct handles grown = { NULL, h->slot_count ? h->slot_count : 16,
                             h->count };
    while (count > grown.slot_count / 8 * 7)
        grown.slot_count *= 2;
    grown.slots = mem_array(grown.slot_count, sizeof *grown.slots);
    if (!grown.slots)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < grown.slot_count; i++)
        grown.slots[i] = HANDLES_NO_ROW;
    for (size_t i = 0; i < h->slot_count; i++) {
        uint32_t row = h->slots[i];
        if (row != HANDLES_NO_ROW)
            grown.slots[slot_of(&grown, handle_of(rows, row), rows)] = row;
    }
    free(h->slots);
    *h = grown;
    return DLHT_OK;
}

uint32_t handles_find(const struct handles *h, uint64_t handle,
                      const _Atomic uint64_t *rows)
{
    return h->slot_count ? h->slots[slot_of(h, handle, rows)] : HANDLES_NO_ROW;
}

void handles_find_many(const struct handles *h, const uint32_t *handles,
                       size_t count, const _Atomic uint64_t *rows,
                       uint32_t *out)
{
    for (size_t i = 0; i < count && h->slot_count; i++)
        prefetch_line(&h->slots[home_of(h, handles[i])]);
    for (size_t i = 0; i < count && h->slot_count; i++) {
        uint32_t row = h->slots[home_of(h, handles[i])];
        if (row != HANDLES_NO_ROW)
            prefetch_line((const void *)&rows[row]);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = handles_find(h, handles[i], rows);
}

void handles_put(struct handles *h, uint64_t handle, uint32_t row,
                 const _Atomic uint64_t *rows)
{
    assert(handle_of(rows, row) == handle);
    size_t i = slot_of(h, handle, rows);
    h->count += h->slots[i] == HANDLES_NO_ROW;
    assert(h->count < h->slot_count);
    h->slots[i] = row;
}

void handles_remove(struct handles *h, uint64_t handle,
                    const _Atomic uint64_t *rows)
{
    size_t mask = h->slot_count - 1;
    size_t hole = slot_of(h, handle, rows);
    assert(h->slots[hole] != HANDLES_NO_ROW);
    for (size_t i = hole;;) {
        i = (i + 1) & mask;
        uint32_t row = h->slots[i];
        if (row == HANDLES_NO_ROW)
            break;
        /* It may move back into the hole unless its home lies between. */
        size_t home = home_of(h, handle_of(rows, row));
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            h->slots[hole] = row;
            hole = i;
        }
    }
    h->slots[hole] = HANDLES_NO_ROW;
    h->count--;
}
