/* SPDX-License-Identifier: Apache-2.0 */

/* A libdlht that answers from a sorted array, so that the verbs of dlht-cli
 * are tested without a cluster.
 *
 * Records live in the file $FAKE_DLHT_FILE between runs. Keys that begin with
 * '!' answer as they are named (!unknown, !timeout, !unavailable, !full); a
 * batch with the key !busy is refused once, and so is a vector. Administrative
 * documents are in fake_documents.c, vectors in fake_vectors.c. Pages are PAGE records, so that paging is exercised by
 * little data. */

#include <assert.h>
#include <msgpack.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/dlht.h"
#include "fake_documents.h"
#include "fake_vectors.h"

enum {
    PAGE = 7,
    OPEN_MAX = 65536
};

struct entry {
    uint8_t *key;
    size_t key_len;
    uint8_t *value;
    size_t value_len;
    uint64_t version;
};

static struct entry **entries;
static size_t entry_count;
static size_t entry_cap;
static uint64_t last_version;
static bool was_busy;
static int leave_calls;
static bool restored;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct pending {
    struct dlht_request request;
    struct dlht_record *records;
    void *bytes;
    void *document;
    dlht_fn fn;
    void *context;
};

/* What an answer points to until the next call. */
struct dlht {
    struct pending *pending;
    size_t pending_count;
    struct dlht_record page[PAGE];
    struct dlht_record *found;
    msgpack_sbuffer document;
    void *value;
};

static void *copy(const void *data, size_t len)
{
    void *bytes = malloc(len + 1);

    assert(bytes);
    if (len)
        memcpy(bytes, data, len);
    ((char *)bytes)[len] = 0;
    return bytes;
}

static int compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    int order = n ? memcmp(a, b, n) : 0;

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* Index of the first entry not before key. */
static size_t seek(struct dlht_bytes key)
{
    size_t low = 0;
    size_t high = entry_count;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (compare(entries[mid]->key, entries[mid]->key_len, key.data,
                    key.len) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct entry *find(struct dlht_bytes key)
{
    size_t i = seek(key);

    if (i < entry_count && entries[i]->key_len == key.len &&
        memcmp(entries[i]->key, key.data, key.len) == 0)
        return entries[i];
    return NULL;
}

static uint64_t store(struct dlht_bytes key, struct dlht_bytes value)
{
    struct entry *e = find(key);

    if (!e) {
        size_t at = seek(key);
        if (entry_count == entry_cap) {
            entry_cap = entry_cap ? entry_cap * 2 : 64;
            entries = realloc(entries, entry_cap * sizeof(*entries));
            assert(entries);
        }
        memmove(entries + at + 1, entries + at,
                (entry_count - at) * sizeof(*entries));
        entry_count++;
        e = entries[at] = calloc(1, sizeof(*e));
        assert(e);
        e->key = copy(key.data, key.len);
        e->key_len = key.len;
    }
    free(e->value);
    e->value = copy(value.data, value.len);
    e->value_len = value.len;
    e->version = ++last_version;
    return e->version;
}

static void drop(struct entry *e)
{
    free(e->key);
    free(e->value);
    free(e);
}

static void erase(struct entry *e)
{
    size_t at = seek((struct dlht_bytes){ e->key, e->key_len });

    drop(e);
    memmove(entries + at, entries + at + 1,
            (--entry_count - at) * sizeof(*entries));
    last_version++;
}

static void restore(void)
{
    const char *name = getenv("FAKE_DLHT_FILE");
    FILE *file = name ? fopen(name, "rb") : NULL;
    size_t head[3];

    if (restored)
        return;
    restored = true;
    while (file && fread(head, sizeof(head), 1, file) == 1) {
        char *key = malloc(head[0] + 1);
        char *value = malloc(head[1] + 1);
        assert(key && value);
        assert(fread(key, 1, head[0], file) == head[0]);
        assert(fread(value, 1, head[1], file) == head[1]);
        store((struct dlht_bytes){ key, head[0] },
              (struct dlht_bytes){ value, head[1] });
        find((struct dlht_bytes){ key, head[0] })->version = head[2];
        free(key);
        free(value);
    }
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i]->version > last_version)
            last_version = entries[i]->version;
    if (file)
        fclose(file);
}

