/* SPDX-License-Identifier: Apache-2.0 */

/* A libdlht that answers from a sorted array, so that the verbs of dlht-cli
 * are tested without a cluster.
 *
 * Records live in the file $FAKE_DLHT_FILE between runs. Keys that begin with
 * '!' answer as they are named (!unknown, !timeout, !unavailable, !full); a
 * batch with the key !busy is refused once. Administrative documents are the
 * same ever: two arcs, two peers, one keyspace. Pages are PAGE records, so
 * that paging is exercised by little data.
 *
 * $FAKE_DLHT_MODEL: `none`, there is no model; `stays`, training publishes
 * none; `bad`, answers that no node gives. What keyspace set and presplit are
 * told is written to $FAKE_DLHT_TOLD, without which presplit is not known. */

#include <assert.h>
#include <msgpack.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/dlht.h"
#include "dlht/rmi.h"

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

static void pack_text(msgpack_packer *p, const char *text)
{
    msgpack_pack_str(p, strlen(text));
    msgpack_pack_str_body(p, text, strlen(text));
}

static void pack_number(msgpack_packer *p, const char *name, uint64_t number)
{
    pack_text(p, name);
    msgpack_pack_uint64(p, number);
}

static void pack_pair(msgpack_packer *p, const char *name, const char *text)
{
    pack_text(p, name);
    if (text)
        pack_text(p, text);
    else
        msgpack_pack_nil(p);
}

static void pack_bin(msgpack_packer *p, const char *name, const char *bytes,
                     size_t len)
{
    pack_text(p, name);
    if (!bytes) {
        msgpack_pack_nil(p);
        return;
    }
    msgpack_pack_bin(p, len);
    msgpack_pack_bin_body(p, bytes, len);
}

static void pack_replicas(msgpack_packer *p)
{
    pack_text(p, "replicas");
    msgpack_pack_array(p, 2);
    pack_text(p, "127.0.0.1:9000");
    pack_text(p, "127.0.0.1:9001");
}

static void pack_flag(msgpack_packer *p, const char *name, bool yes)
{
    pack_text(p, name);
    if (yes)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

static void pack_float(msgpack_packer *p, const char *name, double number)
{
    pack_text(p, name);
    msgpack_pack_double(p, number);
}

/* The field of a document that was sent; nil if it has none of that name. */
static msgpack_object asked(const struct dlht_request *request,
                            msgpack_unpacked *room, const char *name)
{
    msgpack_object none = { .type = MSGPACK_OBJECT_NIL };
    size_t at = 0;

    msgpack_unpacked_init(room);
    if (request->document.len == 0)
        return none;
    assert(msgpack_unpack_next(room, request->document.data,
                               request->document.len,
                               &at) == MSGPACK_UNPACK_SUCCESS);
    assert(room->data.type == MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < room->data.via.map.size; i++) {
        msgpack_object_kv *pair = &room->data.via.map.ptr[i];
        assert(pair->key.type == MSGPACK_OBJECT_STR);
        if (pair->key.via.str.size == strlen(name) &&
            memcmp(pair->key.via.str.ptr, name, strlen(name)) == 0)
            return pair->val;
    }
    return none;
}

static bool is_text(const msgpack_object *object, const char *text)
{
    return object->type == MSGPACK_OBJECT_STR &&
           object->via.str.size == strlen(text) &&
           memcmp(object->via.str.ptr, text, strlen(text)) == 0;
}

static bool model_is(const char *name)
{
    const char *model = getenv("FAKE_DLHT_MODEL");

    return model && strcmp(model, name) == 0;
}

static uint64_t asked_position(const struct dlht_request *request)
{
    msgpack_unpacked room;
    msgpack_object position = asked(request, &room, "position");
    uint64_t value = 0x6100000000000000u;

    if (position.type != MSGPACK_OBJECT_NIL) {
        assert(position.type == MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert(request->key.len == 0);
        value = position.via.u64;
    }
    msgpack_unpacked_destroy(&room);
    return value;
}

static void lookup(msgpack_packer *p, const struct dlht_request *request)
{
    msgpack_pack_map(p, 15);
    pack_pair(p, "keyspace", "default");
    pack_bin(p, "key", request->key.data, request->key.len);
    pack_number(p, "arc", 0xA1);
    pack_bin(p, "lo", "", 0);
    pack_bin(p, "hi", "m", 1);
    pack_number(p, "generation", 3);
    pack_pair(p, "owner", "127.0.0.1:9000");
    pack_replicas(p);
    pack_number(p, "hops", 1);
    pack_number(p, "position", asked_position(request));
    pack_float(p, "percent", 37.890625);
    pack_pair(p, "predicted_arc", NULL);
    pack_pair(p, "error", NULL);
    pack_number(p, "model_epoch", 0);
    pack_pair(p, "model", "identity");
}

static void ring(msgpack_packer *p, bool second)
{
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 11);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "arc", second ? 0xA2 : 0xA1);
    pack_bin(p, "lo", second ? "m" : "", second);
    pack_bin(p, "hi", second ? NULL : "m", 1);
    pack_number(p, "generation", 3);
    pack_pair(p, "owner", second ? NULL : "127.0.0.1:9000");
    pack_replicas(p);
    pack_number(p, "keys", 10);
    pack_number(p, "bytes", second ? 640 : 1536);
    pack_number(p, "position_lo", second ? 0x6d00000000000000u : 0);
    pack_number(p, "position_hi", second ? UINT64_MAX : 0x6d00000000000000u);
}

