/* SPDX-License-Identifier: Apache-2.0 */

/* Peers that say anything to peers: a stranger, or one of the cluster that has
 * gone wrong.
 *
 * The first byte of an input chooses the cluster; then steps follow: the body
 * of a message of some type; what was heard on some link of late, said again
 * with numbers, strings and counts changed, by the same or by another; a put;
 * a time to wait. A lying member may well spoil what the cluster keeps (Raft
 * trusts members): what is asked here is that no node falls over it. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "fuzz/fuzz_world.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/sample.h"

enum {
    STEPS_MAX = 40,
    PLACES_MAX = 512,
    CHANGES_MAX = 4
};

/* A value of a body: one header and what belongs to it. */
struct place {
    size_t at, head, len; /* len: bytes of a str or bin behind the head */
    bool is_number, is_bytes;
    uint64_t number;
};

static uint64_t big_endian(const uint8_t *at, size_t len)
{
    uint64_t n = 0;
    while (len-- > 0)
        n = n << 8 | *at++;
    return n;
}

/* False: it does not go on in a way that is known here. */
static bool place_of(struct span body, size_t at, struct place *p)
{
    uint8_t tag = body.data[at];
    size_t room = body.len - at;
    *p = (struct place){ .at = at, .head = 1 };
    if (tag < 0x80) {
        p->is_number = true;
        p->number = tag;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        p->head = 1 + ((size_t)1 << (tag - 0xcc));
        p->is_number = true;
    } else if (tag >= 0xd0 && tag <= 0xd3) {
        p->head = 1 + ((size_t)1 << (tag - 0xd0));
        p->is_number = true;
    } else if (tag == 0xc4 || tag == 0xd9) {
        p->head = 2;
        p->is_bytes = true;
    } else if (tag == 0xc5 || tag == 0xda || tag == 0xdc) {
        p->head = 3;
        p->is_bytes = tag != 0xdc;
    } else if ((tag & 0xe0) == 0xa0) {
        p->is_bytes = true;
        p->len = tag & 0x1f;
    } else if (tag == 0xcb) {
        p->head = 9;
    }
    if (p->head > room)
        return false;
    if (p->head > 1 && p->is_number)
        p->number = big_endian(body.data + at + 1, p->head - 1);
    if (p->head > 1 && p->is_bytes)
        p->len = (size_t)big_endian(body.data + at + 1, p->head - 1);
    return p->len <= room - p->head;
}

static size_t places_of(struct span body, struct place *places)
{
    size_t count = 0, at = 0;
    while (at < body.len && count < PLACES_MAX &&
           place_of(body, at, &places[count])) {
        at += places[count].head + places[count].len;
        count++;
    }
    return count;
}

static void change_one(struct fuzz_in *in, struct span body, struct buf *out)
{
    static struct place places[PLACES_MAX];
    size_t count = places_of(body, places);
    if (count == 0)
        return;
    const struct place *p = &places[fuzz_below(in, count)];
    struct span whole = span_of(body.data + p->at, p->head + p->len);
    buf_append(out, body.data, p->at);
    if (p->is_number) {
        mp_write_uint(out, fuzz_number(in, p->number));
    } else if (p->is_bytes && fuzz_byte(in) < 128) {
        struct span s = fuzz_span(in, 300);
        mp_write_bin(out, s);
    } else if (p->is_bytes && p->len > 0) {
        size_t at = out->len + p->head + fuzz_below(in, p->len);
        buf_append_span(out, whole);
        out->data[at] ^= fuzz_byte(in);
    } else { /* an array's head, a flag: another tag */
        buf_append_byte(out, (uint8_t)(*whole.data + fuzz_byte(in) % 5 - 2));
        buf_append_span(out, span_tail(whole, 1));
    }
    buf_append_span(out, span_tail(body, p->at + p->head + p->len));
}

