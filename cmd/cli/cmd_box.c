/* SPDX-License-Identifier: Apache-2.0 */

/* box: points of several dimensions, and boxes of them. The grid is made of
 * the options each time; the cluster knows keys only. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dlht/box.h"
#include "load.h"
#include "output.h"
#include "points.h"

enum {
    BOX_BITS = 32 /* unless --bits says else */
};

/* The numbers of --min or --max, one for each dimension or one for all. */
static int take_bounds(const struct cli *cli, const struct arguments *args,
                       const char *name, uint32_t dims, double *bounds)
{
    const struct option_value *value = options_get(args, name);
    const char *why;
    size_t count;

    if (!value->given)
        return CLI_DONE;
    if (!points_parse(word_bytes(&value->word), bounds, &count, &why))
        return cli_usage(cli, "--%s '%s': %s", name, value->word.data, why);
    for (; count == 1 && dims > 1; dims--)
        bounds[dims - 1] = bounds[0];
    if (count > 1 && count != dims)
        return cli_usage(cli,
                         "--%s '%s': %" PRIu32 " numbers are meant, one for "
                         "each dimension, or one for all",
                         name, value->word.data, dims);
    return CLI_DONE;
}

static int take_prefix(const struct cli *cli, const struct arguments *args,
                       struct dlht_box_grid *grid)
{
    const struct option_value *prefix = options_get(args, "key-prefix");

    if (!prefix->given)
        return CLI_DONE;
    if (prefix->word.len > DLHT_BOX_PREFIX_MAX)
        return cli_usage(cli, "--key-prefix is %zu bytes; at most %d are meant",
                         prefix->word.len, DLHT_BOX_PREFIX_MAX);
    memcpy(grid->prefix, prefix->word.data, prefix->word.len);
    grid->prefix_len = (uint32_t)prefix->word.len;
    return CLI_DONE;
}

static int grid_of_degrees(const struct cli *cli, const struct arguments *args,
                           struct dlht_box_grid *grid)
{
    if (options_has(args, "min") || options_has(args, "max"))
        return cli_usage(cli, "--latlon has its own bounds; leave --min and "
                              "--max out");
    if (options_number(args, "dims", 2) != 2)
        return cli_usage(cli, "--latlon has 2 dimensions; leave --dims out");
    (void)dlht_box_latlon(grid, NULL);
    grid->bits = (uint32_t)options_number(args, "bits", BOX_BITS);
    return CLI_DONE;
}

static int grid_of_numbers(const struct cli *cli, const struct arguments *args,
                           size_t count, struct dlht_box_grid *grid)
{
    uint32_t dims = (uint32_t)options_number(args, "dims", count);
    uint32_t bits = (uint32_t)options_number(args, "bits", BOX_BITS);
    int rc;

    if (options_has(args, "min") != options_has(args, "max"))
        return cli_usage(cli, "--min and --max go together");
    if (dlht_box_integers(grid, dims, bits, NULL) != DLHT_OK)
        return cli_usage(cli, "a point has 2 to 8 coordinates, as in 3,4");
    rc = take_bounds(cli, args, "min", dims, grid->min);
    if (rc == CLI_DONE)
        rc = take_bounds(cli, args, "max", dims, grid->max);
    if (rc == CLI_DONE && dlht_box_check(grid) != DLHT_OK)
        return cli_usage(cli, "--min must be below --max, and so far that "
                              "numbers between them tell 2^bits cells apart "
                              "(see --bits)");
    return rc;
}

/* The grid that the options describe, for points of count coordinates. */
static int take_grid(const struct cli *cli, const struct arguments *args,
                     size_t count, struct dlht_box_grid *grid)
{
    int rc = options_has(args, "latlon")
                 ? grid_of_degrees(cli, args, grid)
                 : grid_of_numbers(cli, args, count, grid);

    grid->curve =
        (enum dlht_box_curve)options_number(args, "curve", DLHT_BOX_HILBERT);
    return rc == CLI_DONE ? take_prefix(cli, args, grid) : rc;
}

/* The index-th argument as a point; the first makes the grid that all are of.
 */
static int take_point(const struct cli *cli, const struct arguments *args,
                      size_t index, struct dlht_box_grid *grid, double *point,
                      struct dlht_box_key *key)
{
    const struct word *word = &args->list[index];
    const char *why;
    size_t count;
    int rc = CLI_DONE;

    if (!points_parse(word_bytes(word), point, &count, &why))
        return cli_usage(cli, "'%s': %s", word->data, why);
    if (index == 0)
        rc = take_grid(cli, args, count, grid);
    if (rc == CLI_DONE && !points_fit(grid, point, count, key, &why))
        return cli_usage(cli, "'%s': %s", word->data, why);
    return rc;
}

int cmd_box_put(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_PUT);
    struct dlht_result result;
    struct dlht_box_grid grid;
    struct dlht_box_key key;
    double point[DLHT_BOX_DIMS_MAX];
    int rc = take_point(cli, args, 0, &grid, point, &key);

    if (rc == CLI_DONE)
        rc = cli_check_value(cli, args->list[1].len);
    if (rc != CLI_DONE)
        return rc;
    request.key = (struct dlht_bytes){ key.data, key.len };
    request.value = word_bytes(&args->list[1]);
    rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (!cli->set.json) {
        puts("OK");
        return CLI_DONE;
    }
    output_begin();
    output_flag("ok", true);
    output_u64("version", result.version);
    output_end();
    return CLI_DONE;
}

/* {"point": [1, 2], "value": "..."} */
static void print_json(const struct dlht_box_grid *grid, const double *point,
                       struct dlht_bytes value)
{
    output_begin();
    output_name("point");
    putchar('[');
    points_print(grid, point);
    putchar(']');
    output_bytes("value", value);
    output_end();
}

