/* SPDX-License-Identifier: Apache-2.0 */

/* Holding, spreading and adopting models. */

#include "node/models.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/fingers.h"
#include "node/pending.h"
#include "node/replica.h"
#include "node/trainer_state.h"
#include "wire/mp.h"

static const char key_prefix[] = "model/";

enum {
    KEY_PREFIX_LEN = sizeof key_prefix - 1,
    KEY_DIGITS = 16,
    INFO_FIELDS = 14,
    TELL_MAX = 3,     /* peers told at once of an adopted epoch */
    TELL_ALL_MAX = 9, /* up to so many peers, all are */
    OWN_KEYS_MIN = 1000,
    REFUSED_DOUBLINGS = 8, /* to a minute */
    GUESS_ARCS_MIN = 512,
    FETCH_PARTS = 4 /* times the wait for one part, for all */
};
#define DROP_NS (UINT64_C(20) * NS_PER_S)
#define TELL_NS (UINT64_C(1000) * NS_PER_MS)
#define REFUSED_NS (UINT64_C(250) * NS_PER_MS)
#define FETCH_NS (UINT64_C(2000) * NS_PER_MS)

/* A model on its way here. */
struct model_fetch {
    struct id from;
    uint64_t epoch;
    uint64_t total;
    uint64_t due_ns; /* the next part */
    uint64_t end_ns; /* all */
    struct buf bytes;
};

struct held_model *models_hold(struct held_model *held)
{
    if (held)
        held->users++;
    return held;
}

void models_release(struct held_model *held)
{
    if (!held || --held->users > 0)
        return;
    model_free(held->model);
    buf_deinit(&held->packed);
    free(held);
}

uint64_t models_position(const struct keyspace *ks, struct span key,
                         double *error)
{
    *error = 0;
    if (!ks->held)
        return span_prefix8(key);
    struct model_guess guess = model_guess(ks->held->model, key);
    uint64_t above = guess.hi - guess.position;
    uint64_t below = guess.position - guess.lo;
    *error = (double)(above > below ? above : below) / 0x1.0p64;
    return guess.position;
}

int models_key_at(const struct keyspace *ks, uint64_t position, struct buf *out)
{
    if (ks->held) {
        size_t before = out->len;
        int rc = model_key_at(ks->held->model, position, out);
        if (out->len - before > KEY_LEN_MAX) /* no key is longer */
            out->len = before + KEY_LEN_MAX;
        return rc;
    }
    uint8_t key[8];
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(position >> (56 - 8 * i));
    buf_append(out, key, sizeof key);
    return out->failed ? DLHT_ENOMEM : DLHT_OK;
}

static size_t index_of(const struct keyspace *ks, struct span key)
{
    double share = (double)model_position(ks->held->model, key) / 0x1.0p64;
    size_t count = map_count(ks->map);
    size_t index = (size_t)(share * (double)count);
    return index < count ? index : count - 1;
}

size_t models_guess(const struct keyspace *ks, struct span key)
{
    return ks->held && map_count(ks->map) >= GUESS_ARCS_MIN ? index_of(ks, key)
                                                            : SIZE_MAX;
}

const struct arc *models_predict(const struct keyspace *ks, struct span key)
{
    return ks->held && map_count(ks->map) ? map_at(ks->map, index_of(ks, key))
                                          : NULL;
}

static void write_info(struct buf *b, const struct model_info *info)
{
    mp_write_array(b, INFO_FIELDS);
    mp_write_uint(b, info->epoch);
    mp_write_uint(b, info->keys);
    mp_write_uint(b, info->leaves);
    mp_write_uint(b, info->root);
    mp_write_uint(b, info->leaf);
    mp_write_uint(b, info->reason);
    mp_write_bool(b, info->imported);
    mp_write_float(b, info->distance);
    mp_write_float(b, info->mean_error);
    mp_write_float(b, info->max_error);
    mp_write_uint(b, info->bytes);
    mp_write_uint(b, info->took_ms);
    mp_write_uint(b, info->at_ms);
    mp_write_array(b, 3);
    mp_write_uint(b, info->lies);
    mp_write_bin(b, span_of(info->trained_by.bytes, sizeof info->trained_by));
    mp_write_uint(b, info->missing);
}

