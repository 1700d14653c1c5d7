/* SPDX-License-Identifier: Apache-2.0 */

/* Nobody asks for anything. */

#include "sim/idle_story.h"

#include <stdio.h>

#include "base/buf.h"
#include "dlht/err.h"
#include "wire/mp.h"

enum {
    ARCS_EACH = 8,
    ARCS_FIRST_MAX = 256, /* of a keyspace when it is made */
    BYTES_MAX = 600       /* a peer and second */
};
static const uint64_t SETTLE_NS = 40 * WORLD_S;
static const uint64_t COUNT_NS = 120 * WORLD_S;

struct idle {
    const struct idle_story *story;
    struct world *w;
    bool asked, made;
};

static bool run_for(struct idle *t, uint64_t ns)
{
    return world_run(t->w, world_now_ns(t->w) + ns);
}

static bool await_whole(struct idle *t)
{
    uint64_t end = world_now_ns(t->w) + t->story->bound_ns;
    const char *why;
    while (!checker_is_whole(t->story->checker, &why)) {
        if (world_now_ns(t->w) > end)
            world_fail(t->w, "A10_whole", "not whole after %.0f s: %s",
                       (double)t->story->bound_ns / 1e9, why);
        if (!run_for(t, WORLD_S))
            return false;
    }
    return true;
}

static void on_made(void *context, uint64_t argument,
                    const struct response *response)
{
    struct idle *t = context;
    (void)argument;
    t->asked = false;
    t->made = response &&
              (response->status == DLHT_OK || response->status == DLHT_EEXISTS);
}

static void ask_to_make(struct idle *t, size_t number)
{
    char name[32];
    snprintf(name, sizeof name, "idle-%zu", number);
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, "placement");
    mp_write_cstr(&doc, "hashed");
    struct request q = { .op = OP_KEYSPACE_CREATE, .timeout_ms = 3000 };
    q.value = buf_span(&doc);
    t->asked = true;
    if (doc.failed || world_request(t->w, 0, &q, on_made, t, 0) != DLHT_OK)
        world_fail(t->w, "codec", "a keyspace cannot be asked for");
    buf_deinit(&doc);
}

static bool make_keyspace(struct idle *t, size_t number)
{
    uint64_t end = world_now_ns(t->w) + t->story->bound_ns;
    for (t->made = t->asked = false; !t->made;) {
        if (!t->asked)
            ask_to_make(t, number);
        if (world_now_ns(t->w) > end)
            world_fail(t->w, "A10_answered", "no keyspace is made");
        if (!run_for(t, 100 * WORLD_MS))
            return false;
    }
    return true;
}

static size_t keyspaces_of(size_t peers)
{
    size_t count = ARCS_EACH * peers / ARCS_FIRST_MAX;
    return count ? count : 1;
}

/* Types with the most bytes first, as far as there is room. */
static void describe(const struct idle *t, const struct world_stats *from,
                     const struct world_stats *to)
{
    double per =
        (double)world_peer_count(t->w) * (double)COUNT_NS / (double)WORLD_S;
    char *text = t->story->remark;
    size_t size = t->story->remark_size;
    int n = snprintf(text, size, "B/s a peer: %.0f, %.1f turns;",
                     (double)(to->frame_bytes - from->frame_bytes) / per,
                     (double)(to->turns - from->turns) / per);
    bool told[WORLD_TYPES] = { false };
    for (;;) {
        uint64_t most = 0;
        size_t at = 0;
        for (size_t i = 0; i < WORLD_TYPES; i++) {
            uint64_t bytes = to->type_bytes[i] - from->type_bytes[i];
            if (!told[i] && bytes > most) {
                most = bytes;
                at = i;
            }
        }
        if (most == 0 || n < 0 || (size_t)n >= size)
            return;
        told[at] = true;
        n += snprintf(text + n, size - (size_t)n, " %s %.0f",
                      world_type_name((uint8_t)at), (double)most / per);
    }
}

bool idle_story_run(const struct idle_story *story)
{
    struct idle t = { .story = story, .w = story->world };
    workload_stop(story->workload);
    for (size_t i = 0; i < keyspaces_of(world_peer_count(t.w)); i++)
        if (!make_keyspace(&t, i))
            return false;
    if (!await_whole(&t) || !run_for(&t, SETTLE_NS) || !await_whole(&t))
        return false;
    struct world_stats from, to;
    world_stats(t.w, &from);
    if (!run_for(&t, COUNT_NS))
        return false;
    world_stats(t.w, &to);
    describe(&t, &from, &to);
    uint64_t bytes = (to.frame_bytes - from.frame_bytes) /
                     (COUNT_NS / WORLD_S * world_peer_count(t.w));
    if (bytes > BYTES_MAX)
        world_fail(t.w, "idle_bytes", "%s; %d are allowed", story->remark,
                   BYTES_MAX);
    return true;
}
