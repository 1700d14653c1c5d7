/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of one frame of each type, as docs/protocol.md says they are. A
 * failure here means that peers of another build are not understood: either
 * the change is undone, or the version grows. */

#include <criterion/criterion.h>
#include <stdio.h>

#include "dlht/err.h"
#include "wire/codec.h"
#include "wire/sample.h"

/* A string literal with its true length. */
#define LIT(s)                                                                 \
    {                                                                          \
        (const uint8_t *)(s), sizeof(s) - 1                                    \
    }
/* Ids that can be told from each other in a dump. */
#define ID(n)                                                                  \
    {                                                                          \
        {                                                                      \
            n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15               \
        }                                                                      \
    }
#define ID_HEX(n) "c410" n "0102030405060708090a0b0c0d0e0f"

#define ARC                                                                    \
    {                                                                          \
        .keyspace = 1, .id = 300, .lo = LIT("a"), .hi = LIT("m"),              \
        .has_hi = true, .generation = 4,                                       \
        .members = { { 21, ID(0xaa), true }, { 22, ID(0xbb), false } },        \
        .member_count = 2, .term = 6, .owner = ID(0xaa)                        \
    }

static const struct arc arc = ARC;

#define ARC_HEX                                                                \
    "9801cd012cc40161c4016d04"                                                 \
    "929315" ID_HEX("aa") "c3"                                                 \
                          "9216" ID_HEX("bb") "06" ID_HEX("aa")

static const struct swim_message ping_request = {
    .type = SWIM_PING_REQUEST,
    .number = 8,
    .target = ID(0xbb),
    .updates = { { .id = ID(0xaa),
                   .addr = "10.0.0.1:9000",
                   .zone = "z1",
                   .incarnation = 5,
                   .refutation = 1,
                   .weight_milli = 1000,
                   .state = PEER_ALIVE } },
    .update_count = 1
};

static const struct keyspace_record keyspace = { .id = 2,
                                                 .name = LIT("logs"),
                                                 .version = 1,
                                                 .placement = PLACEMENT_HASHED,
                                                 .replicas = 3,
                                                 .is_volatile = true,
                                                 .floor_keys = 1000,
                                                 .ceiling_bytes = 64 << 20,
                                                 .first_arcs = &arc,
                                                 .first_arc_count = 1 };

#define KEYSPACE_HEX "9902c4046c6f677301020301cd03e8ce0400000091" ARC_HEX

static const struct peer peer = { .id = ID(0xaa),
                                  .addr = "10.0.0.1:9000",
                                  .zone = "z1",
                                  .incarnation = 5,
                                  .refutation = 1,
                                  .weight_milli = 1000,
                                  .state = PEER_ALIVE };

#define PEER_HEX                                                               \
    "97" ID_HEX("aa") "c40d31302e302e302e313a39303030c4027a310501cd03e801"

static const struct raft_members members = { { { 21, true }, { 22, false } },
                                             2 };

static const struct raft_entry entries[] = {
    { .term = 6, .index = 12, .type = RAFT_ENTRY_NOOP },
    { .term = 6, .index = 13, .type = RAFT_ENTRY_DATA, .data = LIT("put") },
    { .term = 7,
      .index = 14,
      .type = RAFT_ENTRY_MEMBERS,
      .data = LIT("m"),
      .members = &members }
};

static const struct raft_envelope envelopes[] = {
    { .arc = 300,
      .message = { .type = RAFT_HEARTBEAT,
                   .from = 21,
                   .to = 22,
                   .term = 7,
                   .stamp = 1000000000,
                   .commit = 11 } },
    { .arc = 300,
      .message = { .type = RAFT_APPEND,
                   .from = 21,
                   .to = 22,
                   .term = 7,
                   .stamp = 1000000000,
                   .commit = 11,
                   .index = 11,
                   .log_term = 6,
                   .entries = entries,
                   .entry_count = 3 } },
    { .arc = 300,
      .message = { .type = RAFT_APPEND_REPLY,
                   .from = 22,
                   .to = 21,
                   .term = 7,
                   .refused = true,
                   .index = 11,
                   .log_term = 5,
                   .hint = 9 } }
};

static const struct model_count counts[] = { { 300, 4, 5, 1000 },
                                             { 1, 2, 3, 4 } };

static const struct arc_report report = { .arc = ARC,
                                          .keys = 1000,
                                          .bytes = 65536,
                                          .requests = 7,
                                          .changes = 9,
                                          .caught_up = 3,
                                          .lost = 4,
                                          .busy = true };

#define PUT                                                                    \
    {                                                                          \
        .type = MESSAGE_REQUEST, .stream = 7, .u.request = {                   \
            .op = OP_PUT,                                                      \
            .keyspace = 1,                                                     \
            .key = LIT("key"),                                                 \
            .value = LIT("value"),                                             \
            .number = 9,                                                       \
            .lowest_open = 8                                                   \
        }                                                                      \
    }

