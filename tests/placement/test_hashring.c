/* SPDX-License-Identifier: Apache-2.0 */

/* The hash ring: how evenly, how little moves, and its corners. */

#include "placement/hashring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "placement/md5.h"

enum {
    SEEDS = 10,
    KEYS = 20000
};

static char names[2048][24];

/* Nodes differ by seed. */
static struct span name_of(size_t i, uint64_t seed)
{
    int len = snprintf(names[i], sizeof names[i], "n%u-%zu", (unsigned)seed, i);
    return span_of(names[i], (size_t)len);
}

static struct hashring *empty(struct hashring_config config)
{
    struct hashring *ring;
    cr_assert_eq(hashring_new(&config, &ring), DLHT_OK);
    return ring;
}

/* Replaces *ring. */
static void change(struct hashring **ring, enum hashring_verb verb,
                   struct span id, double weight, const char *zone)
{
    struct hashring_change c = {
        .verb = verb, .id = id, .weight = weight, .zone = span_str(zone)
    };
    struct hashring *next;
    cr_assert_eq(hashring_apply(*ring, &c, 1, &next, NULL), DLHT_OK);
    hashring_check(next);
    hashring_drop(*ring);
    *ring = next;
}

static struct hashring *ring_of(struct hashring_config config, size_t count,
                                uint64_t seed)
{
    struct hashring_change changes[2048];
    struct hashring *before = empty(config);
    struct hashring *ring;
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct hashring_change){ .verb = HASHRING_ADD,
                                               .id = name_of(i, seed),
                                               .weight = 1 };
    cr_assert_eq(hashring_apply(before, changes, count, &ring, NULL), DLHT_OK);
    hashring_check(ring);
    hashring_drop(before);
    return ring;
}

static double max_share(const struct hashring *ring)
{
    double max = 0;
    for (size_t i = 0; i < hashring_node_count(ring); i++)
        if (hashring_node(ring, i).share > max)
            max = hashring_node(ring, i).share;
    return max;
}

/* Peak over mean of keys; with probes this is all there is. */
static double peak(const struct hashring *ring, size_t keys, uint64_t seed)
{
    static size_t counts[2048];
    size_t max = 0;
    struct rng rng;
    rng_init(&rng, seed);
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < keys; i++) {
        size_t node = hashring_at(ring, rng_next(&rng));
        if (++counts[node] > max)
            max = counts[node];
    }
    return (double)max * (double)hashring_node_count(ring) / (double)keys;
}

static struct span id_at(const struct hashring *ring, uint64_t position)
{
    size_t node = hashring_at(ring, position);
    return node == SIZE_MAX ? span_empty() : hashring_node(ring, node).id;
}

/* A caller's hash: tokens where the test wants them. The 4 bytes of the number
 * are behind the id; of ids of one byte, the token is context[id byte]. */
static uint64_t table_hash(void *context, const void *data, size_t len)
{
    const uint64_t *places = context;
    if (len == 5)
        return places[*(const uint8_t *)data];
    return hash64(span_of(data, len));
}

static struct hashring *placed(uint64_t *places, const char *ids)
{
    struct hashring *ring =
        empty((struct hashring_config){ .hash = table_hash,
                                        .context = places,
                                        .vnodes = 1,
                                        .probes = 1,
                                        .tokens = HASHRING_DERIVED });
    for (; *ids; ids++)
        change(&ring, HASHRING_ADD, span_of(ids, 1), 1, "");
    return ring;
}

