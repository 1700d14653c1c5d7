/* SPDX-License-Identifier: Apache-2.0 */

/* MessagePack-RPC: calls as any language would send them, and what they get. */

#include "wire/rpc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "wire/cas_item.h"
#include "wire/codec.h"
#include "wire/mp.h"

/* A string literal with its true length, NULs included. */
#define LIT(s)                                                                 \
    {                                                                          \
        (const uint8_t *)(s), sizeof(s) - 1                                    \
    }

static int print_span(char *to, size_t cap, const char *name, struct span s)
{
    return s.len ? snprintf(to, cap, " %s=%.*s", name, (int)s.len,
                            (const char *)s.data)
                 : 0;
}

static int print_number(char *to, size_t cap, const char *name, uint64_t n)
{
    return n ? snprintf(to, cap, " %s=%llu", name, (unsigned long long)n) : 0;
}

/* What is not default, as text. */
static void describe(const struct rpc_call *call, char *to, size_t cap)
{
    const struct request *q = &call->request;
    char *end = to + cap;
    char *at = to + snprintf(to, cap, "%s%u op=%d",
                             call->wants_answer ? "" : "~", call->id, q->op);
    at += print_number(at, (size_t)(end - at), "flags", q->flags);
    at += print_number(at, (size_t)(end - at), "keyspace", q->keyspace);
    at += print_span(at, (size_t)(end - at), "name", q->keyspace_name);
    at += print_span(at, (size_t)(end - at), "key", q->key);
    at += print_span(at, (size_t)(end - at), "end", q->end);
    if (q->op < OP_LOOKUP)
        at += print_span(at, (size_t)(end - at), "value", q->value);
    else
        at += print_number(at, (size_t)(end - at), "document", q->value.len);
    at += print_number(at, (size_t)(end - at), "version", q->version);
    at += print_number(at, (size_t)(end - at), "limit", q->limit);
    at += print_number(at, (size_t)(end - at), "session", q->session.bytes[15]);
    at += print_number(at, (size_t)(end - at), "number", q->number);
    at += print_number(at, (size_t)(end - at), "lowest", q->lowest_open);
    at += print_number(at, (size_t)(end - at), "timeout", q->timeout_ms);
    at += print_number(at, (size_t)(end - at), "ttl", q->ttl_ms);
    struct mp_reader r;
    mp_reader_init(&r, q->list);
    for (uint32_t i = 0; i < q->list_count; i++)
        at += print_span(at, (size_t)(end - at), "item", mp_read_bytes(&r));
    cr_assert(!r.bad && mp_at_end(&r));
}