static const struct {
    const char *name;
    struct message message;
    const char *body;
} golden[] = {
    { "hello",
      { .type = MESSAGE_HELLO,
        .u.hello = { .version = WIRE_VERSION,
                     .kind = HELLO_PEER,
                     .cluster = ID(0xcc),
                     .peer = ID(0xaa),
                     .incarnation = 5,
                     .addr = LIT("h:1"),
                     .status = DLHT_ECLUSTER } },
      "970101" ID_HEX("cc") ID_HEX("aa") "05c403683a31ee" },
    { "ping",
      { .type = MESSAGE_REQUEST, .stream = 1, .u.request = { .op = OP_PING } },
      "9101" },
    { "get",
      { .type = MESSAGE_REQUEST,
        .stream = 1,
        .u.request = { .op = OP_GET, .key = LIT("key") } },
      "94030000c4036b6579" },
    { "put", PUT, "97020001c4036b6579c40576616c75650908" },
    { "mget by name, with every field",
      { .type = MESSAGE_REQUEST,
        .stream = 1,
        .u.request = { .op = OP_MGET,
                       .flags = REQUEST_TO_ARC | REQUEST_STALE,
                       .keyspace_name = LIT("logs"),
                       .session = ID(0xdd),
                       .number = 3,
                       .version = 4,
                       .timeout_ms = 5000,
                       .arc = 300,
                       .generation = 4,
                       .hops = 1,
                       .limit = 10,
                       .list = LIT("\xc4\x01x\xc4\x01y"),
                       .list_count = 2 } },
      "9e0648c4046c6f6773c400c4000300" ID_HEX("dd") "04cd1388"
                                                    "93cd012c0401"
                                                    "0ac40092c40178c40179" },
    { "range",
      { .type = MESSAGE_REQUEST,
        .stream = 1,
        .u.request = { .op = OP_RANGE,
                       .flags = REQUEST_HAS_END,
                       .key = LIT("a"),
                       .end = LIT("m") } },
      "9d080100c40161c4000000c0000090"
      "00c4016d" },
    { "stored",
      { .type = MESSAGE_RESPONSE, .stream = 7, .u.response = { .version = 9 } },
      "920009" },
    { "value",
      { .type = MESSAGE_RESPONSE,
        .stream = 7,
        .u.response = { .version = 9, .value = LIT("value") } },
      "930009c40576616c7565" },
    { "page of a range",
      { .type = MESSAGE_RESPONSE,
        .stream = 7,
        .u.response = { .list = LIT("\xc4\x01x\xc4\x01y\x05"),
                        .list_count = 1,
                        .more = true,
                        .cursor = LIT("z"),
                        .hops = 1,
                        .peers_asked = 2 } },
      "980000c4000093c40178c4017905c4017a0102" },
    { "not the owner",
      { .type = MESSAGE_RESPONSE,
        .stream = 7,
        .u.response = { .status = DLHT_ENOTOWNER,
                        .text = LIT("moved"),
                        .arc = &arc } },
      "9afb00c4000090c00000c4056d6f766564" ARC_HEX },
    { "raft",
      { .type = MESSAGE_RAFT, .u.raft = { envelopes, 3 } },
      "93"
      "97cd012c07151607ce3b9aca000b"
      "9ccd012c05151607ce3b9aca000b000b0600"
      "93920601930602c4037075749407"
      "03c4016d92"
      "9215c39116"
      "9bcd012c06161507000001"
      "0b0509" },
    { "snapshot chunk",
      { .type = MESSAGE_SNAPSHOT_CHUNK,
        .u.chunk = { 300, 21, 22, 7, 99, 1, true, LIT("rec") } },
      "98cd012c1516076301c3c403726563" },
    { "snapshot ack",
      { .type = MESSAGE_SNAPSHOT_ACK,
        .u.ack = { 300, 22, 21, 99, 2, true, false } },
      "96cd012c1615630201" },
    { "swim",
      { .type = MESSAGE_SWIM, .u.swim = &ping_request },
      "940308" ID_HEX("bb") "91" PEER_HEX },
    { "gossip",
      { .type = MESSAGE_GOSSIP, .u.gossip = { &arc, 1, &keyspace, 1 } },
      "9291" ARC_HEX "91" KEYSPACE_HEX },
    { "digest",
      { .type = MESSAGE_DIGEST,
        .u.digest = { 0x1122334455667788, 2, true, { 0 } } },
      "93cf112233445566778802c3" },
    { "join",
      { .type = MESSAGE_JOIN,
        .u.join.self = { .id = ID(0xaa),
                         .addr = "10.0.0.1:9000",
                         .zone = "z1",
                         .incarnation = 5,
                         .refutation = 1,
                         .weight_milli = 1000,
                         .state = PEER_ALIVE } },
      "91" PEER_HEX },
    { "welcome",
      { .type = MESSAGE_WELCOME, .u.welcome = { 0, ID(0xcc), &peer, 1 } },
      "9300" ID_HEX("cc") "91" PEER_HEX },
    { "report",
      { .type = MESSAGE_REPORT, .u.report = { &report, 1 } },
      "9198" ARC_HEX "cd03e8ce00010000070304c309" },
    { "step",
      { .type = MESSAGE_STEP,
        .u.step = { .kind = STEP_TRANSFER,
                    .keyspace = 1,
                    .arc = 300,
                    .generation = 4,
                    .peer = ID(0xbb) } },
      "950501cd012c04" ID_HEX("bb") },
    { "step that cuts",
      { .type = MESSAGE_STEP,
        .u.step = { .kind = STEP_SPLIT,
                    .keyspace = 1,
                    .arc = 300,
                    .generation = 4,
                    .keys = LIT("\xc4\x01k") } },
      "960601cd012c04c0c403c4016b" },
    { "model news",
      { .type = MESSAGE_MODEL,
        .u.model = { MODEL_NEWS, 1, 7, 0, 0, { 0 }, 0, 0 } },
      "93010107" },
    { "model part",
      { .type = MESSAGE_MODEL,
        .u.model = { .kind = MODEL_PART,
                     .keyspace = 1,
                     .epoch = 7,
                     .total = 1000,
                     .offset = 300,
                     .bytes = LIT("ab") } },
      "96030107cd03e8cd012cc4026162" },
    { "model counts",
      { .type = MESSAGE_MODEL,
        .u.model = { .kind = MODEL_COUNTS,
                     .keyspace = 1,
                     .epoch = 2,
                     .counts = counts,
                     .count_count = 2 } },
      "970501020000c40098cd012c0405cd03e8"
      "01020304" },
    { "pace",
      { .type = MESSAGE_PACE, .u.pace = { 1500, 20, 0 } },
      "92cd05dc14" },
    { "recover have",
      { .type = MESSAGE_RECOVER,
        .u.recover = { .kind = RECOVER_HAVE,
                       .number = 5,
                       .arc = 300,
                       .replica = 22,
                       .voter = true,
                       .last_term = 2,
                       .last_index = 9,
                       .applied = 8,
                       .generation = 4,
                       .keys = 7,
                       .bytes = 70,
                       .arc_known = &arc } },
      "9f0205cd012c16000102090800040746"
      "00" ARC_HEX },
    { "gone",
      { .type = MESSAGE_GONE, .u.gone = { 300, 22, 4 } },
      "93cd012c1604" },
    { "ring",
      { .type = MESSAGE_RING,
        .u.ring = { .type = RING_FOUND,
                    .number = 9,
                    .to = 300,
                    .key = { (const uint8_t *)"key", 3 },
                    .self = &arc,
                    .arcs = { &arc },
                    .arc_count = 1 } },
      "98070009cd012c" ARC_HEX "c091" ARC_HEX "c4036b6579" },
};

