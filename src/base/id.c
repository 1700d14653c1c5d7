/* SPDX-License-Identifier: Apache-2.0 */

/* Ids: random, compared as bytes. */

#include "base/id.h"

#include <string.h>

#include "base/hash.h"

struct id id_random(struct rng *rng)
{
    struct id id;
    do {
        for (int i = 0; i < ID_BYTES; i += 8) {
            uint64_t x = rng_next(rng);
            memcpy(id.bytes + i, &x, 8);
        }
    } while (id_is_zero(&id));
    return id;
}

bool id_is_zero(const struct id *id)
{
    static const struct id zero;
    return id_equal(id, &zero);
}

bool id_equal(const struct id *a, const struct id *b)
{
    return memcmp(a->bytes, b->bytes, ID_BYTES) == 0;
}

int id_compare(const struct id *a, const struct id *b)
{
    return memcmp(a->bytes, b->bytes, ID_BYTES);
}

uint64_t id_hash(const struct id *id)
{
    return hash64(span_of(id->bytes, ID_BYTES));
}

void id_to_text(const struct id *id, char text[ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < ID_BYTES; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[ID_TEXT_BYTES - 1] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool id_from_text(const char *text, struct id *id)
{
    struct id read;
    if (strlen(text) != ID_TEXT_BYTES - 1)
        return false;
    for (size_t i = 0; i < ID_BYTES; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        read.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *id = read;
    return true;
}
