/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench bars: a picture of ratios, drawn for scripts/bench. Each line of
 * the input is a ratio, the one that was aimed at (0: none), and a name, with
 * tabs between. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "load.h"
#include "svg.h"

enum {
    BARS_MAX = 60,
    NAME_MAX = 96,
    MARGINS = 160,
    BAR_HEIGHT = 20
};

struct bar {
    double ratio, aim;
    char name[NAME_MAX];
    char text[32];
};

static size_t read_bars(struct bar *bars)
{
    char line[256];
    size_t count = 0;
    while (count < BARS_MAX && fgets(line, sizeof line, stdin)) {
        struct bar *bar = &bars[count];
        int used = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%lf\t%lf\t%n", &bar->ratio, &bar->aim, &used) < 2 ||
            used == 0 || !(bar->ratio > 0))
            bench_die("a line that is not RATIO, AIM and NAME");
        snprintf(bar->name, sizeof bar->name, "%.*s", (int)NAME_MAX - 1,
                 line + used);
        snprintf(bar->text, sizeof bar->text, "%.2f", bar->ratio);
        count++;
    }
    return count;
}

static void draw(const char *dir, const char *name, const char *title,
                 struct bar *bars, size_t count)
{
    static const double marks[] = { 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100 };
    double ticks[BARS_MAX], hi = 2, lo = 0.5;
    const char *names[BARS_MAX];
    for (size_t i = 0; i < count; i++) {
        ticks[i] = (double)(count - i);
        names[i] = bars[i].name;
        double most = fmax(bars[i].ratio, bars[i].aim);
        double least = bars[i].ratio;
        hi = fmax(hi, most * 1.5);
        lo = fmin(lo, least * 0.8);
    }
    size_t from = 0, to = sizeof marks / sizeof marks[0];
    while (from < to && marks[from] < lo)
        from++;
    while (to > from && marks[to - 1] > hi)
        to--;
    const struct svg_axis x = { .label = "times the peer's figure",
                                .lo = lo,
                                .hi = hi,
                                .log = true,
                                .tick_count = to - from,
                                .ticks = marks + from };
    const struct svg_axis y = { .label = "",
                                .lo = 0.4,
                                .hi = (double)count + 0.6,
                                .tick_count = count,
                                .ticks = ticks,
                                .names = names };
    struct svg *svg = svg_begin_high(dir, name, title, &x, &y,
                                     MARGINS + BAR_HEIGHT * (int)count);
    for (size_t i = 0; i < count; i++) {
        double at = ticks[i];
        svg_box(svg, SVG_BLUE, lo, at - 0.3, bars[i].ratio, at + 0.3,
                bars[i].text);
        if (bars[i].aim > 0) {
            const double xs[] = { bars[i].aim, bars[i].aim };
            const double ys[] = { at - 0.45, at + 0.45 };
            svg_line(svg, SVG_ORANGE, SVG_SOLID, xs, ys, 2);
        }
    }
    const double xs[] = { 1, 1 }, ys[] = { 0.4, (double)count + 0.6 };
    svg_line(svg, SVG_GREY, SVG_DASHED, xs, ys, 2);
    svg_legend(svg, SVG_BLUE, "measured");
    svg_legend(svg, SVG_ORANGE, "aimed at");
    svg_end(svg);
}

int bench_bars(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: dlht-bench bars DIR NAME TITLE <LINES\n");
        return 2;
    }
    struct bar *bars = bench_memory(BARS_MAX, sizeof *bars);
    size_t count = read_bars(bars);
    if (count > 0)
        draw(argv[1], argv[2], argv[3], bars, count);
    free(bars);
    return 0;
}
