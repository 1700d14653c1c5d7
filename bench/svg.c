/* SPDX-License-Identifier: Apache-2.0 */

/* A plain chart as an SVG file. */

#include "svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum {
    WIDTH = 760,
    HEIGHT = 440, /* of the whole picture, as a rule */
    TOP = 84,     /* title and legend are above */
    BOTTOM = 56,
    RIGHT = 36,
    CHAR_WIDTH = 7, /* about, of 12 px */
    LEGEND_GAP = 34
};

static const char *const colors[SVG_COLORS] = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a8a8a"
};

struct svg {
    FILE *file;
    struct svg_axis x, y;
    int height;
    double left;
    double legend_x, legend_y;
};

static double place(const struct svg_axis *axis, double value)
{
    if (!axis->log)
        return (value - axis->lo) / (axis->hi - axis->lo);
    return log(value / axis->lo) / log(axis->hi / axis->lo);
}

static double px(const struct svg *svg, double x)
{
    return svg->left + place(&svg->x, x) * (WIDTH - RIGHT - svg->left);
}

static double py(const struct svg *svg, double y)
{
    return svg->height - BOTTOM -
           place(&svg->y, y) * (svg->height - BOTTOM - TOP);
}

/* anchor: start, middle or end. */
static void text(struct svg *svg, double x, double y, const char *anchor,
                 const char *more, const char *what)
{
    fprintf(svg->file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x,
            y, anchor, more);
    for (; *what; what++) {
        if (*what == '<')
            fputs("&lt;", svg->file);
        else if (*what == '&')
            fputs("&amp;", svg->file);
        else
            fputc(*what, svg->file);
    }
    fputs("</text>\n", svg->file);
}

static const char *tick_name(const struct svg_axis *axis, size_t i,
                             char room[32])
{
    if (axis->names)
        return axis->names[i];
    snprintf(room, 32, "%g", axis->ticks[i]);
    return room;
}

static double left_of(const struct svg_axis *y)
{
    size_t longest = 0;
    for (size_t i = 0; i < y->tick_count; i++) {
        char room[32];
        size_t len = strlen(tick_name(y, i, room));
        longest = len > longest ? len : longest;
    }
    return 48 + (double)(longest * CHAR_WIDTH);
}

static void draw_axes(struct svg *svg)
{
    char room[32];
    for (size_t i = 0; i < svg->x.tick_count; i++) {
        double x = px(svg, svg->x.ticks[i]);
        fprintf(svg->file,
                "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" "
                "stroke=\"#e4e4e4\"/>\n",
                x, TOP, x, svg->height - BOTTOM);
        text(svg, x, svg->height - BOTTOM + 18, "middle", "",
             tick_name(&svg->x, i, room));
    }
    for (size_t i = 0; i < svg->y.tick_count; i++) {
        double y = py(svg, svg->y.ticks[i]);
        if (!svg->y.names)
            fprintf(svg->file,
                    "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" "
                    "stroke=\"#e4e4e4\"/>\n",
                    svg->left, y, WIDTH - RIGHT, y);
        text(svg, svg->left - 8, y + 4, "end", "", tick_name(&svg->y, i, room));
    }
    fprintf(svg->file,
            "<path d=\"M%.1f %d V%d H%d\" fill=\"none\" stroke=\"#333\"/>\n",
            svg->left, TOP, svg->height - BOTTOM, WIDTH - RIGHT);
    text(svg, (svg->left + WIDTH - RIGHT) / 2, svg->height - 14, "middle", "",
         svg->x.label);
    char turn[64];
    double middle = (TOP + svg->height - BOTTOM) / 2.0;
    snprintf(turn, sizeof turn, " transform=\"rotate(-90 18 %.1f)\"", middle);
    text(svg, 18, middle, "middle", turn, svg->y.label);
}