static void to_hex(struct span bytes, char *out)
{
    for (size_t i = 0; i < bytes.len; i++)
        sprintf(out + 2 * i, "%02x", bytes.data[i]);
}

Test(golden, each_type_has_the_bytes_of_the_protocol)
{
    bool seen[SAMPLE_TYPES + 1] = { false };
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        static char hex[4096];
        struct codec_arena arena = { 0 };
        struct message got;
        struct buf b = { 0 };
        cr_assert_eq(codec_pack(&golden[i].message, &b), DLHT_OK);
        to_hex(span_tail(buf_span(&b), FRAME_HEADER_BYTES), hex);
        cr_expect_str_eq(hex, golden[i].body, "%s\n is  %s\n not %s",
                         golden[i].name, hex, golden[i].body);
        cr_assert_eq(codec_unpack(buf_span(&b), &arena, &got), DLHT_OK);
        const char *what = sample_difference(&golden[i].message, &got);
        cr_expect_null(what, "%s: %s", golden[i].name, what);
        seen[golden[i].message.type] = true;
        buf_deinit(&b);
        codec_arena_deinit(&arena);
    }
    for (int type = MESSAGE_HELLO; type <= SAMPLE_TYPES; type++)
        cr_expect(seen[type], "type %d has a row", type);
}

/* The header too, checksum included; XXH3 as its authors publish it. */
Test(golden, the_header_is_as_the_protocol_says)
{
    static const struct message put = PUT;
    static const char expected[] = "d1010200"
                                   "00000012"
                                   "00000007"
                                   "609f61e8"
                                   "97020001c4036b6579c40576616c75650908";
    char hex[200];
    struct buf b = { 0 };
    cr_assert_eq(codec_pack(&put, &b), DLHT_OK);
    to_hex(buf_span(&b), hex);
    cr_expect_str_eq(hex, expected, "%s", hex);
    buf_deinit(&b);
}
