/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/dlht.h: a client, and behind it perhaps a node of our
 * own. */

#include "dlht/dlht.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/client.h"
#include "net/embed.h"

enum {
    DLHT_INNER_CONNECT_MS = 5000
};

struct dlht {
    struct client *client;
    struct embed *embed; /* NULL: a client only */
    /* The answer to the last synchronous call. */
    struct buf bytes;
    struct dlht_record *records;
    size_t record_cap;
    char text[DLHT_ERROR_TEXT_MAX];
};

/* Where a synchronous call gathers its answer. */
struct dlht_wait {
    struct dlht *d;
    struct dlht_result *out;
    bool done;
};

void dlht_config_default(struct dlht_config *config)
{
    *config = (struct dlht_config){ .listen = "127.0.0.1:9000",
                                    .join_timeout_ms = 30000,
                                    .durability = DLHT_DURABILITY_AUTO,
                                    .vnodes = 8,
                                    .weight = 1,
                                    .replicas = 3,
                                    .down_out_ms = 300000,
                                    .move_rate = 64 << 20,
                                    .log_level = DLHT_LOG_INFO };
}

int dlht_open(const struct dlht_config *config, struct dlht **out,
              struct dlht_error *error)
{
    struct dlht_error unheard;
    if (!error)
        error = &unheard;
    *error =
        (struct dlht_error){ .code = DLHT_ENOMEM, .text = "out of memory" };
    *out = NULL;
    struct dlht *d = calloc(1, sizeof *d);
    if (!d)
        return DLHT_ENOMEM;
    int rc = embed_new(config, &d->embed, error);
    if (rc == DLHT_OK)
        rc =
            client_new(embed_inner_address(d->embed), false, &d->client, error);
    if (rc == DLHT_OK)
        rc = client_connect(d->client, DLHT_INNER_CONNECT_MS, error);
    if (rc != DLHT_OK) {
        dlht_close(d);
        return rc;
    }
    *error = (struct dlht_error){ .code = DLHT_OK };
    *out = d;
    return DLHT_OK;
}

int dlht_connect(const char *addresses, uint32_t timeout_ms, struct dlht **out,
                 struct dlht_error *error)
{
    struct dlht_error unheard;
    if (!error)
        error = &unheard;
    *error =
        (struct dlht_error){ .code = DLHT_ENOMEM, .text = "out of memory" };
    *out = NULL;
    struct dlht *d = calloc(1, sizeof *d);
    if (!d)
        return DLHT_ENOMEM;
    int rc = client_new(addresses, true, &d->client, error);
    if (rc == DLHT_OK)
        rc = client_connect(d->client, timeout_ms, error);
    if (rc != DLHT_OK) {
        dlht_close(d);
        return rc;
    }
    *error = (struct dlht_error){ .code = DLHT_OK };
    *out = d;
    return DLHT_OK;
}

void dlht_close(struct dlht *d)
{
    if (!d)
        return;
    client_free(d->client);
    embed_free(d->embed);
    buf_deinit(&d->bytes);
    free(d->records);
    free(d);
}

const char *dlht_address(const struct dlht *d)
{
    return d->embed ? embed_address(d->embed) : NULL;
}

const char *dlht_redis_address(const struct dlht *d)
{
    const char *text = d->embed ? embed_redis_address(d->embed) : "";
    return text[0] ? text : NULL;
}

bool dlht_has_stopped(struct dlht *d, struct dlht_error *error)
{
    return d->embed && embed_has_stopped(d->embed, error);
}

int dlht_submit(struct dlht *d, const struct dlht_request *request, dlht_fn fn,
                void *context)
{
    return fn ? client_submit(d->client, request, fn, context) : DLHT_EINVAL;
}

int dlht_poll(struct dlht *d, int timeout_ms)
{
    return client_poll(d->client, timeout_ms);
}

/* Copies bytes behind those gathered so far; room was reserved. */
static struct dlht_bytes dlht_keep(struct dlht *d, struct dlht_bytes bytes)
{
    struct dlht_bytes kept = { d->bytes.data + d->bytes.len, bytes.len };
    buf_append(&d->bytes, bytes.data, bytes.len);
    buf_append_byte(&d->bytes, 0); /* so that values are strings too */
    return kept;
}

