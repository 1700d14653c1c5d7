/* SPDX-License-Identifier: Apache-2.0 */

/* The table of verbs, and running one of them. */

#include "verbs.h"

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "presplit.h"

static const struct option put_options[] = {
    { "file", OPTION_BYTES, "FILE", "the value is what FILE holds", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option get_options[] = {
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { "version", OPTION_FLAG, NULL, "VERSION<TAB>VALUE, for cas", 0, 0 },
    { "raw", OPTION_FLAG, NULL, "no newline behind the value", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option mget_options[] = {
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option range_options[] = {
    { "prefix", OPTION_BYTES, "P", "keys that begin with P", 0, 0 },
    { "positions", OPTION_BYTES, "A..B",
      "keys by ring position, as the learned model has it: 25%..37.5%", 0, 0 },
    { "limit", OPTION_NUMBER, "N", "at most N records", 1, UINT64_MAX },
    { "reverse", OPTION_FLAG, NULL, "from the end downwards", 0, 0 },
    { "keys", OPTION_FLAG, NULL, "keys without values", 0, 0 },
    { "count", OPTION_FLAG, NULL, "only how many there are", 0, 0 },
    { "estimate", OPTION_FLAG, NULL,
      "with --count: what the learned model says, N +- E, at once", 0, 0 },
    { "stats", OPTION_FLAG, NULL,
      "on standard error: parts, peers asked, messages, hops", 0, 0 },
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option dump_options[] = {
    { "prefix", OPTION_BYTES, "P", "keys that begin with P", 0, 0 },
    { "format", OPTION_CHOICE, "lines|tsv|jsonl",
      "as load reads them (tsv; with --json jsonl)", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option load_options[] = {
    { "format", OPTION_CHOICE, "lines|tsv|jsonl", "what FILE holds (lines)", 0,
      0 },
    { "arcs", OPTION_NUMBER, "N",
      "cut the keyspace ahead into about N arcs (8 a peer)", 1,
      PRESPLIT_ARCS_MAX },
    { "no-presplit", OPTION_FLAG, NULL, "do not cut it ahead", 0, 0 },
    { "verbose", OPTION_FLAG, NULL, "say on standard error what was cut", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

/* The grid of box; each of its verbs needs the whole of it. */
#define GRID_OPTIONS                                                             \
    { "dims", OPTION_NUMBER, "N", "coordinates of a point, 2 to 8", 2, 8 },      \
        { "bits", OPTION_NUMBER, "B", "2^B cells a dimension (32)", 1, 32 },     \
        { "min", OPTION_BYTES, "A,B...", "least coordinates (0)", 0, 0 },        \
        { "max", OPTION_BYTES, "C,D...", "greatest (2^bits - 1)", 0, 0 },        \
        { "latlon", OPTION_FLAG, NULL, "points are LATITUDE,LONGITUDE", 0, 0 },  \
        { "curve", OPTION_CHOICE, "hilbert|z", "order of the keys (hilbert)", 0, \
          0 },                                                                   \
    {                                                                            \
        "key-prefix", OPTION_BYTES, "P", "keys begin with P", 0, 0               \
    }

static const struct option box_options[] = {
    GRID_OPTIONS, { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option box_get_options[] = {
    GRID_OPTIONS,
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option box_range_options[] = {
    GRID_OPTIONS,
    { "ranges", OPTION_NUMBER, "N", "ranges of keys to ask for at most (64)", 1,
      1024 },
    { "limit", OPTION_NUMBER, "N", "at most N records", 1, UINT64_MAX },
    { "count", OPTION_FLAG, NULL, "only how many there are", 0, 0 },
    { "stats", OPTION_FLAG, NULL,
      "on standard error: ranges, keys read and kept, parts", 0, 0 },
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

#define GRID_HELP                                                              \
    "A point is coordinates with commas: 3,4 or, with --latlon, "              \
    "48.8566,2.3522.\nThe grid is not kept: give the same --dims, --bits, "    \
    "--min, --max, --latlon,\n--curve and --key-prefix each time, and a "      \
    "prefix or a keyspace to points alone."

static const struct option lookup_options[] = {
    { "position", OPTION_BYTES, "P",
      "what is there on the ring: 0x..., a number or 37.5%", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option create_options[] = {
    { "placement", OPTION_CHOICE, "ordered|hashed",
      "by key order, or spread by hash (ordered)", 0, 0 },
    { "replicas", OPTION_NUMBER, "N", "1, 3 or 5 (as the node was told)", 1,
      5 },
    { "volatile", OPTION_FLAG, NULL, "in memory, unreplicated: loss is a miss",
      0, 0 },
    { "max-bytes", OPTION_SIZE, "B",
      "a cache: each peer keeps so much of it (1M at the least)", 1 << 20,
      UINT64_C(1) << 50 },
    { "max-items", OPTION_NUMBER, "N",
      "a cache: each peer keeps so many entries (256 at the least)", 256,
      UINT64_C(1) << 50 },
    { "policy", OPTION_CHOICE, "s3fifo|lru",
      "which entry goes when a cache is full (s3fifo)", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option cache_set_options[] = {
    { "ttl", OPTION_NUMBER, "MS", "it ends so long from now (never)", 1,
      UINT64_C(1) << 50 },
    { "cost", OPTION_NUMBER, "US",
      "what it took to make it: dear entries stay longer", 1, UINT32_MAX },
    { "keep-ttl", OPTION_FLAG, NULL, "it ends as it did", 0, 0 },
    { "if-absent", OPTION_FLAG, NULL, "only if there is none", 0, 0 },
    { "negative", OPTION_FLAG, NULL,
      "remember for some seconds that there is none", 0, 0 },
    { "token", OPTION_NUMBER, "T", "of cache get --lease", 1, UINT64_MAX },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option cache_get_options[] = {
    { "lease", OPTION_FLAG, NULL, "or a token to make it", 0, 0 },
    { "peek", OPTION_FLAG, NULL, "leave no trace in counters", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option train_options[] = {
    { "wait", OPTION_FLAG, NULL, "until the model is published", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option plan_options[] = {
    { "what-if", OPTION_BYTES, "CHANGES",
      "with other peers: add=WEIGHT, remove=HOST:PORT, commas between", 0, 0 },
    { "limit", OPTION_NUMBER, "N", "list at most N steps (2000)", 1, 2000 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option leave_options[] = {
    { "wait", OPTION_NUMBER, "SECONDS", "give up after (600)", 1, 86400 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option recover_options[] = {
    { "accept-loss", OPTION_FLAG, NULL, "do it, whatever may be lost", 0, 0 },
    { "empty", OPTION_FLAG, NULL, "no copy is left: begin with nothing", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option bench_options[] = {
    { "workload", OPTION_CHOICE, "get|put|mixed|range",
      "mixed: half get, half put; range: 100 records (get)", 0, 0 },
    { "clients", OPTION_NUMBER, "N", "connections, a thread each (4)", 1, 256 },
    { "pipeline", OPTION_NUMBER, "N", "requests open on each (16)", 1, 4096 },
    { "rate", OPTION_NUMBER, "N", "requests a second in all (as many as go)", 1,
      100000000 },
    { "seconds", OPTION_NUMBER, "S", "to measure (10)", 1, 86400 },
    { "keys", OPTION_NUMBER, "N", "loaded before (100000)", 1, 1000000000 },
    { "value-size", OPTION_SIZE, "B", "bytes of a value (100)", 0,
      CLI_VALUE_MAX },
    { "distribution", OPTION_CHOICE, "uniform|zipf|sequential",
      "of the keys asked (uniform; zipf: 0.99)", 0, 0 },
    { "no-load", OPTION_FLAG, NULL, "the keys are there from a run before", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option hashring_options[] = {
    { "keys", OPTION_BYTES, "FILE", "count its lines (-: standard input)", 0,
      0 },
    { "replicas", OPTION_NUMBER, "N", "copies of a key (1)", 1, 16 },
    { "vnodes", OPTION_NUMBER, "V",
      "tokens per unit of weight (128; chosen: 8)", 1, 65536 },
    { "hash", OPTION_CHOICE, "xxh3|md5", "of keys and tokens (xxh3)", 0, 0 },
    { "hash-seed", OPTION_NUMBER, "S", "another ring of the same names", 1,
      INT64_MAX },
    { "chosen", OPTION_FLAG, NULL, "tokens cut from the fullest of 8 samples",
      0, 0 },
    { "probes", OPTION_NUMBER, "K", "places of a key, the best counts (1)", 1,
      64 },
    { "remove", OPTION_BYTES, "NODE", "and what would move without NODE", 0,
      0 },
    { "add", OPTION_BYTES, "NODE", "and what would move with it", 0, 0 },
    { "dump", OPTION_FLAG, NULL, "the ring itself, with all tokens, as JSON", 0,
      0 },
    { "from", OPTION_BYTES, "FILE", "the ring that --dump wrote (no NODE)", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_create_options[] = {
    { "dim", OPTION_NUMBER, "D", "numbers of a vector", 1, 16384 },
    { "metric", OPTION_CHOICE, "cosine|l2|ip", "what near means (cosine)", 0,
      0 },
    { "m", OPTION_NUMBER, "N", "links of a vector in the graph (16)", 2, 128 },
    { "ef-construction", OPTION_NUMBER, "N",
      "candidates while the graph is built (200)", 1, 65536 },
    { "ef", OPTION_NUMBER, "N", "candidates of a search (64)", 1, 65536 },
    { "quantization", OPTION_CHOICE, "none|f16|int8",
      "of the graph; hits are ranked by full vectors anyway (int8)", 0, 0 },
    { "index-type", OPTION_CHOICE, "hnsw|exact",
      "a graph, or look at all each time (hnsw)", 0, 0 },
    { "index", OPTION_MANY, "FIELD",
      "of metadata, that filters are quick on; may be given again", 0, 0 },
    { "replicas", OPTION_NUMBER, "N", "1, 3 or 5 (as the node was told)", 1,
      5 },
    { "placement", OPTION_CHOICE, "ordered|hashed",
      "by order of the ids, or spread by hash (ordered)", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_rebuild_options[] = {
    { "wait", OPTION_FLAG, NULL, "until the graph is built", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_put_options[] = {
    { "values", OPTION_BYTES, "\"1 2 3\"", "the numbers; [1, 2, 3] will do too",
      0, 0 },
    { "meta", OPTION_BYTES, "JSON", "metadata: an object", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_get_options[] = {
    { "stale", OPTION_FLAG, NULL, "any replica may answer, perhaps late", 0,
      0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_load_options[] = {
    { "format", OPTION_CHOICE, "fvecs|npy|jsonl",
      "what FILE holds (by its name's end)", 0, 0 },
    { "ids-from", OPTION_NUMBER, "N", "id of the first row (0)", 0,
      UINT64_MAX / 2 },
    { "pipeline", OPTION_NUMBER, "N", "vectors under way at once (256)", 1,
      4096 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

/* What to look for, how, and where. */
#define SEARCH_OPTIONS                                                         \
    { "k", OPTION_NUMBER, "N", "hits wanted (10)", 1, 10000 },                 \
        { "ef", OPTION_NUMBER,                                                 \
          "N",  "candidates: more finds more, slower (the collection's)",      \
          1,    65536 },                                                       \
        { "filter", OPTION_BYTES,                                              \
          "EXPR",   "only where it holds: 'lang = \"en\" and year > 2020'",    \
          0,        0 },                                                       \
        { "stale", OPTION_FLAG, NULL, "any replicas may answer", 0, 0 },       \
        { "format",                                                            \
          OPTION_CHOICE,                                                       \
          "fvecs|npy|jsonl",                                                   \
          "what the file holds (by its name's end)",                           \
          0,                                                                   \
          0 },                                                                 \
    {                                                                          \
        "pipeline", OPTION_NUMBER, "N",                                        \
            "queries of the file under way at once (16)", 1, 256               \
    }

static const struct option vector_search_options[] = {
    { "values", OPTION_BYTES, "\"1 2 3\"", "near this vector", 0, 0 },
    { "id", OPTION_BYTES, "ID", "near the vector stored under ID", 0, 0 },
    { "file", OPTION_BYTES, "FILE", "near each vector of FILE", 0, 0 },
    SEARCH_OPTIONS,
    { "with", OPTION_BYTES, "meta,vector", "hits carry these too", 0, 0 },
    { "exact", OPTION_FLAG, NULL, "look at all of them", 0, 0 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

static const struct option vector_recall_options[] = {
    { "file", OPTION_BYTES, "FILE", "the queries", 0, 0 },
    SEARCH_OPTIONS,
    { "limit", OPTION_NUMBER, "N", "the first N queries (1000)", 1, 1000000 },
    { NULL, OPTION_FLAG, NULL, NULL, 0, 0 }
};

#define COLLECTION_HELP "The collection is that of -k, before the verb."

const struct verb verbs_table[] = {
    { "put", "KEY VALUE | KEY --file FILE | KEY -", "store a value",
      "With - the value is read from standard input, to its end.", cmd_put, 1,
      2, put_options },
    { "get", "KEY", "print a value", NULL, cmd_get, 1, 1, get_options },
    { "del", "KEY", "remove a key", "Exit code 1 if there was none.", cmd_del,
      1, 1, NULL },
    { "cas", "KEY VERSION VALUE", "store if the version is still VERSION",
      "VERSION is what get --version prints, 0 for a key that must be "
      "absent.\nIf it differs, prints the current one; exit code 1.",
      cmd_cas, 3, 3, NULL },
    { "cas-batch", "(KEY VERSION put VALUE | KEY VERSION del)...",
      "change several keys, or none",
      "All are changed if each is still at its VERSION: as get --version "
      "prints\nit, 0 for absent, or any. Else prints KEY<TAB>VERSION of the "
      "first that\ndiffers; exit code 1. The keys must lie in one arc of the "
      "ring, as those with\na common prefix mostly do.",
      cmd_cas_batch, 3, SIZE_MAX, NULL },
    { "mget", "KEY...", "print several: KEY<TAB>VALUE a line",
      "Missing keys are left out; exit code 1 if there are any.", cmd_mget, 1,
      SIZE_MAX, mget_options },
    { "range", "[FROM [TO]]", "print records in key order",
      "FROM is included, TO excluded.", cmd_range, 0, 2, range_options },
    { "load", "FILE | -", "store many records",
      "lines: the key is the line, the value its number. tsv: KEY<TAB>VALUE.\n"
      "jsonl: {\"key\": ..., \"value\": ...} a line, bytes as "
      "{\"base64\": ...}.\n"
      "From 20,000 records on, a keyspace in key order that is not yet cut\n"
      "into as many arcs as its peers could lead is cut at the quantiles of\n"
      "a sample first, so that all peers take part from the start. For that\n"
      "FILE is read twice; of standard input the first lines are held back,\n"
      "100,000 or those of 3 seconds.",
      cmd_load, 1, 1, load_options },
    { "dump", "", "print all records as load reads them", NULL, cmd_dump, 0, 0,
      dump_options },
    { "box put", "X,Y[,Z...] VALUE", "store a point", GRID_HELP, cmd_box_put, 2,
      2, box_options },
    { "box get", "POINT", "print the value of a point", GRID_HELP, cmd_box_get,
      1, 1, box_get_options },
    { "box del", "POINT", "remove a point",
      GRID_HELP "\nExit code 1 if there was none.", cmd_box_del, 1, 1,
      box_options },
    { "box range", "FROM_POINT TO_POINT", "print the points of a box",
      GRID_HELP
      "\nFROM_POINT has the least coordinates, TO_POINT the greatest; "
      "both are included.\nWith --latlon, a longitude of FROM_POINT "
      "above that of TO_POINT goes over 180.\nPrints "
      "X,Y<TAB>VALUE a line, in the order of the curve.",
      cmd_box_range, 2, 2, box_range_options },
    { "box load", "FILE | -", "store many points",
      GRID_HELP "\nA line is X,Y[,Z...]<TAB>VALUE.", cmd_box_load, 1, 1,
      box_options },
    { "lookup", "KEY | --position P", "where a key lives and how it is found",
      NULL, cmd_lookup, 0, 1, lookup_options },
    { "ring", "", "the arcs", "All keyspaces, or the one of -k.", cmd_ring, 0,
      0, NULL },
    { "peers", "", "the peers and what they hold", NULL, cmd_peers, 0, 0,
      NULL },
    { "status", "", "is all well, and may a peer be stopped", NULL, cmd_status,
      0, 0, NULL },
    { "keyspace create", "NAME", "make a keyspace",
      "A volatile keyspace is spread by hash and kept by one peer a part, in "
      "memory:\nwhat a peer holds of it is lost with its process. With a bound "
      "it is a cache.",
      cmd_keyspace_create, 1, 1, create_options },
    { "cache set", "KEY VALUE | KEY --negative", "store an entry of a cache",
      "The keyspace of -k was created with --volatile and --max-bytes or "
      "--max-items.\nExit code 1 if --if-absent met an entry, or the token is "
      "not good any more.",
      cmd_cache_set, 1, 2, cache_set_options },
    { "cache get", "KEY", "print the value of an entry",
      "With --lease, of all who miss an entry one gets a token: it makes the "
      "value and\nstores it with cache set --token. Exit code 1 if there is no "
      "value.",
      cmd_cache_get, 1, 1, cache_get_options },
    { "cache del", "KEY", "remove an entry", NULL, cmd_cache_del, 1, 1, NULL },
    { "cache ttl", "KEY", "print how many milliseconds an entry has left",
      "never: it has no end.", cmd_cache_ttl, 1, 1, NULL },
    { "cache touch", "KEY TTL", "give an entry another end",
      "TTL is milliseconds from now, or never.", cmd_cache_touch, 2, 2, NULL },
    { "cache flush", "", "forget all entries", NULL, cmd_cache_flush, 0, 0,
      NULL },
    { "cache stats", "", "counters, summed over the peers", NULL,
      cmd_cache_stats, 0, 0, NULL },
    { "cache signature", "JSON | -", "print the name of a request",
      "32 hexadecimal digits, the same however the members of JSON are "
      "ordered.\nNo peer is asked.",
      cmd_cache_signature, 1, 1, NULL },
    { "keyspace list", "", "the keyspaces", NULL, cmd_keyspace_list, 0, 0,
      NULL },
    { "keyspace drop", "NAME", "remove a keyspace and all it holds", NULL,
      cmd_keyspace_drop, 1, 1, NULL },
    { "keyspace set", "NAME OPTION=VALUE...", "change options while it runs",
      "All of them are changed, or none. keyspace show lists them.",
      cmd_keyspace_set, 2, SIZE_MAX, NULL },
    { "keyspace show", "NAME", "its options, their values and defaults", NULL,
      cmd_keyspace_show, 1, 1, NULL },
    { "keyspaces", "", "the same as keyspace list", NULL, cmd_keyspace_list, 0,
      0, NULL },
    { "model show", "", "the learned model of the keyspace",
      "Errors are shares of all keys, measured now: KS is the greatest "
      "distance of\nthe model from the true distribution.",
      cmd_model_show, 0, 0, NULL },
    { "model train", "", "train it anew, whatever the triggers say", NULL,
      cmd_model_train, 0, 0, train_options },
    { "model export", "FILE | -", "write the packed model to FILE", NULL,
      cmd_model_export, 1, 1, NULL },
    { "model import", "FILE | -", "publish what was exported", NULL,
      cmd_model_import, 1, 1, NULL },
    { "model history", "", "the models so far, newest first", NULL,
      cmd_model_history, 0, 0, NULL },
    { "balance plan", "", "what would be moved, and why",
      "Nothing moves for it: the planner is played through on a copy. The "
      "least is what\nmust move until each peer holds its share by weight.",
      cmd_balance_plan, 0, 0, plan_options },
    { "balance status", "", "what moves, how much has, and how even it is",
      NULL, cmd_balance_status, 0, 0, NULL },
    { "balance pause", "", "stop moving arcs; missing copies are still made",
      "Holds until balance resume, over restarts too.", cmd_balance_pause, 0, 0,
      NULL },
    { "balance resume", "", "go on moving arcs", NULL, cmd_balance_resume, 0, 0,
      NULL },
    { "balance set", "rate=SIZE", "how fast a peer copies arcs to others",
      "Bytes a second with K, M or G, of each peer; rate=default: what each "
      "was "
      "started\nwith as --move-rate.",
      cmd_balance_set, 1, 1, NULL },
    { "peer set", "HOST:PORT OPTION=VALUE...",
      "change a peer's weight or zone while it runs",
      "weight=W (0.1 to 100), zone=NAME, leaving=no (takes a leave back). "
      "Holds "
      "over\nrestarts until the peer is started with another --weight or "
      "--zone than it has\nnow; weight=default and zone=default end it.",
      cmd_peer_set, 2, SIZE_MAX, NULL },
    { "leave", "HOST:PORT", "empty a peer so that it may be stopped",
      "Returns when the peer may be stopped.", cmd_leave, 1, 1, leave_options },
    { "recover", "ARC", "go on with one copy when the majority is lost",
      "ARC is as ring and status print it. The last resort: peers that come\n"
      "back with their disks need none. Without --accept-loss it says which\n"
      "copy the arc would go on with and what may be lost, changes nothing,\n"
      "and the exit code is 4. --empty of an arc that has an owner is about\n"
      "the keys behind it, if no arc is known of them. docs/operations.md.",
      cmd_recover, 1, 1, recover_options },
    { "vector create", "NAME", "make a collection of vectors",
      "Only ef can be changed afterwards: keyspace set NAME vector-ef=N.",
      cmd_vector_create, 1, 1, vector_create_options },
    { "vector list", "", "the collections", NULL, cmd_vector_list, 0, 0, NULL },
    { "vector info", "NAME", "how it was made, and what the node asked has",
      NULL, cmd_vector_info, 1, 1, NULL },
    { "vector drop", "NAME", "remove a collection and all it holds", NULL,
      cmd_vector_drop, 1, 1, NULL },
    { "vector put", "ID", "store a vector", COLLECTION_HELP, cmd_vector_put, 1,
      1, vector_put_options },
    { "vector load", "FILE | -", "store many vectors",
      COLLECTION_HELP
      "\nfvecs: rows of an int32, how many numbers, and as many float32. npy: "
      "an array\nof two dimensions of float32 or float64. In both a vector's "
      "id is the number\nof its row. jsonl: {\"id\": ..., \"vector\": [...], "
      "\"meta\": {...}} a line.",
      cmd_vector_load, 1, 1, vector_load_options },
    { "vector get", "ID", "print a vector: [VALUES]<TAB>META", COLLECTION_HELP,
      cmd_vector_get, 1, 1, vector_get_options },
    { "vector del", "ID", "remove a vector",
      COLLECTION_HELP "\nExit code 1 if there was none.", cmd_vector_del, 1, 1,
      NULL },
    { "vector search", "", "print the nearest: ID<TAB>DISTANCE",
      COLLECTION_HELP
      "\nThe nearest first, at most N of them. --with adds META and [VALUES] "
      "to a line;\nwith --file the number of the query, from 0, comes first. "
      "Smaller is nearer:\nl2 is the square of the distance, cosine 1 - "
      "cosine, ip the product negated.\nIf part of the ring did not answer, "
      "that is said on standard error (partial).",
      cmd_vector_search, 0, 0, vector_search_options },
    { "vector recall", "", "how much of the truth a search finds",
      COLLECTION_HELP
      "\nAsks each query of the file twice, with the graph and exactly, and "
      "prints what\nshare of the true nearest was found, and the rate of "
      "both.",
      cmd_vector_recall, 0, 0, vector_recall_options },
    { "vector rebuild", "NAME", "build the node's graph anew, while it serves",
      "Of the node asked (-n): each has its own.", cmd_vector_rebuild, 1, 1,
      vector_rebuild_options },
    { "bench", "", "measure rate and latency",
      "Each client keeps its pipeline full (a closed loop). Uses the keys\n"
      "bench:0... of the keyspace and leaves them there. Ctrl-C ends it early.",
      cmd_bench, 0, 0, bench_options },
    { "hashring", "NODE... | --from FILE",
      "what nodes would hold on a hash ring",
      "NODE is NAME[=WEIGHT][@ZONE]. No cluster is asked; docs/hashring.md.",
      cmd_hashring, 0, SIZE_MAX, hashring_options },
    { "ping", "", "does a node answer", NULL, cmd_ping, 0, 0, NULL },
    { NULL, NULL, NULL, NULL, NULL, 0, 0, NULL }
};

static bool word_is(const struct word *word, const char *text, size_t len)
{
    return word->len == len && memcmp(word->data, text, len) == 0;
}

const struct verb *verbs_find(const struct word *words, size_t count,
                              size_t *taken)
{
    for (const struct verb *v = verbs_table; v->name; v++) {
        size_t first = strcspn(v->name, " ");
        const char *second = v->name[first] ? v->name + first + 1 : NULL;
        if (count == 0 || !word_is(&words[0], v->name, first))
            continue;
        *taken = second ? 2 : 1;
        if (!second)
            return v;
        if (count > 1 && word_is(&words[1], second, strlen(second)))
            return v;
    }
    return NULL;
}

/* The second words of the verbs that begin with this one, as in "a, b or c";
 * false if there are none. */
static bool second_words(const struct word *word, char *text, size_t size)
{
    const char *last = NULL;
    size_t used = 0;

    text[0] = 0;
    for (const struct verb *v = verbs_table; v->name; v++) {
        size_t first = strcspn(v->name, " ");
        if (!v->name[first] || !word_is(word, v->name, first))
            continue;
        if (last && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     used ? ", " : "", last);
        last = v->name + first + 1;
    }
    if (last && used < size)
        snprintf(text + used, size - used, "%s%s", used ? " or " : "", last);
    return last != NULL;
}

static int unknown_verb(const struct cli *cli, const struct word *words)
{
    char text[64];
    char seconds[128];
    size_t n = words[0].len < 40 ? words[0].len : 40;

    memcpy(text, words[0].data, n);
    text[n] = 0;
    if (second_words(&words[0], seconds, sizeof(seconds)))
        return cli_usage(cli, "%s what? %s", text, seconds);
    return cli_usage(cli, "unknown verb '%s'; %s lists them", text,
                     cli->in_shell ? "help" : "dlht-cli --help");
}

static int run_verb(struct cli *cli, const struct word *words, size_t count)
{
    struct arguments args;
    size_t taken = 0;
    const struct verb *verb = verbs_find(words, count, &taken);
    int rc;

    if (!verb)
        return unknown_verb(cli, words);
    cli->verb = verb->name;
    rc = options_parse(cli, verb, words + taken, count - taken, &args);
    if (rc == CLI_DONE && args.wants_help)
        verbs_help_one(verb);
    else if (rc == CLI_DONE)
        rc = verb->run(cli, &args);
    options_deinit(&args);
    cli->verb = NULL;
    return rc;
}

int verbs_run(struct cli *cli, const struct word *words, size_t count)
{
    struct cli_settings before = cli->set;
    size_t taken = 1;
    int rc = CLI_DONE;

    while (rc == CLI_DONE && count && taken) {
        rc = options_global(cli, &words[0], count > 1 ? &words[1] : NULL,
                            &taken);
        words += taken;
        count -= taken;
    }
    if (rc == CLI_DONE && count)
        rc = run_verb(cli, words, count);
    cli->set = before;
    return rc;
}

void verbs_help(void)
{
    for (const struct verb *v = verbs_table; v->name; v++) {
        char usage[128];
        snprintf(usage, sizeof(usage), "%s %s", v->name, v->args);
        printf("  %-36s  %s\n", usage, v->help);
    }
}

void verbs_help_one(const struct verb *verb)
{
    printf("usage: dlht-cli [-n HOST:PORT] [-k KEYSPACE] [--json] [--timeout "
           "MS] %s%s%s%s\n\n%s\n",
           verb->name, *verb->args ? " " : "", verb->args,
           verb->options ? " [options]" : "", verb->help);
    if (verb->more)
        printf("%s\n", verb->more);
    if (verb->options)
        printf("\n");
    for (size_t i = 0; verb->options && verb->options[i].name; i++) {
        const struct option *o = &verb->options[i];
        char usage[80];
        snprintf(usage, sizeof(usage), "%s%s%s%s", o->name[1] ? "--" : "-",
                 o->name, o->value_name ? " " : "",
                 o->value_name ? o->value_name : "");
        printf("  %-26s  %s\n", usage, o->help);
    }
}