int cmd_box_get(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_GET);
    struct dlht_result result;
    struct dlht_box_grid grid;
    struct dlht_box_key key;
    double point[DLHT_BOX_DIMS_MAX];
    int rc = take_point(cli, args, 0, &grid, point, &key);

    if (rc != CLI_DONE)
        return rc;
    request.key = (struct dlht_bytes){ key.data, key.len };
    request.stale = options_has(args, "stale");
    rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        (void)dlht_box_point(&grid, key.data, key.len, point);
        print_json(&grid, point, result.value);
        return CLI_DONE;
    }
    output_raw(result.value);
    putchar('\n');
    return CLI_DONE;
}

int cmd_box_del(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_DEL);
    struct dlht_result result;
    struct dlht_box_grid grid;
    struct dlht_box_key key;
    double point[DLHT_BOX_DIMS_MAX];
    int rc = take_point(cli, args, 0, &grid, point, &key);

    if (rc != CLI_DONE)
        return rc;
    request.key = (struct dlht_bytes){ key.data, key.len };
    rc = cli_call(cli, &request, &result);
    if (rc != CLI_DONE)
        return rc;
    if (!cli->set.json) {
        puts("OK");
        return CLI_DONE;
    }
    output_begin();
    output_flag("ok", true);
    output_end();
    return CLI_DONE;
}

/* Where records of a box go. */
struct printer {
    const struct cli *cli;
    const struct dlht_box_grid *grid;
};

static bool print_record(void *context, const double *point,
                         const struct dlht_record *record)
{
    const struct printer *printer = context;

    if (printer->cli->set.json) {
        print_json(printer->grid, point, record->value);
    } else {
        points_print(printer->grid, point);
        putchar('\t');
        output_raw(record->value);
        putchar('\n');
    }
    return !ferror(stdout); /* said at the end, once */
}

static void print_count(const struct cli *cli, uint64_t count)
{
    if (!cli->set.json) {
        printf("%" PRIu64 "\n", count);
        return;
    }
    output_begin();
    output_u64("count", count);
    output_end();
}

static void print_stats(const struct dlht_box_stats *stats)
{
    fflush(stdout);
    fprintf(stderr,
            "ranges %zu, keys read %" PRIu64 ", keys kept %" PRIu64
            ", parts %" PRIu64 ", requests %" PRIu64 ", hops %" PRIu64
            ", cells covered per cell wanted %.3f\n",
            stats->cover.count, stats->read, stats->kept, stats->parts,
            stats->requests, stats->hops,
            stats->cover.covered / stats->cover.wanted);
}

/* FROM is below TO in each coordinate, save in a last one that is a circle. */
static int check_corners(const struct cli *cli,
                         const struct dlht_box_grid *grid, const double *from,
                         const double *to)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (from[i] > to[i] && !(grid->wraps && i == grid->dims - 1))
            return cli_usage(cli,
                             "coordinate %" PRIu32 " goes from %.12g down to "
                             "%.12g; FROM_POINT is the corner with the least "
                             "coordinates",
                             i + 1, from[i], to[i]);
    }
    return CLI_DONE;
}

int cmd_box_range(struct cli *cli, const struct arguments *args)
{
    double from[DLHT_BOX_DIMS_MAX] = { 0 }, to[DLHT_BOX_DIMS_MAX] = { 0 };
    struct dlht_options options = { .keyspace = cli->set.keyspace,
                                    .timeout_ms = cli->set.timeout_ms,
                                    .stale = options_has(args, "stale") };
    struct dlht_box_query query = { .from = from,
                                    .to = to,
                                    .range_max = (size_t)options_number(
                                        args, "ranges", 0),
                                    .limit = options_number(args, "limit", 0),
                                    .keys_only = options_has(args, "count") };
    struct dlht_box_grid grid = { 0 };
    struct printer printer = { cli, &grid };
    struct dlht_box_stats stats;
    struct dlht_box_key key;
    struct dlht *d = NULL;
    int rc = take_point(cli, args, 0, &grid, from, &key);

    if (rc == CLI_DONE)
        rc = take_point(cli, args, 1, &grid, to, &key);
    if (rc == CLI_DONE)
        rc = check_corners(cli, &grid, from, to);
    if (rc == CLI_DONE)
        rc = cli_open(cli, &d);
    if (rc != CLI_DONE)
        return rc;
    rc =
        dlht_box_query(d, &options, &grid, &query,
                       query.keys_only ? NULL : print_record, &printer, &stats);
    if (rc != DLHT_OK)
        return cli_fail(cli, rc, NULL);
    if (query.keys_only)
        print_count(cli, stats.kept);
    if (options_has(args, "stats"))
        print_stats(&stats);
    return CLI_DONE;
}

/* As many as --min names, if it names several. */
static size_t dims_of_bounds(const struct arguments *args)
{
    const struct option_value *min = options_get(args, "min");
    double numbers[DLHT_BOX_DIMS_MAX];
    const char *why;
    size_t count;

    if (!min->given ||
        !points_parse(word_bytes(&min->word), numbers, &count, &why) ||
        count < DLHT_BOX_DIMS_MIN)
        return DLHT_BOX_DIMS_MIN;
    return count;
}

int cmd_box_load(struct cli *cli, const struct arguments *args)
{
    struct dlht_box_grid grid;
    int rc = take_grid(cli, args, dims_of_bounds(args), &grid);

    return rc == CLI_DONE ? load_points(cli, &args->list[0], &grid) : rc;
}