static bool dlht_make_room(struct dlht *d, const struct dlht_result *from)
{
    size_t need = from->value.len + from->cursor.len + 2;
    for (size_t i = 0; i < from->record_count; i++)
        need += from->records[i].key.len + from->records[i].value.len + 2;
    buf_reset(&d->bytes);
    if (buf_reserve(&d->bytes, need) != DLHT_OK)
        return false;
    if (from->record_count <= d->record_cap)
        return true;
    struct dlht_record *grown =
        mem_resize(d->records, from->record_count, sizeof *grown);
    if (!grown)
        return false;
    d->records = grown;
    d->record_cap = from->record_count;
    return true;
}

/* The answer outlives its callback: everything is copied to the handle. */
static void dlht_on_answer(void *context, const struct dlht_result *from)
{
    struct dlht_wait *wait = context;
    struct dlht *d = wait->d;
    wait->done = true;
    if (!dlht_make_room(d, from)) {
        *wait->out = (struct dlht_result){ .status = DLHT_ENOMEM,
                                           .text = "no memory for the answer" };
        return;
    }
    *wait->out = *from;
    wait->out->value = dlht_keep(d, from->value);
    wait->out->cursor = dlht_keep(d, from->cursor);
    for (size_t i = 0; i < from->record_count; i++) {
        d->records[i].key = dlht_keep(d, from->records[i].key);
        d->records[i].value = dlht_keep(d, from->records[i].value);
        d->records[i].version = from->records[i].version;
    }
    wait->out->records = d->records;
    strncpy(d->text, from->text, sizeof d->text - 1);
    wait->out->text = d->text;
}

static int dlht_refuse(struct dlht_result *result, int status)
{
    *result =
        (struct dlht_result){ .status = status, .text = dlht_strerror(status) };
    return status;
}

int dlht_call(struct dlht *d, const struct dlht_request *request,
              struct dlht_result *result)
{
    if (client_is_polling(d->client))
        return dlht_refuse(result, DLHT_EINVAL);
    struct dlht_wait wait = { .d = d, .out = result };
    int rc = client_submit(d->client, request, dlht_on_answer, &wait);
    if (rc != DLHT_OK)
        return dlht_refuse(result, rc);
    while (!wait.done)
        (void)client_poll(d->client, -1);
    return result->status;
}

/* The short calls. */

static struct dlht_request dlht_request_of(enum dlht_op op,
                                           const struct dlht_options *options,
                                           const void *key, size_t key_len)
{
    struct dlht_request request = { .op = op, .key = { key, key_len } };
    if (options) {
        request.keyspace = options->keyspace;
        request.timeout_ms = options->timeout_ms;
        request.stale = options->stale;
        request.strict = options->strict;
        request.all = options->all;
    }
    return request;
}

int dlht_put(struct dlht *d, const struct dlht_options *options,
             const void *key, size_t key_len, const void *value,
             size_t value_len, uint64_t *version)
{
    struct dlht_request request =
        dlht_request_of(DLHT_OP_PUT, options, key, key_len);
    request.value = (struct dlht_bytes){ value, value_len };
    struct dlht_result result;
    int rc = dlht_call(d, &request, &result);
    if (version)
        *version = result.version;
    return rc;
}

int dlht_get(struct dlht *d, const struct dlht_options *options,
             const void *key, size_t key_len, void **value, size_t *value_len,
             uint64_t *version)
{
    struct dlht_request request =
        dlht_request_of(DLHT_OP_GET, options, key, key_len);
    struct dlht_result result;
    *value = NULL;
    *value_len = 0;
    int rc = dlht_call(d, &request, &result);
    if (version)
        *version = result.version;
    if (rc != DLHT_OK)
        return rc;
    char *copy = malloc(result.value.len + 1);
    if (!copy)
        return DLHT_ENOMEM;
    memcpy(copy, result.value.data, result.value.len);
    copy[result.value.len] = 0;
    *value = copy;
    *value_len = result.value.len;
    return DLHT_OK;
}

int dlht_del(struct dlht *d, const struct dlht_options *options,
             const void *key, size_t key_len)
{
    struct dlht_request request =
        dlht_request_of(DLHT_OP_DEL, options, key, key_len);
    struct dlht_result result;
    return dlht_call(d, &request, &result);
}

int dlht_cas(struct dlht *d, const struct dlht_options *options,
             const void *key, size_t key_len, const void *value,
             size_t value_len, uint64_t *version)
{
    struct dlht_request request =
        dlht_request_of(DLHT_OP_CAS, options, key, key_len);
    request.value = (struct dlht_bytes){ value, value_len };
    request.version = *version;
    struct dlht_result result;
    int rc = dlht_call(d, &request, &result);
    if (rc == DLHT_OK || rc == DLHT_EMISMATCH)
        *version = result.version;
    return rc;
}