static void peers(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    for (unsigned i = 0; i < 2; i++) {
        msgpack_pack_map(p, 10);
        pack_pair(p, "peer", i ? "127.0.0.1:9001" : "127.0.0.1:9000");
        pack_pair(p, "id",
                  i ? "0123456789abcdef0123456789abcdef"
                    : "fedcba9876543210fedcba9876543210");
        pack_pair(p, "state", i ? "suspect" : "up");
        pack_pair(p, "zone", i ? "z1" : "");
        pack_float(p, "weight", i ? 1.5 : 1);
        pack_number(p, "arcs_led", 1);
        pack_number(p, "replicas", 2);
        pack_number(p, "keys", 20);
        pack_number(p, "bytes", 2176);
        pack_number(p, "incarnation", 7);
    }
}

static void status(msgpack_packer *p)
{
    msgpack_pack_map(p, 14);
    pack_number(p, "peers_up", 2);
    pack_number(p, "peers_down", 1);
    pack_number(p, "arcs", 2);
    pack_number(p, "arcs_under_replicated", 1);
    pack_number(p, "arcs_unavailable", 0);
    pack_number(p, "keys", 20);
    pack_number(p, "bytes", 2176);
    pack_number(p, "model_epoch", 0);
    pack_flag(p, "safe_to_stop", false);
    pack_flag(p, "whole", false);
    pack_pair(p, "verdict", "1 arc is under-replicated");
    pack_pair(p, "cluster", "c0ffee");
    pack_pair(p, "durability", "memory");
    pack_pair(p, "news", "a field of a later version");
}

static void keyspaces(msgpack_packer *p)
{
    msgpack_pack_array(p, 1);
    msgpack_pack_map(p, 7);
    pack_pair(p, "name", "default");
    pack_number(p, "id", 1);
    pack_pair(p, "placement", "ordered");
    pack_number(p, "replicas", 3);
    pack_flag(p, "volatile", false);
    pack_number(p, "arcs", 2);
    pack_flag(p, "dropped", false);
}

static void errors(msgpack_packer *p)
{
    pack_float(p, "ks", 0.0025);
    pack_float(p, "mean_error", 0.0005);
    pack_float(p, "max_error", 0.0025);
}

static void model_none(msgpack_packer *p)
{
    msgpack_pack_map(p, 5);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "epoch", 0);
    pack_pair(p, "ks", NULL);
    pack_pair(p, "reason", "none");
    pack_text(p, "triggers");
    msgpack_pack_map(p, 0);
}

static void model_show(msgpack_packer *p)
{
    msgpack_pack_map(p, 17);
    pack_pair(p, "keyspace", "default");
    pack_number(p, "epoch", 3);
    pack_number(p, "keys", 20000);
    pack_number(p, "leaves", 128);
    pack_pair(p, "root", "cubic");
    pack_pair(p, "leaf", "linear");
    errors(p);
    pack_number(p, "bytes", 1536);
    pack_float(p, "age_s", 300);
    pack_pair(p, "reason", "volume");
    pack_float(p, "distance", 0.125);
    pack_pair(p, "trained_by", "127.0.0.1:9000");
    pack_number(p, "took_ms", 42);
    pack_number(p, "lies", 1);
    pack_text(p, "triggers");
    msgpack_pack_map(p, 2);
    pack_number(p, "first", 1);
    pack_number(p, "volume", 2);
}

