/* SPDX-License-Identifier: Apache-2.0 */

/* Many vectors, some under way at once.
 *
 * Each slot is a put: made when its vector is taken, sent, sent again after a
 * while if it was refused for lack of room to run. Putting the same vector
 * twice is the same as once, but an outcome that is unknown stays that: who
 * puts may have gone on to remove. */

#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "dlht/vector.h"
#include "vector_doc.h"

enum {
    AGAIN_AFTER_MS = 50,
    AGAIN_FOR_MS = 30000,
    TIMEOUT_MS = 30000 /* of one put, unless the options say else */
};

enum slot_state {
    SLOT_FREE,
    SLOT_WAITING, /* to be sent at due_ms */
    SLOT_SENT
};

struct many;

struct slot {
    struct many *many;
    enum slot_state state;
    uint64_t index; /* of its vector */
    uint64_t first_ms;
    uint64_t due_ms;
    struct buf bytes; /* the id, then the document */
    size_t id_len;
};

struct many {
    struct dlht *d;
    const struct dlht_options *options;
    struct dlht_put_report report;
    struct slot *slots;
    size_t slot_count;
    size_t sent;
    size_t waiting;
    size_t at;      /* where a free slot is looked for */
    bool abandoned; /* nobody waits: the last answer frees it */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void many_free(struct many *many)
{
    for (size_t i = 0; i < many->slot_count; i++)
        buf_deinit(&many->slots[i].bytes);
    free(many->slots);
    free(many);
}

static struct many *many_new(struct dlht *d, const struct dlht_options *options,
                             size_t slot_count)
{
    struct many *many = mem_zero(1, sizeof *many);
    if (!many)
        return NULL;
    many->slots = mem_zero(slot_count, sizeof *many->slots);
    if (!many->slots) {
        free(many);
        return NULL;
    }
    many->d = d;
    many->options = options;
    many->slot_count = slot_count;
    for (size_t i = 0; i < slot_count; i++)
        many->slots[i].many = many;
    return many;
}

static void note_failure(struct many *many, uint64_t index, int code,
                         const char *text)
{
    struct dlht_put_report *report = &many->report;
    if (report->failed++ && report->first <= index)
        return;
    report->first = index;
    (void)vector_doc_fault(&report->error, code, "%s", text);
}

/* Certain that nothing happened, and worth another try. */
static bool is_worth_again(const struct slot *slot, int status)
{
    return (status == DLHT_EBUSY || status == DLHT_EUNAVAILABLE) &&
           now_ms() - slot->first_ms < AGAIN_FOR_MS;
}

static void slot_end(struct slot *slot, int status, const char *text)
{
    struct many *many = slot->many;
    if (is_worth_again(slot, status)) {
        slot->state = SLOT_WAITING;
        slot->due_ms = now_ms() + AGAIN_AFTER_MS;
        many->waiting++;
        return;
    }
    if (status == DLHT_OK)
        many->report.stored++;
    else
        note_failure(many, slot->index, status, text);
    slot->state = SLOT_FREE;
}

static void slot_on_answer(void *context, const struct dlht_result *result)
{
    struct slot *slot = context;
    struct many *many = slot->many;
    many->sent--;
    if (!many->abandoned)
        slot_end(slot, result->status, result->text);
    else if (many->sent == 0)
        many_free(many);
}

static void slot_send(struct slot *slot)
{
    struct many *many = slot->many;
    const struct dlht_options *options = many->options;
    struct dlht_request request = {
        .op = DLHT_OP_VECTOR_PUT,
        .key = { slot->bytes.data, slot->id_len },
        .document = { slot->bytes.data + slot->id_len,
                      slot->bytes.len - slot->id_len },
        .keyspace = options ? options->keyspace : NULL,
        .timeout_ms = options ? options->timeout_ms : 0,
        .all = options && options->all,
    };
    if (request.timeout_ms == 0)
        request.timeout_ms = TIMEOUT_MS;
    slot->state = SLOT_SENT;
    many->sent++;
    int rc = dlht_submit(many->d, &request, slot_on_answer, slot);
    if (rc == DLHT_OK)
        return;
    many->sent--;
    slot_end(slot, rc, dlht_strerror(rc));
}

static void send_due(struct many *many)
{
    uint64_t now = many->waiting ? now_ms() : 0;
    for (size_t i = 0; many->waiting && i < many->slot_count; i++) {
        struct slot *slot = &many->slots[i];
        if (slot->state != SLOT_WAITING || now < slot->due_ms)
            continue;
        many->waiting--;
        slot_send(slot);
    }
}

/* Sends what is due and lets answers in. */
static int progress(struct many *many)
{
    send_due(many);
    int rc = dlht_poll(many->d, many->waiting ? AGAIN_AFTER_MS : -1);
    return rc < 0 ? rc : DLHT_OK;
}

static struct slot *free_slot(struct many *many)
{
    for (size_t i = 0; i < many->slot_count; i++) {
        struct slot *slot = &many->slots[many->at];
        many->at = (many->at + 1) % many->slot_count;
        if (slot->state == SLOT_FREE)
            return slot;
    }
    return NULL;
}

static void begin(struct many *many, struct slot *slot, uint64_t index,
                  const struct dlht_vector *vector)
{
    struct dlht_error error = { .code = DLHT_OK };
    buf_reset(&slot->bytes);
    buf_append(&slot->bytes, vector->id.data, vector->id.len);
    slot->id_len = vector->id.len;
    slot->index = index;
    slot->first_ms = now_ms();
    int rc = vector_doc_put(vector, &slot->bytes, &error);
    if (rc == DLHT_OK)
        slot_send(slot);
    else
        note_failure(many, index, rc, error.text);
}

static int run(struct many *many, dlht_vector_next_fn next, void *context)
{
    struct dlht_vector vector = { .values = NULL };
    uint64_t index = 0;
    int rc = DLHT_OK;
    while (rc == DLHT_OK) {
        struct slot *slot = many->sent + many->waiting < many->slot_count
                                ? free_slot(many)
                                : NULL;
        if (!slot) {
            rc = progress(many);
            continue;
        }
        vector = (struct dlht_vector){ .values = NULL };
        if (!next(context, &vector))
            break;
        begin(many, slot, index++, &vector);
    }
    while (rc == DLHT_OK && many->sent + many->waiting > 0)
        rc = progress(many);
    return rc;
}

int dlht_vector_put_each(struct dlht *d, const struct dlht_options *options,
                         dlht_vector_next_fn next, void *context, uint32_t open,
                         struct dlht_put_report *report)
{
    struct dlht_put_report unheard;
    if (!report)
        report = &unheard;
    *report = (struct dlht_put_report){ 0 };
    if (open > DLHT_VECTOR_OPEN_MAX)
        return vector_doc_fault(&report->error, DLHT_EINVAL,
                                "at most %d puts may be under way",
                                DLHT_VECTOR_OPEN_MAX);
    int rc = dlht_poll(d, 0); /* refuses inside a callback */
    struct many *many =
        rc < 0 ? NULL
               : many_new(d, options, open ? open : DLHT_VECTOR_OPEN_DEFAULT);
    if (!many)
        return vector_doc_fault(&report->error, rc < 0 ? rc : DLHT_ENOMEM, "%s",
                                dlht_strerror(rc < 0 ? rc : DLHT_ENOMEM));
    rc = run(many, next, context);
    *report = many->report;
    report->failed += many->sent;
    many->abandoned = many->sent > 0;
    if (!many->abandoned)
        many_free(many);
    if (rc != DLHT_OK && report->error.code == DLHT_OK)
        return vector_doc_fault(&report->error, rc, "%s", dlht_strerror(rc));
    return report->error.code;
}

/* An array, as what comes next. */
struct row {
    const struct dlht_vector *at;
    size_t left;
};

static bool next_of_row(void *context, struct dlht_vector *out)
{
    struct row *row = context;
    if (row->left == 0)
        return false;
    row->left--;
    *out = *row->at++;
    return true;
}

int dlht_vector_put_many(struct dlht *d, const struct dlht_options *options,
                         const struct dlht_vector *vectors, size_t count,
                         struct dlht_put_report *report)
{
    struct row row = { vectors, count };
    return dlht_vector_put_each(d, options, next_of_row, &row, 0, report);
}