static const struct {
    struct span call;
    const char *meant;
} calls[] = {
    { LIT("\x94\x00\x07\xa3get\x91\xa1k"), "7 op=3 key=k" },
    { LIT("\x94\x00\x07\xa3get\x91\xc4\x01k"), "7 op=3 key=k" },
    { LIT("\x94\x00\xce\xff\xff\xff\xff\xa3get\x91\xa1k"),
      "4294967295 op=3 key=k" },
    { LIT("\x94\x00\x01\xa3get\x92\xa1k\x82\xa5stale\xc3\xa6strict\xc2"),
      "1 op=3 flags=8 key=k" },
    { LIT("\x94\x00\x01\xa3get\x92\xa1k\x82\xa8keyspace\xa2ks\xa6strict\xc3"),
      "1 op=3 flags=16 name=ks key=k" },
    { LIT("\x94\x00\x01\xa3get\x92\xa1k\x81\xa8keyspace\x05"),
      "1 op=3 keyspace=5 key=k" },
    { LIT("\x94\x00\x01\xa3put\x92\xa1k\xa2vv"), "1 op=2 key=k value=vv" },
    { LIT("\x94\x00\x01\xa9"
          "cache_set\x93\xa1k\xa2vv\x82\xa6ttl_ms\x05"
          "\xa5token\x07"),
      "1 op=2 flags=2048 key=k value=vv version=7 ttl=5" },
    { LIT("\x94\x00\x01\xa9"
          "cache_set\x93\xa1k\xa2vv\x81\xa7"
          "cost_us\xce\xff\xff\xff\xff"),
      "1 op=2 key=k value=vv limit=4294967295" },
    { LIT("\x94\x00\x01\xa9"
          "cache_get\x92\xa1k\x81\xa4peek\xc3"),
      "1 op=3 flags=1024 key=k" },
    { LIT("\x94\x00\x01\xab"
          "cache_touch\x92\xa1k\x09"),
      "1 op=36 key=k ttl=9" },
    { LIT("\x94\x00\x01\xab"
          "cache_flush\x90"),
      "1 op=37" },
    { LIT("\x94\x00\x01\xab"
          "cache_stats\x90"),
      "1 op=38" },
    { LIT("\x94\x00\x01\xab"
          "cache_lease\x91\xa1k"),
      "1 op=39 key=k" },
    { LIT("\x93\x02\xa3put\x92\xa1k\xa2vv"), "~0 op=2 key=k value=vv" },
    { LIT("\x94\x00\x01\xa3put\x93\xa1k\xa0\x82\xa3"
          "all\xc3\xaatimeout_ms\xcd\x03\xe8"),
      "1 op=2 flags=32 key=k timeout=1000" },
    { LIT("\x94\x00\x01\xa3put\x93\xa1k\xa1v\x83\xa7session\xc4\x10"
          "0123456789abcde\x07\xa6number\x09\xablowest_open\x08"),
      "1 op=2 key=k value=v session=7 number=9 lowest=8" },
    { LIT("\x94\x00\x01\xa3"
          "del\x91\xa1k"),
      "1 op=4 key=k" },
    { LIT("\x94\x00\x01\xa3"
          "cas\x93\xa1k\x2a\xa1v"),
      "1 op=5 key=k value=v version=42" },
    { LIT("\x94\x00\x01\xa4mget\x91\x92\xa1x\xc4\x01y"),
      "1 op=6 item=x item=y" },
    { LIT("\x94\x00\x01\xa4mget\x91\x90"), "1 op=6" },
    { LIT("\x94\x00\x01\xa5"
          "batch\x91\x92\x92\xa1x\xa1"
          "1\x92\xa1y\xa1"
          "2"),
      "1 op=7 item=x item=1 item=y item=2" },
    { LIT("\x94\x00\x01\xa5"
          "batch\x92\x82\xa1x\xa1"
          "1\xa1y\xa1"
          "2\x81\xa3"
          "all\xc3"),
      "1 op=7 flags=32 item=x item=1 item=y item=2" },
    { LIT("\x94\x00\x01\xa9"
          "cas_batch\x91\x91\x93\xa1k\xc0\xa1v"),
      "1 op=29 item=k item=v" },
    { LIT("\x94\x00\x01\xa9"
          "cas_batch\x92\x91\x93\xa1k\xc0\xc0\x81\xa3"
          "all\xc3"),
      "1 op=29 flags=32 item=k item=\x01" },
    { LIT("\x94\x00\x01\xa9"
          "cas_batch\x91\x90"),
      "1 op=29" },
    { LIT("\x94\x00\x01\xa5range\x90"), "1 op=8" },
    { LIT("\x94\x00\x01\xa5range\x92\xa1"
          "a\xa1"
          "b"),
      "1 op=8 flags=1 key=a end=b" },
    { LIT("\x94\x00\x01\xa5range\x93\xc0\xc0\x83\xa5limit\x0a\xa7reverse\xc3"
          "\xa9keys_only\xc3"),
      "1 op=8 flags=6 limit=10" },
    { LIT("\x94\x00\x01\xa5range\x92\xa1"
          "a\x81\xa5limit\x0a"),
      "1 op=8 key=a limit=10" },
    { LIT("\x94\x00\x01\xa5range\x92\xc0\xa0"), "1 op=8 flags=1" },
    { LIT("\x94\x00\x01\xa5range\x91\x81\xa4scan\xc3"), "1 op=8 flags=128" },
    { LIT("\x94\x00\x01\xa5"
          "count\x92\xc0\xa1"
          "b"),
      "1 op=9 flags=1 end=b" },
    { LIT("\x94\x00\x01\xa4ping\x90"), "1 op=1" },
    { LIT("\x94\x00\x01\xa6lookup\x91\xa1k"), "1 op=10 key=k" },
    { LIT("\x94\x00\x01\xa6lookup\x92\xc0\x81\xa8position\x05"),
      "1 op=10 document=11" },
    { LIT("\x94\x00\x01\xa4ring\x92\xa1k\x81\xa5limit\x05"),
      "1 op=11 key=k document=8 limit=5" },
    { LIT("\x94\x00\x01\xa5peers\x90"), "1 op=12" },
    { LIT("\x94\x00\x01\xa6status\x91\x80"), "1 op=13" },
    { LIT("\x94\x00\x01\xafkeyspace_create\x92\xa2ks\x81\xa8replicas\x03"),
      "1 op=14 document=19" },
    { LIT("\x94\x00\x01\xadkeyspace_list\x90"), "1 op=15" },
    { LIT("\x94\x00\x01\xadkeyspace_drop\x91\xa2ks"), "1 op=16 document=9" },
    { LIT("\x94\x00\x01\xa5leave\x91\xa9host:9000"), "1 op=17 key=host:9000" },
    { LIT("\x94\x00\x01\xa5"
          "count\x93\xc0\xc0\x81\xa8"
          "estimate\xc3"),
      "1 op=9 flags=256" },
    { LIT("\x94\x00\x01\xa5model\x91\xa4show"), "1 op=19 document=13" },
    { LIT("\x94\x00\x01\xa5model\x92\xa5train\x82\xa8keyspace\xa2ks\xa4"
          "wait\xc3"),
      "1 op=19 name=ks document=32" },
    { LIT("\x94\x00\x01\xackeyspace_set\x92\xa2ks\x81\xa5"
          "error\xa3off"),
      "1 op=20 document=28" },
    { LIT("\x94\x00\x01\xadkeyspace_show\x91\xa2ks"), "1 op=21 document=9" },
    { LIT("\x94\x00\x01\xa7"
          "balance\x91\xa5pause"),
      "1 op=26 document=14" },
    { LIT("\x94\x00\x01\xa8peer_set\x92\xa3h:1\x81\xa6weight\xa1"
          "2"),
      "1 op=27 document=28" },
    { LIT("\x94\x00\x01\xa7recover\x91\x07"), "1 op=28 document=6" },
    { LIT("\x94\x00\x01\xa7recover\x92\xa4"
          "0xab\x81\xa5"
          "empty\xc3"),
      "1 op=28 document=17" },
    { LIT("\x94\x00\x01\xa8presplit\x92\x92\xa1"
          "b\xc4\x01"
          "c\x81\xa8keyspace\xa2ks"),
      "1 op=22 name=ks document=24" },
    { LIT("\x94\x00\x01\xaavector_put\x92\xa1k\xc4\x04"
          "\x00\x00\x80\x3f"),
      "1 op=30 key=k document=14" },
    { LIT("\x94\x00\x01\xaavector_put\x94\xa1k\x92\x01\xca\x3f\x80\x00\x00"
          "\xa2{}\x82\xa3"
          "all\xc3\xa8keyspace\xa2ks"),
      "1 op=30 flags=32 name=ks key=k document=23" },
    { LIT("\x94\x00\x01\xaavector_put\x94\xa1k\x91\x01\xc0\x83\xa7session"
          "\xc4\x10"
          "0123456789abcde\x07\xa6number\x09\xablowest_open\x08"),
      "1 op=30 key=k document=16 session=7 number=9 lowest=8" },
    { LIT("\x94\x00\x01\xaavector_get\x92\xa1k\x81\xa5stale\xc3"),
      "1 op=31 flags=8 key=k" },
    { LIT("\x94\x00\x01\xa6search\x92\x91\x01\x82\xa1k\x05\xa8keyspace\xa2"
          "ks"),
      "1 op=32 name=ks document=25" },
    { LIT("\x94\x00\x01\xa6search\x92\xc0\x82\xa2id\xa1k\xa5stale\xc3"),
      "1 op=32 flags=8 document=13" },
    { LIT("\x94\x00\x01\xa6search\x91\x81\xa2id\xa1k"), "1 op=32 document=6" },
    { LIT("\x94\x00\x01\xa7vectors\x92\xa4info\x81\xa8keyspace\xa2ks"),
      "1 op=33 name=ks document=25" },
};

