/* SPDX-License-Identifier: Apache-2.0 */

/* The table behind swim. */

#include "chord/peers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    CAP_FIRST = 16,
    /* Times log2(peers): gossip reaches all but a vanishing share. */
    SENDS_FACTOR = 3
};

/* Room to raise one above the greatest that a stranger may claim. */
#define INCARNATION_MAX (UINT64_MAX / 2)

void peers_init(struct peers *peers, uint64_t seed)
{
    *peers = (struct peers){ 0 };
    rng_init(&peers->rng, seed);
}

void peers_deinit(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++)
        free(peers->entries[i]);
    free(peers->entries);
    free(peers->order);
    free(peers->graves);
    *peers = (struct peers){ 0 };
}

uint64_t peers_log2_milli(uint64_t n)
{
    assert(n >= 1);
    uint64_t whole = 0;
    while (n >> whole > 1)
        whole++;
    uint64_t below = UINT64_C(1) << whole;
    return whole * 1000 + (n - below) * 1000 / below;
}

/* Where id stands, or would. */
static size_t place_of(const struct peers *peers, const struct id *id)
{
    size_t from = 0;
    size_t to = peers->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (id_compare(&peers->entries[middle]->peer.id, id) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct peers_entry *peers_find(const struct peers *peers, const struct id *id)
{
    size_t at = place_of(peers, id);
    if (at == peers->count || !id_equal(&peers->entries[at]->peer.id, id))
        return NULL;
    return peers->entries[at];
}

bool peers_is_sane(const struct peer *peer)
{
    return !id_is_zero(&peer->id) && peer->state >= PEER_ALIVE &&
           peer->state <= PEER_LEFT && peer->incarnation <= INCARNATION_MAX &&
           memchr(peer->addr, 0, sizeof peer->addr) &&
           memchr(peer->zone, 0, sizeof peer->zone);
}

bool peers_is_news(const struct peer *a, const struct peer *b)
{
    if (a->incarnation != b->incarnation)
        return a->incarnation > b->incarnation;
    if ((a->state == PEER_LEFT) != (b->state == PEER_LEFT))
        return a->state == PEER_LEFT;
    if (a->refutation != b->refutation)
        return a->refutation > b->refutation;
    return a->state > b->state;
}

uint32_t peers_sends(const struct peers *peers)
{
    uint64_t log2 = (peers_log2_milli(peers->count + 1) + 999) / 1000;
    assert(log2 > 0 && SENDS_FACTOR * log2 <= PEERS_SENDS_MAX);
    return (uint32_t)(SENDS_FACTOR * log2);
}

static void news_unlink(struct peers *peers, struct peers_entry *entry)
{
    assert(entry->is_news);
    struct peers_list *list = &peers->news[entry->sent];
    struct peers_entry *prev = entry->news_prev;
    struct peers_entry *next = entry->news_next;
    *(prev ? &prev->news_next : &list->first) = next;
    *(next ? &next->news_prev : &list->last) = prev;
    entry->news_prev = entry->news_next = NULL;
    entry->is_news = false;
}

/* The newest goes before all others, so that it gets through a flood. */
static void news_link(struct peers *peers, struct peers_entry *entry)
{
    struct peers_list *list = &peers->news[entry->sent];
    entry->is_news = true;
    if (entry->sent == 0) {
        entry->news_next = list->first;
        *(list->first ? &list->first->news_prev : &list->last) = entry;
        list->first = entry;
        return;
    }
    entry->news_prev = list->last;
    *(list->last ? &list->last->news_next : &list->first) = entry;
    list->last = entry;
}

static void spread(struct peers *peers, struct peers_entry *entry)
{
    if (entry->is_news)
        news_unlink(peers, entry);
    entry->sent = 0;
    news_link(peers, entry);
}

void peers_hush(struct peers *peers, struct peers_entry *entry)
{
    if (entry->is_news)
        news_unlink(peers, entry);
}

static void queue_change(struct peers *peers, struct peers_entry *entry)
{
    if (entry->changed)
        return;
    entry->changed = true;
    entry->change_next = NULL;
    *(peers->change_last ? &peers->change_last->change_next
                         : &peers->change_first) = entry;
    peers->change_last = entry;
}

static bool same_content(const struct peer *a, const struct peer *b)
{
    return a->state == b->state && a->incarnation == b->incarnation &&
           a->weight_milli == b->weight_milli && !strcmp(a->addr, b->addr) &&
           !strcmp(a->zone, b->zone);
}

void peers_changed(struct peers *peers, struct peers_entry *entry,
                   const struct peer *was, uint64_t now_ns)
{
    struct peer *peer = &entry->peer;
    assert(id_equal(&peer->id, &was->id));
    peers->state_count[was->state]--;
    peers->state_count[peer->state]++;
    bool renewed = peer->incarnation != was->incarnation;
    peer->since_ns =
        peer->state != was->state || renewed ? now_ns : was->since_ns;
    if (!same_content(peer, was))
        queue_change(peers, entry);
    spread(peers, entry);
}

static bool is_buried(const struct peers *peers, const struct peer *news)
{
    size_t kept = peers->grave_count < PEERS_GRAVES_MAX ? peers->grave_count
                                                        : PEERS_GRAVES_MAX;
    for (size_t i = 0; i < kept; i++) {
        if (id_equal(&peers->graves[i].id, &news->id) &&
            news->incarnation <= peers->graves[i].incarnation)
            return true;
    }
    return false;
}

/* Room for one more in both arrays; on failure as before. */
static int reserve_one(struct peers *peers)
{
    if (peers->count < peers->cap)
        return DLHT_OK;
    size_t cap = peers->cap ? peers->cap * 2 : CAP_FIRST;
    struct peers_entry **entries =
        mem_resize(peers->entries, cap, sizeof(struct peers_entry *));
    if (!entries)
        return DLHT_ENOMEM;
    peers->entries = entries;
    struct peers_entry **order =
        mem_resize(peers->order, cap, sizeof(struct peers_entry *));
    if (!order)
        return DLHT_ENOMEM;
    peers->order = order;
    peers->cap = cap;
    return DLHT_OK;
}

static size_t order_find(const struct peers *peers,
                         const struct peers_entry *entry)
{
    size_t at = 0;
    while (peers->order[at] != entry) {
        at++;
        assert(at < peers->count);
    }
    return at;
}

static void order_swap(struct peers *peers, size_t i, size_t j)
{
    struct peers_entry *held = peers->order[i];
    peers->order[i] = peers->order[j];
    peers->order[j] = held;
}

/* A random place in the rest of the round: peers that hear of each other in
 * the same order should not probe in the same order. */
static void order_add(struct peers *peers, struct peers_entry *entry)
{
    size_t last = peers->count;
    size_t first = peers->order_next < last ? peers->order_next : last;
    peers->order[last] = entry;
    order_swap(peers, last, (size_t)rng_range(&peers->rng, first, last));
}

static int add(struct peers *peers, uint64_t now_ns, const struct peer *news,
               struct peers_entry **out)
{
    if (peers->count >= SWIM_PEERS_MAX || is_buried(peers, news))
        return DLHT_OK;
    if (reserve_one(peers) != DLHT_OK)
        return DLHT_ENOMEM;
    struct peers_entry *entry = mem_zero(1, sizeof *entry);
    if (!entry)
        return DLHT_ENOMEM;
    entry->peer = *news;
    entry->peer.since_ns = now_ns;
    size_t at = place_of(peers, &news->id);
    memmove(peers->entries + at + 1, peers->entries + at,
            (peers->count - at) * sizeof(struct peers_entry *));
    peers->entries[at] = entry;
    order_add(peers, entry);
    peers->count++;
    peers->state_count[news->state]++;
    queue_change(peers, entry);
    spread(peers, entry);
    *out = entry;
    return DLHT_OK;
}

int peers_merge(struct peers *peers, uint64_t now_ns, const struct peer *news,
                struct peers_entry **entry)
{
    assert(peers_is_sane(news));
    *entry = NULL;
    struct peers_entry *known = peers_find(peers, &news->id);
    if (!known)
        return add(peers, now_ns, news, entry);
    if (!peers_is_news(news, &known->peer))
        return DLHT_OK;
    struct peer was = known->peer;
    known->peer = *news;
    peers_changed(peers, known, &was, now_ns);
    *entry = known;
    return DLHT_OK;
}

/* To the next list, or out of the last. */
static void count_sent(struct peers *peers, struct peers_entry *entry)
{
    if (!entry->is_news)
        return;
    news_unlink(peers, entry);
    if (++entry->sent < peers_sends(peers))
        news_link(peers, entry);
}

static size_t pick_news(struct peers *peers, const struct id *to,
                        const struct peers_entry *self, struct peer *out,
                        size_t count)
{
    /* What is picked goes to the end of the next list, behind `last`, the end
     * of what stood there before. */
    struct peers_entry *last = peers->news[0].last;
    for (size_t i = 0; i < PEERS_SENDS_MAX; i++) {
        struct peers_entry *next = last ? peers->news[i].first : NULL;
        struct peers_entry *end = last;
        last = i + 1 < PEERS_SENDS_MAX ? peers->news[i + 1].last : NULL;
        while (next) {
            struct peers_entry *entry = next;
            next = entry == end ? NULL : entry->news_next;
            /* It knows best of itself, and has our opinion already. */
            if (entry == self || id_equal(&entry->peer.id, to))
                continue;
            if (count == SWIM_UPDATES_MAX - 1)
                return count;
            out[count++] = entry->peer;
            count_sent(peers, entry);
        }
    }
    return count;
}

size_t peers_pick(struct peers *peers, const struct id *to,
                  struct peers_entry *self, struct peer *out)
{
    size_t count = 0;
    struct peers_entry *known = peers_find(peers, to);
    if (known && known->peer.state != PEER_ALIVE)
        out[count++] = known->peer;
    bool tell_self = self->is_news || self->peer.state != PEER_ALIVE;
    if (tell_self) {
        out[count++] = self->peer;
        count_sent(peers, self);
    }
    count = pick_news(peers, to, self, out, count);
    if (peers->count > 0) {
        peers->fill_next = (peers->fill_next + 1) % peers->count;
        struct peers_entry *fill = peers->entries[peers->fill_next];
        if (fill != known && !(fill == self && tell_self))
            out[count++] = fill->peer;
    }
    assert(count <= SWIM_UPDATES_MAX);
    return count;
}

bool peers_take_change(struct peers *peers, struct peer *out)
{
    struct peers_entry *entry = peers->change_first;
    if (!entry)
        return false;
    peers->change_first = entry->change_next;
    if (!peers->change_first)
        peers->change_last = NULL;
    entry->change_next = NULL;
    entry->changed = false;
    *out = entry->peer;
    return true;
}

static void unqueue_change(struct peers *peers, struct peers_entry *entry)
{
    struct peers_entry *prev = NULL;
    struct peers_entry *at = peers->change_first;
    while (at != entry) {
        prev = at;
        at = at->change_next;
    }
    *(prev ? &prev->change_next : &peers->change_first) = entry->change_next;
    if (peers->change_last == entry)
        peers->change_last = prev;
}

static void dig_grave(struct peers *peers, const struct peer *peer)
{
    if (!peers->graves)
        peers->graves = mem_zero(PEERS_GRAVES_MAX, sizeof *peers->graves);
    if (!peers->graves)
        return;
    size_t at = peers->grave_count++ % PEERS_GRAVES_MAX;
    peers->graves[at] = (struct peers_grave){ peer->id, peer->incarnation };
}

bool peers_entry_is_up(const struct peers_entry *entry)
{
    return entry->peer.state == PEER_ALIVE || entry->peer.state == PEER_SUSPECT;
}

void peers_put_next(struct peers *peers, struct peers_entry *entry)
{
    /* At the end of a round the shuffle comes first and may undo it, so the
     * peer goes to the last place, which a round has yet to pass. */
    if (peers->order_next >= peers->count)
        peers->order_next = peers->count - 1;
    order_swap(peers, order_find(peers, entry), peers->order_next);
}

struct peers_entry *peers_next_up(struct peers *peers,
                                  const struct peers_entry *self)
{
    /* The rest of this round, then at most one whole one. */
    for (size_t i = 0; i < 2 * peers->count; i++) {
        if (peers->order_next >= peers->count) {
            peers->order_next = 0;
            for (size_t j = peers->count; j > 1; j--)
                order_swap(peers, j - 1, (size_t)rng_below(&peers->rng, j));
        }
        struct peers_entry *entry = peers->order[peers->order_next++];
        if (entry != self && peers_entry_is_up(entry))
            return entry;
    }
    return NULL;
}

void peers_forget(struct peers *peers, struct peers_entry *entry)
{
    size_t at = place_of(peers, &entry->peer.id);
    assert(at < peers->count && peers->entries[at] == entry);
    dig_grave(peers, &entry->peer);
    if (entry->is_news)
        news_unlink(peers, entry);
    if (entry->changed)
        unqueue_change(peers, entry);
    peers->state_count[entry->peer.state]--;
    order_swap(peers, order_find(peers, entry), peers->count - 1);
    peers->count--;
    memmove(peers->entries + at, peers->entries + at + 1,
            (peers->count - at) * sizeof(struct peers_entry *));
    free(entry);
}

size_t peers_up_count(const struct peers *peers)
{
    return peers->state_count[PEER_ALIVE] + peers->state_count[PEER_SUSPECT];
}

void peers_check(const struct peers *peers)
{
    size_t state_count[PEER_LEFT + 1] = { 0 };
    size_t changed = 0;
    size_t news = 0;
    for (size_t i = 0; i < peers->count; i++) {
        const struct peers_entry *entry = peers->entries[i];
        assert(peers_is_sane(&entry->peer));
        state_count[entry->peer.state]++;
        changed += entry->changed;
        news += entry->is_news;
        if (i > 0)
            assert(id_compare(&peers->entries[i - 1]->peer.id,
                              &entry->peer.id) < 0);
    }
    assert(!memcmp(state_count, peers->state_count, sizeof state_count));
    for (size_t i = 0; i < PEERS_SENDS_MAX; i++) {
        const struct peers_list *list = &peers->news[i];
        for (struct peers_entry *e = list->first; e; e = e->news_next) {
            assert(e->is_news && e->sent == i && news > 0);
            news--;
            assert(e->news_next ? e->news_next->news_prev == e
                                : list->last == e);
        }
    }
    for (struct peers_entry *e = peers->change_first; e; e = e->change_next) {
        assert(e->changed && changed > 0);
        changed--;
    }
    assert(news == 0 && changed == 0);
}
