/* SPDX-License-Identifier: Apache-2.0 */

/* training/sample.h - a uniform sample of a stream of keys of unknown length:
 * the reservoir of Li's Algorithm L (1994), which skips ahead instead of
 * drawing at every key.
 *
 * Deletions spoil a sample: they are counted, and past a fifth of it the
 * sample calls itself spoiled and should be begun anew. */

#ifndef TRAINING_SAMPLE_H
#define TRAINING_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

enum {
    SAMPLE_KEYS_DEFAULT = 10000
};

struct sample;

MUST_USE int sample_new(size_t keys_max, uint64_t seed, struct sample **out);
void sample_free(struct sample *sample); /* NULL is allowed */
void sample_reset(struct sample *sample, uint64_t seed);

/* One more key of the stream; mostly one subtraction. DLHT_ENOMEM: it was
 * counted but not taken. */
MUST_USE int sample_add(struct sample *sample, struct span key);

/* A key of the stream is no more. */
void sample_note_removed(struct sample *sample);

uint64_t sample_seen(const struct sample *sample);
size_t sample_count(const struct sample *sample);
bool sample_is_spoiled(const struct sample *sample);

/* The sample in ascending order, with repeats; good until the next call. NULL
 * only if empty or out of memory. */
const struct span *sample_sorted(struct sample *sample, size_t *count);

#endif