Test(hashring, spreads_evenly)
{
    static const struct {
        const char *why;
        size_t nodes;
        uint32_t vnodes;
        uint32_t probes;
        enum hashring_tokens tokens;
        hashring_hash_fn hash;
        double mean_max; /* of the seeds' peaks over mean */
        double worst_max;
    } rows[] = {
        { "derived", 10, 128, 1, HASHRING_DERIVED, hashring_xxh3, 1.20, 1.35 },
        { "by MD5", 10, 128, 1, HASHRING_DERIVED, hashring_md5, 1.20, 1.35 },
        { "8 chosen", 100, 8, 1, HASHRING_CHOSEN, hashring_xxh3, 1.21, 1.30 },
        { "21 probes", 100, 1, 21, HASHRING_DERIVED, hashring_xxh3, 1.12,
          1.16 },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        double sum = 0;
        double worst = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct hashring_config c = { .hash = rows[r].hash,
                                         .vnodes = rows[r].vnodes,
                                         .probes = rows[r].probes,
                                         .tokens = rows[r].tokens,
                                         .seed = seed };
            struct hashring *ring = ring_of(c, rows[r].nodes, seed);
            double p = rows[r].probes > 1
                           ? peak(ring, 400000, seed)
                           : max_share(ring) * (double)rows[r].nodes;
            sum += p;
            worst = p > worst ? p : worst;
            hashring_drop(ring);
        }
        printf("%s, %zu nodes: peak over mean %.3f, worst %.3f, seeds 1..%d\n",
               rows[r].why, rows[r].nodes, sum / SEEDS, worst, SEEDS);
        cr_expect(sum / SEEDS <= rows[r].mean_max, "%s: %f", rows[r].why,
                  sum / SEEDS);
        cr_expect(worst <= rows[r].worst_max, "%s: %f", rows[r].why, worst);
    }
}

Test(hashring, weight_2_gets_twice_as_much)
{
    double sum = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct hashring *ring = ring_of(hashring_config_default(), 10, seed);
        change(&ring, HASHRING_REWEIGHT, name_of(3, seed), 2, "");
        size_t at = hashring_seek(ring, name_of(3, seed));
        double share = hashring_node(ring, at).share;
        cr_assert_eq(hashring_node(ring, at).token_count, 256);
        sum += share / ((1 - share) / 9);
        hashring_drop(ring);
    }
    printf("weight 2: %.3f times the others' mean, seeds 1..40\n", sum / 40);
    cr_expect(sum / 40 >= 1.8 && sum / 40 <= 2.2, "%f", sum / 40);
}

/* Of random positions: who moved from or to anybody but the node, and how
 * many moved. */
static size_t strays(const struct hashring *a, const struct hashring *b,
                     struct span node, size_t *moved)
{
    size_t stray = 0;
    struct rng rng;
    rng_init(&rng, 7);
    *moved = 0;
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t at = rng_next(&rng);
        struct span from = id_at(a, at);
        struct span to = id_at(b, at);
        if (span_equal(from, to))
            continue;
        ++*moved;
        stray += !span_equal(from, node) && !span_equal(to, node);
    }
    return stray;
}

Test(hashring, only_what_must_move_moves)
{
    static const uint32_t probes[] = { 1, 1, 5 };
    for (size_t row = 0; row < 3; row++) {
        double share = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct hashring_config c = hashring_config_default();
            c.probes = probes[row];
            c.tokens = row == 1 ? HASHRING_CHOSEN : HASHRING_DERIVED;
            c.vnodes = row == 1 ? 8 : 128;
            c.seed = seed;
            struct hashring *ring = ring_of(c, 20, seed);
            struct hashring *before = hashring_hold(ring);
            struct span node = name_of(20, seed);
            size_t moved;
            change(&ring, HASHRING_ADD, node, 1, "");
            cr_expect_eq(strays(before, ring, node, &moved), 0);
            share += (double)moved / KEYS / SEEDS;
            struct hashring *with = hashring_hold(ring);
            change(&ring, HASHRING_REMOVE, node, 0, "");
            cr_expect_eq(strays(with, ring, node, &moved), 0);
            cr_expect_eq(strays(before, ring, node, &moved), 0);
            cr_expect_eq(moved, 0, "there and back is nothing");
            change(&ring, HASHRING_REWEIGHT, name_of(4, seed), 0.5, "");
            cr_expect_eq(strays(before, ring, name_of(4, seed), &moved), 0);
            cr_expect(moved > 0);
            hashring_drop(ring);
            hashring_drop(before);
            hashring_drop(with);
        }
        printf("one of 21 joins: %.4f moves, 1/21 is %.4f, seeds 1..%d\n",
               share, 1.0 / 21, SEEDS);
        cr_expect(share > 0.65 / 21 && share < 1.1 / 21, "%f", share);
    }
}

