/* SPDX-License-Identifier: Apache-2.0 */

/* wire/message.h - everything that peers and clients say to each other, as
 * plain structs.
 *
 * The node makes and reads these; wire/codec.h turns them to bytes and back;
 * both worlds carry the bytes. All spans and arrays are borrowed: of a message
 * to send until the effect is carried out, of one received until node_step
 * returns. Limits are checked when unpacking. */

#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/span.h"
#include "chord/arc.h"
#include "chord/ring.h"
#include "chord/swim.h"
#include "replica/raft.h"

enum {
    WIRE_VERSION = 1,
    WIRE_BODY_MAX = 32 << 20, /* one frame's body */
    WIRE_DEPTH_MAX = 16,
    KEY_LEN_MAX = 64 << 10,
    VALUE_LEN_MAX = 16 << 20,
    KEYSPACE_NAME_MAX = 64, /* bytes */
    KEYSPACE_OPTIONS_MAX = 1024,
    STEP_KEYS_MAX = 256 << 10, /* bytes of keys to cut at */
    STEP_WAYS_MAX = 16,        /* parts that a step cuts an arc into */
    MESSAGE_ARCS_MAX = 256,    /* descriptors in one message */
    REQUEST_AVOID_MAX = 20,    /* arcs */
    DIGEST_PARTS_MAX = 1024,   /* a power of two */
    MESSAGE_PEERS_MAX = 256,
    MESSAGE_KEYSPACES_MAX = 64,
    MESSAGE_COUNTS_MAX = 4096,
    MODEL_PART_MAX = 64 << 10,
    MODEL_TOTAL_MAX = (1 << 20) + (64 << 10), /* a model and what is known of
                                               * it */
    MESSAGE_RAFTS_MAX = 4096,                 /* raft messages in one frame */
    BATCH_COUNT_MAX = 4096,                   /* records in one batch or mget */
    PAGE_BYTES_MAX = 1 << 20 /* of a range answer, beyond which it stops; one
                               * record always fits */
};

/* What a client can ask. Numbers travel. */
enum op {
    OP_PING = 1,
    OP_PUT = 2,
    OP_GET = 3,
    OP_DEL = 4,
    OP_CAS = 5,
    OP_MGET = 6,
    OP_BATCH = 7, /* many puts */
    OP_RANGE = 8,
    OP_COUNT = 9, /* records in a range */
    OP_LOOKUP = 10,
    OP_RING = 11, /* a page of arcs */
    OP_PEERS = 12,
    OP_STATUS = 13,
    OP_KEYSPACE_CREATE = 14,
    OP_KEYSPACE_LIST = 15,
    OP_KEYSPACE_DROP = 16,
    OP_LEAVE = 17,
    OP_ARC_INFO = 18, /* between peers: counts and state of the arc of a key */
    OP_MODEL = 19,    /* value: {action, keyspace, ...}; node/op_model.c */
    OP_KEYSPACE_SET = 20,  /* value: {name, options: {option: text}} */
    OP_KEYSPACE_SHOW = 21, /* value: {name} */
    OP_PRESPLIT = 22,      /* value: {keyspace, keys: [key]}: cut there, though
                            * few keys are there yet */
    OP_MODEL_REPORT = 23,  /* between peers: quantiles of the arc of a key */
    OP_MODEL_SUMS = 24,    /* between peers: its sums over a model's leaves */
    OP_MERGE = 25,         /* between peers: one arc becomes part of the one
                            * before it; value: node/op_merge.c */
    OP_BALANCE = 26,       /* value: {action, ...}; node/op_balance.c */
    OP_PEER_SET = 27,      /* value: {peer, options: {option: text}} */
    OP_RECOVER = 28,       /* value: {arc, accept_loss, empty} */
    OP_CAS_BATCH = 29,     /* all or nothing, in one arc */
    OP_VECTOR_PUT = 30,    /* key: id; value: {vector, meta} */
    OP_VECTOR_GET = 31,    /* key: id */
    OP_SEARCH = 32,        /* value: {vector or id, k, ...}; node/op_search.c */
    OP_VECTORS = 33,       /* value: {action}; node/op_vector.c */
    OP_SEARCH_PEER = 34,   /* between peers: of the arcs that a peer holds;
                            * value: node/search_query.h */
    OP_SEARCH_CONFIRM = 35, /* between peers: how far copies of arcs must have
                             * come to be read; value: node/search_marks.h */
    OP_CACHE_EXPIRE = 36,   /* ttl_ms, 0: the key has no end any more */
    OP_CACHE_FLUSH = 37,    /* all of a cache */
    OP_CACHE_STATS = 38,    /* counters of a cache, summed over its arcs */
    OP_CACHE_LEASE = 39     /* get: of all who miss a key one is to make it */
};

