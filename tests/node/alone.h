/* SPDX-License-Identifier: Apache-2.0 */

/* tests/node/alone.h - a node without peers, driven by hand. It has no disk, or
 * one that never fails and is never read. */

#ifndef TESTS_NODE_ALONE_H
#define TESTS_NODE_ALONE_H

#include "node/node.h"

struct alone {
    struct node *node;
    struct effects fx;
    uint64_t now_ns;
    bool ready;
    bool answered;
    bool runs_jobs;           /* at once; else nobody does */
    uint64_t job;             /* 0: none is to be told of */
    bool stalls;              /* what is synced is not told of */
    uint64_t sync;            /* 0: none is to be told of */
    struct response response; /* spans into kept */
    struct buf kept;
    /* Set after alone_init where they are wanted: */
    uint64_t patience_ms; /* for an answer; 0: 1000 */
    /* What it sends, good until that returns, which must not step. */
    void (*sends)(struct alone *a, const struct id *to,
                  const struct message *message);
    void (*idle)(struct alone *a); /* every ten milliseconds */
};

void alone_init(struct alone *a, uint64_t seed);
void alone_init_durable(struct alone *a, uint64_t seed);
void alone_deinit(struct alone *a);

/* Lets time pass, tick by tick, with a flush after each. */
void alone_run(struct alone *a, uint64_t ms);

/* Asks, and lets at most a virtual second pass (patience_ms) until the answer,
 * which is valid until the next call. */
const struct response *alone_ask(struct alone *a,
                                 const struct request *request);

/* The two halves of asking: a request comes; the turn ends. */
void alone_begin(struct alone *a, const struct request *request);
void alone_flush(struct alone *a);

/* A message comes from a peer. */
void alone_hear(struct alone *a, const struct message *message);
void alone_hear_from(struct alone *a, const struct id *from,
                     const struct message *message);

int alone_put(struct alone *a, const char *key, const char *value);

#endif
