/* SPDX-License-Identifier: Apache-2.0 */

/* net/resp.h - the bytes of the Redis protocol: requests read in place,
 * answers written.
 *
 * A request is an array of bulk strings or a line of words (inline). Parsing
 * never copies but for quoted words, goes on where it stopped when more has
 * come, and refuses what Redis refuses in its words. Answers are written in
 * RESP2, or RESP3 where the writer takes a flag. No clock, no socket. */

#ifndef NET_RESP_H
#define NET_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

enum {
    RESP_ARGS_MAX = 1 << 20,     /* of one request */
    RESP_BULK_MAX = 16 << 20,    /* bytes of one: a value's longest */
    RESP_LINE_MAX = 64 << 10,    /* of an inline request, or a number */
    RESP_REQUEST_MAX = 64 << 20, /* bytes of one request in all */
    RESP_ERROR_MAX = 96,
    RESP_PLAIN_WORDS = 16,
    RESP_PLAIN_KEPT = 3,
    RESP_INT_MAX = 24, /* characters of a number, with room for an end */
    RESP_DOUBLE_MAX = 5200
};

/* Where a request that is not whole was left. All zeros begins one. */
struct resp_scan {
    size_t at;     /* looked at so far */
    uint32_t left; /* bulk strings to come */
    bool resumed;
};

/* Words of one request: spans into the input, or into scratch. All zeros is
 * empty; kept from request to request. */
struct resp_args {
    struct span *list;
    size_t count;
    size_t cap;
    struct buf scratch;
    char error[RESP_ERROR_MAX];
};

void resp_args_deinit(struct resp_args *args);

enum resp_result {
    RESP_MORE,    /* not whole yet */
    RESP_REQUEST, /* *used bytes were one; args->count may be 0: skip it */
    RESP_BAD,     /* args->error says why; the connection ends */
    RESP_NO_MEMORY
};

/* The request at the front of input, which is always all that has come. */
enum resp_result resp_parse(struct resp_scan *scan, struct span input,
                            struct resp_args *args, size_t *used);

/* A request in its usual form: an array of 2 to RESP_PLAIN_WORDS bulk strings,
 * none longer than six digits say. */
struct resp_plain {
    struct span words[RESP_PLAIN_KEPT]; /* the first of them */
    size_t count;                       /* all */
    size_t end;                         /* behind it, from the input's start */
};

/* The requests at the front, at most max, as far as these are whole and
 * usual; resp_parse would take them likewise. Returns how many. */
size_t resp_peek(struct span input, struct resp_plain *list, size_t max);

/* A whole decimal number as Redis takes one: no spaces, no leading zeros, no
 * plus. */
bool resp_to_int(struct span text, int64_t *out);
/* As Redis takes a double: no spaces, no NaN. */
bool resp_to_double(struct span text, long double *out);

/* Decimal digits into RESP_INT_MAX bytes; how many. No end is written. */
size_t resp_int_text(int64_t value, char *out);
size_t resp_uint_text(uint64_t value, char *out);
/* As INCRBYFLOAT says it, into RESP_DOUBLE_MAX bytes: 17 digits behind the
 * point, without zeros at the end. */
size_t resp_double_text(long double value, char *out);

/* Writers append; failure is noted in buf.failed. */
void resp_write(struct buf *out, const char *text); /* as it is */
void resp_write_simple(struct buf *out, const char *text);
/* text without '-' and end; line ends in it become spaces */
void resp_write_error(struct buf *out, struct span text);
void resp_write_int(struct buf *out, int64_t value);
void resp_write_bulk(struct buf *out, struct span bytes);
/* What stands before so many bytes and the end of a line. */
void resp_write_bulk_head(struct buf *out, size_t len);
void resp_write_bulk_text(struct buf *out, const char *text);
void resp_write_bulk_uint(struct buf *out, uint64_t value);
void resp_write_null(struct buf *out, bool resp3);
void resp_write_null_array(struct buf *out, bool resp3);
void resp_write_array(struct buf *out, size_t count);
/* A map of RESP3, else an array of twice as many. */
void resp_write_map(struct buf *out, size_t pairs, bool resp3);
void resp_write_set(struct buf *out, size_t count, bool resp3);

/* Whether text matches a glob pattern of Redis: * ? [a-z] [^a] and \. Time is
 * at most the product of the lengths. */
bool resp_glob(struct span pattern, struct span text);

/* Whether text is word, whatever the case; word is lower case. */
bool resp_is(struct span text, const char *word);

#endif