Test(rpc, understands_every_method)
{
    struct buf scratch = { 0 };
    bool seen[UINT8_MAX + 1] = { false };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct rpc_call call;
        const char *text;
        char got[300];
        int rc = rpc_unpack(calls[i].call, &scratch, &call, &text);
        cr_assert_eq(rc, DLHT_OK, "%s: %s", calls[i].meant, text);
        describe(&call, got, sizeof got);
        cr_expect_str_eq(got, calls[i].meant, "%s is not %s", got,
                         calls[i].meant);
        seen[call.request.op] = true;
    }
    for (int op = OP_PING; op <= OP_CACHE_LEASE; op++) {
        bool of_peers = op == OP_ARC_INFO || op == OP_MODEL_REPORT ||
                        op == OP_MODEL_SUMS || op == OP_MERGE ||
                        op == OP_SEARCH_PEER || op == OP_SEARCH_CONFIRM;
        cr_expect_neq(seen[op], of_peers, "op %d has a row", op);
    }
    buf_deinit(&scratch);
}

/* What came over RPC can go on between peers. */
Test(rpc, gives_requests_that_frames_carry)
{
    struct buf scratch = { 0 }, b = { 0 };
    struct codec_arena arena = { 0 };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct rpc_call call;
        const char *text;
        struct message m = { .type = MESSAGE_REQUEST }, got;
        cr_assert_eq(rpc_unpack(calls[i].call, &scratch, &call, &text), 0);
        m.u.request = call.request;
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        cr_expect_eq(codec_unpack(buf_span(&b), &arena, &got), DLHT_OK, "%s",
                     calls[i].meant);
        cr_expect(span_equal(got.u.request.list, call.request.list));
        cr_expect(span_equal(got.u.request.key, call.request.key));
    }
    buf_deinit(&scratch);
    buf_deinit(&b);
}

