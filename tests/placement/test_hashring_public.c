/* SPDX-License-Identifier: Apache-2.0 */

/* The hash ring as a stranger uses it: this file knows dlht/hashring.h and
 * nothing else of the tree. What the ring promises, each promise by its own
 * reckoning. */

#include "dlht/hashring.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 10
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A hash of a program's own. */
static uint64_t own_hash(void *context, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t hash = *(const uint64_t *)context;
    for (size_t i = 0; i < len; i++)
        hash = mix(hash ^ bytes[i]) + 0x9e3779b97f4a7c15u;
    return hash;
}

static uint64_t salt = 17;

static struct dlht_hashring *new_ring(struct dlht_hashring_config config)
{
    struct dlht_hashring *ring;
    cr_assert_eq(dlht_hashring_new(&config, &ring), DLHT_OK);
    return ring;
}

static void add(struct dlht_hashring *ring, const char *name, double weight,
                const char *zone)
{
    cr_assert_eq(
        dlht_hashring_add(ring, name, strlen(name), weight, zone, strlen(zone)),
        DLHT_OK);
}

/* node-0, node-1, ... */
static void add_some(struct dlht_hashring *ring, size_t begin, size_t end,
                     uint64_t seed)
{
    for (size_t i = begin; i < end; i++) {
        char name[48];
        snprintf(name, sizeof name, "%" PRIu64 "-node-%zu", seed, i);
        add(ring, name, 1, "");
    }
}

static size_t key_of(uint64_t i, char key[32])
{
    return (size_t)snprintf(key, 32, "customer:%08" PRIu64, i);
}

static size_t find(const struct dlht_hashring_view *view, uint64_t i)
{
    char key[32];
    size_t len = key_of(i, key);
    return dlht_hashring_find(view, key, len);
}

static struct dlht_bytes id_of(const struct dlht_hashring_view *view,
                               size_t index)
{
    struct dlht_hashring_node node;
    cr_assert(dlht_hashring_node(view, index, &node));
    return node.id;
}

static bool equal(struct dlht_bytes a, struct dlht_bytes b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static char *text_of(const struct dlht_hashring_view *view, bool tokens,
                     size_t *len)
{
    char *text;
    cr_assert_eq(dlht_hashring_json(view, tokens, &text, len), DLHT_OK);
    return text;
}

/* XXH3_64bits and XXH3_64bits_withSeed of xxhash 0.8, and RFC 1321's MD5. */
Test(hashring_public, hashes_as_the_references_do)
{
    static const struct {
        enum dlht_hashring_hash hash;
        uint64_t hash_seed;
        const char *key;
        uint64_t position;
        const char *tokens; /* of node-1, one of three */
    } rows[] = {
        { DLHT_HASHRING_XXH3, 0, "", 0x2d06800538d394c2u,
          "[\"3b76c8825005e97b\", 0, 0]" },
        { DLHT_HASHRING_XXH3, 0, "a", 0xe6c632b61e964e1fu,
          "[\"b0960a0b9403f568\", 0, 1]" },
        { DLHT_HASHRING_XXH3, 0, "customer:00000017", 0x80e982e00d3f761cu,
          "[\"a3db4f6a306bac70\", 0, 2]" },
        { DLHT_HASHRING_XXH3, 2025, "a", 0x8ca3fbefc3b2bc9eu,
          "[\"8032f9f8ceaa08bb\", 0, 0]" },
        { DLHT_HASHRING_MD5, 0, "a", 0x0cc175b9c0f1b6a8u,
          "[\"103945bec1a400ed\", 0, 0]" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dlht_hashring_config config = { .hash = rows[i].hash,
                                               .hash_seed = rows[i].hash_seed,
                                               .vnodes = 3 };
        struct dlht_hashring *ring = new_ring(config);
        size_t len;
        add(ring, "node-1", 1, "");
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        char *text = text_of(view, true, &len);
        cr_expect_eq(
            dlht_hashring_position(view, rows[i].key, strlen(rows[i].key)),
            rows[i].position, "row %zu", i);
        cr_expect(strstr(text, rows[i].tokens), "%s: %s", rows[i].tokens, text);
        free(text);
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
}

Test(hashring_public, refuses_a_configuration_that_cannot_be)
{
    static const struct dlht_hashring_config rows[] = {
        { .hash = DLHT_HASHRING_OWN },
        { .hash = (enum dlht_hashring_hash)3 },
        { .vnodes = 65537 },
        { .probes = 65 },
        { .hash = DLHT_HASHRING_MD5, .hash_seed = 1 },
    };
    struct dlht_hashring *ring = (struct dlht_hashring *)&salt;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(dlht_hashring_new(&rows[i], &ring), DLHT_EINVAL, "%zu", i);
        cr_expect_null(ring);
    }
    cr_assert_eq(dlht_hashring_new(NULL, &ring), DLHT_OK, "defaults");
    dlht_hashring_free(ring);
    dlht_hashring_free(NULL);
    dlht_hashring_view_free(NULL);
    dlht_hashring_plan_free(NULL);
}

/* The least distance of any probe to a token of node, as docs/hashring.md says
 * it; *probe is which. */
static uint64_t distance(size_t node, uint64_t at, uint32_t vnodes,
                         uint32_t probes, uint32_t *probe)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t v = 0; v < vnodes; v++) {
        char id[48];
        int len = snprintf(id, sizeof id, "1-node-%zu", node);
        for (size_t b = 0; b < 4; b++)
            id[len++] = (char)(v >> 8 * b);
        uint64_t token = own_hash(&salt, id, (size_t)len);
        for (uint32_t p = 0; p < probes; p++) {
            uint64_t place = p ? mix(at + p * 0x9e3779b97f4a7c15u) : at;
            if (token - place < least) {
                least = token - place;
                *probe = p;
            }
        }
    }
    return least;
}