Test(hashring, does_not_depend_on_the_order_of_coming)
{
    struct hashring *a = ring_of(hashring_config_default(), 9, 3);
    struct hashring *b = empty(hashring_config_default());
    for (size_t i = 9; i-- > 0;)
        change(&b, HASHRING_ADD, name_of(i, 3), 1, "");
    cr_assert_eq(hashring_token_count(a), hashring_token_count(b));
    for (size_t i = 0; i < hashring_token_count(a); i++) {
        size_t x;
        size_t y;
        cr_assert_eq(hashring_token(a, i, &x), hashring_token(b, i, &y));
        cr_assert_eq(x, y);
    }
    hashring_drop(a);
    hashring_drop(b);
}

/* The nodes as the header says, by the slow way. */
static size_t replicas_slowly(const struct hashring *ring, uint64_t at,
                              size_t count, uint32_t *nodes)
{
    size_t tokens = hashring_token_count(ring);
    size_t first = 0;
    size_t n = 0;
    size_t node;
    while (first < tokens && hashring_token(ring, first, &node) < at)
        first++;
    for (int pass = 0; pass < 2; pass++)
        for (size_t t = 0; t < tokens && n < count; t++) {
            bool fresh = true;
            hashring_token(ring, (first + t) % tokens, &node);
            struct span zone = hashring_node(ring, node).zone;
            for (size_t i = 0; i < n; i++)
                fresh = fresh && nodes[i] != node &&
                        (pass ||
                         !span_equal(hashring_node(ring, nodes[i]).zone, zone));
            if (fresh)
                nodes[n++] = (uint32_t)node;
        }
    return n;
}

Test(hashring, replicas_are_on_distinct_nodes_and_zones)
{
    static const char *const zones[] = { "a", "b", "c", "", "rare" };
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng rng;
        struct hashring_config c = hashring_config_default();
        rng_init(&rng, seed);
        c.vnodes = (uint32_t)rng_range(&rng, 1, 9);
        struct hashring *ring = empty(c);
        size_t nodes = rng_range(&rng, 1, 24);
        size_t kinds = rng_range(&rng, 1, 5);
        for (size_t i = 0; i < nodes; i++)
            change(&ring, HASHRING_ADD, name_of(i, seed),
                   (double)rng_range(&rng, 1, 3),
                   zones[i == 0 ? kinds - 1 : rng_below(&rng, kinds)]);
        for (size_t i = 0; i < 200; i++) {
            uint32_t got[16];
            uint32_t want[16];
            uint64_t at = rng_next(&rng);
            size_t count = rng_range(&rng, 0, 16);
            size_t n = hashring_replicas_at(ring, at, count, got);
            cr_assert_eq(n, count < nodes ? count : nodes);
            cr_assert_eq(n, replicas_slowly(ring, at, count, want));
            cr_assert_eq(memcmp(got, want, n * sizeof *got), 0,
                         "seed %u, place %zu", (unsigned)seed, i);
            if (n > 0)
                cr_assert_eq(hashring_at(ring, at), got[0]);
        }
        hashring_drop(ring);
    }
}

Test(hashring, lookups_are_as_by_bisection)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng rng;
        struct hashring_config c = hashring_config_default();
        rng_init(&rng, seed);
        c.vnodes = (uint32_t)(1u << rng_below(&rng, 8));
        struct hashring *ring = ring_of(c, rng_range(&rng, 1, 60), seed);
        size_t tokens = hashring_token_count(ring);
        for (size_t i = 0; i < tokens; i++) {
            size_t node;
            size_t next;
            uint64_t at = hashring_token(ring, i, &node);
            hashring_token(ring, (i + 1) % tokens, &next);
            cr_assert_eq(hashring_at(ring, at), node);
            cr_assert_eq(hashring_at(ring, at + 1), next);
        }
        hashring_drop(ring);
    }
}

