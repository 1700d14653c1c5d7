/* SPDX-License-Identifier: Apache-2.0 */

/* sim/workload_inner.h - what the parts of a workload know of each other.
 *
 * workload.c          life; a client's request from beginning to end: attempts,
 *                     answers, patience
 * workload_request.c  drawing what to ask for
 * workload_note.c     answers, into the history
 * workload_script.c   the client that loads or verifies */

#ifndef SIM_WORKLOAD_INNER_H
#define SIM_WORKLOAD_INNER_H

#include "base/buf.h"
#include "base/rng.h"
#include "sim/workload.h"

enum {
    MULTI_MAX = 8,  /* keys of one mget or batch */
    LOAD_BATCH = 64 /* keys of a batch of the load */
};

/* What the client does that loads or verifies. */
enum script_step {
    SCRIPT_NONE,
    SCRIPT_LOAD,
    SCRIPT_UP,    /* the whole range upwards */
    SCRIPT_DOWN,  /* downwards */
    SCRIPT_COUNT, /* counted */
    SCRIPT_READ,  /* key by key */
    SCRIPT_PEERS  /* one key, from each peer */
};

struct script {
    enum script_step step;
    size_t at;                      /* key, or peer */
    size_t end;                     /* LOAD: of the keys */
    uint64_t up, down, count, read; /* records found */
};

/* What a client is asking for. */
struct ask {
    struct request request; /* spans point to what follows, or to keys */
    size_t keys[LOAD_BATCH];
    size_t key_count;
    uint64_t values[LOAD_BATCH]; /* ids */
    struct buf bytes;            /* the value, or the list */
    struct buf cursor;           /* of a range */
    uint64_t expected;           /* CAS */
};

struct client {
    struct workload *workload;
    uint32_t index;
    struct id session;
    uint64_t number;
    struct ask ask;
    bool open;
    bool maybe;       /* an attempt was lost: it may have taken effect */
    bool bare;        /* a write without a session: never asked again then */
    uint64_t attempt; /* all attempts of this client so far */
    uint64_t call_ns;
    uint64_t deadline_ns;
    uint64_t success_ns;
    size_t peer;
    struct script script; /* of the client that loads or verifies */
};

struct workload {
    struct world *world;
    struct workload_config config;
    struct rng rng;
    struct history *history;
    uint64_t *versions; /* last seen of each key, for cas */
    size_t *hot;
    struct client *clients; /* and if there are late keys one more, who loads
                             * them */
    size_t known_count;     /* keys that are asked for */
    size_t open_count;
    bool running;
    struct workload_stats stats;
    uint64_t *waits; /* of requests, since workload_waits */
    size_t wait_count, wait_cap;
};

/* workload.c */
/* Begins what client->ask holds. */
void workload_begin(struct client *client);

/* workload_request.c */
/* Draws the next request of a client that runs. */
void workload_make(struct client *client);
/* An empty request under a new number. */
void workload_reset(struct client *client, enum op op);
/* A batch or an mget of LOAD_BATCH keys from first on, or to end. */
void workload_ask_keys(struct client *client, enum op op, size_t first,
                       size_t end);
bool workload_is_write(uint8_t op);

/* workload_note.c */
/* outcome: of LINEAR_..., 0: it did not happen. version 0: not said. */
void workload_note_write(struct client *client, uint8_t outcome,
                         uint64_t version);
void workload_note_absent(struct client *client, size_t key);
void workload_note_mget(struct client *client, const struct response *response);
/* Any answer with DLHT_OK. */
void workload_note_done(struct client *client, const struct response *response);

/* workload_script.c */
void workload_script_note(struct client *client,
                          const struct response *response);
/* Makes what the script wants next; false: it has ended. */
bool workload_script_next(struct client *client);

#endif
