/* SPDX-License-Identifier: Apache-2.0 */

/* The tokens of a new ring: those of the old one that stay, and new ones,
 * derived from ids or chosen. */

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "placement/hashring_state.h"

_Static_assert(sizeof(struct line) == 64, "a line of the cache");
_Static_assert(HASHRING_NODES_MAX <= UINT16_MAX + 1, "a node is 16 bits");

enum {
    SAMPLES = 8 /* arcs looked at for a chosen token */
};

/* Members are by id, so at one place the least id is first. */
static int compare(const void *a, const void *b)
{
    const struct token *x = a;
    const struct token *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    if (x->owner != y->owner)
        return x->owner < y->owner ? -1 : 1;
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

static struct token token_of(const struct hashring *ring, size_t i)
{
    return (struct token){ ring->positions[i], ring->owners[i],
                           ring->ordinals[i] };
}

static void set_token(struct hashring *ring, size_t i, struct token token)
{
    ring->positions[i] = token.position;
    ring->owners[i] = token.owner;
    ring->ordinals[i] = token.ordinal;
}

/* The hash of the id and the number behind it, 4 bytes, least first. */
static uint64_t derive(const struct hashring *ring, struct span id,
                       uint32_t ordinal)
{
    uint8_t bytes[HASHRING_ID_MAX + 4];
    memcpy(bytes, id.data, id.len);
    for (size_t i = 0; i < 4; i++)
        bytes[id.len + i] = (uint8_t)(ordinal >> (8 * i));
    return hashring_hash(ring, span_of(bytes, id.len + 4));
}

/* Brings over what stays, in order; kept[i] counts member i's. Numbers below a
 * member's new count stay, so 0 .. kept - 1 are there. */
static void keep_tokens(struct hashring *ring, const struct hashring *old,
                        const uint32_t *index_of, uint32_t *kept)
{
    for (size_t i = 0; i < old->token_count; i++) {
        struct token token = token_of(old, i);
        token.owner = index_of[token.owner];
        if (token.owner == UINT32_MAX ||
            token.ordinal >= ring->members[token.owner].token_count)
            continue;
        kept[token.owner]++;
        set_token(ring, ring->token_count++, token);
    }
}

static size_t missing(const struct hashring *ring, const uint32_t *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < ring->member_count; i++)
        count += ring->members[i].token_count - kept[i];
    return count;
}

/* From the end, so that nothing is overwritten before it has moved. */
static void merge(struct hashring *ring, const struct token *tokens,
                  size_t count)
{
    size_t have = ring->token_count;
    size_t at = have + count;
    ring->token_count = at;
    while (count > 0) {
        struct token last = tokens[count - 1];
        struct token mine = last;
        if (have > 0)
            mine = token_of(ring, have - 1);
        if (have > 0 && compare(&mine, &last) > 0) {
            set_token(ring, --at, mine);
            have--;
        } else {
            set_token(ring, --at, last);
            count--;
        }
    }
}

static int add_derived(struct hashring *ring, const uint32_t *kept)
{
    size_t count = missing(ring, kept);
    size_t n = 0;
    struct token *tokens = mem_array(count, sizeof *tokens);
    if (!tokens)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct member *m = &ring->members[i];
        for (uint32_t k = kept[i]; k < m->token_count; k++)
            tokens[n++] =
                (struct token){ derive(ring, m->id, k), (uint32_t)i, k };
    }
    assert(n == count);
    qsort(tokens, count, sizeof *tokens, compare);
    merge(ring, tokens, count);
    free(tokens);
    return DLHT_OK;
}

/* The first token not before position, by bisection; token_count: none. */
static size_t lower_bound(const struct hashring *ring, uint64_t position)
{
    size_t lo = 0;
    size_t hi = ring->token_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ring->positions[mid] < position)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Where the arc of token i begins, itself not in it. */
static uint64_t arc_begin(const struct hashring *ring, size_t i)
{
    return ring->positions[i > 0 ? i - 1 : ring->token_count - 1];
}

static void measure_shares(struct hashring *ring)
{
    for (size_t i = 0; i < ring->member_count; i++)
        ring->members[i].share = 0;
    for (size_t i = 0; i < ring->token_count; i++) {
        uint64_t len = ring->positions[i] - arc_begin(ring, i);
        ring->members[ring->owners[i]].share += (double)len * 0x1p-64;
    }
    /* All tokens at one place: every arc has the length 0, and the first owns
     * the whole ring. */
    if (ring->token_count > 0 &&
        ring->positions[0] == ring->positions[ring->token_count - 1])
        ring->members[ring->owners[0]].share = 1;
}