static const struct {
    struct span call;
    int rc;
    const char *text; /* begins so */
} refused[] = {
    { LIT(""), DLHT_EPROTO, "" },
    { LIT("\x05"), DLHT_EPROTO, "" },
    { LIT("\x90"), DLHT_EPROTO, "" },
    { LIT("\x94\x01\x07\xc0\xc0"), DLHT_EPROTO, "" },
    { LIT("\x93\x00\x07\xa3get"), DLHT_EPROTO, "" },
    { LIT("\x94\x00\xff\xa3get\x91\xa1k"), DLHT_EPROTO, "" },
    { LIT("\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa3get\x91\xa1k"),
      DLHT_EPROTO, "" },
    { LIT("\x94\x00\x07\x05\x91\xa1k"), DLHT_EPROTO, "" },
    { LIT("\x94\x00\x07\xa3get\x91\xa1k\x00"), DLHT_EPROTO, "" },
    { LIT("\x94\x00\x07\xa3got\x91\xa1k"), DLHT_EINVAL, "no such method" },
    { LIT("\x94\x00\x07\xa0\x90"), DLHT_EINVAL, "no such method" },
    { LIT("\x94\x00\x07\xa3get\xa1k"), DLHT_EINVAL, "params are an array" },
    { LIT("\x94\x00\x07\xa3get\x90"), DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xa3put\x91\xa1k"), DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\xa1k"), DLHT_EINVAL, "too many" },
    { LIT("\x94\x00\x07\xa3get\x91\xa0"), DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xa3get\x91\x05"), DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xa3get\x91\xc0"), DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xa3put\x92\xa1k\x05"), DLHT_EINVAL, "a value is" },
    { LIT("\x94\x00\x07\xa3"
          "cas\x93\xa1k\xff\xa1v"),
      DLHT_EINVAL, "a version is" },
    { LIT("\x94\x00\x07\xa4mget\x91\x05"), DLHT_EINVAL, "keys are" },
    { LIT("\x94\x00\x07\xa4mget\x91\x91\xa0"), DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xa5"
          "batch\x91\x91\x91\xa1k"),
      DLHT_EINVAL, "a record is" },
    { LIT("\x94\x00\x07\xa5"
          "batch\x91\xc0"),
      DLHT_EINVAL, "records are" },
    { LIT("\x94\x00\x07\xa9"
          "cas_batch\x91\xa1k"),
      DLHT_EINVAL, "records are an array" },
    { LIT("\x94\x00\x07\xa9"
          "cas_batch\x91\x91\x92\xa1k\xc0"),
      DLHT_EINVAL, "a record is [key, version" },
    { LIT("\x94\x00\x07\xa9"
          "cas_batch\x91\x91\x93\xa0\xc0\xc0"),
      DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xa9"
          "cas_batch\x91\x91\x93\xa1k\xff\xc0"),
      DLHT_EINVAL, "a version is" },
    { LIT("\x94\x00\x07\xa9"
          "cas_batch\x91\x91\x93\xa1k\x01\x05"),
      DLHT_EINVAL, "a value is" },
    { LIT("\x94\x00\x07\xa7recover\x91\xff"), DLHT_EINVAL, "an arc is" },
    { LIT("\x94\x00\x07\xa7recover\x91\xa0"), DLHT_EINVAL, "an arc is" },
    { LIT("\x94\x00\x07\xa7recover\x91\xb3nineteen characters"), DLHT_EINVAL,
      "an arc is" },
    { LIT("\x94\x00\x07\xa5range\x91\x05"), DLHT_EINVAL, "a bound is" },
    { LIT("\x94\x00\x07\xa5range\x92\x80\xc0"), DLHT_EINVAL, "too many" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\xa3"
          "all\xc3"),
      DLHT_EINVAL, "no such option" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\xa5stale\x01"), DLHT_EINVAL,
      "this option is" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\x05\x05"), DLHT_EINVAL,
      "no such option" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\xaatimeout_ms\xcd\xea\x61"),
      DLHT_EINVAL, "timeout_ms is" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\xa8keyspace\xa0"), DLHT_EINVAL,
      "the name of" },
    { LIT("\x94\x00\x07\xa3put\x93\xa1k\xa1v\x81\xa6number\x01"), DLHT_EINVAL,
      "session and number" },
    { LIT("\x94\x00\x07\xa3put\x93\xa1k\xa1v\x82\xa7session\xc4\x10"
          "0123456789abcdef\xa6number\x00"),
      DLHT_EINVAL, "session and number" },
    { LIT("\x94\x00\x07\xa3put\x93\xa1k\xa1v\x83\xa7session\xc4\x10"
          "0123456789abcdef\xa6number\x01\xablowest_open\x02"),
      DLHT_EINVAL, "lowest_open" },
    { LIT("\x94\x00\x07\xa3put\x93\xa1k\xa1v\x81\xa7session\xc4\x01"
          "0"),
      DLHT_EINVAL, "session is" },
    { LIT("\x94\x00\x07\xa5leave\x91\xa4h st"), DLHT_EINVAL, "an address" },
    { LIT("\x94\x00\x07\xa5leave\x91\xa0"), DLHT_EINVAL, "an address" },
    { LIT("\x94\x00\x07\xafkeyspace_create\x91\xa0"), DLHT_EINVAL,
      "the name of" },
    { LIT("\x94\x00\x07\xa3get\x92\xa1k\x81\xa8"
          "estimate\xc3"),
      DLHT_EINVAL, "no such option" },
    { LIT("\x94\x00\x07\xa5model\x90"), DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xa5model\x91\x05"), DLHT_EINVAL, "an action is" },
    { LIT("\x94\x00\x07\xa5model\x91\xb1seventeen letters"), DLHT_EINVAL,
      "an action is" },
    { LIT("\x94\x00\x07\xackeyspace_set\x91\xa2ks"), DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xackeyspace_set\x92\xa2ks\x81\xa5"
          "error\x05"),
      DLHT_EINVAL, "options that are set are" },
    { LIT("\x94\x00\x07\xa8peer_set\x91\xa9h:1\x01 none\x80"), DLHT_EINVAL,
      "an address is" },
    { LIT("\x94\x00\x07\xa7"
          "balance\x90"),
      DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xa8presplit\x91\xa1k"), DLHT_EINVAL, "keys are" },
    { LIT("\x94\x00\x07\xa8presplit\x91\x91\xa0"), DLHT_EINVAL, "a key is" },
    { LIT("\x94\x00\x07\xaavector_put\x91\xa1k"), DLHT_EINVAL, "too few" },
    { LIT("\x94\x00\x07\xaavector_put\x92\xa1k\xc0"), DLHT_EINVAL,
      "a vector is bin" },
    { LIT("\x94\x00\x07\xaavector_put\x92\xa1k\xc4\x00"), DLHT_EINVAL,
      "a vector as bin has 4 bytes" },
    { LIT("\x94\x00\x07\xaavector_put\x92\xa1k\xc4\x05"
          "12345"),
      DLHT_EINVAL, "a vector as bin has 4 bytes" },
    { LIT("\x94\x00\x07\xaavector_put\x92\xa1k\x90"), DLHT_EINVAL,
      "a vector has 1 to" },
    { LIT("\x94\x00\x07\xaavector_put\x92\xa1k\x92\x01\xa1"
          "2"),
      DLHT_EINVAL, "a vector is bin" },
    { LIT("\x94\x00\x07\xaavector_put\x93\xa1k\x91\x01\x05"), DLHT_EINVAL,
      "metadata is nil" },
    { LIT("\x94\x00\x07\xaavector_put\x93\xa1k\x91\x01\x81\xa1k\x05"),
      DLHT_EINVAL, "no such option" },
    { LIT("\x94\x00\x07\xa6search\x91\x05"), DLHT_EINVAL, "a vector is bin" },
    { LIT("\x94\x00\x07\xa6search\x92\xc0\xc0"), DLHT_EINVAL, "too many" },
    { LIT("\x94\x00\x07\xa7vectors\x90"), DLHT_EINVAL, "too few" },
};

