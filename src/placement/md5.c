/* SPDX-License-Identifier: Apache-2.0 */

/* MD5 of bytes in memory, as in RFC 1321, section 3. */

#include "placement/md5.h"

#include <string.h>

enum {
    BLOCK = 64,
    LEN_AT = 56 /* the last 8 bytes of the last block: length in bits */
};

/* floor(2^32 |sin(i + 1)|) */
static const uint32_t sines[BLOCK] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
    0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
    0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391
};

static const uint8_t turns[4][4] = {
    { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 }
};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void load_words(const uint8_t *bytes, uint32_t words[16])
{
    for (size_t i = 0; i < 16; i++)
        words[i] = (uint32_t)bytes[4 * i] | (uint32_t)bytes[4 * i + 1] << 8 |
                   (uint32_t)bytes[4 * i + 2] << 16 |
                   (uint32_t)bytes[4 * i + 3] << 24;
}

/* The function of step i, and which word it takes. */
static uint32_t function(const uint32_t s[4], size_t i, size_t *word)
{
    switch (i / 16) {
    case 0:
        *word = i;
        return (s[1] & s[2]) | (~s[1] & s[3]);
    case 1:
        *word = (5 * i + 1) % 16;
        return (s[3] & s[1]) | (~s[3] & s[2]);
    case 2:
        *word = (3 * i + 5) % 16;
        return s[1] ^ s[2] ^ s[3];
    default:
        *word = 7 * i % 16;
        return s[2] ^ (s[1] | ~s[3]);
    }
}

static void add_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t words[16];
    uint32_t s[4];
    load_words(block, words);
    memcpy(s, state, sizeof s);
    for (size_t i = 0; i < BLOCK; i++) {
        size_t word;
        uint32_t f = function(s, i, &word);
        f += s[0] + sines[i] + words[word];
        s[0] = s[3];
        s[3] = s[2];
        s[2] = s[1];
        s[1] += rotate(f, turns[i / 16][i % 4]);
    }
    for (size_t i = 0; i < 4; i++)
        state[i] += s[i];
}

void md5_digest(struct span bytes, uint8_t digest[MD5_SIZE])
{
    uint32_t state[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
    uint8_t tail[2 * BLOCK] = { 0 };
    size_t whole = bytes.len / BLOCK * BLOCK;
    size_t rest = bytes.len - whole;
    size_t blocks = rest < LEN_AT ? 1 : 2;
    uint64_t bits = (uint64_t)bytes.len * 8;
    for (size_t at = 0; at < whole; at += BLOCK)
        add_block(state, bytes.data + at);
    if (rest)
        memcpy(tail, bytes.data + whole, rest);
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        tail[blocks * BLOCK - 8 + i] = (uint8_t)(bits >> (8 * i));
    for (size_t i = 0; i < blocks; i++)
        add_block(state, tail + i * BLOCK);
    for (size_t i = 0; i < MD5_SIZE; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (8 * (i % 4)));
}

uint64_t md5_64(struct span bytes)
{
    uint8_t digest[MD5_SIZE];
    uint64_t hash = 0;
    md5_digest(bytes, digest);
    for (size_t i = 0; i < 8; i++)
        hash = hash << 8 | digest[i];
    return hash;
}
