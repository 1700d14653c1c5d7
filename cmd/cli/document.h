/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/document.h - the MessagePack documents that administrative requests
 * are answered with.
 *
 * They come from a peer, so nothing about their shape is taken for granted: an
 * absent field, or one of another type, reads as zero, nothing or empty.
 * Fields that this program does not know are kept in JSON. */

#ifndef CLI_DOCUMENT_H
#define CLI_DOCUMENT_H

#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>

#include "dlht/dlht.h"

struct document {
    msgpack_unpacked unpacked;
};

/* False if bytes are not one MessagePack object; document_close is allowed
 * all the same. */
bool document_open(struct document *document, struct dlht_bytes bytes);
void document_close(struct document *document);

/* The whole thing. */
const msgpack_object *document_root(const struct document *document);

/* A document that is an array has its elements as rows, any other is the only
 * row. */
size_t document_rows(const struct document *document);
const msgpack_object *document_row(const struct document *document,
                                   size_t index);

/* The field of a map, NULL if it has none of that name. */
const msgpack_object *document_field(const msgpack_object *map,
                                     const char *name);
bool document_has(const msgpack_object *map, const char *name); /* not nil */
uint64_t document_u64(const msgpack_object *map, const char *name);
double document_f64(const msgpack_object *map, const char *name);
bool document_flag(const msgpack_object *map, const char *name);
/* A str or bin; of any other type empty. */
struct dlht_bytes document_value_bytes(const msgpack_object *object);
struct dlht_bytes document_bytes(const msgpack_object *map, const char *name);

/* Appends a str to a document that is being made. */
void document_pack_text(msgpack_packer *packer, const char *text);
void document_pack_str(msgpack_packer *packer, struct dlht_bytes bytes);

/* Writes the object as one line of JSON. */
void document_print_json(const msgpack_object *object);

#endif