Test(rpc, refuses_with_a_reason_or_not_at_all)
{
    struct buf scratch = { 0 };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct rpc_call call;
        const char *text;
        int rc = rpc_unpack(refused[i].call, &scratch, &call, &text);
        cr_expect_eq(rc, refused[i].rc, "row %zu (%s): %d", i, refused[i].text,
                     rc);
        cr_expect_eq(strncmp(text, refused[i].text, strlen(refused[i].text)), 0,
                     "row %zu: %s", i, text);
        if (refused[i].rc == DLHT_EINVAL) {
            cr_expect_gt(strlen(text), 0);
            cr_expect_eq(call.id, 7, "row %zu can be answered", i);
        }
    }
    buf_deinit(&scratch);
}

Test(rpc, refuses_too_many_records)
{
    for (size_t count = BATCH_COUNT_MAX; count <= BATCH_COUNT_MAX + 1;
         count++) {
        struct buf b = { 0 }, scratch = { 0 };
        struct rpc_call call;
        const char *text;
        mp_write_array(&b, 4);
        mp_write_uint(&b, 0);
        mp_write_uint(&b, 7);
        mp_write_cstr(&b, "batch");
        mp_write_array(&b, 1);
        mp_write_array(&b, count);
        for (size_t i = 0; i < count; i++) {
            mp_write_array(&b, 2);
            mp_write_cstr(&b, "k");
            mp_write_cstr(&b, "v");
        }
        int rc = rpc_unpack(buf_span(&b), &scratch, &call, &text);
        cr_expect_eq(rc, count == BATCH_COUNT_MAX ? DLHT_OK : DLHT_EINVAL);
        buf_deinit(&b);
        buf_deinit(&scratch);
    }
}

/* One number more than a vector may have, in both forms. */
Test(rpc, refuses_vectors_of_too_many_numbers)
{
    for (size_t dim = 16384; dim <= 16385; dim++) {
        for (int form = 0; form < 2; form++) {
            struct buf b = { 0 }, scratch = { 0 };
            struct rpc_call call;
            const char *text;
            mp_write_array(&b, 4);
            mp_write_uint(&b, 0);
            mp_write_uint(&b, 7);
            mp_write_cstr(&b, "search");
            mp_write_array(&b, 1);
            if (form)
                mp_write_array(&b, dim);
            else
                mp_write_bin_header(&b, 4 * dim);
            for (size_t i = 0; i < dim; i++)
                buf_append(&b, &"\xca\x3f\x80\x00\x00"[!form], form ? 5 : 4);
            int rc = rpc_unpack(buf_span(&b), &scratch, &call, &text);
            cr_expect_eq(rc, dim == 16384 ? DLHT_OK : DLHT_EINVAL,
                         "%zu numbers, form %d: %s", dim, form, text);
            buf_deinit(&b);
            buf_deinit(&scratch);
        }
    }
}

