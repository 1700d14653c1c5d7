/* SPDX-License-Identifier: Apache-2.0 */

/* What a federated round costs and how near the truth its model is, beside two
 * others: coefficients averaged by weight, as LEAD's federated model does, and
 * straight lines between concatenated quantiles. All three see the same arcs,
 * after the keys grew by 30 % in one region since the model before.
 *
 *   bench_training [--arcs N] [--keys N] [--leaves N] [--seed N] [--json]
 *
 * Words are those of /usr/share/dict/words; the others are made. Bytes are of
 * the numbers and keys themselves (tests/training/federation.h), without
 * frames. Times are of the processor, of one run. */

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dlht/err.h"
#include "rmi/key_sets.h"
#include "training/federation.h"

struct options {
    size_t arcs, keys;
    uint32_t leaves;
    uint64_t seed;
    bool json;
};

static struct options options = { 300, 1000000, 1024, 20261121, false };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_training: %s\n", what);
    exit(1);
}

static double ks_of(const struct model *model, const struct key_set *set)
{
    struct model_stats stats;
    model_measure(model, set->keys, set->count, &stats);
    if (stats.inversions > 0)
        die("a model that is not monotone");
    return stats.ks;
}

/* Figures of one set of keys. */
struct figures {
    const char *name;
    size_t keys;
    double ks_before, ks_at_once, ks_exact, ks_skeleton, ks_averaged;
    double ks_quantiles[2], bytes_quantiles[2];
    double mean_error[2], mean_bound[2]; /* of pass 1 alone, of a round */
    double apart;
    double bytes[3], bytes_all, bytes_most;
    double ns_a_key, fit_ms;
};

static const size_t quantile_counts[2] = { 16, 64 };

static void measure_quantiles(const struct federation *f,
                              const struct key_set *set, struct figures *out)
{
    struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    for (int i = 0; i < 2; i++) {
        struct model *model = federation_concatenate(f, quantile_counts[i]);
        out->ks_quantiles[i] = ks_of(model, set);
        model_free(model);
        for (size_t a = 0; a < f->arc_count; a++) {
            struct report report =
                federation_report(f, a, quantile_counts[i], quantiles);
            out->bytes_quantiles[i] +=
                (double)federation_report_size(&report) / (double)f->arc_count;
        }
    }
}

static void measure_rounds(const struct federation *f,
                           const struct key_set *set, const struct model *old,
                           struct figures *out)
{
    struct federation_plan plan = federation_plan_default();
    plan.config.leaf_count = options.leaves;
    plan.previous = old;
    struct federation_result exact = federation_run(f, &plan, cpu_seconds);
    out->ks_exact = ks_of(exact.model, set);
    out->ks_skeleton = ks_of(exact.skeleton, set);
    const struct model *models[2] = { exact.skeleton, exact.model };
    for (int i = 0; i < 2; i++) {
        struct model_stats stats;
        model_measure(models[i], set->keys, set->count, &stats);
        out->mean_error[i] = stats.mean_error;
        out->mean_bound[i] = stats.mean_bound;
    }
    out->apart = federation_apart(f, exact.model, exact.at_once);
    for (int i = 0; i < 3; i++) {
        out->bytes[i] = exact.bytes[i] / (double)f->arc_count;
        out->bytes_all += out->bytes[i];
    }
    out->bytes_most = exact.most;
    out->ns_a_key = exact.sum_seconds * 1e9 / (double)f->count;
    out->fit_ms = exact.fit_seconds * 1e3;
    federation_result_deinit(&exact);
    struct model *averaged = federation_average(f, old);
    out->ks_averaged = ks_of(averaged, set);
    model_free(averaged);
}

static struct figures measure(const struct key_set *set, const char *name)
{
    struct figures out = { .name = name, .keys = set->count };
    struct rng rng;
    rng_init(&rng, options.seed);
    struct federation f =
        federation_cut(set->keys, set->count, options.arcs, true, &rng);
    struct fit_config config = fit_config_default();
    config.leaf_count = options.leaves;
    size_t count;
    struct span *before = federation_before(&f, &rng, &count);
    struct model *old;
    struct model *at_once = NULL;
    if (fit_keys(before, count, &config, &old) != DLHT_OK ||
        fit_keys(set->keys, set->count, &config, &at_once) != DLHT_OK)
        die("no model");
    out.ks_before = ks_of(old, set);
    out.ks_at_once = ks_of(at_once, set);
    measure_rounds(&f, set, old, &out);
    measure_quantiles(&f, set, &out);
    model_free(at_once);
    model_free(old);
    free(before);
    federation_deinit(&f);
    return out;
}

