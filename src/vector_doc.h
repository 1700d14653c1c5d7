/* SPDX-License-Identifier: Apache-2.0 */

/* vector_doc.h - the MessagePack documents behind dlht/vector.h: what is asked
 * is checked and written, what is answered is read with nothing taken for
 * granted. docs/protocol.md has their fields. */

#ifndef VECTOR_DOC_H
#define VECTOR_DOC_H

#include "base/buf.h"
#include "base/must_use.h"
#include "dlht/vector.h"

/* Says why in error (NULL is allowed) and returns code. */
__attribute__((format(printf, 3, 4))) int
vector_doc_fault(struct dlht_error *error, int code, const char *format, ...);

/* Append to out; on failure error says why, and out may hold a beginning.
 *   DLHT_EINVAL, DLHT_ETOOBIG, DLHT_ENOMEM */
MUST_USE int vector_doc_put(const struct dlht_vector *vector, struct buf *out,
                            struct dlht_error *error);
MUST_USE int vector_doc_search(const struct dlht_search *search,
                               struct buf *out, struct dlht_error *error);
MUST_USE int vector_doc_create(const char *name,
                               const struct dlht_collection_config *config,
                               struct buf *out, struct dlht_error *error);

/* {name: value} */
MUST_USE int vector_doc_text(const char *name, const char *value,
                             struct buf *out, struct dlht_error *error);

/* Read an answer. DLHT_EPROTO: it is none; DLHT_ENOMEM. *out is zeros then. */
MUST_USE int vector_doc_got(const struct dlht_result *result, const void *id,
                            size_t id_len, struct dlht_vector **out);
MUST_USE int vector_doc_info(struct dlht_bytes document,
                             struct dlht_collection_info *out);
MUST_USE int vector_doc_list(struct dlht_bytes document,
                             struct dlht_collections *out);

#endif