enum request_flag {
    REQUEST_HAS_END = 1,    /* end is meant: an absent end is no bound */
    REQUEST_REVERSE = 2,    /* RANGE: from the end downwards */
    REQUEST_KEYS_ONLY = 4,  /* RANGE: values are left empty */
    REQUEST_STALE = 8,      /* reads: any replica may answer */
    REQUEST_STRICT = 16,    /* reads: ask a majority, trust no lease */
    REQUEST_ALL = 32,       /* writes: await all live replicas */
    REQUEST_TO_ARC = 64,    /* between peers: arc and generation are named;
                              * the receiver serves it or says NOT_OWNER, and
                              * never forwards */
    REQUEST_SCAN = 128,     /* RANGE of a hashed keyspace, in hash order: key
                            * is the cursor of the page before */
    REQUEST_ESTIMATE = 256, /* COUNT: by the model alone, see response */
    /* Of caches, that is volatile keyspaces with bounds: */
    REQUEST_KEEP_TTL = 512, /* PUT, CAS: the end stays as it was */
    REQUEST_PEEK = 1024,    /* GET: no trace in counters or policy */
    REQUEST_LEASED = 2048,  /* PUT: only if the token, in version, is good;
                             * else DLHT_ESTALE */
    REQUEST_NEGATIVE = 4096 /* PUT: remember that there is none */
};

struct request {
    uint8_t op;
    uint16_t flags;
    keyspace_id keyspace; /* 0: see the name; both empty: `default` */
    struct span keyspace_name;
    struct span key;   /* RANGE, COUNT: from, included */
    struct span end;   /* RANGE, COUNT: excluded, if HAS_END */
    struct span value; /* admin operations: a MessagePack map */
    uint64_t version;  /* CAS: expected, 0: absent */
    uint64_t limit;    /* RANGE, RING: records; 0: as fits a page. PUT, CAS of a
                        * cache: us that it took to make the value; 0: not
                        * known */
    struct span list;  /* MGET: key, key...; BATCH: key, value, key,
                                 * value...; CAS_BATCH: wire/cas_item.h:
                                 * MessagePack bins one after the other,
                                 * list_count items */
    uint32_t list_count;
    struct id session;    /* zero: none; the entry node uses its own */
    uint64_t number;      /* of this request in the session, from 1 */
    uint64_t lowest_open; /* all below are answered; 0: number */
    uint32_t timeout_ms;  /* left; 0: 5000; at most 60000 */
    arc_id arc;           /* TO_ARC */
    uint64_t generation;  /* TO_ARC */
    uint8_t hops;         /* forwards so far */
    struct span avoid;    /* TO_ARC: arcs that gave the asker no answer, eight
                           * bytes each, the least first: no hint may be one */
    uint64_t ttl_ms;      /* PUT, CAS, EXPIRE of a cache: it ends so long from
                           * now; 0: never */
};

struct response {
    int32_t status;        /* enum dlht_err */
    uint64_t version;      /* of the value; CAS that differs: current; of
                            * CAS_BATCH: of the last stored, or of the record
                            * that differs;
                            * COUNT with ESTIMATE: count may be off by it;
                            * LEASE: the token, 0: none */
    struct span value;     /* GET, LEASE; admin operations, CACHE_STATS: a
                                 * MessagePack document */
    struct span list;      /* RANGE, MGET: key, value, version triples
                                 * (bin, bin, uint), one after the other */
    uint32_t list_count;   /* triples */
    uint64_t count;        /* COUNT; BATCH: records stored; CAS_BATCH that
                            * differs: which record, from 0; LEASE: enum
                            * cache_answer of store/cache.h */
    bool more;             /* RANGE: go on at cursor */
    struct span cursor;    /* RANGE: next from (REVERSE: next end) */
    uint32_t hops;         /* forwards it took */
    uint32_t peers_asked;  /* RANGE, COUNT: pieces */
    struct span text;      /* of a refusal: what was wrong */
    const struct arc *arc; /* NOT_OWNER: what the answerer knows; NULL */
    uint64_t ttl_ms;       /* GET, LEASE of a cache: what is left; 0: no end */
};

enum hello_kind {
    HELLO_PEER = 1,
    HELLO_CLIENT = 2
};

