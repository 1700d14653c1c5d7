/* SPDX-License-Identifier: Apache-2.0 */

/* Calls in chunks, lists of them, and a window of numbers. */

#include "net/client_call.h"

#include <assert.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "net/client_request.h"

enum {
    CALL_KEEP_BYTES = 4 << 10 /* of a call's room, between uses */
};

void call_list_append(struct call_list *list, struct call *call)
{
    call->next = NULL;
    call->previous = list->last;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

void call_list_remove(struct call_list *list, struct call *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        list->last = call->previous;
}

/* before NULL: at the end. */
static void list_insert(struct call_list *list, struct call *call,
                        struct call *before)
{
    if (!before) {
        call_list_append(list, call);
        return;
    }
    call->next = before;
    call->previous = before->previous;
    if (before->previous)
        before->previous->next = call;
    else
        list->first = call;
    before->previous = call;
}

void call_list_merge(struct call_list *to, struct call_list *from)
{
    struct call *at = to->first, *next;
    for (struct call *call = from->first; call; call = next) {
        next = call->next;
        while (at && at->order < call->order)
            at = at->next;
        list_insert(to, call, at);
    }
    *from = (struct call_list){ 0 };
}

void calls_init(struct calls *calls)
{
    calls->next_number = 1;
    calls->lowest = 1;
}

void calls_deinit(struct calls *calls)
{
    for (size_t i = 0; i < calls->chunk_count; i++) {
        for (size_t k = 0; k < CALL_CHUNK; k++)
            buf_deinit(&calls->chunks[i][k].bytes);
        free(calls->chunks[i]);
    }
    free(calls->chunks);
}

static int calls_make_room(struct calls *calls)
{
    if (calls->chunk_count * CALL_CHUNK >= CLIENT_OPEN_MAX)
        return DLHT_EBUSY;
    struct call **grown =
        realloc(calls->chunks, (calls->chunk_count + 1) * sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    calls->chunks = grown;
    struct call *chunk = calloc(CALL_CHUNK, sizeof *chunk);
    if (!chunk)
        return DLHT_ENOMEM;
    uint32_t base = (uint32_t)calls->chunk_count * CALL_CHUNK;
    calls->chunks[calls->chunk_count++] = chunk;
    for (uint32_t i = CALL_CHUNK; i-- > 0;) {
        chunk[i].index = base + i;
        chunk[i].next = calls->free;
        calls->free = &chunk[i];
    }
    return DLHT_OK;
}

struct call *calls_open(struct calls *calls, const struct dlht_request *request,
                        int *rc)
{
    *rc = calls->free ? DLHT_OK : calls_make_room(calls);
    if (*rc != DLHT_OK)
        return NULL;
    struct call *call = calls->free;
    *rc = client_request_make(request, &call->bytes, &call->request);
    if (*rc != DLHT_OK)
        return NULL;
    calls->free = call->next;
    calls->open++;
    call->link = NULL;
    call->order = calls->submitted++;
    call->is_open = true;
    call->is_write = client_request_is_write(&call->request);
    call->was_sent = false;
    call->was_lost = false;
    return call;
}

/* A write's number is answered: the lowest open one may move up. */
static void calls_close_number(struct calls *calls, uint64_t number)
{
    if (number == 0)
        return;
    assert(number >= calls->lowest &&
           number - calls->lowest < CLIENT_WINDOW_MAX);
    size_t bit = number % CLIENT_WINDOW_MAX;
    calls->answered[bit / 64] |= UINT64_C(1) << bit % 64;
    while (calls->lowest < calls->next_number) {
        bit = calls->lowest % CLIENT_WINDOW_MAX;
        uint64_t mask = UINT64_C(1) << bit % 64;
        if (!(calls->answered[bit / 64] & mask))
            break;
        calls->answered[bit / 64] &= ~mask;
        calls->lowest++;
    }
}

void calls_close(struct calls *calls, struct call *call)
{
    wheel_remove(&call->deadline);
    calls_close_number(calls, call->request.number);
    call->is_open = false;
    call->generation++;
    if (call->bytes.cap > CALL_KEEP_BYTES)
        buf_deinit(&call->bytes);
    call->next = calls->free;
    calls->free = call;
    calls->open--;
}

bool calls_number(struct calls *calls, struct call *call,
                  const struct id *session)
{
    struct request *q = &call->request;
    if (!call->is_write)
        return true;
    if (q->number == 0) {
        if (calls->next_number - calls->lowest >= CLIENT_WINDOW_MAX)
            return false;
        q->number = calls->next_number++;
        q->session = *session;
    }
    q->lowest_open = calls->lowest;
    return true;
}

uint32_t call_stream(const struct call *call)
{
    return (uint32_t)call->generation << 16 | call->index;
}

struct call *calls_by_stream(struct calls *calls, uint32_t stream)
{
    uint32_t index = stream & 0xffff;
    if (index >= calls->chunk_count * CALL_CHUNK)
        return NULL;
    struct call *call = &calls->chunks[index / CALL_CHUNK][index % CALL_CHUNK];
    return call->is_open && call_stream(call) == stream ? call : NULL;
}