Test(hashring, arcs_wrap_and_ties_go_to_the_least_id)
{
    static const struct {
        const char *why;
        uint64_t a, b, c; /* places of the nodes */
        uint64_t at;
        char owner;
    } rows[] = {
        { "its own place", 10, 20, 30, 10, 'a' },
        { "just after", 10, 20, 30, 11, 'b' },
        { "after the last", 10, 20, 30, 31, 'a' },
        { "the end, before zero", 10, 20, 30, UINT64_MAX, 'a' },
        { "zero", 10, 20, 30, 0, 'a' },
        { "a token at zero", 0, 20, 30, 0, 'a' },
        { "after zero", 0, 20, 30, 1, 'b' },
        { "before zero", 0, 20, 30, UINT64_MAX, 'a' },
        { "a token at the end", 10, 20, UINT64_MAX, UINT64_MAX, 'c' },
        { "near the end", 10, 20, UINT64_MAX, UINT64_MAX - 1, 'c' },
        { "over the end", 10, 20, UINT64_MAX, 0, 'a' },
        { "both ends, 0", 0, UINT64_MAX, 30, 0, 'a' },
        { "both ends, 1", 0, UINT64_MAX, 30, 1, 'c' },
        { "both ends, last", 0, UINT64_MAX, 30, UINT64_MAX, 'b' },
        { "a tie", 20, 20, 30, 15, 'a' },
        { "a tie, after", 20, 20, 30, 21, 'c' },
        { "a tie of all", 20, 20, 20, 21, 'a' },
        { "a tie at zero", 20, 0, 0, 0, 'b' },
        { "a tie at the end", 20, UINT64_MAX, UINT64_MAX, 21, 'b' },
    };
    static uint64_t places[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        places['a'] = rows[i].a;
        places['b'] = rows[i].b;
        places['c'] = rows[i].c;
        struct hashring *ring = placed(places, "cab");
        uint32_t nodes[3];
        cr_expect_eq(id_at(ring, rows[i].at).data[0], rows[i].owner, "%s",
                     rows[i].why);
        cr_expect_eq(hashring_replicas_at(ring, rows[i].at, 3, nodes), 3);
        cr_expect_eq(nodes[0] + nodes[1] + nodes[2], 3);
        hashring_drop(ring);
    }
    places['a'] = places['b'] = 5;
    struct hashring *ring = placed(places, "ba");
    change(&ring, HASHRING_REMOVE, span_str("a"), 0, "");
    cr_expect_eq(id_at(ring, 5).data[0], 'b', "the second of a tie takes over");
    hashring_drop(ring);
}

Test(hashring, of_none_and_of_one)
{
    for (int tokens = HASHRING_DERIVED; tokens <= HASHRING_CHOSEN; tokens++) {
        struct hashring_config c = hashring_config_default();
        uint32_t nodes[16];
        c.tokens = (enum hashring_tokens)tokens;
        c.vnodes = 1;
        struct hashring *ring = empty(c);
        cr_expect_eq(hashring_find(ring, span_str("k")), SIZE_MAX);
        cr_expect_eq(hashring_replicas(ring, span_str("k"), 3, nodes), 0);
        change(&ring, HASHRING_ADD, span_str("one"), 0.1, "");
        cr_expect_eq(hashring_token_count(ring), 1, "never no token");
        cr_expect_eq(hashring_find(ring, span_str("k")), 0);
        cr_expect_eq(hashring_replicas(ring, span_empty(), 16, nodes), 1);
        cr_expect_float_eq(hashring_node(ring, 0).share, 1, 1e-12);
        change(&ring, HASHRING_REMOVE, span_str("one"), 0, "");
        cr_expect_eq(hashring_node_count(ring), 0);
        cr_expect_eq(hashring_find(ring, span_str("k")), SIZE_MAX);
        change(&ring, HASHRING_ADD, span_str("two"), 1, "");
        cr_expect_eq(hashring_find(ring, span_str("k")), 0);
        hashring_drop(ring);
    }
}