static void read_info(struct mp_reader *r, struct model_info *info)
{
    memset(info, 0, sizeof *info);
    if (mp_read_array(r) != INFO_FIELDS)
        mp_fail(r);
    info->epoch = mp_read_uint(r);
    info->keys = mp_read_uint(r);
    info->leaves = (uint32_t)mp_read_uint(r);
    info->root = (uint8_t)mp_read_uint(r);
    info->leaf = (uint8_t)mp_read_uint(r);
    info->reason = (uint8_t)mp_read_uint(r);
    info->imported = mp_read_bool(r);
    info->distance = mp_read_float(r);
    info->mean_error = mp_read_float(r);
    info->max_error = mp_read_float(r);
    info->bytes = mp_read_uint(r);
    info->took_ms = mp_read_uint(r);
    info->at_ms = mp_read_uint(r);
    size_t rest = mp_read_array(r);
    if (rest != 2 && rest != 3) /* 2: before missing was counted */
        mp_fail(r);
    info->lies = mp_read_uint(r);
    struct span id = mp_read_bytes(r);
    if (id.len == sizeof info->trained_by)
        memcpy(&info->trained_by, id.data, id.len);
    else
        mp_fail(r);
    if (rest == 3)
        info->missing = mp_read_uint(r);
}

int models_pack(const struct model_info *info, const struct model *model,
                struct buf *out)
{
    struct buf packed = { 0 };
    int rc = model_pack(model, &packed);
    if (rc == DLHT_OK) {
        write_info(out, info);
        mp_write_bin(out, buf_span(&packed));
    }
    buf_deinit(&packed);
    return out->failed ? DLHT_ENOMEM : rc;
}

int models_record_pack(const struct model_record *record, struct buf *out)
{
    mp_write_bin(out, record->packed);
    mp_write_array(out, record->history_count);
    for (size_t i = 0; i < record->history_count; i++)
        write_info(out, &record->history[i]);
    return out->failed ? DLHT_ENOMEM : DLHT_OK;
}

int models_record_unpack(struct span bytes, struct model_record *out)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    memset(out, 0, sizeof *out);
    out->packed = mp_read_bytes(&r);
    size_t count = mp_read_array(&r);
    if (count > MODEL_HISTORY_MAX)
        mp_fail(&r);
    for (size_t i = 0; i < count && !r.bad; i++)
        read_info(&r, &out->history[i]);
    out->history_count = count;
    return r.bad ? DLHT_ECORRUPT : DLHT_OK;
}

struct span models_key(struct node *node, keyspace_id keyspace)
{
    uint8_t *room = effects_room(node->fx, KEY_PREFIX_LEN + KEY_DIGITS);
    if (!room)
        return span_empty();
    memcpy(room, key_prefix, KEY_PREFIX_LEN);
    for (size_t i = 0; i < KEY_DIGITS; i++)
        room[KEY_PREFIX_LEN + i] =
            (uint8_t) "0123456789abcdef"[(uint64_t)keyspace >>
                                             (4 * (KEY_DIGITS - 1 - i)) &
                                         15];
    return span_of(room, KEY_PREFIX_LEN + KEY_DIGITS);
}

/* The keyspace that a key of a model names; false: none. */
static bool keyspace_of_key(struct span key, keyspace_id *out)
{
    if (!span_has_prefix(key, span_str(key_prefix)) ||
        key.len != KEY_PREFIX_LEN + KEY_DIGITS)
        return false;
    uint64_t id = 0;
    for (size_t i = KEY_PREFIX_LEN; i < key.len; i++) {
        uint8_t c = key.data[i];
        uint8_t digit = c >= '0' && c <= '9'   ? (uint8_t)(c - '0')
                        : c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10)
                                               : 16;
        if (digit > 15)
            return false;
        id = id << 4 | digit;
    }
    *out = (keyspace_id)id;
    return id <= UINT32_MAX;
}

bool models_record(struct node *node, keyspace_id keyspace,
                   struct model_record *out, uint64_t *version)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    struct record record;
    *version = 0;
    if (!r || r->empty ||
        !records_get(r->records, models_key(node, keyspace), &record))
        return false;
    *version = record.version;
    return models_record_unpack(record.value, out) == DLHT_OK;
}

static void say(struct node *node, const struct id *to, uint8_t kind,
                keyspace_id keyspace, uint64_t epoch)
{
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = kind;
    m.u.model.keyspace = keyspace;
    m.u.model.epoch = epoch;
    node_send(node, to, &m);
}

static uint64_t epoch_of(const struct keyspace *ks)
{
    return ks->held ? ks->held->info.epoch : 0;
}

static bool may_be_told(const struct node *node, const struct peer *p)
{
    return p->state <= PEER_SUSPECT && !node_is_self(node, &p->id);
}

