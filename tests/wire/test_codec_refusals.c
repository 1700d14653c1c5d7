/* SPDX-License-Identifier: Apache-2.0 */

/* What no peer would say is refused, in both directions. */

#include "wire/cas_item.h"
#include "wire/codec.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "wire/forge.h"
#include "wire/sample.h"

/* Bodies as hexadecimal, each wrong in one way. */
static const struct {
    uint8_t type;
    const char *body;
    const char *why;
} hostile[] = {
    { MESSAGE_REQUEST, "", "no body" },
    { MESSAGE_REQUEST, "90", "no op" },
    { MESSAGE_REQUEST, "9100", "op 0" },
    { MESSAGE_REQUEST, "9128", "op 40" },
    { MESSAGE_REQUEST, "9102", "put without a key" },
    { MESSAGE_REQUEST, "9103", "get without a key" },
    { MESSAGE_REQUEST, "9104", "del without a key" },
    { MESSAGE_REQUEST, "9105", "cas without a key" },
    { MESSAGE_REQUEST, "94030000c400", "get of the empty key" },
    { MESSAGE_REQUEST, "9403cd200000c40161", "a flag that is none" },
    { MESSAGE_REQUEST, "94030000c50001", "key longer than the frame" },
    { MESSAGE_REQUEST, "94030000c6ffffffff61", "key of 4 GiB" },
    { MESSAGE_REQUEST, "94030000c4016100", "bytes after the body" },
    { MESSAGE_REQUEST, "94034000c40161", "TO_ARC without an arc" },
    { MESSAGE_REQUEST, "9a030000c40161c4000000c000cdea61",
      "timeout above a minute" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c400ddffffffff",
      "4 billion keys" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c40091c400",
      "an empty key in a list" },
    { MESSAGE_REQUEST, "9e070000c400c4000000c000009000c40091c40161",
      "a key without its value" },
    { MESSAGE_REQUEST, "9e030000c40161c4000000c000009000c40091c40161",
      "a list where none belongs" },
    { MESSAGE_REQUEST, "950f0000c400c40181", "document cut short" },
    { MESSAGE_REQUEST, "950f0000c400c40101", "document is no map" },
    { MESSAGE_REQUEST, "950f0000c400c4028000", "bytes after the document" },
    { MESSAGE_REQUEST, "9d080000c40161c4000000c000009000c4016d",
      "an end without its flag" },
    { MESSAGE_RESPONSE, "9101", "a positive status" },
    { MESSAGE_RESPONSE, "91d1efff", "a status below all" },
    { MESSAGE_RESPONSE, "950000c4000092c40161c40162", "not triples" },
    { MESSAGE_HELLO, "920100", "kind 0" },
    { MESSAGE_HELLO, "920103", "kind 3" },
    { MESSAGE_HELLO, "930101c40100", "id of one byte" },
    { MESSAGE_HELLO, "960101c0c000c403610062", "address with a NUL" },
    { MESSAGE_RAFT, "ddffffffff", "4 billion envelopes" },
    { MESSAGE_RAFT, "919400010203", "arc 0" },
    { MESSAGE_RAFT, "919401000203", "type 0" },
    { MESSAGE_RAFT, "9194010a0203", "type 10" },
    { MESSAGE_RAFT, "919401010003", "from 0" },
    { MESSAGE_RAFT, "91980101020301000008", "a bit that is none" },
    { MESSAGE_RAFT, "919c010502030100000000000091920202",
      "entry of a term above the leader's" },
    { MESSAGE_RAFT, "919c010502030500000000030091920202",
      "entry of a term below the one before" },
    { MESSAGE_RAFT, "919c010502030500000000000092920502920402",
      "terms that fall" },
    { MESSAGE_RAFT, "919c010502030500000000000091920500", "entry type 0" },
    { MESSAGE_RAFT, "919c010502030500000000000091920504", "entry type 4" },
    { MESSAGE_RAFT, "919c010502030500000000000091920503",
      "MEMBERS without members" },
    { MESSAGE_RAFT, "919c01050203050000000000009194050 3c4009291079107",
      "a member twice" },
    { MESSAGE_RAFT, "919c010602030500000000000091920501",
      "entries in a reply" },
    { MESSAGE_RAFT,
      "919c0105020305000000cfffffffffffffffff0000"
      "91920501",
      "an index past the last" },
    { MESSAGE_SWIM, "9100", "type 0" },
    { MESSAGE_SWIM, "9105", "type 5" },
    { MESSAGE_SWIM, "9103", "ping request without a target" },
    { MESSAGE_SWIM, "940101c0dc0019", "25 updates" },
    { MESSAGE_GOSSIP, "91dd00000101", "257 arcs" },
    { MESSAGE_GOSSIP, "91dc0100", "256 arcs in no bytes" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c40162c401610091"
      "9201c41000112233445566778899aabbccddeeff",
      "lo above hi" },
    { MESSAGE_GOSSIP, "9191960001c400c00090", "an arc without members" },
    { MESSAGE_GOSSIP,
      "9191960000c400c00091"
      "9201c41000112233445566778899aabbccddeeff",
      "arc 0" },
    { MESSAGE_GOSSIP,
      "9191960001c400c00092"
      "9201c41000112233445566778899aabbccddeeff"
      "9201c41000112233445566778899aabbccddeeff",
      "a replica twice" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c400010103",
      "a keyspace without a name" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010103"
      "00",
      "bytes after" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010303",
      "placement 3" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010102",
      "2 replicas" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40120010103",
      "name with a space" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c00090",
      "an arc without members" },
    { MESSAGE_GOSSIP,
      "91919500"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c001",
      "an arc that stops before them" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c000919200c41000112233445566778899aabbccddeeff",
      "a member without a replica" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c000919301c0c3",
      "a member without a peer" },
    { MESSAGE_RAFT, "919c010502030500000000000091940503c400919200c3",
      "member 0" },
    { MESSAGE_GOSSIP,
      "9290919501"
      "c4017f000103",
      "name with a DEL" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeff"
      "c400c4017f00000001",
      "zone with a DEL" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeff"
      "c400c4010a00000001",
      "zone with a line end" },
    { MESSAGE_JOIN, "90", "nobody" },
    { MESSAGE_JOIN, "9190", "a peer without an id" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc400c400000000"
      "00",
      "peer state 0" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc400c400000000"
      "05",
      "peer state 5" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc4010ac400000000"
      "01",
      "address with a line end" },
    { MESSAGE_STEP,
      "95000101"
      "01c41000112233445566778899aabbccddeeff",
      "kind 0" },
    { MESSAGE_GONE, "920001", "arc 0" },
    { MESSAGE_RING, "9401000905", "no arc that speaks" },
    { MESSAGE_STEP, "9401010101", "no peer" },
    { MESSAGE_STEP, "9406010001", "arc 0" },
    { MESSAGE_GONE, "920100", "replica 0" },
    { MESSAGE_RAFT, "919401010200", "to 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93000102", "arc 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93010002", "from 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93010200", "to 0" },
    { MESSAGE_SNAPSHOT_ACK, "93000102", "arc 0" },
    { MESSAGE_SNAPSHOT_ACK, "93010002", "from 0" },
    { MESSAGE_SNAPSHOT_ACK, "93010200", "to 0" },
    { MESSAGE_SNAPSHOT_ACK, "96010203000004", "a bit that is none" },
    { 0, "90", "type 0" },
    { MESSAGE_RING, "90", "a ring message of nobody" },
    { MESSAGE_RECOVER, "90", "kind 0" },
    { MESSAGE_RECOVER, "93040101", "kind 4" },
    { MESSAGE_RECOVER, "920101", "no arc" },
    { MESSAGE_RECOVER, "930300cd012c", "a take without a new id" },
    { MESSAGE_RECOVER, "960201cd012c000008", "a bit not known" },
    { MESSAGE_MODEL, "90", "kind 0" },
    { MESSAGE_MODEL, "93060101", "kind 6" },
    { MESSAGE_MODEL, "9301cf000000010000000001", "keyspace 2^32" },
    { MESSAGE_MODEL, "94030107ce00110001", "more bytes than a model has" },
    { MESSAGE_MODEL, "9503010700ce00110001", "offset behind the end" },
    { MESSAGE_MODEL, "9603010700ce00110000c40161", "ends behind the end" },
    { MESSAGE_MODEL, "970501020000c40093010203", "three quarters of a count" },
    { MESSAGE_MODEL, "970501020000c400dd00008000",
      "counts that are not there" },
    { MESSAGE_MODEL, "970501020000c400940102c303", "a count that is true" },
    { MESSAGE_MODEL, "9301010700", "bytes after" },
    { MESSAGE_PACE, "91cf0000000100000000", "more than an hour" },
    { MESSAGE_STEP, "960601cd012c04c0cc05", "keys that are a number" },
    { SAMPLE_TYPES + 1, "90", "a type to come" },
    { SAMPLE_TYPES + 1, "", "a type to come, no body" }
};