Test(rpc, survives_calls_cut_or_changed_anywhere)
{
    struct rng rng;
    struct buf scratch = { 0 };
    struct rpc_call call;
    const char *text;
    rng_init(&rng, 21);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct span whole = calls[i].call;
        for (size_t len = 0; len < whole.len; len++) {
            uint8_t *alone = malloc(len ? len : 1);
            memcpy(alone, whole.data, len);
            cr_assert_neq(
                rpc_unpack(span_of(alone, len), &scratch, &call, &text),
                DLHT_OK, "%s cut at %zu", calls[i].meant, len);
            free(alone);
        }
    }
    for (int i = 0; i < 100000; i++) {
        struct span whole =
            calls[rng_below(&rng, sizeof calls / sizeof *calls)].call;
        uint8_t *alone = malloc(whole.len);
        memcpy(alone, whole.data, whole.len);
        for (uint64_t k = rng_range(&rng, 1, 4); k > 0; k--)
            alone[rng_below(&rng, whole.len)] = (uint8_t)rng_next(&rng);
        int rc = rpc_unpack(span_of(alone, whole.len), &scratch, &call, &text);
        cr_assert(rc == DLHT_OK || rc == DLHT_EPROTO || rc == DLHT_EINVAL);
        free(alone);
    }
    buf_deinit(&scratch);
}

static const struct {
    uint8_t op;
    struct response response;
    struct span answer; /* after [1, 7 */
} answers[] = {
    { OP_PUT, { .version = 9 }, LIT("\xc0\x09") },
    { OP_GET,
      { .version = 9, .value = LIT("v"), .ttl_ms = 5 },
      LIT("\xc0\x93\xc4\x01v\x09\x05") },
    { OP_CACHE_EXPIRE, { 0 }, LIT("\xc0\xc3") },
    { OP_CACHE_EXPIRE, { .status = DLHT_ENOTFOUND }, LIT("\xc0\xc2") },
    { OP_CACHE_LEASE,
      { .version = 7, .count = 2 },
      LIT("\xc0\x94\xa4"
          "fill\xc0\x07\x00") },
    { OP_CACHE_LEASE,
      { .value = LIT("v"), .ttl_ms = 5 },
      LIT("\xc0\x94\xa3hit\xc4\x01v\x00\x05") },
    { OP_GET,
      { .version = 9, .value = LIT("v") },
      LIT("\xc0\x92\xc4\x01v\x09") },
    { OP_GET, { .version = 9 }, LIT("\xc0\x92\xc4\x00\x09") },
    { OP_GET, { .status = DLHT_ENOTFOUND }, LIT("\xc0\xc0") },
    { OP_DEL, { 0 }, LIT("\xc0\xc3") },
    { OP_DEL, { .status = DLHT_ENOTFOUND }, LIT("\xc0\xc2") },
    { OP_CAS, { .version = 9 }, LIT("\xc0\x92\xc3\x09") },
    { OP_CAS,
      { .status = DLHT_EMISMATCH, .version = 3 },
      LIT("\xc0\x92\xc2\x03") },
    { OP_MGET,
      { .list = LIT("\xa1x\xc4\x01y\x05"), .list_count = 1 },
      LIT("\xc0\x91\x93\xc4\x01x\xc4\x01y\x05") },
    { OP_BATCH, { .count = 300 }, LIT("\xc0\xcd\x01\x2c") },
    { OP_CAS_BATCH, { .version = 9, .count = 2 }, LIT("\xc0\x92\xc3\x09") },
    { OP_CAS_BATCH,
      { .status = DLHT_EMISMATCH, .version = 3, .count = 1 },
      LIT("\xc0\x93\xc2\x03\x01") },
    { OP_COUNT, { 0 }, LIT("\xc0\x00") },
    { OP_RANGE,
      { .list = LIT("\xa1x\xa1y\x05"),
        .list_count = 1,
        .more = true,
        .cursor = LIT("z") },
      LIT("\xc0\x92\x91\x93\xc4\x01x\xc4\x01y\x05\xc4\x01z") },
    { OP_RANGE, { 0 }, LIT("\xc0\x92\x90\xc0") },
    { OP_RANGE,
      { .list = LIT("\xa1x\xa1y"), .list_count = 1 },
      LIT("\x94\xf0\xa6"
          "EPROTO\xaenot understood\xa6"
          "failed\xc0") },
    { OP_RING,
      { .value = LIT("\x90"), .more = true, .cursor = LIT("z") },
      LIT("\xc0\x92\x90\xc4\x01z") },
    { OP_STATUS,
      { .value = LIT("\x81\xa1"
                     "a\x05") },
      LIT("\xc0\x81\xa1"
          "a\x05") },
    { OP_STATUS,
      { .value = LIT("\x82\xa1"
                     "a\x05") },
      LIT("\x94\xf0\xa6"
          "EPROTO\xaenot understood\xa6"
          "failed\xc0") },
    { OP_VECTOR_PUT, { .version = 9 }, LIT("\xc0\x09") },
    { OP_VECTOR_GET,
      { .version = 9, .value = LIT("\x81\xa4meta\xa2{}") },
      LIT("\xc0\x92\x81\xa4meta\xa2{}\x09") },
    { OP_VECTOR_GET, { .status = DLHT_ENOTFOUND }, LIT("\xc0\xc0") },
    { OP_VECTOR_GET,
      { .version = 9 },
      LIT("\x94\xf0\xa6"
          "EPROTO\xaenot understood\xa6"
          "failed\xc0") },
    { OP_SEARCH,
      { .value = LIT("\x81\xa5peers\x03"),
        .list = LIT("\xa1x\xc4\x05\x94\x01\xc0\xc0\xc0\x05"),
        .list_count = 1 },
      LIT("\x94\xf0\xa6"
          "EPROTO\xaenot understood\xa6"
          "failed\xc0") },
    { OP_SEARCH,
      { .value = LIT("\x81\xa5peers\x03"),
        .list = LIT("\xa1x\xc4\x04\x93\x01\xc0\xc0\x05"),
        .list_count = 1 },
      LIT("\xc0\x92\x91\x95\xc4\x01x\x01\xc0\xc0\x05\x81\xa5peers\x03") },
    { OP_SEARCH, { .value = LIT("\x80") }, LIT("\xc0\x92\x90\x80") },
    { OP_SEARCH,
      { .status = DLHT_ENOTFOUND, .text = LIT("no vector") },
      LIT("\x94\xfd\xa9"
          "ENOTFOUND\xa9no vector\xa6"
          "failed\xc0") },
    { OP_VECTORS, { .value = LIT("\x80") }, LIT("\xc0\x80") },
    { OP_PING, { 0 }, LIT("\xc0\xc3") },
    { OP_KEYSPACE_DROP, { 0 }, LIT("\xc0\xc3") },
    { OP_PUT,
      { .status = DLHT_EUNKNOWN },
      LIT("\x94\xf9\xa8"
          "EUNKNOWN\xafoutcome unknown\xa7unknown\xc0") },
    { OP_PUT,
      { .status = DLHT_EFULL, .text = LIT("no\nro\xffm") },
      LIT("\x94\xf7\xa5"
          "EFULL\xa7no?ro?m\xa6"
          "failed\xc0") },
    { 0,
      { .status = DLHT_EINVAL, .text = LIT("no such method") },
      LIT("\x94\xfe\xa6"
          "EINVAL\xaeno such method\xa6"
          "failed\xc0") },
};