/* Those told now tell others; models_tick reaches who was missed. */
static void tell_some(struct node *node, const struct keyspace *ks)
{
    size_t count = swim_count(node->swim);
    bool all = swim_up_count(node->swim) <= TELL_ALL_MAX;
    size_t start = (size_t)rng_below(&node->rng, count ? count : 1);
    size_t told = 0;
    for (size_t i = 0; i < count && (all || told < TELL_MAX); i++) {
        const struct peer *p = swim_at(node->swim, (start + i) % count);
        if (!may_be_told(node, p))
            continue;
        say(node, &p->id, MODEL_NEWS, ks->record.id, epoch_of(ks));
        told++;
    }
}

/* A model that says of the arcs led here what their records deny is not
 * adopted: it was made of lies, or of another time. The old one stays. */
static bool fits_own_arcs(struct node *node, const struct keyspace *ks,
                          const struct model *model)
{
    double n = (double)model_key_count(model);
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->keyspace != ks->record.id || r->empty || !replica_leads(r))
            continue;
        double own = (double)replica_key_count(r), error;
        if (own < OWN_KEYS_MIN)
            continue;
        struct span hi = r->arc->has_hi ? r->arc->hi : span_empty();
        double said = model_count(model, r->arc->lo, hi, &error);
        double low = own < said ? own : said, high = own < said ? said : own;
        if (high > 2 * low + error + n / 20)
            return false;
    }
    return true;
}

/* The checksum is the model's own: what is said of it must fit. */
static bool fits_info(const struct model_info *info, const struct model *model)
{
    return info->keys == model_key_count(model) &&
           info->leaves == model_leaf_count(model) &&
           info->root == (uint8_t)model_root_kind(model) &&
           info->leaf == (uint8_t)model_leaf_kind(model);
}

/* Takes over bytes of info and model if they are newer than what is held;
 * epoch is the one that was asked for, 0: any. They are what the system arc has;
 * so one that says that it was imported need not look like our keys. False: they
 * are not sound, or no memory is left. */
static bool adopt(struct node *node, struct keyspace *ks, struct span packed,
                  uint64_t epoch)
{
    struct mp_reader r;
    struct model_info info;
    mp_reader_init(&r, packed);
    read_info(&r, &info);
    struct span bytes = mp_read_bytes(&r);
    if (!r.bad && info.epoch <= epoch_of(ks))
        return true;
    struct model *model = NULL;
    bool sound = !r.bad && mp_at_end(&r) && (!epoch || info.epoch == epoch);
    int rc = sound ? model_unpack(bytes, &model) : DLHT_ECORRUPT;
    if (rc == DLHT_OK && !fits_info(&info, model))
        rc = DLHT_ECORRUPT;
    if (rc == DLHT_OK && !info.imported && !fits_own_arcs(node, ks, model))
        rc = DLHT_EREFUSED;
    struct held_model *held = NULL;
    if (rc == DLHT_OK)
        held = mem_zero(1, sizeof *held);
    if (held)
        buf_append_span(&held->packed, packed);
    if (!held || held->packed.failed) {
        if (held)
            buf_deinit(&held->packed);
        free(held);
        model_free(model);
        ks->models_refused++;
        node_log(node, LOG_WARNING, "keyspace %.*s: model epoch %llu: %s",
                 (int)ks->record.name.len, (const char *)ks->record.name.data,
                 (unsigned long long)info.epoch,
                 rc == DLHT_OK ? "out of memory" : dlht_strerror(rc));
        return false;
    }
    held->model = model;
    held->info = info;
    held->digest = hash64(packed);
    held->users = 1;
    bool first = ks->held == NULL;
    models_release(ks->held);
    ks->held = held;
    if (first && node->phase == PHASE_SERVING)
        fingers_warm(node, ks);
    trainer_adopted(node, ks);
    node_log(node, LOG_INFO,
             "keyspace %.*s: model epoch %llu, %llu keys, because of %s",
             (int)ks->record.name.len, (const char *)ks->record.name.data,
             (unsigned long long)info.epoch, (unsigned long long)info.keys,
             trainer_reason_name(&info));
    if (node->swim)
        tell_some(node, ks);
    return true;
}

static void adopt_record(struct node *node, keyspace_id id, struct span value)
{
    struct keyspace *ks = keyspaces_find(node, id);
    struct model_record record;
    if (ks && !ks->record.dropped &&
        models_record_unpack(value, &record) == DLHT_OK)
        (void)adopt(node, ks, record.packed, 0);
}

void models_applied(struct node *node, const struct command *c,
                    const struct session_result *result)
{
    keyspace_id id;
    if ((c->kind == COMMAND_PUT || c->kind == COMMAND_CAS) &&
        result->status == DLHT_OK && keyspace_of_key(c->key, &id))
        adopt_record(node, id, c->value);
}

