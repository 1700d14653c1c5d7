/* SPDX-License-Identifier: Apache-2.0 */

/* The text of a hash ring, as a stranger wrote it. What is read must hold what
 * it says, and say the same again.
 *
 * A text may rightly ask for a ring of many tokens, which takes memory and
 * time (docs/hashring.md); such texts are not tried: a ring of a weight or of
 * vnodes of more than four digits, say. */

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "dlht/hashring.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "placement/hashring.h"

/* An upper bound of the tokens: each node has at most weight times vnodes of
 * them, and numbers may be anywhere. */
static bool asks_for_much(struct span text)
{
    double most = 1, nodes = 0;
    for (size_t i = 0; i < text.len; i++) {
        nodes += text.data[i] == '{';
        if (!isdigit(text.data[i]) || (i > 0 && isdigit(text.data[i - 1])))
            continue;
        char number[32] = { 0 };
        memcpy(number, text.data + i,
               text.len - i < sizeof number - 1 ? text.len - i
                                                : sizeof number - 1);
        double n = strtod(number, NULL);
        if (n > most && n <= 65536)
            most = n;
    }
    return most * nodes > 2000;
}

static uint64_t own(void *context, const void *data, size_t len)
{
    (void)context;
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = (sum + ((const uint8_t *)data)[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return sum;
}

static void ask(struct dlht_hashring_view *view, struct span keys)
{
    uint32_t nodes[DLHT_HASHRING_REPLICAS_MAX];
    size_t n = dlht_hashring_replicas(view, keys.data, keys.len / 2,
                                      DLHT_HASHRING_REPLICAS_MAX, nodes);
    size_t first = dlht_hashring_find(view, keys.data, keys.len / 2);
    assert((n == 0) == (first == SIZE_MAX));
    assert(n == 0 || nodes[0] == first);
    double shares = 0;
    struct dlht_hashring_node node;
    for (size_t i = 0; dlht_hashring_node(view, i, &node); i++)
        shares += node.share;
    assert(n == 0 || (shares > 0.999 && shares < 1.001));
    struct dlht_hashring_plan *plan;
    int rc = dlht_hashring_plan(view, view, 2, &plan);
    assert(rc == DLHT_OK);
    assert(dlht_hashring_plan_total(plan).moved == 0);
    dlht_hashring_plan_free(plan);
}

static void again(struct dlht_hashring_view *view,
                  const struct dlht_hashring_config *config)
{
    char *text;
    size_t len;
    struct dlht_hashring *copy;
    struct dlht_hashring_fault fault;
    int rc = dlht_hashring_json(view, true, &text, &len);
    assert(rc == DLHT_OK);
    rc = dlht_hashring_read(text, len, config, &copy, &fault);
    assert(rc == DLHT_OK);
    struct dlht_hashring_view *its = dlht_hashring_view(copy);
    assert(dlht_hashring_fingerprint(its) == dlht_hashring_fingerprint(view));
    dlht_hashring_view_free(its);
    dlht_hashring_free(copy);
    free(text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dlht_hashring_config config = { .hash = DLHT_HASHRING_OWN,
                                           .own = own };
    struct dlht_hashring_fault fault;
    struct dlht_hashring *ring;
    if (asks_for_much(span_of(data, size)))
        return 0;
    int rc =
        dlht_hashring_read((const char *)data, size, &config, &ring, &fault);
    if (rc != DLHT_OK) {
        assert(rc == DLHT_ECORRUPT && !ring);
        assert(fault.what && fault.at <= size);
        return 0;
    }
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    hashring_check((const struct hashring *)(const void *)view);
    ask(view, span_of(data, size));
    again(view, &config);
    dlht_hashring_view_free(view);
    dlht_hashring_free(ring);
    return 0;
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    struct dlht_hashring_config config = {
        .hash = (enum dlht_hashring_hash)rng_below(rng, 3),
        .own = own,
        .vnodes = (uint32_t)rng_range(rng, 1, 6),
        .probes = rng_chance(rng, 0.3) ? (uint32_t)rng_range(rng, 1, 5) : 0,
        .chosen = rng_chance(rng, 0.3),
        .seed = rng_next(rng),
    };
    if (config.hash == DLHT_HASHRING_XXH3)
        config.hash_seed = rng_below(rng, 3);
    struct dlht_hashring *ring;
    int rc = dlht_hashring_new(&config, &ring);
    assert(rc == DLHT_OK);
    for (uint64_t n = rng_below(rng, 5), i = 0; i < n; i++) {
        char id[8];
        int len = snprintf(id, sizeof id, "n%c%c", 'a' + (int)i,
                           (int)rng_below(rng, 256));
        (void)!dlht_hashring_add(ring, id, (size_t)len,
                                 (double)rng_below(rng, 30) / 10, "z",
                                 (size_t)rng_below(rng, 2));
    }
    struct dlht_hashring_view *view = dlht_hashring_view(ring);
    char *text;
    size_t len;
    rc = dlht_hashring_json(view, config.chosen || rng_chance(rng, 0.5), &text,
                            &len);
    assert(rc == DLHT_OK);
    buf_append(out, text, len);
    free(text);
    dlht_hashring_view_free(view);
    dlht_hashring_free(ring);
    for (uint64_t n = rng_below(rng, 3); n > 0; n--)
        out->data[rng_below(rng, out->len)] =
            (uint8_t) "{}[]\",:0\\x"[rng_below(rng, 10)];
    assert(!out->failed);
}