struct hello {
    uint32_t version;  /* WIRE_VERSION */
    uint8_t kind;      /* enum hello_kind */
    struct id cluster; /* zero: not yet known */
    struct id peer;    /* HELLO_CLIENT: the client's session */
    uint64_t incarnation;
    struct span addr; /* HELLO_PEER: where it listens */
    int32_t status;   /* of a hello in answer: 0, DLHT_EVERSION,
                          * DLHT_ECLUSTER; the link then closes */
};

/* One keyspace as the system arc records it. */
enum placement {
    PLACEMENT_ORDERED = 1,
    PLACEMENT_HASHED = 2
};

struct keyspace_record {
    keyspace_id id;
    struct span name;
    uint64_t version; /* of the record in the system arc: newer wins */
    uint8_t placement;
    uint8_t replicas; /* 1, 3, 5 */
    bool is_volatile;
    bool dropped;           /* being removed; its arcs close */
    uint64_t floor_keys;    /* an arc keeps at least as many when split */
    uint64_t ceiling_bytes; /* an arc that passes it is split */
    struct span options;    /* "name=value name=value": what was set by hand */
    const struct arc *first_arcs; /* founded by their members from this */
    size_t first_arc_count;
};

struct raft_envelope {
    arc_id arc;
    struct raft_message message;
};

/* A snapshot of an arc on its way to a member. Numbered chunks, each answered
 * by a SNAPSHOT_ACK; a chunk with `last` ends it. */
struct snapshot_chunk {
    arc_id arc;
    replica_id from;
    replica_id to;
    uint64_t term;     /* of the sender's leadership */
    uint64_t transfer; /* random: tells transfers of one pair apart */
    uint64_t sequence; /* from 0; chunk 0 is the header (node/arc_state.h) */
    bool last;
    struct span bytes;
};

struct snapshot_ack {
    arc_id arc;
    replica_id from;
    replica_id to;
    uint64_t transfer;
    uint64_t sequence; /* next expected */
    bool done;         /* installed and durable */
    bool refused;      /* start over or give up */
};

/* What an arc's leader tells the owner of the system arc. Keys, bytes,
 * requests and changes above REPORT_COUNT_MAX are heard as that, so that what
 * is made of them by sums and averages stays a number. */
#define REPORT_COUNT_MAX (UINT64_C(1) << 48)

struct arc_report {
    struct arc arc;
    uint64_t keys;
    uint64_t bytes;     /* of keys and values */
    uint64_t requests;  /* since the last report */
    uint64_t changes;   /* keys that came or went since the last report */
    uint16_t caught_up; /* bit i: members[i] is live and caught up */
    uint16_t lost;      /* bit i: members[i] says it lost its replica */
    bool busy;          /* a step is under way */
    bool awaits;        /* of an arc that is a part of this one, the word of a
                         * peer that is up that its copy is gone */
    bool stops;         /* its leader is about to stop */
};

/* One planned step, from the owner of the system arc to an arc's leader. */
enum step_kind {
    STEP_ADD = 1, /* peer becomes a learner */
    STEP_PROMOTE, /* learner becomes a voter */
    STEP_DEMOTE,  /* voter becomes a learner */
    STEP_REMOVE,
    STEP_TRANSFER, /* leadership goes to peer */
    STEP_SPLIT,    /* at each of keys, or if there are none into `ways` parts
                    * of about as many keys */
    STEP_MERGE     /* into the arc `into`, which ends where this one begins */
};

struct step {
    uint8_t kind;
    keyspace_id keyspace;
    arc_id arc;
    uint64_t generation; /* the arc's, else the step is void */
    struct id peer;
    struct span keys; /* MessagePack bins, one after the other, ascending */
    uint32_t ways;    /* SPLIT without keys: 2 to 16; 0 is 2 */
    arc_id into;      /* MERGE */
    uint64_t into_generation;
    struct span into_lo; /* its first key: where its owner is found */
    /* TRANSFER of a volatile arc: what peer has it as, once it has all. */
    replica_id fresh;
    uint64_t fresh_generation;
};

/* Models on their way: who has a newer epoch says so, who lacks it asks. */
enum model_message_kind {
    MODEL_NEWS = 1, /* this epoch is here; 0: none is */
    MODEL_ASK,      /* the bytes of that epoch from offset on */
    MODEL_PART,
    MODEL_COUNT_ASK, /* how many keys do your replicas have? */
    MODEL_COUNTS     /* of those that do not lead */
};