/* What an arc would be cut at, and how much it is worth to do so. */
struct cut {
    uint64_t place;
    double len;  /* what the newcomer gets; share of the ring */
    double load; /* share of the owner by weight */
    uint32_t from;
};

/* (begin, place] of the arc under a sample: as much as the newcomer lacks per
 * token, but not more than half; half of its own. */
static struct cut cut_of(const struct hashring *ring, uint64_t sample,
                         uint32_t owner, double wanted)
{
    size_t i = lower_bound(ring, sample) % ring->token_count;
    uint64_t from = arc_begin(ring, i);
    uint64_t len = ring->positions[i] - from;
    const struct member *m = &ring->members[ring->owners[i]];
    if (len == 0 && m->share > 0.5)
        len = UINT64_MAX;
    double part = ring->owners[i] == owner ? 0x1p64 : wanted * 0x1p64;
    uint64_t half = len / 2;
    uint64_t taken = part < (double)half ? (uint64_t)part : half;
    return (struct cut){ .place = from + taken,
                         .len = (double)taken * 0x1p-64,
                         .load = m->share / m->weight,
                         .from = ring->owners[i] };
}

/* The cut for a token of owner: of the most loaded owner of the arcs under
 * some samples, the newcomer's own only if there are no others. */
static struct cut choose(const struct hashring *ring, uint32_t owner,
                         double wanted, struct rng *rng)
{
    struct cut best = { .place = rng_next(rng), .len = 1, .from = owner };
    bool best_other = false;
    for (size_t s = 0; ring->token_count > 0 && s < SAMPLES; s++) {
        struct cut cut = cut_of(ring, rng_next(rng), owner, wanted);
        bool other = cut.from != owner;
        bool better = other == best_other ? cut.load > best.load : other;
        if (s > 0 && !better)
            continue;
        best = cut;
        best_other = other;
    }
    return best;
}

/* The chance of a token depends on the seed, the id and its number only. */
static void add_chosen(struct hashring *ring, uint32_t owner, uint32_t kept,
                       double fair)
{
    struct member *m = &ring->members[owner];
    uint64_t own = hash64_mix(ring->config.seed, hash64(m->id));
    for (uint32_t k = kept; k < m->token_count; k++) {
        struct rng rng;
        double least = fair / m->token_count / 2;
        double wanted = (fair - m->share) / (m->token_count - k);
        rng_init(&rng, hash64_mix(own, k));
        struct cut cut =
            choose(ring, owner, wanted > least ? wanted : least, &rng);
        struct token token = { cut.place, owner, k };
        if (ring->token_count > 0)
            ring->members[cut.from].share -= cut.len;
        m->share += cut.len;
        merge(ring, &token, 1);
    }
}

static void choose_all(struct hashring *ring, const uint32_t *kept)
{
    double weight = 0;
    measure_shares(ring);
    for (size_t i = 0; i < ring->member_count; i++)
        weight += kept[i] ? ring->members[i].weight : 0;
    for (size_t i = 0; i < ring->member_count; i++) {
        weight += kept[i] ? 0 : ring->members[i].weight;
        if (ring->members[i].token_count == 0)
            continue;
        add_chosen(ring, (uint32_t)i, kept[i],
                   ring->members[i].weight / weight);
    }
}

static int compare_zones(const struct member *a, const struct member *b)
{
    return span_compare(a->zone, b->zone);
}

/* A zone is numbered by its first member with tokens. firsts has room for all members. */
static void number_zones(struct hashring *ring, uint32_t *firsts)
{
    for (size_t i = 0; i < ring->member_count; i++) {
        struct member *m = &ring->members[i];
        size_t lo = 0;
        size_t hi = ring->zone_count;
        if (m->token_count == 0)
            continue;
        ring->taker_count++;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (compare_zones(&ring->members[firsts[mid]], m) < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < ring->zone_count &&
            compare_zones(&ring->members[firsts[lo]], m) == 0) {
            m->zone_index = firsts[lo];
            continue;
        }
        memmove(&firsts[lo + 1], &firsts[lo],
                (ring->zone_count++ - lo) * sizeof *firsts);
        firsts[lo] = (uint32_t)i;
        m->zone_index = (uint32_t)i;
    }
}

/* The tokens of part b. Where more lie than a line has room for, the zeros
 * lead every lookup to the tokens themselves. */
static void fill_line(const struct hashring *ring, size_t b, struct line *line)
{
    size_t first = ring->firsts[b];
    size_t count = ring->firsts[b + 1] - first;
    if (count >= LINE_SLOTS) {
        memset(line, 0, sizeof *line);
        return;
    }
    for (size_t i = 0; i < LINE_SLOTS; i++) {
        size_t token = first + (i < count ? i : count);
        line->low[i] = UINT16_MAX;
        if (i < count)
            line->low[i] =
                (uint16_t)(ring->positions[token] >> (ring->shift - 16));
        token = token < ring->token_count ? token : 0;
        line->node[i] = (uint16_t)ring->owners[token];
    }
}