Test(rpc, answers_in_each_schema)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct rpc_call call = { .id = 7, .wants_answer = true };
        struct buf b = { 0 };
        call.request.op = answers[i].op;
        buf_append(&b, "before", 6);
        cr_assert_eq(rpc_pack_response(&call, &answers[i].response, &b), 0);
        struct span got = span_tail(buf_span(&b), 6);
        cr_assert_eq(memcmp(got.data, "\x94\x01\x07", 3), 0);
        bool same = span_equal(span_tail(got, 3), answers[i].answer);
        for (size_t k = 3; !same && k < got.len; k++)
            fprintf(stderr, "%02x ", got.data[k]);
        cr_expect(same, "row %zu, op %d", i, answers[i].op);
        buf_deinit(&b);
    }
}

Test(rpc, never_answers_a_notification)
{
    struct rpc_call call = { .wants_answer = false };
    struct response response = { .status = DLHT_EINVAL };
    struct buf b = { 0 };
    cr_expect_eq(rpc_pack_response(&call, &response, &b), DLHT_OK);
    cr_expect_eq(b.len, 0);
}

Test(rpc, puts_params_into_the_document)
{
    static const struct {
        struct span call;
        struct span document;
    } table[] = {
        { LIT("\x94\x00\x01\xafkeyspace_create\x92\xa2ks\x81\xa8replicas\x03"),
          LIT("\x82\xa4name\xa2ks\xa8replicas\x03") },
        { LIT("\x94\x00\x01\xa5model\x92\xa5train\x81\xa4wait\xc3"),
          LIT("\x82\xa6"
              "action\xa5train\xa4wait\xc3") },
        { LIT("\x94\x00\x01\xackeyspace_set\x92\xa2ks\x81\xa5"
              "error\xa3off"),
          LIT("\x82\xa4name\xa2ks\xa7options\x81\xa5"
              "error\xa3off") },
        { LIT("\x94\x00\x01\xa8presplit\x92\x91\xa1"
              "b\x81\xa8keyspace\xa2ks"),
          LIT("\x82\xa4keys\x91\xa1"
              "b\xa8keyspace\xa2ks") },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf scratch = { 0 };
        struct rpc_call call;
        const char *text;
        cr_assert_eq(rpc_unpack(table[i].call, &scratch, &call, &text), DLHT_OK,
                     "row %zu: %s", i, text);
        cr_expect(span_equal(call.request.value, table[i].document), "row %zu",
                  i);
        buf_deinit(&scratch);
    }
}

Test(rpc, answers_an_estimate_with_its_bound)
{
    struct rpc_call call = { .id = 7, .wants_answer = true };
    struct response response = { .count = 300, .version = 5 };
    struct buf b = { 0 };
    call.request.op = OP_COUNT;
    call.request.flags = REQUEST_ESTIMATE;
    cr_assert_eq(rpc_pack_response(&call, &response, &b), DLHT_OK);
    cr_expect(span_equal(buf_span(&b),
                         span_of("\x94\x01\x07\xc0\x92\xcd\x01\x2c\x05", 9)));
    buf_deinit(&b);
}

