/* SPDX-License-Identifier: Apache-2.0 */

/* bench/load.h - load for a server: one thread, some clients, so many requests
 * open of each, and what became of them. A client has one connection, or with
 * `route` one to each server, and asks the one that leads the key's arc.
 *
 * Requests are made once for each kind; of a copy only the key, what begins
 * the value and the protocol's own numbers change, so that the generator
 * costs well below what it measures. Each answer is looked at: what it is,
 * whether it answers that kind, the length of a value, and if asked for
 * whether the value is that of the key. With a rate, requests fall due at even
 * times, and latency is counted from then: a stall is seen by all that it
 * held up.
 *
 * A round ends at an instant. Rates are of what was answered before it;
 * latency and errors are of all that was asked before it, and with a rate also
 * of what was due and found no room to be asked, lest a stall that lasts to
 * the end be seen by nobody. */

#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../cmd/cli/histogram.h"
#include "base/buf.h"
#include "base/rng.h"
#include "base/span.h"
#include "wire/codec.h"

enum {
    LOAD_CONNECTIONS_MAX = 1024,
    LOAD_PIPELINE_MAX = 1024,
    LOAD_IDS = 4096, /* open requests of a connection differ in id by less */
    LOAD_NO_SLOT = LOAD_IDS,
    LOAD_SERVERS_MAX = 16,
    LOAD_KEY_MIN = 12, /* a letter or more, then the number */
    LOAD_KEY_MAX = 250,
    LOAD_VALUE_MAX = 1 << 20,
    LOAD_KEYS_MAX = 1000000000,
    LOAD_FILL_PIPELINE = 64 /* at least, while keys are put before */
};

enum load_kind {
    LOAD_GET,
    LOAD_SET,
    LOAD_KINDS
};

enum load_distribution {
    LOAD_UNIFORM,
    LOAD_ZIPF,
    LOAD_SEQUENTIAL
};

/* What the front of the input is. */
enum load_answer {
    LOAD_MORE,    /* not yet all there */
    LOAD_NOTHING, /* bytes that answer no request */
    LOAD_VALUE,
    LOAD_MISS,
    LOAD_STORED,
    LOAD_REFUSED,
    LOAD_PART, /* of an answer: what it will be is told in reply.is */
    LOAD_END,  /* of an answer that came in parts */
    LOAD_BROKEN
};

struct load_reply {
    size_t used;         /* bytes of the input */
    uint32_t id;         /* numbered protocols: of the request */
    struct span bytes;   /* the value; why it is refused or broken */
    uint32_t hops;       /* native: nodes that it was fetched from */
    enum load_answer is; /* LOAD_PART */
};

/* A request as it is sent but for its key, at key_at, and the beginning of its
 * value, at value_at (0: it has none), which is the key again. */
struct load_form {
    struct buf bytes;
    size_t key_at;
    size_t value_at;
};

struct load;
struct load_connection;

struct load_protocol {
    const char *name;
    bool numbered; /* answers name their request: they may overtake others */
    /* What is said first (NULL: nothing). */
    void (*hello)(struct load *load, struct load_connection *c);
    void (*make)(const struct load *load, enum load_kind kind,
                 struct load_form *form);
    /* Makes a copy of a form that request (NULL: nothing is to be done). */
    void (*stamp)(uint8_t *request, const struct load_form *form, uint32_t id);
    enum load_answer (*take)(struct load_connection *c, struct span input,
                             struct load_reply *reply);
};

extern const struct load_protocol load_resp, load_memcached, load_native,
    load_grpc;

struct load_options {
    const struct load_protocol *protocol;
    const char *to[LOAD_SERVERS_MAX]; /* clients take them in turn */
    size_t to_count;
    bool route;           /* ... or have all of them, and ask owners */
    uint32_t connections; /* clients */
    uint32_t pipeline;
    uint32_t keys;
    size_t key_size;
    size_t value_size;
    uint32_t gets, sets; /* ratio */
    enum load_distribution distribution;
    double seconds;
    double warm_seconds;
    double rate; /* requests a second of all; 0: as fast as answers come */
    bool fill;
    bool check; /* values begin with their key */
    bool json;
    uint64_t seed;
    const char *keyspace;           /* native; NULL: default */
    int database;                   /* resp; -1: as it is */
    long servers[LOAD_SERVERS_MAX]; /* processes whose time is counted */
    size_t server_count;
};