Test(codec_refusals, refuses_what_no_peer_would_say)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                     hostile[i].type };
        buf_append(&b, header, sizeof header);
        forge_hex(&b, hostile[i].body);
        cr_expect_eq(forge_unpack(&b), DLHT_EPROTO, "type %d: %s",
                     hostile[i].type, hostile[i].why);
        buf_deinit(&b);
    }
}

/* Refused before anything is read through the pointers, which are NULL. */
Test(codec_refusals, packs_nothing_that_would_be_refused)
{
    static const struct keyspace_record many_arcs[] = {
        { .first_arc_count = CODEC_FIRST_ARCS_MAX + 1 }
    };
    static const struct keyspace_record many_in_all[] = {
        { .first_arc_count = CODEC_FIRST_ARCS_MAX }, { .first_arc_count = 1 }
    };
    static const struct keyspace_record long_options[] = {
        { .options.len = KEYSPACE_OPTIONS_MAX + 1 }
    };
    static const struct raft_entry long_entry = {
        .term = 1, .index = 1, .data.len = RAFT_ENTRY_MAX + 1
    };
    static const struct raft_envelope long_append[] = {
        { .message = { .entries = &long_entry, .entry_count = 1 } }
    };
    static const struct raft_envelope many_entries[] = {
        { .message.entry_count = RAFT_APPEND_ENTRIES_MAX + 1 }
    };
    static const struct swim_message many_updates = {
        .update_count = SWIM_UPDATES_MAX + 1
    };
    static const struct message table[] = {
        { .type = MESSAGE_SWIM, .u.swim = &many_updates },
        { .type = MESSAGE_GOSSIP, .u.gossip.arc_count = MESSAGE_ARCS_MAX + 1 },
        { .type = MESSAGE_GOSSIP,
          .u.gossip.keyspace_count = MESSAGE_KEYSPACES_MAX + 1 },
        { .type = MESSAGE_GOSSIP, .u.gossip = { NULL, 0, many_arcs, 1 } },
        { .type = MESSAGE_GOSSIP, .u.gossip = { NULL, 0, many_in_all, 2 } },
        { .type = MESSAGE_WELCOME,
          .u.welcome.peer_count = MESSAGE_PEERS_MAX + 1 },
        { .type = MESSAGE_REPORT, .u.report.count = MESSAGE_ARCS_MAX + 1 },
        { .type = MESSAGE_MODEL, .u.model.bytes.len = MODEL_PART_MAX + 1 },
        { .type = MESSAGE_MODEL,
          .u.model.count_count = MESSAGE_COUNTS_MAX + 1 },
        { .type = MESSAGE_MODEL, .u.model.total = MODEL_TOTAL_MAX + 1 },
        { .type = MESSAGE_MODEL, .u.model.offset = MODEL_TOTAL_MAX + 1 },
        { .type = MESSAGE_STEP, .u.step.keys.len = STEP_KEYS_MAX + 1 },
        { .type = MESSAGE_GOSSIP, .u.gossip = { NULL, 0, long_options, 1 } },
        { .type = MESSAGE_RAFT, .u.raft.count = MESSAGE_RAFTS_MAX + 1 },
        { .type = MESSAGE_RAFT, .u.raft = { long_append, 1 } },
        { .type = MESSAGE_RAFT, .u.raft = { many_entries, 1 } },
        { .type = MESSAGE_SNAPSHOT_CHUNK,
          .u.chunk.bytes.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.end.len = CODEC_KEY_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.value.len = VALUE_LEN_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.list.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_REQUEST,
          .u.request.list_count = CAS_ITEM_BINS * BATCH_COUNT_MAX + 1 },
        { .type = MESSAGE_REQUEST,
          .u.request.keyspace_name.len = KEYSPACE_NAME_MAX + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.value.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.list.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_RESPONSE,
          .u.response.list_count = WIRE_BODY_MAX / 4 + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.cursor.len = CODEC_KEY_MAX + 1 }
    };
    struct buf b = { 0 };
    buf_append(&b, "before", 6);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_eq(codec_pack(&table[i], &b), DLHT_ETOOBIG, "row %zu", i);
        cr_expect(span_equal(buf_span(&b), span_str("before")), "row %zu", i);
    }
    buf_deinit(&b);
}