Test(hashring, refuses_and_stays_as_it_was)
{
    static const char long_id[300] = "x";
    static const struct {
        const char *why;
        struct hashring_change change;
        int rc;
    } rows[] = {
        { "equal id",
          { HASHRING_ADD, { (const uint8_t *)"b", 1 }, 1, { 0 } },
          DLHT_EEXISTS },
        { "unknown",
          { HASHRING_REMOVE, { (const uint8_t *)"x", 1 }, 1, { 0 } },
          DLHT_ENOTFOUND },
        { "unknown",
          { HASHRING_REWEIGHT, { (const uint8_t *)"x", 1 }, 1, { 0 } },
          DLHT_ENOTFOUND },
        { "no id", { HASHRING_ADD, { NULL, 0 }, 1, { 0 } }, DLHT_EINVAL },
        { "long id",
          { HASHRING_ADD, { (const uint8_t *)long_id, 256 }, 1, { 0 } },
          DLHT_EINVAL },
        { "long zone",
          { HASHRING_ADD,
            { (const uint8_t *)"x", 1 },
            1,
            { (const uint8_t *)long_id, 256 } },
          DLHT_EINVAL },
        { "light",
          { HASHRING_ADD, { (const uint8_t *)"x", 1 }, 0.09, { 0 } },
          DLHT_EINVAL },
        { "below 0",
          { HASHRING_ADD, { (const uint8_t *)"x", 1 }, -1, { 0 } },
          DLHT_EINVAL },
        { "heavy",
          { HASHRING_ADD, { (const uint8_t *)"x", 1 }, 101, { 0 } },
          DLHT_EINVAL },
        { "no number",
          { HASHRING_ADD, { (const uint8_t *)"x", 1 }, 0.0 / 0.0, { 0 } },
          DLHT_EINVAL },
    };
    struct hashring *ring = empty(hashring_config_default());
    change(&ring, HASHRING_ADD, span_str("b"), 1, "z");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hashring_change changes[2] = {
            { .verb = HASHRING_ADD, .id = span_str("good"), .weight = 1 },
            rows[i].change
        };
        struct hashring *next = ring;
        size_t bad = 77;
        cr_expect_eq(hashring_apply(ring, changes, 2, &next, &bad), rows[i].rc,
                     "%s", rows[i].why);
        cr_expect_null(next);
        cr_expect_eq(bad, 1);
        cr_expect_eq(hashring_node_count(ring), 1);
    }
    struct hashring_config c = hashring_config_default();
    struct hashring *none;
    c.vnodes = 0;
    cr_expect_eq(hashring_new(&c, &none), DLHT_EINVAL);
    c = hashring_config_default();
    c.probes = HASHRING_PROBES_MAX + 1;
    cr_expect_eq(hashring_new(&c, &none), DLHT_EINVAL);
    c = hashring_config_default();
    c.vnodes = HASHRING_VNODES_MAX;
    none = empty(c);
    struct hashring_change changes[3] = {
        { HASHRING_ADD, span_str("a"), 100, { 0 } },
        { HASHRING_ADD, span_str("b"), 100, { 0 } },
        { HASHRING_ADD, span_str("c"), 100, { 0 } },
    };
    struct hashring *full;
    cr_expect_eq(hashring_apply(none, changes, 3, &full, NULL), DLHT_EFULL);
    hashring_drop(none);
    hashring_drop(ring);
}