static void save(void)
{
    const char *name = getenv("FAKE_DLHT_FILE");
    FILE *file = name ? fopen(name, "wb") : NULL;

    for (size_t i = 0; file && i < entry_count; i++) {
        const struct entry *e = entries[i];
        size_t head[3] = { e->key_len, e->value_len, e->version };
        fwrite(head, sizeof(head), 1, file);
        fwrite(e->key, 1, e->key_len, file);
        fwrite(e->value, 1, e->value_len, file);
    }
    if (file)
        fclose(file);
}

static void forget(void)
{
    for (size_t i = 0; i < entry_count; i++)
        drop(entries[i]);
    free(entries);
    fake_vectors_forget();
    entries = NULL;
    entry_count = entry_cap = 0;
    restored = false;
}

static int handles;

int dlht_connect(const char *addresses, uint32_t timeout_ms, struct dlht **out,
                 struct dlht_error *error)
{
    (void)timeout_ms;
    *out = NULL;
    if (!strchr(addresses, ':'))
        return DLHT_EINVAL;
    if (strstr(addresses, "dead")) {
        error->code = DLHT_EUNAVAILABLE;
        strcpy(error->text, "connection refused");
        return DLHT_EUNAVAILABLE;
    }
    *out = calloc(1, sizeof(**out));
    assert(*out);
    (*out)->pending = calloc(OPEN_MAX, sizeof(*(*out)->pending));
    assert((*out)->pending);
    msgpack_sbuffer_init(&(*out)->document);
    pthread_mutex_lock(&lock);
    restore();
    handles++;
    pthread_mutex_unlock(&lock);
    return DLHT_OK;
}

void dlht_close(struct dlht *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&lock);
    if (--handles == 0) {
        save();
        forget();
    }
    pthread_mutex_unlock(&lock);
    msgpack_sbuffer_destroy(&d->document);
    free(d->pending);
    free(d->found);
    free(d->value);
    free(d);
}

static void answer_document(struct dlht *d, const struct dlht_request *request,
                            struct dlht_result *result)
{
    assert(request->op != DLHT_OP_PRESPLIT || entry_count == 0);
    msgpack_sbuffer_clear(&d->document);
    fake_document(request, &d->document, result);
    result->value = (struct dlht_bytes){ d->document.data, d->document.size };
}

static struct dlht_record record_of(const struct entry *e, bool keys_only)
{
    struct dlht_record record = { .key = { e->key, e->key_len },
                                  .value = { e->value, e->value_len },
                                  .version = e->version };
    if (keys_only)
        record.value.len = 0;
    return record;
}

static void answer_range(struct dlht *d, const struct dlht_request *request,
                         struct dlht_result *result)
{
    size_t low = seek(request->key);
    size_t high = request->has_end ? seek(request->end) : entry_count;
    size_t all = high > low ? high - low : 0;
    size_t n = all < PAGE ? all : PAGE;

    result->peers_asked = 1;
    if (request->op == DLHT_OP_COUNT) {
        result->count = all;
        if (request->estimate) {
            result->version = 3;
            result->status = fake_model_is("none") ? DLHT_ENOTSUP : DLHT_OK;
            result->text = "there is no model";
        }
        return;
    }
    if (request->limit && request->limit < n)
        n = request->limit;
    for (size_t i = 0; i < n; i++)
        d->page[i] =
            record_of(entries[request->reverse ? high - 1 - i : low + i],
                      request->keys_only);
    result->records = d->page;
    result->record_count = n;
    result->more = n < all;
    if (result->more && request->reverse)
        result->cursor = d->page[n - 1].key;
    else if (result->more)
        result->cursor = (struct dlht_bytes){ entries[low + n]->key,
                                              entries[low + n]->key_len };
}

static void answer_mget(struct dlht *d, const struct dlht_request *request,
                        struct dlht_result *result)
{
    free(d->found);
    d->found = calloc(request->record_count + 1, sizeof(*d->found));
    assert(d->found);
    for (size_t i = 0; i < request->record_count; i++) {
        const struct entry *e = find(request->records[i].key);
        if (e)
            d->found[result->record_count++] = record_of(e, false);
    }
    result->records = d->found;
}

static void answer_batch(const struct dlht_request *request,
                         struct dlht_result *result)
{
    for (size_t i = 0; i < request->record_count; i++) {
        const struct dlht_record *record = &request->records[i];
        if (record->key.len == 5 && memcmp(record->key.data, "!busy", 5) == 0 &&
            !was_busy) {
            was_busy = true;
            result->status = DLHT_EBUSY;
            return;
        }
        if (record->key.len == 5 && memcmp(record->key.data, "!full", 5) == 0) {
            result->status = DLHT_EFULL;
            return;
        }
        store(record->key, record->value);
        result->count++;
    }
}