static void set_firsts(struct hashring *ring, size_t parts)
{
    size_t token = 0;
    for (size_t b = 0; b < parts; b++) {
        uint64_t begin = (uint64_t)b << ring->shift;
        while (token < ring->token_count && ring->positions[token] < begin)
            token++;
        ring->firsts[b] = (uint32_t)token;
    }
    ring->firsts[parts] = (uint32_t)ring->token_count;
}

/* 4 to 8 tokens a line: of 1,000 lines of derived tokens less than 10 are too
 * full. */
static int make_lines(struct hashring *ring)
{
    unsigned bits = 1;
    if (ring->token_count == 0)
        return DLHT_OK;
    while (((size_t)8 << bits) < ring->token_count)
        bits++;
    size_t parts = (size_t)1 << bits;
    ring->shift = 64 - bits;
    ring->firsts = mem_array(parts + 1, sizeof *ring->firsts);
    ring->line_memory = mem_array(parts + 1, sizeof *ring->lines);
    if (!ring->firsts || !ring->line_memory)
        return DLHT_ENOMEM;
    size_t over = (uintptr_t)ring->line_memory % sizeof *ring->lines;
    uint8_t *at = ring->line_memory;
    ring->lines = (void *)(at + (sizeof *ring->lines - over));
    set_firsts(ring, parts);
    for (size_t b = 0; b < parts; b++)
        fill_line(ring, b, &ring->lines[b]);
    return DLHT_OK;
}

/* What follows from members and tokens; scratch has room for all members. */
static int finish(struct hashring *ring, uint32_t *scratch)
{
    number_zones(ring, scratch);
    measure_shares(ring);
    return make_lines(ring);
}

int hashring_build(struct hashring *ring, const struct hashring *old,
                   const uint32_t *index_of)
{
    int rc = DLHT_OK;
    uint32_t *scratch = mem_zero(ring->member_count + 1, sizeof *scratch);
    if (!scratch)
        return DLHT_ENOMEM;
    keep_tokens(ring, old, index_of, scratch);
    if (ring->config.tokens == HASHRING_CHOSEN)
        choose_all(ring, scratch);
    else
        rc = add_derived(ring, scratch);
    if (rc == DLHT_OK)
        rc = finish(ring, scratch);
    free(scratch);
    return rc;
}

/* Whether all tokens are in order and each is somebody's, once. seen: a bit
 * for each; begins: the first bit of each member. */
static bool are_whole(const struct hashring *ring, const struct token *tokens,
                      size_t count, const size_t *begins, uint8_t *seen,
                      size_t *bad)
{
    for (size_t i = 0; i < count; i++) {
        const struct token *t = &tokens[i];
        *bad = i;
        if (i > 0 && compare(t - 1, t) >= 0)
            return false;
        if (t->owner >= ring->member_count ||
            t->ordinal >= ring->members[t->owner].token_count)
            return false;
        size_t bit = begins[t->owner] + t->ordinal;
        if (seen[bit / 8] >> (bit % 8) & 1)
            return false;
        seen[bit / 8] |= (uint8_t)(1u << (bit % 8));
    }
    *bad = count;
    return true;
}

static int check_given(const struct hashring *ring, const struct token *tokens,
                       size_t count, size_t *bad)
{
    size_t wanted = 0;
    size_t *begins = mem_array(ring->member_count, sizeof *begins);
    if (!begins)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < ring->member_count; i++) {
        begins[i] = wanted;
        wanted += ring->members[i].token_count;
    }
    uint8_t *seen = mem_zero(wanted / 8 + 1, 1);
    int rc = seen ? DLHT_OK : DLHT_ENOMEM;
    *bad = count;
    if (rc == DLHT_OK &&
        (count != wanted || !are_whole(ring, tokens, count, begins, seen, bad)))
        rc = DLHT_ECORRUPT;
    free(seen);
    free(begins);
    return rc;
}

int hashring_build_given(struct hashring *ring, const struct token *tokens,
                         size_t count, size_t *bad)
{
    int rc = check_given(ring, tokens, count, bad);
    if (rc != DLHT_OK)
        return rc;
    uint32_t *scratch = mem_array(ring->member_count + 1, sizeof *scratch);
    if (!scratch)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        set_token(ring, i, tokens[i]);
    ring->token_count = count;
    rc = finish(ring, scratch);
    free(scratch);
    return rc;
}