struct model_count {
    arc_id arc;
    uint64_t generation;
    uint64_t applied; /* index of its log */
    uint64_t keys;
};

struct model_message {
    uint8_t kind;
    keyspace_id keyspace;
    uint64_t epoch; /* COUNT_ASK, COUNTS: of the round */
    uint64_t total; /* PART: bytes of the whole */
    uint64_t offset;
    struct span bytes; /* PART: at most MODEL_PART_MAX */
    const struct model_count *counts;
    size_t count_count;
};

/* A group that has lost its majority for good: who has what, and who goes on
 * alone. One number for all of one recovery. */
enum recover_kind {
    RECOVER_ASK = 1, /* what have you of this arc? */
    RECOVER_HAVE,
    RECOVER_TAKE /* your copy goes on alone; answered by HAVE */
};

struct recover_message {
    uint8_t kind;
    uint64_t number;
    arc_id arc;
    replica_id replica;  /* HAVE: the copy here, 0: none; TAKE: the copy meant,
                          * 0: there is none, begin anew with nothing */
    replica_id fresh;    /* TAKE: the id it goes on under */
    bool voter;          /* HAVE */
    bool empty;          /* HAVE: it waits for its first snapshot */
    bool leads;          /* HAVE */
    uint64_t last_term;  /* of the last entry of its log; TAKE: as told */
    uint64_t last_index; /* likewise */
    uint64_t applied;    /* HAVE */
    uint64_t term;       /* TAKE: the new one */
    uint64_t generation; /* of the copy; TAKE: the new one */
    uint64_t keys;       /* HAVE, as applied */
    uint64_t bytes;
    int32_t status;              /* HAVE in answer to TAKE: why not, or 0 */
    const struct arc *arc_known; /* newest descriptor known here, or NULL */
};

enum message_type {
    MESSAGE_HELLO = 1,
    MESSAGE_REQUEST = 2,
    MESSAGE_RESPONSE = 3,
    MESSAGE_RAFT = 4,
    MESSAGE_SNAPSHOT_CHUNK = 5,
    MESSAGE_SNAPSHOT_ACK = 6,
    MESSAGE_SWIM = 7,
    MESSAGE_GOSSIP = 8, /* arcs and keyspaces that may be news */
    MESSAGE_DIGEST = 9, /* of all that the sender's gossip could tell */
    MESSAGE_JOIN = 10,
    MESSAGE_WELCOME = 11, /* the answer to JOIN, in pages */
    MESSAGE_REPORT = 12,
    MESSAGE_STEP = 13,
    MESSAGE_GONE = 14, /* that replica is no member any more: it may go */
    MESSAGE_RING = 15, /* upkeep of Chord pointers, arc to arc */
    MESSAGE_MODEL = 16,
    MESSAGE_RECOVER = 17,
    MESSAGE_PACE = 18 /* how long clients wait; how fast to send copies */
};

struct message {
    uint8_t type;
    uint32_t stream; /* REQUEST, RESPONSE: pairs them on one link */
    union {
        struct hello hello;
        struct request request;
        struct response response;
        struct {
            const struct raft_envelope *list;
            size_t count;
        } raft;
        struct snapshot_chunk chunk;
        struct snapshot_ack ack;
        const struct swim_message *swim; /* it alone is large */
        struct {
            const struct arc *arcs;
            size_t arc_count;
            const struct keyspace_record *keyspaces;
            size_t keyspace_count;
        } gossip;
        struct {
            uint64_t arcs;
            uint64_t keyspaces;
            bool answer; /* this is an answer: do not answer again */
            /* Of the arcs in parts, by a hash of their ids, four bytes each,
             * the least first; empty: not said. */
            struct span parts;
        } digest;
        struct {
            struct peer self;
        } join;
        struct {
            int32_t status; /* why not, or 0 */
            struct id cluster;
            const struct peer *peers;
            size_t peer_count;
        } welcome;
        struct {
            const struct arc_report *list;
            size_t count;
        } report;
        struct step step;
        struct {
            arc_id arc;
            replica_id replica;
            uint64_t generation;
        } gone;
        struct ring_message ring; /* all its arcs are of one keyspace */
        struct model_message model;
        struct {
            uint64_t p99_us;  /* of requests that the sender carries */
            uint64_t samples; /* 0: none were */
            uint64_t rate;    /* bytes of snapshots a second, for some
                               * seconds; 0: nothing is said of it */
        } pace;
        struct recover_message recover;
    } u;
};

#endif