static void print_json(const struct figures *r)
{
    printf("{\"bench\": \"training\", \"keys\": \"%s\", \"key_count\": %zu, "
           "\"arcs\": %zu, \"leaves\": %u, \"seed\": %llu, "
           "\"ks_before\": %.6f, \"ks_at_once\": %.6f, \"ks_exact\": %.6f, "
           "\"ks_skeleton\": %.6f, "
           "\"ks_fedavg\": %.6f, \"ks_quantiles_16\": %.6f, "
           "\"ks_quantiles_64\": %.6f, \"mean_error_skeleton\": %.3g, "
           "\"mean_error_exact\": %.3g, \"mean_bound_skeleton\": %.3g, "
           "\"mean_bound_exact\": %.3g, \"apart_ranks\": %.3g, "
           "\"bytes_report\": %.1f, \"bytes_slice\": %.1f, "
           "\"bytes_sums\": %.1f, \"bytes_arc\": %.1f, \"bytes_most\": %.0f, "
           "\"bytes_quantiles_16\": %.1f, \"bytes_quantiles_64\": %.1f, "
           "\"sum_ns_key\": %.1f, \"fit_ms\": %.2f}\n",
           r->name, r->keys, options.arcs, (unsigned)options.leaves,
           (unsigned long long)options.seed, r->ks_before, r->ks_at_once,
           r->ks_exact, r->ks_skeleton, r->ks_averaged, r->ks_quantiles[0],
           r->ks_quantiles[1], r->mean_error[0], r->mean_error[1],
           r->mean_bound[0], r->mean_bound[1], r->apart, r->bytes[0],
           r->bytes[1], r->bytes[2], r->bytes_all, r->bytes_most,
           r->bytes_quantiles[0], r->bytes_quantiles[1], r->ns_a_key,
           r->fit_ms);
}

static void print_text(const struct figures *r)
{
    printf("%s: %zu keys in %zu arcs, %u leaves, seed %llu\n", r->name, r->keys,
           options.arcs, (unsigned)options.leaves,
           (unsigned long long)options.seed);
    printf("  KS        the model before        %.5f\n", r->ks_before);
    printf("            all keys at once        %.5f\n", r->ks_at_once);
    printf("            a round                 %.5f  (apart from one look, "
           "same knots: %.1e ranks)\n",
           r->ks_exact, r->apart);
    printf("            pass 1 of it alone      %.5f\n", r->ks_skeleton);
    printf("            averaged coefficients   %.5f\n", r->ks_averaged);
    for (int i = 0; i < 2; i++)
        printf("            %zu quantiles an arc     %.5f\n",
               quantile_counts[i], r->ks_quantiles[i]);
    printf("  mean      error of pass 1 %.6f, of a round %.6f; sure bound "
           "%.6f, %.6f\n",
           r->mean_error[0], r->mean_error[1], r->mean_bound[0],
           r->mean_bound[1]);
    printf("  bytes     an arc %.0f (report %.0f, slice %.0f, sums %.0f), at "
           "most %.0f; with 16, 64 quantiles %.0f, %.0f\n",
           r->bytes_all, r->bytes[0], r->bytes[1], r->bytes[2], r->bytes_most,
           r->bytes_quantiles[0], r->bytes_quantiles[1]);
    printf("  time      pass 2 %.1f ns a key; both fits %.2f ms\n", r->ns_a_key,
           r->fit_ms);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || end == text || n == 0 || n > 1000000000)
        die("a number from 1 to 1,000,000,000 was expected");
    return n;
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        { "arcs", required_argument, NULL, 'a' },
        { "keys", required_argument, NULL, 'k' },
        { "leaves", required_argument, NULL, 'l' },
        { "seed", required_argument, NULL, 's' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 'a')
            options.arcs = (size_t)number(optarg);
        else if (c == 'k')
            options.keys = (size_t)number(optarg);
        else if (c == 'l')
            options.leaves = (uint32_t)number(optarg);
        else if (c == 's')
            options.seed = number(optarg);
        else if (c == 'j')
            options.json = true;
        else
            die("usage: bench_training [--arcs N] [--keys N] [--leaves N] "
                "[--seed N] [--json]");
    }
}

int main(int argc, char **argv)
{
    static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_LOGNORMAL };
    read_options(argc, argv);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct key_set set =
            key_set_make(shapes[i], options.keys, options.seed);
        if (set.count > options.arcs * 2) {
            struct figures figures = measure(&set, key_shape_names[shapes[i]]);
            if (options.json)
                print_json(&figures);
            else
                print_text(&figures);
        }
        key_set_free(&set);
    }
    return 0;
}