Test(hashring, snapshots_do_not_change)
{
    struct hashring_slot slot;
    hashring_slot_init(&slot, ring_of(hashring_config_default(), 5, 1));
    struct hashring *held = hashring_slot_take(&slot);
    struct buf before = { 0 };
    struct buf after = { 0 };
    hashring_json(held, true, &before);
    for (size_t i = 5; i < 40; i++) {
        struct hashring *ring = hashring_slot_take(&slot);
        if (i >= 10)
            change(&ring, HASHRING_REMOVE, name_of(i - 10, 1), 0, "");
        change(&ring, HASHRING_ADD, name_of(i, 1), 2, "zone");
        hashring_slot_set(&slot, ring);
    }
    hashring_json(held, true, &after);
    cr_expect(!before.failed && !after.failed);
    cr_expect(span_equal(buf_span(&before), buf_span(&after)));
    cr_expect_eq(hashring_node_count(held), 5);
    hashring_slot_deinit(&slot);
    hashring_check(held);
    hashring_drop(held);
    buf_deinit(&before);
    buf_deinit(&after);
}

Test(hashring, as_json)
{
    struct hashring_config c = hashring_config_default();
    struct buf out = { 0 };
    static uint64_t places[256] = { ['a'] = 1, ['b'] = 1ull << 63 };
    c.hash = table_hash;
    c.context = places;
    c.vnodes = 1;
    struct hashring *ring = empty(c);
    change(&ring, HASHRING_ADD, span_str("a"), 1, "z\"\\");
    change(&ring, HASHRING_ADD, span_str("b"), 1, "\n\xff");
    hashring_json(ring, true, &out);
    buf_append_byte(&out, 0);
    cr_expect_str_eq(
        (const char *)out.data,
        "{\"hash\": \"own\", \"vnodes\": 1, \"probes\": 1, \"choice\": "
        "\"derived\", \"seed\": 0, \"hash_seed\": 0, \"nodes\": [{\"id\": "
        "\"a\", \"weight\": 1, "
        "\"zone\": \"z\\\"\\\\\", \"token_count\": 1, \"share\": 0.5}, "
        "{\"id\": \"b\", \"weight\": 1, \"zone\": {\"hex\": \"0aff\"}, "
        "\"token_count\": 1, \"share\": 0.5}], \"tokens\": "
        "[[\"0000000000000001\", 0, 0], [\"8000000000000000\", 1, 0]], "
        "\"fingerprint\": \"38dda27857c3a668\"}");
    buf_deinit(&out);
    hashring_drop(ring);
}

