/* SPDX-License-Identifier: Apache-2.0 */

/* MessagePack by hand against msgpack-c. */

#include "wire/mp.h"

#include <criterion/criterion.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Random documents by msgpack-c, all forms. */
static void oracle_write(struct rng *rng, msgpack_packer *pk, int depth)
{
    static const uint64_t edges[] = { 0,         127,        128,
                                      255,       256,        65535,
                                      65536,     UINT32_MAX, 1ull << 32,
                                      INT64_MAX, 1ull << 63, UINT64_MAX };
    static char bytes[70000];
    static const size_t lens[] = { 0, 1, 31, 32, 255, 256, 65535, 65536 };
    size_t len = rng_chance(rng, 0.02) ? lens[rng_below(rng, 8)]
                                       : lens[rng_below(rng, 5)];
    uint64_t edge = edges[rng_below(rng, 12)];
    size_t count = rng_chance(rng, 0.05) ? 20 : rng_below(rng, 4);
    switch (rng_below(rng, depth > 4 ? 8 : 11)) {
    case 0:
        msgpack_pack_nil(pk);
        break;
    case 1:
        rng_chance(rng, 0.5) ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
        break;
    case 2:
        msgpack_pack_uint64(pk, edge);
        break;
    case 3:
        msgpack_pack_int64(pk, (int64_t)(0 - (edge >> 1)) - 1);
        break;
    case 4:
        if (rng_chance(rng, 0.5))
            msgpack_pack_float(pk, (float)rng_real(rng));
        else
            msgpack_pack_double(pk, rng_chance(rng, 0.2) ? NAN : rng_real(rng));
        break;
    case 5:
        msgpack_pack_str_with_body(pk, bytes, len);
        break;
    case 6:
        msgpack_pack_bin_with_body(pk, bytes, len);
        break;
    case 7:
        len = len ? len : 4;
        msgpack_pack_ext_with_body(pk, bytes, len, 5);
        break;
    case 8:
    case 9:
        msgpack_pack_array(pk, count);
        for (size_t i = 0; i < count; i++)
            oracle_write(rng, pk, depth + 1);
        break;
    default:
        msgpack_pack_map(pk, count);
        for (size_t i = 0; i < 2 * count; i++)
            oracle_write(rng, pk, depth + 1);
    }
}

/* Reads what msgpack-c read, and says whether it is the same. */
static bool same_as(struct mp_reader *r, const msgpack_object *o)
{
    struct span bytes;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        mp_read_nil(r);
        return !r->bad;
    case MSGPACK_OBJECT_BOOLEAN:
        return mp_read_bool(r) == o->via.boolean && !r->bad;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return mp_peek(r) == MP_INT && mp_read_uint(r) == o->via.u64 && !r->bad;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return mp_peek(r) == MP_INT && mp_read_int(r) == o->via.i64 && !r->bad;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: {
        if (mp_peek(r) != MP_FLOAT)
            return false;
        double x = mp_read_float(r);
        return !r->bad && (x == o->via.f64 || (isnan(x) && isnan(o->via.f64)));
    }
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN: /* one layout in the union */
        bytes = mp_read_bytes(r);
        return !r->bad &&
               span_equal(bytes, span_of(o->via.bin.ptr, o->via.bin.size));
    case MSGPACK_OBJECT_EXT:
        if (mp_peek(r) != MP_EXT)
            return false;
        mp_skip(r);
        return !r->bad;
    case MSGPACK_OBJECT_ARRAY:
        if (mp_read_array(r) != o->via.array.size || r->bad)
            return false;
        for (uint32_t i = 0; i < o->via.array.size; i++)
            if (!same_as(r, &o->via.array.ptr[i]))
                return false;
        return true;
    case MSGPACK_OBJECT_MAP:
        if (mp_read_map(r) != o->via.map.size || r->bad)
            return false;
        for (uint32_t i = 0; i < o->via.map.size; i++)
            if (!same_as(r, &o->via.map.ptr[i].key) ||
                !same_as(r, &o->via.map.ptr[i].val))
                return false;
        return true;
    default:
        return false;
    }
}