static void say_again(struct fuzz_world *fw, struct fuzz_in *in)
{
    size_t known =
        fw->heard_count < FUZZ_HEARD_MAX ? fw->heard_count : FUZZ_HEARD_MAX;
    size_t back = fuzz_below(in, known);
    if (known == 0)
        return;
    const struct fuzz_heard *heard =
        &fw->heard[(fw->heard_count - 1 - back) % FUZZ_HEARD_MAX];
    uint8_t how = fuzz_byte(in);
    size_t from = heard->from, to = heard->to;
    if (how & 1)
        from = fuzz_below(in, fw->peer_count + 2);
    if (how & 2)
        to = fuzz_below(in, fw->peer_count);
    struct buf body = { 0 }, next = { 0 }, frame = { 0 };
    buf_append_span(&body, span_tail(span_of(heard->frame, heard->len),
                                     FRAME_HEADER_BYTES));
    for (int n = how >> 2 & (CHANGES_MAX - 1); n >= 0; n--) {
        buf_reset(&next);
        change_one(in, buf_span(&body), &next);
        if (next.len > 0) {
            struct buf other = body;
            body = next;
            next = other;
        }
    }
    fuzz_frame(heard->frame[2], buf_span(&body), &frame);
    fuzz_world_say(fw, from, to, buf_span(&frame));
    buf_deinit(&frame);
    buf_deinit(&body);
    buf_deinit(&next);
}

static void say_body(struct fuzz_world *fw, struct fuzz_in *in)
{
    struct buf frame = { 0 };
    size_t from = fuzz_below(in, fw->peer_count + 2);
    size_t to = fuzz_below(in, fw->peer_count);
    uint8_t type = (uint8_t)(1 + fuzz_below(in, SAMPLE_TYPES));
    fuzz_frame(type, fuzz_span(in, 4000), &frame);
    fuzz_world_say(fw, from, to, buf_span(&frame));
    buf_deinit(&frame);
}

/* Well formed in itself, and of nothing that is there. */
static void say_sample(struct fuzz_world *fw, struct fuzz_in *in)
{
    static struct sample_pool pool;
    static struct message message;
    struct buf frame = { 0 };
    struct rng rng;
    size_t from = fuzz_below(in, fw->peer_count + 2);
    size_t to = fuzz_below(in, fw->peer_count);
    uint8_t type = (uint8_t)(2 + fuzz_below(in, SAMPLE_TYPES - 1));
    rng_init(&rng, fuzz_bytes(in, 2));
    pool.used = 0;
    sample_message(&rng, &pool, type, &message);
    int rc = codec_pack(&message, &frame);
    assert(rc == DLHT_OK);
    fuzz_world_say(fw, from, to, buf_span(&frame));
    buf_deinit(&frame);
}

static void put(struct fuzz_world *fw, struct fuzz_in *in)
{
    struct request request = { .op = OP_PUT };
    uint8_t key = (uint8_t)('a' + fuzz_byte(in) % 26);
    request.key = span_of(&key, 1);
    request.value = fuzz_span(in, 300);
    request.timeout_ms = 500;
    fuzz_world_ask(fw, fuzz_below(in, fw->peer_count), &request);
}

static void step(struct fuzz_world *fw, struct fuzz_in *in)
{
    uint8_t what = fuzz_byte(in);
    switch (what & 7) {
    case 0:
        fuzz_world_run_ms(fw, (uint64_t)1 << (what >> 4 & 7));
        break;
    case 1:
        say_body(fw, in);
        break;
    case 2:
        say_sample(fw, in);
        break;
    case 3:
        put(fw, in);
        break;
    default:
        say_again(fw, in);
    }
    if (what & 8)
        fuzz_world_run_ms(fw, 2);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_world fw;
    struct fuzz_in in = { span_of(data, size) };
    uint8_t kind = fuzz_byte(&in);
    fuzz_world_init(&fw, kind & 1 ? 1 : 3, kind & 2, 1);
    fuzz_world_fill(&fw, 4);
    for (int i = 0; i < STEPS_MAX && !fuzz_is_over(&in); i++)
        step(&fw, &in);
    fuzz_world_run_ms(&fw, 1000);
    fuzz_world_deinit(&fw);
    return 0;
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    buf_append_byte(out, (uint8_t)rng_below(rng, 4));
    for (uint64_t n = rng_range(rng, 1, 16); n > 0; n--)
        for (uint64_t k = rng_range(rng, 4, 12); k > 0; k--)
            buf_append_byte(out, (uint8_t)rng_next(rng));
    assert(!out->failed);
}