/* A call whose one long part is a str of as many bytes as its limit allows, or
 * one more. */
static const struct {
    struct span before;
    struct span after;
    size_t max;
    const char *text;
} lengths[] = {
    { LIT("\x94\x00\x07\xa3get\x91"), LIT(""), KEY_LEN_MAX, "a key is" },
    { LIT("\x94\x00\x07\xa3put\x92\xa1k"), LIT(""), VALUE_LEN_MAX,
      "a value has" },
    { LIT("\x94\x00\x07\xa5range\x91"), LIT(""), CODEC_KEY_MAX, "a bound is" },
    { LIT("\x94\x00\x07\xadkeyspace_drop\x91"), LIT(""), KEYSPACE_NAME_MAX,
      "the name of" },
    { LIT("\x94\x00\x07\xa5leave\x91"), LIT(""), PEER_ADDR_MAX - 1,
      "an address" },
    { LIT("\x94\x00\x07\xa6status\x91\x81"), LIT("\xc0"), 65536 - 4,
      "options have" },
    { LIT("\x94\x00\x07\xa5model\x92\xa6import\x81\xa5model"), LIT(""),
      (1 << 20) + 65536 - 11, "options have" },
    { LIT("\x94\x00\x07\xackeyspace_set\x92\xa2ks\x81\xa1x"), LIT(""),
      65536 - 6, "options have" },
    { LIT("\x94\x00\x07\xa8presplit\x91\x91"), LIT(""), KEY_LEN_MAX,
      "a key is" },
};

Test(rpc, draws_each_line_at_the_byte)
{
    uint8_t *part = malloc(VALUE_LEN_MAX + 1);
    struct buf scratch = { 0 };
    memset(part, 'x', VALUE_LEN_MAX + 1);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t more = 0; more < 2; more++) {
            struct buf b = { 0 };
            struct rpc_call call;
            const char *text;
            buf_append_span(&b, lengths[i].before);
            mp_write_str(&b, span_of(part, lengths[i].max + more));
            buf_append_span(&b, lengths[i].after);
            int rc = rpc_unpack(buf_span(&b), &scratch, &call, &text);
            cr_expect_eq(rc, more ? DLHT_EINVAL : DLHT_OK, "%s: %s",
                         lengths[i].text, text);
            size_t n = more ? strlen(lengths[i].text) : 0;
            cr_expect_eq(strncmp(text, lengths[i].text, n), 0, "%s", text);
            buf_deinit(&b);
        }
    free(part);
    buf_deinit(&scratch);
}

Test(rpc, counts_to_each_limit_and_no_further)
{
    static const struct {
        const char *method;
        bool map;
    } table[] = { { "mget", false }, { "batch", true }, { "presplit", false } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (size_t more = 0; more < 2; more++) {
            struct buf b = { 0 }, scratch = { 0 };
            struct rpc_call call;
            const char *text;
            size_t count = BATCH_COUNT_MAX + more;
            buf_append(&b, "\x94\x00\x07", 3);
            mp_write_cstr(&b, table[i].method);
            mp_write_array(&b, 1);
            if (table[i].map)
                mp_write_map(&b, count);
            else
                mp_write_array(&b, count);
            for (size_t k = 0; k < (table[i].map ? 2 : 1) * count; k++)
                mp_write_cstr(&b, "k");
            cr_expect_eq(rpc_unpack(buf_span(&b), &scratch, &call, &text),
                         more ? DLHT_EINVAL : DLHT_OK, "%s", table[i].method);
            buf_deinit(&b);
            buf_deinit(&scratch);
        }
}

/* Versions of conditions are read back as they came. */
Test(rpc, conditions_keep_their_versions)
{
    static const uint64_t versions[] = { 0, 1, 255, UINT64_C(1) << 40,
                                         UINT64_MAX };
    for (size_t more = 0; more < 2; more++) {
        size_t count = more ? BATCH_COUNT_MAX + 1 : 5;
        struct buf b = { 0 }, scratch = { 0 };
        struct rpc_call call;
        struct mp_reader r;
        const char *text;
        buf_append(&b, "\x94\x00\x07", 3);
        mp_write_cstr(&b, "cas_batch");
        mp_write_array(&b, 1);
        mp_write_array(&b, count);
        for (size_t i = 0; i < count; i++) {
            mp_write_array(&b, 3);
            mp_write_cstr(&b, "k");
            mp_write_uint(&b, versions[i % 5]);
            mp_write_cstr(&b, "v");
        }
        int rc = rpc_unpack(buf_span(&b), &scratch, &call, &text);
        cr_assert_eq(rc, more ? DLHT_EINVAL : DLHT_OK);
        mp_reader_init(&r, call.request.list);
        for (size_t i = 0; !more && i < count; i++) {
            struct cas_item item = cas_item_read(&r);
            cr_expect(!r.bad && !item.any_version && !item.remove);
            cr_expect_eq(item.version, versions[i], "%zu", i);
            cr_expect(span_equal(item.key, span_str("k")));
            cr_expect(span_equal(item.value, span_str("v")));
        }
        buf_deinit(&b);
        buf_deinit(&scratch);
    }
}