static int named_failure(struct dlht_bytes key)
{
    static const struct {
        const char *name;
        int status;
    } names[] = { { "!unknown", DLHT_EUNKNOWN },
                  { "!timeout", DLHT_ETIMEOUT },
                  { "!unavailable", DLHT_EUNAVAILABLE },
                  { "!full", DLHT_EFULL } };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (key.len == strlen(names[i].name) &&
            memcmp(key.data, names[i].name, key.len) == 0)
            return names[i].status;
    return DLHT_OK;
}

static void answer_one(struct dlht *d, const struct dlht_request *request,
                       struct dlht_result *result)
{
    struct entry *e = find(request->key);

    result->status = named_failure(request->key);
    if (result->status != DLHT_OK)
        return;
    if (request->op == DLHT_OP_PUT) {
        result->version = store(request->key, request->value);
    } else if (request->op == DLHT_OP_CAS) {
        result->version = e ? e->version : 0;
        if (result->version != request->version)
            result->status = DLHT_EMISMATCH;
        else
            result->version = store(request->key, request->value);
    } else if (!e) {
        result->status = DLHT_ENOTFOUND;
    } else if (request->op == DLHT_OP_DEL) {
        erase(e);
    } else {
        free(d->value);
        d->value = copy(e->value, e->value_len);
        result->value = (struct dlht_bytes){ d->value, e->value_len };
        result->version = e->version;
    }
}

static void answer_cas_batch(const struct dlht_request *request,
                             struct dlht_result *result)
{
    for (size_t i = 0; i < request->record_count; i++) {
        const struct dlht_record *r = &request->records[i];
        struct entry *e = find(r->key);
        result->version = e ? e->version : 0;
        result->count = i;
        if (!r->any_version && r->version != result->version)
            result->status = DLHT_EMISMATCH;
        if (result->status != DLHT_OK)
            return;
    }
    for (size_t i = 0; i < request->record_count; i++) {
        const struct dlht_record *r = &request->records[i];
        struct entry *e = find(r->key);
        if (!r->remove)
            result->version = store(r->key, r->value);
        else if (e)
            erase(e);
    }
    result->count = request->record_count;
}

static void answer_change(const struct dlht_request *request,
                          struct dlht_result *result)
{
    if (request->op == DLHT_OP_LEAVE && ++leave_calls < 3) {
        result->status = DLHT_EBUSY;
        result->text = leave_calls == 1 ? "2 replicas left" : "1 replica left";
    } else if (request->op == DLHT_OP_KEYSPACE_CREATE &&
               memmem(request->document.data, request->document.len, "default",
                      7)) {
        result->status = DLHT_EEXISTS;
    } else if (request->op == DLHT_OP_KEYSPACE_CREATE &&
               memmem(request->document.data, request->document.len, "options",
                      7)) {
        fake_set(request, result);
    }
}

static void answer_vector_put(const struct dlht_request *request,
                              struct dlht_result *result)
{
    struct dlht_bytes value;

    result->status = named_failure(request->key);
    if (request->key.len == 5 && memcmp(request->key.data, "!busy", 5) == 0 &&
        !was_busy) {
        was_busy = true;
        result->status = DLHT_EBUSY;
    }
    if (result->status == DLHT_OK && fake_vectors_put(request, &value, result))
        result->version = store(request->key, value);
}

static void answer_vector_get(const struct dlht_request *request,
                              struct dlht_result *result)
{
    const struct entry *e = find(request->key);
    struct dlht_record record;

    if (!e) {
        result->status = DLHT_ENOTFOUND;
        return;
    }
    record = record_of(e, false);
    fake_vectors_get(&record, result);
}

static void answer_search(struct dlht *d, const struct dlht_request *request,
                          struct dlht_result *result)
{
    free(d->found);
    d->found = calloc(entry_count + 1, sizeof(*d->found));
    assert(d->found);
    for (size_t i = 0; i < entry_count; i++)
        d->found[i] = record_of(entries[i], false);
    fake_vectors_search(request, d->found, entry_count, result);
}