/* Writes what msgpack-c read. */
static void write_back(struct buf *b, const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        mp_write_nil(b);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        mp_write_bool(b, o->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        mp_write_uint(b, o->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        mp_write_int(b, o->via.i64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        mp_write_float(b, o->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        mp_write_str(b, span_of(o->via.str.ptr, o->via.str.size));
        break;
    case MSGPACK_OBJECT_BIN:
        mp_write_bin(b, span_of(o->via.bin.ptr, o->via.bin.size));
        break;
    case MSGPACK_OBJECT_ARRAY:
        mp_write_array(b, o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            write_back(b, &o->via.array.ptr[i]);
        break;
    case MSGPACK_OBJECT_MAP:
        mp_write_map(b, o->via.map.size);
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            write_back(b, &o->via.map.ptr[i].key);
            write_back(b, &o->via.map.ptr[i].val);
        }
        break;
    case MSGPACK_OBJECT_EXT:
    default:
        mp_write_nil(b); /* we write none */
    }
}

static bool oracle_equal(const msgpack_object *a, const msgpack_object *b)
{
    if (a->type == MSGPACK_OBJECT_EXT)
        return b->type == MSGPACK_OBJECT_NIL;
    if (a->type == MSGPACK_OBJECT_FLOAT32 || a->type == MSGPACK_OBJECT_FLOAT64)
        return b->type == MSGPACK_OBJECT_FLOAT64 &&
               (a->via.f64 == b->via.f64 ||
                (isnan(a->via.f64) && isnan(b->via.f64)));
    if (a->type != b->type)
        return false;
    if (a->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < a->via.array.size; i++)
            if (!oracle_equal(&a->via.array.ptr[i], &b->via.array.ptr[i]))
                return false;
        return a->via.array.size == b->via.array.size;
    }
    if (a->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < a->via.map.size; i++)
            if (!oracle_equal(&a->via.map.ptr[i].key, &b->via.map.ptr[i].key) ||
                !oracle_equal(&a->via.map.ptr[i].val, &b->via.map.ptr[i].val))
                return false;
        return a->via.map.size == b->via.map.size;
    }
    return msgpack_object_equal(*a, *b);
}

Test(mp, reads_and_writes_what_msgpack_c_does)
{
    const uint64_t seed = 77;
    struct rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < 5000; i++) {
        msgpack_sbuffer sb;
        msgpack_packer pk;
        msgpack_unpacked first, again;
        msgpack_sbuffer_init(&sb);
        msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
        oracle_write(&rng, &pk, 0);
        msgpack_unpacked_init(&first);
        msgpack_unpacked_init(&again);
        cr_assert_eq(msgpack_unpack_next(&first, sb.data, sb.size, NULL),
                     MSGPACK_UNPACK_SUCCESS);

        struct span document = span_of(sb.data, sb.size);
        size_t len;
        struct mp_reader r;
        cr_assert_eq(mp_whole(document, sb.size, &len), 1);
        cr_assert_eq(len, sb.size);
        mp_reader_init(&r, document);
        cr_assert(same_as(&r, &first.data), "seed %lu round %d", seed, i);
        cr_assert(mp_at_end(&r));

        struct buf b = { 0 };
        write_back(&b, &first.data);
        cr_assert_not(b.failed);
        cr_assert_eq(msgpack_unpack_next(&again, (char *)b.data, b.len, NULL),
                     MSGPACK_UNPACK_SUCCESS);
        cr_assert(oracle_equal(&first.data, &again.data), "seed %lu round %d",
                  seed, i);
        buf_deinit(&b);
        msgpack_unpacked_destroy(&first);
        msgpack_unpacked_destroy(&again);
        msgpack_sbuffer_destroy(&sb);
    }
}

Test(mp, writes_the_shortest_form_as_msgpack_c_does)
{
    struct rng rng;
    rng_init(&rng, 12);
    msgpack_sbuffer sb;
    msgpack_packer pk;
    msgpack_sbuffer_init(&sb);
    msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
    struct buf b = { 0 };
    for (int i = 0; i < 20000; i++) {
        uint64_t x = rng_next(&rng) >> rng_below(&rng, 64);
        int64_t y = (int64_t)(rng_next(&rng) >> rng_below(&rng, 64));
        buf_reset(&b);
        msgpack_sbuffer_clear(&sb);
        mp_write_uint(&b, x);
        mp_write_int(&b, y);
        mp_write_int(&b, -y);
        mp_write_float(&b, (double)y);
        mp_write_array(&b, x % 70000);
        mp_write_map(&b, x % 70000);
        mp_write_bin_header(&b, x % 70000);
        msgpack_pack_uint64(&pk, x);
        msgpack_pack_int64(&pk, y);
        msgpack_pack_int64(&pk, -y);
        msgpack_pack_double(&pk, (double)y);
        msgpack_pack_array(&pk, x % 70000);
        msgpack_pack_map(&pk, x % 70000);
        msgpack_pack_bin(&pk, x % 70000);
        cr_assert_eq(b.len, sb.size, "%lu %ld", x, y);
        cr_assert_eq(memcmp(b.data, sb.data, b.len), 0, "%lu %ld", x, y);
    }
    buf_deinit(&b);
    msgpack_sbuffer_destroy(&sb);
}

