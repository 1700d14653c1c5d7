/* SPDX-License-Identifier: Apache-2.0 */

/* Base64 there and back. */

#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Behind the digits, what stands for none. */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/=";

char *base64_encode(const void *data, size_t len)
{
    const uint8_t *in = data;
    char *text = malloc((len + 2) / 3 * 4 + 1);
    char *out = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16;
        if (i + 1 < len)
            three |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < len)
            three |= in[i + 2];
        *out++ = digits[three >> 18];
        *out++ = digits[(three >> 12) & 63];
        *out++ = digits[i + 1 < len ? (three >> 6) & 63 : 64];
        *out++ = digits[i + 2 < len ? three & 63 : 64];
    }
    *out = 0;
    return text;
}

/* -1: no digit. */
static int digit_value(char c)
{
    const char *at = memchr(digits, c, 64);
    return at ? (int)(at - digits) : -1;
}

bool base64_decode(char *data, size_t *len)
{
    size_t n = *len;
    size_t used = 0;
    uint32_t bits = 0;

    if (n % 4 != 0)
        return false;
    for (int pad = 0; pad < 2 && n && data[n - 1] == '='; pad++)
        n--;
    for (size_t i = 0; i < n; i++) {
        int value = digit_value(data[i]);
        if (value < 0)
            return false;
        bits = (bits << 6) | (uint32_t)value;
        if (i % 4 == 1)
            data[used++] = (char)(bits >> 4);
        else if (i % 4 == 2)
            data[used++] = (char)(bits >> 2);
        else if (i % 4 == 3)
            data[used++] = (char)bits;
    }
    *len = used;
    return true;
}