static void model_history(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    for (unsigned i = 0; i < 2; i++) {
        msgpack_pack_map(p, 12);
        pack_number(p, "epoch", 3 - i);
        pack_number(p, "keys", 20000);
        pack_number(p, "leaves", 128);
        pack_number(p, "bytes", 1536);
        pack_pair(p, "reason", i ? "first" : "volume");
        if (i)
            pack_pair(p, "distance", NULL);
        else
            pack_float(p, "distance", 0.125);
        errors(p);
        pack_number(p, "took_ms", 42);
        pack_number(p, "age_s", i ? 90000 : 42);
        pack_pair(p, "trained_by", "127.0.0.1:9000");
    }
}

static void model_train(msgpack_packer *p, bool wait)
{
    bool stays = model_is("stays");

    msgpack_pack_map(p, wait ? 4 : 2);
    pack_number(p, "epoch", wait && !stays ? 4 : 3);
    if (!wait) {
        pack_flag(p, "started", true);
        return;
    }
    pack_flag(p, "published", !stays);
    pack_pair(p, "reason", stays ? "it hardly differs" : "force");
    pack_number(p, "took_ms", 42);
}

/* Of two keys, packed: the caller's to free. */
static void *exported(size_t *len)
{
    static const struct dlht_bytes keys[] = { { "a", 1 }, { "b", 1 } };
    struct dlht_model *model;
    void *bytes;

    assert(dlht_model_train(keys, 2, NULL, &model) == DLHT_OK);
    assert(dlht_model_pack(model, &bytes, len) == DLHT_OK);
    dlht_model_free(model);
    return bytes;
}

static void model_import(msgpack_packer *p, const struct dlht_request *request,
                         struct dlht_result *result)
{
    msgpack_unpacked room;
    msgpack_object model = asked(request, &room, "model");

    size_t len;
    void *bytes = exported(&len);

    assert(model.type == MSGPACK_OBJECT_BIN);
    if (model.via.bin.size != len ||
        memcmp(model.via.bin.ptr, bytes, len) != 0) {
        result->status = DLHT_EREFUSED;
        result->text = "it is of other keys";
    }
    free(bytes);
    msgpack_pack_map(p, 1);
    pack_number(p, "epoch", 5);
    msgpack_unpacked_destroy(&room);
}

static void answer_model(msgpack_packer *p, const struct dlht_request *request,
                         struct dlht_result *result)
{
    msgpack_unpacked room[3];
    msgpack_object action = asked(request, &room[0], "action");
    msgpack_object keyspace = asked(request, &room[1], "keyspace");
    msgpack_object wait = asked(request, &room[2], "wait");

    assert(is_text(&keyspace, "default"));
    if (model_is("bad")) {
        msgpack_pack_array(p, 1);
        msgpack_pack_nil(p);
    } else if (is_text(&action, "show")) {
        if (model_is("none"))
            model_none(p);
        else
            model_show(p);
    } else if (is_text(&action, "history")) {
        model_history(p);
    } else if (is_text(&action, "train")) {
        assert(wait.type == MSGPACK_OBJECT_BOOLEAN);
        model_train(p, wait.via.boolean);
    } else if (is_text(&action, "import")) {
        model_import(p, request, result);
    } else if (is_text(&action, "export") && !model_is("none")) {
        size_t len;
        void *bytes = exported(&len);
        msgpack_pack_bin(p, len);
        msgpack_pack_bin_body(p, bytes, len);
        free(bytes);
    } else {
        result->status = DLHT_ENOTSUP;
        result->text = "there is no model";
    }
    for (size_t i = 0; i < 3; i++)
        msgpack_unpacked_destroy(&room[i]);
}

static void options_shown(msgpack_packer *p)
{
    msgpack_pack_array(p, 2);
    msgpack_pack_array(p, 3);
    pack_text(p, "error");
    pack_text(p, "0.02");
    pack_text(p, "0.01");
    msgpack_pack_array(p, 3);
    pack_text(p, "stale");
    pack_text(p, "off");
    pack_text(p, "86400");
}

static void tell(FILE *file, const msgpack_object *object, const char *end)
{
    assert(object->type == MSGPACK_OBJECT_STR ||
           object->type == MSGPACK_OBJECT_BIN);
    if (object->type == MSGPACK_OBJECT_STR)
        fwrite(object->via.str.ptr, 1, object->via.str.size, file);
    else
        fwrite(object->via.bin.ptr, 1, object->via.bin.size, file);
    fputs(end, file);
}