/* RFC 1321, appendix A.5. */
Test(hashring, md5_is_as_in_the_rfc)
{
    static const struct {
        const char *text;
        const char *digest;
    } rows[] = {
        { "", "d41d8cd98f00b204e9800998ecf8427e" },
        { "a", "0cc175b9c0f1b6a831c399e269772661" },
        { "abc", "900150983cd24fb0d6963f7d28e17f72" },
        { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
        { "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
        { "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
          "d174ab98d277d9f5a5611c2c9f419d9f" },
        { "1234567890123456789012345678901234567890123456789012345678901234567"
          "8901234567890",
          "57edf4a22be3c955ac49da2e2107b67a" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t digest[MD5_SIZE];
        char text[2 * MD5_SIZE + 1];
        md5_digest(span_str(rows[i].text), digest);
        for (size_t k = 0; k < MD5_SIZE; k++)
            snprintf(text + 2 * k, 3, "%02x", digest[k]);
        cr_expect_str_eq(text, rows[i].digest, "%s", rows[i].text);
    }
    cr_expect_eq(md5_64(span_str("a")), 0x0cc175b9c0f1b6a8u);
}

Test(hashring, any_allocation_may_fail)
{
    if (!fail_alloc_works())
        return;
    for (int tokens = HASHRING_DERIVED; tokens <= HASHRING_CHOSEN; tokens++) {
        struct hashring_config c = hashring_config_default();
        c.tokens = (enum hashring_tokens)tokens;
        struct hashring *ring = ring_of(c, 4, 1);
        struct hashring_change add = { .verb = HASHRING_ADD,
                                       .id = name_of(4, 1),
                                       .weight = 1 };
        struct hashring *next = NULL;
        uint64_t n = 0;
        int rc;
        do {
            size_t bad = 77;
            fail_alloc_nth(++n);
            rc = hashring_apply(ring, &add, 1, &next, &bad);
            fail_alloc_nth(0);
            /* The sort does without memory: that failure is not seen. */
            cr_assert(rc == DLHT_OK || (rc == DLHT_ENOMEM && !next));
            cr_assert_eq(bad, 1);
            if (rc == DLHT_OK && fail_alloc_count() > 0) {
                hashring_drop(next);
                rc = DLHT_ENOMEM;
            }
            fail_alloc_count();
            hashring_check(ring);
        } while (rc == DLHT_ENOMEM && n < 100);
        printf("%u allocations\n", (unsigned)n - 1);
        cr_expect(n > 9 && n < 100);
        hashring_check(next);
        hashring_drop(next);
        hashring_drop(ring);
    }
}

/* 20,000 tokens in 2^15 places, beside some elsewhere: lines that are too full
 * and tokens of equal bits. hashring_check looks at each of them. */
static uint64_t crowd_hash(void *context, const void *data, size_t len)
{
    uint64_t hash = hash64(span_of(data, len));
    (void)context;
    if (len == 5)
        return 0xab54a98ceb1f0ad2u + hash % 32768;
    return hash;
}

Test(hashring, tokens_that_crowd_are_found)
{
    struct hashring_config c = hashring_config_default();
    struct rng rng;
    c.hash = crowd_hash;
    c.vnodes = 10000;
    struct hashring *ring = empty(c);
    change(&ring, HASHRING_ADD, span_str("a"), 1, "");
    change(&ring, HASHRING_ADD, span_str("b"), 1, "");
    change(&ring, HASHRING_ADD, span_str("elsewhere"), 0.1, "");
    rng_init(&rng, 1);
    for (size_t i = 0; i < KEYS; i++) {
        uint32_t got[3];
        uint32_t want[3];
        uint64_t at = 0xab54a98ceb1f0ad2u + rng_below(&rng, 32768);
        if (i >= 200)
            at = rng_next(&rng);
        size_t n = hashring_replicas_at(ring, at, 3, got);
        cr_assert_eq(n, 3);
        cr_assert_eq(hashring_at(ring, at), got[0]);
        if (i >= 400)
            continue;
        cr_assert_eq(replicas_slowly(ring, at, 3, want), 3);
        cr_assert_eq(memcmp(got, want, sizeof got), 0, "%zu", i);
    }
    hashring_drop(ring);
}

Test(hashring, any_allocation_of_reading_may_fail)
{
    for (int tokens = HASHRING_DERIVED; tokens <= HASHRING_CHOSEN; tokens++) {
        struct hashring_config c = hashring_config_default();
        struct hashring_fault fault;
        struct buf text = { 0 };
        c.tokens = (enum hashring_tokens)tokens;
        struct hashring *ring = ring_of(c, 20, 1);
        struct hashring *read = NULL;
        uint64_t n = 0;
        int rc;
        hashring_json(ring, true, &text);
        cr_assert(!text.failed);
        do {
            fail_alloc_nth(++n);
            rc = hashring_read(buf_span(&text), NULL, NULL, &read, &fault);
            fail_alloc_nth(0);
            cr_assert(rc == DLHT_OK || (rc == DLHT_ENOMEM && !read));
            cr_assert_null(fault.what, "no memory is no fault of the text");
            /* The sort does without memory: that failure is not seen. */
            if (rc == DLHT_OK && fail_alloc_count() > 0) {
                hashring_drop(read);
                rc = DLHT_ENOMEM;
            }
            fail_alloc_count();
        } while (rc == DLHT_ENOMEM && n < 100);
        printf("%u allocations\n", (unsigned)n - 1);
        cr_expect(n > 20 && n < 100);
        hashring_check(read);
        cr_expect_eq(hashring_fingerprint(read), hashring_fingerprint(ring));
        hashring_drop(read);
        hashring_drop(ring);
        buf_deinit(&text);
    }
}