void models_scan(struct node *node)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    if (!r || r->empty)
        return;
    struct records_cursor at;
    bool there = records_seek(r->records, span_str(key_prefix), &at);
    while (there) {
        struct record record = records_at(&at);
        keyspace_id id;
        if (!span_has_prefix(record.key, span_str(key_prefix)))
            break;
        if (keyspace_of_key(record.key, &id))
            adopt_record(node, id, record.value);
        there = records_next(&at);
    }
}

static void fetch_end(struct keyspace *ks)
{
    if (!ks->fetch)
        return;
    buf_deinit(&ks->fetch->bytes);
    free(ks->fetch);
    ks->fetch = NULL;
}

void models_drop_record(struct node *node, keyspace_id keyspace)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    struct record record;
    struct request q = { .op = OP_DEL, .keyspace = SYSTEM_KEYSPACE };
    if (!r || r->empty || !replica_leads(r))
        return;
    q.key = models_key(node, keyspace);
    if (!records_get(r->records, q.key, &record))
        return;
    struct pending_target nobody = { .origin = { .kind = ORIGIN_NONE },
                                     .later = true };
    if (pending_begin(node, &q, node->now_ns + DROP_NS, &nobody) != DLHT_OK)
        node_log(node, LOG_WARNING, "a dropped keyspace's model stays");
}

void models_forget(struct keyspace *ks)
{
    fetch_end(ks);
    models_news_forget(ks);
    models_release(ks->held);
    ks->held = NULL;
}

static void ask(struct node *node, const struct keyspace *ks)
{
    const struct model_fetch *f = ks->fetch;
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = MODEL_ASK;
    m.u.model.keyspace = ks->record.id;
    m.u.model.epoch = f->epoch;
    m.u.model.offset = f->bytes.len;
    node_send(node, &f->from, &m);
}

/* What this peer sent as that epoch is no good. Another may have it sound, so
 * it alone is not asked again; nor anybody, for a while that grows. */
static void refuse(struct node *node, struct keyspace *ks,
                   const struct id *from, uint64_t epoch)
{
    ks->refused_times = ks->refused_epoch == epoch ? ks->refused_times + 1 : 1;
    ks->refused_epoch = epoch;
    ks->refused_from = *from;
    uint64_t wait = REFUSED_NS << (ks->refused_times < REFUSED_DOUBLINGS
                                       ? ks->refused_times
                                       : REFUSED_DOUBLINGS);
    ks->refused_until_ns = node->now_ns + wait;
}

/* It is not what the system arc has: whoever sent it lies, others need not. */
static void refuse_holder(struct node *node, struct keyspace *ks,
                          const struct id *from, uint64_t epoch)
{
    const char *addr = node_peer_addr(node, from);
    refuse(node, ks, from, epoch);
    ks->refused_until_ns = node->now_ns;
    ks->models_refused++;
    node_log(node, LOG_WARNING,
             "keyspace %.*s: what %s sends as model epoch %llu is not what the "
             "system arc has",
             (int)ks->record.name.len, (const char *)ks->record.name.data,
             addr ? addr : "a peer", (unsigned long long)epoch);
}

static bool may_be_fetched(const struct node *node, const struct keyspace *ks,
                           const struct id *from, uint64_t epoch)
{
    return epoch != ks->refused_epoch || (!id_equal(from, &ks->refused_from) &&
                                          node->now_ns >= ks->refused_until_ns);
}

void models_fetch(struct node *node, struct keyspace *ks, const struct id *from,
                  uint64_t epoch)
{
    if (epoch <= epoch_of(ks) || (ks->fetch && ks->fetch->epoch >= epoch) ||
        !may_be_fetched(node, ks, from, epoch))
        return;
    fetch_end(ks);
    ks->fetch = mem_zero(1, sizeof *ks->fetch);
    if (!ks->fetch)
        return; /* heard of again */
    ks->fetch->from = *from;
    ks->fetch->epoch = epoch;
    ks->fetch->due_ns = node->now_ns + FETCH_NS;
    ks->fetch->end_ns = node->now_ns + FETCH_NS * FETCH_PARTS;
    ask(node, ks);
}

static void receive_news(struct node *node, struct keyspace *ks,
                         const struct id *from, uint64_t epoch)
{
    if (epoch < epoch_of(ks)) {
        say(node, from, MODEL_NEWS, ks->record.id, epoch_of(ks));
        return;
    }
    const struct replica *system = node_replica(node, SYSTEM_ARC);
    if (system && !system->empty)
        return; /* what its own records say is newer, or true */
    if (epoch > epoch_of(ks) && models_is_known(node, ks, from, epoch))
        models_fetch(node, ks, from, epoch);
}