static bool is_of_vectors(enum dlht_op op)
{
    return op >= DLHT_OP_VECTOR_PUT && op <= DLHT_OP_VECTORS;
}

static void answer(struct dlht *d, const struct dlht_request *request,
                   struct dlht_result *result)
{
    bool is_collection =
        request->keyspace && fake_vectors_has(request->keyspace);

    memset(result, 0, sizeof(*result));
    result->text = "";
    if (!is_collection && is_of_vectors(request->op)) {
        result->status = DLHT_ENOTSUP;
        result->text = "the keyspace is no collection of vectors";
        return;
    }
    if (request->keyspace && !is_collection &&
        strcmp(request->keyspace, "default") != 0) {
        result->status = DLHT_ENOKEYSPACE;
        return;
    }
    switch (request->op) {
    case DLHT_OP_PING:
        break;
    case DLHT_OP_PUT:
    case DLHT_OP_GET:
    case DLHT_OP_DEL:
    case DLHT_OP_CAS:
        answer_one(d, request, result);
        break;
    case DLHT_OP_MGET:
        answer_mget(d, request, result);
        break;
    case DLHT_OP_BATCH:
        answer_batch(request, result);
        break;
    case DLHT_OP_CAS_BATCH:
        answer_cas_batch(request, result);
        break;
    case DLHT_OP_RANGE:
    case DLHT_OP_COUNT:
        answer_range(d, request, result);
        break;
    case DLHT_OP_LOOKUP:
    case DLHT_OP_RING:
    case DLHT_OP_PEERS:
    case DLHT_OP_STATUS:
    case DLHT_OP_KEYSPACE_LIST:
    case DLHT_OP_KEYSPACE_SHOW:
    case DLHT_OP_MODEL:
    case DLHT_OP_PRESPLIT:
    case DLHT_OP_BALANCE:
    case DLHT_OP_RECOVER:
        answer_document(d, request, result);
        break;
    case DLHT_OP_KEYSPACE_CREATE:
    case DLHT_OP_KEYSPACE_DROP:
    case DLHT_OP_LEAVE:
        answer_change(request, result);
        break;
    case DLHT_OP_KEYSPACE_SET:
    case DLHT_OP_PEER_SET:
        fake_set(request, result);
        break;
    case DLHT_OP_VECTOR_PUT:
        answer_vector_put(request, result);
        break;
    case DLHT_OP_VECTOR_GET:
        answer_vector_get(request, result);
        break;
    case DLHT_OP_SEARCH:
        answer_search(d, request, result);
        break;
    case DLHT_OP_CACHE_LEASE:
        answer_one(d, request, result);
        break;
    case DLHT_OP_CACHE_EXPIRE:
    case DLHT_OP_CACHE_FLUSH:
        result->status = DLHT_OK;
        break;
    case DLHT_OP_CACHE_STATS:
        answer_document(d, request, result);
        break;
    case DLHT_OP_VECTORS:
        fake_vectors_act(request, entry_count, result);
        break;
    }
}

/* Only what the open requests of load, bench and vectors point to is copied. */
int dlht_submit(struct dlht *d, const struct dlht_request *request, dlht_fn fn,
                void *context)
{
    struct pending *p = &d->pending[d->pending_count];

    assert(d->pending_count < OPEN_MAX);
    p->request = *request;
    p->request.key.data = p->bytes = copy(request->key.data, request->key.len);
    p->request.document.data = p->document =
        copy(request->document.data, request->document.len);
    p->records = copy(request->records,
                      request->record_count * sizeof(*request->records));
    p->request.records = p->records;
    p->fn = fn;
    p->context = context;
    d->pending_count++;
    return DLHT_OK;
}

int dlht_poll(struct dlht *d, int timeout_ms)
{
    size_t count = d->pending_count;
    struct pending *list = copy(d->pending, count * sizeof(*list));

    (void)timeout_ms;
    d->pending_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct dlht_result result;
        pthread_mutex_lock(&lock);
        answer(d, &list[i].request, &result);
        pthread_mutex_unlock(&lock);
        list[i].fn(list[i].context, &result);
        free(list[i].bytes);
        free(list[i].document);
        free(list[i].records);
    }
    free(list);
    return (int)count;
}

int dlht_call(struct dlht *d, const struct dlht_request *request,
              struct dlht_result *result)
{
    pthread_mutex_lock(&lock);
    answer(d, request, result);
    pthread_mutex_unlock(&lock);
    return result->status;
}
