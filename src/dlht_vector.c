/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/vector.h that wait for one answer. */

#include "dlht/vector.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "vector_doc.h"

static struct dlht_request request_of(enum dlht_op op,
                                      const struct dlht_options *options)
{
    struct dlht_request request = { .op = op };
    if (options) {
        request.keyspace = options->keyspace;
        request.timeout_ms = options->timeout_ms;
        request.stale = options->stale;
        request.strict = options->strict;
        request.all = options->all;
    }
    return request;
}

/* Sends, waits, and says what was refused. */
static int call(struct dlht *d, const struct dlht_request *request,
                struct dlht_result *result, struct dlht_error *error)
{
    int rc = dlht_call(d, request, result);
    if (error)
        *error = (struct dlht_error){ .code = rc };
    return rc == DLHT_OK ? rc : vector_doc_fault(error, rc, "%s", result->text);
}

/* The same, with a document, which is freed. rc: how making it went. */
static int call_with(struct dlht *d, struct dlht_request *request, int rc,
                     struct buf *document, struct dlht_result *result,
                     struct dlht_error *error)
{
    request->document = (struct dlht_bytes){ document->data, document->len };
    if (rc == DLHT_OK)
        rc = call(d, request, result, error);
    buf_deinit(document);
    return rc;
}

/* An answer that was read, or not. */
static int read_as(int rc, struct dlht_error *error)
{
    return rc == DLHT_OK
               ? rc
               : vector_doc_fault(error, rc, "%s",
                                  rc == DLHT_ENOMEM ? "no memory for the answer"
                                                    : "the answer is not "
                                                      "understood");
}

void dlht_collection_config_default(struct dlht_collection_config *config)
{
    *config = (struct dlht_collection_config){ 0 };
}

int dlht_collection_create(struct dlht *d, const char *name,
                           const struct dlht_collection_config *config,
                           struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_KEYSPACE_CREATE, NULL);
    struct dlht_result result;
    struct buf document = { 0 };
    int rc = vector_doc_create(name, config, &document, error);
    return call_with(d, &request, rc, &document, &result, error);
}

int dlht_collection_drop(struct dlht *d, const char *name,
                         struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_KEYSPACE_DROP, NULL);
    struct dlht_result result;
    struct buf document = { 0 };
    int rc = vector_doc_text("name", name, &document, error);
    return call_with(d, &request, rc, &document, &result, error);
}

int dlht_collection_list(struct dlht *d, struct dlht_collections *out,
                         struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_KEYSPACE_LIST, NULL);
    struct dlht_result result;
    *out = (struct dlht_collections){ 0 };
    int rc = call(d, &request, &result, error);
    return rc == DLHT_OK ? read_as(vector_doc_list(result.value, out), error)
                         : rc;
}

/* Op 33, to the node that is asked. */
static int act(struct dlht *d, const struct dlht_options *options,
               const char *action, struct dlht_result *result,
               struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_VECTORS, options);
    struct buf document = { 0 };
    int rc = vector_doc_text("action", action, &document, error);
    return call_with(d, &request, rc, &document, result, error);
}

int dlht_collection_info(struct dlht *d, const struct dlht_options *options,
                         struct dlht_collection_info *out,
                         struct dlht_error *error)
{
    struct dlht_result result;
    *out = (struct dlht_collection_info){ 0 };
    int rc = act(d, options, "info", &result, error);
    return rc == DLHT_OK ? read_as(vector_doc_info(result.value, out), error)
                         : rc;
}

int dlht_vector_rebuild(struct dlht *d, const struct dlht_options *options,
                        struct dlht_error *error)
{
    struct dlht_result result;
    return act(d, options, "rebuild", &result, error);
}

int dlht_vector_put(struct dlht *d, const struct dlht_options *options,
                    const struct dlht_vector *vector, uint64_t *version,
                    struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_VECTOR_PUT, options);
    struct dlht_result result = { .version = 0 };
    struct buf document = { 0 };
    request.key = vector->id;
    int rc = vector_doc_put(vector, &document, error);
    rc = call_with(d, &request, rc, &document, &result, error);
    if (version)
        *version = rc == DLHT_OK ? result.version : 0;
    return rc;
}

int dlht_vector_get(struct dlht *d, const struct dlht_options *options,
                    const void *id, size_t id_len, struct dlht_vector **out,
                    struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_VECTOR_GET, options);
    struct dlht_result result;
    *out = NULL;
    request.key = (struct dlht_bytes){ id, id_len };
    int rc = call(d, &request, &result, error);
    return rc == DLHT_OK
               ? read_as(vector_doc_got(&result, id, id_len, out), error)
               : rc;
}

int dlht_vector_del(struct dlht *d, const struct dlht_options *options,
                    const void *id, size_t id_len, struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_DEL, options);
    struct dlht_result result;
    request.key = (struct dlht_bytes){ id, id_len };
    return call(d, &request, &result, error);
}

int dlht_vector_count(struct dlht *d, const struct dlht_options *options,
                      uint64_t *count, struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_COUNT, options);
    struct dlht_result result = { .count = 0 };
    int rc = call(d, &request, &result, error);
    *count = rc == DLHT_OK ? result.count : 0;
    return rc;
}

int dlht_vector_search(struct dlht *d, const struct dlht_options *options,
                       const struct dlht_search *search, struct dlht_hits *out,
                       struct dlht_error *error)
{
    struct dlht_request request = request_of(DLHT_OP_SEARCH, options);
    struct dlht_result result;
    struct buf document = { 0 };
    *out = (struct dlht_hits){ 0 };
    int rc = vector_doc_search(search, &document, error);
    rc = call_with(d, &request, rc, &document, &result, error);
    return rc == DLHT_OK ? read_as(dlht_hits_unpack(&result, out), error) : rc;
}

/* What is packed is the bytes of one buf. */
static int hand_out(int rc, struct buf *document, struct dlht_packed *out)
{
    size_t len;
    if (rc != DLHT_OK) {
        buf_deinit(document);
        *out = (struct dlht_packed){ 0 };
        return rc;
    }
    out->memory = buf_take(document, &len);
    out->request.document = (struct dlht_bytes){ out->memory, len };
    return DLHT_OK;
}

int dlht_search_pack(const struct dlht_options *options,
                     const struct dlht_search *search, struct dlht_packed *out)
{
    struct buf document = { 0 };
    *out = (struct dlht_packed){ request_of(DLHT_OP_SEARCH, options), NULL };
    return hand_out(vector_doc_search(search, &document, NULL), &document, out);
}

int dlht_vector_pack(const struct dlht_options *options,
                     const struct dlht_vector *vector, struct dlht_packed *out)
{
    struct buf document = { 0 };
    *out =
        (struct dlht_packed){ request_of(DLHT_OP_VECTOR_PUT, options), NULL };
    out->request.key = vector->id;
    return hand_out(vector_doc_put(vector, &document, NULL), &document, out);
}

void dlht_packed_free(struct dlht_packed *packed)
{
    if (!packed)
        return;
    free(packed->memory);
    *packed = (struct dlht_packed){ 0 };
}