/* One small document a time, alone on the heap so that ASan sees a step past
 * its end. Small forms: lengths up to 300. */
Test(mp, never_passes_the_end_of_a_document_cut_at_any_byte)
{
    struct rng rng;
    rng_init(&rng, 9);
    size_t done = 0;
    while (done < 400) {
        msgpack_sbuffer sb;
        msgpack_packer pk;
        msgpack_sbuffer_init(&sb);
        msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
        oracle_write(&rng, &pk, 0);
        for (size_t cut = 0; sb.size < 2000 && cut < sb.size; cut++) {
            uint8_t *alone = malloc(cut ? cut : 1);
            memcpy(alone, sb.data, cut);
            size_t len;
            struct mp_reader r;
            mp_reader_init(&r, span_of(alone, cut));
            cr_assert_eq(mp_whole(span_of(alone, cut), 2000, &len), 0);
            cr_assert(len > cut && len <= sb.size, "%zu of %zu, said %zu", cut,
                      sb.size, len);
            mp_skip(&r);
            cr_assert(r.bad && mp_at_end(&r));
            cr_assert_eq(mp_read_uint(&r), 0);
            cr_assert_eq(mp_read_bytes(&r).len, 0);
            cr_assert_eq(mp_read_array(&r), 0);
            cr_assert_eq(mp_peek(&r), MP_NONE);
            free(alone);
        }
        done += sb.size < 2000;
        msgpack_sbuffer_destroy(&sb);
    }
}

Test(mp, every_reader_survives_random_bytes)
{
    struct rng rng;
    rng_init(&rng, 10);
    for (int i = 0; i < 100000; i++) {
        size_t n = rng_below(&rng, 40);
        uint8_t *alone = malloc(n ? n : 1);
        for (size_t k = 0; k < n; k++)
            alone[k] = (uint8_t)rng_next(&rng);
        struct mp_reader r;
        mp_reader_init(&r, span_of(alone, n));
        while (!mp_at_end(&r)) {
            const uint8_t *from = r.at;
            uint8_t fixed[4];
            struct span s = span_empty();
            switch (rng_below(&rng, 11)) {
            case 0:
                (void)mp_read_uint(&r);
                break;
            case 1:
                (void)mp_read_int(&r);
                break;
            case 2:
                (void)mp_read_bool(&r);
                break;
            case 3:
                (void)mp_read_float(&r);
                break;
            case 4:
                mp_read_nil(&r);
                break;
            case 5:
                s = mp_read_bytes(&r);
                break;
            case 6:
                mp_read_fixed(&r, fixed, 4);
                break;
            case 7:
                cr_assert_leq(mp_read_array(&r), n);
                break;
            case 8:
                cr_assert_leq(2 * mp_read_map(&r), n);
                break;
            case 9:
                mp_skip(&r);
                break;
            default:
                s = mp_read_raw(&r);
                break;
            }
            cr_assert(r.at > from && r.at <= r.end);
            cr_assert(s.len == 0 ||
                      (s.data >= alone && s.data + s.len <= alone + n));
            (void)mp_peek(&r);
        }
        free(alone);
    }
}