/* With probes too: copies are the nodes in the order of their distance. */
Test(hashring_public, places_1000_keys_as_brute_force_does)
{
    static const struct {
        uint32_t vnodes, probes;
    } rows[] = { { 16, 1 }, { 1, 21 }, { 3, 5 } };
    for (size_t r = 0; r < 3; r++) {
        struct dlht_hashring *ring =
            new_ring((struct dlht_hashring_config){ .hash = DLHT_HASHRING_OWN,
                                                    .own = own_hash,
                                                    .context = &salt,
                                                    .vnodes = rows[r].vnodes,
                                                    .probes = rows[r].probes });
        size_t won[64] = { 0 };
        add_some(ring, 0, 10, 1); /* ten: their order is that of their names */
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        for (uint64_t i = 0; i < 1000; i++) {
            char key[32];
            uint64_t far[10];
            uint32_t probe[10];
            uint32_t nodes[4];
            size_t len = key_of(i, key);
            uint64_t at = own_hash(&salt, key, len);
            for (size_t n = 0; n < 10; n++)
                far[n] =
                    distance(n, at, rows[r].vnodes, rows[r].probes, &probe[n]);
            cr_assert_eq(dlht_hashring_position(view, key, len), at);
            cr_assert_eq(dlht_hashring_replicas(view, key, len, 4, nodes), 4);
            cr_assert_eq(dlht_hashring_find(view, key, len), nodes[0]);
            won[probe[nodes[0]]]++;
            for (size_t c = 0; c < 4; c++) {
                size_t nearer = 0;
                for (size_t n = 0; n < 10; n++)
                    nearer += far[n] < far[nodes[c]];
                cr_assert_eq(nearer, c, "row %zu, key %u", r, (unsigned)i);
            }
        }
        for (uint32_t p = 0; p < rows[r].probes; p++)
            cr_expect(won[p] > 0, "probe %u never wins", (unsigned)p);
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
}

/* Over mean, of 100,000 keys. */
static double peak(const struct dlht_hashring_view *view)
{
    static size_t counts[1000];
    size_t nodes = dlht_hashring_node_count(view);
    size_t max = 0;
    memset(counts, 0, sizeof counts);
    for (uint64_t i = 0; i < 100000; i++)
        counts[find(view, i)]++;
    for (size_t i = 0; i < nodes; i++)
        max = counts[i] > max ? counts[i] : max;
    return (double)max * (double)nodes / 100000;
}

static double mean_peak(struct dlht_hashring_config config, size_t nodes)
{
    double sum = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        config.seed = seed;
        struct dlht_hashring *ring = new_ring(config);
        add_some(ring, 0, nodes, seed);
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        sum += peak(view);
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
    printf("%zu nodes, %u vnodes, %u probes: peak over mean %.3f, seeds "
           "1..%d\n",
           nodes, (unsigned)config.vnodes, (unsigned)config.probes, sum / SEEDS,
           SEEDS);
    return sum / SEEDS;
}

Test(hashring_public, many_tokens_or_probes_are_even)
{
    struct dlht_hashring_config many = { .vnodes = 256 };
    struct dlht_hashring_config one = { .vnodes = 1 };
    struct dlht_hashring_config probes = { .vnodes = 1, .probes = 21 };
    struct dlht_hashring_config few = { .vnodes = 1, .probes = 3 };
    cr_expect(mean_peak(many, 10) <= 1.15);
    double without = mean_peak(one, 100);
    double some = mean_peak(few, 100);
    double with = mean_peak(probes, 100);
    cr_expect(some < without && with < some, "each probe helps");
    cr_expect(with <= 1.15, "%f: 1.10 is the chance of 1,000 keys a node",
              with);
}

Test(hashring_public, weights_1_2_3_4_and_0)
{
    double shares[4] = { 0 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct dlht_hashring *ring = new_ring(
            (struct dlht_hashring_config){ .vnodes = 256, .hash_seed = seed });
        uint32_t nodes[8];
        add(ring, "a", 1, "");
        add(ring, "b", 2, "");
        add(ring, "c", 3, "");
        add(ring, "d", 4, "");
        add(ring, "idle", 0, "elsewhere");
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        for (uint64_t i = 0; i < 20000; i++) {
            size_t node = find(view, i);
            cr_assert(node < 4, "a node of weight 0 holds nothing");
            shares[node] += 1.0 / 20000 / SEEDS;
        }
        cr_expect_eq(dlht_hashring_replicas(view, "k", 1, 8, nodes), 4);
        for (size_t i = 0; i < 4; i++)
            cr_expect(nodes[i] < 4);
        cr_expect_eq(dlht_hashring_reweight(ring, "idle", 4, 1), DLHT_OK);
        cr_expect_eq(dlht_hashring_reweight(ring, "a", 1, 0), DLHT_OK);
        struct dlht_hashring_view *next = dlht_hashring_view(ring);
        for (uint64_t i = 0; i < 1000; i++)
            cr_expect_neq(find(next, i), 0);
        cr_expect_eq(dlht_hashring_replicas(next, "k", 1, 8, nodes), 4);
        dlht_hashring_view_free(next);
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
    for (size_t i = 0; i < 4; i++) {
        double fair = (double)(i + 1) / 10;
        printf("weight %zu: %.4f of all keys\n", i + 1, shares[i]);
        cr_expect(shares[i] > 0.9 * fair && shares[i] < 1.1 * fair);
    }
}

Test(hashring_public, of_none_there_is_none_and_of_few_each_once)
{
    static const struct dlht_hashring_config rows[] = {
        { 0 }, { .chosen = true }, { .vnodes = 1, .probes = 21 }
    };
    for (size_t r = 0; r < 3; r++) {
        struct dlht_hashring *ring = new_ring(rows[r]);
        uint32_t nodes[DLHT_HASHRING_REPLICAS_MAX];
        struct dlht_bytes key = { "k", 1 };
        for (size_t n = 0; n < 7; n++) {
            struct dlht_hashring_view *view = dlht_hashring_view(ring);
            struct dlht_hashring_node node;
            unsigned seen = 0;
            size_t found = dlht_hashring_replicas(view, "k", 1, 1000, nodes);
            /* The one of weight 0 is the second. */
            cr_expect_eq(found, n > 1 ? n - 1 : n);
            for (size_t i = 0; i < found; i++)
                seen |= 1u << nodes[i];
            cr_expect_eq(__builtin_popcount(seen), (int)found, "each once");
            if (n == 0) {
                cr_expect_eq(dlht_hashring_find(view, "k", 1), SIZE_MAX);
                cr_expect_eq(dlht_hashring_find_all(view, &key, 1, nodes), 0);
            }
            cr_expect_not(dlht_hashring_node(view, n, &node));
            dlht_hashring_view_free(view);
            char name[8];
            snprintf(name, sizeof name, "n%zu", n);
            add(ring, name, n != 1, n < 3 ? "x" : "y");
            cr_expect_eq(dlht_hashring_add(ring, name, strlen(name), 1, "", 0),
                         DLHT_EEXISTS);
        }
        cr_expect_eq(dlht_hashring_remove(ring, "who", 3), DLHT_ENOTFOUND);
        cr_expect_eq(dlht_hashring_reweight(ring, "who", 3, 1), DLHT_ENOTFOUND);
        cr_expect_eq(dlht_hashring_remove(ring, "n0", 2), DLHT_OK);
        dlht_hashring_free(ring);
    }
}

Test(hashring_public, copies_are_in_distinct_zones)
{
    static const char *const zones[] = { "a", "b", "c", "d" };
    static const struct dlht_hashring_config rows[] = {
        { .vnodes = 16 }, { .chosen = true }, { .vnodes = 1, .probes = 21 }
    };
    for (size_t r = 0; r < 3; r++) {
        struct dlht_hashring *ring = new_ring(rows[r]);
        for (size_t i = 0; i < 40; i++) {
            char name[16];
            snprintf(name, sizeof name, "n%zu", i);
            /* One node is all of zone d. */
            add(ring, name, 1, zones[i == 7 ? 3 : i % 3]);
        }
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        for (uint64_t k = 0; k < 2000; k++) {
            uint32_t nodes[4];
            unsigned seen = 0;
            cr_assert_eq(dlht_hashring_replicas_at(view, mix(k), 4, nodes), 4);
            for (size_t i = 0; i < 4; i++) {
                struct dlht_hashring_node node;
                cr_assert(dlht_hashring_node(view, nodes[i], &node));
                seen |= 1u << (*(const char *)node.zone.data - 'a');
            }
            cr_assert_eq(seen, 15u, "row %zu, key %u", r, (unsigned)k);
        }
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
}

/* How many of the copies of 10,000 keys are on a node they were not on; those
 * that came to or left another node than `only` are strays. */
static size_t moved(const struct dlht_hashring_view *a,
                    const struct dlht_hashring_view *b, size_t copies,
                    struct dlht_bytes only, size_t *strays)
{
    size_t came = 0;
    *strays = 0;
    for (uint64_t k = 0; k < 10000; k++) {
        uint32_t was[4];
        uint32_t is[4];
        size_t n = dlht_hashring_replicas_at(a, mix(k), copies, was);
        size_t m = dlht_hashring_replicas_at(b, mix(k), copies, is);
        size_t fresh = 0;
        bool touched = false;
        for (size_t i = 0; i < m; i++) {
            bool there = false;
            for (size_t j = 0; j < n; j++)
                there = there || equal(id_of(a, was[j]), id_of(b, is[i]));
            fresh += !there;
            touched = touched || equal(id_of(b, is[i]), only);
        }
        for (size_t j = 0; j < n; j++)
            touched = touched || equal(id_of(a, was[j]), only);
        came += fresh;
        *strays += fresh > 1 || (fresh == 1 && !touched);
    }
    return came;
}

/* Of every key one copy at most, and only to the newcomer or from the leaver;
 * with probes and several copies too. */
Test(hashring_public, a_join_or_a_leave_moves_one_copy_of_a_key_at_most)
{
    static const struct {
        struct dlht_hashring_config config;
        size_t copies;
    } rows[] = {
        { { 0 }, 1 },
        { { 0 }, 3 },
        { { .chosen = true }, 1 },
        { { .chosen = true }, 3 },
        { { .vnodes = 1, .probes = 21 }, 1 },
        { { .vnodes = 1, .probes = 21 }, 3 },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        double share = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct dlht_hashring_config config = rows[r].config;
            size_t strays;
            size_t copies = rows[r].copies;
            char name[48];
            config.seed = seed;
            struct dlht_hashring *ring = new_ring(config);
            add_some(ring, 0, 20, seed);
            struct dlht_hashring_view *a = dlht_hashring_view(ring);
            add_some(ring, 20, 21, seed);
            struct dlht_hashring_view *b = dlht_hashring_view(ring);
            int len = snprintf(name, sizeof name, "%" PRIu64 "-node-20", seed);
            struct dlht_bytes id = { name, (size_t)len };
            share += (double)moved(a, b, copies, id, &strays) / 10000 /
                     (double)copies / SEEDS;
            cr_expect_eq(strays, 0, "row %zu: a join, %zu", r, strays);
            cr_expect_eq(dlht_hashring_remove(ring, name, (size_t)len),
                         DLHT_OK);
            struct dlht_hashring_view *c = dlht_hashring_view(ring);
            moved(b, c, copies, id, &strays);
            cr_expect_eq(strays, 0, "row %zu: a leave, %zu", r, strays);
            cr_expect_eq(moved(a, c, copies, id, &strays), 0);
            if (!config.chosen)
                cr_expect_eq(dlht_hashring_fingerprint(a),
                             dlht_hashring_fingerprint(c));
            dlht_hashring_view_free(a);
            dlht_hashring_view_free(b);
            dlht_hashring_view_free(c);
            dlht_hashring_free(ring);
        }
        printf("row %zu, %zu copies: %.3f of 1/21 moves, seeds 1..%d\n", r,
               rows[r].copies, share * 21, SEEDS);
        cr_expect(share * 21 <= 1.05, "row %zu: %f", r, share * 21);
    }
}

/* A plan and the ring are one function: each key moves as its interval says. */
Test(hashring_public, plans_say_what_happens_to_each_key)
{
    struct dlht_hashring *ring = new_ring((struct dlht_hashring_config){ 0 });
    struct dlht_hashring_plan *plan;
    struct dlht_hashring_move move;
    size_t wrong = 0;
    add_some(ring, 0, 9, 1);
    struct dlht_hashring_view *a = dlht_hashring_view(ring);
    add_some(ring, 9, 10, 1);
    struct dlht_hashring_view *b = dlht_hashring_view(ring);
    cr_assert_eq(dlht_hashring_plan(a, b, 2, &plan), DLHT_OK);
    size_t count = dlht_hashring_plan_total(plan).move_count;
    cr_assert(count > 10);
    cr_expect_not(dlht_hashring_plan_move(plan, count, &move));
    for (uint64_t k = 0; k < 5000; k++) {
        uint32_t was[2];
        uint32_t is[2];
        uint64_t at = mix(k);
        dlht_hashring_replicas_at(a, at, 2, was);
        dlht_hashring_replicas_at(b, at, 2, is);
        bool moves = !equal(id_of(a, was[0]), id_of(b, is[0])) ||
                     !equal(id_of(a, was[1]), id_of(b, is[1]));
        bool planned = false;
        for (size_t i = 0; i < count; i++) {
            cr_assert(dlht_hashring_plan_move(plan, i, &move));
            if (at - move.from - 1 > move.to - move.from - 1)
                continue;
            planned = true;
            for (size_t c = 0; c < 2; c++) {
                struct dlht_hashring_plan_node node;
                cr_assert(
                    dlht_hashring_plan_node(plan, move.new_nodes[c], &node));
                wrong += !equal(node.id, id_of(b, is[c]));
                cr_assert(
                    dlht_hashring_plan_node(plan, move.old_nodes[c], &node));
                wrong += !equal(node.id, id_of(a, was[c]));
            }
        }
        wrong += planned != moves;
    }
    cr_expect_eq(wrong, 0, "%zu", wrong);
    dlht_hashring_plan_free(plan);
    dlht_hashring_view_free(a);
    dlht_hashring_view_free(b);
    dlht_hashring_free(ring);
}

Test(hashring_public, a_list_of_keys_is_found_as_each_is)
{
    static const struct dlht_hashring_config rows[] = {
        { 0 }, { .hash = DLHT_HASHRING_MD5 }, { .vnodes = 1, .probes = 21 }
    };
    static char text[1000][32];
    struct dlht_bytes keys[1000];
    uint32_t nodes[1000 + 1];
    for (uint64_t i = 0; i < 1000; i++)
        keys[i] = (struct dlht_bytes){ text[i], key_of(i, text[i]) };
    for (size_t r = 0; r < 3; r++) {
        struct dlht_hashring *ring = new_ring(rows[r]);
        add_some(ring, 0, 30, 1);
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        for (size_t count = 0; count <= 1000; count += 1 + count / 5) {
            nodes[count] = 777;
            cr_assert_eq(dlht_hashring_find_all(view, keys, count, nodes),
                         count);
            cr_assert_eq(nodes[count], 777);
            for (size_t i = 0; i < count; i++)
                cr_assert_eq(nodes[i], find(view, i));
        }
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
}

/* The arcs of the written tokens add up to the ring, and to the shares. */
Test(hashring_public, what_is_written_adds_up)
{
    struct dlht_hashring *ring = new_ring((struct dlht_hashring_config){ 0 });
    uint64_t tokens[5 * 128];
    size_t owners[5 * 128];
    double shares[5] = { 0 };
    uint64_t sum = 0;
    size_t count = 0;
    size_t len;
    add_some(ring, 0, 5, 1);
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    char *text = text_of(view, true, &len);
    cr_expect_eq(len, strlen(text));
    char *at = strstr(text, "\"tokens\": [");
    while (at && (at = strstr(at, "[\"")) && count < 5 * 128) {
        tokens[count] = strtoull(at + 2, &at, 16);
        owners[count] = strtoul(at + 2, NULL, 10);
        cr_assert(owners[count] < 5);
        count++;
    }
    cr_assert_eq(count, 5 * 128);
    for (size_t i = 0; i < count; i++) {
        uint64_t arc = tokens[i] - tokens[i ? i - 1 : count - 1];
        cr_expect(i == 0 || tokens[i - 1] < tokens[i]);
        sum += arc;
        shares[owners[i]] += (double)arc * 0x1p-64;
    }
    cr_expect_eq(sum, 0, "2^64, that is");
    for (size_t i = 0; i < 5; i++) {
        struct dlht_hashring_node node;
        cr_assert(dlht_hashring_node(view, i, &node));
        cr_expect(shares[i] > node.share - 1e-9 &&
                  shares[i] < node.share + 1e-9);
    }
    free(text);
    dlht_hashring_view_free(view);
    dlht_hashring_free(ring);
}

Test(hashring_public, a_view_stays_as_it_is)
{
    struct dlht_hashring *ring = new_ring((struct dlht_hashring_config){ 0 });
    add_some(ring, 0, 5, 1);
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    uint64_t print = dlht_hashring_fingerprint(view);
    add_some(ring, 5, 40, 1);
    struct dlht_hashring_view *later = dlht_hashring_view(ring);
    cr_expect_neq(dlht_hashring_fingerprint(later), print);
    dlht_hashring_free(ring);
    cr_expect_eq(dlht_hashring_fingerprint(view), print);
    cr_expect_eq(dlht_hashring_node_count(view), 5);
    cr_expect_eq(dlht_hashring_node_count(later), 40);
    dlht_hashring_view_free(view);
    dlht_hashring_view_free(later);
}

/* --- written and read */

static const struct dlht_hashring_config written[] = {
    { 0 },
    { .vnodes = 5, .hash_seed = UINT64_MAX },
    { .chosen = true, .seed = 0x123456789abcdef0u },
    { .hash = DLHT_HASHRING_MD5, .vnodes = 3 },
    { .vnodes = 1, .probes = 21 },
    { .hash = DLHT_HASHRING_OWN,
      .own = own_hash,
      .context = &salt,
      .vnodes = 4 },
};

enum {
    WRITTEN = sizeof written / sizeof *written
};

static struct dlht_hashring *ring_to_write(size_t row)
{
    struct dlht_hashring *ring = new_ring(written[row]);
    add(ring, "plain", 1, "rack\"1\\");
    add(ring, "heavy", 1.0 / 3 + 1, "\x01\xff");
    add(ring, "l\xc3\xa9ger", 0.1, "");
    add(ring, "idle", 0, "");
    add(ring, "gone", 2.5, "");
    cr_assert_eq(dlht_hashring_remove(ring, "gone", 4), DLHT_OK);
    return ring;
}

Test(hashring_public, a_ring_that_was_written_is_read_and_goes_on_alike)
{
    for (size_t row = 0; row < WRITTEN; row++) {
        struct dlht_hashring *ring = ring_to_write(row);
        struct dlht_hashring *read;
        struct dlht_hashring_fault fault;
        struct dlht_hashring_view *a = dlht_hashring_view(ring);
        size_t len;
        char *text = text_of(a, true, &len);
        int rc = dlht_hashring_read(text, len, &written[row], &read, &fault);
        cr_assert_eq(rc, DLHT_OK, "row %zu: %d, %s at %zu", row, rc, fault.what,
                     fault.at);
        cr_expect_null(fault.what);
        /* What comes after is the same too. */
        for (size_t i = 0; i < 3; i++) {
            struct dlht_hashring_view *b = dlht_hashring_view(read);
            size_t len_b;
            char *text_b = text_of(b, true, &len_b);
            cr_expect_eq(dlht_hashring_fingerprint(a),
                         dlht_hashring_fingerprint(b));
            if (i == 0)
                cr_expect_str_eq(text, text_b);
            for (uint64_t k = 0; k < 500; k++)
                cr_assert_eq(find(a, k), find(b, k));
            free(text_b);
            dlht_hashring_view_free(b);
            dlht_hashring_view_free(a);
            for (size_t side = 0; side < 2; side++) {
                struct dlht_hashring *r = side ? read : ring;
                add_some(r, i, i + 1, 1);
                cr_assert_eq(
                    dlht_hashring_reweight(r, "heavy", 5, 0.7 + (double)i),
                    DLHT_OK);
            }
            a = dlht_hashring_view(ring);
        }
        free(text);
        dlht_hashring_view_free(a);
        dlht_hashring_free(read);
        dlht_hashring_free(ring);
    }
}

/* Any byte changed, left out, or cut at: refused and said where, or nothing of
 * the ring was in it. */
Test(hashring_public, damaged_rings_are_refused)
{
    size_t refused = 0;
    size_t same = 0;
    for (size_t row = 1; row < WRITTEN; row++) {
        struct dlht_hashring *ring = ring_to_write(row);
        struct dlht_hashring_view *view = dlht_hashring_view(ring);
        uint64_t print = dlht_hashring_fingerprint(view);
        size_t len;
        char *text = text_of(view, true, &len);
        char *copy = malloc(len + 1);
        for (size_t i = 0; i < 12 * len; i++) {
            static const char put[] = "\"0[,x \0\x80}{";
            size_t at = i / 12;
            size_t way = i % 12;
            size_t now = len;
            struct dlht_hashring_fault fault = { SIZE_MAX, NULL };
            struct dlht_hashring *read = ring;
            memcpy(copy, text, len);
            if (way == 10) {
                now = at;
            } else if (way == 11) {
                memmove(copy + at, copy + at + 1, len - at - 1);
                now = len - 1;
            } else {
                copy[at] = way == 9 ? (char)(copy[at] ^ 1) : put[way];
            }
            /* Bytes of its own: a read past them is seen. */
            char *exact = malloc(now ? now : 1);
            memcpy(exact, copy, now);
            int rc =
                dlht_hashring_read(exact, now, &written[row], &read, &fault);
            free(exact);
            if (rc == DLHT_OK) {
                struct dlht_hashring_view *v = dlht_hashring_view(read);
                cr_expect_eq(dlht_hashring_fingerprint(v), print,
                             "row %zu, way %zu, byte %zu", row, way, at);
                same++;
                dlht_hashring_view_free(v);
                dlht_hashring_free(read);
                continue;
            }
            refused++;
            cr_assert_null(read);
            /* An own hash that is no longer one needs no function. */
            cr_assert_eq(rc, DLHT_ECORRUPT, "row %zu, way %zu, byte %zu: %d",
                         row, way, at, rc);
            cr_assert(fault.what && fault.at <= now);
        }
        free(copy);
        free(text);
        dlht_hashring_view_free(view);
        dlht_hashring_free(ring);
    }
    printf("%zu refused, %zu the same ring\n", refused, same);
    cr_expect(refused > 20 * same);
}

static const struct refusal {
    const char *why;
    const char *from; /* in the text of a chosen ring, replaced by to */
    const char *to;
    const char *what; /* is said */
} refusals[] = {
    { "no object", "{\"hash\"", "[\"hash\"", "an object is meant" },
    { "another hash", "xxh3", "sha1", "no such hash" },
    { "twice", "\"probes\": 1", "\"vnodes\": 1", "was there already" },
    { "unknown", "\"probes\"", "\"prices\"", "no such field" },
    { "no vnodes", "\"vnodes\": 8", "\"vnodes\": 0", "at least 1" },
    { "too many", "\"vnodes\": 8", "\"vnodes\": 65537", "too large" },
    { "overflow", "\"seed\": 0", "\"seed\": 18446744073709551616",
      "too large" },
    { "below zero", "\"seed\": 0", "\"seed\": -1", "whole number" },
    { "a fraction", "\"seed\": 0", "\"seed\": 1.5", "a comma or the end" },
    { "leading zero", "\"seed\": 0", "\"seed\": 00", "whole number" },
    { "a weight too much", "\"weight\": 1,", "\"weight\": 1e9,",
      "an id or a weight" },
    { "no weight", "\"weight\": 1,", "\"weight\": nan,", "a number is meant" },
    { "another weight", "\"weight\": 1,", "\"weight\": 2,",
      "not as many tokens" },
    { "no name", "\"id\": \"a\"", "\"id\": \"\"", "an id or a weight" },
    { "same names", "\"id\": \"b\"", "\"id\": \"a\"", "not in order" },
    { "order of names", "\"id\": \"b\"", "\"id\": \"A\"", "not in order" },
    { "another name", "\"id\": \"b\"", "\"id\": \"c\"", "fingerprint" },
    { "another seed", "\"seed\": 0", "\"seed\": 1", "fingerprint" },
    { "tokens of nobody", ", 1, 0]", ", 2, 0]", "of no node" },
    { "a token twice", ", 1, 0]", ", 1, 1]", "twice" },
    { "a token too many", ", 1, 0]", ", 1, 9]", "of no node" },
    { "a token less", "\"tokens\": [[", "\"tokens\": [[\"0\", 0, 0], [",
      "a hexadecimal digit" },
    { "no tokens", "\"tokens\": [[", "\"tokens\": [] , \"x\": [[",
      "no such field" },
    { "more behind", "\"}", "\"} {}", "more than one object" },
};

Test(hashring_public, says_what_is_wrong_with_a_text)
{
    struct dlht_hashring *ring =
        new_ring((struct dlht_hashring_config){ .chosen = true });
    struct dlht_hashring *read;
    struct dlht_hashring_fault fault;
    size_t len;
    add(ring, "a", 1, "");
    add(ring, "b", 1, "");
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    char *text = text_of(view, true, &len);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        char *at = strstr(text, r->from);
        char other[4096];
        cr_assert(at, "%s", r->why);
        snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, r->to,
                 at + strlen(r->from));
        fault.what = NULL;
        cr_expect_eq(
            dlht_hashring_read(other, strlen(other), NULL, &read, &fault),
            DLHT_ECORRUPT, "%s", r->why);
        cr_expect(fault.what && strstr(fault.what, r->what), "%s: %s", r->why,
                  fault.what);
    }
    free(text);
    text = text_of(view, false, &len);
    cr_expect_eq(dlht_hashring_read(text, len, NULL, &read, &fault),
                 DLHT_ECORRUPT);
    cr_expect(strstr(fault.what, "none are written"));
    cr_expect_eq(dlht_hashring_read("", 0, NULL, &read, NULL), DLHT_ECORRUPT);
    cr_expect_eq(dlht_hashring_read(NULL, 0, NULL, &read, NULL), DLHT_ECORRUPT);
    free(text);
    dlht_hashring_view_free(view);
    dlht_hashring_free(ring);
}

Test(hashring_public, derived_tokens_need_not_be_written_and_own_hashes_must_be)
{
    struct dlht_hashring *ring = ring_to_write(1);
    struct dlht_hashring *own = ring_to_write(5);
    struct dlht_hashring *read;
    struct dlht_hashring_fault fault;
    struct dlht_hashring_config other = written[5];
    uint64_t pepper = 18;
    size_t len;
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    char *text = text_of(view, false, &len);
    cr_assert_eq(dlht_hashring_read(text, len, NULL, &read, NULL), DLHT_OK);
    struct dlht_hashring_view *again = dlht_hashring_view(read);
    cr_expect_eq(dlht_hashring_fingerprint(view),
                 dlht_hashring_fingerprint(again));
    free(text);
    dlht_hashring_view_free(view);
    dlht_hashring_view_free(again);
    dlht_hashring_free(read);
    view = dlht_hashring_view(own);
    text = text_of(view, true, &len);
    cr_expect_eq(dlht_hashring_read(text, len, NULL, &read, &fault),
                 DLHT_EINVAL);
    cr_expect_null(fault.what);
    other.context = &pepper;
    cr_expect_eq(dlht_hashring_read(text, len, &other, &read, &fault),
                 DLHT_ECORRUPT, "another function");
    cr_expect(strstr(fault.what, "not where the hash puts it"));
    free(text);
    dlht_hashring_view_free(view);
    dlht_hashring_free(own);
    dlht_hashring_free(ring);
}
