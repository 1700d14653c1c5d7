/* SPDX-License-Identifier: Apache-2.0 */

/* Kinds of faults by name. */

#include <stdio.h>
#include <string.h>

#include "sim/fault.h"

static const char *const NAMES[FAULT_KINDS] = {
    "kill",  "power",   "blackout",  "cut",       "one-way",    "isolate",
    "clog",  "break",   "pause",     "slow-disk", "sync-fails", "lose-disk",
    "stop",  "flicker", "full-disk", "rot",       "misdirect",  "clock",
    "drift", "join",    "leave",     "train",     "balance",    "split",
    "merge", "move",    "loss",      "duplicate", "reorder",
};

const char *fault_name(uint32_t kind)
{
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (kind == (uint32_t)1 << i)
            return NAMES[i];
    return "?";
}

static uint32_t find_kind(const char *text, size_t len)
{
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (strlen(NAMES[i]) == len && memcmp(NAMES[i], text, len) == 0)
            return (uint32_t)1 << i;
    return 0;
}

bool fault_parse(const char *text, uint32_t *kinds)
{
    *kinds = strcmp(text, "all") == 0 ? (uint32_t)FAULT_ALL : 0;
    if (*kinds || strcmp(text, "none") == 0)
        return true;
    for (;;) {
        size_t len = strcspn(text, ",");
        uint32_t kind = find_kind(text, len);
        if (!kind)
            return false;
        *kinds |= kind;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

void fault_say(uint32_t kinds, char *text, size_t size)
{
    size_t at = 0;
    snprintf(text, size, "none");
    for (size_t i = 0; i < FAULT_KINDS && at < size; i++) {
        if (!(kinds >> i & 1))
            continue;
        int n = snprintf(text + at, size - at, "%s%s", at ? "," : "", NAMES[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}