static void answer_set(const struct dlht_request *request,
                       struct dlht_result *result)
{
    const char *told = getenv("FAKE_DLHT_TOLD");
    FILE *file = told ? fopen(told, "w") : NULL;
    msgpack_unpacked room[2];
    msgpack_object name = asked(request, &room[0], "name");
    msgpack_object options = asked(request, &room[1], "options");

    assert(options.type == MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < options.via.map.size; i++) {
        const msgpack_object_kv *pair = &options.via.map.ptr[i];
        if (is_text(&pair->key, "nonsense")) {
            result->status = DLHT_EINVAL;
            result->text = "no such option: nonsense";
        }
        if (file) {
            tell(file, &name, " ");
            tell(file, &pair->key, "=");
            tell(file, &pair->val, "\n");
        }
    }
    if (file)
        fclose(file);
    msgpack_unpacked_destroy(&room[0]);
    msgpack_unpacked_destroy(&room[1]);
}

static void answer_presplit(msgpack_packer *p,
                            const struct dlht_request *request,
                            struct dlht_result *result)
{
    const char *told = getenv("FAKE_DLHT_TOLD");
    FILE *file = told ? fopen(told, "w") : NULL;
    msgpack_unpacked room;
    msgpack_object keys = asked(request, &room, "keys");

    assert(keys.type == MSGPACK_OBJECT_ARRAY && keys.via.array.size > 0);
    assert(entry_count == 0); /* before the first record */
    for (uint32_t i = 0; file && i < keys.via.array.size; i++)
        tell(file, &keys.via.array.ptr[i], "\n");
    if (file)
        fclose(file);
    else
        result->status = DLHT_ENOTSUP;
    msgpack_pack_map(p, 1);
    pack_number(p, "cut", keys.via.array.size);
    msgpack_unpacked_destroy(&room);
}

static void answer_document(struct dlht *d, const struct dlht_request *request,
                            struct dlht_result *result)
{
    msgpack_packer p;

    msgpack_sbuffer_clear(&d->document);
    msgpack_packer_init(&p, &d->document, msgpack_sbuffer_write);
    if (request->op == DLHT_OP_LOOKUP)
        lookup(&p, request);
    else if (request->op == DLHT_OP_RING)
        ring(&p, request->key.len > 0);
    else if (request->op == DLHT_OP_PEERS)
        peers(&p);
    else if (request->op == DLHT_OP_STATUS)
        status(&p);
    else if (request->op == DLHT_OP_MODEL)
        answer_model(&p, request, result);
    else if (request->op == DLHT_OP_KEYSPACE_SHOW)
        options_shown(&p);
    else if (request->op == DLHT_OP_PRESPLIT)
        answer_presplit(&p, request, result);
    else
        keyspaces(&p);
    if (request->op == DLHT_OP_RING && request->key.len == 0) {
        result->more = true;
        result->cursor = (struct dlht_bytes){ "m", 1 };
    }
    result->value = (struct dlht_bytes){ d->document.data, d->document.size };
}

static struct dlht_record record_of(const struct entry *e, bool keys_only)
{
    struct dlht_record record = { { e->key, e->key_len },
                                  { e->value, e->value_len },
                                  e->version };
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
            result->status = model_is("none") ? DLHT_ENOTSUP : DLHT_OK;
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
    }
}

static void answer(struct dlht *d, const struct dlht_request *request,
                   struct dlht_result *result)
{
    memset(result, 0, sizeof(*result));
    result->text = "";
    if (request->keyspace && strcmp(request->keyspace, "default") != 0) {
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
        answer_document(d, request, result);
        break;
    case DLHT_OP_KEYSPACE_CREATE:
    case DLHT_OP_KEYSPACE_DROP:
    case DLHT_OP_LEAVE:
        answer_change(request, result);
        break;
    case DLHT_OP_KEYSPACE_SET:
        answer_set(request, result);
        break;
    }
}

/* Only what the open requests of load and bench point to is copied. */
int dlht_submit(struct dlht *d, const struct dlht_request *request, dlht_fn fn,
                void *context)
{
    struct pending *p = &d->pending[d->pending_count];

    assert(d->pending_count < OPEN_MAX);
    p->request = *request;
    p->request.key.data = p->bytes = copy(request->key.data, request->key.len);
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