struct svg *svg_begin(const char *dir, const char *name, const char *title,
                      const struct svg_axis *x, const struct svg_axis *y)
{
    return svg_begin_high(dir, name, title, x, y, HEIGHT);
}

struct svg *svg_begin_high(const char *dir, const char *name, const char *title,
                           const struct svg_axis *x, const struct svg_axis *y,
                           int height)
{
    char path[1024];
    struct svg *svg = bench_memory(1, sizeof *svg);
    if (snprintf(path, sizeof path, "%s/%s.svg", dir, name) >= (int)sizeof path)
        bench_die("the folder's name is too long");
    svg->file = fopen(path, "w");
    if (!svg->file) {
        perror(path);
        bench_die("cannot write the picture");
    }
    svg->height = height;
    svg->x = *x;
    svg->y = *y;
    svg->left = left_of(y);
    svg->legend_x = svg->left;
    svg->legend_y = 54;
    fprintf(svg->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, height, WIDTH, height, WIDTH, height);
    text(svg, 20, 26, "start", " font-size=\"15\" font-weight=\"bold\"", title);
    draw_axes(svg);
    return svg;
}

void svg_line(struct svg *svg, enum svg_color color, enum svg_stroke stroke,
              const double *xs, const double *ys, size_t count)
{
    static const char *const strokes[] = {
        "stroke-width=\"1.8\"",
        "stroke-width=\"1.2\" stroke-dasharray=\"6 4\"",
        "stroke-width=\"6\" stroke-opacity=\"0.5\"",
    };
    fprintf(svg->file, "<polyline fill=\"none\" stroke=\"%s\" %s points=\"",
            colors[color], strokes[stroke]);
    for (size_t i = 0; i < count; i++)
        fprintf(svg->file, "%.1f,%.1f%c", px(svg, xs[i]), py(svg, ys[i]),
                i % 8 == 7 ? '\n' : ' ');
    fprintf(svg->file, "\"/>\n");
}

/* One path of strokes without length and with round ends: small files. */
void svg_dots(struct svg *svg, enum svg_color color, const double *xs,
              const double *ys, size_t count)
{
    fprintf(svg->file,
            "<path stroke=\"%s\" stroke-width=\"%d\" "
            "stroke-linecap=\"round\" d=\"",
            colors[color], count > 100 ? 3 : 6);
    for (size_t i = 0; i < count; i++)
        fprintf(svg->file, "M%.1f %.1fh0%c", px(svg, xs[i]), py(svg, ys[i]),
                i % 8 == 7 ? '\n' : ' ');
    fprintf(svg->file, "\"/>\n");
}

void svg_box(struct svg *svg, enum svg_color color, double x0, double y0,
             double x1, double y1, const char *what)
{
    double from = py(svg, y0), to = py(svg, y1);
    double top = from < to ? from : to;
    fprintf(svg->file,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
            "fill=\"%s\"/>\n",
            px(svg, x0), top, px(svg, x1) - px(svg, x0), fabs(from - to),
            colors[color]);
    if (what)
        text(svg, px(svg, x1) + 4, (from + to) / 2 + 4, "start",
             " font-size=\"11\"", what);
}

void svg_legend(struct svg *svg, enum svg_color color, const char *name)
{
    double width = (double)strlen(name) * CHAR_WIDTH;
    if (svg->legend_x + width + LEGEND_GAP > WIDTH - RIGHT) {
        svg->legend_x = svg->left;
        svg->legend_y += 18;
    }
    fprintf(svg->file,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" "
            "fill=\"%s\"/>\n",
            svg->legend_x, svg->legend_y - 6, colors[color]);
    text(svg, svg->legend_x + 19, svg->legend_y, "start", "", name);
    svg->legend_x += width + LEGEND_GAP;
}

void svg_end(struct svg *svg)
{
    fputs("</svg>\n", svg->file);
    bool failed = ferror(svg->file) != 0;
    if (fclose(svg->file) != 0 || failed)
        bench_die("a picture could not be written");
    free(svg);
}
