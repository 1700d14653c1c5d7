/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/lines.h - the lines of a file, of which the first may be read twice.
 *
 * Between lines_begin and lines_again, what is read can be had again: a file
 * that seeks is read anew, of a pipe the lines are held in memory until they
 * are read the second time. */

#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct lines {
    FILE *file; /* borrowed */
    char *line; /* owned: what getline fills */
    size_t cap;
    bool seeks;
    bool holding;
    bool failed; /* no memory: the lines from there on are lost */
    off_t from;  /* where it began, if it seeks */
    char *held;  /* owned: lines with their newlines */
    size_t held_len;
    size_t held_cap;
    size_t held_at; /* read again up to there */
};

/* Begins to read file where it stands; lines can be had again. */
void lines_begin(struct lines *lines, FILE *file);
void lines_deinit(struct lines *lines);

/* The next line without its newline, the caller's to spoil until the next
 * call. False: there is none, or it failed. */
bool lines_next(struct lines *lines, char **line, size_t *len);

/* Back to the beginning, once; lines_next goes on from there to the end of the
 * file. False: the file cannot be read again. */
bool lines_again(struct lines *lines);

/* Whether a first reading must be bounded, and how much it holds. */
bool lines_must_hold(const struct lines *lines);
size_t lines_held_bytes(const struct lines *lines);

#endif
