/* SPDX-License-Identifier: Apache-2.0 */

/* bench/svg.h - a plain chart as an SVG file: two axes, lines, bars, a legend.
 *
 * Everything is given in the numbers of the axes. Lines leave the field where
 * their points do; nothing is cut. A file that cannot be written ends the
 * program. */

#ifndef BENCH_SVG_H
#define BENCH_SVG_H

#include <stdbool.h>
#include <stddef.h>

struct svg;

enum svg_color {
    SVG_BLUE,
    SVG_ORANGE,
    SVG_GREEN,
    SVG_PINK,
    SVG_SKY,
    SVG_GREY,
    SVG_COLORS
};

enum svg_stroke {
    SVG_SOLID,
    SVG_DASHED,
    SVG_BROAD /* to lie under another line */
};

struct svg_axis {
    const char *label; /* with its unit */
    double lo, hi;
    bool log; /* lo above 0 */
    size_t tick_count;
    const double *ticks;
    const char *const *names; /* of the ticks; NULL: their numbers */
};

/* DIR/NAME.svg. */
struct svg *svg_begin(const char *dir, const char *name, const char *title,
                      const struct svg_axis *x, const struct svg_axis *y);
/* The same, so many pixels high. */
struct svg *svg_begin_high(const char *dir, const char *name, const char *title,
                           const struct svg_axis *x, const struct svg_axis *y,
                           int height);

void svg_line(struct svg *svg, enum svg_color color, enum svg_stroke stroke,
              const double *xs, const double *ys, size_t count);
void svg_dots(struct svg *svg, enum svg_color color, const double *xs,
              const double *ys, size_t count);

/* A filled box between two corners, with a text to its right (NULL: none). */
void svg_box(struct svg *svg, enum svg_color color, double x0, double y0,
             double x1, double y1, const char *text);

/* The next entry of the legend, below the title. */
void svg_legend(struct svg *svg, enum svg_color color, const char *name);

void svg_end(struct svg *svg);

#endif