Test(mp, whole_says_yes_not_yet_or_never)
{
    static const struct {
        const char *bytes;
        size_t n;
        size_t max;
        int rc;
        size_t len;
        const char *why;
    } table[] = {
        { "", 0, 10, 0, 1, "nothing yet" },
        { "", 0, 0, -1, 0, "nothing fits" },
        { "\x05", 1, 10, 1, 1, "a number" },
        { "\x05\x06", 2, 10, 1, 1, "a number and more" },
        { "\xc1", 1, 10, -1, 0, "no such form" },
        { "\x92\x01", 2, 10, 0, 3, "half an array" },
        { "\x92\x01\xc1", 3, 10, -1, 0, "no such form inside" },
        { "\xdd\xff\xff\xff\xff", 5, 1000, -1, 0, "claims 4 billion" },
        { "\xdf\x80\x00\x00\x00", 5, SIZE_MAX, 0, 5 + (1ull << 32),
          "pairs count twice" },
        { "\xc6\x00\x00\x00\xff", 5, 259, -1, 0, "one too long" },
        { "\xc6\x00\x00\x00\xff", 5, 260, 0, 260, "just fits" },
        { "\xc6\x00\x00", 3, 100, 0, 5, "half a length" },
        { "\xd8\x00", 2, 100, 0, 18, "an ext of 16" },
        { "\xc7\x00\x05", 3, 100, 1, 3, "an ext of nothing" },
        { "\x80", 1, 1, 1, 1, "an empty map" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t len = 99;
        cr_expect_eq(
            mp_whole(span_of(table[i].bytes, table[i].n), table[i].max, &len),
            table[i].rc, "%s", table[i].why);
        if (table[i].rc >= 0)
            cr_expect_eq(len, table[i].len, "%s: %zu", table[i].why, len);
    }
}

Test(mp, goes_sixteen_deep_and_no_deeper)
{
    uint8_t bomb[100000];
    size_t len;
    memset(bomb, 0x91, sizeof bomb);
    cr_expect_eq(mp_whole(span_of(bomb, sizeof bomb), SIZE_MAX, &len), -1);
    bomb[16] = 0x05;
    cr_expect_eq(mp_whole(span_of(bomb, 17), 17, &len), 1);
    bomb[16] = 0x90;
    cr_expect_eq(mp_whole(span_of(bomb, 17), 17, &len), -1);
    memset(bomb, 0x81, sizeof bomb); /* maps whose keys are maps */
    cr_expect_eq(mp_whole(span_of(bomb, sizeof bomb), SIZE_MAX, &len), -1);
    /* Many children side by side are not deep. */
    memcpy(bomb, "\xdc\xff\xff", 3);
    memset(bomb + 3, 0x90, 65535);
    cr_expect_eq(mp_whole(span_of(bomb, 65538), 65538, &len), 1);
}

Test(mp, goes_on_with_a_value_that_arrives_in_pieces)
{
    struct rng rng;
    rng_init(&rng, 13);
    for (int i = 0; i < 2000; i++) {
        msgpack_sbuffer sb;
        msgpack_packer pk;
        msgpack_sbuffer_init(&sb);
        msgpack_packer_init(&pk, &sb, msgpack_sbuffer_write);
        oracle_write(&rng, &pk, 0);
        struct mp_scan scan = { 0 };
        size_t have = 0, len = 0;
        int rc = 0;
        while (rc == 0) {
            rc = mp_scan_more(&scan, span_of(sb.data, have), sb.size, &len);
            cr_assert_geq(rc, 0);
            if (rc == 0)
                cr_assert(len > have && len <= sb.size);
            have += 1 + rng_below(&rng, 30);
            have = have < sb.size ? have : sb.size;
        }
        cr_assert_eq(len, sb.size);
        msgpack_sbuffer_destroy(&sb);
    }
}

Test(mp, reads_integers_of_any_width_that_fit)
{
    static const struct {
        const char *bytes;
        size_t n;
        bool is_uint;
        bool is_int;
        int64_t value;
    } table[] = {
        { "\x7f", 1, true, true, 127 },
        { "\xff", 1, false, true, -1 },
        { "\xe0", 1, false, true, -32 },
        { "\xcc\x01", 2, true, true, 1 },
        { "\xd0\x01", 2, true, true, 1 },
        { "\xd0\x80", 2, false, true, -128 },
        { "\xd1\x80\x00", 3, false, true, -32768 },
        { "\xd2\x80\x00\x00\x00", 5, false, true, INT32_MIN },
        { "\xd3\x00\x00\x00\x00\x00\x00\x00\x07", 9, true, true, 7 },
        { "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, false, true, INT64_MIN },
        { "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, true, true, INT64_MAX },
        { "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9, true, false, INT64_MIN },
        { "\xc0", 1, false, false, 0 },
        { "\xca\x00\x00\x00\x00", 5, false, false, 0 },
        { "\xcd\x01", 2, false, false, 0 },
        { "", 0, false, false, 0 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct mp_reader r;
        mp_reader_init(&r, span_of(table[i].bytes, table[i].n));
        uint64_t u = mp_read_uint(&r);
        cr_expect_eq(!r.bad, table[i].is_uint, "row %zu", i);
        cr_expect_eq(u, table[i].is_uint ? (uint64_t)table[i].value : 0);
        mp_reader_init(&r, span_of(table[i].bytes, table[i].n));
        int64_t n = mp_read_int(&r);
        cr_expect_eq(!r.bad, table[i].is_int, "row %zu", i);
        cr_expect_eq(n, table[i].is_int ? table[i].value : 0, "row %zu", i);
    }
}

Test(mp, a_float_may_be_an_integer)
{
    struct mp_reader r;
    mp_reader_init(&r, span_of("\xd0\x80\x07\xca\x3f\xc0\x00\x00\xc3", 9));
    cr_expect_eq(mp_read_float(&r), -128.0);
    cr_expect_eq(mp_read_float(&r), 7.0);
    cr_expect_eq(mp_read_float(&r), 1.5);
    cr_expect_eq(mp_read_float(&r), 0.0);
    cr_expect(r.bad);
}