/* What happened between two instants. */
struct load_figures {
    struct histogram latency; /* gets, sets, late and unsent */
    uint64_t gets, sets;      /* answered without error before the end */
    uint64_t hits, misses;
    uint64_t late;      /* answered so after it */
    uint64_t unsent;    /* due before it, never sent: their age at the end */
    uint64_t errors;    /* refusals, those after the end too */
    uint64_t wrong;     /* values that are not what was put */
    uint64_t forwarded; /* not answered by who was asked */
    char first_error[128];
    double seconds;
    double cpu_ns;    /* of this thread */
    double waited_ns; /* it could have run, and others did */
    double server_ns; /* of the servers; 0: not asked for */
};

struct load_slot {
    uint64_t since_ns;
    uint32_t id;
    uint32_t key;
    uint8_t kind;    /* enum load_kind */
    uint8_t pending; /* enum load_answer; LOAD_MORE: nothing came yet */
};

struct load_connection {
    struct load_client *client;
    int fd;
    bool greeting; /* what comes first answers the hello */
    bool blocked;  /* not all of out could be written */
    struct load_slot *slots;
    uint32_t *free; /* slots, as a stack */
    uint32_t free_count;
    uint32_t *slot_of; /* LOAD_IDS; by id */
    uint32_t next_id, oldest_id;
    struct buf out;
    size_t out_sent;
    struct buf rest;      /* of an answer that is not whole */
    uint64_t taken_bytes; /* load_grpc: since the window was widened */
};

struct load_client {
    struct load *load;
    struct load_connection *connections;
    size_t connection_count;
    uint32_t open_count;
    uint64_t due_ns; /* with a rate: of the next request */
};

struct load_draw {
    enum load_distribution distribution;
    struct rng rng;
    uint32_t keys;
    uint32_t next;     /* sequential */
    uint32_t *drawn;   /* zipf: made before, as it is slow */
    uint32_t drawn_at; /* next of them */
    uint32_t gets, all;
};

struct load {
    const struct load_options *options;
    struct load_form forms[LOAD_KINDS];
    struct load_draw draw;
    struct codec_arena arena; /* load_native */
    struct load_client *clients;
    uint8_t *routes; /* which connection a key is asked on; NULL: the first */
    struct load_figures figures;
    uint8_t *input; /* shared by all connections */
    size_t input_cap;
    int poll;
    uint32_t depth;      /* open requests of a client, now */
    uint64_t filled;     /* keys put before */
    uint64_t gap_ns;     /* between two requests of a client; 0: none */
    uint64_t end_ns;     /* of what is measured */
    uint64_t open_count; /* of all clients */
    uint64_t heard_ns;   /* when the last answer came */
    enum {
        LOAD_FILLING,
        LOAD_RUNNING,
        LOAD_ENDING
    } phase;
};

/* load_draw.c: what is asked. */
void load_draw_init(struct load_draw *draw, const struct load_options *options);
void load_draw_deinit(struct load_draw *draw);
uint32_t load_draw_key(struct load_draw *draw);
enum load_kind load_draw_kind(struct load_draw *draw);
/* The last ten bytes of a key of that size. Its first are load_key_form's. */
void load_key_write(uint8_t *key, size_t size, uint32_t number);
void load_key_form(uint8_t *key, size_t size);

/* load_sys.c: clocks and sockets. */
uint64_t load_now_ns(void);
double load_cpu_ns(void);
double load_waited_ns(void);
double load_servers_ns(const struct load_options *options);
/* HOST:PORT or unix:PATH, connected and not blocking. Ends the program if
 * there is nobody. */
int load_connect(const char *to);
/* Ends the program. */
_Noreturn void load_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* load_route.c: for each key which of options->to leads its arc now, as libdlht
 * finds it; the caller's to free. Ends the program if it is none of them. */
uint8_t *load_route(const struct load_options *options);

/* load_loop.c: the figures of one run. */
void load_run(const struct load_options *options, struct load_figures *out);

/* load.c: the subcommand, and bars.c; argv[0] is its name. */
int bench_load(int argc, char **argv);
int bench_bars(int argc, char **argv);

#endif