static void receive_ask(struct node *node, struct keyspace *ks,
                        const struct id *from, const struct model_message *m)
{
    if (!ks->held || ks->held->info.epoch != m->epoch ||
        m->offset >= ks->held->packed.len) {
        say(node, from, MODEL_NEWS, ks->record.id, epoch_of(ks));
        return;
    }
    struct span packed = buf_span(&ks->held->packed);
    struct message part = { .type = MESSAGE_MODEL };
    part.u.model.kind = MODEL_PART;
    part.u.model.keyspace = ks->record.id;
    part.u.model.epoch = m->epoch;
    part.u.model.total = packed.len;
    part.u.model.offset = m->offset;
    part.u.model.bytes = span_tail(packed, (size_t)m->offset);
    if (part.u.model.bytes.len > MODEL_PART_MAX)
        part.u.model.bytes.len = MODEL_PART_MAX;
    size_t len = part.u.model.bytes.len;
    part.u.model.bytes = effects_copy(node->fx, part.u.model.bytes);
    if (part.u.model.bytes.len == len)
        node_send(node, from, &part);
}

static void receive_part(struct node *node, struct keyspace *ks,
                         const struct id *from, const struct model_message *m)
{
    struct model_fetch *f = ks->fetch;
    if (!f || !id_equal(&f->from, from) || f->epoch != m->epoch ||
        f->bytes.len != m->offset || m->bytes.len == 0 ||
        (f->total && f->total != m->total) ||
        (m->bytes.len < MODEL_PART_MAX && m->offset + m->bytes.len < m->total))
        return;
    f->total = m->total;
    f->due_ns = node->now_ns + FETCH_NS;
    buf_append_span(&f->bytes, m->bytes);
    if (f->bytes.failed || f->bytes.len > f->total) {
        fetch_end(ks);
        return;
    }
    if (f->bytes.len < f->total) {
        ask(node, ks);
        return;
    }
    struct buf whole = f->bytes;
    memset(&f->bytes, 0, sizeof f->bytes);
    fetch_end(ks);
    if (!models_is_genuine(ks, m->epoch, buf_span(&whole)))
        refuse_holder(node, ks, from, m->epoch);
    else if (!adopt(node, ks, buf_span(&whole), m->epoch) ||
             epoch_of(ks) < m->epoch)
        refuse(node, ks, from, m->epoch);
    buf_deinit(&whole);
}

void models_receive(struct node *node, const struct id *from,
                    const struct model_message *m)
{
    struct keyspace *ks = keyspaces_find(node, m->keyspace);
    if (!ks || ks->record.dropped)
        return;
    switch (m->kind) {
    case MODEL_NEWS:
        receive_news(node, ks, from, m->epoch);
        break;
    case MODEL_ASK:
        receive_ask(node, ks, from, m);
        break;
    case MODEL_PART:
        receive_part(node, ks, from, m);
        break;
    case MODEL_COUNT_ASK:
        trainer_count(node, ks, from, m->epoch);
        break;
    case MODEL_COUNTS:
        trainer_hear_counts(node, ks, from, m);
        break;
    default:
        break;
    }
}

/* Now and then each peer tells one other what it has, and hears what that one
 * has: so whoever was away learns the newest epoch. */
void models_tick(struct node *node)
{
    size_t count = node->swim ? swim_count(node->swim) : 0;
    bool tells = node->now_ns >= node->models_next_ns && count > 1;
    if (tells)
        node->models_next_ns =
            node->now_ns + TELL_NS / 2 + rng_below(&node->rng, TELL_NS);
    const struct peer *to =
        tells ? swim_at(node->swim, (size_t)rng_below(&node->rng, count))
              : NULL;
    for (size_t i = 0; i < node->keyspace_count; i++) {
        struct keyspace *ks = &node->keyspaces[i];
        if (ks->fetch && (node->now_ns >= ks->fetch->due_ns ||
                          node->now_ns >= ks->fetch->end_ns)) {
            refuse(node, ks, &ks->fetch->from, ks->fetch->epoch);
            fetch_end(ks);
        }
        models_news_tick(node, ks);
        if (to && may_be_told(node, to) && !ks->record.dropped &&
            ks->record.placement == PLACEMENT_ORDERED &&
            ks->record.id != SYSTEM_KEYSPACE)
            say(node, &to->id, MODEL_NEWS, ks->record.id, epoch_of(ks));
    }
}
