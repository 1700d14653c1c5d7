/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th allocation fails, for every n: all or nothing. The linker hands us
 * malloc and realloc (--wrap). */

#include <criterion/criterion.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "wire/codec.h"
#include "wire/rpc.h"
#include "wire/sample.h"

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

static long left = -1; /* allocations before the one that fails; -1: none */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

static struct sample_pool pool;

static bool pack_with(long n, const struct message *m)
{
    struct buf b = { 0 };
    buf_append(&b, "before", 6);
    left = n;
    int rc = codec_pack(m, &b);
    bool enough = left >= 0;
    left = -1;
    cr_assert_eq(rc, enough ? DLHT_OK : DLHT_ENOMEM, "type %d", m->type);
    if (!enough) {
        cr_assert(span_equal(buf_span(&b), span_str("before")));
        cr_assert_not(b.failed);
    }
    buf_deinit(&b);
    return enough;
}

static bool unpack_with(long n, const struct message *m, struct span frame)
{
    struct codec_arena arena = { 0 };
    static struct message got;
    left = n;
    int rc = codec_unpack(frame, &arena, &got);
    bool enough = left >= 0;
    left = -1;
    cr_assert_eq(rc, enough ? DLHT_OK : DLHT_ENOMEM, "type %d", m->type);
    cr_assert_eq(codec_unpack(frame, &arena, &got), DLHT_OK);
    cr_assert_null(sample_difference(m, &got));
    codec_arena_deinit(&arena);
    return enough;
}

Test(memory, lacking_leaves_frames_as_they_were)
{
    struct rng rng;
    struct buf b = { 0 };
    long most_pack = 0, most_unpack = 0;
    rng_init(&rng, 31);
    for (int i = 0; i < SAMPLE_TYPES * 50; i++) {
        struct message m;
        long n = 0;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)(1 + i % SAMPLE_TYPES), &m);
        while (!pack_with(n, &m))
            n++;
        most_pack = n > most_pack ? n : most_pack;
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        n = 0;
        while (!unpack_with(n, &m, buf_span(&b)))
            n++;
        most_unpack = n > most_unpack ? n : most_unpack;
    }
    /* Else the wraps do nothing. */
    cr_expect_gt(most_pack, 3);
    cr_expect_gt(most_unpack, 1);
    buf_deinit(&b);
}

Test(memory, lacking_is_said_of_rpc_too)
{
    static const uint8_t batch[] = "\x94\x00\x01\xa5"
                                   "batch\x91\x91\x92\xa1k\xa1v";
    static const struct response response = { .version = 3 };
    struct buf scratch = { 0 }, out = { 0 };
    struct rpc_call call;
    const char *text;
    struct span input = span_of(batch, sizeof batch - 1);
    left = 0;
    cr_expect_eq(rpc_unpack(input, &scratch, &call, &text), DLHT_ENOMEM);
    left = -1;
    cr_expect_eq(rpc_unpack(input, &scratch, &call, &text), DLHT_OK);
    left = 0;
    cr_expect_eq(rpc_pack_response(&call, &response, &out), DLHT_ENOMEM);
    cr_expect_eq(out.len, 0);
    cr_expect_not(out.failed);
    left = -1;
    cr_expect_eq(rpc_pack_response(&call, &response, &out), DLHT_OK);
    buf_deinit(&scratch);
    buf_deinit(&out);
}
